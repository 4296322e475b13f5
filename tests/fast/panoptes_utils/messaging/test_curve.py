"""Encryption, and only clients whose key is known."""

import stat

import pytest
import zmq
from processes import until

from panoptes_utils.messaging import PanMessaging
from panoptes_utils.messaging.health import check


class TestCurve:
    """Encryption, and only clients whose key is known."""

    @pytest.fixture
    def keys(self, tmp_path, command):
        if not zmq.has("curve"):
            pytest.skip("this libzmq has no CURVE")
        done = command("keys", tmp_path / "keys", "--client", "dome")
        assert done.returncode == 0, done.stderr
        return tmp_path / "keys"

    def test_keys_are_made_once_and_secret_ones_are_private(self, keys, command):
        secret = sorted(path.name for path in keys.glob("*.key_secret"))
        assert secret == ["dome.key_secret", "health.key_secret", "server.key_secret"]
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in keys.glob("*.key_secret"))
        assert sorted(path.name for path in (keys / "clients").iterdir()) == ["dome.key", "health.key"]
        before = (keys / "server.key_secret").read_bytes()
        assert command("keys", keys).stdout == ""
        assert (keys / "server.key_secret").read_bytes() == before
        assert command("keys", keys, "--client", "../x").returncode == 1

    def test_only_known_clients_are_heard(self, keys, start, command):
        from panoptes_utils.messaging.curve import ClientKeys, make_keys

        hub = start("--curve-keys", keys, "--host", "127.0.0.1")
        assert check(hub.pairs, timeout=0.5) == hub.pairs
        assert check(hub.pairs, curve=ClientKeys(keys, "dome")) == []
        assert command("health", "--pair", hub.in_port, hub.out_port, "--curve-keys", keys).returncode == 0
        make_keys(keys.parent / "strangers", ["dome"])
        (keys.parent / "strangers" / "server.key").write_bytes((keys / "server.key").read_bytes())
        stranger = ClientKeys(keys.parent / "strangers", "dome")
        assert check(hub.pairs, timeout=0.5, curve=stranger) == hub.pairs
        with PanMessaging.create_subscriber(hub.out_port, curve=ClientKeys(keys, "dome")) as sub, \
                PanMessaging.create_publisher(hub.in_port, curve=ClientKeys(keys, "dome")) as pub:  # fmt: skip
            until(lambda: (pub.send_message("a", {}), sub.receive_message(timeout_ms=20)[0])[1])
        assert hub.stop() == 0

    def test_an_address_of_another_machine(self, keys, command, free_ports):
        done = command("--host", "192.0.2.1", "--curve-keys", keys, "--pair", *free_ports(2))
        assert done.returncode == 1
        assert "cannot listen on 192.0.2.1 port" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def test_a_file_that_holds_no_key_is_refused(self, keys, command, free_ports):
        (keys / "server.key_secret").write_text("nothing\n")
        done = command("--pair", *free_ports(2), "--curve-keys", keys)
        assert done.returncode == 1
        assert "server.key_secret holds no key" in done.stderr

    def test_a_secret_that_others_can_read_is_refused(self, keys, command, free_ports):
        (keys / "server.key_secret").chmod(0o644)
        done = command("--pair", *free_ports(2), "--curve-keys", keys)
        assert done.returncode == 1
        assert "chmod 600" in done.stderr
