"""What programs ask of panoptes-utils, as expressions that can be asked of upstream's modules and of ours.

`record_upstream.py` asks upstream, once; tests/fast/panoptes_utils/test_upstream.py asks ours. This file is read by
both, so it imports nothing of either.
"""

import inspect
import os
from datetime import date, datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path

# Modules whose names the expressions may use, and which upstream has too.
MODULES = (
    "config.client", "config.helpers", "error", "horizon", "library", "serializers", "time", "utils",
)  # fmt: skip

TEXTS = [
    "30 deg", "-155.58 deg", "1e3 m", "10 s", ".5 m", "+5 deg", "30deg", "deg", "m", "s", "30  deg", " 30 deg",
    "30 deg ", "5 min", "10 km", "1 h", "3 arcsec", "north deg", "a b s", "1 2 m", "nan deg", "inf m", "42", "2016",
    "20160812", "201608", "3.5", "-1", "1e5", "true", "null", "no", "", " ", "x", "PAN001", "2019-01-01", "2019-02-30",
    "2019-1-1", "2019-01", "2019-01-01T10:00:00", "2019-01-01 10:00:00", "2019-01-01T10:00", "2019-01-01T10",
    "20190101T100000", "2019-01-01T10:00:00.123", "2019-01-01T10:00:00.123456", "2019-01-01T10:00:00Z",
    "2019-01-01T10:00:00+10:00", "10:00:00", "2019-W01", "2019-001", "01/02/2019", "usb:001,005", "/var/panoptes",
    "Größe",
]  # fmt: skip

OUT = [
    "None", "True", "1", "1.5", "'x'", "'Größe'", "[]", "{}", "[1, 'a', None, [2.5]]", "(1, 2)", "{'a': {'b': [1]}}",
    "{1: 'a'}", "{None: 1}", "30 * u.deg", "30.5 * u.m", "-1 * u.s", "5 * u.km", "2 * u.min", "3 * u.arcsec",
    "u.Quantity(3)", "[1, 2] * u.m", "Time('2020-01-01')", "Time('2020-01-01T10:00:00.5')",
    "Time(2458849.5, format='jd')", "datetime(2020, 1, 1)", "datetime(2020, 1, 1, 10, 0, 0, 123456)",
    "datetime(2020, 1, 1, tzinfo=timezone.utc)", "datetime(2020, 1, 1, 10, tzinfo=timezone(timedelta(hours=10)))",
    "date(2020, 1, 1)", "np.arange(3)", "np.array([[1.5, 2], [3, 4]])", "np.int64(5)", "np.float64(5)",
    "np.bool_(True)", "ValueError", "NotFound", "ValueError('x')", "NotFound('x')", "Path('/var/panoptes')", "{1, 2}",
    "b'x'", "object()", "timedelta(seconds=1)", "float('nan')", "1j",
]  # fmt: skip

YAML = [
    "a: 1", "a: 30 deg", "a: 5 km", "a: [30 deg]", "a: {b: 10 s}", "a: 2019-01-01", "a: 2019-01-01T10:00:00",
    "a: '42'", "a: 010", "a: 1_000", "a: yes", "a: true", "a: ~", "a:", "a: 1.5e3", "a: {value: 5, unit: km}",
    "a: {value: 5, unit: x}", "a: {value: 5}", "a: &x 1\nb: *x", "a: |\n  x\n  y\n", "a: [1", "a: 1\na: 2", "- 1\n- 2",
    "x", "", "30 deg", "{a: 1, b: 2}", "? [1]\n: 2", "a: !!str 1", "a: 0x1F", "a: 12:30:45", "a: usb:001,005",
]  # fmt: skip

NUMBERS = [
    "0", "1", "60", "1.5", "-1", "'1'", "'x'", "None", "True", "[1]", "1 * u.minute", "0 * u.s", "-5 * u.s", "1 * u.m",
    "timedelta(seconds=90)", "np.float64(2)", "np.int64(2)", "float('nan')",
]  # fmt: skip

ERRORS = [
    "AlreadyExists", "ArduinoDataError", "BadConnection", "BadSerialConnection", "CameraNotFound", "DomeNotFound",
    "GoogleCloudError", "IllegalValue", "InvalidCommand", "InvalidConfig", "InvalidDeserialization",
    "InvalidMountCommand", "InvalidObservation", "InvalidSerialization", "InvalidSystemCommand", "MountNotFound",
    "NoObservation", "NotFound", "NotSupported", "PanError", "SolveError", "TheSkyXError", "TheSkyXKeyError",
    "TheSkyXTimeout", "Timeout",
]  # fmt: skip

