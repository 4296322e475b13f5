"""What both services of a unit take of its memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "services.py"


@pytest.mark.skipif(
    os.environ.get("CONDA_DEFAULT_ENV") != "panoptes-env", reason="not inside panoptes-utils, whose versions count"
)
def test_both_services_together_take_at_most_60_mb():
    # Not counted as covered: the counting itself takes memory.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV_CORE_")}
    done = subprocess.run([sys.executable, BENCHMARK, "--memory"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
