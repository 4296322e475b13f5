"""Commands of the pages that need the lab, typed as they are written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab


@pytest.fixture
def typed(checkout):
    """Types a line in a clean clone, whose environment is there already, with a name of its own for the unit."""
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".complete").touch()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PANOPTES_LAB_UNIT": f"panoptes-commands-{os.getpid()}"}

    def run(line: str) -> str:
        done = subprocess.run(["bash", "-c", line], cwd=checkout, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    yield run
    run("python -m lab unit --remove")


@pytest.mark.slow
def test_make_unit_shows_one_that_works_and_make_unit_clean_removes_it(lab, typed):
    def there(kind: str) -> str:
        command = [lab["docker_cli"], "--host", lab["docker_host"], *kind.split(), "--quiet", "--filter"]
        return subprocess.run(
            [*command, f"name=panoptes-commands-{os.getpid()}"], capture_output=True, text=True
        ).stdout

    shown = typed("make unit")
    assert "A simulated unit is running in the container" in shown
    assert "arcsec apart" in shown
    assert there("ps --all") and there("volume ls")
    removed = typed("make unit-clean")
    assert "playbooks/unit.yml" not in removed and "preflight" not in removed, "it was provisioned again"
    assert there("ps --all") == there("volume ls") == ""


@pytest.mark.slow
def test_make_docs_builds_the_pages_without_a_warning(typed, checkout):
    typed("make docs")
    assert (checkout / "docs" / "site" / "api" / "index.html").is_file()
