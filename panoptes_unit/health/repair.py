"""From any damage back to a proved unit, by the mildest step that works (`panoptes-unit repair`).

The release stays the same; what changes is what the machine holds of it. Each step stands in the journal before it
acts, and each can be gone again, so that a repair that was cut short begins anew from what it finds. What is not the
unit's own is never removed.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any, Callable, Collection, Dict, List, NamedTuple, Sequence, Set

from ..deploy import candidate, own_files, proof, staging, verdicts
from ..deploy.journal import REPAIR
from ..deploy.observing_lock import activity
from ..deploy.outcome import Outcome
from ..deploy.recovery import recover
from ..deploy.release import Release, read_release, write_release
from ..deploy.run import Run
from ..deploy.switch import prove
from ..deploy.transaction import Transaction
from ..errors import DeferredError, UnitError
from ..machine import engine_store
from ..machine.engine_service import ASIDE, SPENT, EngineService, remove_store
from ..report import ago, megabytes, short
from ..sources.reference import Reference
from . import store_shape, verify
from .wholeness import SERVICES, Seen, findings

# How Compose and the engine say that what lies on the disk is not what they left there.
_STORE_IS_ILL = re.compile(
    r"overlay2|layerdb|imagedb|input/output error|structure needs cleaning|unexpected EOF|unexpected end of JSON"
    r"|invalid character|layer does not exist|failed to register layer|failed to mount|no such image"
    r"|unable to get image|failed to create task|failed to initialize|corrupt",
    re.IGNORECASE,
)


# A unit that nobody looks at may have a link that is paid by the megabyte.
FETCHED_LATELY_S = 86400


class Step(NamedTuple):
    """One way to mend something.

    Attributes:
        name: of the step, in the journal.
        told: what it does, for a person who asks before.
        fits: can it help, and can it be done? Asked when those before did not help.
        act: do it; it raises UnitError where that fails.
    """

    name: str
    told: str
    fits: Callable[[Repair], bool]
    act: Callable[[Repair], None]


class Repair:
    """One repair: what was found, and what was tried.

    Args:
        run: what it works on.
        new_store: a new store of the engine may take what is not ours out of sight.
        service: the engine as a service of the machine.
    """

    def __init__(self, run: Run, new_store: bool = False, service: EngineService | None = None) -> None:
        self.run = run
        self.new_store = new_store
        self.service = service or EngineService()
        self.failures: List[str] = []
        self.store_is_ill = False
        self.damaged_layers: Set[str] = set()
        self.image_is_damaged = False

    # -- looking ---------------------------------------------------------------------------------------------------

    def problems(self) -> List[str]:
        """All that keeps the services from their work, without what a person could do about it."""
        seen = Seen(self.run.settings, self.run.engine, is_repair=self.run.journal.is_open)
        found = [one for one in findings(seen, SERVICES) if one.problem]
        return [f"{one.name}: {one.problem.removesuffix(f': {one.remedy}' if one.remedy else '')}" for one in found]

    @property
    def release(self) -> Release:
        """The one that this unit is to run.

        Raises:
            UnitError: nobody knows which.
        """
        release = self.run.state.current_release or read_release(self.run.release_file)
        if release is None:
            raise UnitError("nothing tells which release ran here: panoptes-unit deploy")
        return release

    def has_image(self) -> bool:
        """Is the image there, as far as the engine can say?"""
        with suppress(UnitError):
            return self.run.engine.is_alive() and self.run.engine.has(self.release.image)
        return False

    def flaws(self) -> List[store_shape.Flaw]:
        """What is wrong with the engine's notes on the image and the containers, as far as it can say."""
        with suppress(UnitError, OSError):
            return Seen(self.run.settings, self.run.engine).flaws() or []
        return []

    def services_that_work(self) -> List[str]:
        """Those that run and are healthy."""
        with suppress(UnitError):
            return [
                one.service
                for one in self.run.engine.containers()
                if one.status == "running" and one.health in ("", "healthy")
            ]
        return []

    def look_at_image(self) -> None:
        """Compare the image with its digests, where that was not done since something failed."""
        if self.image_is_damaged or not self.has_image():
            return
        layers = {flaw.layer for flaw in self.flaws() if flaw.layer and not flaw.can_be_mended}
        if layers:
            self.image_is_damaged, self.damaged_layers = True, layers
            return
        known = verify.last(self.run.settings)
        if known is None or not known["damages"]:
            try:
                known = verify.verify(self.run.settings, self.run.report, self.run.engine, in_haste=True).as_dict()
            except UnitError as error:
                self._failed(error)
                return
            known = {**known, "damages": len(known["damaged"])}
        self.image_is_damaged = known["damages"] > 0
        self.damaged_layers = {damage["layer"] for damage in known["damaged"] if damage["layer"]}

    def _failed(self, error: UnitError) -> None:
        self.failures.append(str(error))
        self.store_is_ill = self.store_is_ill or bool(_STORE_IS_ILL.search(str(error)))

    # -- mending ---------------------------------------------------------------------------------------------------

    def start_engine(self) -> None:
        """The engine answers again."""
        own_files.mend_engine(self.run)
        try:
            self.service.start()
            self.run.engine.wait_ready(self.run.settings.limits.healthy_s)
        except UnitError:
            self.store_is_ill = True
            raise
        # Only now it can be told whether the release file names an image that there is.
        Transaction(self.run).adopt(recovering=True)

    def go_back(self) -> None:
        """What an update left open is brought to its end, and the release file names what is to run."""
        left = self.run.journal.unfinished() or {}
        earlier = replace(self.run, outcome=Outcome.begun("recover", self.run.outcome.by))
        if recover(earlier) and self.run.journal.path.exists():
            old = Release.from_dict(left.get("old"))
            self.run.journal.close()
            if old is not None:
                write_release(self.run.release_file, old)
                self.run.state.current = old.as_dict()
                self.run.store.save(self.run.state)

    def mend_notes(self) -> None:
        """What the engine wrote down of the layers follows from the rest, and stands again."""
        store_shape.mend(self.flaws())
        if not self.has_image():  # it read them when it started
            self._require_rest("the engine has to start anew")
            self.service.stop()
            self.start_engine()
        self.run.engine.up()

    def bring_up(self) -> None:
        """The services run."""
        self.run.engine.up()

    def recreate(self) -> None:
        """Containers made anew; while the unit observes, only of what does not work."""
        if activity(self.run.settings).kind != "observing" or not self.services_that_work():
            self.run.engine.remove_containers()
        self.run.engine.up()

    def fetch(self) -> None:
        """The image as it was published, in place of what the disk made of it."""
        run, release = self.run, self.release
        from_copy = self._require_source(release)
        if self.has_image():
            self._require_rest("a damaged image can only be exchanged while nothing runs")
            try:
                self._take_away(release)
            except UnitError:
                self.store_is_ill = True
                raise
        verify.forget(run.settings)
        self._bring(release, from_copy)
        run.engine.up()

    def _bring(self, release: Release, from_copy: bool) -> None:
        """The image onto the disk, from the local copy if that is whole; it may have another name then."""
        if from_copy:
            try:
                self._call(staging.take_copy(self.run, release))
                return
            except staging.RefusedError as error:
                self.run.report.step("copy", str(error))
        release = self._at_its_registry(release)
        self.run.outcome.bytes += self.run.pull(release.image, self._progress)
        self._call(release)

    def _at_its_registry(self, release: Release) -> Release:
        """What came from a bundle or the local copy is had again, by its digest, where the unit finds its releases."""
        if not release.image.startswith(f"{staging.loopback_name(self.run.settings)}@"):
            return release
        followed = Reference.parse(self.run.settings.source)
        return replace(release, image=f"{followed.name}@{release.digest}")

    def _call(self, release: Release) -> None:
        """What the image is called now is what is to run."""
        run = self.run
        if release.image == self.release.image:
            return
        # Containers are made anew for a name.
        self._require_rest(f"the image is called {release.image.partition('@')[0]} now")
        write_release(run.release_file, release)
        run.state.current = release.as_dict()
        run.store.save(run.state)
        run.outcome.new = release.image

    def _take_away(self, release: Release) -> None:
        """The engine takes a damaged layer for one that is there, as long as any image needs it."""
        engine, own = self.run.engine, self.run.own()
        layers = engine.stored(release.image).layers
        names = engine.images_with(self.damaged_layers or set(layers))
        ours = {name for name in names if _is_of(name, own.repositories) or name in own.images}
        others = [name for name in names if name not in ours]
        if others and self.damaged_layers:
            raise UnitError(f"the damaged layer is part of {others[0]} too, which is not ours")
        engine.remove_containers()
        self._let_go(layers)
        for name in names:
            if name in ours:
                engine.remove_image(name)
        # A layer upon it that nothing uses any more holds it too: what comes back then is the damaged one.
        if store_shape.kept(self.service.root(), layers, self.damaged_layers):
            self.store_is_ill = True

    def _let_go(self, layers: Sequence[str]) -> None:
        """A container whose configuration is damaged is listed by nobody, and holds its layers for ever."""
        root = self.service.root()
        holders = store_shape.holders(root, layers, self.run.engine.container_ids())
        if holders:
            self.run.report.step("repair", f"let go of what is left of {len(holders)} container(s)")
            self.service.stop()
            store_shape.let_go(root, holders)
            self.start_engine()

    def begin_new_store(self) -> None:
        """A new store for the engine; the old one is kept where others have something in it."""
        run, release = self.run, self.release
        self._require_rest("a new store needs all containers to stop")
        root = self.service.root()
        others = engine_store.strangers(root, run.own())
        if others and not self.new_store:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            raise UnitError(
                f"only a new store of the engine helps, and {others[0]}{more} would be out of sight then, kept in "
                f"{root}{ASIDE}…: panoptes-unit repair --new-store does it"
            )
        from_copy = self._require_source(release)
        self.service.stop()
        aside = self.service.move_store(root, ASIDE if others else SPENT)
        run.report.step("repair", f"the old store is {aside}" if others else f"a new store in {root}")
        self.remove_spent()
        verify.forget(run.settings)
        self.start_engine()
        self._bring(release, from_copy)
        run.engine.up()

    def remove_spent(self) -> None:
        """Room: what an earlier repair, or this one, has moved away and nobody needs."""
        for path in self.service.spent(self.service.root()):
            try:
                remove_store(path)
            except UnitError as error:
                self.run.report.step("repair", str(error))

    def _progress(self, received: int, total: int) -> None:
        self.run.report.progress("fetch", f"{megabytes(received)} of {megabytes(total)}")

    def _require_source(self, release: Release) -> bool:
        """Nothing is taken away before it is known that it can be had again.

        Returns:
            Whether the local copy has it, whole; the registry is not asked then.

        Raises:
            UnitError: it cannot be had, or there is no room for it.
        """
        copied = staging.sound_copy(self.run, release)
        if copied is not None:
            if self.run.engine.is_alive():
                candidate.check_room(self.run, copied)
            return True
        self._require_sense()
        reference = Reference.parse(self._at_its_registry(release).image)
        registry = self.run.registry(reference.registry)
        try:
            image = registry.image(reference.repository, release.digest)
        except UnitError as error:
            raise UnitError(f"{short(release.image)} cannot be fetched again: {error}") from None
        finally:
            self.run.count_requests(registry)
        if self.run.engine.is_alive() and not self.has_image():  # what is taken away first makes room for itself
            candidate.check_room(self.run, image)
        return False

    def _require_sense(self) -> None:
        """By itself, a unit does not download again and again what does not help.

        Raises:
            UnitError: that was tried lately.
        """
        if self.run.outcome.by != "timer":
            return
        for line in reversed(self.run.store.history()):
            lately = 0 <= time.time() - line.get("at", 0.0) < FETCHED_LATELY_S
            if lately and line.get("verb") == "repair" and line.get("verdict") == verdicts.BROKEN and line.get("bytes"):
                raise UnitError(
                    f"it was fetched again {ago(line['at'])}, which did not help; panoptes-unit repair does it"
                )

    def _require_rest(self, why: str) -> None:
        """While the unit observes, nothing that works is stopped.

        Raises:
            DeferredError: it does.
        """
        working = self.services_that_work()
        doing = activity(self.run.settings)
        if working and doing.kind == "observing" and not self.run.force:
            raise DeferredError(f"observing: {doing.detail}; {why}, and {working[0]} works")


