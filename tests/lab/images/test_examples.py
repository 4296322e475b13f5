"""docker/examples: images on top of panoptes-utils, built and run as their pages say. They ask an index."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from commands import FENCE

from lab.faults import EVERY_FAULT

TOP = Path(__file__).parents[3]
POCS = TOP / "docker" / "examples" / "pocs"
PAGE = TOP / "docs" / "your-own-image.md"
VERSION = (TOP / "panoptes_utils" / "VERSION").read_text(encoding="utf-8").strip()

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif(not EVERY_FAULT, reason="asks an index of packages for a hundred; at night: make test-lab"),
]


def pip_setting(name: str) -> str:
    """What this machine's pip is told, by its environment or its files; nothing where it is not."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", f"global.{name}"], capture_output=True, text=True
    )
    return os.environ.get(f"PIP_{name.upper().replace('-', '_')}") or told.stdout.strip()


def certificates() -> Path:
    """Those that this machine trusts, which need not be those that an image has."""
    return Path(pip_setting("cert") or ssl.get_default_verify_paths().cafile)


@pytest.fixture(scope="module")
def build(lab):
    """Builds a folder; what it built is removed at the end."""
    built = []

    def run(name: str, folder: Path, *arguments: str) -> str:
        tag = f"panoptes-example-{name}:{uuid.uuid4().hex[:8]}"
        label = f"org.projectpanoptes.lab={lab['network']}"
        words = ("--label", label, "--tag", tag, *arguments, folder)
        lab.docker("build", *words, env={**os.environ, "DOCKER_BUILDKIT": "1"})
        built.append(tag)
        return tag

    yield run
    if built:
        lab.docker("rmi", *reversed(built))


@pytest.fixture(scope="module")
def pocs_image(lab, utils_image, build):
    """docker/examples/pocs, with the index and the certificates of this machine's pip."""
    if lab["architecture"] == "arm32v7":
        pytest.skip("no wheels for ARMv7: docker/examples/pocs/README.md")
    arguments = ["--build-arg", f"BASE_IMAGE={utils_image}", "--secret", f"id=ca,src={certificates()}"]
    arguments += ["--build-arg", f"PIP_INDEX_URL={pip_setting('index-url')}"] if pip_setting("index-url") else []
    return build("pocs", POCS, *arguments)


