"""Logging through loguru, imported at the first message.

`logger` is loguru's logger behind a name that costs nothing to import: a health check that has nothing to say
never loads loguru. `start_logging` sends messages to the unit's log folder.
"""

import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Union

LINE = "{time:YYYY-MM-DD HH:mm:ss.SSS!UTC} {level:<8} {name}:{line} {message}"


class _Logger:
    """Hands every attribute through to loguru's logger, or to the plain one of a service."""

    def __init__(self) -> None:
        self.target: Any = None

    def __getattr__(self, name: str) -> Any:
        if self.target is None:
            from loguru import logger as loguru_logger

            self.target = loguru_logger
        return getattr(self.target, name)


class _Lines:
    """One plain line a message on standard error: journald and Docker note the time of every line.

    For processes that run for months in little memory: loguru and what it imports take 13 MB.
    """

    # Loguru's, and as there a message is a text for `str.format` where values come with it: what calls the logger
    # need not know which of the two is behind it.
    LEVELS = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")

    def __init__(self, level: str) -> None:
        self._least = self.LEVELS.index(level)

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.upper() not in self.LEVELS:
            raise AttributeError(name)
        return partial(self.log, name.upper())

    def log(self, level: str, message: object, *values: Any, **named: Any) -> None:
        """Write a message of any level, given by its name."""
        if self.LEVELS.index(level) < self._least:
            return
        text = str(message).format(*values, **named) if values or named else str(message)
        text = text.replace("\n", "\\n")
        with suppress(OSError):
            print(f"{level}: {text}", file=sys.stderr, flush=True)

    def exception(self, message: object, *values: Any, **named: Any) -> None:
        """An error with the traceback of the exception that is being handled."""
        import traceback

        self.log("ERROR", message, *values, **named)
        with suppress(OSError):
            traceback.print_exc(file=sys.stderr)


logger: Any = _Logger()


def log_to_stderr(level: str = "INFO") -> None:
    """Make standard error the only place messages go, one plain line each, without loguru."""
    logger.target = _Lines(level)


def start_logging(
    profile: str = "panoptes",
    directory: Optional[Union[str, Path]] = None,
    level: str = "INFO",
    keep: Union[int, str] = 8,
) -> Path:
    """Write messages into a file as well, a new one each week, times in UTC.

    Args:
        profile: the name of the file without its suffix.
        directory: where to write; default `$PANLOG`, else `$PANDIR/logs`, else `logs` in the working directory.
        level: the least serious level that is written.
        keep: how many old files are kept.

    Returns:
        The path of the file.
    """
    default = Path(os.environ.get("PANDIR", ".")) / "logs"
    from loguru import logger as loguru_logger

    logger.target = loguru_logger
    folder = Path(directory or os.environ.get("PANLOG") or default)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{profile}.log"
    # diagnose=False: tracebacks with values of variables could carry a token into a log.
    logger.add(path, level=level, format=LINE, rotation="1 week", retention=keep, encoding="utf-8", diagnose=False)
    return path


def get_root_logger(profile: str = "panoptes", log_config: Optional[Dict[str, Any]] = None) -> Any:
    """The project's logger, writing into the unit's log folder.

    Args:
        profile: the name of the log file without its suffix.
        log_config: keyword arguments of `start_logging`, for instance `{"level": "DEBUG"}`.
    """
    start_logging(profile, **(log_config or {}))
    return logger
