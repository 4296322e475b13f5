"""Filter that reads a setting by its type in meta/argument_specs.yml: from YAML, from `-e`, from an INI inventory.

`-e` and INI give text: `11`, `[9,15]`, `false`. Roles use what is read and nothing else. The lookup `unit_settings`
reads all settings of a host with this file, so that preflight has refused before what could not be read here.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.validation import check_type_bool, check_type_dict

ROLES = Path(__file__).parents[2] / "roles"
# Longer examples explain nothing.
EXAMPLE = 60


@functools.cache
def known_settings() -> dict[str, tuple[str, dict]]:
    """Variable -> (role that documents it, its specification)."""
    known = {}
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            for name, specification in entry.get("options", {}).items():
                known[name] = (path.parents[1].name, specification)
    return known


@functools.cache
def checks() -> ModuleType:
    """What the specifications cannot say; plugins cannot import each other by name."""
    path = Path(__file__).parents[1] / "plugin_utils" / "setting_checks.py"
    spec = importlib.util.spec_from_file_location("setting_checks", path)
    if spec is None or spec.loader is None:
        raise AnsibleFilterError(f"{path} cannot be loaded: check the files out again")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name: str, value: object) -> Any:
    """A setting's value, of the type that its specification names.

    Args:
        name: one that a role documents.
        value: as Ansible has it; text is read as the type that is wanted.

    Raises:
        ValueError: it cannot be read, or cannot work; the reason goes behind the value.
    """
    role, specification = known_settings()[name]
    try:
        found = _of_type(_plain(value), specification)
    except (TypeError, ValueError, OverflowError, RecursionError):
        more = "" if "choices" in specification else f"; see roles/{role}/README.md"
        raise ValueError(f"write {_wanted(specification)}{more}") from None
    if found is None:
        raise ValueError(f"write {_wanted(specification)}, or take the line out")
    check = checks().CHECKS.get(name)
    return check(found) if check else found


def wrong(name: str, value: object) -> list[str]:
    """A sentence for each part of a setting's value that cannot be read, or cannot work."""
    secret = known_settings()[name][1].get("no_log", False)
    try:
        read(name, value)
    except checks().PartsError as error:
        return [f"{name}{where} is {shown(part, secret)}: {reason}." for where, part, reason in error.parts]
    except ValueError as error:
        return [f"{name} is {shown(value, secret)}: {error}."]
    return []


def shown(value: object, secret: bool = False) -> str:
    """A value in a message."""
    text = repr(_plain(value))
    return "not shown" if secret else text if len(text) <= 80 else f"{text[:80]}…"


def unit_read(value: object, name: str) -> Any:
    """The value of the setting of this name; see `read`.

    Raises:
        AnsibleFilterError: all that is wrong with it.
    """
    try:
        return read(name, value)
    except ValueError:
        raise AnsibleFilterError(" ".join(wrong(name, value))) from None


def _plain(value: object) -> object:
    """The value without templates in it, which Ansible evaluates where parts are asked for."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _of_type(value: Any, specification: Mapping) -> Any:
    """None stays, and Ansible's own validation of the role takes all that this takes."""
    if value is None:
        return None
    found = READERS[specification["type"]](value)
    if found not in specification.get("choices", [found]):
        raise ValueError(found)
    if isinstance(found, list):
        kind = specification.get("elements", "raw")
        found = [READERS[kind](item) for item in found]
    return found


def _bool(value: object) -> bool:
    return bool(check_type_bool(value))


def _float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(value)
    found = float(value) if isinstance(value, str) else value
    if not math.isfinite(found):
        raise ValueError(value)
    return found


def _list(value: object) -> list:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            value = _parsed(text)
        elif text:
            value = [part.strip() for part in text.split(",")]
        else:
            value = []
    if not isinstance(value, list):
        raise TypeError(value)
    return value


def _dict(value: object) -> dict:
    if isinstance(value, str) and value.startswith("{"):
        value = check_type_dict(value)
    if not isinstance(value, dict):
        raise TypeError(value)
    return value


def _str(value: object) -> str:
    """YAML makes numbers of many a text, and booleans of `no`; what was typed is in a number, not in a boolean."""
    if value is None or isinstance(value, (bool, Mapping, list)):
        raise TypeError(value)
    return value if isinstance(value, str) else str(value)


def _parsed(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):
        raise ValueError(text) from None


def _whole(value: object) -> int:
    found: int = checks().whole(value)
    return found


READERS: dict[str, Callable[[Any], Any]] = {
    "bool": _bool,
    "dict": _dict,
    "float": _float,
    "int": _whole,
    "list": _list,
    "path": _str,  # not expanded here: it may be another machine's
    "raw": lambda value: value,
    "str": _str,
}
WORDS = {
    "bool": "true or false",
    "dict": "names with a value each",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "path": "a path",
    "str": "text, in quotes where YAML would make something else of it",
}


def _wanted(specification: Mapping) -> str:
    if "choices" in specification:
        return f"one of {', '.join(map(str, specification['choices']))}"
    default = specification.get("default")
    example = json.dumps(default, ensure_ascii=False)
    kind = specification["type"]
    if not default or kind in ("bool", "str", "path") or "{{" in example or len(example) > EXAMPLE:
        return WORDS[kind]
    return f"{WORDS[kind]}, such as {example}"


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict:
        """Name -> function."""
        return {"unit_read": unit_read}
