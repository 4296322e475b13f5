"""The units of a rollout as they are: asked and moved by playbooks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import engine, looks, project
from .inventory import Inventory
from .journal import FAILED, GOOD, WAITS
from .looks import Look
from .rollout import BACKUP, OWN, PROVISION, REPAIR, ROLLBACK, UPDATE, End, end_of
from .rows import plain

PLAYBOOKS = {UPDATE: "update", ROLLBACK: "rollback", REPAIR: "repair", BACKUP: "backup", PROVISION: "unit"}


class PlayedUnits:
    """Units of an inventory, through ansible-runner."""

    def __init__(
        self,
        fleet: Inventory,
        kept: looks.Kept,
        stop: Callable[[], bool],
        ask: Callable[[str], bool],
        on_progress: Callable[[str, str], None] = lambda name, task: None,
    ) -> None:
        self.fleet, self.kept, self.stop, self.ask, self.on_progress = fleet, kept, stop, ask, on_progress

    def look(self, names: list[str]) -> dict[str, Look]:
        """What they say of themselves; those that are not in the inventory any more are as good as silent."""
        known = [name for name in names if name in self.fleet.names]
        found = looks.look(self.fleet, known, self.kept, stop=self.stop)
        for name in names:
            if name not in known:
                unit = self.fleet.units.get(name)
                why = unit.broken if unit else "it is not in the inventory any more"
                found[name] = self.kept.load(name).model_copy(update={"why": why, "silent": True})
        return found

    def act(self, verb: str, names: list[str], head: dict[str, Any], on_end: Callable[[str, End], None]) -> None:
        """Plays the verb's playbook; what one unit's tool says is handed on at once."""
        extra = {f"{verb}_force": head["force"]} if verb in OWN else dict(head["extra"])
        if verb == UPDATE:
            extra["update_batches"] = ["100%"]  # the waves are the rollout's
        ended: set[str] = set()

        def end(name: str, how: End) -> None:
            if name not in ended:
                ended.add(name)
                on_end(name, how)

        def on_told(name: str, told: engine.Told) -> None:
            if verb in OWN and told.answer:
                answer = {key: _kept(value) for key, value in told.answer.items()}
                end(name, end_of(answer))
            else:
                self.on_progress(name, told.task)

        playbook = (
            project.checkout() / "playbooks" / f"{PLAYBOOKS[verb]}.yml" if verb in PLAYBOOKS else head["playbook"]
        )
        told = engine.play(Path(playbook), self.fleet.path, names, on_told, extra)
        for name in names:
            if name not in ended:
                end(name, _judged(verb, told.get(name)))

    def soak(self, seconds: float) -> None:
        """Waits."""
        until = time.monotonic() + seconds
        while not self.stop() and time.monotonic() < until:
            time.sleep(min(0.2, seconds))


def _kept(value: Any) -> Any:
    return plain(value)[:500] if isinstance(value, str) else value


def _judged(verb: str, told: engine.Told | None) -> End:
    """How a run ended in which the unit's tool said nothing."""
    if told is None:
        return End(WAITS, "", "Ansible ended before its turn")
    line = plain(told.line)[:300]
    if told.silent:
        return End(WAITS, "", f"not reached: {line}")
    if told.failed or verb in OWN:
        return End(FAILED, "", line or "no answer that can be read")
    said = told.result.get("msg")
    return End(GOOD, "done", plain(" ".join(said.split()))[:300] if verb == BACKUP and isinstance(said, str) else "")
