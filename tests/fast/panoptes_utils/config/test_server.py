"""The config server over HTTP: answers, refusals, start and end."""

import json
import os
import re
import signal
import socket
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime

import pytest
from free_ports import free_ports
from processes import until

from panoptes_utils.config import config_server
from panoptes_utils.config.client import get_config, server_is_running, set_config

COMMAND_BODY = {"key": "location.latitude"}


def test_values_are_read_by_body_query_and_whole(server):
    assert server.ask("/get-config", {"key": "location.latitude"})[:2] == (200, "19.54 deg")
    assert server.ask("/get-config", {"key": "cameras.devices[1].model"})[:2] == (200, "zwo")
    assert server.ask("/get-config", {"key": "cameras.devices[7].model"})[:2] == (200, None)
    assert server.ask("/get-config", {"key": "no.such.key"})[:2] == (200, None)
    assert server.ask("/get-config?key=name")[:2] == (200, "Roof Unit")
    assert server.ask("/get-config", {"key": "name"}, method="GET")[:2] == (200, "Roof Unit")
    everything = server.ask("/get-config", {"key": None})[1]
    assert everything == server.ask("/get-config")[1]
    assert everything["directories"] == {"base": "/var/panoptes", "images": "/var/panoptes/images"}
    assert everything["config_server"] == {"running": True}


def test_answers_tell_what_time_the_server_thinks_it_is(server):
    date = parsedate_to_datetime(server.ask("/heartbeat")[2]["Date"])
    assert abs(date.timestamp() - time.time()) < 60, "a unit tells by this whether its containers live in another time"


def test_changes_are_saved_and_a_reset_reads_the_files_again(server, unit):
    changes = {"brand.new.key": [1], "name": "x"}
    assert server.ask("/set-config", changes)[:2] == (200, changes)
    assert server.ask("/get-config", {"key": "brand"})[1] == {"new": {"key": [1]}}
    assert server.ask("/set-config", {"name": "y"}, method="GET")[:2] == (200, {"name": "y"})
    assert unit.with_name("pocs_local.yaml").read_text() == "brand:\n  new:\n    key:\n    - 1\nname: y\n"
    unit.with_name("pocs_local.yaml").write_text("name: z\n")
    status, answer, _ = server.ask("/reset-config", {"reset": True})
    assert (status, answer["success"]) == (200, True)
    assert server.ask("/get-config", {"key": "name"})[1] == "z"


def test_no_save_local_keeps_the_disk_as_it_is(serve, unit):
    server = serve("--no-save")
    server.ask("/set-config", {"name": "x"})
    assert server.ask("/get-config", {"key": "name"})[1] == "x"
    assert [entry.name for entry in unit.parent.iterdir()] == ["pocs.yaml"]


def test_heartbeat_tells_whether_a_value_is_true(server):
    assert server.ask("/heartbeat")[:2] == (200, True)
    assert server.ask("/heartbeat", {"key": None})[:2] == (200, True)
    assert server.ask("/heartbeat", {})[:2] == (200, True)
    assert server.ask("/heartbeat", {"key": "simulator"})[:2] == (200, False)
    assert server.ask("/heartbeat", {"key": "name"})[:2] == (200, True)


def test_stop_by_a_client_and_by_a_signal(serve):
    server = serve()
    assert server.ask("/set-config", {"config_server.running": False})[0] == 200
    assert server.process.wait(timeout=10) == 0
    server = serve()
    assert server.ask("/get-config", {"key": "config_server.running"})[1] is True
    assert server.stop(signal.SIGTERM) == 0
    assert serve().stop(signal.SIGINT) == 0


BAD_INPUT = [
    ("/get-config", b"{", 400, "not JSON"),
    ("/get-config", b"\xff", 400, "not UTF-8"),
    ("/get-config", b"[" * 100000, 400, "JSON|nested"),
    ("/get-config", {}, 400, '"key"'),
    ("/get-config", [1], 400, '"key"'),
    ("/get-config?" + "&".join("abcdefghij"), None, 400, "query"),
    ("/get-config", {"key": 5}, 400, "not int"),
    ("/set-config", b"", 400, "not JSON"),
    ("/set-config", b"{", 400, "not JSON"),
    ("/set-config", [1], 400, "object of keys"),
    ("/set-config", b'{"a": NaN}', 400, "NaN"),
    ("/set-config", b'{"a": 1e999}', 400, "too large"),
    ("/set-config", b'{"a": ' + b"9" * 5000 + b"}", 400, "not JSON"),
    ("/set-config", {"a" * 600: 1}, 422, "600 characters"),
    ("/set-config", {".".join("a" * 40): 1}, 422, "40 levels"),
    ("/set-config", {"a..b": 1}, 422, "malformed"),
    ("/set-config", b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}", 422, "a: the value has more than 32 levels"),
    ("/set-config", {"name.first": 1}, 409, "'name' is a value"),
    ("/set-config", {"location.latitude": "95 deg"}, 422, "location.latitude.*-90 to 90"),
    ("/set-config", b'{"a": "\\ud800"}', 422, "no character"),
    ("/set-config", b'{"a": "' + b"x" * 300_000 + b'"}', 413, "longer than"),
    ("/reset-config", {"reset": "yes"}, 400, '"reset": true'),
    ("/nothing", None, 404, "/openapi.json"),
    ("/reset-config", None, 405, "POST"),
]


