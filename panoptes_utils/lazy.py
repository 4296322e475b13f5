"""Names that a package hands on and loads only when they are used: imports cost seconds on a Raspberry Pi."""

import sys
from importlib import import_module


def hand_on(package, homes):
    """Return the three functions and lists that make a package hand names on (PEP 562).

    Args:
        package: its `__name__`.
        homes: dict of names to the modules in the package that define them.

    Returns:
        tuple: for the package's `__getattr__`, `__dir__` and `__all__`.

    Example:
        >>> find, _, names = hand_on("panoptes_utils", {"listify": "utils"})
        >>> find("listify")(5), names
        ([5], ['listify'])
    """
    namespace = vars(sys.modules[package])

    def find(name):
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        namespace[name] = getattr(import_module(f"{package}.{homes[name]}"), name)
        return namespace[name]

    return find, lambda: sorted({*namespace, *homes}), sorted(homes)
