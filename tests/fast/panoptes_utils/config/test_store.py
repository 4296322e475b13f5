"""The configuration a server holds: what is set is what is read, now and after a restart."""

import json
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panoptes_utils.config.keys import get_part, parse_key
from panoptes_utils.config.model import problems
from panoptes_utils.config.store import ConfigStore, Refused
from panoptes_utils.error import InvalidConfig

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
some_keys = st.sampled_from(
    ["name", "location", "location.latitude", "location.new.deep", "cameras.devices[0].model", "cameras.devices[2]",
     "cameras.devices", "cameras", "brand.new.key", "brand", "simulator[0]", "simulator[-1]", "cameras.devices[-1].sn",
     "directories.images", "x y"]
)  # fmt: skip


def same(one, other):
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(some_keys, values), min_size=1, max_size=5))
def test_what_is_set_is_read_also_after_a_restart(unit, changes):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pocs.yaml"
        path.write_text(unit.read_text())
        store = ConfigStore(path)
        for key, value in changes:
            before = store.get()
            try:
                store.set({key: value})
            except Refused:
                assert store.get() is before
                continue
            assert same(store.get(key), value)
            assert same(json.loads(store.get_json(key)), value)
        assert same(ConfigStore(path).get(), store.get())
        assert path.read_text() == unit.read_text()


def test_comments_in_the_local_file_survive(unit):
    local = unit.with_name("pocs_local.yaml")
    local.write_text("# mine\nname: Changed  # by hand\nlocation:\n  latitude: 1 deg  # new\n")
    store = ConfigStore(unit)
    store.set({"location.longitude": "2 deg", "simulator": ["weather"]})
    assert local.read_text() == (
        "# mine\nname: Changed  # by hand\nlocation:\n  latitude: 1 deg  # new\n  longitude: 2 deg\n"
        "simulator:\n- weather\n"
    )


def test_only_what_was_set_hides_the_file(unit):
    store = ConfigStore(unit)
    store.set({"location.latitude": "1 deg"})
    unit.write_text(unit.read_text().replace("3400.0 m", "3500.0 m").replace("Roof Unit", "Tower Unit"))
    store.reload()
    assert store.get("location") == {"latitude": "1 deg", "longitude": "-155.58 deg", "elevation": "3500.0 m"}
    assert store.get("name") == "Tower Unit"


def test_a_replaced_mapping_stays_replaced(unit):
    store = ConfigStore(unit)
    store.set({"location": {"latitude": "1 deg"}})
    assert ConfigStore(unit).get("location") == {"latitude": "1 deg"}


def test_the_end_of_a_list_is_where_it_was_when_its_change_came(unit):
    store = ConfigStore(unit)
    store.set(
        {"cameras.devices[-1].sn": "0012", "cameras.devices[2]": {"model": "new"}, "cameras.devices[-1].sn ": "x"}
    )
    for held in (store, ConfigStore(unit)):
        assert held.get("cameras.devices[1].sn") == "0012"
        assert held.get("cameras.devices[-1]") == {"model": "new", "sn ": "x"}


def test_all_changes_or_none(unit):
    store = ConfigStore(unit)
    with pytest.raises(Refused, match=r"'name' is a value"):
        store.set({"simulator": ["weather"], "name.first": "x"})
    assert store.get("simulator") == []
    assert not unit.with_name("pocs_local.yaml").exists()


@pytest.mark.parametrize("changes", [{"name": "\ud800"}, {"name": {"a": ["\udfff"]}}, {"\ud800": 1}])
def test_what_is_no_text_is_refused(unit, changes):
    store = ConfigStore(unit)
    with pytest.raises(Refused, match="no character"):
        store.set(changes)
    assert ConfigStore(unit).get("name") == "Roof Unit"


def test_a_value_that_is_nested_too_deeply_is_refused(unit):
    store = ConfigStore(unit)
    value = "leaf"
    for _ in range(32):
        value = [value]
    store.set({"x": value})
    with pytest.raises(Refused, match="more than 32 levels"):
        store.set({"x": {"y": value}})


