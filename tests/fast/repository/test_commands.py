"""Every command that a page tells people to type is run as it is written, or what keeps it from that is said here."""

from __future__ import annotations

import ast
import os
import pty
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from commands import in_page, in_playbook, told_commands

TOP = Path(__file__).parents[3]
HERE = "tests/fast/repository/test_commands.py"
LAB = "tests/lab/commands/test_commands.py"
IMAGES = "tests/lab/images/test_images.py"
ALL = "scripts/testing/run_all.sh"
UTILS = "tests/fast/panoptes_utils/test_cli.py"
TOOL = "tests/fast/panoptes_unit/test_cli.py"
VERIFY = "tests/fast/panoptes_unit/health/test_verify.py"
COMPOSE = "tests/lab/images/test_development.py"
REPROVISIONING = "tests/lab/provisioning/test_reprovisioning.py"
INTERRUPTIONS = "tests/lab/provisioning/test_interruptions.py"
CONVERGE = "molecule/shared/converge.yml"
WORKFLOW = ".github/workflows/tests.yml"
FLEET_VERBS = "tests/fast/panoptes_fleet/test_verbs.py"
FLEET_PLAYED = "tests/fast/panoptes_fleet/test_rollout_played.py"
EXAMPLES = "tests/lab/images/test_examples.py"
BUNDLE = "molecule/update/tests/test_world.py"
SETTINGS_TYPED = (
    'scripts/settings.py --name "School observatory" --pan-id PAN012 --site "School roof" --latitude -34.05'
    " --longitude 150.99 --elevation 120 --timezone Australia/Sydney --registry ghcr.io/panoptes"
)

