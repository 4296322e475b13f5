"""What a run in check mode asks of a unit that works, and what it says instead where the settings have changed."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

pytest.importorskip("ansible")

from roles_templar import TOP, ansible_says

IMAGE = "registry.example.org/panoptes-utils@sha256:" + "1" * 64
SERVICES_ROLE = TOP / "roles/services"
SERVICES = ("config-server", "messaging-hub")


def finished() -> dict[str, Any]:
    """What the probe says of a unit that the shipped settings have made."""
    packages = ansible_says({"ansible_facts": {"unit_state": blank()}}, "{{ _docker_packages + _release_packages }}")
    state = blank() | {"packages": dict.fromkeys(packages, "1")}
    written = ansible_says({"ansible_facts": {"unit_state": state}}, "{{ _services_files + _release_files }}")
    for entry in written:
        told = {"kind": "file", "mode": entry["mode"], "uid": entry.get("uid", 0), "gid": entry.get("gid", 0)}
        state["files"][entry["path"]] = told | {"sha256": hashlib.sha256(entry["content"].encode()).hexdigest()}
    for name in SERVICES:
        state["compose_hashes"][name] = "as-written"
        labels = {"com.docker.compose.config-hash": "as-written"}
        state["containers"][name] = {"state": "running", "health": "healthy", "image": IMAGE, "labels": labels}
    return state | {"release": {"PANOPTES_UTILS_IMAGE": IMAGE, "PANOPTES_UTILS_INDEX": "index"}, "images": [IMAGE]}


def blank() -> dict[str, Any]:
    return {
        "distribution": {"id": "debian", "version": "13", "codename": "trixie", "name": "Debian 13"},
        "architecture": {"dpkg": "amd64"},
        "engine": {"version": "26.1.5"},
        "services": {},
        **{name: {} for name in ("packages", "files", "containers", "compose_hashes", "release")},
        "images": [],
    }


def said(state: dict[str, Any], wanted: str, check: bool = True, index: str = "index", **settings: object) -> Any:
    """What Ansible makes of a template within role services, where no other role's files are found."""
    facts = {"unit_state": state, "unit_registry": {"index": index}}
    known = {"ansible_facts": facts, "ansible_check_mode": check, "ansible_search_path": [str(SERVICES_ROLE)]}
    return ansible_says({**known, **settings}, wanted)


CHANGED = {
    "identifier": {"panoptes_pan_id": "PAN777"},
    "port of the config server": {"services_config_port": 6600},
    "ports of the hub": {"panoptes_configuration": {"messaging": {"cmd_port": 6600, "msg_port": 6610}}},
    "openness": {"panoptes_public": True},
    "what only the tool is asked about": {"release_preserve": ["/srv/conf_files"]},
}


def test_unit_that_is_as_the_settings_say_is_asked_in_check_mode_too():
    assert said(finished(), "{{ _services_unasked }}") is False
    assert said(finished(), "{{ _services_wanted }}") is False


@pytest.mark.parametrize("settings", CHANGED.values(), ids=CHANGED)
def test_what_runs_is_not_asked_about_settings_that_it_does_not_have_yet(settings):
    assert said(finished(), "{{ _services_unasked }}", **settings) is True
    assert said(finished(), "{{ _services_unasked }}", check=False, **settings) is False, "a real run always asks"


def without(*path: str) -> dict[str, Any]:
    state = place = finished()
    for part in path[:-1]:
        place = place[part]
    del place[path[-1]]
    return state


@pytest.mark.parametrize(
    "path",
    [("containers", "messaging-hub"), ("packages", "python3-zmq"), ("packages", "docker-compose")],
    ids=lambda path: path[1],
)
def test_what_a_run_would_mend_is_no_failure_of_check_mode(path):
    assert said(without(*path), "{{ _services_unasked }}") is True
    assert said(finished() | {"images": []}, "{{ _services_unasked }}") is True
    assert said(finished(), "{{ _services_unasked }}", index="a newer one") is True


def test_check_mode_names_what_would_be_started():
    wanted = "{{ _services_to_start | join(' ') }}{{ _services_how_far }}"
    assert said(without("containers", "messaging-hub"), wanted) == "messaging-hub"
    assert said(blank(), wanted) == "config-server messaging-hub"
    changed = said(finished(), wanted, panoptes_pan_id="PAN777")
    assert changed == "config-server messaging-hub, as far as the new files change them"
