"""What meta/argument_specs.yml cannot say of a setting: ranges, paths, names, ports; each has a check or is free.

A check takes the value as its type says, gives it back in the form that roles use, and raises ValueError, or PartsError
where only parts of it are wrong. The reason goes behind the value: `updates_hour is 30: write a number from 0 to 23.`
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Check = Callable[[Any], Any]
# Seconds: a day. Megabytes: more than any unit has.
DAY_S = 86400
MOST_MB = 10**8


class PartsError(ValueError):
    """Parts of a value are wrong: where in it, `[0]` or `.port`, what stands there, and the reason."""

    def __init__(self, parts: list[tuple[str, object, str]]) -> None:
        super().__init__("; ".join(f"{where} is {value!r}: {reason}" for where, value, reason in parts))
        self.parts = parts


def _gathered(items: Mapping[str, tuple[object, Check]]) -> dict[str, Any]:
    """Each value as its check gives it back; all reasons at once.

    Args:
        items: where in the whole -> value, check.
    """
    found, wrong = {}, []
    for where, (value, check) in items.items():
        try:
            found[where] = check(value)
        except PartsError as error:
            wrong += [(where + below, part, reason) for below, part, reason in error.parts]
        except ValueError as error:
            wrong.append((where, value, str(error)))
    if wrong:
        raise PartsError(wrong)
    return found


def each(check: Check, least: int = 0) -> Check:
    """A list, every item of which is checked."""

    def checked(value: list) -> list:
        if len(value) < least:
            raise ValueError(f"write at least {least}")
        return list(_gathered({f"[{number}]": (item, check) for number, item in enumerate(value)}).values())

    return checked


def by_name(name: Check, content: Check) -> Check:
    """Names with a value each."""

    def checked(value: dict) -> dict:
        _gathered({f" ({key})": (key, name) for key in value})
        found = _gathered({f"[{key!r}]": (item, content) for key, item in value.items()})
        return dict(zip(value, found.values(), strict=True))

    return checked


def maybe(check: Check) -> Check:
    """Nothing, or what the check admits."""
    return lambda value: value if value == "" else check(value)


def whole(value: object) -> int:
    """A whole number, or the text of one.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("write a whole number")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, float) or not re.fullmatch(r"\s*[-+]?[0-9]{1,18}\s*", str(value)):
        raise ValueError("write a whole number")
    return int(value)


def number(low: float, high: float = math.inf) -> Check:
    """A whole number that is not out of range."""

    def checked(value: object) -> int:
        found = whole(value)
        if not low <= found <= high:
            raise ValueError(f"write a number from {low} to {high}" if high < math.inf else f"write {low} or more")
        return found

    return checked


def matching(pattern: str, advice: str) -> Check:
    """Text of this form."""

    def checked(value: object) -> str:
        text = str(value)
        if isinstance(value, (Mapping, list, bool)) or value is None or not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(f"write {advice}")
        return text

    return checked


def port(value: object) -> int:
    """A TCP port."""
    try:
        return number(1, 65535)(value)
    except ValueError:
        raise ValueError("write a port, a number from 1 to 65535") from None


def hub_pairs(value: list) -> list[list[int]]:
    """Pairs of different ports."""
    advice = "write pairs [in port, out port], each port once"
    if not value or not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in value):
        raise ValueError(advice)
    found = each(each(port))([list(pair) for pair in value])
    ports = [one for pair in found for one in pair]
    if len(set(ports)) < len(ports):
        raise ValueError(advice)
    return found


def hours(value: list) -> list[int]:
    """The two ends of a window in the solar day."""
    if len(value) != 2:
        raise ValueError("write two hours, such as [9, 15]")
    return each(number(0, 24))(value)


def line(value: object) -> str:
    """Text in one line that is not empty."""
    text = str(value)
    if not text.strip() or not text.isprintable():
        raise ValueError("write one line of text")
    return text


def versions(value: object) -> list[str]:
    """Versions of a distribution; YAML makes numbers of some."""
    if not isinstance(value, list):
        raise ValueError('write a list, such as ["12", "13"]')
    return [line(item) for item in value]


def path(value: object) -> str:
    """A path from / on, of a machine of which nothing is known here."""
    text = str(value)
    if not text.startswith("/") or not text.isprintable() or ".." in text.split("/"):
        raise ValueError("write a path from / on, without ..")
    return text


def folder(value: object) -> str:
    """A folder that has a place in Compose's file, on command lines and in lists of folders."""
    text = path(value)
    if not re.fullmatch(r"(/[\w.@+~%= -]*[\w@+~%=-])+", text):
        characters = "a to z, digits, blanks and . _ - + @ ~ % ="
        raise ValueError(f"write a folder below /, without / at its end, of {characters} only")
    return text


