"""Text for objects and objects for text: JSON on the wire, YAML in files.

Quantities travel as text such as `45.0 deg` in the units that a unit's configuration is written in (deg, m, s), and as
`{"value": 5.0, "unit": "km"}` in all others, since a text such as `5 h` may be just that. Times travel as ISO 8601 in
UTC. Reading gives quantities back for both, and datetimes for ISO dates with or without a time. Digits alone, such as
`20160812`, stay text. astropy is imported only when a quantity is met, numpy never.
"""

import json
import re
import sys
from contextlib import suppress
from copy import deepcopy
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any, Optional, Union

from panoptes_utils.error import InvalidDeserialization, InvalidSerialization
from panoptes_utils.yaml_bounds import bounded_composer

_NUMBER = r"(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|-?inf)"
_TEXT_UNITS = ("deg", "m", "s")
_QUANTITY = re.compile(rf"\s*{_NUMBER}\s+(?:{'|'.join(_TEXT_UNITS)})\s*", re.ASCII)
# Digits alone are no date: serial numbers look like that.
_DATE = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:(?:T| (?=\d\d:))(?P<hour>\d\d)(?::(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?)?"
    r"(?P<zone>Z|[-+]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_COMPACT_DATE = re.compile(
    r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)"
    r"T(?P<hour>\d\d)(?P<minute>\d\d)(?:(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?P<zone>Z|[-+]\d\d(?::?\d\d)?)?",
    re.ASCII,
)

# Numpy's numbers are some of these too, and are looked at before.
_PLAIN = (str, int, float, bool, type(None), list, tuple, dict)

# Of YAML, in each other; no configuration needs them.
_LEVELS = 64


def to_json(obj: Any, filename: Optional[Union[str, Path]] = None, append: bool = True, **kwargs: Any) -> str:
    """The object as JSON.

    Args:
        obj: what to write: plain data, quantities, times, arrays.
        filename: also write the text and a newline into this file.
        append: add to the file instead of replacing it.
        **kwargs: options of `json.dumps`.

    Returns:
        The text.

    Raises:
        InvalidSerialization: the object holds something that has no text form.
    """
    try:
        text = json.dumps(obj, default=serialize_object, **kwargs)
    except (TypeError, ValueError) as error:
        raise InvalidSerialization(f"cannot write as JSON: {error}") from error
    if filename is not None:
        with Path(filename).open("a" if append else "w", encoding="utf-8") as stream:
            stream.write(text + "\n")
    return text


def from_json(msg: Union[str, bytes]) -> Any:
    """The object that the JSON text describes, with quantities and datetimes.

    Raises:
        InvalidDeserialization: the text is not JSON.
    """
    try:
        return deserialize_all_objects(json.loads(msg))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidDeserialization(f"not JSON: {error}") from error


def to_yaml(obj: Any, **kwargs: Any) -> Optional[str]:
    """The object as YAML; the object itself is left alone.

    Args:
        obj: what to write. What `from_yaml` gave keeps its comments and its order.
        **kwargs: `stream=` an open file to write into instead.

    Returns:
        The text, or None where it went into a stream.

    Raises:
        InvalidSerialization: the object holds something that has no text form.
    """
    plain = serialize_all_objects(deepcopy(obj))
    try:
        return _string_yaml()().dump(plain, **kwargs)
    except Exception as error:  # ruamel's representer errors share no base class across its versions
        raise InvalidSerialization(f"cannot write as YAML: {error}") from error


def from_yaml(msg: Union[str, bytes], parse: bool = True) -> Any:
    """The object that the YAML text describes.

    Args:
        msg: the text.
        parse: turn texts such as `45 deg` into quantities and ISO dates into datetimes.

    Raises:
        ruamel.yaml.error.YAMLError: the text is not YAML; the message gives line and column.
    """
    obj = _string_yaml()().load(msg)
    return deserialize_all_objects(obj) if parse else obj


def serialize_object(obj: Any) -> Any:
    """A JSON or YAML form of one object; what has one already is given back.

    Raises:
        InvalidSerialization: there is no such form.
    """
    if isinstance(obj, datetime):
        if obj.tzinfo is not None:
            obj = obj.astimezone(timezone.utc).replace(tzinfo=None)
        return obj.isoformat(timespec="milliseconds")
    if isinstance(obj, date):
        return obj.isoformat()
    if isinstance(obj, Path) or (isinstance(obj, type) and issubclass(obj, BaseException)):
        return str(obj)
    # An object of a package that nobody imported cannot be here: no need to import it to ask.
    units, times, numpy = (sys.modules.get(name) for name in ("astropy.units", "astropy.time", "numpy"))
    if units and isinstance(obj, units.Quantity):
        return _quantity_form(obj, units)
    if times and isinstance(obj, times.Time):
        return obj.utc.isot
    if numpy and isinstance(obj, numpy.ndarray):
        return obj.tolist()
    if numpy and isinstance(obj, numpy.generic):
        return obj.item()
    if isinstance(obj, _PLAIN):
        return obj
    raise InvalidSerialization(f"{type(obj).__name__} has no text form")


