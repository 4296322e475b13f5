"""What a playbook prints: as Ansible's own, but a failure that is a sentence is said once, without its source.

That is one that a task says, a module of the project or `panoptes-unit`, and that of a unit that is not reached.
"""

from __future__ import annotations

import importlib.util
import re
import textwrap
from pathlib import Path
from typing import Any

from ansible.plugins.callback.default import CallbackModule as Default

DOCUMENTATION = """
name: told_once
type: stdout
short_description: Ansible's own output, without the listing of the task that says a refusal
description: A listing of the playbook says nothing about what is wrong with a unit; -v shows it.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

PLUGINS = Path(__file__).resolve().parents[1]
# Tasks whose failure is a sentence that was written for people.
SAYING = ("ansible.builtin.fail", "fail", "ansible.builtin.assert", "assert")
OWN = frozenset(path.stem for path in (PLUGINS / "modules").glob("*.py"))
TOOL = "panoptes-unit"
# What Ansible puts before the words of others.
TASK_FAILED = "Task failed: "
# What Ansible says where a unit does not even let a module begin -> what to do.
UNPREPARED = {
    r"(Missing|Incorrect) \w+ password|sudo: a password is required": "add --ask-become-pass, and type what sudo wants",
    r"The module interpreter '[^']*' was not found": "install Python on that machine: sudo apt-get install python3",
}


def sentence(action: str, result: dict, explained: bool = False) -> str:
    """Reason and remedy of a failure; empty where Ansible's own words and all that it knows are the best there is.

    Args:
        action: the module that failed.
        result: what it gave back.
        explained: whether the playbook says afterwards what this means.
    """
    said = result.get("msg")
    if not isinstance(said, str):
        return ""
    if result.get("unreachable") or _program(result) == TOOL:
        return str(_told(result)["line"]).replace(TASK_FAILED, "")
    said = said.strip().removeprefix(TASK_FAILED)
    for words, remedy in UNPREPARED.items():
        found = re.search(words, said)
        if found:
            return f"{found[0]}: {remedy}"
    if action in OWN and said.startswith("Module "):  # it could not even fail
        return f"{action}: {said}: a fault of this project and not of the unit; -vvv shows where"
    return said if action in SAYING or action in OWN or explained else ""


def _program(result: dict) -> str:
    """The name of the program that a task started."""
    words = result.get("cmd") or [""]
    return Path((words.split() or [""])[0] if isinstance(words, str) else str(words[0])).name


def _told(result: dict) -> dict:
    """As the playbooks of single verbs say it; plugins cannot import each other by name."""
    spec = importlib.util.spec_from_file_location("unit_told", PLUGINS / "filter" / "unit_told.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.unit_told(result))


def _is_explained(task: Any) -> bool:
    """Whether a task stands in a block whose rescue says what its failure means."""
    block = task._parent
    return bool(getattr(block, "rescue", None)) and task in block.block


class CallbackModule(Default):
    """Takes away what Ansible would list before the message, and around it."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "told_once"

    _said = ""

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Show a failed task."""
        self._begin(result)
        super().v2_runner_on_failed(result, ignore_errors)
        self._said = ""

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """Show what failed in a loop."""
        self._begin(result)
        super().v2_runner_item_on_failed(result)
        self._said = ""

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Show a unit that was not reached."""
        self._begin(result)
        super().v2_runner_on_unreachable(result)
        self._said = ""

    def _begin(self, result: Any) -> None:
        """Find the sentence; `exception` in the result is what brings the listing."""
        if not self._display.verbosity:
            self._said = sentence(str(result.task.action), result.result, _is_explained(result.task))
        if self._said:
            result.result.pop("exception", None)

    def _dump_results(self, result: Any, *arguments: Any, **options: Any) -> str:
        """A sentence as it was written: YAML would break it in the middle, and put it in quotes."""
        lines = self._said.splitlines()
        if not lines:
            return super()._dump_results(result, *arguments, **options)
        if len(lines) == 1:
            return f"\n    msg: {lines[0]}"
        return "\n    msg: |-\n" + textwrap.indent("\n".join(lines), " " * 8)
