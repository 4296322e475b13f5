"""May services restart now? The operator's lock, the window of the timer, and what the unit is doing."""

from __future__ import annotations

from ..errors import DeferredError
from .observing_lock import activity, in_window, solar_hour
from .release import Release
from .run import Run

# Among the deferrals, which otherwise have the digest of a release: how often in turn it was not the hour.
WINDOW = "window"
MANY_TIMES = 7
NEVER_IN_WINDOW = "a unit that is never on by day does not update; set release_window, or run panoptes-unit deploy"


def require(run: Run, release: Release) -> None:
    """Go on only where services may restart.

    Raises:
        DeferredError: they may not now.
    """
    if run.force:
        run.report.step("lock", f"not asked: --force by {run.outcome.by}")
        return
    locked = run.state.lock_in_force()
    if locked:
        raise DeferredError(f"locked by {locked['by']}: {locked['reason'] or 'no reason given'}")
    window = run.settings.window
    if run.outcome.verb == "update" and not in_window(window):
        count = run.state.deferrals[WINDOW] = run.state.deferrals.get(WINDOW, 0) + 1
        run.store.save(run.state)
        never = f"; so it was {count} times: {NEVER_IN_WINDOW}" if count >= MANY_TIMES else ""
        raise DeferredError(
            f"outside the window: it is {solar_hour(window.longitude):.1f} h solar time at the unit, "
            f"updates happen from {window.start_h:g} to {window.end_h:g}{never}"
        )
    if run.has_services() and run.outcome.old:  # otherwise nothing runs yet that could be disturbed
        _require_idle(run, release)


def _require_idle(run: Run, release: Release) -> None:
    doing = activity(run.settings)
    if doing.is_idle:
        run.report.step("lock", f"idle: {doing.detail}")
        return
    if doing.kind == "observing":
        raise DeferredError(f"observing: {doing.detail}")
    if run.outcome.verb != "update":
        # A person at the keyboard sees the unit; the timer does not.
        run.report.step("lock", f"{doing.kind}: {doing.detail}; going on, for a person asked")
        return
    count = run.state.deferrals.get(release.digest, 0) + 1
    limit = run.settings.observing.max_deferrals
    if count <= limit:
        run.state.deferrals[release.digest] = count
        run.store.save(run.state)
        raise DeferredError(f"state {doing.kind}: {doing.detail} (deferral {count} of {limit})")
    run.report.step("lock", f"{doing.kind}: {doing.detail}; going on after {limit} deferrals")
