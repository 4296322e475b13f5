"""Writing a file so that a power cut leaves the old content or the new, never something between."""

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator


def write_durably(path: Path, data: bytes) -> None:
    """Replace the file's content; when this returns, the content is on the disk.

    The order is what makes it safe: temporary file beside the target, fsync of it, rename over the target, fsync
    of the folder. The mode of an existing file is kept.

    Raises:
        OSError: nothing was changed (no space, read-only, no permission).
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        mode = 0o644
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the folder's own entries (names, renames) on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keep every other writer, in this process or another, out of the folder's files meanwhile.

    The lock is on the folder itself: it needs no lock file and is gone with the process that held it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