@pytest.fixture(scope="module")
def told_base(utils_image, build, tmp_path_factory):
    """panoptes-utils, whose pip has the settings of this machine's."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "ca.crt").write_bytes(certificates().read_bytes())
    index = f" PIP_INDEX_URL={pip_setting('index-url')}" if pip_setting("index-url") else ""
    settings = f"ENV PIP_CERT=/usr/local/share/pip.crt{index}"
    lines = (f"FROM {utils_image}", "COPY ca.crt /usr/local/share/pip.crt", settings, "")
    (folder / "Dockerfile").write_text("\n".join(lines), encoding="utf-8")
    return build("base", folder)


def blocks(info: str) -> list[str]:
    """The blocks of one language in the page."""
    return [text for _, language, text in FENCE.findall(PAGE.read_text(encoding="utf-8")) if language == info]


@pytest.fixture(scope="module")
def moon_image(told_base, build, tmp_path_factory):
    """The image of docs/your-own-image.md, from its blocks."""
    folder = tmp_path_factory.mktemp("moon")
    (folder / "Dockerfile").write_text(blocks("dockerfile")[0], encoding="utf-8")
    (folder / "moon.py").write_text(blocks("python")[0], encoding="utf-8")
    return build("moon", folder, "--build-arg", f"BASE_IMAGE={told_base}")


def test_pocs_runs_on_the_module_of_the_base(lab, pocs_image):
    script = (
        "import importlib.metadata as m, json, panoptes.pocs.core, panoptes.utils, panoptes.utils.images.misc as misc\n"
        "print(json.dumps([m.version('panoptes-utils'), panoptes.utils.__file__, misc.__file__]))"
    )
    version, *files = json.loads(lab.run(pocs_image, "python", "-c", script).stdout.splitlines()[-1])
    assert version == VERSION
    assert files == [f"/opt/panoptes-utils/panoptes_utils/{name}" for name in ("__init__.py", "images/misc.py")]


def test_what_the_module_needs_keeps_its_version_but_for_what_the_page_names(lab, utils_image, pocs_image):
    def versions(image: str) -> dict:
        listed = json.loads(lab.run(image, "pip", "list", "--format=json").stdout)
        return {one["name"].lower(): one["version"] for one in listed}

    lists = re.findall(
        r"^(?:SERVICES|IMAGES) = \[(.*?)^\]", (TOP / "setup.py").read_text(encoding="utf-8"), re.M | re.S
    )
    needed = {name for names in lists for name in re.findall(r'"([\w.-]+)', names)} | {"click", "rich", "ruamel.yaml"}
    (newer,) = re.findall(r"^\| `NEWER` \| `([^`]+)`", (POCS / "README.md").read_text(encoding="utf-8"), re.M)
    base, on_top = versions(utils_image), versions(pocs_image)
    assert {name for name in needed if base.get(name) != on_top.get(name)} <= set(newer.split())
    assert {"numpy", "astropy"} < needed and "panoptes-pocs" in on_top


def test_it_runs_as_the_image_does_user_folder_and_services(lab, utils_image, pocs_image):
    found, base = lab.inspect(pocs_image), lab.inspect(utils_image)
    assert found["Config"]["User"] == "panoptes" and found["Config"]["Cmd"] == base["Config"]["Cmd"]
    said = lab.run(
        pocs_image, "sh", "-c", 'id -u; pwd; echo "$PANDIR $HOME $PANOPTES_CONFIG_HOST:$PANOPTES_CONFIG_PORT"'
    )
    assert said.stdout.split() == ["1000", "/var/panoptes", "/var/panoptes", "/var/panoptes", "127.0.0.1:6563"]
    assert lab.inspect(pocs_image)["RootFS"]["Layers"][: len(base["RootFS"]["Layers"])] == base["RootFS"]["Layers"]


# Inside the container: the configuration that POCS ships, the keys of the page, simulators in place of hardware.
SIMULATED = """
import json, os, subprocess, sys
from panoptes.utils.config.client import set_config
serve = "panoptes-config-server run --config-file /opt/pocs/conf_files/pocs.yaml --no-save-local"
server = subprocess.Popen(serve.split(), stderr=subprocess.DEVNULL)
subprocess.run(["panoptes-config-server", "health", "--timeout", "60"], check=True)
os.environ["POCSTIME"] = "2020-01-01 08:00:00"
camera = {"model": "panoptes.pocs.camera.simulator.dslr.Camera", "name": "Cam00", "port": "/dev/fake"}
made_up = {"mount.driver": "panoptes.pocs.mount.simulator", "cameras.defaults.auto_detect": False}
made_up["cameras.devices"] = [camera]
for key, value in {**json.loads(sys.argv[1]), **made_up}.items():
    set_config(key, value)
