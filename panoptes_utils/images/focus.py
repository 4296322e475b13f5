"""How sharp an image is."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from panoptes_utils.images.pixels import mask_saturated

__all__ = ["focus_metric", "mask_saturated", "vollath_F4"]


def focus_metric(data: np.ndarray, merit_function: Any = "vollath_F4", **kwargs: Any) -> float:
    """Return a number that is largest in focus.

    Args:
        data: numpy.ndarray, shape (height, width), best a part of the image with stars; may be masked.
        merit_function: name of the function.
        kwargs: for that function.

    Returns:
        float

    Raises:
        KeyError: no such function.

    Example:
        >>> sharp = np.zeros((9, 9)); sharp[3:6, 3:6] = 9.0
        >>> focus_metric(sharp) > focus_metric(np.ones((9, 9)))
        True
    """
    try:
        function = _MERITS[merit_function]
    except KeyError:
        raise KeyError(f"focus_metric: no merit function {merit_function!r}; one of {', '.join(_MERITS)}") from None
    return function(data, **kwargs)


def vollath_F4(data: np.ndarray, axis: Optional[str] = None) -> float:  # noqa: N802 - the name is public
    """Return Vollath's F4 autocorrelation: mean product of neighbours less that of next-but-one neighbours.

    Args:
        data: numpy.ndarray, shape (height, width), any number type; NaN and masked pixels are left out.
        axis: "X" along rows, "Y" along columns, None for the mean of both.

    Returns:
        float: in squared units of the data.

    Raises:
        ValueError: another axis.

    Source: Vollath 1987, J. Microsc. 147, 279.
    """
    if axis not in (None, "X", "x", "Y", "y"):
        raise ValueError(f"axis={axis!r} is not X, Y or None")
    data = np.ma.masked_invalid(np.ma.asarray(data).astype(np.float64))
    found = []
    if axis is None or axis in "Xx":
        found.append((data[:, 1:] * data[:, :-1]).mean() - (data[:, 2:] * data[:, :-2]).mean())
    if axis is None or axis in "Yy":
        found.append((data[1:, :] * data[:-1, :]).mean() - (data[2:, :] * data[:-2, :]).mean())
    return float(np.mean(found))


_MERITS = {"vollath_F4": vollath_F4}
