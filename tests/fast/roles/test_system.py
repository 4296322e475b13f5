"""Role system's directories as they are made: the unit's account writes in them, and cannot exchange them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("ansible")
TOP = Path(__file__).parents[3]
PROGRAMS = 1000
FOLDERS = ["astrometry", "conf_files", "images", "json_store", "logs"]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the role gives folders to other accounts"),
    pytest.mark.skipif(not shutil.which("ansible-playbook"), reason="ansible is not on PATH"),
]


@pytest.fixture
def system_dir():
    """Where everybody can come, unlike in pytest's own folders."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name) / "panoptes"


def play(system_dir: Path) -> subprocess.CompletedProcess:
    """Make what the role wants below its folder."""
    tasks = [{"name": "Make", "unit_files": {"directories": "{{ _system_directories[1:] }}"}}]
    role = TOP / "roles/system"
    book = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars_files": [str(role / "defaults/main.yml"), str(role / "vars/main.yml")],
            "tasks": tasks,
        }
    ]
    playbook = system_dir.parent / "play.yml"
    playbook.write_text(json.dumps(book))
    variables = json.dumps({"system_dir": str(system_dir), "ansible_python_interpreter": sys.executable})
    environment = {**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    command = ["ansible-playbook", "-i", "localhost,", "-e", variables, str(playbook)]
    return subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True)


def as_programs(act) -> bool:
    """Whether the unit's account may do it."""
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setgid(PROGRAMS)
        os.setuid(PROGRAMS)
        try:
            act()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("before", ["blank", "a unit of an earlier version"])
def test_programs_write_in_their_folders_and_exchange_none(system_dir, before):
    if before != "blank":
        (system_dir / "conf_files").mkdir(parents=True)
        (system_dir / "conf_files/pocs_local.yaml").write_text("a: 1\n")
        for path in (system_dir, *system_dir.rglob("*")):
            os.chown(path, PROGRAMS, PROGRAMS)
    done = play(system_dir)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in system_dir.iterdir()) == FOLDERS
    for name in FOLDERS:
        assert as_programs((system_dir / name / "sub").mkdir), name
        assert not as_programs(lambda name=name: (system_dir / name).rename(system_dir / "old")), name
    assert not as_programs(lambda: (system_dir / "link").symlink_to("/etc"))
    assert (system_dir / "conf_files").stat().st_mode & 0o777 == 0o750, "whoever can open the folder can lock it"
    assert "changed=0" in play(system_dir).stdout


def test_folder_that_was_exchanged_for_a_link_is_refused_and_nothing_given_away(system_dir):
    elsewhere = system_dir.parent / "etc"
    elsewhere.mkdir()
    system_dir.mkdir()
    (system_dir / "conf_files").symlink_to(elsewhere)
    os.chown(system_dir, PROGRAMS, PROGRAMS)
    done = play(system_dir)
    assert done.returncode != 0
    assert "conf_files is a link, which is not followed: put the folder itself there" in done.stdout
    assert (elsewhere.stat().st_uid, elsewhere.stat().st_mode & 0o777) == (0, 0o755)