def _is_of(name: str, repositories: Collection[str]) -> bool:
    """Is this name of an image, with its tag or digest, in one of these repositories?"""
    plain = name.partition("@")[0]
    return plain in repositories or plain.rpartition(":")[0] in repositories


def _after_a_look(repair: Repair) -> bool:
    """Only damage, or an image that is not there, is a reason to fetch it."""
    repair.look_at_image()
    return not repair.has_image() or repair.image_is_damaged or repair.store_is_ill


# The mildest first.
LADDER = (
    Step("start", "start Docker Engine", lambda one: not one.run.engine.is_alive(), Repair.start_engine),
    Step("undo", "end what was interrupted", lambda one: one.run.journal.is_of_update(), Repair.go_back),
    Step(
        "notes",
        "mend the engine's notes on the layers",
        lambda one: any(flaw.can_be_mended for flaw in one.flaws()),
        Repair.mend_notes,
    ),
    Step("up", "bring the services up", lambda one: one.has_image() and not one.image_is_damaged, Repair.bring_up),
    Step(
        "recreate",
        "make the containers anew",
        lambda one: one.has_image() and not one.image_is_damaged,
        Repair.recreate,
    ),
    Step("fetch", "fetch the image again", lambda one: one.run.engine.is_alive() and _after_a_look(one), Repair.fetch),
    Step(
        "store",
        "begin a new store for the engine",
        lambda one: one.store_is_ill or bool(one.flaws()),
        Repair.begin_new_store,
    ),
)


