"""Reading and writing FITS images, plain or fpacked."""

import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS, FITSFixedWarning

from panoptes_utils import error
from panoptes_utils.files import replacing
from panoptes_utils.logging import logger

FITS_SUFFIXES = (".fits", ".fit", ".fts", ".new")


def is_packed(fname):
    """Whether the name is that of an fpacked file (`.fz`), whose image is in extension 1."""
    return Path(fname).suffix.lower() == ".fz"


def extension_of(fname):
    """Number of the header-data unit that holds the image: 1 in an fpacked file, else 0."""
    return 1 if is_packed(fname) else 0


@contextmanager
def _named_errors(fname):
    """Turn what astropy says of a damaged file into one error that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)  # the error that follows says it
            yield
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (OSError, ValueError, TypeError, IndexError, KeyError, fits.VerifyError) as why:
        if isinstance(why, error.PanError):
            raise
        reason = str(why).splitlines()[0] if str(why) else type(why).__name__
        raise error.IllegalValue(f"{fname}: not a readable FITS image: {reason}") from why


def getdata(fname, *args, **kwargs):
    """Return the pixels of a FITS file.

    Args:
        fname: path, `.fits` or `.fits.fz`.
        args, kwargs: for `astropy.io.fits.getdata`; by default the extension that holds the image.

    Returns:
        numpy.ndarray: shape (height, width).

    Raises:
        FileNotFoundError: no such file.
        error.IllegalValue: not a FITS file, truncated, or without pixels.
    """
    if not args and "ext" not in kwargs and "extname" not in kwargs:
        kwargs["ext"] = extension_of(fname)
    with _named_errors(fname):
        return fits.getdata(fname, *args, **kwargs)


def getheader(fname, *args, **kwargs):
    """Return the header of the image in a FITS file.

    Args:
        fname: path, `.fits` or `.fits.fz`.
        args, kwargs: for `astropy.io.fits.getheader`.

    Returns:
        astropy.io.fits.Header

    Raises:
        FileNotFoundError: no such file.
        error.IllegalValue: not a FITS file.
    """
    if not args and "ext" not in kwargs and "extname" not in kwargs:
        kwargs["ext"] = extension_of(fname)
    with _named_errors(fname):
        return fits.getheader(fname, *args, **kwargs)


def getval(fname, *args, **kwargs):
    """Return the value of one header key.

    Args:
        fname: path, `.fits` or `.fits.fz`.
        args, kwargs: for `astropy.io.fits.getval`, the key first.

    Raises:
        KeyError: the header has no such key.
        FileNotFoundError: no such file.
        error.IllegalValue: not a FITS file.
    """
    keyword, *rest = args if args else (kwargs.pop("keyword"),)
    return getheader(fname, *rest, **kwargs)[keyword]


def getwcs(fname, *args, **kwargs):
    """Return the world coordinate system of a FITS file.

    Args:
        fname: path, `.fits` or `.fits.fz`.
        args, kwargs: for `astropy.wcs.WCS`, after the header.

    Returns:
        astropy.wcs.WCS: `is_celestial` is False when the image is not solved.

    Raises:
        FileNotFoundError: no such file.
        error.IllegalValue: not a FITS file, or its coordinate keys contradict each other.
    """
    header = getheader(fname)
    with _named_errors(fname), warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # it tells that a date was written in two ways
        return WCS(header, *args, **kwargs)


def readable_image(fname):
    """Return header and pixels of an image that something can be found on.

    Args:
        fname: path, `.fits` or `.fits.fz`.

    Returns:
        tuple: astropy.io.fits.Header and numpy.ndarray.

    Raises:
        FileNotFoundError: no such file.
        error.IllegalValue: not a FITS file, truncated, without pixels, or with no finite pixel.
    """
    if not Path(fname).is_file():
        raise FileNotFoundError(f"{fname}: no such file")
    data = getdata(fname, memmap=False)
    if data.ndim < 2 or data.size == 0:
        raise error.IllegalValue(f"{fname}: not an image: its shape is {data.shape}")
    if data.dtype.kind == "f" and not np.isfinite(data).any():
        raise error.IllegalValue(f"{fname}: no pixel has a value (all are NaN)")
    return getheader(fname), data


def write_fits(data, header, filename, exposure_event=None, **kwargs):
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
    except OSError as why:
        logger.error(f"{path}: not written: {why}")
        raise
    finally:
        if exposure_event is not None:
            exposure_event.set()
    return str(filename)
