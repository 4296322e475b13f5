"""What a run did: the answer of `--json`, and a line of the history."""

from __future__ import annotations

import getpass
import os
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Dict

from ..errors import OK


@dataclass
class Outcome:
    """What a run did.

    Attributes:
        id: names the run, also after a power cut.
        verb: what was asked for: deploy, update, rollback, recover.
        at: when it began, in seconds since 1970.
        by: who asked: a user, or the timer.
        verdict: how it ended, one of `verdicts.VERDICTS`; empty while it runs.
        changed: the release file names something else than before, or services were restarted.
        exit_code: of the command.
        old: image by digest that the unit ran before; empty where there was none.
        new: image by digest that was wanted; empty where it was not found out.
        source: where the release was looked for, `registry/repository:tag` or the path of a bundle.
        reason: why it ended so, for a person; empty where there is nothing to say.
        bytes: downloaded.
        fetch_s: seconds that the download took.
        resumed: how often the download went on in the middle of something.
        sources: for each place, the bytes that came from it; empty where the engine downloaded by itself.
        gap_s: for each service, the seconds for which its port did not answer.
        undo_s: seconds from the verdict until the old release worked again.
        registry: `requests` to it, and `bytes` of its answers; the image itself comes through the engine.
        seconds: from the beginning to the end.
        forced: lock, window, pin and quarantine were passed on request.
        kept: folder with the configuration files that this run, or the release it tried, replaced; empty for none.
    """

    id: str
    verb: str
    at: float
    by: str = ""
    verdict: str = ""
    changed: bool = False
    exit_code: int = OK
    old: str = ""
    new: str = ""
    source: str = ""
    reason: str = ""
    bytes: int = 0
    fetch_s: float = 0.0
    resumed: int = 0
    sources: Dict[str, int] = field(default_factory=dict)
    gap_s: Dict[str, float] = field(default_factory=dict)
    undo_s: float = 0.0
    registry: Dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    forced: bool = False
    kept: str = ""

    @classmethod
    def begun(cls, verb: str, by: str = "", forced: bool = False) -> Outcome:
        """That of a run that begins now."""
        now = time.time()
        name = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f"-{os.getpid()}"
        return cls(id=name, verb=verb, at=round(now, 3), by=by, forced=forced)

    @classmethod
    def from_dict(cls, document: Dict[str, Any]) -> Outcome:
        """Back from JSON; fields that this version does not know are left out."""
        return cls(**{name: value for name, value in document.items() if name in cls.__dataclass_fields__})

    @classmethod
    def fits(cls, document: Dict[str, Any]) -> bool:
        """Is every field that this version knows of the kind that it writes?"""
        example = cls("", "", 0.0)
        return all(
            _is_like(document[name], getattr(example, name)) for name in cls.__dataclass_fields__ if name in document
        ) and all(
            isinstance(number, (int, float))
            for name in ("gap_s", "sources")
            for number in document.get(name, {}).values()
        )

    def as_dict(self) -> Dict[str, Any]:
        """For JSON."""
        return asdict(self)


def _is_like(value: object, example: object) -> bool:
    if isinstance(example, (int, float)) and not isinstance(example, bool):
        return isinstance(value, (int, float)) and abs(value) < 1e15  # a time that no clock shows is none
    return isinstance(value, type(example))


def current_user() -> str:
    """Who asked: the person behind sudo, the user, or the timer."""
    if os.environ.get("INVOCATION_ID") and not os.environ.get("SUDO_USER"):
        return "timer"
    return os.environ.get("SUDO_USER") or getpass.getuser()
