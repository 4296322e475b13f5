"""The two kinds of board that QEMU stands for."""

from typing import NamedTuple

from ..console import LabError
from ..flavours import FLAVOURS

MEMORY_MB = 1024
CORES = 2


class Board(NamedTuple):
    """How QEMU makes one, and the kernel that Debian has for it."""

    flavour: str
    program: str
    machine: str
    processor: str
    bus: str  # devices are called virtio-blk-BUS
    kernel: str


BOARDS = {
    "arm32v7": Board(
        "arm32v7",
        "qemu-system-arm",
        "virt",
        FLAVOURS["arm32v7"].processor,
        "device",
        "linux-image-armmp-lpae",
    ),
    "arm64v8": Board(
        "arm64v8",
        "qemu-system-aarch64",
        "virt,gic-version=3",
        FLAVOURS["arm64v8"].processor,
        "pci,romfile=",
        "linux-image-cloud-arm64",
    ),
}
# The unit's own way to the world, and a cable of the test bench that stays when the first is pulled.
WORLD_MAC = "52:54:00:70:61:01"
BENCH_MAC = "52:54:00:70:61:02"
BENCH_NETWORK = "10.0.3.0/24"
BENCH_ADDRESS = "10.0.3.15/24"


def board(flavour: str) -> Board:
    """The board of a flavour.

    Raises:
        LabError: If there is none.
    """
    try:
        return BOARDS[flavour]
    except KeyError:
        raise LabError(f"no virtual machine for {flavour}; there are {', '.join(BOARDS)}") from None


def command(kind: Board, folder: str, port: int) -> list:
    """QEMU's command line for a machine whose files are in `folder` and whose ssh answers on loopback at `port`."""
    net = f"virtio-net-{kind.bus}"
    return [
        kind.program,
        "-machine",
        kind.machine,
        "-cpu",
        kind.processor,
        "-accel",
        "tcg,thread=multi,tb-size=512",
        "-smp",
        str(CORES),
        "-m",
        str(MEMORY_MB),
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-kernel",
        f"{folder}/kernel",
        "-initrd",
        f"{folder}/initrd",
        "-append",
        "root=/dev/vda rw console=ttyAMA0 net.ifnames=0 mitigations=off audit=0",
        "-drive",
        f"if=none,id=disk,file={folder}/disk.qcow2,format=qcow2",
        "-device",
        f"virtio-blk-{kind.bus},drive=disk",
        "-netdev",
        "user,id=world",
        "-device",
        f"{net},netdev=world,id=world-card,mac={WORLD_MAC}",
        "-netdev",
        f"user,id=bench,net={BENCH_NETWORK},restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22",
        "-device",
        f"{net},netdev=bench,id=bench-card,mac={BENCH_MAC}",
        "-device",
        f"virtio-rng-{kind.bus}",
        "-chardev",
        f"file,id=console,path={folder}/console.log,append=on",
        "-serial",
        "chardev:console",
        "-qmp",
        f"unix:{folder}/qmp.sock,server=on,wait=off",
        "-S",
    ]
