"""JSON and YAML of what a unit's programs hand around."""

import json
import subprocess
import sys
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptes_utils.error import InvalidDeserialization, InvalidSerialization
from panoptes_utils.serializers import (
    StringYAML,
    deserialize_all_objects,
    from_json,
    from_yaml,
    serialize_all_objects,
    to_json,
    to_yaml,
)

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(plain)
def test_plain_data_come_back(data):
    if isinstance(data, dict) and set(data) == {"value", "unit"}:
        return
    assert from_json(to_json(data)) == data


def test_quantities_and_times_become_text():
    units = pytest.importorskip("astropy.units")
    times = pytest.importorskip("astropy.time")
    numpy = pytest.importorskip("numpy")
    text = to_json(
        {
            "latitude": 30 * units.deg,
            "time": times.Time("2020-01-01"),
            "datetime": datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=-10))),
            "date": date(2020, 1, 1),
            "array": numpy.arange(3),
            "number": numpy.int64(5),
            "kind": ValueError,
        }
    )
    assert json.loads(text) == {
        "latitude": "30.0 deg",
        "time": "2020-01-01T00:00:00.000",
        "datetime": "2020-01-01T10:00:00.000",
        "date": "2020-01-01",
        "array": [0, 1, 2],
        "number": 5,
        "kind": "<class 'ValueError'>",
    }


def test_texts_with_units_become_quantities():
    units = pytest.importorskip("astropy.units")
    read = from_json('{"a": "30 deg", "b": "1.5 m", "c": {"value": 5, "unit": "km"}, "d": {"e": "-2e1 s"}}')
    assert read == {"a": 30 * units.deg, "b": 1.5 * units.m, "c": 5 * units.km, "d": {"e": -20 * units.s}}
    assert all(isinstance(value, units.Quantity) for value in (read["a"], read["b"], read["c"]))


@given(st.data())
def test_a_quantity_comes_back_in_every_unit(data):
    units = pytest.importorskip("astropy.units")
    known = st.sampled_from(sorted(units.get_current_unit_registry().all_units, key=str))
    unit = data.draw(known | st.tuples(known, known).map(lambda two: two[0] / two[1] ** 2))
    number = st.floats(allow_nan=False)
    value = data.draw(number | st.lists(number, min_size=1, max_size=3))
    sent = units.Quantity(value, unit)
    for read in (from_json(to_json({"x": sent})), from_yaml(to_yaml({"x": sent}))):
        assert read["x"].unit == unit
        assert read["x"].value.tolist() == value
    assert from_json(to_json({"x": [units.Quantity(1.5, "km")]})) == {"x": [1.5 * units.km]}


def test_a_unit_that_is_not_enabled_comes_back_in_one_that_is():
    units = pytest.importorskip("astropy.units")
    from astropy.units import imperial

    read = from_json(to_json({"x": 5 * imperial.mile, "y": 3 * units.mag(units.ST), "z": 2 * units.def_unit("widget")}))
    assert read["x"].to_value("m") == pytest.approx(8046.72)
    assert read["y"] == 3 * units.mag(units.ST)
    assert read["z"] == {"value": 2.0, "unit": "widget"}


@pytest.mark.parametrize(
    "pair", [{"value": 5, "unit": None}, {"value": "5", "unit": "m"}, {"value": True, "unit": "m"}]
)
def test_a_pair_that_is_no_number_and_unit_stays_a_dict(pair):
    assert from_json(to_json({"x": pair})) == {"x": pair}


@pytest.mark.parametrize("text", ["5 min", "10 km", "42", "deg", "abc deg", "30deg", "2020-13-01", "20200132", "1:2"])
def test_other_text_stays_text(text):
    assert from_json(json.dumps({"x": text})) == {"x": text}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2019-01-01", datetime(2019, 1, 1)),
        ("20190102T030405", datetime(2019, 1, 2, 3, 4, 5)),
        ("2019-01-02 03:04:05.678", datetime(2019, 1, 2, 3, 4, 5, 678000)),
        ("2019-01-02T03:04:05Z", datetime(2019, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
        ("2019-01-02T03:04+0530", datetime(2019, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=5, minutes=30)))),
    ],
)
def test_iso_dates_become_datetimes(text, moment):
    assert from_json(json.dumps(text)) == moment


