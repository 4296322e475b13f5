"""Every end of a transaction, on a unit with a fake engine: what it says, and what the unit is like afterwards."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest
from fake_unit import NAME, FakeUnit, PowerCut, digest_of, image_of

from panoptes_unit import errors
from panoptes_unit.deploy import candidate, proof, verdicts
from panoptes_unit.deploy.journal import POINTS
from panoptes_unit.deploy.release import Release, read_release, write_release
from panoptes_unit.errors import HealthError, UnitError
from panoptes_unit.machine import clock


@pytest.fixture
def blank(tmp_path):
    """A unit before its first release."""
    return FakeUnit(tmp_path / "unit")


@pytest.fixture
def unit(blank):
    """A unit on release `old`."""
    assert blank.deploy("old").verdict == verdicts.UPDATED
    blank.engine.ups = blank.engine.stops = blank.engine.looks = 0
    return blank


class TestGoodEnds:
    def test_first_release_is_brought_up(self, blank):
        outcome = blank.deploy("first")
        assert (outcome.verdict, outcome.exit_code, outcome.changed) == (verdicts.UPDATED, errors.OK, True)
        assert (outcome.old, outcome.new, outcome.bytes) == ("", image_of("first"), 1000)
        assert blank.whole() == image_of("first")
        assert blank.state.previous is None

    def test_release_before_the_services_is_only_installed(self, blank):
        Path(blank.settings.compose_file).unlink()
        outcome = blank.deploy("first")
        assert (outcome.verdict, blank.engine.ups) == (verdicts.INSTALLED, 0)
        assert read_release(Path(blank.settings.release_file)).image == image_of("first")

    def test_newer_release_replaces_the_old_one_which_becomes_the_previous(self, unit):
        assert unit.deploy("new").verdict == verdicts.UPDATED
        assert unit.whole() == image_of("new")
        assert unit.state.previous["image"] == image_of("old")
        assert unit.store.history()[-1]["verdict"] == verdicts.UPDATED

    def test_only_current_previous_and_pinned_stay_on_the_disk(self, unit):
        unit.deploy("second")
        state = unit.state
        state.pinned = {"at": 0, "by": "x", "reason": "", "release": state.previous}
        unit.store.save(state)
        for name in ("third", "fourth"):
            assert unit.deploy(name, force=True).verdict == verdicts.UPDATED
        assert set(unit.engine.images) == {image_of("old"), image_of("third"), image_of("fourth")}

    def test_nothing_newer_costs_one_request_and_leaves_no_line(self, unit):
        before = len(unit.store.history())
        unit.registry.requests = 0
        outcome = unit.run("update")
        assert (outcome.verdict, outcome.changed, outcome.exit_code) == (verdicts.UNCHANGED, False, errors.OK)
        assert unit.registry.requests == outcome.registry["requests"] == 1
        assert (len(unit.store.history()), unit.engine.ups) == (before, 0)

    def test_new_index_over_the_same_image_changes_the_name_only(self, unit):
        unit.registry.offer("old", index="another index")
        outcome = unit.run()
        assert (outcome.verdict, outcome.changed, unit.engine.ups) == (verdicts.RELABELLED, True, 0)
        assert unit.state.current["index"] == digest_of("another index")
        assert unit.run().verdict == verdicts.UNCHANGED

    def test_release_file_of_other_hands_counts(self, unit):
        unit.deploy("new")
        write_release(Path(unit.settings.release_file), Release(image_of("old"), digest_of("x"), "latest", "p"))
        assert unit.run().verdict == verdicts.UPDATED
        assert unit.whole() == image_of("new")

    def test_soak_ends_in_a_commit(self, unit):
        unit.settings.limits.soak_s = 0.01
        assert unit.deploy("new").verdict == verdicts.UPDATED

    def test_images_stay_behind_where_the_engine_is_lost_after_the_commit(self, unit, monkeypatch):
        def lost(*_):
            raise UnitError("gone")

        monkeypatch.setattr(unit.engine, "prune", lost)
        assert unit.deploy("new").verdict == verdicts.UPDATED


class TestHeld:
    def test_pinned_unit_stays_unless_forced(self, unit):
        state = unit.state
        state.pinned = {"at": 0, "by": "x", "reason": "campaign", "release": state.current}
        unit.store.save(state)
        outcome = unit.deploy("new")
        assert (outcome.verdict, outcome.reason) == (verdicts.HELD, "pinned: campaign")
        assert unit.deploy("new", force=True).verdict == verdicts.UPDATED

    def test_index_in_quarantine_is_not_tried_again(self, unit):
        assert unit.deploy("bad", "exits").verdict == verdicts.ROLLED_BACK
        unit.engine.ups = 0
        outcome = unit.run()
        assert (outcome.verdict, unit.engine.ups) == (verdicts.HELD, 0)
        assert "its last words" in outcome.reason

    def test_image_in_quarantine_is_refused_under_another_index(self, unit):
        unit.deploy("bad", "exits")
        unit.registry.offer("bad", index="another index")
        outcome = unit.run()
        assert (outcome.verdict, outcome.exit_code) == (verdicts.FAILED, errors.FAILED)
        assert "in quarantine" in outcome.reason

    def test_force_tries_it_and_success_lets_it_out(self, unit):
        unit.deploy("bad", "exits")
        unit.engine.behaviours.clear()
        assert unit.run(force=True).verdict == verdicts.UPDATED
        assert unit.state.quarantine == {}


class TestDeferred:
    def deferred(self, unit, text, verb="deploy"):
        unit.registry.offer("new")
        outcome = unit.run(verb)
        assert (outcome.verdict, outcome.exit_code) == (verdicts.DEFERRED, errors.DEFERRED)
        assert text in outcome.reason
        assert unit.whole() == image_of("old") and unit.engine.ups == 0
        assert image_of("new") in unit.engine.images, "what was fetched waits on the disk"

    def test_operators_lock_waits_until_it_ends_or_force(self, unit):
        state = unit.state
        state.locked = {"at": 0, "by": "anna", "reason": "", "until": None}
        unit.store.save(state)
        self.deferred(unit, "locked by anna")
        assert unit.run(force=True).verdict == verdicts.UPDATED

    def test_timer_waits_for_the_window_and_a_person_does_not(self, unit):
        hour = time.time() % 86400 / 3600
        unit.settings.window.start_h, unit.settings.window.end_h = (hour + 2) % 24, (hour + 3) % 24
        self.deferred(unit, "outside the window", "update")
        assert unit.run("deploy").verdict == verdicts.UPDATED

    def test_observing_unit_waits(self, unit, tmp_path):
        unit.observing(tmp_path, "observing")
        self.deferred(unit, "observing")
        unit.observing(tmp_path, "parked")
        assert unit.run().verdict == verdicts.UPDATED

    def test_unknown_state_defers_the_timer_a_bounded_number_of_times(self, unit, tmp_path):
        unit.observing(tmp_path, None)
        unit.settings.observing.max_deferrals = 2
        for number in (1, 2):
            self.deferred(unit, f"deferral {number} of 2", "update")
        assert unit.run("update").verdict == verdicts.UPDATED
        assert unit.state.deferrals == {}

    def test_unknown_state_does_not_stop_a_person(self, unit, tmp_path):
        unit.observing(tmp_path, None)
        assert unit.deploy("new").verdict == verdicts.UPDATED

    def test_first_release_disturbs_nobody(self, blank, tmp_path):
        blank.observing(tmp_path, "observing")
        assert blank.deploy("first").verdict == verdicts.UPDATED


class TestFailedBeforeTheSwitch:
    def failed(self, unit, text, **options):
        outcome = unit.run(**options)
        assert (outcome.verdict, outcome.changed) == (verdicts.FAILED, False)
        assert text in outcome.reason
        assert unit.whole() == image_of("old") and unit.engine.ups == 0
        return outcome

    def test_clock_that_cannot_be(self, unit, monkeypatch):
        unit.registry.offer("new")
        monkeypatch.setattr(clock, "CLOCK_FLOOR", time.time() + 1000)
        self.failed(unit, "clock")

    def test_full_disk_is_refused_before_the_download(self, unit):
        unit.registry.offer("new")
        unit.engine.free = 1000 + 3499
        self.failed(unit, "not enough room")
        assert image_of("new") not in unit.engine.images
        unit.engine.free = 1000 + 3500
        assert unit.run().verdict == verdicts.UPDATED

    def test_layers_that_are_there_take_no_room(self, unit):
        state = unit.state
        state.current["layers"] = [digest_of(f"layer {digest_of('new')}")]
        unit.store.save(state)
        unit.registry.offer("new")
        unit.engine.free = 1000
        assert unit.run().verdict == verdicts.UPDATED

    def test_download_that_breaks(self, unit):
        def broken():
            raise UnitError("pulling: connection lost")

        unit.registry.offer("new")
        unit.engine.before_pull = broken
        self.failed(unit, "connection lost")

    def test_unsigned_release_where_a_signature_is_asked_for(self, unit, monkeypatch):
        def refuse(*_):
            raise UnitError("not signed")

        unit.settings.signature_key = "key"
        monkeypatch.setattr(candidate.signature, "require", refuse)
        unit.registry.offer("new")
        self.failed(unit, "not signed", force=True)
        assert unit.state.quarantine == {}, "it is taken when it is signed later"
        monkeypatch.setattr(candidate.signature, "require", lambda *_: None)
        assert unit.run().verdict == verdicts.UPDATED

    def test_image_for_another_processor_goes_into_quarantine(self, unit):
        unit.engine.images[unit.registry.offer("new")] = "linux/arm/v7"
        self.failed(unit, "made for linux/arm/v7")
        assert digest_of("new") in unit.state.quarantine

    def test_wrong_source_has_the_exit_code_of_a_wrong_setting(self, unit):
        unit.settings.source = "not an image name"
        assert self.failed(unit, "not an image name").exit_code == errors.USAGE

    def test_bundle_that_is_not_there(self, unit, tmp_path):
        transaction = unit.transaction()
        with pytest.raises(UnitError):
            transaction.deploy(bundle_path=str(tmp_path / "absent"))
        assert (transaction.outcome.verdict, transaction.outcome.source) == (verdicts.FAILED, str(tmp_path / "absent"))

    def test_ctrl_c_during_the_download(self, unit):
        def stop():
            raise KeyboardInterrupt

        unit.registry.offer("new")
        unit.engine.before_pull = stop
        self.failed(unit, "stopped by the operator")

    def test_another_tag_is_asked_for_by_name(self, unit):
        unit.registry.offer("older", tag="0.1.0")
        transaction = unit.transaction()
        transaction.deploy(tag="0.1.0")
        assert unit.whole() == image_of("older")
        assert transaction.outcome.source == f"{NAME}:0.1.0"


BAD = ("exits", "unhealthy", "starting", "refused", "absent-service", "spoils", "restarts", "vanishes")


class TestUndone:
    @pytest.mark.parametrize("behaviour", BAD)
    def test_bad_image_is_left_and_never_tried_again(self, unit, behaviour):
        unit.settings.limits.soak_s = 0.01 if behaviour in ("restarts", "vanishes") else 0.0
        outcome = unit.deploy("bad", behaviour)
        assert (outcome.verdict, outcome.exit_code, outcome.changed) == (
            verdicts.ROLLED_BACK, errors.ROLLED_BACK, True
        )  # fmt: skip
        assert unit.whole() == image_of("old")
        assert digest_of("bad") in unit.state.quarantine
        assert image_of("bad") not in unit.engine.images
        assert unit.store.history()[-1]["reason"] == outcome.reason
        assert (unit.configuration / "pocs_local.yaml").read_text() == "by a person\n"

    def test_services_that_do_not_do_their_work_are_undone(self, unit, monkeypatch):
        answers = iter([HealthError("config server: no usable answer")])

        def works(_):
            for error in answers:
                raise error

        monkeypatch.setattr(proof, "works", works)
        outcome = unit.deploy("bad")
        assert (outcome.verdict, unit.whole()) == (verdicts.ROLLED_BACK, image_of("old"))

    def test_what_a_bad_release_left_is_kept_aside(self, unit):
        outcome = unit.deploy("bad", "spoils")
        assert not (unit.configuration / "new").exists()
        aside = unit.store.folder / f"left-by-{outcome.id}"
        assert outcome.kept == str(aside)
        assert (aside / str(unit.configuration / "new").lstrip("/")).read_text() == "left behind\n"
        assert (aside / str(unit.configuration / "pocs_local.yaml").lstrip("/")).read_text() == "spoiled\n"
        assert unit.engine.stops == 1, "a server that runs would write over what is restored"

    def test_ctrl_c_during_the_switch_blames_nobody(self, unit):
        def stop():
            unit.engine.before_up = lambda: None
            raise KeyboardInterrupt

        unit.engine.before_up = stop
        outcome = unit.deploy("new")
        assert (outcome.verdict, outcome.reason) == (verdicts.ROLLED_BACK, "stopped by the operator")
        assert (unit.whole(), unit.state.quarantine) == (image_of("old"), {})

    def test_bad_first_release_leaves_a_blank_unit(self, blank):
        outcome = blank.deploy("bad", "exits")
        assert (outcome.verdict, outcome.exit_code) == (verdicts.FAILED, errors.FAILED)
        assert not Path(blank.settings.release_file).exists()
        assert blank.engine.stops == 1
        assert blank.deploy("good").verdict == verdicts.UPDATED

    def test_neither_works(self, unit):
        unit.engine.behaviours[image_of("old")] = "exits"
        unit.engine.running.clear()
        outcome = unit.deploy("bad", "exits")
        assert (outcome.verdict, outcome.exit_code) == (verdicts.BROKEN, errors.BROKEN)
        assert "; and the old release: " in outcome.reason
        assert not unit.store.journal_path.exists(), "a later, better release may come"
        unit.engine.running.clear()
        assert unit.deploy("good").verdict == verdicts.UPDATED

    def test_lost_engine_blames_nobody_and_recovery_goes_on(self, unit):
        outcome = unit.deploy("new", "engine-dies")
        assert (outcome.verdict, outcome.exit_code) == (verdicts.BROKEN, errors.BROKEN)
        assert unit.store.journal_path.exists() and unit.state.quarantine == {}
        again = unit.run()
        assert (again.verdict, again.reason) == ("", ""), "nothing new is begun"
        unit.engine.alive = True
        assert unit.run("recover").verdict == verdicts.ROLLED_BACK
        assert unit.whole() == image_of("old")


class TestRollback:
    def test_release_that_is_left_goes_into_quarantine(self, unit):
        unit.deploy("new")
        outcome = unit.run("rollback")
        assert (outcome.verdict, outcome.bytes) == (verdicts.UPDATED, 0)
        assert unit.whole() == image_of("old")
        assert unit.state.quarantine[digest_of("new")]["reason"] == "rolled back by tester"
        assert unit.run().verdict == verdicts.HELD

    def test_nothing_to_go_back_to(self, unit):
        outcome = unit.run("rollback")
        assert (outcome.verdict, unit.whole()) == (verdicts.FAILED, image_of("old"))

    def test_previous_release_that_is_gone_is_refused_before_anything_stops(self, unit):
        unit.deploy("new")
        del unit.engine.images[image_of("old")]
        outcome = unit.run("rollback")
        assert "not on the disk any more" in outcome.reason
        assert unit.whole() == image_of("new")

    def test_previous_release_that_does_not_work_any_more(self, unit):
        unit.deploy("new")
        unit.engine.behaviours[image_of("old")] = "exits"
        outcome = unit.run("rollback")
        assert (outcome.verdict, unit.whole()) == (verdicts.ROLLED_BACK, image_of("new"))
        assert list(unit.state.quarantine) == [digest_of("old")]


class TestPowerCut:
    """The power fails at each point of the journal: the unit is wholly on one release after recovery."""

    def cut(self, unit, point, verb="deploy"):
        transaction = unit.transaction(verb, dies_at=point)
        with pytest.raises(PowerCut):
            getattr(transaction, verb)()
        unit.engine.ups = 0

    @pytest.mark.parametrize("point", [one for one in POINTS if not one.startswith("undo")])
    def test_good_release(self, unit, point):
        unit.registry.offer("new")
        self.cut(unit, point)
        outcome = unit.run("recover")
        begun = point.partition(":")[0] not in ("resolve", "check")
        committed = point.startswith("commit")
        switched = point in ("switch:file", "switch:after") or point.startswith("prove")
        if not begun or point == "commit:after":
            # Nothing had begun, or all was done and the power failed before nothing.
            assert outcome.verdict == verdicts.UNCHANGED
        elif committed:
            assert outcome.verdict == verdicts.UPDATED
        else:
            assert outcome.verdict == (verdicts.ROLLED_BACK if switched else verdicts.INTERRUPTED)
        assert unit.whole() == image_of("new" if committed else "old")
        assert unit.run("recover").verdict == verdicts.UNCHANGED

    @pytest.mark.parametrize("point", ["commit:before", "commit:state"])
    def test_commit_that_cannot_go_on_leaves_nothing_of_its_state(self, unit, point):
        unit.deploy("second")
        known = (unit.state.current, unit.state.previous)
        new = unit.registry.offer("new")
        self.cut(unit, point)
        unit.engine.behaviours[new] = "refused"
        assert unit.run("recover").verdict == verdicts.ROLLED_BACK
        assert unit.whole() == image_of("second")
        assert (unit.state.current, unit.state.previous) == known

    @pytest.mark.parametrize("behaviour", ["exits", "spoils"])
    @pytest.mark.parametrize("point", [one for one in POINTS if one.startswith("undo")])
    def test_during_the_undo_of_a_bad_one(self, unit, point, behaviour):
        unit.engine.behaviours[unit.registry.offer("bad")] = behaviour
        self.cut(unit, point)
        assert unit.run("recover").verdict == verdicts.ROLLED_BACK
        assert unit.whole() == image_of("old")
        assert (unit.configuration / "pocs_local.yaml").read_text() == "by a person\n"
        assert unit.run("update").verdict in (verdicts.ROLLED_BACK, verdicts.HELD)
        assert digest_of("bad") in unit.state.quarantine

    @pytest.mark.parametrize("point", [one for one in POINTS if one.startswith(("switch", "commit"))])
    def test_first_release(self, blank, point):
        blank.registry.offer("first")
        self.cut(blank, point)
        blank.run("recover")
        if Path(blank.settings.release_file).exists():
            assert blank.whole() == image_of("first")
        assert blank.run().exit_code == errors.OK
        assert blank.whole() == image_of("first")

    @pytest.mark.parametrize("point", [one for one in POINTS if one.startswith(("switch", "commit"))])
    def test_before_the_services_are_there(self, blank, point):
        Path(blank.settings.compose_file).unlink()
        blank.registry.offer("first")
        self.cut(blank, point)
        blank.run("recover")
        assert blank.run().verdict in (verdicts.INSTALLED, verdicts.UNCHANGED)
        assert blank.engine.ups == 0

    @pytest.mark.parametrize("point", ["switch:file", "commit:state"])
    def test_next_verb_recovers_first(self, unit, point):
        unit.registry.offer("new")
        self.cut(unit, point)
        assert unit.run().exit_code == errors.OK
        assert unit.whole() == image_of("new")

    def test_three_in_the_same_update_put_it_into_quarantine(self, unit):
        for count in (1, 2, 3):
            unit.registry.offer("new")
            self.cut(unit, "switch:file")
            unit.run("recover")
            assert (digest_of("new") in unit.state.quarantine) == (count == 3)
        assert unit.run().verdict == verdicts.HELD
        assert unit.whole() == image_of("old")

    @pytest.mark.parametrize("point", ["switch:file", "prove:before", "undo:file"])
    def test_of_the_release_that_runs_already_counts_against_nobody(self, unit, point):
        if point == "undo:file":
            unit.engine.behaviours[image_of("old")] = "exits"
            unit.engine.running.clear()
        transaction = unit.transaction("deploy", force=True, dies_at=point)
        with suppress(PowerCut):  # the undo has points that a good release does not pass
            transaction.deploy()
        unit.engine.behaviours[image_of("old")] = "works"
        unit.run("recover")
        assert unit.whole() == image_of("old")
        assert (unit.state.interrupted, unit.state.quarantine) == ({}, {})

    def test_at_two_points_one_after_the_other(self, unit):
        unit.registry.offer("new")
        self.cut(unit, "switch:file")
        self.cut(unit, "undo:file", "recover")
        assert unit.run("recover").verdict == verdicts.ROLLED_BACK
        assert unit.whole() == image_of("old")

    def test_rollback(self, unit):
        unit.deploy("new")
        self.cut(unit, "switch:file", "rollback")
        assert unit.run("recover").verdict == verdicts.ROLLED_BACK
        assert unit.whole() == image_of("new")


class TestVerdicts:
    def test_nothing_to_recover(self, unit):
        outcome = unit.run("recover")
        assert (outcome.verdict, outcome.reason) == (verdicts.UNCHANGED, "nothing was interrupted")

    def test_each_has_a_constant_and_an_exit_code_with_a_sentence(self):
        named = {value for name, value in vars(verdicts).items() if name.isupper() and isinstance(value, str)}
        assert named == set(verdicts.VERDICTS)
        assert {ending.exit_code for ending in verdicts.VERDICTS.values()} <= set(verdicts.EXIT_CODES)
        codes = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
        assert codes == set(verdicts.EXIT_CODES)
        assert all(ending.sentence for ending in verdicts.VERDICTS.values())

    def test_page_tells_all_of_them_as_they_are(self):
        page = (Path(__file__).parents[4] / "docs" / "failed-update.md").read_text(encoding="utf-8")
        for name, ending in verdicts.VERDICTS.items():
            assert f"| `{name}` | {ending.exit_code} | {ending.sentence} |" in page
        for code, sentence in verdicts.EXIT_CODES.items():
            assert f"| {code} | {sentence} |" in page
