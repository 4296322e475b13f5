"""What makes a unit whole: one list, which `status` and `doctor` read, so that they cannot disagree.

Each entry looks at one thing and says how it is, or what is wrong and what mends it. Nothing is changed.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from ..deploy import proof
from ..deploy.engine import Container, Engine
from ..deploy.observing_lock import activity
from ..deploy.own_ids import own_ids
from ..deploy.release import Release, read_release
from ..deploy.restart_permission import MANY_TIMES, NEVER_IN_WINDOW, WINDOW
from ..deploy.state import State, Store
from ..errors import RootError, UnitError, plainly
from ..machine import raspberry_pi
from ..machine.clock import is_plausible
from ..report import ago, megabytes, short, stamp
from ..settings import Settings
from ..sources import signature
from ..sources.reference import Credentials, Reference
from ..sources.registry import Registry
from . import notices, store_shape, verify

# What suffers where something is wrong.
SERVICES = "services"
UPDATES = "updates"


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        name: of the thing.
        text: how it is; empty where that is a problem.
        problem: what is wrong, with the remedy; empty where nothing is.
        remedy: a command or a few words that mend it, or end what holds up updates; empty where there is no one answer.
        suffers: what cannot work as long as there is a problem: SERVICES or UPDATES.
        held: a person, or what the observatory does, holds up updates: no problem, and good to know.
    """

    name: str
    text: str
    problem: str = ""
    remedy: str = ""
    suffers: str = UPDATES
    held: bool = False


class Lack(UnitError):
    """Something is not whole."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}: {remedy}")
        self.remedy = remedy


class Held(UnitError):
    """Updates wait, and that is as it was wanted."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(f"{text}: {remedy}")
        self.remedy = remedy


class Seen:
    """What several entries look at, read once.

    Attributes:
        settings: of the unit.
        is_repair: whoever looks is a repair, and the open journal is its own.
    """

    def __init__(self, settings: Settings, engine: Optional[Engine] = None, is_repair: bool = False) -> None:
        self.settings = settings
        self.is_repair = is_repair
        self._engine = engine
        self.store = Store(Path(settings.state))
        self._known: Dict[str, Any] = {}

    def _once(self, name: str, read: Callable[[], Any]) -> Any:
        if name not in self._known:
            self._known[name] = read()
        return self._known[name]

    @property
    def engine(self) -> Engine:
        """Raises UnitError where it does not answer, each time."""
        engine: Engine = self._once("engine", lambda: self._engine or Engine(self.settings))
        return engine

    @property
    def state(self) -> State:
        """What the tool knows."""
        state: State = self._once("state", self.store.load)
        return state

    @property
    def release(self) -> Optional[Release]:
        """That of the release file; raises UnitError where it names none."""
        named: Optional[Release] = self._once("release", lambda: read_release(Path(self.settings.release_file)))
        return named

    @property
    def containers(self) -> List[Container]:
        """Those of the services."""
        containers: List[Container] = self._once("containers", lambda: self.engine.containers())
        return containers

    def flaws(self) -> Optional[List[store_shape.Flaw]]:
        """What is wrong with the engine's notes on the image and the containers; None where they are kept otherwise.

        Raises:
            UnitError: the engine does not say where it keeps them.
        """
        driver, root = self.engine.storage()
        if driver != store_shape.DRIVER or self.release is None:
            return None
        # With spoiled notes, an engine that answers does not even say what it has.
        known = own_ids(Path(self.settings.state))
        current = self.state.current_release  # which knows more than the release file
        image = current.config if current and current.image == self.release.image else ""
        containers = known.get("containers", [])
        layers: Tuple[str, ...] = ()
        with suppress(UnitError):
            containers = [one.id for one in self.containers if one.image == self.release.image]
        with suppress(UnitError):
            image, layers, _ = self.engine.stored(self.release.image)
        shape = store_shape.StoreShape(root, image, layers, containers)
        return shape.flaws() if shape.is_there() else None


class Entry(NamedTuple):
    """One thing that has to be so; `check` says how it is, or raises what is not."""

    name: str
    suffers: str
    check: Callable[[Seen], str]


def findings(seen: Seen, suffers: str = "") -> List[Finding]:
    """One for each entry of the list, or of that part of it; a failing one does not hide the next.

    Raises:
        RootError, PermissionError: this account may not look.
    """
    return [_look(entry, seen) for entry in WHOLE if suffers in ("", entry.suffers)]


