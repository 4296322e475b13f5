"""One path to a running release: resolve, check, fetch, lock, switch, prove, commit; undo on any failure.

Provisioning, the timer, a bundle and a rollback all go through here. Each step is journalled before it acts,
so that an interruption at any point leaves something that `recover` finishes or undoes.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import ContextManager, Iterator, Optional

from ..errors import ConfigurationError, DeferredError, UnitError
from ..machine.clock import require_plausible_clock
from ..report import short
from ..sources.reference import Reference
from . import candidate, own_files, proof, restart_permission, staging, verdicts
from .deadline import deadline
from .outcome import Outcome
from .recovery import recover as recover_interrupted
from .release import Release, read_release, write_release
from .run import Run
from .run_lock import exclusive
from .signals import stopped_by
from .switch import switch


class Transaction:
    """One run of the tool that may change what the unit runs.

    Args:
        run: what it works on; `Run.on_this_unit` makes it.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    @property
    def outcome(self) -> Outcome:
        """What was done so far."""
        return self.run.outcome

    def deploy(self, tag: str = "", bundle_path: str = "") -> Outcome:
        """Bring the unit to what the source names now (verbs `deploy` and `update`)."""
        run = self.run
        with self.at_work():
            if run.state.pinned and not run.force:
                return run.end(verdicts.HELD, f"pinned: {run.state.pinned['reason'] or 'no reason given'}")
            require_plausible_clock()
            outcome = self._bring_to(tag, bundle_path)
            staging.settle(run, lambda: self._source(tag, bundle_path))
            return outcome

    def _bring_to(self, tag: str, bundle_path: str) -> Outcome:
        run = self.run
        with self._source(tag, bundle_path) as name:
            with deadline(run.settings.limits.resolve_s, f"asking for {run.outcome.source}"):
                with run.journal.step("resolve"):
                    found = candidate.find(run, name)
                if found is None:
                    return run.outcome
            with run.journal.step("check"):
                candidate.check(run, name, found)
            self._begin(found.release)
            with run.journal.step("fetch"):
                candidate.fetch(run, found.release, found.image)
        with run.journal.step("lock"):
            restart_permission.require(run, found.release)
        return switch(run, found.release, found.restores)

    def rollback(self) -> Outcome:
        """Go back to the previous release, from the disk; the one left is quarantined."""
        run = self.run
        with self.at_work():
            target = run.state.previous_release
            if target is None:
                raise UnitError("there is no previous release to go back to: panoptes-unit history")
            if not run.engine.has(target.image):
                raise UnitError(f"the previous release {short(target.image)} is not on the disk any more")
            run.outcome.new = target.image
            proof.require_tools(run.settings)
            self._begin(target)
            with run.journal.step("lock"):
                restart_permission.require(run, target)
            left = run.state.current_release
            outcome = switch(run, target)
            if outcome.verdict == verdicts.UPDATED and left is not None:
                run.quarantine(left, f"rolled back by {run.outcome.by or 'an operator'}")
            return outcome

    def recover(self) -> Outcome:
        """Finish or undo what a power cut interrupted (boot, and before every other verb)."""
        run = self.run
        with self.at_work(recovering=True):
            if not recover_interrupted(run):
                return run.end(verdicts.UNCHANGED, "nothing was interrupted")
            return run.outcome

    @contextmanager
    def at_work(self, recovering: bool = False) -> Iterator[None]:
        """The lock of the run, the state, recovery of an earlier run, and the record of this one."""
        run = self.run
        with run.signals.handled(), exclusive(run.store.folder):
            run.state = run.store.load()
            if run.store.damage:
                run.report.step("state", run.store.damage)
                run.store.save(run.state)
            own_files.mend(run)
            if not recovering:
                self._recover_first()
            if not run.journal.path.exists():  # otherwise the release file may name what is to be undone
                current = self.adopt(recovering)
                run.outcome.old = current.image if current else ""
            try:
                yield
            except UnitError as error:
                verdict = verdicts.DEFERRED if isinstance(error, DeferredError) else verdicts.FAILED
                self._end_early(verdict, str(error), error.exit_code)
                raise
            except KeyboardInterrupt as error:
                self._end_early(verdicts.FAILED, stopped_by(str(error)))
                raise

    def _end_early(self, verdict: str, reason: str, exit_code: Optional[int] = None) -> None:
        """The run ends before its switch, and leaves no more on the disk than what may be wanted next time."""
        self.run.end(verdict, reason, exit_code)
        with suppress(UnitError):
            self.run.prune(self.run.outcome.new)

    def _recover_first(self) -> None:
        """An earlier run is brought to its end before this one begins; its outcome is its own."""
        earlier = replace(self.run, outcome=Outcome.begun("recover", self.run.outcome.by))
        if recover_interrupted(earlier) and earlier.journal.path.exists():
            raise UnitError(f"an interrupted update is not undone yet: {earlier.outcome.reason}")
        self.run.signals.release()

    def adopt(self, recovering: bool = False) -> Optional[Release]:
        """The current release: what the release file names, also where other hands wrote it.

        Where that is gone or damaged, what the state names, as long as its image is there; or what the containers run.
        """
        run = self.run
        current = run.state.current_release
        try:
            named = read_release(run.release_file)
        except ConfigurationError as error:
            current = current or self._of_containers()
            if current is None:
                raise
            run.report.step("state", f"{error}; the state names {short(current.image)}")
            named = None
        if named is not None and (current is None or named.image != current.image):
            if current is None or self._has(named):
                run.state.current = named.as_dict()
                return named
            if not run.engine.is_alive():
                return current
            # One flipped bit makes another digest, of an image that nobody has; the state has a checksum.
            run.report.step("state", f"{run.release_file} names {short(named.image)}, which is not on the disk")
        elif named is not None:
            return current
        current = current or self._of_containers()
        if current is None or not (recovering or self._has(current)):
            return None
        write_release(run.release_file, current)
        run.report.step("state", f"{run.release_file} names {short(current.image)} again")
        return current

    def _of_containers(self) -> Optional[Release]:
        """What they were made of, where neither file nor state tells; None where that is not one image."""
        with suppress(UnitError):
            images = {one.image for one in self.run.engine.containers()}
            if len(images) == 1 and "@sha256:" in (image := images.pop()):
                tag = Reference.parse(self.run.settings.source).tag
                release = Release(image=image, index="", tag=tag, platform="")
                self.run.state.current = release.as_dict()
                return release
        return None

    def _has(self, release: Release) -> bool:
        """Is its image there? An engine that does not answer has none; what needs one says so later."""
        with suppress(UnitError):
            return self.run.engine.has(release.image)
        return False

    def _source(self, tag: str, bundle_path: str) -> ContextManager[str]:
        run = self.run
        if bundle_path:
            from ..sources import bundle  # only here: each night's look for news does without

            run.outcome.source = bundle_path
            return bundle.served(Path(bundle_path), run.settings.bundle_port)
        reference = Reference.parse(run.settings.source)
        run.outcome.source = str(reference._replace(tag=tag or reference.tag))
        return nullcontext(run.outcome.source)

    def _begin(self, release: Release) -> None:
        """From here on, recovery knows what was to be done."""
        run = self.run
        current = run.state.current_release if run.outcome.old else None
        run.journal.begin(
            outcome=run.outcome.as_dict(),
            old=current.as_dict() if current else None,
            new=release.as_dict(),
            previous=run.state.previous,
        )
