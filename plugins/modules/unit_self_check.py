#!/usr/bin/python
"""Ansible module: do the services of a unit work, asked from outside their containers?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Callable

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.panoptes_unit.deploy.quick_engine import QuickEngine
from ansible.module_utils.panoptes_unit.errors import HealthError, UnitError
from ansible.module_utils.panoptes_unit.health import record
from ansible.module_utils.panoptes_unit.health.wholeness import SERVICES, Seen, findings
from ansible.module_utils.panoptes_unit.services import check_config, check_pair
from ansible.module_utils.panoptes_unit.settings import load

try:
    import zmq  # noqa: F401 - asked for here to say what is missing
except ImportError:
    HAS_ZMQ = False
else:
    HAS_ZMQ = True

DOCUMENTATION = r"""
module: unit_self_check
short_description: Is a PANOPTES unit whole?
description:
  - Gets a key of this unit from the config server and sends a message round every hub pair.
  - Where the tool panoptes-unit has settings, everything else that its services need is looked at as well, by the list
    that C(panoptes-unit status) reads.
  - Changes nothing, in check mode or out of it.
options:
  config_port:
    description: Port of the config server on this machine.
    type: int
    required: true
  config_key:
    description: Key to ask for.
    type: str
    required: true
  config_value:
    description: What the answer has to be.
    type: str
    required: true
  pairs:
    description: Hub pairs, each [in port, out port]; programs send to the in port and listen to the out port.
    type: list
    elements: list
    required: true
  settings:
    description: Settings of the tool on this machine.
    type: path
    default: /etc/panoptes/unit.yaml
  timeout:
    description: Seconds to wait for each answer.
    type: float
    default: 10
author:
  - Project PANOPTES (@panoptes)
"""

EXAMPLES = r"""
- name: Ask both services
  unit_self_check:
    config_port: 6563
    config_key: pan_id
    config_value: PAN000
    pairs: [[6500, 6501], [6510, 6511]]
"""

RETURN = r"""
milliseconds:
  description: What was asked, and how long the answer took.
  returned: success
  type: dict
"""


def lacks(settings: Path) -> list[str]:
    """What else the services need and this machine does not have, each with its remedy."""
    if not settings.exists():
        return []
    try:
        known = load(settings)
        looked = record.read(Path(known.health))
        seen = Seen(known, QuickEngine(known, looked.compose if looked else None))
        # The proof was made above, with the values that this unit is to have.
        return [one.problem for one in findings(seen, SERVICES) if one.problem and one.name != "proof"]
    except UnitError as error:
        return [str(error)]


def main() -> None:
    """Ask everything; fail with every answer that is wrong."""
    module = AnsibleModule(
        argument_spec={
            "config_port": {"type": "int", "required": True},
            "config_key": {"type": "str", "required": True},
            "config_value": {"type": "str", "required": True},
            "pairs": {"type": "list", "elements": "list", "required": True},
            "settings": {"type": "path", "default": "/etc/panoptes/unit.yaml"},
            "timeout": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    if not HAS_ZMQ:
        module.fail_json(msg="python3-zmq is missing: apt-get install python3-zmq, or run playbooks/unit.yml")
    asked = module.params
    questions: dict[str, Callable[[], float]] = {
        "config server": lambda: check_config(
            f"http://127.0.0.1:{asked['config_port']}", asked["config_key"], asked["config_value"], asked["timeout"]
        )
    }
    for in_port, out_port in asked["pairs"]:
        questions[f"messaging hub {in_port}→{out_port}"] = partial(
            check_pair, int(in_port), int(out_port), asked["timeout"]
        )
    took, problems = {}, []
    for name, ask in questions.items():
        try:
            took[name] = round(ask() * 1e3, 1)
        except HealthError as error:
            problems.append(str(error))
    problems += lacks(Path(asked["settings"]))
    if problems:
        module.fail_json(msg="The services do not work:\n" + "\n".join(f"- {problem}" for problem in problems))
    module.exit_json(changed=False, milliseconds=took)


if __name__ == "__main__":
    main()
