"""A damaged unit comes back to work by the mildest step, and nothing of others is lost on the way."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from fake_unit import FakeEngine, FakeUnit, PowerCut
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from panoptes_unit import cli
from panoptes_unit.deploy import verdicts
from panoptes_unit.deploy.release import read_release
from panoptes_unit.errors import DEFERRED, OK, UnitError
from panoptes_unit.health import repair as repairing
from panoptes_unit.health import verify
from panoptes_unit.health.repair import LADDER, repair
from panoptes_unit.machine.engine_service import ASIDE, SPENT

# Damage, and the step that mends it.
DAMAGES = {
    "stopped": "up",
    "removed": "up",
    "container": "recreate",
    "layer": "fetch",
    "image gone": "fetch",
    "engine down": "start",
    "store": "store",
    "store, engine down": "store",
    "mute": "store",
}


class DamagedEngine(FakeEngine):
    """A fake engine whose store can be damaged: `damage` holds what is wrong with it."""

    def __init__(self, settings) -> None:
        super().__init__(settings)
        self.damage: set[str] = set()
        self.others: list[str] = []  # images of others that hold the same layer

    def has(self, image: str) -> bool:
        if "mute" in self.damage:
            raise UnitError("looking for an image: readlink /var/lib/docker/overlay2: invalid argument")
        return super().has(image)

    def up(self) -> None:
        self._answer()
        if "store" in self.damage and self.ups:
            raise UnitError("docker compose up: error mounting /var/lib/docker/overlay2/l/X: no such file")
        if "container" in self.damage and self.running:
            raise UnitError("docker compose up: unexpected end of JSON input")
        super().up()
        if "layer" in self.damage:
            self.running["config-server"] = self.running["config-server"]._replace(status="exited", exit_code=1)

    def remove_containers(self) -> None:
        super().remove_containers()
        self.damage.discard("container")

    def remove_image(self, name: str) -> None:
        super().remove_image(name)
        self.damage.discard("layer")

    def pull(self, image: str, credentials, progress) -> int:
        if {"store", "mute"} & self.damage:
            raise UnitError("pulling: failed to register layer: rename: file exists")
        return super().pull(image, credentials, progress)

    def images_with(self, layers) -> list:
        return [*super().images_with(layers), *self.others]


class FakeService:
    """Stands for the engine as a service of the machine."""

    def __init__(self, unit, root: Path) -> None:
        self.unit, self.at = unit, root
        self.stops = 0

    def start(self) -> None:
        if "store, engine down" in self.unit.engine.damage:
            raise UnitError("Docker Engine does not start: failed to start daemon")
        self.unit.engine.alive = True

    def stop(self) -> None:
        self.stops += 1
        self.unit.engine.alive = False

    def root(self) -> Path:
        return self.at

    def move_store(self, root: Path, kind: str) -> Path:
        self.unit.engine.damage.clear()
        self.unit.engine.images.clear()
        self.unit.engine.running.clear()
        aside = root.with_name(f"{root.name}{kind}1")
        if root.exists():
            root.rename(aside)
        return aside

    def spent(self, root: Path) -> list:
        return sorted(root.parent.glob(f"{root.name}{SPENT}*"))


class Unit(FakeUnit):
    """A unit that works, with a store on the disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.engine = DamagedEngine(self.settings)
        self.service = FakeService(self, folder / "docker")
        self.service.at.mkdir()
        self.good = self.deploy("good").new
        self.engine.ups = 1

    def break_it(self, damage: str) -> None:
        engine = self.engine
        if damage in ("container", "layer", "store", "mute") and engine.running:
            engine.damage.add(damage)
            engine.running["config-server"] = engine.running["config-server"]._replace(status="exited", exit_code=1)
        elif damage == "stopped":
            engine.stop()
        elif damage == "removed":
            engine.running.clear()
        elif damage == "image gone":
            engine.images.clear()
            engine.running.clear()
            engine.damage -= {"layer", "container"}
        elif damage == "engine down":
            engine.alive = False
        elif damage == "store, engine down":
            engine.damage.add(damage)
            engine.alive = False

    def repair(self, dies_at: str = "", force: bool = False, by: str = "ann", **options):
        """One repair; its outcome, also where it raised."""
        transaction = self.transaction("repair", force=force, dies_at=dies_at)
        transaction.run.outcome.by = by
        try:
            return repair(transaction.run, service=self.service, **options)
        except UnitError:
            return transaction.outcome


@pytest.fixture
def unit(tmp_path, monkeypatch):
    return made(tmp_path, monkeypatch)


