"""The errors of a PANOPTES unit: one family under `PanError`, so that a program can catch what is ours.

The names are those that POCS and other programs of the project raise and catch.
"""

import sys
from typing import Optional


class PanError(Exception):
    """Any error of the project.

    Args:
        msg: what went wrong, in one sentence; default `default_msg`, which most classes have not.
        exit: log the message as critical and end the program with exit code 1.

    Raises:
        SystemExit: with code 1 where `exit` is true.
    """

    default_msg: Optional[str] = None

    def __init__(self, msg: Optional[str] = None, exit: bool = False):
        self.msg = self.default_msg if msg is None else msg
        super().__init__(self.msg)
        if exit:
            from panoptes_utils.logging import logger

            logger.critical(f"TERMINATING: {self.msg or 'no reason given'}")
            sys.exit(1)

    def __str__(self) -> str:
        name = type(self).__name__
        return f"{name}: {self.msg}" if self.msg else name


class AlreadyExists(PanError):
    """A file or an entry is there already and overwriting was not asked for."""


class ArduinoDataError(PanError):
    """An Arduino sent data that make no sense."""


class BadConnection(PanError):
    """A connection could not be made or broke."""


class BadSerialConnection(PanError):
    """A serial connection could not be made or broke."""


class GoogleCloudError(PanError):
    """A Google Cloud service failed."""


class IllegalValue(PanError, ValueError):
    """A value is outside its range."""


class InvalidCommand(PanError):
    """A command is unknown, or the program for it is not installed."""


class InvalidConfig(PanError):
    """The configuration lacks something or holds an impossible value."""


class InvalidDeserialization(PanError):
    """A text cannot be read back into an object."""

    default_msg = "the text cannot be read"


class InvalidMountCommand(PanError):
    """The mount does not know the command."""


class InvalidSerialization(PanError):
    """An object cannot be written as text."""

    default_msg = "the object cannot be written as text"


class InvalidSystemCommand(PanError):
    """A program of the operating system is missing or failed."""

    default_msg = "a program is missing or failed"


class NoObservation(PanError):
    """There is nothing to observe."""

    default_msg = "there is nothing to observe"


class NotSupported(PanError, NotImplementedError):
    """The operation is not supported here."""


class TheSkyXError(PanError):
    """TheSkyX answered with an error."""


class TheSkyXKeyError(TheSkyXError):
    """TheSkyX does not know the key."""


class TheSkyXTimeout(TheSkyXError):
    """TheSkyX did not answer in time."""


class Timeout(PanError):
    """Something took longer than it may."""

    default_msg = "Timeout waiting for event"


class NotFound(PanError):
    """Something that was asked for does not exist."""


class CameraNotFound(NotFound):
    """No camera is connected."""


class DomeNotFound(NotFound):
    """No dome is connected."""


class InvalidCollection(NotFound):
    """The database has no such collection."""


class InvalidObservation(NotFound):
    """The observation does not exist or cannot be made."""


class MountNotFound(NotFound):
    """No mount is connected."""

    default_msg = "no mount is connected"


class SolveError(NotFound):
    """The plate solver found no solution."""
