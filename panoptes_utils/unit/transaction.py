"""One path to a running release: resolve, check, fetch, lock, switch, prove, commit; undo on any failure.

Provisioning, the timer, a bundle and a rollback all go through here. Each step is journalled before it acts,
so that an interruption at any point leaves something that `recover` finishes or undoes.
"""

from __future__ import annotations

import fcntl
import getpass
import os
import shutil
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ContextManager, Iterator, Optional

from . import bundle, proof, saved, signature
from .engine import Engine
from .errors import (
    BROKEN,
    DEFERRED,
    FAILED,
    OK,
    ROLLED_BACK,
    BusyError,
    DeferredError,
    HealthError,
    PlatformError,
    UnitError,
)
from .files import remove_durably
from .gap import GapWatch
from .journal import Journal
from .observing import activity, in_window, solar_hour
from .platforms import platform_of
from .registry import Credentials, Image, Reference, Registry
from .release import Release, read_release, write_release
from .report import Report, megabytes, short
from .settings import Settings
from .state import State, Store

# No clock of a working unit is before this release of the tool: 2026-01-01.
CLOCK_FLOOR = 1767225600
# A power cut says nothing about an image; three during the same update do.
INTERRUPTIONS = 3


@dataclass
class Outcome:
    """What a run did; the answer of `--json` and a line of the history.

    Attributes:
        verdict: unchanged, updated, installed (no services yet), relabelled (same image under a new index),
            held (pinned or quarantined), deferred, failed (unit unchanged), rolled-back, broken, recovered.
        changed: the release file names something else than before, or services were restarted.
        old, new: image by digest before, and wanted.
        bytes: downloaded.
        gap_s: for each service, how long its port did not answer.
        undo_s: from the verdict until the old release worked again.
        registry: requests to it, and bytes of its answers; the image itself comes through the engine.
    """

    id: str
    verb: str
    at: float
    by: str = ""
    verdict: str = ""
    changed: bool = False
    exit_code: int = OK
    old: str = ""
    new: str = ""
    source: str = ""
    reason: str = ""
    bytes: int = 0
    gap_s: dict = field(default_factory=dict)
    undo_s: float = 0.0
    registry: dict = field(default_factory=dict)
    seconds: float = 0.0
    forced: bool = False

    def as_dict(self) -> dict:
        """For JSON."""
        return asdict(self)


