"""Faults of the world around a good release: network, TLS, disk, clock, other runs.

As shipped, one of a kind where a kind has many; with PANOPTES_EVERY_FAULT=1 (`make test-update`) all of them.
"""

from __future__ import annotations

import itertools
import json
import shlex
import subprocess
from contextlib import contextmanager

import pytest

from lab.cutting_proxy import CuttingProxy
from lab.faults import EVERY_FAULT
from lab.rude_registry import RudeRegistry
from lab.unit_under_test import UnitUnderTest

LAYER = 8_000_000


@pytest.fixture(scope="module")
def unit(host, releases):
    return UnitUnderTest(host, releases.source)


@pytest.mark.fault("registry down")
def test_unreachable_registry_changes_nothing(unit, offered, unplugged, refused):
    unplugged()
    refused(1, "not reachable")


@pytest.mark.fault("registry not trusted")
def test_registry_without_a_trusted_certificate_is_refused_and_the_release_stays(unit, offered, refused):
    unit.settings({"registry_ca": ""})
    refused(1, "not trusted")


@pytest.mark.fault("registry gone exactly at rollback")
def test_bad_release_is_undone_from_the_disk_without_a_network(unit, releases, offered, unplugged, record_property):
    releases.offer("exits-0")
    process = unit.update_halted_at("switch:file", "--force")
    unplugged()
    unit.check("kill -CONT $(cat /var/lib/panoptes-unit/lock)")
    answer = json.loads(process.communicate(timeout=120)[0])
    assert answer["verdict"] == "rolled-back"
    unit.must_run(offered[0])
    record_property("outcome", f"back after {answer['seconds']:.0f} s without a network")


@pytest.fixture(scope="module")
def impatient_engine(unit):
    """The engine tries a download five times, over a minute: once is enough here."""
    daemon = "/etc/docker/daemon.json"
    edit = (
        f"import json; options = json.load(open('{daemon}'));"
        f"options['max-download-attempts'] = 1; json.dump(options, open('{daemon}', 'w'))"
    )
    unit.check(f"cp -p {daemon} {daemon}.kept && python3 -c {shlex.quote(edit)} && systemctl restart docker")
    yield
    unit.check(f"mv {daemon}.kept {daemon} && systemctl reset-failed docker && systemctl restart docker")


@pytest.fixture
def sent_to(unit, releases):
    """Call it with a port of this machine: what the unit asks the registry goes there meanwhile."""

    @contextmanager
    def redirected(port):
        host, _, real = releases.registry.partition(":")
        here = unit.check("ip -4 route show default").split()[2]
        rule = f"OUTPUT --destination {host} --protocol tcp --dport {real}"
        rule += f" --jump DNAT --to-destination {here}:{port}"
        unit.check(f"iptables --table nat --append {rule}")
        try:
            yield
        finally:
            unit.check(f"iptables --table nat --delete {rule}")

    return redirected


@pytest.mark.fault("registry answers {status} once, asked for {part}")
@pytest.mark.parametrize(
    ("status", "part"),
    itertools.product((500, 429), ("manifests/latest", "manifests/sha256:", "blobs/"))
    if EVERY_FAULT
    else [(500, "manifests/latest"), (429, "manifests/sha256:"), (500, "blobs/")],
)
def test_registry_that_is_ill_or_busy_for_a_moment_costs_no_night(
    unit, releases, offered, sent_to, status, part, record_property
):
    new = releases.offer(f"good-busy-{status}-{len(part)}")
    with RudeRegistry(status, part, headers={"Retry-After": "1"}) as rude, sent_to(rude.port):
        answer = unit.tool("update", expect=0)
    assert len(rude.asked) == 1
    assert answer["verdict"] == "updated"
    unit.must_run(new)
    record_property("outcome", f"{answer['verdict']}, after {rude.asked[0][-60:]}")


@pytest.mark.fault("registry answers 503 whatever it is asked")
def test_registry_that_stays_ill_ends_the_run_and_the_next_takes_the_release(unit, offered, sent_to, refused):
    unit.settings({"limits": {"resolve_s": 15}})
    with RudeRegistry(503, "", times=1000) as rude, sent_to(rude.port):
        refused(1, "asking for")
    assert len(rude.asked) > 1, "it was asked again"
    unit.settings({})
    assert unit.tool("update", expect=0)["verdict"] == "updated"
    unit.must_run(offered[1])


@pytest.mark.fault("registry sends one byte a second, asked for {part}")
@pytest.mark.parametrize("part", ["manifests/sha256:", "blobs/"] if EVERY_FAULT else ["blobs/"])
def test_registry_that_drips_does_not_hold_the_lock(unit, releases, offered, sent_to, impatient_engine, refused, part):
    new = releases.offer(f"good-drip-{len(part)}", 100_000)
    unit.settings({"limits": {"registry_s": 2, "resolve_s": 10, "stall_s": 10}})
    with RudeRegistry(0, part, times=1000) as rude, sent_to(rude.port):
        refused(1, "")
    assert rude.asked
    unit.settings({})
    assert unit.tool("update", expect=0)["verdict"] == "updated", "the lock is free, and the line is whole again"
    unit.must_run(new)


