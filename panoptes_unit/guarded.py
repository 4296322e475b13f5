"""The guarded way into folders that another account can change.

Root reads, writes, copies, hashes and gives away names below such folders only through this module. It goes down by
descriptors of folders, one name at a time, so that nothing that is swapped meanwhile leads elsewhere.

- On the way to a folder, a link is followed only where nobody but root (or the caller) could have put it: up to there,
  each folder belongs to them, and no one else can write to it. Below the first folder of others, and below the folder
  that was opened, no link is followed at all.
- Only regular files are opened, without waiting for anybody, and only up to a size. FIFOs, devices and sockets are not.
- A file with more than one name (a hard link) is refused where it belongs to another account than the folder it is in:
  its owner did not put it there. With one name it may be anybody's: an administrator's editor leaves such files behind,
  and nobody can move a file of others out of a folder that is not theirs. That a second name goes once its first is
  replaced is left to the kernel, which lets nobody link files of others (fs.protected_hardlinks, on by default).
- A file is written under a name that nobody can guess, is given its owner and mode through its descriptor, and takes
  its place in one step.

Runs on Python 3.9 with the standard library only, because Ansible modules carry this file to units.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Callable, Iterator, List, NamedTuple, Optional, Tuple

from .documents import printable
from .errors import UnitError

# Of one file that is read; state and configuration are kilobytes.
LIMIT_BYTES = 50_000_000
# Of one tree: folders in each other, and names.
DEPTH = 32
NAMES = 20_000
# As many as the kernel follows on one way.
_LINKS = 40
_BLOCK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DRAFT = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafeError(UnitError):
    """Something in a folder of others is not what root may touch; nothing was touched."""


class TooLargeError(UnsafeError):
    """There is more of it than root takes."""


@contextmanager
def _told_by_path(path: Path, *names: str) -> Iterator[None]:
    """What is asked along a descriptor fails with a bare name, or none: the error gets the path that people know."""
    try:
        yield
    except OSError as error:
        if error.errno is None or not (isinstance(error.filename, (int, type(None))) or error.filename in names):
            raise
        raise OSError(error.errno, error.strerror, printable(path)) from error


class Folder:
    """An open folder; names are looked up in it, whatever happens to its path. Use it as a context.

    Attributes:
        descriptor: of the folder.
        path: where it was, for messages.
    """

    def __init__(self, descriptor: int, path: Path) -> None:
        self.descriptor = descriptor
        self.path = path

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def __repr__(self) -> str:
        return printable(self.path)

    @property
    def info(self) -> os.stat_result:
        """Owner, mode and times of the folder itself."""
        return os.fstat(self.descriptor)

    def status(self, name: str) -> Optional[os.stat_result]:
        """What `name` is, not what it leads to; None where nothing is."""
        try:
            with _told_by_path(self.path / name, name):
                return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def names(self) -> List[str]:
        """The names in it, in order.

        Raises:
            TooLargeError: there are more than anybody needs.
        """
        found = []
        with _told_by_path(self.path), os.scandir(self.descriptor) as entries:
            for entry in entries:
                found.append(entry.name)
                if len(found) > NAMES:
                    raise TooLargeError(f"{self!r} holds more than {NAMES} names: move away what is not needed")
        return sorted(found)

    def folder(self, name: str) -> Folder:
        """A folder in it.

        Raises:
            FileNotFoundError: it is not there.
            NotADirectoryError: it is a file.
            UnsafeError: it is a link.
        """
        where = printable(self.path / name)
        try:
            with _told_by_path(self.path / name, name):
                return Folder(os.open(name, _FOLDER, dir_fd=self.descriptor), self.path / name)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            info = self.status(name)
            if info is not None and stat.S_ISLNK(info.st_mode):
                raise UnsafeError(f"{where} is a link, which is not followed: put the folder itself there") from None
            raise NotADirectoryError(f"{where}: is no directory; move it away and run this again") from None

    def make_folder(self, name: str, mode: int, owner: Optional[Tuple[int, int]] = None) -> Folder:
        """A new folder in it, with this mode and owner.

        Raises:
            FileExistsError: something is there already.
        """
        with _told_by_path(self.path / name, name):
            os.mkdir(name, 0o700, dir_fd=self.descriptor)
        made = self.folder(name)
        try:
            made.give(mode, owner)
            os.fsync(self.descriptor)
        except BaseException:
            os.close(made.descriptor)
            raise
        return made

    def give(self, mode: int, owner: Optional[Tuple[int, int]] = None) -> None:
        """Set mode and owner of the folder itself."""
        if owner is not None:
            os.fchown(self.descriptor, *owner)
        os.fchmod(self.descriptor, mode)

    def open_file(self, name: str) -> BinaryIO:
        """A regular file in it, for reading.

        Raises:
            OSError: it is not there, or cannot be read now.
            UnsafeError: it is a link, no regular file, or a second name of a file of others.
        """
        with _told_by_path(self.path / name, name):
            found = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        self._require_own_file(name, found)
        try:
            with _told_by_path(self.path / name, name):
                file = os.fdopen(os.open(name, _FILE, dir_fd=self.descriptor), "rb")
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # swapped in this moment for a link, or a socket
                raise UnsafeError(f"{printable(self.path / name)} is no regular file: remove it") from None
            raise
        try:
            self._require_own_file(name, os.fstat(file.fileno()))
        except BaseException:
            file.close()
            raise
        return file

    def _require_own_file(self, name: str, info: os.stat_result) -> None:
        if not stat.S_ISREG(info.st_mode):
            raise UnsafeError(f"{printable(self.path / name)} is no regular file: remove it")
        if info.st_nlink > 1 and info.st_uid != self.info.st_uid:
            raise UnsafeError(f"{printable(self.path / name)} is a second name of a file of others: remove it")

    def read(self, name: str, limit: int = LIMIT_BYTES) -> Tuple[bytes, os.stat_result]:
        """All of a regular file in it, and what it is.

        Raises:
            OSError, UnsafeError: as for `open_file`.
            TooLargeError: it is larger than `limit`.
        """
        with self.open_file(name) as file:
            info = os.fstat(file.fileno())
            # Asked first: what is sparse claims more memory than there is.
            with _told_by_path(self.path / name):
                content = file.read(limit + 1) if info.st_size <= limit else b""
            if info.st_size > limit or len(content) > limit:
                raise _too_large(self.path / name, limit)
            return content, info

    def sha256(self, name: str, limit: int = LIMIT_BYTES) -> str:
        """The checksum of a regular file in it; raises as `read` does."""
        digest = hashlib.sha256()
        with self.open_file(name) as file:
            for block in _blocks(file, self.path / name, limit):
                digest.update(block)
        return digest.hexdigest()

    @contextmanager
    def replacing(
        self,
        name: str,
        mode: int,
        owner: Optional[Tuple[int, int]] = None,
        check: Optional[Callable[[Path], None]] = None,
    ) -> Iterator[BinaryIO]:
        """A file to write to, which takes the place of `name` in one step, and durably, if the block ends well.

        Args:
            name: in this folder.
            mode: of the file.
            owner: numbers of its owner and group; the caller's own if there are none.
            check: called with the path of the file before it takes its place; what it raises leaves `name` as it was.
        """
        draft = f".{os.urandom(12).hex()}.new"
        with _told_by_path(self.path / name, draft):
            descriptor = os.open(draft, _DRAFT, 0o600, dir_fd=self.descriptor)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    yield file
                    file.flush()
                    if owner is not None:
                        os.fchown(file.fileno(), *owner)
                    os.fchmod(file.fileno(), mode)
                    os.fsync(file.fileno())
                if check is not None:
                    check(self.path / draft)
                self.rename(draft, name)
            except BaseException:
                with suppress(OSError):
                    self.remove(draft)
                raise
        self.sync()

    def open_to_go_on(self, name: str) -> BinaryIO:
        """A regular file in it, for reading and writing where an earlier writer ended; a new one if there is none.

        Raises:
            UnsafeError: it is a link, no regular file, or has a second name.
        """
        with _told_by_path(self.path / name, name):
            found = self.status(name)
            if found is None:
                os.close(os.open(name, _DRAFT, 0o600, dir_fd=self.descriptor))
                self.sync()
                found = self.status(name)
            if found is None or not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                raise UnsafeError(f"{printable(self.path / name)} is no regular file of its own: remove it")
            flags = (_FILE & ~os.O_ACCMODE) | os.O_RDWR
            file = os.fdopen(os.open(name, flags, dir_fd=self.descriptor), "r+b")
        opened = os.fstat(file.fileno())
        if not stat.S_ISREG(opened.st_mode) or opened.st_ino != found.st_ino:
            file.close()
            raise UnsafeError(f"{printable(self.path / name)} was exchanged just now: try again")
        return file

    def rename(self, name: str, new: str) -> None:
        """Within the folder; a link is moved, and not followed."""
        with _told_by_path(self.path / new, name):
            os.rename(name, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        """Remove a file, or a link and not what it leads to."""
        with _told_by_path(self.path / name, name):
            os.unlink(name, dir_fd=self.descriptor)

    def sync(self) -> None:
        """Make the names in it durable."""
        with _told_by_path(self.path):
            os.fsync(self.descriptor)


class Entry(NamedTuple):
    """A folder or a regular file that was met on a walk; its own folder is open only until the next one.

    Attributes:
        relative: its path below the folder that the walk began in.
        folder: in which it is.
        name: in that folder.
        info: what it was; who opens it is told what it is then.
    """

    relative: str
    folder: Folder
    name: str
    info: os.stat_result

    @property
    def is_folder(self) -> bool:
        """Or else a regular file."""
        return stat.S_ISDIR(self.info.st_mode)


def open_folder(path: Path, make: Optional[Tuple[int, int]] = None) -> Folder:
    """A folder by its absolute path, and by a way on which others cannot have put a link.

    Args:
        path: of the folder.
        make: numbers of owner and group for folders that are missing on the way, made with mode 0755; none are
            made without it.

    Raises:
        FileNotFoundError: it is not there.
        NotADirectoryError: something on the way is a file.
        UnsafeError: something on the way is a link that others may have put there.
    """
    parts = list(reversed(Path(os.path.abspath(path)).parts[1:]))  # noqa: PTH100 - without following links
    here, ours, links = Folder(os.open("/", _FOLDER), Path("/")), True, 0
    try:
        while parts:
            name = parts.pop()
            info = here.status(name)
            ours = ours and (info is None or _is_fixed(here.info, info))
            if info is not None and stat.S_ISLNK(info.st_mode) and ours:
                links += 1
                if links > _LINKS:
                    raise UnsafeError(f"{path}: one link leads to another, over and over")
                target = Path(os.readlink(name, dir_fd=here.descriptor))
                if target.is_absolute():
                    here = _instead(here, Folder(os.open("/", _FOLDER), Path("/")))
                parts += reversed(target.parts[1:] if target.is_absolute() else target.parts)
                continue
            if info is None and make is not None:
                here = _instead(here, here.make_folder(name, 0o755, make))
            else:
                here = _instead(here, here.folder(name))
    except BaseException:
        os.close(here.descriptor)
        raise
    return here


def _is_fixed(folder: os.stat_result, entry: os.stat_result) -> bool:
    """Can nobody but root and the caller have put this entry where it is?"""
    we = (0, os.geteuid())
    if folder.st_uid not in we:
        return False
    if not folder.st_mode & 0o022:
        return True
    return bool(folder.st_mode & stat.S_ISVTX) and entry.st_uid in we  # as in /tmp


def _instead(before: Folder, after: Folder) -> Folder:
    os.close(before.descriptor)
    return after


def walk(folder: Folder, name: str = "") -> Iterator[Entry]:
    """All folders and regular files below `folder`, a folder before what is in it; everything else is passed over.

    Args:
        folder: to begin in.
        name: only this one in it, and what is below; all of them without it.

    Raises:
        TooLargeError: the tree is deeper, or has more names, than anybody needs.
    """
    for count, entry in enumerate(_walk(folder, [name] if name else folder.names(), "", DEPTH)):
        if count >= NAMES:
            raise TooLargeError(f"{folder!r} holds more than {NAMES} names: move away what is not needed")
        yield entry


def _walk(folder: Folder, names: List[str], above: str, depth: int) -> Iterator[Entry]:
    if not depth:
        raise TooLargeError(f"{folder!r}: more than {DEPTH} folders are in each other: move away what is not needed")
    for name in names:
        info = folder.status(name)
        if info is None or not (stat.S_ISDIR(info.st_mode) or stat.S_ISREG(info.st_mode)):
            continue
        entry = Entry(f"{above}{name}", folder, name, info)
        yield entry
        if entry.is_folder:
            try:
                inner = folder.folder(name)
            except (FileNotFoundError, NotADirectoryError, UnsafeError):  # it was swapped meanwhile
                continue
            with inner:
                yield from _walk(inner, inner.names(), f"{entry.relative}/", depth - 1)


class Place(NamedTuple):
    """A name in an open folder."""

    folder: Folder
    name: str


def copy(source: Place, target: Place, limit: int = LIMIT_BYTES) -> None:
    """Copy a regular file with mode and time, and as root with its owner, durably; it replaces `target` in one step.

    Raises:
        OSError, UnsafeError: as for `Folder.open_file`; `target` stays as it was.
        TooLargeError: it is larger than `limit`; `target` stays as it was.
    """
    with source.folder.open_file(source.name) as file:
        info = os.fstat(file.fileno())
        owner = (info.st_uid, info.st_gid) if os.geteuid() == 0 else None
        # Without setuid: nothing that is copied here is a program.
        with target.folder.replacing(target.name, stat.S_IMODE(info.st_mode) & 0o777, owner) as made:
            for block in _blocks(file, source.folder.path / source.name, limit):
                made.write(block)
            made.flush()
            os.utime(made.fileno(), ns=(info.st_atime_ns, info.st_mtime_ns))


def _blocks(file: BinaryIO, path: Path, limit: int) -> Iterator[bytes]:
    left = limit
    if os.fstat(file.fileno()).st_size > limit:
        raise _too_large(path, limit)
    while True:
        with _told_by_path(path):
            block = file.read(_BLOCK)
        left -= len(block)
        if left < 0:
            raise _too_large(path, limit)
        if not block:
            return
        yield block


def _too_large(path: Path, limit: int) -> TooLargeError:
    return TooLargeError(f"{printable(path)} is larger than {limit} bytes: move it away")
