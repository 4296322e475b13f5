"""The command `panoptes-utils`: image functions, sources, index files, and the two services' own commands."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any, Dict, NoReturn, Optional, Tuple, Union

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

import panoptes_utils
from panoptes_utils.error import InvalidCommand, PanError, SolveError

# Commands of other modules, imported only when one of them is asked for, so that a damaged or slow one harms no other.
_SERVICES = {
    "config": ("panoptes_utils.config.cli", "The configuration server and its keys (as panoptes-config-server)."),
    "hub": ("panoptes_utils.messaging.cli", "The messaging hub (as panoptes-messaging-hub)."),
}


def _service(name: str, module: str, help_text: str) -> click.Command:
    """A command that hands its arguments to a service's own command line."""

    @click.command(name, help=help_text, add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def command(ctx: click.Context, arguments: Tuple[str, ...]) -> NoReturn:
        try:
            service = import_module(module)
        except ImportError as error:
            raise click.ClickException(f"{name}: {module} cannot be loaded: {error}") from error
        ctx.exit(service.main(list(arguments)) or 0)

    return command


class _Commands(click.Group):
    """Turns the errors that users can cause into one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (PanError, OSError) as error:
            raise click.ClickException(getattr(error, "msg", None) or str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(panoptes_utils.__version__, prog_name="panoptes-utils")
@click.option("--verbose", "-v", is_flag=True, help="Log what is done.")
def main(verbose: bool) -> None:
    """Images, sources and services of a PANOPTES unit.

    Completion for your shell: eval "$(_PANOPTES_UTILS_COMPLETE=bash_source panoptes-utils)" (or zsh_source).
    """
    from panoptes_utils.logging import logger

    logger.remove()
    logger.add(sys.stderr, level="DEBUG" if verbose else "WARNING", format="{level: <8} {message}")
    # A plain SIGTERM would end Python without ending what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


for _name, (_module, _help) in _SERVICES.items():
    main.add_command(_service(_name, _module, _help))


def _print(values: Dict[str, Any], as_json: bool, title: Optional[str] = None) -> None:
    """Print a flat dictionary as JSON or as a table."""
    if as_json:
        click.echo(json.dumps(values, default=str))
        return
    table = Table("", "", title=Text(title) if title else None, show_header=False, box=None)
    for key, value in values.items():
        table.add_row(str(key), Text(f"{value:.5f}" if isinstance(value, float) else str(value)))
    _show(table)


def _show(table: Table) -> None:
    """Print a table, wider than the terminal if it must be: a number that is cut is another number."""
    console = Console()
    wide = console.options.update(max_width=100_000)
    needed = max(table.__rich_measure__(console, wide).maximum, len(str(table.title or "")))
    Console(width=max(console.width, needed)).print(table, crop=False, soft_wrap=False)


_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")
_existing = click.Path(exists=True, dir_okay=False, path_type=Path)


class _Extension(click.ParamType):
    """Number or name of a header-data unit."""

    name = "number or name"

    def convert(self, value: Any, param: Any, ctx: Any) -> Union[int, str]:
        return int(value) if str(value).isdecimal() else str(value)


def _which_image(command: Any) -> Any:
    """Options that say which image of a file is meant."""
    extension = click.option("--extension", type=_Extension(), help="Where the image is; default: the first image.")
    plane = click.option("--plane", type=click.IntRange(0), help="Plane of a cube, from 0; default: the mean of all.")
    return extension(plane(command))


@main.command()
@_json
def version(as_json: bool) -> None:
    """Version of the module."""
    number = panoptes_utils.__version__
    click.echo(json.dumps({"version": number}) if as_json else number)


@main.group()
def image() -> None:
    """Solve, describe and convert images."""


@image.command()
@click.argument("file", type=_existing)
@click.option("--timeout", default=60.0, show_default=True, help="Time limit for all attempts, in seconds.")
@click.option("--ra", type=float, help="Right ascension of the centre, degrees.")
@click.option("--dec", type=float, help="Declination of the centre, degrees.")
@click.option("--radius", type=float, help="Degrees around it to search.")
@click.option("--pixel-scale", type=float, help="Arcsec per pixel.")
@click.option("--force", is_flag=True, help="Solve again even if there is a solution.")
@click.option("--replace/--no-replace", default=True, help="Write into FILE, or beside it as NAME.new.")
@_which_image
@_json
def solve(
    file: Path,
    timeout: float,
    ra: Optional[float],
    dec: Optional[float],
    radius: Optional[float],
    pixel_scale: Optional[float],
    force: bool,
    replace: bool,
    extension: Union[int, str, None],
    plane: Optional[int],
    as_json: bool,
) -> None:
    """Find where on the sky FILE points and write the solution into it.

    What FILE's header tells, and what you say, is tried and then given up, all within the time limit. "attempt" says
    which attempt found the solution, "stars" how many stars match the catalogue, "residual_arcsec" how well.

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
            extension=extension,
            plane=plane,
        )
        seconds = monotonic() - began
        path = solved["solved_fits_file"]
        info = fits.get_wcsinfo(path, extension=extension)
    values = {**_solution(info), **_evidence(solved), "seconds": round(seconds, 3), "file": str(path)}
    _print(values, as_json, title=str(file))


