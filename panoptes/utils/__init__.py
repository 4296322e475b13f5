"""`panoptes.utils`, as PANOPTES software says, is `panoptes_utils`: the same modules under a second name.

Nothing is loaded twice: whichever name a module is asked for by first, both lead to the one object. `panoptes` itself
is a namespace that `panoptes.pocs` and others share, and has no file of its own.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any, Optional, Sequence

import panoptes_utils

_SAID, _REAL = "panoptes.utils.", "panoptes_utils."


class _SecondName:
    """Finds and loads `panoptes.utils.X` as `panoptes_utils.X`: all that an importer has to have."""

    def find_spec(
        self, fullname: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        """A specification whose module is there already, or comes by its own name."""
        if not fullname.startswith(_SAID):
            return None
        real = _spec_of(fullname)
        if real is None:
            return None
        is_package = real.submodule_search_locations is not None
        spec = ModuleSpec(fullname, self, origin=real.origin, is_package=is_package)  # type: ignore[arg-type]
        spec.submodule_search_locations = real.submodule_search_locations
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The one module; what it says of itself is kept for `exec_module`, for the import is about to change it."""
        module = import_module(_real(spec.name))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It was run by its own name."""
        said = module.__spec__
        if isinstance(getattr(said, "loader", None), _SecondName):
            module.__spec__ = said.loader_state  # type: ignore[union-attr]

    def is_package(self, fullname: str) -> bool:
        """As the module itself: for `python -m`."""
        spec = _spec_of(fullname)
        return spec is not None and spec.submodule_search_locations is not None

    def get_code(self, fullname: str) -> Optional[CodeType]:
        """As the module itself: for `python -m`."""
        return _told_by_loader("get_code", fullname)  # type: ignore[no-any-return]

    def get_source(self, fullname: str) -> Optional[str]:
        """As the module itself: for tracebacks."""
        return _told_by_loader("get_source", fullname)  # type: ignore[no-any-return]


def _told_by_loader(name: str, fullname: str) -> Any:
    spec = _spec_of(fullname)
    return getattr(spec.loader, name)(spec.name) if spec and spec.loader else None


def _spec_of(fullname: str) -> Optional[ModuleSpec]:
    from importlib.util import find_spec  # only here: most programs that say the name of the package need no module

    return find_spec(_real(fullname))


def _real(name: str) -> str:
    return _REAL + name[len(_SAID) :]


# First: the package's own folder would be searched under the second name otherwise, and each module be loaded again.
sys.meta_path.insert(0, _SecondName())
sys.modules[__name__] = panoptes_utils