SKYLINES = [
    "[]", "None", "[[[40, 30], [40, 75]]]", "[[[40, 30], [40, 75]], [[50, 180], [40, 200]]]",
    "[[[40, 350], [50, 10]]]", "[[[20, 10], [60, 30], [20, 50]]]", "[[[40, -10], [40, -5]]]",
    "[[[40, 10], [40, 60]], [[50, 40], [50, 90]]]", "[[[40 * u.deg, 30 * u.deg], [45 * u.deg, 75 * u.deg]]]",
    "[[[0, 1], [0, 2]]]", "[[[-5, 1], [-5, 20]]]", "[[[40, 0], [40, 360]]]", "[[[40, 75], [40, 30]]]", "[[[40, 30]]]",
    "[[[40, 30], [40]]]", "[[[91, 30], [40, 75]]]", "[[[40, 30], [40, 400]]]", "[[['x', 30], [40, 75]]]",
    "[[[40, 30], [40, 30]]]", "[[40, 30]]", "5",
]  # fmt: skip

SIGNATURES = [
    "current_time", "flatten_time", "CountdownTimer", "CountdownTimer.sleep", "wait_for_events", "listify",
    "get_free_space", "altaz_to_radec", "get_quantity_value", "normalize_file_input", "load_module", "load_c_library",
    "Horizon", "Obstruction", "Horizon.get_horizon", "Obstruction.get_horizon", "to_json", "from_json", "to_yaml",
    "from_yaml", "serialize_object", "serialize_all_objects", "deserialize_all_objects", "load_config", "save_config",
    "parse_config_directories", "get_config", "set_config", "PanError",
]  # fmt: skip

KEYS = [
    "name", "location", "location.latitude", "location.elevation", "location.gmt_offset", "started", "directories",
    "cameras.devices[1].model", "cameras.devices[-1].model", "cameras.devices[7].model", "cameras.devices",
    "simulator", "nothing", "foobar", "location.nowhere", "name.below", "", "a..b", "[0]", "config_server",
    "config_server.running",
]  # fmt: skip

# Answers of a server, in this order, after it was started with UNIT.
UNIT = """\
name: Roof Unit
pan_id: PAN042
location:
  latitude: 19.54 deg
  elevation: 3400.0 m
  gmt_offset: -600
started: '2019-01-01T10:00:00'
directories:
  base: /tmp
cameras:
  devices:
  - model: canon_gphoto2
  - model: zwo
simulator: []
nothing:
"""
CLIENT = [
    *(f"get_config({key!r})" for key in KEYS), "get_config('foobar', 'baz')", "get_config('foobar', 42 * u.m)",
    "get_config('simulator', 'baz')", "get_config('nothing', 'baz')",
    "get_config(key='name', default=1, host='localhost', verbose=True)",
    "get_config('location.latitude', parse=False)", "get_config('location', parse=False)",
    "get_config('foobar', parse=False)", "sorted(get_config())", "get_config(endpoint='heartbeat')",
    "server_is_running()", "set_config('name', 'Tower Unit')", "get_config('name')",
    "set_config('location.horizon', 35 * u.degree)", "get_config('location.horizon')",
    "set_config('location.latitude', '30 deg', parse=False)", "get_config('location.latitude')",
    "set_config('brand.new.key', [1, {'a': None}])", "get_config('brand')",
    "set_config('cameras.devices[0].model', 'x')", "get_config('cameras.devices[0].model')",
    "set_config('started', Time('2020-01-01'))", "get_config('started')", "set_config('none', None)",
    "get_config('none', 5)", "set_config('far', 5 * u.km)", "get_config('far')", "set_config('name.below', 1)",
    "set_config('cameras.devices[7].model', 1)", "set_config('', 1)", "set_config('bad', object())",
    "get_config('bad', 'none')", "set_config('array', np.arange(3))", "get_config('array')",
    "get_config('name', default='away', port=1)", "set_config('name', 'x', port=1)", "server_is_running(port=1)",
    "[line.partition(':')[0] for line in logged(lambda: set_config('name', 'x', port=1))]",
    "[line.partition(':')[0] for line in logged(lambda: get_config('name', port=1))]",
]  # fmt: skip
# Method, path and body of plain requests: status and answer are compared.
HTTP = [
    ("GET", "/get-config", None), ("POST", "/get-config", '{"key": "pan_id"}'),
    ("POST", "/get-config", '{"key": null}'), ("POST", "/get-config", '{"key": "pan_id", "verbose": false}'),
    ("POST", "/get-config", '{"nokey": 1}'), ("POST", "/get-config", "not JSON"),
    ("GET", "/get-config?key=pan_id", None), ("GET", "/get-config?key=nothing.here", None),
    ("GET", "/heartbeat", None), ("POST", "/heartbeat", '{"key": null}'), ("POST", "/heartbeat", "{}"),
    ("POST", "/heartbeat", '{"key": "pan_id"}'), ("POST", "/heartbeat", '{"key": "foobar"}'),
    ("POST", "/set-config", '{"pan_id": "PAN043"}'), ("POST", "/get-config", '{"key": "pan_id"}'),
    ("POST", "/set-config", '{"a.b": 1, "a.c": [2]}'), ("POST", "/get-config", '{"key": "a"}'),
    ("POST", "/set-config", "not JSON"), ("POST", "/set-config", "[1]"), ("POST", "/set-config", "{}"),
    ("GET", "/set-config", None), ("POST", "/reset-config", "{}"), ("POST", "/reset-config", '{"reset": true}'),
    ("POST", "/get-config", '{"key": "pan_id"}'), ("GET", "/reset-config", None), ("GET", "/nowhere", None),
    ("POST", "/set-config", '{"config_server.running": false}'),
]  # fmt: skip


