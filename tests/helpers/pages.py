"""The pages of this repository."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


@cache
def tracked_pages() -> list[Path]:
    """Every Markdown file of this repository, those too that are new and not committed yet."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed here")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md"]
    answer = subprocess.run(command, cwd=TOP, capture_output=True, text=True)
    if answer.returncode:
        pytest.skip("not a git checkout: the list of tracked files is not known")
    return [TOP / name for name in answer.stdout.split("\0") if name and (TOP / name).is_file()]
