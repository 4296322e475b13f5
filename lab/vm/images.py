"""Two images for virtual machines: the programs that run them, and the system that a blank one starts with."""

import docker

from ..small_images import build
from .boards import BENCH_ADDRESS, BENCH_MAC, WORLD_MAC, Board

USER = "pi"

_APT = "DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends"

# QEMU 10, whatever the machine itself has; mkfs.ext4 that takes a tar, so that nobody has to be root.
TOOLS = f"""\
FROM {{base}}
RUN apt-get update -qq \\
 && {_APT} qemu-system-arm qemu-utils e2fsprogs libarchive13t64 > /dev/null \\
 && apt-get clean && rm -rf /var/lib/apt/lists/*
LABEL {{label}}={{lab}}
"""

# What an SD card holds when it leaves the imager: Debian, ssh, a user who may sudo. No engine, nothing of ours.
SYSTEM = f"""\
FROM {{base}}
ARG QEMU_CPU={{processor}}
RUN echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/image-build \\
 && apt-get update -qq \\
 && {_APT} systemd-sysv dbus libpam-systemd udev openssh-server python3 python3-apt sudo ca-certificates \\
      iproute2 iptables netbase kmod zstd initramfs-tools > /dev/null \\
 && echo MODULES=list > /etc/initramfs-tools/conf.d/virtual-machine \\
 && printf '%s\\n' virtio_mmio virtio_pci virtio_blk ext4 >> /etc/initramfs-tools/modules \\
 && {_APT} {{kernel}} > /dev/null \\
 && apt-get clean && rm -rf /var/lib/apt/lists/* /etc/dpkg/dpkg.cfg.d/image-build /etc/ssh/ssh_host_*
RUN systemctl mask apt-daily.timer apt-daily-upgrade.timer systemd-networkd-wait-online.service \\
 && systemctl enable systemd-networkd.service ssh.service \\
 && systemctl set-default multi-user.target \\
 && printf '[Match]\\nMACAddress={WORLD_MAC}\\n[Network]\\nDHCP=ipv4\\n' > /etc/systemd/network/10-world.network \\
 && printf '[Match]\\nMACAddress={BENCH_MAC}\\n[Network]\\nAddress={BENCH_ADDRESS}\\nLinkLocalAddressing=no\\n' \\
      > /etc/systemd/network/20-bench.network \\
 && echo '/dev/vda / ext4 defaults 0 1' > /etc/fstab \\
 && useradd --create-home --shell /bin/bash --groups sudo,adm,dialout {USER} \\
 && echo '{USER} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/010_pi-nopasswd \\
 && install -d -m 0700 -o {USER} -g {USER} /home/{USER}/.ssh \\
 && rm -f /etc/machine-id && touch /etc/machine-id
LABEL {{label}}={{lab}}
"""


def tools(api: docker.DockerClient, cli: str, base: str, base_id: str, flavour: str) -> str:
    """The image with QEMU, for this machine's own flavour; returns its name."""
    return build(api, cli, "vm-tools", TOOLS, base, base_id, flavour)


def system(api: docker.DockerClient, cli: str, base: str, base_id: str, kind: Board) -> str:
    """The image of a blank machine's system; returns its name."""
    template = SYSTEM.replace("{kernel}", kind.kernel).replace("{processor}", kind.processor)
    return build(api, cli, f"vm-{kind.flavour}", template, base, base_id, kind.flavour)
