"""Which playbook a verb plays, on which units and with which variables."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from panoptes_fleet import engine, looks
from panoptes_fleet.cli import main
from panoptes_fleet.context import Context
from panoptes_fleet.inventory import Inventory, Unit

STATUS = '{"whole": true, "release": {"index": "a"}}'


@pytest.fixture
def played(monkeypatch, tmp_path):
    """Every playbook that Ansible was told to play; the units say `updated` to all of them, but for pan013."""
    found: list[tuple[str, list[str], dict]] = []
    verdicts = {"pan013": "rolled-back"}

    def play(playbook, inventory, names, on_told, extra=None, stop=None):
        if playbook.name == "look.yml":
            told = {name: engine.Told(result={"stdout": STATUS}) for name in names}
        else:
            found.append((playbook.name, names, extra))
            told = {name: engine.Told(answer={"verdict": verdicts.get(name, "updated")}) for name in names}
        for name, one in told.items():
            on_told(name, one)
        return told

    units = {name: Unit(name) for name in ("pan011", "pan012", "pan013")}
    monkeypatch.setattr(engine, "play", play)
    monkeypatch.setattr(Context, "inventory", lambda self, names=(): Inventory(tmp_path, units).chosen(names))
    monkeypatch.setattr(looks.project, "state_folder", lambda: tmp_path)
    return found


@pytest.mark.parametrize(
    ("words", "plays", "extra"),
    [
        (["update", "--soak", "0"], "update.yml", {"update_force": False, "update_batches": ["100%"]}),
        (["rollout", "--soak", "0", "--force"], "update.yml", {"update_force": True, "update_batches": ["100%"]}),
        (["rollback"], "rollback.yml", {"rollback_force": False}),
        (["repair", "--force"], "repair.yml", {"repair_force": True}),
        (["backup"], "backup.yml", {}),
        (["provision"], "unit.yml", {}),
        (["run", str(Path(__file__)), "-e", "a=b=c"], Path(__file__).name, {"a": "b=c"}),
    ],
)
def test_each_verb_plays_its_playbook_on_the_units_that_were_named(played, words, plays, extra):
    done = CliRunner().invoke(main, [*words, "--limit", "pan012"])
    assert done.exit_code == 0, done.output
    assert played == [(plays, ["pan012"], extra)]


@pytest.mark.parametrize(
    "words",
    [["run", __file__, "-e", "a"], ["rollout", "--waves", "0"], ["rollout", "--limit", "pan099"], ["rollout", "resume"],
     ["rollout", "undo"], ["rollout", "show"], ["rollout", "show", "2026"], ["status", "pan099"]],
)  # fmt: skip
def test_a_wrong_word_is_one_line_and_nothing_is_done(played, words):
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1), done.output
    assert played == []


def test_stopped_it_waits_for_a_person_who_takes_it_back(played):
    assert CliRunner().invoke(main, ["rollout", "--soak", "0"]).exit_code == 1
    for words, code in ((["resume"], 2), (["show"], 1), (["undo"], 1), (["resume"], 2)):
        done = CliRunner().invoke(main, ["rollout", *words])
        assert done.exit_code == code, done.output
    assert [(name, units) for name, units, _ in played] == [
        ("update.yml", ["pan011"]), ("update.yml", ["pan012", "pan013"]), ("rollback.yml", ["pan011", "pan012"]),
    ]  # fmt: skip


def test_going_on_all_the_same_and_leaving_it(played):
    CliRunner().invoke(main, ["rollout", "--soak", "0"])
    assert CliRunner().invoke(main, ["rollout"]).exit_code == 5
    done = CliRunner().invoke(main, ["rollout", "resume", "--max-failures", "1"])
    assert "finished; 2 came through, 1 failed" in done.output
    CliRunner().invoke(main, ["rollout", "--soak", "0"])
    assert CliRunner().invoke(main, ["rollout", "abandon"]).exit_code == 0
    assert CliRunner().invoke(main, ["rollout", "--soak", "0", "--limit", "pan012"]).exit_code == 0


def test_the_report_is_written_whole(played, tmp_path):
    page = tmp_path / "public.html"
    done = CliRunner().invoke(main, ["report", "--public", "-o", str(page)])
    assert done.exit_code == 0 and "<title>PANOPTES units" in page.read_text()
    assert CliRunner().invoke(main, ["report", "-o", "/dev/null/x"]).exit_code == 2
