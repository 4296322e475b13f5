"""Lossless compression of FITS images with CFITSIO's fpack and funpack."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Union

from panoptes_utils.error import InvalidSystemCommand
from panoptes_utils.files import replacing
from panoptes_utils.logging import logger
from panoptes_utils.process import find_program, run

# Seconds; a frame of 18 megapixels takes under two on a Raspberry Pi.
TIME_LIMIT = 60


def fpack(fits_fname: Union[str, Path], unpack: bool = False, overwrite: bool = True) -> str:
    """Compress an image to `.fz`, or the reverse; the file it was made from is removed.

    Args:
        fits_fname: path of a `.fits` file, or of a `.fits.fz` to unpack.
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
    path = Path(fits_fname)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    packed = path.suffix.lower() == ".fz"
    if packed != unpack:
        return str(fits_fname)
    target = path.with_suffix("") if unpack else path.with_name(path.name + ".fz")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target}: exists already; pass overwrite=True to replace it")
    try:
        with replacing(target) as draft:
            (_unpack_to if unpack else pack_to)(path, draft)
    except _NoProgramError as error:
        logger.warning(f"{path}: left as it is: {error.msg}")
        return str(fits_fname)
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


def pack_to(path: Path, target: Path) -> None:
    """Compress `path` into `target`, which is overwritten.

    Raises:
        InvalidSystemCommand: no fpack on PATH, or it failed.
    """
    program = _program("fpack")
    with Path(target).open("wb") as out:  # both programs refuse to overwrite, so they write to standard output
        run([program, "-S", path], TIME_LIMIT, check=True, stdout=out)


def _unpack_to(path: Path, target: Path) -> None:
    program = _program("funpack")
    with Path(target).open("wb") as out:
        run([program, "-S", path], TIME_LIMIT, check=True, stdout=out)
