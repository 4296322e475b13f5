"""A path that a program spells from the top of the checkout leads to a file that git has.

A machine that was set up before a file moved does not notice: only a bare one does.
"""

import ast
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
MADE_HERE = {".git", ".venv", "artifacts"}


def _files() -> list[str]:
    answer = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True)
    if answer.returncode != 0:
        pytest.skip("not a git checkout: git ls-files does not answer")
    return [name for name in answer.stdout.split("\0") if name]


def spelled_paths(text: str) -> set[str]:
    """`a/b` of each `TOP / "a" / "b"` in a program."""
    found: dict[ast.AST, str] = {}
    inner = set()
    for node in ast.walk(ast.parse(text)):
        parts: list[str] = []
        place: ast.AST = node
        while isinstance(place, ast.BinOp) and isinstance(place.op, ast.Div):
            inner.add(place.left)
            if not isinstance(place.right, ast.Constant) or not isinstance(place.right.value, str):
                parts = []
                break
            parts.insert(0, place.right.value)
            place = place.left
        if (
            parts
            and isinstance(place, (ast.Name, ast.Attribute))
            and (place.id if isinstance(place, ast.Name) else place.attr) == "TOP"
        ):
            found[node] = "/".join(parts)
    return {path for node, path in found.items() if node not in inner}


def missing_paths(programs: dict[str, str], files: list[str]) -> list[str]:
    """`program: path` of each path that is neither a file of git nor a folder with one."""
    known = set(files) | {parent.as_posix() for name in files for parent in Path(name).parents}
    return [
        f"{program}: {path}"
        for program, text in programs.items()
        for path in sorted(spelled_paths(text))
        if path not in known and Path(path).parts[0] not in MADE_HERE
    ]


def test_each_spelled_path_is_in_the_checkout():
    files = _files()
    programs = {
        name: (TOP / name).read_text(encoding="utf-8")
        for name in files
        if name.endswith(".py") and (TOP / name).exists()
    }
    assert not missing_paths(programs, files)


def test_a_path_of_before_a_move_is_found():
    program = 'PLAYBOOK = TOP / "molecule" / "lab" / "engine.yml"\nOTHER = settings.TOP / "lab" / "engine.yml"\n'
    assert missing_paths({"x.py": program}, ["lab/engine.yml"]) == ["x.py: molecule/lab/engine.yml"]
