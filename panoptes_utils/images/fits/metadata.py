"""What a FITS image is of: names and times from its path or header, and the keys that POCS writes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Optional, Union

from astropy import units as u
from astropy.io import fits

from panoptes_utils.error import IllegalValue
from panoptes_utils.files import replacing
from panoptes_utils.images.fits.io import getheader
from panoptes_utils.images.fits.opening import extension_of, path_of
from panoptes_utils.logging import logger
from panoptes_utils.time import as_utc
from panoptes_utils.utils import get_quantity_value

PATH_MATCHER = re.compile(
    r"(?P<unit_id>PAN\d{3})[/_](?P<camera_id>[0-9A-Za-z]+)[/_]"
    r"(?:(?P<field_name>.+?)[/_])?(?P<sequence_time>\d{8}T\d{6})[/_](?P<image_time>\d{8}T\d{6})"
)
_TIME = "%Y%m%dT%H%M%S"


@dataclass
class ObservationPathInfo:
    """Which unit, camera, sequence and exposure an image belongs to.

    Give either the path or the parts.

    Args:
        unit_id: such as PAN001.
        camera_id: such as ee04d1.
        field_name: of the target, where it is known.
        sequence_time, image_time: start of the sequence and of the exposure; datetime (of any zone; UTC without one) or
            `YYYYMMDDTHHMMSS`, in UTC.
        path: of an image, or an address that ends like one.

    Raises:
        ValueError: the path has not the form UNIT/CAMERA[/FIELD]/SEQUENCE_TIME/IMAGE_TIME (or with `_`), or parts
            are missing.

    Example:
        >>> info = ObservationPathInfo(path="gs://raw/PAN012/ee04d1/20190820T111638/20190820T122447.fits")
        >>> info.id
        'PAN012_ee04d1_20190820T111638_20190820T122447'
        >>> info.sequence_id
        'PAN012_ee04d1_20190820T111638'
        >>> info.as_path(base="/tmp", ext=".jpg")
        PosixPath('/tmp/PAN012/ee04d1/20190820T111638/20190820T122447.jpg')
    """

    unit_id: Optional[str] = None
    camera_id: Optional[str] = None
    field_name: Optional[str] = None
    sequence_time: Union[str, datetime, None] = None
    image_time: Union[str, datetime, None] = None
    path: Union[str, Path, None] = None

    def __post_init__(self) -> None:
        if self.path is not None:
            found = PATH_MATCHER.search(str(self.path))
            if not found:
                raise ValueError(f"{self.path}: not UNIT/CAMERA[/FIELD]/SEQUENCE_TIME/IMAGE_TIME")
            for name, value in found.groupdict().items():
                setattr(self, name, value)
        for name in ("unit_id", "camera_id", "sequence_time", "image_time"):
            if not getattr(self, name):
                raise ValueError(f"{name} is missing; give it, or a path")
        self.sequence_time = _moment(self.sequence_time)
        self.image_time = _moment(self.image_time)

    @property
    def id(self) -> str:
        """Unit, camera and both times."""
        return self.get_full_id()

    @property
    def sequence_id(self) -> str:
        """Unit, camera and start of the sequence."""
        return f"{self.unit_id}_{self.camera_id}_{self.sequence_time:{_TIME}}"

    @property
    def image_id(self) -> str:
        """Unit, camera and start of the exposure."""
        return f"{self.unit_id}_{self.camera_id}_{self.image_time:{_TIME}}"

    def get_full_id(self, sep: str = "_") -> str:
        """Return unit, camera and both times with `sep` between them."""
        return sep.join(
            (str(self.unit_id), str(self.camera_id), f"{self.sequence_time:{_TIME}}", f"{self.image_time:{_TIME}}")
        )

    def as_path(self, base: Optional[Union[str, Path]] = None, ext: Optional[str] = None) -> Path:
        """Return the path of the image.

        Args:
            base: folder to put before it.
            ext: suffix, with or without its dot.

        Returns:
            pathlib.Path
        """
        parts = [str(self.unit_id), str(self.camera_id), f"{self.sequence_time:{_TIME}}", f"{self.image_time:{_TIME}}"]
        if self.field_name:
            parts.insert(2, self.field_name.replace("/", "_"))
        path = Path(base, *parts) if base else Path(*parts)
        return path.with_name(path.name + "." + ext.lstrip(".")) if ext else path

    @classmethod
    def from_fits(cls, fits_file: Union[str, Path]) -> ObservationPathInfo:
        """Return the information of a FITS image, from its header."""
        return cls.from_fits_header(getheader(fits_file))

    @classmethod
    def from_fits_header(cls, header: Any) -> ObservationPathInfo:
        """Return the information that a header holds.

        Args:
            header: astropy.io.fits.Header with FILENAME, or with SEQID and IMAGEID.

        Raises:
            ValueError: it holds neither.
        """
        try:
            return cls(path=header.get("FILENAME", ""))
        except ValueError:
            pass
        parts = [str(header.get(key, "")).split("_") for key in ("SEQID", "IMAGEID")]
        if any(len(part) < 3 for part in parts):
            raise ValueError("the header has no FILENAME with a path, and no SEQID and IMAGEID")
        (unit, camera, *_, sequence), (*_, image) = parts
        return cls(unit, camera, header.get("FIELD") or None, sequence, image)


ImagePathInfo = ObservationPathInfo


def _moment(value: Any) -> Any:
    if isinstance(value, datetime):
        return as_utc(value)
    try:
        return datetime.strptime(str(value), _TIME).replace(tzinfo=timezone.utc)
    except ValueError:
        raise ValueError(f"{value}: not a time like 20190820T111638") from None


# Key of an observation: (FITS key, comment, unit or None)
_OBSERVATION_KEYS = {
    "image_id": ("IMAGEID", "", None),
    "sequence_id": ("SEQID", "", None),
    "field_name": ("FIELD", "", None),
    "ra_mnt": ("RA-MNT", "Degrees", u.deg),
    "ha_mnt": ("HA-MNT", "Degrees", u.deg),
    "dec_mnt": ("DEC-MNT", "Degrees", u.deg),
    "equinox": ("EQUINOX", "", None),
    "airmass": ("AIRMASS", "Sec(z)", None),
    "filter": ("FILTER", "", None),
    "latitude": ("LAT-OBS", "Degrees", u.deg),
    "longitude": ("LONG-OBS", "Degrees", u.deg),
    "elevation": ("ELEV-OBS", "Meters", u.m),
    "moon_separation": ("MOONSEP", "Degrees", u.deg),
    "moon_fraction": ("MOONFRAC", "", None),
    "creator": ("CREATOR", "POCS Software version", None),
    "camera_uid": ("INSTRUME", "Camera ID", None),
    "observer": ("OBSERVER", "PANOPTES Unit ID", None),
    "origin": ("ORIGIN", "", None),
    "tracking_rate_ra": ("RA-RATE", "RA Tracking Rate relative to sidereal", None),
}


def update_observation_headers(file_path: Any, info: Dict[str, Any]) -> bool:
    """Write what is known of an observation into the header of its image.

    Args:
        file_path: path, or open file, of a FITS image.
        info: dict with any of `image_id`, `sequence_id`, `field_name`, `ra_mnt`, `ha_mnt`, `dec_mnt` (degrees or
            Quantities), `equinox` (2000 if not given), `airmass`, `filter`, `latitude`, `longitude`, `elevation`,
            `moon_separation`, `moon_fraction`, `creator`, `camera_uid`, `observer`, `origin`, `tracking_rate_ra`.

    Returns:
        bool: True.

    Raises:
        FileNotFoundError: no such file.
        error.IllegalValue: not a FITS file.
    """
    path = path_of(file_path)
    number = extension_of(path)
    if getheader(path, ext=number).get("SIMPLE") is False:  # astropy reads such a file and cannot write it
        raise IllegalValue(f"{path}: not standard FITS, as its header says (SIMPLE = F)")
    info = {"equinox": 2000.0, **info}
    with fits.open(path, do_not_scale_image_data=True, memmap=False, disable_image_compression=True) as hdus:
        header = hdus[number].header
        for name, value in info.items():
            if name not in _OBSERVATION_KEYS or value is None:
                continue
            key, comment, unit = _OBSERVATION_KEYS[name]
            header[key] = (get_quantity_value(value, unit), comment)
        with replacing(path) as draft:
            try:
                hdus.writeto(draft, overwrite=True, output_verify="silentfix+ignore", checksum="CHECKSUM" in header)
            except ValueError as error:  # fewer pixels than the header says
                raise IllegalValue(f"{path}: not a whole FITS file: {error}") from error
    logger.debug("Observation written into the header of {}", path)
    return True


def extract_metadata(header: Any) -> Dict[str, Dict[str, Any]]:
    """Return what a header tells of unit, sequence and image.

    Args:
        header: astropy.io.fits.Header as POCS writes it.

    Returns:
        dict: of three dicts `unit`, `sequence` and `image`; what the header lacks is None.

    Raises:
        ValueError: it does not tell which image it is.
    """
    info = ObservationPathInfo.from_fits_header(header)

    def number(key: str) -> Any:
        value = header.get(key)
        try:
            return float(str(value).split()[0])
        except (ValueError, IndexError):
            return None

    return {
        "unit": {
            "unit_id": info.unit_id,
            "name": header.get("OBSERVER"),
            "latitude": number("LAT-OBS"),
            "longitude": number("LONG-OBS"),
            "elevation": number("ELEV-OBS"),
        },
        "sequence": {
            "unit_id": info.unit_id,
            "sequence_id": info.sequence_id,
            "time": info.sequence_time,
            "field_name": header.get("FIELD"),
            "camera_id": info.camera_id,
            "camera_serial_number": header.get("CAMSN"),
            "software_version": header.get("CREATOR"),
        },
        "image": {
            "uid": info.get_full_id(),
            "sequence_id": info.sequence_id,
            "time": info.image_time,
            "exptime": number("EXPTIME"),
            "iso": number("ISO"),
            "airmass": number("AIRMASS"),
            "moonfrac": number("MOONFRAC"),
            "moonsep": number("MOONSEP"),
            "mount_ra": number("RA-MNT"),
            "mount_ha": number("HA-MNT"),
            "mount_dec": number("DEC-MNT"),
            "camera_temp": number("CAMTEMP"),
            "measured_ev": number("MEASEV"),
            "white_level_normal": number("WHTLVLN"),
            "white_level_saturation": number("WHTLVLS"),
        },
    }
