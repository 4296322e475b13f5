"""Places as people type them: read as astropy reads them, or refused in one line with the reason."""

from __future__ import annotations

import importlib.util
import math
import random
import re
import warnings
import zoneinfo
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

PLUGINS = Path(__file__).parents[3] / "plugins"
SPELLINGS = 4000


def load(name: str):
    specification = importlib.util.spec_from_file_location(Path(name).stem, PLUGINS / name)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


place = load("filter/unit_place.py")


@pytest.mark.parametrize(
    "typed",
    ["-155.58 deg", "155.58 W", "155.58W", "155d34m48s W", "155°34'48\"W", "155° 34′ 48″ W", "155°34’48” W",
     "-155:34:48", "155:34:48 W", "155 34 48 W", "155d34.8m W", "204.42 deg", "204.42", "-155.58", -155.58,
     "−155.58 deg", "-155.58deg", "10h22m19.2s W", "-560088 arcsec", "+204.42 E"],
)  # fmt: skip
def test_every_spelling_of_a_longitude_is_served_in_one_form(typed):
    assert place.longitude(typed) == "-155.58 deg"


@pytest.mark.parametrize(
    ("check", "typed", "served"),
    [
        (place.latitude, "19:54:30", "19.908333333333335 deg"),
        (place.latitude, "19:54:30 S", "-19.908333333333335 deg"),
        (place.latitude, -34.05, "-34.05 deg"),
        (place.latitude, "90 S", "-90.0 deg"),
        (place.longitude, "180 E", "-180.0 deg"),
        (place.longitude, "-360", "0.0 deg"),
        (place.longitude, "179.99999999999999999999 deg", "-180.0 deg"),
        (place.longitude, "0 W", "0.0 deg"),
        (place.longitude, "0.1 arcsec", "0.000027777777778 deg"),
        (place.horizon, 30, "30 deg"),
        (place.horizon, "0.5 rad", "28.64788975654116 deg"),
        (place.horizon, None, None),
        (place.elevation, "34.3 m", "34.3 m"),
        (place.elevation, "3.4 km", "3400.0 m"),
        (place.elevation, "11155 ft", "3400.044 m"),
        (place.elevation, "3 kilometers", "3000.0 m"),
        (place.elevation, 120, "120 m"),
        (place.elevation, "-3m", "-3 m"),
    ],
)
def test_other_parts_of_a_place_too(check, typed, served):
    assert check(typed) == served


@pytest.mark.parametrize("typed", ["19.54 deg", "-6 deg", "30 deg", "+1.50 deg", "12. deg", ".5  deg", "1e1 deg"])
def test_what_is_served_already_stays_to_the_byte(typed):
    assert (place.latitude(typed), place.longitude(typed), place.horizon(typed)) == (typed, typed, typed)
    assert place.elevation(typed.replace("deg", "m")) == typed.replace("deg", "m")


@pytest.mark.parametrize(
    ("check", "typed", "reason"),
    [
        (place.longitude, "-155.58 W", "- and W are at odds: leave one of them out"),
        (place.longitude, "-155.58 E", "- and E are at odds: leave one of them out"),
        (place.latitude, "+34.05 S", "+ and S are at odds: leave one of them out"),
        (place.longitude, "155.58 N", "N does not belong to a longitude: it has E or W"),
        (place.latitude, "34.05 E", "E does not belong to a latitude: it has N or S"),
        (place.horizon, "30 N", "N does not belong to an altitude: it has no hemisphere"),
        (place.latitude, "95 deg", "a latitude is from -90 to 90 deg"),
        (place.longitude, "360.1", "a longitude is from -360 to 360 deg"),
        (place.longitude, "1e999 deg", "a longitude is from -360 to 360 deg"),
        (place.elevation, "34 km", "an elevation is from -500 to 9000 m"),
        (place.latitude, "34.05 s", "s may be south or seconds: write S, or arcsec"),
        (place.longitude, "150 m", "m may be metres or minutes: write arcmin"),
        (place.longitude, "155.58 w", "write a longitude, such as -155.58 deg, 155.58 W or 155d34m48s W"),
        (place.longitude, "155,58 W", "write a longitude, such as -155.58 deg, 155.58 W or 155d34m48s W"),
        (place.latitude, "19:61:00", "write a latitude, such as 19.54 deg, 19.54 N or 19d32m24s N"),
        (place.latitude, True, "write a latitude, such as 19.54 deg, 19.54 N or 19d32m24s N"),
        (place.latitude, None, "write a latitude, such as 19.54 deg, 19.54 N or 19d32m24s N, or take the line out"),
        (place.longitude, float("nan"), "write a longitude, such as -155.58 deg, 155.58 W or 155d34m48s W"),
        (place.elevation, "high", "write an elevation, such as 3400 m, 3.4 km or 11155 ft"),
        (place.elevation, "30 deg", "write an elevation, such as 3400 m, 3.4 km or 11155 ft"),
        (place.time_zone, "Mars/Phobos", "no such time zone: write it as Australia/Sydney"),
        (place.time_zone, "US/Hawai", "no such time zone: did you mean US/Hawaii?"),
        (place.time_zone, "", "no such time zone: write it as Australia/Sydney"),
    ],
)
def test_what_is_no_place_is_refused_with_the_reason(check, typed, reason):
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        check(typed)


