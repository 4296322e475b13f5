"""What a hub tells of itself: messages, bytes, connections, losses."""

import json
import subprocess
import sys
from pathlib import Path

import zmq
from processes import until

from panoptes_utils.messaging import PanMessaging
from panoptes_utils.messaging.monitor import read_stats


def pair_stats(hub, number=0):
    return read_stats(hub.pairs[0])["pairs"][number]


def test_a_slow_subscriber_loses_its_own_messages_and_they_are_counted(start):
    hub = start("--high-water-mark", 500)
    context = zmq.Context()
    fast, slow, pub = (context.socket(kind) for kind in (zmq.SUB, zmq.SUB, zmq.PUB))
    for sub in (fast, slow):
        sub.subscribe(b"")
        sub.set_hwm(0 if sub is fast else 10)
    slow.setsockopt(zmq.RCVBUF, 32768)
    fast.connect(f"tcp://127.0.0.1:{hub.out_port}")
    slow.connect(f"tcp://127.0.0.1:{hub.out_port}")
    pub.set_hwm(0)
    pub.connect(f"tcp://127.0.0.1:{hub.in_port}")
    try:
        until(lambda: (pub.send(b"T 0"), fast.poll(20) and slow.poll(20))[1])
        until(lambda: (pair_stats(hub)["publishers"], pair_stats(hub)["subscribers"]) == (1, 2))
        sent = 30_000
        received = 0
        for number in range(sent):
            pub.send(b"T " + b"x" * 1000)
            # Paced by the subscriber that keeps up: what it misses is the hub's fault alone.
            while fast.poll(0) or received < number - 100:
                received += fast.recv() != b"T 0"
        while received < sent and fast.poll(5000):
            received += fast.recv() != b"T 0"
        assert received == sent
        until(lambda: pair_stats(hub)["lost_estimate"] > sent / 2)
        # The slow one wakes up, gets what was kept for it, and the estimate becomes the count.
        kept = []

        def awake():
            pub.send(b"T end")
            while slow.poll(20):
                kept.append(slow.recv())
            return kept and kept[-1] == b"T end"

        until(awake)
        kept = sum(len(message) > 1000 for message in kept)
        lost = sent - kept
        assert 0 < kept < sent / 2
        until(lambda: abs(pair_stats(hub)["lost_estimate"] - lost) < 0.1 * lost)
        stats = pair_stats(hub)
        assert len(stats["slow_subscribers"]) == 1
        assert "reads too slowly and loses messages" in hub.log.read_text()
        status = Path(f"/proc/{hub.process.pid}/status").read_text()
        assert int(status.split("VmRSS:")[1].split()[0]) < 60_000, "a slow subscriber must not fill the memory"
    finally:
        context.destroy(linger=0)


def test_statistics_count_messages_bytes_and_who_is_connected(hub, command):
    with PanMessaging.create_subscriber(hub.out_port) as sub, PanMessaging.create_publisher(hub.in_port) as pub:
        until(lambda: (pub.send_message("POCS", {}), sub.receive_message(timeout_ms=20)[0])[1])
        before = pair_stats(hub)
        for number in range(100):
            pub.send_message("weather:rain" if number % 2 else "POCS", {"number": number})
        after = until(lambda: (pair_stats(hub), pair_stats(hub)["messages"] >= before["messages"] + 100)[1] and
                      pair_stats(hub))  # fmt: skip
        assert after["bytes"] > before["bytes"] + 100 * len('POCS {"number": 1}')
        assert (after["publishers"], after["subscribers"], after["lost_estimate"]) == (1, 1, 0)
        feeder = subprocess.Popen(
            [sys.executable, "-c",
             "import time; from panoptes_utils.messaging import PanMessaging as P\n"
             f"p = P.create_publisher({hub.in_port})\n"
             "while True: p.send_message('weather:rain', {}); p.send_message('POCS', {}); time.sleep(0.01)"]
        )  # fmt: skip
        try:
            until(lambda: pair_stats(hub)["publishers"] == 2)
            done = command("--pair", hub.in_port, hub.out_port, "stats", "--json", "--seconds", "1")
            topics = json.loads(done.stdout)["pairs"][0]["topics"]
            assert {"weather", "POCS"} <= set(topics)
            assert topics["weather"]["messages_per_second"] > 5
            table = command(
                "--pair", hub.in_port, hub.out_port, "stats", "--seconds", "0.3", env={"COLUMNS": "120"}
            ).stdout
            assert f"{hub.in_port}→{hub.out_port}" in table
            assert "weather" in table
        finally:
            feeder.kill()
            feeder.wait()
    until(lambda: pair_stats(hub)["subscribers"] == 0)


def test_many_connections_come_and_go(hub):
    for _ in range(60):
        PanMessaging.create_publisher(hub.in_port).close()
        PanMessaging.create_subscriber(hub.out_port).close()
    until(lambda: (pair_stats(hub)["publishers"], pair_stats(hub)["subscribers"]) == (0, 0))
    until(lambda: len(list(Path(f"/proc/{hub.process.pid}/fd").iterdir())) < 60)
    assert (pair_stats(hub)["too_long"], pair_stats(hub)["lost_estimate"]) == (0, 0)