def serialize_all_objects(obj: Any) -> Any:
    """The same nested dicts and lists (changed in place) with every object in its text form."""
    if isinstance(obj, dict):
        for key, value in obj.items():
            obj[key] = serialize_all_objects(value)
    elif isinstance(obj, list):
        for index, value in enumerate(obj):
            obj[index] = serialize_all_objects(value)
    else:
        with suppress(InvalidSerialization):
            return serialize_object(obj)
    return obj


def deserialize_all_objects(obj: Any) -> Any:
    """The same nested dicts and lists (changed in place) with quantities and datetimes for their texts.

    `{"value": 5, "unit": "m"}` is a quantity too. Texts in lists are left as they are.
    """
    return _revived(obj, texts=True)


def _revived(obj: Any, texts: bool) -> Any:
    if isinstance(obj, dict):
        if set(obj) == {"value", "unit"}:
            return _quantity(obj)
        for key, value in obj.items():
            obj[key] = _revived(value, texts)
    elif isinstance(obj, list):
        for index, value in enumerate(obj):
            if isinstance(value, (dict, list)):
                obj[index] = _revived(value, texts=False)
    elif texts and isinstance(obj, str):
        if _QUANTITY.fullmatch(obj):
            return _quantity(obj)
        match = _DATE.fullmatch(obj) or _COMPACT_DATE.fullmatch(obj)
        if match:
            return _datetime(match)
    return obj


def _quantity_form(quantity: Any, units: Any) -> Any:
    """The text of a quantity, or a value-and-unit pair where a text would not be read as a quantity again."""
    unit = quantity.unit.to_string()
    try:
        known = units.Unit(unit) == quantity.unit
    except (TypeError, ValueError):
        known = False
    if not known:
        # A unit that readers may not have enabled, such as mile: the same in units that everybody has, where it can be.
        with suppress(TypeError, ValueError):
            quantity = quantity.si
        unit = quantity.unit.to_string()
    value = quantity.value
    if hasattr(value, "tolist"):  # of one number, older versions of astropy give Python's
        value = value.tolist()
    if unit in _TEXT_UNITS and isinstance(value, (int, float)):
        return f"{value} {unit}"
    return {"value": value, "unit": unit}


def _quantity(obj: Union[str, dict]) -> Any:
    """The quantity that a text or a value-and-unit pair names, else what was given."""
    if isinstance(obj, str):
        text, unit = obj.split()
        value: Any = float(text)
    else:
        value, unit = obj["value"], obj["unit"]
        if not isinstance(unit, str) or isinstance(value, bool) or not isinstance(value, (int, float, list)):
            return obj
    try:
        from astropy.units import Quantity

        return Quantity(value, unit, subok=True)
    except (ImportError, TypeError, ValueError):
        return obj


def _datetime(match: "re.Match[str]") -> Union[datetime, str]:
    """The datetime of an ISO text, else the text (for instance where the month is 13)."""
    part = match.groupdict()
    zone = part["zone"]
    iso = "{}-{}-{}T{}:{}:{}.{}{}".format(
        part["year"],
        part["month"],
        part["day"],
        part["hour"] or "00",
        part["minute"] or "00",
        part["second"] or "00",
        (part["fraction"] or "0").ljust(6, "0")[:6],
        "" if not zone else "+00:00" if zone == "Z" else f"{zone[:3]}:{zone[3:].lstrip(':') or '00'}",
    )
    try:
        return datetime.fromisoformat(iso)
    except ValueError:
        return match.string


def _string_yaml() -> Any:
    global StringYAML
    if "StringYAML" not in globals():
        from io import StringIO

        from ruamel.yaml import YAML

        class StringYAML(YAML):
            """ruamel's round-trip YAML, whose `dump` without a stream gives the text."""

            def __init__(self, **kwargs: Any) -> None:
                super().__init__(**kwargs)
                self.Composer = bounded_composer(_LEVELS)

            def dump(self, data: Any, stream: Any = None, **kwargs: Any) -> Optional[str]:
                if stream is not None:
                    super().dump(data, stream, **kwargs)
                    return None
                buffer = StringIO()
                super().dump(data, buffer, **kwargs)
                return buffer.getvalue()

    return globals()["StringYAML"]


def __getattr__(name: str) -> Any:
    # ruamel takes longer to import than all the rest: only who uses YAML pays for it.
    if name == "StringYAML":
        return _string_yaml()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
