"""Is this machine's clock possible at all? A Raspberry Pi without a network begins in the past."""

from __future__ import annotations

import time

from ..errors import UnitError

# No clock of a working unit is before this release of the tool: 2026-01-01.
CLOCK_FLOOR = 1767225600


def is_plausible(now: float) -> bool:
    """Whether a clock that says `now`, in seconds since 1970, can be right."""
    return now >= CLOCK_FLOOR


def require_plausible_clock() -> None:
    """Check the clock, which TLS, signatures and every record depend on.

    Raises:
        UnitError: it says a date that cannot be.
    """
    now = time.time()
    if not is_plausible(now):
        date = time.strftime("%Y-%m-%d", time.gmtime(now))
        raise UnitError(f"this machine's clock says {date}, which cannot be: see timedatectl status")
