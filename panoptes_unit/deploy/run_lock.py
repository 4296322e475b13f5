"""One run of the tool at a time."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ..errors import BusyError, refused

# Two commands typed at once: the second one waits this long for a first one that is quick.
PATIENCE_S = 2.0
# What a killed run left at work, Docker Compose that is, ends by itself within this time.
LEFT_AT_WORK_S = 120.0


def is_held(folder: Path) -> bool:
    """Is a run at work? Nothing is written, and nobody who wants the lock has to wait for this.

    Raises:
        UnitError: the state belongs to another account.
    """
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        raise refused(f"{folder} may be read by its owner only") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the lock of the tool's state. Docker Compose inherits it, so that a killed run's Compose is waited for too.

    Whoever can open a lock can hold it for ever: folder and lock are their owner's alone. Those of earlier versions,
    which everybody could read, become so here.

    Raises:
        BusyError: another run holds it.
        UnitError: the state belongs to another account.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except PermissionError:
        raise refused(f"{folder} may be changed by its owner only") from None
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        folder.chmod(0o700)
        os.set_inheritable(descriptor, True)
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                owner = file.read().strip()
                waited = time.monotonic() - began
                if waited > PATIENCE_S and (Path("/proc") / (owner or "none")).exists():
                    raise BusyError(f"another run (process {owner}) is at work: wait for it") from None
                if waited > PATIENCE_S + LEFT_AT_WORK_S:
                    raise BusyError("what an interrupted run left at work does not end: docker compose ps") from None
                time.sleep(0.1)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
