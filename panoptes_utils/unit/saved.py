"""The unit's own configuration, kept aside while a release that may spoil it is tried."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Iterator

from .files import sync_folder


def save(folders: list, target: Path) -> None:
    """Copy `folders` below `target`, with owners and modes, onto the disk."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    target.chmod(0o700)
    for number, folder in enumerate(folders):
        for file in _files(Path(folder)):
            copy = target / str(number) / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            _copy(file, copy)
    sync_folder(target)


def differences(folders: list, target: Path) -> list:
    """Files that are no longer what they were when saved: changed, gone or new."""
    found = []
    for number, folder in enumerate(folders):
        kept = {file.relative_to(target / str(number)) for file in _files(target / str(number))}
        there = {file.relative_to(folder) for file in _files(Path(folder))}
        for name in sorted(kept | there):
            copy, file = target / str(number) / name, Path(folder) / name
            if name not in kept or name not in there or copy.read_bytes() != file.read_bytes():
                found.append(str(file))
    return found


def restore(folders: list, target: Path, aside: Path) -> None:
    """Put every saved file back; what is new since then moves to `aside`, for a person to look at."""
    changed = set(differences(folders, target))
    for number, folder in enumerate(folders):
        for copy in _files(target / str(number)):
            file = Path(folder) / copy.relative_to(target / str(number))
            if str(file) in changed:
                changed.discard(str(file))
                file.parent.mkdir(parents=True, exist_ok=True)
                beside = file.with_name(f".{file.name}.restored")
                _copy(copy, beside)
                beside.replace(file)
                sync_folder(file.parent)
    for name in sorted(changed):
        aside.mkdir(parents=True, exist_ok=True)
        shutil.move(name, aside / Path(name).name)


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def _copy(source: Path, target: Path) -> None:
    shutil.copy2(source, target)
    status = source.stat()
    if os.geteuid() == 0:
        os.chown(target, status.st_uid, status.st_gid)
    with target.open("rb") as file:
        os.fsync(file.fileno())
