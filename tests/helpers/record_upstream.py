#!/usr/bin/env python3
"""Ask upstream's panoptes-utils what the tests compare ours with, and write its answers down.

Needs a Python 3.12 with `panoptes-utils[config,images]` in the version that is to be recorded:

    python3.12 -m venv /tmp/upstream && /tmp/upstream/bin/pip install 'panoptes-utils[config,images]==0.3.8'
    /tmp/upstream/bin/python tests/helpers/record_upstream.py
"""

import http.client
import json
import os
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from upstream_cases import CLIENT, HTTP, UNIT, Names, ask, expressions

PACKAGE = "panoptes.utils"
ANSWERS = Path(__file__).parents[1] / "data" / "upstream.json"


def request(port, method, path, body):
    """Status and decoded answer of one request; None for an answer that is not JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    try:
        told = json.loads(text)
    except ValueError:
        return [answer.status, None]
    if isinstance(told, dict):
        # Sentences for people are everybody's own.
        told.update({name: "…" for name in ("msg", "detail") if name in told})
    return [answer.status, told]


def with_server(folder, port, work):
    """What is returned while a server of a new unit runs."""
    from panoptes.utils.config.client import server_is_running
    from panoptes.utils.config.server import config_server

    path = folder / f"pocs{port}.yaml"
    path.write_text(UNIT)
    os.environ.update(PANOPTES_CONFIG_HOST="127.0.0.1", PANOPTES_CONFIG_PORT=str(port))
    process = config_server(str(path), host="127.0.0.1", port=port, save_local=True)
    try:
        while not server_is_running():
            time.sleep(0.1)
        return work()
    finally:
        process.terminate()
        process.join()


def lines(found):
    """The answers as JSON, each on a line of its own."""
    parts = [f'"version": {json.dumps(found["version"])}']
    asked = (f"{json.dumps(one)}: {json.dumps(answers)}" for one, answers in found["expressions"].items())
    parts.append('"expressions": {\n' + ",\n".join(asked) + "\n}")
    for kind in ("client", "http"):
        parts.append(f'"{kind}": [\n' + ",\n".join(map(json.dumps, found[kind])) + "\n]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main():
    from loguru import logger

    logger.remove()
    os.environ.pop("PANDIR", None)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        os.chdir(folder)
        names = Names(PACKAGE, folder)
        found = {"version": version("panoptes-utils"), "expressions": {}}
        for expression in expressions():
            # Answers in the order in which they are asked: some write files that others read.
            found["expressions"].setdefault(expression, []).append(ask(expression, names))
        found["client"] = with_server(folder, 6571, lambda: [[one, ask(one, names)] for one in CLIENT])
        found["http"] = with_server(
            folder,
            6572,
            lambda: [[method, path, body, request(6572, method, path, body)] for method, path, body in HTTP],
        )
    ANSWERS.parent.mkdir(exist_ok=True)
    ANSWERS.write_text(lines(found).replace(made, "FOLDER"), encoding="utf-8")
    print(
        f"{len(found['expressions'])} expressions, {len(CLIENT)} calls and {len(HTTP)} requests of {found['version']}"
    )


if __name__ == "__main__":
    sys.exit(main())
