"""Working on the module with docker/docker-compose.yaml: an edit on the host is what runs next."""

from __future__ import annotations

import os
import subprocess

import pytest

pytestmark = pytest.mark.lab

# Containers of their own network: the ports of the machine that runs the tests may be taken.
OVERRIDE = """
services:
  config-server: {network_mode: none}
  messaging-hub: {network_mode: none}
"""


@pytest.fixture
def compose(lab, utils_image, checkout, tmp_path):
    """Runs docker compose on a clean clone; where this machine has no Compose, from a container of the lab."""
    (checkout / "docker" / "override.yaml").write_text(OVERRIDE, encoding="utf-8")
    files = [checkout / "docker" / name for name in ("docker-compose.yaml", "override.yaml")]
    words = ["compose", *(word for file in files for word in ("-f", str(file))), "--project-name", "panoptes-test"]
    if lab.docker("compose", "version", check=False).returncode == 0:
        command = [lab["docker_cli"], "--host", lab["docker_host"], *words]
    else:
        image = f"{lab['network']}/compose:test"
        dockerfile = (
            f"FROM {lab['base_image']}\nRUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install"
            " --yes -qq --no-install-recommends docker-cli docker-compose > /dev/null\n"
            f"LABEL org.projectpanoptes.lab={lab['network']}\n"
        )
        lab.docker("build", "--tag", image, "-", input=dockerfile, env={**os.environ, "DOCKER_BUILDKIT": "1"})
        socket = lab["docker_host"].removeprefix("unix://")
        mounts = ["--volume", f"{socket}:/var/run/docker.sock", "--volume", f"{tmp_path}:{tmp_path}"]
        options = ["run", "--rm", "--network", "none", *mounts, "--env", "PANOPTES_UTILS_IMAGE", image, "docker"]
        command = [lab["docker_cli"], "--host", lab["docker_host"], *options, *words]

    def run(*arguments: str, check: bool = True) -> str:
        environment = {**os.environ, "PANOPTES_UTILS_IMAGE": utils_image}
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done.stdout

    yield run
    run("down", "--volumes", "--timeout", "5")


def test_both_services_answer_and_an_edit_is_what_runs_next(compose, checkout):
    try:
        compose("up", "--detach", "--wait", "--wait-timeout", "120")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{compose('logs', check=False)}") from None
    assert "PAN000" in compose("exec", "-T", "config-server", "panoptes-config-server", "get", "pan_id")
    compose("exec", "-T", "messaging-hub", "panoptes-messaging-hub", "health", "--pair", "6500", "6501")

    (checkout / "panoptes_utils" / "VERSION").write_text("99.1\n", encoding="utf-8")
    with (checkout / "panoptes_utils" / "__init__.py").open("a", encoding="utf-8") as file:
        file.write("EDITED = 'on the host'\n")
    script = "import panoptes_utils; print(panoptes_utils.EDITED)"
    assert "on the host" in compose("exec", "-T", "config-server", "python", "-c", script)
    assert "99.1" in compose("exec", "-T", "messaging-hub", "panoptes-utils", "version")
