"""What people see while something runs: tables that change on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import rows
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
        one.disk,
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
