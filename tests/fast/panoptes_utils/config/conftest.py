"""A real config server for each test that asks for one."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from free_ports import free_ports
from processes import end, finished

pytest.importorskip("uvicorn")
pytest.importorskip("ruamel.yaml")

UNIT = """\
# The unit on the roof
name: Roof Unit  # as on the door
pan_id: PAN042
location:
  latitude: 19.54 deg  # north
  longitude: -155.58 deg
  elevation: 3400.0 m
directories:
  base: /var/panoptes
  images: images
messaging:
  cmd_port: 6500
  msg_port: 6510
cameras:
  devices:
  - model: canon_gphoto2  # primary
    port: usb:001,005
  - model: zwo
simulator: []
"""
COMMAND = "import sys; from panoptes_utils.config.cli import main; sys.exit(main())"


class Server:
    """A running `panoptes-config-server run`."""

    def __init__(self, process, port, log):
        self.process, self.port, self.log = process, port, log

    def ask(self, path, body=None, method=None, headers=None, host="127.0.0.1"):
        """Send one request; returns status, decoded answer and headers."""
        connection = http.client.HTTPConnection(host, self.port, timeout=10)
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        fields = {"Content-Type": "application/json"} if data is not None else {}
        fields.update(headers or {})
        connection.request(method or ("GET" if data is None else "POST"), path, data, fields)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        kind = answer.headers.get("content-type", "")
        return answer.status, json.loads(text) if kind == "application/json" else text, answer.headers

    def stop(self, number=signal.SIGTERM):
        """Send a signal and wait; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=10)


@pytest.fixture
def unit(tmp_path):
    """A folder with the configuration of a unit; gives the path of `pocs.yaml`."""
    path = tmp_path / "conf_files" / "pocs.yaml"
    path.parent.mkdir()
    path.write_text(UNIT)
    return path


@pytest.fixture
def free_port():
    return free_ports(1)[0]


@pytest.fixture
def command():
    """Run `panoptes-config-server` with arguments; gives the finished process."""
    return partial(finished, COMMAND)


@pytest.fixture
def serve(unit, free_port, tmp_path, request):
    """Start a server; arguments are added to `run`. What it logged is shown where the test fails."""
    servers = []

    def start(*arguments, path=unit, port=free_port, env=None, before="", host="127.0.0.1"):
        log = Path(tmp_path / f"server-{len(servers)}.log")
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-c", before + COMMAND, "--port", str(port), "run", "--config-file", path, *arguments],
                stderr=stream,
                stdout=stream,
                env={**os.environ, **(env or {})},
            )
        server = Server(process, port, log)
        servers.append(server)
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection((host, port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.02)
        else:
            pytest.fail(f"the server did not start:\n{log.read_text()}")
        return server

    yield start
    for server in servers:
        end(server.process)
        print(f"--- {server.log.name}\n{server.log.read_text()}")


@pytest.fixture
def server(serve):
    """A server with nothing special."""
    return serve()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("PANOPTES_CONFIG_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PANDIR", str(tmp_path))
