"""One run of the tool: what it works on, what it knows, and what it did."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Set

from ..errors import UnitError
from ..machine.engine_store import Own
from ..report import Report, short
from ..settings import DEFAULT_PATH, Settings
from ..sources.reference import BUNDLE_REPOSITORY, Credentials, Reference
from ..sources.registry import Registry
from . import verdicts
from .engine import Engine
from .journal import Journal
from .outcome import Outcome
from .own_ids import own_ids
from .release import Release
from .signals import Signals
from .state import State, Store

# A registry that is busy or ill for a moment must not cost a night: seconds before each further try.
WAITS_S = (2.0, 8.0, 30.0)
# How the engine says that it was the registry: a fault of its own, or too much to do.
_BUSY_OR_ILL = re.compile(r"toomanyrequests|(HTTP |HTTP status: |status from .*: )(429|5\d\d)\b", re.IGNORECASE)


def dpkg_architecture() -> str:
    """The architecture of this machine's userland, which is what an image has to fit."""
    try:
        done = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise UnitError("dpkg does not say this machine's architecture: is this Debian?") from None
    return done.stdout.strip()


def credentials_for(settings: Settings, host: str) -> Optional[Credentials]:
    """The login of the settings, which is only for the registry that the unit follows."""
    if not settings.registry_credentials or host != Reference.parse(settings.source).registry:
        return None
    return Credentials.from_file(settings.registry_credentials)


def registry_at(settings: Settings, host: str) -> Registry:
    """A registry, with trust and login of the settings if it is the one that the unit follows."""
    return Registry(
        host,
        ca=settings.registry_ca if host == Reference.parse(settings.source).registry else None,
        credentials=credentials_for(settings, host),
        timeout=settings.limits.registry_s,
        waits=WAITS_S,
    )


@dataclass
class Run:
    """What the steps of a transaction share.

    Attributes:
        outcome: what was done so far.
        state: what the tool knows; loaded when the run holds the lock.
        force: pass lock, window, pin and quarantine.
        waits: seconds before each further try of a download.
        settings_path: the file that the settings came from.
        root: where the machine's own files are; another folder in tests alone.
    """

    settings: Settings
    report: Report
    engine: Engine
    store: Store
    journal: Journal
    outcome: Outcome
    force: bool = False
    state: State = field(default_factory=State)
    signals: Signals = field(default_factory=Signals)
    registry_at: Callable[[Settings, str], Registry] = registry_at
    architecture: Callable[[], str] = dpkg_architecture
    waits: Sequence[float] = WAITS_S
    settings_path: Path = DEFAULT_PATH
    root: Path = Path("/")

    @classmethod
    def on_this_unit(
        cls,
        settings: Settings,
        report: Report,
        verb: str,
        by: str = "",
        force: bool = False,
        settings_path: Path = DEFAULT_PATH,
    ) -> Run:
        """A run with this machine's engine, state and journal."""
        store = Store(Path(settings.state))
        return cls(
            settings=settings,
            report=report,
            engine=Engine(settings),
            store=store,
            journal=Journal(store.journal_path),
            outcome=Outcome.begun(verb, by, force),
            force=force,
            settings_path=settings_path,
        )

    @property
    def release_file(self) -> Path:
        """The pointer to what runs."""
        return Path(self.settings.release_file)

    def has_services(self) -> bool:
        """Did role `services` run? Before it, a release is installed and nothing is started."""
        return Path(self.settings.compose_file).exists()

    def registry(self, host: str) -> Registry:
        """A registry by its name in image names."""
        return self.registry_at(self.settings, host)

    def pull(self, image: str, progress: Callable[[int, int], None] = lambda received, total: None) -> int:
        """Download an image by digest, again where the registry had a fault or too much to do; the bytes received.

        Raises:
            UnitError: it cannot be had.
        """
        login = credentials_for(self.settings, Reference.parse(image).registry)
        for wait in self.waits:
            try:
                return self.engine.pull(image, login, progress)
            except UnitError as error:
                if not _BUSY_OR_ILL.search(str(error)):
                    raise
                self.report.step("fetch", f"{error}: once more in {wait:g} s")
            time.sleep(wait)
        return self.engine.pull(image, login, progress)

    def count_requests(self, registry: Registry) -> None:
        """Add what a registry was asked to the outcome."""
        asked = self.outcome.registry
        asked["requests"] = asked.get("requests", 0) + registry.requests
        asked["bytes"] = asked.get("bytes", 0) + registry.bytes_received

    def end(self, verdict: str, reason: str, exit_code: Optional[int] = None) -> Outcome:
        """Close the transaction: nothing is left to recover."""
        self.conclude(verdict, reason, exit_code)
        try:
            self.journal.close()
        except OSError as error:  # the next run goes the last steps again, which changes nothing
            self.report.step("journal", f"{error.strerror}: {self.journal.path} stays for the next run")
            return self.outcome
        shutil.rmtree(self.store.saved_files, ignore_errors=True)
        return self.outcome

    def conclude(self, verdict: str, reason: str, exit_code: Optional[int] = None) -> Outcome:
        """Say how the run ended, and write it down; what the journal holds stays for recovery."""
        ending = verdicts.VERDICTS[verdict]
        outcome = self.outcome
        outcome.verdict, outcome.reason = verdict, reason
        outcome.exit_code = ending.exit_code if exit_code is None else exit_code
        if ending.in_history:
            outcome.seconds = round(max(time.time() - outcome.at, 0), 1)
            try:
                self.store.record(outcome.as_dict())
            except OSError as error:  # what was done stays done
                self.report.step("history", f"{error.strerror}: {self.store.history_path} is not written")
        return outcome

    def quarantine(self, release: Release, reason: str) -> None:
        """Never try this release again by itself."""
        self.state.quarantine[release.digest] = {
            "at": round(time.time()),
            "reason": reason,
            "tag": release.tag,
            "index": release.index,
        }
        self.store.save(self.state)

    def _kept(self) -> List[Dict[str, Any]]:
        kept = [self.state.current, self.state.previous, (self.state.pinned or {}).get("release")]
        return [release for release in kept if release]

    def repositories(self) -> Set[str]:
        """Those that our images came by, whichever it was then, without tag or digest."""
        ours = {release["image"] for release in self._kept()} | {self.outcome.new}
        ours |= {line.get(key, "") for line in self.store.history() for key in ("old", "new")}
        # An image keeps this name beside its own where the way to the engine was cut short.
        taken = f"127.0.0.1:{self.settings.bundle_port}/{BUNDLE_REPOSITORY}"
        return {image.partition("@")[0] for image in ours if image} | {taken}

    def known_layers(self) -> Set[str]:
        """Digests of layers that the engine has, and not only the state believes to be there."""
        kept = (self.state.current_release, self.state.previous_release)
        return {layer for release in kept if release and self._is_there(release) for layer in release.layers}

    def _is_there(self, release: Release) -> bool:
        """An engine that cannot say what it has, has nothing to count on."""
        with suppress(UnitError):
            return self.engine.has(release.image)
        return False

    def own(self) -> Own:
        """What of the engine's store is the unit's own."""
        known = own_ids(Path(self.settings.state))
        configurations = {release.get("config", "") for release in self._kept()} | set(known.get("images", ()))
        return Own(self.settings.project, self.repositories(), set(known.get("containers", ())), configurations)

    def prune(self, *also: str) -> None:
        """Remove our images, whichever repository they came by, except current, previous, pinned and `also`."""
        keep = {release["image"] for release in self._kept()} | set(also)
        for image in self.engine.prune(self.repositories(), keep):
            self.report.step("prune", f"removed {short(image)}")
