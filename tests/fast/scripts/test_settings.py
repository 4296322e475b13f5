"""A person's settings: what `make settings` writes, what it leaves alone, and what Ansible makes of it."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[3]
COMMAND = TOP / "scripts" / "settings.py"
SHIPPED = TOP / "inventory" / "group_vars" / "units"
GIVEN = {
    "name": "School: roof", "pan-id": "pan012", "site": "School", "latitude": "-34.05", "longitude": "150.99 deg",
    "elevation": "120", "timezone": "Australia/Sydney", "registry": "ghcr.io/panoptes",
}  # fmt: skip
# What stands in front of the wiring in the version that had one file for everything.
OLD_HEAD = "panoptes_name: Tower\npanoptes_pan_id: PAN077\ndocker_source: distro\npanoptes_release: latest\n"


@pytest.fixture
def inventory(tmp_path) -> Path:
    """The shipped inventory, in which a person has done nothing yet."""
    ignore = shutil.ignore_patterns("90-mine.yml", "units.yml*", "pan*.yml")
    return Path(shutil.copytree(TOP / "inventory", tmp_path / "inventory", ignore=ignore))


@pytest.fixture
def mine(inventory) -> Path:
    return inventory / "group_vars" / "units" / "90-mine.yml"


@pytest.fixture
def old(inventory) -> Path:
    """An edited file of the version before, left beside the folder."""
    wiring = (SHIPPED / "20-wiring.yml").read_text(encoding="utf-8").removeprefix("---\n")
    path = inventory / "group_vars" / "units.yml"
    path.write_text(f"---\n{OLD_HEAD}{wiring}", encoding="utf-8")
    return path


def settings(inventory: Path, *options: str, **given: str) -> subprocess.CompletedProcess[str]:
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    return subprocess.run(
        [sys.executable, COMMAND, "--inventory", inventory, *words, *options],
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def load(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def ansible(program: str, inventory: Path, *words: str) -> str:
    found = shutil.which(program) or pytest.skip(f"{program} is not installed here")
    environment = {**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"), "ANSIBLE_STDOUT_CALLBACK": "json"}
    done = subprocess.run([found, "-i", inventory, *words], capture_output=True, text=True, env=environment, cwd=TOP)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def variables(inventory: Path) -> dict:
    """What Ansible knows of the shipped inventory's one unit, not yet templated."""
    return json.loads(ansible("ansible-inventory", inventory, "--host", "this-machine"))


def problems(inventory: Path) -> list:
    """What preflight would refuse of the settings."""
    lookup = "{{ q('unit_settings', 'names') }}"
    message = json.dumps({"msg": lookup})
    text = ansible("ansible", inventory, "this-machine", "-o", "-m", "ansible.builtin.debug", "-a", message)
    return json.loads(text[text.index("{") :])["msg"] if "{" in text else []


def test_sample_is_not_loaded_and_says_what_the_defaults_say(inventory):
    sample = load(SHIPPED / "90-mine.yml.sample")
    defaults = load(SHIPPED / "10-defaults.yml")
    assert {name: defaults[name] for name in sample} == sample
    sample_file = inventory / "group_vars" / "units" / "90-mine.yml.sample"
    sample_file.write_text("panoptes_name: of the sample", encoding="utf-8")
    assert variables(inventory)["panoptes_name"] == defaults["panoptes_name"]


def test_git_ignores_the_own_file_and_not_the_shipped_ones():
    git = shutil.which("git") or pytest.skip("git is not installed here")
    names = [f"inventory/group_vars/{name}" for name in
             ("units/90-mine.yml", "units.yml.old", "units/10-defaults.yml", "units/90-mine.yml.sample")]  # fmt: skip
    done = subprocess.run([git, "check-ignore", "--no-index", *names], cwd=TOP, capture_output=True, text=True)
    if done.returncode > 1:
        pytest.skip("not a git checkout")
    assert done.stdout.split() == names[:2]


