"""An interrupted run is finished by the next one, wherever it was interrupted, and both ways end in the same state.

As shipped, in one task of each role that matters; at night (`make test-lab`) in more.
"""

from __future__ import annotations

import json
import threading

import pytest
import requests

from lab.faults import EVERY_FAULT

pytestmark = [pytest.mark.lab, pytest.mark.slow]

STATE = """
cd / && for path in $(find etc/panoptes etc/docker etc/udev/rules.d/60-panoptes.rules var/panoptes -type f | sort); do
  case $path in */pocs_local.yaml|*/key.json) ;; *) echo "$(stat -c '%a %u %g' $path) $(sha256sum $path)" ;; esac
done
find var/panoptes -type d | sort | xargs stat -c '%a %u %g %n'
readlink etc/localtime
ls usr/sbin/policy-rc.d 2>&1
id panoptes
dpkg-query -W -f '${db:Status-Status} ${Package}\n' docker.io docker-cli docker-compose python3-zmq
docker info -f '{{.LiveRestoreEnabled}} {{.LoggingDriver}}'
docker inspect -f '{{.Name}} {{.State.Health.Status}} {{.Config.Image}}' config-server messaging-hub
"""


@pytest.fixture(scope="module")
def unit(make_unit):
    return make_unit("interruptions")


def starts(task: str, role: str):
    """True for the event with which a role's task starts on the unit."""

    def matches(event: dict) -> bool:
        data = event.get("event_data", {})
        return event["event"] == "runner_on_start" and data.get("role") == role and task in data.get("task", "")

    return matches


# In the order of the play: what each leaves half done is what the next run finds.
INTERRUPTED = {
    ("preflight", "Read the state"): "at night",
    ("system", "Install packages"): "always",
    ("system", "Make the unit's directories"): "at night",
    ("docker", "Install Docker Engine"): "always",
    ("docker", "Write the settings of the engine"): "at night",
    ("release", "Write its settings"): "at night",
    ("release", "Bring the unit to the release"): "always",
    ("services", "Write the configuration"): "at night",
    ("services", "Start the services"): "always",
}


@pytest.mark.parametrize(
    ("role", "task"), [one for one, when in INTERRUPTED.items() if EVERY_FAULT or when == "always"]
)
def test_interrupted_task_fails_alone(unit, role, task):
    result = unit.play("unit.yml", stop=starts(task, role))
    assert result.code != 0, f"{role}: {task} never started\n{result.output}"
    # The task that was cut off may still report that its process died; nothing else may have failed.
    assert [name for name in result.failed_tasks if task not in name] == [], result.failures


def test_the_next_run_finishes_and_the_one_after_changes_nothing(unit):
    finished = unit.play("unit.yml")
    assert finished.code == 0, finished.output
    state = unit.shell(STATE)
    again = unit.play("unit.yml")
    assert again.code == 0, again.output
    assert again.changed == 0, again.output
    assert unit.shell(STATE) == state


@pytest.mark.skipif(not EVERY_FAULT, reason="a second machine from nothing; at night: make test-lab")
def test_same_state_as_an_uninterrupted_run(unit, make_unit):
    other = make_unit("uninterrupted")
    result = other.play("unit.yml")
    assert result.code == 0, result.output
    assert other.shell(STATE) == unit.shell(STATE)


def test_package_manager_killed_in_the_middle(unit):
    """A power cut while dpkg writes: apt refuses everything until someone finishes what dpkg began."""
    unit.run("dpkg", "--remove", "--force-depends", "python3-zmq")
    unit.shell("touch /var/lib/dpkg/updates/0001 && cp /dev/null /var/lib/dpkg/updates/0001")
    result = unit.play("unit.yml")
    assert result.code == 0, result.output
    assert unit.run("dpkg-query", "-W", "-f", "${db:Status-Status}", "python3-zmq") == "installed"


def test_pulled_out_settings_are_put_back(unit):
    """Whatever somebody changed by hand is as the inventory says after the next run; other files are left alone."""
    unit.shell(
        "rm /etc/docker/daemon.json; chmod 777 /var/panoptes/conf_files/pocs.yaml; echo mine > /etc/panoptes/mine"
    )
    unit.run("docker", "rm", "--force", "messaging-hub")
    started = json.loads(unit.run("docker", "inspect", "config-server"))[0]["State"]["StartedAt"]
    result = unit.play("unit.yml")
    assert result.code == 0, result.output
    assert json.loads(unit.run("cat", "/etc/docker/daemon.json"))["live-restore"] is True
    assert unit.run("stat", "-c", "%a", "/var/panoptes/conf_files/pocs.yaml") == "640"
    assert unit.run("cat", "/etc/panoptes/mine") == "mine"
    now = json.loads(unit.run("docker", "inspect", "config-server"))[0]["State"]["StartedAt"]
    assert now == started, "a service that did not change was restarted"


