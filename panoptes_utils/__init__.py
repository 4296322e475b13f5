"""Base software of a PANOPTES observatory unit.

The names below are loaded when first used, so that `import panoptes_utils` costs nothing on a Raspberry Pi.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

from panoptes_utils.lazy import load_when_used

_HOMES = {
    "CountdownTimer": "time",
    "current_time": "time",
    "flatten_time": "time",
    "wait_for_events": "time",
    "DelaySigTerm": "utils",
    "altaz_to_radec": "utils",
    "get_free_space": "utils",
    "get_quantity_value": "utils",
    "image_id_from_path": "utils",
    "listify": "utils",
    "moving_average": "utils",
    "sequence_id_from_path": "utils",
    "string_to_params": "utils",
    "PanError": "error",
}

_find, _, _names = load_when_used(__name__, _HOMES)
__all__ = ["__version__", *_names]


def __getattr__(name: str) -> Any:
    """Load a name from the module that defines it; the version, from the file that says it, only when asked."""
    if name != "__version__":
        return _find(name)
    globals()[name] = (Path(__file__).parent / "VERSION").read_text(encoding="utf-8").strip()
    return globals()[name]


def __dir__() -> List[str]:
    return sorted({*globals(), *__all__})
