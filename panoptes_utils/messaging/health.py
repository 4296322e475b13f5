"""Does a message go round through every hub pair?"""

import os
import time
from typing import Any, List, Optional, Sequence, Tuple

import zmq

from panoptes_utils.messaging.endpoint import endpoint

Pair = Tuple[int, int]


def check(
    pairs: Sequence[Pair], host: str = "127.0.0.1", timeout: float = 5.0, curve: Optional[Any] = None
) -> List[Pair]:
    """Send a message through every pair.

    Args:
        pairs: (in port, out port) of each pair.
        host: where the hub is.
        timeout: seconds to wait for all of them.
        curve: a `panoptes_utils.messaging.curve.ClientKeys` where the hub asks for keys.

    Returns:
        The pairs whose message did not arrive.
    """
    context = zmq.Context(io_threads=1)
    topic = b"HUB-HEALTH." + os.urandom(8).hex().encode()
    poller, waiting = zmq.Poller(), {}
    try:
        for pair in pairs:
            subscriber, publisher = context.socket(zmq.SUB), context.socket(zmq.PUB)
            for end, port in ((subscriber, pair[1]), (publisher, pair[0])):
                if curve is not None:
                    curve.apply(end)
                end.connect(endpoint(end, host, port))
            subscriber.setsockopt(zmq.SUBSCRIBE, topic)
            poller.register(subscriber, zmq.POLLIN)
            waiting[subscriber] = (pair, publisher)
        deadline = time.monotonic() + timeout
        while waiting and time.monotonic() < deadline:
            # A message sent before the subscription has travelled through the hub is lost: send again.
            for _, publisher in waiting.values():
                publisher.send(topic + b" {}")
            for subscriber, _ in poller.poll(20):
                waiting.pop(subscriber, None)
                poller.unregister(subscriber)
    finally:
        context.destroy(linger=0)
    return [pair for pair, _ in waiting.values()]
