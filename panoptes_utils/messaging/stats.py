"""Showing a hub's statistics."""

import time
from typing import Any, Dict

import zmq

from panoptes_utils.messaging.endpoint import endpoint


def sample(stats: Dict[str, Any], seconds: float, host: str = "127.0.0.1") -> None:
    """Count messages and bytes of each topic for a while, as a subscriber of everything, and add them to `stats`.

    The counting is in this process: only while somebody asks does a hub send the messages once more.

    Args:
        stats: of the hub.
        seconds: how long.
        host: where it listens.
    """
    context = zmq.Context()
    poller = zmq.Poller()
    counts: Dict[zmq.Socket, Dict[str, Any]] = {}
    for pair in stats["pairs"]:
        subscriber = context.socket(zmq.SUB)
        subscriber.setsockopt(zmq.SUBSCRIBE, b"")
        subscriber.connect(endpoint(subscriber, host, pair["pub"]))
        poller.register(subscriber, zmq.POLLIN)
        counts[subscriber] = {}
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        for subscriber, _ in poller.poll(int(max(1, (begin + seconds - time.monotonic()) * 1000))):
            seen = counts[subscriber]
            for _ in range(1000):
                try:
                    frame = subscriber.recv(zmq.NOBLOCK)
                except zmq.Again:
                    break
                # The first word of POCS:camera.1 is its prefix.
                topic = frame[:100].partition(b" ")[0].decode("ascii", "replace").partition(":")[0].partition(".")[0]
                entry = seen.setdefault(topic, [0, 0])
                entry[0] += 1
                entry[1] += len(frame)
    context.destroy(linger=0)
    for pair, seen in zip(stats["pairs"], counts.values()):
        pair["topics"] = {
            topic: {"messages_per_second": round(number / seconds, 1), "bytes_per_second": round(size / seconds, 1)}
            for topic, (number, size) in sorted(seen.items(), key=lambda entry: -entry[1][0])[:50]
        }


def show(stats: Dict[str, Any]) -> None:
    """Print the statistics as tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    columns = ("pair", "messages/s", "bytes/s", "messages", "publishers", "subscribers", "lost")
    table = Table(*columns, title="Messaging hub")
    for pair in stats["pairs"]:
        table.add_row(
            f"{pair['sub']}→{pair['pub']}",
            f"{pair['messages_per_second']:,}",
            f"{pair['bytes_per_second']:,}",
            f"{pair['messages']:,}",
            str(pair["publishers"]),
            str(pair["subscribers"]),
            f"{pair['lost_estimate']:,}",
        )
    console.print(table)
    topics = Table("pair", "topic", "messages/s", "bytes/s", title="Topics")
    for pair in stats["pairs"]:
        for topic, rate in pair.get("topics", {}).items():
            topics.add_row(
                f"{pair['sub']}→{pair['pub']}",
                topic,
                f"{rate['messages_per_second']:,}",
                f"{rate['bytes_per_second']:,}",
            )
    for pair in stats["pairs"]:
        for peer, lost in pair["slow_subscribers"].items():
            console.print(f"{peer} reads {pair['pub']} too slowly and lost about {lost:,} messages")
        if pair.get("too_long"):
            console.print(f"{pair['too_long']:,} messages to {pair['sub']} were longer than the hub takes, and lost")
        for cut in pair.get("last_cut", []):
            console.print(f"cut off from {pair['sub']}→{pair['pub']}: {cut}")
    if topics.row_count:
        console.print(topics)
