"""How many units go together: few first, all at the end."""

from __future__ import annotations

import math

from .errors import FleetError

DEFAULT = "1,5,25%,100%"


def sizes(text: str, units: int, canaries: int = 0) -> list[int]:
    """How many units each wave has; the last size is repeated until all have gone.

    Args:
        text: numbers and percentages of all units, such as `1,5,25%,100%`.
        units: how many there are.
        canaries: how many are named in the inventory: they are the first wave, whatever its number says.

    Raises:
        FleetError: it is no such text.
    """
    wanted = [_size(part.strip(), units, text) for part in text.split(",")]
    if canaries:
        wanted = [canaries, *(wanted[1:] or wanted)]
    found: list[int] = []
    while sum(found) < units:
        size = wanted[min(len(found), len(wanted) - 1)]
        found.append(min(size, units - sum(found)))
    return found


def _size(part: str, units: int, text: str) -> int:
    number = part.removesuffix("%")
    if not number.isascii() or not number.isdecimal() or len(number) > 6 or int(number) < 1:
        raise FleetError(
            f"--waves {text}: {part!r} is no wave: write numbers from 1 and percentages, such as {DEFAULT}"
        )
    if part.endswith("%") and int(number) > 100:
        raise FleetError(f"--waves {text}: {part} is more than all units")
    return max(1, math.ceil(units * int(number) / 100)) if part.endswith("%") else int(number)
