"""The server does what its own description says, for requests that no person would think of."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = os.environ.get("PANOPTES_TEST_EXAMPLES", "25")


def test_the_description_names_every_path(server):
    description = server.ask("/openapi.json")[1]
    assert set(description["paths"]) == {"/get-config", "/set-config", "/reset-config", "/heartbeat", "/status"}
    assert "security" not in description["paths"]["/set-config"]["post"]


def test_the_public_description_asks_for_the_token(serve):
    description = serve("--public").ask("/openapi.json")[1]
    assert description["paths"]["/set-config"]["post"]["security"] == [{"token": []}]


def test_schemathesis_finds_nothing(server, tmp_path):
    pytest.importorskip("schemathesis")
    program = Path(sys.executable).parent / "schemathesis"
    done = subprocess.run(
        [program, "run", f"http://127.0.0.1:{server.port}/openapi.json", "--checks", "all",
         "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", "1",
         "--generation-database", "none", "--no-color"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    print(done.stdout[-6000:], done.stderr[-2000:])
    assert done.returncode == 0
    assert server.ask("/get-config", {"key": "pan_id"})[0] == 200
