"""What a playbook prints: as Ansible's own, but a refusal that is a sentence is said once, without its source."""

from __future__ import annotations

import textwrap
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

# Tasks whose failure is a sentence that was written for people.
SAYING = ("ansible.builtin.fail", "fail", "ansible.builtin.assert", "assert")


class CallbackModule(Default):
    """Takes away what Ansible would list before the message."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "told_once"

    _says = False

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Show a failed task; `exception` in its result is what brings the listing."""
        self._says = result.task.action in SAYING and not self._display.verbosity
        if self._says:
            result.result.pop("exception", None)
        super().v2_runner_on_failed(result, ignore_errors)
        self._says = False

    def _dump_results(self, result: Any, *arguments: Any, **options: Any) -> str:
        """A sentence as it was written: YAML would break it in the middle, and put it in quotes."""
        said = result.get("msg")
        if not self._says or not isinstance(said, str):
            return super()._dump_results(result, *arguments, **options)
        lines = said.strip().splitlines()
        if len(lines) == 1:
            return f"\n    msg: {lines[0]}"
        return "\n    msg: |-\n" + textwrap.indent("\n".join(lines), " " * 8)
