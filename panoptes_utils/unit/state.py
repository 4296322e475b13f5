"""What the tool knows between runs: current and previous release, quarantine, locks, deferrals, history."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Optional

from .errors import UnitError
from .files import append_durably, read_json_lines, write_durably
from .release import Release


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
        last_check: {at, index, verdict} of the last look at the registry.
    """

    current: Optional[dict] = None
    previous: Optional[dict] = None
    quarantine: dict = field(default_factory=dict)
    pinned: Optional[dict] = None
    locked: Optional[dict] = None
    deferrals: dict = field(default_factory=dict)
    interrupted: dict = field(default_factory=dict)
    last_check: Optional[dict] = None

    @property
    def current_release(self) -> Optional[Release]:
        """What was last proved, or adopted."""
        return Release.from_dict(self.current)

    @property
    def previous_release(self) -> Optional[Release]:
        """Where a rollback goes."""
        return Release.from_dict(self.previous)

    def lock_in_force(self) -> Optional[dict]:
        """The operator's lock, unless it has run out."""
        if self.locked and (not self.locked.get("until") or self.locked["until"] > time.time()):
            return self.locked
        return None


class Store:
    """The folder with `state.json`, `history.jsonl` and the journal."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.journal_path = self.folder / "journal.jsonl"
        self.history_path = self.folder / "history.jsonl"
        self.saved_files = self.folder / "saved"
        self._state = self.folder / "state.json"

    def load(self) -> State:
        """The state; a fresh one where none was kept.

        Raises:
            UnitError: the file is there and cannot be used.
        """
        try:
            document = json.loads(self._state.read_text(encoding="utf-8"))
            return State(**{key: value for key, value in document.items() if key in State.__dataclass_fields__})
        except FileNotFoundError:
            return State()
        except (OSError, ValueError, AttributeError) as error:
            raise UnitError(f"{self._state} cannot be read ({error}): move it away and deploy again") from None

    def save(self, state: State) -> None:
        """Replace the state in one step."""
        write_durably(self._state, json.dumps(asdict(state), indent=1) + "\n")

    def record(self, attempt: dict) -> None:
        """Add an attempt to the history, once; again only where recovery brought it to another end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        earlier = [line.get("verdict") for line in self.history()[-3:] if line.get("id") == attempt["id"]]
        if attempt.get("verdict") not in earlier[-1:]:
            append_durably(self.history_path, json.dumps(attempt) + "\n")

    def history(self) -> list:
        """Every attempt, oldest first."""
        return read_json_lines(self.history_path)
