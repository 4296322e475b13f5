"""The flavours of the images, one a kind of processor, and what each is called elsewhere."""

from typing import NamedTuple

from panoptes_unit.sources.platforms import PLATFORMS


class Flavour(NamedTuple):
    """One flavour.

    Attributes:
        debian: what `dpkg --print-architecture` says on it.
        machines: what its kernel says of it.
        emulator: the name of its emulator with another kind's kernel.
        processor: what is emulated; the emulator's own choice where empty. docker/build-image.sh says what one with
            more to it costs.
    """

    debian: str
    machines: tuple
    emulator: str
    processor: str = ""

    @property
    def platform(self) -> str:
        """In OCI notation, such as `linux/arm/v7`."""
        return PLATFORMS[self.debian]


FLAVOURS = {
    "amd64": Flavour("amd64", ("x86_64",), "qemu-x86_64"),
    "arm32v7": Flavour("armhf", ("armv7l",), "qemu-arm", "cortex-a15"),
    "arm64v8": Flavour("arm64", ("aarch64", "arm64"), "qemu-aarch64", "cortex-a72"),
}
