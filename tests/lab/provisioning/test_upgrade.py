"""A unit that an earlier commit provisioned: this one takes it over, updates it, and gives it back."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import checks
from lab.releases import Releases
from lab.unit_under_test import UnitUnderTest
from panoptes_unit.build import build

if TYPE_CHECKING:
    from conftest import Result

pytestmark = [pytest.mark.lab, pytest.mark.slow]

TOP = Path(__file__).parents[3]
# The last commit whose tool was a part of panoptes_utils, its modules folders of the roles.
EARLIER = "d347cf5"
STATE = "/var/lib/panoptes-unit"
TOOL = "/usr/local/bin/panoptes-unit"


@pytest.fixture(scope="module")
def earlier(tmp_path_factory) -> Path:
    """The tree of the earlier commit."""
    folder = tmp_path_factory.mktemp("earlier")
    archive = folder.with_suffix(".tar")
    done = subprocess.run(["git", "archive", "--output", str(archive), EARLIER], cwd=TOP, capture_output=True)
    if done.returncode:
        pytest.skip(f"commit {EARLIER} is not in this clone (git fetch --unshallow gets it)")
    # By tar itself: Debian 12's Python has no filters for it yet, and later ones ask for one.
    subprocess.run(["tar", "--extract", "--file", str(archive), "--directory", str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def releases():
    made = Releases(folder="upgrade-tests")
    yield made
    made.remove_images()


@pytest.fixture(scope="module")
def unit(make_unit, earlier, releases):
    """Provisioned by the earlier tree with `good-0`; then its configuration was changed, as POCS does."""
    made = make_unit("upgrade")
    releases.offer("good-0")
    provision(made, releases, earlier)
    made.run("docker", "exec", "config-server", "panoptes-config-server", "set", "location.elevation", "1234.5 m")
    return made


def provision(unit, releases, tree: Path = TOP) -> Result:
    """Runs `unit.yml` of a tree; the unit follows what `releases` offers."""
    result = unit.play("unit.yml", tree=tree, panoptes_registry=releases.source.rpartition("/")[0])
    assert result.code == 0, result.output
    return result


@pytest.fixture(scope="module")
def tool(unit, releases):
    """The tool of the unit, whichever tree it is of; with the earlier one it was updated to `good-1`."""
    testinfra = pytest.importorskip("testinfra")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DOCKER_HOST", unit.lab["docker_host"])
        made = UnitUnderTest(testinfra.get_host(f"docker://{unit.name}"), releases.source)
        made.settings({"limits": {"soak_s": 0}})
        releases.offer("good-1")
        assert made.tool("update", expect=0)["verdict"] == "updated"
        yield made


def containers(unit) -> dict[str, tuple[str, str]]:
    """Service -> (what Compose made it from, its container and when it started)."""
    found = json.loads(unit.run("docker", "inspect", *checks.SERVICES))
    return {
        one["Name"]: (one["Config"]["Labels"]["com.docker.compose.config-hash"], one["Id"] + one["State"]["StartedAt"])
        for one in found
    }


def kept(unit) -> dict[str, str]:
    """What must survive a change of the tree, each as text to compare."""
    return {
        "configuration": unit.shell("cd /var/panoptes/conf_files && find . -type f | sort | xargs sha256sum"),
        "state": unit.run("cat", f"{STATE}/state.json"),
        "history": unit.run("cat", f"{STATE}/history.jsonl"),
        "release": unit.run("cat", checks.RELEASE_FILE),
    }


def installed(unit) -> str:
    return unit.run("sha256sum", TOOL).split()[0]


def not_restarted(before: dict, after: dict) -> bool:
    """Each service that is still made from the same is still the same container."""
    assert set(before) == set(after)
    return all(after[name] == before[name] for name in before if after[name][0] == before[name][0])


def test_earlier_unit_is_taken_over_without_loss_or_restart(unit, tool, releases):
    assert "1234.5" in unit.run("curl", "-fsS", "http://127.0.0.1:6563/get-config")
    before, running = kept(unit), containers(unit)
    provision(unit, releases)
    assert installed(unit) == hashlib.sha256(build()).hexdigest(), "the unit kept the tool of before"
    assert kept(unit) == before
    assert not_restarted(running, containers(unit))
    again = provision(unit, releases)
    assert again.changed == 0, again.output


def test_tool_reads_what_the_earlier_one_kept(tool, releases):
    status = tool.tool("status", expect=0)
    assert releases.digests["good-1"] in json.dumps(status)
    last = tool.last()
    assert (last["verdict"], last["new"].partition("@")[2]) == ("updated", releases.digests["good-1"])
    tool.must_run(releases.digests["good-1"])


def test_update_and_rollback(tool, releases):
    before = tool.configuration()
    tool.tool("rollback", expect=0)
    tool.must_run(releases.digests["good-0"])  # the release before, kept by the earlier tool
    new = releases.offer("good-2")
    assert tool.tool("update", expect=0)["verdict"] == "updated"
    tool.must_run(new)
    tool.tool("rollback", expect=0)
    tool.must_run(releases.digests["good-0"])
    assert tool.configuration() == before


def test_earlier_tree_takes_the_unit_back(unit, tool, earlier, releases):
    releases.offer("good-0")  # what it was rolled back to: the playbook has no release to deploy
    before, running = kept(unit), containers(unit)
    provision(unit, releases, earlier)
    assert installed(unit) != hashlib.sha256(build()).hexdigest()
    assert kept(unit) == before
    assert not_restarted(running, containers(unit))
    assert releases.digests["good-0"] in json.dumps(tool.tool("status", expect=0))
    tool.must_run(releases.digests["good-0"])


def test_update_that_the_earlier_tool_left_half_done_is_undone(unit, tool, releases):
    """The earlier tool is on the unit; it loses power between the two releases, and the new tree finds that."""
    running, configuration = tool.release(), tool.configuration()
    releases.offer("good-3")
    assert tool.tool("update", env="PANOPTES_UNIT_DIE_AT=switch:file")["rc"] == 128 + signal.SIGKILL
    assert tool.release() == releases.digests["good-3"], "it died before it wrote the release file"
    releases.offer("good-0")  # withdrawn meanwhile
    provision(unit, releases)
    assert installed(unit) == hashlib.sha256(build()).hexdigest()
    tool.tool("recover", expect=0)
    tool.must_run(running)
    assert tool.configuration() == configuration
    assert tool.last()["verdict"] == "rolled-back"
    assert tool.tool("recover", expect=0)["verdict"] == "unchanged", "nothing is left to recover"
