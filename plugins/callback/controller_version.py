"""Callback that ends a run under too old an Ansible in one line, before a task begins or a unit is reached."""

from __future__ import annotations

import sys

from ansible.plugins.callback import CallbackBase
from ansible.release import __version__

DOCUMENTATION = """
name: controller_version
type: aggregate
short_description: Ends a run under an ansible-core that the roles do not work with
description: Says which version is needed and which one is there. Asks nothing of the units.
"""

NEEDED = (2, 19)


class CallbackModule(CallbackBase):
    """Looks once, when a playbook starts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "controller_version"

    def v2_playbook_on_start(self, playbook: object) -> None:
        """End the program where Ansible is too old; only SystemExit passes Ansible's guard around callbacks."""
        if tuple(int(part) for part in __version__.split(".")[:2]) < NEEDED:
            needed = ".".join(map(str, NEEDED))
            remedy = "make controller && source .venv-controller/bin/activate"
            sys.exit(f"ansible-core {needed} is needed, this is {__version__}: {remedy}")
