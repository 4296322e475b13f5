"""Reading only: what the unit runs, whether it works, and what holds up an update (`panoptes-unit status`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

from ..deploy import proof
from ..deploy.observing_lock import activity, in_window, solar_hour
from ..errors import UnitError
from ..settings import Settings
from . import record, verify
from .wholeness import SERVICES, Seen, findings, last_look_told


def status(settings: Settings) -> Dict[str, Any]:
    """What runs, what would come, and what holds it up; nothing is changed, and nobody outside the unit is asked."""
    seen = Seen(settings)
    state, doing, last = seen.state, activity(settings), next(reversed(seen.store.history()), None)
    wrong = [one for one in findings(seen, SERVICES) if one.problem]
    looked = record.read(Path(settings.health))
    answer: Dict[str, Any] = {
        "source": settings.source,
        "whole": not wrong,
        "problems": [{"name": one.name, "problem": one.problem, "remedy": one.remedy} for one in wrong],
        "release": None,
        "previous": state.previous,
        "pinned": state.pinned,
        "locked": state.lock_in_force(),
        "quarantine": state.quarantine,
        "last_check": state.last_check,
        "last_look": last_look_told(state, last),
        "last_attempt": last,
        "interrupted": seen.store.journal_path.exists(),
        "activity": {"kind": doing.kind, "detail": doing.detail},
        "window": {
            "open": in_window(settings.window),
            "solar_hour": round(solar_hour(settings.window.longitude), 2),
            "from_h": settings.window.start_h,
            "to_h": settings.window.end_h,
        },
        "verified": None,
        "health": looked.as_dict() if looked else None,
        "health_told": record.told(looked),
    }
    image = ""
    try:
        if seen.release is not None:
            answer["release"], image = seen.release.as_dict(), seen.release.image
        answer["verified"] = verify.last(settings)
    except UnitError as error:
        answer["release_problem"] = str(error)
    try:
        answer["services"] = _service_rows(seen, image)
    except UnitError as error:
        answer["services"], answer["engine_problem"] = None, str(error)
    return answer


def _service_rows(seen: Seen, image: str) -> List[Dict[str, Any]]:
    """One for each container, and one for each service that should have one and has none."""
    rows = [
        {
            "service": item.service,
            "status": item.status,
            "health": item.health,
            "restarts": item.restarts,
            "image": item.image,
            "is_release": item.image == image,
        }
        for item in seen.containers
    ]
    if Path(seen.settings.compose_file).exists():
        there = {item.service for item in seen.containers}
        gone = {"status": "absent", "health": "", "restarts": 0, "image": "", "is_release": False}
        services = proof.expected(seen.engine, seen.settings)
        rows += [{"service": name, **gone} for name in services if name not in there]
    return sorted(rows, key=lambda row: str(row["service"]))
