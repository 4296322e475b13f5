"""Settings of the tool, from /etc/panoptes/unit.yaml (role `release` writes it)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ConfigurationError

DEFAULT_PATH = Path("/etc/panoptes/unit.yaml")


@dataclass
class Observing:
    """How the tool learns whether the unit observes; see `observing.py`.

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
    idle: list = field(default_factory=lambda: ["sleeping", "parked", "housekeeping", "ready"])
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
        registry_s: one request to the registry.
        stall_s: a download in which nothing arrives for this long is given up.
        healthy_s: services must be healthy this long after a switch.
        round_trip_s: a message must come round a hub pair in this time.
        soak_s: then they must stay up this long without a restart.
        expansion: bytes on disk for each byte downloaded (compressed and unpacked, together).
        floor_bytes: must stay free after that.
    """

    registry_s: float = 15.0
    stall_s: float = 300.0
    healthy_s: float = 90.0
    round_trip_s: float = 10.0
    soak_s: float = 30.0
    expansion: float = 3.5
    floor_bytes: int = 1_000_000_000


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
        preserve: folders whose files a failed release must leave byte-identical.
        docker_host: the engine's socket.
        config_url, config_key, config_value: what the config server must answer on this unit.
        hub_pairs: [subscribe, publish] ports; a message must go round each.
        watch: service name -> port, to time how long each was away.
        bundle_port: loopback port on which a bundle is served to the engine.
    """

    source: str = ""
    registry_ca: str = ""
    registry_credentials: str = ""
    signature_key: str = ""
    compose_file: str = "/etc/panoptes/compose.yaml"
    project: str = "panoptes"
    release_file: str = "/etc/panoptes/release.env"
    state: str = "/var/lib/panoptes-unit"
    preserve: list = field(default_factory=lambda: ["/var/panoptes/conf_files"])
    docker_host: str = "unix:///var/run/docker.sock"
    config_url: str = "http://127.0.0.1:6563"
    config_key: str = "pan_id"
    config_value: str = ""
    hub_pairs: list = field(default_factory=lambda: [[6500, 6501], [6510, 6511]])
    watch: dict = field(default_factory=lambda: {"config-server": 6563, "messaging-hub": 6500})
    bundle_port: int = 6599
    limits: Limits = field(default_factory=Limits)
    observing: Observing = field(default_factory=Observing)
    window: Window = field(default_factory=Window)


def load(path: Path = DEFAULT_PATH) -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: the file is absent, is not YAML, or has an unknown key or a value of the wrong kind.
    """
    try:
        import yaml  # only here, so that the parts for Ansible modules do without
    except ImportError:
        raise ConfigurationError("python3-yaml is missing: apt-get install python3-yaml") from None

    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the settings in {path}: {error.strerror}; role release writes them"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    settings = _fill(Settings(), document or {}, str(path))
    if not settings.source:
        raise ConfigurationError(f"{path}: source is empty; write REGISTRY/REPOSITORY:TAG")
    return settings


def _fill(target: Any, document: Any, where: str) -> Any:
    if not isinstance(document, dict):
        raise ConfigurationError(f"{where}: expected settings as `name: value`, found {document!r}")
    known = {item.name for item in dataclasses.fields(target)}
    for name, value in document.items():
        if name not in known:
            raise ConfigurationError(f"{where}: unknown setting {name!r}; known are {', '.join(sorted(known))}")
        default = getattr(target, name)
        if dataclasses.is_dataclass(default):
            _fill(default, value, f"{where}: {name}")
            continue
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(default):
            kind = type(default).__name__
            raise ConfigurationError(f"{where}: {name} must be of type {kind}, not {value!r}")
        if isinstance(value, (int, float)) and value < 0 and name != "longitude":
            raise ConfigurationError(f"{where}: {name} must not be negative, is {value}")
        setattr(target, name, value)
    return target
