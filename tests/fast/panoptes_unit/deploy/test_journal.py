"""What is on the disk when the process dies: journal, state, release file, configuration kept aside."""

import json
import os
import signal
import subprocess
import sys

import pytest
from fake_unit import FakeUnit, image_of

from panoptes_unit.deploy import verdicts
from panoptes_unit.deploy.journal import POINTS, Journal
from panoptes_unit.deploy.release import Release, read_release, write_release
from panoptes_unit.deploy.state import Store
from panoptes_unit.errors import ConfigurationError, UnitError
from panoptes_unit.files import read_json_lines, write_durably

RELEASE = Release("r.org:5000/a/b@sha256:" + "1" * 64, "sha256:" + "2" * 64, "latest", "linux/arm/v7", ("x",))


@pytest.fixture
def unit(tmp_path):
    """A unit on release `old`."""
    made = FakeUnit(tmp_path / "unit")
    assert made.deploy("old").verdict == verdicts.UPDATED
    return made


def test_release_file_round_trip(tmp_path):
    path = tmp_path / "release.env"
    assert read_release(path) is None
    write_release(path, RELEASE)
    assert f"PANOPTES_UTILS_IMAGE={RELEASE.image}\n" in path.read_text()
    assert "PANOPTES_REGISTRY=r.org:5000/a\n" in path.read_text()
    found = read_release(path)
    assert (found.image, found.index, found.platform) == (RELEASE.image, RELEASE.index, RELEASE.platform)
    assert Release.from_dict(json.loads(json.dumps(RELEASE.as_dict()))) == RELEASE


def test_release_file_with_a_moving_tag_is_refused(tmp_path):
    (tmp_path / "release.env").write_text("PANOPTES_UTILS_IMAGE=r.org/a:latest\n")
    with pytest.raises(ConfigurationError, match="by digest.*panoptes-unit deploy"):
        read_release(tmp_path / "release.env")


def test_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    write_durably(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_durably(path, "\ud800")
    assert path.read_text() == "old"
    assert [left.name for left in tmp_path.iterdir()] == ["file"]


def test_journal_exists_only_while_a_transaction_is_open(tmp_path):
    journal = Journal(tmp_path / "deep" / "journal.jsonl")
    journal.mark("resolve", "before")
    assert not journal.path.exists()
    journal.begin(new={"image": "n"})
    with journal.step("fetch"):
        left = Journal(journal.path).unfinished()
        assert left["new"] == {"image": "n"}
        assert left["points"] == ["fetch:before"]
    with pytest.raises(UnitError), journal.step("switch"):
        raise UnitError("x")
    assert Journal(journal.path).unfinished()["points"] == ["fetch:before", "fetch:after", "switch:before"]
    journal.close()
    assert Journal(journal.path).unfinished() is None


def test_torn_last_line_is_passed_over(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text('{"point": "begin"}\n{"point": "fetch:before"}\n{"point": "fet')
    assert Journal(path).unfinished()["points"] == ["fetch:before"]
    path.write_text('{"poi')
    assert Journal(path).unfinished() is None
    assert not path.exists()


@pytest.mark.parametrize("point", ["switch:file", "commit:state", "fetch:before"])
def test_killed_at_a_point_after_noting_it(tmp_path, point):
    assert point in POINTS
    script = (
        "import sys; from pathlib import Path; from panoptes_unit.deploy.journal import Journal\n"
        f"journal = Journal(Path({str(tmp_path / 'j')!r})); journal.begin(); journal.mark(*{point.split(':')!r})\n"
        "print('lived')"
    )
    env = {**os.environ, "PANOPTES_UNIT_DIE_AT": point}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
    assert Journal(tmp_path / "j").unfinished()["points"] == [point]


def test_state_and_history(tmp_path):
    store = Store(tmp_path)
    state = store.load()
    state.current = RELEASE.as_dict()
    store.save(state)
    assert store.load().current_release == RELEASE
    for attempt in ({"id": "1"}, {"id": "2", "verdict": "broken"}, {"id": "2", "verdict": "broken"}):
        store.record(attempt)
    assert [line["id"] for line in store.history()] == ["1", "2"], "recovery may record an attempt again"
    store.record({"id": "2", "verdict": "rolled-back"})
    assert store.history()[-1]["verdict"] == "rolled-back", "recovery mended what the run left broken"
    assert read_json_lines(tmp_path / "absent") == []


@pytest.mark.parametrize("left", ['"a text"\n', "7\n", '{"point": "begin"}\n', '{"point": "begin", "outcome": {}}\n'])
def test_journal_that_does_not_say_what_was_to_be_done_is_put_away(unit, left):
    unit.store.journal_path.write_text(left)
    assert unit.run("recover").verdict == verdicts.UNCHANGED
    assert unit.whole() == image_of("old")


def test_folder_in_the_journals_place_makes_way(unit):
    unit.store.journal_path.mkdir()
    assert unit.run("recover").verdict == verdicts.UNCHANGED
    assert unit.whole() == image_of("old")
    assert unit.store.journal_path.with_name("journal.jsonl.damaged").is_dir()
