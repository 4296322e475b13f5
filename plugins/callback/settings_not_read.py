"""Callback that says where Ansible does not read the checkout's ansible.cfg: elsewhere, or in a folder of everybody's.

The playbooks work without: what they need lies beside them, as links in playbooks/. But units are then only those that
-i names, a Pi costs more round trips, and failures look as Ansible prints them.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: settings_not_read
type: aggregate
short_description: Says where the checkout's ansible.cfg is not read
description: One line on standard error, and the end where no unit is named. Asks nothing of the units.
"""

TOP = Path(__file__).resolve().parents[2]
OWN = TOP / "ansible.cfg"


def reason(read: str | None, folder: Path, chosen: str) -> str:
    """Why the checkout's ansible.cfg is not read, and what to type; empty where it is, or where somebody wants another.

    Args:
        read: the configuration that Ansible has read.
        folder: where the command was typed.
        chosen: what ANSIBLE_CONFIG says.
    """
    if chosen or (read and Path(read).resolve() in (OWN, folder / "ansible.cfg")):
        return ""
    if folder == TOP and folder.stat().st_mode & stat.S_IWOTH:
        return f"Ansible reads no ansible.cfg in a folder that everybody may write: chmod o-w {TOP}"
    return f"{OWN} is not read in this folder: cd {TOP}, or export ANSIBLE_CONFIG={OWN}"


class CallbackModule(CallbackBase):
    """Looks once, when a playbook starts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "settings_not_read"

    _reason = ""

    def v2_playbook_on_start(self, playbook: object) -> None:
        """Say it, and go on."""
        self._reason = reason(constants.CONFIG_FILE, Path.cwd(), os.environ.get("ANSIBLE_CONFIG", ""))
        if self._reason:
            self._display.display(self._reason, color=constants.COLOR_WARN, stderr=True)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """End the program: a playbook that does nothing would end well; only SystemExit passes the guard."""
        if self._reason:
            sys.exit(f"No unit is named. Say where they stand: -i {TOP / 'inventory'}/")
