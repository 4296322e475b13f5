"""The command line of panoptes-fleet."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.live import Live

from . import add as adding
from . import check as checking
from . import errors, files, inventory, looks, project, rolling, rows, screen, waves
from . import report as reporting
from .context import Context
from .errors import EXIT_CODES
from .rollout import BACKUP, PROVISION, REPAIR, ROLLBACK, RUN, UPDATE

Command = Callable[..., None]
EPILOG = "\b\nexit codes:\n" + "\n".join(f"  {code}  {text}" for code, text in EXIT_CODES.items())


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("-i", "--inventory", "path", type=click.Path(path_type=Path), help="Another inventory than inventory/.")
@click.option("--state", type=click.Path(path_type=Path), help="Where answers and journals are kept.")
@click.pass_context
def main(context: click.Context, path: Path | None, state: Path | None) -> None:
    """Looks after many units from one place; the playbooks do the work."""
    context.obj = Context(path, state)
    context.with_resource(context.obj.listening())


@main.command(epilog=EPILOG)
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.option("--watch", type=click.FloatRange(min=1), metavar="SECONDS", help="Ask again and again, until Ctrl-C.")
@click.option("--behind", "late", is_flag=True, help="Only units that do not run the newest release.")
@click.option("--ill", is_flag=True, help="Only units with something wrong.")
@click.option("--silent", is_flag=True, help="Only units that did not answer.")
@click.option("--kept", "offline", is_flag=True, help="Ask nobody; show what was answered last.")
@click.option("--timeout", default=90, show_default=True, type=click.IntRange(min=1), help="Seconds for one unit.")
@click.pass_obj
def status(
    context: Context,
    names: tuple[str, ...],
    as_json: bool,
    watch: float | None,
    late: bool,
    ill: bool,
    silent: bool,
    offline: bool,
    timeout: int,
) -> None:
    """One row a unit: what it runs, whether it is whole, and what is wrong."""
    fleet = context.inventory(names)
    code = errors.OK
    while not context.stopped:
        shown = _Shown(context, fleet, (late, ill, silent), as_json)
        shown.look(fleet.names if not offline else [], timeout)
        code = shown.code
        if watch is None:
            break
        until = time.monotonic() + watch
        while not context.stopped and time.monotonic() < until:
            time.sleep(0.2)
    sys.exit(code)


class _Shown:
    """One round of `status`, as answers come."""

    def __init__(
        self, context: Context, fleet: inventory.Inventory, filters: tuple[bool, bool, bool], as_json: bool
    ) -> None:
        self.context, self.fleet, self.filters, self.as_json = context, fleet, filters, as_json
        self.looks = {name: context.kept.load(name) for name in fleet.units}
        self.asked: set[str] = set()
        self.offered = context.kept.offered(self.looks.values())
        self.console = screen.console()

    def rows(self, filtered: bool = True) -> list[rows.Row]:
        now = time.time()
        all_rows = [rows.row(unit, self.looks[name], self.offered, now) for name, unit in self.fleet.units.items()]
        return [one for one in all_rows if not filtered or rows.wanted(one, *self.filters)]

    def look(self, names: list[str], timeout: int) -> None:
        live = self.console.is_terminal and not self.as_json
        self.asked = set(names)
        if live:
            with Live(get_renderable=self.table, console=self.console, refresh_per_second=4):
                self._ask(names, timeout, lambda name: None)
        else:
            # Whether a unit is behind is known when all have told what their sources offer.
            plain = not self.as_json and not any(self.filters)
            self._ask(names, timeout, (lambda name: self._say(name)) if plain else (lambda name: None))
            if self.as_json:
                click.echo(json.dumps([one.as_dict() for one in self.rows()], indent=1))
                return
            for one in self.rows():
                if one.name not in names or not plain:
                    click.echo(screen.status_line(one))
        click.echo(screen.summary(self.rows(filtered=False)))
        for stray in self.fleet.strays:
            click.echo(f"{stray} (and no unit of the inventory has this name)", err=True)

    def _say(self, name: str) -> None:
        one = rows.row(self.fleet.units[name], self.looks[name], self.offered, time.time())
        click.echo(screen.status_line(one))

    def _ask(self, names: list[str], timeout: int, say: Any) -> None:
        def on_look(name: str, look: looks.Look) -> None:
            self.looks[name] = look
            self.asked.discard(name)
            self.offered = self.context.kept.offered(self.looks.values())
            say(name)

        looks.look(self.fleet, names, self.context.kept, on_look, self.context.stop, timeout)
        self.asked.clear()

    def table(self) -> Any:
        return screen.status_table(self.rows(), self.asked, time.time())

    @property
    def code(self) -> int:
        states = {one.state for one in self.rows(filtered=False)}
        if states & {rows.ILL, rows.BROKEN}:
            return errors.ILL
        return errors.WAITING if states & {rows.SILENT, rows.UNSEEN} else errors.OK


@main.command(epilog=EPILOG)
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.pass_obj
def check(context: Context, names: tuple[str, ...], as_json: bool) -> None:
    """Look through the whole inventory without reaching a unit: what is wrong where."""
    fleet = context.inventory()
    fleet.chosen(names)
    found = [one for one in checking.check(fleet) if not names or one.unit in names]
    if as_json:
        click.echo(json.dumps([one.as_dict() for one in found], indent=1))
    for one in found if not as_json else ():
        click.echo(rows.plain(f"{one.unit}: {one.what}" if one.unit else one.what))
    if not as_json:
        wrong = {one.unit for one in found}
        click.echo(f"{len(names or fleet.units)} units: {len(wrong) or 'none'} with something wrong")
    sys.exit(errors.ILL if found else errors.OK)


class _Add(click.Command):
    """Has the options of `make settings`, which are read from the checkout only where they are wanted."""

    def get_params(self, context: click.Context) -> list[click.Parameter]:
        if not any(one.name == "pan_id" for one in self.params):
            asked = [click.Option([one.option], metavar="TEXT", help=f"{one.says}.") for one in adding.questions()]
            self.params += asked
        return super().get_params(context)


@main.command(cls=_Add, epilog=EPILOG)
@click.argument("unit")
@click.option("--address", default="", metavar="HOST", help="How it is reached; without it, by its name.")
@click.option("--user", default="", help="The account on it that ssh logs in to.")
@click.option("--port", type=click.IntRange(1, 65535), help="Another port of ssh than 22.")
@click.option("--canary", is_flag=True, help="It goes first in rollouts.")
@click.pass_obj
def add(
    context: Context, /, unit: str, address: str, user: str, port: int | None, canary: bool, **given: str | None
) -> None:
    """Add a unit: asks what it needs, or takes it by options, and writes host_vars/UNIT.yml and its entry."""
    settings = project.settings()
    questions = adding.questions()
    answers = settings.checked(given, False, questions) or {one: settings.ask(one, "") for one in questions}
    connection = {"ansible_host": address, "ansible_user": user, "ansible_port": port, "fleet_canary": canary}
    own, hosts = adding.add(context.path, unit, answers, connection)
    click.echo(f"{unit} is in {hosts}, its settings are in {own}.")
    click.echo(f"Next: panoptes-fleet provision {unit}")


def _in_waves(waves: str, soak: float = 0.0) -> Callable[[Command], Command]:
    """Gives a command what all verbs in waves take."""
    all_options = (
        click.option("--limit", "names", multiple=True, metavar="UNIT", help="Only this unit; may be given again."),
        click.option("--waves", default=waves, show_default=True, help="How many go together."),
        click.option(
            "--soak", default=soak, show_default=True, type=click.FloatRange(0, 604_800), metavar="SECONDS",
            help="How long each wave has to show a fault, before its units are asked.",
        ),
        click.option(
            "--max-failures", default=0, show_default=True, type=click.IntRange(min=0),
            help="So many may fail before no further unit goes.",
        ),
        click.option("--force", is_flag=True, help="Also units that observe, or where it is night."),
    )  # fmt: skip

    def decorate(command: Command) -> Command:
        for option in reversed(all_options):
            command = option(command)
        return command

    return decorate


ON_FAILURE = click.option(
    "--on-failure", type=click.Choice(["stop", "rollback", "ask"]), default="stop", show_default=True,
    help="When it is stopped: leave it so, take the units that it moved back, or ask.",
)  # fmt: skip


@main.group(invoke_without_command=True, epilog=EPILOG)
@_in_waves(waves.DEFAULT, 60)
@ON_FAILURE
@click.pass_context
def rollout(context: click.Context, /, **options: Any) -> None:
    """Bring the units to the newest release, wave after wave, each proved before the next."""
    if context.invoked_subcommand is None:
        sys.exit(rolling.begin(context.obj, UPDATE, **options))


@main.command(epilog=EPILOG)
@_in_waves(waves.DEFAULT, 60)
@ON_FAILURE
@click.pass_obj
def update(context: Context, /, **options: Any) -> None:
    """The same as `rollout`."""
    sys.exit(rolling.begin(context, UPDATE, **options))


@main.command(epilog=EPILOG)
@_in_waves("100%")
@click.pass_obj
def rollback(context: Context, /, **options: Any) -> None:
    """Take units back to the release before, from their own disks."""
    sys.exit(rolling.begin(context, ROLLBACK, **options))


@main.command(epilog=EPILOG)
@_in_waves("100%")
@click.pass_obj
def repair(context: Context, /, **options: Any) -> None:
    """Bring damaged units back to work on the release that they have."""
    sys.exit(rolling.begin(context, REPAIR, **options))


@main.command(epilog=EPILOG)
@_in_waves("100%")
@click.pass_obj
def backup(context: Context, /, **options: Any) -> None:
    """Keep the small state of each unit on this machine."""
    sys.exit(rolling.begin(context, BACKUP, **options))


@main.command(epilog=EPILOG)
@_in_waves("1,5,25%")
@click.pass_obj
def provision(context: Context, /, **options: Any) -> None:
    """The main job, playbooks/unit.yml, in waves."""
    sys.exit(rolling.begin(context, PROVISION, **options))


@main.command(epilog=EPILOG)
@click.argument("playbook", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-e", "--extra", multiple=True, metavar="KEY=VALUE", help="A variable for the playbook, as text.")
@_in_waves("100%")
@click.pass_obj
def run(context: Context, /, playbook: Path, extra: tuple[str, ...], **options: Any) -> None:
    """Any playbook of your own, in waves; one that was cut short is played again on its unit by `rollout resume`."""
    wrong = [one for one in extra if "=" not in one]
    if wrong:
        raise errors.FleetError(f"--extra {wrong[0]}: write KEY=VALUE")
    variables = dict(one.split("=", 1) for one in extra)
    sys.exit(rolling.begin(context, RUN, playbook=str(playbook.absolute()), extra=variables, **options))


@rollout.command(epilog=EPILOG)
@click.option("--max-failures", type=click.IntRange(min=0), help="Go on although as many have failed.")
@click.option("--on-failure", type=click.Choice(["stop", "rollback", "ask"]), help="From now on.")
@click.option("--force", is_flag=True, default=None, help="Also units that observe, or where it is night.")
@click.pass_obj
def resume(context: Context, /, **options: Any) -> None:
    """Go on where the last rollout was killed or stopped, and take up the units that waited."""
    sys.exit(rolling.resume(context, {name: value for name, value in options.items() if value is not None}))


@rollout.command(epilog=EPILOG)
@click.pass_obj
def undo(context: Context) -> None:
    """Take back the units that the unfinished rollout has moved."""
    sys.exit(rolling.undo(context))


@rollout.command(epilog=EPILOG)
@click.pass_obj
def abandon(context: Context) -> None:
    """Leave the unfinished rollout as it is: units that waited are not taken up any more."""
    sys.exit(rolling.abandon(context))


@rollout.command(epilog=EPILOG)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.pass_obj
def show(context: Context, name: str | None, as_json: bool) -> None:
    """What a rollout did: who, when, which release, and how it went with each unit; the last one without a name."""
    sys.exit(rolling.show(context, name, as_json))


@main.command(epilog=EPILOG)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("fleet.html"),
    show_default=True,
    help="The file to write.",
)
@click.option("--public", is_flag=True, help="For a page that everybody may read: no addresses, no names of accounts.")
@click.option("--backups", type=click.Path(path_type=Path), help="Where backups are; without it, backups/.")
@click.pass_obj
def report(context: Context, output: Path, public: bool, backups: Path | None) -> None:
    """One HTML file about all units, from what they answered last: `status` asks them anew."""
    text = reporting.report(
        context.inventory(), context.kept, backups or project.checkout() / "backups", public, time.time()
    )
    try:
        files.replace(output.absolute(), text, 0o644)
    except OSError as error:
        raise errors.FleetError(f"{output} cannot be written: {error.strerror}") from None
    click.echo(f"{output}: {len(text.encode()) / 1000:.0f} kB")