@pytest.mark.fault("connection cut at {percent} % of a layer")
@pytest.mark.parametrize("percent", [20, 50, 90] if EVERY_FAULT else [50])
def test_cut_connection_leaves_the_old_release_and_the_next_update_takes_the_new(
    unit, releases, offered, impatient_engine, sent_to, percent, record_property
):
    new = releases.offer(f"good-big-{percent}", LAYER)
    host, _, port = releases.registry.partition(":")
    with CuttingProxy((host, int(port)), LAYER * percent // 100) as proxy, sent_to(proxy.port):
        answer = unit.tool("update", expect=1)
    assert proxy.was_cut
    assert answer["verdict"] == "failed"
    unit.must_run(offered[0])
    assert unit.tool("update", expect=0)["verdict"] == "updated", "once the line is back"
    unit.must_run(new)
    record_property("outcome", answer["reason"][:90])


@pytest.mark.fault("disk too small")
def test_full_disk_is_refused_before_the_download(unit, releases, offered, refused):
    new = releases.offer("good-disk", 200_000)
    unit.settings({"limits": {"floor_bytes": 10**15}})
    refused(1, "not enough room")
    assert new not in unit.check("docker images --digests"), "refused before the pull"


@pytest.mark.fault("clock at 1970")
def test_clock_of_1970_is_refused_and_the_release_stays(unit, offered, record_property):
    """The clock of the process stands in for the machine's, which a container shares with its host."""
    script = (
        "import runpy,sys,time; time.time=lambda: 60.0;"
        "sys.argv=['/usr/local/bin/panoptes-unit','update','--json','--settings','/etc/panoptes/unit-under-test.yaml'];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = unit.host.run("python3 -c %s", script)
    assert done.rc == 1
    assert "clock says 1970-01-01" in done.stderr
    unit.must_run(offered[0])
    record_property("outcome", done.stderr.strip())


@pytest.mark.fault("two updates at once")
def test_second_update_at_once_is_refused_and_the_first_goes_on(unit, offered, record_property):
    process = unit.update_halted_at("fetch:before")
    answer = unit.tool("update", expect=5)
    assert "another run" in answer["reason"]
    unit.check("kill -CONT $(cat /var/lib/panoptes-unit/lock)")
    assert json.loads(process.communicate(timeout=120)[0])["verdict"] == "updated"
    unit.must_run(offered[1])
    record_property("outcome", answer["reason"])


def test_release_from_a_stick_is_taken_and_rolled_back_without_a_network(unit, releases, offered, unplugged, tmp_path):
    """A release on a stick, without a network."""
    bundle = tmp_path / "bundle.tar"
    name = next(name for name, digest in releases.digests.items() if digest == offered[1])
    releases.save(name, bundle)
    here = releases.lab
    target = f"{unit.name}:/var/tmp/bundle.tar"
    subprocess.run([here["docker_cli"], "--host", here["docker_host"], "cp", str(bundle), target], check=True)
    bundle.unlink()  # the whole image: pytest would keep it
    unplugged()
    # The bundle is served on loopback: a proxy that the shell names is not for it.
    proxy = " ".join(f"{name}=http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"))
    answer = unit.tool("deploy", "--from", "/var/tmp/bundle.tar", env=proxy, expect=0)
    unit.check("rm /var/tmp/bundle.tar")
    assert answer["verdict"] == "updated"
    unit.must_run(answer["new"].partition("@")[2])
    unit.tool("rollback", "--force", expect=0)
    unit.must_run(offered[0])


def test_unchanged_service_is_left_alone(unit, offered):
    """Here the hub's image is fixed, so that only the config server changes with the release."""
    fixed = "/etc/panoptes/compose-under-test.yaml"
    script = (
        "import yaml; project = yaml.safe_load(open('/etc/panoptes/compose.yaml'));"
        f"project['services']['messaging-hub']['image'] = '{unit.image()}'; print(yaml.safe_dump(project))"
    )
    unit.check(f"python3 -c {shlex.quote(script)} > {fixed}")
    started = "docker inspect --format {{.Id}}{{.State.StartedAt}}"
    hub, server = (unit.check(f"{started} {name}") for name in ("messaging-hub", "config-server"))
    unit.settings({"compose_file": fixed})
    answer = unit.tool("update", expect=0)
    assert answer["gap_s"]["messaging-hub"] == 0.0
    assert unit.check(f"{started} messaging-hub") == hub
    assert unit.check(f"{started} config-server") != server
    usual = "--project-name panoptes --file /etc/panoptes/compose.yaml --env-file /etc/panoptes/release.env"
    unit.check(f"docker compose {usual} up --detach --wait && rm {fixed}")
    unit.must_run(offered[1])
