"""What `make controller` installs: what a controller imports, and nothing that only developers need."""

from __future__ import annotations

import ast
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
# Stands in for Python where environments are made: its pip writes down what it is to install.
FAKE_PYTHON = """#!/bin/sh
if [ "$1 $2" != "-m venv" ]; then exec {python} "$@"; fi
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho "$@" >> {asked}\\n' > "$3/bin/pip"
ln -sf {python} "$3/bin/python"
chmod +x "$3/bin/pip"
"""
# Import -> package, where they differ.
PACKAGES = {"yaml": "pyyaml", "ruamel": "ruamel.yaml", "ansible_runner": "ansible-runner"}


@pytest.fixture
def package(monkeypatch) -> dict:
    """What setup.py says."""
    said = {}
    monkeypatch.setattr("setuptools.setup", said.update)
    runpy.run_path(str(TOP / "setup.py"))
    return said


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=]", one)[0] for one in requirements}


@pytest.fixture
def made(checkout, tmp_path):
    """Types a target of make in a clone, and tells with which extras the checkout would be installed."""
    if not shutil.which("make"):
        pytest.skip("make is not installed here")
    asked, python = tmp_path / "asked", tmp_path / "python"
    python.write_text(FAKE_PYTHON.format(python=sys.executable, asked=asked))
    python.chmod(0o755)
    for name in ("Makefile", "setup.py", "scripts/make-venv.sh"):  # as they are now, not as they were committed
        shutil.copy(TOP / name, checkout / name)

    def run(target: str) -> list[str]:
        asked.write_text("")
        subprocess.run(["make", target, f"PYTHON={python}"], cwd=checkout, check=True, capture_output=True)
        return re.findall(r"--editable \S+\[(\S+)\]", asked.read_text())

    return run


def test_controller_gets_no_tools_of_developers(made, package):
    (extras,) = made("controller")
    assert extras == "controller"
    got = names(package["extras_require"][extras])
    assert got & names(package["extras_require"]["tests"] + package["extras_require"]["docs"]) == set()
    assert got & names(package["extras_require"]["images"]) == set()


def test_environment_is_made_once_and_again_where_other_packages_are_wanted(made, checkout):
    assert made("controller") == ["controller"]
    assert made("controller") == []
    with (checkout / "setup.py").open("a") as file:
        file.write("# changed\n")
    assert made("controller") == ["controller"]
    assert len(made("venv")) == 1


def test_controller_gets_all_that_its_programs_import(package):
    got = names(package["extras_require"]["controller"] + package["install_requires"])
    files = [*(TOP / "panoptes_fleet").glob("*.py"), TOP / "scripts/settings.py"]
    files += [file for file in (TOP / "plugins").glob("*/*.py") if file.parent.name != "modules"]
    imported = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).partition(".")[0])
    foreign = imported - sys.stdlib_module_names - {"panoptes_fleet"}
    assert {PACKAGES.get(name, name) for name in foreign} - got == set()
