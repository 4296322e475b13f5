"""Errors of the on-unit tool; each is one plain sentence and carries the exit code of the tool."""

from __future__ import annotations

import os

from .documents import printable

# Exit codes of panoptes-unit; its --help prints this table.
OK = 0
FAILED = 1
USAGE = 2
DEFERRED = 3
ROLLED_BACK = 4
BUSY = 5
BROKEN = 6
DAMAGED = 7


class UnitError(Exception):
    """Something the operator has to know: what, which value, what to do. The unit is unchanged.

    Its text is one line that may go to a terminal and into the history, whoever said what it quotes.
    """

    exit_code = FAILED

    def __str__(self) -> str:
        return printable(super().__str__())


class RootError(UnitError):
    """Root's alone, and this is another account; the command line says instead what to type."""


def refused(what: str) -> UnitError:
    """What to raise where the system refuses something: root itself has to know what that was."""
    return RootError(f"needs root: {what}") if os.geteuid() else UnitError(f"{what}: refused, although this is root")


def plainly(error: OSError) -> str:
    """What the system did not do, and why, in words."""
    if error.strerror is None:
        return printable(str(error))
    return printable(f"{error.filename or 'this machine'}: {error.strerror}")


class ConfigurationError(UnitError):
    """A setting or an argument is wrong."""

    exit_code = USAGE


class RegistryError(UnitError):
    """The registry cannot be used: unreachable, not trusted, or it refuses."""


class NotFoundError(RegistryError):
    """The registry answers, but has no such repository, tag or digest."""


class PlatformError(RegistryError):
    """The image exists, but not for the platform of this unit."""


class DeferredError(UnitError):
    """Not now: observing, unknown state or outside the window."""

    exit_code = DEFERRED


class BusyError(UnitError):
    """Another run of the tool holds the lock."""

    exit_code = BUSY


class HealthError(UnitError):
    """A release does not do its work on this unit."""
