"""Programs that were written for upstream's panoptes-utils get the same answers here, or there is a reason in a table.

What upstream answers was recorded once, by tests/helpers/record_upstream.py, in tests/data/upstream.json.
"""

import json
import re

import pytest
from free_ports import free_ports
from record_upstream import ANSWERS, request
from upstream_cases import CLIENT, HTTP, UNIT, Names, ask, expressions

from panoptes_utils.config import config_server

for needed in ("astropy", "loguru", "numpy", "ruamel.yaml", "uvicorn"):
    pytest.importorskip(needed)

UPSTREAM = json.loads(ANSWERS.read_text(encoding="utf-8"))

# Where ours differs on purpose: which questions, as a regular expression for the whole of each, and why.
DIFFERENCES = [
    # Reading
    (r"from_json\(json.dumps\({'a': '(2016|20160812)'}\)\)", "digits alone are a serial number more often than a date"),
    (r"from_json\(json.dumps\({'a': '2019-(01|W01|001)'}\)\)", "a month, a week or a day of the year is no moment"),
    (r"from_json\(json.dumps\({'a': '1 2 m'}\)\)", "that is no quantity; upstream makes it 1 of the unit «2 m»"),
    (r'from_json\(\'{"value": (5|"5"|null), "unit": ("m"|3)(, "name": "x")?}\'\)',
     "only a number with the name of a unit, and nothing else that would get lost, is a quantity"),
    (r"from_json\(5\)", "what is no text is not JSON: one error for all that cannot be read"),
    (r'from_json\(\'{"a": \[{"value": 5, "unit": "m"}]}\'\)', "quantities in lists come back as they were written"),
    # Writing
    (r".*(\* u\.(km|min|arcsec)|\] \* u\.m|u\.Quantity\(3\)).*",
     "in other units than deg, m and s a quantity is written so that it is read as one again"),
    (r".*(date\(2020, 1, 1\)|Path\('/var/panoptes'\)).*", "dates and paths have a text form"),
    (r".*np\.(int64\(5\)|bool_\(True\)|float64\(5\)).*", "numpy's numbers are written as numbers"),
    (r"(to_json|to_yaml|serialize_object|from_json\(to_json)\(.*NotFound}?\)+", "the package has another name"),
    (r"to_yaml\({'a': (ValueError\('x'\)|NotFound\('x'\)|object\(\)|timedelta\(seconds=1\)|1j)}\)",
     "what cannot be written is InvalidSerialization, as with JSON; upstream lets the YAML package's own error out"),
    (r"serialize_object\((ValueError\('x'\)|NotFound\('x'\)|{1, 2}|b'x'|object\(\)|timedelta\(seconds=1\)|1j|{})\)",
     "what has no form raises; upstream gives it back, and fails later or, for an empty mapping, at once"),
    (r"to_yaml\((\[1, 2\]|'x'|{'a': \[30 \* u.deg\]})\)", "lists, and what is in them, can be written"),
    # Time
    (r"flatten_time\(datetime\(.*", "datetimes are taken too"),
    (r"CountdownTimer\((timedelta\(seconds=90\)|np.int64\(2\))\).*", "these are durations too"),
    (r"CountdownTimer\(True\).*", "true is no number of seconds"),
    (r"CountdownTimer\(1 \* u.m\).*", "a length is a ValueError like all that is no duration"),
    (r"(.*CountdownTimer\(0, name='Cooling'\).*|CountdownTimer\(1, name='x'\).name|logged\(.*name='Cooling'.*)",
     "the name is kept as it was given, and in texts set apart from the word Timer"),
    (r"parameters\(wait_for_events\)", "the same five seconds, as a number"),
    # Small things
    (r"listify\((\(\)|\(1, 2\))\)", "a tuple is several things; so it was in the first versions of upstream"),
    (r"listify\({'a': 1}.items\(\)\)", "all three views of a mapping become lists"),
    (r"(altaz_to_radec\(location=site, obstime='2020-02-02'\)|parameters\(altaz_to_radec\))",
     "altitude and azimuth have the defaults of the first versions of upstream"),
    (r"altaz_to_radec\('x', 90, location=site\)", "text is no angle for astropy: its own error"),
    (r".*Horizon\(\[\[\[40, 75\], \[40, 30\]\]\].*",
     "points may go counter-clockwise; upstream takes these for the rest of the horizon"),
    (r".*Horizon\(\[\[\[40, 30\], \[40, 30\]\]\].*", "two points at one azimuth are a mast"),
    # Errors
    (r"logged\(lambda: PanError\('no power', exit=True\)\)", "an error is logged by who handles it, not when made"),
    # Configuration
    (r"load_config\(folder / 'bad.yaml'\)", "a file that is not YAML is skipped with a warning, the others count"),
    (r"parse_config_directories\({'base': '/no/such', 'foo': 'bar'}\)",
     "folders that are made later are no error, unless must_exist is set"),
    (r"set_config\('far', 5 \* u.km\)|get_config\('far'\)", "quantities come back in every unit"),
    (r"set_config\('', 1\)", "an empty key is refused: no program could read it back from YAML by hand"),
    (r"server_is_running\(port=1\)", "the answer is a bool"),
    (r"\[line.*set_config\('name', 'x', port=1\).*", "the call itself is not logged, its failure is in the same words"),
    (r"\[line.*get_config\('name', port=1\).*", "a server that cannot be reached is a warning here too"),
    # HTTP
    (r'POST /heartbeat {"key": "pan_id"}', "the heartbeat is true or false"),
    (r"(POST|GET) /(get|set|reset)-config (not JSON|\[1\]|{}|{\"nokey\": 1}|None)",
     "a refusal has a status that says so"),
    (r"GET /nowhere None", "every refusal has the same shape"),
]  # fmt: skip


