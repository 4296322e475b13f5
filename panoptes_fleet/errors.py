"""What goes wrong is one line, and an exit code that scripts can use."""

from __future__ import annotations

import click

OK = 0
ILL = 1
USAGE = 2
WAITING = 3
BUSY = 5

EXIT_CODES = {
    OK: "all units are well, or came through",
    ILL: "a unit is ill, failed, or its settings are wrong",
    USAGE: "wrong argument, or the inventory cannot be read; nothing was done",
    WAITING: "nothing failed, but units are silent, observing or at night: `rollout resume` takes them up",
    BUSY: "another rollout is at work, or an earlier one is not finished",
}


class FleetError(click.ClickException):
    """What a person can mend, in one line."""

    exit_code = USAGE

    def show(self, file: object = None) -> None:
        """On standard error, with the program's name as the unit's tool does it."""
        click.echo(f"panoptes-fleet: {self.message}", err=True)


class BusyError(FleetError):
    """Another rollout is in the way."""

    exit_code = BUSY
