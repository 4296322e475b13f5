"""Logging through loguru, imported at the first message.

`logger` is loguru's logger behind a name that costs nothing to import: a health check that has nothing to say
never loads loguru. `start_logging` sends messages to the unit's log folder.
"""

import os
import sys
from pathlib import Path
from typing import Any, Optional, Union

LINE = "{time:YYYY-MM-DD HH:mm:ss.SSS!UTC} {level:<8} {name}:{line} {message}"


class _Logger:
    """Hands every attribute through to loguru's logger."""

    def __getattr__(self, name: str) -> Any:
        from loguru import logger as loguru_logger

        return getattr(loguru_logger, name)


logger: Any = _Logger()


def log_to_stderr(level: str = "INFO") -> None:
    """Make standard error the only place messages go, one plain line each.

    The level and the message alone: journald and Docker note the time of every line.
    """
    logger.remove()
    logger.add(sys.stderr, level=level, format="{level}: {message}", colorize=False, backtrace=False, diagnose=False)


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
    folder = Path(directory or os.environ.get("PANLOG") or default)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{profile}.log"
    # diagnose=False: tracebacks with values of variables could carry a token into a log.
    logger.add(path, level=level, format=LINE, rotation="1 week", retention=keep, encoding="utf-8", diagnose=False)
    return path


def get_root_logger(profile: str = "panoptes", log_config: Optional[dict] = None) -> Any:
    """The project's logger, writing into the unit's log folder.

    Args:
        profile: the name of the log file without its suffix.
        log_config: keyword arguments of `start_logging`, for instance `{"level": "DEBUG"}`.
    """
    start_logging(profile, **(log_config or {}))
    return logger
