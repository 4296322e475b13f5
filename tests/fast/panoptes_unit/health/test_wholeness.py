"""One list of what makes a unit whole: `status` and `doctor` read it, and each entry is told with its remedy."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from fake_unit import FakeUnit, digest_of

from panoptes_unit import cli
from panoptes_unit.deploy import verdicts
from panoptes_unit.errors import FAILED, OK, UnitError
from panoptes_unit.health import verify, wholeness
from panoptes_unit.health.status import status
from panoptes_unit.health.wholeness import SERVICES, WHOLE, Seen, findings

BY_NAME = {entry.name: entry for entry in WHOLE}


@pytest.fixture
def unit(tmp_path, monkeypatch):
    made = FakeUnit(tmp_path / "unit")
    made.deploy("old")
    monkeypatch.setattr(wholeness, "Engine", lambda settings: made.engine)
    monkeypatch.setattr(wholeness, "Registry", lambda *args, **kwargs: made.registry)
    return made


def told(unit, name: str) -> wholeness.Finding:
    (found,) = [one for one in findings(Seen(unit.settings)) if one.name == name]
    return found


def change_state(unit, **changes) -> None:
    state = unit.state
    for name, value in changes.items():
        setattr(state, name, value)
    unit.store.save(state)


def test_unit_that_works_is_whole_and_nothing_is_held_up(unit):
    assert [(one.problem, one.held) for one in findings(Seen(unit.settings))] == [("", False)] * len(WHOLE)
    assert status(unit.settings)["whole"] is True
    assert status(unit.settings)["problems"] == []


def test_names_are_one_each():
    assert len(BY_NAME) == len(WHOLE)


# -- what the services need: status ends with 1 ------------------------------------------------------------------


def no_containers(unit):
    unit.engine.running.clear()


def no_image(unit):
    unit.engine.images.clear()


def no_engine(unit):
    unit.engine.alive = False


def no_compose_file(unit):
    Path(unit.settings.compose_file).unlink()


def no_services_in_it(unit):
    unit.engine.services = list


def no_release_file(unit):
    Path(unit.settings.release_file).unlink()


def spoiled_release_file(unit):
    Path(unit.settings.release_file).write_bytes(b"\xff\x00")


def interrupted(unit):
    unit.store.journal_path.write_text("{}\n")


def spoiled_image(unit):
    found = verify.Verification(unit.whole(), damaged=[verify.Damage("", "usr/bin/python3", "its content has changed")])
    verify._record(verify._file(unit.settings), found)


def dead_config_server(unit):
    unit.settings.config_url = "http://127.0.0.1:9"


BROKEN = {
    "services": (no_containers, "panoptes-unit repair"),
    "release": (no_image, "panoptes-unit repair"),
    "engine": (no_engine, "panoptes-unit repair"),
    "compose": (no_compose_file, "run playbooks/unit.yml"),
    "compose, empty": (no_services_in_it, "run playbooks/unit.yml"),
    "release, none": (no_release_file, "panoptes-unit deploy"),
    "release, spoiled": (spoiled_release_file, ""),
    "release, interrupted": (interrupted, "panoptes-unit recover"),
    "image": (spoiled_image, verify.REMEDY),
    "proof": (dead_config_server, ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_unit_that_does_not_work_is_told_by_status_and_doctor_alike(unit, name, monkeypatch, capsys):
    do, remedy = BROKEN[name]
    do(unit)
    found = told(unit, name.partition(",")[0])
    assert found.problem
    assert (found.remedy, found.suffers, found.held) == (remedy, SERVICES, False)
    assert found.problem.endswith(remedy)
    answer = status(unit.settings)
    assert answer["whole"] is False
    assert {"name": found.name, "problem": found.problem, "remedy": remedy} in answer["problems"]
    monkeypatch.setattr(cli, "load", lambda path: unit.settings)
    assert cli.main(["status"]) == FAILED
    shown = " ".join(capsys.readouterr().out.split())
    assert f"PROBLEM {found.name}: {' '.join(found.problem.split())}" in shown


# -- what holds up updates: the unit works, and the reason is told -----------------------------------------------


def pinned(unit):
    change_state(unit, pinned={"at": 1, "by": "ann", "reason": "campaign"})


def locked(unit):
    change_state(unit, locked={"at": 1, "by": "ann", "reason": "visitors", "until": time.time() + 60})


def without_pocs(unit):
    unit.observing(Path(unit.settings.state), None)


def at_work(unit):
    unit.observing(Path(unit.settings.state), "observing")


def newest_in_quarantine(unit):
    unit.registry.offer("bad")
    index = unit.registry.digest_of("", "latest")
    change_state(unit, quarantine={digest_of("bad"): {"at": 1, "reason": "x", "index": index}})


HELD = {
    "pinned": (pinned, "by ann since 1970-01-01 00:00:01 UTC: campaign", "panoptes-unit unpin"),
    "locked": (locked, "visitors", "panoptes-unit unlock"),
    "observing, unknown": (without_pocs, "does not exist", "release_observing.source to none"),
    "observing": (at_work, "says 'observing'", "panoptes-unit deploy --force"),
    "registry": (newest_in_quarantine, "in quarantine", "panoptes-unit clear"),
}


@pytest.mark.parametrize("name", HELD)
def test_what_holds_up_updates_is_told_with_what_ends_it_and_is_no_problem(unit, name, monkeypatch, capsys):
    do, words, remedy = HELD[name]
    do(unit)
    found = told(unit, name.partition(",")[0])
    assert (found.problem, found.held) == ("", True)
    assert words in found.text
    assert remedy in found.remedy
    assert status(unit.settings)["whole"] is True
    monkeypatch.setattr(cli, "load", lambda path: unit.settings)
    assert cli.main(["doctor"]) == OK
    assert f"held     {found.name:<10} {found.text}" in capsys.readouterr().out


def test_lock_that_has_run_out_holds_up_nothing(unit):
    change_state(unit, locked={"at": 1, "by": "ann", "reason": "visitors", "until": 2})
    assert told(unit, "locked").text == "no"


# -- the list itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_NAME)
def test_one_entry_that_fails_hides_no_other(unit, name, monkeypatch):
    def broken(seen):
        raise UnitError("no")

    entries = [entry._replace(check=broken) if entry.name == name else entry for entry in WHOLE]
    monkeypatch.setattr(wholeness, "WHOLE", entries)
    assert {one.name for one in findings(Seen(unit.settings)) if one.problem} == {name}


def test_old_failure_is_not_told_as_the_newest_after_a_look_that_found_nothing(unit, monkeypatch, capsys):
    monkeypatch.setattr(cli, "load", lambda path: unit.settings)
    assert unit.deploy("bad", "exits").verdict == verdicts.ROLLED_BACK
    cli.main(["status"])
    assert "nothing to do" not in capsys.readouterr().out
    assert unit.run("update").verdict == verdicts.HELD
    change_state(unit, last_check={**unit.state.last_check, "at": time.time() + 60})
    cli.main(["status"])
    shown = capsys.readouterr().out
    assert "and there was nothing to do since what is told below" in shown
    assert shown.index("checked") < shown.index("\nlast ")


def test_json_of_both_has_what_programs_read_before(unit, monkeypatch, capsys):
    monkeypatch.setattr(cli, "load", lambda path: unit.settings)
    assert cli.main(["doctor", "--json"]) == OK
    rows = json.loads(capsys.readouterr().out)
    assert all({"name", "text", "problem"} <= row.keys() for row in rows)
    assert cli.main(["status", "--json"]) == OK
    assert {"source", "release", "services", "quarantine", "last_check", "verified"} <= json.loads(
        capsys.readouterr().out
    ).keys()
