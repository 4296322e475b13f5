"""Who may ask the config server, and who may change what."""

import os
import socket
import stat

import pytest

from panoptes_utils.config.client import set_config


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
