"""How a run can end: one table of verdict, exit code and sentence.

The command's `--help` is made from these tables, and docs/failed-update.md is tested against them. Verdicts are written
into the history of units and read by other programs: one that was ever used keeps its text.
"""

from __future__ import annotations

from typing import Dict, NamedTuple

from .. import errors

UNCHANGED = "unchanged"
UPDATED = "updated"
INSTALLED = "installed"
RELABELLED = "relabelled"
RESTORED = "restored"
HEALED = "healed"
HELD = "held"
INTERRUPTED = "interrupted"
DEFERRED = "deferred"
FAILED = "failed"
ROLLED_BACK = "rolled-back"
BROKEN = "broken"


class Ending(NamedTuple):
    """What a verdict means.

    Attributes:
        exit_code: of the command; an error that brings one of its own goes before it.
        sentence: what the unit is like now.
        in_history: whether the run is an attempt that people will look for.
    """

    exit_code: int
    sentence: str
    in_history: bool = True


VERDICTS: Dict[str, Ending] = {
    UNCHANGED: Ending(errors.OK, "there is nothing newer, or nothing to recover", in_history=False),
    UPDATED: Ending(errors.OK, "the new release runs, and its services were proved to work"),
    INSTALLED: Ending(errors.OK, "the release is on the unit; there are no services yet that could run it"),
    RESTORED: Ending(errors.OK, "the newest release did not run whole; it was brought up again and proved"),
    RELABELLED: Ending(errors.OK, "a new index names the image that runs already; only the name changed", False),
    HEALED: Ending(errors.OK, "something was damaged; the same release was brought up again and proved"),
    HELD: Ending(errors.OK, "the unit is pinned, or the release is in quarantine", in_history=False),
    INTERRUPTED: Ending(errors.OK, "a run was cut short before it switched; the unit was not touched"),
    DEFERRED: Ending(errors.DEFERRED, "services must not restart now; the release is fetched and waits"),
    FAILED: Ending(errors.FAILED, "the unit runs what it ran before, or nothing where it ran nothing"),
    ROLLED_BACK: Ending(errors.ROLLED_BACK, "the new release did not work; the one before was proved to work again"),
    BROKEN: Ending(errors.BROKEN, "neither the new release nor the one before works; the next run or boot tries again"),
}

EXIT_CODES: Dict[int, str] = {
    errors.OK: "done, or nothing to do (also: held by a pin or by quarantine)",
    errors.FAILED: "failed; the unit runs what it ran before (status: it does not work; doctor: it found a problem)",
    errors.USAGE: "wrong argument or setting",
    errors.DEFERRED: "deferred: observing, unknown state, locked, or outside the window",
    errors.ROLLED_BACK: "the new release failed; the unit is back on the one before",
    errors.BUSY: "another run is at work",
    errors.BROKEN: "neither the new release nor the one before works on this unit now; the next run tries again",
    errors.DAMAGED: "verify: what is on the disk is not the image of the release any more",
}
