"""Which image a machine takes: by dpkg's architecture, never by the kernel's.

A 32-bit userland on a 64-bit kernel reports `aarch64` from `uname -m`; only dpkg tells the truth there.
"""

from __future__ import annotations

from ..errors import PlatformError

# dpkg --print-architecture -> platform in OCI notation (os/architecture/variant).
PLATFORMS = {
    "amd64": "linux/amd64",
    "armhf": "linux/arm/v7",
    "arm64": "linux/arm64/v8",
}


def platform_of(dpkg_architecture: str) -> str:
    """The OCI platform of a Debian architecture, such as `linux/arm/v7` for `armhf`.

    Raises:
        PlatformError: there is no PANOPTES image for this architecture.
    """
    try:
        return PLATFORMS[dpkg_architecture.strip()]
    except KeyError:
        known = ", ".join(sorted(PLATFORMS))
        raise PlatformError(
            f"no PANOPTES image runs on dpkg architecture {dpkg_architecture!r}; images exist for {known}"
        ) from None


def normalized(os: str, architecture: str, variant: str = "") -> str:
    """An OCI platform with the default variants written out: `arm64` is v8, `arm` without a variant is v7."""
    if architecture == "arm64" and variant in ("", "8", "v8"):
        variant = "v8"
    elif architecture == "arm" and variant in ("", "7", "v7"):
        variant = "v7"
    return "/".join(part for part in (os, architecture, variant) if part)