def repair(run: Run, new_store: bool = False, dry_run: bool = False, service: EngineService | None = None) -> Outcome:
    """Bring a unit that does not work back to work, on the release that it has.

    Args:
        run: what it works on.
        new_store: the engine may begin a new store, although what is not ours would be out of sight then.
        dry_run: only say what would be tried.
        service: the engine as a service of the machine.

    Returns:
        `unchanged` where all is whole, `healed`, or `broken`: nothing of what may be done helped.

    Raises:
        UnitError: nobody knows which release it is to be.
        DeferredError: a person has locked the unit, or it observes and something works that would have to stop.
    """
    transaction = Transaction(run)
    one = Repair(run, new_store, service)
    with transaction.at_work(recovering=True):
        if run.journal.path.exists() and not run.journal.is_of_update():
            run.journal.close()
            transaction.adopt()
        before = one.problems()
        if any(problem.startswith(("image: ", "store: ")) for problem in before):
            one.look_at_image()
        if not before:
            if run.store.load() != run.state:  # it was lost, and found again
                run.store.save(run.state)
            own_files.keep(run)
            one.remove_spent()
            return run.end(verdicts.UNCHANGED, "nothing is wrong with this unit")
        for problem in before:
            run.report.step("found", problem)
        if dry_run:
            return _plan(one, before)
        try:
            locked = run.state.lock_in_force()
            if locked and not run.force:
                raise DeferredError(f"locked by {locked['by']}: {locked['reason'] or 'no reason given'}")
            return _climb(one, before)
        except DeferredError as error:
            raise DeferredError(f"{before[0]}; {error}") from None


