"""What the roles decide on the controller: which files differ, which services to start, which settings are wrong."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("ansible")

PLUGINS = Path(__file__).parents[3] / "plugins"


def load(name: str):
    specification = importlib.util.spec_from_file_location(Path(name).stem, PLUGINS / name)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


state_filters = load("filter/unit_state.py")
settings = load("lookup/unit_settings.py")

WANTED = {"path": "/etc/x", "content": "text\n", "mode": "0644"}
FOUND = {"kind": "file", "mode": "0644", "uid": 0, "gid": 0, "sha256": hashlib.sha256(b"text\n").hexdigest()}


def test_file_as_wanted_is_left_alone():
    assert state_filters.unit_files_to_write([WANTED], {"/etc/x": FOUND}) == []


@pytest.mark.parametrize(
    "difference",
    [{"sha256": "0" * 64}, {"mode": "0600"}, {"uid": 1000}, {"gid": 1000}, {"kind": "link"}],
    ids=lambda difference: next(iter(difference)),
)
def test_file_that_differs_is_written(difference):
    assert state_filters.unit_files_to_write([WANTED], {"/etc/x": {**FOUND, **difference}}) == [WANTED]


def test_absent_file_and_directory():
    assert state_filters.unit_files_to_write([WANTED], {}) == [WANTED]
    directory = state_filters.unit_owned_directory("/var/panoptes")
    assert state_filters.unit_directories_to_make([directory], {}) == [directory]
    found = {"kind": "directory", "mode": "0755", "uid": 1000, "gid": 1000}
    assert state_filters.unit_directories_to_make([directory], {"/var/panoptes": found}) == []


RUNNING = {
    "state": "running",
    "health": "healthy",
    "image": "r/u@sha256:1",
    "labels": {"com.docker.compose.config-hash": "a"},
}


@pytest.mark.parametrize(
    ("difference", "started"),
    [
        ({}, []),
        ({"state": "exited"}, ["hub"]),
        ({"health": "unhealthy"}, ["hub"]),
        ({"image": "r/u@sha256:0"}, ["hub"]),
        ({"labels": {"com.docker.compose.config-hash": "b"}}, ["hub"]),
    ],
)
def test_service_that_differs_is_started_again(difference, started):
    state = {
        "release": {"PANOPTES_UTILS_IMAGE": "r/u@sha256:1"},
        "compose_hashes": {"hub": "a"},
        "containers": {"hub": {**RUNNING, **difference}},
    }
    assert state_filters.unit_services_to_start(["hub"], state) == started


def test_every_shipped_setting_is_known():
    assert {"docker_source", "panoptes_registry", "services_public"} <= set(settings.known_settings())


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("docker_sorce", "docker_source"), ("panoptes_regsitry", "panoptes_registry"), ("dokcer_source", "docker_source")],
)
def test_mistyped_setting_is_named_with_the_nearest(name, nearest):
    (line,) = settings.unknown_names([name], settings.known_settings())
    assert line == f"No role reads a setting named {name}: did you mean {nearest}?"


def test_name_with_our_prefix_and_nothing_near():
    (line,) = settings.unknown_names(["docker_xyzzy_zzzzzzzzzzz"], settings.known_settings())
    assert "remove it" in line


def test_other_peoples_variables_are_theirs():
    names = ["lab", "molecule_yml", "ansible_host", "_docker_probe", "inventory_hostname", "docker_source", "my_source"]
    assert settings.unknown_names(names, settings.known_settings()) == []


@pytest.mark.parametrize(
    ("value", "fits"),
    [("auto", True), ("docker_ce", True), ("apt", False), (7, False)],
)
def test_value_outside_the_choices_is_refused(value, fits):
    known = {name: entry for name, entry in settings.known_settings().items() if name == "docker_source"}
    assert (settings.wrong_values({"docker_source": value}, known) == []) is fits


def test_required_setting_that_is_not_set():
    known = {name: entry for name, entry in settings.known_settings().items() if name == "panoptes_pan_id"}
    (line,) = settings.wrong_values({}, known)
    assert line.startswith("panoptes_pan_id is not set:")
