"""What a rollout did, a line of JSON each, on the disk before the next step: a file to go on from, and to read."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import files
from .errors import BusyError, FleetError

# How a unit stands in a rollout.
GOES, GOOD, PROVED, WAITS, FAILED = "goes", "good", "proved", "waits", "failed"
UNDOES, UNDONE, NOT_UNDONE = "undoes", "undone", "not-undone"
# It has been brought to the release, or was tried: what counts for a wave.
GONE = {GOES, GOOD, PROVED, FAILED, UNDOES, UNDONE, NOT_UNDONE}


@dataclass
class Standing:
    """A unit, as the journal's last line about it says.

    Attributes:
        state: one of the words above; empty where it was not its turn.
        wave: in which it went, from 0.
        before: the id of its last attempt before it went, empty for none: a later one is this rollout's. None where it
            never went.
        verdict, line: what it answered.
        fault: why it failed, also after it was taken back.
    """

    state: str = ""
    wave: int = 0
    before: str | None = None
    verdict: str = ""
    line: str = ""
    fault: str = ""
    answer: dict[str, Any] = field(default_factory=dict)


class Journal:
    """One rollout's file.

    Attributes:
        head: its first line: id, at, by, verb, and all options.
        units: name -> standing.
        release: source -> index that the first proved unit of it runs.
        stopped: why no further unit goes; empty where it goes on.
        ended: nothing is left to do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head: dict[str, Any] = {}
        self.units: dict[str, Standing] = {}
        self.release: dict[str, str] = {}
        self.stopped = ""
        self.undoing = False
        self.ended = False

    @classmethod
    def begun(cls, folder: Path, head: dict[str, Any]) -> Journal:
        """A new one; its name is the time."""
        name = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
        path = folder / f"{name}.jsonl"
        while path.exists():
            path = path.with_name(f"{path.stem}-2.jsonl")
        journal = cls(path)
        journal.append({"is": "begun", "id": path.stem, **head})
        return journal

    @classmethod
    def read(cls, path: Path) -> Journal:
        """As far as it was written; a last line that was cut short is none.

        Raises:
            FleetError: it is no journal.
        """
        journal = cls(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise FleetError(f"{path} cannot be read: {error.strerror}") from None
        for line in content.split(b"\n")[:-1]:
            try:
                record = json.loads(line)
                if isinstance(record, dict):
                    journal._take(record)
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
        if not journal.head:
            raise FleetError(f"{path} is no journal of a rollout: remove it")
        return journal

    def append(self, record: dict[str, Any]) -> None:
        """One step, durably.

        Raises:
            FleetError: it cannot be written; the step must not be taken then.
        """
        record = {"at": round(time.time(), 3), **record}
        try:
            new = not self.path.exists()
            if new:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                size = os.fstat(handle).st_size
                torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                line = b"\n" * torn + json.dumps(record).encode() + b"\n"
                if os.write(handle, line) != len(line):
                    raise OSError(28, "No space left on device")
                os.fsync(handle)
            finally:
                os.close(handle)
            if new:
                files.sync_folder(self.path.parent)
        except OSError as error:
            remedy = "make room, then panoptes-fleet rollout resume"
            raise FleetError(
                f"{self.path} cannot be written ({error.strerror}); no further unit goes: {remedy}"
            ) from None
        self._take(record)

    def _take(self, record: dict[str, Any]) -> None:
        kind = record["is"]
        if kind == "begun":
            self.head = record
            self.units = {name: Standing() for name in record["order"]}
        elif kind == "release":
            self.release[record["source"]] = record["index"]
        elif kind == "options":
            self.head.update(record["options"])
            self.stopped = ""
        elif kind == "stopped":
            self.stopped = record["why"]
        elif kind == "undo":
            self.undoing = True
        elif kind == "ended":
            self.ended = True
        elif record.get("unit") in self.units:
            one = self.units[record["unit"]]
            one.state = kind
            if kind == FAILED:
                one.fault = record.get("line", "")
            for key in ("wave", "before", "verdict", "line", "answer"):
                if key in record:
                    setattr(one, key, record[key])

    def having(self, *states: str) -> list[str]:
        """The units that stand so, in their order."""
        return [name for name, one in self.units.items() if one.state in states]


def all_journals(folder: Path) -> list[Journal]:
    """Every rollout, the newest last; files that are none are passed over."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        try:
            found.append(Journal.read(path))
        except FleetError:
            continue
    return found


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else rolls out meanwhile from this controller; the lock goes with the process, however it ends.

    Raises:
        BusyError: somebody does.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise BusyError(f"another rollout is at work ({file.read().strip() or 'just begun'})") from None
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()}, since {time.strftime('%H:%M:%S', time.gmtime())} UTC")
        file.flush()
        os.set_inheritable(file.fileno(), False)
        yield
