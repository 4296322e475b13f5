"""The page on security names tests that there are: each attempt by example, and generated for all of its kind."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
PAGE = TOP / "docs/security.md"
SECTION = PAGE.read_text(encoding="utf-8").partition("## By example and for all of its kind\n")[2]
ROWS = [line.strip("| ").split(" | ") for line in SECTION.splitlines() if line.startswith("| ")][1:]


def named_in(cell: str) -> list[ast.FunctionDef]:
    """The tests that a cell names, from the files that it names for them."""
    found = []
    for name, place in re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", cell):
        tree = ast.parse((PAGE.parent / place).read_text(encoding="utf-8"))
        named = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name]
        assert named, f"{place} has no {name}"
        found += named
    return found


def test_there_are_rows():
    assert len(ROWS) >= 12


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_attempt_has_an_example_and_is_generated(row):
    _, example, generated = row
    assert named_in(example)
    decorators = [[ast.unparse(each) for each in test.decorator_list] for test in named_in(generated)]
    assert decorators
    assert all(any(each.startswith("given(") for each in names) for names in decorators), "it is not generated"
