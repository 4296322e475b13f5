"""The checkout that the fleet is looked after from, and how its other parts have places and settings typed."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import FleetError

HERE = Path(__file__).resolve().parents[1]


def checkout() -> Path:
    """The folder with playbooks and roles: the current one if it is such, else the one that this package lies in.

    Raises:
        FleetError: neither is one.
    """
    for folder in (Path.cwd(), HERE):
        if (folder / "playbooks" / "look.yml").is_file() and (folder / "ansible.cfg").is_file():
            return folder
    raise FleetError("no playbooks here: change into the checkout of the repository, then type the command again")


def state_folder() -> Path:
    """Where answers and journals are kept, as the XDG base directory specification has it."""
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state") / "panoptes-fleet"


@functools.cache
def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_panoptes_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FleetError(f"{path} cannot be loaded: check the files out again")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def places() -> Any:
    """How places are typed, as the playbooks read them."""
    return _module(checkout() / "plugins" / "filter" / "unit_place.py")


def settings() -> Any:
    """How a unit's settings are asked for, as `make settings` does it."""
    return _module(checkout() / "scripts" / "settings.py")
