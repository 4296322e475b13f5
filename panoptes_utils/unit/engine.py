"""The Docker engine of the unit, as narrow as the transaction needs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Optional

from .errors import UnitError
from .registry import Credentials, Reference
from .settings import Settings


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
                    raise UnitError("no permission to talk to Docker Engine: run this as root") from None
                raise UnitError("Docker Engine does not answer: systemctl status docker") from None
        return self._client

    def root(self) -> Path:
        """Where the engine keeps its images."""
        with _plain("asking for its data folder"):
            return Path(self.client.info()["DockerRootDir"])

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
        from .platforms import normalized

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
        received: dict = {}
        sizes: dict = {}
        with _plain(f"pulling {image}"):
            lines = self.client.pull(reference.name, tag=reference.digest, stream=True, decode=True, auth_config=login)
            for line in lines:
                if "error" in line:
                    raise UnitError(f"pulling {image}: {line['error']}")
                detail = line.get("progressDetail") or {}
                layer = line.get("id", "")
                if line.get("status") == "Downloading" and detail.get("total"):
                    sizes[layer] = detail["total"]
                    received[layer] = max(received.get(layer, 0), detail.get("current", 0))
                elif line.get("status") in ("Download complete", "Pull complete") and layer in sizes:
                    received[layer] = sizes[layer]
                progress(sum(received.values()), sum(sizes.values()))
        if not self.has(image):
            raise UnitError(f"pulling {image} ended without an error, but the image is not there")
        return sum(received.values())

    def containers(self) -> list:
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
                    )
                )
        return found

    def last_words(self, container_id: str, lines: int = 3) -> str:
        """The end of a container's log, on one line."""
        docker = _sdk()
        try:
            text = self.client.logs(container_id, tail=lines).decode(errors="replace")
        except (docker.errors.DockerException, OSError):
            return ""
        return " | ".join(line.strip() for line in text.splitlines() if line.strip())[-400:]

    def services(self) -> list:
        """The names of the services that the Compose file defines."""
        return sorted(json.loads(self._compose("config", "--format", "json"))["services"])

    def up(self) -> None:
        """Bring the services to what the release file says; those without a change are left alone.

        No network: the images are on the disk, and `--pull never` says so.
        """
        self._compose("up", "--detach", "--pull", "never", "--no-build", "--quiet-pull")

    def stop(self) -> None:
        """Stop every service of the project."""
        self._compose("stop")

    def prune(self, repositories: set, keep: set) -> list:
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
            done = subprocess.run(command, capture_output=True, text=True, close_fds=False, timeout=600)
        except FileNotFoundError:
            raise UnitError("the docker command is missing: run playbooks/unit.yml") from None
        except subprocess.TimeoutExpired:
            raise UnitError(f"docker compose {arguments[0]} did not end within 600 s") from None
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
