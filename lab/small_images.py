"""The lab's own two images, each a few lines over the base root filesystem: the registry, and a bare unit."""

import hashlib
import tempfile
from pathlib import Path

import docker

from .console import run, step
from .flavours import FLAVOURS
from .settings import DOCKER_HOST, LABEL, NETWORK, cache

_APT = """\
RUN echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/image-build \\
 && apt-get update -qq \\
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends {packages} > /dev/null \\
 && apt-get clean && rm -rf /var/lib/apt/lists/* /var/log/*.log
"""

# The registry listens with TLS only; its certificate and its data are mounted.
_REGISTRY = (
    """\
FROM {base}
"""
    + _APT.format(packages="docker-registry")
    + """\
RUN printf '%s\\n' 'version: 0.1' 'log: {{level: info, formatter: json}}' \\
      'storage: {{filesystem: {{rootdirectory: /data}}, delete: {{enabled: true}}}}' \\
      'http: {{addr: ":5000", tls: {{certificate: /tls/server.crt, key: /tls/server.key}}}}' > /etc/registry.yml
LABEL {label}={lab}
CMD ["docker-registry", "serve", "/etc/registry.yml"]
"""
)

# Debian with systemd, as on a machine that nobody has provisioned yet: no apt lists, as there.
_UNIT = (
    """\
FROM {base}
"""
    + _APT.format(packages="systemd systemd-sysv dbus python3 python3-apt sudo ca-certificates iproute2 iptables")
    + """\
RUN systemctl mask apt-daily.timer apt-daily-upgrade.timer systemd-networkd-wait-online.service > /dev/null \\
 && rm -f /etc/machine-id && touch /etc/machine-id && rm -f /etc/dpkg/dpkg.cfg.d/image-build
ENV container=docker
STOPSIGNAL SIGRTMIN+3
LABEL {label}={lab}
CMD ["sh", "-c", "mount -o remount,rw /proc/sys; exec /lib/systemd/systemd"]
"""
)


def registry(api: docker.DockerClient, cli: str, base: str, base_id: str) -> str:
    """The registry's image; returns its name."""
    return build(api, cli, "registry", _REGISTRY, base, base_id)


def unit(api: docker.DockerClient, cli: str, base: str, base_id: str) -> str:
    """The image of a simulated unit; returns its name."""
    return build(api, cli, "unit", _UNIT, base, base_id)


def build(
    api: docker.DockerClient, cli: str, name: str, template: str, base: str, base_id: str, flavour: str = ""
) -> str:
    """An image of the lab's own, built where there is none of this text and this base yet; returns its name.

    Args:
        template: its Dockerfile, with `{base}`, `{label}` and `{lab}` to be filled in.
        base: the name of the image that it stands on, and `base_id` which one that is now.
        flavour: where it is not this machine's own.
    """
    text = template.format(base=base, label=LABEL, lab=NETWORK)
    tag = f"{NETWORK}/{name}:{hashlib.sha256((text + base_id).encode()).hexdigest()[:12]}"
    platform = ["--platform", FLAVOURS[flavour].platform] if flavour else []
    try:
        api.images.get(tag)
    except docker.errors.ImageNotFound:
        with step(f"image {tag}"), tempfile.TemporaryDirectory(dir=cache()) as folder:
            Path(folder, "Dockerfile").write_text(text, encoding="utf-8")
            run(
                [cli, "--host", DOCKER_HOST, "build", "--progress", "plain", *platform, "--tag", tag, folder],
                cache() / "logs" / f"image-{name}.log",
                env={"DOCKER_BUILDKIT": "1"},
            )
    return tag
