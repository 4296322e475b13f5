"""The decisions of a rollout, on fake units in memory; test_rollout_played.py has them with real playbooks."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from panoptes_fleet import journal as journals
from panoptes_fleet import waves
from panoptes_fleet.errors import BusyError, FleetError
from panoptes_fleet.journal import FAILED, NOT_UNDONE, PROVED, UNDONE, WAITS, Journal
from panoptes_fleet.looks import Activity, Attempt, Look, Release, Status, Window
from panoptes_fleet.rollout import WAITS as WAITING
from panoptes_fleet.rollout import End, Rollout, end_of


@pytest.fixture(autouse=True)
def synced(monkeypatch):
    """How often the disk was asked to keep what was written; a disk's own time is not waited for."""
    handles: list[int] = []
    monkeypatch.setattr("os.fsync", handles.append)
    return handles


class Killed(BaseException):
    """The controller is gone; nothing after this is done."""


class FakeUnits:
    """Units in memory: what each runs, and how often it was moved. `kill_at` counts everything that is done."""

    def __init__(self, names, **faults):
        self.names, self.faults = names, faults
        self.moves: list[tuple[str, str]] = []
        self.runs = dict.fromkeys(names, "old")
        self.history: dict[str, list[Attempt]] = {name: [] for name in names}
        self.ticks, self.kill_at = 0, 0
        self.answer = False
        self.soaks: list[float] = []
        self.offers = "new"

    def fault(self, name):
        return self.faults.get(name, "")

    def tick(self):
        self.ticks += 1
        if self.ticks == self.kill_at:
            raise Killed

    def look(self, names):
        self.tick()
        return {name: self._look(name) for name in names}

    def _look(self, name):
        if self.fault(name) == "silent":
            return Look(why="not reached", silent=True)
        if self.fault(name) == "garbage":
            return Look(why="no answer that can be read")
        whole = not (self.fault(name) == "falls ill" and self.runs[name] == "new")
        status = Status(
            whole=whole, source="s", release=Release(index=self.runs[name]),
            last_attempt=(self.history[name] or [None])[-1],
            activity=Activity(kind="observing" if self.fault(name) == "observing" else "idle"),
            window=Window(open=self.fault(name) != "night"),
        )  # fmt: skip
        return Look(seen=1.0, tried=1.0, status=status)

    def act(self, verb, names, head, on_end):
        for name in names:
            self.tick()
            answer = self._act(verb, name)
            self.tick()
            on_end(name, end_of(answer))

    def _act(self, verb, name):
        tool = {"update": "deploy"}.get(verb, verb)
        if self.fault(name) in ("deferred", "failed", "rolled-back", "busy"):
            verdict = self.fault(name)
        elif tool == "deploy" and self.runs[name] == self.offers:
            return {"verdict": "unchanged"}
        else:
            verdict = "updated"
            self.runs[name] = self.offers if tool == "deploy" else "old"
            self.moves.append((tool, name))
        one = Attempt(id=str(len(self.history[name])), verb=tool, verdict=verdict)
        self.history[name].append(one)
        return one.model_dump()

    def soak(self, seconds):
        self.tick()
        self.soaks.append(seconds)

    def stop(self):
        return False

    def ask(self, question):
        return self.answer


def begun(folder, names, verb="update", spec="1,5,25%,100%", canaries=(), **more):
    head = {
        "by": "me", "verb": verb, "order": list(names), "sizes": waves.sizes(spec, len(names), len(canaries)),
        "canaries": list(canaries), "soak": 5, "max_failures": 0, "on_failure": "stop", "force": False, "extra": {},
        "left_out": {}, **more,
    }  # fmt: skip
    return Journal.begun(folder, head)


def go(path, units):
    """As `resume` does it in a new process: everything that is known comes from the file."""
    journal = Journal.read(path)
    said: list[str] = []
    Rollout(journal, units, said.append).run()
    return journal


