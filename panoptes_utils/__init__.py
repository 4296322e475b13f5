"""Base software of a PANOPTES observatory unit.

The names below are loaded when first used, so that `import panoptes_utils` costs nothing on a Raspberry Pi.
"""

from importlib import import_module
from pathlib import Path

_HOME = {
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

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name):
    """Load a re-exported name from the module that defines it."""
    if name == "__version__":
        value = (Path(__file__).parent / "VERSION").read_text(encoding="utf-8").strip()
    elif name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