def test_bad_input_is_named_and_the_server_lives(server):
    for path, body, status, says in BAD_INPUT:
        answered, answer, _ = server.ask(path, body)
        assert (answered, answer["success"]) == (status, False), f"{path} {str(body)[:100]}: {answer}"
        assert re.search(says, answer["msg"]), answer["msg"]
        assert server.ask("/get-config", {"key": "name"})[1] == "Roof Unit"


def test_a_body_of_unknown_length_is_bounded_too(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(b"POST /get-config HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
        try:
            for _ in range(20):
                raw.sendall(chunk)
        except OSError:
            pass
        assert raw.recv(64).startswith(b"HTTP/1.1 413")


def test_garbage_and_long_heads_are_cut_off(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert raw.recv(64).startswith(b"HTTP/1.1 400")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n")
        try:
            for _ in range(40):
                raw.sendall(b"X-Filler: " + b"x" * 1000 + b"\r\n")
            assert raw.recv(64).startswith(b"HTTP/1.1 431")
        except ConnectionError:
            pass
    assert server.ask("/heartbeat")[1] is True


def test_a_client_that_sends_no_whole_request_is_cut_off(serve):
    server = serve(before="import panoptes_utils.config.server as s; s.REQUEST_SECONDS = 0.4; ")
    for start in (b"", b"GET / HT", b"POST /get-config HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            raw.sendall(start)
            with suppress(ConnectionResetError):
                assert raw.recv(64) == b""
    assert server.ask("/heartbeat")[1] is True


def test_writes_are_bounded_in_rate(server):
    statuses = {server.ask("/set-config", {})[0] for _ in range(600)}
    if 429 not in statuses:
        pytest.skip("this machine is too slow to write more often than is allowed")
    assert server.ask("/get-config", {"key": "name"})[0] == 200


def test_port_taken_names_the_holder(server, command, unit):
    done = command("--port", server.port, "run", "--config-file", unit)
    assert done.returncode == 1
    assert f"port {server.port} is taken by python" in done.stderr
    assert f"(process {server.process.pid})" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot read"), (b"a: [1", "line 1"), (b"- x", "not 'key: value' lines"), (b"\xff\xfe", "UTF-8")],
)
def test_a_bad_file_ends_the_start_with_one_line(command, tmp_path, free_port, content, says):
    path = tmp_path / "bad.yaml"
    if content is not None:
        path.write_bytes(content)
    done = command("--port", free_port, "run", "--config-file", path)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_damaged_local_file_does_not_stop_the_start(serve, unit):
    local = unit.with_name("pocs_local.yaml")
    serve().ask("/set-config", {"name": "Kept"})
    local.write_bytes(b"\x00" * 100)
    server = serve(port=free_ports(1)[0])
    assert server.ask("/get-config", {"key": "name"})[1] == "Kept"
    assert "last good copy" in server.log.read_text()


def test_an_invalid_file_is_served_with_a_warning(serve, unit):
    unit.write_text(unit.read_text().replace("19.54 deg", "190 deg"))
    assert "WARNING: pocs.yaml: location.latitude: '190 deg' is invalid" in serve().log.read_text()


def test_server_started_from_python_serves_and_ends_with_its_process(unit, free_port):
    process = config_server(unit, port=free_port)
    try:
        assert server_is_running(port=free_port)
        assert get_config("name", port=free_port) == "Roof Unit"
        assert set_config("name", "x", port=free_port) == {"name": "x"}
    finally:
        process.terminate()
        process.join(5)
    assert process.exitcode == 0
    assert not unit.with_name("pocs_local.yaml").exists()


@pytest.mark.parametrize("end", ["terminate", "kill", "stop"])
def test_a_server_that_was_ended_can_be_started_again_at_once(unit, free_port, end):
    servers = []
    for _ in range(4):
        process = config_server(unit, port=free_port)
        servers.append(process)
        assert get_config("name", port=free_port) == "Roof Unit"
        if end == "stop":
            set_config("config_server.running", False, port=free_port)
        else:
            getattr(process, end)()
    for process in servers:
        process.join(10)
        assert process.exitcode is not None


def test_a_command_that_was_ended_can_be_started_again_at_once(serve):
    first = serve()
    first.process.terminate()
    second = serve()
    assert first.process.wait(10) == 0
    assert until(lambda: get_config("name", port=second.port)) == "Roof Unit"
    assert second.process.poll() is None


def test_connection_stays_open_for_several_requests(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        body = json.dumps(COMMAND_BODY).encode()
        request = b"POST /get-config HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        raw.sendall(request * 3)
        answers = b""
        while answers.count(b'"19.54 deg"') < 3:
            part = raw.recv(65536)
            assert part, answers
            answers += part


def test_needs_no_home_and_no_writable_place_but_its_own(serve):
    server = serve(env={"HOME": "/nonexistent", "TMPDIR": "/nonexistent"})
    assert server.ask("/heartbeat")[1] is True
    assert os.path.exists(server.log)  # noqa: PTH110