class Transaction:
    """One run of the tool that may change what the unit runs."""

    def __init__(self, settings: Settings, report: Report, verb: str, by: str = "", force: bool = False) -> None:
        self.settings = settings
        self.report = report
        self.engine = Engine(settings)
        self.store = Store(Path(settings.state))
        self.journal = Journal(self.store.journal_path)
        self.release_file = Path(settings.release_file)
        self.force = force
        now = time.time()
        self.outcome = Outcome(
            id=time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f"-{os.getpid()}",
            verb=verb, at=round(now, 3), by=by, forced=force,
        )  # fmt: skip
        self.state = State()

    # -- verbs ---------------------------------------------------------------------------------------------

    def deploy(self, tag: str = "", bundle_path: str = "") -> Outcome:
        """Bring the unit to what the source names now (verbs `deploy` and `update`)."""
        with self._run():
            if self.state.pinned and not self.force:
                return self._end("held", f"pinned: {self.state.pinned['reason'] or 'no reason given'}")
            self._check_clock()
            with self._source(tag, bundle_path) as reference:
                with self.journal.step("resolve"):
                    candidate = self._resolve(reference)
                if candidate is None:
                    return self.outcome
                image, release = candidate
                with self.journal.step("check"):
                    self._check_signature(Reference.parse(reference), release)
                    self._check(release, image)
                self._begin(release)
                with self.journal.step("fetch"):
                    self._fetch(release)
            with self.journal.step("lock"):
                self._lock(release)
            return self._switch(release)

    def rollback(self) -> Outcome:
        """Go back to the previous release, from the disk; the one left is quarantined."""
        with self._run():
            target = self.state.previous_release
            if target is None:
                raise UnitError("there is no previous release to go back to: panoptes-unit history")
            if not self.engine.has(target.image):
                raise UnitError(f"the previous release {short(target.image)} is not on the disk any more")
            self.outcome.new = target.image
            proof.require_tools(self.settings)
            self._begin(target)
            with self.journal.step("lock"):
                self._lock(target)
            left = self.state.current_release
            outcome = self._switch(target)
            if outcome.verdict == "updated" and left is not None:
                self._quarantine(left, f"rolled back by {self.outcome.by or 'an operator'}")
                self.store.save(self.state)
            return outcome

    def recover(self) -> Outcome:
        """Finish or undo what a power cut interrupted (boot, and before every other verb)."""
        with self._run(recovering=True):
            if not self._recover():
                return self._end("unchanged", "nothing was interrupted")
            return self.outcome

    @contextmanager
    def _run(self, recovering: bool = False) -> Iterator[None]:
        """The lock of the run, the state, recovery of an earlier run, and the record of this one."""
        with _exclusive(self.store.folder):
            self.state = self.store.load()
            if not recovering:
                self._recover_first()
            current = self._adopt()
            self.outcome.old = current.image if current else ""
            try:
                yield
            except UnitError as error:
                verdict = "deferred" if isinstance(error, DeferredError) else "failed"
                self._end(verdict, str(error), exit_code=error.exit_code)
                raise
            except KeyboardInterrupt:
                self._end("failed", "stopped by the operator", exit_code=FAILED)
                raise

    def _recover_first(self) -> None:
        earlier = Transaction(self.settings, self.report, "recover", by=self.outcome.by)
        earlier.state = self.state
        if earlier._recover() and self.journal.path.exists():
            raise UnitError(f"an interrupted update is not undone yet: {earlier.outcome.reason}")

    def _adopt(self) -> Optional[Release]:
        """The current release; where the release file was written by other hands, that counts."""
        named = read_release(self.release_file)
        current = self.state.current_release
        if named is not None and (current is None or named.image != current.image):
            self.state.current = named.as_dict()
            return named
        return current if named is not None else None

    # -- steps ---------------------------------------------------------------------------------------------

    def _check_clock(self) -> None:
        now = time.time()
        if now < CLOCK_FLOOR:
            date = time.strftime("%Y-%m-%d", time.gmtime(now))
            raise UnitError(f"this machine's clock says {date}, which cannot be: see timedatectl status")

    def _source(self, tag: str, bundle_path: str) -> ContextManager:
        if bundle_path:
            self.outcome.source = bundle_path
            return bundle.served(Path(bundle_path), self.settings.bundle_port)
        reference = Reference.parse(self.settings.source)
        self.outcome.source = str(reference._replace(tag=tag or reference.tag))
        return nullcontext(self.outcome.source)

    def _resolve(self, name: str) -> Optional[tuple]:
        """(image, release) of a candidate; None where there is nothing to do, with the outcome ended."""
        reference = Reference.parse(name)
        registry = self._registry(reference.registry)
        current = self.state.current_release
        index_digest = registry.digest_of(reference.repository, reference.tag)
        self.outcome.registry = {"requests": registry.requests, "bytes": registry.bytes_received}
        self.state.last_check = {"at": round(time.time()), "index": index_digest, "source": self.outcome.source}
        self.store.save(self.state)
        if current and current.index == index_digest and self._is_in_place(current):
            self.report.step("resolve", f"{self.outcome.source} is {short(current.image)}: already running")
            return self._nothing("unchanged", "this is the newest release")
        if not self.force:
            for digest, entry in self.state.quarantine.items():
                if entry["index"] == index_digest:
                    return self._nothing("held", f"{digest[7:19]} is in quarantine: {entry['reason']}")
        platform = platform_of(_dpkg_architecture())
        manifest = registry.index(reference.repository, index_digest).for_platform(platform)
        image = registry.image(reference.repository, manifest.digest)
        self.outcome.registry = {"requests": registry.requests, "bytes": registry.bytes_received}
        release = Release(
            image=f"{reference.name}@{manifest.digest}",
            index=index_digest,
            tag=reference.tag,
            platform=platform,
            layers=tuple(layer.digest for layer in image.layers),
        )
        self.outcome.new = release.image
        self.report.step("resolve", f"{self.outcome.source} is {short(release.image)} for {platform}")
        if current and current.digest == release.digest and self._is_in_place(current):
            release = replace(release, image=current.image)
            write_release(self.release_file, release)
            self.state.current = release.as_dict()
            self.store.save(self.state)
            self.outcome.changed = True
            return self._nothing("relabelled", "a new index with the same image for this platform")
        return image, release

    def _nothing(self, verdict: str, reason: str) -> None:
        self._end(verdict, reason)

    def _is_in_place(self, release: Release) -> bool:
        """The release file names it. A person also wants to know that its image is there; the timer saves that."""
        named = read_release(self.release_file)
        if named is None or named.image != release.image:
            return False
        return self.outcome.verb == "update" or self.engine.has(release.image)

    def _check_signature(self, reference: Reference, release: Release) -> None:
        """Not passed by --force, and no case for quarantine: a release that is signed later is taken then."""
        if not self.settings.signature_key:
            return
        registry = self._registry(reference.registry)
        try:
            signature.require(
                registry, reference.repository, release.index, self.settings.signature_key, self.outcome.source
            )
        finally:
            self.outcome.registry["requests"] += registry.requests
            self.outcome.registry["bytes"] += registry.bytes_received
        self.report.step("check", f"index {short(release.index)} is signed with this unit's key")

    def _check(self, release: Release, image: Image) -> None:
        entry = self.state.quarantine.get(release.digest)
        if entry and not self.force:
            raise UnitError(f"{release.digest[7:19]} is in quarantine: {entry['reason']}; or --force")
        if self._has_services():
            proof.require_tools(self.settings)
        if self.engine.has(release.image):
            return
        known = {layer for kept in (self.state.current, self.state.previous) if kept for layer in kept["layers"]}
        missing = sum(layer.size for layer in image.layers if layer.digest not in known)
        need = missing * self.settings.limits.expansion + self.settings.limits.floor_bytes
        free = self.engine.free_bytes()
        self.report.step("check", f"{megabytes(missing)} to download, {megabytes(free)} free")
        if free < need:
            raise UnitError(
                f"not enough room on {self.engine.root()}: this release needs {megabytes(need)} free "
                f"(floor included), there are {megabytes(free)}: remove images or logs"
            )

    def _begin(self, release: Release) -> None:
        current = self.state.current_release if self.outcome.old else None
        self.journal.begin(
            outcome=self.outcome.as_dict(),
            old=current.as_dict() if current else None,
            new=release.as_dict(),
        )

    def _fetch(self, release: Release) -> None:
        if self.engine.has(release.image):
            self.report.step("fetch", "already on the disk")
        else:
            began = time.monotonic()

            def progress(received: int, total: int) -> None:
                self.report.progress("fetch", f"{megabytes(received)} of {megabytes(total)}")

            self.outcome.bytes = self.engine.pull(
                release.image, self._credentials(Reference.parse(release.image).registry), progress
            )
            seconds = time.monotonic() - began
            self.report.step("fetch", f"{megabytes(self.outcome.bytes)} in {seconds:.1f} s")
            # Layers unpacked but not yet on the disk become empty files in a power cut.
            os.sync()
        platform = self.engine.platform(release.image)
        if platform != release.platform:
            reason = f"the image is made for {platform}, although its manifest says {release.platform}"
            self._quarantine(release, reason)
            self.store.save(self.state)
            raise PlatformError(f"{reason}: build and push it again")

    def _lock(self, release: Release) -> None:
        """Raises DeferredError where services must not restart now."""
        verb = self.outcome.verb
        if self.force:
            self.report.step("lock", f"not asked: --force by {self.outcome.by}")
            return
        locked = self.state.lock_in_force()
        if locked:
            raise DeferredError(f"locked by {locked['by']}: {locked['reason'] or 'no reason given'}")
        if verb == "update" and not in_window(self.settings.window):
            window = self.settings.window
            raise DeferredError(
                f"outside the window: it is {solar_hour(window.longitude):.1f} h solar time at the unit, "
                f"updates happen from {window.start_h:g} to {window.end_h:g}"
            )
        if not self._has_services() or not self.outcome.old:
            return  # nothing runs yet that could be disturbed
        doing = activity(self.settings)
        if doing.is_idle:
            self.report.step("lock", f"idle: {doing.detail}")
            return
        if doing.kind == "observing":
            raise DeferredError(f"observing: {doing.detail}")
        if verb != "update":
            # A person at the keyboard sees the unit; the timer does not.
            self.report.step("lock", f"{doing.kind}: {doing.detail}; going on, for a person asked")
            return
        count = self.state.deferrals.get(release.digest, 0) + 1
        limit = self.settings.observing.max_deferrals
        if count <= limit:
            self.state.deferrals[release.digest] = count
            self.store.save(self.state)
            raise DeferredError(f"state {doing.kind}: {doing.detail} (deferral {count} of {limit})")
        self.report.step("lock", f"{doing.kind}: {doing.detail}; going on after {limit} deferrals")

    def _switch(self, release: Release) -> Outcome:
        try:
            with GapWatch(self.settings.watch) as watch:
                with self.journal.step("switch"):
                    saved.save(self.settings.preserve, self.store.saved_files)
                    self.journal.mark("switch", "saved")
                    write_release(self.release_file, release)
                    self.journal.mark("switch", "file")
                    services = self._bring_up()
                with self.journal.step("prove"):
                    self._prove(services)
                    self.outcome.gap_s = watch.gaps
                    self._soak(services)
        except (UnitError, KeyboardInterrupt) as error:
            self.outcome.gap_s = watch.gaps
            reason = str(error) if isinstance(error, UnitError) else "stopped by the operator"
            self.report.step("prove", reason)
            return self._undo(release, reason, blame=isinstance(error, HealthError))
        with self.journal.step("commit"):
            return self._commit(release, "updated" if services else "installed")

    def _bring_up(self) -> list:
        """Start what the Compose file defines; the names of the services, none before role `services` ran."""
        if not self._has_services():
            return []
        try:
            services = self.engine.services()
            self.engine.up()
        except UnitError as error:
            # Compose fails alike for a bad image and for an engine that died: only the first is to blame.
            if self.engine.is_alive() and not self.engine.was_lost(str(error)):
                raise HealthError(str(error)) from None
            raise
        self.report.step("switch", f"{', '.join(services)} brought up")
        return services

    def _prove(self, services: list) -> None:
        if not services:
            return
        proof.wait_healthy(self.engine, self.settings, services, lambda text: self.report.progress("prove", text))
        proof.works(self.settings)

    def _soak(self, services: list) -> None:
        if not services or not self.settings.limits.soak_s:
            return
        proof.soak(self.engine, services, self.settings.limits.soak_s, lambda text: self.report.progress("prove", text))
        proof.works(self.settings)
        self.report.step("prove", f"services work, and stayed up for {self.settings.limits.soak_s:g} s")

    def _commit(self, release: Release, verdict: str) -> Outcome:
        current = self.state.current
        if current and current["image"] != release.image:
            self.state.previous = current
        self.state.current = release.as_dict()
        for book in (self.state.quarantine, self.state.deferrals, self.state.interrupted):
            book.pop(release.digest, None)
        self.store.save(self.state)
        self.journal.mark("commit", "state")
        with suppress(UnitError):  # an engine that is gone now leaves images behind for the next time, no more
            self._prune()
        self.outcome.changed = True
        return self._end(verdict, "")

    def _undo(self, release: Release, reason: str, blame: bool) -> Outcome:
        """Back to the old release, from the disk. `blame`: the image is at fault and goes into quarantine."""
        old = Release.from_dict((self.journal.unfinished() or {}).get("old"))
        self.outcome.changed = True
        began = time.monotonic()
        if blame:
            self._quarantine(release, reason)
            self.store.save(self.state)
        try:
            with self.journal.step("undo"):
                self._go_back(old)
        except HealthError as error:
            # The old release does not work either; a later, better one may, so nothing is left open.
            return self._end("broken", f"{reason}; and the old release: {error}", exit_code=BROKEN)
        except UnitError as error:
            # The engine is gone: the journal stays open, and the next run or the next boot goes on from here.
            self.outcome.verdict, self.outcome.exit_code = "broken", BROKEN
            self.outcome.reason = f"{reason}; and going back: {error}"
            self._write_record()
            return self.outcome
        self.outcome.undo_s = round(time.monotonic() - began, 1)
        with suppress(UnitError):
            self._prune()
        if old is None:
            return self._end("failed", reason, exit_code=FAILED)
        self.report.step("undo", f"back on {short(old.image)}")
        return self._end("rolled-back", reason, exit_code=ROLLED_BACK)

    def _go_back(self, old: Optional[Release]) -> None:
        self.engine.wait_ready(self.settings.limits.healthy_s)
        spoiled = self.store.saved_files.exists() and saved.differences(self.settings.preserve, self.store.saved_files)
        if self._has_services() and self.release_file.exists() and (spoiled or old is None):
            self.engine.stop()  # a server that still runs would write its own view over the restored files
        if spoiled:
            self.report.step("undo", f"restoring {', '.join(spoiled)}")
            saved.restore(
                self.settings.preserve, self.store.saved_files, self.store.folder / f"left-by-{self.outcome.id}"
            )
        if old is None:
            remove_durably(self.release_file)
            return
        write_release(self.release_file, old)
        self.journal.mark("undo", "file")
        if self._has_services():
            self.engine.up()
            self._prove(self.engine.services())

    # -- recovery ------------------------------------------------------------------------------------------

    def _recover(self) -> bool:
        """True where there was something to recover; the outcome is then that of the interrupted run."""
        left = self.journal.unfinished()
        if left is None:
            return False
        self.journal.resume()
        known = {key: value for key, value in left["outcome"].items() if key in Outcome.__dataclass_fields__}
        self.outcome = Outcome(**known)
        old, new = Release.from_dict(left["old"]), Release.from_dict(left["new"])
        points = set(left["points"])
        self.report.step("recover", f"an update to {short(new.image)} was interrupted")
        if "switch:before" not in points:
            self._end("interrupted", "interrupted before the switch: the unit was not touched")
            return True
        if "commit:before" in points and "undo:before" not in points:
            self.engine.wait_ready(self.settings.limits.healthy_s)
            self._finish(old, new)
            return True
        if "undo:before" not in points:
            count = self.state.interrupted.get(new.digest, 0) + 1
            self.state.interrupted[new.digest] = count
            if count >= INTERRUPTIONS:
                self._quarantine(new, f"{count} updates to it were interrupted")
            self.store.save(self.state)
        self._undo(new, "interrupted (power cut or kill)", blame=False)
        return True

    def _finish(self, old: Optional[Release], new: Release) -> None:
        write_release(self.release_file, new)
        if self.state.current is None or self.state.current["image"] != new.image:
            self.state.current = old.as_dict() if old else None
        if self._has_services():
            self.engine.up()
        self._commit(new, "updated")

    # -- helpers -------------------------------------------------------------------------------------------

    def _end(self, verdict: str, reason: str, exit_code: int = OK) -> Outcome:
        outcome = self.outcome
        outcome.verdict, outcome.reason, outcome.exit_code = verdict, reason, exit_code
        if verdict not in ("unchanged", "held", "relabelled"):
            self._write_record()
        self.journal.close()
        shutil.rmtree(self.store.saved_files, ignore_errors=True)
        return outcome

    def _write_record(self) -> None:
        self.outcome.seconds = round(max(time.time() - self.outcome.at, 0), 1)
        self.store.record(self.outcome.as_dict())

    def _quarantine(self, release: Release, reason: str) -> None:
        self.state.quarantine[release.digest] = {
            "at": round(time.time()),
            "reason": reason,
            "tag": release.tag,
            "index": release.index,
        }

    def _prune(self) -> None:
        kept = [self.state.current, self.state.previous, (self.state.pinned or {}).get("release")]
        keep = {release["image"] for release in kept if release}
        names = {image.partition("@")[0] for image in keep | {self.outcome.new} if image}
        for image in self.engine.prune(names, keep):
            self.report.step("prune", f"removed {short(image)}")

    def _has_services(self) -> bool:
        return Path(self.settings.compose_file).exists()

    def _credentials(self, registry: str) -> Optional[Credentials]:
        mine = registry == Reference.parse(self.settings.source).registry
        path = self.settings.registry_credentials
        return Credentials.from_file(path) if path and mine else None

    def _registry(self, host: str) -> Registry:
        mine = host == Reference.parse(self.settings.source).registry
        return Registry(
            host,
            ca=self.settings.registry_ca if mine else None,
            credentials=self._credentials(host),
            timeout=self.settings.limits.registry_s,
        )


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """One run at a time. Compose inherits the lock, so that a killed run's Compose is waited for as well."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+", encoding="utf-8") as file:
        os.set_inheritable(file.fileno(), True)
        end = time.monotonic() + 2
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                owner = file.read().strip()
                if time.monotonic() > end and (Path("/proc") / (owner or "none")).exists():
                    raise BusyError(f"another run (process {owner}) is at work: wait for it") from None
                if time.monotonic() > end + 120:
                    raise BusyError("what an interrupted run left at work does not end: docker compose ps") from None
                time.sleep(0.1)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def _dpkg_architecture() -> str:
    import subprocess

    try:
        done = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise UnitError("dpkg does not say this machine's architecture: is this Debian?") from None
    return done.stdout.strip()


def current_user() -> str:
    """Who asked: the person behind sudo, the user, or the timer."""
    if os.environ.get("INVOCATION_ID") and not os.environ.get("SUDO_USER"):
        return "timer"
    return os.environ.get("SUDO_USER") or getpass.getuser()


__all__ = ["DEFERRED", "Outcome", "Transaction", "current_user"]