os.chdir(os.path.expanduser("~"))
from panoptes.pocs.core import POCS
pocs = POCS.from_config(simulators=["all"])
began = pocs.initialize()
pocs.update_status()
pocs.db.insert_current("state", {"state": pocs.state})
print(json.dumps([began, pocs.observatory.mount.is_initialized, len(pocs.observatory.scheduler.observations) > 10]))
pocs.power_down()
server.kill()
"""


def test_pocs_begins_with_the_keys_of_the_page_and_writes_where_the_observing_lock_looks(lab, pocs_image):
    keys = dict(
        re.findall(r"^\| `([a-z_.]+)` \| `(/opt/[^`]+)`", (POCS / "README.md").read_text(encoding="utf-8"), re.M)
    )
    assert len(keys) == 3
    unit = ("--network", "none", "--tmpfs", "/var/panoptes:uid=1000,gid=1000")
    script = 'python -c "$0" "$1" && cat /var/panoptes/json_store/panoptes/current_state.json'
    said = lab.run(pocs_image, "sh", "-c", script, SIMULATED, json.dumps(keys), options=unit).stdout.splitlines()
    assert "[true, true, true]" in said
    assert json.loads(said[-1])["data"]["state"] in ("sleeping", "parked", "housekeeping", "ready")


def test_cameras_libraries_for_other_processors_are_left_out(lab, pocs_image):
    assert lab.run(pocs_image, "find", "/opt/pocs", "-name", "*.so*", "-o", "-name", "*.a").stdout == ""


def test_health_is_that_of_the_services_that_the_environment_names(lab, pocs_image):
    kind, check = lab.inspect(pocs_image)["Config"]["Healthcheck"]["Test"]
    assert kind == "CMD-SHELL"
    alone = lab.run(pocs_image, "sh", "-c", check, options=("--network", "none"), check=False)
    assert alone.returncode != 0 and alone.stderr.startswith("panoptes-config-server: ")
    # On other ports than the usual ones, in one container of their own network.
    settings = ("--env", "PANOPTES_CONFIG_PORT=7563", "--env", "PANOPTES_HUB_PORT=7500", "--network", "none")
    mount = ("--volume", f"{TOP / 'docker' / 'pocs.yaml'}:/pocs.yaml:ro")
    config_server = "panoptes-config-server run --config-file /pocs.yaml --no-save-local 2>/dev/null &"
    wait = f"timeout 60 sh -c 'until {check}; do :; done' 2>/dev/null"
    lab.run(
        pocs_image, "sh", "-c", f"{config_server} panoptes-messaging-hub --port 7500 & {wait}", options=settings + mount
    )
    without_hub = (
        f"{config_server} timeout 60 sh -c 'until panoptes-config-server health; do :; done' 2>/dev/null; {check}"
    )
    said = lab.run(pocs_image, "sh", "-c", without_hub, options=settings + mount, check=False)
    assert said.returncode != 0 and "no message came through 7500→7501" in said.stderr


# Inside the container: both services, then a subscriber that hears, then the program of the image.
HEARD = """
import subprocess, sys
from panoptes.utils.messaging import PanMessaging
services = ["panoptes-config-server run --config-file /pocs.yaml --no-save-local", "panoptes-messaging-hub"]
started = [subprocess.Popen(words.split(), stderr=subprocess.DEVNULL) for words in services]
for name in ("config-server", "messaging-hub"):
    subprocess.run([f"panoptes-{name}", "health", "--timeout", "60"], check=True)
subprocess.run(sys.argv[1], shell=True, check=True)
with PanMessaging.create_subscriber(6511) as subscriber, PanMessaging.create_publisher(6510) as publisher:
    while not subscriber.receive_message(timeout_ms=200)[0]:
        publisher.send_message("probe", {})
    started.append(subprocess.Popen(sys.argv[2:]))
    topic = "probe"
    while topic == "probe":
        topic, message = subscriber.receive_message(timeout_ms=120_000)
print(topic, message["unit"], 0 <= message["lit"] <= 1)
for one in started:
    one.kill()
"""


def test_image_of_the_page_is_healthy_and_its_message_is_heard(lab, moon_image):
    config = lab.inspect(moon_image)["Config"]
    assert config["User"] == "panoptes" and config["WorkingDir"] == "/var/panoptes"
    mount = ("--volume", f"{TOP / 'docker' / 'pocs.yaml'}:/pocs.yaml:ro", "--network", "none")
    words = ("python", "-c", HEARD, config["Healthcheck"]["Test"][1], *config["Cmd"])
    assert lab.run(moon_image, *words, options=mount).stdout.splitlines()[-1] == "moon Development unit True"


def test_module_of_the_page_s_image_is_that_of_the_base(lab, moon_image):
    script = "import importlib.metadata as m, panoptes.utils as u; print(m.version('panoptes-utils'), u.__file__)"
    said = lab.run(moon_image, "python", "-c", script).stdout.strip()
    assert said == f"{VERSION} /opt/panoptes-utils/panoptes_utils/__init__.py"


def test_large_packages_are_held_as_the_page_says(lab, told_base, build, tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {told_base}\nUSER root\n{blocks('dockerfile')[1]}", encoding="utf-8")
    held = build("held", tmp_path)
    script = "python -c 'import astroplan, numpy, astropy as a; print(numpy.__version__, a.__version__)'; ls /tmp"
    base = lab.run(told_base, "sh", "-c", script.replace("astroplan, ", "")).stdout
    assert lab.run(held, "sh", "-c", script).stdout.split()[:2] == base.split()[:2]


def test_more_of_debian_can_be_added_as_the_page_says(lab, utils_image):
    path = "/usr/local/share/panoptes/install-packages.sh"
    assert f"`{path} python3-NAME`" in PAGE.read_text(encoding="utf-8")
    lab.run(utils_image, "test", "-x", path)
