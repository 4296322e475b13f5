"""Files that survive a power cut: written beside, synced, renamed, and the folder synced."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Optional, Union


def write_durably(
    path: Path,
    content: Union[str, bytes],
    mode: int = 0o644,
    owner: Optional[tuple[int, int]] = None,
    check: Optional[Callable[[Path], None]] = None,
) -> None:
    """Replace `path` by `content` in one step; a reader or a power cut sees the old or the new, never half.

    Args:
        path: Missing folders are made.
        content: All of it; text is written as UTF-8.
        mode: Of the file.
        owner: Numbers of its owner and group; the caller's own if there are none.
        check: Called with the file that is to take the place of `path`; what it raises leaves `path` as it was.
    """
    path = Path(path)
    if isinstance(content, str):
        content = content.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        if check is not None:
            check(Path(name))
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    sync_folder(path.parent)


def append_durably(path: Path, text: str) -> None:
    """Add `text` to the end of `path` and sync it."""
    new = not path.exists()
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if new:
        sync_folder(path.parent)


def remove_durably(path: Path) -> None:
    """Remove `path`, if it is there, and sync its folder."""
    with suppress(FileNotFoundError):
        path.unlink()
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json_lines(path: Path) -> list:
    """Every whole line of `path` as an object; what a power cut left half-written is passed over."""
    lines = []
    with suppress(FileNotFoundError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                lines.append(json.loads(line))
    return lines


def read_json(path: Path) -> Optional[Any]:
    """The content of `path`, or None where there is none or it is not JSON."""
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return None
