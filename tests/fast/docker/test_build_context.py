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


def test_an_edited_example_is_no_reason_to_build_the_images_again(tmp_path, monkeypatch):
    monkeypatch.setattr(panoptes_images, "TOP", tmp_path)
    for name in panoptes_images._INPUTS:
        file = tmp_path / name / "file" if name in panoptes_images._FOLDERS else tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("x", encoding="utf-8")
    key = panoptes_images.inputs_key("base")
    example = tmp_path / "docker" / "examples" / "mine" / "Dockerfile"
    example.parent.mkdir(parents=True)
    example.write_text("FROM panoptes-utils", encoding="utf-8")
    assert panoptes_images.inputs_key("base") == key
    (tmp_path / "docker" / "Dockerfile").write_text("FROM debian", encoding="utf-8")
    assert panoptes_images.inputs_key("base") != key
    assert "docker/examples" in (TOP / ".dockerignore").read_text(encoding="utf-8").splitlines()
