"""An acknowledged change survives whatever ends the server."""

import http.client
import json
import os
import random
import signal
import subprocess
import threading
import time

import pytest

from panoptes_utils.config import config_server
from panoptes_utils.config.store import ConfigStore

# `make bench-services` does a thousand.
KILLS = int(os.environ.get("PANOPTES_TEST_KILLS", "60"))


def write_until_killed(port, acknowledged, name):
    """Count up under one key, over and over; remembers the last number that was acknowledged and sent."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    number = acknowledged.get(name, (0, 0))[1]
    try:
        while True:
            number += 1
            acknowledged[name] = (acknowledged.get(name, (0, 0))[0], number)
            body = json.dumps({f"counters.{name}": number, f"filler.{name}": "x" * random.randint(0, 1000)})
            connection.request("POST", "/set-config", body, {"Content-Type": "application/json"})
            if json.loads(connection.getresponse().read()).get(f"counters.{name}") == number:
                acknowledged[name] = (number, number)
            else:
                time.sleep(0.05)
    except (OSError, http.client.HTTPException):
        connection.close()


def test_kill_9_during_writes_loses_nothing_that_was_acknowledged(unit, free_port):
    acknowledged = {}
    for _ in range(KILLS):
        process = config_server(unit, port=free_port, save_local=True)
        writers = [
            # So many that most changes share their write with others.
            threading.Thread(target=write_until_killed, args=(free_port, acknowledged, name))
            for name in "abcdefgh"
        ]
        for writer in writers:
            writer.start()
        time.sleep(random.uniform(0.005, 0.08))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        for writer in writers:
            writer.join()
        # Reading sets a damaged file aside: there must be none.
        counters = ConfigStore(unit).get("counters") or {}
        assert not list(unit.parent.glob("*.damaged-*"))
        for name, (kept, sent) in acknowledged.items():
            found = counters.get(name, 0)
            assert kept <= found <= sent, f"{name}: {kept} was acknowledged, {found} found, {sent} sent"
    assert sum(kept for kept, _ in acknowledged.values()) > KILLS / 4


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_refuses_the_change_and_keeps_the_old_file(serve, unit, small_disk):
    path = small_disk / "pocs.yaml"
    path.write_text(unit.read_text())
    server = serve(path=path)
    try:
        assert server.ask("/set-config", {"name": "Kept"})[0] == 200
        with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="space"):
            while True:
                filler.write(b"x" * 4096)
        before = (small_disk / "pocs_local.yaml").read_bytes()
        status, answer, _ = server.ask("/set-config", {"name": "x" * 90, "notes": "y" * 20000})
        assert status == 507
        assert "No space left" in answer["msg"]
        assert server.ask("/get-config", {"key": "name"})[1] == "Kept"
        assert (small_disk / "pocs_local.yaml").read_bytes() == before
        (small_disk / "filler").unlink()
        assert server.ask("/set-config", {"name": "Room again"})[0] == 200
        assert ConfigStore(path).get("name") == "Room again"
    finally:
        server.stop()


def test_a_read_only_folder_refuses_the_change(serve, unit, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root writes into read-only folders")
    server = serve()
    unit.parent.chmod(0o555)
    try:
        status, answer, _ = server.ask("/set-config", {"name": "x"})
        assert status == 500
        assert "Permission denied" in answer["msg"]
        assert server.ask("/get-config", {"key": "name"})[1] == "Roof Unit"
    finally:
        unit.parent.chmod(0o755)
