"""The command `panoptes-utils`: image functions, sources, index files, and the two services' own commands."""

import json
import signal
import sys
from importlib import import_module
from pathlib import Path
from time import monotonic

import click
from rich.console import Console
from rich.table import Table

import panoptes_utils
from panoptes_utils import error

# Commands of other modules, imported only when one of them is asked for, so that a damaged or slow one harms
# no other.
_MOUNTED = {
    "config": ("panoptes_utils.config.cli", "The configuration server and its keys"),
    "hub": ("panoptes_utils.messaging.cli", "The messaging hub"),
}


class _Mounted(click.Group):
    """A group whose commands live in another module."""

    def __init__(self, name, module, help_text):
        super().__init__(name=name, help=help_text)
        self.module = module

    def _target(self):
        try:
            module = import_module(self.module)
        except ImportError as why:
            raise click.ClickException(f"{self.name}: {self.module} cannot be loaded: {why}") from why
        for name in ("cli", "main"):
            if isinstance(getattr(module, name, None), click.Command):
                return getattr(module, name)
        raise click.ClickException(f"{self.name}: {self.module} has no commands")

    def make_context(self, info_name, args, parent=None, **extra):
        return self._target().make_context(info_name, args, parent=parent, **extra)

    def invoke(self, ctx):
        return ctx.command.invoke(ctx)

    def shell_complete(self, ctx, incomplete):
        return self._target().shell_complete(ctx, incomplete)


class _Commands(click.Group):
    """Turns the errors that users can cause into one line and exit code 1."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except (error.PanError, OSError) as why:
            raise click.ClickException(getattr(why, "msg", None) or str(why)) from why


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(panoptes_utils.__version__, prog_name="panoptes-utils")
@click.option("--verbose", "-v", is_flag=True, help="Log what is done.")
def main(verbose):
    """Images, sources and services of a PANOPTES unit.

    Completion for your shell: eval "$(_PANOPTES_UTILS_COMPLETE=bash_source panoptes-utils)" (or zsh_source).
    """
    from loguru import logger

    logger.remove()
    logger.add(sys.stderr, level="DEBUG" if verbose else "WARNING", format="{level: <8} {message}")
    # A plain SIGTERM would end Python without ending what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


for _name, (_module, _help) in _MOUNTED.items():
    main.add_command(_Mounted(_name, _module, _help))


def _print(values, as_json, title=None):
    """Print a flat dictionary as JSON or as a table."""
    if as_json:
        click.echo(json.dumps(values, default=str))
        return
    table = Table("", "", title=title, show_header=False, box=None)
    for key, value in values.items():
        table.add_row(str(key), f"{value:.5f}" if isinstance(value, float) else str(value))
    Console().print(table)


_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")
_existing = click.Path(exists=True, dir_okay=False, path_type=Path)


@main.command()
@_json
def version(as_json):
    """Version of the module."""
    number = panoptes_utils.__version__
    click.echo(json.dumps({"version": number}) if as_json else number)


@main.group()
def image():
    """Solve, describe and convert images."""


@image.command()
@click.argument("file", type=_existing)
@click.option("--timeout", default=60.0, show_default=True, help="Seconds in all.")
@click.option("--ra", type=float, help="Right ascension of the centre, degrees.")
@click.option("--dec", type=float, help="Declination of the centre, degrees.")
@click.option("--radius", type=float, help="Degrees around it to search.")
@click.option("--pixel-scale", type=float, help="Arcsec per pixel.")
@click.option("--force", is_flag=True, help="Solve again what has a solution.")
@click.option("--replace/--no-replace", default=True, help="Write into FILE, or beside it as NAME.new.")
@_json
def solve(file, timeout, ra, dec, radius, pixel_scale, force, replace, as_json):
    """Find where on the sky FILE points and write the solution into it.

    Where FILE's folder cannot be written to, use --no-replace on a copy.
    """
    if (ra is None) != (dec is None):
        raise click.UsageError("--ra and --dec go together")
    from panoptes_utils.images import fits

    began = monotonic()
    with Console(stderr=True).status(f"Solving {file.name} (at most {timeout:g} s)"):
        solved = fits.get_solve_field(
            file,
            replace=replace,
            timeout=timeout,
            skip_solved=not force,
            ra=ra,
            dec=dec,
            radius=radius,
            pixel_scale=pixel_scale,
        )["solved_fits_file"]
        seconds = monotonic() - began
        info = fits.get_wcsinfo(solved)
    _print(
        {
            "ra_deg": info["ra_center"].value,
            "dec_deg": info["dec_center"].value,
            "pixscale_arcsec": info["pixscale"].value,
            "orientation_deg": info["orientation_center"].value,
            "parity": info["parity"],
            "fieldw_deg": info["fieldw"].to_value("deg"),
            "fieldh_deg": info["fieldh"].to_value("deg"),
            "seconds": round(seconds, 3),
            "file": str(solved),
        },
        as_json,
        title=str(file),
    )


if __name__ == "__main__":
    main()