def _look(entry: Entry, seen: Seen) -> Finding:
    try:
        return Finding(entry.name, entry.check(seen), suffers=entry.suffers)
    except Held as error:
        return Finding(entry.name, str(error), remedy=error.remedy, suffers=entry.suffers, held=True)
    except RootError:  # says something of the account that asks, and nothing of the unit
        raise
    except UnitError as error:
        return Finding(entry.name, "", str(error), getattr(error, "remedy", ""), entry.suffers)
    except OSError as error:  # a card that can be read no more
        if isinstance(error, PermissionError) and os.geteuid():
            raise
        return Finding(entry.name, "", plainly(error), "", entry.suffers)


def _clock(_: Seen) -> str:
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if not is_plausible(time.time()):
        raise Lack(f"the clock says {now}", "timedatectl status")
    return now


def _settings(seen: Seen) -> str:
    return f"follows {seen.settings.source}"


def _power(_: Seen) -> str:
    problems = raspberry_pi.power_problems()
    if problems:
        raise UnitError("; ".join(problems))
    return raspberry_pi.model() or "not a Raspberry Pi: nothing known"


def _engine(seen: Seen) -> str:
    if not seen.engine.is_alive():
        raise Lack("Docker Engine does not answer", "panoptes-unit repair")
    return f"Docker Engine {seen.engine.version()}"


def _compose(seen: Seen) -> str:
    if not Path(seen.settings.compose_file).exists():
        raise Lack(f"{seen.settings.compose_file} is missing", "run playbooks/unit.yml")
    services = seen.engine.services()
    if not services:
        raise Lack(f"{seen.settings.compose_file} names no services", "run playbooks/unit.yml")
    return "services " + ", ".join(services)


def _disk(seen: Seen) -> str:
    free, floor = seen.engine.free_bytes(), seen.settings.limits.floor_bytes
    if free < floor:
        raise UnitError(f"{megabytes(free)} free on {seen.engine.root()}, updates need {megabytes(floor)} and more")
    return f"{megabytes(free)} free on {seen.engine.root()}"


def _registry(seen: Seen) -> str:
    settings = seen.settings
    reference = Reference.parse(settings.source)
    path = settings.registry_credentials
    login = Credentials.from_file(path) if path else None
    limit = settings.limits.registry_s
    registry = Registry(reference.registry, ca=settings.registry_ca, credentials=login, timeout=limit)
    digest = registry.digest_of(reference.repository, reference.tag)
    bad = [one for one, entry in seen.state.quarantine.items() if digest in (one, entry.get("index"))]
    if bad:
        raise Held(
            f"{settings.source} is index {short(digest)}, which is in quarantine since it did not work here",
            f"a newer release, or panoptes-unit clear {bad[0][7:19]}",
        )
    return f"{settings.source} is index {short(digest)}"


def _signature(seen: Seen) -> str:
    if not seen.settings.signature_key:
        return "not required: signature_key is not set"
    signature.check_key(seen.settings.signature_key)
    return "required: a new release must be signed with this unit's key"


def _state(seen: Seen) -> str:
    seen.store.load()
    if seen.store.damage:
        raise UnitError(f"{seen.store.damage}, from the next panoptes-unit deploy on")
    return f"what is known is kept in {seen.settings.state}, twice"


def _release(seen: Seen) -> str:
    if seen.store.journal_path.exists() and not seen.is_repair:
        raise Lack("an update was interrupted", "panoptes-unit recover")
    if seen.release is None:
        raise Lack("no release is installed", "panoptes-unit deploy")
    image = seen.release.image
    if not seen.engine.has(image):
        raise Lack(f"the image {short(image)} of the release file is not on the disk", "panoptes-unit repair")
    previous = seen.state.previous_release
    return f"{short(image)}, " + (f"previous {short(previous.image)}" if previous else "no previous one")


def _copy(seen: Seen) -> str:
    from ..deploy import staging  # only here: the look every few minutes does without

    return staging.told(seen.settings, seen.state.current_release)


def _image(seen: Seen) -> str:
    found = verify.last(seen.settings)
    if found is not None and found["damages"]:
        raise Lack(f"{verify.damage_told(found)} ({stamp(found['at'])} UTC)", verify.REMEDY)
    return verify.last_told(found)


def _store(seen: Seen) -> str:
    flaws = seen.flaws()
    if flaws is None:
        return "not looked into: there is no release, or it is not kept as overlay2 does"
    if flaws:
        more = f" and {len(flaws) - 1} more" if len(flaws) > 1 else ""
        raise Lack(f"{flaws[0].path}{more} is not as the engine left it", "panoptes-unit repair")
    return "the engine finds all layers and containers"


