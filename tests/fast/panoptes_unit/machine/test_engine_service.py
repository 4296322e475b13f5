"""What of Docker Engine lies on the disk, moved out of its way."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from damage import CONTENTS, damage

from panoptes_unit.machine import engine_service
from panoptes_unit.machine.engine_service import ASIDE, DEFAULT_ROOT, EngineService


@pytest.fixture
def store(tmp_path):
    """The engine's folder, in which something is still mounted: a container died with its engine."""
    merged = tmp_path / "docker" / "overlay2" / "layer with a blank" / "merged"
    merged.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(merged)], capture_output=True)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    yield merged.parents[2]
    subprocess.run(["umount", "--lazy", str(merged)], capture_output=True)


def test_a_store_that_is_set_aside_can_be_removed_by_a_person(store):
    aside = EngineService().move_store(store, ASIDE)
    merged = aside / "overlay2" / "layer with a blank" / "merged"
    assert merged.is_dir() and not os.path.ismount(merged)
    assert not store.exists()
    merged.rmdir()


@pytest.mark.parametrize("content", CONTENTS)
def test_options_that_cannot_be_read_say_nothing_of_another_folder(tmp_path, monkeypatch, content):
    options = tmp_path / "daemon.json"
    monkeypatch.setattr(engine_service, "OPTIONS_FILE", options)
    options.write_text('{"data-root": "/srv/docker"}')
    assert EngineService().root() == Path("/srv/docker")
    damage(options, content)
    assert EngineService().root() == DEFAULT_ROOT
