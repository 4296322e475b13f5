"""What a power cut or a kill interrupted is finished or undone."""

from __future__ import annotations

from typing import Any, Dict, Optional

from ..errors import UnitError
from ..report import short
from . import verdicts
from .journal import REPAIR
from .outcome import Outcome
from .release import Release, write_release
from .run import Run
from .switch import commit, fetch_again, named, undo

# A power cut says nothing about an image; three during the same update do.
INTERRUPTIONS = 3
INTERRUPTED = "interrupted (power cut or kill)"
GONE_ON = "; the way back was gone on after an interruption"


def recover(run: Run) -> bool:
    """Finish or undo an interrupted run; the outcome is then that run's own.

    Returns:
        Whether there was one. It is not over if the journal is still there: the engine did not answer.
    """
    left = run.journal.unfinished()
    if left is None:
        return False
    if not _begins(left):
        run.report.step("recover", "what an interrupted run left does not say what was to be done: it is put away")
        run.journal.close()
        return False
    run.signals.hold()
    run.journal.resume()
    run.outcome = Outcome.from_dict(left["outcome"])
    if left.get("kind") == REPAIR:
        run.end(verdicts.INTERRUPTED, "a repair was cut short; the next one begins with what it finds")
        return True
    old, new = Release.from_dict(left["old"]), _wanted(left)
    points = set(left["points"])
    run.report.step("recover", f"an update to {short(new.image)} was interrupted")
    touched = "switch:file" in points or ("switch:before" in points and named(run) != (old.image if old else ""))
    if not touched:  # what changed in the configuration since then is by a person, or by the release that works
        run.end(verdicts.INTERRUPTED, "interrupted before the switch: the unit was not touched")
    elif "commit:before" in points and "undo:before" not in points:
        run.engine.wait_ready(run.settings.limits.healthy_s)
        _finish(run, old, new)
    elif "undo:before" in points:
        # The first reason is the true one.
        reason = left.get("reason") or INTERRUPTED
        # Whether the image was at fault can be told only in the world in which it failed, and that was then.
        if old is None or old.digest != new.digest:
            _count(run, new)
        undo(run, new, f"{reason}{'' if GONE_ON in reason else GONE_ON}", blame=False)
    else:
        if old is None or old.digest != new.digest:
            _count(run, new)
        undo(run, new, INTERRUPTED, blame=False)
    return True


def _begins(left: Dict[str, Any]) -> bool:
    outcome = left.get("outcome")
    try:
        Release.from_dict(left["old"])
        named = Release.from_dict(left["new"]) is not None
    except (KeyError, TypeError):
        return False
    began = isinstance(outcome, dict) and {"id", "verb", "at"} <= set(outcome) and Outcome.fits(outcome)
    return named and began and isinstance(left.get("reason") or "", str)


def _wanted(left: Dict[str, Any]) -> Release:
    release = Release.from_dict(left["new"])
    assert release is not None, "every transaction begins with the release that it goes to"
    return release


def _count(run: Run, release: Release) -> None:
    count = run.state.interrupted.get(release.digest, 0) + 1
    run.state.interrupted[release.digest] = count
    if count >= INTERRUPTIONS:
        run.quarantine(release, f"{count} updates to it were interrupted")
    run.store.save(run.state)


def _finish(run: Run, old: Optional[Release], new: Release) -> None:
    """It was proved before it was interrupted; where it cannot be brought up any more, the unit goes back."""
    write_release(run.release_file, new)
    if run.state.current is None or run.state.current["image"] != new.image:
        run.state.current = old.as_dict() if old else None
    try:
        if run.has_services():
            fetch_again(run, new)
            run.engine.up()
    except UnitError as error:
        undo(run, new, f"{INTERRUPTED}; and going on: {error}", blame=False)
        return
    commit(run, new, verdicts.UPDATED)
