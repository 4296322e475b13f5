"""Which of the engine's containers and images are the unit's own: for the day on which the engine cannot say it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Dict, List

from ..documents import DocumentError, read_object
from ..errors import UnitError
from ..files import put_aside, write_durably
from ..settings import Settings
from .engine import Engine

_LIMIT = 1024 * 1024


def _file(state: Path) -> Path:
    return state / "copies" / "engine.json"


def own_ids(state: Path) -> Dict[str, List[str]]:
    """`containers` and `images` (ids) as they were when services were last brought up; empty where nobody knows.

    Args:
        state: the folder of the tool's state.
    """
    with suppress(OSError, DocumentError):
        known = read_object(_file(state).read_bytes(), _LIMIT)
        return {
            name: [one for one in known.get(name) or () if isinstance(one, str)] for name in ("containers", "images")
        }
    return {}


def keep(settings: Settings, engine: Engine) -> None:
    """Write them down, where they are others than before. A disk or an engine that will not is no reason to stop."""
    path = _file(Path(settings.state))
    with suppress(UnitError, OSError):
        there = engine.containers()
        images = {engine.stored(image).id for image in {one.image for one in there}}
        known = {"containers": sorted(one.id for one in there), "images": sorted(images)}
        if known != own_ids(Path(settings.state)):
            if path.is_dir():
                put_aside(path)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_durably(path, json.dumps(known) + "\n", mode=0o600)
