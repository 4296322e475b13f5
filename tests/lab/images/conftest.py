"""The lab and the images, for tests that run containers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from image_checks import Lab

TOP = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def lab(lab: dict) -> Lab:
    """The same, with its docker command line."""
    found = Lab(lab)
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
        [sys.executable, "-m", "lab", "up", "--flavours", flavours], capture_output=True, text=True, cwd=TOP
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return list(dict.fromkeys(flavours.split(",")))
