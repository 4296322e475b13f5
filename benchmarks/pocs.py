#!/usr/bin/env python3
"""POCS' own tests with this module, and with the panoptes-utils of PyPI: is there one that only ours fails?

One environment with all that POCS needs but panoptes-utils, in ~/.cache/panoptes/pocs; each of the two is put in
front of it in turn, so that nothing else differs. Tests whose outcomes differ are run once more, alone. Writes
benchmarks/pocs.md; exit code 1 if a test passes with the other and not with ours.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "panoptes" / "pocs"
# POCS wants 3.12 or later; the images have 3.13.
PYTHONS = ("3.13", "3.12")
# What POCS' tests need: its group `testing`, what it imports all the same, and a limit for a test that hangs.
NEEDED = (
    *("google-cloud-firestore", "google-cloud-logging", "google-cloud-storage", "pycodestyle", "pytest"),
    *("pytest-doctestplus", "pytest-loguru", "pytest-remotedata", "pytest-timeout", "responses"),
)
# What the distribution is made of.
PARTS = ("setup.py", "pyproject.toml", "README.md", "panoptes", "panoptes_utils", "panoptes_unit", "panoptes_fleet")
# The order in which outcomes of one test count: setup, call and end each have one.
WORST = ("error", "failed", "skipped", "passed")
LIMIT_S, LIMIT_ALL_S = 300, 3600


def say(text):
    print(f"pocs: {text}", file=sys.stderr, flush=True)


def find_python():
    """A Python that is new enough for POCS."""
    for version in PYTHONS:
        places = [
            shutil.which(f"python{version}"),
            *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python")),
        ]
        for place in filter(None, places):
            # A shim of pyenv answers only where its version is chosen.
            if subprocess.run([place, "-c", "import ensurepip, venv"], capture_output=True).returncode == 0:
                return str(place)
    raise SystemExit(f"pocs: no Python {' or '.join(PYTHONS)} with venv here; install one, or name it with --python")


def run(*words, **options):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, **options)
    if done.returncode:
        raise SystemExit(f"pocs: {' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done.stdout


def bare_environment(**more):
    """The variables of this machine without what says something of a unit, or of another Python.

    Without $PANDIR a relative `directories.base` is below the working directory for both; ours would take $PANDIR.
    """
    known = {
        k: v for k, v in os.environ.items() if not k.startswith(("PANOPTES_", "PYTHON", "POCS", "PANDIR", "PANLOG"))
    }
    return {**known, **more}


def make_environment(python, pocs, upstream):
    """The folder with `env`, `ours`, `upstream` and POCS' `source`; filled where it is not, but for ours, always."""
    version = run(python, "-c", "import platform; print(platform.python_version())").strip()
    folder = CACHE / f"{pocs}-{upstream}-{version}"
    interpreter = folder / "env" / "bin" / "python"
    pip = (interpreter, "-m", "pip", "--quiet", "--disable-pip-version-check")
    with tempfile.TemporaryDirectory() as made:
        # A build leaves files in the folder that it builds in.
        mine = Path(made)
        for name in PARTS:
            copy = shutil.copytree if (TOP / name).is_dir() else shutil.copy
            copy(TOP / name, mine / name)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            say(f"an environment with POCS {pocs} on Python {version}, in {folder} (some minutes)")
            run(python, "-m", "venv", folder / "env")
            theirs = f"panoptes-utils[config,images]=={upstream}"
            run(*pip, "install", f"panoptes-pocs[focuser,weather]=={pocs}", theirs, *NEEDED)
            # What ours needs besides; then neither of them is left.
            run(*pip, "install", f"{mine}[config,images]")
            run(*pip, "uninstall", "--yes", "panoptes-utils")
            run(*pip, "install", "--no-deps", "--target", folder / "upstream", f"panoptes-utils=={upstream}")
            run(
                *pip,
                "download",
                "--no-deps",
                "--no-binary",
                "panoptes-pocs",
                "--dest",
                folder,
                f"panoptes-pocs=={pocs}",
            )
            (archive,) = folder.glob("panoptes_pocs-*.tar.gz")
            run(interpreter, "-m", "tarfile", "--filter", "data", "--extract", archive, folder / "unpacked")
            next((folder / "unpacked").iterdir()).rename(folder / "source")
            (folder / "complete").touch()
        shutil.rmtree(folder / "ours", ignore_errors=True)
        run(*pip, "install", "--no-deps", "--target", folder / "ours", mine)
    return folder, version


