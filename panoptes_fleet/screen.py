"""What people see while something runs: tables that change on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from . import rows
from .journal import FAILED, GOES, PROVED, UNDOES, Journal
from .rows import Row

COLOURS = {rows.WHOLE: "green", rows.ILL: "red", rows.SILENT: "yellow", rows.UNSEEN: "dim", rows.BROKEN: "magenta"}


def console() -> Console:
    """Standard output."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def status_table(found: Iterable[Row], asked: set[str], now: float) -> Table:
    """One row a unit; those that did not answer yet say so."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = ("unit", "place", "light", "state", "release", "behind", "seen", "last attempt", "disk", "what is wrong")
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name in ("unit", "light", "state", "release", "seen"))
    for one in found:
        waiting = one.name in asked
        state = Text("asked …" if waiting else one.state, style="dim" if waiting else COLOURS[one.state])
        seen = f"{rows.age(now - one.seen)} ago" if one.seen else "never"
        disk = one.disk.partition(" on ")[0]
        cells = [one.place, one.light, state, one.release, rows.behind_told(one), seen, rows.last_told(one, now), disk]
        table.add_row(
            Text(one.name), *(Text(str(cell)) if cell is not state else state for cell in cells), Text(one.what)
        )
    return table


def status_line(one: Row, now: float | None = None) -> str:
    """The same as one plain line, for logs and pipes."""
    now = time.time() if now is None else now
    parts = [
        f"{one.name}: {one.state}",
        f"{one.place}, {one.light}" if one.light else one.place,
        f"release {one.release}" if one.release else "",
        f"behind {rows.behind_told(one)}" if one.behind else "newest" if one.behind == 0 else "",
        f"last {rows.last_told(one, now)}" if one.last else "",
        one.disk if one.disk not in one.what else "",
        f"power: {one.power}" if one.power and "nothing known" not in one.power else "",
        f"{one.quarantine} in quarantine" if one.quarantine else "",
        f"last state {'whole' if one.whole else 'ill'}, {rows.age(one.age_s)} old"
        if one.state == rows.SILENT and one.seen
        else "",
        one.what,
    ]
    return "; ".join(part for part in parts if part)


def summary(found: Iterable[Row]) -> str:
    """How many are in which state."""
    states = [one.state for one in found]
    counts = [f"{states.count(state)} {state}" for state in COLOURS if state in states]
    return f"{len(states)} units: {', '.join(counts)}" if states else "no unit"


class Progress:
    """A rollout while it runs: its lines, and on a terminal below them what each unit is at."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.console = console()
        self.tasks: dict[str, tuple[str, float]] = {}
        self.live = Live(get_renderable=self._table, console=self.console, transient=True, refresh_per_second=2)

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.live.stop()

    def say(self, line: str) -> None:
        """One line that stays, with the time."""
        self.console.print(Text(f"{time.strftime('%H:%M:%S')}  {rows.plain(line)}"))

    def task(self, name: str, task: str) -> None:
        """What a unit did last."""
        self.tasks[name] = (task, time.monotonic())

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for name in self.journal.having(GOES, UNDOES):
            task, since = self.tasks.setdefault(name, ("begun", time.monotonic()))
            wave = f"wave {self.journal.units[name].wave + 1}"
            table.add_row(Text(name), wave, Text(task), rows.age(time.monotonic() - since))
        done, failed = len(self.journal.having(PROVED)), len(self.journal.having(FAILED))
        table.add_row(f"{done} of {len(self.journal.units)} proved", f"{failed} failed" if failed else "", "", "")
        return table
