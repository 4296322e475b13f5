"""A dead unit: its state was kept, a blank machine takes its place, and it is the same unit again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.slow]

SHARED = Path(__file__).parents[3] / "molecule" / "shared"
HISTORY = "/var/lib/panoptes-unit/history.jsonl"


@pytest.fixture(scope="module")
def unit(make_unit):
    return make_unit("reprovisioning")


@pytest.fixture(scope="module")
def backups(tmp_path_factory):
    return tmp_path_factory.mktemp("backups")


def configuration(unit) -> dict:
    return json.loads(unit.run("curl", "-fsS", "http://127.0.0.1:6563/get-config"))


@pytest.fixture(scope="module")
def lost(unit, backups):
    """The configuration and history of a unit that was changed while it ran, backed up, and then lost."""
    made = unit.play("unit.yml")
    assert made.code == 0, made.output
    unit.run("docker", "exec", "config-server", "panoptes-config-server", "set", "location.elevation", "1234.5 m")
    before = configuration(unit), unit.shell(f"cat {HISTORY} 2>/dev/null || true")

    result = unit.play("backup.yml", backup_dir=str(backups))
    assert result.code == 0, result.output
    assert result.changed == 1, "only the backup itself is new"
    (archive,) = (backups / unit.name).glob("*.tar.gz")
    assert archive.stat().st_mode & 0o777 == 0o600
    assert archive.stat().st_size < 1_000_000
    assert unit.shell("ls /run/panoptes-backup* 2>/dev/null || true") == "", "the backup was left on the unit"
    secret = unit.shell("cat /var/panoptes/conf_files/.config-server.token 2>/dev/null || true")
    assert not secret or secret not in result.output

    unit.play(str(SHARED / "destroy.yml"), unit_names=[unit.name])
    blank = unit.play(str(SHARED / "create.yml"), unit_names=[unit.name])
    assert blank.code == 0, blank.output
    return before


def test_without_a_backup_it_says_so_and_touches_nothing(unit, lost, tmp_path):
    result = unit.play("unit.yml", unit_restore=True, backup_dir=str(tmp_path))
    assert result.code != 0
    assert "There is no backup of" in result.message
    assert unit.shell("ls -d /etc/panoptes /var/panoptes 2>/dev/null || true") == ""


def test_damaged_backup_is_refused_and_the_machine_stays_blank(unit, lost, backups, tmp_path):
    (archive,) = (backups / unit.name).glob("*.tar.gz")
    damaged = tmp_path / "damaged.tar.gz"
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    result = unit.play("unit.yml", unit_restore=True, backup_from=str(damaged))
    assert result.code != 0
    assert "use another one" in result.output
    assert unit.shell("ls -d /etc/panoptes /var/panoptes /run/panoptes-backup* 2>/dev/null || true") == ""


def test_blank_machine_becomes_the_same_unit(unit, lost, backups):
    configured, history = lost
    result = unit.play("unit.yml", unit_restore=True, backup_dir=str(backups))
    assert result.code == 0, result.output
    assert configuration(unit) == configured
    assert "1234.5" in json.dumps(configuration(unit)["location"])
    assert unit.shell(f"cat {HISTORY} 2>/dev/null || true").startswith(history)
    # What was put back belongs to whom it belonged.
    assert unit.run("stat", "-c", "%u", "/var/panoptes/conf_files/pocs_local.yaml") == "1000"


def test_typed_again_it_neither_changes_anything_nor_goes_back_in_time(unit, backups):
    unit.run("docker", "exec", "config-server", "panoptes-config-server", "set", "location.elevation", "99.0 m")
    again = unit.play("unit.yml", unit_restore=True, backup_dir=str(backups))
    assert again.code == 0, again.output
    assert again.changed == 0, again.output
    assert "99.0" in json.dumps(configuration(unit)["location"])


def test_unit_with_a_state_of_its_own_is_not_overwritten_unasked(unit, backups):
    unit.run("rm", "/var/lib/panoptes-unit/restored.json")
    refused = unit.play("restore.yml", backup_dir=str(backups))
    assert refused.code != 0
    assert "backup_overwrite" in refused.output
    assert "99.0" in json.dumps(configuration(unit)["location"])
    asked = unit.play("restore.yml", backup_dir=str(backups), backup_overwrite=True)
    assert asked.code == 0, asked.output
    assert "1234.5" in json.dumps(configuration(unit)["location"]), "the services still run on the old configuration"


def test_unit_keeps_a_backup_itself_each_night(unit):
    unit.run("mkdir", "-p", "/media/stick")
    settings = {"backup_nightly_dir": "/media/stick", "backup_key": "c0ffee" * 6}
    result = unit.play("unit.yml", **settings)
    assert result.code == 0, result.output
    assert settings["backup_key"] not in result.output
    assert unit.run("stat", "-c", "%a %u", "/etc/panoptes/backup.key") == "600 0"
    assert unit.run("systemctl", "is-enabled", "panoptes-backup.timer") == "enabled"
    assert unit.play("unit.yml", **settings).changed == 0
    unit.run("systemctl", "start", "panoptes-backup.service")
    archive = unit.shell("ls /media/stick/*/*.tar.gz")
    names = unit.run("tar", "-tf", archive)
    assert "var/panoptes/conf_files/pocs_local.yaml" in names
    assert "manifest.hmac" in names, "it has no seal"
    unit.run("rm", "-r", "/media/stick")
    told = unit.shell("systemctl start panoptes-backup.service; journalctl -u panoptes-backup -n 5 --no-pager")
    assert "plug the stick in" in told
    # Taken off the settings, it is taken off the unit.
    assert unit.play("unit.yml").code == 0
    assert unit.shell("ls /etc/systemd/system/panoptes-backup.* /etc/panoptes/backup.* 2>/dev/null || true") == ""


def test_one_playbook_for_each_verb(unit):
    """What the units run, the newest release, and the one before, of which there is none."""
    told = unit.play("status.yml")
    assert (told.code, told.changed) == (0, 0), told.output
    assert "release" in told.output and "172." in told.output
    newest = unit.play("update.yml", update_force=True)
    assert (newest.code, newest.changed) == (0, 0), newest.output
    assert "unchanged this is the newest release" in newest.output
    # A unit that is off comes first: the next one that answers is asked, and both are told.
    off = {"units": {"hosts": {"a-unit-that-is-off": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}}
    (unit.scratch / "off.json").write_text(json.dumps(off))
    some = unit.play("update.yml", options=f"-i {unit.scratch / 'off.json'}")
    assert (some.code, some.failed_tasks) == (2, ["Say what did not come through"]), some.output
    assert "not reached" in some.message and "Connection refused" in some.message
    assert "unchanged this is the newest release" in some.output
    back = unit.play("rollback.yml")
    assert back.code != 0
    assert "no previous release to go back to" in back.output
