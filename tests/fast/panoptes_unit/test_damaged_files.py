"""The tool's files in any condition: one plain line, or the good part of them, and no traceback."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest
from damage import CONTENTS, DAMAGES, damage
from fake_unit import FakeUnit, digest_of, image_of

from panoptes_unit import cli
from panoptes_unit.deploy import run, switch, verdicts
from panoptes_unit.deploy.journal import Journal
from panoptes_unit.deploy.state import Store

VERBS = [
    ["status"],
    ["history"],
    ["doctor"],
    ["recover"],
    ["pin"],
    ["unlock"],
    ["clear", "all"],
    ["deploy"],
    ["rollback"],
]


@pytest.fixture
def files(tmp_path):
    """The files of a unit by their name, and its settings."""
    state = tmp_path / "state"
    state.mkdir()
    settings = {
        "source": "127.0.0.1:1/a/b:latest",
        "state": str(state),
        "release_file": str(tmp_path / "release.env"),
        "compose_file": str(tmp_path / "compose.yaml"),
        "docker_host": f"unix://{tmp_path}/no.sock",
        "observing": {"source": "none"},
        "limits": {"healthy_s": 0.1, "registry_s": 1},
    }
    (tmp_path / "unit.yaml").write_text(json.dumps(settings))
    return {
        "state": state / "state.json",
        "history": state / "history.jsonl",
        "journal": state / "journal.jsonl",
        "release": tmp_path / "release.env",
        "settings": tmp_path / "unit.yaml",
    }


@pytest.fixture(scope="module")
def no_garbage():
    """What other tests left is not cleared away in the depth of a recursion, where that prints lines of its own."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", ["state", "history", "journal", "release", "settings"])
@pytest.mark.usefixtures("no_garbage")
def test_no_verb_gives_a_traceback(files, name, content, capsys, monkeypatch):
    monkeypatch.setattr(run, "WAITS_S", ())
    damage(files[name], content)
    for words in VERBS:
        code = cli.main([*words, "--quiet", "--settings", str(files["settings"])])
        assert code in (0, 1, 2, 3, 6), words
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) <= 1, f"{words}: {lines}"
        assert all(line.startswith("panoptes-unit: ") for line in lines)


@pytest.fixture
def unit(tmp_path):
    """A unit on release `old`, pinned by a person, that has a bad release behind it."""
    made = FakeUnit(tmp_path / "unit")
    made.deploy("older")
    made.deploy("old")
    made.deploy("bad", "exits")
    state = made.state
    state.deferrals = {"window": 2}
    made.store.save(state)
    return made


@pytest.mark.parametrize("content", [*DAMAGES, "gone"])
def test_damaged_state_is_taken_from_its_copy_and_mended(unit, content):
    path = unit.store.folder / "state.json"
    before = unit.state
    path.unlink() if content == "gone" else damage(path, content)
    assert unit.store.load() == before
    assert str(path) in unit.store.damage
    assert unit.run("update").verdict == verdicts.HELD, "the bad release is still known"
    assert unit.store.load().quarantine == before.quarantine
    assert unit.store.damage == ""
    assert path.with_name("state.json.damaged").exists() == (content != "gone")
    assert unit.whole() == image_of("old")


@pytest.mark.parametrize("content", DAMAGES)
def test_state_lost_with_its_copy_begins_anew_and_the_history_tells_what_was_bad(unit, content):
    for name in ("state.json", "state.copy.json"):
        damage(unit.store.folder / name, content)
    assert unit.run("update").verdict == verdicts.FAILED
    assert set(unit.state.quarantine) == {digest_of("bad")}
    assert unit.state.current["image"] == image_of("old"), "as the release file says"
    assert unit.deploy("new").verdict == verdicts.UPDATED
    assert unit.whole() == image_of("new")


@pytest.mark.parametrize("name", ["history.jsonl", "journal.jsonl", "release.env"])
@pytest.mark.parametrize("content", CONTENTS)
def test_other_damaged_files_do_not_keep_a_unit_from_its_next_release(unit, name, content):
    path = Path(unit.settings.release_file) if name == "release.env" else unit.store.folder / name
    damage(path, content)
    assert unit.deploy("new").verdict == verdicts.UPDATED
    assert unit.whole() == image_of("new")
    assert unit.store.history()[-1]["verdict"] == verdicts.UPDATED


@pytest.mark.parametrize("step", ["save", "record", "close"])
def test_record_that_cannot_be_written_changes_nothing_of_what_was_done(unit, monkeypatch, step):
    place = Journal if step == "close" else Store
    act = getattr(place, step)
    read_only = []
    unit.engine.before_up = lambda: read_only.append(True)

    def refuse(self, *arguments):
        if read_only:
            raise OSError(30, "Read-only file system")
        return act(self, *arguments)

    monkeypatch.setattr(place, step, refuse)
    outcome = unit.deploy("bad again", "exits")
    assert outcome.verdict == verdicts.ROLLED_BACK, outcome
    assert {one.image for one in unit.engine.running.values()} == {image_of("old")}
    read_only.clear()
    unit.engine.before_up = lambda: None
    assert unit.run("recover").verdict in (verdicts.UNCHANGED, verdicts.ROLLED_BACK)
    assert unit.whole() == image_of("old")


def test_release_file_that_cannot_be_written_leaves_the_old_release_and_says_so(unit, monkeypatch):
    def refuse(*_):
        raise OSError(30, "Read-only file system", "/etc/panoptes/release.env")

    with monkeypatch.context() as patch:
        patch.setattr(switch, "write_release", refuse)
        outcome = unit.deploy("new")
    assert (outcome.verdict, unit.whole()) == (verdicts.ROLLED_BACK, image_of("old"))
    assert "Read-only" in outcome.reason


@pytest.mark.parametrize("hours", ["inf", "nan", "1e300", "-1", "876001"])
def test_lock_that_no_file_can_hold_is_refused(files, hours, capsys):
    assert cli.main(["lock", f"--hours={hours}", "--settings", str(files["settings"])]) == 2
    assert "--hours must be between 0 and 876000" in capsys.readouterr().err
    assert not files["state"].exists()


def test_lock_of_a_hundred_years_is_kept_and_shown(files, capsys):
    assert cli.main(["lock", "--hours=876000", "--settings", str(files["settings"])]) == 0
    cli.main(["status", "--settings", str(files["settings"])])
    assert "locked until 21" in capsys.readouterr().out


def test_what_others_said_reaches_no_terminal_as_a_control_sequence(files, capsys):
    said = "\x1b]0;owned\x07\x9b31m \u202eno\nother line"
    entry = {"at": 1, "by": "a", "reason": said, "index": "x"}
    files["state"].write_text(json.dumps({"quarantine": {"sha256:" + "a" * 64: entry}, "locked": entry}))
    attempt = {"id": "a", "verb": "deploy", "at": 1, "verdict": "failed", "reason": said, "kept": said, "by": said}
    files["history"].write_text(json.dumps(attempt) + "\n")
    for words in (["status"], ["history"], ["doctor"], ["recover"]):
        cli.main([*words, "--settings", str(files["settings"])])
        shown = capsys.readouterr()
        for line in (shown.out + shown.err).splitlines():
            assert line.isprintable(), (words, line)
