#!/usr/bin/env python3
"""`make settings`: asks what differs from unit to unit and writes inventory/group_vars/units/90-mine.yml.

What stands in that file already, settings and comments, stays; only the answers change.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Callable

try:
    import click
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
except ImportError as error:
    sys.exit(f"settings: {error}; type: sudo apt-get install python3-click python3-ruamel.yaml")

TOP = Path(__file__).resolve().parents[1]
SHIPPED = ("10-defaults.yml", "20-wiring.yml")
MINE = "90-mine.yml"

yaml = YAML()
yaml.preserve_quotes = True
yaml.width = 4096
yaml.explicit_start = True
yaml.indent(mapping=2, sequence=4, offset=2)


def load_place() -> ModuleType:
    """How places are typed, as the playbooks read them too."""
    path = TOP / "plugins" / "filter" / "unit_place.py"
    spec = importlib.util.spec_from_file_location("unit_place", path)
    if spec is None or spec.loader is None:
        raise click.ClickException(f"{path} cannot be loaded: check the files out again")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


unit_place = load_place()


def text(value: str) -> str:
    """A name of 1 to 100 characters."""
    if any(braces in value for braces in ("{{", "{%", "{#")):
        raise ValueError("must not have {{, {% or {#, which begin a template in Ansible's files")
    if not 1 <= len(value.strip()) <= 100:
        raise ValueError("must have 1 to 100 characters")
    return value.strip()


def pan_id(value: str) -> str:
    """An identifier, in capitals."""
    if not re.fullmatch(r"PAN\d{3,}", value.strip().upper(), re.ASCII):
        raise ValueError("must be PAN and three digits, such as PAN012")
    return value.strip().upper()


def time_zone(value: str) -> str:
    """A time zone that this machine knows, so that its offset can be told."""
    name = str(unit_place.time_zone(value))
    unit_place.standard_offset_minutes(name)
    return name


def registry(value: str) -> str:
    """A registry's address, with a path in it or without."""
    found = re.fullmatch(r"[\w.-]+(?::\d{1,5})?(?:/[a-z0-9._-]+)*", value.strip(), re.ASCII)
    if not found:
        raise ValueError("must be an address and a path, such as ghcr.io/panoptes, without https:// and without a tag")
    return value.strip()


@dataclass(frozen=True)
class Question:
    """One thing that is asked: the option, where its answer is written, and what it must be."""

    option: str
    says: str
    place: tuple[str, ...]
    check: Callable[[str], str]

    @property
    def argument(self) -> str:
        """The name under which click hands the option on."""
        return self.option.lstrip("-").replace("-", "_")


WHERE = ("panoptes_location",)
QUESTIONS = (
    Question("--name", "What people call the unit", ("panoptes_name",), text),
    Question("--pan-id", "Its identifier, PAN and three digits", ("panoptes_pan_id",), pan_id),
    Question("--site", "What the place is called", (*WHERE, "name"), text),
    Question("--latitude", "Latitude, such as -34.05 or 34.05 S", (*WHERE, "latitude"), unit_place.latitude),
    Question("--longitude", "Longitude, such as 150.99 or 150.99 E", (*WHERE, "longitude"), unit_place.longitude),
    Question("--elevation", "Elevation, such as 120 m or 394 ft", (*WHERE, "elevation"), unit_place.elevation),
    Question("--timezone", "Time zone of the place", (*WHERE, "timezone"), time_zone),
    Question("--registry", "Registry that it takes releases from", ("panoptes_registry",), registry),
)


def load(path: Path) -> Any:
    """The settings in a file, with its comments.

    Raises:
        click.ClickException: it cannot be read, or holds no settings.
    """
    try:
        found = yaml.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{path} cannot be read: {error}") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise click.ClickException(f"{path}{line} is not YAML: mend it, then type the command again") from None
    if not isinstance(found, dict):
        raise click.ClickException(f"{path} holds no settings: mend or remove it, then type the command again")
    return found


