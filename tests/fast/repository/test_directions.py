"""Who may import whom: the packages that are shipped to different places, and the rooms of the unit's tool."""

from __future__ import annotations

import ast
import functools
import graphlib
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from panoptes_unit.build import build

TOP = Path(__file__).parents[3]

# Folder with Python files -> folders of this repository that they may import, besides their own.
FOLDERS: dict[str, set[str]] = {
    "panoptes_unit": set(),
    "panoptes_utils": set(),
    "panoptes": {"panoptes_utils"},
    "panoptes_fleet": set(),
    "plugins": set(),  # parts of panoptes_unit come to modules as ansible.module_utils.panoptes_unit
    "lab": {"panoptes_unit"},
    "setup.py": set(),
    "docs": {"panoptes_utils"},
    "scripts": {"panoptes_utils"},
    "molecule": {"lab", "panoptes_unit"},
    "benchmarks": {"lab", "panoptes_unit", "panoptes_utils"},
    "tests": {"lab", "panoptes", "panoptes_unit", "panoptes_utils", "panoptes_fleet", "plugins"},
}
# Examples for other people's images stand in this folder, and import nothing of the project; `docker` is a library.
EXAMPLES = "docker"
# Room of panoptes_unit -> rooms that it may import, besides itself. Lowest first: none may import one below it here.
ROOMS: dict[str, set[str]] = {
    "documents": set(),
    "errors": {"documents"},
    "guarded": {"documents", "errors"},
    "files": {"documents", "guarded"},
    "report": {"documents"},
    "web": {"documents"},
    "settings": {"documents", "errors"},
    "services": {"documents", "errors", "report", "web"},
    "sources": {"documents", "errors", "guarded", "report", "web"},
    "machine": {"documents", "errors", "files", "guarded", "settings", "sources"},
    "deploy": {"documents", "errors", "files", "guarded", "report", "settings", "services", "sources", "machine"},
    "health": {"documents", "errors", "files", "report", "web", "settings", "services", "sources", "machine", "deploy"},
    "cli": {"documents", "errors", "report", "settings", "machine", "deploy", "health"},
    "build": set(),
    "__main__": {"cli"},
}
# What Debian installs on a unit beside Python: asked for where it is used, never when a file is imported.
DEBIAN = {"docker", "requests", "yaml", "zmq"}
CARRIED = "ansible.module_utils."
NEWER_THAN_3_9 = {"tomllib", "annotationlib", "compression"}
STANDARD_LIBRARY = sys.stdlib_module_names - NEWER_THAN_3_9


class Import(NamedTuple):
    """One imported name.

    Attributes:
        name: absolute and dotted, with the name that is taken from a module as its last part.
        relative: it was written with leading dots.
        late: it is inside a function: nothing happens when the file is imported.
        guarded: its absence is caught.
    """

    line: int
    name: str
    relative: bool = False
    late: bool = False
    guarded: bool = False

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


class _Imports(ast.NodeVisitor):
    def __init__(self, path: str) -> None:
        self.package = path.split("/")[:-1]
        self.found: list[Import] = []
        self.late = self.guarded = False

    def _add(self, node: ast.AST, name: str, relative: bool = False) -> None:
        self.found.append(Import(node.lineno, name, relative, self.late, self.guarded))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        above = self.package[: len(self.package) + 1 - node.level] if node.level else []
        for alias in node.names:
            self._add(node, ".".join([*above, *([node.module] if node.module else []), alias.name]), node.level > 0)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
            self._add(node, str(node.args[0].value))
        self.generic_visit(node)

    def _function(self, node: ast.AST) -> None:
        before, self.late = self.late, True
        self.generic_visit(node)
        self.late = before

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _function  # noqa: N815

    def visit_Try(self, node: ast.Try) -> None:
        caught = {name.id for handler in node.handlers for name in ast.walk(handler) if isinstance(name, ast.Name)}
        before, self.guarded = self.guarded, self.guarded or "ImportError" in caught
        for part in node.body:
            self.visit(part)
        self.guarded = before
        for part in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(part)


@functools.cache
def imports(path: str, text: str) -> list[Import]:
    finder = _Imports(path)
    finder.visit(ast.parse(text))
    return finder.found


