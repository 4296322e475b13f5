"""The command `panoptes-messaging-hub`.

argparse, and imports inside the commands: the health check runs every half minute on a small computer.
"""

import argparse
import json
import os
import sys
import time
from typing import List, Optional, Tuple

from panoptes_utils.arguments import ArgumentParser

DEFAULT_PAIRS = [(6500, 6501), (6510, 6511)]


class _Unusable(Exception):
    """The command line or the configuration does not give usable pairs."""


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except _Unusable as error:
        return _fail(str(error))


def _run(options: argparse.Namespace) -> int:
    from panoptes_utils.logging import log_to_stderr
    from panoptes_utils.messaging.hub import CannotStart, run_hub
    from panoptes_utils.ports import is_loopback

    log_to_stderr()
    curve = None
    try:
        if options.curve_keys:
            from panoptes_utils.messaging.curve import ServerKeys

            curve = ServerKeys(options.curve_keys)
        elif not is_loopback(options.host):
            raise _Unusable(
                f"--host {options.host} would let anyone on the network send commands to this unit; "
                "give --curve-keys FOLDER too ('panoptes-messaging-hub keys FOLDER' makes one)"
            )
        failure = run_hub(
            _pairs(options),
            host=options.host,
            curve=curve,
            high_water_mark=options.high_water_mark,
            max_message=options.max_message,
        )
    except CannotStart as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(str(error))
    if failure:
        _fail(failure)
        # Not by way of the interpreter's clean-up, which could wait for a thread that hangs in C code.
        os._exit(1)
    return 0


def _health(options: argparse.Namespace) -> int:
    from panoptes_utils.messaging.health import check

    curve = None
    if options.curve_keys:
        from panoptes_utils.messaging.curve import ClientKeys

        try:
            curve = ClientKeys(options.curve_keys, "health")
        except OSError as error:
            return _fail(str(error))
    silent = check(_pairs(options), _reachable(options.host), options.timeout, curve)
    if silent:
        named = ", ".join(f"{in_port}→{out_port}" for in_port, out_port in silent)
        return _fail(f"no message came through {named} within {options.timeout:g} s")
    return 0


def _stats(options: argparse.Namespace) -> int:
    from panoptes_utils.messaging.monitor import read_stats
    from panoptes_utils.messaging.stats import sample, show

    pairs = _pairs(options)
    try:
        stats = read_stats(pairs[0])
    except OSError:
        return _fail(f"no hub with the pair {pairs[0][0]}→{pairs[0][1]} is running on this machine")
    if options.seconds > 0:
        sample(stats, options.seconds, _reachable(options.host))
    if options.json:
        print(json.dumps(stats, indent=2))
    else:
        show(stats)
    return 0


def _keys(options: argparse.Namespace) -> int:
    from panoptes_utils.messaging.curve import make_keys

    try:
        made = make_keys(options.folder, options.client)
    except (OSError, ValueError) as error:
        return _fail(str(error))
    for path in made:
        print(path)
    return 0


def _pairs(options: argparse.Namespace) -> List[Tuple[int, int]]:
    pairs = [tuple(pair) for pair in options.pair or []]
    if options.port is not None:
        pairs.append((options.port, options.port + 1))
    if options.from_config:
        pairs += _configured(options)
    return pairs or DEFAULT_PAIRS


def _configured(options: argparse.Namespace) -> List[Tuple[int, int]]:
    from panoptes_utils.config.client import get_config, server_is_running

    place = {"host": options.config_host, "port": options.config_port}
    deadline = time.monotonic() + 20
    while not server_is_running(**place):
        if time.monotonic() > deadline:
            raise _Unusable("no config server answers; start it first or name the ports with --pair")
        time.sleep(1)
    pairs = []
    for key in ("messaging.cmd_port", "messaging.msg_port"):
        port = get_config(key, **place)
        if not isinstance(port, int):
            raise _Unusable(f"{key} is {port!r} in the configuration, not a port number; set it, for instance to 6500")
        pairs.append((port, port + 1))
    return pairs


def _reachable(host: str) -> str:
    if host in ("::", "[::]"):
        return "::1"
    return "127.0.0.1" if host in ("0.0.0.0", "localhost", "*") else host  # noqa: S104 - compared, not bound


def _fail(text: str) -> int:
    print(f"panoptes-messaging-hub: {text}", file=sys.stderr)
    return 1


def _parser() -> "_Defaults":
    ports = ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    ports.add_argument(
        "--pair",
        nargs=2,
        type=int,
        action="append",
        metavar=("IN", "OUT"),
        help="a hub pair: programs send to port IN and listen to port OUT; repeatable [6500 6501 and 6510 6511]",
    )
    ports.add_argument("--port", type=int, metavar="N", help="the in port of a pair: the same as --pair N N+1")
    ports.add_argument("--from-config", action="store_true", help="take the ports from the config server")
    ports.add_argument("--config-host", help="where the config server is [127.0.0.1]")
    ports.add_argument("--config-port", help="its port [6563]")
    ports.add_argument("--host", help="address of the hub [127.0.0.1]")
    ports.add_argument("--curve-keys", metavar="FOLDER", help="encrypt, and admit only clients whose key is here")

    parser = ArgumentParser(
        prog="panoptes-messaging-hub",
        description="Forward messages between the programs of a unit.",
        parents=[ports],
    )
    parser.add_argument(
        "--high-water-mark", type=int, default=1000, metavar="N", help="messages that wait for a subscriber [1000]"
    )
    parser.add_argument(
        "--max-message", type=int, default=2 * 1024 * 1024, metavar="BYTES", help="longest message [2097152]"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    run = commands.add_parser("run", parents=[ports], help="run the hub (what happens without a command too)")
    run.set_defaults(command=_run)

    health = commands.add_parser("health", parents=[ports], help="exit 0 if a message goes round every pair")
    health.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS", help="how long to wait [5]")
    health.set_defaults(command=_health)

    stats = commands.add_parser("stats", parents=[ports], help="messages, bytes, subscribers, drops of a running hub")
    stats.add_argument("--seconds", type=float, default=2.0, help="how long to watch topics; 0: not at all [2]")
    stats.add_argument("--json", action="store_true", help="for programs")
    stats.set_defaults(command=_stats)

    keys = commands.add_parser("keys", help="make the keys for a hub that other machines may use")
    keys.add_argument("folder", metavar="FOLDER")
    keys.add_argument("--client", action="append", default=[], metavar="NAME", help="a client to admit")
    keys.set_defaults(command=_keys)
    return _Defaults(parser)


class _Defaults:
    """Options may stand before or after the command; what stands nowhere gets its default here."""

    def __init__(self, parser: argparse.ArgumentParser):
        self._parser = parser

    def parse_args(self, arguments: Optional[List[str]]) -> argparse.Namespace:
        defaults = {
            "command": _run,
            "pair": None,
            "port": None,
            "from_config": False,
            "config_host": None,
            "config_port": None,
            "host": "127.0.0.1",
            "curve_keys": None,
        }
        return argparse.Namespace(**{**defaults, **vars(self._parser.parse_args(arguments))})
