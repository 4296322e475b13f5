"""What the images weigh, what a module change costs a unit, and what solving inside the image costs.

Run by `make bench-images`, with the lab and a simulated unit up. Exit code 1 if a figure is over its bound.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lab.settings import read_lab

TOP = Path(__file__).parents[1]
MB = 1e6
BOUNDS = {"panoptes-base": 450.0, "panoptes-utils adds": 200.0, "module change": 1.0, "solve ratio": 1.1}
LISTS = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = "application/vnd.docker.distribution.manifest.v2+json"
ROUNDS = 5
UNIT = "panoptes-unit"  # what `make unit` started

out = Console(highlight=False, record=True, width=90)


LAB = read_lab()


def docker(*words, **options) -> str:
    command = [LAB["docker_cli"], "--host", LAB["docker_host"], *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def registry(path: str, accept: str) -> dict:
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=LAB["ca_file"])),
    )
    with opener.open(
        urllib.request.Request(f"https://{LAB['registry']}/v2/{path}", headers={"Accept": accept})
    ) as answer:
        return json.load(answer)


def layers(name: str, tag: str = "latest") -> dict:
    """Flavour to its layers [(digest, bytes)]."""
    found = {}
    for one in registry(f"{name}/manifests/{tag}", LISTS)["manifests"]:
        flavour = one["platform"]["architecture"] + one["platform"].get("variant", "")
        manifest = registry(f"{name}/manifests/{one['digest']}", MANIFESTS)
        found[flavour] = [(layer["digest"], layer["size"]) for layer in manifest["layers"]]
    return found


def sizes() -> dict:
    base, utils = layers("panoptes-base"), layers("panoptes-utils")
    table = Table("flavour", "image", "layer", "compressed MB", title="Layers")
    figures = {}
    for flavour in utils:
        below = {digest for digest, _ in base[flavour]}
        for image, content in (
            ("panoptes-base", base[flavour]),
            ("panoptes-utils adds", [one for one in utils[flavour] if one[0] not in below]),
        ):
            for digest, size in content:
                table.add_row(flavour, image, digest[7:19], f"{size / MB:.3f}")
            total = sum(size for _, size in content) / MB
            table.add_row(flavour, image, "[bold]total", f"[bold]{total:.1f}", end_section=True)
            if flavour == "amd64":
                figures[image] = total
    out.print(table)
    return figures


def served(since: float) -> dict:
    """Blob digest to the bytes that the registry served of it since a moment, by its log."""
    command = [LAB["docker_cli"], "--host", LAB["docker_host"], "logs", "--since", f"{since:.3f}"]
    log = subprocess.run([*command, f"{LAB['network']}-registry"], capture_output=True, text=True)
    found: dict = {}
    for line in (log.stdout + log.stderr).splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        uri = entry.get("http.request.uri", "")
        if entry.get("http.request.method") == "GET" and "http.response.written" in entry and "/benchmark/" in uri:
            found[uri.rsplit("/", 1)[1]] = found.get(uri.rsplit("/", 1)[1], 0) + entry["http.response.written"]
    return found


def module_change() -> dict:
    """MB that a unit with the previous `latest` downloads after a change in one module file, by the registry's log."""
    flavour = LAB["architecture"]
    base = LAB["images"]["panoptes-base"].replace(":latest", f":{flavour}")
    name = f"{LAB['registry']}/benchmark/panoptes-utils"
    environment = {**os.environ, "DOCKER": LAB["docker_cli"], "DOCKER_HOST": LAB["docker_host"]}
    unit = ["exec", UNIT, "docker"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(TOP, tree, ignore=shutil.ignore_patterns(".venv", ".git", "artifacts"))
        for change in ("previous", "next"):
            out.print(f"module change: {change} release …")
            with (tree / "panoptes_utils" / "error.py").open("a", encoding="utf-8") as file:
                file.write(f"# {change} {time.time()}\n")
            command = [tree / "docker" / "build-image.sh", "utils", "--registry", f"{LAB['registry']}/benchmark"]
            command += ["--arch", flavour, "--base-image", base, "--push", "--dirty"]
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                sys.exit(done.stdout + done.stderr)
            since = time.time()
            docker(*unit, "pull", "--quiet", f"{name}:latest")
            fetched = served(since)
        docker(*unit, "rmi", f"{name}:latest")
        docker(*unit, "image", "prune", "--force")
        docker("rmi", "--force", f"{name}:{flavour}")
    table = Table("part", "kB served", title="Download of a unit after a change in one module file")
    for part, written in sorted(fetched.items(), key=lambda item: -item[1]):
        table.add_row(part[:19], f"{written / 1e3:.1f}")
    out.print(table)
    return {"module change": sum(fetched.values()) / MB}


# The same file and the same options, no position known: by the module, and by solve-field alone. Then the module as
# a unit uses it, with the position of the mount from the header.
TIMED = """
import shutil, subprocess, sys, time
from panoptes_utils.images.fits.solve import default_options, get_solve_field
frame, rounds = "/sky/frame.fits", int(sys.argv[1])
options = default_options(60)
def timed(solve):
    shutil.copyfile(frame, "/tmp/frame.fits")
    start = time.perf_counter()
    solve("/tmp/frame.fits")
    return time.perf_counter() - start
def alone(path):
    subprocess.run(["solve-field", *options, "--overwrite", path], check=True, capture_output=True)
own, peer, unit = [], [], []
for number in range(rounds):
    own.append(timed(lambda path: get_solve_field(path, timeout=60, solve_opts=options)))
    peer.append(timed(alone))
    unit.append(timed(lambda path: get_solve_field(path, timeout=60)))
print(min(own), min(peer), min(unit))
"""


def solving() -> dict:
    """Ratio of solving by the module inside the image to a bare solve-field: same options, same file, same run."""
    places = (os.environ.get("PANOPTES_SHARED_DATA"), TOP.parent / "shared" / "data")
    frames = [Path(place) / "unsolved.fits" for place in places if place]
    frame = next((path for path in frames if path.is_file()), None)
    if frame is None:
        out.print("solving: no real frame here (set PANOPTES_SHARED_DATA to its folder)")
        return {}
    image = LAB["images"]["panoptes-utils"].replace(":latest", f":{LAB['architecture']}")
    confined = [
        "--rm",
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--network",
        "none",
        "--volume",
        f"{frame}:/sky/frame.fits:ro",
    ]
    own, peer, unit = map(float, docker("run", *confined, image, "python", "-c", TIMED, ROUNDS).split()[-3:])
    out.print(f"Solving the real frame, best of {ROUNDS}: module {own:.2f} s, solve-field alone {peer:.2f} s;")
    out.print(f"module with the mount's position from the header: {unit:.2f} s")
    return {"solve ratio": own / peer}


def main() -> int:
    figures = {**sizes(), **module_change(), **solving()}
    table = Table("figure", "measured", "bound", title="Figures (MB, MB, MB, ratio)")
    for name, value in figures.items():
        good = value <= BOUNDS[name]
        table.add_row(name, f"[{'green' if good else 'red'}]{value:.3f}", f"{BOUNDS[name]:g}")
    out.print(table)
    text = f"# Figures of the images\n\n`make bench-images`, on {platform.machine()}, {os.cpu_count()} processors.\n"
    (TOP / "benchmarks" / "images.md").write_text(f"{text}\n```text\n{out.export_text()}```\n", encoding="utf-8")
    return int(any(value > BOUNDS[name] for name, value in figures.items()))


if __name__ == "__main__":
    sys.exit(main())
