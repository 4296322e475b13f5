"""Reading and writing FITS images, plain or fpacked."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Dict, Optional, Union

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from panoptes_utils.error import IllegalValue
from panoptes_utils.files import replacing
from panoptes_utils.images.fits.opening import Extension, extension_of, named_errors, path_of
from panoptes_utils.logging import logger


def is_packed(fname: Union[str, Path]) -> bool:
    """Whether the name is that of an fpacked file (`.fz`)."""
    return path_of(fname).suffix.lower() == ".fz"


def _at_image(fname: Any, args: Any, kwargs: Dict[str, Any]) -> Path:
    """The path; where the caller names no extension, `kwargs` gets that of the image."""
    path = path_of(fname)
    if not args and not {"ext", "extname"} & set(kwargs):
        kwargs["ext"] = extension_of(path)
    return path


def getdata(fname: Any, *args: Any, **kwargs: Any) -> np.ndarray:
    """Return the pixels of a FITS file.

    Args:
        fname: path, or open file, of a FITS image.
        args, kwargs: for `astropy.io.fits.getdata`; by default the extension that holds the image.

    Returns:
        numpy.ndarray: shape (height, width), or that of a cube.

    Raises:
        FileNotFoundError: no such file.
        IllegalValue: not a FITS file, truncated, or without pixels.
    """
    path = _at_image(fname, args, kwargs)
    with named_errors(path):
        return fits.getdata(path, *args, **kwargs)


def getheader(fname: Any, *args: Any, **kwargs: Any) -> fits.Header:
    """Return the header of the image in a FITS file.

    Args:
        fname: path, or open file, of a FITS image.
        args, kwargs: for `astropy.io.fits.getheader`.

    Returns:
        astropy.io.fits.Header

    Raises:
        FileNotFoundError: no such file.
        IllegalValue: not a FITS file.
    """
    path = _at_image(fname, args, kwargs)
    with named_errors(path):
        return fits.getheader(path, *args, **kwargs)


def getval(fname: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the value of one header key.

    Args:
        fname: path, or open file, of a FITS image.
        args, kwargs: for `astropy.io.fits.getval`, the key first.

    Raises:
        KeyError: the header has no such key.
        FileNotFoundError: no such file.
        IllegalValue: not a FITS file.
    """
    keyword, *rest = args if args else (kwargs.pop("keyword"),)
    return getheader(fname, *rest, **kwargs)[keyword]


def getwcs(fname: Any, *args: Any, extension: Optional[Extension] = None, **kwargs: Any) -> WCS:
    """Return the world coordinate system that the header of an image holds.

    Args:
        fname: path, or open file, of a FITS image.
        args, kwargs: for `astropy.wcs.WCS`, after the header.
        extension: number or name of the header-data unit; by default the first with an image.

    Returns:
        astropy.wcs.WCS: `is_celestial` tells that it is one of the sky. Whether that is a solution or what a mount or a
        driver guessed, `is_solved` tells of the header.

    Raises:
        FileNotFoundError: no such file.
        IllegalValue: not a FITS file, or its coordinate keys contradict each other.
    """
    path = path_of(fname)
    header = getheader(path, ext=extension_of(path, extension))
    if header.get("NAXIS", 0) > 2 and len(args) < 4:
        kwargs.setdefault("naxis", 2)  # all planes of a cube show the same sky
    with named_errors(path), warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # it tells that a date was written in two ways
        with fits.open(path, memmap=False) as hdus:  # distortion may be a table in another extension
            try:
                wcs = WCS(header, *args, **kwargs) if args or "fobj" in kwargs else WCS(header, hdus, **kwargs)
            except MemoryError as error:  # what wcslib calls keys of a distortion that lack others
                raise IllegalValue(f"{path}: the coordinates in its header are not whole: {error}") from error
        if kwargs.get("naxis") == 2 and header.get("NAXIS", 0) > 2:
            wcs.array_shape = header["NAXIS2"], header["NAXIS1"]
        return wcs


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
