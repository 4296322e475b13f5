"""A little room kept aside before the switch, for the way back on a disk that the new release filled."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

SIZE = 512 * 1024


def _file(folder: Path) -> Path:
    return folder / "reserve"


def keep(folder: Path) -> None:
    """Take the room.

    Raises:
        OSError: it is not there; then this is no time for a switch.
    """
    with _file(folder).open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, SIZE)


def release(folder: Path) -> None:
    """Give it back."""
    with suppress(OSError):
        _file(folder).unlink()