def keep_copy(value: str) -> str:
    """Where a second copy of a release goes."""
    try:
        return value if value in ("", "auto") else path(value)
    except ValueError:
        raise ValueError("write auto, a path from / on, or nothing") from None


def key_of_seal(value: str) -> str:
    """A secret that cannot be guessed."""
    if value.strip() and len(value.strip()) < 16:
        raise ValueError('it has fewer than 16 characters: take what "openssl rand -hex 32" prints')
    return value


def notify(value: list) -> list[str]:
    """Words of a command, or one address."""
    words = each(line)(value)
    if len(words) == 1 and re.search(r"\s", words[0]):
        raise ValueError(f"write the words of a command as a list: {words[0].split()!r}")
    return words


def serial_device(value: object) -> dict:
    """A name under /dev and the numbers of what gets it."""
    if not isinstance(value, Mapping) or {"name", "vendor", "product"} - set(value):
        raise ValueError("write name, vendor and product")
    known = {"name": _DEVICE, "vendor": _USB, "product": _USB, "serial": _SERIAL}
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise ValueError(f"{unknown[0]} is none of {', '.join(known)}")
    checks = {f".{key}": (item, known[key]) for key, item in value.items() if item is not None}
    return {where[1:]: item for where, item in _gathered(checks).items()}


def configuration(value: dict) -> dict:
    """What of the unit's configuration its services are set up by; the place is read elsewhere."""
    found = dict(value)
    wanted: dict[str, tuple[object, Check]] = {}
    for key, check in (("name", line), ("pan_id", pan_id)):
        if key in found:
            wanted[f".{key}"] = (found[key], check)
    messaging = found.get("messaging", {})
    if not isinstance(messaging, Mapping):
        raise PartsError([(".messaging", messaging, "write its lines, cmd_port and msg_port")])
    ports = {f".messaging.{key}": (messaging[key], port) for key in ("cmd_port", "msg_port") if key in messaging}
    read = _gathered(wanted | ports)
    if ports:
        found["messaging"] = {**messaging, **{where.rpartition(".")[2]: read[where] for where in ports}}
    return found


def unit_configuration(value: dict) -> dict:
    """The whole configuration of a unit, which has to say which unit it is."""
    return configuration({"pan_id": "", **value} if "pan_id" not in value else value)


def time_zone(value: str) -> str:
    """A zone that the controller knows."""
    return str(_place().time_zone(line(value)))


