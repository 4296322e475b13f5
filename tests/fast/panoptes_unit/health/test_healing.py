"""A unit heals itself: only what two looks in turn found, not more often than it bears, and nobody's lock is passed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
from fake_unit import FakeUnit
from hypothesis import given
from hypothesis import strategies as st

from panoptes_unit import cli
from panoptes_unit.deploy import verdicts
from panoptes_unit.deploy.run import Run
from panoptes_unit.deploy.run_lock import exclusive, is_held
from panoptes_unit.errors import FAILED, OK, BusyError, DeferredError, UnitError
from panoptes_unit.health import healing, wholeness
from panoptes_unit.health import record as records
from panoptes_unit.health.healing import ATTEMPTS_A_DAY, BACK_OFF_S, BY, DAY_S, heal, next_try
from panoptes_unit.health.record import Record
from panoptes_unit.health.status import status

START = 1_800_000_000.0
PERIOD_S = 300.0


class Unit:
    """A unit on a fake engine, with a clock that the test sets and a fake repair."""

    def __init__(self, made: FakeUnit) -> None:
        self.made = made
        self.now = START
        self.repairs = 0
        self.repair = self.heals

    def heals(self, run: Run) -> None:
        self.made.engine.up()
        run.end(verdicts.HEALED, "services: gone; what helped: bring the services up")

    def fails(self, run: Run) -> None:
        run.end(verdicts.BROKEN, "services: gone; nothing helped")

    def called(self, run: Run) -> None:
        self.repairs += 1
        with exclusive(run.store.folder):
            self.repair(run)

    def waits(self, run: Run) -> None:
        run.conclude(verdicts.DEFERRED, "services: gone; observing")
        raise DeferredError("services: gone; observing")

    def breaks(self, run: Run) -> None:
        raise ZeroDivisionError("a fault of the tool")

    def look(self, minutes: float = 5, hand_over: str = "", at_once: bool = False) -> healing.Healed:
        """The timer comes after some minutes."""
        self.now += minutes * 60
        run = self.made.transaction(healing.VERB).run
        run.outcome.by, run.outcome.at = BY, self.now
        return heal(run, self.made.engine, hand_over, at_once)

    def break_it(self) -> None:
        self.made.engine.running.pop("messaging-hub")

    @property
    def record(self) -> Record:
        found = records.read(Path(self.made.settings.health))
        assert found is not None
        return found

    def restarts(self) -> None:
        """The machine: what was in memory is gone."""
        Path(self.made.settings.health).unlink()


@pytest.fixture
def unit(tmp_path, monkeypatch):
    made = FakeUnit(tmp_path / "unit")
    made.deploy("old")
    unit = Unit(made)
    monkeypatch.setattr(wholeness, "Engine", lambda settings: made.engine)
    monkeypatch.setattr("time.time", lambda: unit.now)
    module = types.ModuleType("repair")
    module.repair = unit.called
    monkeypatch.setitem(sys.modules, "panoptes_unit.health.repair", module)
    return unit


def on_disk(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [folder, *folder.rglob("*")]
    }


def test_whole_unit_is_told_in_memory_and_nothing_is_written_to_the_card(unit):
    before = on_disk(Path(unit.made.settings.state))
    for _ in range(3):
        assert unit.look().record.whole
    assert on_disk(Path(unit.made.settings.state)) == before
    assert json.loads(Path(unit.made.settings.health).read_text()) == {
        "at": unit.now, "whole": True, "problems": [], "in_turn": 0,
        "next_try": 0.0, "attempts": [], "doing": "", "compose": {},
    }  # fmt: skip
    assert unit.repairs == 0


def test_unit_is_repaired_when_it_was_not_whole_twice_in_turn_and_not_before(unit):
    unit.break_it()
    first = unit.look()
    assert (first.record.whole, first.record.in_turn, first.outcome, unit.repairs) == (False, 1, None, 0)
    assert [one["name"] for one in unit.record.problems] == ["services"]
    second = unit.look()
    assert second.record.whole and second.outcome.verdict == verdicts.HEALED
    assert (unit.repairs, unit.record.whole, unit.record.attempts) == (1, True, [unit.now])
    (line,) = [line for line in unit.made.store.history() if line["by"] == BY]
    assert (line["verb"], line["at"]) == ("repair", unit.now)
    assert line["reason"].startswith("services: ")


def test_unit_that_comes_back_by_itself_is_not_repaired(unit):
    for _ in range(3):
        unit.break_it()
        assert not unit.look().record.whole
        unit.made.engine.up()
        assert unit.look().record.whole
    assert unit.repairs == 0


def test_look_agrees_with_status_and_doctor_on_each_thing_that_the_services_need(unit, monkeypatch):
    monkeypatch.setattr(cli, "load", lambda path: unit.made.settings)
    for break_it in (
        unit.break_it,
        unit.made.engine.images.clear,
        lambda: Path(unit.made.settings.compose_file).unlink(),
        lambda: unit.made.store.journal_path.write_text("{}\n"),
    ):
        break_it()
        assert unit.look().record.problems == status(unit.made.settings)["problems"] != []


def test_look_imports_nothing_that_only_an_update_a_repair_or_a_verification_needs():
    """Its time goes into imports: a zipapp is compiled anew each time, and python3-docker costs as much as all else."""
    script = "import sys; from panoptes_unit import cli; from panoptes_unit.health import healing; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names = {"deploy.transaction", "sources.bundle", "health.repair", "health.stored_layers", "health.exported_layers"}
    names |= {"deploy.staging", "sources.blob_fetch", "sources.blob_store"}
    assert {"docker", "requests", "tarfile", *(f"panoptes_unit.{name}" for name in names)} & set(
        done.stdout.split()
    ) == set()


# -- how often ---------------------------------------------------------------------------------------------------


def attempts_while_broken(unit, hours: float, minutes: float = PERIOD_S / 60, how=None) -> list[float]:
    unit.repair = how or unit.fails
    unit.made.engine.running.pop("messaging-hub", None)
    times = []
    for _ in range(int(hours * 60 / minutes)):
        before = unit.repairs
        unit.look(minutes)
        times += [unit.now - START] * (unit.repairs - before)
    return times


def test_attempts_come_rarer_and_rarer_and_six_times_a_day_at_most(unit):
    times = attempts_while_broken(unit, 5) + attempts_while_broken(unit, 45, minutes=30)
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    assert gaps[:5] == [BACK_OFF_S * 2**number for number in range(5)]
    for at in times:
        assert len([other for other in times if 0 <= other - at < DAY_S]) <= ATTEMPTS_A_DAY
    assert len(times) > ATTEMPTS_A_DAY, "it goes on the next day"
    assert unit.record.doing.endswith("times, and is not whole")
    assert unit.record.next_try > unit.now


def test_restart_of_the_machine_forgets_no_attempt(unit):
    assert len(attempts_while_broken(unit, 5)) == ATTEMPTS_A_DAY
    before = unit.repairs
    for _ in range(20):
        unit.restarts()
        unit.look()
        unit.look()
    assert unit.repairs == before


def test_attempt_that_was_cut_short_before_its_line_in_the_history_counts(unit):
    def killed(run):
        raise SystemExit

    unit.repair = killed
    unit.break_it()
    unit.look()
    with pytest.raises(SystemExit):
        unit.look()
    assert unit.record.attempts == [unit.now]
    unit.repair = unit.heals
    assert unit.look(minutes=4).outcome is None
    assert unit.look(minutes=1).outcome.verdict == verdicts.HEALED


def test_attempt_that_found_nothing_to_do_or_failed_early_has_a_line_with_its_cause(unit):
    for repair, verdict in (
        (lambda run: run.end(verdicts.UNCHANGED, "nothing is wrong"), verdicts.UNCHANGED),
        (lambda run: fail("no room"), verdicts.FAILED),
    ):
        unit.repair = repair
        unit.break_it()
        unit.look()
        unit.look()
        line = unit.made.store.history()[-1]
        assert (line["by"], line["verdict"]) == (BY, verdict)
        assert line["reason"].startswith("services: messaging-hub has no container: n")
        unit.made.engine.up()
        unit.look(minutes=30)


def fail(text: str) -> None:
    raise UnitError(text)


def test_clock_that_was_in_the_future_does_not_stop_it(unit):
    unit.now += 400 * DAY_S
    assert len(attempts_while_broken(unit, 5)) == ATTEMPTS_A_DAY
    unit.now = START
    unit.repair = unit.heals
    assert unit.look().outcome is None
    assert unit.look().outcome.verdict == verdicts.HEALED


@given(st.lists(st.integers(0, int(2 * DAY_S)), max_size=40))
def test_whatever_was_tried_the_next_one_comes_and_no_day_has_more_than_six(tried):
    now = 2 * DAY_S
    lately = [at for at in tried if now - at < DAY_S]
    at = next_try(lately)
    assert at <= now + DAY_S
    if len(lately) >= ATTEMPTS_A_DAY:
        assert len([one for one in lately if at - one < DAY_S]) < ATTEMPTS_A_DAY
    if lately:
        assert at >= max(lately) + BACK_OFF_S


def test_repairs_that_had_to_wait_come_rarer_and_take_nothing_from_those_of_the_day(unit):
    waited = attempts_while_broken(unit, 12, how=unit.waits)
    assert [later - earlier for earlier, later in zip(waited, waited[1:])][:5] == [
        BACK_OFF_S * 2**number for number in range(5)
    ]
    unit.repair = unit.heals
    for _ in range(40):
        if unit.look().outcome:
            break
    assert unit.record.whole, "dawn has come, and the day's six are still there"


def test_fault_of_the_tool_is_an_attempt_as_well_and_a_restart_does_not_forget_it(unit):
    unit.repair = unit.breaks
    unit.break_it()
    unit.look()
    outcome = unit.look().outcome
    assert outcome.verdict == verdicts.FAILED
    assert "ZeroDivisionError: a fault of the tool" in outcome.reason
    unit.restarts()
    assert unit.look(1).outcome is None
    assert unit.look(1).outcome is None
    assert unit.made.store.history()[-1]["reason"] == outcome.reason


def test_who_has_looked_already_repairs_at_once(unit):
    unit.break_it()
    unit.repair = unit.heals
    assert unit.look(at_once=True).outcome.verdict == verdicts.HEALED


# -- who is asked ------------------------------------------------------------------------------------------------


def test_lock_of_a_person_is_respected_and_told_until_it_has_run_out(unit, capsys):
    state = unit.made.state
    state.locked = {"at": 1, "by": "ann", "reason": "visitors", "until": unit.now + 3600}
    unit.made.store.save(state)
    unit.break_it()
    for _ in range(4):
        found = unit.look().record
    assert unit.repairs == 0
    assert found.doing == "locked by ann: visitors; panoptes-unit unlock lets it be repaired"
    assert unit.look(minutes=60).outcome.verdict == verdicts.HEALED


def test_while_it_observes_what_works_is_left_alone_and_what_does_not_is_repaired(unit, tmp_path):
    unit.made.observing(tmp_path, "observing")
    os.utime(tmp_path / "current_state.json", (unit.now, unit.now))
    unit.made.engine.images.clear()
    for _ in range(3):
        found = unit.look().record
    assert unit.repairs == 0
    assert found.doing.startswith("observing: ")
    unit.break_it()
    unit.look()
    assert unit.repairs == 1


def test_update_at_work_is_no_reason_to_say_anything(unit):
    unit.break_it()
    unit.look()
    before = unit.record
    with exclusive(unit.made.store.folder):
        assert unit.look().is_busy
        assert unit.look().is_busy
    assert unit.record == before
    assert not unit.look().is_busy
    assert unit.repairs == 1


def test_update_that_began_during_the_look_is_none_either(unit, monkeypatch):
    unit.break_it()
    unit.look()
    answers = iter([False, True])
    monkeypatch.setattr(healing, "is_held", lambda folder: next(answers))
    assert unit.look().is_busy
    assert unit.repairs == 0


def test_run_that_was_faster_than_the_repair_is_no_attempt(unit):
    def busy(run):
        raise BusyError("another run is at work")

    unit.repair = busy
    unit.break_it()
    unit.look()
    assert unit.look().is_busy
    assert unit.record.attempts == []
    assert [line for line in unit.made.store.history() if line["by"] == BY] == []


def test_looking_whether_a_run_is_at_work_writes_nothing_and_needs_no_lock_file(tmp_path):
    assert not is_held(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with exclusive(tmp_path):
        before = on_disk(tmp_path)
        assert is_held(tmp_path)
        assert on_disk(tmp_path) == before
    assert not is_held(tmp_path)


@pytest.mark.parametrize("starts", [True, False])
def test_repair_is_left_to_another_service_where_one_is_named_and_starts(unit, monkeypatch, starts):
    asked = []

    def systemctl(words, **_):
        asked.append(words)
        return types.SimpleNamespace(returncode=0 if starts else 5, stderr="" if starts else "Unit not found.")

    monkeypatch.setattr(healing.subprocess, "run", systemctl)
    unit.break_it()
    unit.look(hand_over="r.service")
    assert asked == []
    found = unit.look(hand_over="r.service")
    assert asked == [["systemctl", "start", "--no-block", "r.service"]]
    assert unit.repairs == (0 if starts else 1)
    if starts:
        assert found.record.doing == "is repaired by r.service"
        assert unit.record.attempts == []
        assert unit.look(minutes=0).outcome.verdict == verdicts.HEALED


# -- what is told ------------------------------------------------------------------------------------------------


@pytest.fixture
def command(unit, monkeypatch):
    def run_as(*arguments: str) -> int:
        unit.now += PERIOD_S
        return cli.main(list(arguments))

    def on_this_unit(settings, report, verb, by, settings_path):
        run = unit.made.transaction(verb).run
        run.outcome.by = by
        return run

    monkeypatch.setattr(cli, "load", lambda path: unit.made.settings)
    monkeypatch.setattr(cli, "settings_from", lambda path, told: unit.made.settings)
    monkeypatch.setattr(cli.Run, "on_this_unit", on_this_unit)
    monkeypatch.setattr(
        healing, "heal", lambda run, hand_over, at_once: heal(run, unit.made.engine, hand_over, at_once)
    )
    return run_as


def test_command_says_what_it_found_and_did_and_ends_with_1_while_the_unit_does_not_work(unit, command, capsys):
    assert command("heal") == OK
    assert "health           whole" in capsys.readouterr().out
    unit.break_it()
    assert command("heal") == FAILED
    assert "is looked at again" in capsys.readouterr().out
    assert command("heal", "--json") == OK
    answer = json.loads(capsys.readouterr().out)
    assert (answer["whole"], answer["busy"], answer["outcome"]["verdict"]) == (True, False, verdicts.HEALED)


def test_timer_that_finds_all_well_leaves_no_line_in_the_log(unit, command, capsys, monkeypatch):
    monkeypatch.setenv("INVOCATION_ID", "x")
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert command("heal") == OK
    assert capsys.readouterr().out == ""
    unit.break_it()
    assert command("heal") == FAILED
    assert "PROBLEM          services: messaging-hub has no container" in capsys.readouterr().out


def test_status_shows_the_last_look(unit, command, capsys):
    assert command("status") == OK
    assert "health           no look yet" in capsys.readouterr().out
    unit.look()
    unit.break_it()
    unit.look()
    command("status")
    assert "health           NOT WHOLE, 1 in turn, 5 min ago" in capsys.readouterr().out
    command("status", "--json")
    assert json.loads(capsys.readouterr().out)["health"]["in_turn"] == 1


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", '{"at": "now"}', '{"problems": [1]}', '{"problems": [{}]}', '{"attempts": ["x"]}',
        '{"compose": {"files": "x"}}', '{"compose": {"at": 1, "files": "x", "services": [1]}}',
        '{"in_turn": null}', '{"at": NaN}',
    ],
)  # fmt: skip
def test_record_that_is_none_is_taken_for_none(unit, content):
    path = Path(unit.made.settings.health)
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    assert records.read(path) is None
    assert unit.look().record.whole


def test_record_that_cannot_be_written_keeps_no_unit_from_being_looked_at(unit):
    Path(unit.made.settings.health).parent.write_text("in the way\n")
    assert unit.look().record.whole


def test_timer_that_is_off_is_told_with_its_remedy(unit, monkeypatch):
    check = {entry.name: entry.check for entry in wholeness.WHOLE}["healing"]
    answers = {"is-enabled": "disabled\n"}
    monkeypatch.setattr(wholeness.subprocess, "run", lambda words, **_: types.SimpleNamespace(stdout=answers[words[1]]))
    with pytest.raises(UnitError, match="^panoptes-health.timer is disabled: systemctl enable --now "):
        check(None)
    answers["is-enabled"] = "enabled\n"
    assert check(None) == "panoptes-health.timer is enabled"
