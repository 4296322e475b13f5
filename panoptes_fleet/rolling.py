"""The commands around a rollout: begun, gone on with, taken back, abandoned, shown."""

from __future__ import annotations

import getpass
import json
import subprocess
import sys
import time
from typing import Any

import click

from . import errors, journal, project, rows, waves
from .context import Context
from .errors import BusyError, FleetError
from .journal import FAILED, GOES, GONE, GOOD, NOT_UNDONE, PROVED, UNDOES, UNDONE, WAITS, Journal
from .playing import PlayedUnits
from .rollout import UPDATE, Rollout
from .screen import Progress

TOLD = {
    PROVED: "came through",
    GOOD: "done, not proved yet",
    FAILED: "failed",
    WAITS: "waits",
    GOES: "is at it, or was",
    UNDONE: "taken back",
    UNDOES: "is being taken back, or was",
    NOT_UNDONE: "failed on the way back",
    "": "not its turn yet",
}


def begin(
    context: Context,
    verb: str,
    names: tuple[str, ...],
    waves: str,
    soak: float,
    max_failures: int,
    force: bool,
    on_failure: str = "stop",
    playbook: str = "",
    extra: dict[str, str] | None = None,
) -> int:
    """A new one; the exit code."""
    with journal.alone(context.rollouts):
        unfinished = _unfinished(context)
        if verb == UPDATE and unfinished and unfinished.head["verb"] == UPDATE:
            raise BusyError(
                f"rollout {unfinished.head['id']} is not finished: panoptes-fleet rollout resume, undo or abandon"
            )
        fleet = context.inventory(names)
        order = fleet.names
        canaries = [name for name in order if fleet.units[name].canary] if verb == UPDATE else []
        head = {
            "by": getpass.getuser(),
            "verb": verb,
            "playbook": playbook,
            "extra": extra or {},
            "force": force,
            "soak": soak,
            "max_failures": max_failures,
            "on_failure": on_failure,
            "waves": waves,
            "sizes": _sizes(waves, len(order), len(canaries)),
            "order": [*canaries, *(name for name in order if name not in canaries)],
            "canaries": canaries,
            "left_out": {name: unit.broken for name, unit in fleet.units.items() if unit.broken},
            "inventory": str(context.path),
            "checkout": _revision(),
        }
        return _run(context, Journal.begun(context.rollouts, head))


_sizes = waves.sizes


def resume(context: Context, options: dict[str, Any]) -> int:
    """Goes on with the last one that is not finished."""
    with journal.alone(context.rollouts):
        one = _required(context)
        failed = len(one.having(FAILED))
        limit = options.get("max_failures", one.head["max_failures"])
        if one.stopped and not one.undoing and failed > limit:
            raise FleetError(
                f"rollout {one.head['id']} was stopped ({one.stopped}): `rollout undo` takes its units back, "
                f"`rollout resume --max-failures {failed}` goes on all the same"
            )
        if options and not one.undoing:
            one.append({"is": "options", "options": options})
        return _run(context, one)


def undo(context: Context) -> int:
    """Takes back what the last unfinished one has moved."""
    with journal.alone(context.rollouts):
        one = _required(context)
        if one.head["verb"] != UPDATE:
            raise FleetError(f"{one.head['verb']} cannot be taken back")
        if not one.undoing:
            one.append({"is": "stopped", "why": f"taken back by {getpass.getuser()}"})
            one.append({"is": "undo"})
        return _run(context, one)


def abandon(context: Context) -> int:
    """Ends the last unfinished one as it stands."""
    with journal.alone(context.rollouts):
        one = _required(context)
        one.append({"is": "ended", "why": f"abandoned by {getpass.getuser()}"})
    click.echo(f"rollout {one.head['id']} is left as it is")
    return errors.OK


def show(context: Context, name: str | None, as_json: bool) -> int:
    """What one did."""
    found = journal.all_journals(context.rollouts)
    chosen = [one for one in found if name in (None, one.head["id"])]
    if not chosen:
        names = ", ".join(one.head["id"] for one in found[-5:]) or "none yet"
        raise FleetError(f"there is no rollout {name or ''}; the last are {names}".replace(" ;", ";"))
    one = chosen[-1]
    if as_json:
        units = {name: vars(standing) for name, standing in one.units.items()}
        rest = {"release": one.release, "stopped": one.stopped, "undoing": one.undoing, "ended": one.ended}
        click.echo(json.dumps({**one.head, **rest, "units": units, "journal": str(one.path)}, indent=1))
        return code(one)
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.head["at"]))
    click.echo(f"{one.head['verb']} {one.head['id']}, begun {when} UTC by {one.head['by']}, waves {one.head['waves']}")
    for source, index in one.release.items():
        click.echo(f"release {rows.short(index)} of {source}")
    for unit, standing in one.units.items():
        wave = f"wave {standing.wave + 1}, " if standing.state in GONE else ""
        click.echo(f"  {unit}: {wave}{TOLD[standing.state]}{f', {standing.line}' if standing.line else ''}")
        if standing.fault and standing.fault != standing.line:
            click.echo(f"    it had failed: {standing.fault}")
    _say_end(one)
    click.echo(f"journal: {one.path}")
    return code(one)


def code(one: Journal) -> int:
    """The exit code for how it stands."""
    if one.stopped or one.having(FAILED, NOT_UNDONE) or one.head["left_out"]:
        return errors.ILL
    return errors.WAITING if one.having("", GOES, GOOD, WAITS, UNDOES) else errors.OK


def _run(context: Context, one: Journal) -> int:
    names = tuple(name for name in one.units)
    everything = context.inventory()
    known = tuple(name for name in names if name in everything.units)
    with Progress(one) as progress:
        units = PlayedUnits(everything.chosen(known), context.kept, context.stop, _ask, progress.task)
        Rollout(one, units, progress.say).run()
    for name, why in one.head["left_out"].items():
        click.echo(f"{name}: left out: {why}")
    _say_end(one)
    return code(one)


def _say_end(one: Journal) -> None:
    counts = [(state, len(one.having(state))) for state in TOLD]
    told = ", ".join(f"{count} {TOLD[state]}" for state, count in counts if count)
    end = "finished" if one.ended else "stopped" if one.stopped else "not finished: panoptes-fleet rollout resume"
    click.echo(f"{end}; {told}")
    if one.stopped and not one.ended:
        click.echo(f"{one.stopped}; panoptes-fleet rollout undo, or rollout resume --max-failures N")


def _ask(question: str) -> bool:
    return sys.stdin.isatty() and click.confirm(question)


def _unfinished(context: Context) -> Journal | None:
    return next((one for one in reversed(journal.all_journals(context.rollouts)) if not one.ended), None)


def _required(context: Context) -> Journal:
    one = _unfinished(context)
    if one is None:
        raise FleetError("no rollout is unfinished")
    return one


def _revision() -> str:
    """Which state of the playbooks it is done with; empty where git does not know."""
    try:
        words = ["git", "-C", str(project.checkout()), "describe", "--always", "--dirty"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
