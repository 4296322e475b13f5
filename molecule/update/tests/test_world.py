"""Faults of the world around a good release: network, TLS, disk, clock, other runs, the observing lock."""

from __future__ import annotations

import json
import shlex
import subprocess

import pytest
from cutting_proxy import CuttingProxy
from test_power import halted_at
from unit_under_test import UnitUnderTest

STATE_FILE = "/var/panoptes/json_store/panoptes/current_state.json"
LAYER = 8_000_000


@pytest.fixture(scope="module")
def unit(host, releases):
    return UnitUnderTest(host, releases.source)


@pytest.fixture
def offered(unit, releases):
    """(the release that runs, the one offered); settings are put back afterwards."""
    for name in ("good-0", "good-1"):
        releases.prepare(name)
    running = unit.release()
    other = next(name for name in ("good-0", "good-1") if releases.digests[name] != running)
    yield running, releases.offer(other)
    unit.settings({})
    unit.host.run("panoptes-unit unlock; panoptes-unit unpin; panoptes-unit clear all")


def refused(unit, running, record_property, code, words):
    answer = unit.tool("update", expect=code)
    assert words in answer["reason"], answer
    assert answer["changed"] is False
    unit.must_run(running)
    record_property("outcome", answer["reason"][:90])
    return answer


@pytest.fixture
def unplugged(unit, releases):
    """Cuts the unit off the registry: call it."""
    address = releases.registry.partition(":")[0]
    rule = f"OUTPUT --destination {address} --jump REJECT"
    yield lambda: unit.check(f"iptables --append {rule}")
    unit.host.run(f"iptables --delete {rule}")


@pytest.mark.fault("registry down")
def test_registry_down(unit, offered, unplugged, record_property):
    unplugged()
    refused(unit, offered[0], record_property, 1, "not reachable")


@pytest.mark.fault("registry not trusted")
def test_tls(unit, offered, record_property):
    unit.settings({"registry_ca": ""})
    refused(unit, offered[0], record_property, 1, "not trusted")


@pytest.mark.fault("registry gone exactly at rollback")
def test_rollback_without_network(unit, releases, offered, unplugged, record_property):
    releases.offer("exits-0")
    process = halted_at(unit, "switch:file", "--force")
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


@pytest.mark.fault("connection cut at {percent} % of a layer")
@pytest.mark.parametrize("percent", [20, 50, 90])
def test_connection_cut(unit, releases, offered, impatient_engine, percent, record_property):
    new = releases.offer(f"good-big-{percent}", LAYER)
    host, _, port = releases.registry.partition(":")
    with CuttingProxy((host, int(port)), LAYER * percent // 100) as proxy:
        here = unit.check("ip -4 route show default").split()[2]
        rule = f"OUTPUT --destination {host} --protocol tcp --dport {port}"
        rule += f" --jump DNAT --to-destination {here}:{proxy.port}"
        unit.check(f"iptables --table nat --append {rule}")
        try:
            answer = unit.tool("update", expect=1)
        finally:
            unit.check(f"iptables --table nat --delete {rule}")
    assert proxy.was_cut
    assert answer["verdict"] == "failed"
    unit.must_run(offered[0])
    assert unit.tool("update", expect=0)["verdict"] == "updated", "once the line is back"
    unit.must_run(new)
    record_property("outcome", answer["reason"][:90])


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Name -> file of a private key, with its public half beside it."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        private = folder / name
        curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        subprocess.run(["openssl", "genpkey", *curve, "-out", private], check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", f"{private}.pub"], check=True)
    return folder


@pytest.fixture
def signed_only(unit, offered, keys):
    """The unit takes only what is signed with `ours`."""
    unit.settings({"signature_key": (keys / "ours.pub").read_text()})


@pytest.mark.fault("signature: absent")
def test_unsigned_release(unit, releases, offered, signed_only, keys, record_property):
    """Refused each night without a download; taken as soon as it is signed, and rolled back without a network."""
    new = releases.offer("good-unsigned")
    for options in ([], [], ["--force"]):
        answer = unit.tool("update", *options, expect=1)
        assert "is not signed" in answer["reason"]
        assert (answer["changed"], answer["bytes"]) == (False, 0)
    assert new not in unit.check("docker images --digests"), "refused before the pull"
    assert new not in unit.tool("status")["quarantine"]
    unit.must_run(offered[0])
    record_property("outcome", "refused without a download, also by force; taken once it is signed")
    releases.sign(keys / "ours")
    assert unit.tool("update", expect=0)["verdict"] == "updated"
    unit.must_run(new)
    nightly = unit.tool("update", expect=0)
    assert nightly["verdict"] == "unchanged"
    assert nightly["registry"]["requests"] <= 2, "the signature of what runs is not fetched again"


@pytest.mark.fault("signature: {what}")
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("of another image", "signature of another image"),
        ("with another key", "made with another key"),
        ("damaged", "made with another key, or damaged"),
    ],
)
def test_bad_signature(unit, releases, offered, signed_only, keys, what, words, record_property):
    if what == "of another image":
        releases.sign(keys / "ours", names="sha256:" + "1" * 64)
    else:
        releases.sign(keys / ("theirs" if what == "with another key" else "ours"), damaged=what == "damaged")
    answer = refused(unit, offered[0], record_property, 1, words)
    assert answer["bytes"] == 0
    assert offered[1] not in unit.tool("status")["quarantine"]
    record_property("outcome", answer["reason"].partition(") ")[2])


