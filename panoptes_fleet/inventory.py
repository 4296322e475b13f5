"""The units of an inventory: Ansible reads it, and one unit's broken file is told without keeping the others away."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from . import engine, project
from .errors import FleetError

GROUP = "units"
# Names that Ansible would take for a pattern when a run is limited to them.
PLAIN = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
NO_UNIT = "PAN000"
_SUFFIXES = ("", ".yml", ".yaml", ".json")


@dataclass(frozen=True)
class Unit:
    """One unit as the inventory describes it; what holds a template is not known here and left out.

    Attributes:
        name: in the inventory.
        pan_id: such as PAN012; empty where it is not known.
        title: what people call it.
        place: what its site is called.
        latitude, longitude: degrees; None where they are not known.
        canary: it goes in the first wave.
        broken: what is wrong with its file of settings; such a unit is not asked.
        address, port: by which it is reached; empty where that is this machine.
    """

    name: str
    pan_id: str = ""
    title: str = ""
    place: str = ""
    latitude: float | None = None
    longitude: float | None = None
    canary: bool = False
    broken: str = ""
    address: str = ""
    port: str = ""


@dataclass(frozen=True)
class Inventory:
    """The units by name, in the inventory's order, and what is wrong with files that belong to none."""

    path: Path
    units: dict[str, Unit]
    strays: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Those that can be asked."""
        return [unit.name for unit in self.units.values() if not unit.broken]

    def chosen(self, names: tuple[str, ...]) -> Inventory:
        """Only these units; all if there are no names.

        Raises:
            FleetError: there is no such unit.
        """
        unknown = [name for name in names if name not in self.units]
        if unknown:
            raise FleetError(f"{unknown[0]}: no such unit in {self.path}; there are {', '.join(self.units)[:200]}")
        kept = {name: unit for name, unit in self.units.items() if not names or name in names}
        return Inventory(self.path, kept, self.strays)


def broken_files(path: Path) -> dict[str, str]:
    """Unit -> what is wrong with a file of its own settings, for those that are no YAML.

    One of them would make Ansible refuse the whole inventory.
    """
    folder = (path if path.is_dir() else path.parent) / "host_vars"
    found: dict[str, str] = {}
    for file in sorted(folder.rglob("*")) if folder.is_dir() else []:
        hidden = any(part.startswith(".") or part.endswith("~") for part in file.relative_to(folder).parts)
        if hidden or not file.is_file() or file.suffix not in _SUFFIXES:
            continue
        top = file.relative_to(folder).parts[0]
        name = top if (folder / top).is_dir() else _stem(top)
        problem = _problem(file)
        if problem:
            found.setdefault(name, f"{file.relative_to(folder.parent)}{problem}")
    return found


def _stem(name: str) -> str:
    suffix = next((one for one in _SUFFIXES[1:] if name.endswith(one)), "")
    return name.removesuffix(suffix)


def _problem(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
        if text.startswith("$ANSIBLE_VAULT;"):
            return ""
        found = YAML(typ="rt").load(text)
    except OSError as error:
        return f" cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        return " is not UTF-8"
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = str(getattr(error, "problem", "") or "").splitlines()
        return f"{line} is not YAML: {reason[0] if reason else 'mend it'}"
    return "" if found is None or isinstance(found, dict) else " holds no settings, but something else"


def read(path: Path) -> Inventory:
    """The units that the playbooks look after.

    Raises:
        FleetError: Ansible cannot read it, or there is no unit in it.
    """
    if not path.exists():
        raise FleetError(f"{path}: no such inventory; give another by --inventory")
    broken = broken_files(path)
    code, document = _list(path, broken)
    if code:
        # A file that is a vault as a whole, and whose password is not known, takes the others along.
        locked = {name: f"{document.splitlines()[0]}" for name in _vaults(path) if name not in broken}
        reason, broken = document, {**broken, **locked}
        code, document = _list(path, broken) if locked else (code, reason)
        if code:
            raise FleetError(f"{path} cannot be read: {reason}")
    known: dict[str, dict[str, Any]] = document.get("_meta", {}).get("hostvars", {})
    names = list(dict.fromkeys(_members(document, GROUP)))
    units = {name: unit_of(name, known.get(name, {})) for name in names if name not in broken}
    named = _hosts_named(path)
    for name, problem in broken.items():
        if name in named or name in names:
            units[name] = Unit(name, broken=problem)
    if not units:
        raise FleetError(f"{path}: no unit in its group {GROUP}; `panoptes-fleet add NAME` makes one")
    odd = [name for name in units if not PLAIN.fullmatch(name)]
    if odd:
        raise FleetError(f"{odd[0]!r} in {path}: a unit's name has letters, digits, dots and dashes only: rename it")
    strays = [text for name, text in broken.items() if name not in units]
    return Inventory(path, units, strays)


def _list(path: Path, without: dict[str, str]) -> tuple[int, Any]:
    """Exit code, and all of the inventory; where that is not 0, why."""
    safe = [name for name in without if PLAIN.fullmatch(name)]
    limit = ["--limit", ":".join(["all", *(f"!{name}" for name in safe)])] if safe else []
    said, errors, code = engine.command("ansible-inventory", ["--list", "-i", str(path), *limit])
    return (code, engine.error_line(errors or said)) if code else (0, json.loads(said))


def _vaults(path: Path) -> list[str]:
    folder = (path if path.is_dir() else path.parent) / "host_vars"
    files = [file for file in folder.rglob("*") if file.is_file()] if folder.is_dir() else []
    with_vault = [file for file in files if file.read_bytes()[:15] == b"$ANSIBLE_VAULT;"]
    return [_stem(file.relative_to(folder).parts[0]) for file in with_vault]


def _members(document: dict[str, Any], group: str) -> list[str]:
    entry = document.get(group, {})
    return [
        *entry.get("hosts", []),
        *(name for child in entry.get("children", []) for name in _members(document, child)),
    ]


def _hosts_named(path: Path) -> set[str]:
    """Every name that an inventory file has at its hosts: units whose settings Ansible was told to pass over."""
    texts = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    found: set[str] = set()
    for file in texts:
        with_names = YAML(typ="safe")
        try:
            _collect(with_names.load(file.read_text(encoding="utf-8")), found)
        except (OSError, UnicodeDecodeError, YAMLError):
            continue
    return found


def _collect(node: Any, found: set[str]) -> None:
    for key, value in node.items() if isinstance(node, dict) else ():
        if key == "hosts" and isinstance(value, dict):
            found.update(map(str, value))
        _collect(value, found)


def unit_of(name: str, variables: dict[str, Any]) -> Unit:
    """A unit by its variables."""
    places = project.places()
    location = variables.get("panoptes_location")
    defaults = variables.get("panoptes_location_defaults")
    location = {**(defaults if isinstance(defaults, dict) else {}), **(location if isinstance(location, dict) else {})}

    def text(value: Any) -> str:
        return "" if not isinstance(value, (str, int, float)) or "{{" in str(value) else str(value)

    def degrees(key: str) -> float | None:
        try:
            return float(places.degrees(places.CHECKS[key](location[key])))
        except (KeyError, TypeError, ValueError):
            return None

    return Unit(
        name=name,
        pan_id=text(variables.get("panoptes_pan_id")),
        title=text(variables.get("panoptes_name")),
        place=text(location.get("name")),
        latitude=degrees("latitude"),
        longitude=degrees("longitude"),
        canary=variables.get("fleet_canary") is True,
        address="" if variables.get("ansible_connection") == "local" else text(variables.get("ansible_host")) or name,
        port=text(variables.get("ansible_port")),
    )
