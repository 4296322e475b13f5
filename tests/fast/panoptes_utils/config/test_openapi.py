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
    server = serve("--public")
    paths = server.ask("/openapi.json")[1]["paths"]
    assert paths["/set-config"]["post"]["security"] == [{"token": []}]
    assert paths["/get-config"]["get"]["security"] == [{}, {"token": []}], "reading does not need it"
    assert "401" not in paths["/status"]["get"]["responses"]


def test_what_a_program_without_the_token_is_told_is_in_the_description(serve, unit):
    unit.write_text(unit.read_text() + "secrets: {slack: xoxb}\n")
    server = serve("--public")
    description = server.ask("/openapi.json")[1]
    outcome = description["components"]["schemas"]["Outcome"]["properties"]
    for path, body in (
        ("/get-config", {"key": "secrets.slack"}),
        ("/heartbeat", {"key": "secrets.slack"}),
        ("/set-config", {"name": "x"}),
        ("/reset-config", {"reset": True}),
    ):
        status, answer, *_ = server.ask(path, body)
        assert status == 401
        assert "401" in description["paths"][path]["post"]["responses"], path
        assert "token_file" in answer
        assert set(answer) <= set(outcome), path


@pytest.mark.parametrize("option", [[], ["--public"]])
def test_server_answers_as_its_description_says(serve, unit, tmp_path, option):
    pytest.importorskip("schemathesis")
    unit.write_text(unit.read_text() + "secrets: {slack: xoxb}\n")
    server = serve(*option)
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
