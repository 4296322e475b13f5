"""The journal of one transaction: each step is on the disk before it acts.

Test hooks: `PANOPTES_UNIT_DIE_AT=STEP:POINT` ends the process there as a power cut would (SIGKILL),
`PANOPTES_UNIT_STOP_AT=STEP:POINT` halts it there until SIGCONT. Points are `before` and `after`, and inside
`switch`, `undo` and `commit` also `file` or `state`; `POINTS` lists them all.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from ..files import append_durably, put_aside, read_json_lines, remove_durably

STEPS = ("resolve", "check", "fetch", "lock", "switch", "prove", "commit", "undo")
# A repair of the release that runs: nothing that has to be undone.
REPAIR = "repair"
POINTS = tuple(
    f"{step}:{point}"
    for step in STEPS
    for point in {
        "switch": ("before", "saved", "file", "after"),
        "undo": ("before", "file", "after"),
        "commit": ("before", "state", "after"),
    }.get(step, ("before", "after"))
)


class Journal:
    """One file; it exists only while a transaction is open.

    Attributes:
        is_open: this run writes to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_open = False

    def begin(self, **facts: object) -> None:
        """Open a transaction; `facts` is what recovery has to know (JSON values)."""
        self.is_open = True
        self._write("begin", **facts)

    @contextmanager
    def step(self, name: str, **facts: object) -> Iterator[None]:
        """Note that a step begins, before it acts, and that it ended; `facts` are for recovery (JSON values)."""
        self.mark(name, "before", **facts)
        yield
        self.mark(name, "after")

    def mark(self, step: str, point: str, **facts: object) -> None:
        """Note a point inside a step."""
        if self.is_open:
            # The way back is not given up for a full disk: without this line, recovery goes the same way.
            with suppress(OSError) if step == "undo" else nullcontext():
                self._write(f"{step}:{point}", **facts)
        _fault(f"{step}:{point}")

    def close(self) -> None:
        """End the transaction: nothing is left to recover."""
        self.is_open = False
        remove_durably(self.path)

    def unfinished(self) -> Optional[Dict[str, Any]]:
        """What an interrupted run left; None where nothing is open.

        Returns:
            The facts of `begin`, those of the points after it, and `points`, the points that were passed.
        """
        if self.path.is_dir():
            put_aside(self.path)
        lines = read_json_lines(self.path)
        if not lines:
            if self.path.exists():  # cut before its first line was whole: nothing had acted yet
                remove_durably(self.path)
            return None
        facts = {name: value for line in lines for name, value in line.items() if name not in ("point", "at")}
        return {**facts, "points": [str(line.get("point")) for line in lines[1:]]}

    def is_of_update(self) -> bool:
        """Is a transaction open, and no repair?"""
        left = self.unfinished()
        return left is not None and left.get("kind") != REPAIR

    def resume(self) -> None:
        """Write on in the file of an interrupted transaction."""
        self.is_open = True

    def _write(self, point: str, **facts: object) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        append_durably(self.path, json.dumps({"point": point, "at": time.time(), **facts}) + "\n")


def _fault(point: str) -> None:
    if os.environ.get("PANOPTES_UNIT_DIE_AT") == point:
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("PANOPTES_UNIT_STOP_AT") == point:
        os.kill(os.getpid(), signal.SIGSTOP)