@pytest.mark.fault("signature and registry gone at rollback")
def test_rollback_asks_for_no_signature(unit, releases, offered, signed_only, keys, unplugged, record_property):
    releases.sign(keys / "ours")
    assert unit.tool("update", expect=0)["verdict"] == "updated"
    unplugged()
    assert unit.tool("rollback", expect=0)["verdict"] == "updated"
    unit.must_run(offered[0])
    record_property("outcome", "back on a release that nobody signed")


@pytest.mark.fault("disk too small")
def test_disk(unit, releases, offered, record_property):
    new = releases.offer("good-disk", 200_000)
    unit.settings({"limits": {"floor_bytes": 10**15}})
    refused(unit, offered[0], record_property, 1, "not enough room")
    assert new not in unit.check("docker images --digests"), "refused before the pull"


@pytest.mark.fault("clock at 1970")
def test_clock(unit, offered, record_property):
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
def test_two_at_once(unit, offered, record_property):
    process = halted_at(unit, "fetch:before")
    answer = unit.tool("update", expect=5)
    assert "another run" in answer["reason"]
    unit.check("kill -CONT $(cat /var/lib/panoptes-unit/lock)")
    assert json.loads(process.communicate(timeout=120)[0])["verdict"] == "updated"
    unit.must_run(offered[1])
    record_property("outcome", answer["reason"])


@pytest.mark.fault("config server down")
def test_config_server_down(unit, offered, record_property):
    """The state cannot be read, so it waits; a state from elsewhere lets the update heal the unit."""
    unit.check("docker stop --time 2 config-server")
    unit.settings({"observing": {"source": "config"}})
    answer = unit.tool("update", expect=3)
    assert "unreadable" in answer["reason"]
    unit.settings({})
    unit.tool("update", expect=0)
    unit.must_run(offered[1])
    record_property("outcome", answer["reason"][:90])


@pytest.fixture
def pocs_state(unit):
    """Writes the state as POCS does: a document, and how long ago."""

    def write(document: str, age_s: int = 0) -> None:
        folder = STATE_FILE.rpartition("/")[0]
        unit.check(f"mkdir -p {folder}; printf %s '{document}' > {STATE_FILE}")
        unit.check(f"touch --date @$(($(date +%s) - {age_s})) {STATE_FILE}")

    yield write
    unit.host.run(f"rm -f {STATE_FILE}")


@pytest.mark.fault("state: {state}")
@pytest.mark.parametrize("state", ["observing", "unknown", "stale", "unreadable"])
def test_observing_lock(unit, offered, pocs_state, state, record_property):
    if state == "observing":
        pocs_state('{"data": {"source": "slewing", "dest": "observing"}}')
    elif state == "stale":
        pocs_state('{"data": {"source": "ready", "dest": "sleeping"}}', 200_000)
    elif state == "unreadable":
        pocs_state('{"data": {"sour')
    unit.settings({"observing": {"source": "file", "max_deferrals": 2}})
    first = refused(unit, offered[0], record_property, 3, state)
    assert first["verdict"] == "deferred"
    unit.tool("update", expect=3)
    if state == "observing":
        unit.tool("update", expect=3)
        forced = unit.tool("update", "--force", expect=0)
        assert forced["forced"], "a forced update is recorded as one"
        assert unit.last()["forced"]
    else:
        assert unit.tool("update", expect=0)["verdict"] == "updated", "deferrals are bounded"
    unit.must_run(offered[1])


def test_idle_state_lets_it_pass(unit, offered, pocs_state):
    pocs_state('{"data": {"source": "ready", "dest": "parked"}}')
    unit.settings({"observing": {"source": "file"}})
    assert unit.tool("update", expect=0)["verdict"] == "updated"


@pytest.mark.fault("night at the unit")
def test_window(unit, offered, record_property):
    hour = int(unit.check("date -u +%H"))
    unit.settings({"window": {"longitude": 0.0, "start_h": (hour + 2) % 24, "end_h": (hour + 3) % 24}})
    refused(unit, offered[0], record_property, 3, "outside the window")


def test_operators_lock_and_pin(unit, offered):
    unit.check("panoptes-unit lock --reason calibration")
    assert "calibration" in unit.tool("update", expect=3)["reason"]
    unit.check("panoptes-unit unlock && panoptes-unit pin --reason campaign")
    assert unit.tool("update", expect=0)["verdict"] == "held"
    unit.must_run(offered[0])


def test_bundle(unit, releases, offered, unplugged, tmp_path):
    """A release on a stick, without a network."""
    bundle = tmp_path / "bundle.tar"
    name = next(name for name, digest in releases.digests.items() if digest == offered[1])
    releases.save(name, bundle)
    here = releases.lab
    target = f"{unit.name}:/var/tmp/bundle.tar"
    subprocess.run([here["docker_cli"], "--host", here["docker_host"], "cp", str(bundle), target], check=True)
    bundle.unlink()  # the whole image: pytest would keep it
    unplugged()
    answer = unit.tool("deploy", "--from", "/var/tmp/bundle.tar", expect=0)
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
