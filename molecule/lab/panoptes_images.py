"""panoptes-base and panoptes-utils for this machine, built by docker/build-image.sh and pushed to the lab's registry."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import registry
from console import run, step
from settings import DOCKER_HOST, TOP, State, cache, registry_address

import docker

NAMES = ("panoptes-base", "panoptes-utils")
# What goes into the images; docker/Dockerfile* copy nothing else.
_INPUTS = ("docker", "panoptes_utils", "scripts", "setup.py", "pyproject.toml", "README.md", ".dockerignore")


def references() -> dict:
    """Name of each image to its reference in the lab's registry."""
    return {name: f"{registry_address()}/{name}:latest" for name in NAMES}


def inputs_key(base_ids: Sequence) -> str:
    """One hash of all that the images are made of."""
    digest = hashlib.sha256(" ".join(base_ids).encode())
    for name in _INPUTS:
        path = TOP / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc":
                digest.update(f"{file.relative_to(TOP)} {file.stat().st_mode & 0o111}".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def build(cli: str, flavours: Sequence, base: str) -> None:
    """Build both images of each flavour."""
    with step(f"images {' and '.join(NAMES)} for {', '.join(flavours)}"):
        _script(cli, flavours, "images-build", "--base-image", base)


def push(cli: str, flavours: Sequence) -> None:
    """Push the flavours and the manifest lists."""
    with step(f"push to {registry_address()}"):
        _script(cli, flavours, "images-push", "--no-build", "--push", "--dirty")


def done(api: docker.DockerClient, state: State, key: str, flavours: Sequence, ca_file: Path) -> bool:
    """Whether the registry already serves images of this key for these flavours."""
    made = state.get("images", {})
    if made.get("key") != key or not set(flavours) <= set(made.get("flavours", [])):
        return False
    return all(registry.answers(ca_file, f"/v2/{name}/manifests/latest") for name in NAMES)


def _script(cli: str, flavours: Sequence, log: str, *options: str) -> None:
    run(
        [
            TOP / "docker" / "build-image.sh",
            "all",
            "--arch",
            ",".join(flavours),
            "--registry",
            registry_address(),
            *options,
        ],
        cache() / "logs" / f"{log}.log",
        env={"DOCKER": cli, "DOCKER_HOST": DOCKER_HOST, "DOCKER_CONFIG": str(_config())},
    )


def _config() -> Path:
    """A configuration of its own for the docker command line: nobody's credentials, no left-over manifests."""
    path = cache() / "docker-config"
    path.mkdir(exist_ok=True)
    return path
