"""An image of the lab is built once for its text and its base, and for the processor that it is meant for."""

from types import SimpleNamespace

import pytest

docker = pytest.importorskip("docker", reason="needs the Docker SDK")

from lab import small_images  # noqa: E402 - it needs the SDK


@pytest.fixture
def built(tmp_path, monkeypatch):
    """The commands that were run; each build is there afterwards."""
    monkeypatch.setenv("PANOPTES_LAB_CACHE", str(tmp_path))
    commands: list = []

    def run(command, log, env):
        assert "FROM b" in (tmp_path / command[-1] / "Dockerfile").read_text()
        commands.append(command)

    def get(tag):
        if not any(tag in command for command in commands):
            raise docker.errors.ImageNotFound(tag)

    monkeypatch.setattr(small_images, "run", run)
    api = SimpleNamespace(images=SimpleNamespace(get=get))
    return commands, lambda base_id, *flavour: small_images.build(
        api, "docker", "x", "FROM {base}", "b", base_id, *flavour
    )


def test_what_stands_is_not_built_again(built):
    commands, build = built
    assert build("1") == build("1") != build("2")
    assert len(commands) == 2


def test_another_flavour_is_built_for_its_platform(built):
    commands, build = built
    build("1", "arm32v7")
    build("2")
    assert commands[0][commands[0].index("--platform") + 1] == "linux/arm/v7"
    assert "--platform" not in commands[1]
