"""One run at a time; and nobody but the owner of the state can hold the lock, or look into the state."""

from __future__ import annotations

import fcntl
import importlib
import io
import os
import pkgutil
import pwd
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import panoptes_unit
from panoptes_unit import cli, settings
from panoptes_unit.deploy import run_lock
from panoptes_unit.deploy.run_lock import exclusive
from panoptes_unit.errors import BusyError, RootError, UnitError

# What they need is elsewhere: in a release file and an engine, in the folders that are kept.
OF_OTHER_FILES = ("verify", "backup")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another account for a moment")


def modes(folder):
    return [path.stat().st_mode & 0o777 for path in (folder, folder / "lock")]


def as_nobody(act: Callable[[], object]) -> str:
    """What comes of it in a process of `nobody`: what it prints, returns or raises."""
    nobody, (read, write) = pwd.getpwnam("nobody"), os.pipe()
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        said = io.StringIO()
        with redirect_stderr(said), redirect_stdout(said):
            try:
                said.write(str(act()))
            except BaseException as error:
                said.write(str(error))
        os.write(write, said.getvalue().encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


@pytest.fixture
def state():
    """A folder that is not there yet, where everybody can come."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name) / "state"


def test_state_and_lock_are_their_owners_alone(state):
    with exclusive(state):
        assert modes(state) == [0o700, 0o600]


def test_those_of_an_earlier_version_become_so_in_silence(state, capsys):
    state.mkdir(mode=0o755)
    (state / "lock").write_text("1234567")
    (state / "lock").chmod(0o644)
    with exclusive(state):
        assert modes(state) == [0o700, 0o600]
        assert (state / "lock").read_text() == str(os.getpid())
    assert capsys.readouterr() == ("", "")


@given(
    folder=st.none() | st.integers(0o700, 0o777), lock=st.none() | st.integers(0o600, 0o666), umask=st.integers(0, 0o77)
)
def test_whatever_modes_they_had_nobody_else_can_open_them(folder, lock, umask):
    with tempfile.TemporaryDirectory() as name:
        state, before = Path(name) / "state", os.umask(umask)
        try:
            if folder is not None:
                state.mkdir()
                state.chmod(folder)
            if folder is not None and lock is not None:
                (state / "lock").touch()
                (state / "lock").chmod(lock | 0o600)
            with exclusive(state):
                assert modes(state) == [0o700, 0o600]
        finally:
            os.umask(before)


def test_second_run_is_told_who_holds_it_within_a_bounded_time(state, monkeypatch):
    monkeypatch.setattr(run_lock, "PATIENCE_S", 0.1)
    monkeypatch.setattr(run_lock, "LEFT_AT_WORK_S", 0.1)
    with exclusive(state), pytest.raises(BusyError, match=f"process {os.getpid()}"), exclusive(state):
        pass
    with (state / "lock").open("r+") as left:  # by a Compose whose run was killed
        left.truncate()
        fcntl.flock(left, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="does not end"), exclusive(state):
            pass


def test_link_in_place_of_the_lock_is_not_followed(state, tmp_path):
    state.mkdir()
    (tmp_path / "other").write_text("of somebody else")
    (state / "lock").symlink_to(tmp_path / "other")
    with pytest.raises(OSError), exclusive(state):
        pass
    assert (tmp_path / "other").read_text() == "of somebody else"


@needs_root
def test_nobody_can_neither_hold_the_lock_nor_see_the_state(state):
    def hold():
        with (state / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return "held"

    def look():
        return list(state.iterdir()), (state / "state.json").read_text()

    state.mkdir()
    state.chmod(0o755)
    for name in ("lock", "state.json"):
        (state / name).write_text("of root")
        (state / name).chmod(0o644)
    assert as_nobody(hold) == "held" and "of root" in as_nobody(look), "the test itself does not come there"
    with exclusive(state):
        pass
    assert "Permission denied" in as_nobody(hold)
    assert "Permission denied" in as_nobody(look)


@needs_root
@pytest.mark.parametrize("verb", [verb for verb in cli.EXAMPLES if verb not in OF_OTHER_FILES])
def test_other_accounts_are_told_in_one_line_the_same_by_every_verb(state, verb):
    pytest.importorskip("docker")
    file = state.parent / "unit.yaml"
    file.write_text(f"source: 127.0.0.1:1/a:latest\nstate: {state}\nobserving: {{source: none}}\n")
    file.chmod(0o644)
    settings.load(file)
    for module in pkgutil.walk_packages(panoptes_unit.__path__, "panoptes_unit."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)  # nobody may read Python's own files, where they are root's
    with exclusive(state):
        (state / "state.json").write_text("{}")
    words = {"clear": ["all"]}.get(verb, [])
    said = as_nobody(lambda: cli.main([verb, *words, "--quiet", "--settings", str(file)]))
    assert said == f"panoptes-unit: needs root: sudo panoptes-unit {verb}\n1"


def test_root_is_not_told_to_be_root(state, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    for account, kind in ((1000, RootError), (0, UnitError)):
        with monkeypatch.context() as patched:
            patched.setattr("os.open", refuse)
            patched.setattr("os.geteuid", lambda account=account: account)
            with pytest.raises(UnitError, match="its owner only") as told, exclusive(state):
                pass
        assert type(told.value) is kind
