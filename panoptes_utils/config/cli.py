"""The command `panoptes-config-server`.

argparse, and imports inside the commands: the health check runs every half minute on a small computer.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, List, Optional

from panoptes_utils.arguments import ArgumentParser


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    everywhere = "0.0.0.0" if getattr(options, "public", False) else "127.0.0.1"  # noqa: S104 - asked for
    options.host = getattr(options, "host", None) or os.environ.get("PANOPTES_CONFIG_HOST") or everywhere
    options.port = getattr(options, "port", None) or os.environ.get("PANOPTES_CONFIG_PORT") or "6563"
    if not options.port.isdigit() or not 0 < int(options.port) < 65536:
        return _fail(f"--port {options.port}: not a TCP port, choose one from 1 to 65535")
    return options.command(options)


def _run(options: argparse.Namespace) -> int:
    from panoptes_utils.config.server import CannotStart, run
    from panoptes_utils.error import InvalidConfig
    from panoptes_utils.logging import log_to_stderr

    log_to_stderr("DEBUG" if options.debug else "INFO")
    try:
        run(
            options.config_file,
            options.host,
            int(options.port),
            load_local=options.load_local,
            save_local=options.save_local,
            token_file=options.token_file,
            allow_hosts=options.allow_host,
            hub_port=options.hub_port,
        )
    except InvalidConfig as error:
        return _fail(str(error.msg))
    except CannotStart as error:
        return _fail(str(error))
    return 0


def _get(options: argparse.Namespace) -> int:
    from panoptes_utils.config.client import get_config
    from panoptes_utils.logging import log_to_stderr

    log_to_stderr()
    key = options.named_key or options.key
    text = get_config(key, host=options.host, port=options.port, parse=False)
    if text is None:
        if options.default is not None:
            print(options.default)
            return 0
        return _fail(f"no value at {key!r}" if key else "no configuration")
    value = json.loads(text)
    print(value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))
    return 0


def _set(options: argparse.Namespace) -> int:
    from panoptes_utils.config.client import set_config
    from panoptes_utils.logging import log_to_stderr

    log_to_stderr()
    try:
        value = json.loads(options.value)
    except ValueError:
        value = options.value
    answer = set_config(options.key, value, host=options.host, port=options.port, parse=False)
    if answer is None:
        return _fail(f"{options.key} was not changed")
    print(json.dumps(answer, ensure_ascii=False))
    return 0


def _stop(options: argparse.Namespace) -> int:
    from panoptes_utils.config.client import set_config
    from panoptes_utils.logging import log_to_stderr

    log_to_stderr()
    if set_config("config_server.running", False, host=options.host, port=options.port) is None:
        return _fail("the server was not stopped")
    return 0


def _health(options: argparse.Namespace) -> int:
    from panoptes_utils.config.health import check

    problem = check(options.host, int(options.port), options.key, options.timeout)
    return _fail(problem) if problem else 0


def _fail(text: str) -> int:
    print(f"panoptes-config-server: {text}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    address = ArgumentParser(add_help=False)
    address.add_argument("--host", default=argparse.SUPPRESS, help="address [$PANOPTES_CONFIG_HOST or 127.0.0.1]")
    address.add_argument("--port", default=argparse.SUPPRESS, help="TCP port [$PANOPTES_CONFIG_PORT or 6563]")

    parser = ArgumentParser(
        prog="panoptes-config-server", description="The server of a unit's configuration.", parents=[address]
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = commands.add_parser("run", parents=[address], help="serve a configuration file")
    _add_run_options(run)

    get = commands.add_parser("get", parents=[address], help="print a value, or everything")
    get.add_argument("key", nargs="?", help="dotted key such as devices[1].model")
    get.add_argument("--key", dest="named_key", help=argparse.SUPPRESS)
    get.add_argument("--default", help="what to print where there is no value")
    get.set_defaults(command=_get)

    change = commands.add_parser("set", parents=[address], help="change a value")
    change.add_argument("key", help="dotted key")
    change.add_argument("value", help="JSON, or text")
    change.set_defaults(command=_set)

    stop = commands.add_parser("stop", parents=[address], help="end the server")
    stop.set_defaults(command=_stop)

    health = commands.add_parser("health", parents=[address], help="exit 0 if the server answers for a key")
    health.add_argument("--key", default="name", help="a key that has to have a value [name]")
    health.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS", help="how long to wait [5]")
    health.set_defaults(command=_health)
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config-file",
        type=Path,
        help="configuration file [$PANOPTES_CONFIG_FILE or $PANDIR/conf_files/pocs.yaml]",
    )
    parser.add_argument("--public", action="store_true", help="listen on every address; changes need the token")
    parser.add_argument(
        "--save-local", action=argparse.BooleanOptionalAction, default=True, help="keep changes in NAME_local.yaml"
    )
    parser.add_argument("--save", action="store_true", dest="save_local", help=argparse.SUPPRESS)
    parser.add_argument("--no-save", action="store_false", dest="save_local", help="same as --no-save-local")
    parser.add_argument(
        "--load-local", action=argparse.BooleanOptionalAction, default=True, help="read NAME_local.yaml"
    )
    parser.add_argument("--ignore-local", action="store_false", dest="load_local", help="same as --no-load-local")
    parser.add_argument(
        "--token-file",
        type=Path,
        default=os.environ.get("PANOPTES_CONFIG_TOKEN_FILE"),
        help="token for changes in public mode, mode 0600 [.config-server.token beside the configuration file]",
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="a further name of this machine"
    )
    parser.add_argument(
        "--hub-port",
        type=int,
        default=os.environ.get("PANOPTES_HUB_PORT", "6500"),
        metavar="PORT",
        help="in port of the first pair of the hub that the page shows [$PANOPTES_HUB_PORT or 6500]",
    )
    parser.add_argument("--debug", action="store_true", help="log more")
    parser.set_defaults(command=_run)


def script(arguments: Optional[List[str]] = None) -> int:
    """The command without the word `run`, as `scripts/run_config_server.py` has it."""
    return main(["run", *(sys.argv[1:] if arguments is None else arguments)])


def __getattr__(name: str) -> Any:
    # Made where it is asked for: the health check needs no click.
    if name == "config_server_cli":
        return _as_click()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _as_click() -> Any:
    """The command as a command of click, which is what PANOPTES software adds to its own groups or invokes in tests."""
    import click

    everything = {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False}

    @click.command("panoptes-config-server", add_help_option=False, context_settings=everything)
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def config_server_cli(arguments: "tuple[str, ...]") -> None:
        raise SystemExit(main(list(arguments)))

    return config_server_cli
