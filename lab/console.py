"""What a person sees: one line a step, its time, and the end of its log when it fails."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

from rich.console import Console

out = Console(highlight=False, soft_wrap=True)
_LONG = 20  # seconds after which a step without news says that it is still at work


class LabError(Exception):
    """One line: what, which value, what to do."""


@contextmanager
def step(title: str) -> Iterator[None]:
    """Name a step before it runs and say how long it took."""
    out.print(f"[cyan]▸[/] {title}")
    start = time.monotonic()
    done = threading.Event()

    def reassure() -> None:
        while not done.wait(_LONG):
            out.print(f"  [dim]{title}: {time.monotonic() - start:.0f} s so far[/]")

    threading.Thread(target=reassure, daemon=True).start()
    try:
        yield
    except BaseException:
        out.print(f"[red]✗[/] {title} [dim]({time.monotonic() - start:.1f} s)[/]")
        raise
    finally:
        done.set()
    out.print(f"[green]✓[/] {title} [dim]({time.monotonic() - start:.1f} s)[/]")


def run(
    command: Sequence,
    log: Optional[Path] = None,
    *,
    env: Optional[dict] = None,
    timeout: Optional[float] = None,
    stdin: Optional[bytes] = None,
) -> str:
    """Run a program; on failure raise LabError with the end of what it said.

    Args:
        command: Program and arguments.
        log: File that receives all output; without it the output is only returned.
        env: Variables added to this process's own.
        timeout: Seconds after which the program is ended.
        stdin: Bytes for its standard input.

    Returns:
        What it wrote on stdout (and on stderr, where a log is kept).

    Raises:
        LabError: If the program is missing, fails or takes too long.
    """
    words = [str(word) for word in command]
    variables = {**os.environ, **(env or {})}
    given: dict[str, Any] = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    try:
        if log is None:
            done: subprocess.CompletedProcess[bytes] = subprocess.run(
                words, capture_output=True, env=variables, timeout=timeout, check=False, **given
            )
            text, problems = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as file:
                done = subprocess.run(
                    words, stdout=file, stderr=subprocess.STDOUT, env=variables, timeout=timeout, check=False, **given
                )
            text = problems = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise LabError(f"{words[0]} is not installed on this machine") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(words[:4])} … did not end within {timeout:.0f} s") from None
    if done.returncode:
        tail = "\n".join((problems or text).strip().splitlines()[-25:])
        where = f" (all of it: {log})" if log else ""
        raise LabError(f"{' '.join(words[:4])} … ended with exit code {done.returncode}{where}\n{tail}")
    return text


def as_root(command: Sequence) -> list:
    """The command as root, by sudo where this process is not root."""
    return list(command) if os.geteuid() == 0 else ["sudo", *command]
