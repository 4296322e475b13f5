"""`panoptes-fleet add` and `check`: what is written, what is refused, and what is found wrong where."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[3]
GIVEN = {
    "name": "School", "pan-id": "pan012", "site": "Roof", "latitude": "34.05 S", "longitude": "150.99",
    "elevation": "394 ft", "timezone": "Australia/Sydney",
}  # fmt: skip


@pytest.fixture
def shipped(fleet):
    """The inventory as it is shipped, without what this checkout's owner added."""
    shutil.rmtree(fleet.inventory)
    ignore = shutil.ignore_patterns("90-mine.yml", "units.yml*", "pan*.yml")
    shutil.copytree(TOP / "inventory", fleet.inventory, ignore=ignore)
    return fleet


def options(**given: str) -> list[str]:
    return [word for name, value in {**GIVEN, **given}.items() for word in (f"--{name.replace('_', '-')}", value)]


def test_a_unit_is_added_with_the_comments_kept_and_twice_is_refused(shipped):
    hosts = shipped.inventory / "hosts.yml"
    before = hosts.read_text()
    done = shipped.run("add", "pan012", "--address", "pan012.example.org", "--canary", *options())
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(hosts.read_text())["units"]["hosts"]["pan012"] == {
        "ansible_host": "pan012.example.org", "fleet_canary": True,
    }  # fmt: skip
    assert [line for line in before.splitlines() if line not in hosts.read_text().splitlines()] == []
    own = shipped.inventory / "host_vars" / "pan012.yml"
    found = yaml.safe_load(own.read_text())
    assert found["panoptes_pan_id"] == "PAN012"
    assert found["panoptes_location"]["latitude"] == "-34.05 deg" and found["panoptes_location"]["gmt_offset"] == 600
    written = hosts.read_text(), own.read_text()
    again = shipped.run("add", "pan012", *options())
    assert again.returncode == 2 and "there already" in again.stderr
    same = shipped.run("add", "pan013", *options())
    assert same.returncode == 2 and "PAN012 is also that of pan012" in same.stderr
    assert (hosts.read_text(), own.read_text()) == written
    assert not (own.parent / "pan013.yml").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [({"latitude": "134.05"}, "--latitude 134.05"), ({"timezone": "Australia/Sidney"}, "did you mean Australia/Sydney"),
     ({"pan_id": "12"}, "PAN and three digits"), ({"name": "{{ x }}"}, "template")],
)  # fmt: skip
def test_a_wrong_answer_writes_nothing(shipped, given, says):
    before = (shipped.inventory / "hosts.yml").read_text()
    done = shipped.run("add", "pan012", *options(**given))
    assert done.returncode == 2 and says in done.stderr
    assert (shipped.inventory / "hosts.yml").read_text() == before
    assert sorted(path.name for path in (shipped.inventory / "host_vars").iterdir()) == [
        "example-remote-unit.yml.sample"
    ]


def test_check_names_what_is_wrong_where_and_the_others_are_judged_too(shipped):
    settings = {
        "good": {"panoptes_pan_id": "PAN001"},
        "still": {},
        "twin": {"panoptes_pan_id": "PAN007", "ansible_host": "10.0.0.7"},
        "twin2": {"panoptes_pan_id": "pan007"},
        "same": {"panoptes_pan_id": "PAN008", "ansible_host": "10.0.0.7"},
        "typo": {"panoptes_pan_id": "PAN009", "docker_sorce": "distro"},
        "where": {"panoptes_pan_id": "PAN010", "panoptes_location": {"latitude": "200 deg"}},
        "brace": {"panoptes_pan_id": "PAN011", "panoptes_name": "{{ nobody }}"},
    }
    for name, one in settings.items():
        (shipped.inventory / "host_vars" / f"{name}.yml").write_text(yaml.safe_dump(one))
    (shipped.inventory / "host_vars" / "torn.yml").write_text("panoptes_name: 'x\n")
    (shipped.inventory / "host_vars" / "list.yml").write_text("- a\n")
    (shipped.inventory / "host_vars" / "locked.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3132\n")
    (shipped.inventory / "host_vars" / "nobody.yml").write_text("a: [\n")
    names = {name: {} for name in [*settings, "torn", "list", "locked"]}
    (shipped.inventory / "hosts.yml").write_text(yaml.safe_dump({"units": {"hosts": names}}))
    done = shipped.run("check", "--json")
    assert done.returncode == 1, done.stderr
    found: dict[str, list[str]] = {}
    for one in json.loads(done.stdout):
        found.setdefault(one["unit"], []).append(one["what"])
    assert sorted(found) == sorted({*names, ""} - {"good"})
    says = {
        "": "host_vars/nobody.yml", "still": "still PAN000", "twin2": "PAN007 is also that of twin:",
        "same": "10.0.0.7 is also that of twin:", "typo": "did you mean docker_source",
        "where": "latitude is '200 deg'", "brace": "panoptes_name",
        "torn": "host_vars/torn.yml, line", "list": "holds no settings", "locked": "vault",
    }  # fmt: skip
    for name, text in says.items():
        assert text.lower() in " ".join(found[name]).lower(), (name, found[name])
    assert len(found["twin"]) == 2
