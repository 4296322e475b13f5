"""The Docker engine of the unit, as narrow as the transaction needs it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Collection, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from ..errors import UnitError, refused
from ..settings import Settings
from ..sources.reference import Credentials, Reference
from .deadline import deadline

# Compose takes seconds; on an emulated or broken machine, minutes.
COMPOSE_S = 600.0
# An export is read in pieces of this size.
_CHUNK = 1 << 16


class StoredImage(NamedTuple):
    """An image as the engine knows it.

    Attributes:
        id: digest of its configuration; an engine with containerd's image store says the digest of a manifest here.
        layers: digests of its layers, unpacked, bottom first.
        size: bytes, unpacked.
    """

    id: str
    layers: Tuple[str, ...]
    size: int


class Container(NamedTuple):
    """One container of the unit's Compose project."""

    id: str
    service: str
    image: str  # as it stands in its configuration: by digest
    status: str  # created, running, restarting, exited…
    health: str  # healthy, unhealthy, starting; empty without a healthcheck
    restarts: int
    started: str
    exit_code: int
    name: str = ""  # empty where it was not asked for

    @property
    def is_renamed(self) -> bool:
        """Is it called otherwise than Compose calls it? Who asks for it by the name of its service finds none."""
        return bool(self.name) and not _is_of_service(self.name, self.service)


def _is_of_service(name: str, service: str) -> bool:
    """`messaging-hub`, or what Compose makes of it where its file says nothing: `panoptes-messaging-hub-1`."""
    return name == service or re.fullmatch(rf"[^/]+[-_]{re.escape(service)}[-_]\d+", name) is not None


def half_made(containers: List[Dict[str, Any]]) -> List[str]:
    """Ids of those that never ran and are called after the id of another one that is still there.

    Args:
        containers: as the engine lists them, with `Id`, `Names` and `State`.
    """
    names = {f"/{one['Id'][:12]}_" for one in containers}
    return [
        one["Id"]
        for one in containers
        if one["State"] == "created" and any(name[:14] in names for name in one.get("Names") or ())
    ]


class _Download:
    """What the engine's messages add up to, and whether one of them tells of progress: a repeated try is none."""

    def __init__(self) -> None:
        self._received: Dict[str, int] = {}
        self._sizes: Dict[str, int] = {}
        self._told: Set[Tuple[str, str, int]] = set()

    @property
    def received(self) -> int:
        """Bytes that arrived."""
        return sum(self._received.values())

    @property
    def size(self) -> int:
        """Bytes that are known to come."""
        return sum(self._sizes.values())

    def takes(self, line: Dict[str, Any]) -> bool:
        """Count a message; did it tell of something new?"""
        detail, layer, status = line.get("progressDetail") or {}, line.get("id", ""), line.get("status", "")
        if status == "Downloading" and detail.get("total"):
            self._sizes[layer] = detail["total"]
            self._received[layer] = max(self._received.get(layer, 0), detail.get("current", 0))
        elif status in ("Download complete", "Pull complete") and layer in self._sizes:
            self._received[layer] = self._sizes[layer]
        told = (layer, "" if status.startswith("Retrying") else status, detail.get("current", 0))
        is_new = told not in self._told
        self._told.add(told)
        return is_new


