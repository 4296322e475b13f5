"""Files that the tool cannot work without are put back from their copies where they are damaged, and only there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from damage import CONTENTS, damage
from fake_unit import FakeUnit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panoptes_unit.deploy import own_files, verdicts
from panoptes_unit.errors import ConfigurationError
from panoptes_unit.settings import load

COMPOSE = "services:\n  config-server: {image: x}\n  messaging-hub: {image: x}\n"
SETTINGS = "source: registry.example.org/panoptes-utils:latest\nconfig_value: PAN042\n"
# What a damaged card, or half a write, leaves of each.
SPOILED = [*CONTENTS, "zeros", "half", "gone"]
FILES = ["compose.yaml", "unit.yaml"]


@pytest.fixture
def unit(tmp_path):
    return made(tmp_path)


def made(folder: Path) -> FakeUnit:
    unit = FakeUnit(folder / "unit")
    Path(unit.settings.compose_file).write_text(COMPOSE)
    path_of(unit, "unit.yaml").write_text(SETTINGS)
    unit.settings.watch = {"config-server": 1, "messaging-hub": 2}
    assert unit.deploy("old").verdict == verdicts.UPDATED
    return unit


def path_of(unit: FakeUnit, name: str) -> Path:
    return Path(unit.settings.compose_file).with_name(name)


def spoil(path: Path, how: str) -> None:
    text = path.read_bytes()
    if how in CONTENTS:
        damage(path, how)
    elif how == "gone":
        path.unlink()
    else:
        path.write_bytes(bytes(len(text)) if how == "zeros" else text[: len(text) // 2])


@pytest.mark.parametrize("how", SPOILED)
@pytest.mark.parametrize("name", FILES)
def test_damaged_file_is_put_back_by_the_next_run_and_kept_beside(unit, name, how):
    path = path_of(unit, name)
    text, mode = path.read_text(), path.stat().st_mode
    spoil(path, how)
    assert unit.run("update").verdict == verdicts.UNCHANGED
    assert (path.read_text(), path.stat().st_mode) == (text, mode)
    assert path.with_name(f"{name}.damaged").exists() == (how != "gone")


@pytest.mark.parametrize("how", SPOILED)
def test_settings_that_are_damaged_are_read_from_their_copy(unit, how):
    path, lines = path_of(unit, "unit.yaml"), []
    spoil(path, how)
    read = own_files.settings_from(path, Path(unit.settings.state), lines.append)
    assert (read.config_value, len(lines)) == ("PAN042", 1)
    assert own_files.settings_from(path, Path(unit.settings.state), lines.append) == read == load(path)
    assert len(lines) == 1, "it is said once"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("unit.yaml", SETTINGS + "config_vlaue: typed wrongly\n"),
        ("unit.yaml", "source: somewhere/else:latest\n"),
        ("compose.yaml", COMPOSE + "  one-more: {image: y}\n"),
    ],
)
def test_what_a_person_wrote_stays_and_is_copied_when_the_unit_works_with_it(unit, name, text):
    path = path_of(unit, name)
    path.write_text(text)
    assert unit.run("update").verdict == verdicts.UNCHANGED
    assert path.read_text() == text
    copy = own_files.copy_of(Path(unit.settings.state) / "copies", path)
    assert copy is not None and copy.text == text
    path.write_bytes(b"")
    unit.run("update")
    assert path.read_text() == text


def test_wrong_settings_are_refused_and_not_replaced(unit):
    path = path_of(unit, "unit.yaml")
    path.write_text(SETTINGS + "config_vlaue: typed wrongly\n")
    with pytest.raises(ConfigurationError, match="config_vlaue"):
        own_files.settings_from(path, Path(unit.settings.state))


def test_copy_is_written_only_when_something_is_new(unit):
    copies = sorted((Path(unit.settings.state) / "copies").iterdir())
    before = [(copy.name, copy.stat().st_ino) for copy in copies]
    assert [name for name, _ in before] == ["compose.yaml.json", "engine.json", "unit.yaml.json"]
    assert all(copy.stat().st_mode & 0o777 == 0o600 for copy in copies)
    unit.run("update")
    assert [(copy.name, copy.stat().st_ino) for copy in copies] == before


@pytest.mark.parametrize("name", FILES)
def test_copy_that_is_damaged_itself_puts_back_nothing_and_is_made_again(unit, name):
    copy = Path(unit.settings.state) / "copies" / f"{name}.json"
    known = json.loads(copy.read_text())
    copy.write_text(json.dumps({**known, "text": known["text"] + "# a bit\n"}))
    path_of(unit, name).write_bytes(b"")
    unit.run("update")
    assert path_of(unit, name).read_bytes() == b""
    path_of(unit, name).write_text(known["text"])
    unit.run("update")
    assert json.loads(copy.read_text()) == known


def test_copy_of_another_file_of_the_same_name_is_not_used(unit, tmp_path):
    path = tmp_path / "elsewhere" / "unit.yaml"
    path.parent.mkdir()
    path.write_bytes(b"")
    with pytest.raises(ConfigurationError):
        own_files.settings_from(path, Path(unit.settings.state))
    assert path.read_bytes() == b""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(content=st.binary(max_size=100))
def test_whatever_a_copy_holds_it_is_whole_or_no_copy(tmp_path, content):
    (tmp_path / "unit.yaml.json").write_bytes(content)
    assert own_files.copy_of(tmp_path, Path("unit.yaml")) is None


def test_disk_that_cannot_be_written_leaves_the_run_to_say_what_is_wrong(unit, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    path_of(unit, "compose.yaml").write_bytes(b"")
    monkeypatch.setattr(own_files, "write_durably", full)
    assert unit.run("update").verdict == verdicts.UNCHANGED


def test_before_the_services_are_laid_out_no_file_is_made(tmp_path):
    blank = FakeUnit(tmp_path / "blank")
    Path(blank.settings.compose_file).unlink()
    blank.deploy("first")
    assert not Path(blank.settings.compose_file).exists()


@pytest.mark.parametrize("how", ["gone", "zeros", "empty"])
@pytest.mark.parametrize("name", [*own_files.ENGINE_UNITS, own_files.ENGINE_OPTIONS])
@pytest.mark.parametrize("engine", ["there", "taken away"])
def test_file_without_which_the_engine_does_not_start_is_put_back_unless_the_engine_was_taken_away(
    unit, name, how, engine
):
    run = unit.transaction().run
    contents = dict.fromkeys(own_files.ENGINE_UNITS, "[Unit]\n") | {own_files.ENGINE_OPTIONS: "{}\n"}
    for one, text in {**contents, own_files.DAEMONS[0]: ""}.items():
        (run.root / one).parent.mkdir(parents=True, exist_ok=True)
        (run.root / one).write_text(text)
    own_files.keep(run)
    path = run.root / name
    spoil(path, how)
    spoiled = path.read_bytes() if path.exists() else None
    if engine == "taken away":
        (run.root / own_files.DAEMONS[0]).unlink()
        own_files.mend_engine(run)
        assert (path.read_bytes() if path.exists() else None) == spoiled
    else:
        own_files.mend_engine(run)
        assert path.read_text() == contents[name]
