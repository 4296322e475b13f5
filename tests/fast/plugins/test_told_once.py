"""A failure that is a sentence is all that is printed of it: no listing of the task, no other fields, no JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ansible")

TOP = Path(__file__).parents[3]
MODULES = sorted(path.stem for path in (TOP / "plugins" / "modules").glob("*.py"))
ANSWER = {"verdict": "rolled-back", "changed": True, "reason": "messaging-hub ended with 3: docker logs messaging-hub"}


def play(folder: Path, tasks: dict[str, dict], *options: str, **files: str) -> dict[str, list[str]]:
    """Runs each task on a host of its name, all in one play; returns the lines that are printed of each failure."""
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "ssh").write_text("#!/bin/sh\necho 'ssh: connect to host pan000: No route to host' >&2; exit 255\n")
    (folder / "ssh").chmod(0o755)
    common = {"ansible_python_interpreter": sys.executable, "ansible_ssh_executable": str(folder / "ssh")}
    local = {"ansible_connection": "local"}
    hosts = {name: {} if name == "silent" else local for name in tasks}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
    listed = [{"name": name, "when": f"inventory_hostname == '{name}'", **task} for name, task in tasks.items()]
    (folder / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": listed}]))
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", folder / "play.yml", "-i", folder / "hosts.yml", *options],
        capture_output=True,
        text=True,
        env={**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
    )
    printed = re.split(r"^TASK \[.*\n", done.stdout.partition("PLAY RECAP")[0], flags=re.MULTILINE)[1:]
    found = {}
    for block in printed:
        (host,) = set(re.findall(r"\[([\w ]+)\]", block)) & set(tasks) or {""}
        if host:
            found[host] = [line.rstrip() for line in block.strip().splitlines()]
    found["errors"] = [line for line in done.stderr.splitlines() if line.strip()]
    return found


def test_whatever_a_module_of_ours_says_is_one_line(tmp_path):
    printed = play(tmp_path, {name: {name: {"no_such_argument": 1}} for name in MODULES})
    assert printed.pop("errors") == []
    assert sorted(printed) == MODULES
    for name, lines in printed.items():
        assert lines[0] == f"fatal: [{name}]: FAILED! =>"
        assert len(lines) == 2 and re.match("    msg: (Unsupported parameters|missing required)", lines[1]), lines


def test_reason_and_remedy_stand_alone_whoever_says_them(tmp_path):
    tool = tmp_path / "panoptes-unit"
    tool.write_text(f"#!/bin/sh\necho progress >&2\ncat <<'END'\n{json.dumps(ANSWER)}\nEND\nexit 4\n")
    tool.chmod(0o755)
    root = tmp_path / "root"
    root.mkdir()
    (root / "simulated-answers.json").write_text("no JSON")
    sudo = tmp_path / "sudo"
    sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    sudo.chmod(0o755)
    as_nobody = {"ansible_become_exe": str(sudo), "ansible_become_user": "nobody"}
    printed = play(
        tmp_path,
        {
            "refusal": {"ansible.builtin.fail": {"msg": "The disk is full: make room."}},
            "module": {"unit_files": {"files": [{"path": "relative", "content": ""}]}},
            "loop": {"unit_files": {"files": [{"path": "{{ item }}", "content": ""}]}, "loop": ["one", "two"]},
            "verb": {"ansible.builtin.command": {"argv": [str(tool), "deploy", "--json"]}},
            "crash": {"unit_probe": {"root": str(root)}},
            "silent": {"ansible.builtin.ping": {}},
            "absent": {"ansible.builtin.command": {"argv": [str(tmp_path / "gone" / "panoptes-unit"), "deploy"]}},
            "password": {"ansible.builtin.ping": {}, "become": True, "vars": as_nobody},
            "python": {"ansible.builtin.ping": {}, "vars": {"ansible_python_interpreter": "/no/python3"}},
            "other": {"ansible.builtin.command": {"argv": ["false"]}},
        },
    )
    assert printed["refusal"] == ["fatal: [refusal]: FAILED! =>", "    msg: The disk is full: make room."]
    assert printed["module"][1:] == ["    msg: relative: write an absolute path"]
    assert printed["loop"] == [
        "failed: [loop] (item=one) =>",
        "    msg: one: write an absolute path",
        "failed: [loop] (item=two) =>",
        "    msg: two: write an absolute path",
    ]
    assert printed["verb"][1:] == [f"    msg: rolled-back {ANSWER['reason']}"]
    assert printed["crash"][1].startswith("    msg: unit_probe: ") and len(printed["crash"]) == 2
    assert "a fault of this project and not of the unit" in printed["crash"][1]
    assert printed["silent"][0] == "fatal: [silent]: UNREACHABLE! =>" and len(printed["silent"]) == 2
    assert re.fullmatch("    msg: not reached: .*connect to host pan000: No route to host", printed["silent"][1])
    assert printed["absent"][1:] == ["    msg: panoptes-unit is not there: run playbooks/unit.yml"]
    remedy = "add --ask-become-pass, and type what sudo wants"
    assert printed["password"][1:] == [f"    msg: sudo: a password is required: {remedy}"]
    remedy = "install Python on that machine: sudo apt-get install python3"
    assert printed["python"][1:] == [f"    msg: The module interpreter '/no/python3' was not found: {remedy}"]
    assert any("Origin:" in line for line in printed["other"] + printed["errors"]), "Ansible's own words are left alone"


def test_what_a_playbook_explains_afterwards_is_one_line_too(tmp_path):
    explained = {
        "block": [{"name": "Start", "ansible.builtin.command": {"argv": ["sh", "-c", "echo much >&2; exit 3"]}}],
        "rescue": [{"name": "Say why", "ansible.builtin.fail": {"msg": "It does not start: docker logs it."}}],
    }
    printed = play(tmp_path, {"explained": explained})
    assert printed["errors"] == []
    assert printed["explained"][-1] == "    msg: It does not start: docker logs it."


def test_all_of_it_is_there_for_who_asks(tmp_path):
    printed = play(tmp_path, {"module": {"unit_files": {"files": [{"path": "relative", "content": ""}]}}}, "-v")
    assert any("Origin:" in line for line in printed["module"] + printed["errors"])
