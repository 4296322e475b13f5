"""What is sent to the engine for a build: what the images are made of, and no other folder of the repository."""

from __future__ import annotations

import re
from pathlib import Path

from lab import panoptes_images

TOP = Path(__file__).parents[3]


def copied() -> set[str]:
    """Top-level names that the Dockerfiles copy."""
    names = set()
    for file in (TOP / "docker").glob("Dockerfile*"):
        for words in re.findall(r"^COPY (.+) \S+$", file.read_text(encoding="utf-8"), flags=re.MULTILINE):
            names |= {word.split("/")[0] for word in words.split()}
    return names


def test_context_is_what_the_dockerfiles_copy():
    lines = (TOP / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines, "a new folder of the repository would be sent too"
    assert {line[1:] for line in lines if line.startswith("!")} == copied() | {"docker"}
    assert "panoptes_unit" not in copied()


def test_lab_builds_again_where_something_of_the_context_changed():
    assert set(panoptes_images._INPUTS) == copied() | {"docker", ".dockerignore"}
