#!/usr/bin/python
"""Ansible module: directories and files of a unit, all of a role's in one call."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.panoptes_unit.errors import UnitError, plainly
from ansible.module_utils.panoptes_unit.machine.wanted_files import Directory, File, apply

DOCUMENTATION = r"""
module: unit_files
short_description: Make directories, write files and remove files of a PANOPTES unit in one call
description:
  - Each path is looked at first; what is as it should be stays untouched.
  - A file is written beside its place, synced and renamed. Folders that it lacks are made, mode 0755, with its owner.
  - A link in the place of a directory, or on a way on which another account may have put it, is refused.
options:
  directories:
    description: Directories that shall be there.
    type: list
    elements: dict
    default: []
    suboptions: &attributes
      path:
        description: Absolute path.
        type: path
        required: true
      mode:
        description: Its mode, octal.
        type: str
        default: "0755"
      uid:
        description: Number of its owner.
        type: int
        default: 0
      gid:
        description: Number of its group.
        type: int
        default: 0
  files:
    description: Files that shall be there, with mode 0644 if none is named.
    type: list
    elements: dict
    default: []
    suboptions: &file
      <<: *attributes
      content:
        description: All of its text.
        type: str
        required: true
      validate:
        description: A command that refuses a wrong file, C(%s) in it stands for the file.
        type: list
        elements: str
        default: []
  secrets:
    description: Files likewise, of which no text is shown or logged.
    type: list
    elements: dict
    default: []
    suboptions: *file
  absent:
    description: Files that shall not be there.
    type: list
    elements: path
    default: []
author:
  - Project PANOPTES (@panoptes)
"""

EXAMPLES = r"""
- name: Write a service and its timer
  unit_files:
    files:
      - path: /etc/systemd/system/example.service
        content: "{{ lookup('ansible.builtin.template', 'example.service.j2') }}"
      - path: /etc/systemd/system/example.timer
        content: "{{ lookup('ansible.builtin.template', 'example.timer.j2') }}"
    absent: [/etc/systemd/system/example.path]
"""

RETURN = r"""
written:
  description: Paths that were made, written, given other attributes or removed.
  returned: success
  type: list
"""

ATTRIBUTES = {
    "path": {"type": "path", "required": True},
    "mode": {"type": "str", "default": "0755"},
    "uid": {"type": "int", "default": 0},
    "gid": {"type": "int", "default": 0},
}
FILE = {
    **ATTRIBUTES,
    "mode": {"type": "str", "default": "0644"},
    "content": {"type": "str", "required": True},
    "validate": {"type": "list", "elements": "str", "default": []},
}
SECRET = {**FILE, "content": {"type": "str", "required": True, "no_log": True}}


class Module(AnsibleModule):
    """A module whose arguments are whole files: they stay out of the unit's journal."""

    def _log_invocation(self) -> None:
        self.log(f"Invoked for {len(self.params['files'] + self.params['secrets'])} files")


def main() -> None:
    """Do what differs."""
    module = Module(
        argument_spec={
            "directories": {"type": "list", "elements": "dict", "default": [], "options": ATTRIBUTES},
            "files": {"type": "list", "elements": "dict", "default": [], "options": FILE},
            "secrets": {"type": "list", "elements": "dict", "default": [], "options": SECRET, "no_log": False},
            "absent": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    try:
        changes = apply(
            [Directory(**entry) for entry in wanted["directories"]],
            [File(**entry) for entry in wanted["files"]] + [File(**entry, secret=True) for entry in wanted["secrets"]],
            wanted["absent"],
            dry_run=module.check_mode,
        )
    except OSError as error:
        module.fail_json(msg=plainly(error))
    except (ValueError, UnitError) as error:
        module.fail_json(msg=str(error))
    diff = [change.diff for change in changes] if module._diff else []
    module.exit_json(changed=bool(changes), written=[change.path for change in changes], diff=diff)


if __name__ == "__main__":
    main()