# Typed by the tests of a file, letter by letter.
AS_WRITTEN = {
    HERE: [
        "ansible-doc -t module unit_files",
        "cat conf_files/pocs_local.yaml",
        "cp inventory/group_vars/units.yml ../units-of-before.yml",
        "curl -s -d '{\"key\": \"location\"}' -H 'Content-Type: application/json' http://localhost:6563/get-config",
        'curl -s -d \'{"name": "Tower Unit"}\' http://localhost:6563/set-config',
        "curl -s http://localhost:6563/get-config?key=nothing",
        "docker/build-image.sh --help",
        "docker/build-image.sh utils --print",
        "git checkout @{upstream} -- inventory/group_vars/units.yml",
        'git commit -m "Settings as shipped"',
        "git pull",
        "make settings",
        "make settings FROM=../units-of-before.yml",
        "panoptes-config-server get 'cameras.devices[1].model'",
        "panoptes-config-server get location.latitude",
        "panoptes-config-server run",
        "panoptes-config-server set 'cameras.devices[1].model' zwo_asi183",
        'panoptes-config-server set location.latitude "91 deg"',
        "panoptes-config-server stop",
        "panoptes-messaging-hub --from-config",
        "panoptes-messaging-hub --host 0.0.0.0 --pair 7500 7501",
        "panoptes-messaging-hub health --pair 6500 6501 --pair 6510 6511; echo $?",
        "panoptes-messaging-hub keys keys --client dome",
        "panoptes-messaging-hub stats",
        "scripts/settings.py --elevation 130",
        SETTINGS_TYPED,
        "source .venv/bin/activate",
    ],
    LAB: ["make docs", "make unit", "make unit-clean"],
}
# Run with other names, or as a part of something longer: the file, and the words in it that do so.
OTHERWISE = {
    "ansible-playbook playbooks/backup.yml -i inventory/": (REPROVISIONING, 'play("backup.yml"'),
    "ansible-playbook playbooks/remove.yml -i inventory/": (INTERRUPTIONS, 'play("remove.yml")'),
    "ansible-playbook playbooks/remove.yml -i inventory/ -e remove_images=true -e remove_data=true": (
        INTERRUPTIONS, 'play("remove.yml", remove_data=True, remove_images=True)'),
    "ansible-playbook playbooks/restore.yml -i inventory/ --limit pan012 -e backup_from=backups/pan012/FILE.tar.gz": (
        REPROVISIONING, 'play("restore.yml"'),
    "ansible-playbook playbooks/unit.yml -i inventory/ --ask-become-pass": (CONVERGE, "playbooks/unit.yml"),
    "ansible-playbook playbooks/unit.yml -i inventory/ --limit pan012": (CONVERGE, "playbooks/unit.yml"),
    "ansible-playbook playbooks/unit.yml -i inventory/ --limit pan012 -e unit_restore=true": (
        REPROVISIONING, "unit_restore"),
    "ansible-playbook playbooks/rollback.yml -i inventory/ --limit NAME [-e rollback_force=true]": (
        REPROVISIONING, 'play("rollback.yml")'),
    "ansible-playbook playbooks/status.yml -i inventory/": (REPROVISIONING, 'play("status.yml")'),
    "ansible-playbook playbooks/update.yml -i inventory/ [--limit NAME] [-e update_force=true]": (
        REPROVISIONING, 'play("update.yml", update_force=True)'),
    "ansible-playbook playbooks/repair.yml -i inventory/ --limit NAME [-e repair_force=true]": (
        FLEET_VERBS, '(["repair", "--force"], "repair.yml"'),
    "panoptes-fleet add pan012 --address pan012.example.org --user pi --canary": (
        "tests/fast/panoptes_fleet/test_add_and_check.py", '"add", "pan012", "--address", "pan012.example.org"'),
    "panoptes-fleet check": ("tests/fast/panoptes_fleet/test_add_and_check.py", 'run("check", "--json")'),
    "panoptes-fleet provision --limit pan012": (
        FLEET_VERBS, '(["provision"], "unit.yml", {})'),
    "panoptes-fleet report --public -o public.html": (FLEET_VERBS, '"report", "--public", "-o"'),
    "panoptes-fleet report -o fleet.html": (FLEET_VERBS, '"report", "--public", "-o"'),
    "panoptes-fleet rollout --on-failure rollback": (FLEET_PLAYED, '"--on-failure", "rollback"'),
    "panoptes-fleet rollout resume": (FLEET_PLAYED, 'run("rollout", "resume"'),
    "panoptes-fleet rollout resume --max-failures 1": (
        FLEET_VERBS, '"rollout", "resume", "--max-failures", "1"'),
    "panoptes-fleet rollout show": (FLEET_PLAYED, 'run("rollout", "show"'),
    "panoptes-fleet rollout undo": (FLEET_VERBS, '(["undo"], 1)'),
    "panoptes-fleet status": ("tests/fast/panoptes_fleet/test_status.py", 'run("status"'),
    "docker compose -f docker/docker-compose.yaml down": (COMPOSE, '"down"'),
    "docker compose -f docker/docker-compose.yaml exec config-server panoptes-config-server get pan_id": (
        COMPOSE, '"panoptes-config-server", "get", "pan_id"'),
    "docker compose -f docker/docker-compose.yaml up --wait": (COMPOSE, '"--wait"'),
    "docker run --rm -it panoptes-utils": (IMAGES, '["Config"]["Cmd"] == ["zsh"]'),
    'docker run --rm -v "$PWD:/sky" panoptes-utils panoptes-utils image solve /sky/frame.fits --json': (
        IMAGES, "solve_simulated_sky(lab, utils_image)"),
    "docker run --rm panoptes-utils panoptes-utils version": (IMAGES, 'utils_image, "panoptes-utils", "version"'),
    "docker build --tag moon .": (EXAMPLES, 'build("moon", folder'),
    "docker build --tag panoptes-pocs docker/examples/pocs": (EXAMPLES, 'build("pocs", POCS'),
    "docker run --rm --network host --read-only --tmpfs /tmp --cap-drop ALL moon": (EXAMPLES, "lab.run(moon_image"),
    "docker run --rm panoptes-pocs pip list | grep panoptes": (EXAMPLES, '"pip", "list"'),
    "docker/build-image.sh all": (WORKFLOW, "docker/build-image.sh all"),
    "docker/build-image.sh all --arch amd64,arm32v7,arm64v8 --no-build --push": (
        "lab/panoptes_images.py", '"--no-build", "--push"'),
    "make dockerfiles": ("tests/fast/docker/test_build_script.py", '["make", "dockerfiles"]'),
    "make fuzz": ("tests/fast/panoptes_unit/test_documents.py", "run(name, 300, seed=1)"),
    "make lab": (ALL, "python -m lab up"),
    "make lint": (ALL, "make lint"),
    "make test": (".ci/run", "make test"),
    "make test-arm64": (WORKFLOW, "make test-arm64"),
    "make test-heal": (WORKFLOW, "test-heal"),
    "make test-image": (ALL, "python -m lab test-image"),
    "make test-pi": (ALL, "molecule test -s pi"),
    "make test-pi64": (WORKFLOW, "make test-pi64"),
    "make test-pocs": (WORKFLOW, "test-pocs"),
    "make test-python": (ALL, 'pytest -m "not lab" tests'),
    "make controller": ("tests/fast/scripts/test_make_venv.py", '"controller"'),
    "make venv": ("Makefile", "lint: venv"),
    "molecule test": (ALL, "for scenario in default update"),
    "molecule test -s pi": (ALL, "molecule test -s pi"),
    "molecule test -s update": (ALL, "for scenario in default update"),
    "panoptes-unit clear DIGEST": (TOOL, 'unit("clear", '),
    "panoptes-unit deploy": (TOOL, 'unit("deploy"'),
    "panoptes-unit verify": (VERIFY, '"verify"'),
    "panoptes-unit deploy --force": (BUNDLE, '"--force"'),
    "panoptes-unit deploy --from /media/stick/bundle": (BUNDLE, '"deploy", "--from"'),
    'panoptes-unit lock --hours 48 --reason "campaign"': (TOOL, 'unit("lock", "--hours", "2", "--reason"'),
    'panoptes-unit pin --reason "…"': (TOOL, 'unit("pin", "--reason", "campaign")'),
    "panoptes-unit doctor": (TOOL, 'unit("doctor"'),
    "docker rm --force messaging-hub": ("molecule/heal/tests/test_by_itself.py", "docker rm --force messaging-hub"),
    "panoptes-unit history -n 1": ("lab/unit_under_test.py", '"history", "-n", "1"'),
    "panoptes-unit history": (TOOL, 'unit("history")'),
    "panoptes-unit recover": (TOOL, 'unit("recover", '),
    "panoptes-unit repair": ("lab/patient.py", 'tool("repair"'),
    "panoptes-unit heal": ("tests/fast/panoptes_unit/health/test_healing.py", 'command("heal")'),
    "panoptes-unit repair --dry-run": ("molecule/heal/tests/test_damages.py", "panoptes-unit repair --dry-run"),
    "panoptes-unit repair --new-store": ("lab/patient.py", 'repair("--new-store")'),
    "panoptes-unit rollback": (BUNDLE, '"rollback"'),
    "panoptes-unit status": (TOOL, 'unit("status")'),
    "panoptes-unit unpin": (TOOL, 'unit("unpin")'),
    "panoptes-unit update": (BUNDLE, 'tool("update"'),
    "panoptes-utils image convert 20160909T081152.fits --to fz": (UTILS, '"image", "convert", sky_file, "--to", "fz"'),
    "panoptes-utils image convert 20160909T081152.fits --to jpg": (
        UTILS, '"image", "convert", sky_file, "--to", "jpg"'),
    "panoptes-utils image solve 20160909T081152.fits": (UTILS, '"image", "solve", sky_file'),
    "panoptes-utils image solve 20160909T081152.fits --json --force": (UTILS, '"image", "solve", sky_file, "--force"'),
    "panoptes-utils image watch FOLDER --to fits": (UTILS, '"image", "watch"'),
    "panoptes-utils sources 20160909T081152.fits --match": (UTILS, '"sources", solved_file'),
    "ruff format FILE": ("Makefile", "ruff format --check"),
}  # fmt: skip
# Not run by any test, and why.
UNTRIED = {
    "docker compose -f docker/docker-compose.yaml restart messaging-hub": "Compose's own",
    "docker run --rm IMAGE conda list -n panoptes-env": "conda's own",
    "panoptes-unit backup": "what its timer calls, and that is tried",
    "sudo reboot": "restarts the machine",
    "cosign generate-key-pair": "cosign is on no machine of the tests",
    "cosign sign --key cosign.key --tlog-upload=false --new-bundle-format=false --use-signing-config=false"
    " REGISTRY/panoptes-utils@sha256:…": "cosign is on no machine of the tests; what it makes is checked",
    "docker buildx imagetools inspect --format '{{.Manifest.Digest}}' REGISTRY/panoptes-utils:latest":
        "not every machine of the tests has buildx",
    "docker/build-image.sh all --arch amd64,arm32v7,arm64v8 --registry ghcr.io/panoptes --push":
        "needs an account at that registry; the lab pushes to its own",
    "docker/build-image.sh all --cloud --registry REGISTRY": "needs an account at Google Cloud; its plan is checked",
    "docker/build-image.sh all --sbom": "hours: it builds both images again",
    "docker history --format '{{.Size}}\\t{{.CreatedBy}}' moon": "Docker's own",
    "docker build --platform linux/arm64 …": "hours through emulation; the flavours below it are tested",
    "docker save -o bundle.tar IMAGE": "the page says what it does not do",
    "git clone URL-OF-THIS-REPOSITORY panoptes && cd panoptes": "the address is the reader's",
    "make lab-clean": "takes the lab away from the other tests",
    "panoptes-utils data download --folder /var/panoptes/astrometry/data": "hundreds of megabytes from elsewhere",
    'pip install --constraint constraints.txt ".[images]"': "the same with a real pip: test_distribution.py",
    "skopeo copy --all docker://REGISTRY/panoptes-utils:latest dir:/media/stick/bundle":
        "skopeo is on no machine of the tests; a folder as it makes it is read",
    "skopeo copy docker://REGISTRY/panoptes-utils:$tag dir:/media/stick/bundle/$tag": "the same",
    "tag=sha256-$(sha256sum < /media/stick/bundle/manifest.json | cut -c1-64).sig": "the same",
    "source .venv-controller/bin/activate": "as source .venv/bin/activate, which is tried",
    "ssh pi@pan012.local uptime": "needs a real Pi",
    "sudo apt install astrometry.net astrometry-data-tycho2 source-extractor dcraw libimage-exiftool-perl"
    " libcfitsio-bin":
        "changes the machine; docker/install-tools.sh installs the same packages in the image",
    "sudo apt-get install --yes git make ansible python3-click python3-ruamel.yaml": "changes the machine",
}  # fmt: skip
# Figures are measured by people, on a quiet machine.
MEASURED = "make bench-"
# In a code span, but the name of a thing and no command to type.
NAMES = {
    "cosign sign", "cosign sign --key", "cosign verify --key", "docker compose exec", "docker compose up",
    "docker pull …/panoptes-utils:latest", "git clone", "panoptes-config-server health --key KEY",
    "panoptes-config-server set", "panoptes-messaging-hub health", "panoptes-unit VERB --json", "panoptes-unit clear",
    "sudo docker",
}  # fmt: skip