def test_one_and_true_are_different(unit):
    store = ConfigStore(unit)
    for value in (1, True, 1.0):
        store.set({"x": value})
        assert same(ConfigStore(unit).get("x"), value)


def test_the_same_change_again_does_not_touch_the_disk(unit):
    store = ConfigStore(unit)
    store.set({"name": "x"})
    before = unit.with_name("pocs_local.yaml").stat()
    store.set({"name": "x"})
    assert unit.with_name("pocs_local.yaml").stat() == before


def test_without_saving_and_without_loading(unit):
    unit.with_name("pocs_local.yaml").write_text("name: Local\n")
    assert ConfigStore(unit, load_local=False).get("name") == "Roof Unit"
    store = ConfigStore(unit, save_local=False)
    store.set({"name": "Memory"})
    assert store.get("name") == "Memory"
    store.reload()
    assert store.get("name") == "Local"


def test_an_edit_by_hand_while_the_server_runs_is_kept(unit):
    store = ConfigStore(unit)
    store.set({"a": 1})
    local = unit.with_name("pocs_local.yaml")
    local.write_text("a: 1\nb: by hand\n")
    store.set({"c": 3})
    assert local.read_text() == "a: 1\nb: by hand\nc: 3\n"
    assert store.get("b") == "by hand"


def test_two_servers_on_one_file_lose_nothing(unit):
    stores = [ConfigStore(unit), ConfigStore(unit)]
    threads = [
        threading.Thread(target=lambda s=store, n=number: [s.set({f"k{n}_{i}": i}) for i in range(20)])
        for number, store in enumerate(stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    config = ConfigStore(unit).get()
    assert all(config[f"k{number}_{i}"] == i for number in (0, 1) for i in range(20))


def test_readers_never_see_half_a_change(unit):
    store = ConfigStore(unit, save_local=False)
    store.set({"pair": [0, 0]})
    done = threading.Event()
    seen = []

    def read():
        while not done.is_set():
            first, second = json.loads(store.get_json("pair"))
            seen.append(first == second)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        store.set({"pair[0]": number, "pair[1]": number})
    done.set()
    reader.join()
    assert seen
    assert all(seen)
    assert json.loads(store.get_json("pair")) == [199, 199]


def test_reload_keeps_the_old_configuration_where_the_file_is_bad(unit):
    store = ConfigStore(unit)
    unit.write_text("a: [1")
    with pytest.raises(InvalidConfig, match="line 1"):
        store.reload()
    assert store.get("name") == "Roof Unit"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("location.latitude", "91 deg"),
        ("location.latitude", True),
        ("location.latitude", "north"),
        ("location.elevation", "3400 km"),
        ("location", 5),
        ("messaging.cmd_port", 80),
        ("messaging.cmd_port", "6500"),
        ("pan_id", "unit 1"),
        ("name", ""),
        ("directories.images", 5),
        ("config_server", {}),
        ("config_server.running", "no"),
    ],
)
def test_an_invalid_value_is_refused_with_its_key(unit, key, value):
    store = ConfigStore(unit, check=problems)
    with pytest.raises(Refused, match=key):
        store.set({key: value})
    assert store.get(key) == get_part(ConfigStore(unit).get(), parse_key(key))


def test_an_old_mistake_does_not_block_other_changes(unit):
    unit.write_text(unit.read_text().replace("19.54 deg", "190 deg"))
    store = ConfigStore(unit, check=problems)
    store.set({"name": "x"})
    with pytest.raises(Refused, match="longitude"):
        store.set({"location.longitude": "1000 deg"})


@pytest.mark.parametrize("value", ["19.5 deg", "19.5", 19.5, -90, "-1e1 deg", None])
def test_quantities_that_are_valid(unit, value):
    ConfigStore(unit, check=problems).set({"location.latitude": value})