def test_journal_does_not_repeat_the_files_that_were_written(unit):
    journal = unit.run("journalctl", "--no-pager", "-t", "ansible-unit_files")
    assert "Invoked for" in journal
    assert "pan_id" not in journal


def test_engine_keeps_its_settings_where_the_new_ones_are_wrong(unit):
    def state() -> tuple:
        engine = unit.run("systemctl", "show", "-p", "MainPID", "docker")
        return unit.run("sha256sum", "/etc/docker/daemon.json"), engine

    before = state()
    result = unit.play("unit.yml", docker_daemon_options={"live-restore": True, "no-such-option": 1})
    assert result.code != 0
    assert "/etc/docker/daemon.json stays as it was, dockerd refuses the new one" in result.output
    assert "no-such-option" in result.output
    assert state() == before


def test_changed_configuration_restarts_the_config_server_only(unit):
    def started(service: str) -> str:
        return json.loads(unit.run("docker", "inspect", service))[0]["State"]["StartedAt"]

    before = {service: started(service) for service in ("config-server", "messaging-hub")}
    result = unit.play("unit.yml", panoptes_pan_id="PAN777")
    assert result.code == 0, result.output
    assert started("messaging-hub") == before["messaging-hub"]
    assert started("config-server") != before["config-server"]


def test_public_mode_reaches_out_and_wants_the_token(unit):
    result = unit.play("unit.yml", panoptes_public=True)
    assert result.code == 0, result.output
    network = unit.lab["network"]
    networks = json.loads(unit.docker("inspect", unit.name))[0]["NetworkSettings"]["Networks"]
    server = f"http://{networks[network]['IPAddress']}:6563"
    with requests.Session() as client:
        client.trust_env = False
        assert client.post(f"{server}/get-config", json={"key": "pan_id"}, timeout=20).json() == "PAN000"
        change = {"simulator": ["weather"]}
        assert client.post(f"{server}/set-config", json=change, timeout=20).status_code == 401
        token = unit.run("cat", "/var/panoptes/conf_files/.config-server.token")
        header = {"Authorization": f"Bearer {token}"}
        assert client.post(f"{server}/set-config", json=change, headers=header, timeout=20).ok
    assert unit.run("stat", "-c", "%a", "/var/panoptes/conf_files/.config-server.token") == "600"


def test_self_check_says_what_does_not_work(unit):
    """A hub that is healthy a moment ago and dead now: the check from outside notices, and says where to look."""
    unit.play("unit.yml")
    stopper = threading.Event()

    def pause(event: dict) -> bool:
        if starts("Ask both services", "services")(event) and not stopper.is_set():
            stopper.set()
            unit.run("docker", "pause", "messaging-hub")
        return False

    try:
        result = unit.play("unit.yml", stop=pause)
    finally:
        unit.run("docker", "unpause", "messaging-hub")
    assert result.code != 0
    assert "messaging hub: pair 6500→6501" in result.message
    assert "docker logs messaging-hub" in result.message


def test_removal_undoes_it_and_keeps_the_data(unit):
    result = unit.play("remove.yml")
    assert result.code == 0, result.output
    assert unit.shell("ls /etc/panoptes /etc/docker/daemon.json /usr/bin/dockerd 2>/dev/null || true") == ""
    assert unit.run("ls", "/var/panoptes/conf_files/pocs.yaml")
    again = unit.play("remove.yml")
    assert again.code == 0, again.output
    assert again.changed == 0, again.output
    back = unit.play("unit.yml")
    assert back.code == 0, back.output
    gone = unit.play("remove.yml", remove_data=True, remove_images=True)
    assert gone.code == 0, gone.output
    assert unit.shell("ls -d /var/panoptes 2>/dev/null; getent passwd panoptes || true") == ""


def test_account_that_has_the_number_already_is_the_units(unit):
    """`pi` on many a Raspberry Pi: it is used, and removal leaves it where it was."""
    unit.run("useradd", "--uid", "1000", "--create-home", "pi")
    result = unit.play("unit.yml", options="--tags system")
    assert result.code == 0, result.output
    assert {"dialout", "plugdev"} <= set(unit.run("id", "-nG", "pi").split())
    assert unit.run("stat", "-c", "%U", "/var/panoptes/conf_files") == "pi"
    again = unit.play("unit.yml", options="--tags system")
    assert again.changed == 0, again.output
    assert unit.play("remove.yml", remove_data=True).code == 0
    assert unit.run("id", "-u", "pi") == "1000"