@cache
def texts_of(file: str) -> set[str]:
    """Every text of a Python file that stands within a function: what a test types, and not what a table lists."""
    functions = [
        node for node in ast.parse((TOP / file).read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)
    ]
    found = {node.value for function in functions for node in ast.walk(function) if isinstance(node, ast.Constant)}
    return {text for text in found if isinstance(text, str)}


def is_pytest(command: str) -> bool:
    return command.startswith("pytest ")


def test_every_command_of_a_page_is_run_or_has_its_reason():
    listed = (
        {command for commands in AS_WRITTEN.values() for command in commands}
        | OTHERWISE.keys()
        | UNTRIED.keys()
        | NAMES
    )
    told = told_commands()
    new = {command: pages for command, pages in told.items()
           if command not in listed and not command.startswith(MEASURED) and not is_pytest(command)}  # fmt: skip
    assert new == {}, f"write a test that types it, or list it in {HERE}"
    assert sorted(listed - told.keys()) == [], "no page says this any more"


@pytest.mark.parametrize(
    ("file", "command"), [(file, one) for file, commands in AS_WRITTEN.items() for one in commands]
)
def test_command_is_typed_as_it_is_written(file, command):
    assert command in texts_of(file), f"no test of {file} types it"


@pytest.mark.parametrize("command", OTHERWISE)
def test_what_runs_it_otherwise_is_there(command):
    file, words = OTHERWISE[command]
    assert words in (TOP / file).read_text(encoding="utf-8")