def _evidence(header: Any) -> Dict[str, Any]:
    """What speaks for a solution, as its header has it; nothing where solve-field alone wrote it."""
    names = {"attempt": "SOLVHOW", "stars": "SOLVNUM", "residual_arcsec": "SOLVRMS"}
    return {name: header[key] for name, key in names.items() if key in header}


def _solution(info: Dict[str, Any]) -> Dict[str, Any]:
    """What wcsinfo says, as plain numbers."""
    return {
        "ra_deg": info["ra_center"].value,
        "dec_deg": info["dec_center"].value,
        "pixscale_arcsec": info["pixscale"].value,
        "orientation_deg": info["orientation_center"].value,
        "parity": info["parity"],
        "fieldw_deg": info["fieldw"].to_value("deg"),
        "fieldh_deg": info["fieldh"].to_value("deg"),
    }


@image.command()
@click.argument("file", type=_existing)
@_which_image
@_json
def info(file: Path, extension: Union[int, str, None], plane: Optional[int], as_json: bool) -> None:
    """Tell what FILE is: size, exposure, position of the mount, solution.

    "solved" says whether there is a solution; coordinates that a mount or a driver wrote are none, and are not shown.
    """
    from panoptes_utils.images import fits

    header, data = fits.readable_image(file, extension, plane)
    wanted = ("FIELD", "DATE-OBS", "EXPTIME", "ISO", "FILTER", "CAMTEMP", "RA-MNT", "DEC-MNT", "OBSERVER", "INSTRUME")
    values = {"file": str(file), "width": data.shape[-1], "height": data.shape[-2], "type": str(data.dtype)}
    values.update({key: header[key] for key in wanted if key in header})
    values["solved"] = fits.is_solved(header)
    if values["solved"]:
        values.update(_evidence(header))
        with suppress(SolveError, InvalidCommand):
            values.update(_solution(fits.get_wcsinfo(file, extension=extension)))
    _print(values, as_json)


@image.command()
@click.argument("files", type=_existing, nargs=-1, required=True)
@click.option("--to", type=click.Choice(["fits", "jpg", "pgm", "fz"]), required=True, help="What to make.")
@click.option("--overwrite", is_flag=True, help="Replace what exists.")
@_which_image
def convert(
    files: Tuple[Path, ...], to: str, overwrite: bool, extension: Union[int, str, None], plane: Optional[int]
) -> None:
    """Convert raw files (.cr2, .dng) to fits, jpg or pgm, and FITS images to jpg, fz (compressed) or back to fits.

    The new file stands beside the old one. fz, and fits from .fz, take the place of the old one. --extension and
    --plane are for the jpg of a FITS image.
    """
    for file in track(files, description="Converting", console=Console(stderr=True), disable=len(files) == 1):
        click.echo(_convert(file, to, overwrite, extension=extension, plane=plane))


def _convert(file: Path, to: str, overwrite: bool, **which: Any) -> Union[str, Path]:
    from panoptes_utils.images import cr2, fits, make_pretty_image
    from panoptes_utils.images.fits.opening import FITS_SUFFIXES, is_fits_name

    kind = file.suffix.lower()
    raw = kind in (".cr2", ".dng")
    if raw and to == "fits":
        return cr2.cr2_to_fits(file, overwrite=overwrite)
    if raw and to == "pgm":
        return cr2.cr2_to_pgm(file, overwrite=overwrite)
    if raw and to == "jpg":
        return cr2.cr2_to_jpg(file, overwrite=overwrite)
    if is_fits_name(file) and to == "jpg":
        made = make_pretty_image(file, **which)
        if made is None:
            raise FileNotFoundError(f"{file}: no such file")
        return made
    if kind in FITS_SUFFIXES and to == "fz":
        return fits.fpack(file, overwrite=overwrite)
    if kind == ".fz" and to == "fits":
        return fits.funpack(file, overwrite=overwrite)
    raise click.UsageError(f"{file}: {kind or 'this kind of file'} cannot be made into {to}")


