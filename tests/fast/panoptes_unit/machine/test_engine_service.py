"""What of Docker Engine lies on the disk, moved out of its way."""

from __future__ import annotations

import os
import subprocess

import pytest

from panoptes_unit.machine.engine_service import ASIDE, EngineService


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
