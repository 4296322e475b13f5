"""Directories and files as a role wants them: only what differs is touched, and each file in one step.

Some of them lie in folders of the unit's account, which may have put links there: all goes through `guarded`.
Runs on Python 3.9 with the standard library only, because an Ansible module carries this file to units.
"""

from __future__ import annotations

import os
import stat
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ..guarded import Folder, UnsafeError, open_folder


@dataclass(frozen=True)
class Directory:
    """A directory that shall be there: absolute path, octal mode, numbers of owner and group."""

    path: str
    mode: str = "0755"
    uid: int = 0
    gid: int = 0

    def __post_init__(self) -> None:
        if not Path(self.path).is_absolute():
            raise ValueError(f"{self.path}: write an absolute path")
        try:
            int(self.mode, 8)
        except ValueError:
            raise ValueError(f"{self.path}: mode '{self.mode}' is not octal, such as 0644") from None


@dataclass(frozen=True)
class File(Directory):
    """A file that shall be there, with all of its text.

    Attributes:
        validate: a command that refuses a wrong file, `%s` in it stands for the file; empty for none.
        secret: no text of it is shown, neither that of before nor the new one.
    """

    mode: str = "0644"
    content: str = ""
    validate: Tuple[str, ...] = ()
    secret: bool = False


class Change(NamedTuple):
    """A path that was changed, and the difference as Ansible shows it."""

    path: str
    diff: Dict[str, str]


def apply(directories: List[Directory], files: List[File], absent: List[str], dry_run: bool = False) -> List[Change]:
    """Make directories, write files and remove files, in this order.

    Args:
        directories: of `Directory`.
        files: of `File`.
        absent: paths.
        dry_run: change nothing, only say what would change.

    Returns:
        list of Change: what differed.

    Raises:
        OSError: a path cannot be read or changed, or is a directory where a file belongs or the other way round.
        UnsafeError: a link stands in the place of a directory, or on a way on which others may have put it.
        ValueError: a file's own command refuses it.
    """
    changes = [_make(entry, dry_run) for entry in directories]
    changes += [_write(entry, dry_run) for entry in files]
    changes += [_remove(path, dry_run) for path in absent]
    return [change for change in changes if change]


@contextmanager
def _parent(path: Path, make: Optional[Tuple[int, int]] = None) -> Iterator[Optional[Folder]]:
    """The open folder above `path`; None where it is missing, and shall not be made."""
    try:
        folder = open_folder(path.parent, make)
    except FileNotFoundError:
        yield None
        return
    with folder:
        yield folder


def _found(folder: Optional[Folder], name: str) -> Optional[os.stat_result]:
    return folder.status(name) if folder else None


def _attributes(found: Optional[os.stat_result]) -> Optional[Dict[str, Any]]:
    """`mode`, `uid` and `gid` as text for a person, None where nothing is."""
    if found is None:
        return None
    return {"mode": f"{stat.S_IMODE(found.st_mode):04o}", "uid": found.st_uid, "gid": found.st_gid}


def _wanted(entry: Directory) -> Dict[str, Any]:
    return {"mode": f"{int(entry.mode, 8):04o}", "uid": entry.uid, "gid": entry.gid}


def _make(entry: Directory, dry_run: bool) -> Optional[Change]:
    path, owner, wanted = Path(entry.path), (entry.uid, entry.gid), _wanted(entry)
    with _parent(path, None if dry_run else owner) as parent:
        found = None
        if _found(parent, path.name):
            assert parent is not None
            with parent.folder(path.name) as folder:  # not through a link, whoever put it there
                found = _attributes(folder.info)
                if found == wanted:
                    return None
                if not dry_run:
                    folder.give(int(entry.mode, 8), owner)
                    parent.sync()
        elif parent and not dry_run:
            with parent.make_folder(path.name, int(entry.mode, 8), owner):
                pass
    return _change(path, found, wanted)


def _write(entry: File, dry_run: bool) -> Optional[Change]:
    path, owner, wanted = Path(entry.path), (entry.uid, entry.gid), _wanted(entry)
    with _parent(path, None if dry_run else owner) as parent:
        status = _found(parent, path.name)
        found = _attributes(status)
        if status and stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(f"{path}: is a directory; move it away and run this again")
        before = _text(parent, path.name) if parent and status else None
        if found == wanted and before == entry.content:
            return None
        if parent and not dry_run:
            mode = int(entry.mode, 8)
            with parent.replacing(path.name, mode, owner, lambda draft: _validate(entry, draft)) as draft:
                draft.write(entry.content.encode())
    if entry.secret:
        return _change(path, found, wanted, "", "not shown\n")
    return _change(path, found, wanted, before or "", entry.content)


def _text(folder: Folder, name: str) -> Optional[str]:
    """Of a file as it is; None where that is none which root reads, and which is replaced unseen."""
    try:
        return folder.read(name)[0].decode(errors="replace")
    except (FileNotFoundError, UnsafeError):
        return None


def _validate(entry: File, draft: Path) -> None:
    """Ask the command that knows whether a file is right.

    Raises:
        ValueError: it says no.
    """
    if not entry.validate:
        return
    command = [word.replace("%s", str(draft)) for word in entry.validate]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        said = done.stdout.replace(str(draft), entry.path).strip().splitlines() or ["no reason given"]
        raise ValueError(f"{entry.path} stays as it was, {command[0]} refuses the new one: {said[-1]}")


def _remove(path: str, dry_run: bool) -> Optional[Change]:
    with _parent(Path(path)) as parent:
        found = _attributes(_found(parent, Path(path).name))
        if found is None:
            return None
        if parent and not dry_run:
            parent.remove(Path(path).name)
            parent.sync()
    return _change(Path(path), found, None)


def _change(
    path: Path, found: Optional[Dict[str, Any]], wanted: Optional[Dict[str, Any]], before: str = "", after: str = ""
) -> Change:
    """The texts, and above them what else differs of the path."""

    def described(attributes: Optional[Dict[str, Any]], text: str) -> str:
        if attributes is None:
            return "absent\n"
        if found and wanted and found == wanted:
            return text
        return " ".join(f"{name}={value}" for name, value in attributes.items()) + "\n" + text

    header = {"before_header": str(path), "after_header": str(path)}
    return Change(str(path), {**header, "before": described(found, before), "after": described(wanted, after)})