def expressions():
    """Every expression that needs no server."""
    for text in TEXTS:
        yield f"from_json(json.dumps({{'a': {text!r}}}))"
        yield f"from_json(json.dumps([{text!r}]))"
    yield from (f"from_json({text!r})" for text in (
        '"30 deg"', "30", "[1, 2]", "null", '"x"', '"2019-01-01"', "{", "", "nan", "NaN",
        '{"a": {"value": 5, "unit": "km"}}', '{"value": 5, "unit": "d"}', '{"value": 5, "unit": "degr"}',
        '{"value": "5", "unit": "m"}', '{"value": [1, 2], "unit": "m"}', '{"value": 5, "unit": "m", "name": "x"}',
        '{"value": 5, "unit": 3}', '{"value": null, "unit": "m"}', '{"a": [{"value": 5, "unit": "m"}]}',
        '{"a": [{"b": "30 deg"}]}', '{"a": {"b": {"c": "3 s"}}}', '{"a": true}',
    ))  # fmt: skip
    yield "from_json(5)"
    for value in OUT:
        yield f"to_json({value})"
        yield f"to_json({{'a': {value}}})"
        yield f"to_yaml({{'a': {value}}})"
        yield f"serialize_object({value})"
        yield f"from_json(to_json({{'a': {value}}}))"
    yield from (
        "to_json({'b': 1, 'a': 2}, sort_keys=True)", "to_json([1, 2], indent=2)", "to_yaml([1, 2])", "to_yaml('x')",
        "to_yaml({'a': [30 * u.deg]})", "to_yaml({'a': {'b': 30 * u.deg}})", "to_json({'a': [30 * u.deg]})",
        "to_yaml(from_yaml('a: 1  # why\\nb: 2'))", "to_yaml(from_yaml('a: 30 deg  # why'))",
        "serialize_all_objects({'a': 1 * u.m, 'b': {'c': ValueError}})", "deserialize_all_objects({'a': '1 m'})",
        "to_json({'a': 1}, filename=folder / 'one')", "to_json({'b': 2}, filename=str(folder / 'one'))",
        "(folder / 'one').read_text()", "to_json({'c': 1}, filename=folder / 'one', append=False)",
        "(folder / 'one').read_text()",
    )  # fmt: skip
    for text in YAML:
        yield f"from_yaml({text!r})"
        yield f"from_yaml({text!r}, parse=False)"
    for moment in ("1999-12-31 23:59:59", "2016-08-13T10:00:00", "2016-08-13T10:00:00.250", "2016-08-13", "x", ""):
        for options in ("", "flatten=True", "pretty=True", "datetime=True"):
            if moment:
                yield f"at({moment!r}, lambda: current_time({options}))"
    yield "at('1999-12-31 23:59:59', lambda: [current_time(pretty=True) for _ in range(3)])"
    yield "at('1999-12-31 23:59:59', lambda: (current_time(), os.environ['POCSTIME']))"
    yield "at('', lambda: abs((current_time() - Time.now()).to_value('s')) < 5)"
    yield "at('', lambda: abs((current_time(datetime=True) - datetime.now(timezone.utc)).total_seconds()) < 5)"
    yield from (f"flatten_time({value})" for value in OUT if "Time(" in value or "date" in value)
    for value in NUMBERS:
        yield f"CountdownTimer({value}).duration"
        yield f"CountdownTimer({value}).expired()"
        yield f"get_quantity_value({value})"
        yield f"get_quantity_value({value}, 's')"
        yield f"listify({value})"
    yield from (
        "str(CountdownTimer(0))", "str(CountdownTimer(0, name='Cooling'))", "str(CountdownTimer(3600)).split('/')[1]",
        "str(CountdownTimer(3600)).split()[0]", "CountdownTimer(1, name='x').name", "CountdownTimer(0).sleep()",
        "CountdownTimer(0).time_left()", "CountdownTimer(60).sleep(max_sleep=0.01)", "CountdownTimer(0.01).sleep()",
        "CountdownTimer(60).sleep(max_sleep=0.01, log_level='info')", "59 < CountdownTimer(60).time_left() <= 60",
        "CountdownTimer(duration=5, name='x').restart()", "CountdownTimer()",
        "logged(lambda: CountdownTimer(60).sleep(max_sleep=0.01))",
        "logged(lambda: CountdownTimer(60, name='Cooling').sleep(max_sleep=0.01, log_level='INFO'))",
        "wait_for_events(done())", "wait_for_events([done(), done()], timeout=1)", "wait_for_events([])",
        "wait_for_events(threading.Event(), timeout=0.02, sleep_delay=0.01)",
        "wait_for_events(threading.Event(), timeout=0.02 * u.s, sleep_delay=0.01 * u.s)",
        "wait_for_events(threading.Event(), timeout=5, sleep_delay=0.01, callback=lambda: False)",
        "wait_for_events([done(), threading.Event()], timeout=0, sleep_delay=0.01)",
        "wait_for_events(done(), timeout='x')",
    )  # fmt: skip
    yield from (
        "listify('foo')", "listify(())", "listify((1, 2))", "listify({'a': 1, 'b': [2]})", "listify({'a': 1}.keys())",
        "listify({'a': 1}.values())", "listify({'a': 1}.items())", "listify({1})", "listify(range(2))",
        "listify(b'x')", "listify(iter([1])).__class__", "listify(np.arange(2))",
        "get_quantity_value(90 * u.arcmin, 'deg')", "get_quantity_value(90 * u.arcmin, u.deg)",
        "get_quantity_value('J2000.0', unit='jyear_str')", "get_quantity_value([1, 2] * u.m)",
        "get_quantity_value([1, 2] * u.m, 'km')", "get_quantity_value(1 * u.m, 'x')", "get_quantity_value(5, 'deg')",
        "get_quantity_value(quantity=5 * u.m, unit='cm')", "get_free_space().unit.to_string()",
        "get_free_space('/').unit.to_string()", "type(get_free_space()).__name__",
        "get_free_space(directory='/') > 0 * u.Gbyte", "get_free_space(Path('/')) > 0 * u.Gbyte",
        "get_free_space('/no/such/place')", "normalize_file_input('a.fits')", "normalize_file_input(Path('/a.fits'))",
        "normalize_file_input(open(os.devnull))", "normalize_file_input(5)", "normalize_file_input(None)",
        "normalize_file_input(io.BytesIO())",
    )  # fmt: skip
    for direction in (
        "75, 180", "35, 90", "90, 0", "alt=45, az=270", "4500 * u.arcmin, 180 * u.deg", "0, 0", "-10, 10",
    ):  # fmt: skip
        yield f"sky(altaz_to_radec({direction}, location=site, obstime='2020-02-02T20:20:02.02'))"
    yield from (
        "sky(altaz_to_radec(75, 180, location=site, obstime=Time('2016-08-13T10:00:00')))",
        "sky(altaz_to_radec(75, 180, site, datetime(2016, 8, 13, 10)))", "altaz_to_radec()", "altaz_to_radec(35, 90)",
        "altaz_to_radec(location=site, obstime='2020-02-02')", "altaz_to_radec('x', 90, location=site)",
        "at('2016-08-13 10:00:00', lambda: sky(altaz_to_radec(35, 90, location=site)))",
        "type(altaz_to_radec(35, 90, location=site, obstime='2020-02-02')).__name__",
    )  # fmt: skip
    for skyline in SKYLINES:
        yield f"[Horizon({skyline}).get_horizon(az) for az in (0, 15, 30, 50, 75, 190, 355)]"
        yield f"Horizon({skyline}, default_horizon=12).horizon_line[[0, 15, 30, 50, 75, 190, 355]]"
    yield from (
        "Horizon(default_horizon=20 * u.deg).get_horizon(5)", "Horizon(default_horizon='x')",
        "Horizon().horizon_line.shape", "Horizon([[[40, 30], [40, 75]]]).get_horizon(40 * u.deg)",
        "Horizon().get_horizon(-5)", "Horizon().get_horizon(725)", "Horizon([[[40, 30], [40, 75]]]).get_horizon(-310)",
        "Obstruction([[40, 30], [50, 40]]).get_horizon(35)", "Obstruction([[40, 30], [50, 40]]).get_horizon(45)",
        "Obstruction(points_list=[[40, 30], [50, 40]]).get_horizon(40)",
        "len(Horizon([[[40, 30], [40, 75]]]).obstructions)",
    )  # fmt: skip
    yield from (
        "load_module('json').__name__", "load_module('json.decoder.JSONDecoder').__name__", "load_module('no.such')",
        "load_module('json.nothing')", "load_module('')", "load_module('nosuchmodule')", "load_c_library('c').abs(-5)",
        "load_c_library('no_such_library')", "load_c_library('c', mode=None).abs(-5)",
        "load_c_library('c', path='/no/such.so')", "load_c_library(name='m').__class__.__name__",
    )  # fmt: skip
    for name in ERRORS:
        yield f"str({name}('no clouds'))"
        yield f"{name}('no clouds').msg"
        yield f"{name}(msg='no clouds').msg"
        yield f"({name}().msg is None, str({name}()).partition(':')[0])"
        yield f"[base.__name__ for base in {name}.__mro__]"
        yield f"raising({name}('x'))"
    yield from (
        "PanError('no power', exit=True)",
        "logged(lambda: PanError('no power', exit=True))",
        "[line.partition(':')[0] for line in logged(lambda: PanError(exit=True))]",
        "str(Timeout())",
        "str(PanError(None))",
        "str(PanError(''))",
        "PanError().msg",
    )
    yield from (
        "load_config(folder / 'unit.yaml', parse=False)", "sorted(load_config(folder / 'unit.yaml'))",
        "load_config(str(folder / 'unit.yaml'))['location']", "load_config([folder / 'unit.yaml'])['started']",
        "load_config(folder / 'nothing.yaml')", "load_config(folder / 'bad.yaml')", "load_config([])",
        "save_config(folder / 'new.yaml', {'name': 'x', 'height': 5 * u.m})",
        "(folder / 'new_local.yaml').read_text()", "load_config(folder / 'new.yaml')",
        "load_config(folder / 'new.yaml', load_local=False)",
        "save_config(folder / 'new.yaml', {'name': 'y'}, overwrite=False)",
        "save_config(folder / 'new_local.yaml', {'a': 1})", "load_config(folder / 'new.yaml')",
        "save_config(save_path=folder / 'deep' / 'new.yaml', config={'a': 1})",
        "save_config(str(folder / 'text.yaml'), {'a': Time('2020-01-01')})", "load_config(folder / 'text.yaml')",
        "load_config([folder / 'new.yaml', folder / 'text.yaml'])", "load_config(folder / 'unit.yaml')['directories']",
        "parse_config_directories({'base': '/tmp', 'foo': 'bar', 'app': '/app'})",
        "parse_config_directories({'base': '/no/such', 'foo': 'bar'})",
        "sorted(parse_config_directories({'foo': 'bar'}))", "parse_config_directories({})",
    )  # fmt: skip
    yield from (f"parameters({name})" for name in SIGNATURES)


