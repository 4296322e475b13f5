"""The unit's configuration: one file, one server, a client for every program.

`get_config` and `set_config` talk to the server; `load_config` and `save_config` read and write the files;
`config_server` starts a server from Python. Each is imported at first use, so that a client that reads one key
does not pay for the server.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "config_server": "server",
    "get_config": "client",
    "load_config": "helpers",
    "parse_config": "helpers",
    "parse_config_directories": "helpers",
    "save_config": "helpers",
    "server_is_running": "client",
    "set_config": "client",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