def _place() -> Any:
    """The filters that know time zones; plugins cannot import each other by name."""
    file = Path(__file__).parents[1] / "filter" / "unit_place.py"
    spec = importlib.util.spec_from_file_location("unit_place", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def clashes(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """Settings that each are right and cannot be so together: setting -> sentences.

    Args:
        values: as read.
    """
    config, pairs = values.get("services_config_port"), values.get("services_hub_pairs") or []
    if config is not None and any(config in pair for pair in pairs):
        return {"services_config_port": [f"services_config_port is {config}: the messaging hub has that port."]}
    return {}


_USB = matching("[0-9a-fA-F]{4}", 'the four digits that lsusb prints, in quotes: "0403"')
_DEVICE = matching(r"[\w.-]+(/[\w.-]+)*", "a name under /dev, such as mount")
_SERIAL = matching(r"[^\s\"\\]*", "the serial number as udev knows it, without blanks and quotes")
_REPOSITORY = r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
_HOST = r"(\[[0-9a-fA-F:]+\]|[\w.-]+)(:\d{1,5})?"
_TAG = r"\w[\w.-]{0,127}"
_IMAGE = matching(rf"{_HOST}/{_REPOSITORY}:{_TAG}", "an image, such as ghcr.io/panoptes/panoptes-utils:latest")
_CALENDAR = matching(r"[\w*:/.,~ +-]*[\w*][\w*:/.,~ +-]*", 'a time of systemd, such as "*-*-* 22:30:00 UTC"')
_WEB = matching(r"https?://[^\s/]+[^\s]*", "an address, such as https://download.docker.com/linux")

pan_id = matching("PAN[0-9]{3}", "PAN and three digits, such as PAN012")
registry = matching(
    rf"{_HOST}(/{_REPOSITORY})?",
    "an address and a path, such as ghcr.io/panoptes, without https:// and without a tag",
)
tag = matching(_TAG, "a tag, such as latest")
account = matching("[a-z_][a-z0-9_-]{0,30}", "a name in small letters, such as panoptes")
certificate = matching(r"[\s\S]*-----BEGIN [\s\S]*", "the certificate in PEM, as text (-----BEGIN CERTIFICATE-----)")
public_key = matching(r"\s*-----BEGIN PUBLIC KEY-----[\s\S]*", "the text of cosign.pub, a public key in PEM")
megabytes = number(0, MOST_MB)
some_megabytes = number(1, MOST_MB)

CHECKS: dict[str, Check] = {
    "backup_keep": number(0),
    "backup_key": key_of_seal,
    "backup_nightly_at": _CALENDAR,
    "backup_nightly_dir": maybe(path),
    "backup_paths": each(path, least=1),
    "backup_recipients": each(matching("(age1|ssh-)[^\n]+", "a recipient of age: age1… or a public key of ssh")),
    "docker_ce_key": _WEB,
    "docker_ce_key_sha256": matching("[0-9a-f]{64}", "a SHA-256, 64 digits"),
    "docker_ce_repository": _WEB,
    "docker_registry_cas": by_name(matching(_HOST, "host[:port] of a registry"), certificate),
    "health_notify": notify,
    "health_notify_file": maybe(path),
    "health_notify_silent_days": number(0, 10000),
    "panoptes_configuration": configuration,
    "panoptes_dir": folder,
    "panoptes_name": line,
    "panoptes_pan_id": pan_id,
    "panoptes_registry": registry,
    "panoptes_registry_ca": maybe(certificate),
    "panoptes_registry_credentials": maybe(path),
    "panoptes_release": tag,
    "panoptes_signature_key": maybe(public_key),
    "preflight_clock_tolerance_s": number(1, DAY_S),
    "preflight_distributions": by_name(matching("[a-z]+", "the ID of an /etc/os-release"), versions),
    "preflight_free_mb": by_name(path, megabytes),
    "preflight_image": maybe(_IMAGE),
    "preflight_registry_ca": maybe(certificate),
    "preflight_registry_credentials": maybe(path),
    "preflight_simulated_root": path,
    "raspberry_pi_desktop_services": each(matching(r"[\w@.-]+\.service", "the name of a service of systemd")),
    "raspberry_pi_journal_mb": some_megabytes,
    "raspberry_pi_root": path,
    "raspberry_pi_tmpfs_mb": by_name(path, some_megabytes),
    "raspberry_pi_usb_memory_mb": megabytes,
    "raspberry_pi_watchdog_s": number(0, 15),
    "release_config_port": port,
    "release_dir": folder,
    "release_hub_pairs": hub_pairs,
    "release_image": matching(_REPOSITORY, "the name of an image, such as panoptes-utils"),
    "release_keep_copy": keep_copy,
    "release_preserve": each(folder),
    "release_rate_kbps": number(0),
    "release_registry": registry,
    "release_registry_ca": maybe(certificate),
    "release_registry_credentials": maybe(path),
    "release_signature_key": maybe(public_key),
    "release_tag": tag,
    "release_window_h": hours,
    "services_check_key": line,
    "services_config_memory_mb": number(6, MOST_MB),
    "services_config_port": port,
    "services_configuration": unit_configuration,
    "services_dir": folder,
    "services_health_timeout_s": number(1, 3600),
    "services_hub_memory_mb": number(6, MOST_MB),
    "services_hub_pairs": hub_pairs,
    "services_pids_limit": number(1, 10**6),
    "services_start_timeout_s": number(1, DAY_S),
    "services_tmp_mb": some_megabytes,
    "system_camera_vendors": each(_USB),
    "system_dir": folder,
    "system_packages": each(matching("[a-z0-9][a-z0-9+.-]+", "the name of a Debian package")),
    "system_serial_devices": each(serial_device),
    "system_timezone": time_zone,
    "system_user": account,
    "system_user_groups": each(account),
    "updates_hour": number(0, 23),
    "updates_keep_copy": keep_copy,
    "updates_preserve": each(folder),
    "updates_rate_kbps": number(0),
    "updates_spread_s": number(0, DAY_S),
    "updates_verify_hour": number(0, 23),
}  # fmt: skip
# Free text, or content that another program judges: who does is behind the name.
FREE = {
    "backup_dir": "a folder of the controller, relative to where the command is typed",
    "backup_from": "a file of the controller; the role says if it is not there",
    "backup_identity": "a file of the controller; age says if it is not there",
    "docker_daemon_options": "dockerd judges them before they are written",
    "panoptes_location": "each line by filter/unit_place.py",
    "panoptes_location_defaults": "each line by filter/unit_place.py",
    "release_limits": "panoptes-unit judges them",
    "release_longitude": "by filter/unit_place.py",
    "release_notify": "panoptes-unit judges it",
    "release_observing": "panoptes-unit judges it",
    "release_pan_id": "whatever the config server has to answer",
    "updates_longitude": "by filter/unit_place.py",
}
