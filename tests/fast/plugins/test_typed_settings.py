"""Settings as people type them, in YAML, with `-e` or in an INI inventory: read by type, or refused in one line."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

pytest.importorskip("ansible")

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from roles_templar import ansible_says

TOP = Path(__file__).parents[3]


def load(path: Path):
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


unit_read = load(TOP / "plugins/filter/unit_read.py")
KNOWN, CHECKS, FREE = unit_read.known_settings(), unit_read.checks().CHECKS, unit_read.checks().FREE
DEFAULTS = {
    name: value
    for role in (TOP / "roles").glob("*/defaults/main.yml")
    for name, value in yaml.safe_load(role.read_text(encoding="utf-8")).items()
} | yaml.safe_load((TOP / "inventory/group_vars/units/10-defaults.yml").read_text(encoding="utf-8"))
DEFAULTS = {name: value for name, value in DEFAULTS.items() if "{{" not in str(value)}
SHIPPED = [
    name
    for path in ("10-defaults.yml", "20-wiring.yml")
    for name in yaml.safe_load((TOP / "inventory/group_vars/units" / path).read_text(encoding="utf-8"))
]
TYPES = {name: specification["type"] for name, (_, specification) in KNOWN.items()}
PLAIN = ("str", "path")
# Values that are no such thing, whatever setting it is.
NONE_SUCH = {
    "bool": ["maybe", 2, "", [True], {"a": True}],
    "dict": ["a", "a: 1", "", 5, True, ["a"], "{"],
    "float": ["ten", "", True, [1.0], {"a": 1}, "nan", "inf", float("nan")],
    "int": ["ten", "9.5", "", 9.5, True, [1], {"a": 1}, "0x10", "1e9999999", "9" * 5000],
    "list": [{"a": 1}, True, 5, "[9,"],
    "path": [True, ["a"], {"a": 1}],
    "str": [True, ["a"], {"a": 1}],
}
PARTS = {"updates_hour": 30, "updates_verify_hour": 24, "release_window_h": [9, 25], "raspberry_pi_watchdog_s": 16}
OUT_OF_RANGE = {
    **{name: -1 for name, kind in TYPES.items() if kind == "int"},
    **PARTS,
    **dict.fromkeys((name for name in TYPES if name.endswith("_port")), 70000),
    **{name: [[6500, 70000], [6510, 6511]] for name in TYPES if name.endswith("_hub_pairs")},
    **dict.fromkeys((name for name in TYPES if name.endswith("_dir") and TYPES[name] == "path"), "var/panoptes"),
    **dict.fromkeys((name for name in TYPES if name.endswith(("_keep_copy", "_credentials"))), "stick/copy"),
    **{name: ["/a/../b"] for name in TYPES if name.endswith("_preserve")},
    "backup_nightly_dir": "media/stick",
    "backup_nightly_at": "22:30\n[Service]",
    "backup_paths": [],
    "backup_key": "short",
    "health_notify": ["mail -s unit me"],
    "panoptes_pan_id": "12",
    "panoptes_release": "latest:1",
    "panoptes_registry": "https://ghcr.io/panoptes",
    "system_timezone": "Mars/Phobos",
    "system_serial_devices": [{"name": "mount", "vendor": 259, "product": "6015"}],
    "raspberry_pi_tmpfs_mb": {"tmp": 1},
}
OUT_OF_RANGE.pop("backup_dir", None)


def as_text(value: object) -> list[str]:
    """A value as `-e` or an INI inventory gives it."""
    if isinstance(value, bool):
        return [str(value), str(value).lower(), "yes" if value else "no"]
    if isinstance(value, (list, dict)):
        return [json.dumps(value), json.dumps(value, separators=(",", ":")), repr(value)]
    return [str(value), f" {value} "] if isinstance(value, int) else [str(value)]


@pytest.mark.parametrize("name", KNOWN)
def test_every_setting_has_a_check_or_is_free_or_says_all_in_its_specification(name):
    said = TYPES[name] == "bool" or "choices" in KNOWN[name][1]
    assert [name in CHECKS, name in FREE, said].count(True) == 1


def test_nothing_is_checked_that_no_role_documents():
    assert not (set(CHECKS) | set(FREE)) - set(KNOWN)


@pytest.mark.parametrize("name", DEFAULTS)
def test_default_can_be_read_and_so_can_its_text(name):
    assert unit_read.wrong(name, DEFAULTS[name]) == []
    if TYPES[name] in PLAIN:
        return
    for text in as_text(DEFAULTS[name]):
        assert unit_read.read(name, text) == unit_read.read(name, DEFAULTS[name])
        assert type(unit_read.read(name, text)) is type(unit_read.read(name, DEFAULTS[name]))
        # What this takes, Ansible's validation of the role takes too: it comes when something was changed already.
        validated = ArgumentSpecValidator({name: KNOWN[name][1]}).validate({name: text})
        assert validated.error_messages == [], text


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in KNOWN for value in [None, *NONE_SUCH[TYPES[name]]]]
)
def test_value_of_another_type_is_refused_in_one_line_that_says_what_to_write(name, value):
    (line,) = unit_read.wrong(name, value)
    assert line.startswith(f"{name} is ") and line.endswith(".") and "\n" not in line
    assert "write " in line and len(line) < 400


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE.items())
def test_value_out_of_range_is_refused_and_so_is_its_text(name, value):
    for typed in [value] if TYPES[name] in PLAIN else [value, *as_text(value)]:
        lines = unit_read.wrong(name, typed)
        assert lines, typed
        assert all(line.startswith(name) and line.endswith(".") for line in lines)


def test_lists_within_lists_without_end_are_refused():
    (line,) = unit_read.wrong("release_window_h", "[" * 2000)
    assert line.endswith("write a list, such as [9, 15]; see roles/release/README.md.")


def test_secret_is_not_in_the_message():
    (line,) = unit_read.wrong("backup_key", "hunter2")
    assert "hunter2" not in line and "openssl rand -hex 32" in line


@pytest.mark.parametrize("role", sorted({role for role, _ in KNOWN.values()}))
def test_role_uses_what_is_read_and_nothing_else(role):
    """`-e` gives text, with which nothing can be reckoned."""
    for path in (TOP / "roles" / role).rglob("*"):
        if path.parent.name not in ("tasks", "vars", "handlers", "templates"):
            continue
        text = re.sub(r"^\s*#.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for name, kind in TYPES.items():
            if kind in PLAIN:
                continue
            read = r"\| bool\b" if kind == "bool" else rf"\| unit_read\('{name}'\)"
            bare = re.search(rf"(?<![\w'\"]){name}\b(?! *{read})(?!['\"]? *[:)]| to ).{{0,40}}", text)
            assert not bare, f"{path.relative_to(TOP)}: {bare.group()} is not read"


# What was typed -> what preflight says of it; nothing where it can be used.
ROWS: dict[str, tuple[dict, list[str]]] = {
    "updates_hour=11": ({"updates_hour": "11"}, []),
    "release_window_h=[9,15]": ({"release_window_h": "[9,15]"}, []),
    "release_window_h=9,15": ({"release_window_h": "9,15"}, []),
    "services_config_port=70000": (
        {"services_config_port": "70000"},
        ["services_config_port is '70000': write a port, a number from 1 to 65535."],
    ),
    "port of the hub": (
        {"services_config_port": "6510"},
        ["services_config_port is 6510: the messaging hub has that port."],
    ),
    "port of the hub, by the configuration": (
        {"panoptes_configuration": {"messaging": {"cmd_port": 6562}}},
        ["services_config_port is 6563: the messaging hub has that port."],
    ),
    "no port": (
        {"services_config_port": "http"},
        ["services_config_port is 'http': write a whole number, such as 6563; see roles/services/README.md."],
    ),
    "no port in the configuration": (
        {"panoptes_configuration": {"messaging": {"cmd_port": "abc", "msg_port": 70000}}},
        ["panoptes_configuration.messaging.cmd_port is 'abc': write a port, a number from 1 to 65535.",
         "panoptes_configuration.messaging.msg_port is 70000: write a port, a number from 1 to 65535."],
    ),
    "port of the configuration, as text": ({"panoptes_configuration": '{"messaging": {"cmd_port": "6600"}}'}, []),
    "latitude: 95 deg": (
        {"panoptes_location": {"latitude": "95 deg"}},
        ["panoptes_location.latitude is '95 deg': a latitude is from -90 to 90 deg."],
    ),
    "latitude: 95 deg, as text": (
        {"panoptes_location": '{"latitude": "95 deg"}'},
        ["panoptes_location.latitude is '95 deg': a latitude is from -90 to 90 deg."],
    ),
    "timezone: Mars/Phobos": (
        {"panoptes_location": {"timezone": "Mars/Phobos"}, "system_timezone": "Mars/Phobos"},
        ["panoptes_location.timezone is 'Mars/Phobos': no such time zone: write it as Australia/Sydney.",
         "system_timezone is 'Mars/Phobos': no such time zone: write it as Australia/Sydney."],
    ),
    "Bob's {{ telescope }}": (
        {"panoptes_name": "Bob's {{ telescope }}"},
        ["panoptes_name is \"Bob's {{ telescope }}\": 'telescope' is undefined; mend what is in the braces or, if they"
         " belong to the value, write !unsafe before it."],
    ),
    "backup_nightly_dir with % and a blank": ({"backup_nightly_dir": "/media/a stick%host"}, []),
    "panoptes_dir: /data/panoptes": ({"panoptes_dir": "/data/panoptes"}, []),
    "panoptes_dir that Compose would take apart": (
        {"panoptes_dir": "/data:rw"},
        ["panoptes_dir is '/data:rw': write a folder below /, without / at its end, of a to z, digits, blanks"
         " and . _ - + @ ~ % = only."],
    ),
    "panoptes_dir with a slash behind": (
        {"panoptes_dir": "/data/panoptes/"},
        ["panoptes_dir is '/data/panoptes/': write a folder below /, without / at its end, of a to z, digits, blanks"
         " and . _ - + @ ~ % = only."],
    ),
    "services_config_port alone": ({"services_config_port": "7000"}, []),
    "all at once": (
        {"updates_hour": "noon", "panoptes_pan_id": "12", "backup_key": "abc", "services_public": "maybe",
         "preflight_clock_tolerance_s": "long", "panoptes_configuration": {"messaging": {"msg_port": "x"}}},
        ["backup_key is not shown: it has fewer than 16 characters: take what \"openssl rand -hex 32\" prints.",
         "panoptes_configuration.messaging.msg_port is 'x': write a port, a number from 1 to 65535.",
         "panoptes_pan_id is '12': write PAN and three digits, such as PAN012.",
         "preflight_clock_tolerance_s is 'long': write a whole number, such as 300; see roles/preflight/README.md.",
         "services_public is 'maybe': write true or false; see roles/services/README.md.",
         "updates_hour is 'noon': write a whole number, such as 10; see roles/updates/README.md."],
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_preflight_says_all_that_is_wrong_and_nothing_of_what_can_be_used(row):
    typed, expected = ROWS[row]
    assert sorted(ansible_says(typed, "{{ q('unit_settings', 'values') }}")) == expected


def settings_of(**typed) -> dict:
    """What the tool of the unit gets."""
    return yaml.safe_load(ansible_says(typed, "{{ _release_settings_text }}"))


def test_numbers_and_lists_given_as_text_are_those_of_the_unit():
    assert ansible_says({"updates_hour": "11"}, "{{ _updates_calendar }}") == "*-*-* 21:22:00 UTC"
    window = settings_of(release_window_h="[8,16]")["window"]
    assert (window["start_h"], window["end_h"]) == (8, 16)
    assert settings_of(panoptes_configuration='{"messaging": {"cmd_port": "6600"}}')["hub_pairs"][0] == [6600, 6601]


def test_location_with_four_keys_keeps_the_others():
    four = {"latitude": "19.54 N", "longitude": "155.58 W", "elevation": "3.4 km", "name": "Mine"}
    text = ansible_says({"panoptes_location": json.dumps(four)}, "{{ _services_configuration_text }}")
    shipped = yaml.safe_load(ansible_says({}, "{{ _services_configuration_text }}"))["location"]
    assert yaml.safe_load(text)["location"] == {**shipped, "name": "Mine"}


def test_folder_of_the_unit_is_set_once_and_the_rest_follows():
    typed = {"panoptes_dir": "/data/panoptes", "backup_nightly_dir": "/media/stick"}
    assert ansible_says(typed, "{{ _backup_paths }}") == ["/data/panoptes/conf_files", "/var/lib/panoptes-unit"]
    assert settings_of(**typed)["observing"]["file"] == "/data/panoptes/json_store/panoptes/current_state.json"
    for name in ("panoptes-backup.service", "panoptes-update.service", "panoptes-recover.service", "compose.yaml"):
        text = ansible_says(typed, f"{{{{ lookup('ansible.builtin.template', '{name}.j2') }}}}")
        assert "/data/panoptes" in text and "/var/panoptes" not in text, name
    for text in ("_services_configuration_text", "_release_settings_text", "_system_directories", "_services_probe"):
        assert "/var/panoptes" not in str(ansible_says(typed, f"{{{{ {text} }}}}")), text


def test_own_word_on_the_observing_state_wins_over_the_folder():
    found = settings_of(panoptes_dir="/data/panoptes", release_observing={"file": "/run/state.json", "max_age_s": 60})
    assert found["observing"] == {"file": "/run/state.json", "max_age_s": 60}


def test_port_of_the_config_server_is_set_once_and_the_rest_follows():
    found = settings_of(services_config_port="7000")
    assert (found["config_url"], found["watch"]["config-server"]) == ("http://127.0.0.1:7000", 7000)
    assert '"7000"' in ansible_says({"services_config_port": "7000"}, "{{ _services_compose_text }}")


ODD = "/media/a stick%z\"quoted\" 'so' $HOME \\ %%"


def words(text: str, command: bool) -> list[str]:
    """What systemd makes of a line (systemd.syntax(7), systemd.service(5)): of quotes and `\\`, then of `%`, of `$`."""
    found = [word.replace("%%", "\0") for word in shlex.split(text)]
    assert not [word for word in found if "%" in word], "systemd looks for a specifier"
    if command:
        found = [word.replace("$$", "\1") for word in found]
        assert not [word for word in found if "$" in word], "systemd looks for a variable"
    return [word.replace("\0", "%").replace("\1", "$") for word in found]


def nightly(folder: str) -> dict[str, str]:
    text = ansible_says(
        {"backup_nightly_dir": folder}, "{{ lookup('ansible.builtin.template', 'panoptes-backup.service.j2') }}"
    )
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


@pytest.mark.parametrize("folder", ["/media/stick", "/media/stick%host", "/media/a stick", ODD])
def test_folder_of_the_nightly_backup_reaches_systemd_as_it_is(folder):
    found = nightly(folder)
    assert words(found["RequiresMountsFor"], False) == [folder]
    assert words(found["ReadWritePaths"], False) == [f"-{folder}"]
    assert words(found["ExecStart"], True)[4:] == [folder, "/var/panoptes/conf_files", "/var/lib/panoptes-unit"]


def test_systemd_takes_the_odd_folder_without_complaint(tmp_path):
    command = shutil.which("systemd-analyze") or pytest.skip("systemd-analyze is not installed here")
    found = nightly(ODD)
    unit = tmp_path / "odd.service"
    unit.write_text(f"[Unit]\nRequiresMountsFor={found['RequiresMountsFor']}\n[Service]\nType=oneshot\n"
                    f"ExecStart=/bin/true {found['ExecStart'].partition(' ')[2]}\n"
                    f"ReadWritePaths={found['ReadWritePaths']}\n")  # fmt: skip
    done = subprocess.run([command, "verify", str(unit)], capture_output=True, text=True)
    assert "odd.service:" not in done.stderr, done.stderr


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """What the real thing makes of text: an INI inventory, and `-e` on the command line."""
    command = shutil.which("ansible-playbook") or pytest.skip("ansible-playbook is not installed here")
    folder = tmp_path_factory.mktemp("ini")
    shutil.copytree(
        TOP / "inventory/group_vars", folder / "group_vars", ignore=shutil.ignore_patterns("90-mine.yml", "units.yml*")
    )
    (folder / "hosts").write_text(
        "[units]\none ansible_connection=local updates_verify_hour=14 panoptes_pan_id=PAN012 "
        "health_notify=['logger','-t']\n"
        "two ansible_connection=local panoptes_pan_id=PAN012\n"
        "[units:vars]\nraspberry_pi_journal_mb=50\n"
    )
    wanted = ["_updates_hour", "_updates_verify_hour", "_release_window_h", "_raspberry_pi_journal_mb",
              "_release_notify", "_services_hub_pairs", "_backup_named"]  # fmt: skip
    book = folder / "book.yml"
    # Variables of a play win over those of the inventory.
    inventory = {*SHIPPED, "updates_verify_hour", "raspberry_pi_journal_mb"}
    book.write_text(yaml.safe_dump([{
        "hosts": "units", "gather_facts": False,
        "vars": {name: value for name, value in DEFAULTS.items() if name not in inventory},
        "vars_files": [str(path) for path in sorted((TOP / "roles").glob("*/vars/main.yml"))],
        "tasks": [{"ansible.builtin.debug": {"msg": {name: f"{{{{ {name} }}}}" for name in wanted}
                                             | {"problems": "{{ q('unit_settings', 'values') }}"}}}],
    }]))  # fmt: skip
    (folder / "backups").mkdir()
    (folder / "backups/one.tar.gz").write_text("")
    environment = {**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"), "ANSIBLE_STDOUT_CALLBACK": "json"}
    configuration = '{"panoptes_configuration": {"messaging": {"cmd_port": "6600"}}}'
    options = ["updates_hour=11", "release_window_h=[9,15]", configuration, "backup_from=backups/one.tar.gz"]
    words = [word for option in options for word in ("-e", option)]
    done = subprocess.run(
        [command, "-i", "hosts", *words, "book.yml"], capture_output=True, text=True, cwd=folder, env=environment
    )
    answer = json.loads(done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1])
    hosts = answer["plays"][-1]["tasks"][-1]["hosts"]
    return (
        {host: result["msg"] for host, result in hosts.items()},
        " ".join((done.stderr + done.stdout).split()),
        folder,
    )


def test_text_of_the_command_line_and_of_an_ini_inventory_is_read(played):
    found = played[0]["one"]
    assert found["problems"] == []
    assert (found["_updates_hour"], found["_updates_verify_hour"]) == (11, 14)
    assert (found["_release_window_h"], found["_raspberry_pi_journal_mb"]) == ([9, 15], 50)
    assert found["_release_notify"]["to"] == ["logger", "-t"]
    assert found["_services_hub_pairs"] == [[6600, 6601], [6510, 6511]]


def test_backup_is_found_where_the_command_is_typed(played):
    assert played[0]["one"]["_backup_named"] == [str(played[2] / "backups/one.tar.gz")]


def test_backup_that_is_not_there_is_named_as_it_was_typed():
    typed = {"backup_from": "backups/none.tar.gz"}
    assert ansible_says(typed, "{{ _backup_chosen is not file }}") is True
    missing = "backup_from is backups/none.tar.gz, and there is no such file here"
    assert ansible_says(typed, "{{ _backup_missing }}") == missing


def test_two_units_with_one_identifier_are_a_warning(played):
    sentence = "panoptes_pan_id PAN012 is that of one, two: each unit has its own, in host_vars/NAME.yml."
    assert played[1].count(sentence) == 1
