"""What units answered when they were looked at, kept so that a silent unit still shows its last state."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from . import engine, files, project
from .inventory import Inventory

# An answer is a few kB; what is longer is none.
LONGEST = 1_000_000
# No release is older than this; seconds since 1970.
EARLIEST = 1_400_000_000


class Part(BaseModel):
    """A part of what `panoptes-unit` prints: fields that this version does not know are passed over."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Release(Part):
    """An image by digest, and the manifest list that it is of."""

    image: str = ""
    index: str = ""
    tag: str = ""


class LastCheck(Part):
    """What the unit's source offered when it was last asked."""

    at: float = 0.0
    index: str = ""
    source: str = ""


class Attempt(Part):
    """An outcome, a line of the unit's history."""

    id: str = ""
    verb: str = ""
    at: float = 0.0
    by: str = ""
    verdict: str = ""
    reason: str = ""
    new: str = ""
    bytes: float = 0


class Activity(Part):
    """What the observatory is doing."""

    kind: str = "unknown"
    detail: str = ""


class Window(Part):
    """When the unit may restart its services by itself."""

    open: bool = True


class Problem(Part):
    """One thing that is wrong, with what mends it."""

    name: str = ""
    problem: str = ""
    remedy: str = ""


class Status(Part):
    """`panoptes-unit status --json`, as far as the fleet reads it."""

    whole: bool
    source: str = ""
    problems: list[Problem] = Field(default_factory=list)
    release: Release | None = None
    pinned: dict[str, Any] | None = None
    locked: dict[str, Any] | None = None
    quarantine: dict[str, Any] = Field(default_factory=dict)
    last_check: LastCheck | None = None
    last_attempt: Attempt | None = None
    interrupted: bool = False
    activity: Activity = Field(default_factory=Activity)
    window: Window = Field(default_factory=Window)


class Check(Part):
    """One line of `panoptes-unit doctor --json`."""

    name: str = ""
    text: str = ""
    problem: str = ""
    remedy: str = ""


class Look(Part):
    """What is known of one unit.

    Attributes:
        seen: when it last answered, seconds since 1970; 0 for never.
        tried: when it was last asked.
        why: why it did not answer then; empty where it did.
        silent: it was not reached; False where it answered something that is no status.
        status, checks, history: its last answer; the history's oldest attempt is the first.
    """

    seen: float = 0.0
    tried: float = 0.0
    why: str = ""
    silent: bool = False
    status: Status | None = None
    checks: list[Check] = Field(default_factory=list)
    history: list[Attempt] = Field(default_factory=list)

    @property
    def answered(self) -> bool:
        """Whether it did when it was last asked."""
        return self.status is not None and not self.why

    def check(self, name: str) -> str:
        """What one check says: its problem, or its text; empty where it was not made."""
        return next((one.problem or one.text for one in self.checks if one.name == name), "")

    @property
    def troubles(self) -> list[Problem]:
        """All that is wrong, each once: what stops the services before what stops updates."""
        own = list(self.status.problems) if self.status else []
        names = {one.name for one in own}
        doctor = [Problem(name=one.name, problem=one.problem, remedy=one.remedy) for one in self.checks if one.problem]
        return own + [one for one in doctor if one.name not in names]

    @property
    def last_attempt_id(self) -> str:
        """By which a later attempt can be told from this one, whatever the clocks say."""
        return self.status.last_attempt.id if self.status and self.status.last_attempt else ""


