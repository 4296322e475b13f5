"""The unit heals itself: what the timer does every five minutes (`panoptes-unit heal`).

A cheap look at the list of what makes a unit whole, at the half that its services need. Not whole twice in turn, it is
repaired: but not while a person has locked it, not more often than a unit that cannot be healed bears, and with nothing
stopped that works while it observes. While all is well, nothing is written but a file in memory.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Collection, Iterable, List, NamedTuple, Optional

from ..deploy import verdicts
from ..deploy.engine import Engine
from ..deploy.observing_lock import activity
from ..deploy.outcome import Outcome
from ..deploy.quick_engine import QuickEngine
from ..deploy.run import Run
from ..deploy.run_lock import is_held
from ..documents import printable
from ..errors import BusyError, UnitError
from . import notices
from . import record as records
from .record import Record
from .wholeness import SERVICES, Seen, findings

# What a repair of the unit by itself is called in the history, also where a person types `heal`.
BY = "timer"
VERB = "repair"
# So many looks in turn have to agree: a service that starts, or an update that ends just now, is not damage.
TURNS = 2
# After the first repair in 24 hours, the next is tried after this time, and after each further one twice as long.
BACK_OFF_S = 300.0
DAY_S = 86400.0
ATTEMPTS_A_DAY = 6
# With none of these wrong, the services work.
AT_WORK = {"engine", "services", "proof"}


class Healed(NamedTuple):
    """What a look came to.

    Attributes:
        record: what it found; that of an earlier look where another run is at work.
        outcome: of the repair; None where none was tried.
        is_busy: another run is at work, so nothing was looked at.
        is_handed_over: another service repairs, and tells whom it concerns.
    """

    record: Record
    outcome: Optional[Outcome] = None
    is_busy: bool = False
    is_handed_over: bool = False


def heal(run: Run, engine: Optional[Engine] = None, hand_over: str = "", at_once: bool = False) -> Healed:
    """Look, and repair where that is due.

    Args:
        run: of a repair, which happens or not.
        engine: is looked at; the quick way to this machine's if none is given.
        hand_over: systemd's service that looks and repairs, where this process may only look.
        at_once: it was looked at already.

    Raises:
        UnitError: the state belongs to another account.
    """
    healed = _heal(run, engine, hand_over, at_once)
    if not healed.is_handed_over:
        notices.send(run.settings, run.report)
    return healed


def _heal(run: Run, engine: Optional[Engine], hand_over: str, at_once: bool) -> Healed:
    path = Path(run.settings.health)
    before = records.read(path) or Record()
    if before.at > time.time():  # the clock was wrong then, or is now
        before = Record(compose=before.compose)
    found = None if is_held(run.store.folder) else _look(run, before, engine)
    if found is None or is_held(run.store.folder):  # what an update does meanwhile is no damage
        return Healed(before, is_busy=True)
    if not found.whole:
        found.in_turn = max(found.in_turn, TURNS) if at_once else found.in_turn
        found.doing = _what_holds_it_up(run, found)
    is_due = not found.whole and not found.doing
    if is_due and hand_over:
        found.doing = f"is repaired by {hand_over}"
        _keep(run, found)
        if start_service(run, hand_over):
            return Healed(found, is_handed_over=True)
    if is_due:
        found.attempts.append(run.outcome.at)
        found.doing = f"is being repaired since {time.strftime('%H:%M:%S', time.gmtime())} UTC"
    _keep(run, found)
    if not is_due:
        return Healed(found)
    try:
        outcome = _repair(run, found)
    except BusyError:
        found.attempts.pop()
        _write(run, found)
        return Healed(found, is_busy=True)
    after = _look(run, found, engine)
    after.in_turn = min(after.in_turn, found.in_turn)  # it is the same look's second half
    if not after.whole:
        after.next_try = next_try(after.attempts)
        after.doing = f"{outcome.verdict}: {outcome.reason}"
    _keep(run, after, outcome)
    return Healed(after, outcome)


def next_try(attempts: Iterable[float], waited: Collection[float] = ()) -> float:
    """When the next repair may be tried, in seconds since 1970; 0 where none was tried lately.

    Args:
        attempts: when one was tried in the last 24 h.
        waited: those of them that only found that they had to wait, which a long night may be full of.
    """
    tried = sorted(attempts)
    if not tried:
        return 0.0
    at = tried[-1] + BACK_OFF_S * 2.0 ** (min(len(tried), ATTEMPTS_A_DAY) - 1)
    acted = [one for one in tried if one not in waited]
    return max(at, acted[-ATTEMPTS_A_DAY] + DAY_S) if len(acted) >= ATTEMPTS_A_DAY else at


def _look(run: Run, before: Record, engine: Optional[Engine]) -> Record:
    engine = engine or QuickEngine(run.settings, before.compose)
    wrong = [one for one in findings(Seen(run.settings, engine), SERVICES) if one.problem]
    return Record(
        at=round(time.time(), 3),
        whole=not wrong,
        problems=[{"name": one.name, "problem": one.problem, "remedy": one.remedy} for one in wrong],
        in_turn=before.in_turn + 1 if wrong else 0,
        attempts=_lately(before.attempts),
        compose=engine.told if isinstance(engine, QuickEngine) else {},
    )


def _lately(attempts: Iterable[float]) -> List[float]:
    """Those of the last 24 hours, each once; a time in the future is none."""
    now = time.time()
    return sorted({at for at in attempts if 0 <= now - at < DAY_S})


def _what_holds_it_up(run: Run, found: Record) -> str:
    """Why a unit that is not whole is not repaired now; empty where it is.

    What the history knows of attempts counts, so that a restart does not forget them, and what the record knows, so
    that those count that were cut short before they had a line there.
    """
    history = run.store.history()
    told = [line for line in history if (line.get("verb"), line.get("by")) == (VERB, BY)]
    waited = {line["at"] for line in told if line.get("verdict") == verdicts.DEFERRED}
    found.attempts = _lately([*found.attempts, *(line["at"] for line in told)])
    found.next_try = next_try(found.attempts, waited)
    if found.in_turn < TURNS:
        return "is looked at again before anything is done"
    locked = run.store.load().lock_in_force()
    if locked:
        reason = locked["reason"] or "no reason given"
        return f"locked by {locked['by']}: {reason}; panoptes-unit unlock lets it be repaired"
    if not AT_WORK & {one["name"] for one in found.problems}:
        doing = activity(run.settings)
        if doing.kind == "observing":
            return f"observing: {doing.detail}; the services work, and the rest is repaired when it has ended"
    if time.time() < found.next_try:
        return f"it was repaired in the last 24 h, {len(found.attempts)} times, and is not whole"
    found.next_try = 0.0
    return ""


def _repair(run: Run, found: Record) -> Outcome:
    """One attempt; it has a line in the history, however it ends.

    Raises:
        BusyError: another run was faster.
    """
    from .repair import repair  # only here: a unit that is whole does without

    try:
        repair(run)
    except BusyError:
        raise
    except UnitError as error:
        if not run.outcome.verdict:  # it failed before the run had begun
            run.conclude(verdicts.FAILED, f"{records.cause(found)}: {error}", error.exit_code)
    except Exception as error:  # a fault of this program: the attempt is one all the same, also after a restart
        run.conclude(verdicts.FAILED, printable(f"{records.cause(found)}: {type(error).__name__}: {error}"))
    if not verdicts.VERDICTS[run.outcome.verdict].in_history:
        run.store.record({**run.outcome.as_dict(), "reason": f"{records.cause(found)}: {run.outcome.reason}"})
    return run.outcome


def start_service(run: Run, service: str) -> bool:
    """Ask systemd for it, and do not wait; was that taken?"""
    command = ["systemctl", "start", "--no-block", service]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        problem = done.stderr.strip() if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    if problem:  # the repair is tried here, as far as this process may go
        run.report.step("health", f"{service} does not start: {problem}")
    return not problem


def _keep(run: Run, found: Record, outcome: Optional[Outcome] = None) -> None:
    """Write down what was found, and what is to be told of it."""
    _write(run, found)
    try:
        notices.note(run.settings, run.store, found, found.in_turn >= TURNS, outcome)
    except OSError as error:  # a full disk keeps no unit from being healed
        run.report.step("notices", f"{error.filename or run.store.folder}: {error.strerror or error}")


def _write(run: Run, found: Record) -> None:
    try:
        records.write(Path(run.settings.health), found)
    except OSError as error:  # a unit whose memory is full is looked at all the same
        run.report.step("health", f"{error.strerror}: {run.settings.health} is not written")
