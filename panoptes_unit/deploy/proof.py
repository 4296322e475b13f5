"""Does the release do its work on this unit? Asked from outside the containers, as a user of the unit would."""

from __future__ import annotations

import importlib.util
import time
from typing import Callable, ContextManager, Dict, List, Optional

from ..errors import HealthError, UnitError
from ..services import check_config, check_pair
from ..settings import Settings
from .deadline import deadline
from .engine import Container, Engine

# What the engine may take, all in all, to say how its containers are.
ENGINE_S = 120.0


def require_tools(settings: Settings) -> None:
    """Check, before anything is touched, that the proof can be made at all.

    Raises:
        UnitError: pyzmq is missing.
    """
    if settings.hub_pairs and importlib.util.find_spec("zmq") is None:
        raise UnitError("the proof of the messaging hub needs pyzmq: apt-get install python3-zmq")


def limited(settings: Settings) -> ContextManager[Callable[[], None]]:
    """One limit for the whole proof, whatever each part of it allows itself.

    What passes it is no fault of the release, whose services have limits of their own: the engine hangs.

    Raises:
        UnitError: on leaving it, where the time was over.
    """
    limits = settings.limits
    checks = 1 + len(settings.hub_pairs)  # made twice, before and after the soak
    seconds = limits.healthy_s + limits.soak_s + 2 * checks * limits.round_trip_s + ENGINE_S
    return deadline(seconds, "the proof of the release", "systemctl status docker")


def restarts_so_far(engine: Engine) -> Dict[str, int]:
    """Container -> how often it restarted until now, which says nothing about what comes."""
    return {container.id: container.restarts for container in engine.containers()}


def wait_healthy(
    engine: Engine,
    settings: Settings,
    services: List[str],
    progress: Callable[[str], None],
    before: Optional[Dict[str, int]] = None,
) -> None:
    """Wait until each of `services` runs and its healthcheck is content.

    Args:
        before: `restarts_so_far` of before they were brought up.

    Raises:
        HealthError: one stopped, restarted or turned unhealthy, or the limit has passed.
    """
    end = time.monotonic() + settings.limits.healthy_s
    while True:
        containers = engine.containers()
        waiting = []
        for service in services:
            container = _of(containers, service)
            if container is None:
                waiting.append(f"{service} absent")
                continue
            _refuse_failure(engine, container, before or {})
            if container.status != "running" or container.health not in ("", "healthy"):
                waiting.append(f"{service} {container.health or container.status}")
        if not waiting:
            return
        if time.monotonic() > end:
            raise HealthError(f"not healthy within {settings.limits.healthy_s:g} s: {', '.join(waiting)}")
        progress(", ".join(waiting))
        time.sleep(0.25)


def works(settings: Settings) -> None:
    """The function itself: this unit's key from the config server, a message round every hub pair.

    Raises:
        HealthError: the first of them that does not work.
    """
    limit = settings.limits.round_trip_s
    if settings.config_url:
        check_config(settings.config_url, settings.config_key, settings.config_value, limit)
    for in_port, out_port in settings.hub_pairs:
        check_pair(int(in_port), int(out_port), limit)


def soak(
    engine: Engine,
    services: List[str],
    seconds: float,
    progress: Callable[[str], None],
    before: Optional[Dict[str, int]] = None,
) -> None:
    """The services must stay up, without a restart, for `seconds`; `before` as for `wait_healthy`.

    Raises:
        HealthError: one did not.
    """
    first = {container.service: container for container in engine.containers()}
    end = time.monotonic() + seconds
    while True:
        containers = engine.containers()
        for service in services:
            now, then = _of(containers, service), first.get(service)
            if now is None or then is None:
                raise HealthError(f"{service} has no container")
            _refuse_failure(engine, now, before or {})
            if now.id != then.id or now.started != then.started:
                raise HealthError(f"{service} restarted within the soak time: {engine.last_words(now.id)}")
        left = end - time.monotonic()
        if left <= 0:
            return
        progress(f"no restarts so far, {left:.0f} s of {seconds:g} s left")
        time.sleep(min(1.0, left))


def _of(containers: List[Container], service: str) -> Optional[Container]:
    # During a replacement the old container stands beside the new one: the newer start counts.
    mine = [container for container in containers if container.service == service]
    return max(mine, key=lambda container: container.started, default=None)


def _refuse_failure(engine: Engine, container: Container, before: Dict[str, int]) -> None:
    restarts = container.restarts - before.get(container.id, 0)
    if restarts > 0 or container.status in ("exited", "dead", "restarting"):
        said = engine.last_words(container.id)
        how = f"ended with {container.exit_code}"
        if restarts > 0:
            how = f"restarted {restarts} times"
        raise HealthError(f"{container.service} {how}: {said}" if said else f"{container.service} {how}")
    if container.health == "unhealthy":
        raise HealthError(f"{container.service} is unhealthy: {engine.last_words(container.id)}")


def expected(engine: Engine, settings: Settings) -> List[str]:
    """The services that have to run: those that the settings watch, or else all of the Compose file."""
    return sorted(settings.watch) or engine.services()


def missing(containers: List[Container], services: List[str], image: str) -> List[str]:
    """What does not run as `image`, a word for each service; empty where all of them do."""
    found = []
    for service in services:
        container = _of(containers, service)
        if container is None:
            found.append(f"{service} has no container")
        elif container.image != image:
            found.append(f"{service} runs another image")
        elif container.status != "running" or container.health == "unhealthy":
            found.append(f"{service} is {container.status if container.status != 'running' else container.health}")
        elif container.is_renamed:
            found.append(f"{service} is called {container.name}")
    return found
