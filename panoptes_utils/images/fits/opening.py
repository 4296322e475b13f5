"""The one way to open an image: which header-data unit of a file it is in, and which plane of it is looked at.

Cameras, drivers and archives put an image first in the file or into an extension, compress it in tiles or with gzip,
give it three colours, and name it as they like. All functions and commands ask here, so that all read the same files.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Optional, Tuple, Union

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from panoptes_utils.error import IllegalValue, PanError
from panoptes_utils.utils import normalize_file_input

# Number or EXTNAME of a header-data unit.
Extension = Union[int, str]

FITS_SUFFIXES = (".fits", ".fit", ".fts", ".new")
# What stands behind them where the file is compressed.
PACKED_SUFFIXES = (".fz", ".gz")
# At most so many values a pixel are its colours (red, green, blue, alpha) and not a row of the image.
_MOST_COLOURS = 4


def path_of(fname: Any) -> Path:
    """The path of a file given as str, path or open file; ValueError if it is none of these."""
    return Path(normalize_file_input(fname))


def is_fits_name(fname: Any) -> bool:
    """Whether the name is that of a FITS image, plain or compressed."""
    name = path_of(fname).name.lower()
    packed = name.endswith(PACKED_SUFFIXES)
    return name.endswith(".fz") or name[: -3 if packed else None].endswith(FITS_SUFFIXES)


def stem_of(fname: Any) -> str:
    """The name of an image without its folder and without what says that it is FITS, and compressed."""
    name = path_of(fname).name
    for suffixes in (PACKED_SUFFIXES, FITS_SUFFIXES):
        name = next((name[: -len(each)] for each in suffixes if name.lower().endswith(each)), name)
    return name


@contextmanager
def named_errors(fname: Any) -> Iterator[None]:
    """Turn what astropy says of a damaged file into one error that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)  # the error that follows says it
            yield
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (OSError, ValueError, TypeError, IndexError, KeyError, EOFError, fits.VerifyError) as error:
        if isinstance(error, PanError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise IllegalValue(f"{fname}: not a readable FITS image: {reason}") from error
    except ImportError as error:  # compressed in a way that astropy asks another package for
        raise IllegalValue(f"{fname}: its compression is not known here; unpack it first: {error}") from error


def extension_of(fname: Any, extension: Optional[Extension] = None) -> int:
    """Number of the header-data unit that holds the image.

    Args:
        fname: path, or open file, of a FITS image.
        extension: number or name of the unit that it must be; by default the first with an image.

    Returns:
        int: 0 for the first; that too where the file has no image at all.

    Raises:
        FileNotFoundError: no such file.
        IllegalValue: not a FITS file, or it has no such extension.
    """
    path = path_of(fname)
    with named_errors(path), fits.open(path, memmap=False) as hdus:
        return image_number(hdus, extension, path)


def image_number(hdus: fits.HDUList, extension: Optional[Extension], path: Path) -> int:
    """As `extension_of`, in a file that is open: best without `disable_image_compression`, which hides tiles."""
    if extension is not None:
        try:
            return hdus.index_of(extension if isinstance(extension, str) else range(len(hdus))[extension])
        except (KeyError, IndexError):
            names = ", ".join(f"{number} {hdu.name}".strip() for number, hdu in enumerate(hdus))
            raise IllegalValue(f"{path}: has no extension {extension}; it has {names}") from None
    lesser = None
    number = 0
    while True:  # a file is read only as far as is asked for, and its end may be damaged
        try:
            hdu = hdus[number]
        except IndexError:
            return lesser or 0
        shape = getattr(hdu, "shape", ()) if hdu.is_image else ()
        if len(shape) >= 2 and min(shape) > 0:
            return number
        if shape and lesser is None:
            lesser = number
        number += 1


def readable_image(
    fname: Any, extension: Optional[Extension] = None, plane: Optional[int] = None
) -> Tuple[fits.Header, np.ndarray]:
    """Return header and pixels of an image that something can be found on.

    Args:
        fname: path, or open file, of a FITS image: plain, in an extension, compressed in tiles (`.fz`) or with gzip.
        extension: number or name of the header-data unit; by default the first with an image.
        plane: of a cube (colours, or exposures), from 0; their mean by default.

    Returns:
        tuple: astropy.io.fits.Header, as it is in the file, and numpy.ndarray, shape (height, width); NaN and infinity
        are left in it.

    Raises:
        FileNotFoundError: no such file.
        IllegalValue: not a FITS file, truncated, without pixels, extension or plane, or with no finite pixel.
    """
    path = path_of(fname)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with named_errors(path), fits.open(path, memmap=False) as hdus:
        hdu = hdus[image_number(hdus, extension, path)]
        header = hdu.header.copy()
        data: Any = hdu.data if hdu.is_image else None
        if data is None:
            raise IllegalValue(f"{path}: No data: extension {hdu.name or 0} holds no image")
    if data.ndim < 2 or data.size == 0:
        raise IllegalValue(f"{path}: not an image: its shape is {data.shape}")
    data = _plane_of(data, plane, path)
    if data.dtype.kind == "f" and not np.isfinite(data).any():
        raise IllegalValue(f"{path}: no pixel has a value (all are NaN)")
    return header, data


def _plane_of(data: np.ndarray, plane: Optional[int], path: Path) -> np.ndarray:
    """One plane of a cube, or the mean of all."""
    if data.ndim == 2:
        if plane not in (None, 0):
            raise IllegalValue(f"{path}: has one plane, and none of number {plane}")
        return data
    if data.ndim == 3 and data.shape[2] <= _MOST_COLOURS < data.shape[0]:
        data = np.moveaxis(data, 2, 0)  # colours side by side, as in pictures that are not FITS
    planes = data.reshape(-1, *data.shape[-2:])
    if plane is None:
        if len(planes) == 1:
            return planes[0]
        known = np.isfinite(planes)
        if known.all():
            return planes.mean(axis=0)
        values = np.where(known, planes, 0).sum(axis=0, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            return values / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    if not 0 <= plane < len(planes):
        raise IllegalValue(f"{path}: has planes 0 to {len(planes) - 1}, and none of number {plane}")
    return planes[plane]


def filled(data: np.ndarray) -> np.ndarray:
    """The pixels with the median in place of NaN and infinity, for programs that cannot bear them.

    Args:
        data: numpy.ndarray, any shape, with a finite pixel.

    Returns:
        numpy.ndarray: the same array where all its pixels are finite.
    """
    if data.dtype.kind != "f":
        return data
    known = np.isfinite(data)
    return data if known.all() else np.where(known, data, np.median(data[known])).astype(data.dtype)


def write_plain(data: np.ndarray, path: Path, header: Optional[fits.Header] = None) -> None:
    """Write an image as every program reads it: alone, first in the file, not compressed, all pixels finite.

    Args:
        data: numpy.ndarray, shape (height, width).
        path: a new file.
        header: what else the program shall know; nothing by default, so that nothing misleads it.
    """
    data = filled(data)
    if data.dtype.kind not in "iuf" or data.dtype.itemsize > 8 or data.dtype in (np.int64, np.uint64, np.float16):
        data = data.astype(np.float32)
    if header is not None:
        header = header.copy(strip=True)
        for key in ("XTENSION", "PCOUNT", "GCOUNT", "EXTNAME", "NAXIS3", "NAXIS4", "BLANK"):
            header.remove(key, ignore_missing=True)
    fits.PrimaryHDU(data, header=header).writeto(path, output_verify="silentfix+ignore")
