"""The files that the tool cannot work without, twice: a damaged one is put back as it was when the unit last worked.

What can be read stays, whoever wrote it, and is copied when the unit is found to work with it. What is put back is
told, and the damaged file is kept beside it.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Callable, Collection, Dict, NamedTuple, Optional

from ..documents import DocumentError, read_object, read_yaml
from ..files import put_aside, write_durably
from ..settings import SIZE_LIMIT, Settings, load
from .run import Run

FOLDER = "copies"
ENGINE_UNITS = ("lib/systemd/system/docker.service", "lib/systemd/system/docker.socket")
ENGINE_OPTIONS = "etc/docker/daemon.json"
DAEMONS = ("usr/bin/dockerd", "usr/sbin/dockerd")


class Copy(NamedTuple):
    """A file as it was."""

    text: str
    mode: int


def keep(run: Run) -> None:
    """Copy what the unit works with; nothing is written where the copy says the same."""
    folder = Path(run.settings.state) / FOLDER
    for path, damage in {**_files(run), **_engine_files(run)}.items():
        text = _text(path)
        if text is None or damage(text):
            continue
        mode = path.stat().st_mode & 0o777
        if copy_of(folder, path) != Copy(text, mode):
            try:
                _write_copy(folder, path, Copy(text, mode))
            except OSError as error:  # what runs goes on running
                run.report.step("copies", f"{error.filename or folder}: {error.strerror}")


def mend(run: Run) -> None:
    """Put back what is damaged, where there is a copy of it."""
    _mend(run, _files(run))


def mend_engine(run: Run) -> None:
    """The same for the files without which the engine does not start. Asked only where it does not."""
    if any((run.root / name).exists() for name in DAEMONS):  # somebody who took the engine away wanted that
        _mend(run, _engine_files(run))


def _mend(run: Run, files: Dict[Path, Callable[[str], bool]]) -> None:
    for path, damage in files.items():
        try:
            if _put_back(Path(run.settings.state) / FOLDER, path, damage):
                run.report.step("copies", _told(path))
        except OSError as error:  # whatever needs the file says so
            run.report.step("copies", f"{error.filename or path}: {error.strerror}")


def settings_from(path: Path, folder: Optional[Path] = None, told: Callable[[str], None] = print) -> Settings:
    """The settings; where the file is damaged, and not merely wrong, as they were when the unit last worked.

    Args:
        path: of the settings.
        folder: of the tool's state; the usual one if none is given.
        told: is called with one line where the copy was used.

    Raises:
        ConfigurationError: there are none that can be used.
    """
    if _put_back((folder or Path(Settings().state)) / FOLDER, path, _no_settings):
        told(_told(path))
    return load(path)


def _told(path: Path) -> str:
    return f"{path} was damaged: it is again as it was when the unit last worked"


def _files(run: Run) -> Dict[Path, Callable[[str], bool]]:
    watched = run.settings.watch
    return {
        Path(run.settings.compose_file): lambda text: _no_services(text, watched),
        run.settings_path: _no_settings,
    }


def _engine_files(run: Run) -> Dict[Path, Callable[[str], bool]]:
    units = {run.root / name: lambda text: "[Unit]" not in text for name in ENGINE_UNITS}
    return {**units, run.root / ENGINE_OPTIONS: _no_options}


def _no_options(text: str) -> bool:
    try:
        read_object(text, SIZE_LIMIT)
    except DocumentError:
        return True
    return False


def _no_settings(text: str) -> bool:
    """A power cut or a bad block left this; a wrong value was left by a person."""
    try:
        document = read_yaml(text, SIZE_LIMIT)
    except DocumentError:
        return True
    return not isinstance(document, dict) or not document.get("source")


def _no_services(text: str, watched: Collection[str]) -> bool:
    try:
        document = read_yaml(text, SIZE_LIMIT)
    except DocumentError:
        return True
    services = document.get("services") if isinstance(document, dict) else None
    return not isinstance(services, dict) or not services or not set(watched) <= set(services)


def _text(path: Path) -> Optional[str]:
    """What the file holds; None where it is not there, empty where it is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        return ""


def _put_back(folder: Path, path: Path, damage: Callable[[str], bool]) -> bool:
    text, copy = _text(path), copy_of(folder, path)
    if copy is None or (text is not None and not damage(text) and not _is_cut(text, copy.text)):
        return False
    if text is not None:
        put_aside(path)
    write_durably(path, copy.text, copy.mode)
    return True


def _is_cut(text: str, whole: str) -> bool:
    """In the middle of a line; after a whole one, somebody may have taken away the rest."""
    return text != whole and not text.endswith("\n") and whole.startswith(text)


def copy_of(folder: Path, path: Path) -> Optional[Copy]:
    """The copy of a file; None where there is none that is whole."""
    with suppress(OSError, ValueError):
        known = read_object((folder / f"{path.name}.json").read_bytes(), 4 * SIZE_LIMIT)
        text, mode = known.get("text"), known.get("mode")
        if not isinstance(text, str) or not isinstance(mode, int):
            return None
        if known.get("path") == str(path) and known.get("sha256") == _sum(text):
            return Copy(text, mode & 0o777)
    return None


def _write_copy(folder: Path, path: Path, copy: Copy) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / f"{path.name}.json"
    if target.is_dir():
        put_aside(target)
    content = {"path": str(path), "text": copy.text, "mode": copy.mode, "sha256": _sum(copy.text)}
    write_durably(target, json.dumps(content) + "\n", mode=0o600)


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
