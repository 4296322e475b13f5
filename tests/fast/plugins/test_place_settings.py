"""From a person's settings to what a unit gets: through the shipped inventory, the roles' files and preflight."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

pytest.importorskip("ansible")

TOP = Path(__file__).parents[3]
ROLES = ("services", "release", "updates")
SHIPPED_LOCATION = """\
location:
  name: Mauna Loa Observatory
  latitude: 19.54 deg
  longitude: -155.58 deg
  elevation: 3400.0 m
  horizon: 30 deg
  flat_horizon: -6 deg
  focus_horizon: -12 deg
  observe_horizon: -18 deg
  timezone: US/Hawaii
  gmt_offset: -600
directories:
"""
# Host -> its settings, in YAML as a person writes it.
GOOD = {
    "shipped": "",
    "sample": (TOP / "inventory/group_vars/units/90-mine.yml.sample").read_text(encoding="utf-8"),
    "elsewhere": (TOP / "inventory/host_vars/example-remote-unit.yml.sample").read_text(encoding="utf-8"),
    "west": "panoptes_location: {longitude: 155.58 W, latitude: 19d32m24s N, elevation: 3.4 km}",
    "quoted": "panoptes_location: {longitude: '-155:34:48', latitude: 19.54, elevation: 3400}",
    "turned": "panoptes_location: {longitude: 204.42 deg, elevation: 11155 ft, horizon: 30}",
    "further": "panoptes_configuration: {location: {longitude: 149.07 E, timezone: Australia/Sydney, gmt_offset: 600}}",
    "sydney": "panoptes_location: {longitude: 150.99, timezone: Australia/Sydney}",
    "far": "panoptes_location: {longitude: 155.58 E}",
    "literal": "panoptes_name: !unsafe Bob's {{ telescope }}",
    "direct": "services_configuration: {pan_id: PAN001, messaging: {cmd_port: 6500, msg_port: 6510},\n"
    "  location: {longitude: 155.58 W}}",
    "unplaced": "services_configuration: {pan_id: PAN001, messaging: {cmd_port: 6500, msg_port: 6510}}",
}
BAD = {
    "opposed": ("panoptes_location: {longitude: -155.58 W, latitude: 95 deg, timezone: Mars/Phobos, horizon: high}",
        ["panoptes_location.longitude is '-155.58 W': - and W are at odds: leave one of them out.",
         "panoptes_location.latitude is '95 deg': a latitude is from -90 to 90 deg.",
         "panoptes_location.timezone is 'Mars/Phobos': no such time zone: write it as Australia/Sydney.",
         "panoptes_location.horizon is 'high': write an altitude, such as 30 deg."]),
    "counted": ("panoptes_location: {longitude: 19:54:30}",
        ["panoptes_location.longitude is 71670: a longitude is from -360 to 360 deg; if you typed 19:54:30, put it in"
         " quotes, for YAML makes this number of it."]),
    "braces": ("panoptes_name: Bob's {{ telescope }}\npanoptes_location: {name: '{{ roof }}', longitude: 155.58 N}\n"
        "docker_source: apt",
        ["panoptes_name is \"Bob's {{ telescope }}\": 'telescope' is undefined; mend what is in the braces or, if they"
         " belong to the value, write !unsafe before it.",
         "panoptes_location.name is '{{ roof }}': 'roof' is undefined; mend what is in the braces or, if they"
         " belong to the value, write !unsafe before it.",
         "panoptes_location.longitude is '155.58 N': N does not belong to a longitude: it has E or W.",
         "docker_source is 'apt': write one of auto, distro, docker_ce."]),
    "further": ("panoptes_configuration: {location: {elevation: 34 km}}",
        ["panoptes_configuration.location.elevation is '34 km': an elevation is from -500 to 9000 m."]),
    "text": ("panoptes_location: 155.58 W",
        ["panoptes_location is '155.58 W': write names with a value each; see roles/preflight/README.md."]),
    "nothing": ("panoptes_configuration: {location: }",
        ["panoptes_configuration.location is None: write its lines, such as latitude and longitude."]),
    "window": ("release_longitude: 71670", ["release_longitude is 71670: a longitude is from -360 to 360 deg."]),
    "direct": ("services_configuration: {pan_id: PAN001, messaging: {cmd_port: 6500, msg_port: 6510},\n"
        "  location: {latitude: 95 N}}",
        ["services_configuration.location.latitude is '95 N': a latitude is from -90 to 90 deg."]),
}  # fmt: skip


def role_defaults() -> dict:
    """What the roles would bring along, without the settings of the inventory, which win over it."""
    shipped = set()
    for name in ("10-defaults.yml", "20-wiring.yml"):
        shipped |= set(yaml.safe_load((TOP / "inventory/group_vars/units" / name).read_text(encoding="utf-8")))
    found = {}
    for role in ROLES:
        found |= yaml.safe_load((TOP / "roles" / role / "defaults/main.yml").read_text(encoding="utf-8"))
    return {name: value for name, value in found.items() if name not in shipped}


def play(folder: Path, hosts: dict[str, str], tasks: dict) -> tuple[dict, str]:
    """Runs a play on hosts with these settings; what its last task had for each, and the warnings."""
    command = shutil.which("ansible-playbook") or pytest.skip("ansible-playbook is not installed here")
    ignore = shutil.ignore_patterns("90-mine.yml", "units.yml*", "pan*.yml")
    inventory = Path(shutil.copytree(TOP / "inventory", folder / "inventory", ignore=ignore))
    local = {"ansible_connection": "local"}
    (inventory / "hosts.yml").write_text(yaml.safe_dump({"units": {"hosts": dict.fromkeys(hosts, local)}}))
    for name, text in hosts.items():
        (inventory / "host_vars" / f"{name}.yml").write_text(text or "{}")
    book = folder / "book.yml"
    book.write_text(yaml.safe_dump([{"hosts": "units", "gather_facts": False, **tasks}]))
    environment = {**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"), "ANSIBLE_STDOUT_CALLBACK": "json",
                   "ANSIBLE_ROLES_PATH": str(TOP / "roles"), "ANSIBLE_NOCOLOR": "1"}  # fmt: skip
    done = subprocess.run([command, "-i", inventory, book], capture_output=True, text=True, env=environment, cwd=TOP)
    answer = json.loads(done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1])
    return answer["plays"][-1]["tasks"][-1]["hosts"], " ".join((done.stderr + done.stdout).split())


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    wanted = {
        "configuration": "{{ _services_configuration_text }}",
        "settings": "{{ _release_settings_text }}",
        "calendar": "{{ _updates_calendar }}",
        "longitude": "{{ updates_longitude }}",
        "problems": "{{ q('unit_settings', 'values') }}",
    }
    tasks = {
        "vars": role_defaults(),
        "vars_files": [str(TOP / "roles" / role / "vars/main.yml") for role in ROLES],
        "tasks": [{"ansible.builtin.debug": {"msg": wanted}}],
    }
    found, said = play(tmp_path_factory.mktemp("good"), GOOD, tasks)
    return {host: result["msg"] for host, result in found.items()}, said


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    hosts = {name: text for name, (text, _) in BAD.items()}
    found, _ = play(tmp_path_factory.mktemp("bad"), hosts, {"roles": ["preflight"]})
    return {host: result["msg"] for host, result in found.items()}


def location(found: dict) -> dict:
    return yaml.safe_load(found["configuration"])["location"]


@pytest.mark.parametrize("host", GOOD)
def test_good_settings_have_no_problems(good, host):
    assert good[0][host]["problems"] == []


@pytest.mark.parametrize("host", ["shipped", "sample"])
def test_shipped_settings_give_a_unit_what_they_always_gave(good, host):
    found = good[0][host]
    assert SHIPPED_LOCATION in found["configuration"]
    assert "window:\n  longitude: -155.58\n  start_h: 9\n" in found["settings"]
    assert (found["longitude"], found["calendar"]) == (-155.58, "*-*-* 20:22:00 UTC")


def test_example_of_a_unit_elsewhere_is_served_as_it_is_written(good):
    written = yaml.safe_load(GOOD["elsewhere"])["panoptes_location"]
    assert list(location(good[0]["elsewhere"]).items()) == list(written.items())


@pytest.mark.parametrize("host", ["west", "quoted", "turned", "direct"])
def test_longitude_is_west_in_the_configuration_and_in_the_update_window(good, host):
    found = good[0][host]
    assert location(found)["longitude"] == "-155.58 deg"
    assert yaml.safe_load(found["settings"])["window"]["longitude"] == -155.58
    assert (found["longitude"], found["calendar"]) == (-155.58, "*-*-* 20:22:00 UTC")


def test_other_parts_are_served_in_one_form(good):
    served = {host: location(good[0][host]) for host in ("west", "quoted", "turned")}
    assert (served["west"]["latitude"], served["west"]["elevation"]) == ("19.54 deg", "3400.0 m")
    assert (served["quoted"]["latitude"], served["quoted"]["elevation"]) == ("19.54 deg", "3400 m")
    assert (served["turned"]["horizon"], served["turned"]["elevation"]) == ("30 deg", "3400.044 m")


def test_location_in_part_keeps_the_other_lines(good):
    shipped, west = location(good[0]["shipped"]), location(good[0]["west"])
    assert {**west, "longitude": "-155.58 deg"} == shipped
    assert location(good[0]["sydney"]) == {
        **shipped, "longitude": "150.99 deg", "timezone": "Australia/Sydney", "gmt_offset": 600,
    }  # fmt: skip


def test_place_in_the_further_configuration_is_that_of_the_window_too(good):
    found = good[0]["further"]
    assert (location(found)["longitude"], found["longitude"]) == ("149.07 deg", 149.07)


def test_configuration_without_a_place_leaves_the_window_to_the_settings(good):
    assert "location" not in yaml.safe_load(good[0]["unplaced"]["configuration"])
    assert good[0]["unplaced"]["longitude"] == -155.58


def test_braces_that_are_meant_reach_the_unit(good):
    assert yaml.safe_load(good[0]["literal"]["configuration"])["name"] == "Bob's {{ telescope }}"


def test_zone_far_from_the_longitude_is_a_warning_and_no_more(good):
    warning = "timezone is US/Hawaii, which is 3.6 h from the sun's time at longitude 155.58 deg: check both."
    assert good[1].count(f"far: {warning}") == 1
    assert "shipped: timezone" not in good[1] and "sydney: timezone" not in good[1]


def test_unit_of_which_nothing_was_said_is_a_hint_and_no_more(good):
    hint = "nothing says which unit this is, so it is PAN000 at Mauna Loa Observatory: type `make settings`"
    assert good[1].count(f"shipped: {hint}") == good[1].count(f"sample: {hint}") == 1
    assert f"elsewhere: {hint}" not in good[1] and f"sydney: {hint}" not in good[1]


@pytest.mark.parametrize("host", BAD)
def test_preflight_names_all_that_is_wrong_in_one_message_and_goes_no_further(refused, host):
    lines = refused[host].splitlines()
    assert lines[0] == f"{host} cannot be provisioned; nothing on it was changed."
    assert sorted(line.removeprefix("- ") for line in lines[1:]) == sorted(BAD[host][1])
