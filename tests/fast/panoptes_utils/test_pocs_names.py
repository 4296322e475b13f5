"""The names that the observatory's control software, POCS 0.8.6, takes from `panoptes.utils`.

`tests/data/pocs_names.txt` has one a line, `MODULE:NAME`. One more, `serial.handlers.protocol_no_op`,
POCS does without.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

TOP = Path(__file__).parents[3]
NAMES = (TOP / "tests" / "data" / "pocs_names.txt").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("module", sorted({line.partition(":")[0] for line in NAMES}))
def test_every_name_can_be_imported(module):
    asked = [name for where, _, name in (line.partition(":") for line in NAMES) if where == module]
    assert asked
    for name in asked:
        exec(f"from {module} import {name}", {})


def test_the_config_server_is_a_command_of_click_too(tmp_path):
    cli = import_module("panoptes.utils.config.cli").config_server_cli
    shown = CliRunner().invoke(cli, ["--help"])
    assert shown.exit_code == 0 and "health" in shown.output
    wrong = CliRunner().invoke(cli, ["--port", "99999", "get", "name"])
    assert wrong.exit_code == 1 and "not a TCP port" in wrong.output


def test_the_command_itself_needs_no_click():
    code = "import sys, panoptes_utils.config.cli; sys.exit('click' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=TOP)
