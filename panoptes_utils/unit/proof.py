"""Does the release do its work on this unit? Asked from outside the containers, as a user of the unit would."""

from __future__ import annotations

import importlib.util
import time
from typing import Callable, Optional

from .engine import Container, Engine
from .errors import HealthError, UnitError
from .selfcheck import check_config, check_pair
from .settings import Settings


def require_tools(settings: Settings) -> None:
    """Check, before anything is touched, that the proof can be made at all.

    Raises:
        UnitError: pyzmq is missing.
    """
    if settings.hub_pairs and importlib.util.find_spec("zmq") is None:
        raise UnitError("the proof of the messaging hub needs pyzmq: apt-get install python3-zmq")


def wait_healthy(engine: Engine, settings: Settings, services: list, progress: Callable[[str], None]) -> None:
    """Wait until each of `services` runs and its healthcheck is content.

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
            _refuse_failure(engine, container)
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
    for subscribe, publish in settings.hub_pairs:
        check_pair(int(subscribe), int(publish), limit)


def soak(engine: Engine, services: list, seconds: float, progress: Callable[[str], None]) -> None:
    """The services must stay up, without a restart, for `seconds`.

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
            _refuse_failure(engine, now)
            if now.id != then.id or now.started != then.started:
                raise HealthError(f"{service} restarted within the soak time: {engine.last_words(now.id)}")
        left = end - time.monotonic()
        if left <= 0:
            return
        progress(f"no restarts so far, {left:.0f} s of {seconds:g} s left")
        time.sleep(min(1.0, left))


def _of(containers: list, service: str) -> Optional[Container]:
    # During a replacement the old container stands beside the new one: the newer start counts.
    mine = [container for container in containers if container.service == service]
    return max(mine, key=lambda container: container.started, default=None)


def _refuse_failure(engine: Engine, container: Container) -> None:
    if container.restarts or container.status in ("exited", "dead", "restarting"):
        said = engine.last_words(container.id)
        how = f"ended with {container.exit_code}"
        if container.restarts:
            how = f"restarted {container.restarts} times"
        raise HealthError(f"{container.service} {how}: {said}" if said else f"{container.service} {how}")
    if container.health == "unhealthy":
        raise HealthError(f"{container.service} is unhealthy: {engine.last_words(container.id)}")
