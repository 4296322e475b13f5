"""Settings of the tool, from /etc/panoptes/unit.yaml (role `release` writes it)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List

from .documents import DocumentError, printable, read_yaml
from .errors import ConfigurationError

DEFAULT_PATH = Path("/etc/panoptes/unit.yaml")
# Characters; the role writes about 2000, and each signature key or CA adds as many.
SIZE_LIMIT = 256 * 1024
AUTO = "auto"
STAGING = (AUTO, "always", "never")


@dataclass
class Observing:
    """How the tool learns whether the unit observes; see `deploy/observing_lock.py`.

    Attributes:
        source: `file` (POCS writes its state there), `config` (a key of the config server) or `none`.
        file: JSON of the state machine's last transition, as POCS stores it.
        key: the key that holds the state, where the source is `config`.
        max_age_s: a state older than this says nothing any more.
        idle: states in which services may restart.
        max_deferrals: how many times an update waits for a state that is unknown, stale or unreadable.
    """

    source: str = "file"
    file: str = "/var/panoptes/json_store/panoptes/current_state.json"
    key: str = "state"
    max_age_s: float = 86400.0
    idle: List[str] = field(default_factory=lambda: ["sleeping", "parked", "housekeeping", "ready"])
    max_deferrals: int = 3


@dataclass
class Window:
    """When a timer's update may restart services, in mean solar time at the unit's longitude.

    Attributes:
        longitude: degrees, east positive.
        start_h, end_h: hours of the local mean solar day; equal means always.
    """

    longitude: float = 0.0
    start_h: float = 9.0
    end_h: float = 15.0


@dataclass
class Limits:
    """What the transaction allows.

    Attributes:
        registry_s: one connection to the registry, and one wait for the next bytes of its answer; a whole request may
            take four times as long.
        resolve_s: everything that is asked of the registry before the download, further tries included.
        stall_s: a download in which nothing arrives for this long is given up.
        healthy_s: services must be healthy this long after a switch.
        round_trip_s: a message must come round a hub pair in this time.
        soak_s: then they must stay up this long without a restart.
        expansion: bytes on disk for each byte downloaded: Docker keeps the compressed layers while it unpacks them,
            and unpacked they are about 2.5 times as large.
        floor_bytes: must stay free after that.
    """

    registry_s: float = 15.0
    resolve_s: float = 300.0
    stall_s: float = 300.0
    healthy_s: float = 90.0
    round_trip_s: float = 10.0
    soak_s: float = 30.0
    expansion: float = 3.5
    floor_bytes: int = 1_000_000_000


@dataclass
class Notify:
    """Who is told when the unit is not whole, has healed, was rolled back, or hears of no release.

    Attributes:
        to: words of a command, which gets the record as JSON on its standard input; or one address, `https://…`, to
            which it is posted (`http://` only on this machine). Nobody where empty.
        address_file: file of mode 0600 with one line, the address, where that holds a secret.
        silent_days: after so many days without an answer of the registry, this is told; never where 0.
    """

    to: List[str] = field(default_factory=list)
    address_file: str = ""
    silent_days: int = 7


@dataclass
class Settings:
    """Everything the tool reads; paths are absolute.

    Attributes:
        source: the image to follow, `registry/repository:tag`.
        registry_ca: CA file of the registry; the system's trust where empty.
        registry_credentials: file of mode 0600 with `username:password`; anonymous where empty.
        signature_key: public key in PEM; a release that is not signed with it is refused. Empty: none is asked for.
        compose_file, project: the services, as Docker Compose knows them.
        release_file: the pointer to what runs.
        state: folder with the tool's own state: journal, history, quarantine.
        health: file with what the last look at the unit found; in memory, because it is written every few minutes.
        preserve: folders whose files a failed release must leave byte-identical.
        docker_host: the engine's socket.
        config_url, config_key, config_value: what the config server must answer on this unit.
        hub_pairs: [in port, out port] of each pair of the messaging hub; a message must go round each.
        watch: service name -> port that is asked all the time while services restart, to time how long each was away.
        bundle_port: loopback port on which a bundle is served to the engine.
        keep_copy: where the running release is kept a second time, as it was downloaded, for repairs without a network:
            `auto` (beside the state, where the disk has room), or the path of a folder; nowhere where empty.
        staging: whether a release is brought into a folder first, from where a download goes on that broke: `always`,
            `never`, or `auto`: where it is kept anyway or has a rate.
        rate_kbps: kilobits a second that such a download takes at most; 0: as many as there are.
        limits, observing, window, notify: see there.
    """

    source: str = ""
    registry_ca: str = ""
    registry_credentials: str = ""
    signature_key: str = ""
    compose_file: str = "/etc/panoptes/compose.yaml"
    project: str = "panoptes"
    release_file: str = "/etc/panoptes/release.env"
    state: str = "/var/lib/panoptes-unit"
    health: str = "/run/panoptes/health.json"
    preserve: List[str] = field(default_factory=lambda: ["/var/panoptes/conf_files"])
    docker_host: str = "unix:///var/run/docker.sock"
    config_url: str = "http://127.0.0.1:6563"
    config_key: str = "pan_id"
    config_value: str = ""
    hub_pairs: List[List[int]] = field(default_factory=lambda: [[6500, 6501], [6510, 6511]])
    watch: Dict[str, int] = field(default_factory=lambda: {"config-server": 6563, "messaging-hub": 6500})
    bundle_port: int = 6599
    keep_copy: str = ""
    staging: str = "auto"
    rate_kbps: int = 0
    limits: Limits = field(default_factory=Limits)
    observing: Observing = field(default_factory=Observing)
    window: Window = field(default_factory=Window)
    notify: Notify = field(default_factory=Notify)


def load(path: Path = DEFAULT_PATH) -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: the file is absent, is not YAML, or has an unknown key or a value of the wrong kind.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(SIZE_LIMIT + 1).decode()
        document = read_yaml(text, SIZE_LIMIT)
    except ImportError:
        raise ConfigurationError("python3-yaml is missing: apt-get install python3-yaml") from None
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the settings in {path}: {error.strerror}; role release writes them"
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is no text of settings: run playbooks/unit.yml, which writes it") from None
    except DocumentError as error:
        raise ConfigurationError(f"{path} holds no settings: {error}; playbooks/unit.yml writes it") from None
    settings = Settings()
    _fill(settings, document or {}, str(path))
    if settings.staging not in STAGING:
        raise ConfigurationError(f"{path}: staging must be {' or '.join(STAGING)}, not {_quoted(settings.staging)}")
    if settings.keep_copy not in ("", AUTO) and not settings.keep_copy.startswith("/"):
        raise ConfigurationError(
            f"{path}: keep_copy must be {AUTO}, the path of a folder from / on, or empty, not "
            f"{_quoted(settings.keep_copy)}"
        )
    if not settings.source:
        raise ConfigurationError(f"{path}: source is empty; write REGISTRY/REPOSITORY:TAG")
    return settings


def _fill(target: Any, document: Any, where: str) -> None:
    if not isinstance(document, dict):
        raise ConfigurationError(f"{where}: expected settings as `name: value`, found {_quoted(document)}")
    known = {item.name: str(item.type) for item in dataclasses.fields(target)}
    for name, value in document.items():
        if name not in known:
            raise ConfigurationError(f"{where}: unknown setting {_quoted(name)}; known are {', '.join(sorted(known))}")
        default = getattr(target, name)
        if dataclasses.is_dataclass(default):
            _fill(default, value, f"{where}: {name}")
            continue
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(default):
            kind = type(default).__name__
            raise ConfigurationError(f"{where}: {name} must be of type {kind}, not {_quoted(value)}")
        wanted, fits = _CONTENTS.get(known[name], ("", _anything))
        if not fits(value):
            raise ConfigurationError(f"{where}: {name} must be {wanted}, not {_quoted(value)}")
        if isinstance(value, (int, float)) and value < 0 and name != "longitude":
            raise ConfigurationError(f"{where}: {name} must not be negative, is {value}")
        setattr(target, name, value)


def _quoted(value: Any) -> str:
    return printable(repr(value), 100)


def _is_port(value: Any) -> bool:
    return type(value) is int and 0 < value < 65536


def _anything(value: Any) -> bool:
    return True


# Type of a setting that holds several values, as it stands above -> in words, and whether they are of that type.
_CONTENTS: Dict[str, tuple[str, Callable[[Any], bool]]] = {
    "List[str]": ("a list of texts", lambda value: all(isinstance(item, str) for item in value)),
    "List[List[int]]": (
        "a list of pairs of ports",
        lambda value: all(isinstance(pair, list) and len(pair) == 2 and all(map(_is_port, pair)) for pair in value),
    ),
    "Dict[str, int]": (
        "names with a port each",
        lambda value: all(isinstance(name, str) and _is_port(port) for name, port in value.items()),
    ),
}
