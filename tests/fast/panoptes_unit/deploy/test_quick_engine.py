"""The engine for a cheap look answers as the other one does, and asks no more than it has to."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from panoptes_unit.deploy import proof
from panoptes_unit.deploy.engine import Engine, StoredImage
from panoptes_unit.deploy.quick_engine import QuickEngine
from panoptes_unit.errors import UnitError
from panoptes_unit.settings import Settings

IMAGE = "registry.example.org/panoptes-utils@sha256:" + "a" * 64
# Answers as Docker's command line does, from files beside it, and notes what it was asked.
DOCKER = """#!/bin/sh
here=$(dirname "$0")
shift 2
echo "$*" >> "$here/asked"
# Of all its commands, this one ends well without an engine.
[ -e "$here/dead" ] && [ "$1" = info ] && { printf '\\t\n'; echo "Cannot connect to the Docker daemon" >&2; exit 0; }
[ -e "$here/dead" ] && { echo "Cannot connect to the Docker daemon" >&2; exit 1; }
case "$1" in
ps) cat "$here/containers" ;;
image)
  grep -qF "$5" "$here/images" || { echo "Error response from daemon: No such image: $5" >&2; exit 1; }
  printf 'sha256:1\\t["sha256:2","sha256:3"]\\t1162\\n' ;;
info) printf 'overlay2\\t/var/lib/docker\\n' ;;
compose) echo '{"services": {"messaging-hub": {}, "config-server": {}}}' ;;
esac
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "containers").write_text(line("config-server") + line("messaging-hub", state="running"))
    (tmp_path / "images").write_text(IMAGE)
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


def line(
    service: str, image: str = IMAGE, state: str = "running", status: str = "Up 2 hours (healthy)", name: str = ""
) -> str:
    return "\t".join(("1" * 64, service, image, state, status, name or service)) + "\n"


def engine_of(machine: Path, told=None) -> QuickEngine:
    settings = Settings(compose_file=str(machine / "compose.yaml"), release_file=str(machine / "release.env"))
    return QuickEngine(settings, told)


def asked(machine: Path) -> list[str]:
    return [text.split()[0] for text in (machine / "asked").read_text().splitlines()]


def test_it_needs_no_more_than_two_commands_for_a_whole_unit_and_no_python_of_docker(machine, monkeypatch):
    monkeypatch.setattr("panoptes_unit.deploy.engine._sdk", lambda: pytest.fail("python3-docker was asked"))
    told = {"at": time.time(), "files": engine_of(machine)._checksum(), "services": ["config-server", "messaging-hub"]}
    engine = engine_of(machine, told)
    assert engine.is_alive() and engine.version() and engine.has(IMAGE)
    assert engine.services() == ["config-server", "messaging-hub"]
    assert proof.missing(engine.containers(), engine.services(), IMAGE) == []
    assert asked(machine) == ["ps", "image"]
    assert engine.stored(IMAGE) == StoredImage("sha256:1", ("sha256:2", "sha256:3"), 1162)
    assert engine.storage() == ("overlay2", Path("/var/lib/docker"))
    again = engine_of(machine, json.loads(json.dumps(engine.told)))
    assert again.storage() == engine.storage()
    assert asked(machine) == ["ps", "image", "info"], "where it keeps things is asked as seldom as Compose"


def test_compose_is_asked_again_when_one_of_its_files_has_changed(machine):
    first = engine_of(machine)
    assert first.services() == ["config-server", "messaging-hub"]
    told = json.loads(json.dumps(first.told))
    for change in ("compose.yaml", "release.env"):
        assert engine_of(machine, told).services() == ["config-server", "messaging-hub"]
        before = len(asked(machine))
        (machine / change).write_text("other\n")
        again = engine_of(machine, told)
        again.services()
        assert asked(machine)[before:] == ["compose"]
        told = again.told


@pytest.mark.parametrize("hours", [-1, 25])
def test_compose_is_asked_once_a_day_for_more_than_its_files_may_be_gone(machine, hours):
    first = engine_of(machine)
    first.services()
    engine_of(machine, {**first.told, "at": first.told["at"] - hours * 3600}).services()
    assert asked(machine) == ["compose", "compose"]


def test_image_that_is_gone_is_gone_and_one_that_cannot_be_asked_for_is_an_error(machine):
    (machine / "images").write_text("")
    assert engine_of(machine).has(IMAGE) is False
    (machine / "dead").touch()
    with pytest.raises(UnitError, match="Cannot connect"):
        engine_of(machine).has(IMAGE)


def test_engine_that_does_not_answer_is_asked_once(machine):
    (machine / "dead").touch()
    engine = engine_of(machine)
    assert engine.is_alive() is False
    for ask in (engine.containers, lambda: engine.has(IMAGE)):
        with pytest.raises(UnitError):
            ask()
    assert asked(machine) == ["ps"]


def test_of_two_containers_of_a_service_the_one_that_runs_counts(machine):
    (machine / "containers").write_text(
        line("config-server", state="created", status="Created") + line("config-server") + line("messaging-hub")
    )
    assert proof.missing(engine_of(machine).containers(), ["config-server", "messaging-hub"], IMAGE) == []


def test_both_engines_have_the_same_questions():
    assert {name for name in vars(QuickEngine) if not name.startswith("_")} <= set(dir(Engine))


@pytest.mark.parametrize("before", [None, [""], ["", ""], ["overlay2"], 3, ["overlay2", 3]])
def test_engine_that_is_away_has_no_folder_and_what_it_did_not_say_is_not_kept(machine, before):
    told = {"at": time.time(), "files": engine_of(machine)._checksum(), "services": ["config-server"]}
    engine = engine_of(machine, told if before is None else {**told, "storage": before})
    (machine / "dead").touch()
    with pytest.raises(UnitError, match="Cannot connect"):
        engine.storage()
    (machine / "dead").unlink()
    assert engine_of(machine, json.loads(json.dumps(engine.told))).storage() == ("overlay2", Path("/var/lib/docker"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("config-server", []),
        ("panoptes-config-server-1", []),
        ("panoptes_config-server_1", []),
        ("somebody", ["config-server is called somebody"]),
        ("18cfa4d31c7c_config-server", ["config-server is called 18cfa4d31c7c_config-server"]),
    ],
)
def test_a_container_that_was_renamed_is_named(machine, name, told):
    (machine / "containers").write_text(line("config-server", name=name) + line("messaging-hub"))
    assert proof.missing(engine_of(machine).containers(), ["config-server", "messaging-hub"], IMAGE) == told


def test_a_renamed_container_goes_before_compose_is_asked(machine, monkeypatch):
    done = []
    engine = Engine(Settings(compose_file=str(machine / "compose.yaml")))
    (machine / "containers").write_text(line("config-server", name="somebody") + line("messaging-hub"))
    monkeypatch.setattr(engine, "containers", engine.glance)
    monkeypatch.setattr(engine, "_remove_half_made", lambda: None)
    monkeypatch.setattr(engine, "_compose", lambda *words: done.append(words[0]))
    monkeypatch.setattr(
        Engine, "client", SimpleNamespace(remove_container=lambda number, force: done.append((number, force)))
    )
    engine.up()
    assert done == [("1" * 64, True), "up"]
