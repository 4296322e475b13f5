"""Files that survive a power cut: written beside, synced, renamed, and the folder synced."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Dict, List, Optional, Union

from . import documents
from .guarded import Folder

# Of a line of JSON: a run's outcome has about 600 bytes, its journal's first line, with both releases, a few thousand.
LINE_LIMIT = 1_000_000


def write_durably(path: Path, content: Union[str, bytes], mode: int = 0o644) -> None:
    """Replace `path` by `content` in one step; a reader or a power cut sees the old or the new, never half.

    Args:
        path: In a folder of root's own, to which links may lead. Missing folders are made.
        content: All of it; text is written as UTF-8.
        mode: Of the file.
    """
    path = Path(path)
    if isinstance(content, str):
        content = content.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with Folder(descriptor, path.parent) as folder, folder.replacing(path.name, mode) as file:
        file.write(content)


def append_durably(path: Path, text: str) -> None:
    """Add `text`, a line, to the end of `path` and sync it; after half a line, on a line of its own."""
    new = not path.exists()
    with path.open("ab+") as file:
        if file.tell() and not _ends_a_line(file):
            file.write(b"\n")
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    if new:
        sync_folder(path.parent)


def _ends_a_line(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def remove_durably(path: Path) -> None:
    """Remove `path`, if it is there, and sync its folder."""
    with suppress(FileNotFoundError):
        path.unlink()
        sync_folder(path.parent)


def put_aside(path: Path) -> None:
    """Rename what stands at `path` and cannot be used to `NAME.damaged`, in place of an earlier one."""
    aside = path.with_name(f"{path.name}.damaged")
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    elif path.is_dir():
        aside.unlink(missing_ok=True)
    path.replace(aside)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json_lines(path: Path) -> List[Dict[str, Any]]:
    """Every whole line of `path` as an object; what a power cut left half-written is passed over."""
    lines = []
    with suppress(FileNotFoundError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                lines.append(documents.read_object(line, LINE_LIMIT))
    return lines


def read_json(path: Path) -> Optional[Any]:
    """The content of `path`, or None where there is none or it is not JSON."""
    with suppress(OSError, ValueError):
        return documents.read_json(path.read_text(encoding="utf-8"))
    return None
