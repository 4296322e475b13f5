"""In what order a frame is tried to be solved, and how long each attempt may take."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Dict, Iterator, List, Tuple

from panoptes_utils.images.fits.hints import Hints

# solve-field looks for stars on an image that is shrunk so many times, which is quicker, but not to a side of fewer
# pixels than these.
DOWNSAMPLE = 4
MIN_SIDE = 130
# Share of the time that is left that an attempt may use while others wait for their turn. With hints that are
# right a frame is solved in a second, on a Raspberry Pi in a few; with wrong ones the search ends late.
_SHARE = {"hints": 0.25, "position": 0.2, "blind": 0.4, "half resolution": 0.5}


@dataclass(frozen=True)
class Attempt:
    """One call of solve-field.

    Attributes:
        name: what the solver is told: "hints" all that is known, "position" all but the scale, "blind" nothing, "half
            resolution" and "full resolution" nothing, and the image is shrunk twice only, or not at all, "own options"
            what the caller chose.
        options: of solve-field.
    """

    name: str
    options: List[str]


def plan(hints: Hints, usual: List[str], side: int) -> List[Attempt]:
    """Return the attempts, the cheapest first: what is known may be wrong, and is given up step by step.

    Args:
        hints: what is known.
        usual: options of every attempt.
        side: the shorter side of the image, pixels.
    """
    # These two steps of solve-field start a Python each, half of the time of a search that knows where to look.
    quick = ["--no-remove-lines", "--uniformize=0"]
    times = min(DOWNSAMPLE, max(1, side // MIN_SIDE))
    shrunk = [f"--downsample={times}"]
    attempts = []
    if hints:
        attempts.append(Attempt("hints", usual + shrunk + quick + hints.options()))
    if hints.ra is not None and hints.scale is not None:
        position = Hints(hints.ra, hints.dec, hints.radius)
        attempts.append(Attempt("position", usual + shrunk + quick + position.options()))
    attempts.append(Attempt("blind", usual + shrunk))
    if times > 2:  # a crowded sky, shrunk four times, loses most of its stars: they run into each other
        attempts.append(Attempt("half resolution", [*usual, "--downsample=2"]))
    if times > 1:
        attempts.append(Attempt("full resolution", [*usual, "--downsample=1"]))
    return attempts


class Turns:
    """Gives each attempt its turn, and the time that is left over to those that were cut short."""

    def __init__(self, attempts: List[Attempt], deadline: float) -> None:
        self._attempts = attempts
        self._deadline = deadline
        self._limits: Dict[str, float] = {}
        self.cut: List[Attempt] = []

    def left(self) -> float:
        """Seconds."""
        return self._deadline - monotonic()

    def __iter__(self) -> Iterator[Tuple[Attempt, float]]:
        """Attempts with the seconds that each may take; the caller notes in `cut` those that needed more."""
        for number, attempt in enumerate(self._attempts):
            last = number + 1 == len(self._attempts)
            limit = self.left() * (1 if last else _SHARE.get(attempt.name, 1))
            if limit <= 0:
                self.cut.append(attempt)
                return
            self._limits[attempt.name] = limit
            yield attempt, limit
        # Once more, from the start, as long as there is notably more time than at the first turn.
        for attempt in list(self.cut):
            if self.left() > 1.25 * self._limits[attempt.name]:
                self.cut.remove(attempt)
                yield attempt, self.left()