def look_of(told: engine.Told, at: float) -> Look:
    """What an answer says; `why` where it is none."""
    text = str(told.result.get("stdout") or "")
    if told.silent:
        return Look(tried=at, why=f"not reached: {told.line}", silent=True)
    status, wrong = None, ""
    checks: list[Check] = []
    history: list[Attempt] = []
    for line in text.splitlines() if len(text) <= LONGEST else []:
        if not line.startswith(("{", "[")):
            continue
        try:
            found = json.loads(line)
            if isinstance(found, dict) and "whole" in found:
                status = Status.model_validate(found)
            elif isinstance(found, list) and any(isinstance(one, dict) and "verdict" in one for one in found):
                history = [Attempt.model_validate(one) for one in found]
            elif isinstance(found, list) and found:
                checks = [Check.model_validate(one) for one in found]
            elif isinstance(found, dict) and "reason" in found:
                wrong = str(found["reason"])
        except ValidationError as error:
            first = error.errors()[0]
            wrong = f"its answer cannot be read: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        except (ValueError, RecursionError):
            wrong = "its answer cannot be read"
    if status is not None:
        return Look(seen=at, tried=at, status=status, checks=checks, history=history)
    if told.failed:
        wrong = wrong or told.line
    said = engine.last_line(str(told.result.get("stderr") or "") + "\n" + text)
    if told.result.get("rc") == 127 or "panoptes-unit: not found" in text:
        wrong = wrong or "panoptes-unit is not there: panoptes-fleet provision"
    return Look(tried=at, why=(wrong or f"no answer that can be read: {said}")[:300])


@dataclass
class Offered:
    """An index that a source offered, and when the fleet first heard of it."""

    index: str
    first: float


class Kept:
    """The folder with what units last answered, one file each, and which releases there were."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or project.state_folder()

    def _path(self, name: str) -> Path:
        return self.folder / "units" / f"{quote(name, safe='')}.json"

    def load(self, name: str) -> Look:
        """What is known of a unit; a blank look where nothing is, or the file is damaged."""
        try:
            return Look.model_validate(files.read_json(self._path(name)) or {})
        except ValidationError:
            return Look()

    def save(self, name: str, look: Look) -> Look:
        """Keeps a look; one without an answer leaves the last state as it was. What is kept now is given back."""
        if not look.answered:
            look = self.load(name).model_copy(update={"tried": look.tried, "why": look.why, "silent": look.silent})
        files.replace(self._path(name), look.model_dump_json())
        return look

    def offered(self, looks: Iterable[Look]) -> dict[str, list[Offered]]:
        """Source -> the releases that units heard of, the newest last; kept, since registries forget."""
        path = self.folder / "releases.json"
        before = files.read_json(path)
        known = _known(before)
        heard = []
        for one in looks:
            if one.status and one.status.last_check:
                check = one.status.last_check
                # A unit whose clock is off says when by a time that there was not.
                sane = EARLIEST < check.at <= one.seen + 86400
                heard.append(check if sane else check.model_copy(update={"at": one.seen}))
        for check in sorted(heard, key=lambda one: one.at):
            line = known.setdefault(check.source, [])
            if check.index and check.index not in [one.index for one in line]:
                line.append(Offered(check.index, check.at))
                line.sort(key=lambda one: one.first)
        now = {source: [[one.index, one.first] for one in line] for source, line in known.items()}
        if now != before:
            files.replace(path, json.dumps(now))
        return known


def _known(document: Any) -> dict[str, list[Offered]]:
    try:
        return {str(source): [Offered(str(a), float(b)) for a, b in line] for source, line in document.items()}
    except (AttributeError, TypeError, ValueError):
        return {}


def look(
    inventory: Inventory,
    names: list[str],
    kept: Kept,
    on_look: Callable[[str, Look], None] = lambda name, look: None,
    stop: Callable[[], bool] = lambda: False,
    timeout_s: int = 90,
) -> dict[str, Look]:
    """Asks units, many at a time; each answer is kept as it comes."""
    found: dict[str, Look] = {}

    def on_told(name: str, told: engine.Told) -> None:
        found[name] = kept.save(name, look_of(told, time.time()))
        on_look(name, found[name])

    playbook = project.checkout() / "playbooks" / "look.yml"
    engine.play(playbook, inventory.path, names, on_told, {"look_timeout_s": timeout_s}, stop)
    for name in names:
        if name not in found and not stop():
            found[name] = kept.save(name, Look(tried=time.time(), why="Ansible ended before it was asked", silent=True))
            on_look(name, found[name])
    return found
