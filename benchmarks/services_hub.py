"""Figures of the messaging hub beside a bare `zmq_proxy`."""

import statistics
import time

import zmq
from services_processes import HUB, Process, at, free_port, say

BARE = (
    "import sys, zmq; c = zmq.Context(); f, b = c.socket(zmq.XSUB), c.socket(zmq.XPUB);"
    "f.bind('tcp://127.0.0.1:' + sys.argv[1]); b.bind('tcp://127.0.0.1:' + sys.argv[2]); zmq.proxy(f, b)"
)
TURNS = 4


class Traffic:
    """A publisher and subscribers of one forwarder, with a bounded number of messages on their way."""

    def __init__(self, in_port, out_port, subscribers):
        self._context = zmq.Context()
        self._publisher = self._context.socket(zmq.PUB)
        # No mark at this end: a publisher that is told late how much was taken would drop messages itself.
        self._publisher.set_hwm(0)
        self._publisher.connect(f"tcp://127.0.0.1:{in_port}")
        self._subscribers, self._poller = [], zmq.Poller()
        for _ in range(subscribers):
            one = self._context.socket(zmq.SUB)
            one.subscribe(b"")
            one.set_hwm(0)
            one.setsockopt(zmq.RCVTIMEO, 5000)
            one.connect(f"tcp://127.0.0.1:{out_port}")
            self._subscribers.append(one)
        for one in self._subscribers:
            while not one.poll(10):
                self._publisher.send(b"hello")
        time.sleep(0.1)
        for one in self._subscribers:
            while one.poll(50):
                one.recv()

    def throughput(self, size, seconds):
        """Messages a second that every subscriber got, and how many were sent."""
        message, window = b"T " + b"x" * (size - 2), 4 if size > 100_000 else 200
        sent = got = 0
        begin = time.perf_counter()
        while time.perf_counter() < begin + seconds:
            while sent < got + window:
                self._publisher.send(message, copy=False)
                sent += 1
            # Half the window is awaited at once, so that neither side waits for the other all the time.
            for one in self._subscribers:
                for _ in range(window // 2):
                    one.recv(copy=False)
            got += window // 2
        elapsed = time.perf_counter() - begin
        for one in self._subscribers:
            for _ in range(sent - got):
                one.recv()
        return got / elapsed, sent

    def latencies(self, size, count):
        """Times in ms until a message has reached every subscriber."""
        message, times = b"T " + b"x" * (size - 2), []
        for _ in range(count):
            begin = time.perf_counter()
            self._publisher.send(message, copy=False)
            for one in self._subscribers:
                one.recv(copy=False)
            times.append((time.perf_counter() - begin) * 1000)
        return times

    def close(self):
        self._context.destroy(linger=0)


def hub_figures(rounds, seconds):
    """Every round has processes of its own: one bare proxy can be a third slower than another, all its life."""
    rows = []
    for size, named in ((100, "100 B"), (1000, "1 kB"), (1_000_000, "1 MB")):
        for subscribers in (1, 20):
            say(f"hub: {named}, {subscribers} subscribers")
            rates, slow, cost = ([], []), [[], []], [0.0, 0.0]
            for _ in range(rounds):
                ports = [free_port() for _ in range(4)]
                with (
                    Process(HUB, "--pair", *ports[:2], port=ports[0]) as hub,
                    Process(BARE, *ports[2:], port=ports[2]) as proxy,
                ):
                    ends = [Traffic(*ports[:2], subscribers), Traffic(*ports[2:], subscribers)]
                    for turn in range(TURNS):
                        # Alternately first and second, so that a busy moment of the machine hits both.
                        for which in (0, 1) if turn % 2 else (1, 0):
                            before = (hub, proxy)[which].cpu_seconds()
                            rate, sent = ends[which].throughput(size, seconds)
                            rates[which].append(rate)
                            used = (hub, proxy)[which].cpu_seconds() - before
                            cost[which] += used / sent * 1e6 / rounds / TURNS
                            slow[which] += ends[which].latencies(size, 10 if size > 100_000 else 50)
                    for one in ends:
                        one.close()
            ours, bare = statistics.median(rates[0]), statistics.median(rates[1])
            delays = [at(sorted(times), 0.99) for times in slow]
            rows.append(
                (f"Hub, {named}, {subscribers} subscriber{'s' if subscribers > 1 else ''}",
                 f"{ours:,.0f}/s, p99 {delays[0]:.2f} ms, CPU {cost[0]:.1f} µs",
                 f"{bare:,.0f}/s, p99 {delays[1]:.2f} ms, CPU {cost[1]:.1f} µs",
                 f"{ours / bare:.2f} ×, p99 {delays[1] / delays[0]:.2f} ×", "≥ 0.95 ×")
            )  # fmt: skip
    return rows
