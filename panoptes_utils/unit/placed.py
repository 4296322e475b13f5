"""Directories and files as a role wants them: only what differs is touched, and each file in one step.

Runs on Python 3.9 with the standard library only, because an Ansible module carries this file to units.
"""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional

from .files import remove_durably, sync_folder, write_durably


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
    """

    mode: str = "0644"
    content: str = ""
    validate: tuple = ()


class Change(NamedTuple):
    """A path that was changed, and the difference as Ansible shows it."""

    path: str
    diff: dict


def place(directories: list, files: list, absent: list, dry_run: bool = False) -> list:
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
        ValueError: a file's own command refuses it.
    """
    changes = [_make(entry, dry_run) for entry in directories]
    changes += [_write(entry, dry_run) for entry in files]
    changes += [_remove(path, dry_run) for path in absent]
    return [change for change in changes if change]


def _attributes(path: Path) -> Optional[dict]:
    """`mode`, `uid` and `gid` of a path as text for a person, None where nothing is; links are not followed."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return {"mode": f"{stat.S_IMODE(found.st_mode):04o}", "uid": found.st_uid, "gid": found.st_gid}


def _wanted(entry: Directory) -> dict:
    return {"mode": f"{int(entry.mode, 8):04o}", "uid": entry.uid, "gid": entry.gid}


def _make(entry: Directory, dry_run: bool) -> Optional[Change]:
    path = Path(entry.path)
    found, wanted = _attributes(path), _wanted(entry)
    if found is not None and not path.is_dir():
        raise NotADirectoryError(f"{path}: is no directory; move it away and run this again")
    if found == wanted:
        return None
    if not dry_run:
        if found is None:
            _make_parents(path, entry)
            path.mkdir()
        os.chown(path, entry.uid, entry.gid)
        path.chmod(int(entry.mode, 8))
        sync_folder(path.parent)
    return _change(path, found, wanted)


def _write(entry: File, dry_run: bool) -> Optional[Change]:
    path = Path(entry.path)
    found, wanted = _attributes(path), _wanted(entry)
    if path.is_dir() and not path.is_symlink():
        raise IsADirectoryError(f"{path}: is a directory; move it away and run this again")
    before = None
    if found is not None and not path.is_symlink():
        before = path.read_bytes().decode(errors="replace")
    if found == wanted and before == entry.content:
        return None
    if not dry_run:
        _make_parents(path, entry)
        write_durably(
            path, entry.content, int(entry.mode, 8), (entry.uid, entry.gid), lambda draft: _validate(entry, draft)
        )
    return _change(path, found, wanted, before or "", entry.content)


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
    found = _attributes(Path(path))
    if found is None:
        return None
    if not dry_run:
        remove_durably(Path(path))
    return _change(Path(path), found, None)


def _make_parents(path: Path, entry: Directory) -> None:
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)  # whatever the umask is
        os.chown(folder, entry.uid, entry.gid)
        sync_folder(folder.parent)


def _change(path: Path, found: Optional[dict], wanted: Optional[dict], before: str = "", after: str = "") -> Change:
    """The texts, and above them what else differs of the path."""

    def described(attributes: Optional[dict], text: str) -> str:
        if attributes is None:
            return "absent\n"
        if found and wanted and found == wanted:
            return text
        return " ".join(f"{name}={value}" for name, value in attributes.items()) + "\n" + text

    header = {"before_header": str(path), "after_header": str(path)}
    return Change(str(path), {**header, "before": described(found, before), "after": described(wanted, after)})