class Names(dict):
    """What expressions may name: upstream's or our public names, and what is needed to write values."""

    def __init__(self, package, folder):
        super().__init__()
        import io
        import json
        import threading

        import numpy as np
        from astropy import units as u
        from astropy.coordinates import EarthLocation
        from astropy.time import Time

        for module in MODULES:
            loaded = import_module(f"{package}.{module}")
            self.update({name: value for name, value in vars(loaded).items() if not name.startswith("_")})
        if hasattr(import_module(f"{package}.serializers"), "StringYAML"):
            self["StringYAML"] = import_module(f"{package}.serializers").StringYAML
        site = EarthLocation.from_geodetic(lon=-155.58, lat=19.54, height=3400)
        (folder / "unit.yaml").write_text(UNIT)
        (folder / "bad.yaml").write_text("a: [1")
        self.update(
            np=np, u=u, Time=Time, site=site, folder=folder, os=os, io=io, json=json, threading=threading, Path=Path
        )
        self.update(date=date, datetime=datetime, timedelta=timedelta, timezone=timezone)
        self.update(at=at, sky=sky, done=done, logged=logged, parameters=parameters, raising=raising)


def ask(expression, names):
    """What an expression comes to, as plain data that is the same whatever the versions of the libraries."""
    try:
        return told(eval(expression, names))
    except (Exception, SystemExit) as error:
        # With its classes, so that it can be seen which `except` catches it.
        return {"raises": [kind.__name__ for kind in type(error).__mro__ if issubclass(kind, BaseException)]}


