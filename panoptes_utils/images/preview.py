"""Images for people: JPEG previews and time lapses."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional, Union

from panoptes_utils.files import replacing
from panoptes_utils.images.fits.opening import FITS_SUFFIXES, PACKED_SUFFIXES, path_of
from panoptes_utils.logging import logger
from panoptes_utils.process import find_program, run
from panoptes_utils.time import current_time

_FITS = (*FITS_SUFFIXES, *PACKED_SUFFIXES)
_RAW = (".cr2", ".dng")


def make_images_dir() -> str:
    """Return the folder for images, `$PANDIR/images`, made if it is missing; str."""
    folder = Path(os.getenv("PANDIR", "/var/panoptes")) / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def make_pretty_image(
    fname: Any,
    title: Optional[str] = None,
    img_type: Optional[str] = None,
    link_path: Optional[Union[str, Path]] = None,
    link_latest: bool = False,
    **kwargs: Any,
) -> Optional[Path]:
    """Make a JPEG of an image, beside it.

    Args:
        fname: path, or open file, of a FITS image (`.fits`, `.fits.fz`, `.fits.gz`, …), `.cr2` or `.dng`.
        title: text on the image; file name and time by default.
        img_type: suffix that says what it is, if its name does not.
        link_path: a symbolic link that is made to point to the new image.
        link_latest: make `$PANDIR/images/latest.jpg` that link.
        kwargs: for `fits.fits_to_jpg` or `cr2.cr2_to_jpg`.

    Returns:
        pathlib.Path: the JPEG, or the link to it; None, with a warning, if there is no such file or its kind is
        not known.

    Raises:
        error.PanError: the file is damaged.
    """
    path = path_of(fname)
    if not path.exists():
        warnings.warn(f"{path}: no such file, no preview made", stacklevel=2)
        return None
    kind = (img_type or path.suffix).lower()
    if kind in _FITS:
        from panoptes_utils.images.fits import fits_to_jpg

        made = Path(fits_to_jpg(path, title=title, **kwargs))
    elif kind in _RAW:
        from panoptes_utils.images.cr2 import cr2_to_jpg

        kwargs.setdefault("overwrite", True)
        kwargs.pop("timeout", None)
        made = Path(cr2_to_jpg(path, title=title or "", **kwargs))
    else:
        warnings.warn(f"{path}: no preview of {kind or 'this kind'}: not one of {_FITS + _RAW}", stacklevel=2)
        return None
    if link_latest and link_path is None:
        link_path = Path(make_images_dir()) / "latest.jpg"
    if link_path is None:
        return made
    link_path = Path(link_path)
    # A link is made beside the old one and renamed over it, so that a page that shows it never finds none.
    draft = link_path.with_name(f".{link_path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    draft.symlink_to(made.resolve())
    draft.replace(link_path)
    return link_path


def make_timelapse(
    directory: Union[str, Path],
    fn_out: Optional[Union[str, Path]] = None,
    glob_pattern: str = "20[1-9][0-9]*T[0-9]*.jpg",
    overwrite: bool = False,
    timeout: float = 60,
    **kwargs: Any,
) -> str:
    """Make a film of the images in a folder with ffmpeg.

    Args:
        directory: the folder.
        fn_out: the film; by default `FIELD_TIME.mp4` in the folder.
        glob_pattern: names of the images.
        overwrite: replace a film that exists.
        timeout: seconds.

    Returns:
        str: path of the film.

    Raises:
        InvalidSystemCommand: no ffmpeg on PATH, or it failed, as where there are no images.
        Timeout: it took too long; nothing is left of it.
        FileExistsError: the film exists and `overwrite` is off.
    """
    directory = Path(directory)
    program = find_program("ffmpeg", variable="FFMPEG")
    if fn_out is None:
        fn_out = directory / f"{directory.resolve().parent.name}_{current_time(flatten=True)}.mp4"
    fn_out = Path(fn_out)
    if fn_out.exists() and not overwrite:
        raise FileExistsError(f"{fn_out}: exists already; pass overwrite=True to replace it")
    with replacing(fn_out) as draft:
        command = [program, "-loglevel", "error", "-y", "-r", "3", "-pattern_type", "glob"]
        command += ["-i", str(directory / glob_pattern), "-s", "hd1080", "-vcodec", "libx264", "-pix_fmt", "yuv420p"]
        run([*command, draft], timeout, check=True)
    logger.debug("Time lapse written to {}", fn_out)
    return str(fn_out)
