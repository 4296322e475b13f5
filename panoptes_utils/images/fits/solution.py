"""Which coordinates in a header are a solution, and how one is written down.

Mounts, drivers and programs of cameras write coordinates too: what they were told, or a mere default. Stars were
compared with a catalogue only where astrometry.net or this module did it, and both leave a mark.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import List, Optional, Tuple

from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

# The cards that this module adds to a solution.
SOLVER, ATTEMPT, MATCHED, RESIDUAL = "SOLVER", "SOLVHOW", "SOLVNUM", "SOLVRMS"
SOLVER_NAME = "astrometry.net"
# What solve-field writes into the HISTORY of a file.
_HISTORY = "Created by the Astrometry.net suite"
_SCALE = ("CD1_1", "CD1_2", "CD2_1", "CD2_2", "CDELT1", "CDELT2")

# What the header of a solved image takes over from the solution, and what it loses of an earlier one.
WCS_KEY = re.compile(
    r"(WCSAXES|WCSNAME|CTYPE\d|CUNIT\d|CRVAL\d|CRPIX\d|CDELT\d|CROTA\d|CD\d_\d|PC\d_\d|PV\d_\d+|LONPOLE|LATPOLE"
    rf"|RADESYS|EQUINOX|IMAGEW|IMAGEH|[AB]P?_ORDER|[AB]P?_DMAX|[AB]P?_\d_\d|{SOLVER}|{ATTEMPT}|{MATCHED}|{RESIDUAL})$"
)


@dataclass(frozen=True)
class Evidence:
    """What speaks for a solution.

    Attributes:
        attempt: what the solver was told: "hints", "position", "blind", "half resolution", "full
            resolution", "own options".
        matched: stars of the image that are stars of the catalogue.
        rms: of the distances between the two, pixels.
        scale: arcsec per pixel.
    """

    attempt: str
    matched: int
    rms: float
    scale: float


def celestial_of(header: fits.Header) -> Optional[WCS]:
    """The celestial coordinate system of a header, solution or not, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            cube = header.get("NAXIS", 0) > 2
            wcs = WCS(header, naxis=2 if cube else None)
            if cube:
                wcs.array_shape = header["NAXIS2"], header["NAXIS1"]
    except Exception:
        return None
    if not wcs.is_celestial:
        return None
    return wcs if wcs.naxis == 2 else wcs.celestial


def is_solved(header: fits.Header) -> bool:
    """Whether the coordinates of a header are a solution, which stars support.

    A solution is what `get_solve_field` wrote (`SOLVER` is "astrometry.net"; earlier versions left only `IMAGEW`,
    `IMAGEH` and `CD1_1` of astrometry.net) or solve-field itself ("Created by the Astrometry.net suite" in the
    `HISTORY`), if its coordinates are complete: celestial types and a scale.

    Args:
        header: astropy.io.fits.Header.

    Returns:
        bool

    Example:
        >>> driver = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CDELT1": 0.003})
        >>> is_solved(driver)
        False
        >>> driver[SOLVER] = SOLVER_NAME
        >>> is_solved(driver)
        True
    """
    marked = (
        str(header.get(SOLVER, "")).strip().lower() == SOLVER_NAME
        or {"IMAGEW", "IMAGEH", "CD1_1"} <= set(header)
        or any(_HISTORY in str(line) for line in header.get("HISTORY", []))
    )
    return bool(marked and any(header.get(key) for key in _SCALE) and celestial_of(header) is not None)


def solution_wcs(header: fits.Header) -> Optional[WCS]:
    """The coordinate system of a header if it is a solution, else None."""
    return celestial_of(header) if is_solved(header) else None


def solution_cards(solution: fits.Header, evidence: Evidence) -> List[fits.Card]:
    """The cards that a solved image gets: those of the solution, and what speaks for it."""
    cards = [card for card in solution.cards if WCS_KEY.match(card.keyword)]
    mine: Tuple[Tuple[str, object, str], ...] = (
        (SOLVER, SOLVER_NAME, "What found the coordinates"),
        (ATTEMPT, evidence.attempt, "What it was told"),
        (MATCHED, evidence.matched, "Stars that match the catalogue"),
        (RESIDUAL, round(evidence.rms * evidence.scale, 3), "RMS of their distances, arcsec"),
    )
    return cards + [fits.Card(*each) for each in mine]


def put_solution(header: fits.Header, cards: List[fits.Card]) -> None:
    """Put the cards of a solution into a header, in place of all coordinates that are there."""
    for key in {card.keyword for card in header.cards if WCS_KEY.match(card.keyword)}:
        header.remove(key, remove_all=True)
    header.extend(cards, update=True)