@pytest.mark.parametrize("typed", ["19:54:30", "-155:34:48", "1:35", "359:59:59"])
def test_colons_that_yaml_has_counted_are_told_as_they_were_typed(typed):
    value = yaml.safe_load(typed)
    assert isinstance(value, int)
    with pytest.raises(ValueError, match=f"if you typed {typed}, put it in quotes"):
        place.latitude(value)


# Units that astropy's Angle or Quantity reads in its own way, or not at all, are in tests of their own.
WORDS = ("arcminute", "arcsecond", "degree", "radian", "cy", "hourangle", "µ", "μ", "º", "’", "”")
UNITS = [unit for unit in place.ANGLES if unit in ("degree", "degrees") or not any(word in unit for word in WORDS)]


def number(chance: random.Random) -> str:
    return chance.choice(
        [
            str(chance.randint(0, 400)),
            f"{chance.uniform(0, 400):.{chance.randint(0, 8)}f}",
            f"{chance.randint(0, 400)}.",
            f".{chance.randint(0, 999)}",
            f"{chance.uniform(0, 9):.3f}e{chance.randint(-3, 2)}",
            f"{chance.randint(1, 9)}e{chance.choice(['', '+', '-'])}{chance.randint(0, 2)}",
        ]
    )


def spelling(chance: random.Random) -> str:
    """An angle with its parts, signs, units and letters drawn by chance; every other one with a typing error."""

    def blank() -> str:
        return chance.choice(["", "", " ", "  "])

    def part() -> str:
        whole, fine = str(chance.randint(0, 64)), f"{chance.uniform(0, 60):.{chance.randint(0, 5)}f}"
        return chance.choice([whole, fine])

    minutes = chance.choice(["m", "min", "minutes", "'", "′", "ᵐ"]) + blank()
    seconds = chance.choice(["s", "sec", "seconds", '"', "″", "ˢ"])
    degrees = chance.choice(["d", "deg", "degrees", "°", "h", "hours", "ʰ"]) + blank()
    colon = chance.choice([":", ":", " ", " : "])
    whole = str(chance.randint(0, 200))
    body = chance.choice(
        [
            number(chance) + blank() + chance.choice(["", "", *UNITS]),
            whole + colon + part() + chance.choice(["", colon + part()]) + chance.choice(["", "", " deg", "h"]),
            whole + blank() + degrees + part() + blank() + chance.choice(["", minutes]),
            whole + blank() + degrees + part() + blank() + minutes + part() + blank() + chance.choice(["", seconds]),
        ]
    )
    text = chance.choice(["", "", "-", "+", "−", "- "]) + body + chance.choice(["", blank() + chance.choice("NSEW")])
    if chance.random() < 0.5:
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(["", *"0159.:+-eEWSNdmsh °'\"x,/*^"]) + text[at + chance.randint(0, 1) :]
    return text.strip()


