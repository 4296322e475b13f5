"""Virtual machines that stand for a Raspberry Pi (arm32v7, arm64v8)."""

import click
from rich.table import Table

from ..console import out
from .boards import BOARDS
from .machine import Machine, machines
from .saved import clone


@click.group(help=__doc__)
def vm() -> None:
    """All commands about virtual machines."""


@vm.command()
@click.argument("name")
@click.option("--flavour", type=click.Choice(sorted(BOARDS)), default="arm32v7", show_default=True)
def create(name: str, flavour: str) -> None:
    """A blank machine NAME, running; one of that name is thrown away first."""
    machine = clone(name, flavour)
    out.print(f"{name} is up: ssh -F {machine.ssh_config} {name}")


@vm.command()
@click.argument("name")
def destroy(name: str) -> None:
    """Throw machine NAME away, disk and all."""
    Machine.named(name).destroy()


@vm.command()
@click.argument("name")
@click.option("--no-network", is_flag=True, help="Without its way to the world; ssh from here works.")
def on(name: str, no_network: bool) -> None:
    """Switch machine NAME on and wait until it lets a person in."""
    machine = Machine.named(name)
    machine.on(world=not no_network)
    out.print(f"{name} is up after {machine.wait(600):.1f} s")


@vm.command()
@click.argument("name")
def cut(name: str) -> None:
    """Cut the power of machine NAME: what it had not synced is gone."""
    Machine.named(name).cut()


@vm.command()
@click.argument("name")
@click.argument("state", type=click.Choice(["up", "down"]))
def network(name: str, state: str) -> None:
    """Plug in or pull the cable of machine NAME to the world."""
    Machine.named(name).world(state == "up")


@vm.command(name="list")
def show() -> None:
    """The machines there are."""
    table = Table("machine", "flavour", "power", "ssh")
    for machine in machines():
        table.add_row(
            machine.name,
            machine.settings["flavour"],
            "on" if machine.running() else "off",
            f"ssh -F {machine.ssh_config} {machine.name}",
        )
    out.print(table)
