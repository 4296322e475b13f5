"""A look before a change, on a unit that works: it judges what is wanted, changes nothing, and ends well."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.slow]

WATCHED = "/etc /usr /var/panoptes /var/lib/panoptes-unit /var/lib/dpkg"
NOT_ASKED = "What runs was not asked whether it works"


@pytest.fixture(scope="module")
def unit(make_unit):
    unit = make_unit("check-mode")
    made = unit.play("unit.yml")
    assert made.code == 0, made.output
    return unit


@pytest.fixture
def looked(unit):
    """Runs a playbook in check mode, which has to end well and to leave the unit as it is; returns what it did."""

    def run(playbook: str, options: str = "", **settings: object):
        state = "docker ps --quiet --no-trunc; systemctl list-timers --all --no-legend | wc -l"
        before = unit.shell(f"touch /tmp/before; {state}")
        result = unit.play(playbook, options=f"--check --diff {options}", **settings)
        assert result.code == 0, result.output
        touched = unit.shell(f"find {WATCHED} -xdev -cnewer /tmp/before 2>/dev/null || true")
        assert not touched, f"check mode changed: {touched}"
        assert unit.shell(state) == before
        return result

    return run


def test_nothing_to_change_is_asked_as_a_run_asks(looked):
    result = looked("unit.yml")
    assert result.changed == 0, result.output
    assert NOT_ASKED not in result.output
    assert "Ask both services" in result.output


@pytest.mark.parametrize(
    ("settings", "difference"),
    [({"panoptes_pan_id": "PAN777"}, "+pan_id: PAN777"), ({"services_config_port": 6600}, "6600")],
    ids=["identifier", "port"],
)
def test_changed_setting_is_shown_and_what_runs_is_not_asked_about_it(looked, settings, difference):
    result = looked("unit.yml", **settings)
    assert difference in result.output
    assert "Would start: " in result.output
    assert NOT_ASKED in result.output
    assert result.changed > 0


@pytest.mark.parametrize("playbook", ["update.yml", "rollback.yml", "repair.yml", "backup.yml", "remove.yml"])
def test_every_verb_can_be_looked_at_first(looked, playbook, tmp_path):
    looked(playbook, backup_dir=str(tmp_path))
    assert list(tmp_path.iterdir()) == [], "nor is anything left on the controller"


def test_backup_can_be_looked_at_before_it_is_put_back(unit, looked, tmp_path):
    unit.run("docker", "exec", "config-server", "panoptes-config-server", "set", "location.elevation", "55.0 m")
    assert unit.play("backup.yml", backup_dir=str(tmp_path)).code == 0
    result = looked("restore.yml", backup_dir=str(tmp_path))
    assert "every file as it is in the backup" in result.output
    unit.run("docker", "exec", "config-server", "panoptes-config-server", "set", "location.elevation", "77.0 m")
    result = looked("restore.yml", backup_dir=str(tmp_path), backup_overwrite=True)
    assert result.changed > 0


def test_name_is_changed_without_a_registry_where_the_release_is_on_the_disk(unit):
    elsewhere = {"panoptes_registry": "127.0.0.1:1", "panoptes_name": "Renamed", "panoptes_registry_ca": ""}
    result = unit.play("unit.yml", options="--tags services", **elsewhere)
    assert result.code == 0, result.output
    assert "Renamed" in unit.run("curl", "-fsS", "http://127.0.0.1:6563/get-config")
