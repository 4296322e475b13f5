#!/usr/bin/python
"""Ansible module: the state of a unit as facts."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.panoptes_unit.machine.preflight import Requirements, ask_registry, platform_for, problems
from ansible.module_utils.panoptes_unit.machine.probe import Probe
from ansible.module_utils.panoptes_unit.machine.raspberry_pi import state as raspberry_pi

DOCUMENTATION = r"""
module: unit_probe
short_description: Read the state of a PANOPTES unit in one call
description:
  - Reads packages, files, services, ports, engine, containers, disks and clock and returns them as the fact C(unit).
  - Changes nothing, in check mode or out of it.
options:
  packages:
    description: Debian packages whose versions are wanted.
    type: list
    elements: str
    default: []
  files:
    description: Paths or shell patterns of files to describe.
    type: list
    elements: str
    default: []
  services:
    description: systemd units whose states are wanted.
    type: list
    elements: str
    default: []
  users:
    description: Names or numbers of accounts.
    type: list
    elements: str
    default: []
  groups:
    description: Names or numbers of groups.
    type: list
    elements: str
    default: []
  ports:
    description: TCP ports of which to name the listeners.
    type: list
    elements: int
    default: []
  disks:
    description: Paths whose free space is wanted.
    type: list
    elements: str
    default: []
  compose_file:
    description: Compose file of which to compute each service's configuration hash.
    type: path
  env_file:
    description: Environment file that goes with it.
    type: path
  image:
    description: Image (registry/repository:tag) of which to ask the registry; the answer is the fact C(unit_registry).
    type: str
  registry_ca:
    description: The registry's CA certificate in PEM, where the system does not trust it.
    type: str
    default: ""
  registry_credentials:
    description: File on the unit with C(username:password) for the registry, mode 0600.
    type: str
    default: ""
  requirements:
    description: What the machine has to offer, as in panoptes_unit/machine/preflight.py; fills C(unit_state.problems).
    type: dict
  root:
    description: Directory that describes the machine; another one than C(/) only in tests.
    type: path
    default: /
author:
  - Project PANOPTES (@panoptes)
"""

EXAMPLES = r"""
- name: Read which engine is installed
  unit_probe:
    packages: [docker.io, docker-ce]
    services: [docker.service]
"""

RETURN = r"""
ansible_facts:
  description: One fact, C(unit_state), a dictionary with a key for each question.
  returned: always
  type: dict
"""

TEXTS = ("packages", "files", "services", "users", "groups", "disks")


def main() -> None:
    """Read everything that was asked for."""
    arguments: dict[str, dict[str, object]] = {
        name: {"type": "list", "elements": "str", "default": []} for name in TEXTS
    }
    arguments["ports"] = {"type": "list", "elements": "int", "default": []}
    arguments["requirements"] = {"type": "dict"}
    for name in ("compose_file", "env_file"):
        arguments[name] = {"type": "path"}
    arguments["image"] = {"type": "str"}
    arguments["registry_ca"] = {"type": "str", "default": ""}
    # The path, not the login itself, so that there is nothing here to keep from a log.
    arguments["registry_credentials"] = {"type": "str", "default": "", "no_log": False}
    arguments["root"] = {"type": "path", "default": "/"}
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    wanted = module.params
    probe = Probe(wanted["root"])
    state = {
        "distribution": probe.distribution(),
        "architecture": probe.architecture(),
        "systemd": probe.systemd(),
        "container": probe.container(),
        "now": probe.now(),
        "disks": probe.disks(wanted["disks"]),
        "packages": probe.packages(wanted["packages"]),
        "files": probe.files(wanted["files"]),
        "services": probe.services(wanted["services"]),
        "users": probe.users(wanted["users"]),
        "groups": probe.groups(wanted["groups"]),
        "ports": probe.listeners(wanted["ports"]),
        "packages_interrupted": probe.packages_interrupted(),
        "package_lists_age": probe.package_lists_age(),
        "engine": probe.engine(),
        "containers": probe.containers(),
        "images": probe.images(),
        "release": probe.release(),
        "raspberry_pi": raspberry_pi(wanted["root"]),
        "compose_hashes": {},
        "problems": [],
    }
    state["platform"] = platform_for(state)
    if wanted["compose_file"] and wanted["env_file"]:
        state["compose_hashes"] = probe.compose_hashes(wanted["compose_file"], wanted["env_file"])
    facts = {"unit_state": state}
    if wanted["image"]:
        facts["unit_registry"] = ask_registry(
            wanted["image"], wanted["registry_ca"], state["platform"], wanted["registry_credentials"]
        )
    if wanted["requirements"] is not None:
        try:
            requirements = Requirements(**wanted["requirements"])
        except TypeError as error:
            module.fail_json(msg=f"requirements: {error}")
        state["problems"] = problems(state, requirements, facts.get("unit_registry"))
    module.exit_json(changed=False, ansible_facts=facts)


if __name__ == "__main__":
    main()