def as_astropy_reads(text: str) -> float | None:
    """Degrees, or None; a plain number is degrees."""
    units = pytest.importorskip("astropy.units", reason="astropy is not installed here")
    coordinates = pytest.importorskip("astropy.coordinates")
    # Angle takes an exponent behind a point only, Quantity everywhere.
    pointed = re.sub(r"^([-+−]?\s*\d+)(?=[eE])", r"\1.", text)
    try:
        found = float(coordinates.Angle(pointed, unit=units.deg).deg)
        return found if math.isfinite(found) else None
    except ValueError:
        pass
    # Quantity counts units of units, too: 15 63 arcmin, 3N00ʰ.
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*([^\W\d]*|[°′″])", text):
        return None
    try:
        return float(units.Quantity(text).to_value(units.deg))
    except (TypeError, ValueError):
        return None


def told(check, text: str) -> tuple[float | None, str]:
    try:
        return place.degrees(check(text)), ""
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
        return None, str(error)


@pytest.mark.parametrize(("check", "turn", "bound"), [(place.latitude, 0, 90), (place.longitude, 360, 360)])
def test_some_thousand_spellings_are_read_as_astropy_reads_them(check, turn, bound):
    chance = random.Random(20_180_101)
    read = refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy warns of 60 minutes, and reads them
        for _ in range(SPELLINGS):
            text = spelling(chance)
            theirs = as_astropy_reads(text)
            ours, reason = told(check, text)
            if ours is not None:
                assert theirs is not None, f"{text!r} is {ours} here, and nothing to astropy"
                apart = abs(ours - theirs) % (turn or 1000)
                assert min(apart, (turn or 1000) - apart) < 1e-9, f"{text!r} is {ours} here, and {theirs} to astropy"
                assert (-180 <= ours < 180) if turn else (-90 <= ours <= 90)
                read += 1
            elif theirs is None:
                refused += 1
            elif reason.startswith(("a latitude is from", "a longitude is from")):
                assert abs(theirs) > bound, f"{text!r} is {theirs} to astropy, and refused here: {reason}"
            else:
                # What astropy reads in a way that a person may not have meant.
                assert "are at odds" in reason or "does not belong" in reason or " may be " in reason, (text, reason)
    assert min(read, refused) > SPELLINGS / 20, (read, refused)


def test_every_name_of_a_unit_is_as_large_as_astropy_has_it():
    units = pytest.importorskip("astropy.units", reason="astropy is not installed here")
    from astropy.units import imperial

    # Names that are another unit elsewhere: days, hours, minutes and seconds of time, metres.
    of_time = {"d", "h", "hr", "hour", "hours", "m", "min", "minute", "s", "sec", "second"}
    seen = 0
    with imperial.enable():
        for table, base in ((place.ANGLES, units.deg), (place.LENGTHS, units.m)):
            for name, size in table.items():
                try:
                    theirs = float(units.Unit(name).to(base)) if name and name not in of_time - {"m"} else None
                except (ValueError, units.UnitConversionError):
                    continue
                if theirs is not None:
                    assert float(size) == pytest.approx(theirs, rel=1e-12), name
                    seen += 1
    assert seen > 150


def test_all_angles_of_astropy_have_their_names_here():
    units = pytest.importorskip("astropy.units", reason="astropy is not installed here")
    equivalent = units.radian.find_equivalent_units(include_prefix_units=True)
    assert {name for unit in equivalent for name in unit.names} <= set(place.ANGLES)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(),
    st.text("0123456789.:+-eNSEWdmshkft °'\"", max_size=20), st.dates(), st.lists(st.integers()), st.binary(),
    st.floats(0, 360).map("{} E".format), st.floats(0, 90).map("{} S".format), st.floats(0, 10).map("{} km".format),
)  # fmt: skip


@settings(deadline=None, max_examples=500)
@given(value=VALUES)
def test_anything_is_served_in_its_form_or_refused_in_one_line(value):
    for key, check in place.CHECKS.items():
        try:
            served = check(value)
        except ValueError as error:
            assert str(error) and "\n" not in str(error)
            continue
        assert check(served) == served
        if served is not None and key not in ("timezone",):
            assert re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s+(deg|m)", served, re.ASCII)


@settings(deadline=None, max_examples=300)
@given(latitude=VALUES, longitude=VALUES, elevation=VALUES, horizon=VALUES)
def test_config_server_takes_whatever_is_not_refused(latitude, longitude, elevation, horizon):
    pytest.importorskip("pydantic_core")
    from panoptes_utils.config.model import problems

    typed = {"latitude": latitude, "longitude": longitude, "elevation": elevation, "horizon": horizon}
    good = {key: value for key, value in typed.items() if key not in place.problems(typed)}
    assert problems(place.unit_placed({"location": good})) == []