def made(folder: Path, monkeypatch) -> Unit:
    one = Unit(folder / "unit")

    def look(settings, report, engine, in_haste):
        assert in_haste
        damaged = [verify.Damage(engine.stored(one.good).layers[0], "usr/bin/python3", "its content has changed")]
        return verify.Verification(one.good, damaged=damaged if "layer" in one.engine.damage else [])

    monkeypatch.setattr(repairing.verify, "verify", look)
    monkeypatch.setattr(repairing, "remove_store", lambda path: path.rmdir())
    return one


def steps(unit) -> str:
    return unit.store.history()[-1]["reason"].partition("what helped: ")[2]


TOLD = {step.name: step.told for step in LADDER}


@pytest.mark.parametrize("down", [False, True], ids=["engine answers", "engine is silent"])
def test_release_file_that_is_cut_or_flipped_anywhere_names_again_what_runs(unit, down):
    path = Path(unit.settings.release_file)
    whole = path.read_bytes()
    for place in range(whole.index(b"PANOPTES_UTILS_IMAGE="), len(whole), 5):
        for spoiled in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
            path.write_bytes(spoiled)
            if down:
                unit.break_it("engine down")
            assert unit.repair().verdict in (verdicts.HEALED, verdicts.UNCHANGED), spoiled
            assert unit.whole() == unit.good, spoiled


def test_unit_that_works_is_left_alone(unit):
    ups = unit.engine.ups
    outcome = unit.repair()
    assert (outcome.verdict, outcome.exit_code, outcome.changed) == (verdicts.UNCHANGED, OK, False)
    assert unit.engine.ups == ups


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_mended_by_the_mildest_step_that_works(unit, damage):
    unit.break_it(damage)
    outcome = unit.repair()
    assert (outcome.verdict, outcome.exit_code, outcome.changed) == (verdicts.HEALED, OK, True)
    assert steps(unit) == TOLD[DAMAGES[damage]]
    assert unit.whole() == unit.good
    assert unit.repair().verdict == verdicts.UNCHANGED


@pytest.mark.parametrize("damage", DAMAGES)
def test_plan_is_told_and_nothing_is_done(unit, damage):
    unit.break_it(damage)
    before = (set(unit.engine.images), dict(unit.engine.running), unit.engine.alive, unit.engine.ups)
    history = unit.store.history()
    outcome = unit.repair(dry_run=True)
    assert outcome.changed is False
    assert TOLD[DAMAGES[damage]] in outcome.reason
    assert (set(unit.engine.images), dict(unit.engine.running), unit.engine.alive, unit.engine.ups) == before
    assert unit.store.history() == history
    assert not unit.store.journal_path.exists()


POINTS = [f"repair-{step.name}:{point}" for step in LADDER for point in ("before", "after")]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damages=st.lists(st.sampled_from(sorted(DAMAGES)), min_size=1, max_size=3),
    points=st.lists(st.sampled_from(POINTS), max_size=3),
    files=st.lists(st.sampled_from(["release.env", "state/state.json", "state/state.copy.json"]), max_size=2),
)
@example(["layer"], ["repair-fetch:before"], [])
@example(["store, engine down"], ["repair-store:before", "repair-store:after"], [])
@example(["removed"], [], ["release.env", "state/state.json"])
def test_any_damage_cut_short_anywhere_ends_whole(tmp_path_factory, damages, points, files):
    with pytest.MonkeyPatch.context() as monkeypatch:
        unit = made(tmp_path_factory.mktemp("any"), monkeypatch)
        person = (unit.configuration / "pocs_local.yaml").read_bytes()
        for damage in damages:
            unit.break_it(damage)
        for name in files:
            (unit.configuration.parent / name).write_text("")
        for point in points:
            try:
                unit.repair(dies_at=point)
            except PowerCut:
                assert unit.store.journal_path.exists()
        assert unit.repair().verdict in (verdicts.HEALED, verdicts.UNCHANGED)
        assert unit.whole() == unit.good
        assert (unit.configuration / "pocs_local.yaml").read_bytes() == person
        assert unit.repair().verdict == verdicts.UNCHANGED


def test_boot_goes_on_with_a_repair_that_was_cut_short(unit, monkeypatch, capsys):
    unit.break_it("layer")
    with pytest.raises(PowerCut):
        unit.repair(dies_at="repair-fetch:before")
    monkeypatch.setattr(cli, "settings_from", lambda *_, **__: unit.settings)
    monkeypatch.setattr(cli.Run, "on_this_unit", classmethod(lambda cls, *_, **__: unit.transaction("recover").run))
    assert cli.main(["recover", "--json", "--quiet"]) == OK
    assert json.loads(capsys.readouterr().out)["verdict"] == verdicts.HEALED
    assert unit.whole() == unit.good


