"""A new unit in the inventory: its entry, and its settings in a file of its own."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from . import check, files, inventory, project
from .errors import FleetError

# Files of an inventory that may hold secrets or the dead weight of others are not needed to judge one unit.
NOT_COPIED = shutil.ignore_patterns(".*", "*~", "*.sample")


def questions() -> tuple[Any, ...]:
    """What is asked: what `make settings` asks of one unit; the registry is that of all."""
    return tuple(one for one in project.settings().QUESTIONS if one.option != "--registry")


def hosts_file(path: Path) -> Path:
    """The file with the inventory's entries."""
    return path / "hosts.yml" if path.is_dir() else path


def add(path: Path, name: str, answers: dict[Any, str], connection: dict[str, Any]) -> tuple[Path, Path]:
    """Writes both files, or neither.

    Args:
        path: the inventory.
        answers: question -> its checked answer.
        connection: such as ansible_host; what is empty is left out.

    Returns:
        The file with the settings and that with the entry.

    Raises:
        FleetError: the name is taken or none, or the settings do not work.
    """
    settings = project.settings()
    if not inventory.PLAIN.fullmatch(name):
        raise FleetError(f"{name!r} is no name: write letters, digits, dots and dashes, such as pan012")
    hosts = hosts_file(path)
    document = settings.load(hosts) if hosts.exists() else {inventory.GROUP: {"hosts": {}}}
    group = document.setdefault(inventory.GROUP, {})
    entries = group.get("hosts") if isinstance(group, dict) else None
    own = hosts.parent / "host_vars" / f"{name}.yml"
    if isinstance(group, dict) and entries is None:
        entries = group["hosts"] = {}
    if not isinstance(entries, dict):
        raise FleetError(f"{hosts}: {inventory.GROUP} must have hosts with lines of their own: mend it by hand")
    if name in entries or own.exists():
        where = own if own.exists() else hosts
        raise FleetError(f"{name} is there already, in {where}: change it there, or take another name")
    entries[name] = {key: value for key, value in connection.items() if value}
    variables: dict[str, Any] = {}
    for question, answer in answers.items():
        *above, last = question.place
        place = variables
        for key in above:
            place = place.setdefault(key, {})
        place[last] = answer
        if last == "timezone":
            place["gmt_offset"] = settings.unit_place.standard_offset_minutes(answer)
    _judge(path, name, document, variables)
    # The settings first: an entry without them would be a unit with the settings of all, PAN000.
    own.parent.mkdir(exist_ok=True)
    settings.write(own, variables)
    settings.write(hosts, document)
    files.sync_folder(hosts.parent)
    return own, hosts


def _judge(path: Path, name: str, document: Any, variables: dict[str, Any]) -> None:
    """Refuses what `check` would find wrong with this unit, by a copy of the inventory."""
    settings = project.settings()
    with tempfile.TemporaryDirectory(prefix="panoptes-fleet-") as folder:
        copy = Path(folder) / "inventory"
        shutil.copytree(hosts_file(path).parent, copy, ignore=NOT_COPIED)
        (copy / "host_vars").mkdir(exist_ok=True)
        settings.write(copy / "host_vars" / f"{name}.yml", variables)
        settings.write(copy / hosts_file(path).name, document)
        wrong = [one.what for one in check.check(inventory.read(copy)) if one.unit == name]
    if wrong:
        raise FleetError(f"{name} is not added: {' '.join(wrong)}")
