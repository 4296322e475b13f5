"""The lab's own command: what it refuses, its certificates, and one run at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]

pytest.importorskip("docker", reason="needs the Docker SDK")
x509 = pytest.importorskip("cryptography.x509", reason="needs cryptography")


def lab_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "lab", *arguments],
        capture_output=True,
        text=True,
        cwd=TOP,
        env={**os.environ, **environment},
    )


@pytest.fixture
def cache(tmp_path) -> dict:
    return {"PANOPTES_LAB_CACHE": str(tmp_path / "cache")}


def test_unknown_flavour_gets_one_line(cache):
    done = lab_command("up", "--flavours", "sparc", **cache)
    assert done.returncode == 1
    assert done.stdout == "lab: unknown flavour sparc; known are amd64, arm32v7, arm64v8\n"


@pytest.mark.parametrize(
    ("value", "says"),
    [("somewhere", "is not a network"), ("10.0.0.1/24", "has host bits set"), ("10.0.0.0/30", "is too small")],
)
def test_unusable_network_gets_one_line(value, says):
    script = "from lab import settings; settings.registry_address()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PANOPTES_LAB_SUBNET": value},
        cwd=TOP,
    )
    assert done.returncode == 1
    assert says in done.stderr and "PANOPTES_LAB_SUBNET" in done.stderr.splitlines()[-1]


def test_help_lists_every_verb():
    text = lab_command("--help").stdout
    assert all(f"  {verb} " in text for verb in ("up", "clean", "status", "unit", "test-image", "in-image"))


@pytest.mark.parametrize(
    ("words", "playbooks"),
    [
        (["--remove"], [("destroy.yml", "panoptes-unit")]),
        (["--remove", "--name", "other"], [("destroy.yml", "other")]),
        (["--help"], []),
        ([], [("create.yml", "panoptes-unit"), ("unit.yml", "panoptes-unit")]),
    ],
)
def test_removing_a_unit_and_asking_for_help_provision_none(words, playbooks, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from lab import __main__ as command
    from lab import simulated_unit

    (tmp_path / "lab.json").touch()
    monkeypatch.setenv("PANOPTES_LAB_CACHE", str(tmp_path))
    monkeypatch.delenv("PANOPTES_LAB_UNIT", raising=False)
    brought_up, run = [], []
    monkeypatch.setattr(command, "bring_up", brought_up.append)
    monkeypatch.setattr(simulated_unit, "playbook", lambda path, name, *arguments: run.append((path.name, name)))
    monkeypatch.setattr(simulated_unit, "report", lambda name: None)
    done = CliRunner().invoke(command.main, ["unit", *words])
    assert done.exit_code == 0, done.output
    assert run == playbooks
    assert bool(brought_up) == (words == [])


def test_removing_a_unit_without_a_lab_gets_one_line(cache):
    done = lab_command("unit", "--remove", **cache)
    assert done.returncode == 1
    assert done.stdout == "lab: there is no lab on this machine, so there is no unit to remove\n"


def test_clean_without_a_lab_removes_its_own_files_only(tmp_path, cache):
    (tmp_path / "other").write_text("kept", encoding="utf-8")
    environment = {**cache, "PANOPTES_LAB_NETWORK": "panoptes-lab-test-clean", "PANOPTES_LAB_SUBNET": "172.30.62.0/24"}
    done = lab_command("clean", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_second_run_waits_for_the_first(tmp_path, cache):
    script = "import sys\nfrom lab import settings\n"
    script += "with settings.lock():\n print('locked', flush=True); sys.stdin.readline()"
    words, environment = [sys.executable, "-c", script], {**os.environ, **cache}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment, "cwd": TOP}
    with subprocess.Popen(words, **pipes) as first:
        assert first.stdout.readline() == "locked\n"
        with subprocess.Popen(words, **pipes) as second:
            assert "waiting" in second.stdout.readline()
            first.communicate("\n")
            assert second.stdout.readline() == "locked\n"
            second.communicate("\n")


def test_certificate_is_for_the_registry_and_renewed_in_time(tmp_path, monkeypatch):
    from lab import authority

    ca_file = authority.up(tmp_path, "172.30.63.2")
    first = (tmp_path / "server.crt").read_bytes()
    ca = x509.load_pem_x509_certificate(ca_file.read_bytes())
    server = x509.load_pem_x509_certificate(first)
    server.verify_directly_issued_by(ca)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["172.30.63.2"]
    assert (tmp_path / "server.key").stat().st_mode & 0o077 == 0
    assert not list(tmp_path.glob("ca.key*")), "the authority's key is not kept"

    authority.up(tmp_path, "172.30.63.2")
    assert (tmp_path / "server.crt").read_bytes() == first, "made anew without need"
    monkeypatch.setattr(authority, "_RENEW", authority._DAY * 1000)
    authority.up(tmp_path, "172.30.63.2")
    assert (tmp_path / "server.crt").read_bytes() != first


def test_saved_machines_without_a_recipe_or_a_clone_are_removed(cache):
    script = """
from lab.vm import disk, saved
folder = disk.machines_folder()
for name in ("arm32v7-newest", "arm32v7-old", "arm32v7-cloned", "arm32v7-new-being-made", "arm64v8-other"):
    (folder / name).mkdir(parents=True)
    (folder / name / "kernel").touch()
clone = folder / "machines" / "one"
clone.mkdir(parents=True)
(clone / "machine.json").write_text("{}")
(clone / "kernel").symlink_to(folder / "arm32v7-cloned" / "kernel")
saved._prune("arm32v7", folder / "arm32v7-newest")
print(*sorted(path.name for path in folder.iterdir()))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, **cache},
        check=False,
        cwd=TOP,
    )
    assert done.stdout.split() == [
        "arm32v7-cloned", "arm32v7-new-being-made", "arm32v7-newest", "arm64v8-other", "machines"
    ], done.stderr  # fmt: skip