def test_answers_take_the_place_of_the_defaults_and_the_wiring_hands_them_on(inventory, mine):
    done = settings(inventory, **GIVEN)
    assert done.returncode == 0, done.stderr
    found = variables(inventory)
    assert (found["panoptes_name"], found["panoptes_pan_id"], found["panoptes_registry"]) == (
        "School: roof", "PAN012", "ghcr.io/panoptes",
    )  # fmt: skip
    assert found["panoptes_location"] == {
        "name": "School", "latitude": "-34.05 deg", "longitude": "150.99 deg", "elevation": "120 m",
        "horizon": "30 deg", "flat_horizon": "-6 deg", "focus_horizon": "-12 deg", "observe_horizon": "-18 deg",
        "timezone": "Australia/Sydney", "gmt_offset": 600,
    }  # fmt: skip
    assert found["release_pan_id"] == "{{ panoptes_pan_id }}"
    assert found["docker_source"] == "auto"
    assert not list(mine.parent.glob(".*")), "the draft is left behind"


def test_config_server_takes_what_is_written(inventory, mine):
    pytest.importorskip("pydantic_core")
    from panoptes_utils.config.model import problems as refused

    settings(inventory, **GIVEN)
    written = load(mine)
    names = {"name": "panoptes_name", "pan_id": "panoptes_pan_id", "location": "panoptes_location"}
    assert refused({key: written[name] for key, name in names.items()}) == []


def test_place_is_typed_as_people_have_it_and_written_as_it_is_served(inventory, mine):
    typed = {"latitude": "34d03m S", "longitude": "204.42", "elevation": "0.12 km", "timezone": "Pacific/Honolulu"}
    done = settings(inventory, **{**GIVEN, **typed})
    assert (done.returncode, done.stderr) == (0, "")
    written = load(mine)["panoptes_location"]
    assert {name: written[name] for name in typed} == {
        "latitude": "-34.05 deg", "longitude": "-155.58 deg", "elevation": "120.0 m", "timezone": "Pacific/Honolulu",
    }  # fmt: skip


def test_zone_far_from_the_longitude_is_said_and_written(inventory, mine):
    done = settings(inventory, **{**GIVEN, "longitude": "150.99 W"})
    assert (done.returncode, done.stderr) == (
        0,
        "settings: timezone is Australia/Sydney, which is 3.9 h from the sun's time at longitude -150.99 deg:"
        " check both.\n",
    )
    assert load(mine)["panoptes_location"]["longitude"] == "-150.99 deg"


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("name", " ", "must have 1 to 100 characters"),
        ("pan-id", "PAN1", "must be PAN and three digits, such as PAN012"),
        ("latitude", "91", "a latitude is from -90 to 90 deg"),
        ("longitude", "150 m", "m may be metres or minutes: write arcmin"),
        ("elevation", "high", "write an elevation, such as 3400 m, 3.4 km or 11155 ft"),
        ("longitude", "-155.58 W", "- and W are at odds: leave one of them out"),
        ("site", "{{ roof }}", "must not have {{, {% or {#, which begin a template in Ansible's files"),
        ("timezone", "Australia/Sidney", "no such time zone: did you mean Australia/Sydney?"),
        ("registry", "https://ghcr.io/x", "must be an address and a path, such as ghcr.io/panoptes, without"
         " https:// and without a tag"),
    ],
)  # fmt: skip
def test_bad_value_gets_one_line_and_nothing_is_written(inventory, mine, option, value, says):
    done = settings(inventory, **{**GIVEN, option: value})
    assert (done.returncode, done.stderr) == (2, f"settings: --{option} {value}: {says}\n")
    assert not mine.exists()


def test_without_a_terminal_nothing_is_guessed(inventory, mine):
    done = settings(inventory, name="Tower")
    assert done.returncode == 2
    assert done.stderr.startswith("settings: give --pan-id, --site, --latitude,") and done.stderr.count("\n") == 1
    assert not mine.exists()


def test_second_run_changes_the_given_answer_and_keeps_the_rest(inventory, mine):
    settings(inventory, **GIVEN)
    mine.chmod(0o600)
    mine.write_text(mine.read_text() + "\n# We like it fast.\nupdates_spread_s: 60  # seconds\n")
    before = mine.read_text()
    assert settings(inventory, elevation="130").returncode == 0
    assert mine.read_text() == before.replace("120 m", "130 m")
    assert mine.stat().st_mode & 0o777 == 0o600


