"""Reading only: what the unit runs (`status`), and what would keep an update from working (`doctor`)."""

from __future__ import annotations

import importlib.util
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

from ..deploy import proof
from ..deploy.engine import Engine
from ..deploy.observing_lock import activity, in_window, solar_hour
from ..deploy.release import read_release
from ..deploy.restart_permission import MANY_TIMES, NEVER_IN_WINDOW, WINDOW
from ..deploy.state import Store
from ..errors import UnitError
from ..machine import raspberry_pi
from ..machine.clock import is_plausible
from ..report import megabytes, short
from ..settings import Settings
from ..sources import signature
from ..sources.reference import Credentials, Reference
from ..sources.registry import Registry


class Finding(NamedTuple):
    """One thing that was looked at; `problem` is empty where it is well."""

    name: str
    text: str
    problem: str = ""


def status(settings: Settings) -> Dict[str, Any]:
    """What runs, what would come, and what holds it up; nothing is changed and no network is used."""
    store = Store(Path(settings.state))
    state = store.load()
    named = read_release(Path(settings.release_file))
    doing = activity(settings)
    answer: Dict[str, Any] = {
        "source": settings.source,
        "release": named.as_dict() if named else None,
        "previous": state.previous,
        "pinned": state.pinned,
        "locked": state.lock_in_force(),
        "quarantine": state.quarantine,
        "last_check": state.last_check,
        "last_attempt": next(reversed(store.history()), None),
        "interrupted": store.journal_path.exists(),
        "activity": {"kind": doing.kind, "detail": doing.detail},
        "window": {
            "open": in_window(settings.window),
            "solar_hour": round(solar_hour(settings.window.longitude), 2),
            "from_h": settings.window.start_h,
            "to_h": settings.window.end_h,
        },
    }
    try:
        answer["services"] = _service_rows(Engine(settings), settings, named.image if named else "")
    except UnitError as error:
        answer["services"], answer["engine_problem"] = None, str(error)
    return answer


def _service_rows(engine: Engine, settings: Settings, image: str) -> List[Dict[str, Any]]:
    """One for each container, and one for each service that should have one and has none."""
    containers = engine.containers()
    rows = [
        {
            "service": item.service,
            "status": item.status,
            "health": item.health,
            "restarts": item.restarts,
            "image": item.image,
            "is_release": item.image == image,
        }
        for item in containers
    ]
    if Path(settings.compose_file).exists():
        there = {item.service for item in containers}
        gone = {"status": "absent", "health": "", "restarts": 0, "image": "", "is_release": False}
        rows += [{"service": name, **gone} for name in proof.expected(engine, settings) if name not in there]
    return sorted(rows, key=lambda row: str(row["service"]))


def examine(settings: Settings) -> List[Finding]:
    """Every check, each a `Finding`; a failing one does not hide the next."""
    checks: List[Tuple[str, Callable[[Settings], str]]] = [
        ("clock", _clock),
        ("settings", lambda _: f"follows {settings.source}"),
        ("power", _power),
        ("engine", _engine),
        ("compose", _compose),
        ("disk", _disk),
        ("registry", _registry),
        ("signature", _signature),
        ("state", _state),
        ("release", _release),
        ("services", _services),
        ("proof", _proof),
        ("lock", _observing),
        ("timer", _timer),
        ("window", _window),
    ]
    return [_look(name, check, settings) for name, check in checks]


