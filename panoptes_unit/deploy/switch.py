"""From the old release to the new one: switch, prove, commit; and back to the old one where that fails."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Dict, List, Optional

from ..documents import printable
from ..errors import HealthError, UnitError
from ..files import remove_durably
from ..report import short
from . import kept_configuration, own_files, own_ids, proof, reserve, verdicts
from .downtime import DowntimeWatch
from .outcome import Outcome
from .release import Release, read_release, write_release
from .restart_permission import WINDOW
from .run import Run
from .signals import stopped_by

# What is kept of configuration files that releases or the way back replaced.
KEPT_COUNT = 5
KEPT_BYTES = 20_000_000


def switch(run: Run, release: Release, restores: str = "") -> Outcome:
    """Bring the services to `release` and prove that they work, or undo it.

    Whatever goes wrong from here on is undone; what cannot be undone now stays in the journal, for the next run.

    Args:
        restores: why this release, which is the current one, is brought up again; empty for another one.
    """
    run.signals.hold()
    watch = DowntimeWatch(run.settings.watch)
    try:
        with watch:
            with run.journal.step("switch"):
                reserve.keep(run.store.folder)
                kept_configuration.save(run.settings.preserve, run.store.saved_files)
                run.journal.mark("switch", "saved")
                write_release(run.release_file, release)
                run.journal.mark("switch", "file")
                restarts = proof.restarts_so_far(run.engine) if run.has_services() else {}
                services = _bring_up(run)
            with run.journal.step("prove"), proof.limited(run.settings):
                prove(run, services, restarts)
                run.outcome.gap_s = watch.away_s
                _soak(run, services, restarts)
            run.signals.check()
        with run.journal.step("commit"):
            return commit(run, release, _good_end(services, restores), restores)
    except (Exception, KeyboardInterrupt) as error:
        run.outcome.gap_s = watch.away_s
        reason = _said(error)
        run.report.step("prove", reason)
        return undo(run, release, reason, blame=isinstance(error, HealthError) and not restores)


def _good_end(services: List[str], restores: str) -> str:
    if restores:
        return verdicts.RESTORED
    return verdicts.UPDATED if services else verdicts.INSTALLED


def _said(error: BaseException) -> str:
    if isinstance(error, UnitError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return stopped_by(str(error))
    return printable(f"{type(error).__name__}: {error}")


def _bring_up(run: Run) -> List[str]:
    """Start what the Compose file defines; the names of the services, none before role `services` ran."""
    if not run.has_services():
        return []
    try:
        services = run.engine.services()
        run.engine.up()
    except UnitError as error:
        # Compose fails alike for a bad image and for an engine that died: only the first is to blame.
        if run.engine.is_alive() and not run.engine.was_lost(str(error)):
            raise HealthError(str(error)) from None
        raise
    run.report.step("switch", f"{', '.join(services)} brought up")
    run.signals.check()
    return services


def prove(run: Run, services: List[str], restarts: Dict[str, int], turning_back: bool = False) -> None:
    """Wait until `services` are healthy, and ask them for their work.

    Args:
        services: their names; none where there is nothing to prove.
        restarts: `proof.restarts_so_far` of before they were brought up.
        turning_back: somebody who wants it to stop is not listened to.

    Raises:
        HealthError: they are not, or do not.
    """
    if not services:
        return

    def progress(text: str) -> None:
        run.report.progress("prove", text)
        if not turning_back:
            run.signals.check()

    proof.wait_healthy(run.engine, run.settings, services, progress, restarts)
    proof.works(run.settings)


def _soak(run: Run, services: List[str], restarts: Dict[str, int]) -> None:
    seconds = run.settings.limits.soak_s
    if not services or not seconds:
        return

    def progress(text: str) -> None:
        run.report.progress("prove", text)
        run.signals.check()

    proof.soak(run.engine, services, seconds, progress, restarts)
    proof.works(run.settings)
    run.report.step("prove", f"services work, and stayed up for {seconds:g} s")


def commit(run: Run, release: Release, verdict: str, reason: str = "") -> Outcome:
    """Make `release` the current one, and the one before the previous."""
    _keep_what_it_changed(run)
    current = run.state.current
    if current and current["image"] != release.image:
        run.state.previous = current
    run.state.current = release.as_dict()
    run.state.quarantine.pop(release.digest, None)
    for name in (release.digest, WINDOW):
        run.state.deferrals.pop(name, None)
    run.state.interrupted.pop(release.digest, None)
    run.store.save(run.state)
    run.journal.mark("commit", "state")
    with suppress(UnitError):  # an engine that is gone now leaves images behind for the next time, no more
        run.prune()
    run.outcome.changed = True
    reserve.release(run.store.folder)
    own_files.keep(run)
    own_ids.keep(run.settings, run.engine)
    return run.end(verdict, reason)


def _keep_what_it_changed(run: Run) -> None:
    """Files that the release, or a person meanwhile, changed: as they were before, for a later rollback by hand."""
    saved = run.store.saved_files
    if saved.exists() and kept_configuration.differences(run.settings.preserve, saved):
        aside = run.store.folder / f"before-{run.outcome.id}"
        kept_configuration.keep(saved, aside)
        run.outcome.kept = ", ".join(filter(None, (run.outcome.kept, str(aside))))
        kept_configuration.forget_old(run.store.folder, "before-*", KEPT_COUNT, KEPT_BYTES)


def undo(run: Run, release: Release, reason: str, blame: bool) -> Outcome:
    """Back to the old release, from the disk.

    Args:
        release: the one to leave.
        reason: why.
        blame: the image is at fault, if the old one works in the same world; it goes into quarantine then.
    """
    run.signals.hold()
    reserve.release(run.store.folder)
    left = run.journal.unfinished() or {}
    old = Release.from_dict(left.get("old"))
    if old is not None and "previous" in left:  # a commit that was begun may have named the release to leave
        run.state.current, run.state.previous = old.as_dict(), left["previous"]
    run.outcome.changed = True
    began = time.monotonic()
    try:
        with run.journal.step("undo", reason=reason):
            _go_back(run, old)
            run.outcome.undo_s = round(time.monotonic() - began, 1)
            _keep_what_it_changed(run)  # a server may rewrite its files when it starts
            reason += _write_down(
                run, release if blame and old is not None and old.digest != release.digest else None, reason
            )
    except HealthError as error:
        return _neither_works(run, old, reason, str(error))
    except Exception as error:
        # The engine, the image or the disk is not there: the journal stays open, and the next run goes on from here.
        return _left_open(run, f"{reason}; and going back: {_said(error)}")
    with suppress(UnitError):
        run.prune()
    if old is None:
        return run.end(verdicts.FAILED, reason)
    run.report.step("undo", f"back on {short(old.image)}")
    own_ids.keep(run.settings, run.engine)
    return run.end(verdicts.ROLLED_BACK, reason)


def _write_down(run: Run, blamed: Optional[Release], reason: str) -> str:
    """The state after the way back; what to add to the reason where it cannot be written."""
    try:
        if blamed is not None:
            run.quarantine(blamed, reason)
        else:
            run.store.save(run.state)
    except OSError as error:
        return f"; and it cannot be written down: {error.strerror}: {run.store.folder}"
    return ""


def _neither_works(run: Run, old: Optional[Release], reason: str, also: str) -> Outcome:
    """An image that fails where one fails that worked is not to blame: the unit is.

    Nothing is left open: a later, better release may come, and the next run brings the services up again.
    """
    text = f"{reason}; and the old release: {also}: the fault is in this unit, not in the release"
    with suppress(UnitError):
        if old and not proof.missing(run.engine.containers(), run.engine.services(), old.image):
            run.outcome.changed = False
            return run.end(verdicts.DEFERRED, text)
    return run.end(verdicts.BROKEN, text)


def _left_open(run: Run, reason: str) -> Outcome:
    return run.conclude(verdicts.BROKEN, reason)


def _go_back(run: Run, old: Optional[Release]) -> None:
    run.engine.wait_ready(run.settings.limits.healthy_s)
    kept = run.store.saved_files
    spoiled = kept_configuration.differences(run.settings.preserve, kept) if kept.exists() else []
    if run.has_services() and run.release_file.exists() and (spoiled or old is None):
        _stop(run)  # a server that still runs would write its own view over the restored files
    if spoiled:
        run.report.step("undo", f"restoring {', '.join(spoiled)}")
        aside = run.store.folder / f"left-by-{run.outcome.id}"
        for problem in kept_configuration.restore(run.settings.preserve, kept, aside):
            run.report.step("undo", problem)
        run.outcome.kept = str(aside)
        kept_configuration.forget_old(run.store.folder, "left-by-*", KEPT_COUNT, KEPT_BYTES)
    if old is None:
        remove_durably(run.release_file)
        return
    if named(run) != old.image:  # the file may be on a disk that cannot be written now
        write_release(run.release_file, old)
    run.journal.mark("undo", "file")
    if not run.has_services():
        return
    fetch_again(run, old)
    restarts = proof.restarts_so_far(run.engine)
    try:
        run.engine.up()
    except UnitError as error:
        if run.engine.is_alive() and not run.engine.was_lost(str(error)):
            raise HealthError(str(error)) from None
        raise
    with proof.limited(run.settings):
        prove(run, run.engine.services(), restarts, turning_back=True)


def fetch_again(run: Run, release: Release) -> None:
    """The image of a release that was on the disk already, where it is not any more.

    Raises:
        UnitError: it cannot be had.
    """
    if not run.engine.has(release.image):
        run.report.step("fetch", f"{short(release.image)} is not on the disk any more: fetching it again")
        run.pull(release.image)


def named(run: Run) -> str:
    """The image that the release file names; empty where it names none."""
    with suppress(UnitError):
        release = read_release(run.release_file)
        return release.image if release else ""
    return ""


def _stop(run: Run) -> None:
    try:
        run.engine.stop()
    except UnitError as error:
        if not run.engine.is_alive():
            raise
        run.report.step("undo", f"services could not be stopped, going on: {error}")
