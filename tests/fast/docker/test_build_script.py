"""docker/build-image.sh: its plan, and its one line for everything that is wrong before a build starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[3]
ALL = "amd64,arm32v7,arm64v8"


def build_image(*arguments: str, top: Path = TOP, **environment: str) -> subprocess.CompletedProcess:
    variables = {key: value for key, value in os.environ.items() if key != "PANOPTES_REGISTRY"}
    return subprocess.run(
        [top / "docker" / "build-image.sh", *arguments],
        capture_output=True,
        text=True,
        env={**variables, **environment},
    )


def plan(*arguments: str) -> list[list[str]]:
    done = build_image(*arguments, "--print")
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["base", "--arch", "sparc"], "unknown architecture 'sparc'; known are amd64, arm32v7, arm64v8"),
        (["base", "--arch", "amd64,armhf"], "unknown architecture 'armhf'"),
        (["base", "--arch"], "--arch needs a value"),
        (["base", "--arch", ""], "--arch needs a value"),
        (["everything"], "unknown argument 'everything'"),
        (["base", "--tag", "a/b"], "'a/b' is not a tag"),
        (["base", "--push"], "--push needs a registry"),
        (["base", "--cloud"], "--cloud needs a registry"),
        (["base", "--cloud", "--registry", "r", "--arch", "amd64"], "--cloud makes every flavour"),
    ],
)
def test_wrong_argument_gets_one_line(arguments, says):
    done = build_image(*arguments, DOCKER="/bin/false")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_without_an_argument_it_says_how_it_is_used():
    done = build_image()
    assert done.returncode == 1
    assert "Usage:" in done.stderr and "say what to build" in done.stderr


def test_missing_docker_gets_one_line():
    done = build_image("base", DOCKER="no-such-docker")
    assert done.returncode == 1
    assert re.fullmatch(r"build-image: 'no-such-docker' is not installed; install Docker Engine.*\n", done.stderr)


def test_push_of_uncommitted_changes_is_refused(checkout):
    (checkout / "README.md").write_text("changed\n", encoding="utf-8")
    done = build_image("base", "--push", "--registry", "localhost:1", top=checkout, DOCKER="/bin/false")
    assert done.returncode == 1
    assert "uncommitted changes (1 files); commit them, or give --dirty" in done.stderr


def test_push_from_a_folder_without_commit_is_refused(checkout):
    subprocess.run(["rm", "-rf", checkout / ".git"], check=True)
    done = build_image("base", "--push", "--registry", "localhost:1", top=checkout, DOCKER="/bin/false")
    assert done.returncode == 1
    assert "is not a git checkout" in done.stderr


def test_labels_say_commit_and_its_date(checkout):
    git = ["git", "-C", checkout, "-c", "user.name=t", "-c", "user.email=t@example.org"]
    environment = {**os.environ, "GIT_COMMITTER_DATE": "2026-02-03T04:05:06+0100"}
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "x"], check=True, env=environment)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    line = build_image("base", "--print", top=checkout).stdout
    assert f"REVISION={head} " in line
    assert "CREATED=2026-02-03T03:05:06Z " in line


def test_manifest_list_carries_architecture_and_variant():
    annotations = [line for line in plan("utils", "--arch", ALL, "--registry", "r", "--push") if "annotate" in line]
    said = {line[-1]: " ".join(line[3:-2]) for line in annotations}
    assert said == {
        "r/panoptes-utils:amd64": "--os linux --arch amd64",
        "r/panoptes-utils:arm32v7": "--os linux --arch arm --variant v7",
        "r/panoptes-utils:arm64v8": "--os linux --arch arm64 --variant v8",
    }


def test_utils_is_built_on_the_base_of_its_own_flavour():
    builds = plan("all", "--arch", ALL, "--registry", "r", "--base-image", "mine/{arch}")
    bases = {
        line[line.index("--tag") + 1]: next(word for word in line if word.startswith("BASE_IMAGE=")) for line in builds
    }
    assert bases["r/panoptes-base:arm32v7"] == "BASE_IMAGE=mine/arm32v7"
    assert bases["r/panoptes-utils:arm32v7"] == "BASE_IMAGE=r/panoptes-base:arm32v7"
    assert [line[line.index("--file") + 1] for line in builds if "r/panoptes-utils:arm32v7" in line] == [
        "docker/Dockerfile.utils.rpi"
    ]


def test_without_a_registry_the_tag_names_the_own_flavour():
    own, tag = plan("utils")
    assert tag == ["docker", "tag", own[own.index("--tag") + 1], "panoptes-utils:latest"]
    assert [line[1] for line in plan("utils", "--registry", "r")] == ["build"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed here")
def test_the_pis_dockerfile_is_made_of_the_other(tmp_path):
    (tmp_path / "docker").mkdir()
    for name in ("Makefile", "docker/Dockerfile.utils.amd64"):
        shutil.copy(TOP / name, tmp_path / name)
    subprocess.run(["make", "dockerfiles"], cwd=tmp_path, check=True, capture_output=True)
    made = (tmp_path / "docker" / "Dockerfile.utils.rpi").read_text(encoding="utf-8")
    assert made == (TOP / "docker" / "Dockerfile.utils.rpi").read_text(encoding="utf-8"), "run `make dockerfiles`"


def test_the_two_dockerfiles_differ_in_the_environment_alone():
    files = [TOP / "docker" / f"Dockerfile.utils.{name}" for name in ("amd64", "rpi")]
    amd64, pi = (file.read_text(encoding="utf-8").splitlines() for file in files)
    differ = [(one, other) for one, other in zip(amd64, pi) if one != other]
    assert len(amd64) == len(pi) and [one[:4] for one, _ in differ] == ["# pa", "COPY", "RUN "]
    for one, other in differ[1:]:
        assert one.replace("environment-amd64", "environment-rpi") == other


def test_hosted_checks_map_the_checkout_over_the_working_directory():
    dockerfiles = [
        (TOP / "docker" / f"Dockerfile.utils.{name}").read_text(encoding="utf-8") for name in ("amd64", "rpi")
    ]
    (place,) = {re.search(r"^WORKDIR (.+)$", text, re.MULTILINE)[1] for text in dockerfiles}
    pages = {".travis.yml": "$TRAVIS_BUILD_DIR", ".github/workflows/tests.yml": "$GITHUB_WORKSPACE"}
    for page, checkout in pages.items():
        text = (TOP / page).read_text(encoding="utf-8")
        assert f"{checkout}:{place}" in text and "scripts/testing/run_tests.sh" in text, page


@pytest.mark.parametrize("tag", ["latest", "v1.2"])
@pytest.mark.parametrize("image", ["base", "utils"])
def test_cloud_build_does_the_steps_of_a_local_build(image, tag):
    arguments = [image, "--registry", "example.org/panoptes", "--tag", tag]
    (submit,) = plan(*arguments, "--cloud")
    values = dict(pair.split("=", 1) for pair in submit[submit.index("--substitutions") + 1].split(","))
    config = yaml.safe_load((TOP / submit[submit.index("--config") + 1]).read_text(encoding="utf-8"))
    assert set(values) == set(config["substitutions"])
    steps = [
        ["docker", *(re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], word) for word in step["args"])]
        for step in config["steps"]
        if step["id"] != "emulators"
    ]
    assert steps == plan(*arguments, "--arch", ALL, "--push")


def test_every_image_can_be_built_on_one_base_and_no_other():
    digest = f"debian@sha256:{'0' * 64}"
    for path in sorted((TOP / "docker").glob("Dockerfile*")):
        bases = re.findall(r"^FROM (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert bases == ["${BASE_IMAGE}"], f"{path.name}: nobody can name its base by digest"
    for image in ("base", "utils"):
        (line,) = [
            one for one in plan(image, "--arch", "amd64", "--base-image", digest) if "BASE_IMAGE=" in " ".join(one)
        ]
        assert f"BASE_IMAGE={digest}" in line