def _plan(one: Repair, before: List[str]) -> Outcome:
    steps = [step.told for step in LADDER if step.name in ("fetch", "store") or step.fits(one)]
    one.run.outcome.reason = f"{before[0]}; would try, until one helps: {', '.join(steps)}"
    one.run.outcome.verdict = verdicts.UNCHANGED
    return one.run.outcome


def _climb(one: Repair, before: List[str]) -> Outcome:
    run = one.run
    run.signals.hold()
    run.outcome.changed = True
    for step in LADDER:
        run.signals.check()
        if not step.fits(one):
            continue
        if step.name != "undo":
            _open(one)
        run.report.step("repair", step.told)
        try:
            with run.journal.step(f"{REPAIR}-{step.name}"):
                step.act(one)
                _prove(run)
        except DeferredError:
            raise
        except UnitError as error:
            run.report.step("repair", f"{step.told}: {error}")
            one._failed(error)
            continue
        still = one.problems()
        if not still:
            own_files.keep(run)
            one.remove_spent()
            run.state.current = run.state.current or one.release.as_dict()
            run.store.save(run.state)
            return run.end(verdicts.HEALED, f"{before[0]}; what helped: {step.told}")
        one.failures += [problem for problem in still if problem not in one.failures]
    why = one.failures[-1] if one.failures else before[0]
    return run.end(verdicts.BROKEN, f"{before[0]}; nothing helped: {why}" if why != before[0] else why)


def _open(one: Repair) -> None:
    """From here on, whoever finds the journal knows that a repair was under way."""
    run = one.run
    if run.journal.path.exists():
        return
    release: Dict[str, Any] = one.release.as_dict()
    run.outcome.old = run.outcome.new = one.release.image
    run.journal.begin(kind=REPAIR, outcome=run.outcome.as_dict(), old=release, new=release, previous=run.state.previous)


def _prove(run: Run) -> None:
    if not run.has_services():
        return
    restarts = proof.restarts_so_far(run.engine)
    with proof.limited(run.settings):
        prove(run, run.engine.services(), restarts, turning_back=True)
