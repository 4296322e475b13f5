"""The lab and the images, for tests that run containers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from image_checks import Lab

TOP = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab that `make lab` brought up."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    file = Path(os.environ.get("PANOPTES_LAB_CACHE") or Path(home) / "panoptes-lab") / "lab.json"
    if not file.exists():
        pytest.skip("the lab is not up: `make lab` brings it up")
    found = Lab(json.loads(file.read_text(encoding="utf-8")))
    if found.docker("info", check=False).returncode:
        pytest.skip(f"Docker Engine does not answer on {found['docker_host']}: `make lab` brings it up")
    return found


@pytest.fixture(scope="session")
def utils_image(lab) -> str:
    """panoptes-utils for this machine, by the tag of its flavour."""
    return lab["images"]["panoptes-utils"].replace(":latest", f":{lab['architecture']}")


@pytest.fixture(scope="session")
def all_flavours(lab) -> list:
    """Makes the lab serve every flavour of $PANOPTES_TEST_FLAVOURS (default: this machine's and arm32v7)."""
    flavours = os.environ.get("PANOPTES_TEST_FLAVOURS", f"{lab['architecture']},arm32v7")
    done = subprocess.run(
        [sys.executable, TOP / "molecule" / "lab", "up", "--flavours", flavours], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return list(dict.fromkeys(flavours.split(",")))


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A clean clone of this checkout at its last commit."""
    if not shutil.which("git") or not (TOP / ".git").exists():
        pytest.skip("needs git and a git checkout")
    clone = tmp_path / "clone"
    safe = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", TOP, clone], check=True, env={**os.environ, **safe})
    return clone
