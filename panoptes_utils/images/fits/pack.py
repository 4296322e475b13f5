"""Lossless compression of FITS images with CFITSIO's fpack and funpack."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from panoptes_utils.error import InvalidSystemCommand
from panoptes_utils.files import replacing
from panoptes_utils.images.fits.opening import path_of
from panoptes_utils.logging import logger
from panoptes_utils.process import find_program, run

# Seconds; a frame of 18 megapixels takes under two on a Raspberry Pi.
TIME_LIMIT = 60


def fpack(fits_fname: Any, unpack: bool = False, overwrite: bool = True) -> str:
    """Compress an image to `.fz`, or the reverse; the file it was made from is removed.

    Args:
        fits_fname: path, or open file, of a `.fits` file, or of a `.fits.fz` to unpack.
        unpack: decompress.
        overwrite: replace the result if it exists.

    Returns:
        str: path of the new file; the path given when there is nothing to do, or no program to do it with (a
        warning is logged).

    Raises:
        FileNotFoundError: no such file.
        FileExistsError: the result exists and `overwrite` is off.
        InvalidSystemCommand: the program failed, as on a truncated file; the file is as it was.
        Timeout: it took over a minute.
    """
    path = path_of(fits_fname)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    packed = path.suffix.lower() == ".fz"
    if packed != unpack:
        return str(path)
    target = path.with_suffix("") if unpack else path.with_name(path.name + ".fz")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target}: exists already; pass overwrite=True to replace it")
    try:
        with replacing(target) as draft:
            (_unpack_to if unpack else _pack_to)(path, draft)
    except _NoProgramError as error:
        logger.warning(f"{path}: left as it is: {error.msg}")
        return str(path)
    path.unlink()
    return str(target)


def funpack(*args: Any, **kwargs: Any) -> str:
    """Decompress an image: `fpack` with `unpack=True`."""
    kwargs["unpack"] = True
    return fpack(*args, **kwargs)


class _NoProgramError(InvalidSystemCommand):
    """The compression program is not installed."""


def _program(name: str) -> str:
    try:
        return find_program(name)
    except InvalidSystemCommand as error:
        raise _NoProgramError(error.msg) from error


def _pack_to(path: Path, target: Path) -> None:
    _filter("fpack", path, target)


def _unpack_to(path: Path, target: Path) -> None:
    _filter("funpack", path, target)


def _filter(name: str, path: Path, target: Path) -> None:
    """Let a program of CFITSIO write what it makes of `path` into `target`, which is overwritten."""
    program = _program(name)
    with tempfile.TemporaryDirectory(prefix="panoptes-pack-") as folder:
        # CFITSIO takes brackets and more in a name for instructions.
        plain = Path(folder) / f"image{''.join(path.suffixes[-1:])}"
        plain.symlink_to(path.resolve())
        with Path(target).open("wb") as out:  # both programs refuse to overwrite, so they write to standard output
            run([program, "-S", plain], TIME_LIMIT, check=True, stdout=out)
