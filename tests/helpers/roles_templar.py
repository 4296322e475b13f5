"""What Ansible makes of the roles' variables and the shipped settings, in this process: no playbook is started."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import filter_loader, init_plugin_loader, lookup_loader
from ansible.template import Templar, trust_as_template

TOP = Path(__file__).parents[2]
ROLES = sorted(path.parents[1] for path in (TOP / "roles").glob("*/vars/main.yml"))
SHIPPED = [TOP / "inventory/group_vars/units" / name for name in ("10-defaults.yml", "20-wiring.yml")]


@functools.cache
def plugins() -> None:
    """Makes the repository's filters and lookups known, as ansible.cfg does."""
    init_plugin_loader()
    filter_loader.add_directory(str(TOP / "plugins/filter"))
    lookup_loader.add_directory(str(TOP / "plugins/lookup"))


@functools.cache
def variables() -> dict[str, Any]:
    """What a unit of the shipped inventory has, not yet templated: roles' defaults, then settings, then roles' own."""
    defaults = [role / "defaults/main.yml" for role in ROLES]
    own = [role / "vars/main.yml" for role in ROLES]
    loader, found = DataLoader(), {}
    for path in (*defaults, *SHIPPED, *own):
        found |= loader.load_from_file(str(path), trusted_as_template=True) or {}
    return found


def ansible_says(settings: dict[str, Any] | str, wanted: str) -> Any:
    """What Ansible makes of a template on a unit.

    Args:
        settings: a person's own; values, or all of it in YAML.
        wanted: the template.
    """
    plugins()
    if isinstance(settings, str):
        settings = yaml.safe_load(settings) or {}
    known = {
        **variables(),
        "inventory_hostname": "this-machine",
        "playbook_dir": str(TOP / "playbooks"),
        "ansible_search_path": [str(role) for role in ROLES],
        "ansible_facts": {"unit_state": {"engine": {"version": "26.1.5"}}},
        **_trusted(settings),
    }
    return Templar(loader=DataLoader(), variables=known).template(trust_as_template(wanted))


def _trusted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value
