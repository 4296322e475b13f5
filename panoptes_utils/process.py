"""Running the external programs: found on PATH, in a process group of their own, none left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from typing import Any, Iterator, List, Optional, Sequence

from panoptes_utils.error import InvalidSystemCommand, Timeout
from panoptes_utils.logging import logger

# Seconds between asking a program to stop and killing it.
GRACE = 1.0
# Seconds that killed programs get to disappear.
KILLED_GRACE = 10.0


def find_program(*names: Any, variable: Optional[str] = None) -> str:
    """Return the full path of the first of `names` that is on PATH.

    Args:
        names: programs that do the same job, the preferred one first.
        variable: an environment variable that overrides the search.

    Raises:
        InvalidSystemCommand: none of them can be run.

    Example:
        >>> find_program("no-such-program")
        Traceback (most recent call last):
        panoptes_utils.error.InvalidSystemCommand: ...
    """
    wanted = os.getenv(variable) if variable else None
    for name in (wanted,) if wanted else names:
        found = shutil.which(name)
        if found:
            return found
    told = f"{variable}={wanted}" if wanted else " or ".join(names)
    raise InvalidSystemCommand(f"{told}: no such program on PATH; the panoptes-base image carries it")


def file_argument(path: Any) -> str:
    """A file's name as an argument that no program takes for an option, though it begins with a dash.

    Example:
        >>> file_argument("-1.fits"), file_argument("1.fits")
        ('./-1.fits', '1.fits')
    """
    return f"./{path}" if str(path).startswith("-") else str(path)


def start(command: Sequence[Any], **kwargs: Any) -> subprocess.Popen[str]:
    """Start a program as the leader of its own process group.

    Args:
        command: list of the program and its arguments.
        kwargs: for `subprocess.Popen`.

    Returns:
        subprocess.Popen: with text pipes on stdout and stderr, standard input closed.
    """
    command = [str(part) for part in command]
    logger.debug("Running {}", command)
    settings = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "errors": "replace",
        "start_new_session": True,
    }
    try:
        return subprocess.Popen(command, **{**settings, **kwargs})
    except OSError as error:
        raise InvalidSystemCommand(f"{command[0]}: cannot be run: {error.strerror or error}") from error


def stop(process: subprocess.Popen[str]) -> None:
    """End a program that `start` started, with all that it started; return when they are gone."""
    # The leader may be gone while its children live on in the group.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # A killed program may still wait for a processor, and write until it gets one. The pipes end with the last of them.
    with suppress(subprocess.TimeoutExpired, ValueError):
        process.communicate(timeout=KILLED_GRACE)
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Hold back what SIGINT and SIGTERM do until the end of the block: their handlers may raise anywhere."""
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread only
        return
    came: List[Any] = []
    present = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
    handlers = {sign: handler for sign, handler in present.items() if callable(handler)}
    for sign in handlers:
        signal.signal(sign, lambda *what: came.append(what))
    try:
        yield
    finally:
        for sign, handler in handlers.items():
            signal.signal(sign, handler)
        for sign, frame in came:
            handlers[sign](sign, frame)


def run(command: Sequence[Any], timeout: float, check: bool = False, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, or to the time limit.

    Args:
        command: list of the program and its arguments.
        timeout: seconds.
        check: raise if the program fails.
        kwargs: for `subprocess.Popen`.

    Returns:
        subprocess.CompletedProcess: with text output.

    Raises:
        Timeout: the time limit passed; the program and its children were ended.
        InvalidSystemCommand: the program cannot be run, or failed and `check` is set.

    Example:
        >>> run(["echo", "clear"], timeout=5).stdout
        'clear\\n'
        >>> run(["sleep", "60"], timeout=0.1)
        Traceback (most recent call last):
        panoptes_utils.error.Timeout: ...
    """
    process = None
    try:
        # An exception between the start of the program and the end of Popen would leave it running, known to nobody.
        with _signals_wait():
            process = start(command, **kwargs)
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        if process:
            stop(process)
        raise Timeout(f"{command[0]}: stopped after {timeout:.1f} s") from None
    except BaseException:
        if process:
            stop(process)
        raise
    if check and process.returncode:
        last = _last_line(err) or _last_line(out) or "no message"
        raise InvalidSystemCommand(f"{command[0]}: exit code {process.returncode}: {last}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _last_line(text: Optional[str]) -> str:
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""