def test_boot_leaves_a_repair_that_was_cut_short_to_the_service_that_may_do_all_that_it_takes(
    unit, monkeypatch, capsys, tmp_path
):
    unit.break_it("layer")
    with pytest.raises(PowerCut):
        unit.repair(dies_at="repair-fetch:before")
    asked = tmp_path / "asked"
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {asked}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(cli, "settings_from", lambda *_, **__: unit.settings)
    monkeypatch.setattr(cli.Run, "on_this_unit", classmethod(lambda cls, *_, **__: unit.transaction("recover").run))
    assert cli.main(["recover", "--json", "--quiet", "--hand-over", "panoptes-repair.service"]) == OK
    assert json.loads(capsys.readouterr().out)["verdict"] == verdicts.INTERRUPTED
    assert asked.read_text() == "start --no-block panoptes-repair.service\n"
    assert not unit.store.journal_path.exists()


def test_update_after_a_repair_that_was_cut_short_is_not_held_up(unit):
    unit.break_it("removed")
    with pytest.raises(PowerCut):
        unit.repair(dies_at="repair-up:before")
    assert unit.deploy("better").verdict == verdicts.UPDATED


@pytest.mark.parametrize("damage", ["engine down", "image gone"])
def test_update_that_could_not_be_undone_is_undone_by_a_repair(unit, damage):
    with pytest.raises(PowerCut):
        unit.deploy("bad", "exits", dies_at="undo:before")
    unit.break_it(damage)
    assert unit.repair().verdict == verdicts.HEALED
    assert unit.whole() == unit.good


# -- what is not ours, and what must not be disturbed -----------------------------------------------------------


def test_damaged_layer_of_others_too_stays_until_a_person_says_yes(unit):
    unit.break_it("layer")
    unit.engine.others = ["theirs:latest"]
    volume = unit.service.at / "volumes" / "films"
    volume.mkdir(parents=True)
    outcome = unit.repair()
    assert outcome.verdict == verdicts.BROKEN
    assert "volume films would be out of sight" in outcome.reason
    assert "panoptes-unit repair --new-store" in outcome.reason
    assert volume.is_dir()
    assert unit.service.stops == 0
    unit.engine.others = []  # they are in the old store
    unit.engine.damage.add("store")
    assert unit.repair(new_store=True).verdict == verdicts.HEALED
    assert unit.service.at.with_name(f"docker{ASIDE}1").joinpath("volumes", "films").is_dir()


def test_what_is_left_of_a_container_that_nobody_can_read_does_not_keep_a_damaged_layer(unit):
    unit.break_it("layer")
    mounts = unit.service.at / "image" / "overlay2" / "layerdb" / "mounts"
    (layer,) = unit.engine.stored(unit.good).layers
    upon_it = "sha256:" + "2" * 64
    below = {"ours": layer, "of-the-image-before": upon_it, "of-another-image": "sha256:" + "1" * 64}
    (mounts.parent / "sha256" / ("2" * 64)).mkdir(parents=True)
    (mounts.parent / "sha256" / ("2" * 64) / "parent").write_text(layer)
    for name, parent in below.items():
        (mounts / name).mkdir(parents=True)
        (mounts / name / "parent").write_text(parent)
    remove = unit.engine.remove_image

    def remove_as_the_engine_does(name: str) -> None:
        left = [name for name in ("ours", "of-the-image-before") if (mounts / name).exists()]
        held = left or not unit.service.stops  # it reads them when it starts
        remove(name)
        unit.engine.damage |= {"layer"} if held else set()

    unit.engine.remove_image = remove_as_the_engine_does
    outcome = unit.repair()
    assert (outcome.verdict, steps(unit)) == (verdicts.HEALED, TOLD["fetch"]), outcome.reason
    assert (unit.service.at / "containers" / "ours" / "layers" / "parent").read_text() == layer
    assert [path.name for path in mounts.iterdir()] == ["of-another-image"]
    assert unit.service.stops == 1


def test_damaged_layer_that_the_engine_keeps_for_nothing_takes_a_new_store(unit, monkeypatch):
    monkeypatch.setattr(repairing, "remove_store", shutil.rmtree)
    unit.break_it("layer")
    (layer,) = unit.engine.stored(unit.good).layers
    (unit.service.at / "image" / "overlay2" / "layerdb" / "sha256" / layer.partition(":")[2]).mkdir(parents=True)
    remove = unit.engine.remove_image

    def remove_as_the_engine_does(name: str) -> None:
        remove(name)
        unit.engine.damage.add("layer")

    unit.engine.remove_image = remove_as_the_engine_does
    outcome = unit.repair()
    assert (outcome.verdict, steps(unit)) == (verdicts.HEALED, TOLD["store"]), outcome.reason


