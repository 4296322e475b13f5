import json
import subprocess
import sys

import pytest

from panoptes_utils import error
from panoptes_utils.database import PanDB


@pytest.fixture(params=["memory", "file"])
def db(request, tmp_path):
    return PanDB(request.param, "panoptes_testing", storage_dir=tmp_path)


def test_current_record_is_the_last_one_and_older_ones_are_found(db):
    first = db.insert_current("weather", {"safe": True, "level": 5})
    record = db.get_current("weather")
    assert record["_id"] == first
    assert record["data"] == {"safe": True, "level": 5}
    assert record["type"] == "weather" and record["date"].year >= 2024
    assert db.find("weather", first)["data"] == record["data"]
    second = db.insert_current("weather", {"safe": False}, store_permanently=False)
    assert db.get_current("weather")["_id"] == second
    assert db.find("weather", second) is None
    db.clear_current("weather")
    db.clear_current("weather")
    assert db.get_current("weather") is None
    assert db.find("weather", first) is not None


def test_insert_leaves_the_current_record(db):
    identifier = db.insert("config", {"a": [1, 2]})
    assert db.get_current("config") is None
    assert db.find("config", identifier)["data"] == {"a": [1, 2]}
    assert db.find("config", "other") is None
    assert db.find("nothing", "other") is None


def test_quantities_come_back_as_quantities(db):
    from astropy import units as u

    db.insert_current("mount", {"ra": 30 * u.deg})
    assert db.get_current("mount")["data"]["ra"] == 30 * u.deg


def test_what_cannot_be_written_is_refused(db):
    with pytest.raises(error.InvalidSerialization):
        db.insert_current("weather", {"bad": object()})
    assert db.get_current("weather") is None


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", 5, "a\nb"])
def test_bad_names_of_collections_are_refused(db, name):
    for call in (db.get_current, db.clear_current, lambda name: db.insert(name, {})):
        with pytest.raises(error.IllegalValue, match="collection"):
            call(name)


def test_erasing_needs_the_words_and_a_test_name(tmp_path):
    for kind in ("memory", "file"):
        database = PanDB(kind, "a_test", storage_dir=tmp_path)
        database.insert_current("x", 1)
        words = {"really": "Yes", "dangerous": "Totally", "storage_dir": tmp_path}
        with pytest.raises(ValueError, match="'test' in its name"):
            PanDB.permanently_erase_database(kind, "important", **words)
        with pytest.raises(ValueError, match="really='Yes'"):
            PanDB.permanently_erase_database(kind, "a_test", storage_dir=tmp_path)
        assert database.get_current("x") is not None
        PanDB.permanently_erase_database(kind, "a_test", **words)
        PanDB.permanently_erase_database(kind, "a_test", **words)
        assert database.get_current("x") is None
    PanDB.permanently_erase_database("memory", "never_test", **words)


def test_unknown_kind_is_named():
    with pytest.raises(error.IllegalValue, match="mongo"):
        PanDB("mongo")
    with pytest.raises(error.IllegalValue, match="db_name"):
        PanDB("memory", "../x")


def test_memory_is_shared_by_name():
    one, same, other = PanDB("memory", "one_test"), PanDB("memory", "one_test"), PanDB("memory", "other_test")
    one.insert_current("x", 1)
    assert same.get_current("x")["data"] == 1
    assert other.get_current("x") is None


def test_files_outlive_the_object(tmp_path, monkeypatch):
    monkeypatch.setenv("PANDIR", str(tmp_path))
    identifier = PanDB("file").insert_current("weather", {"wind": "\n5"})
    again = PanDB("file")
    assert again.get_current("weather")["data"] == {"wind": "\n5"}
    assert again.find("weather", identifier)["_id"] == identifier
    names = sorted(path.name for path in (tmp_path / "json_store" / "panoptes").iterdir())
    assert names == ["current_weather.json", "weather.json"]


def test_a_line_cut_off_by_a_power_failure_costs_only_itself(tmp_path):
    db = PanDB("file", "power_test", storage_dir=tmp_path)
    first = db.insert("weather", {"n": 1})
    cut = db.insert("weather", {"n": 2})
    path = tmp_path / "power_test" / "weather.json"
    content = path.read_bytes()
    second_line = content.index(b"\n") + 1
    for length in range(second_line + 1, len(content) - 1, 7):
        path.write_bytes(content[:length])
        third = db.insert("weather", {"n": 3})
        assert db.find("weather", first)["data"] == {"n": 1}
        assert db.find("weather", cut) is None
        assert db.find("weather", third)["data"] == {"n": 3}
    (tmp_path / "power_test" / "current_weather.json").write_text('{"_id": "x", "da')
    assert db.get_current("weather") is None


@pytest.mark.slow
def test_processes_that_write_at_once_lose_nothing(tmp_path):
    code = (
        "import sys; from panoptes_utils.database import PanDB\n"
        "db = PanDB('file', 'many_test', storage_dir=sys.argv[1])\n"
        "for n in range(40): db.insert('x', {'n': n, 'filler': 'y' * 5000})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    lines = (tmp_path / "many_test" / "x.json").read_text().splitlines()
    assert len({json.loads(line)["_id"] for line in lines}) == 120
