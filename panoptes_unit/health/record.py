"""What the last look at the unit found, for the next one, and for people who ask (`panoptes-unit status`).

It lies in memory: a look every few minutes must not wear out a card. What has to outlive a restart is in the history.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..files import read_json, write_durably
from ..report import ago, stamp


@dataclass
class Record:
    """One look.

    Attributes:
        at: when, in seconds since 1970; 0 where there was none.
        whole: do the services have all that they need, and do they work?
        problems: {name, problem, remedy} of each thing that is not as it has to be.
        in_turn: how many looks in turn found the unit not whole.
        next_try: before this time, no repair is tried again; 0 where none was tried lately.
        attempts: when repairs began by themselves within the last 24 hours, in seconds since 1970.
        doing: what comes of it, for a person; empty where the unit is whole.
        compose: what Docker Compose said of which files.
    """

    at: float = 0.0
    whole: bool = True
    problems: List[Dict[str, str]] = field(default_factory=list)
    in_turn: int = 0
    next_try: float = 0.0
    attempts: List[float] = field(default_factory=list)
    doing: str = ""
    compose: Dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> Dict[str, Any]:
        """For JSON."""
        return asdict(self)


def read(path: Path) -> Optional[Record]:
    """The record; None where there is none, or something else."""
    document = read_json(path)
    if not isinstance(document, dict):
        return None
    record = Record(**{item.name: document[item.name] for item in fields(Record) if item.name in document})
    return record if _fits(record) else None


def _fits(record: Record) -> bool:
    example = Record()
    for item in fields(Record):
        value, kind = getattr(record, item.name), type(getattr(example, item.name))
        if not isinstance(value, (int, float) if kind is float else kind):
            return False
    texts = [text for one in record.problems for text in (one.values() if isinstance(one, dict) else (None,))]
    compose = {"at": 0, "files": "", "services": [], **record.compose}
    return (
        all(isinstance(text, str) for text in texts)
        and all({"name", "problem", "remedy"} <= one.keys() for one in record.problems)
        and all(isinstance(at, (int, float)) for at in record.attempts)
        and (not record.compose or compose.keys() == record.compose.keys())
        and isinstance(compose["at"], (int, float))
        and isinstance(compose["services"], list)
        and all(isinstance(name, str) for name in compose["services"])
    )


def write(path: Path, record: Record) -> None:
    """Replace the record, in one step."""
    write_durably(path, json.dumps(record.as_dict()) + "\n")


def cause(record: Record) -> str:
    """What is wrong, in a line, without what a person could do about it."""
    return "; ".join(
        f"{one['name']}: {one['problem'].removesuffix(': ' + one['remedy'] if one['remedy'] else '')}"
        for one in record.problems
    )


def told(record: Optional[Record]) -> str:
    """The record in words."""
    if record is None or not record.at:
        return "no look yet: panoptes-unit heal, which panoptes-health.timer does"
    when = ago(record.at)
    if record.whole:
        return f"whole, {when}" + (f"; repairs in the last 24 h: {len(record.attempts)}" if record.attempts else "")
    later = f"; the next repair not before {stamp(record.next_try)} UTC" if record.next_try else ""
    return f"NOT WHOLE, {record.in_turn} in turn, {when}: {record.doing}{later}"