class Engine:
    """Talks to the engine through python3-docker, and to Compose through its command line."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None

    @property
    def client(self) -> Any:
        """The connection, made when first needed."""
        if self._client is None:
            docker = _sdk()

            try:
                self._client = docker.APIClient(
                    base_url=self._settings.docker_host, version="auto", timeout=self._settings.limits.stall_s
                )
            except docker.errors.DockerException as error:
                if "Permission denied" in str(error) or "PermissionError" in str(error):
                    raise refused("no permission to talk to Docker Engine") from None
                raise UnitError("Docker Engine does not answer: systemctl status docker") from None
        return self._client

    def version(self) -> str:
        """Of Docker Engine."""
        with _plain("asking for its version"):
            return str(self.client.version()["Version"])

    def root(self) -> Path:
        """Where the engine keeps its images."""
        with _plain("asking for its data folder"):
            return Path(self.client.info()["DockerRootDir"])

    def storage(self) -> Tuple[str, Path]:
        """The name of the driver that keeps the images, and the folder of the engine."""
        with _plain("asking for its data folder"):
            about = self.client.info()
        return about["Driver"], Path(about["DockerRootDir"])

    def stored(self, image: str) -> StoredImage:
        """What the engine says of an image that it has.

        Raises:
            UnitError: it has none of that name, or cannot read what it knows of it.
        """
        with _plain(f"inspecting {image}"):
            found = self.client.inspect_image(image)
        return StoredImage(found["Id"], tuple((found.get("RootFS") or {}).get("Layers") or ()), found.get("Size", 0))

    def export(self, image: str) -> Iterator[bytes]:
        """The tar that `docker save` would write, in pieces.

        Raises:
            UnitError: the engine ends it early; the message is its own.
        """
        with _plain(f"exporting {image}"):
            yield from self.client.get_image(image, chunk_size=_CHUNK)

    def free_bytes(self) -> int:
        """Room on the engine's disk."""
        return shutil.disk_usage(self.root()).free

    def is_alive(self) -> bool:
        """Does the engine answer?"""
        try:
            return bool(self.client.ping())
        except Exception:
            # Whatever it is that python3-docker or requests raise here, the engine does not answer.
            self._client = None
            return False

    def wait_ready(self, limit_s: float) -> None:
        """Wait for an engine that is starting.

        Raises:
            UnitError: it does not answer within `limit_s` seconds.
        """
        end = time.monotonic() + limit_s
        while not self.is_alive():
            if time.monotonic() > end:
                raise UnitError(f"Docker Engine did not answer within {limit_s:g} s: systemctl status docker")
            time.sleep(0.5)

    @staticmethod
    def was_lost(message: str) -> bool:
        """Does this message of Compose speak of a lost engine, and not of an image?"""
        return any(text in message for text in ("Cannot connect to the Docker daemon", "error during connect", "EOF"))

    def has(self, image: str) -> bool:
        """Is this image, by digest, on the disk?"""
        docker = _sdk()
        try:
            self.client.inspect_image(image)
        except docker.errors.ImageNotFound:
            return False
        except (docker.errors.DockerException, OSError) as error:
            raise UnitError(f"Docker Engine: looking for an image: {_reason(error)}") from None
        return True

    def platform(self, image: str) -> str:
        """The platform that an image on the disk says it is made for."""
        from ..sources.platforms import normalized

        with _plain("inspecting an image"):
            found = self.client.inspect_image(image)
        return normalized(found["Os"], found["Architecture"], found.get("Variant") or "")

    def pull(
        self,
        image: str,
        credentials: Optional[Credentials],
        progress: Callable[[int, int], None],
    ) -> int:
        """Download an image by digest while everything keeps running.

        Returns:
            The bytes received.

        Raises:
            UnitError: the download failed; the engine has dropped what was incomplete.
        """
        reference = Reference.parse(image)
        login = {"username": credentials.username, "password": credentials.password} if credentials else None
        download = _Download()
        stall = deadline(self._settings.limits.stall_s, f"the next bytes of {image}")
        with _plain(f"pulling {image}"), stall as goes_on:
            lines = self.client.pull(reference.name, tag=reference.digest, stream=True, decode=True, auth_config=login)
            for line in lines:
                if "error" in line:
                    raise UnitError(f"pulling {image}: {line['error']}")
                if download.takes(line):
                    goes_on()
                progress(download.received, download.size)
        if not self.has(image):
            raise UnitError(f"pulling {image} ended without an error, but the image is not there")
        return download.received

    def containers(self) -> List[Container]:
        """The containers of the project, running or not, as `Container`s."""
        docker = _sdk()
        label = f"com.docker.compose.project={self._settings.project}"
        found = []
        with _plain("listing containers"):
            for item in self.client.containers(all=True, filters={"label": label}):
                try:
                    detail = self.client.inspect_container(item["Id"])
                except docker.errors.NotFound:
                    continue  # removed between the list and the look
                labels = detail["Config"].get("Labels") or {}
                if labels.get("com.docker.compose.oneoff") == "True":
                    continue
                state = detail["State"]
                found.append(
                    Container(
                        id=detail["Id"],
                        service=labels.get("com.docker.compose.service", ""),
                        image=detail["Config"]["Image"],
                        status=state["Status"],
                        health=(state.get("Health") or {}).get("Status", ""),
                        restarts=detail.get("RestartCount", 0),
                        started=state.get("StartedAt", ""),
                        exit_code=state.get("ExitCode", 0),
                        name=detail.get("Name", "").lstrip("/"),
                    )
                )
        return found

    def glance(self) -> List[Container]:
        """The containers as `containers` lists them, without restarts, start and exit code.

        Through the command line: for each night's look at a unit without news, python3-docker costs more than all else.

        Raises:
            UnitError: the engine does not answer.
        """
        fields = '{{.ID}}\t{{.Label "com.docker.compose.service"}}\t{{.Image}}\t{{.State}}\t{{.Status}}\t{{.Names}}'
        project = f"label=com.docker.compose.project={self._settings.project}"
        once = "label=com.docker.compose.oneoff=False"
        words = ["ps", "--all", "--no-trunc", "--filter", project, "--filter", once, "--format", fields]
        done = self._docker("listing containers", *words)
        if done.returncode:
            raise UnitError(f"Docker Engine: listing containers: {done.stderr.strip()}")
        found = []
        for line in done.stdout.splitlines():
            number, service, image, state, text, name = line.split("\t")
            health = next((word for word in ("unhealthy", "healthy", "starting") if word in text), "")
            found.append(Container(number, service, image, state, health, 0, "", 0, name))
        return found

    def _docker(self, act: str, *words: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["docker", "--host", self._settings.docker_host, *words], capture_output=True, text=True, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnitError(f"Docker Engine: {act}: {error}") from None

    def last_words(self, container_id: str, lines: int = 3) -> str:
        """The end of a container's log, on one line."""
        docker = _sdk()
        try:
            text = self.client.logs(container_id, tail=lines).decode(errors="replace")
        except (docker.errors.DockerException, OSError):
            return ""
        return " | ".join(line.strip() for line in text.splitlines() if line.strip())[-400:]

    def services(self) -> List[str]:
        """The names of the services that the Compose file defines."""
        return sorted(json.loads(self._compose("config", "--format", "json"))["services"])

    def up(self) -> None:
        """Bring the services to what the release file says; those without a change are left alone.

        No network: the images are on the disk, and `--pull never` says so.
        """
        self._remove_half_made()
        self._remove_renamed()
        self._compose("up", "--detach", "--pull", "never", "--no-build", "--quiet-pull")

    def remove_containers(self) -> None:
        """Take away every container of the project, running or not."""
        with _plain("removing containers"):
            label = f"com.docker.compose.project={self._settings.project}"
            for one in self.client.containers(all=True, filters={"label": label}):
                self.client.remove_container(one["Id"], force=True)

    def images_with(self, layers: Collection[str]) -> List[str]:
        """Names of all images that hold one of these layers, unpacked; ids of those without a name."""
        docker = _sdk()
        found = []
        with _plain("listing images"):
            for image in self.client.images(all=True):
                try:
                    inside = (self.client.inspect_image(image["Id"]).get("RootFS") or {}).get("Layers") or ()
                except docker.errors.NotFound:
                    continue
                if set(layers) & set(inside):
                    names = [*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ())]
                    found += [name for name in names if "<none>" not in name] or [image["Id"]]
        return found

    def container_ids(self) -> Set[str]:
        """Of all containers that the engine knows, be they ours or not."""
        with _plain("listing containers"):
            return {one["Id"] for one in self.client.containers(all=True)}

    def remove_image(self, name: str) -> None:
        """Take away an image, as far as nothing else needs what is in it."""
        with _plain(f"removing {name}"):
            self.client.remove_image(name, force=True)

    def _remove_half_made(self) -> None:
        """Take away what Compose left where it gave up between making a container and putting it in its place.

        Until then the new one is called after the old one's id, and has never run; it is in the way of the next try.
        """
        with _plain("listing containers"):
            label = f"com.docker.compose.project={self._settings.project}"
            there = self.client.containers(all=True, filters={"label": label})
            for one in half_made(there):
                self.client.remove_container(one)

    def _remove_renamed(self) -> None:
        """Take away what somebody has renamed: Compose would start it as it is, and nobody would find it."""
        with _plain("removing a renamed container"):
            for one in self.containers():
                if one.is_renamed:
                    self.client.remove_container(one.id, force=True)

    def stop(self) -> None:
        """Stop every service of the project."""
        self._compose("stop")

    def prune(self, repositories: Set[str], keep: Set[str]) -> List[str]:
        """Remove images of `repositories` (names without digest) that `keep` (images by digest) does not hold.

        Returns:
            The images removed.
        """
        docker = _sdk()
        removed = []
        with _plain("listing images"):
            images = self.client.images()
        for image in images:
            names = [name for name in image.get("RepoDigests") or () if name.partition("@")[0] in repositories]
            if not names or any(name in keep for name in names):
                continue
            try:
                for name in names:
                    self.client.remove_image(name)
                    removed.append(name)
            except (docker.errors.DockerException, OSError):
                continue  # still used by something that is not ours: leave it
        return removed

    def _compose(self, *arguments: str) -> str:
        settings = self._settings
        command = [
            "docker", "--host", settings.docker_host,
            "compose", "--project-name", settings.project, "--file", settings.compose_file,
            "--env-file", settings.release_file, "--progress", "plain", *arguments,
        ]  # fmt: skip
        try:
            # close_fds=False hands the run's lock to Compose: should we be killed, the next run waits for it.
            # In a session of its own, because Ctrl-C at the terminal is for us to answer: cut short between two names
            # of a container, Compose leaves something that it cannot go on from.
            done = subprocess.run(
                command, capture_output=True, text=True, close_fds=False, start_new_session=True, timeout=COMPOSE_S
            )
        except FileNotFoundError:
            raise UnitError("the docker command is missing: run playbooks/unit.yml") from None
        except subprocess.TimeoutExpired:
            raise UnitError(f"docker compose {arguments[0]} did not end within {COMPOSE_S:g} s") from None
        if done.returncode:
            said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            said = [line for line in said if "error" in line.lower()] or said
            raise UnitError(f"docker compose {arguments[0]}: {' | '.join(said[-2:])}")
        return done.stdout


def _sdk() -> Any:
    """Debian's python3-docker; imported when first needed, for it costs a Pi a second."""
    try:
        import docker
    except ImportError:
        raise UnitError("python3-docker is missing: apt-get install python3-docker") from None
    return docker


@contextmanager
def _plain(act: str) -> Iterator[None]:
    docker = _sdk()
    import requests

    try:
        yield
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise UnitError(f"Docker Engine: {act}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)
