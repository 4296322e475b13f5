"""Docker's own apt repository: installed from it, nothing fetched again, and back, with all data kept.

The repository is a local one with the real layout; see docker_ce_repository.sh.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.faults import EVERY_FAULT

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif(not EVERY_FAULT, reason="engines change places three times; at night: make test-lab"),
]

DISTRO = {"docker.io", "docker-cli", "docker-compose", "containerd", "runc", "pigz"}
DOCKER_CE = {"docker-ce", "docker-ce-cli", "docker-compose-plugin", "containerd.io", "pigz"}
SOURCES = "/etc/apt/sources.list.d/docker.sources"


@pytest.fixture(scope="module")
def unit(make_unit):
    return make_unit("docker-source")


@pytest.fixture(scope="module")
def repository(unit) -> dict:
    """Settings that take Docker's packages from the unit's local repository."""
    script = Path(__file__).with_name("docker_ce_repository.sh").read_text(encoding="utf-8")
    checksum = unit.run("sh", "-c", script).splitlines()[-1]
    return {"docker_ce_repository": "http://127.0.0.1:8000/linux", "docker_ce_key_sha256": checksum}


def installed(unit) -> set:
    names = " ".join(sorted(DISTRO | DOCKER_CE))
    text = unit.shell(f"dpkg-query -W -f '${{db:Status-Status}} ${{Package}}\\n' {names} 2>/dev/null || true")
    return {line.split()[1] for line in text.splitlines() if line.startswith("installed ")}


def play(unit, **settings):
    result = unit.play("unit.yml", options="--tags docker", preflight_image="", **settings)
    assert result.code == 0, result.output
    return result


def data(unit) -> str:
    """What has to outlive a change of packages: an image, a container, a file in a volume."""
    return unit.shell(
        "docker image ls -q keep; docker ps -aq --no-trunc -f name=keep; cat /var/lib/docker/volumes/keep/_data/file"
    )


def test_from_the_distribution_to_docker_and_back(unit, repository):
    play(unit, docker_source="distro")
    assert installed(unit) == DISTRO
    unit.shell(
        "tar -C / -c etc/hostname | docker import - keep >/dev/null && docker create --name keep keep /none >/dev/null"
    )
    unit.shell("docker volume create keep >/dev/null && echo kept > /var/lib/docker/volumes/keep/_data/file")
    before = data(unit)
    unit.shell(
        "echo 'deb https://download.docker.com/linux/debian trixie stable' > /etc/apt/sources.list.d/docker.list"
    )

    play(unit, docker_source="docker_ce", **repository)
    assert installed(unit) == DOCKER_CE
    assert data(unit) == before
    assert unit.run("systemctl", "is-active", "docker") == "active"
    assert unit.run("systemctl", "is-enabled", "docker") == "enabled"
    assert unit.shell("ls /etc/apt/sources.list.d/docker.list 2>/dev/null || true") == ""

    requests = unit.run("cat", "/srv/requests")
    assert "docker-ce.deb" in requests
    again = play(unit, docker_source="docker_ce", **repository)
    assert again.changed == 0, again.output
    assert unit.run("cat", "/srv/requests") == requests, "a rerun has to download nothing"
    kept = play(unit, docker_source="auto", **repository)
    assert kept.changed == 0, "auto keeps an installed docker-ce"

    play(unit, docker_source="distro")
    assert installed(unit) == DISTRO
    assert data(unit) == before
    assert unit.shell(f"ls {SOURCES} /etc/apt/keyrings/docker.asc 2>/dev/null || true") == ""


def test_key_with_another_checksum_is_refused(unit, repository):
    wrong = {**repository, "docker_ce_key_sha256": "0" * 64}
    result = unit.play("unit.yml", options="--tags docker", preflight_image="", docker_source="docker_ce", **wrong)
    assert result.code != 0
    assert "checksum" in result.message
    assert "docker-ce" not in installed(unit)


@pytest.mark.parametrize(
    ("os_release", "architecture", "machine", "wanted"),
    [
        # A 32-bit Raspberry Pi OS, on a 32-bit and on a 64-bit kernel: Docker's raspbian repository is frozen.
        ('ID=raspbian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm', "armhf", "armv7l", ("debian", "bookworm", "armhf")),
        (
            'ID=raspbian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm',
            "armhf",
            "aarch64",
            ("debian", "bookworm", "armhf"),
        ),
        ('ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm', "arm64", "aarch64", ("debian", "bookworm", "arm64")),
        ('ID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble', "amd64", "x86_64", ("ubuntu", "noble", "amd64")),
    ],
)
def test_repository_for_the_machine(make_simulated_root, unit, repository, os_release, architecture, machine, wanted):
    root = make_simulated_root(unit, os_release, architecture=architecture, machine=machine)
    result = unit.play(
        "unit.yml",
        options="--tags docker --check --diff",
        preflight_image="",
        preflight_simulated_root=root,
        docker_source="docker_ce",
        docker_ce_key=f"{repository['docker_ce_repository']}/debian/gpg",
        docker_ce_key_sha256=repository["docker_ce_key_sha256"],
    )
    assert result.code == 0, result.output
    place, codename, dpkg = wanted
    shown = {line.strip() for line in result.output.splitlines()}
    wanted_lines = (f"URIs: https://download.docker.com/linux/{place}", f"Suites: {codename}", f"Architectures: {dpkg}")
    assert {f"+{line}" for line in wanted_lines} <= shown, result.output
