"""A verb for many units: wave after wave, each proved before the next; killed anywhere, it goes on from its journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from .journal import (
    FAILED,
    GOES,
    GONE,
    GOOD,
    NOT_UNDONE,
    PROVED,
    UNDOES,
    UNDONE,
    WAITS,
    Journal,
)
from .looks import Look

UPDATE, ROLLBACK, REPAIR, BACKUP, PROVISION, RUN = "update", "rollback", "repair", "backup", "provision", "run"
# Verbs that a unit's own tool does, and what they are called in its history.
OWN = {UPDATE: "deploy", ROLLBACK: "rollback", REPAIR: "repair"}
# Verbs that restart services, so that a unit at night is left alone.
RESTART = {UPDATE, PROVISION}
# What the unit's tool says where it was not its time: later, the same will do.
LATER = {"deferred", "busy"}
BAD = {"failed", "rolled-back", "broken"}
# After these the unit runs what its source offers.
ON_RELEASE = {"updated", "unchanged", "restored", "relabelled"}


@dataclass(frozen=True)
class End:
    """How it went with one unit: `state` is GOOD, WAITS or FAILED."""

    state: str
    verdict: str
    line: str
    answer: dict[str, Any] = field(default_factory=dict)


class Units(Protocol):
    """The units, as a rollout deals with them."""

    def look(self, names: list[str]) -> dict[str, Look]:
        """What they say of themselves; every name is in it, unless somebody asked to end."""

    def act(self, verb: str, names: list[str], head: dict[str, Any], on_end: Callable[[str, End], None]) -> None:
        """Does the verb on them; `on_end` once for each."""

    def soak(self, seconds: float) -> None:
        """Waits; returns early where somebody asked to end."""

    def stop(self) -> bool:
        """Whether somebody asked to end: what was begun is finished, and nothing else begins."""

    def ask(self, question: str) -> bool:
        """A person's yes; no where there is none."""


def end_of(answer: dict[str, Any]) -> End:
    """How a run of the unit's tool ended, from its own words."""
    verdict, reason = str(answer.get("verdict", "")), str(answer.get("reason", ""))
    state = WAITS if verdict in LATER else FAILED if verdict in BAD else GOOD
    return End(state, verdict, f"{verdict}: {reason}" if reason else verdict, answer)