def outcomes(folder, which, names=()):
    """Name of each test to its outcome and what it said, with one of the two modules."""
    with tempfile.TemporaryDirectory() as made:
        work, record = Path(made) / "source", Path(made) / "outcomes"
        shutil.copytree(folder / "source", work)
        shutil.copy(HERE / "pocs_outcomes.py", made)
        home = Path(made) / "home"
        home.mkdir()
        environment = bare_environment(
            HOME=str(home),
            POCS_OUTCOMES=str(record),
            PYTHONPATH=f"{folder / which}:{made}",
            PATH=f"{folder / which / 'bin'}:{folder / 'env' / 'bin'}:{os.environ['PATH']}",
        )
        environment.pop("XDG_CACHE_HOME", None)
        # POCS' own options, but for the one that stops at the first failure.
        options = ("-o", "addopts=--doctest-ignore-import-errors --doctest-modules", "-p", "pocs_outcomes")
        command = [folder / "env" / "bin" / "python", "-m", "pytest", "-q", *options, f"--timeout={LIMIT_S}", *names]
        log = folder / f"{which}{'-again' if names else ''}.log"
        with log.open("w") as said:
            try:
                subprocess.run(
                    list(map(str, command)), cwd=work, env=environment, stdout=said, stderr=said, timeout=LIMIT_ALL_S
                )
            except subprocess.TimeoutExpired:
                say(f"{which}: stopped after {LIMIT_ALL_S} s; {log}")
        if not record.exists():
            raise SystemExit(f"pocs: no test was run with {which}; see {log}")
        found = {}
        for line in record.read_text(encoding="utf-8").splitlines():
            name, outcome, message = json.loads(line)
            known = found.get(name)
            if known is None or WORST.index(outcome) < WORST.index(known[0]):
                found[name] = (outcome, message)
    return found


def told(found, name):
    """The outcome of one test."""
    return found.get(name, ("not run", ""))[0]


def differing(ours, theirs):
    """Names of the tests that end otherwise with the other."""
    return [name for name in dict.fromkeys([*theirs, *ours]) if told(ours, name) != told(theirs, name)]


def shown(name):
    """A test as the page names it: below POCS' folder `tests`, which is not that of this repository."""
    return name.removeprefix("tests/")


def row(*cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def page(options, python, found, names, again):
    """The text of pocs.md: what was found with ours and the other, and again for the tests that are named."""
    ours, theirs = found
    version = (TOP / "panoptes_utils" / "VERSION").read_text(encoding="utf-8").strip()
    kinds = ("passed", "failed", "error", "skipped")
    lines = [
        "# POCS with this module, and with the other",
        "",
        f"Made by `make test-pocs`: the tests in the source distribution of POCS {options.pocs}, on Python {python}.",
        "Skipped are those that want hardware, TheSkyX, or `--test-solve`. But for panoptes-utils both runs have the",
        "same packages. Tests with different outcomes were run once more, without the others: some look at the",
        "clock, and fail on a busy machine.",
        "",
        row("panoptes-utils", "passed", "failed", "errors", "skipped"),
        row(*["---"] * 5),
    ]
    for name, each in ((f"ours, {version}", ours), (f"the other, {options.upstream}", theirs)):
        lines.append(row(name, *(sum(1 for outcome, _ in each.values() if outcome == kind) for kind in kinds)))
    lines += ["", "## Outcomes that differ", ""]
    if names:
        lines += [row("test", "ours", "the other", "ours, again", "the other, again"), row(*["---"] * 5)]
        lines += [row(f"`{shown(name)}`", *(told(each, name) for each in (*found, *again))) for name in names]
    else:
        lines.append("None.")
    lines += ["", "## Failures and errors with both", ""]
    both = [name for name, (outcome, _) in ours.items() if outcome in WORST[:2] and name not in names]
    lines += [f"- `{shown(name)}`: {ours[name][1]}" for name in both] or ["None."]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pocs", default="0.8.6", help="version of panoptes-pocs [0.8.6]")
    parser.add_argument("--upstream", default="0.3.8", help="version of the other panoptes-utils [0.3.8]")
    parser.add_argument("--python", help="a Python that POCS runs on [3.13 or 3.12, where it is found]")
    parser.add_argument("--output", type=Path, default=HERE / "pocs.md")
    options = parser.parse_args()
    folder, python = make_environment(options.python or find_python(), options.pocs, options.upstream)
    say(f"all tests with panoptes-utils {options.upstream}; {folder / 'upstream.log'}")
    theirs = outcomes(folder, "upstream")
    say(f"all tests with ours; {folder / 'ours.log'}")
    ours = outcomes(folder, "ours")
    names = differing(ours, theirs)
    again = ({}, {})
    if names:
        say(f"{len(names)} tests whose outcomes differ, once more with each")
        again = (outcomes(folder, "ours", names), outcomes(folder, "upstream", names))
    options.output.write_text(page(options, python, (ours, theirs), names, again), encoding="utf-8")
    worse = [name for name in names if told(again[0], name) != "passed" and told(again[1], name) == "passed"]
    for name in worse:
        say(f"passes with the other and not with ours: {name}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
