"""How much memory and how many connections a hub may take, and who is to blame where it would take more.

libzmq bounds a connection's queue in messages, not in bytes; it bounds neither subscriptions nor connections nor the
parts of one message. So the hub looks at its own memory many times a second, which costs the data path nothing, and
where it is too much cuts off whoever is the cause. Whoever is cut off connects again and has lost what waited for it.
"""

import os
import time
from contextlib import suppress
from typing import Dict, List, Sequence, Tuple

from panoptes_utils.messaging.loss import Connection

WATCH_SECONDS = 0.02
MAX_CONNECTIONS = 256
# Subscriptions take about 64 times their length: each letter is a node of a tree.
TREE = 64
MAX_ASKED = 32 * 1024
MAX_ASKED_IN_ALL = 256 * 1024
# Memory above that of an idle hub (20 MB) from which on somebody is cut off. What comes in until that takes effect
# comes on top.
ROOM = 48 * 1024 * 1024
# Less than this waits for a connection that is well, even where messages are long.
MUCH = ROOM // 4
# Until libzmq has given back what it kept for those that were cut off; blaming sooner would hit the next best.
EFFECT_SECONDS = 0.1
# Bytes of ZMTP's greeting: who has sent no more has not even said what it is.
GREETING = 64

Blame = Tuple[Connection, str]
Pair = Tuple[Sequence[Connection], Sequence[Connection]]


class Bounds:
    """The watch over the memory of this process."""

    def __init__(self) -> None:
        self._page = os.sysconf("SC_PAGE_SIZE")
        # Open for the life of the process.
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._idle = 0
        self._looked = self._blamed = time.monotonic()
        self._over = False

    def start(self) -> None:
        """Take the memory of now as that of an idle hub."""
        self._idle = self._resident()

    def exceeded(self) -> bool:
        """Whether the process takes too much memory, even after giving back what it does not use."""
        self._over = False
        if self._resident() > self._idle + ROOM:
            _give_back()
            self._over = self._resident() > self._idle + ROOM
        return self._over

    def to_blame(self, pairs: Sequence[Pair]) -> Dict[Connection, str]:
        """Who has to be cut off now, and why.

        Args:
            pairs: publishers and subscribers of each pair.
        """
        now = time.monotonic()
        elapsed, self._looked = now - self._looked, now
        for publishers, subscribers in pairs:
            came = sum(one.look(elapsed) for one in publishers)
            for one in subscribers:
                one.look(elapsed, came)
        everybody_in = [one for publishers, _ in pairs for one in publishers]
        everybody_out = [one for _, subscribers in pairs for one in subscribers]
        blamed = _too_many([*everybody_in, *everybody_out]) + _too_greedy(everybody_out)
        if self._over and not blamed and now > self._blamed + EFFECT_SECONDS:
            blamed = _holders(everybody_in, everybody_out)
        elif self._resident() < self._idle + ROOM // 2:
            # Nothing piles up: what publishers have sent so far was passed on.
            for one in everybody_in:
                one.unpassed = 0
        if blamed:
            self._blamed = now
        return dict(blamed)

    def _resident(self) -> int:
        return int(os.pread(self._statm, 200, 0).split()[1]) * self._page


def _too_many(everybody: Sequence[Connection]) -> List[Blame]:
    over = len(everybody) - MAX_CONNECTIONS
    if over <= 0:
        return []
    idle = sorted(everybody, key=lambda one: (one.sent_us > GREETING, -one.idle_ms))
    return [(one, "was idle the longest of too many connections") for one in idle[:over]]


def _too_greedy(subscribers: Sequence[Connection]) -> List[Blame]:
    blamed, total = [], sum(one.asked for one in subscribers)
    for one in sorted(subscribers, key=lambda one: -one.asked):
        if one.asked > MAX_ASKED or total > MAX_ASKED_IN_ALL:
            blamed.append((one, "subscribed to too much"))
            total -= one.asked
    return blamed


def _holders(publishers: Sequence[Connection], subscribers: Sequence[Connection]) -> List[Blame]:
    """For whom the hub keeps the most.

    Of a publisher only the most is known that may be kept. So it is to blame where no subscriber is. Who keeps half as
    much as the worst goes too: subscribers share messages, and one of them alone would free none.
    """
    held = [
        *((one, one.unread, "reads too slowly what it asked for") for one in subscribers),
        *((one, one.sent_us * TREE, "subscribed to too much") for one in subscribers),
    ]
    sent = [(one, one.unpassed, "sent more than the hub could pass on") for one in publishers]
    for several, least in ((held, MUCH), (sent, MUCH), ([*held, *sent], 1)):
        most = max((size for _, size, _ in several), default=0)
        if most >= least:
            return [(one, why) for one, size, why in several if size > most / 2]
    return []


def _give_back() -> None:
    """Give memory that malloc keeps for later back to the kernel."""
    # Here: a hub that never has much memory does not load it.
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
