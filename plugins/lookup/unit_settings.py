"""Lookup: settings that no role knows, and settings with values that cannot work."""

from __future__ import annotations

import difflib
from pathlib import Path

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: unit_settings
short_description: What is wrong with the settings of a unit
description:
  - Compares all variables of a host with the C(meta/argument_specs.yml) of every role of this checkout.
  - Finds a file of settings that Ansible passes over.
options:
  _terms:
    description: C(names) for unknown variables and a file that is not read, C(values) for values of a wrong kind.
    required: true
"""

EXAMPLES = r"""
- name: Refuse mistyped settings
  ansible.builtin.fail:
    msg: "{{ q('unit_settings', 'names') | join(' ') }}"
"""

RETURN = r"""
_raw:
  description: One sentence for each problem, with the remedy.
  type: list
"""

ROLES = Path(__file__).parents[2] / "roles"
# A name this much like a known one is a typing error, whatever it begins with.
ALIKE = 0.9
LISTED = "inventory/group_vars/units/10-defaults.yml"
OWN = "inventory/group_vars/units/90-mine.yml"


def known_settings() -> dict:
    """Variable -> (role that documents it, its specification)."""
    known = {}
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            for name, specification in entry.get("options", {}).items():
                known[name] = (path.parents[1].name, specification)
    return known


def unknown_names(names: list, known: dict) -> list:
    """A sentence for each name that carries one of our prefixes, or is nearly one of ours, and is not known."""
    prefixes = ("panoptes_", *(f"{role}_" for role in {role for role, _ in known.values()}))
    found = []
    for name in sorted(set(names) - set(known)):
        if name.startswith("_"):
            continue
        ours = name.startswith(prefixes)
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.6 if ours else ALIKE)
        if nearest:
            found.append(f"No role reads a setting named {name}: did you mean {nearest[0]}?")
        elif ours:
            found.append(f"No role reads a setting named {name}: remove it ({LISTED} lists all).")
    return found


def unread_files(inventory: str) -> list:
    """A sentence for a file of settings that Ansible passes over, for a folder of the same name stands beside it."""
    folder = Path(inventory, "group_vars", "units")
    file = folder.with_suffix(".yml")
    if not (folder.is_dir() and file.is_file()):
        return []
    return [f"{file} is not read, for units/ stands beside it: type `make settings`, which takes over its values."]


def wrong_values(values: dict, known: dict) -> list:
    """A sentence for each value that its specification does not admit, and for each required one that is not set."""
    found = []
    for name, (role, specification) in known.items():
        if name not in values:
            if specification.get("required"):
                found.append(f"{name} is not set: {specification['description']} (write it into {OWN})")
            continue
        result = ArgumentSpecValidator({name: specification}).validate({name: values[name]})
        if not result.error_messages:
            continue
        if "choices" in specification:
            remedy = f"write one of {', '.join(map(str, specification['choices']))}"
        else:
            remedy = f"it must be {specification['type']}; see roles/{role}/README.md"
        found.append(f"{name} is {values[name]!r}: {remedy}.")
    return found


class LookupModule(LookupBase):
    """Makes the lookup known to Ansible."""

    def run(self, terms: list, variables: dict | None = None, **kwargs: object) -> list:
        """Problems of the current host's variables."""
        known = known_settings()
        here = variables or {}
        if terms == ["names"]:
            return unknown_names(list(here), known) + unread_files(here.get("inventory_dir") or "")
        values = {name: self._templar.template(here[name]) for name in known if name in here}
        return wrong_values(values, known)