def _services(seen: Seen) -> str:
    sick = [item.service for item in seen.containers if item.status == "running" and item.health == "unhealthy"]
    if sick:
        raise Lack(f"{sick[0]} is unhealthy", f"docker logs {sick[0]}")
    services = proof.expected(seen.engine, seen.settings)
    lacking = proof.missing(seen.containers, services, seen.release.image if seen.release else "")
    if lacking:
        raise Lack(", ".join(lacking), "panoptes-unit repair")
    return ", ".join(sorted(f"{item.service} {item.health or item.status}" for item in seen.containers))


def _proof(seen: Seen) -> str:
    proof.require_tools(seen.settings)
    proof.works(seen.settings)
    return f"{seen.settings.config_key} answered, messages went round {len(seen.settings.hub_pairs)} hub pairs"


def _pinned(seen: Seen) -> str:
    pinned = seen.state.pinned
    if pinned:
        raise Held(decision_told(pinned), "panoptes-unit unpin")
    return "no: this unit follows its source"


def _locked(seen: Seen) -> str:
    locked = seen.state.lock_in_force()
    if locked:
        raise Held(decision_told(locked), "panoptes-unit unlock")
    return "no"


def decision_told(entry: Dict[str, Any]) -> str:
    """A pin or a lock of a person, in words."""
    until = f" until {stamp(entry['until'])} UTC" if entry.get("until") else ""
    return f"by {entry['by']} since {stamp(entry['at'])} UTC{until}: {entry['reason'] or 'no reason given'}"


def _observing(seen: Seen) -> str:
    doing = activity(seen.settings)
    told = f"{doing.kind}: {doing.detail}"
    if doing.kind == "unreadable":
        raise UnitError(doing.detail)
    if doing.kind == "unknown":
        # A unit on which no observatory runs would wait for ever: who looks after it has to say so.
        raise Held(told, "install POCS, or set release_observing.source to none where nothing observes")
    if not doing.is_idle:
        raise Held(told, "updates wait for an idle state, or: panoptes-unit deploy --force")
    return told


def _timer(name: str, does: str) -> Callable[[Seen], str]:
    def check(_: Seen) -> str:
        done = subprocess.run(["systemctl", "is-enabled", name], capture_output=True, text=True)
        answer = done.stdout.strip() or "absent"
        if answer not in ("enabled", "absent", "not-found"):
            raise Lack(f"{name} is {answer}", f"systemctl enable --now {name}")
        return f"{name} is {answer}" + ("" if answer == "enabled" else f": this unit does not {does} by itself")

    return check


def _notices(seen: Seen) -> str:
    return notices.told(seen.settings)


def _window(seen: Seen) -> str:
    count = seen.state.deferrals.get(WINDOW, 0)
    if count >= MANY_TIMES:
        raise UnitError(f"{count} updates in turn came outside the window: {NEVER_IN_WINDOW}")
    window = seen.settings.window
    hours = f"{window.start_h:g} to {window.end_h:g} h solar time"
    return f"updates happen from {hours}" + (f"; {count} came outside it" if count else "")


def last_look_told(state: State, last: Optional[Dict[str, Any]]) -> str:
    """When the source was asked last, and whether that brought anything; empty where it never was."""
    if not state.last_check:
        return ""
    at = state.last_check["at"]
    # Kept in whole seconds: the attempt's own look is not taken for a later one.
    newer = last is not None and at > last.get("at", 0.0) + last.get("seconds", 0.0) + 1
    return ago(at) + (", and there was nothing to do since what is told below" if newer else "")


def missing_modules() -> List[str]:
    """Debian packages that the tool needs and that are not there."""
    packages = {"docker": "python3-docker", "yaml": "python3-yaml", "zmq": "python3-zmq"}
    return [package for module, package in packages.items() if importlib.util.find_spec(module) is None]


WHOLE = (
    Entry("clock", UPDATES, _clock),
    Entry("settings", UPDATES, _settings),
    Entry("power", UPDATES, _power),
    Entry("engine", SERVICES, _engine),
    Entry("compose", SERVICES, _compose),
    Entry("disk", UPDATES, _disk),
    Entry("registry", UPDATES, _registry),
    Entry("signature", UPDATES, _signature),
    Entry("state", UPDATES, _state),
    Entry("release", SERVICES, _release),
    Entry("image", SERVICES, _image),
    Entry("store", SERVICES, _store),
    Entry("services", SERVICES, _services),
    Entry("proof", SERVICES, _proof),
    Entry("pinned", UPDATES, _pinned),
    Entry("locked", UPDATES, _locked),
    Entry("observing", UPDATES, _observing),
    Entry("timer", UPDATES, _timer("panoptes-update.timer", "update")),
    Entry("healing", UPDATES, _timer("panoptes-health.timer", "heal")),
    Entry("window", UPDATES, _window),
    Entry("notices", UPDATES, _notices),
    Entry("copy", UPDATES, _copy),
)
