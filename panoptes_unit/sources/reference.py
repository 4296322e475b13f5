"""What an image is called, and with which login its registry is asked."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import NamedTuple

from ..errors import ConfigurationError

# What a bundle, or a release kept on the unit, is called while it is served to the engine on loopback.
BUNDLE_REPOSITORY = "panoptes-utils"
DIGEST = re.compile(r"^sha256:[0-9a-f]{64}\Z")
_NAME = re.compile(r"^[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*\Z")
_TAG = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")


class Reference(NamedTuple):
    """An image name taken apart: `registry/repository:tag` or `registry/repository@sha256:…`."""

    registry: str
    repository: str
    tag: str = "latest"
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read an image name as Docker does (no registry means Docker Hub, no tag means `latest`).

        Raises:
            ConfigurationError: the name is not a valid image name.
        """
        name, _, digest = text.partition("@")
        head, slash, rest = name.partition("/")
        if slash and ("." in head or ":" in head or head == "localhost"):
            registry, name = head, rest
        else:
            registry = "docker.io"
        repository, colon, tag = name.partition(":")
        if registry == "docker.io" and "/" not in repository:
            repository = f"library/{repository}"
        if colon and not _TAG.match(tag):
            raise ConfigurationError(f"{text!r} is not an image name: its tag {tag!r} is not valid")
        if not _NAME.match(repository) or (digest and not DIGEST.match(digest)):
            raise ConfigurationError(f"{text!r} is not an image name; write REGISTRY/REPOSITORY[:TAG]")
        return cls(registry, repository, tag or "latest", digest)

    @property
    def name(self) -> str:
        """`registry/repository`, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"


def read_secret(path: str, what: str) -> str:
    """The text of a file that only its owner can read.

    Raises:
        ConfigurationError: the file is absent, no text, or readable by others.
    """
    file = Path(path)
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {what} in {path}: {error}") from None
    if mode & 0o077:
        raise ConfigurationError(f"{path} has mode {mode:04o} and others can read it: chmod 0600 {path}")
    return text


class Credentials(NamedTuple):
    """User name and password (or token) for one registry."""

    username: str
    password: str

    def __repr__(self) -> str:  # never into a log
        return f"Credentials(username={self.username!r}, password='***')"

    @classmethod
    def from_file(cls, path: str) -> Credentials:
        """Read `username:password` from a file that only its owner can read.

        Raises:
            ConfigurationError: the file is absent, readable by others, or not of that form.
        """
        text = read_secret(path, "the registry credentials")
        username, colon, password = text.partition(":")
        if not (username and colon and password) or "\n" in text:
            raise ConfigurationError(f"{path} must hold one line, username:password")
        return cls(username, password)