def test_nothing_is_taken_away_that_cannot_be_fetched_again(unit):
    unit.break_it("layer")

    def refuse(*_):
        raise UnitError("registry.example.org does not answer")

    unit.registry.image = refuse
    outcome = unit.repair()
    assert outcome.verdict == verdicts.BROKEN
    assert "cannot be fetched again: registry.example.org does not answer" in outcome.reason
    assert unit.good in unit.engine.images


def test_timer_downloads_once_a_day_what_does_not_help_and_a_person_as_often_as_wanted(unit):
    unit.break_it("layer")
    unit.engine.remove_image = lambda name: unit.engine.images.pop(name)  # and the new one is as damaged
    downloads = []
    unit.engine.before_pull = lambda: downloads.append(1)
    assert unit.repair(by="timer").verdict == verdicts.BROKEN
    assert len(downloads) == 1
    outcome = unit.repair(by="timer")
    assert (outcome.verdict, len(downloads)) == (verdicts.BROKEN, 1)
    assert "did not help" in outcome.reason
    unit.repair(by="ann")
    assert len(downloads) == 2
    lines = [{**line, "at": line["at"] - 90_000} for line in unit.store.history()]
    unit.store.history_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    unit.repair(by="timer")
    assert len(downloads) == 3


def test_locked_unit_is_left_alone_unless_forced(unit):
    state = unit.state
    state.locked = {"at": 1, "by": "ann", "reason": "visitors", "until": None}
    unit.store.save(state)
    unit.break_it("stopped")
    outcome = unit.repair()
    assert (outcome.verdict, outcome.exit_code) == (verdicts.DEFERRED, DEFERRED)
    assert "locked by ann: visitors" in outcome.reason
    assert unit.repair(force=True).verdict == verdicts.HEALED


def test_while_it_observes_what_works_goes_on_and_what_does_not_is_mended(unit, tmp_path):
    unit.observing(tmp_path, "observing")
    hub = unit.engine.running["messaging-hub"]
    unit.break_it("stopped")
    unit.engine.running["messaging-hub"] = hub
    assert unit.repair().verdict == verdicts.HEALED
    assert unit.engine.running["messaging-hub"] == hub
    unit.break_it("layer")
    outcome = unit.repair()
    assert outcome.verdict == verdicts.DEFERRED
    assert "config-server is exited; observing" in outcome.reason
    assert unit.engine.running["messaging-hub"] == hub
    unit.observing(tmp_path, "parked")
    assert unit.repair().verdict == verdicts.HEALED


def test_without_release_file_and_state_the_containers_tell_what_ran(unit):
    Path(unit.settings.release_file).unlink()
    for name in ("state.json", "state.copy.json"):
        (unit.store.folder / name).unlink()
    unit.repair()
    assert read_release(Path(unit.settings.release_file)).image == unit.good
    assert unit.whole() == unit.good


def test_store_of_the_unit_alone_is_not_kept(unit):
    unit.break_it("store")
    assert unit.repair().verdict == verdicts.HEALED
    assert not list(unit.service.at.parent.glob("docker*"))


@pytest.mark.parametrize("verb", ["deploy", "update"])
def test_release_that_is_known_to_be_damaged_is_repaired_before_it_is_called_the_newest(
    unit, monkeypatch, capsys, verb
):
    damaged = [verify.Damage(unit.engine.stored(unit.good).layers[0], "usr/bin/python3", "its content has changed")]
    verify._record(verify._file(unit.settings), verify.Verification(unit.good, damaged=damaged))
    unit.engine.damage.add("layer")
    monkeypatch.setattr(cli, "settings_from", lambda *_, **__: unit.settings)
    monkeypatch.setattr(cli.Run, "on_this_unit", classmethod(lambda cls, *_, **__: unit.transaction(verb).run))
    assert cli.main([verb, "--json", "--quiet"]) == OK
    answer = json.loads(capsys.readouterr().out)
    assert (answer["verb"], answer["verdict"]) == ("repair", verdicts.HEALED)
    assert unit.whole() == unit.good
    assert "layer" not in unit.engine.damage
    assert cli.main([verb, "--json", "--quiet"]) == OK
    assert json.loads(capsys.readouterr().out)["verdict"] == verdicts.UNCHANGED