def wrong_folders(sources: dict[str, str]) -> list[str]:
    """Imports against FOLDERS."""
    wrong = []
    for path, text in sources.items():
        folder = path.partition("/")[0]
        if folder == EXAMPLES:
            ours = [found for found in imports(path, text) if found.top in FOLDERS]
            wrong += [f"{path}:{found.line} imports {found.name}" for found in ours]
            continue
        if folder not in FOLDERS:
            wrong.append(f"{path}: what may {folder} import? Write it into FOLDERS")
            continue
        allowed = FOLDERS[folder] | {folder}
        wrong += [
            f"{path}:{found.line} imports {found.name}"
            for found in imports(path, text)
            if found.top in FOLDERS and found.top not in allowed
        ]
    return wrong


def wrong_rooms(sources: dict[str, str]) -> list[str]:
    """Imports inside panoptes_unit against ROOMS, and those that would not work inside an Ansible module."""
    wrong = []
    for path, text in sources.items():
        if not path.startswith("panoptes_unit/") or path == "panoptes_unit/__init__.py":
            continue
        room = path.split("/")[1].removesuffix(".py")
        if room not in ROOMS:
            wrong.append(f"{path}: which rooms may {room} import? Write it into ROOMS")
            continue
        for found in imports(path, text):
            if found.top != "panoptes_unit":
                continue
            if not found.relative:
                wrong.append(f"{path}:{found.line} imports {found.name} by its full name, which a module does not have")
            elif found.name.split(".")[1] not in ROOMS[room] | {room}:
                wrong.append(f"{path}:{found.line} imports {found.name}, which is above {room}")
    return wrong


def wrong_libraries(sources: dict[str, str]) -> list[str]:
    """What panoptes_unit and the modules need beyond the standard library of Python 3.9."""
    wrong = []
    for path, text in sources.items():
        module = path.startswith("plugins/modules/")
        if not module and not path.startswith("panoptes_unit/"):
            continue
        for found in imports(path, text):
            if found.top in STANDARD_LIBRARY or found.relative or (module and found.name.startswith(CARRIED)):
                continue
            if found.top in DEBIAN and (found.late or (module and found.guarded)):
                continue
            wrong.append(f"{path}:{found.line} imports {found.name}")
    return wrong


def module_of(name: str, modules: set[str]) -> str:
    """The module that an imported name is, or is taken from; empty for a name from elsewhere."""
    return next((candidate for candidate in (name, name.rpartition(".")[0]) if candidate in modules), "")


