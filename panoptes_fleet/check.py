"""The whole inventory, looked through without reaching a unit: what is wrong where."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass

from . import engine, project
from .inventory import NO_UNIT, Inventory, Unit


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        unit: whose it is; empty where it belongs to none.
        what: what is wrong, which value, what to do.
    """

    unit: str
    what: str

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def check(fleet: Inventory) -> list[Finding]:
    """All that is wrong, unit by unit; the settings are judged by the same lookup that provisioning asks."""
    found = [Finding("", f"{stray}; no unit of the inventory has this name") for stray in fleet.strays]
    found += [Finding(unit.name, unit.broken) for unit in fleet.units.values() if unit.broken]
    told = engine.play(project.checkout() / "playbooks" / "check.yml", fleet.path, fleet.names, lambda name, one: None)
    identifiers: dict[str, str] = {}
    for name in fleet.names:
        one = told.get(name, engine.Told(failed=True, line="Ansible ended before it was looked at"))
        answer = one.result.get("msg")
        if one.failed or not isinstance(answer, dict):
            found.append(Finding(name, f"Ansible cannot make out its settings: {one.line}"))
            identifiers[name] = fleet.units[name].pan_id
            continue
        found += [Finding(name, str(problem)) for problem in answer.get("problems", [])]
        identifiers[name] = str(answer.get("pan_id") or fleet.units[name].pan_id)
    found += shared(fleet, identifiers)
    order = {name: number for number, name in enumerate(["", *fleet.units])}
    return sorted(found, key=lambda one: order[one.unit])


def shared(fleet: Inventory, identifiers: dict[str, str]) -> list[Finding]:
    """Units that cannot be told apart, or have no identifier of their own yet."""
    found = []
    by_identifier, by_address = defaultdict(list), defaultdict(list)
    for name, unit in fleet.units.items():
        identifier = identifiers.get(name, "").upper()
        if identifier == NO_UNIT:
            remedy = f"write the one that the project gave it into host_vars/{name}.yml"
            found.append(Finding(name, f"panoptes_pan_id is still {NO_UNIT}: {remedy}"))
        elif identifier:
            by_identifier[identifier].append(unit)
        if not unit.broken and unit.address:
            by_address[unit.address, unit.port].append(unit)
    for identifier, same in by_identifier.items():
        found += _each(same, f"panoptes_pan_id {identifier}", "each unit has its own")
    for (address, port), same in by_address.items():
        where = f"{address}{f', port {port}' if port else ''}"
        found += _each(same, f"the address {where}", "two names for one machine: remove one")
    return found


def _each(same: list[Unit], what: str, remedy: str) -> list[Finding]:
    names = [unit.name for unit in same]
    return [
        Finding(name, f"{what} is also that of {', '.join(other for other in names if other != name)}: {remedy}")
        for name in (names if len(names) > 1 else [])
    ]
