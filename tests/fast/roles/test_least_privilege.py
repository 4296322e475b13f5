"""The systemd services of the roles have the least that they need, as systemd rates it, and all that they need."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from roles_templar import ansible_says

pytest.importorskip("ansible")
TOP = Path(__file__).parents[3]
TEMPLATES = sorted((TOP / "roles").glob("*/templates/*.service.j2"))
# Both may change what runs.
SWITCHING = ("panoptes-update.service.j2", "panoptes-recover.service.j2")
# 0 is nothing at all, 10 everything; a service without a word of it has 9.6.
LIMIT = 4.0
# What mends the machine has to see it as it is.
MENDING, MENDING_LIMIT = "panoptes-repair.service.j2", 5.5
NIGHTLY = "/media/a stick"


def rendered(template: Path) -> str:
    """A service as its role writes it for the shipped settings, and a folder for backups."""
    settings = {"backup_nightly_dir": NIGHTLY}
    return str(ansible_says(settings, f"{{{{ lookup('ansible.builtin.template', '{template.name}') }}}}"))


def directives(template: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", rendered(template), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


@pytest.fixture(params=TEMPLATES, ids=lambda path: path.name)
def template(request):
    return request.param


@pytest.fixture
def rated(template, tmp_path):
    """What systemd says of the file: its exposure, and what it does not understand."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed here")
    if "--offline" not in subprocess.run(["systemd-analyze", "--help"], capture_output=True, text=True).stdout:
        pytest.skip("systemd-analyze of this machine is too old to rate a file (--offline, systemd 250)")
    file = tmp_path / template.name.removesuffix(".j2")
    file.write_text(rendered(template), encoding="utf-8")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(re.search(r"exposure level for .*: ([0-9.]+)", done.stdout)[1]), done.stderr


def test_there_are_services():
    assert {path.name for path in TEMPLATES} >= {
        f"panoptes-{name}.service.j2" for name in ("update", "recover", "backup", "verify", "health", "repair")
    }


def test_systemd_rates_it_below_the_limit_and_understands_every_line(template, rated):
    exposure, complaints = rated
    assert exposure <= (MENDING_LIMIT if template.name == MENDING else LIMIT)
    assert "Unknown" not in complaints and "ignoring" not in complaints, complaints


def test_folder_that_is_missing_does_not_keep_a_service_from_starting(template):
    if template.name == MENDING:
        assert not {name for name in directives(template) if name.startswith(("Protect", "Private", "ReadWrite"))}
        return  # it sees the machine as it is
    (paths,) = directives(template)["ReadWritePaths"]
    assert [path for path in shlex.split(paths) if not path.startswith("-/")] == []


def test_update_and_recovery_may_do_the_same():
    """Recovery finishes what an update began: whatever one may write, the other has to."""
    sandboxes = [
        rendered(path).partition("# What it needs")[2].partition("[Install]")[0].strip()
        for path in TEMPLATES
        if path.name in SWITCHING
    ]
    assert len(sandboxes) == 2
    assert sandboxes[0] == sandboxes[1] != ""


def test_an_undo_can_put_the_configuration_back_where_it_is():
    settings = yaml.safe_load((TOP / "inventory/group_vars/units/20-wiring.yml").read_text(encoding="utf-8"))
    assert settings["updates_preserve"] == "{{ release_preserve }}"
    for path in TEMPLATES:
        if path.name in SWITCHING:
            (writable,) = directives(path)["ReadWritePaths"]
            assert {"-/etc/panoptes", "-/var/lib/panoptes-unit", "-/var/panoptes"} <= set(shlex.split(writable))


def test_backup_has_no_network_and_writes_to_its_stick_alone():
    found = directives(TOP / "roles/backup/templates/panoptes-backup.service.j2")
    assert found["PrivateNetwork"] == ["yes"]
    assert [shlex.split(paths) for paths in found["ReadWritePaths"]] == [[f"-{NIGHTLY}"]]
    assert found["ProtectSystem"] == ["strict"]


def test_verification_has_no_network_gives_way_to_all_others_and_writes_its_record_alone():
    found = directives(TOP / "roles/updates/templates/panoptes-verify.service.j2")
    assert found["PrivateNetwork"] == ["yes"]
    assert (found["CPUSchedulingPolicy"], found["IOSchedulingClass"]) == (["idle"], ["idle"])
    assert found["CapabilityBoundingSet"] == ["CAP_DAC_READ_SEARCH"]
    assert found["ReadWritePaths"] == ["-/var/lib/panoptes-unit"]


def test_look_every_five_minutes_writes_what_it_found_to_memory_and_leaves_no_line_in_the_log_where_all_is_well():
    found = directives(TOP / "roles/health/templates/panoptes-health.service.j2")
    assert found["ReadWritePaths"] == ["-/etc/panoptes -/var/lib/panoptes-unit"]
    assert (found["RuntimeDirectory"], found["RuntimeDirectoryPreserve"]) == (["panoptes"], ["yes"])
    # systemd's lines of each start are of level info; those of the look are not.
    assert (found["LogLevelMax"], found["SyslogLevel"]) == (["notice"], ["notice"])
    assert found["ExecStart"] == ["/usr/local/bin/panoptes-unit heal --hand-over panoptes-repair.service"]


def test_repair_does_not_wait_for_a_docker_that_may_be_what_is_broken():
    found = directives(TOP / "roles/health/templates" / MENDING)
    assert "docker" not in " ".join(found.get("After", []) + found.get("Requires", []))
