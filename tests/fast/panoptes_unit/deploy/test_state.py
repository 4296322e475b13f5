"""The store takes the good part of whatever it finds: its own file, the copy, or what the history tells."""

from __future__ import annotations

import json

import pytest
from damage import CONTENTS, DAMAGES, damage

from panoptes_unit.deploy import verdicts
from panoptes_unit.deploy.outcome import Outcome
from panoptes_unit.deploy.state import State, Store
from panoptes_unit.errors import RootError

GOOD = "sha256:" + "a" * 64
BAD = "sha256:" + "b" * 64
WORSE = "sha256:" + "c" * 64


@pytest.fixture
def store(tmp_path):
    """A store that knows a release, one in quarantine and a deferral."""
    made = Store(tmp_path / "state")
    state = State()
    state.current = {"image": f"r.example/p@{GOOD}", "index": GOOD, "tag": "latest", "platform": "linux/amd64"}
    state.quarantine[BAD] = {"at": 1.0, "reason": "exited", "tag": "latest", "index": BAD}
    state.deferrals = {"window": 2}
    made.save(state)
    return made


def attempt(number, verdict, digest):
    return {
        **Outcome(id=f"a{number}", verb="deploy", at=float(number)).__dict__,
        "verdict": verdict,
        "new": f"p@{digest}",
    }


@pytest.mark.parametrize("content", DAMAGES)
def test_damaged_state_is_told_and_its_copy_counts(store, content):
    before = store.load()
    damage(store.folder / "state.json", content)
    assert store.load() == before
    assert "its copy is used" in store.damage
    store.save(before)
    assert Store(store.folder).load() == before
    assert (store.folder / "state.json.damaged").exists(), "what was there is kept for whoever looks"


@pytest.mark.parametrize("content", DAMAGES)
def test_state_without_a_good_copy_knows_what_the_history_tells(store, content):
    store.record(attempt(1, verdicts.ROLLED_BACK, BAD))
    store.record(attempt(2, verdicts.ROLLED_BACK, WORSE))
    store.record(attempt(3, verdicts.UPDATED, BAD))
    for name in ("state.json", "state.copy.json"):
        damage(store.folder / name, content)
    assert set(store.load().quarantine) == {WORSE}, "a release that was proven later is no bad one"
    assert "begins anew" in store.damage


@pytest.mark.parametrize("content", CONTENTS)
def test_damaged_history_keeps_nobody_from_writing_on(store, content):
    damage(store.history_path, content)
    store.record(attempt(1, verdicts.UPDATED, GOOD))
    store.record(attempt(1, verdicts.UPDATED, GOOD))
    assert [line["id"] for line in store.history()][-1] == "a1"
    assert sum(line["id"] == "a1" for line in store.history()) == 1, "an attempt stands there once"


def test_state_that_is_gone_comes_from_its_copy_and_none_at_all_is_a_fresh_one(store):
    before = store.load()
    (store.folder / "state.json").unlink()
    assert store.load() == before
    (store.folder / "state.copy.json").unlink()
    assert (store.load(), store.damage) == (State(), "")


def test_reader_without_the_right_is_told_who_has_it(store, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(RootError, match="its owner only"):
        store.load()


def test_state_of_another_version_keeps_what_this_one_knows(store):
    path = store.folder / "state.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "of_a_later_version": 1}))
    assert set(store.load().quarantine) == {BAD}
    assert store.damage == ""
