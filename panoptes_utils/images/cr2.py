"""Raw files of cameras (Canon CR2, and DNG as of a Raspberry Pi camera) through dcraw and exiftool."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Union

import numpy as np

from panoptes_utils.error import AlreadyExists, IllegalValue, InvalidCommand, InvalidSystemCommand
from panoptes_utils.files import replacing
from panoptes_utils.images.fits import update_observation_headers, write_fits
from panoptes_utils.images.fits.opening import path_of
from panoptes_utils.logging import logger
from panoptes_utils.process import file_argument, find_program, run

if TYPE_CHECKING:
    from PIL import Image

# Seconds; dcraw unpacks a frame of 18 megapixels in five on a Raspberry Pi.
TIME_LIMIT = 60

# FITS key: (exiftool's name, comment)
_KEYS = {
    "ISO": ("ISO", ""),
    "EXPTIME": ("ExposureTime", "Seconds"),
    "CAMTEMP": ("CameraTemperature", "Celsius"),
    "CIRCCONF": ("CircleOfConfusion", ""),
    "COLORTMP": ("ColorTempMeasured", ""),
    "FILENAME": ("FileName", ""),
    "INTSN": ("InternalSerialNumber", ""),
    "CAMSN": ("SerialNumber", ""),
    "MEASEV": ("MeasuredEV", ""),
    "MEASEV2": ("MeasuredEV2", ""),
    "MEASRGGB": ("MeasuredRGGB", ""),
    "WHTLVLN": ("NormalWhiteLevel", ""),
    "WHTLVLS": ("SpecularWhiteLevel", ""),
    "REDBAL": ("RedBalance", ""),
    "BLUEBAL": ("BlueBalance", ""),
    "WBRGGB": ("WB RGGBLevelAsShot", ""),
}


def _program(*names: Any) -> str:
    try:
        return find_program(*names)
    except InvalidSystemCommand as error:
        raise InvalidCommand(error.msg) from error


def _existing(fname: Any) -> Path:
    path = path_of(fname)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return path


def cr2_to_fits(
    cr2_fname: Union[str, Path],
    fits_fname: Optional[Union[str, Path]] = None,
    overwrite: bool = False,
    headers: Optional[Dict[str, Any]] = None,
    fits_headers: Optional[Dict[str, Any]] = None,
    remove_cr2: bool = False,
    **kwargs: Any,
) -> str:
    """Convert a raw file to FITS, with what the camera noted.

    Args:
        cr2_fname: path of a `.cr2` or `.dng`.
        fits_fname: where to; the same name with `.fits` by default.
        overwrite: replace it if it exists; else it is left and its name returned.
        headers: dict of keys that are put into the header as they are, after `DATE-OBS` (UTC) and what else the camera
            noted.
        fits_headers: dict that describes the observation, for `fits.update_observation_headers`.
        remove_cr2: remove the raw file when the FITS file is complete.

    Returns:
        str: path of the FITS file.

    Raises:
        FileNotFoundError: no such file.
        InvalidCommand: dcraw or exiftool is not on PATH.
        InvalidSystemCommand: the file is not a raw file, or damaged.
    """
    path = _existing(cr2_fname)
    target = Path(fits_fname) if fits_fname else path.with_suffix(".fits")
    if target.exists() and not overwrite:
        logger.warning(f"{target}: exists already and is kept; pass overwrite=True to replace it")
        return str(target)
    data = _pixels(path)
    exif = read_exif(path)
    header: Dict[str, Any] = {"FILTER": "RGGB"}
    for key, (name, _) in _KEYS.items():
        header[key] = _plain(exif.get(name, ""))
    header["EXPTIME"] = _seconds(exif.get("ExposureTime"))
    taken = taken_at(exif)
    if taken is not None:
        header["DATE-OBS"] = taken.isoformat()
    header.update(headers or {})
    write_fits(data, header, target, overwrite=True)
    if fits_headers:
        update_observation_headers(target, fits_headers)
    if remove_cr2:
        path.unlink()
    return str(target)


def _plain(value: Any) -> Any:
    """A value that a FITS card can hold."""
    return value if isinstance(value, (int, float, bool)) else str(value).encode("ascii", "replace").decode()


def _seconds(value: Any) -> float:
    """Exposure time from exiftool: a number, or a fraction such as "1/60"."""
    try:
        above, _, below = str(value).partition("/")
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        return 0.0


# Time of the exposure, and the zones that go with it, the one that is meant for it first (Exif 2.31).
_TIMES = (
    ("DateTimeOriginal", ("OffsetTimeOriginal", "OffsetTime", "OffsetTimeDigitized", "TimeZoneOffset")),
    ("CreateDate", ("OffsetTimeDigitized", "OffsetTime", "OffsetTimeOriginal", "TimeZoneOffset")),
)
_ZONE = re.compile(r"(?P<zulu>Z|UTC)|(?P<sign>[+-]?)(?P<hours>\d{1,2})(:?(?P<minutes>\d{2}))?")


def taken_at(exif: Dict[str, Any]) -> Optional[datetime]:
    """Return when the exposure began, in UTC and without a zone, as FITS has it; None if the camera did not note it.

    Args:
        exif: dict as of `read_exif`. A time without a zone is UTC, as POCS sets the clocks of cameras. What Canon's own
            notes say of a zone (`TimeZone`) is that of the camera's menu, which POCS does not set, and is not used.

    Example:
        >>> taken_at({"DateTimeOriginal": "2016:09:09 18:12:26", "OffsetTimeOriginal": "+10:00"})
        datetime.datetime(2016, 9, 9, 8, 12, 26)
    """
    for key, zones in _TIMES:
        text = str(exif.get(key) or "").strip()
        try:
            local = datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S")
        except ValueError:
            continue
        behind = re.sub(r"^\.\d*", "", text[19:]).strip()  # fractions of a second stand before a zone
        for zone in (behind, *(exif.get(name) for name in zones)):
            offset = _offset(zone)
            if offset is not None:
                with suppress(OverflowError):
                    return local - offset
        return local
    return None


def _offset(zone: Any) -> Optional[timedelta]:
    """How far a zone is ahead of UTC, from text as +10:00, or hours; None if it says nothing."""
    if isinstance(zone, (int, float)) and not isinstance(zone, bool):
        zone = f"{zone:+g}"
    found = _ZONE.fullmatch(str(zone or "").split(" ")[0])  # TimeZoneOffset may hold two, of which the first is meant
    if not found:
        return None
    if found["zulu"]:
        return timedelta(0)
    ahead = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"] or 0))
    if ahead > timedelta(hours=14):
        return None
    return -ahead if found["sign"] == "-" else ahead


def _pixels(path: Path) -> np.ndarray:
    """Raw pixels as dcraw unpacks them, flipped so that the first row is the lowest."""
    return _parse_pgm(_unpack(path), path)


def _unpack(path: Path) -> bytes:
    """The PGM that dcraw makes of a raw file: no rotation (-t 0), no scaling (-D), 16 bits (-4)."""
    process: Any = run(
        [_program("dcraw"), "-t", "0", "-D", "-4", "-c", file_argument(path)],
        TIME_LIMIT,
        text=False,
        errors=None,
        encoding=None,
    )
    if process.returncode or not process.stdout.startswith(b"P5"):
        complaint = process.stderr.decode(errors="replace").strip().splitlines() or ["not a raw file that dcraw knows"]
        raise InvalidSystemCommand(f"{path}: {complaint[-1]}")
    if process.stderr:  # dcraw goes on after the end of the data and only says so
        raise InvalidSystemCommand(f"{path}: damaged: {process.stderr.decode(errors='replace').strip()}")
    return process.stdout


def cr2_to_pgm(
    cr2_fname: Union[str, Path], pgm_fname: Optional[Union[str, Path]] = None, overwrite: bool = True, **kwargs: Any
) -> str:
    """Convert a raw file to a PGM of its raw values.

    Args:
        cr2_fname: path of a `.cr2` or `.dng`.
        pgm_fname: where to; the same name with `.pgm` by default.
        overwrite: replace it if it exists; else it is left and its name returned.

    Returns:
        str: path of the PGM, 16 bits, one value a pixel.

    Raises:
        FileNotFoundError: no such file.
        InvalidCommand: dcraw is not on PATH.
        InvalidSystemCommand: the file is not a raw file, or damaged.
    """
    path = _existing(cr2_fname)
    target = Path(pgm_fname) if pgm_fname else path.with_suffix(".pgm")
    if target.exists() and not overwrite:
        logger.warning(f"{target}: exists already and is kept; pass overwrite=True to replace it")
        return str(target)
    content = _unpack(path)
    with replacing(target) as draft:
        draft.write_bytes(content)
    return str(target)


def read_exif(fname: Union[str, Path], exiftool: str = "exiftool") -> Dict[str, Any]:
    """Return what the camera noted in a file.

    Args:
        fname: path of an image.
        exiftool: the program.

    Returns:
        dict: by exiftool's names.

    Raises:
        FileNotFoundError: no such file.
        InvalidCommand: exiftool is not on PATH.
        InvalidSystemCommand: it cannot read the file.
    """
    path = _existing(fname)
    result = run([_program(exiftool), "-j", file_argument(path)], TIME_LIMIT)
    try:
        return json.loads(result.stdout)[0]
    except (ValueError, IndexError):
        raise InvalidSystemCommand(f"{path}: exiftool cannot read it: {result.stderr.strip()}") from None


def read_pgm(fname: Union[str, Path], byteorder: str = ">", remove_after: bool = False) -> np.ndarray:
    """Return the pixels of a 16-bit PGM, flipped so that the first row is the lowest.

    Args:
        fname: path of a binary PGM (P5).
        byteorder: of the values, ">" as the format says.
        remove_after: remove the file when it is read.

    Returns:
        numpy.ndarray: uint16, shape (height, width).

    Raises:
        FileNotFoundError: no such file.
        IllegalValue: not a 16-bit PGM, or truncated.
    """
    path = _existing(fname)
    data = _parse_pgm(path.read_bytes(), path, byteorder)
    if remove_after:
        path.unlink()
    return data


def _parse_pgm(content: bytes, path: Union[str, Path], byteorder: str = ">") -> np.ndarray:
    stream = BytesIO(content)
    words: List[bytes] = []
    while len(words) < 4:
        line = stream.readline()
        if not line:
            break
        words += line.split(b"#")[0].split()
    try:
        kind, (width, height, largest) = words[0], (int(word) for word in words[1:4])
    except (ValueError, IndexError):
        kind, width, height, largest = b"", 0, 0, 0
    if kind != b"P5" or largest < 256:
        raise IllegalValue(f"{path}: not a 16-bit binary PGM")
    pixels = content[stream.tell() :]
    if len(pixels) < width * height * 2:
        raise IllegalValue(f"{path}: truncated: {len(pixels)} of {width * height * 2} bytes of pixels")
    values = np.frombuffer(pixels, dtype=f"{byteorder}u2", count=width * height)
    return np.flipud(values.reshape(height, width)).astype(np.uint16)


def cr2_to_jpg(
    cr2_fname: Union[str, Path],
    jpg_fname: Optional[Union[str, Path]] = None,
    title: str = "",
    overwrite: bool = False,
    remove_cr2: bool = False,
    **kwargs: Any,
) -> Path:
    """Make a JPEG of a raw file: the preview that the camera put into it, else one developed by dcraw.

    Args:
        cr2_fname: path of a `.cr2` or `.dng`.
        jpg_fname: where to; the same name with `.jpg` by default.
        title: text that is written on the image.
        overwrite: replace it if it exists.
        remove_cr2: remove the raw file when the JPEG is complete.

    Returns:
        pathlib.Path: the JPEG.

    Raises:
        FileNotFoundError: no such file.
        AlreadyExists: the JPEG exists and `overwrite` is off.
        InvalidCommand: exiftool, or dcraw where it is needed, is not on PATH.
        InvalidSystemCommand: the file is not a raw file, or damaged.
    """
    from PIL import Image

    path = _existing(cr2_fname)
    target = Path(jpg_fname) if jpg_fname else path.with_suffix(".jpg")
    if target.exists() and not overwrite:
        raise AlreadyExists(f"{target}: exists already; pass overwrite=True to replace it")
    image: Optional[Image.Image] = _preview(path)
    if image is None:
        command = [_program("dcraw"), "-c", "-q", "3", "-a", "-w", "-H", "5", "-b", "5", file_argument(path)]
        developed: Any = run(command, TIME_LIMIT, text=False, errors=None, encoding=None)
        if developed.returncode or not developed.stdout.startswith(b"P6"):
            complaint = developed.stderr.decode(errors="replace").strip() or "not a raw file that dcraw knows"
            raise InvalidSystemCommand(f"{path}: {complaint}")
        image = Image.open(BytesIO(developed.stdout))
    if title:
        _write_title(image, title)
    with replacing(target) as draft:
        image.convert("RGB").save(draft, format="JPEG", quality=90)
    if remove_cr2:
        path.unlink()
    return target


def _preview(path: Path) -> Optional[Image.Image]:
    """The JPEG inside a raw file, or None."""
    from PIL import Image

    program = _program("exiftool")
    for name in ("-PreviewImage", "-JpgFromRaw"):
        found: Any = run(
            [program, "-b", name, file_argument(path)], TIME_LIMIT, text=False, errors=None, encoding=None
        ).stdout
        if found:
            with suppress(OSError):
                image = Image.open(BytesIO(found))
                image.load()
                return image
    return None


def _write_title(image: Image.Image, title: str) -> None:
    from PIL import ImageDraw, ImageFont

    size = max(12, image.height // 30)
    try:
        font = ImageFont.load_default(size)
    except TypeError:  # Pillow before 10.1 has one size
        font = ImageFont.load_default()
    place = (image.width // 2, image.height - size)
    draw = ImageDraw.Draw(image)
    draw.text(place, title, anchor="ms", font=font, fill="white", stroke_width=1, stroke_fill="black")
