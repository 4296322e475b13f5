#!/usr/bin/python
"""Ansible module: a unit's small state in one archive."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.unit.backup import BackupError, make, read, restore

DOCUMENTATION = r"""
module: unit_backup
short_description: Keep, verify and put back the small state of a PANOPTES unit
options:
  archive:
    description: The archive on the machine on which this runs.
    type: path
    required: true
  state:
    description: C(made) writes the archive, C(verified) checks it, C(restored) puts it back, once.
    type: str
    choices: [made, verified, restored]
    required: true
  paths:
    description: Files, folders or patterns to keep.
    type: list
    elements: str
    default: []
  unit:
    description: Name that the inventory has for this unit.
    type: str
    default: ""
  overwrite:
    description: Put it back also where the machine has other files in those places.
    type: bool
    default: false
author:
  - Project PANOPTES (@panoptes)
"""

EXAMPLES = r"""
- name: Keep the configuration
  unit_backup:
    archive: /run/unit.tar.gz
    state: made
    paths: [/var/panoptes/conf_files]
"""

RETURN = r"""
manifest:
  description: What the archive holds.
  returned: success
  type: dict
written:
  description: Paths that were put back.
  returned: success
  type: list
"""


def main() -> None:
    """Do what C(state) says."""
    module = AnsibleModule(
        argument_spec={
            "archive": {"type": "path", "required": True},
            "state": {"type": "str", "required": True, "choices": ["made", "verified", "restored"]},
            "paths": {"type": "list", "elements": "str", "default": []},
            "unit": {"type": "str", "default": ""},
            "overwrite": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    try:
        if wanted["state"] == "made":
            # The archive is a means and no change of the unit.
            manifest = {} if module.check_mode else make(wanted["archive"], wanted["paths"], wanted["unit"])
            written: list = []
        elif wanted["state"] == "verified":
            manifest, written = read(wanted["archive"])[0], []
        else:
            manifest, written = restore(
                wanted["archive"], overwrite=wanted["overwrite"], dry_run=module.check_mode
            )
    except BackupError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(written), manifest=manifest, written=written)


if __name__ == "__main__":
    main()
