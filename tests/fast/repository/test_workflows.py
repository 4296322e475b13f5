"""What builds and tests this repository elsewhere does not change by itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
WORKFLOWS = sorted((TOP / ".github/workflows").glob("*.y*ml"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_named_by_commit_with_their_version_beside(workflow):
    used = re.findall(r"^\s*-?\s*uses:\s*(.*)$", workflow.read_text(encoding="utf-8"), re.MULTILINE)
    assert used
    moving = [name for name in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}\s+# v[\d.]+", name)]
    assert moving == [], "a tag can be moved to other code"
