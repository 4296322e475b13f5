"""Lookup: settings that no role knows, and settings with values that cannot work."""

from __future__ import annotations

import difflib
import functools
import importlib.util
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display

DOCUMENTATION = r"""
name: unit_settings
short_description: What is wrong with the settings of a unit
description:
  - Compares all variables of a host with the C(meta/argument_specs.yml) of every role of this checkout.
  - Reads each value as its type says; text from C(-e) or an INI inventory is read as what is wanted.
  - Finds a file of settings that Ansible passes over, and warns of what is odd but possible.
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

# A name this much like a known one is a typing error, whatever it begins with.
ALIKE = 0.9
# Settings in which a place is typed: the setting, and the key below which it stands.
PLACES = (
    ("panoptes_location_defaults", ""),
    ("panoptes_location", ""),
    ("panoptes_configuration", "location"),
    ("services_configuration", "location"),
)
# The identifier of no unit: for trying things out.
NO_UNIT = "PAN000"
LONGITUDES = ("release_longitude", "updates_longitude")
LISTED = "inventory/group_vars/units/10-defaults.yml"
OWN = "inventory/group_vars/units/90-mine.yml"


@functools.cache
def _filter(name: str) -> ModuleType:
    """A filter's file; plugins cannot import each other by name."""
    path = Path(__file__).parents[1] / "filter" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise AnsibleError(f"{path} cannot be loaded: check the files out again")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def known_settings() -> dict:
    """Variable -> (role that documents it, its specification)."""
    found: dict = _filter("unit_read").known_settings()
    return found


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
    """A sentence for each value that cannot be read or cannot work, and for each required one that is not set."""
    found = []
    for name, (_, specification) in known.items():
        if name in values:
            found += _filter("unit_read").wrong(name, values[name])
        elif specification.get("required"):
            found.append(f"{name} is not set: {specification['description']} (write it into {OWN})")
    return found


def read_values(values: dict) -> dict:
    """Setting -> its value by its type, of those that can be read."""
    found = {}
    for name, value in values.items():
        with suppress(ValueError):
            found[name] = _filter("unit_read").read(name, value)
    return found


def wrong_places(values: dict) -> dict[str, list]:
    """A sentence for each part of a place that is none; setting -> sentences.

    Args:
        values: as read, where they can be read.
    """
    found: dict[str, list] = {}
    for name, below in PLACES:
        setting = values.get(name, {})
        location = setting.get(below, {}) if below and isinstance(setting, Mapping) else setting
        where = f"{name}.{below}" if below else name
        if isinstance(location, Mapping):
            wrong = _filter("unit_place").problems(location).items()
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


def hints(here: Mapping, values: Mapping) -> list:
    """What is odd about settings that can work, though it may be meant: a sentence for each."""
    name, configuration = here.get("inventory_hostname"), values["services_configuration"]
    location = configuration.get("location", {})
    found = [f"{name}: {doubt}" for doubt in _filter("unit_place").doubts(location)]
    if configuration.get("pan_id") == NO_UNIT and location == values.get("panoptes_location_defaults"):
        found.append(
            f"{name}: nothing says which unit this is, so it is {NO_UNIT} at {location.get('name', 'no place')}: "
            "type `make settings`, or leave it so to try things out."
        )
    return found


def shared_identifiers(identifiers: Mapping) -> list:
    """A sentence for each identifier that several units have; host -> identifier."""
    hosts: dict = {}
    for host, identifier in identifiers.items():
        hosts.setdefault(str(identifier), []).append(host)
    return [
        f"panoptes_pan_id {identifier} is that of {', '.join(same)}: each unit has its own, in host_vars/NAME.yml."
        for identifier, same in sorted(hosts.items())
        if len(same) > 1
    ]


def _identifiers(here: Mapping) -> dict:
    """Unit -> PAN id of all units of the inventory; empty for all but the first unit of a play, which asks for all."""
    hosts = here.get("groups", {}).get("units", [])
    if here.get("inventory_hostname") not in here.get("ansible_play_hosts_all", [])[:1] or len(hosts) < 2:
        return {}
    found = {}
    for host in hosts:
        with suppress(AnsibleError):  # said where that host is looked at
            found[host] = here["hostvars"][host].get("panoptes_pan_id")
    return {host: identifier for host, identifier in found.items() if identifier}


_shown = _filter("unit_read").shown


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
        read = read_values(values)
        # What nobody has set, where the roles' defaults are not loaded.
        given = {name: one["default"] for name, (_, one) in known.items() if "default" in one and name not in values}
        for name, sentences in [
            *wrong_places({**values, **read}).items(),
            *_filter("unit_read").checks().clashes({**given, **read}).items(),
        ]:
            wrong[name] = wrong[name] + sentences
        if isinstance(read.get("services_configuration"), Mapping) and not any(wrong.values()):
            for hint in hints(here, read) + shared_identifiers(_identifiers(here)):
                Display().warning(hint)
        return causes(wrong, raw)