def test_location_given_in_part_is_written_whole(inventory, mine):
    mine.write_text("panoptes_location:\n  latitude: -34.05 deg\n  timezone: Australia/Sydney\n")
    settings(inventory, longitude="150.99")
    assert load(mine)["panoptes_location"]["latitude"] == "-34.05 deg"
    assert load(mine)["panoptes_location"]["gmt_offset"] == 600
    assert set(load(mine)["panoptes_location"]) == set(load(SHIPPED / "10-defaults.yml")["panoptes_location"])


def test_damaged_own_file_gets_one_line_and_stays(inventory, mine):
    mine.write_text("panoptes_name: [\n")
    done = settings(inventory, **GIVEN)
    assert done.returncode == 1
    assert done.stderr == f"Error: {mine}, line 2 is not YAML: mend it, then type the command again\n"
    assert mine.read_text() == "panoptes_name: [\n"


def test_failure_while_writing_leaves_the_file_of_before(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("settings_command", COMMAND)
    command = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, command)
    spec.loader.exec_module(command)
    target = tmp_path / "90-mine.yml"
    target.write_text("before")
    monkeypatch.setattr(command.os, "fsync", lambda file: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        command.write(target, {"panoptes_name": "after"})
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("90-mine.yml", "before")]


def test_on_a_terminal_it_asks_with_what_there_is_as_answer_and_again_after_a_bad_one(inventory, mine):
    settings(inventory, **GIVEN)
    terminal, theirs = pty.openpty()
    command = [sys.executable, COMMAND, "--inventory", inventory]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, text=True) as running:
        os.write(terminal, b"Dome\n\n\n95\n-35\n\n\n\n\n")
        said = running.communicate(timeout=60)[0]
    assert running.returncode == 0
    assert "What people call the unit [School: roof]" in said
    assert "95: a latitude is from -90 to 90 deg" in said
    written = load(mine)
    assert (written["panoptes_name"], written["panoptes_pan_id"]) == ("Dome", "PAN012")
    assert (written["panoptes_location"]["latitude"], written["panoptes_location"]["elevation"]) == ("-35 deg", "120 m")


def test_old_file_beside_the_folder_is_named_as_not_read_and_then_taken_over(inventory, mine, old):
    assert variables(inventory)["panoptes_pan_id"] == "PAN000", "Ansible reads the folder alone"
    assert problems(inventory) == [
        f"{old} is not read, for units/ stands beside it: type `make settings`, which takes over its values."
    ]
    done = settings(inventory)
    assert done.returncode == 0, done.stderr
    assert "not taken over" not in done.stdout
    found = variables(inventory)
    assert (found["panoptes_name"], found["panoptes_pan_id"], found["docker_source"]) == ("Tower", "PAN077", "distro")
    written = load(mine)
    assert "panoptes_release" not in written, "a value that is the default follows the default"
    assert not set(written) & set(load(SHIPPED / "20-wiring.yml"))
    assert (old.exists(), old.with_name("units.yml.old").exists()) == (False, True)
    assert problems(inventory) == []


def test_wiring_that_was_changed_by_hand_is_named(inventory, mine, old, tmp_path):
    elsewhere = old.rename(tmp_path / "units.yml")
    elsewhere.write_text(elsewhere.read_text().replace('"{{ panoptes_release }}"', "v9"))
    done = settings(inventory, "--from", str(elsewhere))
    assert "release_tag in " in done.stdout and "write it into 90-mine.yml yourself" in done.stdout
    assert load(mine)["panoptes_pan_id"] == "PAN077"
    assert elsewhere.exists()


def test_scenarios_load_what_is_shipped_and_the_labs_own_and_not_a_persons():
    folder = TOP / "molecule" / "shared" / "inventory" / "group_vars" / "units"
    assert sorted(path.name for path in folder.iterdir()) == ["10-defaults.yml", "20-wiring.yml", "30-lab.yml"]
    assert all((folder / name).samefile(SHIPPED / name) for name in ("10-defaults.yml", "20-wiring.yml"))
