"""The config server over HTTP: answers, refusals, and who may do what."""

import json
import os
import re
import signal
import socket
import stat
import threading
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime

import pytest
from free_ports import free_ports

from panoptes_utils.config import config_server
from panoptes_utils.config.client import get_config, server_is_running, set_config

COMMAND_BODY = {"key": "location.latitude"}


def test_reading(server):
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


def test_writing_and_resetting(server, unit):
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


def test_heartbeat(server):
    assert server.ask("/heartbeat")[:2] == (200, True)
    assert server.ask("/heartbeat", {"key": None})[:2] == (200, True)
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


def test_dns_rebinding_is_refused(server):
    for host in ("evil.example", "evil.example:6563", "127.0.0.1.evil.example", "localhost.evil"):
        status, answer, _ = server.ask("/get-config", {"key": "name"}, headers={"Host": host})
        assert status == 421
        assert "not called" in answer["msg"]


def test_own_names_and_addresses_are_served(server):
    for host in ("localhost", "127.0.0.1:80", "[::1]:6563", "192.168.1.5", socket.gethostname()):
        assert server.ask("/get-config", {"key": "name"}, headers={"Host": host})[0] == 200


def test_a_further_name_on_request(serve):
    server = serve("--allow-host", "roof.example.org")
    assert server.ask("/heartbeat", headers={"Host": "roof.example.org"})[0] == 200


def test_a_page_of_another_origin_cannot_write(server):
    own = f"127.0.0.1:{server.port}"
    for headers, status in [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": f"http://127.0.0.1:{server.port + 1}"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Origin": f"http://{own}", "Sec-Fetch-Site": "same-origin"}, 200),
    ]:
        assert server.ask("/set-config", {"name": "x"}, headers=headers)[0] == status, headers
        assert server.ask("/reset-config", {"reset": True}, headers=headers)[0] == status, headers
    preflight = server.ask("/set-config", method="OPTIONS", headers={"Origin": "http://evil.example"})
    assert preflight[0] == 405
    assert "access-control-allow-origin" not in preflight[2]


def test_public_writes_need_the_token(serve, unit, monkeypatch):
    server = serve("--public")
    path = unit.parent / ".config-server.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = path.read_text().strip()
    assert token not in server.log.read_text()
    assert server.ask("/get-config", {"key": "name"})[:2] == (200, "Roof Unit")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {token}"}):
        status, _, fields = server.ask("/set-config", {"name": "x"}, headers=headers)
        assert status == 401
        assert fields["www-authenticate"].startswith("Bearer")
    assert server.ask("/reset-config", {"reset": True})[0] == 401
    assert server.ask("/set-config", {"name": "x"}, headers={"Authorization": f"Bearer {token}"})[0] == 200
    # The Python client finds the token of its own unit by itself.
    assert set_config("name", "y", port=server.port) == {"name": "y"}
    monkeypatch.setenv("PANOPTES_CONFIG_TOKEN_FILE", "/nowhere")
    assert set_config("name", "z", port=server.port) is None


@pytest.mark.parametrize(("content", "mode", "says"), [("t" * 20, 0o644, "chmod 600"), ("short", 0o600, "no token")])
def test_a_token_file_that_gives_no_safety_is_refused(command, unit, free_port, content, mode, says):
    path = unit.parent / "token"
    path.write_text(content)
    path.chmod(mode)
    done = command("--port", free_port, "run", "--config-file", unit, "--public", "--token-file", path)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert content not in done.stderr


def test_a_token_file_that_is_not_there_is_refused(command, unit, free_port):
    missing = unit.parent / "token"
    done = command("--port", free_port, "run", "--config-file", unit, "--public", "--token-file", missing)
    assert done.returncode == 1
    assert f"cannot read the token file {missing}" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into read-only folders")
def test_a_folder_that_takes_no_token_is_named(command, unit, free_port):
    unit.parent.chmod(0o555)
    try:
        done = command("--port", free_port, "run", "--config-file", unit, "--public")
    finally:
        unit.parent.chmod(0o755)
    assert done.returncode == 1
    assert f"cannot make the token file {unit.parent}" in done.stderr


def test_loopback_only_unless_asked(server):
    address = next((a[4][0] for a in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
                    if not a[4][0].startswith("127.")), None)  # fmt: skip
    if address is None:
        pytest.skip("this machine has no other address than loopback")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, server.port), timeout=5)


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


def test_status_tells_unit_and_release(serve):
    image = "registry.example/panoptes-utils@sha256:" + "a" * 64
    server = serve("--hub-port", str(free_ports(1)[0]),
                   env={"PANOPTES_RELEASE_TAG": "latest", "PANOPTES_UTILS_IMAGE": image})  # fmt: skip
    status = server.ask("/status")[1]
    assert (status["name"], status["pan_id"]) == ("Roof Unit", "PAN042")
    assert (status["release"], status["image"]) == ("latest", image)
    assert status["hub"]["state"] == "down"


@pytest.fixture
def hub_port():
    """The first port of a hub's pair; the hub's place for those who ask is free."""
    pytest.importorskip("zmq")
    return free_ports(1)[0]


def test_status_tells_what_the_hub_says(serve, hub_port):
    from panoptes_utils.messaging.hub import Hub

    server = serve("--hub-port", str(hub_port))
    hub = Hub([(hub_port, hub_port + 1)])
    thread = threading.Thread(target=hub.run)
    thread.start()
    try:
        told = server.ask("/status")[1]["hub"]
        assert (told["state"], told["pairs"][0]["sub"]) == ("up", hub_port)
    finally:
        hub.stop()
        thread.join()
    assert server.ask("/status")[1]["hub"] == {"state": "down", "reason": f"no hub with port {hub_port} is running"}


def test_status_does_not_wait_for_a_hub_that_hangs(serve, hub_port):
    from panoptes_utils.messaging.watch import stats_address

    server = serve("--hub-port", str(hub_port))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(stats_address((hub_port, hub_port + 1)))
        silent.listen()
        assert server.ask("/status")[1]["hub"] == {"state": "down", "reason": "no answer within 1 s"}


def test_a_request_without_a_host_is_refused(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(b"GET /get-config HTTP/1.0\r\n\r\n")
        answer = b""
        while part := raw.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"no Host header" in answer


def test_headers_that_browsers_obey(server):
    for path in ("/", "/get-config", "/nothing"):
        fields = server.ask(path)[2]
        assert fields["x-content-type-options"] == "nosniff"
        assert fields["cache-control"] == "no-store"
    assert "default-src 'none'" in server.ask("/")[2]["content-security-policy"]


def test_started_from_python(unit, free_port):
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


def test_connections_stay_open(server):
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