def killed_everywhere(tmp_path, monkeypatch, names, rounds=1, options=None, faults=None):
    """A rollout for each point at which the controller can be killed: before and after each line of the journal and
    each thing that is done to a unit. Yields the units and the journal after it was gone on with."""
    append = Journal.append
    for number in range(1, 10_000):
        units = FakeUnits(names, **(faults or {}))
        path = begun(tmp_path / str(number), names, **(options or {})).path

        def slowly(self, record, units=units):
            units.tick()
            append(self, record)
            units.tick()

        monkeypatch.setattr(Journal, "append", slowly)
        units.kill_at = number
        try:
            go(path, units)
            killed = False
        except Killed:
            killed = True
        if killed and number % 3 == 0:  # in the middle of a line
            with path.open("a") as file:
                file.write('{"is": "proved", "unit": "u')
        kills = 1
        while killed:
            units.kill_at = units.ticks + 7 if kills < rounds else 0
            kills += 1
            try:
                go(path, units)
                break
            except Killed:
                continue
        monkeypatch.setattr(Journal, "append", append)
        yield units, Journal.read(path)
        if not killed:
            assert number > 20
            return


NAMES = [f"u{number}" for number in range(7)]


@pytest.mark.parametrize("rounds", [1, 3])
def test_killed_anywhere_it_goes_on_and_moves_each_unit_once(tmp_path, monkeypatch, rounds):
    for units, journal in killed_everywhere(tmp_path, monkeypatch, NAMES, rounds):
        assert Counter(units.moves) == Counter(("deploy", name) for name in NAMES)
        assert journal.ended and journal.having(PROVED) == NAMES


def test_killed_anywhere_on_the_way_back_no_unit_goes_back_twice(tmp_path, monkeypatch):
    faults = {"u3": "falls ill", "u5": "silent"}
    options = {"on_failure": "rollback"}
    for units, journal in killed_everywhere(tmp_path, monkeypatch, NAMES, 1, options, faults):
        moved = [name for verb, name in units.moves if verb == "deploy"]
        assert "u3" in moved and len(set(moved)) == len(moved)
        assert Counter(units.moves) == Counter((verb, name) for name in moved for verb in ("deploy", "rollback"))
        assert set(units.runs.values()) == {"old"} and journal.ended
        assert sorted(journal.having(UNDONE)) == sorted(moved)


def test_killed_anywhere_in_a_rollback_no_unit_goes_back_twice(tmp_path, monkeypatch):
    options = {"verb": "rollback", "spec": "100%", "soak": 0}
    for units, journal in killed_everywhere(tmp_path, monkeypatch, NAMES, 1, options):
        assert Counter(units.moves) == Counter(("rollback", name) for name in NAMES)
        assert journal.ended


@pytest.mark.parametrize("fault", ["failed", "rolled-back", "garbage", "falls ill"])
def test_a_bad_release_reaches_one_wave_and_no_further(tmp_path, fault):
    names = [f"u{number:03}" for number in range(200)]
    for place, reached in ((0, 1), (3, 6)):
        units = FakeUnits(names, **{names[place]: fault})
        path = begun(tmp_path / f"{place}", names).path
        journal = go(path, units)
        assert journal.having(FAILED) == [names[place]] and journal.stopped and not journal.ended
        assert len([one for one in journal.units.values() if one.state]) == reached
        assert go(path, units).having(FAILED) == [names[place]], "and stays so when it is looked at again"
    more = go(begun(tmp_path / "more", names, max_failures=1).path, FakeUnits(names, **{names[0]: fault}))
    assert len(more.having(PROVED)) == 199 and more.ended


@pytest.mark.parametrize("why", ["silent", "observing", "night", "deferred", "busy"])
def test_who_cannot_now_is_no_failure_and_comes_with_the_next_resume(tmp_path, why):
    units = FakeUnits(NAMES, u0=why, u4=why)
    path = begun(tmp_path, NAMES).path
    journal = go(path, units)
    assert journal.having(WAITS) == ["u0", "u4"] and len(journal.having(PROVED)) == 5
    assert not journal.ended and not journal.stopped
    units.faults = {"u4": why}
    journal = go(path, units)
    assert journal.having(WAITS) == ["u4"] and ("deploy", "u0") in units.moves
    units.faults = {}
    assert go(path, units).ended
    assert Counter(units.moves) == Counter(("deploy", name) for name in NAMES)


def test_force_passes_night_and_observing(tmp_path):
    units = FakeUnits(NAMES, u0="night", u1="observing")
    assert go(begun(tmp_path, NAMES, force=True).path, units).ended


