"""Reading and writing FITS images, plain or fpacked."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Tuple, Union

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS, FITSFixedWarning

from panoptes_utils.error import IllegalValue, PanError
from panoptes_utils.files import replacing
from panoptes_utils.logging import logger

FITS_SUFFIXES = (".fits", ".fit", ".fts", ".new")


def is_packed(fname: Union[str, Path]) -> bool:
    """Whether the name is that of an fpacked file (`.fz`), whose image is in extension 1."""
    return Path(fname).suffix.lower() == ".fz"


def extension_of(fname: Union[str, Path]) -> int:
    """Number of the header-data unit that holds the image: 1 in an fpacked file, else 0."""
    return 1 if is_packed(fname) else 0


@contextmanager
def _named_errors(fname: Union[str, Path]) -> Iterator[None]:
    """Turn what astropy says of a damaged file into one error that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)  # the error that follows says it
            yield
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (OSError, ValueError, TypeError, IndexError, KeyError, fits.VerifyError) as error:
        if isinstance(error, PanError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise IllegalValue(f"{fname}: not a readable FITS image: {reason}") from error


def getdata(fname: Union[str, Path], *args: Any, **kwargs: Any) -> np.ndarray:
    """Return the pixels of a FITS file.

    Args:
        fname: path, `.fits` or `.fits.fz`.
        args, kwargs: for `astropy.io.fits.getdata`; by default the extension that holds the image.

    Returns:
        numpy.ndarray: shape (height, width).

    Raises:
        FileNotFoundError: no such file.
        IllegalValue: not a FITS file, truncated, or without pixels.
    """
    if not args and "ext" not in kwargs and "extname" not in kwargs:
        kwargs["ext"] = extension_of(fname)
    with _named_errors(fname):
        return fits.getdata(fname, *args, **kwargs)


def getheader(fname: Union[str, Path], *args: Any, **kwargs: Any) -> fits.Header:
    """Return the header of the image in a FITS file.

    Args:
        fname: path, `.fits` or `.fits.fz`.
        args, kwargs: for `astropy.io.fits.getheader`.

    Returns:
        astropy.io.fits.Header

    Raises:
        FileNotFoundError: no such file.
        IllegalValue: not a FITS file.
    """
    if not args and "ext" not in kwargs and "extname" not in kwargs:
        kwargs["ext"] = extension_of(fname)
    with _named_errors(fname):
        return fits.getheader(fname, *args, **kwargs)


def getval(fname: Union[str, Path], *args: Any, **kwargs: Any) -> Any:
    """Return the value of one header key.

    Args:
        fname: path, `.fits` or `.fits.fz`.
        args, kwargs: for `astropy.io.fits.getval`, the key first.

    Raises:
        KeyError: the header has no such key.
        FileNotFoundError: no such file.
        IllegalValue: not a FITS file.
    """
    keyword, *rest = args if args else (kwargs.pop("keyword"),)
    return getheader(fname, *rest, **kwargs)[keyword]


def getwcs(fname: Union[str, Path], *args: Any, **kwargs: Any) -> WCS:
    """Return the world coordinate system of a FITS file.

    Args:
        fname: path, `.fits` or `.fits.fz`.
        args, kwargs: for `astropy.wcs.WCS`, after the header.

    Returns:
        astropy.wcs.WCS: `is_celestial` is False when the image is not solved.

    Raises:
        FileNotFoundError: no such file.
        IllegalValue: not a FITS file, or its coordinate keys contradict each other.
    """
    header = getheader(fname)
    with _named_errors(fname), warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # it tells that a date was written in two ways
        return WCS(header, *args, **kwargs)


def readable_image(fname: Union[str, Path]) -> Tuple[fits.Header, np.ndarray]:
    """Return header and pixels of an image that something can be found on.

    Args:
        fname: path, `.fits` or `.fits.fz`.

    Returns:
        tuple: astropy.io.fits.Header and numpy.ndarray.

    Raises:
        FileNotFoundError: no such file.
        IllegalValue: not a FITS file, truncated, without pixels, or with no finite pixel.
    """
    if not Path(fname).is_file():
        raise FileNotFoundError(f"{fname}: no such file")
    data = getdata(fname, memmap=False)
    if data.ndim < 2 or data.size == 0:
        raise IllegalValue(f"{fname}: not an image: its shape is {data.shape}")
    if data.dtype.kind == "f" and not np.isfinite(data).any():
        raise IllegalValue(f"{fname}: no pixel has a value (all are NaN)")
    return getheader(fname), data


def write_fits(
    data: np.ndarray, header: fits.Header, filename: Union[str, Path], exposure_event: Any = None, **kwargs: Any
) -> str:
    """Write an image, whole or not at all.

    Args:
        data: numpy.ndarray, shape (height, width).
        header: astropy.io.fits.Header, dict or None.
        filename: where to; missing folders are made.
        exposure_event: `threading.Event` that is set at the end, also when writing failed, so that nobody
            waits for ever for a file that will not come.
        kwargs: for `PrimaryHDU.writeto`; `overwrite` is False by default.

    Returns:
        str: the file name.

    Raises:
        OSError: it exists and `overwrite` is not set, or cannot be written.
    """
    path = Path(filename)
    overwrite = kwargs.pop("overwrite", False)
    try:
        if not isinstance(header, fits.Header):
            header = fits.Header(list((header or {}).items()))
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path}: exists already; pass overwrite=True to replace it")
        with replacing(path) as draft:
            fits.PrimaryHDU(data, header=header).writeto(draft, overwrite=True, **kwargs)
    except OSError as error:
        logger.error(f"{path}: not written: {error}")
        raise
    finally:
        if exposure_event is not None:
            exposure_event.set()
    return str(filename)
