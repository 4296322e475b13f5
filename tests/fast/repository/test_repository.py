"""The repository's own rules: what a newcomer relies on without reading code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[3]


def git_files() -> list[Path]:
    if shutil.which("git") is None:
        pytest.skip("git is not installed here")
    answer = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True)
    if answer.returncode:
        pytest.skip("not a git checkout: the list of tracked files is not known")
    return [TOP / name for name in answer.stdout.split("\0") if name]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (TOP / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


@pytest.mark.parametrize(
    "name",
    ["playbooks/unit.yml", "playbooks/remove.yml", "roles", "inventory/hosts.yml",
     "inventory/group_vars/units/10-defaults.yml", "inventory/group_vars/units/90-mine.yml.sample",
     "molecule/default/molecule.yml", "panoptes_utils", "docker/Dockerfile", "docker/Dockerfile.utils.amd64",
     "docker/Dockerfile.utils.rpi", "docker/build-image.sh", "ansible.cfg", "requirements.yml", "setup.py",
     "scripts/testing/run_tests.sh", ".ci/run", "LICENSE", "CHANGELOG.md"],
)  # fmt: skip
def test_place_is_where_people_look_for_it(name):
    assert (TOP / name).exists()


def test_playbook_runs_the_roles_in_the_order_of_the_design():
    plays = yaml.safe_load((TOP / "playbooks" / "unit.yml").read_text(encoding="utf-8"))
    roles = [role["role"] if isinstance(role, dict) else role for play in plays for role in play.get("roles", [])]
    order = ["preflight", "system", "raspberry_pi", "docker", "release", "services", "updates", "health", "backup"]
    assert [role for role in order if role in roles] == roles
    assert {"preflight", "system", "docker", "release", "services"} <= set(roles)


def test_make_targets_named_in_the_documentation_exist():
    targets = make_targets()
    pages = [TOP / "README.md", *(TOP / "docs").rglob("*.md"), *(TOP / "roles").rglob("*.md"), *TOP.glob("docker/*.md")]
    named = {
        (page.name, target)
        for page in pages
        for target in re.findall(r"(?:`|^    |^\$ )make ([a-z0-9-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named, "the README names no make target"
    assert {(page, target) for page, target in named if target not in targets} == set()


def test_files_named_in_the_readme_exist():
    text = (TOP / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert links, "the README links to nothing"
    assert [link for link in links if not (TOP / link).exists()] == []


def test_nothing_tracked_is_large():
    assert [path.name for path in git_files() if path.is_file() and path.stat().st_size > 1_000_000] == []


def test_shell_scripts_stop_at_the_first_error_and_are_executable():
    scripts = [path for path in git_files() if path.suffix == ".sh" or path == TOP / ".ci" / "run"]
    assert scripts
    for path in scripts:
        text = path.read_text(encoding="utf-8")
        assert re.search(r"^set -e", text, flags=re.MULTILINE), f"{path} goes on after an error"
        if text.startswith("#!"):
            assert os.access(path, os.X_OK), f"{path} is not executable"


def test_decision_records_fit_a_page():
    for record in (TOP / "docs" / "decisions").glob("*.md"):
        assert len(record.read_text(encoding="utf-8").splitlines()) <= 60, f"{record.name} is longer than a page"


def test_bundled_collections_are_the_ones_required():
    wanted = yaml.safe_load((TOP / "requirements.yml").read_text(encoding="utf-8"))["collections"]
    galaxy = shutil.which("ansible-galaxy") or pytest.skip("ansible is not installed here")
    answer = subprocess.run([galaxy, "collection", "list", "--format=json"], capture_output=True, text=True, check=True)
    found = {name: about["version"] for group in json.loads(answer.stdout).values() for name, about in group.items()}
    specifiers = pytest.importorskip("packaging.specifiers")
    for collection in wanted:
        version = found[collection["name"]]
        assert version in specifiers.SpecifierSet(collection["version"]), f"{collection['name']} is {version}"
