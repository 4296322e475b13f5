"""Loading of Python modules and C libraries by name, as drivers of cameras and mounts are."""

from __future__ import annotations

import ctypes
import ctypes.util
from importlib import import_module
from pathlib import Path
from typing import Any, Optional, Union

from panoptes_utils.error import NotFound
from panoptes_utils.logging import logger


def load_module(module_name: str) -> Any:
    """Return a module, or a class or function in one, by its dotted name.

    Args:
        module_name: such as `panoptes_utils.time` or `panoptes_utils.horizon.Horizon`.

    Raises:
        NotFound: no such module or name, or it fails to load; the reason is told.

    Example:
        >>> load_module("panoptes_utils.horizon.Horizon").__name__
        'Horizon'
        >>> load_module("panoptes_utils.telescope_of_gold")
        Traceback (most recent call last):
        panoptes_utils.error.NotFound: ...
    """
    try:
        return import_module(module_name)
    except ImportError as error:
        module, _, name = module_name.rpartition(".")
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError):
            raise NotFound(f"{module_name}: cannot be loaded: {error}") from error


def load_c_library(
    name: str, path: Optional[Union[str, Path]] = None, mode: Optional[int] = ctypes.DEFAULT_MODE, **kwargs: Any
) -> ctypes.CDLL:
    """Return a C library.

    Args:
        name: without `lib` and suffix, as for the linker.
        path: of the library; searched for by name if not given.
        mode: for `ctypes.CDLL`; None is its default.

    Returns:
        ctypes.CDLL

    Raises:
        NotFound: no library of that name on this system.
        OSError: `path` cannot be loaded.

    Example:
        >>> load_c_library("c").abs(-5)
        5
    """
    path = path or ctypes.util.find_library(name)
    if not path:
        raise NotFound(f"{name}: no such C library on this system; install it or pass its path")
    logger.debug("Loading C library {} from {}", name, path)
    return ctypes.CDLL(str(path), mode=ctypes.DEFAULT_MODE if mode is None else mode)