def test_commands_are_found_in_blocks_sentences_and_playbooks():
    sentence, prompted = "Type `make\nx`, not `x.yml`.\n\n", "```\n$ git a \\\n  b   # why\nsaid\n```\n\n"
    page = sentence + prompted + "```\nmake y\nsaid\n```\n\n```python\nmake z\n```\n"
    assert in_page(page) == ["git a b", "make y", "make x"]
    assert in_page("```\nIt runs.\n  make unit-clean   removes it\n```\n") == ["make unit-clean"]
    assert in_playbook("---\n# What.\n#   ansible-playbook a.yml [-e b=c]\n") == ["ansible-playbook a.yml [-e b=c]"]


def test_names_of_tests_targets_and_scenarios_in_commands_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", (TOP / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for command in told_commands():
        words = command.split()
        if words[0] == "make":
            assert words[1] in targets, command
        if words[:2] == ["molecule", "test"]:
            assert (TOP / "molecule" / (words[3] if "-s" in words else "default") / "molecule.yml").is_file(), command
        if is_pytest(command) or words[0] == "ansible-playbook":
            places = [word for word in words if "/" in word and not word.startswith("backup_from=")]
            assert places and all((TOP / place).exists() for place in places), command


def on_path() -> dict[str, str]:
    """The environment of a shell in which `source .venv/bin/activate` was typed, and that knows no unit."""
    words = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120", "GIT_PAGER": "cat"}
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PANOPTES_", "PANDIR", "MAKE"))}
    return {**known, **words}


