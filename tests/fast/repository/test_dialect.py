"""One way of saying the same thing, where no linter has a rule for it."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PLACES = ("panoptes_*", "plugins", "lab", "tests", "molecule", "benchmarks", "scripts", "docker")


def test_a_caught_error_is_called_error():
    seen = 0
    for place in PLACES:
        for path in (path for folder in ROOT.glob(place) for path in folder.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ExceptHandler) and node.name:
                    seen += 1
                    assert node.name == "error", f"{path.relative_to(ROOT)}:{node.lineno}: `as {node.name}`"
    assert seen > 100
