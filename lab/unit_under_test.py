"""The tool on the unit, driven as its timer and its technician do."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from typing import Any

from . import checks
from .settings import read_lab

SETTINGS = "/etc/panoptes/unit.yaml"
TEST_SETTINGS = "/etc/panoptes/unit-under-test.yaml"
CONFIGURATION = "/var/panoptes/conf_files"


class UnitUnderTest:
    """A provisioned unit; `host` is its testinfra host."""

    def __init__(self, host: Any, source: str) -> None:
        self.host = host
        self.name = host.backend.get_hostname()
        self.source = source
        self.settings({})

    def settings(self, changes: dict) -> None:
        """The unit's own settings with this source, short limits, no lock, and `changes` over them."""
        limits = {"healthy_s": 60, "soak_s": 1, "round_trip_s": 10, "floor_bytes": 1000, "registry_s": 5}
        basis = {
            "source": self.source,
            "limits": limits,
            "observing": {"source": "none"},
            "window": {"start_h": 0, "end_h": 0},
        }
        script = (
            "import json,sys,yaml;"
            f"own=yaml.safe_load(open('{SETTINGS}'));"
            "over=json.load(sys.stdin);"
            "merge=lambda a,b:{**a,**{k:merge(a.get(k) or {},v) if isinstance(v,dict) else v for k,v in b.items()}};"
            "print(yaml.safe_dump(merge(merge(own,over[0]),over[1])))"
        )
        text = json.dumps([basis, changes])
        self.check(f"printf %s {shlex.quote(text)} | python3 -c {shlex.quote(script)} > {TEST_SETTINGS}")

    def check(self, command: str) -> str:
        done = self.host.run(command)
        assert done.rc == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def tool(self, *arguments: str, env: str = "", expect: int | None = None) -> dict:
        """Runs one verb; its JSON answer plus `rc` and `stderr`. `rc` is 137 where it was killed."""
        words = " ".join(shlex.quote(word) for word in arguments)
        done = self.host.run(f"{env} panoptes-unit {words} --json --settings {TEST_SETTINGS}")
        answer = json.loads(done.stdout) if done.stdout.strip() else {}
        answer = answer if isinstance(answer, dict) else {"answer": answer}
        answer.update(rc=done.rc, stderr=done.stderr)
        if expect is not None:
            assert done.rc == expect, f"{arguments}: {done.stdout}{done.stderr}{self.journal()}"
        return answer

    def journal(self) -> str:
        """What to read when a test fails."""
        state = self.host.run(
            "cat /var/lib/panoptes-unit/journal.jsonl; tail -n 3 /var/lib/panoptes-unit/history.jsonl"
        )
        containers = self.host.run("docker ps --all --no-trunc").stdout
        return f"\n{state.stdout}\n{containers}\n{checks.logs(self.host)}"

    def running(self) -> dict[str, str]:
        """service -> digest that its one container runs."""
        label = "label=com.docker.compose.project=panoptes"
        ids = self.check(f"docker ps --all --quiet --filter {label}").split()
        found: dict[str, str] = {}
        for item in json.loads(self.check("docker inspect " + " ".join(ids))) if ids else []:
            name = item["Config"]["Labels"]["com.docker.compose.service"]
            assert name not in found, f"two containers of {name}{self.journal()}"
            assert item["State"]["Status"] == "running", f"{name} is {item['State']['Status']}{self.journal()}"
            found[name] = item["Config"]["Image"].partition("@")[2]
        return found

    def image(self) -> str:
        """What the release file names: an image by digest."""
        return checks.release(self.host)["PANOPTES_UTILS_IMAGE"]

    def release(self) -> str:
        """The digest that the release file names."""
        return self.image().partition("@")[2]

    def configuration(self) -> str:
        """Checksums of the user's configuration."""
        return self.check(f"cd {CONFIGURATION} && find . -type f | sort | xargs sha256sum")

    def must_run(self, digest: str) -> None:
        """Wholly on this release: file, both containers, and both work."""
        assert self.release() == digest, self.journal()
        running = self.running()
        assert running == dict.fromkeys(checks.SERVICES, digest), self.journal()
        checks.wait_healthy(self.host, 60)
        doctor = self.tool("doctor")
        problems = [
            item for item in doctor["answer"] if item["problem"] and item["name"] in ("release", "services", "proof")
        ]
        assert not problems, f"{problems}{self.journal()}"

    def last(self) -> dict:
        """The last line of the history."""
        return self.tool("history", "-n", "1", expect=0)["answer"][-1]

    def start(self, *arguments: str, env: str = "") -> subprocess.Popen:
        """Starts one verb and returns at once."""
        lab = read_lab()
        words = " ".join(shlex.quote(word) for word in arguments)
        line = f"{env} exec panoptes-unit {words} --json --settings {TEST_SETTINGS}"
        command = [lab["docker_cli"], "--host", lab["docker_host"], "exec", self.name, "sh", "-c", line]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_for(self, command: str, limit_s: float = 30) -> str:
        """Waits until a command on the unit succeeds."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            done = self.host.run(command)
            if done.rc == 0:
                return done.stdout
            time.sleep(0.1)
        raise AssertionError(f"{command}: not within {limit_s:g} s{self.journal()}")

    def update_halted_at(self, point: str, *arguments: str) -> subprocess.Popen:
        """Starts an update that halts at a point of the journal; returns it when it has."""
        process = self.start("update", *arguments, env=f"PANOPTES_UNIT_STOP_AT={point}")
        try:
            self.wait_for("grep -q '^State:.T' /proc/$(cat /var/lib/panoptes-unit/lock)/status")
        except AssertionError:
            print(process.communicate(timeout=5))
            raise
        return process