def agrees(question, upstream, ours):
    """Whether a program that was written for upstream's answer is content with ours."""
    if isinstance(upstream, dict) and "raises" in upstream:
        # What catches upstream's error has to catch ours.
        return isinstance(ours, dict) and upstream["raises"][0] in ours.get("raises", ())
    if question.startswith("parameters("):
        known = [one for one in upstream["list"] if one != {"str": "**"}]
        return ours["list"][: len(known)] == known
    return upstream == ours


def plain(answer, folder):
    """An answer as it would have been recorded."""
    return json.loads(json.dumps(answer).replace(str(folder), "FOLDER"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder to work in, and nothing of the unit that the test may run on."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("upstream")
        patch.chdir(folder)
        patch.delenv("PANDIR", raising=False)
        yield folder


@pytest.fixture(scope="module")
def names(folder):
    return Names("panoptes_utils", folder)


@pytest.fixture(scope="module")
def server(folder):
    """Start a server of a new unit and have programs find it; gives its port."""
    started = []

    def start():
        (port,) = free_ports(1)
        path = folder / f"pocs{port}.yaml"
        path.write_text(UNIT)
        started.append(config_server(path, host="127.0.0.1", port=port, save_local=True))
        patch.setenv("PANOPTES_CONFIG_HOST", "127.0.0.1")
        patch.setenv("PANOPTES_CONFIG_PORT", str(port))
        return port

    with pytest.MonkeyPatch.context() as patch:
        yield start
        for process in started:
            process.terminate()
            process.join()


@pytest.fixture(scope="module")
def compared(folder, names, server):
    """Every question with upstream's answer and ours."""
    found, turn = [], {}
    for question in expressions():
        # One that is asked again was answered again: some write files that others read.
        place = turn[question] = turn.get(question, -1) + 1
        found.append((question, UPSTREAM["expressions"][question][place], plain(ask(question, names), folder)))
    server()
    for question, (recorded, answer) in zip(CLIENT, UPSTREAM["client"]):
        assert recorded == question, "record upstream's answers again"
        found.append((question, answer, plain(ask(question, names), folder)))
    port = server()
    for (method, path, body), (*recorded, answer) in zip(HTTP, UPSTREAM["http"]):
        assert recorded == [method, path, body], "record upstream's answers again"
        found.append((f"{method} {path} {body}", answer, request(port, method, path, body)))
    return found


def test_what_upstream_answers_ours_answers_too_or_there_is_a_reason(compared):
    unlike = [
        f"{question}\n  upstream {upstream}\n  ours     {ours}"
        for question, upstream, ours in compared
        if not agrees(question, upstream, ours) and not any(re.fullmatch(which, question) for which, _ in DIFFERENCES)
    ]
    assert not unlike, "\n".join(unlike)


def test_every_reason_is_still_needed(compared):
    unlike = [question for question, upstream, ours in compared if not agrees(question, upstream, ours)]
    idle = [which for which, _ in DIFFERENCES if not any(re.fullmatch(which, question) for question in unlike)]
    assert not idle


def test_what_is_asked_is_what_was_recorded(compared):
    asked = [question for question, _, _ in compared]
    assert len(asked) > 900
    assert set(UPSTREAM["expressions"]) == set(expressions())
    assert (len(UPSTREAM["client"]), len(UPSTREAM["http"])) == (len(CLIENT), len(HTTP))
