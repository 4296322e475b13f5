"""A package's names that are loaded only when they are used: imports cost seconds on a Raspberry Pi."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Callable, Dict, List, Tuple


def load_when_used(
    package: str, homes: Dict[str, str]
) -> Tuple[Callable[[str], Any], Callable[[], List[str]], List[str]]:
    """Return what makes a package have its modules' names without loading them before their use (PEP 562).

    Args:
        package: its `__name__`.
        homes: dict of names to the modules in the package that define them.

    Returns:
        tuple: for the package's `__getattr__`, `__dir__` and `__all__`.

    Example:
        >>> find, _, names = load_when_used("panoptes_utils", {"listify": "utils"})
        >>> find("listify")(5), names
        ([5], ['listify'])
    """
    namespace = vars(sys.modules[package])

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        namespace[name] = getattr(import_module(f"{package}.{homes[name]}"), name)
        return namespace[name]

    return find, lambda: sorted({*namespace, *homes}), sorted(homes)
