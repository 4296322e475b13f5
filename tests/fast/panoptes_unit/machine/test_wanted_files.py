"""Directories and files as a role wants them: what differs is changed, and nothing else is touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from panoptes_unit.machine.wanted_files import Directory, File, apply

TOP = Path(__file__).parents[4]
ME = {"uid": os.getuid(), "gid": os.getgid()}


def mode(path):
    return path.stat().st_mode & 0o777


def test_makes_what_is_missing_and_the_folders_above(tmp_path):
    folder, file = tmp_path / "a/b", tmp_path / "c/d/e.conf"
    before = os.umask(0o077)
    try:
        changes = apply([Directory(str(folder), "0750", **ME)], [File(str(file), "0640", **ME, content="x\n")], [])
    finally:
        os.umask(before)
    assert [change.path for change in changes] == [str(folder), str(file)]
    assert mode(folder) == 0o750 and mode(folder.parent) == 0o755 and mode(file.parent) == 0o755
    assert file.read_text() == "x\n" and mode(file) == 0o640
    assert list(file.parent.iterdir()) == [file], "a draft stayed behind"


def test_what_is_right_is_not_touched(tmp_path):
    folder, file = tmp_path / "a", tmp_path / "a/b.conf"
    wanted = [Directory(str(folder), **ME)], [File(str(file), **ME, content="x\n")], [str(tmp_path / "gone")]
    assert apply(*wanted)
    inode = file.stat().st_ino
    assert apply(*wanted) == []
    assert file.stat().st_ino == inode


@pytest.mark.parametrize("differs", ["text", "mode", "link"])
def test_what_differs_is_replaced(tmp_path, differs):
    file, elsewhere = tmp_path / "a.conf", tmp_path / "elsewhere"
    elsewhere.write_text("somebody else's\n")
    if differs == "link":
        file.symlink_to(elsewhere)
    else:
        file.write_text("old\n" if differs == "text" else "new\n")
        file.chmod(0o644 if differs == "text" else 0o600)
    (change,) = apply([], [File(str(file), **ME, content="new\n")], [])
    assert change.path == str(file)
    assert file.read_text() == "new\n" and mode(file) == 0o644 and not file.is_symlink()
    assert elsewhere.read_text() == "somebody else's\n"
    if differs == "text":
        assert (change.diff["before"], change.diff["after"]) == ("old\n", "new\n")
    else:
        assert change.diff["before"] != change.diff["after"]


def test_unwanted_file_is_removed(tmp_path):
    file = tmp_path / "a.conf"
    file.write_text("old\n")
    (change,) = apply([], [], [str(file)])
    assert not file.exists() and change.diff["after"] == "absent\n"


def test_a_dry_run_says_the_same_and_changes_nothing(tmp_path):
    old = tmp_path / "old"
    old.write_text("old\n")
    wanted = [Directory(str(tmp_path / "a"), **ME)], [File(str(tmp_path / "b/c"), **ME, content="x")], [str(old)]
    said = apply(*wanted, dry_run=True)
    assert list(tmp_path.iterdir()) == [old]
    assert apply(*wanted) == said


def test_a_file_that_its_command_refuses_is_not_written(tmp_path):
    file = tmp_path / "a.json"
    file.write_text("{}")
    check = (sys.executable, "-c", "import json, sys; json.load(open(sys.argv[1]))", "%s")
    with pytest.raises(ValueError, match=r"a\.json stays as it was, .* refuses the new one: .*JSONDecodeError"):
        apply([], [File(str(file), **ME, content="{", validate=check)], [])
    assert file.read_text() == "{}" and list(tmp_path.iterdir()) == [file]
    assert apply([], [File(str(file), **ME, content="[1]", validate=check)], [])
    assert file.read_text() == "[1]"


def test_a_cut_at_any_step_leaves_the_old_or_the_new(tmp_path, monkeypatch):
    """Every call that changes the disk fails once, one run after the other."""
    file = tmp_path / "a.conf"
    steps = ("fchown", "fchmod", "fsync")
    for step in steps:
        file.write_text("old\n")

        def cut(*_):
            raise OSError("power cut")

        with monkeypatch.context() as patch:
            patch.setattr(os, step, cut)
            with pytest.raises(OSError, match="power cut"):
                apply([], [File(str(file), **ME, content="new\n")], [])
        assert file.read_text() == "old\n", step
        assert list(tmp_path.iterdir()) == [file], step


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (lambda folder: ([], [File("a.conf", content="x")], []), "a.conf: write an absolute path"),
        (lambda folder: ([Directory(str(folder), "rwx")], [], []), "mode 'rwx' is not octal, such as 0644"),
        (lambda folder: ([], [File(str(folder), content="x")], []), "is a directory; move it away"),
        (lambda folder: ([Directory(str(folder / "file"))], [], []), "is no directory; move it away"),
    ],
)
def test_bad_input_is_named(tmp_path, wanted, told):
    (tmp_path / "file").write_text("")
    with pytest.raises((OSError, ValueError), match=told):
        apply(*wanted(tmp_path))


def ansible(tmp_path, arguments, *options):
    """The module as Ansible runs it; its answer and what it would have shown."""
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "tasks": [{"name": "Place", "unit_files": arguments}],
        }
    ]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "false",
    }
    command = [
        "ansible-playbook",
        "-i",
        "localhost,",
        str(tmp_path / "play.yml"),
        *options,
        "-e",
        f"ansible_python_interpreter={sys.executable}",
    ]
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("ansible-playbook"), reason="ansible is not on PATH")
def test_ansible_module_writes_once_and_only_says_so_in_check_mode(tmp_path):
    file = tmp_path / "a" / "b.conf"
    arguments = {"files": [{"path": str(file), "content": "one\ntwo\n", **ME}]}
    code, said = ansible(tmp_path, arguments, "--check", "--diff")
    assert code == 0 and "changed=1" in said and "+two" in said, said
    assert not file.exists()
    code, said = ansible(tmp_path, arguments)
    assert code == 0 and "changed=1" in said and file.read_text() == "one\ntwo\n", said
    code, said = ansible(tmp_path, arguments)
    assert code == 0 and "changed=0" in said, said
    code, said = ansible(tmp_path, {"files": [{"path": str(file), "mode": "u+x", "content": ""}]})
    assert code != 0 and "mode 'u+x' is not octal" in said, said


@pytest.mark.skipif(not shutil.which("ansible-playbook"), reason="ansible is not on PATH")
def test_nothing_of_a_secret_is_shown_and_all_of_why_it_is_not_written(tmp_path):
    file = tmp_path / "backup.key"
    file.write_text("the key of before\n")
    arguments = {"secrets": [{"path": str(file), "content": "the key that is new\n", **ME}]}
    for options in (("--check", "--diff", "-vvvv"), ("--diff", "-vvvv")):
        code, said = ansible(tmp_path, arguments, *options)
        assert code == 0 and "changed=1" in said, said
        assert "not shown" in said and "the key" not in said.replace(json.dumps(arguments), ""), said
    assert file.read_text() == "the key that is new\n"
    file.unlink()
    file.mkdir()
    code, said = ansible(tmp_path, arguments)
    assert code != 0 and f"msg: {file}: is a directory; move it away and run this again" in said, said
    assert "the key" not in said
