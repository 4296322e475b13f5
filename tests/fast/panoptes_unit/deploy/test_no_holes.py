"""Ends of a transaction that once left less than a whole unit, said the wrong thing, or lost a person's text."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from fake_unit import NAME, FakeUnit, PowerCut, digest_of, image_of

from panoptes_unit import errors
from panoptes_unit.deploy import kept_configuration, reserve, run_lock, verdicts
from panoptes_unit.deploy import switch as switching
from panoptes_unit.deploy.journal import POINTS, Journal
from panoptes_unit.deploy.release import read_release
from panoptes_unit.deploy.restart_permission import MANY_TIMES, NEVER_IN_WINDOW
from panoptes_unit.deploy.signals import NUMBERS
from panoptes_unit.errors import UnitError

AFTER_THE_SWITCH = [point for point in POINTS if point.startswith(("switch", "prove", "commit", "undo"))]
BEFORE_IT = [point for point in POINTS if point not in AFTER_THE_SWITCH]


@pytest.fixture
def unit(tmp_path):
    """A unit on release `old`, whose person has a text in the configuration."""
    made = FakeUnit(tmp_path / "unit")
    assert made.deploy("old").verdict == verdicts.UPDATED
    return made


def local(unit) -> Path:
    return unit.configuration / "pocs_local.yaml"


def kept(unit, outcome) -> str:
    return (Path(outcome.kept) / str(local(unit)).lstrip("/")).read_text()


@pytest.fixture
def signalled(monkeypatch):
    """Sends a signal, once or twice, when the journal notes a point."""

    def at(point: str, number: int, times: int) -> None:
        mark = Journal.mark

        def marking(self, step, name, **facts):
            mark(self, step, name, **facts)
            if f"{step}:{name}" == point:
                for _ in range(times):
                    os.kill(os.getpid(), number)

        monkeypatch.setattr(Journal, "mark", marking)

    return at


class TestSignals:
    """Each signal, once and twice, at every point of the journal."""

    @pytest.mark.parametrize("times", [1, 2])
    @pytest.mark.parametrize("number", NUMBERS)
    @pytest.mark.parametrize("point", [point for point in AFTER_THE_SWITCH if not point.startswith("undo")])
    def test_good_release_is_wholly_there_or_wholly_left(self, unit, signalled, point, number, times):
        signalled(point, number, times)
        outcome = unit.deploy("new")
        if point.startswith("commit"):
            assert (outcome.verdict, unit.whole()) == (verdicts.UPDATED, image_of("new"))
            assert unit.state.previous["image"] == image_of("old")
        else:
            assert (outcome.verdict, unit.whole()) == (verdicts.ROLLED_BACK, image_of("old"))
            assert "stopped by" in outcome.reason
        assert unit.state.quarantine == {}

    @pytest.mark.parametrize("times", [1, 2])
    @pytest.mark.parametrize("number", NUMBERS)
    @pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("undo")])
    def test_way_back_from_a_bad_release_is_gone_to_its_end(self, unit, signalled, point, number, times):
        signalled(point, number, times)
        outcome = unit.deploy("bad", "exits")
        assert (outcome.verdict, unit.whole()) == (verdicts.ROLLED_BACK, image_of("old"))
        assert digest_of("bad") in unit.state.quarantine
        assert unit.run("update").verdict == verdicts.HELD

    @pytest.mark.parametrize("number", NUMBERS)
    @pytest.mark.parametrize("point", BEFORE_IT)
    def test_before_the_switch_the_run_ends_and_nothing_is_touched(self, unit, signalled, point, number):
        ups = unit.engine.ups
        signalled(point, number, 1)
        outcome = unit.deploy("new")
        assert (outcome.verdict, outcome.exit_code) == (verdicts.FAILED, errors.FAILED)
        assert "stopped by" in outcome.reason
        assert (unit.whole(), unit.engine.ups) == (image_of("old"), ups)

    @pytest.mark.parametrize("number", NUMBERS)
    def test_recovery_is_not_stopped(self, unit, signalled, number):
        transaction = unit.transaction(dies_at="switch:file")
        unit.registry.offer("new")
        with pytest.raises(PowerCut):
            transaction.deploy()
        signalled("undo:before", number, 2)
        assert unit.run("recover").verdict == verdicts.ROLLED_BACK
        assert unit.whole() == image_of("old")

    def test_what_was_before_answers_signals_again_afterwards(self, unit):
        before = [signal.getsignal(number) for number in NUMBERS]
        unit.deploy("new")
        assert [signal.getsignal(number) for number in NUMBERS] == before

    def test_signal_during_recovery_ends_the_run_that_follows_it(self, unit, signalled):
        unit.registry.offer("new")
        with pytest.raises(PowerCut):
            unit.transaction(dies_at="switch:file").deploy()
        signalled("undo:before", signal.SIGTERM, 1)
        transaction = unit.transaction()
        with pytest.raises(KeyboardInterrupt):
            transaction.deploy()
        assert unit.whole() == image_of("old")


class TestWayBack:
    def test_image_that_was_pruned_is_fetched_again_before_the_switch(self, unit):
        del unit.engine.images[image_of("old")]
        pulled = []
        unit.engine.before_pull = lambda: pulled.append(1)
        assert unit.deploy("bad", "exits").verdict == verdicts.ROLLED_BACK
        assert (unit.whole(), len(pulled)) == (image_of("old"), 2)

    def test_no_way_back_no_switch(self, unit):
        def broken():
            raise UnitError("no route")

        del unit.engine.images[image_of("old")]
        unit.engine.before_pull = broken
        ups = unit.engine.ups
        outcome = unit.deploy("new")
        assert (outcome.verdict, outcome.exit_code) == (verdicts.FAILED, errors.FAILED)
        assert "there would be no way back" in outcome.reason and "no route" in outcome.reason
        assert unit.engine.ups == ups

    def test_nothing_runs_that_could_be_lost(self, unit):
        calls = iter([UnitError("no route")])

        def broken_once():
            for error in calls:
                raise error

        unit.engine.images.clear()
        unit.engine.running.clear()
        unit.engine.before_pull = broken_once
        assert unit.deploy("new").verdict == verdicts.UPDATED
        assert unit.whole() == image_of("new")

    def test_image_that_goes_while_an_update_is_open_is_fetched_again(self, unit):
        unit.registry.offer("new")
        with pytest.raises(PowerCut):
            unit.transaction(dies_at="prove:before").deploy()
        del unit.engine.images[image_of("old")]
        assert unit.run("recover").verdict == verdicts.ROLLED_BACK
        assert unit.whole() == image_of("old")

    @pytest.mark.parametrize("connected", [True, False])
    def test_proved_release_that_goes_before_its_commit_is_fetched_again(self, unit, connected):
        def broken():
            raise UnitError("no route")

        unit.registry.offer("new")
        with pytest.raises(PowerCut):
            unit.transaction(dies_at="commit:before").deploy()
        unit.engine.images.clear()
        unit.engine.running.clear()
        if not connected:
            unit.engine.before_pull = broken
            assert unit.run("recover").verdict == verdicts.BROKEN
            unit.engine.before_pull = lambda: None
        assert unit.run("update").exit_code == errors.OK
        assert unit.whole() == image_of("new")

    def test_without_a_network_it_stays_open_and_the_next_run_goes_on(self, unit):
        def broken():
            raise UnitError("no route")

        unit.registry.offer("new")
        with pytest.raises(PowerCut):
            unit.transaction(dies_at="prove:before").deploy()
        del unit.engine.images[image_of("old")]
        unit.engine.before_pull = broken
        outcome = unit.run("recover")
        assert (outcome.verdict, outcome.exit_code) == (verdicts.BROKEN, errors.BROKEN)
        assert unit.store.journal_path.exists() and "no route" in outcome.reason
        unit.engine.before_pull = lambda: None
        assert unit.run("update").exit_code == errors.OK
        assert unit.whole() == image_of("new")


class TestTextOfAPerson:
    def test_edit_during_the_soak_is_kept_and_named_when_it_is_undone(self, unit):
        def once():
            unit.engine.before_up = lambda: None
            local(unit).write_text("typed meanwhile\n")

        unit.engine.before_up = once
        outcome = unit.deploy("bad", "exits")
        assert outcome.verdict == verdicts.ROLLED_BACK
        assert (local(unit).read_text(), kept(unit, outcome)) == ("by a person\n", "typed meanwhile\n")
        assert unit.store.history()[-1]["kept"] == outcome.kept

    def test_text_that_a_good_release_rewrites_is_kept_for_a_later_rollback(self, unit):
        unit.engine.before_up = lambda: local(unit).write_text("in the new form\n")
        outcome = unit.deploy("new")
        unit.engine.before_up = lambda: None
        assert outcome.verdict == verdicts.UPDATED
        assert local(unit).read_text() == "in the new form\n"
        assert next(Path(outcome.kept).rglob("pocs_local.yaml")).read_text() == "by a person\n"

    def test_nothing_is_kept_where_nothing_changed(self, unit):
        assert unit.deploy("new").kept == ""
        assert not list(unit.store.folder.glob("before-*"))

    def test_what_is_kept_is_bounded(self, unit):
        for number in range(switching.KEPT_COUNT + 3):
            local(unit).write_text(f"edit {number}\n")
            assert unit.deploy(f"bad {number}", "spoils").kept
            assert local(unit).read_text() == f"edit {number}\n"
        assert len(list(unit.store.folder.glob("left-by-*"))) == switching.KEPT_COUNT

    def test_large_files_are_bounded_by_their_size_but_the_newest_stays(self, tmp_path):
        for name in ("left-by-1", "left-by-2"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "large").write_bytes(b"x" * 1000)
        os.utime(tmp_path / "left-by-1", (1, 1))
        kept_configuration.forget_old(tmp_path, "left-by-*", 5, 500)
        assert [one.name for one in tmp_path.iterdir()] == ["left-by-2"]

    def test_half_a_copy_is_no_copy(self, unit, monkeypatch):
        """A disk that is full while the configuration is copied: nothing is taken for new and moved away."""

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(kept_configuration, "_copy", full)
        outcome = unit.deploy("new")
        assert (outcome.verdict, unit.whole()) == (verdicts.ROLLED_BACK, image_of("old"))
        assert "No space left" in outcome.reason and unit.state.quarantine == {}
        assert local(unit).read_text() == "by a person\n"

    def test_no_room_to_keep_it_elsewhere(self, unit, monkeypatch):
        copy = kept_configuration._copy

        def full(source, target):
            if "left-by" in str(target):
                raise OSError(28, "No space left on device")
            copy(source, target)

        monkeypatch.setattr(kept_configuration, "_copy", full)
        outcome = unit.deploy("bad", "spoils")
        assert outcome.verdict == verdicts.ROLLED_BACK
        assert local(unit).read_text() == "by a person\n"
        assert (unit.configuration / f"pocs_local.yaml.left-by-{outcome.id}").read_text() == "spoiled\n"


class TestReleaseFile:
    @pytest.mark.parametrize("damage", ["missing", "empty", "binary", "cut"])
    def test_state_knows_what_ran_and_a_bad_release_is_undone(self, unit, damage):
        path = Path(unit.settings.release_file)
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes({"empty": b"", "binary": b"\xff\xfe\x00", "cut": b"PANOPTES_UTILS_IMAGE=regis"}[damage])
        assert unit.deploy("bad", "exits").verdict == verdicts.ROLLED_BACK
        assert unit.whole() == image_of("old")

    def test_observing_lock_holds_without_it(self, unit, tmp_path):
        Path(unit.settings.release_file).unlink()
        unit.observing(tmp_path, "observing")
        assert unit.deploy("new").verdict == verdicts.DEFERRED
        assert unit.whole() == image_of("old")

    def test_damaged_one_of_a_blank_unit_is_named(self, tmp_path):
        blank = FakeUnit(tmp_path / "blank")
        Path(blank.settings.release_file).write_text("nonsense")
        with pytest.raises(UnitError, match="names no image by digest"):
            blank.transaction().deploy()


class TestFullDisk:
    """The disk fills at some write after the switch."""

    @pytest.mark.parametrize("number", range(1, 8))
    def test_release_that_fills_it_is_undone(self, unit, monkeypatch, number):
        writes, store = [], unit.store

        def save(state):
            writes.append(1)
            if reserve._file(store.folder).exists():  # the new release has taken all the room there was
                raise OSError(28, "No space left on device")
            type(store).save(store, state)

        mark = Journal.mark

        def marking(self, step, point, **facts):
            if step in ("switch", "prove", "commit"):
                marks.append(f"{step}:{point}")
                if len(marks) == number:
                    raise OSError(28, "No space left on device")
            mark(self, step, point, **facts)

        marks: list = []
        monkeypatch.setattr(Journal, "mark", marking)
        monkeypatch.setattr(store, "save", save)
        outcome = unit.deploy("new")
        if marks[-1] == "commit:state" or marks[-1] == "commit:after":
            monkeypatch.undo()
            unit.run("recover")
        assert unit.whole() in (image_of("old"), image_of("new"))
        assert outcome.verdict in (verdicts.ROLLED_BACK, verdicts.FAILED) and "No space left" in outcome.reason

    def test_way_back_does_not_need_the_journal(self, unit, monkeypatch):
        write = Journal._write

        def full(self, point, **facts):
            if point.startswith("undo"):
                raise OSError(28, "No space left on device")
            write(self, point, **facts)

        monkeypatch.setattr(Journal, "_write", full)
        assert unit.deploy("bad", "exits").verdict == verdicts.ROLLED_BACK
        assert unit.whole() == image_of("old")

    def test_room_for_the_way_back_is_taken_before_the_switch(self, unit):
        seen = []
        unit.engine.before_up = lambda: seen.append(reserve._file(unit.store.folder).stat().st_size)
        unit.deploy("new")
        assert seen == [reserve.SIZE]
        assert not reserve._file(unit.store.folder).exists()


class TestBlame:
    """An image is at fault only if the one before works in the same world."""

    def test_compose_file_that_cannot_be_read_is_found_before_the_switch(self, unit, monkeypatch):
        def refuse():
            raise UnitError("docker compose config: yaml: line 3")

        ups = unit.engine.ups
        monkeypatch.setattr(unit.engine, "services", refuse)
        outcome = unit.deploy("new")
        assert (outcome.verdict, unit.engine.ups) == (verdicts.FAILED, ups)
        monkeypatch.undo()
        assert unit.run().verdict == verdicts.UPDATED

    def test_stranger_on_the_port_leaves_no_quarantine(self, unit):
        def taken():
            raise UnitError("docker compose up: error: address already in use")

        unit.engine.before_up = taken
        outcome = unit.deploy("new")
        assert (outcome.verdict, unit.state.quarantine) == (verdicts.DEFERRED, {}), outcome.reason
        assert "the fault is in this unit" in outcome.reason
        assert unit.whole() == image_of("old"), "the old services never stopped"
        unit.engine.before_up = lambda: None
        assert unit.run().verdict == verdicts.UPDATED

    def test_layer_that_both_share_is_nobodys_fault(self, unit):
        def emptied():
            unit.engine.behaviours.update({image_of("new"): "exits", image_of("old"): "exits"})
            unit.engine.running.clear()

        unit.engine.before_up = emptied
        outcome = unit.deploy("new")
        assert (outcome.verdict, unit.state.quarantine) == (verdicts.BROKEN, {})
        unit.engine.before_up = lambda: None
        unit.engine.behaviours.clear()
        assert unit.run().exit_code == errors.OK
        assert unit.whole() == image_of("new")

    def test_first_reason_is_the_one_in_the_history(self, unit):
        unit.engine.behaviours[unit.registry.offer("bad")] = "exits"
        with pytest.raises(PowerCut):
            unit.transaction(dies_at="undo:before").deploy()
        outcome = unit.run("recover")
        assert "messaging-hub ended with 3: its last words; the way back was gone on" in outcome.reason
        assert unit.store.history()[-1]["reason"] == outcome.reason
        assert unit.state.quarantine == {}, "the world may be another one since then"
        assert unit.run("update").verdict == verdicts.ROLLED_BACK
        assert digest_of("bad") in unit.state.quarantine

    def test_crash_of_long_ago_does_not_count(self, unit):
        hub = unit.engine.running["messaging-hub"]
        unit.engine.running["messaging-hub"] = hub._replace(restarts=1)
        unit.registry.offer("new")
        with pytest.raises(PowerCut):
            unit.transaction(dies_at="switch:file").deploy()
        assert unit.run("recover").verdict == verdicts.ROLLED_BACK


class TestUnchangedIsWhole:
    @pytest.mark.parametrize("verb", ["update", "deploy"])
    @pytest.mark.parametrize("damage", ["removed", "all removed", "stopped", "unhealthy", "other image", "image gone"])
    def test_newest_release_that_does_not_run_whole_is_brought_up(self, unit, verb, damage):
        engine = unit.engine
        hub = engine.running["messaging-hub"]
        if damage == "removed":
            del engine.running["messaging-hub"]
        elif damage == "all removed":
            engine.running.clear()
        elif damage == "image gone":
            engine.images.clear()
            engine.running.clear()
        else:
            engine.running["messaging-hub"] = hub._replace(
                **{
                    "stopped": {"status": "exited"},
                    "unhealthy": {"health": "unhealthy", "status": "exited"},
                    "other image": {"image": image_of("x")},
                }[damage]
            )
        outcome = unit.run(verb)
        assert (outcome.verdict, outcome.changed, outcome.exit_code) == (verdicts.RESTORED, True, errors.OK)
        assert outcome.reason
        assert unit.whole() == image_of("old")
        assert unit.run(verb).verdict == verdicts.UNCHANGED

    def test_newest_release_is_never_put_into_quarantine(self, unit):
        unit.engine.running.clear()
        unit.engine.behaviours[image_of("old")] = "exits"
        outcome = unit.run()
        assert (outcome.verdict, unit.state.quarantine) == (verdicts.BROKEN, {})
        unit.engine.behaviours.clear()
        unit.engine.running.clear()
        assert unit.run("update").verdict == verdicts.RESTORED


class TestWindow:
    def test_unit_that_is_never_on_by_day_is_told_after_a_week(self, unit):
        hour = time.time() % 86400 / 3600
        unit.settings.window.start_h, unit.settings.window.end_h = (hour + 2) % 24, (hour + 3) % 24
        reasons = []
        for number in range(MANY_TIMES):
            unit.registry.offer(f"night {number}")
            reasons.append(unit.run("update").reason)
        assert [NEVER_IN_WINDOW in reason for reason in reasons] == [False] * (MANY_TIMES - 1) + [True]
        assert unit.run("deploy").verdict == verdicts.UPDATED
        assert unit.state.deferrals == {}


class TestBusyRegistry:
    """How Docker Engine tells what a registry answered while it downloads."""

    SAID = (
        "toomanyrequests: retry-after: 1.2ms, allowed: 44000/minute",
        "received unexpected HTTP status: 503 Service Unavailable",
        "unexpected status from GET request to https://r.example/v2/p/manifests/sha256:aa: 500 Internal Server Error",
        "error parsing HTTP 429 response body: invalid character '<' looking for beginning of value",
    )
    REFUSED = (
        "manifest unknown: manifest unknown",
        "unauthorized: authentication required",
        "write /var/lib/docker/tmp/GetImageBlob500: no space left on device",
        "dial tcp 127.0.0.1:500: connect: connection refused",
    )

    def failing(self, unit, said, times):
        asked = []

        def fail():
            asked.append(said)
            if len(asked) <= times:
                raise UnitError(f"pulling p: {said}")

        unit.engine.before_pull = fail
        return asked

    @pytest.mark.parametrize("said", SAID)
    def test_download_is_tried_again_and_no_night_is_lost(self, unit, said):
        asked = self.failing(unit, said, 2)
        assert unit.deploy("new").verdict == verdicts.UPDATED
        assert len(asked) == 3

    @pytest.mark.parametrize("said", SAID)
    def test_tries_have_an_end(self, unit, said):
        asked = self.failing(unit, said, 100)
        outcome = unit.deploy("new")
        assert (outcome.verdict, said in outcome.reason, len(asked)) == (verdicts.FAILED, True, 3)
        assert unit.whole() == image_of("old")

    @pytest.mark.parametrize("said", REFUSED)
    def test_what_waiting_does_not_mend_is_said_at_once(self, unit, said):
        asked = self.failing(unit, said, 100)
        assert unit.deploy("new").verdict == verdicts.FAILED
        assert len(asked) == 1


class TestRoom:
    def test_layers_of_an_image_that_is_gone_count_as_missing(self, unit):
        state = unit.state
        state.current["layers"] = [digest_of(f"layer {digest_of('old')}")]
        unit.store.save(state)
        unit.engine.images.clear()
        unit.engine.running.clear()
        unit.engine.free = 1000
        outcome = unit.run()
        assert outcome.verdict == verdicts.FAILED and "not enough room" in outcome.reason

    def test_own_superfluous_images_go_first(self, unit):
        extra = f"{NAME}@{digest_of('fetched and never used')}"
        unit.engine.images[extra] = "linux/amd64"
        prune = unit.engine.prune

        def pruned(repositories, keep):
            gone = prune(repositories, keep)
            unit.engine.free += 10_000 * len(gone)
            return gone

        unit.engine.prune = pruned
        unit.engine.free = 1000
        assert unit.deploy("new").verdict == verdicts.UPDATED

    def test_images_of_a_source_that_was_left_are_removed(self, unit):
        unit.deploy("second")
        elsewhere = "mirror.example.org/panoptes-utils"
        unit.settings.source = f"{elsewhere}:latest"
        for name in ("third", "fourth"):
            unit.deploy(name)
        assert {image.partition("@")[0] for image in unit.engine.images} == {elsewhere}

    def test_deferred_nights_leave_one_fetched_release(self, unit, tmp_path):
        unit.observing(tmp_path, "observing")
        for number in range(6):
            assert unit.deploy(f"night {number}").verdict == verdicts.DEFERRED
        assert set(unit.engine.images) == {image_of("old"), image_of("night 5")}


def test_whatever_else_goes_wrong_after_the_switch_is_undone(unit, monkeypatch):
    for error in (RecursionError("deep"), OverflowError("date"), MemoryError(), ValueError("no JSON")):

        def fail(_, error=error):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(unit.engine, "services", lambda fail=fail: ["config-server", "messaging-hub"])
            calls = iter([error])

            def works(_, calls=calls):
                for one in calls:
                    raise one

            patch.setattr(switching.proof, "works", works)
            outcome = unit.deploy(f"new {type(error).__name__}")
        assert (outcome.verdict, unit.whole()) == (verdicts.ROLLED_BACK, image_of("old"))
        assert type(error).__name__ in outcome.reason
        assert read_release(Path(unit.settings.release_file)).image == image_of("old")


def test_lock_is_waited_for_no_longer_than_it_says(unit):
    assert run_lock.PATIENCE_S < run_lock.LEFT_AT_WORK_S