def _look(name: str, check: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return Finding(name, check(settings))
    except UnitError as error:
        return Finding(name, "", str(error))


def _clock(_: Settings) -> str:
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if not is_plausible(time.time()):
        raise UnitError(f"the clock says {now}: timedatectl status")
    return now


def _power(_: Settings) -> str:
    problems = raspberry_pi.power_problems()
    if problems:
        raise UnitError("; ".join(problems))
    return raspberry_pi.model() or "not a Raspberry Pi: nothing known"


def _engine(settings: Settings) -> str:
    return f"Docker Engine {Engine(settings).client.version()['Version']}"


def _compose(settings: Settings) -> str:
    if not Path(settings.compose_file).exists():
        raise UnitError(f"{settings.compose_file} is missing: run playbooks/unit.yml")
    return "services " + ", ".join(Engine(settings).services())


def _disk(settings: Settings) -> str:
    engine = Engine(settings)
    free, floor = engine.free_bytes(), settings.limits.floor_bytes
    if free < floor:
        raise UnitError(f"{megabytes(free)} free on {engine.root()}, updates need {megabytes(floor)} and more")
    return f"{megabytes(free)} free on {engine.root()}"


def _registry(settings: Settings) -> str:
    reference = Reference.parse(settings.source)
    path = settings.registry_credentials
    login = Credentials.from_file(path) if path else None
    limit = settings.limits.registry_s
    registry = Registry(reference.registry, ca=settings.registry_ca, credentials=login, timeout=limit)
    return f"{settings.source} is index {short(registry.digest_of(reference.repository, reference.tag))}"


def _signature(settings: Settings) -> str:
    if not settings.signature_key:
        return "not required: signature_key is not set"
    signature.check_key(settings.signature_key)
    return "required: a new release must be signed with this unit's key"


def _state(settings: Settings) -> str:
    store = Store(Path(settings.state))
    store.load()
    if store.damage:
        raise UnitError(f"{store.damage}, from the next panoptes-unit deploy on")
    return f"what is known is kept in {settings.state}, twice"


def _release(settings: Settings) -> str:
    store = Store(Path(settings.state))
    if store.journal_path.exists():
        raise UnitError("an update was interrupted: panoptes-unit recover")
    named = read_release(Path(settings.release_file))
    if named is None:
        raise UnitError("no release is installed: panoptes-unit deploy")
    if not Engine(settings).has(named.image):
        raise UnitError(f"the image {short(named.image)} of the release file is not on the disk: panoptes-unit deploy")
    previous = store.load().previous_release
    return f"{short(named.image)}, " + (f"previous {short(previous.image)}" if previous else "no previous one")


def _services(settings: Settings) -> str:
    engine = Engine(settings)
    named = read_release(Path(settings.release_file))
    containers = engine.containers()
    sick = [item.service for item in containers if item.status == "running" and item.health == "unhealthy"]
    if sick:
        raise UnitError(f"{sick[0]} is unhealthy: docker logs {sick[0]}")
    lacking = proof.missing(containers, proof.expected(engine, settings), named.image if named else "")
    if lacking:
        raise UnitError(f"{', '.join(lacking)}: panoptes-unit deploy")
    return ", ".join(sorted(f"{item.service} {item.health or item.status}" for item in containers))


def _proof(settings: Settings) -> str:
    proof.require_tools(settings)
    proof.works(settings)
    return f"{settings.config_key} answered, messages went round {len(settings.hub_pairs)} hub pairs"


def _observing(settings: Settings) -> str:
    doing: Any = activity(settings)
    if doing.kind == "unreadable":
        raise UnitError(doing.detail)
    return f"{doing.kind}: {doing.detail}"


def _timer(_: Settings) -> str:
    name = "panoptes-update.timer"
    done = subprocess.run(["systemctl", "is-enabled", name], capture_output=True, text=True)
    answer = done.stdout.strip() or "absent"
    if answer not in ("enabled", "absent", "not-found"):
        raise UnitError(f"{name} is {answer}: systemctl enable --now {name}")
    return f"{name} is {answer}" + ("" if answer == "enabled" else ": this unit does not update by itself")


def _window(settings: Settings) -> str:
    count = Store(Path(settings.state)).load().deferrals.get(WINDOW, 0)
    if count >= MANY_TIMES:
        raise UnitError(f"{count} updates in turn came outside the window: {NEVER_IN_WINDOW}")
    hours = f"{settings.window.start_h:g} to {settings.window.end_h:g} h solar time"
    return f"updates happen from {hours}" + (f"; {count} came outside it" if count else "")


def missing_modules() -> List[str]:
    """Debian packages that the tool needs and that are not there."""
    packages = {"docker": "python3-docker", "yaml": "python3-yaml", "zmq": "python3-zmq"}
    return [package for module, package in packages.items() if importlib.util.find_spec(module) is None]
