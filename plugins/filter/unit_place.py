"""Where a unit stands: what people type, in the one form that the config server serves; filters that hand it on.

The spellings are those of astropy's `Angle` and `Quantity`, which a controller does not have: `155.58 W`,
`155d34m48s W`, `-155:34:48`, `3.4 km`. The lookup `unit_settings` and scripts/settings.py use this file too, so that
there is one reading.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
import zoneinfo
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

# Longer is no place, and would take time to count.
LONGEST = 100
ELEVATIONS_M = (-500, 9000)
# Hours by which a zone's standard time may be ahead of the sun's: from -1.1 in the Brazilian islands to 3.1 in the west
# of China.
ZONE_AHEAD_H = (-2, 3.5)

PREFIXES = {
    "Q": ("quetta", 30), "R": ("ronna", 27), "Y": ("yotta", 24), "Z": ("zetta", 21), "E": ("exa", 18),
    "P": ("peta", 15), "T": ("tera", 12), "G": ("giga", 9), "M": ("mega", 6), "k": ("kilo", 3), "h": ("hecto", 2),
    "da": ("deca", 1), "": ("", 0), "d": ("deci", -1), "c": ("centi", -2), "m": ("milli", -3), "u": ("micro", -6),
    "µ": ("micro", -6), "μ": ("micro", -6), "n": ("nano", -9), "p": ("pico", -12), "f": ("femto", -15),
    "a": ("atto", -18), "z": ("zepto", -21), "y": ("yocto", -24), "r": ("ronto", -27), "q": ("quecto", -30),
}  # fmt: skip


def _prefixed(short: str, *words: str, size: Fraction) -> dict[str, Fraction]:
    """The names of a unit with every prefix, and how much each is."""
    found = {}
    for prefix, (long, exponent) in PREFIXES.items():
        found[prefix + short] = size * Fraction(10) ** exponent
        for before in (long, "deka") if long == "deca" else (long,):
            found |= {f"{before}{word}{plural}": found[prefix + short] for word in words for plural in ("", "s")}
    return found


# In degrees.
MINUTE = Fraction(1, 60)
SECOND = Fraction(1, 3600)
HOUR = Fraction(15)
HOURS = ("h", "hr", "hour", "hours", "ʰ")
# Name of a unit -> degrees.
ANGLES = {
    **_prefixed("deg", "degree", size=Fraction(1)),
    **_prefixed("rad", "radian", size=180 / Fraction(math.pi)),
    **_prefixed("arcmin", "arcminute", size=MINUTE),
    **_prefixed("arcsec", "arcsecond", size=SECOND),
    **{"mas": SECOND / 10**3, "uas": SECOND / 10**6, "µas": SECOND / 10**6, "μas": SECOND / 10**6},
    **{"cy": Fraction(360), "cycle": Fraction(360), "hourangle": HOUR},
    **dict.fromkeys(("", "d", "°", "º"), Fraction(1)),
    **dict.fromkeys(HOURS, HOUR),
    **dict.fromkeys(("m", "min", "minute", "minutes", "'", "′", "’", "ᵐ"), MINUTE),
    **dict.fromkeys(("s", "sec", "second", "seconds", '"', "″", "”", "ˢ"), SECOND),
}
# Name of a unit -> metres.
LENGTHS = {
    **_prefixed("m", "meter", "metre", size=Fraction(1)),
    **{"": Fraction(1), "micron": Fraction(1, 10**6)},
    **dict.fromkeys(("inch", "inches"), Fraction("0.0254")),
    **dict.fromkeys(("ft", "foot", "feet"), Fraction("0.3048")),
    **dict.fromkeys(("yd", "yard", "yards"), Fraction("0.9144")),
    **dict.fromkeys(("mi", "mile", "miles"), Fraction("1609.344")),
    **dict.fromkeys(("nmi", "NM"), Fraction(1852)),
}

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?"
# Of minutes and seconds: after a whole number, e would not be an exponent to astropy.
_PART = r"(?:(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d{1,3})?|\d+)"
_UNIT = r"[^\W\d_]*?|['′’\"″”°]"
_LETTER = r"(?P<letter>[NSEW]?)"
# 155.58 or 155:34:48 or 155 34 48, then a unit, then the hemisphere.
_COUNTED = re.compile(
    rf"(?P<sign>[-+]?)\s*(?:(?P<whole>\d+)(?:(?P<colon>\s*:\s*)|\s+)(?P<minutes>{_PART})"
    rf"(?:(?(colon)\s*:\s*|\s+)(?P<seconds>{_PART}))?|(?P<number>{_NUMBER}))\s*(?P<unit>{_UNIT})\s*{_LETTER}"
)
# 155d34m48s
_NAMED = re.compile(
    rf"(?P<sign>[-+]?)\s*(?P<whole>\d+)\s*(?P<unit>d(?:eg(?:rees?)?)?|°|º|h(?:r|ours?)?|ʰ)\s*(?P<minutes>{_PART})\s*"
    rf"(?:(?:m(?:in(?:utes?)?)?|['′’ᵐ])\s*(?:(?P<seconds>{_PART})\s*(?:s(?:ec(?:onds?)?)?|[\"″”ˢ]|''|’’|′′)?)?)?"
    rf"\s*{_LETTER}"
)
_LENGTH = re.compile(rf"(?P<sign>[-+]?)\s*(?P<number>{_NUMBER})\s*(?P<unit>[^\W\d_]*)")
# What every reader of the configuration takes as it stands.
_SERVED = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)

LATITUDES = "19.54 deg, 19.54 N or 19d32m24s N"
LONGITUDES = "-155.58 deg, 155.58 W or 155d34m48s W"
HORIZONS = "30 deg"
ELEVATIONS = "3400 m, 3.4 km or 11155 ft"


def latitude(value: object) -> str:
    """A latitude as the config server serves it, `19.54 deg`; a plain number is degrees.

    Raises:
        ValueError: it is none; the reason goes behind the value.
    """
    found, plain = _angle(value, "a latitude", LATITUDES, {"N": 1, "S": -1})
    if not -90 <= found <= 90:
        raise ValueError(f"a latitude is from -90 to 90 deg{_colons(value)}")
    return plain or _written(found, "deg")


def longitude(value: object) -> str:
    """A longitude in [-180, 180), east positive, as the config server serves it: `-155.58 deg`; see `latitude`."""
    found, plain = _angle(value, "a longitude", LONGITUDES, {"E": 1, "W": -1})
    if not -360 <= found <= 360:
        raise ValueError(f"a longitude is from -360 to 360 deg{_colons(value)}")
    if -180 <= float(found) < 180:
        return plain or _written(found, "deg")
    wrapped = (found + 180) % 360 - 180
    return _written(wrapped if float(wrapped) < 180 else Fraction(-180), "deg")


def horizon(value: object) -> str | None:
    """An altitude, `30 deg`, or nothing; see `latitude`."""
    if value is None:
        return None
    found, plain = _angle(value, "an altitude", HORIZONS, {})
    if not -90 <= found <= 90:
        raise ValueError(f"an altitude is from -90 to 90 deg{_colons(value)}")
    return plain or _written(found, "deg")


def elevation(value: object) -> str:
    """An elevation as the config server serves it, `3400.0 m`; a plain number is metres.

    Raises:
        ValueError: it is none; the reason goes behind the value.
    """
    text = _text(value, "an elevation", ELEVATIONS)
    match = _LENGTH.fullmatch(text)
    if not match or match["unit"] not in LENGTHS:
        raise ValueError(f"write an elevation, such as {ELEVATIONS}")
    found = Fraction(match["sign"] + match["number"]) * LENGTHS[match["unit"]]
    low, high = ELEVATIONS_M
    if not low <= found <= high:
        raise ValueError(f"an elevation is from {low} to {high} m")
    return _as_typed(text, match, "m") or _written(found, "m")


def time_zone(value: object) -> str | None:
    """The name of a time zone that there is, or nothing.

    Raises:
        ValueError: there is no such zone; the reason goes behind the value.
    """
    if value is None:
        return None
    name = str(value).strip()
    known = zoneinfo.available_timezones() if _zone(name) is None else set()
    # A machine without any zones cannot tell.
    if known:
        near = difflib.get_close_matches(name, sorted(known | set(_links())), n=1)
        raise ValueError(f"no such time zone: {f'did you mean {near[0]}?' if near else 'write it as Australia/Sydney'}")
    return name


def standard_offset_minutes(zone: str) -> int:
    """How far a zone is from UTC when it is not summer there.

    Raises:
        ValueError: this machine does not know the zone.
    """
    known = _zone(zone)
    if known is None:
        raise ValueError("this machine does not know that time zone: install tzdata")
    now = datetime(2026, 1, 1, tzinfo=known)
    offset = (now.utcoffset() or timedelta()) - (now.dst() or timedelta())
    return round(offset.total_seconds() / 60)


CHECKS: dict[str, Callable[[object], str | None]] = {
    "latitude": latitude,
    "longitude": longitude,
    "elevation": elevation,
    **dict.fromkeys(("horizon", "flat_horizon", "focus_horizon", "observe_horizon"), horizon),
    "timezone": time_zone,
}


def problems(location: Mapping) -> dict[str, str]:
    """What is wrong with a location: key -> reason."""
    found = {}
    for key, value in location.items():
        try:
            CHECKS.get(key, str)(value)
        except ValueError as error:
            found[key] = str(error)
    return found


def doubts(location: Mapping) -> list[str]:
    """What is odd about a location without problems, though it may be meant: a sentence for each."""
    zone, where = location.get("timezone"), location.get("longitude")
    # A zone without a place, such as Etc/UTC, may be used anywhere, and in Antarctica they are chosen freely.
    if not zone or where is None or "/" not in str(zone) or str(zone).startswith(("Etc/", "Antarctica/")):
        return []
    if _zone(str(zone)) is None:
        return []
    ahead_h = standard_offset_minutes(str(zone)) / 60 - degrees(longitude(where)) / 15
    # Which day it is does not matter: the date line leaves the middle of the ocean for some islands.
    ahead_h = (ahead_h + 12) % 24 - 12
    if ZONE_AHEAD_H[0] <= ahead_h <= ZONE_AHEAD_H[1]:
        return []
    return [f"timezone is {zone}, which is {abs(ahead_h):.1f} h from the sun's time at longitude {where}: check both."]


def completed(location: Mapping, defaults: Mapping) -> dict:
    """A location that is given in part, with the defaults of the other keys behind what is given."""
    found = dict(location.items())  # Ansible evaluates the templates in a dictionary where items() is asked
    zone = found.get("timezone")
    if zone and "gmt_offset" not in found and "gmt_offset" in defaults and _zone(str(zone)) is not None:
        found["gmt_offset"] = standard_offset_minutes(str(zone))
    return found | {key: value for key, value in defaults.items() if key not in found}


def degrees(text: str) -> float:
    """The number of an angle as the config server serves it."""
    return float(text.removesuffix("deg"))


def unit_placed(configuration: Mapping, defaults: Mapping | None = None) -> dict:
    """A configuration whose `location`, if there is one, is complete and in the form that is served.

    Raises:
        ValueError: it is no location; the lookup unit_settings has said so before.
    """
    result = dict(configuration.items())
    if "location" not in result:
        return result
    location = result["location"]
    if not isinstance(location, Mapping):
        raise ValueError(f"location is {location!r}: write its lines, such as latitude and longitude")
    whole = completed(location, defaults or {})
    wrong = [f"location.{key} is {whole[key]!r}: {reason}" for key, reason in problems(whole).items()]
    if wrong:
        raise ValueError("; ".join(wrong))
    result["location"] = {key: CHECKS[key](value) if key in CHECKS else value for key, value in whole.items()}
    return result


def unit_longitude(location: Mapping, defaults: Mapping | None = None) -> float:
    """Degrees in [-180, 180), east positive; 0 where no longitude is known."""
    return degrees(longitude(completed(location, defaults or {}).get("longitude", 0)))


def _text(value: object, kind: str, examples: str) -> str:
    """What was typed, as text; numbers as YAML makes them of it."""
    if value is None:
        raise ValueError(f"write {kind}, such as {examples}, or take the line out")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # No number of YAML with more digits is near a place, and Python would refuse to write it.
    if isinstance(value, int) and value.bit_length() > 64:
        raise ValueError(f"write {kind}, such as {examples}")
    text = str(value).strip().replace("−", "-")
    if not (number or isinstance(value, str)) or len(text) > LONGEST:
        raise ValueError(f"write {kind}, such as {examples}")
    return text


def _angle(value: object, kind: str, examples: str, letters: Mapping[str, int]) -> tuple[Fraction, str]:
    """Degrees, and the text that is served if it is what was typed, apart from a missing unit."""
    text = _text(value, kind, examples)
    match = _NAMED.fullmatch(text) or _COUNTED.fullmatch(text)
    if not match or not _whole_parts(match):
        raise ValueError(f"write {kind}, such as {examples}")
    sign, letter, unit = match["sign"], match["letter"], match["unit"]
    if letter and letter not in letters:
        belongs = f"it has {' or '.join(letters)}" if letters else "it has no hemisphere"
        raise ValueError(f"{letter} does not belong to {kind}: {belongs}")
    if letter and (sign == "-" or (sign == "+" and letters[letter] < 0)):
        raise ValueError(f"{sign} and {letter} are at odds: leave one of them out")
    if unit in ("m", "s") and match.re is _COUNTED:
        meant = {"m": "metres or minutes: write arcmin", "s": "south or seconds: write S, or arcsec"}[unit]
        raise ValueError(f"{unit} may be {meant}")
    if unit not in ANGLES or (letter in ("N", "S") and unit in HOURS):
        raise ValueError(f"write {kind}, such as {examples}")
    found = _sum(match) * ANGLES[unit]
    return (-found if sign == "-" or letters.get(letter) == -1 else found), _as_typed(text, match, "deg")


def _whole_parts(match: re.Match) -> bool:
    """Whether only the last part has a fraction, and none of them is more than there is room for."""
    minutes, seconds = match["minutes"], match["seconds"]
    if minutes is None:
        return True
    if seconds is not None and (not minutes.isdecimal() or Fraction(seconds) > 60):
        return False
    return Fraction(minutes) <= 60 and (match["unit"] not in HOURS or int(match["whole"]) <= 24)


def _sum(match: re.Match) -> Fraction:
    if match["minutes"] is None:
        return Fraction(match["number"])
    return Fraction(match["whole"]) + Fraction(match["minutes"]) * MINUTE + Fraction(match["seconds"] or 0) * SECOND


def _as_typed(text: str, match: re.Match, unit: str) -> str:
    """The text as it is served, if it is a number with this unit or none: its digits stay. Empty if it is not."""
    groups = match.groupdict()
    number = f"{groups['sign']}{groups.get('number')}"
    if groups.get("letter") or not _SERVED.fullmatch(number):
        return ""
    if re.fullmatch(rf"{re.escape(number)}\s+{unit}", text):
        return text
    return f"{number} {unit}" if groups["unit"] in ("", unit, "°" if unit == "deg" else unit) else ""


def _written(value: Fraction, unit: str) -> str:
    # An atom's width, in either unit, is near enough; and no -0.0.
    return f"{Decimal(repr(round(float(value), 15) + 0.0)):f} {unit}"


def _colons(value: object) -> str:
    """The advice for a number that YAML has made of `19:54:30`, which it counts in sixtieths."""
    if isinstance(value, str) or not isinstance(value, (int, float)) or not 60 <= abs(value) <= 360 * 3600:
        return ""
    minutes, seconds = divmod(abs(int(value)), 60)
    parts = [*divmod(minutes, 60), seconds] if minutes >= 60 else [minutes, seconds]
    typed = ("-" if value < 0 else "") + ":".join([str(parts[0]), *(f"{part:02}" for part in parts[1:])])
    return f"; if you typed {typed}, put it in quotes, for YAML makes this number of it"


def _zone(name: str) -> zoneinfo.ZoneInfo | None:
    """A time zone by its name of today, or by one of before that this machine still knows of."""
    for candidate in (name, _links().get(name, "")):
        try:
            return zoneinfo.ZoneInfo(candidate)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return None


@functools.cache
def _links() -> dict[str, str]:
    """Older name of a zone -> today's. Debian 13 installs US/Hawaii and its like only with tzdata-legacy."""
    for folder in zoneinfo.TZPATH:
        try:
            lines = Path(folder, "tzdata.zi").read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        return {line.split()[2]: line.split()[1] for line in lines if line.startswith("L ")}
    return {}


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict:
        """Name -> function."""
        return {"unit_placed": unit_placed, "unit_longitude": unit_longitude}
