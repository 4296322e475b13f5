"""One thing on the disk that is not as it was when the image came."""

from __future__ import annotations

from typing import NamedTuple


class Damage(NamedTuple):
    """What is wrong, and where.

    Attributes:
        layer: digest of the unpacked layer; empty where it is the image's configuration, or is not known.
        file: path within the layer; empty where no single file is known.
        problem: one sentence.
    """

    layer: str
    file: str
    problem: str


def mismatch(found: str) -> str:
    """The sentence for a content with another digest."""
    return f"its content is {found[:19]}…"
