"""Changes that come while the disk is busy are written together, once it is free."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Optional, Tuple

from panoptes_utils.config.store import ConfigStore

# The pause after a group of several, as a share of the time that it took. Who was answered often comes again at once,
# and would else begin a group alone, behind which all the others wait.
_PAUSE = 1 / 3

_Group = List[Tuple[Dict[str, Any], "asyncio.Future[None]"]]


class Gatherer:
    """Hands clients' changes to a store, in the order in which they came.

    A change that comes while nothing is written is written at once. Those that come meanwhile are the next group,
    which costs the disk one write however many they are; each client is answered when its group is on the disk. Where
    several clients change things, the next group waits a little for those that were just answered.

    Args:
        store: what is changed. Nothing else may change it.
    """

    def __init__(self, store: ConfigStore):
        self._store = store
        # One thread: changes are serialised, and reading goes on while the disk is slow.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="config-writer")
        self._waiting: _Group = []
        self._writing = False
        self._began = 0.0
        self._pause: Optional[asyncio.TimerHandle] = None
        self._expected = 0

    @property
    def gathers(self) -> bool:
        """Whether changes wait: one more is written with them, and costs the disk nothing."""
        return bool(self._waiting)

    async def set(self, changes: Dict[str, Any]) -> None:
        """Make the changes, all or none; when this returns they are on the disk.

        Args:
            changes: dotted keys and plain JSON values.

        Raises:
            Refused, OSError: as `ConfigStore.set`.
        """
        made = asyncio.get_running_loop().create_future()
        self._waiting.append((changes, made))
        if not self._writing and (self._pause is None or len(self._waiting) >= self._expected):
            self._write()
        await made

    async def run(self, work: Callable[[], None]) -> None:
        """Do something else with the store between two groups."""
        await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def _write(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if not self._waiting:
            return
        group, self._waiting = self._waiting, []
        requests = [changes for changes, _ in group]
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        writing = loop.run_in_executor(self._writer, self._store.set_together, requests)
        self._writing = True
        writing.add_done_callback(lambda written: self._written(group, written))

    def _written(self, group: _Group, written: "asyncio.Future[List[Any]]") -> None:
        self._writing = False
        self._expected = len(group) + len(self._waiting)
        if self._expected > 1:
            loop = asyncio.get_running_loop()
            self._pause = loop.call_later((loop.time() - self._began) * _PAUSE, self._write)
        broken = written.exception()
        failures = [broken] * len(group) if broken else written.result()
        for (_, made), failure in zip(group, failures):
            # Whoever waited may have been sent away, where the server ends.
            if made.done():
                continue
            if failure is None:
                made.set_result(None)
            else:
                made.set_exception(failure)
