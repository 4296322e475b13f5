"""The base root filesystem of each flavour: pulled where a public registry answers, else from Debian's mirror."""

import re
import shutil
import tempfile
from pathlib import Path

import docker

from .console import LabError, as_root, out, run, step
from .flavours import FLAVOURS
from .settings import DOCKER_HOST, LABEL, NETWORK, SUITE, State, cache

_PUBLIC = f"debian:{SUITE}-slim"
_PULL_TIMEOUT = 20  # seconds; where there is no public registry this is what a first run pays
# What makes debian:*-slim slim.
_SLIM = [
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/lintian/*",
]


def image_name(flavour: str) -> str:
    """The tag under which the lab keeps it."""
    return f"{NETWORK}/debian:{flavour}"


def up(api: docker.DockerClient, state: State, cli: str, flavour: str) -> str:
    """Make the image if it is not there; returns its id."""
    name = image_name(flavour)
    try:
        return api.images.get(name).id
    except docker.errors.ImageNotFound:
        pass
    with step(f"base root filesystem: Debian {SUITE} for {flavour}"):
        if not _pull(api, cli, flavour):
            _make(cli, state, flavour)
    return api.images.get(name).id


def _pull(api: docker.DockerClient, cli: str, flavour: str) -> bool:
    try:
        run(
            [cli, "--host", DOCKER_HOST, "pull", "--quiet", "--platform", FLAVOURS[flavour].platform, _PUBLIC],
            timeout=_PULL_TIMEOUT,
        )
    except LabError:
        return False
    api.images.get(_PUBLIC).tag(image_name(flavour))
    return True


def _make(cli: str, state: State, flavour: str) -> None:
    # arch-test tells mmdebstrap that the emulator of another architecture works.
    tools = [tool for tool in ("mmdebstrap", "arch-test") if not shutil.which(tool)]
    if tools:
        run(
            as_root(
                [
                    "env",
                    "DEBIAN_FRONTEND=noninteractive",
                    "apt-get",
                    "install",
                    "--yes",
                    "-qq",
                    "--no-install-recommends",
                    *tools,
                ]
            )
        )
        for tool in tools:
            state.add("tools", tool)
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        tar = Path(folder) / "rootfs.tar"
        options = [f"--dpkgopt={line}" for line in (*_SLIM, "force-unsafe-io")]
        debootstrap = [
            "env",
            *([f"QEMU_CPU={FLAVOURS[flavour].processor}"] if FLAVOURS[flavour].processor else []),
            "mmdebstrap",
            "--variant=minbase",
            f"--architectures={FLAVOURS[flavour].debian}",
            *options,
        ]
        debootstrap += ['--aptopt=Acquire::Languages "none"', SUITE, str(tar)]
        log = cache() / "logs" / f"rootfs-{flavour}.log"
        try:
            run(as_root([*debootstrap, *sources()]), log)
        except LabError as error:
            # Mirrors carry the updates of less common architectures late: the release itself will do.
            if "Failed to fetch" not in str(error):
                raise
            out.print(f"  the mirror's updates for {FLAVOURS[flavour].debian} are incomplete: going on without them")
            run(as_root([*debootstrap, sources()[0]]), log)
        (Path(folder) / "Dockerfile").write_text(
            f'FROM scratch\nADD rootfs.tar /\nLABEL {LABEL}={NETWORK}\nCMD ["bash"]\n', encoding="utf-8"
        )
        # BuildKit records the platform that it is told; `docker import` of older engines does not.
        run(
            [
                cli,
                "--host",
                DOCKER_HOST,
                "build",
                "--quiet",
                "--platform",
                FLAVOURS[flavour].platform,
                "--tag",
                image_name(flavour),
                folder,
            ],
            env={"DOCKER_BUILDKIT": "1"},
        )


def sources() -> list:
    """Lines of sources.list for the release, from the mirror that this machine's own apt uses.

    Raises:
        LabError: If this machine's apt has no Debian mirror.
    """
    main, security = _mirrors()
    lines = [f"deb {main} {SUITE} main", f"deb {main} {SUITE}-updates main"]
    if security:
        lines.append(f"deb {security} {SUITE}-security main")
    return lines


def _mirrors() -> tuple:
    entries = []
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        if path.suffix == ".sources":
            for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
                fields = dict(re.findall(r"^(URIs|Suites):\s*(.+)$", block, re.MULTILINE))
                entries += [(uri, fields.get("Suites", "")) for uri in fields.get("URIs", "").split()]
        elif path.suffix == ".list" and path.is_file():
            entries += re.findall(
                r"^deb\s+(?:\[.*?\]\s+)?(\S+)\s+(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE
            )
    debian = [(uri.rstrip("/"), suites) for uri, suites in entries if re.search(r"/debian(-security)?/?$", uri)]
    main = next((uri for uri, suites in debian if "-security" not in suites), None)
    if main is None:
        raise LabError(
            f"neither a public registry with {_PUBLIC} nor a Debian mirror in this machine's apt sources; "
            f"add one, or put the image there yourself: docker tag IMAGE {image_name('FLAVOUR')}"
        )
    return main, next((uri for uri, suites in debian if "-security" in suites), None)
