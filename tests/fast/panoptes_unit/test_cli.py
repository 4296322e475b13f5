"""The zipapp as a technician meets it: help, exit codes, JSON, pins and locks."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from panoptes_unit.build import build
from panoptes_unit.cli import EXAMPLES, _parser, main
from panoptes_unit.deploy.state import State, Store

pytest.importorskip("yaml")
pytest.importorskip("docker")

# Verbs that share the function of another.
RUNS = {"update": "deploy"}


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory):
    path = tmp_path_factory.mktemp("zipapp") / "panoptes-unit"
    path.write_bytes(build())
    return path


@pytest.fixture
def unit(zipapp, tmp_path):
    """Runs a verb with all paths below tmp_path."""
    settings = tmp_path / "unit.yaml"
    settings.write_text(
        json.dumps(
            {
                "source": "127.0.0.1:1/a/b:latest",
                "state": str(tmp_path / "state"),
                "release_file": str(tmp_path / "release.env"),
                "compose_file": str(tmp_path / "compose.yaml"),
                "docker_host": f"unix://{tmp_path}/absent.sock",
                "observing": {"file": str(tmp_path / "absent.json")},
            }
        )
    )

    def run(*arguments):
        command = [sys.executable, str(zipapp), *arguments, "--settings", str(settings)]
        return subprocess.run(command, capture_output=True, text=True)

    run.state = Store(tmp_path / "state")
    return run


def test_zipapp_built_twice_is_the_same_to_the_byte(zipapp):
    assert build() == zipapp.read_bytes()


def test_help_lists_every_verb_and_exit_code(zipapp):
    text = subprocess.run([sys.executable, str(zipapp), "--help"], capture_output=True, text=True).stdout
    for word in ("deploy", "update", "rollback", "recover", "status", "history", "pin", "unpin", "lock", "unlock"):
        assert f"\n    {word} " in text
    assert "exit codes:" in text


def test_help_of_every_verb_has_examples_that_the_parser_takes():
    verbs = _parser()._subparsers._group_actions[0].choices
    assert list(EXAMPLES) == list(verbs)
    for verb, text in EXAMPLES.items():
        shown = verbs[verb].format_help()
        assert f"examples:\n{text}\n" in shown
        assert "exit codes:" in shown
        for line in text.splitlines():
            for command in re.split(r" (?:&&|\|) ", re.split(r" {3,}", line.strip())[0]):
                tool, *arguments = shlex.split(command)
                if tool == "panoptes-unit":
                    _parser().parse_args(arguments)


def test_wrong_verb_and_missing_settings(zipapp, tmp_path):
    assert subprocess.run([sys.executable, str(zipapp), "destroy"], capture_output=True).returncode == 2
    done = subprocess.run(
        [sys.executable, str(zipapp), "status", "--settings", str(tmp_path / "no")], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_registry_down_is_one_line_and_a_record(unit):
    done = unit("deploy", "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert (answer["verdict"], answer["changed"]) == ("failed", False)
    assert "not reachable" in answer["reason"]
    assert done.stderr.count("\n") == 1
    assert unit.state.history()[-1]["reason"] == answer["reason"]
    assert "failed" in unit("history").stdout


def test_status_without_engine_and_release(unit):
    done = unit("status", "--json")
    assert done.returncode == 1, "it does not work"
    answer = json.loads(done.stdout)
    assert (answer["release"], answer["whole"]) == (None, False)
    assert {one["name"] for one in answer["problems"]} >= {"engine", "compose", "release", "services"}
    assert "Docker Engine does not answer" in answer["engine_problem"]
    assert "panoptes-unit deploy" in unit("status").stdout


def test_nothing_to_recover_and_nothing_to_roll_back_to(unit):
    assert json.loads(unit("recover", "--json").stdout)["verdict"] == "unchanged"
    done = unit("rollback")
    assert done.returncode == 1
    assert "no previous release" in done.stderr


def test_pin_lock_and_quarantine(unit):
    assert unit("pin").returncode == 1
    digest = "sha256:" + "a" * 64
    image = f"127.0.0.1:1/a/b@{digest}"
    release = {"image": image, "index": "i", "tag": "latest", "platform": "linux/amd64", "layers": []}
    unit.state.save(State(current=release, quarantine={digest: {"at": 1, "reason": "bad", "index": "i", "tag": "t"}}))
    assert "aaaaaaaaaaaa" in unit("pin", "--reason", "campaign").stdout
    assert json.loads(unit("deploy", "--json").stdout)["verdict"] == "held"
    assert unit.state.load().pinned["release"] == release
    unit("unpin")
    assert unit.state.load().pinned is None
    assert unit("lock", "--hours", "-1").returncode == 2
    unit("lock", "--hours", "2", "--reason", "calibration")
    assert unit.state.load().lock_in_force()["reason"] == "calibration"
    unit("unlock")
    assert unit.state.load().lock_in_force() is None
    assert unit("clear", "bbbb").returncode == 2
    assert "quarantine" in unit("status").stdout
    unit("clear", "aaaa")
    assert unit.state.load().quarantine == {}


def test_doctor_reports_every_problem_at_once(unit):
    done = unit("doctor", "--json")
    assert done.returncode == 1
    problems = {item["name"] for item in json.loads(done.stdout) if item["problem"]}
    assert {"engine", "compose", "registry", "release", "proof"} <= problems


def test_clock_of_1970_is_refused_before_the_network(unit, zipapp, tmp_path):
    """time.time of the process stands in for the machine's clock, which a test must not set."""
    script = f"import runpy,sys,time; time.time=lambda: 0.0; sys.argv[:]={[str(zipapp), 'deploy', '--settings']!r}"
    script += f"+[{str(tmp_path / 'unit.yaml')!r}]; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "clock says 1970-01-01" in done.stderr


@pytest.mark.parametrize("verb", sorted(EXAMPLES))
def test_a_verb_that_the_system_refuses_a_normal_user_says_that_it_needs_root(verb, monkeypatch, capsys):
    def refused(options):
        raise PermissionError(13, "Permission denied", "/run/panoptes-unit.lock")

    words = {"clear": ["all"], "backup": ["/media/stick"]}.get(verb, [])
    monkeypatch.setattr(f"panoptes_unit.cli._{RUNS.get(verb, verb)}", refused)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main([verb, *words, "--json"]) == 1
    said = capsys.readouterr()
    reason = f"needs root: sudo panoptes-unit {verb}"
    assert json.loads(said.out) == {"verdict": "failed", "changed": False, "reason": reason, "exit_code": 1}
    assert said.err == f"panoptes-unit: {reason}\n"
    monkeypatch.setattr("os.geteuid", lambda: 0)  # root is told what it was
    assert main([verb, *words]) == 1
    assert capsys.readouterr().err == "panoptes-unit: /run/panoptes-unit.lock: Permission denied\n"