def typed(command: str, cwd: Path, code: int = 0, **environment: str) -> str:
    """What a command says that is typed in that folder; it must end with the code."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=cwd, env={**on_path(), **environment}, capture_output=True, text=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def answered(command: str, answers: str, cwd: Path) -> str:
    """What a command says on a terminal on which these lines are typed."""
    terminal, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            ["bash", "-c", command], cwd=cwd, env=on_path(), stdin=theirs, stdout=subprocess.PIPE, text=True
        ) as running:
            os.write(terminal, answers.encode())
            said = running.communicate(timeout=60)[0]
    finally:
        os.close(terminal)
        os.close(theirs)
    assert running.returncode == 0, said
    return said


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program, path=on_path()["PATH"]) is None:
            pytest.skip(f"{program} is not installed here")


def test_activating_the_environment():
    if not (TOP / ".venv" / "bin" / "activate").is_file():
        pytest.skip("there is no .venv here: make venv")
    typed("source .venv/bin/activate", TOP)
    assert typed("source .venv/bin/activate && command -v python", TOP).strip() == str(TOP / ".venv/bin/python")


def test_building_the_images_says_what_it_would_do():
    needs("docker")
    assert "--arch" in typed("docker/build-image.sh --help", TOP)
    assert "panoptes-utils" in typed("docker/build-image.sh utils --print", TOP)


def test_page_of_a_module():
    needs("ansible-doc")
    assert "unit_files" in typed("ansible-doc -t module unit_files", TOP)


def test_own_settings(checkout):
    needs("make")
    mine = checkout / "inventory" / "group_vars" / "units" / "90-mine.yml"
    said = answered("make settings", "Tower\n" + "\n" * 7, checkout)
    assert "What people call the unit [Generic PANOPTES Unit]" in said
    assert "panoptes_name: Tower\n" in mine.read_text()
    typed(
        'scripts/settings.py --name "School observatory" --pan-id PAN012 --site "School roof" --latitude -34.05'
        " --longitude 150.99 --elevation 120 --timezone Australia/Sydney --registry ghcr.io/panoptes",
        checkout,
    )
    typed("scripts/settings.py --elevation 130", checkout)
    text = mine.read_text()
    assert "panoptes_name: School observatory\n" in text and "elevation: 130 m\n" in text
    assert typed("git status --short", checkout) == ""


@pytest.mark.parametrize("committed", [False, True])
def test_from_one_file_of_settings_to_three(checkout, tmp_path, committed):
    """A clone of a project in which units.yml is tracked, edited by a person; then the project has the folder."""
    needs("make", "git")
    author = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    new = typed("git rev-parse HEAD", checkout).strip()
    shipped = checkout / "inventory" / "group_vars"
    wiring = (shipped / "units" / "20-wiring.yml").read_text().removeprefix("---\n")
    typed("git checkout --quiet -b project && git rm -rq inventory/group_vars/units", checkout)
    shipped.mkdir(exist_ok=True)
    defaults = typed(f"git show {new}:inventory/group_vars/units/10-defaults.yml", checkout)
    (shipped / "units.yml").write_text(defaults + wiring)
    typed("git add -f inventory && git commit -qm before", checkout, **author)
    technician = tmp_path / "technician" / "panoptes"
    typed(f"git clone -q -b project {checkout} {technician}", tmp_path)
    typed(f"git checkout -q {new} -- inventory && git rm -q inventory/group_vars/units.yml", checkout)
    typed("git commit -qm after", checkout, **author)

    old = technician / "inventory" / "group_vars" / "units.yml"
    old.write_text(
        old.read_text().replace("PAN000\n", "PAN077\n").replace("docker_source: auto", "docker_source: distro")
    )
    if committed:
        typed("git commit -qam mine", technician, **author)
    typed("cp inventory/group_vars/units.yml ../units-of-before.yml", technician)
    typed("git checkout @{upstream} -- inventory/group_vars/units.yml", technician)
    if committed:
        typed('git commit -m "Settings as shipped"', technician, **author)
    typed(
        "git pull",
        technician,
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0="pull.rebase",
        GIT_CONFIG_VALUE_0="false",
        **author,
    )
    typed("make settings FROM=../units-of-before.yml", technician)
    text = (technician / "inventory" / "group_vars" / "units" / "90-mine.yml").read_text()
    assert "panoptes_pan_id: PAN077\n" in text and "docker_source: distro\n" in text
    assert not old.exists()
    assert typed("git status --short", technician) == ""


UNIT = """\
name: Generic PANOPTES Unit
pan_id: PAN000
location: {latitude: 19.54 deg, longitude: -155.58 deg, elevation: 3400.0 m}
messaging: {cmd_port: 6500, msg_port: 6510}
cameras: {devices: [{model: canon_gphoto2}, {model: zwo}]}
"""


def test_services_on_their_own_ports(tmp_path):
    """The page on the services, from top to bottom, in a network of its own: the ports of this machine may be taken."""
    needs("panoptes-config-server", "panoptes-messaging-hub", "unshare", "ip", "curl")
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode:
        pytest.skip("may not make a network of its own here")
    (tmp_path / "conf_files").mkdir()
    (tmp_path / "conf_files" / "pocs.yaml").write_text(UNIT, encoding="utf-8")
    healthy = "for i in $(seq 100); do panoptes-config-server health >/dev/null 2>&1 && break; sleep 0.1; done"
    # Command, exit code (None: it stays), words that it says.
    session = [
        ("panoptes-config-server run", None, "on http://127.0.0.1:6563"),
        ("panoptes-config-server get location.latitude", 0, "19.54 deg"),
        ("panoptes-config-server get 'cameras.devices[1].model'", 0, "zwo"),
        ("panoptes-config-server set 'cameras.devices[1].model' zwo_asi183", 0, "zwo_asi183"),
        ('panoptes-config-server set location.latitude "91 deg"', 1, "must be from -90 to 90 deg"),
        ("cat conf_files/pocs_local.yaml", 0, "- model: zwo_asi183"),
        ("panoptes-config-server run", 1, "port 6563 is taken by"),
        ("curl -s -d '{\"key\": \"location\"}' -H 'Content-Type: application/json' http://localhost:6563/get-config",
         0, "19.54"),
        ("curl -s http://localhost:6563/get-config?key=nothing", 0, "null"),
        ("curl -s -d '{\"name\": \"Tower Unit\"}' http://localhost:6563/set-config", 0, "send the change as JSON"),
        ("panoptes-messaging-hub --from-config", None, "forwarding 127.0.0.1 6510→6511"),
        ("panoptes-messaging-hub health --pair 6500 6501 --pair 6510 6511; echo $?", 0, "0"),
        ("panoptes-messaging-hub stats", 0, "6510→6511"),
        ("panoptes-messaging-hub --host 0.0.0.0 --pair 7500 7501", 1, "give --curve-keys FOLDER too"),
        ("panoptes-messaging-hub keys keys --client dome", 0, "keys/clients/dome.key"),
        ("panoptes-config-server stop", 0, ""),
    ]  # fmt: skip
    script = ["ip link set lo up"]
    for number, (command, code, _) in enumerate(session):
        heard = f">out{number} 2>&1"
        if code is None:
            script += [f"{command} {heard} &", healthy if "config" in command.split()[0] else "sleep 2"]
        else:
            script += [f"( {command} ) {heard}; echo $? > code{number}"]
    script += ["kill $(jobs -p) 2>/dev/null; wait"]
    (tmp_path / "session").write_text("\n".join(script), encoding="utf-8")
    typed("unshare --net bash session", tmp_path, PANDIR=str(tmp_path))
    for number, (command, code, words) in enumerate(session):
        said = (tmp_path / f"out{number}").read_text(encoding="utf-8")
        assert words in said, f"{command}: {said}"
        if code is not None:
            assert (tmp_path / f"code{number}").read_text() == f"{code}\n", f"{command}: {said}"
