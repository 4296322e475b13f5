"""Writing a file so that readers and a power cut see the old one or the new one, never a half."""

import fcntl
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Union


@contextmanager
def replacing(path: Union[str, Path], alone: bool = False, most: int = 0o777) -> Iterator[Path]:
    """Give the path of a temporary file in the same folder; put it in place of `path` when the block ends well.

    The order is what makes it safe: the data are on the disk before the rename, and the folder after it. The mode
    of an existing file is kept. If the block raises, nothing of it is left and `path` is as it was.

    Args:
        path: the file to replace or to make; where it is a link, the file that it points at.
        alone: the caller keeps other writers of this file out (`folder_lock`). The temporary file then has always
            the same name, so that power cuts leave one at most.
        most: permissions that the file may have at most, whatever it had before.

    Yields:
        pathlib.Path: an empty file, with the suffixes of `path` unless `alone`.

    Raises:
        OSError: the folder cannot be written to, or the disk is full.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with replacing(folder / "note.txt") as draft:
        ...     _ = draft.write_text("clear sky")
        >>> (folder / "note.txt").read_text()
        'clear sky'
    """
    path = Path(path)
    if path.is_symlink():
        path = path.resolve()  # replace what the link points at, not the link
    try:
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        mode = None
    if alone:
        draft = path.with_name(f".{path.name}.tmp")
        with suppress(FileNotFoundError):
            draft.unlink()
    else:
        draft = path.with_name(f".{path.stem}.{os.urandom(6).hex()}{''.join(path.suffixes[-2:])}")
    # Who may not read the file does not read the new one while it is written either.
    first = (0o666 if mode is None else 0o600) & most
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, first))
    try:
        yield draft
        if mode is not None:
            draft.chmod(mode & most)
        sync(draft)
        draft.replace(path)
        sync(path.parent)
    except BaseException:
        with suppress(FileNotFoundError):
            draft.unlink()
        raise


def write_durably(path: Path, data: bytes, most: int = 0o777) -> None:
    """Replace the file's content; when this returns, the content is on the disk.

    The caller keeps other writers out, by `folder_lock`.

    Args:
        path: the file.
        data: its new content.
        most: permissions that it may have at most, whatever it had before.

    Raises:
        OSError: nothing was changed (no space, read-only, no permission).
    """
    with replacing(path, alone=True, most=most) as draft:
        draft.write_bytes(data)


def sync(path: Path) -> None:
    """Put a file's data, or a folder's entries (names, renames), on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
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