def write(path: Path, document: Any) -> None:
    """Puts the file in place in one step; one that exists keeps its mode."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    # Ansible does not load a name that begins with a dot.
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", encoding="utf-8", delete=False) as file:
        try:
            yaml.dump(document, file)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def take_over(old: dict[str, Any], document: Any, defaults: dict[str, Any], wiring: dict[str, Any]) -> list[str]:
    """Puts into the document what a person has changed in an old units.yml.

    Returns:
        Names that are the project's own and differ from today's: a person has to judge whether they are wanted.
    """
    changed = {name: value for name, value in old.items() if name not in wiring and value != defaults.get(name)}
    document.update(changed)
    return [name for name, value in wiring.items() if name in old and old[name] != value]


def present(document: dict[str, Any], place: tuple[str, ...]) -> str:
    """What stands in the document now, as text; empty where nothing does."""
    value: Any = document
    for name in place:
        value = value.get(name, "") if isinstance(value, dict) else ""
    return str(value)


def checked(
    given: dict[str, str | None], known: bool, questions: tuple[Question, ...] = QUESTIONS
) -> dict[Question, str | None]:
    """The answers that were given as options; none at all means that each is to be asked for.

    Args:
        given: what click hands on, by argument.
        known: whether there are values of a person already, which stay where no option is given.
    """
    answers: dict[Question, str | None] = {}
    problems = []
    for question in questions:
        value = given[question.argument]
        try:
            answers[question] = None if value is None else question.check(value)
        except ValueError as error:
            problems.append(f"{question.option} {value}: {error}")
    options_only = not sys.stdin.isatty() or any(value is not None for value in given.values())
    missing = [question.option for question in questions if given[question.argument] is None]
    if missing and options_only and not known:
        problems.append(f"give {', '.join(missing)} too, or no option at all, on a terminal, to be asked")
    if problems:
        for problem in problems:
            click.echo(f"settings: {problem}", err=True)
        sys.exit(2)
    return answers if options_only else {}


def ask(question: Question, default: str) -> str:
    """Asks on the terminal until the answer can be used; Enter alone keeps what there is."""

    def check(value: str) -> str:
        try:
            return value if value == default else question.check(value)
        except ValueError as error:
            raise click.UsageError(f"{value}: {error}") from None

    return str(click.prompt(question.says, default=default, value_proc=check))


def options(command: Callable[..., None], questions: tuple[Question, ...] = QUESTIONS) -> Callable[..., None]:
    """Gives a command an option for each question."""
    for question in reversed(questions):
        command = click.option(question.option, metavar="TEXT", help=f"{question.says}.")(command)
    return command


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@options
@click.option("--from", "source", type=click.Path(path_type=Path), help="An edited units.yml of before, to take over.")
@click.option(
    "--inventory",
    type=click.Path(path_type=Path),
    default=TOP / "inventory",
    help="Another inventory than the shipped.",
)
def main(source: Path | None, inventory: Path, **given: str | None) -> None:
    """Ask for this unit's settings and write them to inventory/group_vars/units/90-mine.yml.

    With options nothing is asked: a first time all are needed, later the others stay as they are.
    """
    folder = inventory / "group_vars" / "units"
    mine, before = folder / MINE, inventory / "group_vars" / "units.yml"
    defaults, wiring = (load(folder / name) for name in SHIPPED)
    old = source or (before if before.exists() and not mine.exists() else None)
    known = mine.exists() or old is not None
    document = load(mine if mine.exists() else folder / f"{MINE}.sample")
    judge = take_over(load(old), document, defaults, wiring) if old else []

    answers = checked(given, known)
    # All lines are written, so that a person sees what can be changed.
    location = document.setdefault("panoptes_location", {})
    if not isinstance(location, dict):
        raise click.ClickException(f"panoptes_location in {mine} must have lines of its own: mend it by hand")
    for name, value in unit_place.completed(location, defaults["panoptes_location"]).items():
        location.setdefault(name, value)
    for question in QUESTIONS:
        now = present({**defaults, **document}, question.place)
        answer = answers[question] if answers else ask(question, now)
        if answer is None or answer == now:
            continue
        *above, last = question.place
        (location if above else document)[last] = answer
        if last == "timezone":
            location["gmt_offset"] = unit_place.standard_offset_minutes(answer)
    write(mine, document)

    for doubt in [] if unit_place.problems(location) else unit_place.doubts(location):
        click.echo(f"settings: {doubt}", err=True)
    click.echo(f"{mine} is written; 10-defaults.yml beside it explains what else can be set.")
    for name in judge:
        click.echo(f"{name} in {old} is not taken over: if you changed it, write it into {MINE} yourself.")
    if before.exists():
        before.replace(before.with_suffix(".yml.old"))
        click.echo(f"{before} is now {before.name}.old: Ansible does not read it beside the folder units.")


if __name__ == "__main__":
    main(prog_name="settings")
