"""`panoptes-unit verify` on a fake engine with a store of real files: what it says, and what it writes down."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from damage import CONTENTS, damage
from fake_images import FakeImage, layer_files, tar_of
from fake_unit import FakeEngine, FakeUnit, image_of

from panoptes_unit import cli
from panoptes_unit.deploy.engine import StoredImage
from panoptes_unit.errors import UnitError
from panoptes_unit.health import verify
from panoptes_unit.report import Report


class FakeEngineWithStore(FakeEngine):
    """Keeps the image of the release as files, in the layout of a driver."""

    driver = "overlay2"
    stored_id = ""
    before_read = staticmethod(lambda: None)

    def keep(self, image: FakeImage, root: Path) -> None:
        self.image, self.folder = image, root
        self.places = image.store(root)

    def storage(self):
        self.before_read()
        return self.driver, self.folder

    def stored(self, image):
        self._answer()
        return StoredImage(self.stored_id or self.image.id, self.image.layers, 1000)

    def export(self, image):
        yield tar_of(self.image.older_export())


@pytest.fixture
def unit(tmp_path, monkeypatch):
    made = FakeUnit(tmp_path / "unit")
    made.engine = FakeEngineWithStore(made.settings)
    made.engine.keep(FakeImage([layer_files(1), layer_files(2)]), tmp_path / "docker")
    monkeypatch.setattr(verify, "become_idle", lambda: None)
    made.deploy("old")
    # The fake registry's configuration is none; this is what a real one would have said.
    state = made.store.load()
    state.current["config"] = made.engine.image.id
    made.store.save(state)
    return made


def verified(unit):
    return verify.verify(unit.settings, Report(quiet=True), unit.engine)


def spoil(unit, name="usr/lib/part2/file4"):
    path = unit.engine.places[int(name[12]) - 1] / name
    content = bytearray(path.read_bytes())
    content[7] ^= 4
    path.write_bytes(content)


def record(unit) -> Path:
    return Path(unit.settings.state) / "verified.json"


def test_whole_release_is_whole_and_all_of_it_was_read(unit):
    found = verified(unit)
    assert (found.verdict, found.exit_code, found.damaged) == ("whole", 0, [])
    assert found.bytes == sum(len(content) for files in unit.engine.image.files for content in files.values())
    assert found.layers == 2


def test_flipped_bit_is_damage_with_its_layer_and_file(unit):
    spoil(unit)
    found = verified(unit)
    assert (found.verdict, found.exit_code) == ("damaged", 7)
    (one,) = found.as_dict()["damaged"]
    assert one["layer"] == unit.engine.image.layers[1]
    assert one["file"] == "usr/lib/part2/file4"


def test_engine_with_another_store_is_asked_for_its_export(unit):
    unit.engine.driver = "overlayfs"
    assert verified(unit).verdict == "whole"
    unit.engine.image.tars[0] += b"x"
    assert verified(unit).verdict == "damaged"


def test_export_is_not_asked_for_where_it_could_fill_the_disk(unit):
    unit.engine.driver = "vfs"
    unit.engine.free = unit.settings.limits.floor_bytes + 999
    with pytest.raises(UnitError, match="not enough room"):
        verified(unit)
    unit.engine.driver = "overlay2"  # needs none
    assert verified(unit).verdict == "whole"


def test_configuration_that_changed_is_damage(unit):
    file = next((unit.engine.folder / "image/overlay2/imagedb/content/sha256").iterdir())
    file.write_bytes(file.read_bytes().replace(b"amd64", b"amd65"))
    assert "configuration" in verified(unit).damaged[0].problem
    file.unlink()
    assert verified(unit).damaged[0].problem == "the image's configuration is gone"


def test_another_image_under_the_name_of_the_release_is_damage(unit):
    unit.engine.stored_id = "sha256:" + "a" * 64
    assert "the engine has image aaaaaaaaaaaa under the name of this release" in verified(unit).damaged[0].problem


def test_release_of_which_the_configuration_is_not_known_is_still_verified(unit):
    state = unit.store.load()
    del state.current["config"]  # as an earlier version of the tool wrote it
    unit.store.save(state)
    assert verified(unit).verdict == "whole"


def test_deployed_release_remembers_its_configuration(unit):
    unit.deploy("new")
    assert unit.state.current["config"].startswith("sha256:")
    assert unit.state.current_release.config == unit.state.current["config"]


def test_without_a_release_or_its_image_there_is_nothing_to_verify(unit):
    unit.engine.images.clear()
    with pytest.raises(UnitError, match="not on the disk: panoptes-unit repair"):
        verified(unit)
    Path(unit.settings.release_file).unlink()
    with pytest.raises(UnitError, match="no release is installed"):
        verified(unit)
    assert not record(unit).exists()


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (lambda engine: setattr(engine, "alive", False), "went away"),
        (lambda engine: engine.images.clear(), "was removed while it was read"),
    ],
)
def test_what_happens_to_the_engine_meanwhile_is_no_damage(unit, happens, said):
    spoil(unit)
    unit.engine.before_read = lambda: happens(unit.engine)
    with pytest.raises(UnitError, match=said):
        verified(unit)
    assert not record(unit).exists()


def test_record_is_written_when_it_says_something_new_and_once_a_week(unit, monkeypatch):
    verified(unit)
    first = record(unit).read_text()
    assert record(unit).stat().st_mode & 0o777 == 0o600
    now = time.time()

    def later(days):
        monkeypatch.setattr(time, "time", lambda: now + days * 86400)
        verified(unit)
        return json.loads(record(unit).read_text())["at"] - now

    later(1)
    assert record(unit).read_text() == first
    assert later(7) > 6.9 * 86400
    assert later(7.5) < 7.1 * 86400
    spoil(unit)
    assert later(8) > 7.9 * 86400
    spoil(unit, "usr/lib/part1/file4")
    assert later(8.5) > 8.4 * 86400
    assert later(2) < 3 * 86400, "a clock that was put back leaves no record of the future"


def test_record_names_some_of_many_damages_and_counts_them_all(unit, monkeypatch):
    monkeypatch.setattr(verify, "RECORDED_DAMAGES", 5)
    for place in unit.engine.places:
        for path in place.rglob("file*"):
            path.unlink()
    verified(unit)
    entry = json.loads(record(unit).read_text())
    assert (entry["damages"], len(entry["damaged"])) == (12, 5)


def test_full_disk_keeps_nobody_from_the_answer(unit, monkeypatch, capsys):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(verify, "write_durably", full)
    assert verify.verify(unit.settings, Report(), unit.engine).verdict == "whole"
    assert "No space left on device" in capsys.readouterr().err


def test_last_verification_is_told_until_another_release_runs(unit):
    assert verify.last_told(verify.last(unit.settings)) == "not yet: panoptes-unit verify"
    verified(unit)
    assert verify.last_told(verify.last(unit.settings)) == "whole, 0 s ago"
    spoil(unit)
    spoil(unit, "usr/lib/part1/file4")
    verified(unit)
    layer = unit.engine.image.layers[0][7:19]
    told = verify.last_told(verify.last(unit.settings))
    assert told.startswith(
        f"DAMAGED, 0 s ago: layer {layer}, /usr/lib/part1/file4: its content has changed, and 1 more"
    )
    unit.deploy("new")
    assert verify.last(unit.settings) is None
    assert verify.last_told(verify.last(unit.settings)) == "not yet: panoptes-unit verify"


@pytest.mark.parametrize("content", CONTENTS)
def test_damaged_record_is_as_good_as_none(unit, content):
    verified(unit)
    damage(record(unit), content)
    assert verify.last(unit.settings) is None
    verified(unit)
    assert verify.last(unit.settings)["verdict"] == "whole"


@pytest.fixture
def command(unit, monkeypatch):
    monkeypatch.setattr(verify, "Engine", lambda settings: unit.engine)
    monkeypatch.setattr(cli, "load", lambda path: unit.settings)
    return lambda *arguments: cli.main(["verify", *arguments])


def test_command_says_whole_and_ends_with_0(command, unit, capsys):
    assert command() == 0
    said = capsys.readouterr().out
    assert said.startswith(f"whole: {image_of('old')[-64:][:12]}, 2 layers, ")


def test_command_names_all_damage_and_ends_with_7(command, unit, capsys):
    spoil(unit)
    assert command("--quiet") == 7
    first, last = capsys.readouterr().out.splitlines()
    assert first == f"layer {unit.engine.image.layers[1][7:19]}, /usr/lib/part2/file4: its content has changed"
    assert last.startswith("damaged: ")
    assert command("--json") == 7
    answer = json.loads(capsys.readouterr().out)
    assert (answer["verdict"], answer["exit_code"], answer["image"]) == ("damaged", 7, image_of("old"))


def test_command_without_an_engine_is_one_line_and_no_damage(command, unit, capsys):
    unit.engine.alive = False
    assert command() == 1
    assert capsys.readouterr().err == "panoptes-unit: Docker Engine does not answer: systemctl status docker\n"


def test_file_of_a_strange_name_does_nothing_to_a_terminal(command, unit, monkeypatch, capsys):
    strange = verify.Damage("", "usr/\x1b[2J", "x")
    monkeypatch.setattr(verify, "_damages", lambda *arguments: [strange])
    assert command() == 7
    assert "\x1b" not in capsys.readouterr().out


def test_reading_makes_way_for_all_others():
    """In a process of its own, for there is no way back from there."""
    import subprocess
    import sys

    script = "import os; from panoptes_unit.health.verify import become_idle; become_idle(); "
    script += "print(os.sched_getscheduler(0) == os.SCHED_IDLE, flush=True); "
    script += "os.execlp('ionice', 'ionice', '-p', str(os.getpid()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[4])
    assert done.stdout.split() == ["True", "idle"]
