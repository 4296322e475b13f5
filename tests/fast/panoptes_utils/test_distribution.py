"""What pip is told of this distribution: docs/decisions/version-number.md."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

TOP = Path(__file__).parents[3]
VERSION = (TOP / "panoptes_utils" / "VERSION").read_text(encoding="utf-8").strip()
ASKED = ["panoptes-utils[config,images]>0.3.0,<0.4.0", "panoptes-utils[config,images]<3.0,>=0.3.3"]


@pytest.mark.parametrize("asked", ASKED)
def test_the_number_is_what_pocs_requires(asked):
    assert Requirement(asked).specifier.contains(VERSION)
    assert not Requirement("panoptes-utils<=0.3.99").specifier.contains(VERSION)


def test_the_constraint_holds_this_number_and_no_other():
    assert (TOP / "constraints.txt").read_text(encoding="utf-8").split() == [f"panoptes-utils=={VERSION}"]
    assert "+" not in VERSION, "no tag of an image may hold it"


@pytest.mark.skipif("PANOPTES_EVERY_FAULT" not in os.environ, reason="asks an index of packages; nightly")
def test_pip_leaves_it_in_place(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words: str) -> str:
        done = subprocess.run([python, *words], capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    constraint = ["--no-deps", "--constraint", str(TOP / "constraints.txt")]
    run("-m", "pip", "install", "--quiet", *constraint, str(TOP))
    for asked in (*ASKED, "panoptes-utils[images]"):
        run("-m", "pip", "install", "--quiet", "--upgrade", *constraint, asked)
        says = "import panoptes_utils, importlib.metadata as m; print(m.version('panoptes-utils'))"
        assert run("-c", says).strip() == VERSION
    extras = run("-c", "import importlib.metadata as m; print(*m.metadata('panoptes-utils').get_all('Provides-Extra'))")
    assert {"config", "images", "testing", "all"} <= set(extras.split())
