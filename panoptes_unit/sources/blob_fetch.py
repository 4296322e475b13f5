"""Blobs into a store, from the first source that has them, over a line that may break at any byte.

What has arrived is not asked for again: the next try, or the next run, goes on where the last one ended.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Callable, Dict, Iterable, List, NamedTuple, Sequence

from ..errors import NotFoundError, RegistryError
from .blob_store import Arriving, BlobStore
from .manifests import Layer
from .registry import RangeError, Registry

# A try that brings less than that is not told from none, or a drip would never end.
_WORTH_A_TRY = 1 << 14


class Source(NamedTuple):
    """A repository of a registry, which has the blobs."""

    registry: Registry
    repository: str

    @property
    def name(self) -> str:
        """As in image names."""
        return f"{self.registry.host}/{self.repository}"


class Pace:
    """Holds a download to a rate.

    Args:
        kbps: kilobits (1000) a second; no limit where 0.
        sleep: what waits; another one in tests alone.
    """

    def __init__(self, kbps: int = 0, sleep: Callable[[float], None] = time.sleep) -> None:
        self._bytes_per_s = kbps * 125
        self._sleep = sleep
        self._due = 0.0

    def passed(self, count: int) -> None:
        """So many bytes came: wait until the next may."""
        if self._bytes_per_s:
            now = time.monotonic()
            # A pause of the line is a second's credit and no more.
            self._due = max(self._due, now - 1.0) + count / self._bytes_per_s
            self._sleep(max(self._due - now, 0.0))


@dataclass
class Tally:
    """What a download was.

    Attributes:
        total: bytes that were to come when it began.
        bytes: came over the line, those thrown away included.
        here: of those that were to come, arrived.
        resumed: how often it went on in the middle of a blob.
        sources: name of a source -> bytes that came from it.
        began: of `time.monotonic`.
    """

    total: int = 0
    bytes: int = 0
    here: int = 0
    resumed: int = 0
    sources: Dict[str, int] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def left_s(self) -> float:
        """Seconds to its end, as it went until now; 0 where nobody can tell."""
        return (time.monotonic() - self.began) * (self.total - self.here) / self.here if self.here else 0.0


@dataclass
class Fetch:
    """Brings blobs in.

    Attributes:
        store: into which.
        sources: asked in this order.
        waits: seconds before each further try in which nothing came.
        pace: which rate it keeps.
        told: called after each piece.
        says: called with a line where a try ended early.
    """

    store: BlobStore
    sources: Sequence[Source]
    waits: Sequence[float] = ()
    pace: Pace = field(default_factory=Pace)
    told: Callable[[Tally], None] = lambda tally: None
    says: Callable[[str], None] = lambda line: None
    tally: Tally = field(default_factory=Tally)

    def bring(self, blobs: Iterable[Layer]) -> None:
        """Those that are not there yet.

        Raises:
            RegistryError: no source has one of them, or none answers.
            UnitError: the store cannot be written.
        """
        missing = [blob for blob in blobs if not self.store.has(blob)]
        self.tally.total += self.store.lacking(missing)
        for blob in missing:
            with self.store.arriving(blob) as arriving:
                self._bring_one(blob, arriving)

    def _bring_one(self, blob: Layer, arriving: Arriving) -> None:
        if arriving.is_whole and not arriving.is_right:  # damaged on the disk meanwhile
            arriving.begin_anew()
        if arriving.offset:
            self.tally.resumed += 1
        problems: List[str] = []
        for source in self.sources:
            try:
                self._from(source, blob, arriving)
            except RegistryError as error:
                problems.append(str(error))
                continue
            if arriving.is_right:
                return
        raise RegistryError("; ".join(dict.fromkeys(problems)) or f"nobody has blob {blob.digest}")

    def _from(self, source: Source, blob: Layer, arriving: Arriving) -> None:
        waits = iter(self.waits)
        was_wrong = False
        best = arriving.offset
        while not arriving.is_right:
            try:
                self._try(source, blob, arriving)
                problem = f"{source.name}: the answer ended early"
            except NotFoundError:
                raise
            except RegistryError as error:
                if isinstance(error, RangeError) and arriving.offset:
                    self._throw_away(arriving)  # and asked for whole, which is no range
                problem = str(error)
            if arriving.is_right:
                return
            if arriving.is_whole:
                self._throw_away(arriving)
                problem = f"{source.name}: what comes as blob {blob.digest} is another one"
                if was_wrong:
                    raise RegistryError(problem)
                was_wrong = True
            if arriving.offset >= best + _WORTH_A_TRY:
                best, waits, wait = arriving.offset, iter(self.waits), 0.0
            else:
                wait = next(waits, -1.0)
            if wait < 0:
                raise RegistryError(problem)
            self.says(f"{problem}: goes on at {arriving.offset} of {arriving.size} bytes in {wait:g} s")
            time.sleep(wait)
            if arriving.offset:
                self.tally.resumed += 1

    def _throw_away(self, arriving: Arriving) -> None:
        self.tally.total += arriving.offset
        arriving.begin_anew()

    def _try(self, source: Source, blob: Layer, arriving: Arriving) -> None:
        begins, pieces = source.registry.stream(source.repository, blob.digest, blob.size, arriving.offset)
        skip = arriving.offset - begins  # of a server that knows no ranges: what is here stays, should it break again
        for piece in pieces:
            self.tally.bytes += len(piece)
            self.tally.sources[source.name] = self.tally.sources.get(source.name, 0) + len(piece)
            before = arriving.offset
            arriving.add(piece[skip:] if skip < len(piece) else b"")
            skip = max(skip - len(piece), 0)
            self.tally.here += arriving.offset - before
            self.told(self.tally)
            if arriving.is_whole:
                return
            self.pace.passed(len(piece))
