"""What all verbs share: the inventory, the folder with what is kept, and a wish to end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import inventory, looks, project


class Context:
    """Of one command.

    Attributes:
        path: of the inventory.
        kept: what units last answered; the journals of rollouts lie beside it.
    """

    def __init__(self, path: Path | None, state: Path | None) -> None:
        self.path = (path or project.checkout() / "inventory").absolute()
        self.kept = looks.Kept(state.absolute() if state else None)
        self.stopped = False
        self._read: inventory.Inventory | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the work at its next step; a second one at once. So until the block ends."""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        if self.stopped:  # the second time at once
            raise KeyboardInterrupt
        self.stopped = True

    def stop(self) -> bool:
        """Whether somebody asked to end."""
        return self.stopped

    @property
    def rollouts(self) -> Path:
        """The folder with their journals."""
        return self.kept.folder / "rollouts"

    def inventory(self, names: tuple[str, ...] = ()) -> inventory.Inventory:
        """The units that are asked for; Ansible reads them once, which takes a second or more."""
        if self._read is None:
            self._read = inventory.read(self.path)
        return self._read.chosen(names)
