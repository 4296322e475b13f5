"""The lab: Docker Engine, both images, a TLS registry and the image of a simulated unit, on this machine."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Tuple

import click
from rich.markup import escape
from rich.table import Table

import docker

from . import emulation, engine, panoptes_images, registry, rootfs, settings, small_images
from .console import LabError, as_root, out, run, step
from .flavours import FLAVOURS
from .vm import vm


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A real engine, a real registry and a bare unit, on one machine."""


@main.command()
@click.option(
    "--flavours", metavar="LIST", help="Comma-separated, for instance amd64,arm32v7; default: this machine's."
)
def up(flavours: str) -> None:
    """Bring everything up; where it stands already, nothing happens."""
    start = time.monotonic()
    own = settings.architecture()
    wanted = list(dict.fromkeys([own, *(flavours.split(",") if flavours else [])]))
    unknown = set(wanted) - set(FLAVOURS)
    if unknown:
        raise LabError(f"unknown flavour {', '.join(sorted(unknown))}; known are {', '.join(FLAVOURS)}")
    with settings.lock():
        lab = bring_up([own])
    foreign = [flavour for flavour in wanted if flavour != own]
    if foreign:
        with settings.lock():
            bring_up_emulation(lab["docker_cli"], own, foreign)
        # Minutes of emulation, during which others may use the lab; the second bring_up finds all of it in the cache.
        for name in ("base", "utils"):
            panoptes_images.build(lab["docker_cli"], name, foreign, rootfs.image_name("{arch}"))
        with settings.lock():
            lab = bring_up(wanted)
    out.print(
        f"lab is up ({time.monotonic() - start:.1f} s): registry {lab['registry']}, unit image {lab['unit_image']}"
    )


def bring_up(flavours: list) -> dict:
    """All steps in their order; returns what lab.json says."""
    state, own = settings.State(), settings.architecture()
    api = engine.up(state)
    cli = engine.build_cli(state)
    base, base_id = rootfs.image_name(own), rootfs.up(api, state, cli, own)
    key = panoptes_images.inputs_key(base_id)
    with ThreadPoolExecutor() as pool:
        # Building waits for the mirror and for dpkg in turn: other work fits in between.
        serving = pool.submit(_registry, api, state, cli, base, base_id)
        unit_image = pool.submit(small_images.unit, api, cli, base, base_id)
        if not panoptes_images.done(state, key, flavours):
            panoptes_images.build(cli, "base", flavours, rootfs.image_name("{arch}"))
            serving.result()
            base_pushed = pool.submit(panoptes_images.push, cli, "base", flavours)
            panoptes_images.build(cli, "utils", flavours, rootfs.image_name("{arch}"))
            base_pushed.result()
            panoptes_images.push(cli, "utils", flavours)
            state.set("images", {"key": key, "flavours": flavours})
    lab = {
        "docker_host": settings.DOCKER_HOST,
        "docker_cli": cli,
        "network": settings.NETWORK,
        "registry": settings.registry_address(),
        "ca_file": str(serving.result()),
        "unit_image": unit_image.result(),
        "base_image": base,
        "images": panoptes_images.references(),
        "architecture": own,
    }
    settings.write_lab(lab)
    return lab


def bring_up_emulation(cli: str, own: str, flavours: list) -> None:
    """What building for other processors needs: emulators and root filesystems."""
    state = settings.State()
    emulation.up(state, own, flavours)
    for flavour in flavours:
        rootfs.up(engine.client(), state, cli, flavour)


def _registry(api: docker.DockerClient, state: settings.State, cli: str, base: str, base_id: str) -> Any:
    return registry.up(api, state, small_images.registry(api, cli, base, base_id))


@main.command()
def clean() -> None:
    """Remove all that the lab made on this machine, and nothing else.

    An engine that was there before keeps its build cache: whose it is cannot be told.
    """
    with settings.lock():
        state = settings.State()
        if engine.answers():
            with step("containers, volumes, network and images of the lab"):
                _remove_objects(engine.client())
        emulation.down(state)
        for folder in state.get("trust", []):
            run(as_root(["rm", "-rf", folder]))
        engine.down(state)
        for tool in state.get("tools", []):
            run(as_root(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "purge", "--yes", "-qq", tool]))
        settings.remove_files()
    out.print("the lab is gone")