def test_without_a_canary_nobody_else_goes(tmp_path):
    units = FakeUnits(NAMES, u0="night", u1="silent")
    path = begun(tmp_path, NAMES, canaries=["u0", "u1"]).path
    assert go(path, units).having(WAITS) == ["u0", "u1"] and units.moves == []
    units.faults = {"u0": "night"}
    assert go(path, units).having(WAITS) == ["u0"]
    assert len(units.moves) == 6


def test_the_soak_is_waited_for_between_waves(tmp_path):
    units = FakeUnits(NAMES)
    go(begun(tmp_path, NAMES, spec="1,2,100%").path, units)
    assert units.soaks == [5, 5, 5]


def test_another_release_than_the_first_wave_proved_stops_it(tmp_path):
    units = FakeUnits(NAMES)
    units.soak = lambda seconds: setattr(units, "offers", "newer")
    journal = go(begun(tmp_path, NAMES, spec="1,2,100%").path, units)
    assert "another release" in journal.units["u1"].line and journal.stopped
    assert [name for name, one in journal.units.items() if not one.state] == NAMES[3:]


@pytest.mark.parametrize(("answer", "end"), [(True, UNDONE), (False, PROVED)])
def test_asked_whether_to_go_back(tmp_path, answer, end):
    units = FakeUnits(NAMES, u1="failed")
    units.answer = answer
    assert go(begun(tmp_path, NAMES, on_failure="ask").path, units).units["u0"].state == end


def test_a_unit_that_cannot_go_back_is_told(tmp_path):
    units = FakeUnits(NAMES, u1="failed")
    units.ask = lambda question: units.faults.update(u0="failed") or True
    assert go(begun(tmp_path, NAMES, on_failure="ask").path, units).having(NOT_UNDONE) == ["u0"]


def test_two_at_once_are_refused_and_a_dead_one_locks_nobody_out(tmp_path):
    with (
        journals.alone(tmp_path),
        pytest.raises(BusyError, match="another rollout is at work"),
        journals.alone(tmp_path),
    ):
        pass
    with journals.alone(tmp_path):
        pass


def test_each_line_is_on_the_disk_before_the_next_step(tmp_path, synced):
    path = begun(tmp_path, NAMES).path
    go(path, FakeUnits(NAMES))
    assert len(synced) >= len(path.read_text().splitlines())


def test_a_full_disk_lets_no_unit_go(tmp_path, monkeypatch):
    units = FakeUnits(NAMES)
    path = begun(tmp_path, NAMES).path
    write = os.write
    monkeypatch.setattr("os.write", lambda handle, line: len(line) // 2)
    with pytest.raises(FleetError, match="No space left"):
        go(path, units)
    assert units.moves == []
    monkeypatch.setattr("os.write", write)
    assert go(path, units).ended


@pytest.mark.parametrize(
    ("spec", "units", "canaries", "found"),
    [
        ("1,5,25%,100%", 50, 0, [1, 5, 13, 31]), ("1,5,25%,100%", 3, 0, [1, 2]), ("25%", 10, 0, [3, 3, 3, 1]),
        ("100%", 4, 0, [4]), ("1", 3, 0, [1, 1, 1]), ("1,100%", 10, 3, [3, 7]), ("100%", 10, 3, [3, 7]),
        ("5", 0, 0, []),
    ],
)  # fmt: skip
def test_sizes_of_waves(spec, units, canaries, found):
    assert waves.sizes(spec, units, canaries) == found


@pytest.mark.parametrize("spec", ["", "0", "-1", "a", "1,,2", "101%", "1.5", "%", "٣", "1e3", "99999999"])
def test_what_is_no_wave_is_refused(spec):
    with pytest.raises(FleetError, match="--waves"):
        waves.sizes(spec, 10)


def test_every_verdict_of_the_tool_is_good_later_or_bad():
    from panoptes_unit.deploy import verdicts
    from panoptes_unit.errors import DEFERRED, OK

    for verdict, ending in verdicts.VERDICTS.items():
        state = {OK: "good", DEFERRED: WAITING}.get(ending.exit_code, FAILED)
        assert end_of({"verdict": verdict}) == End(state, verdict, verdict, {"verdict": verdict})
