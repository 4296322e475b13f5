"""docker/build-image.sh runs without Python and has the flavours a second time: they are the same."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from lab.flavours import FLAVOURS
from panoptes_unit.sources.platforms import PLATFORMS

TOP = Path(__file__).parents[3]
SCRIPT = TOP / "docker" / "build-image.sh"


def table(name: str) -> dict:
    (line,) = re.findall(rf"^declare -A {name}=\((.*)\)$", SCRIPT.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(re.findall(r"\[(\S+)\]=(\S+)", line))


def test_script_and_lab_know_the_same_flavours():
    assert table("platform") == {name: flavour.platform for name, flavour in FLAVOURS.items()}
    assert table("emulator") == {name: flavour.emulator for name, flavour in FLAVOURS.items()}


def test_script_and_lab_emulate_the_same_processor():
    processors = table("processor")
    assert processors == {name: FLAVOURS[name].processor for name in processors} != {}


@pytest.mark.parametrize(
    ("name", "machine"), [(name, machine) for name, flavour in FLAVOURS.items() for machine in flavour.machines]
)
def test_script_knows_this_machines_flavour_by_the_same_words(tmp_path, name, machine):
    for program, answer in (("uname", machine), ("dpkg", FLAVOURS[name].debian)):
        (tmp_path / program).write_text(f"#!/bin/sh\necho {answer}\n")
        (tmp_path / program).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    plan = subprocess.run([SCRIPT, "base", "--print"], capture_output=True, text=True, env=environment, check=True)
    assert f"--platform {FLAVOURS[name].platform} " in plan.stdout


def test_flavours_are_what_units_ask_for():
    assert [flavour.debian for flavour in FLAVOURS.values()] == ["amd64", "armhf", "arm64"]
    assert {flavour.platform for flavour in FLAVOURS.values()} == set(PLATFORMS.values())
