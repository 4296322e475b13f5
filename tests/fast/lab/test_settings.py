"""What the lab writes down, and where others find it."""

import json

import pytest

from lab import settings
from lab.console import LabError


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("PANOPTES_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_stands_is_read_as_it_was_written(place):
    settings.write_lab({"registry": "172.30.63.2:5000"})
    assert settings.read_lab() == json.loads((place / "lab.json").read_text()) == {"registry": "172.30.63.2:5000"}
    assert [file.name for file in place.iterdir()] == ["lab.json"]


def test_a_cache_of_the_desktops_is_used_where_none_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("PANOPTES_LAB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings.write_lab({})
    assert (tmp_path / "panoptes-lab" / "lab.json").exists()


def test_without_a_lab_one_line_says_how_to_get_one_and_nothing_is_made(place):
    with pytest.raises(LabError, match=f"there is no lab in {place}; `make lab` brings it up"):
        settings.read_lab()
    assert not place.exists()


def test_what_the_lab_made_is_known_to_the_next_run(place):
    settings.State().add("tools", "qemu-user-static")
    assert settings.State().get("tools") == ["qemu-user-static"]
    (place / "state.json").write_text("{half")
    assert settings.State().get("tools") is None
