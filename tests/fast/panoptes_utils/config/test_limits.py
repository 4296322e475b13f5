"""What the config server refuses so that it stays small and quick: idle clients, bombs, long configurations."""

import json
import socket
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panoptes_utils.config import files
from panoptes_utils.config.store import MAX_SET_BYTES, MAX_SET_VALUES, ConfigStore, Refused
from panoptes_utils.error import InvalidConfig

ASK = b"POST /get-config HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n" + b'{"key":"name"}'
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi")
)
MERGES = f"a: &a {{{', '.join(f'k{number}: 1' for number in range(2000))}}}\n" + "".join(
    f"m{number}: {{<<: *a}}\n" for number in range(2000)
)
BAD = {
    "alias bomb": (BOMB, "stands for more than"),
    "merge bomb": (MERGES, "stands for more than"),
    "too deep": ("a: " + "[" * 100 + "]" * 100, "column 67: nested more than 64 levels"),
    "much too deep": ("[" * 200_000, "column 65: nested more than 64 levels"),
    "contains itself": ("a: &a [*a]", "contains itself"),
    "too long": ("a: " + "x" * 300_000, "longer than 256 kB"),
    "too full": ("a: [" + "1," * 30_000 + "]", "stands for more than"),
}


@pytest.mark.parametrize("kind", ["idle", "silent", "half"])
def test_300_idle_connections_starve_nobody(server, kind):
    held = []
    try:
        for _ in range(300):
            one = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            held.append(one)
            with suppress(OSError):
                if kind == "idle":
                    one.sendall(ASK)
                    assert one.recv(4096).startswith(b"HTTP/1.1 200")
                elif kind == "half":
                    one.sendall(ASK[:30])
        for _ in range(20):
            assert server.ask("/get-config", {"key": "name"})[:2] == (200, "Roof Unit")
    finally:
        for one in held:
            one.close()


def test_who_has_been_quiet_the_longest_is_dropped_first(server):
    held = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(250)]
    busy = held[0]
    for _turn in range(60):
        busy.sendall(ASK)
        answer = b""
        while not answer.endswith(b'"Roof Unit"'):
            part = busy.recv(4096)
            assert part, answer
            answer += part
        held.append(socket.create_connection(("127.0.0.1", server.port), timeout=10))
    held[1].settimeout(10)
    with suppress(ConnectionError):
        assert held[1].recv(1) == b""
    for one in held:
        one.close()


@pytest.mark.parametrize("name", BAD)
def test_a_bomb_ends_the_start_with_one_line(command, tmp_path, free_port, name):
    text, says = BAD[name]
    path = tmp_path / "pocs.yaml"
    path.write_text(text)
    done = command("--port", free_port, "run", "--config-file", path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    with pytest.raises(InvalidConfig, match=says):
        files.read_yaml(path)


@pytest.mark.parametrize("name", BAD)
def test_a_bomb_in_a_unit_that_worked_leaves_the_last_good_configuration(unit, name, capfd):
    good = ConfigStore(unit).config
    unit.write_text(BAD[name][0])
    store = ConfigStore(unit)
    assert store.config == good
    store.set({"location.elevation": "1 m"})
    with pytest.raises(InvalidConfig):
        store.reload()
    assert store.get("location.elevation") == "1 m"


# What opens a level each time that it is written.
OPENS = ["[", "{", "[{", "{a: ", "[ ", "[\n", "- ", "? ", "? - ", "&a [", "!!seq [", "!!map {", "[x, ", "{? "]
# What is one value, or more, each time that it is written.
FILLS = [
    "- x\n",
    "- - x\n",
    "- []\n",
    "- {}\n",
    "- x: y\n",
    "- &a x\n",
    "- *a\n",
    "- [*a, *a]\n",
    "- !!str x\n",
    "- \n",
]


@pytest.fixture
def built(monkeypatch):
    """Everything that was built of a text."""
    from ruamel.yaml.constructor import RoundTripConstructor

    built = []
    construct = RoundTripConstructor.construct_document
    monkeypatch.setattr(
        RoundTripConstructor, "construct_document", lambda self, node: built.append(node) or construct(self, node)
    )
    return built


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(OPENS), min_size=1, max_size=3), st.integers(65, 700), st.sampled_from(["", "a: "]))
def test_however_a_text_is_nested_it_is_left_before_its_end_and_nothing_is_built(built, opens, levels, before):
    text = (before if opens[0][0] not in "-?" else "") + "".join(opens) * levels
    try:
        files.parse_yaml(text[: files.MAX_FILE].encode(), files.Path("x"))
    except InvalidConfig as error:
        # Some of these are no YAML, which is found before they are too deep.
        assert "recursion" not in error.msg
    else:
        raise AssertionError("it was taken")
    assert not built