@pytest.mark.parametrize(
    "serial",
    ["20160812", "0012", "2016", "2016-08", "201608121234", "20160812 1234", "20160812T12", "2016T12", "2016-08-12 12"],
)
@pytest.mark.parametrize(
    "read", [lambda text: from_json(json.dumps({"sn": text})), lambda text: from_yaml(f"sn: '{text}'")]
)
def test_a_serial_number_stays_the_text_that_it_is(read, serial):
    assert read(serial) == {"sn": serial}


@given(st.text("0123456789-:. T", min_size=1, max_size=20))
def test_only_a_whole_date_becomes_a_datetime(text):
    read = from_json(to_json({"sn": text}))["sn"]
    if read != text:
        digits = "".join(each for each in text if each.isdigit())
        assert isinstance(read, datetime)
        assert read.strftime("%Y%m%d%H%M%S").startswith(digits[:14])
        assert text.count("-") >= 2 or "T" in text


@given(st.datetimes(min_value=datetime(1900, 1, 1)))
def test_datetimes_come_back_to_the_millisecond(moment):
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert from_json(to_json({"t": moment}))["t"] == moment


def test_lists_are_left_alone_and_bad_units_stay_a_dict():
    assert from_json('[["30 deg"]]') == [["30 deg"]]
    assert from_json('{"value": 5, "unit": "nonsense"}') == {"value": 5, "unit": "nonsense"}


def test_what_has_no_text_form_is_refused_by_name():
    with pytest.raises(InvalidSerialization, match="object has no text form"):
        to_json({"x": object()})
    with pytest.raises(InvalidDeserialization):
        from_json("{broken")
    with pytest.raises(InvalidDeserialization):
        from_json(None)


def test_json_goes_into_a_file(tmp_path):
    path = tmp_path / "log.json"
    to_json({"a": 1}, filename=path)
    to_json({"a": 2}, filename=path)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"a": 1}, {"a": 2}]
    to_json({"a": 3}, filename=path, append=False)
    assert path.read_text() == '{"a": 3}\n'


def test_yaml_keeps_comments_and_order_and_the_object():
    text = "# the unit\nname: Test  # said so\nlatitude: 19.5\nb: 1\na: 2\n"
    tree = from_yaml(text)
    assert to_yaml(tree) == text
    changed = {"t": datetime(2020, 1, 1), "list": [date(2020, 1, 1)]}
    assert to_yaml(changed) == "t: '2020-01-01T00:00:00.000'\nlist:\n- '2020-01-01'\n"
    assert changed["t"] == datetime(2020, 1, 1)


def test_yaml_parses_on_request():
    units = pytest.importorskip("astropy.units")
    assert from_yaml("latitude: 45 deg")["latitude"] == 45 * units.deg
    assert from_yaml("latitude: 45 deg", parse=False)["latitude"] == "45 deg"


def test_yaml_writes_into_a_stream(tmp_path):
    with (tmp_path / "x.yaml").open("w") as stream:
        assert to_yaml({"a": 1}, stream=stream) is None
    assert (tmp_path / "x.yaml").read_text() == "a: 1\n"
    assert StringYAML().dump({"a": 1}) == "a: 1\n"


def test_functions_for_whole_trees():
    assert serialize_all_objects({"a": [datetime(2020, 1, 1)]}) == {"a": ["2020-01-01T00:00:00.000"]}
    assert deserialize_all_objects({"a": {"b": "2020-01-01"}}) == {"a": {"b": datetime(2020, 1, 1)}}


def test_astropy_is_loaded_only_for_quantities():
    program = (
        "import sys; from panoptes_utils.serializers import from_json, to_json;"
        "from_json(to_json({'a': 1, 't': '2020-01-01', 'x': '10 km'}));"
        "assert not {'astropy', 'numpy', 'ruamel', 'loguru'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("opens", ["[", "{", "- ", "a: [", "? "])
def test_yaml_that_is_nested_without_end_is_no_yaml(opens):
    from ruamel.yaml.error import YAMLError

    with pytest.raises(YAMLError, match="levels deep|expected"):
        from_yaml(opens * 1000)
