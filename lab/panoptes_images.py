"""panoptes-base and panoptes-utils, built by docker/build-image.sh and pushed to the lab's registry."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from .console import run, step
from .settings import DOCKER_HOST, TOP, State, cache, registry_address

NAMES = ("panoptes-base", "panoptes-utils")
# What goes into the images; docker/Dockerfile* copy nothing else.
_FOLDERS = ("docker", "panoptes", "panoptes_utils", "scripts")
_INPUTS = (*_FOLDERS, "setup.py", "pyproject.toml", "README.md", "constraints.txt", ".dockerignore")
# What stands in those folders and goes into other images.
_OTHERS = "docker/examples"


def references() -> dict:
    """Name of each image to its reference in the lab's registry."""
    return {name: f"{registry_address()}/{name}:latest" for name in NAMES}


def inputs_key(base_id: str) -> str:
    """One hash of all that the images are made of."""
    digest = hashlib.sha256(base_id.encode())
    for name in _INPUTS:
        path = TOP / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if TOP / _OTHERS in file.parents:
                continue
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc":
                digest.update(f"{file.relative_to(TOP)} {file.stat().st_mode & 0o111}".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def build(cli: str, name: str, flavours: Sequence, base: str) -> None:
    """Build one image, base or utils, of each flavour; base names what panoptes-base is built on."""
    with step(f"image panoptes-{name} for {', '.join(flavours)}"):
        _script(cli, name, flavours, "build", *(("--base-image", base) if name == "base" else ()))


def push(cli: str, name: str, flavours: Sequence) -> None:
    """Push the flavours of one image and its manifest list."""
    with step(f"push of panoptes-{name}"):
        _script(cli, name, flavours, "push", "--no-build", "--push", "--dirty")


def done(state: State, key: str, flavours: Sequence) -> bool:
    """Whether the registry already holds images of this key for these flavours."""
    made = state.get("images", {})
    if made.get("key") != key or not set(flavours) <= set(made.get("flavours", [])):
        return False
    repositories = cache() / "registry" / "docker" / "registry" / "v2" / "repositories"
    return all((repositories / name / "_manifests" / "tags" / "latest").is_dir() for name in NAMES)


def _script(cli: str, name: str, flavours: Sequence, verb: str, *options: str) -> None:
    run(
        [
            TOP / "docker" / "build-image.sh",
            name,
            "--arch",
            ",".join(flavours),
            "--registry",
            registry_address(),
            *options,
        ],
        cache() / "logs" / f"image-{name}-{verb}-{'-'.join(flavours)}.log",
        env={"DOCKER": cli, "DOCKER_HOST": DOCKER_HOST, "DOCKER_CONFIG": str(_config())},
    )


def _config() -> Path:
    """A configuration of its own for the docker command line: nobody's credentials, no left-over manifests."""
    path = cache() / "docker-config"
    path.mkdir(exist_ok=True)
    return path