def _remove_objects(api: docker.DockerClient) -> None:
    mine = {"label": f"{settings.LABEL}={settings.NETWORK}"}
    # A unit on the lab's network is the lab's, whoever started it.
    volumes = []
    for found in (mine, {"network": settings.NETWORK}):
        for container in api.containers.list(all=True, filters=found):
            container.remove(force=True, v=True)
            volumes += [mount["Name"] for mount in container.attrs["Mounts"] if mount["Type"] == "volume"]
    for volume in api.volumes.list(filters=mine) + [one for one in api.volumes.list() if one.name in volumes]:
        volume.remove(force=True)
    for network in api.networks.list(filters=mine):
        network.remove()
    prefixes = (f"{settings.NETWORK}/", f"{settings.registry_address()}/")
    for image in api.images.list():
        for tag in image.tags:
            if tag.startswith(prefixes):
                api.images.remove(tag, force=True)


@main.command()
def status() -> None:
    """What of the lab is up."""
    table = Table("part", "state", "detail")
    state, running = settings.State(), engine.answers()
    table.add_row("engine", "up" if running else "down", settings.DOCKER_HOST)
    if running:
        api = engine.client()
        ca_file = settings.cache() / "tls" / "ca.crt"
        serves = ca_file.exists() and registry.answers(ca_file)
        table.add_row("registry", "up" if serves else "down", settings.registry_address())
        made = state.get("images", {})
        table.add_row("images", "pushed" if made else "missing", ", ".join(made.get("flavours", [])))
        units = api.containers.list(filters={"network": settings.NETWORK})
        names = [unit.name for unit in units if unit.name != registry.CONTAINER]
        table.add_row("units", str(len(names)), ", ".join(names))
    table.add_row("files", "", str(settings.cache()))
    out.print(table)


@main.command()
@click.option("--remove", is_flag=True, help="Remove that unit, keep the lab.")
@click.option(
    "--name",
    envvar="PANOPTES_LAB_UNIT",
    default="panoptes-unit",
    show_default=True,
    help="What its container is called; PANOPTES_LAB_UNIT says the same to `make unit` and `make unit-clean`.",
)
def unit(remove: bool, name: str) -> None:
    """A simulated unit on this machine: provisioned, services answering, a sky image solved."""
    from . import simulated_unit

    if remove and not (settings.cache() / "lab.json").exists():
        raise LabError("there is no lab on this machine, so there is no unit to remove")
    if remove:
        simulated_unit.remove(name)
        return
    with settings.lock():
        bring_up([settings.architecture()])
    simulated_unit.make(name)


def _real_frames() -> list:
    """Maps the folder of real sky frames into the container, where this machine has it."""
    frames = Path(os.environ.get("PANOPTES_SHARED_DATA") or settings.TOP.parent / "shared" / "data")
    if not frames.is_dir():
        return []
    return ["--volume", f"{frames}:/frames:ro", "--env", "PANOPTES_SHARED_DATA=/frames"]


@main.command(name="test-image")
@click.argument("pytest_arguments", nargs=-1)
def test_image(pytest_arguments: Tuple[str, ...]) -> None:
    """The module's tests inside panoptes-utils, the checkout mapped over the module."""
    _in_image("scripts/testing/run_tests.sh", *pytest_arguments)


@main.command(name="in-image", context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED)
def in_image(words: Tuple[str, ...]) -> None:
    """COMMAND inside panoptes-utils, the checkout mapped over the module."""
    _in_image(*words)


def _in_image(*command: str) -> None:
    with settings.lock():
        lab = bring_up([settings.architecture()])
    import subprocess

    name = lab["images"]["panoptes-utils"]
    flavour = name.replace(":latest", f":{lab['architecture']}")
    sys.exit(
        subprocess.call(
            [
                lab["docker_cli"],
                "--host",
                lab["docker_host"],
                "run",
                "--rm",
                "--init",
                "--label",
                f"{settings.LABEL}={settings.NETWORK}",
                "--read-only",
                "--tmpfs",
                "/tmp",
                "--volume",
                f"{settings.TOP}:/opt/panoptes-utils:ro",
                *_real_frames(),
                flavour,
                *command,
            ]
        )
    )


main.add_command(vm)

if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except LabError as error:
        out.print(f"[red]lab:[/] {escape(str(error))}")
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        out.print("[red]lab:[/] interrupted; run it again to finish")
        sys.exit(130)
