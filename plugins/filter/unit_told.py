"""Filter that makes one plain line of what became of a unit: of a tool's answer, of none, of an unreachable unit."""

from __future__ import annotations

import json
from typing import Any

# Exit codes of panoptes-unit after which a unit is as it should be: done or held, and deferred.
GOOD = (0, 3)


def unit_told(result: dict) -> dict:
    """What a registered `panoptes-unit VERB --json` came to.

    Args:
        result: what `register` kept; empty where the unit was never asked.

    Returns:
        `failed`: whether a person has to look; `changed`; `line`: verdict and reason, or why there is none.
    """
    answer = _answer(result)
    if answer:
        line = " ".join(str(answer.get(key, "")) for key in ("verdict", "reason")).strip()
        return {"failed": result.get("rc") not in GOOD, "changed": bool(answer.get("changed")), "line": line}
    asked = bool(result) and not result.get("skipped")
    return {"failed": asked, "changed": False, "line": _without_answer(result)}


def _answer(result: dict) -> dict[str, Any]:
    text = str(result.get("stdout") or "").strip()
    try:
        answer = json.loads(text.splitlines()[-1]) if text else None
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) and "verdict" in answer else {}


def _without_answer(result: dict) -> str:
    if not result:
        return "not asked: an earlier unit did not come through"
    if result.get("skipped"):
        return "not asked: check mode"
    said = str(result.get("stderr") or result.get("msg") or "").strip()
    last = said.splitlines()[-1] if said else f"exit code {result.get('rc', '?')}, and no word of why"
    if result.get("unreachable"):
        return f"not reached: {last}"
    if "Error executing command" in said:  # Ansible's words for a program that cannot be started
        return "panoptes-unit is not there: run playbooks/unit.yml"
    return f"no answer: {last}"


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict:
        """Name -> function."""
        return {"unit_told": unit_told}
