"""Each reason not to provision a machine, from what the probe read: one line, with the value and the remedy."""

from __future__ import annotations

import copy
import time

import pytest

from panoptes_unit.machine.clock import CLOCK_FLOOR
from panoptes_unit.machine.preflight import Requirements, ask_registry, platform_for, problems
from panoptes_unit.settings import Limits

NOW = CLOCK_FLOOR + 86400 * 300
FIT = {
    "distribution": {"id": "debian", "version": "13", "codename": "trixie", "name": "Debian GNU/Linux 13 (trixie)"},
    "architecture": {"dpkg": "amd64", "machine": "x86_64", "board": ""},
    "systemd": True,
    "now": NOW,
    "disks": {
        "/": {"free": 20e9, "total": 30e9, "device": 1},
        "/var/lib/docker": {"free": 20e9, "total": 30e9, "device": 1},
    },
    "ports": {},
    "containers": {},
    "engine": {"version": "1.2.3", "architecture": "amd64"},
    "users": {},
    "images": [],
}
WANTED = Requirements(
    distributions={"debian": ["12", "13"], "ubuntu": ["24.04"]},
    free_mb={"/": 500, "/var/lib/docker": 500},
    ports={"6563": "config server"},
    clock=NOW,
    user="panoptes",
)
RELEASE = {
    "image": "r/u:latest",
    "index": "sha256:1",
    "platforms": {"linux/amd64": "sha256:2"},
    "size": 4e8,
    "problem": "",
}


@pytest.fixture
def state():
    return copy.deepcopy(FIT)


def only(found: list) -> str:
    assert len(found) == 1, found
    return found[0]


def test_fit_machine_has_no_problem(state):
    assert problems(state, WANTED, RELEASE) == []


def test_release_of_the_distribution(state):
    state["distribution"].update(version="11", name="Debian GNU/Linux 11 (bullseye)")
    line = only(problems(state, WANTED))
    assert line == "Debian GNU/Linux 11 (bullseye) is not supported: install one of debian 12, 13; ubuntu 24.04."


def test_system_without_os_release_is_refused(state):
    state["distribution"] = {"id": "", "version": "", "codename": "", "name": ""}
    assert only(problems(state, WANTED)).startswith("a distribution without os-release is not supported")


@pytest.mark.parametrize("architecture", ["i386", "armel", ""])
def test_architecture_without_an_image(state, architecture):
    state["architecture"]["dpkg"] = architecture
    assert repr(architecture) in only(problems(state, WANTED))


def test_armv6_is_refused_although_dpkg_says_armhf(state):
    state["architecture"] = {"dpkg": "armhf", "machine": "armv6l", "board": "Raspberry Pi Zero W Rev 1.1"}
    assert only(problems(state, WANTED)).startswith("Raspberry Pi Zero W Rev 1.1 is ARMv6")
    assert platform_for(state) == ""


def test_32_bit_system_on_a_64_bit_kernel_takes_the_32_bit_image(state):
    state["architecture"] = {"dpkg": "armhf", "machine": "aarch64", "board": ""}
    assert problems(state, WANTED) == []
    assert platform_for(state) == "linux/arm/v7"


def test_clock_in_the_past(state):
    state["now"] = 0
    assert only(problems(state, WANTED)).startswith("The clock says 1970-01-01 00:00 UTC")


def test_clock_at_the_floor_is_the_first_that_can_be(state):
    wanted = WANTED._replace(clock=CLOCK_FLOOR)
    state["now"] = CLOCK_FLOOR
    assert problems(state, wanted) == []
    state["now"] = CLOCK_FLOOR - 1
    assert "which is in the past" in only(problems(state, wanted))


@pytest.mark.parametrize(("offset", "word"), [(-301, "behind"), (301, "ahead of")])
def test_clock_apart_from_the_controllers(state, offset, word):
    state["now"] = NOW + offset
    line = only(problems(state, WANTED))
    assert f"301 s {word} the controller's" in line
    assert time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(NOW + offset)) in line


def test_clock_within_the_tolerance(state):
    state["now"] = NOW + 299
    assert problems(state, WANTED) == []


def test_port_of_our_own_container_is_no_problem(state):
    state["ports"]["6563"] = [{"address": "127.0.0.1", "pid": 12, "process": "python", "ancestors": [12, 11, 2]}]
    assert "pid 12" in only(problems(state, WANTED))
    state["containers"]["config-server"] = {"pid": 11}
    assert problems(state, WANTED) == []


@pytest.mark.parametrize("answers", [True, False])
def test_container_is_a_stranger_only_where_the_engine_says_whose_it_is(state, answers):
    state["engine"] = state["engine"] if answers else {}
    holder = {"address": "127.0.0.1", "pid": 12, "process": "python", "ancestors": [12], "container": "a" * 64}
    state["ports"]["6563"] = [holder]
    assert bool(problems(state, WANTED)) == answers
    state["ports"]["6563"] = [{**holder, "container": ""}]
    assert problems(state, WANTED), "a program that is in no container is one"


def test_paths_on_one_file_system_need_the_sum(state):
    for disk in state["disks"].values():
        disk["free"] = 900e6
    assert "900 MB free, and 1000 MB are needed" in only(problems(state, WANTED))
    state["disks"]["/var/lib/docker"]["device"] = 2
    assert problems(state, WANTED) == []


def test_room_for_a_release_that_is_not_on_the_disk_yet(state):
    for disk in state["disks"].values():
        disk["free"] = 2e9
    assert "2400 MB are needed" in only(problems(state, WANTED, RELEASE))
    state["images"] = ["r/u@sha256:2"]
    assert problems(state, WANTED, RELEASE) == []


def test_room_for_the_image_is_what_an_update_asks_for(state):
    wanted = WANTED._replace(free_mb={})
    state["disks"]["/var/lib/docker"]["free"] = RELEASE["size"] * Limits().expansion
    assert problems(state, wanted, RELEASE) == []
    state["disks"]["/var/lib/docker"]["free"] -= 1
    assert "are needed for this release" in only(problems(state, wanted, RELEASE))


def test_account_whose_name_is_taken(state):
    state["users"]["panoptes"] = {"name": "panoptes", "uid": 1234}
    assert "usermod -u 1000 panoptes" in only(problems(state, WANTED))
    state["users"]["1000"] = {"name": "pi", "uid": 1000}
    assert problems(state, WANTED) == [], "where 1000 belongs to somebody, that account is the unit's"


def test_registrys_problem_is_passed_on(state):
    assert only(problems(state, WANTED, {**RELEASE, "problem": "no."})) == "no."


def test_registry_that_is_not_there():
    answer = ask_registry("127.0.0.1:1/panoptes-utils:latest", "", "linux/amd64", timeout=5)
    assert answer["problem"].startswith("127.0.0.1:1/panoptes-utils:latest: registry 127.0.0.1:1 is not reachable")
    assert "panoptes_registry" in answer["problem"]


def test_image_name_that_is_none():
    assert "is not an image name" in ask_registry("r.example.org/UPPER:latest", "", "linux/amd64")["problem"]


def test_login_that_others_can_read(tmp_path):
    login = tmp_path / "login"
    login.write_text("anna:secret\n")
    login.chmod(0o644)
    problem = ask_registry("127.0.0.1:1/u:latest", "", "linux/amd64", credentials=str(login))["problem"]
    assert f"chmod 0600 {login}" in problem
    assert "secret" not in problem
