"""Sentences of pages and docstrings that a program can check: what they say of the code is so."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import io
import re
import zipfile
from pathlib import Path

import pytest
import yaml
from pages import tracked_pages

TOP = Path(__file__).parents[3]
UNIT = TOP / "panoptes_unit"


def module_file(name: str) -> Path | None:
    """The file of a module of panoptes_unit, None where that is no module."""
    base = TOP.joinpath(*name.split("."))
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def imported(file: Path) -> set[Path]:
    """Files of panoptes_unit that a file of it imports, anywhere in it, with the folders that they are in."""
    found: set[Path] = set()
    package = file.parent.relative_to(TOP).parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (start, node.module) if part)
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "panoptes_unit":
                found |= {module_file(".".join(parts[:length])) for length in range(1, len(parts) + 1)} - {None}
    return found


def reachable(start: Path) -> set[Path]:
    todo, found = [start], set()
    while todo:
        file = todo.pop()
        if file not in found:
            found.add(file)
            todo += imported(file)
    return found


def test_the_zipapp_carries_what_its_command_imports_and_nothing_else():
    from panoptes_unit.build import build

    with zipfile.ZipFile(io.BytesIO(build())) as archive:
        shipped = set(archive.namelist()) - {"__main__.py"}
    assert shipped == {str(file.relative_to(TOP)) for file in reachable(UNIT / "cli.py")}


def test_status_and_doctor_look_for_themselves_and_do_not_read_the_probe():
    """What docs/architecture.md and the glossary say; the probe belongs to the Ansible module alone."""
    probe = UNIT / "machine/probe.py"
    assert probe.is_file()
    assert probe not in reachable(UNIT / "health/status.py")
    assert probe not in reachable(UNIT / "health/wholeness.py")
    assert [
        module.name for module in (TOP / "plugins/modules").glob("*.py") if "machine.probe" in module.read_text("utf-8")
    ] == ["unit_probe.py"]


def config_server_paths() -> set[str]:
    pytest.importorskip("pydantic_core")
    from panoptes_utils.config.app import ConfigApp

    return set(ConfigApp(None, None, lambda: None)._paths)


def test_openapi_describes_every_path_of_the_config_server_but_its_page():
    from panoptes_utils.config.openapi import description

    described = set(description(token=False)["paths"])
    assert config_server_paths() - described == {"/", "/page.css", "/page.js", "/icon.svg", "/openapi.json"}
    assert described < config_server_paths()


def test_who_counts_the_paths_of_the_config_server_counts_right():
    numbers = dict(zip(("four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), range(4, 13)))
    sources = [*tracked_pages(), *(TOP / "panoptes_utils/config").glob("*.py")]
    told = {
        (source.name, numbers[word])
        for source in sources
        for word in re.findall(rf"\b({'|'.join(numbers)})\s+paths\b", source.read_text(encoding="utf-8"))
    }
    assert {(name, count) for name, count in told if count != len(config_server_paths())} == set()


def record(*places: str) -> type:
    """A class of the tool, from the first of these places that has it."""
    for place in places:
        module, name = place.split(":")
        try:
            return getattr(importlib.import_module(f"panoptes_unit.{module}"), name)
        except (ImportError, AttributeError):
            continue
    raise AssertionError(f"none of {places} is there")


@pytest.mark.parametrize(
    "kind",
    [
        record("deploy.outcome:Outcome", "deploy.transaction:Outcome"),
        record("deploy.state:State"),
        record("deploy.release:Release"),
        *(record(f"settings:{name}") for name in ("Settings", "Limits", "Window", "Observing", "Notify")),
    ],
    ids=lambda kind: kind.__name__,
)
def test_docstring_names_the_fields_that_there_are(kind):
    attributes = kind.__doc__.partition("Attributes:")[2]
    named = re.findall(r"^        (\w+(?:, \w+)*):", attributes, flags=re.MULTILINE)
    documented = {name for line in named for name in line.split(", ")}
    assert documented == {field.name for field in dataclasses.fields(kind)}


def test_docstring_of_the_state_gives_the_last_check_as_it_is_written():
    documented = re.search(r"last_check: \{([\w, ]+)\}", record("deploy.state:State").__doc__)[1].split(", ")
    written = [
        [key.value for key in node.value.keys]
        for file in UNIT.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        if any(isinstance(target, ast.Attribute) and target.attr == "last_check" for target in node.targets)
    ]
    assert written == [documented]


def test_every_page_draws_the_chain_of_roles_as_it_is():
    plays = yaml.safe_load((TOP / "playbooks/unit.yml").read_text(encoding="utf-8"))
    roles = [entry["role"] for play in plays for entry in play["roles"]]
    role = rf"\[?`?(?:{'|'.join(roles)})`?(?:\]\([^)]*\))?"
    drawn = {
        (page.relative_to(TOP).as_posix(), tuple(re.findall(r"\b(\w+)`?(?:\]\([^)]*\))?\s*(?:→|$)", chain)))
        for page in tracked_pages()
        for chain in re.findall(rf"{role}(?:\s*→\s*{role})+", page.read_text(encoding="utf-8"))
    }
    assert {page for page, _ in drawn} >= {"README.md", "docs/architecture.md"}
    assert {(page, chain) for page, chain in drawn if chain != tuple(roles)} == set()


def test_nothing_of_the_unit_is_imported_only_to_be_handed_on():
    """`__all__` there would hide imports that nobody uses; a name is imported from where it is defined."""
    files = [*UNIT.rglob("*.py"), *(TOP / "plugins").glob("[!m]*/*.py"), *(TOP / "plugins/modules").glob("*.py")]
    assert len(files) > 20
    assert [file.name for file in files if re.search(r"^__all__", file.read_text("utf-8"), re.MULTILINE)] == []
