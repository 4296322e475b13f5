"""One way into folders of others: every other way of the unit's tool to a file leads to a folder of root's own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]

# Who opens, copies, lists, makes, moves, gives away or removes by a path, and why no other account can exchange what is
# on it. Whole modules; in those that also work in folders of others, function by function.
PLAIN = {
    "build.py": "the controller's own checkout",
    "files.py": "the way to write state, release file and archives; its callers are in this list",
    "guarded.py": "this is the guarded way",
    "settings.py": "/etc/panoptes is root's",
    "deploy/engine.py": "asks for free room, opens nothing",
    "deploy/journal.py": "the state's folder is root's alone",
    "deploy/own_files.py": "/etc/panoptes and the state's folder are root's alone",
    "deploy/own_ids.py": "the state's folder is root's alone",
    "deploy/quick_engine.py": "/etc/panoptes is root's",
    "deploy/release.py": "/etc/panoptes is root's",
    "deploy/reserve.py": "the state's folder is root's alone",
    "deploy/run.py": "the state's folder is root's alone",
    "deploy/run_lock.py": "the state's folder is root's alone",
    "deploy/staging.py": "asks for free room, opens nothing",
    "deploy/state.py": "the state's folder is root's alone",
    "deploy/switch.py": "/etc/panoptes is root's",
    "health/exported_layers.py": "a tar that the engine sends; nothing of it is unpacked",
    "health/notices.py": "the state's folder is root's alone",
    "health/record.py": "/run/panoptes is root's",
    "health/store_shape.py": "the engine's folder is root's; of layers and containers only the notes are read",
    "health/stored_layers.py": "the engine's folder is root's; within a layer it goes down by descriptors",
    "health/verify.py": "the state's folder is root's alone",
    "machine/archive.py": "in memory",
    "machine/engine_service.py": "/proc is the kernel's, /etc/docker and the engine's folder are root's",
    "machine/engine_store.py": "the engine's folder is root's",
    "machine/listeners.py": "/proc is the kernel's",
    "machine/raspberry_pi.py": "/sys, /proc and the boot partition are root's",
    "sources/bundle.py": "a path that a person names on the command line; its content is checked there",
    "sources/reference.py": "the file with the login is root's, which is checked there",
    "sources/signature.py": "works in a folder that it makes for itself",
    "web.py": "opens URLs, no files",
}
PLAIN_FUNCTIONS = {
    "deploy/kept_configuration.py": {
        "save": "the copy, in the state's folder",
        "restore": "what is kept aside, in the state's folder",
        "_keep_aside": "what is kept aside, in the state's folder",
        "keep": "what is kept aside, in the state's folder",
        "forget_old": "what is kept aside, in the state's folder",
    },
    "machine/backup.py": {
        "make": "the archive, where root wants it",
        "make_dated": "archives on a stick that root has mounted",
        "remove_oldest": "archives on a stick that root has mounted",
        "_collect": "only names for patterns; what they name is opened through guarded",
        "_packed": "the archive, which is checked there",
        "_text": "/etc/panoptes is root's",
        "_mark": "the state's folder is root's alone",
        "_hostname": "/etc is root's",
    },
    "machine/probe.py": {
        "__init__": "the description of a machine that a test lays out",
        "distribution": "/etc and /usr are root's",
        "architecture": "/proc is the kernel's",
        "disks": "asks for free room, opens nothing",
        "packages_interrupted": "/var/lib/dpkg is root's",
        "package_lists_age": "/var/lib/apt is root's",
        "files": "only names for patterns; what they name is opened through guarded",
        "release": "/etc/panoptes is root's",
    },
}

# As methods of a path, or functions of `os`, `shutil` and `glob`.
CALLS = {
    *("open", "fopen", "read_text", "read_bytes", "write_text", "write_bytes", "touch"),
    *("copy", "copy2", "copyfile", "copytree", "copystat", "copymode", "move", "chown", "lchown", "chmod", "lchmod"),
    *("mkdir", "makedirs", "unlink", "remove", "removedirs", "rmdir", "rmtree", "rename", "renames", "replace"),
    *("symlink", "symlink_to", "link", "hardlink_to", "link_to", "mknod", "mkfifo", "utime", "truncate", "disk_usage"),
    *("glob", "iglob", "rglob", "iterdir", "listdir", "scandir", "walk", "fwalk"),
    *("write_durably", "append_durably", "remove_durably", "sync_folder", "read_json_lines", "put_aside"),
}
# Methods of texts, lists and guarded folders too: these count as functions of `os` and `shutil` alone.
FUNCTIONS_ONLY = {"remove", "copy", "walk", "truncate", "link"}


def plain_calls(path: str, text: str) -> list[tuple[str, int, str]]:
    """Function, line and name of each call that reaches for a file by its path."""
    found = []

    def visit(node: ast.AST, function: str) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = node.name
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            owner = getattr(getattr(called, "value", None), "id", "")
            if name in CALLS and not is_harmless(node, called, name, owner):
                found.append((function, node.lineno, name))
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse(text, path), "")
    return found


def is_harmless(node: ast.Call, called: ast.expr, name: str, owner: str) -> bool:
    if {"dir_fd", "src_dir_fd"} & {keyword.arg for keyword in node.keywords}:
        return True
    if isinstance(called, ast.Name):  # the builtin, or what is imported from `glob` and `files`
        return name not in ("open", "glob", "put_aside") and not name.endswith(
            ("_durably", "_folder", "_json", "_json_lines")
        )
    if owner in ("os", "shutil", "glob"):
        return False
    if name in ("replace", "rename"):  # of a path: one argument; of a text or a guarded folder two, of a time none
        return len(node.args) != 1
    return name in FUNCTIONS_ONLY


def unguarded(sources: dict[str, str]) -> list[str]:
    """Calls that neither list allows."""
    return [
        f"{path}:{line} calls {name} in {function or 'the module'}: go through guarded, or say here why it need not"
        for path, text in sources.items()
        if path not in PLAIN
        for function, line, name in plain_calls(path, text)
        if function not in PLAIN_FUNCTIONS.get(path, {})
    ]


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    top = TOP / "panoptes_unit"
    return {str(path.relative_to(top)): path.read_text(encoding="utf-8") for path in sorted(top.rglob("*.py"))}


def test_no_file_is_reached_by_another_way_without_a_reason(sources):
    assert unguarded(sources) == []


def test_every_reason_is_needed(sources):
    for path in PLAIN:
        assert plain_calls(path, sources[path]), f"{path} reaches for no file any more: take it off the list"
    for path, functions in PLAIN_FUNCTIONS.items():
        used = {function for function, _, _ in plain_calls(path, sources[path])}
        assert set(functions) <= used, f"{path}: {set(functions) - used} reaches for no file any more"


@pytest.mark.parametrize(
    "line",
    [
        "shutil.copy2(a, b)",
        "Path(a).read_bytes()",
        "a.open('rb')",
        "open(a)",
        "os.open(a, 0)",
        "os.chown(a, 0, 0)",
        "a.chmod(0)",
        "a.replace(b)",
        "a.unlink()",
        "write_durably(a, '')",
        "list(a.rglob('*'))",
        "os.walk(a)",
    ],
)
@pytest.mark.parametrize(
    "path", ["deploy/kept_configuration.py", "machine/wanted_files.py", "deploy/observing_lock.py", "machine/new.py"]
)
def test_another_way_is_found(sources, path, line):
    text = f"{sources.get(path, '')}\ndef another(a, b):\n    {line}\n"
    assert len(unguarded({**sources, path: text})) == 1
