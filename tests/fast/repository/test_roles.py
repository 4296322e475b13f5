"""Rules that every role keeps: its settings are documented where they are set, and can be removed again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[3]
ROLES = sorted(path.parent for path in (TOP / "roles").glob("*/tasks"))
SETTINGS = TOP / "inventory/group_vars/units"
SETTING = re.compile(r"^([a-z]\w*):", re.MULTILINE)
# Roles that only read or only act on another role's work.
NOTHING_TO_REMOVE = {"preflight"}


def load(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def options(role: Path, entry: str = "") -> dict:
    entry = entry or ("settings" if role.name == "preflight" else "main")
    return load(role / "meta/argument_specs.yml")["argument_specs"].get(entry, {}).get("options", {})


@pytest.fixture(params=ROLES, ids=lambda role: role.name)
def role(request):
    return request.param


def test_there_are_roles():
    assert {"preflight", "system", "docker", "release", "services"} <= {role.name for role in ROLES}


def test_defaults_are_the_specified_ones(role):
    defaults = load(role / "defaults/main.yml")
    specified = options(role)
    assert set(defaults) == set(specified)
    for name, value in defaults.items():
        assert name.startswith(f"{role.name}_"), f"{name} lacks the role's name"
        assert specified[name].get("default") == value, f"{name}: defaults and argument_specs differ"


def test_every_default_has_a_comment_above(role):
    text = (role / "defaults/main.yml").read_text(encoding="utf-8").splitlines()
    bare = [line for above, line in zip(text, text[1:]) if SETTING.match(line) and not above.startswith("#")]
    assert not bare, f"no comment above {bare}"


def test_readme_names_every_setting_and_the_removal(role):
    readme = (role / "README.md").read_text(encoding="utf-8")
    missing = [name for name in load(role / "defaults/main.yml") if name not in readme]
    assert not missing, f"roles/{role.name}/README.md does not name {missing}"
    assert "## Removal" in readme


def test_role_can_be_removed(role):
    assert role.name in NOTHING_TO_REMOVE or (role / "tasks/remove.yml").is_file()


def test_removal_undoes_the_roles_in_reverse():
    provisioned = [entry["role"] for entry in load(TOP / "playbooks/unit.yml")[0]["roles"]]
    removed = load(TOP / "playbooks/remove.yml")[0]["tasks"][0]["loop"]
    assert removed == [name for name in reversed(provisioned) if name not in NOTHING_TO_REMOVE]


def test_role_is_thin(role):
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (role / "tasks").glob("*.yml"))
    assert lines <= 200, f"{role.name} has {lines} lines of tasks"


def test_shipped_settings_are_known():
    shipped = {**load(SETTINGS / "10-defaults.yml"), **load(SETTINGS / "20-wiring.yml")}
    shared = options(TOP / "roles/preflight", "unit")
    known = {name for role in ROLES for name in options(role)} | set(shared)
    unknown = [name for name in shipped if not name.startswith("ansible_") and name not in known]
    assert not unknown
    assert {name for name in shipped if name.startswith("panoptes_")} == set(shared)


def test_example_unit_sets_known_settings():
    example = load(TOP / "inventory/host_vars/example-remote-unit.yml.sample")
    assert set(example) <= set(load(SETTINGS / "10-defaults.yml"))


def test_injected_facts_are_not_used(role):
    injected = re.compile(r"\{\{[^}]*\bansible_(distribution|architecture|os_family|hostname|memtotal)")
    for path in role.rglob("*.yml"):
        assert not injected.search(path.read_text(encoding="utf-8")), path


def test_switches_are_read_as_booleans(role):
    """`-e panoptes_public=false` on the command line is a text, and a text that is not empty is true."""
    switches = [name for name, option in options(role).items() if option["type"] == "bool"]
    for path in (*role.rglob("*.yml"), *role.rglob("*.j2")):
        if path.parent.name in ("defaults", "meta"):
            continue
        text = path.read_text(encoding="utf-8")
        for name in switches:
            bare = re.search(rf"(if|not|and|or|when:|==|!=) {name}\b(?! *\| *bool)", text)
            assert not bare, f"{path.relative_to(TOP)}: {bare.group()} needs | bool"