def told(value):
    """A value as plain data."""
    kind = type(value).__name__
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, dict):
        # Of YAML's mappings and numbers, which keep their comments and forms, what Python's are.
        return {"dict": [[told(key), told(one)] for key, one in value.items()]}
    if isinstance(value, (list, tuple)) and kind != "NamedTuple":
        return {"tuple" if isinstance(value, tuple) else "list": [told(one) for one in value]}
    if kind in ("int", "float", "str") or "Scalar" in kind:
        base = next(base for base in (str, int, float) if isinstance(value, base))
        return {base.__name__: base(value) if base is not float else repr(float(f"{value:.10g}"))}
    if isinstance(value, datetime):
        return {"datetime": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if hasattr(value, "unit") and hasattr(value, "to_value"):
        return {
            "quantity": told(value.value.tolist() if hasattr(value.value, "tolist") else value.value),
            "unit": value.unit.to_string(),
        }
    if kind == "Time":
        return {"time": value.utc.isot}
    if kind == "ndarray":
        return {"array": [float(f"{one:.6g}") for one in value.ravel()]}
    if hasattr(value, "tolist"):
        return {"number": told(value.tolist())}
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, type):
        return {"class": value.__name__}
    return {"other": kind}


def at(moment, work):
    """What is returned while POCSTIME is so."""
    os.environ["POCSTIME"] = moment
    try:
        return work()
    finally:
        del os.environ["POCSTIME"]


def sky(place):
    """Coordinates in tenths of a degree: tables of the Earth's orientation differ."""
    return [round(float(place.ra.deg), 1), round(float(place.dec.deg), 1)]


def done():
    """An event that has happened."""
    import threading

    event = threading.Event()
    event.set()
    return event


def logged(work):
    """Level and text of what is logged through loguru meanwhile, whatever comes of the work."""
    from loguru import logger

    lines = []
    number = logger.add(lambda line: lines.append(str(line).rstrip()), format="{level} {message}", level="DEBUG")
    try:
        work()
    except SystemExit:
        pass
    finally:
        logger.remove(number)
    return [line for line in lines if not line.startswith("DEBUG Restarting")]


def raising(error):
    """Raise it: how it is caught is compared."""
    raise error


def parameters(function):
    """Names of the parameters that may be given, in order, with defaults of the plain kinds."""
    listed = []
    for name, one in inspect.signature(function).parameters.items():
        if name == "self":
            continue
        if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
            listed.append("**" if one.kind == one.VAR_KEYWORD else "*")
        elif one.default is one.empty:
            listed.append(name)
        else:
            shown = one.default if isinstance(one.default, (str, int, bool, float, type(None))) else "…"
            listed.append(f"{name}={shown!r}")
    return listed
