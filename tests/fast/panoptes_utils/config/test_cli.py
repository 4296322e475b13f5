"""The command `panoptes-config-server` and its script."""

import json
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from panoptes_utils.config.health import check

SCRIPT = Path(__file__).parents[4] / "scripts" / "run_config_server.py"


@pytest.mark.parametrize("before", [True, False])
def test_values_are_read_and_set_and_the_server_stopped(server, command, before):
    port = ("--port", server.port)

    def run(*words):
        return command(*port, *words) if before else command(words[0], *port, *words[1:])

    assert run("get", "location.latitude").stdout == "19.54 deg\n"
    assert json.loads(run("get").stdout)["pan_id"] == "PAN042"
    assert run("get", "--key", "name").stdout == "Roof Unit\n"
    assert json.loads(run("set", "cameras.devices[1].model", "canon").stdout) == {"cameras.devices[1].model": "canon"}
    assert run("set", "x", '{"a": [1, 2.5]}').returncode == 0
    assert json.loads(run("get", "x").stdout) == {"a": [1, 2.5]}
    assert run("stop").returncode == 0
    assert server.process.wait(timeout=10) == 0


def test_absent_value_fails_with_its_key_or_gives_the_default(server, command):
    done = command("--port", server.port, "get", "nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no value at 'nothing'" in done.stderr
    assert command("--port", server.port, "get", "nothing", "--default", "5").stdout == "5\n"


def test_a_refused_change_says_why(server, command):
    done = command("--port", server.port, "set", "location.latitude", "95 deg")
    assert done.returncode == 1
    assert "location.latitude: '95 deg' is invalid: must be from -90 to 90 deg" in done.stderr


def test_health_fails_without_a_server_or_a_value(server, command, free_port):
    assert command("--port", server.port, "health").returncode == 0
    assert command("--port", server.port, "health", "--key", "location.latitude").returncode == 0
    done = command("--port", server.port, "health", "--key", "nothing")
    assert done.returncode == 1
    assert "no value for 'nothing'" in done.stderr
    server.stop()
    done = command("--port", server.port, "health", "--timeout", "0.5")
    assert done.returncode == 1
    assert "no answer from 127.0.0.1" in done.stderr


def test_health_waits_for_a_server_that_is_still_starting(serve, free_port):
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(check, "127.0.0.1", free_port, "name", 60)
        serve()
        assert asked.result() is None


def test_health_sees_a_server_that_hangs(serve, command):
    server = serve()
    server.process.send_signal(19)
    try:
        program = (
            "import sys, panoptes_utils.config.health as h;"
            f"sys.exit(h.check('127.0.0.1', {server.port}, timeout=0.5) is None)"
        )
        assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    finally:
        server.process.send_signal(18)


@pytest.mark.parametrize(
    ("answer", "says"),
    [(b"SSH-2.0-x\r\n", "answered nonsense"), (b"HTTP/1.1 503 Busy\r\n\r\n", "answered 503")],
)
def test_health_is_not_taken_in_by_another_program(command, answer, says):
    with socket.create_server(("127.0.0.1", 0)) as other:

        def serve():
            connection, _ = other.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        done = command("--port", other.getsockname()[1], "health")
        thread.join()
    assert done.returncode == 1
    assert says in done.stderr


def test_stopping_what_does_not_run(command, free_port):
    done = command("--port", free_port, "stop")
    assert done.returncode == 1
    assert "the server was not stopped" in done.stderr


@pytest.mark.parametrize("port", ["0", "65536", "x"])
def test_impossible_port_is_refused_with_its_number(command, port):
    done = command("--port", port, "get")
    assert done.returncode == 1
    assert f"--port {port}: not a TCP port" in done.stderr


def test_an_address_of_another_machine(command, unit, free_port):
    done = command("--host", "192.0.2.1", "--port", free_port, "run", "--config-file", unit)
    assert done.returncode == 1
    assert "cannot listen on 192.0.2.1" in done.stderr


def test_help_and_unknown_words(command):
    assert "--config-file" in command("run", "--help").stdout
    assert command().returncode == 2
    assert command("fly").returncode == 2


def test_the_script_takes_the_options_people_type(unit, free_port):
    process = subprocess.Popen(
        [sys.executable, SCRIPT, "--host", "127.0.0.1", "--port", str(free_port), "--config-file", unit, "--no-save"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert f"http://127.0.0.1:{free_port}" in process.stderr.readline()
    finally:
        process.terminate()
        assert process.wait(timeout=10) == 0
        process.stderr.close()


def test_the_server_loads_no_openssl_for_itself_and_its_health_check_little():
    program = (
        "import sys; before = set(sys.modules);"
        "import panoptes_utils.config.access, panoptes_utils.config.health, panoptes_utils.config.cli as cli;"
        "cli._parser().parse_args(['health']);"
        "heavy = {'hmac', 'secrets', 'hashlib', 'shutil', 'lzma', 'asyncio', 'loguru', 'ruamel'};"
        "loaded = heavy & (set(sys.modules) - before); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
