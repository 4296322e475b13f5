"""Lookup: settings that no role knows, and settings with values that cannot work."""

from __future__ import annotations

import difflib
import functools
import importlib.util
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display

DOCUMENTATION = r"""
name: unit_settings
short_description: What is wrong with the settings of a unit
description:
  - Compares all variables of a host with the C(meta/argument_specs.yml) of every role of this checkout.
  - Finds a file of settings that Ansible passes over, and warns of a place that is odd but possible.
options:
  _terms:
    description: C(names) for unknown variables and a file that is not read, C(values) for values that cannot work.
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
# Settings in which a place is typed: the setting, and the key below which it stands.
PLACES = (
    ("panoptes_location_defaults", ""),
    ("panoptes_location", ""),
    ("panoptes_configuration", "location"),
    ("services_configuration", "location"),
)
LONGITUDES = ("release_longitude", "updates_longitude")
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


def wrong_places(values: dict) -> dict[str, list]:
    """A sentence for each part of a place that is none; setting -> sentences."""
    found: dict[str, list] = {}
    for name, below in PLACES:
        setting = values.get(name, {})
        location = setting.get(below, {}) if below and isinstance(setting, Mapping) else setting
        where = f"{name}.{below}" if below else name
        if isinstance(location, Mapping):
            wrong = _place().problems(location).items()
            found[name] = [f"{where}.{key} is {_shown(location[key])}: {reason}." for key, reason in wrong]
        elif isinstance(setting, Mapping):
            found[name] = [f"{where} is {_shown(location)}: write its lines, such as latitude and longitude."]
    for name in LONGITUDES:
        if isinstance(values.get(name), (int, float)) and not -360 <= values[name] <= 360:
            found[name] = [f"{name} is {_shown(values[name])}: a longitude is from -360 to 360 deg."]
    return found


def evaluated(where: str, value: object, evaluate: Callable[[object], Any]) -> tuple[Any, list]:
    """What Ansible makes of a value, and a sentence for each part that it cannot make anything of; those are left out.

    Args:
        where: the setting.
        value: what the files hold: a name in braces that nobody knows, for example.
        evaluate: gives Ansible's value, or raises AnsibleError.
    """
    try:
        return evaluate(value), []
    except AnsibleError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    if isinstance(value, Mapping):
        parts = {key: evaluated(f"{where}.{key}", value[key], evaluate) for key in value}
        kept: Any = {key: part for key, (part, wrong) in parts.items() if not wrong or part}
    elif isinstance(value, list):
        parts = {number: evaluated(f"{where}[{number}]", item, evaluate) for number, item in enumerate(value)}
        kept = [part for part, wrong in parts.values() if not wrong or part]
    else:
        parts, kept = {}, None
    sentences = [sentence for _, wrong in parts.values() for sentence in wrong]
    remedy = "mend what is in the braces or, if they belong to the value, write !unsafe before it"
    return kept, sentences or [f"{where} is {_shown(value)}: {reason}; {remedy}."]


def causes(wrong: Mapping[str, list], raw: Mapping) -> list:
    """The sentences of those settings that are wrong by themselves, not because they are made of another wrong one."""
    names = {name: re.compile(rf"\b{name}\b") for name, sentences in wrong.items() if sentences}
    own = [
        name
        for name in names
        if not any(pattern.search(str(raw.get(name))) for other, pattern in names.items() if other != name)
    ]
    return [sentence for name in own or names for sentence in wrong[name]]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


@functools.cache
def _place() -> ModuleType:
    """The filters that know how places are typed; plugins cannot import each other by name."""
    path = Path(__file__).parents[1] / "filter" / "unit_place.py"
    spec = importlib.util.spec_from_file_location("unit_place", path)
    if spec is None or spec.loader is None:
        raise AnsibleError(f"{path} cannot be loaded: check the files out again")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class LookupModule(LookupBase):
    """Makes the lookup known to Ansible."""

    def run(self, terms: list, variables: dict | None = None, **kwargs: object) -> list:
        """Problems of the current host's variables."""
        known = known_settings()
        here = variables or {}
        if terms == ["names"]:
            return unknown_names(list(here), known) + unread_files(here.get("inventory_dir") or "")
        raw = {name: here[name] for name in known if name in here}
        parts = {name: evaluated(name, value, self._templar.template) for name, value in raw.items()}
        wrong = {name: sentences for name, (_, sentences) in parts.items() if sentences}
        values = {name: value for name, (value, _) in parts.items() if name not in wrong or value}
        wrong |= {name: wrong_values(values, {name: known[name]}) for name in known if name not in wrong}
        for name, sentences in wrong_places(values).items():
            wrong[name] = wrong[name] + sentences
        configuration = values.get("services_configuration")
        if isinstance(configuration, Mapping) and not any(wrong.values()):
            for doubt in _place().doubts(configuration.get("location", {})):
                Display().warning(f"{here.get('inventory_hostname')}: {doubt}")
        return causes(wrong, raw)
