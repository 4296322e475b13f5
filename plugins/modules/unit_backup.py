#!/usr/bin/python
"""Ansible module: a unit's small state in one archive."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.panoptes_unit.errors import plainly
from ansible.module_utils.panoptes_unit.files import write_durably
from ansible.module_utils.panoptes_unit.machine.backup import (
    PATHS,
    BackupError,
    is_encrypted,
    make,
    opened,
    read,
    remove_oldest,
    restore,
)

DOCUMENTATION = r"""
module: unit_backup
short_description: Keep, verify and put back the small state of a PANOPTES unit
options:
  archive:
    description: The archive on the machine on which this runs.
    type: path
    required: true
  state:
    description:
      - C(made) writes the archive, C(restored) puts it back, once.
      - C(kept) checks it, unless it is encrypted and there is no I(identity), lets nobody else read it, and removes the
        oldest beside it.
      - C(decrypted) checks an encrypted one and writes it, no longer encrypted, to I(target).
    type: str
    choices: [made, kept, decrypted, restored]
    required: true
  paths:
    description:
      - Files, folders or patterns to keep, or of which an archive may hold something.
      - Where empty, the configuration and the state of the unit. An archive may hold keys of the ssh server besides.
    type: list
    elements: str
    default: []
  unit:
    description: Name that the inventory has for this unit.
    type: str
    default: ""
  key:
    description: Key of the seal; there is none, and none is checked, where empty.
    type: str
    default: ""
  require_key:
    description: Refuse an archive that has no seal.
    type: bool
    default: false
  recipients:
    description: Recipients of age, who can read the archive; it is not encrypted where there are none.
    type: list
    elements: str
    default: []
  identity:
    description: File with the identity of one of the recipients.
    type: path
    default: ""
  target:
    description: Where C(decrypted) writes to.
    type: path
    default: ""
  keep:
    description: How many archives C(kept) leaves in the folder; 0 for all.
    type: int
    default: 0
  overwrite:
    description: Put it back also where the machine has other files in those places.
    type: bool
    default: false
  again:
    description: Put it back also where this very archive was put back before.
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
sealed:
  description: Whether a right seal says who made it.
  returned: success
  type: bool
"""


def main() -> None:
    """Do what C(state) says."""
    module = AnsibleModule(
        argument_spec={
            "archive": {"type": "path", "required": True},
            "state": {"type": "str", "required": True, "choices": ["made", "kept", "decrypted", "restored"]},
            "paths": {"type": "list", "elements": "str", "default": []},
            "unit": {"type": "str", "default": ""},
            "key": {"type": "str", "default": "", "no_log": True},
            "require_key": {"type": "bool", "default": False, "no_log": False},
            "recipients": {"type": "list", "elements": "str", "default": []},
            "identity": {"type": "path", "default": ""},
            "target": {"type": "path", "default": ""},
            "keep": {"type": "int", "default": 0},
            "overwrite": {"type": "bool", "default": False},
            "again": {"type": "bool", "default": False},
        },
        required_if=[("state", "decrypted", ("target",))],
        supports_check_mode=True,
    )
    wanted = module.params
    paths, key = wanted["paths"] or PATHS, wanted["key"].strip()
    written: list = []
    try:
        if wanted["state"] == "made":
            # The archive is a means and no change of the unit.
            sealed, manifest = bool(key), {}
            if not module.check_mode:
                manifest = make(wanted["archive"], paths, wanted["unit"], key=key, recipients=wanted["recipients"])
        elif wanted["state"] == "restored":
            manifest, written, sealed = restore(
                wanted["archive"],
                overwrite=wanted["overwrite"],
                dry_run=module.check_mode,
                paths=paths,
                key=key,
                require_key=wanted["require_key"],
                again=wanted["again"],
            )
            if wanted["again"] and not written:
                module.warn("Nothing is put back: this machine has every file as it is in the backup.")
        elif wanted["state"] == "kept":
            archive = Path(wanted["archive"])
            archive.chmod(0o600)
            manifest, sealed = {}, False
            if wanted["identity"] or not is_encrypted(str(archive)):
                manifest, _, sealed = read(str(archive), paths, key, wanted["require_key"], wanted["identity"])
            remove_oldest(archive.parent, wanted["keep"])
        else:
            manifest, _, sealed = read(wanted["archive"], paths, key, wanted["require_key"], wanted["identity"])
            write_durably(Path(wanted["target"]), opened(wanted["archive"], wanted["identity"]), 0o600)
    except BackupError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=plainly(error))
    if written and not sealed:
        reason = "it has no seal" if key else "there is no backup_key"
        module.warn(f"Nothing authenticates what is put back: {reason}.")
    module.exit_json(changed=bool(written), manifest=manifest, written=written, sealed=sealed)


if __name__ == "__main__":
    main()
