"""What the tool knows between runs: current and previous release, quarantine, locks, deferrals, history."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..documents import printable, read_json
from ..errors import refused
from ..files import append_durably, put_aside, read_json_lines, write_durably
from . import verdicts
from .outcome import Outcome
from .release import Release

_NO_TIME = 1e15  # seconds since 1970


@dataclass
class State:
    """Kept in one file, replaced whole.

    Attributes:
        current, previous: releases, as dictionaries.
        quarantine: digest -> {at, reason, tag, index}; never tried again by itself.
        pinned: {at, by, reason} while the unit stays where it is.
        locked: {at, by, reason, until} while an operator wants no restarts.
        deferrals: digest -> how often an update to it had to wait.
        interrupted: digest -> how often a power cut hit an update to it.
        last_check: {at, index, source} of the last time that the source was asked.
    """

    current: Optional[Dict[str, Any]] = None
    previous: Optional[Dict[str, Any]] = None
    quarantine: Dict[str, Any] = field(default_factory=dict)
    pinned: Optional[Dict[str, Any]] = None
    locked: Optional[Dict[str, Any]] = None
    deferrals: Dict[str, Any] = field(default_factory=dict)
    interrupted: Dict[str, Any] = field(default_factory=dict)
    last_check: Optional[Dict[str, Any]] = None

    @property
    def current_release(self) -> Optional[Release]:
        """What was last proved, or adopted."""
        return Release.from_dict(self.current)

    @property
    def previous_release(self) -> Optional[Release]:
        """Where a rollback goes."""
        return Release.from_dict(self.previous)

    def lock_in_force(self) -> Optional[Dict[str, Any]]:
        """The operator's lock, unless it has run out."""
        if self.locked and (not self.locked.get("until") or self.locked["until"] > time.time()):
            return self.locked
        return None


class Store:
    """The folder with `state.json`, its copy, `history.jsonl` and the journal.

    Attributes:
        damage: why `load` did not take the state from its own file; empty where it did.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.journal_path = self.folder / "journal.jsonl"
        self.history_path = self.folder / "history.jsonl"
        self.saved_files = self.folder / "saved"  # the kept configuration, while a release is on trial
        self.damage = ""
        self._state = self.folder / "state.json"
        self._copy = self.folder / "state.copy.json"

    def load(self) -> State:
        """The state, or its copy, or what the history still tells; a fresh one where none was kept.

        Nobody is there who could mend a damaged file: it is put aside when the state is next saved.
        """
        self.damage = ""
        try:
            return _read(self._state)
        except FileNotFoundError:
            if not self._copy.exists():
                return State()
            self.damage = f"{self._state} is gone"
        except PermissionError:
            raise refused(f"{self._state} may be read by its owner only") from None
        except (OSError, ValueError) as error:
            self.damage = f"{self._state} cannot be read ({error})"
        with suppress(OSError, ValueError):
            state = _read(self._copy)
            self.damage += ": its copy is used"
            return state
        self.damage += ": it begins anew, with what the history tells"
        return _remembered(self.history())

    def save(self, state: State) -> None:
        """Replace the state, and then its copy, each in one step."""
        text = json.dumps(asdict(state), indent=1) + "\n"
        for path in (self._state, self._copy):
            if path.exists() and (path.is_dir() or (self.damage and path == self._state)):
                put_aside(path)
            write_durably(path, text)
        self.damage = ""

    def record(self, attempt: Dict[str, Any]) -> None:
        """Add an attempt to the history, once; again only where recovery brought it to another end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.history_path.is_dir():
            put_aside(self.history_path)
        earlier = [line.get("verdict") for line in self.history()[-3:] if line.get("id") == attempt["id"]]
        if attempt.get("verdict") not in earlier[-1:]:
            append_durably(self.history_path, json.dumps(attempt) + "\n")

    def history(self) -> List[Dict[str, Any]]:
        """Every attempt, oldest first; lines that are none are passed over."""
        if self.history_path.is_dir():
            return []
        return [line for line in read_json_lines(self.history_path) if "id" in line and Outcome.fits(line)]


def _read(path: Path) -> State:
    return _checked(read_json(path.read_text(encoding="utf-8")))


def _remembered(history: List[Dict[str, Any]]) -> State:
    """A state with the quarantine that the history still tells."""
    state = State()
    for line in history:
        digest = str(line.get("new", "")).partition("@")[2]
        if not digest:
            continue
        if line.get("verdict") == verdicts.ROLLED_BACK:
            entry = {"at": line.get("at", 0), "reason": str(line.get("reason", "")), "tag": "", "index": ""}
            state.quarantine[digest] = entry
        elif line.get("verdict") in (verdicts.UPDATED, verdicts.INSTALLED):
            state.quarantine.pop(digest, None)
    return state


def _checked(document: Any) -> State:
    """The state in a document that anybody may have written.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(document, dict):
        raise ValueError("it holds no object")
    state = State(**{key: value for key, value in document.items() if key in State.__dataclass_fields__})
    for item in fields(State):
        value = getattr(state, item.name)
        if not isinstance(value, dict) and not (value is None and item.default is None):
            raise ValueError(f"{item.name} is {printable(repr(value), 80)}")
    for name in ("current", "previous"):
        try:
            Release.from_dict(getattr(state, name))
        except (KeyError, TypeError):
            raise ValueError(f"{name} is no release") from None
    for entry in (*state.quarantine.values(), state.pinned, state.locked):
        if entry is not None and not _is_entry(entry):
            raise ValueError(f"an entry is {printable(repr(entry), 80)}")
    if state.last_check is not None and not _is_time(state.last_check.get("at")):
        raise ValueError("last_check has no time")
    for count in (*state.deferrals.values(), *state.interrupted.values()):
        if type(count) is not int:
            raise ValueError(f"a count is {printable(repr(count), 80)}")
    return state


def _is_entry(entry: Any) -> bool:
    """Does it say when and why? What else it may say, it need not: files of older versions are read as well."""
    if not isinstance(entry, dict) or not _is_time(entry.get("at")) or not isinstance(entry.get("reason"), str):
        return False
    entry.setdefault("by", "somebody")
    entry.setdefault("index", "")
    return entry.get("until") is None or _is_time(entry["until"])


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < _NO_TIME
