"""What docker/build-image.sh says, and does not do, when the machine or the registry is not as it should be."""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]

pytestmark = pytest.mark.lab


@pytest.fixture
def build(lab, tmp_path):
    """Runs the script with the lab's docker; expects failure and returns what it said on stderr."""

    def run(*arguments: str, prefix: tuple = (), docker: str = "") -> str:
        environment = {
            **os.environ,
            "DOCKER": docker or lab["docker_cli"],
            "DOCKER_HOST": lab["docker_host"],
            "DOCKER_CONFIG": str(tmp_path / "docker-config"),
        }
        done = subprocess.run(
            [*prefix, TOP / "docker" / "build-image.sh", *arguments], capture_output=True, text=True, env=environment
        )
        assert done.returncode != 0, done.stdout
        return done.stderr

    return run


@pytest.fixture
def names(lab):
    """A registry path of this test's own in the lab's registry; its local tags are removed at the end."""
    prefix = f"{lab['registry']}/test-{uuid.uuid4().hex[:8]}"
    yield prefix
    tags = lab.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    mine = [tag for tag in tags if tag.startswith(prefix)]
    if mine:
        lab.docker("rmi", "--force", *mine)


@pytest.fixture
def tiny(lab, tmp_path):
    """Builds an image of one file with the labels that are given."""

    def make(tag: str, platform: str = "linux/amd64", **labels: str) -> str:
        (tmp_path / "file").write_text("x", encoding="utf-8")
        (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY file /file\n", encoding="utf-8")
        options = [word for key, value in labels.items() for word in ("--label", f"{key.replace('_', '.')}={value}")]
        lab.docker(
            "build",
            "--platform",
            platform,
            "--tag",
            tag,
            *options,
            tmp_path,
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
        )
        return tag

    return make


def in_registry(lab, reference: str) -> bool:
    return lab.docker("manifest", "inspect", reference, check=False).returncode == 0


def test_base_image_without_a_shell(build, lab, tiny, names):
    base = tiny(f"{names}/no-shell:1")
    said = build("base", "--registry", names, "--base-image", base)
    assert said.splitlines()[-1].endswith(
        "the base image has no shell; give one that has: --base-image debian:trixie-slim"
    )
    assert lab.docker("image", "inspect", f"{names}/panoptes-base:amd64", check=False).returncode != 0


def test_registry_that_refuses_the_push(build, tiny):
    tiny("127.0.0.1:9/panoptes-base:amd64")
    said = build("base", "--registry", "127.0.0.1:9", "--arch", "amd64", "--no-build", "--push", "--dirty")
    assert "the registry refuses" in said and "docker login 127.0.0.1:9" in said


def test_flavours_of_different_commits_make_no_manifest(build, lab, tiny, names):
    for flavour, platform, commit in (("amd64", "linux/amd64", "a" * 40), ("arm32v7", "linux/arm/v7", "b" * 40)):
        name = tiny(f"{names}/panoptes-base:{flavour}", platform, org_opencontainers_image_revision=commit)
        lab.docker("push", name)
    said = build("base", "--registry", names, "--arch", "amd64,arm32v7", "--no-build", "--push", "--dirty")
    assert "flavours come from different commits (amd64 from aaaaaaaaaaaa, arm32v7 from bbbbbbbbbbbb)" in said
    assert "nothing was pushed" in said
    assert not in_registry(lab, f"{names}/panoptes-base:latest")


def test_flavour_that_is_nowhere(build, names):
    said = build("base", "--registry", names, "--arch", "amd64", "--no-build", "--push", "--dirty")
    assert "neither here nor in the registry; build it first" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="hides the kernel's list of emulators: needs root")
def test_build_without_an_emulator_is_refused_with_the_package_to_install(build):
    hide = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc/sys/fs/binfmt_misc && exec "$0" "$@"')
    said = build("base", "--arch", "arm32v7", prefix=hide)
    assert "no emulator for arm32v7 is registered on this machine; install qemu-user-static" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system: needs root")
def test_build_on_a_full_disk_is_refused(build, lab, tmp_path):
    # The real engine's disk cannot be filled here: this docker names a small one as its own.
    small = tmp_path / "small"
    small.mkdir()
    wrapper = tmp_path / "docker-on-a-small-disk"
    asked = "info --format {{.DockerRootDir}}"
    wrapper.write_text(
        f'#!/bin/sh\n[ "$*" = "{asked}" ] && echo {small} || exec {lab["docker_cli"]} "$@"\n', encoding="utf-8"
    )
    wrapper.chmod(0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    try:
        said = build("base", "--arch", "amd64", docker=str(wrapper))
    finally:
        subprocess.run(["umount", small], check=True)
    assert f"only 1 MB free in {small} and a build takes up to 4096 MB" in said


def test_engine_that_does_not_answer(lab, tmp_path):
    environment = {**os.environ, "DOCKER": lab["docker_cli"], "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    done = subprocess.run([TOP / "docker" / "build-image.sh", "base"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("build-image: Docker Engine does not answer; start it")
