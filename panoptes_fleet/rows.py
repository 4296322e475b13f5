"""One row a unit: what people, scripts and the report see of it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from . import sky
from .inventory import Unit
from .looks import Look, Offered

WHOLE, ILL, SILENT, UNSEEN, BROKEN = "whole", "ill", "silent", "never seen", "settings"


@dataclass
class Row:
    """A unit as it was last seen.

    Attributes:
        state: `whole`, `ill`, `silent` (its last state follows), `never seen`, or `settings` (those are broken).
        what: what is wrong, in one line; empty where nothing is.
        light: `day`, `twilight` or `night` at its place; empty where that is not known.
        release: the digest of its image, short; `tag` and `index` go with it.
        behind: by how many releases; None where that is not known. behind_s: for how long.
        seen: seconds since 1970; 0 for never. age_s: since then.
        last: of its last attempt: at, verb, verdict, reason.
        quarantine: how many releases it will not try again.
        whole: what its last answer said, however old it is; None where there is none.
    """

    name: str
    pan_id: str
    title: str
    place: str
    latitude: float | None
    longitude: float | None
    light: str
    state: str
    what: str
    whole: bool | None = None
    release: str = ""
    tag: str = ""
    index: str = ""
    behind: int | None = None
    behind_s: float = 0.0
    seen: float = 0.0
    age_s: float = 0.0
    last: dict[str, Any] = field(default_factory=dict)
    disk: str = ""
    clock: str = ""
    power: str = ""
    quarantine: int = 0
    activity: str = ""
    pinned: bool = False
    troubles: list[dict[str, str]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def short(digest: str) -> str:
    """The digest of an image as `panoptes-unit` shows it."""
    found = re.search(r"sha256:([0-9a-f]{12})", digest)
    return found[1] if found else ""


def plain(text: str) -> str:
    """What others wrote, without anything that a terminal would act on."""
    return "".join(one if one.isprintable() else " " for one in text)


def row(unit: Unit, look: Look, offered: dict[str, list[Offered]], now: float) -> Row:
    """What is known of a unit."""
    placed = unit.latitude is not None and unit.longitude is not None
    found = Row(
        name=unit.name,
        pan_id=unit.pan_id,
        title=unit.title,
        place=unit.place,
        latitude=unit.latitude,
        longitude=unit.longitude,
        light=sky.light(unit.latitude or 0.0, unit.longitude or 0.0, now) if placed else "",
        state=UNSEEN,
        what=plain(look.why),
    )
    status = look.status
    if status is not None:
        found.whole, found.seen, found.age_s = status.whole, look.seen, max(0.0, now - look.seen)
        found.troubles = [{key: plain(value) for key, value in one.model_dump().items()} for one in look.troubles]
        if status.release:
            found.release, found.tag, found.index = (
                short(status.release.image),
                status.release.tag,
                status.release.index,
            )
        found.behind, found.behind_s = behind(status.source, found.index, offered, now)
        if status.last_attempt:
            found.last = status.last_attempt.model_dump(include={"at", "verb", "verdict", "reason", "bytes"})
        found.quarantine, found.activity = len(status.quarantine), status.activity.kind
        found.pinned = status.pinned is not None
        found.disk, found.clock, found.power = (plain(look.check(name)) for name in ("disk", "clock", "power"))
        first = found.troubles[0] if found.troubles else None
        found.state = ILL if first or not status.whole else WHOLE
        if found.state == ILL and not found.what:
            found.what = f"{first['name']}: {first['problem']}" if first else "it says that it is not whole"
            if len(found.troubles) > 1:
                found.what += f" (and {len(found.troubles) - 1} more: --json)"
        if look.why:
            found.state = SILENT if look.silent else ILL
    elif look.why and not look.silent:
        found.state = ILL
    elif look.why:
        found.state = SILENT
    if unit.broken:
        found.state, found.what = BROKEN, unit.broken
    return found


def behind(source: str, index: str, offered: dict[str, list[Offered]], now: float) -> tuple[int | None, float]:
    """By how many releases, and since when, a unit is behind what its source offers."""
    line = offered.get(source, [])
    if not line or not index:
        return None, 0.0
    known = [one.index for one in line]
    if index == known[-1]:
        return 0, 0.0
    later = line[known.index(index) + 1 :] if index in known else line[-1:]
    return len(later), max(0.0, now - later[0].first)


def age(seconds: float) -> str:
    """How long, in the largest unit that says enough: `40 s`, `12 min`, `5 h`, `9 d`."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def behind_told(one: Row) -> str:
    """How far behind, for people."""
    if one.behind is None:
        return "" if one.whole is None else "?"
    return f"{one.behind} ({age(one.behind_s)})" if one.behind else "newest"


def last_told(one: Row, now: float) -> str:
    """The last attempt, for people."""
    return f"{one.last['verdict']} {age(max(0.0, now - one.last['at']))} ago" if one.last else ""


def wanted(one: Row, late: bool, ill: bool, silent: bool) -> bool:
    """Whether the filters let a row through; without any, all are."""
    if not (late or ill or silent):
        return True
    return (
        (late and bool(one.behind))
        or (ill and (one.state in (ILL, BROKEN) or one.whole is False))
        or (silent and one.state in (SILENT, UNSEEN))
    )
