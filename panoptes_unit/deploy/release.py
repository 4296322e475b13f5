"""A release: which image, by digest, the unit runs. `release.env` is the only pointer to it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from ..errors import ConfigurationError
from ..files import put_aside, write_durably

# A whole one: half a digest is what a file that was cut has.
_BY_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Release:
    """One image on one platform.

    Attributes:
        image: `registry/repository@sha256:…`, the digest of this platform's manifest.
        index: digest of the manifest list that the tag pointed to.
        tag: the tag it was found under.
        platform: in OCI notation, such as `linux/arm/v7`.
        layers: digests of its layers, to know what need not be downloaded again.
        config: digest of its configuration; empty where it was installed before this was kept.
    """

    image: str
    index: str
    tag: str
    platform: str
    layers: Tuple[str, ...] = ()
    config: str = ""

    @property
    def digest(self) -> str:
        """The platform's manifest digest."""
        return self.image.partition("@")[2]

    @property
    def registry(self) -> str:
        """Where it came from, `host[:port][/path]`: a registry, or the loopback address that served a bundle."""
        return self.image.partition("@")[0].rpartition("/")[0]

    def as_dict(self) -> Dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "layers": list(self.layers)}

    @classmethod
    def from_dict(cls, document: Optional[Dict[str, Any]]) -> Optional[Release]:
        """Back from JSON; None stays None.

        Raises:
            KeyError, TypeError: it is no release.
        """
        if not document:
            return None
        known = {key: document[key] for key in ("image", "index", "tag", "platform")}
        layers = tuple(document.get("layers", ()))
        config = document.get("config", "")
        if not all(isinstance(text, str) for text in (*known.values(), *layers, config)):
            raise TypeError("a release is made of texts")
        return cls(**known, layers=layers, config=config)

    def as_env(self) -> str:
        """The text of the release file, as Compose reads it."""
        return (
            "# Written by panoptes-unit: the only pointer to what runs. Change it with panoptes-unit.\n"
            f"PANOPTES_UTILS_IMAGE={self.image}\n"
            f"PANOPTES_UTILS_INDEX={self.index}\n"
            f"PANOPTES_RELEASE_TAG={self.tag}\n"
            f"PANOPTES_REGISTRY={self.registry}\n"
            f"PANOPTES_PLATFORM={self.platform}\n"
        )


def read_release(path: Path) -> Optional[Release]:
    """What the release file names, or None where there is no such file.

    Raises:
        ConfigurationError: the file is there, but names no image by digest.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigurationError(
            f"{path} cannot be read ({reason}): remove it and run `panoptes-unit deploy`"
        ) from None
    values: dict[str, Any] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.lstrip().startswith("#"):
            values[name.strip()] = value.strip().strip("\"'")
    image = values.get("PANOPTES_UTILS_IMAGE", "")
    if not _BY_DIGEST.fullmatch(image):
        raise ConfigurationError(
            f"{path} names no image by digest (PANOPTES_UTILS_IMAGE={image!r}): "
            "remove it and run `panoptes-unit deploy`"
        )
    return Release(
        image=image,
        index=values.get("PANOPTES_UTILS_INDEX", ""),
        tag=values.get("PANOPTES_RELEASE_TAG", ""),
        platform=values.get("PANOPTES_PLATFORM", ""),
    )


def write_release(path: Path, release: Release) -> None:
    """Point the unit to `release`, in one step."""
    if path.is_dir():
        put_aside(path)
    write_durably(path, release.as_env())
