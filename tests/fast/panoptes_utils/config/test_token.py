"""Where the client sends the unit's token: to this machine, or into a network that was named, and nowhere else."""

import ipaddress
import os
import socket
import threading
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptes_utils.config import client
from panoptes_utils.config.client import get_config, set_config

TOKEN = "t" * 32


class FakeServer:
    """Answers every request alike and keeps what it was sent."""

    def __init__(self, answer):
        self.answer, self.heard = answer, b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.heard += connection.recv(65536)
                connection.sendall(self.answer)


@pytest.fixture
def token(unit):
    path = unit.parent / ".config-server.token"
    path.write_text(TOKEN)
    path.chmod(0o600)
    return path


@pytest.fixture
def hear():
    """Start a server that keeps what it hears."""
    servers = []

    def start(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"):
        servers.append(FakeServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.listener.close()


@pytest.fixture
def far(monkeypatch):
    """Connections look as if the server were at an address of another machine."""

    class Far:
        def __init__(self, real, address):
            self._real, self._address = real, address

        def getpeername(self):
            return (self._address, 6563)

        def getsockname(self):
            return ("192.0.2.200", 40000)

    real = client._may_have_token

    def look(address):
        monkeypatch.setattr(client, "_may_have_token", lambda connection: real(Far(connection, address)))

    return look


def test_the_own_machine_gets_the_token(hear, token):
    server = hear()
    set_config("name", "x", port=server.port)
    get_config("name", port=server.port)
    assert server.heard.count(TOKEN.encode()) == 2


@pytest.mark.parametrize(
    ("address", "networks", "sent"),
    [
        ("203.0.113.9", None, False),
        ("203.0.113.9", "10.8.0.0/24", False),
        ("10.8.0.7", "192.168.1.0/24 10.8.0.0/24", True),
        ("fd00::7", "10.8.0.0/24,fd00::/8", True),
        ("fe80::1%eth0", "fe80::/10", True),
        ("10.8.0.7", "no network", False),
        ("192.0.2.200", None, True),
    ],
)
def test_another_machine_gets_it_only_in_a_network_that_was_named(
    hear, token, far, monkeypatch, address, networks, sent
):
    if networks:
        monkeypatch.setenv("PANOPTES_CONFIG_TOKEN_NETWORKS", networks)
    far(address)
    server = hear()
    set_config("name", "x", port=server.port)
    get_config("name", port=server.port)
    assert (TOKEN.encode() in server.heard) is sent
    assert server.heard


class Line:
    """A connection to an address that this machine does not have."""

    def __init__(self, peer):
        self.peer = peer

    def getpeername(self):
        return (self.peer, 6563)

    def getsockname(self):
        return ("192.0.2.200", 40000)


NETWORKS = st.ip_addresses().flatmap(
    lambda address: st.integers(0, address.max_prefixlen).map(
        lambda bits: ipaddress.ip_network(f"{address}/{bits}", strict=False)
    )
)


@given(st.lists(NETWORKS, max_size=3), st.data())
def test_whatever_networks_are_named_the_token_goes_into_them_and_no_other(networks, data):
    inside = [st.ip_addresses(network=network) for network in networks]
    address = data.draw(st.one_of(st.ip_addresses(), *inside))
    near = str(address) in ("::1", "192.0.2.200") or str(address).startswith("127.")
    with mock.patch.dict(os.environ, {"PANOPTES_CONFIG_TOKEN_NETWORKS": " ".join(map(str, networks))}):
        assert client._may_have_token(Line(str(address))) is (near or any(address in each for each in networks))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(hear, token, status):
    other = hear()
    target = f"http://127.0.0.1:{other.port}/set-config".encode()
    server = hear(b"HTTP/1.1 %d Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, target))
    assert set_config("name", "x", port=server.port) is None
    assert other.heard == b""


def test_the_same_machine_finds_the_token_without_pandir(serve, monkeypatch, tmp_path):
    server = serve("--host", "0.0.0.0")
    monkeypatch.delenv("PANDIR")
    assert set_config("name", "found", port=server.port) == {"name": "found"}
    monkeypatch.setenv("PANDIR", str(tmp_path / "elsewhere"))
    assert set_config("name", "again", port=server.port) == {"name": "again"}


@pytest.mark.parametrize("named", ["/etc/passwd", "relative", "", "/nowhere", "\0", "/proc/self/environ", 5, None])
def test_a_server_that_names_another_file_gets_nothing_of_it(hear, named, tmp_path):
    import json

    body = json.dumps({"msg": "no", "token_file": named}).encode()
    server = hear(b"HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    assert set_config("name", "x", port=server.port) is None
    assert b"Authorization" not in server.heard


def test_a_private_file_is_not_sent_unless_it_is_called_as_tokens_are(hear, tmp_path):
    import json

    private = tmp_path / "private"
    private.write_text("p" * 40)
    private.chmod(0o600)
    body = json.dumps({"msg": "no", "token_file": str(private)}).encode()
    server = hear(b"HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    assert set_config("name", "x", port=server.port) is None
    assert b"pppp" not in server.heard
