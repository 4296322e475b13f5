"""Writing a file so that readers see the old one or the new one, never a half."""

import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path):
    """Give the path of a temporary file in the same folder; put it in place of `path` when the block ends well.

    The data are on the disk before the rename. If the block raises, nothing of it is left and `path` is as it
    was.

    Args:
        path: the file to replace or to make.

    Yields:
        pathlib.Path: an empty file with the suffixes of `path`.

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
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix="".join(path.suffixes[-2:]), dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        if path.exists():
            shutil.copymode(path, draft)
        else:
            draft.chmod(0o666 & ~_umask())
        _sync(draft)
        draft.replace(path)
        _sync(path.parent)
    except BaseException:
        with suppress(FileNotFoundError):
            draft.unlink()
        raise


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
