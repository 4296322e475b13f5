"""Ansible through ansible-runner: plays playbooks and hands on what each unit answered, as data."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner

from . import project
from .errors import FleetError

# How often the runner looks whether it shall stop; its own is 5 s.
PACE_S = 0.2
FORKS = 25


@dataclass
class Told:
    """What one unit answered in a run.

    Attributes:
        result: of the last task that says something of the unit: what Ansible registered.
        answer: what `panoptes-unit VERB --json` said; empty where it was not asked, or said nothing.
        failed: a task failed on it.
        silent: it was not reached.
        line: why, in one line.
        task: what it did last.
    """

    result: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    failed: bool = False
    silent: bool = False
    line: str = ""
    task: str = ""


OnTold = Callable[[str, Told], None]


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")


def error_line(text: str) -> str:
    """What Ansible says first of all that is wrong: its last lines are hints and excerpts."""
    found = [line.strip() for line in text.splitlines() if line.strip().startswith(("ERROR", "[ERROR]"))]
    return found[0].removeprefix("[ERROR]:").removeprefix("ERROR!").strip() if found else last_line(text)


def _environment() -> dict[str, str]:
    return {
        "ANSIBLE_CONFIG": str(project.checkout() / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        # Its programs lie beside this Python, whether or not its environment was activated.
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
    }


def _folder() -> Path:
    """For the runner's own files, which hold what units answered: nobody else reads them, and they go afterwards."""
    return Path(tempfile.mkdtemp(prefix="panoptes-fleet-"))


def command(program: str, words: list[str]) -> tuple[str, str, int]:
    """Runs a program of Ansible that prints data; what it printed, its errors, and its exit code."""
    folder = _folder()
    try:
        said, errors, code = ansible_runner.run_command(
            program,
            words,
            private_data_dir=str(folder),
            host_cwd=str(project.checkout()),
            envvars=_environment(),
            runner_mode="subprocess",
            quiet=True,
        )
        return str(said), str(errors), int(code)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def play(
    playbook: Path,
    inventory: Path,
    names: list[str],
    on_told: OnTold,
    extra: dict[str, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
    forks: int = FORKS,
) -> dict[str, Told]:
    """Plays a playbook on some units.

    Args:
        names: of the units; none, and nothing is done.
        on_told: called with what is known of a unit whenever something is, in this thread.
        extra: variables that win over all others.
        stop: asked often; the run ends when it says so.

    Raises:
        FleetError: Ansible ended before it reached a unit.
    """
    told: dict[str, Told] = {}
    if not names:
        return told
    stray: list[str] = []

    def on_event(event: dict[str, Any]) -> bool:
        kind, data = str(event.get("event", "")), event.get("event_data") or {}
        if kind in ("error", "verbose") and event.get("stdout"):
            stray.append(str(event["stdout"]))
        host = data.get("host")
        if host not in names or not kind.startswith("runner_on_") or kind in ("runner_on_start", "runner_on_skipped"):
            return False  # nothing of it is kept on the disk
        one = told.setdefault(host, Told())
        _take(one, kind, data)
        on_told(host, one)
        return False

    folder = _folder()
    try:
        run = ansible_runner.run(
            private_data_dir=str(folder),
            project_dir=str(project.checkout()),
            playbook=str(playbook),
            inventory=str(inventory),
            limit=",".join(names),
            extravars=extra or {},
            envvars=_environment(),
            event_handler=on_event,
            cancel_callback=stop,
            settings={"pexpect_timeout": PACE_S},
            forks=max(1, min(forks, len(names))),
            quiet=True,
            # The unit's answers may hold what is nobody's business: they are kept by those who ask, not by the runner.
            suppress_env_files=False,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not told and run.rc and not stop():
        raise FleetError(f"Ansible did not reach any unit: {error_line(chr(10).join(stray))}")
    return told


def _take(one: Told, kind: str, data: dict[str, Any]) -> None:
    result = data.get("res") or {}
    one.result, one.task = result, str(data.get("task") or "")
    one.answer = answer_of(result) or one.answer
    one.silent = kind == "runner_on_unreachable" or bool(result.get("unreachable"))
    if kind == "runner_on_failed" and not data.get("ignore_errors"):
        one.failed = True
    if one.silent or one.failed:
        said = str(result.get("stderr") or result.get("msg") or result.get("stdout") or "")
        one.line = last_line(said).removeprefix("Task failed: ").removeprefix("Failed to connect to the host via ssh: ")


def answer_of(result: dict[str, Any]) -> dict[str, Any]:
    """What the unit's tool said in JSON, from a registered result; empty where it did not."""
    for line in reversed(str(result.get("stdout") or "").splitlines()):
        if not line.startswith("{"):
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and isinstance(found.get("verdict"), str):
            return found
    return {}
