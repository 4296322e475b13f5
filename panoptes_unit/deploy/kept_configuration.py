"""The unit's own configuration, kept aside while a release that may spoil it is tried.

The folders belong to the account of the programs, and a release may have put anything into them: they are only reached
through `guarded`. What is no regular file is not kept; where it stands in the way of a saved file, it is moved.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

from ..documents import printable
from ..files import sync_folder
from ..guarded import Folder, Place, TooLargeError, UnsafeError, copy, open_folder, walk

# Of all that is saved before one switch; a single file that is larger is no configuration, and is not kept.
LIMIT_BYTES = 500_000_000
# A file that a release left and that is larger stays beside its place.
ASIDE_BYTES = 20_000_000
# Troubles of the disk, and not of a single name: the way back is gone on later, once they are over.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


class _Changed(NamedTuple):
    """A file that is not what it was.

    Attributes:
        number: of its folder.
        name: below that folder.
        is_saved: it is among the saved files; a new one otherwise.
    """

    number: int
    name: str
    is_saved: bool


def save(folders: List[str], target: Path) -> None:
    """Copy `folders` below `target`, with owners and modes, onto the disk; `target` is there when all of it is.

    Raises:
        UnsafeError: a link of others is on the way to a folder, or there is more in it than can be kept.
    """
    shutil.rmtree(target, ignore_errors=True)
    draft = target.with_name(f"{target.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    for number, folder in enumerate(folders):
        with suppress(FileNotFoundError, NotADirectoryError), open_folder(Path(folder)) as source:
            with open_folder(draft) as inside:
                _made_like(source.info, inside, str(number))
            _save(source, draft / str(number))
    sync_folder(draft)
    draft.replace(target)
    sync_folder(target.parent)


def _save(source: Folder, target: Path) -> None:
    total = 0
    for entry in walk(source):
        with open_folder((target / entry.relative).parent) as inside:
            if entry.is_folder:
                _made_like(entry.info, inside, entry.name)
                continue
            try:
                _copy(Place(entry.folder, entry.name), Place(inside, entry.name))
            except (FileNotFoundError, UnsafeError):
                continue  # it went, was swapped, or is no file that is kept
            kept = inside.status(entry.name)
            total += kept.st_size if kept else 0
            if total > LIMIT_BYTES:
                raise TooLargeError(f"{source!r} holds more than {LIMIT_BYTES} bytes: move away what is not needed")


def _made_like(info: os.stat_result, folder: Folder, name: str) -> None:
    owner = (info.st_uid, info.st_gid) if os.geteuid() == 0 else None
    with folder.make_folder(name, stat.S_IMODE(info.st_mode) & 0o777, owner):
        pass


def differences(folders: List[str], target: Path) -> List[str]:
    """Files that are no longer what they were when saved, by names for messages: changed, gone or new."""
    return [printable(Path(folders[one.number]) / one.name) for one in _changed(folders, target)]


def _changed(folders: List[str], target: Path) -> List[_Changed]:
    found = []
    for number, folder in enumerate(folders):
        kept, there = _checksums(target / str(number)), _checksums(Path(folder))
        found += [
            _Changed(number, name, name in kept)
            for name in sorted(kept.keys() | there.keys())
            if kept.get(name) != there.get(name)
        ]
    return found


def _checksums(path: Path) -> Dict[str, str]:
    """Of all files below a folder; one that is not read is none, and what stands in a saved one's place makes way."""
    found = {}
    with suppress(FileNotFoundError, NotADirectoryError, UnsafeError), open_folder(path) as folder:
        for entry in walk(folder):
            if not entry.is_folder:
                with suppress(FileNotFoundError, BlockingIOError, PermissionError, UnsafeError):
                    found[entry.relative] = entry.folder.sha256(entry.name, LIMIT_BYTES)
    return found


def restore(folders: List[str], target: Path, aside: Path) -> List[str]:
    """Put every saved file back; what stood in their place, and what is new since then, moves below `aside`.

    Returns:
        What cannot be put back safely, each with the reason; the saved files stay below `aside` then.
    """
    problems = []
    for one in _changed(folders, target):
        top, saved = Path(folders[one.number]), target / str(one.number)
        try:
            _restore(one, top, saved, aside)
        except (OSError, UnsafeError) as error:
            if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                raise
            said = error.strerror or error if isinstance(error, OSError) else error
            problems.append(f"{printable(top / one.name)} is not put back: {printable(said)}")
    if problems:
        aside.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.replace(aside / "not-put-back")
        problems.append(f"the files as they were are in {aside / 'not-put-back'}")
    return problems


def _restore(one: _Changed, top: Path, saved: Path, aside: Path) -> None:
    *above, name = Path(one.name).parts
    with ExitStack() as stack:
        if not one.is_saved:
            here = stack.enter_context(open_folder(top))
            for part in above:
                here = stack.enter_context(here.folder(part))
            _keep_aside(here, name, aside)
            return
        there = stack.enter_context(open_folder(saved))
        here = stack.enter_context(open_folder(top, make=_owner(there)))
        for part in above:
            there = stack.enter_context(there.folder(part))
            here = stack.enter_context(_entered(here, part, there, aside))
        _keep_aside(here, name, aside)
        _copy(Place(there, name), Place(here, name))


def _owner(folder: Folder) -> Tuple[int, int]:
    return (folder.info.st_uid, folder.info.st_gid) if os.geteuid() == 0 else (os.geteuid(), os.getegid())


def _entered(folder: Folder, name: str, model: Folder, aside: Path) -> Folder:
    """The folder `name`; what stands in its place is moved away, and a new one made like the saved one."""
    try:
        return folder.folder(name)
    except FileNotFoundError:
        pass
    except (NotADirectoryError, UnsafeError):
        _keep_aside(folder, name, aside)
    return folder.make_folder(name, stat.S_IMODE(model.info.st_mode) & 0o777, _owner(model))


def _keep_aside(folder: Folder, name: str, aside: Path) -> None:
    """No text is lost: it moves below `aside` by its whole path, or stays beside its place if it cannot."""
    info = folder.status(name)
    if info is None:
        return
    if stat.S_ISREG(info.st_mode) and info.st_size <= ASIDE_BYTES:
        me = (os.geteuid(), os.getegid())
        try:
            aside.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open_folder(aside / str(folder.path).lstrip("/"), make=me) as kept:
                _copy(Place(folder, name), Place(kept, name))
            folder.remove(name)
            return
        except (OSError, UnsafeError):
            pass
    with suppress(FileNotFoundError):  # it went by itself
        try:
            folder.rename(name, f"{name}.{aside.name}")
        except OSError:  # a name that is too long, or is taken by a folder
            folder.rename(name, f"{os.urandom(8).hex()}.{aside.name}")


def keep(saved: Path, aside: Path) -> None:
    """The saved files move to `aside`, for a release that stays has changed them."""
    saved.replace(aside)
    sync_folder(aside.parent)


def forget_old(folder: Path, pattern: str, count: int, limit_bytes: int) -> None:
    """Of what is kept aside, only the newest `count` stay, and of these as many as `limit_bytes` hold; one always."""
    kept = sorted(folder.glob(pattern), key=lambda one: one.stat().st_mtime, reverse=True)
    total = 0
    for number, one in enumerate(kept):
        for _, _, names, descriptor in os.fwalk(one):
            total += sum(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_size for name in names)
        if number and (number >= count or total > limit_bytes):
            shutil.rmtree(one, ignore_errors=True)


def _copy(source: Place, target: Place) -> None:
    copy(source, target, LIMIT_BYTES)