class Rollout:
    """One rollout, from its journal on."""

    def __init__(self, journal: Journal, units: Units, say: Callable[[str], None]) -> None:
        self.journal, self.units, self.say = journal, units, say
        self.head = journal.head
        self.verb: str = self.head["verb"]

    def run(self) -> None:
        """Until all have gone that can, or it was stopped. The journal says how it stands."""
        if not self.journal.undoing and not self.journal.stopped:
            self._waves()
        if self.journal.stopped and not self.journal.undoing and self._wants_back():
            self.journal.append({"is": "undo"})
        if self.journal.undoing:
            self._undo()
        if self._finished() and not self.units.stop():
            self.journal.append({"is": "ended"})

    def _finished(self) -> bool:
        if self.journal.undoing:
            return not self.journal.having(GOES, GOOD, UNDOES) and not self._to_undo()
        if self.journal.stopped:
            return False
        open_states = ("", GOES, GOOD, WAITS) if self.verb == UPDATE else ("", GOES, GOOD)
        return not self.journal.having(*open_states)

    def _wants_back(self) -> bool:
        if self.verb != UPDATE or self.units.stop() or not self._to_undo():
            return False
        if self.head["on_failure"] == "ask":
            return self.units.ask(f"{self.journal.stopped}: take {len(self._to_undo())} units back")
        return bool(self.head["on_failure"] == "rollback")

    # --- forward ---

    def _waves(self) -> None:
        tried: set[str] = set()  # in this run: who waits is not asked again before the next
        self._settle(GOES, self.verb, tried)
        target = 0
        for number, size in enumerate(self.head["sizes"]):
            target += size
            while not self._over() and self._wave(number, target, tried):
                pass
            if self._over():
                return
            self._prove(number)
            if self._over():
                return
            if number == 0 and self.head["canaries"] and not self.journal.having(PROVED):
                self.say("no canary came through: the others wait for one")
                return

    def _over(self) -> bool:
        return bool(self.journal.stopped) or self.units.stop()

    def _wave(self, number: int, target: int, tried: set[str]) -> bool:
        """As many units as are missing in it; False where it is full, or nobody is left."""
        room = target - len(self.journal.having(*GONE))
        order = self.head["canaries"] if number == 0 and self.head["canaries"] else list(self.journal.units)
        names = [name for name in order if self.journal.units[name].state in ("", WAITS) and name not in tried][:room]
        if not names:
            return False
        self.say(f"wave {number + 1} of {len(self.head['sizes'])}: {', '.join(names)}")
        tried.update(names)
        looks = self.units.look(names)
        if self.units.stop():
            return False
        ready = []
        for name in names:
            known = self._known_end(name, looks[name], self.verb)
            why, failed = self._obstacle(looks[name])
            if known is not None and known.state != WAITS:
                self._note(name, known, wave=number)
            elif failed:
                self._note(name, End(FAILED, "", why), wave=number)
            elif why:
                self._note(name, End(WAITS, "", why), wave=number)
            else:
                ready.append(name)
        self._go(self.verb, ready, looks, GOES, number)
        self._judge()
        return True

    def _obstacle(self, look: Look) -> tuple[str, bool]:
        """Why a unit does not go now, and whether that is a fault; empty where it goes."""
        if look.silent:
            return look.why, False
        if self.verb not in OWN or self.verb == REPAIR:
            if self.verb == PROVISION and look.answered and not self.head["force"]:
                return self._timing(look), False
            return "", False
        if not look.answered or look.status is None:
            return look.why or "it gave no answer", True
        return ("" if self.head["force"] else self._timing(look)), False

    def _timing(self, look: Look) -> str:
        status = look.status
        if status is None:
            return ""
        if status.activity.kind == "observing":
            return f"observing: {status.activity.detail}"
        if self.verb in RESTART and not status.window.open:
            return "it is night there, or another time outside its window"
        return ""

    def _go(self, verb: str, names: list[str], looks: dict[str, Look], state: str, wave: int | None = None) -> None:
        placed = {} if wave is None else {"wave": wave}
        for name in names:
            self.journal.append({"is": state, "unit": name, "before": looks[name].last_attempt_id, **placed})
        self.units.act(verb, names, self.head, lambda name, end: self._ended(state, name, end))

    def _ended(self, state: str, name: str, end: End) -> None:
        if state == UNDOES:
            how = {GOOD: UNDONE, FAILED: NOT_UNDONE}.get(end.state)
            if how is None:  # later; it stands as it did
                self.say(f"{name}: not taken back yet: {end.line}")
            else:
                self._note(name, End(how, end.verdict, end.line, end.answer))
        else:
            self._note(name, end)

    def _note(self, name: str, end: End, **more: Any) -> None:
        record = {"is": end.state, "unit": name, "verdict": end.verdict, "line": end.line, "answer": end.answer, **more}
        self.journal.append(record)
        self.say(f"{name}: {end.state}{f', {end.line}' if end.line else ''}")

    def _settle(self, state: str, verb: str, tried: set[str]) -> None:
        """Units that were at it when the controller was killed: what their own history says, or once more."""
        names = self.journal.having(state)
        if not names:
            return
        self.say(f"looking how it went with {', '.join(names)}")
        tried.update(names)
        looks = self.units.look(names)
        if self.units.stop():
            return
        again = []
        for name in names:
            look = looks[name]
            known = self._known_end(name, look, verb)
            if look.silent:
                self.say(f"{name}: not known yet how it went: {look.why}")
            elif known is not None and known.state != WAITS:
                self._ended(state, name, known)
            else:
                again.append(name)
        self.units.act(verb, again, self.head, lambda name, end: self._ended(state, name, end))
        self._judge()

    def _known_end(self, name: str, look: Look, verb: str) -> End | None:
        """How it went with a unit that was at it before, by its own history; None where that does not tell."""
        one = self.journal.units[name]
        last = look.status.last_attempt if look.status and look.answered else None
        if verb not in OWN or one.before is None or last is None or not last.verdict:
            return None
        return end_of(last.model_dump()) if last.id != one.before and last.verb == OWN[verb] else None

    def _prove(self, number: int) -> None:
        """The soak, and then each unit's own word that it is whole."""
        names = self.journal.having(GOOD)
        if not names:
            return
        if self.verb not in OWN:
            for name in names:
                self.journal.append({"is": PROVED, "unit": name})
            return
        if self.head["soak"]:
            self.say(f"wave {number + 1}: {len(names)} units have {self.head['soak']:g} s to show a fault")
            self.units.soak(self.head["soak"])
        if self.units.stop():
            return
        for name, look in self.units.look(names).items():
            if look.silent:
                self.say(f"{name}: came through, but is silent now: {look.why}")
                continue
            wrong = self._disproof(name, look)
            if wrong:
                self._note(name, End(FAILED, self.journal.units[name].verdict, wrong, self.journal.units[name].answer))
            else:
                self.journal.append({"is": PROVED, "unit": name})
        self._judge()

    def _disproof(self, name: str, look: Look) -> str:
        if not look.answered or look.status is None:
            return look.why
        if not look.status.whole:
            told = "; ".join(f"{one.name}: {one.problem}" for one in look.status.problems)
            return f"not whole after the soak: {told or 'it does not say why'}"
        release, source = look.status.release, look.status.source
        if self.verb == UPDATE and release and self.journal.units[name].verdict in ON_RELEASE:
            first = self.journal.release.get(source)
            if first is None:
                self.journal.append({"is": "release", "source": source, "index": release.index, "tag": release.tag})
            elif first != release.index:
                return f"{source} offered it another release than the first wave was proved with: begin a new rollout"
        return ""

    def _judge(self) -> None:
        failed, limit = self.journal.having(FAILED), self.head["max_failures"]
        if len(failed) > limit and not self.journal.stopped and not self.journal.undoing:
            why = f"{len(failed)} failed, {limit} may: {', '.join(failed)}"
            self.journal.append({"is": "stopped", "why": why})
            self.say(f"stopped: {why}")

    # --- back ---

    def _to_undo(self) -> list[str]:
        """Units that this rollout moved, and that still stand on what it brought."""
        states = (GOOD, PROVED, FAILED)
        return [name for name in self.journal.having(*states) if self.journal.units[name].verdict == "updated"]

    def _undo(self) -> None:
        self._settle(GOES, self.verb, set())
        tried: set[str] = set()
        self._settle(UNDOES, ROLLBACK, tried)
        names = [name for name in self._to_undo() if name not in tried]
        if not names or self.units.stop():
            return
        self.say(f"back to the release before: {', '.join(names)}")
        looks = self.units.look(names)
        if self.units.stop():
            return
        for name in names:
            if looks[name].silent:
                self.say(f"{name}: not taken back yet: {looks[name].why}")
        ready = [name for name in names if not looks[name].silent]
        self._go(ROLLBACK, ready, looks, UNDOES)