DEFAULTS = {"latitude": "19.54 deg", "longitude": "-155.58 deg", "timezone": "US/Hawaii", "gmt_offset": -600}


def test_location_in_part_keeps_the_other_defaults_behind_its_own_lines():
    found = place.unit_placed({"name": "x", "location": {"longitude": "155.58 W", "mine": [1]}}, DEFAULTS)
    assert list(found["location"].items()) == [
        ("longitude", "-155.58 deg"),
        ("mine", [1]),
        ("latitude", "19.54 deg"),
        ("timezone", "US/Hawaii"),
        ("gmt_offset", -600),
    ]


def test_offset_follows_a_zone_that_is_given_without_one():
    assert place.unit_placed({"location": {"timezone": "Australia/Sydney"}}, DEFAULTS)["location"]["gmt_offset"] == 600
    given_both = {"timezone": "Australia/Sydney", "gmt_offset": 1}
    assert place.unit_placed({"location": given_both}, DEFAULTS)["location"]["gmt_offset"] == 1


def test_configuration_without_a_location_has_none_afterwards():
    assert place.unit_placed({"name": "x"}, DEFAULTS) == {"name": "x"}


def test_longitude_of_no_location_is_greenwich():
    assert (place.unit_longitude({}), place.unit_longitude({}, DEFAULTS)) == (0.0, -155.58)


def real_places() -> list:
    """(zone, longitude in degrees) of the towns that zones are named after."""
    table = next((path for folder in zoneinfo.TZPATH if (path := Path(folder, "zone1970.tab")).is_file()), None)
    if table is None:
        pytest.skip("this machine has no zone1970.tab")
    rows = [row.split("\t") for row in table.read_text(encoding="utf-8").splitlines() if not row.startswith("#")]
    towns = []
    for _, coordinates, zone, *_ in rows:
        sign, degrees, minutes = re.fullmatch(r"[-+]\d+([-+])(\d{3})(\d\d)\d*", coordinates).groups()
        towns.append((zone.strip(), f"{sign}{int(degrees)}:{minutes}"))
    return towns


def test_no_town_is_doubted_and_every_town_is_half_way_round_the_world():
    towns = [town for town in real_places() if not town[0].startswith("Antarctica/")]
    assert len(towns) > 200
    for zone, longitude in towns:
        assert place.doubts({"timezone": zone, "longitude": longitude}) == []
        opposite = place.degrees(place.longitude(longitude))
        opposite += -180 if opposite > 0 else 180
        (line,) = place.doubts({"timezone": zone, "longitude": opposite})
        assert zone in line


def test_zone_that_belongs_to_no_place_may_be_used_anywhere():
    for zone in ("Etc/UTC", "UTC", "Antarctica/Troll", None):
        assert place.doubts({"timezone": zone, "longitude": "155.58 W"}) == []


def test_older_name_of_a_zone_is_known_where_its_file_is_not_installed(tmp_path, monkeypatch):
    """As on Debian 13 without tzdata-legacy: the shipped default is such a name."""
    (tmp_path / "tzdata.zi").write_text("# version 2025b\nL Pacific/Honolulu US/Hawaii\n")
    monkeypatch.setattr(zoneinfo, "TZPATH", (str(tmp_path),))
    real = zoneinfo.ZoneInfo

    def without_legacy(name: str):
        if name.startswith("US/"):
            raise zoneinfo.ZoneInfoNotFoundError(name)
        return real(name)

    monkeypatch.setattr(zoneinfo, "ZoneInfo", without_legacy)
    fresh = load("filter/unit_place.py")
    assert (fresh.time_zone("US/Hawaii"), fresh.standard_offset_minutes("US/Hawaii")) == ("US/Hawaii", -600)
    with pytest.raises(ValueError, match="no such time zone"):
        fresh.time_zone("US/Nowhere")


def test_machine_without_zones_refuses_none(monkeypatch):
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    assert place.time_zone("Some/Where") == "Some/Where"