def as_module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    """Path of each tracked Python file -> its text."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed here")
    answer = subprocess.run(["git", "ls-files", "-z", "--", "*.py"], cwd=TOP, capture_output=True, text=True)
    if answer.returncode:
        pytest.skip("not a git checkout: the list of tracked files is not known")
    files = [name for name in answer.stdout.split("\0") if name and (TOP / name).is_file()]
    return {name: (TOP / name).read_text(encoding="utf-8") for name in files}


def test_folders_import_only_what_is_shipped_with_them(sources):
    assert wrong_folders(sources) == []


def test_rooms_of_the_tool_import_only_what_is_below_them(sources):
    assert wrong_rooms(sources) == []


def test_table_of_rooms_is_an_order_and_names_no_room_that_is_gone():
    rooms = list(ROOMS)
    for number, (room, allowed) in enumerate(ROOMS.items()):
        assert allowed <= set(rooms[:number]), f"{room} may import what is above it"
        here = TOP / "panoptes_unit" / room
        assert here.is_dir() or here.with_suffix(".py").is_file(), f"there is no {room}"


def test_tool_and_modules_need_only_the_standard_library_to_be_imported(sources):
    assert wrong_libraries(sources) == []


@pytest.mark.parametrize("package", ["panoptes_unit", "panoptes_utils", "panoptes_fleet", "lab"])
def test_no_two_files_import_each_other(sources, package):
    modules = {as_module(path): path for path in sources if path.startswith(f"{package}/")}
    graph = {
        module: {
            other
            for found in imports(path, sources[path])
            if not found.late and (other := module_of(found.name, set(modules))) not in ("", module)
        }
        for module, path in modules.items()
    }
    graphlib.TopologicalSorter(graph).prepare()


def test_what_runs_on_a_unit_is_python_3_9(sources):
    for path, text in sources.items():
        if path.startswith(("panoptes_unit/", "panoptes_utils/", "plugins/modules/")):
            ast.parse(text, path, feature_version=(3, 9))


# Each turns one import round: where it is added, the line, and the check that has to find it.
TURNED = [
    ("panoptes_unit/deploy/engine.py", "from panoptes_utils import error", wrong_folders),
    ("panoptes_unit/cli.py", "def late():\n    import panoptes_fleet", wrong_folders),
    ("panoptes_unit/health/wholeness.py", "from lab import checks", wrong_folders),
    ("panoptes_unit/services.py", "import importlib\nimportlib.import_module('panoptes_utils.ports')", wrong_folders),
    ("panoptes_unit/errors.py", "from plugins.filter import unit_state", wrong_folders),
    ("panoptes_unit/report.py", "import tests", wrong_folders),
    ("panoptes_utils/config/client.py", "from panoptes_unit.services import ask_config", wrong_folders),
    ("panoptes_utils/process.py", "from panoptes_fleet import __name__", wrong_folders),
    ("panoptes_utils/library.py", "import lab.checks", wrong_folders),
    ("panoptes_fleet/__init__.py", "import panoptes_unit.deploy.state", wrong_folders),
    ("panoptes_fleet/__init__.py", "from panoptes_utils import time", wrong_folders),
    ("lab/checks.py", "from tests.helpers import processes", wrong_folders),
    ("errors.py", "import lab", wrong_folders),
    ("panoptes_unit/errors.py", "from .files import write_durably", wrong_rooms),
    ("panoptes_unit/documents.py", "from .errors import UnitError", wrong_rooms),
    ("panoptes_unit/settings.py", "from . import services", wrong_rooms),
    ("panoptes_unit/sources/registry.py", "from ..machine.probe import Probe", wrong_rooms),
    ("panoptes_unit/machine/clock.py", "def late():\n    from ..deploy import state", wrong_rooms),
    ("panoptes_unit/deploy/run.py", "from ..health.wholeness import findings", wrong_rooms),
    ("panoptes_unit/health/wholeness.py", "from .. import cli", wrong_rooms),
    ("panoptes_unit/machine/backup.py", "from panoptes_unit.errors import UnitError", wrong_rooms),
    ("panoptes_unit/kitchen.py", "import os", wrong_rooms),
    ("panoptes_unit/settings.py", "import yaml", wrong_libraries),
    ("panoptes_unit/files.py", "import tomllib", wrong_libraries),
    ("panoptes_unit/sources/registry.py", "def late():\n    import rich", wrong_libraries),
    ("plugins/modules/unit_probe.py", "import docker", wrong_libraries),
    ("plugins/modules/unit_files.py", "from ansible.plugins.lookup import LookupBase", wrong_libraries),
    ("plugins/modules/unit_backup.py", "from panoptes_unit.errors import UnitError", wrong_libraries),
]


@pytest.mark.parametrize(
    ("path", "line", "check"), TURNED, ids=[f"{path}-{line.split()[-1]}" for path, line, _ in TURNED]
)
def test_import_turned_round_is_found(sources, path, line, check):
    copy = {**sources, path: f"{sources.get(path, '')}\n{line}\n"}
    found = check(copy)
    assert len(found) == 1
    assert found[0].startswith(path)


def test_zipapp_carries_the_tool_alone_and_all_that_it_imports():
    with zipfile.ZipFile(io.BytesIO(build())) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    main = texts.pop("__main__.py")
    assert {found.name for found in imports("__main__.py", main)} == {"sys", "panoptes_unit.cli.main"}
    assert {name for name in texts if not name.startswith("panoptes_unit/")} == set()
    modules = {as_module(path) for path in texts}
    assert "panoptes_unit.cli" in modules
    missing = [
        f"{path}:{found.line} imports {found.name}"
        for path, text in texts.items()
        for found in imports(path, text)
        if found.relative and not module_of(found.name, modules)
    ]
    assert missing == []


@pytest.mark.parametrize("python", [sys.executable, "python3.9"], ids=["this-python", "python3.9"])
def test_zipapp_works_with_nothing_else_on_the_path(tmp_path, python):
    if subprocess.run(["env", python, "--version"], capture_output=True).returncode:
        pytest.skip(f"{python} is not installed here")
    program, empty = tmp_path / "panoptes-unit", tmp_path / "empty"
    program.write_bytes(build())
    empty.mkdir()
    # Neither the folder, nor the environment, nor installed packages.
    done = subprocess.run([python, "-I", "-S", program, "--help"], cwd=empty, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rollback" in done.stdout