@pytest.mark.parametrize("opens", OPENS)
@pytest.mark.parametrize("levels", [65, 500])
def test_each_way_to_nest_is_named_with_its_place(built, opens, levels):
    with pytest.raises(InvalidConfig, match=r"x line \d+, column \d+: nested more than 64 levels deep"):
        files.parse_yaml((opens * levels).encode(), files.Path("x"))
    assert not built


def test_levels_by_indentation_are_counted_too(built):
    text = "".join(f"{' ' * level}a:\n" for level in range(400))
    with pytest.raises(InvalidConfig, match="line 64, column 64: nested more than 64 levels deep"):
        files.parse_yaml(text.encode(), files.Path("x"))
    assert not built


@pytest.mark.parametrize("fill", FILLS)
def test_too_many_values_of_any_kind_are_not_built(built, fill, monkeypatch, recwarn):
    monkeypatch.setattr(files, "MAX_VALUES", 300)
    text = "- &a x\n" + fill * 400
    with pytest.raises(InvalidConfig, match=r"x line \d+, column \d+: stands for more than"):
        files.parse_yaml(text.encode(), files.Path("x"))
    assert not built
    assert not recwarn.list, "a file could fill the log with them"


def test_a_pipe_as_configuration_is_refused_and_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "pocs.yaml")
    with pytest.raises(InvalidConfig, match="no regular file"):
        ConfigStore(tmp_path / "pocs.yaml")


anchored = st.recursive(
    st.sampled_from(["x", "*a", "*b", "*c"]),
    lambda inner: st.lists(inner, min_size=1, max_size=6).map(lambda members: f"[{', '.join(members)}]"),
    max_leaves=30,
)


@settings(deadline=None)
@given(st.lists(anchored, min_size=1, max_size=3))
def test_any_aliases_are_read_or_refused(members):
    text = "".join(f"{name}: &{name} {text}\n" for name, text in zip("abc", members))
    try:
        tree = files.parse_yaml(text.encode(), files.Path("x"))
    except InvalidConfig:
        return
    assert len(json.dumps(files.plain(tree))) < 100 * files.MAX_VALUES


def test_a_change_in_a_long_configuration_takes_no_time(unit):
    text = "x" * 1000
    unit.write_text(unit.read_text() + "".join(f"filler{number}: {text}\n" for number in range(200)))
    store = ConfigStore(unit)
    store.set({"name": "first"})
    begin = time.process_time()
    for number in range(10):
        store.set({"name": f"n{number}", "filler7": text + str(number)})
    assert (time.process_time() - begin) / 10 < 0.2


def test_what_is_set_is_bounded_in_length_and_in_number(unit):
    store = ConfigStore(unit)
    with pytest.raises(Refused, match="bytes, more than 32,768"):
        store.set({"notes": "x" * (MAX_SET_BYTES + 1)})
    with pytest.raises(Refused, match="values, more than 500"):
        store.set({"list": [0] * MAX_SET_VALUES})
    assert store.get("notes") is store.get("list") is None
    assert not store.local.exists()


def test_a_local_file_that_is_already_longer_can_still_be_changed(unit):
    local = unit.with_name("pocs_local.yaml")
    local.write_text(f"notes: {'x' * (MAX_SET_BYTES + 100)}\n" + f"list: {[0] * (MAX_SET_VALUES + 10)}\n")
    store = ConfigStore(unit)
    store.set({"list[3]": 7})
    assert ConfigStore(unit).get("list[3]") == 7
    store.set({"notes": "short"})
    with pytest.raises(Refused, match="values"):
        store.set({"more": [0] * 100})
