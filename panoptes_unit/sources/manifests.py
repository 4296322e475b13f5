"""What a registry says of an image: the index over its platforms, and the layers of one of them.

Source: https://github.com/opencontainers/image-spec/blob/main/manifest.md
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Tuple

from ..documents import DocumentError, field, objects, printable, size
from ..errors import PlatformError
from .platforms import normalized
from .reference import DIGEST

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
IMAGE_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


# Docker Engine takes no image of more than 128 layers, and there are not that many platforms.
LAYERS_LIMIT = 500
MANIFESTS_LIMIT = 500


class PlatformManifest(NamedTuple):
    """One entry of an index: the manifest of one platform."""

    platform: str  # os/architecture/variant, variants written out
    digest: str
    architecture: str
    variant: str


class Index(NamedTuple):
    """What a tag points to. For a single image `digest` is that image's own digest."""

    digest: str
    media_type: str
    manifests: Tuple[PlatformManifest, ...]

    @property
    def platforms(self) -> List[str]:
        """The platforms in it, such as `["linux/amd64", "linux/arm/v7"]`."""
        return [entry.platform for entry in self.manifests]

    def for_platform(self, platform: str) -> PlatformManifest:
        """The manifest for `platform`.

        Raises:
            PlatformError: there is none; the message lists those there are.
        """
        for entry in self.manifests:
            if entry.platform == platform:
                return entry
        has = ", ".join(self.platforms) or "no platform at all"
        raise PlatformError(f"no manifest for platform {platform} in {self.digest}: it has {has}")


class Layer(NamedTuple):
    """A blob of an image: digest and size in bytes as transferred (compressed)."""

    digest: str
    size: int


class Image(NamedTuple):
    """The manifest of one platform: its configuration and its layers, bottom first."""

    digest: str
    config: Layer
    layers: Tuple[Layer, ...]

    @property
    def size(self) -> int:
        """Bytes to transfer for the whole image."""
        return self.config.size + sum(layer.size for layer in self.layers)


def digest_in(item: Dict[str, Any]) -> str:
    """The digest that an entry names.

    Raises:
        DocumentError: it names none.
    """
    digest: str = field(item, "digest", str)
    if not DIGEST.match(digest):
        raise DocumentError(f"{printable(repr(digest), 80)} is not a digest")
    return digest


def config_digest(document: Dict[str, Any]) -> str:
    """The digest of an image's configuration, from its manifest.

    Raises:
        DocumentError: it names none.
    """
    return digest_in(field(document, "config", dict))


def index_of(digest: str, media_type: str, document: Dict[str, Any]) -> Index:
    """What an index says; entries for no platform are left out.

    Raises:
        DocumentError: it is no index.
    """
    if "layers" in document or "config" in document:
        raise DocumentError("it is an index and an image at once")
    entries = []
    for item in objects(document, "manifests", MANIFESTS_LIMIT):
        entry = _entry(digest_in(item), field(item, "platform", dict, {}))
        # BuildKit adds attestations as entries for the platform "unknown/unknown".
        if entry.architecture not in ("", "unknown"):
            entries.append(entry)
    return Index(digest, media_type, tuple(entries))


def platform_of_config(digest: str, config: Dict[str, Any]) -> PlatformManifest:
    """The platform of a single image, from its configuration.

    Raises:
        DocumentError: it is no configuration.
    """
    return _entry(digest, config)


def _entry(digest: str, platform: Dict[str, Any]) -> PlatformManifest:
    architecture, variant = field(platform, "architecture", str, ""), field(platform, "variant", str, "")
    return PlatformManifest(
        normalized(field(platform, "os", str, "linux"), architecture, variant), digest, architecture, variant
    )


def image_of(digest: str, document: Dict[str, Any]) -> Image:
    """What the manifest of one platform says.

    Raises:
        DocumentError: it is not the manifest of an image.
    """
    if "manifests" in document:
        raise DocumentError("it has a list of manifests")
    config = field(document, "config", dict)
    layers = objects(document, "layers", LAYERS_LIMIT)
    image = Image(
        digest,
        Layer(digest_in(config), size(config)),
        tuple(Layer(digest_in(layer), size(layer)) for layer in layers),
    )
    size({"size": image.size})  # all of them together, too
    return image