@image.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--to", type=click.Choice(["fits", "jpg", "pgm"]), default="jpg", help="What to make.")
@click.option("--solve", "also_solve", is_flag=True, help="Solve the FITS images too.")
@click.option("--interval", default=2.0, show_default=True, help="Seconds between two checks of the folder.")
@click.option("--limit", type=int, help="End after this many images.")
def watch(folder: Path, to: str, also_solve: bool, interval: float, limit: Optional[int]) -> None:
    """Convert each image that appears in FOLDER or below, until interrupted.

    An image is taken when its size has not changed between two checks.
    """
    from time import sleep

    kinds = {".cr2", ".dng", ".fits"} if to == "jpg" else {".cr2", ".dng"}
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.suffix.lower() in kinds}
    finished, done = set(sizes), 0
    with Console(stderr=True).status(f"Watching {folder}"):
        while limit is None or done < limit:
            for path in sorted(folder.rglob("*")):
                if path.suffix.lower() not in kinds or path.name.startswith(".") or path in finished:
                    continue
                size = path.stat().st_size
                if size == 0 or sizes.get(path) != size:
                    sizes[path] = size
                    continue
                finished.add(path)
                done += 1
                try:
                    made = Path(_convert(path, to, overwrite=True))
                    finished.add(made)
                    if also_solve:
                        _solve_first_fits(made, path)
                    click.echo(made)
                except (PanError, OSError) as error:  # one bad image must not end the night
                    click.echo(f"{path}: {getattr(error, 'msg', None) or error}", err=True)
            sleep(interval)


def _solve_first_fits(*paths: Any) -> None:
    from panoptes_utils.images import fits

    for path in paths:
        if path.suffix.lower() == ".fits":
            fits.get_solve_field(path)
            return


@main.command()
@click.argument("file", type=_existing)
@click.option("--method", type=click.Choice(["sextractor", "sep", "photutils"]), default="sextractor", help="How.")
@click.option("--match", is_flag=True, help="Only sources that are Tycho-2 stars, with their magnitudes.")
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the table there.")
@_which_image
@_json
def sources(
    file: Path,
    method: str,
    match: bool,
    csv_file: Optional[Path],
    extension: Union[int, str, None],
    plane: Optional[int],
    as_json: bool,
) -> None:
    """Find the point sources in FILE."""
    from panoptes_utils.files import replacing
    from panoptes_utils.sources import lookup_point_sources

    table = lookup_point_sources(file, method=method, catalog_match=match, extension=extension, plane=plane)
    if csv_file:
        with replacing(csv_file) as draft:
            table.to_csv(draft, index=False)
    if as_json:
        click.echo(table.to_json(orient="records"))
        return
    shown = ["x", "y", "ra", "dec", "flux_best", "fwhm_image"]
    out = Table(
        *shown, *(["V_T", "arcsec off"] if match else []), title=Text(f"{file}: {len(table)} sources, brightest:")
    )
    names = [f"{method}_{name}" for name in shown] + (["catalog_vmag", "catalog_sep_arcsec"] if match else [])
    for row in table[names].head(10).itertuples(index=False):
        out.add_row(*(f"{value:.3f}" for value in row))
    _show(out)


@main.group()
def data() -> None:
    """Files that a unit needs from the network once."""


@data.command()
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Default: $PANDIR/astrometry/data.")
@click.option("--wide-field/--no-wide-field", default=True, help="Tycho-2 index files, for camera lenses.")
@click.option("--narrow-field/--no-narrow-field", default=False, help="2MASS index files, for telescopes.")
@click.option("--keep-going/--no-keep-going", default=True, help="Go on after a failure.")
@click.option("--earth-orientation/--no-earth-orientation", default=True, help="The table of the Earth's orientation.")
@click.option("--index-url", help="Address to fetch index files from.")
def download(
    folder: Optional[Path],
    wide_field: bool,
    narrow_field: bool,
    keep_going: bool,
    earth_orientation: bool,
    index_url: str,
) -> None:
    """Fetch index files for solving, and the Earth's orientation; again: resume what broke off."""
    from panoptes_utils.data import INDEX_URL, Downloader

    downloader = Downloader(
        data_folder=folder,
        wide_field=wide_field,
        narrow_field=narrow_field,
        keep_going=keep_going,
        verbose=True,
        earth_orientation=earth_orientation,
        index_url=index_url or INDEX_URL,
    )
    if not downloader.download_all_files():
        raise click.ClickException("not everything could be fetched; see above, and run again to resume")


if __name__ == "__main__":
    main()
