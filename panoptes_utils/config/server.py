"""Running a config server."""

import asyncio
import errno
import os
import signal
import socket
import sys
import time
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Callable, Iterable, List, Optional, Union

from panoptes_utils.config.access import TOKEN_FILE, Access, read_token
from panoptes_utils.config.helpers import config_path
from panoptes_utils.config.store import ConfigStore
from panoptes_utils.logging import log_to_stderr, logger
from panoptes_utils.ports import holder_of, is_loopback

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 6563
# A client that has not sent a whole request after this many seconds is cut off.
REQUEST_SECONDS = 10
# A server that was told to end holds its port for a moment: whoever starts the next one at once waits so long for it.
PORT_SECONDS = 3.0


class CannotStart(Exception):
    """The server cannot start; the text says why and what to do."""


def config_server(
    config_file: Optional[Union[str, Path]] = None,
    host: Optional[str] = None,
    port: Optional[Union[int, str]] = None,
    load_local: bool = True,
    save_local: bool = False,
    auto_start: bool = True,
    access_logs: Any = None,
    error_logs: Any = "logger",
) -> BaseProcess:
    """A config server in a process of its own, which ends with this one.

    Args:
        config_file: path or name; see `panoptes_utils.config.helpers.config_path`.
        host: address; default `$PANOPTES_CONFIG_HOST`, else 127.0.0.1.
        port: TCP port; default `$PANOPTES_CONFIG_PORT`, else 6563.
        load_local: read `NAME_local.yaml` over the file.
        save_local: write what is set into `NAME_local.yaml`.
        auto_start: start the process and wait until the server answers.
        access_logs: ignored; requests are not logged.
        error_logs: ignored; errors go to standard error.

    Returns:
        The process, started or not.

    Raises:
        InvalidConfig: the file is missing or not YAML.
        CannotStart: the port is taken, or the address is not this machine's.
        RuntimeError: the server ended before it answered.
    """
    path = config_path(config_file)
    address = host or os.environ.get("PANOPTES_CONFIG_HOST") or DEFAULT_HOST
    number = int(port or os.environ.get("PANOPTES_CONFIG_PORT") or DEFAULT_PORT)
    listener = listen(address, number)
    context = get_context("fork")
    ready = context.Event()
    process = context.Process(
        target=_serve_child,
        args=(path, listener, load_local, save_local, ready),
        name="panoptes-config-server",
        daemon=True,
    )
    # Read here once so that a bad file is an exception in the caller and not a dead child.
    ConfigStore(path, load_local=load_local, save_local=False)
    if auto_start:
        process.start()
        listener.close()
        while not ready.wait(0.05):
            if not process.is_alive():
                raise RuntimeError(f"the config server ended at start with exit code {process.exitcode}")
    return process


def _serve_child(path: Path, listener: socket.socket, load_local: bool, save_local: bool, ready: Any) -> None:
    log_to_stderr(os.environ.get("PANOPTES_LOG_LEVEL", "WARNING"))
    store = ConfigStore(path, load_local=load_local, save_local=save_local)
    serve(store, Access(), listener, ready.set)


def run(
    config_file: Union[str, Path, None],
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    load_local: bool = True,
    save_local: bool = True,
    token_file: Optional[Path] = None,
    allow_hosts: Iterable[str] = (),
    hub_port: int = 6500,
) -> None:
    """Serve until SIGTERM, SIGINT or a client's `stop`.

    Args:
        config_file: path or name; see `panoptes_utils.config.helpers.config_path`.
        host: address to listen on. Any other than loopback makes changes need the token.
        port: TCP port.
        load_local: read `NAME_local.yaml` over the file.
        save_local: write what is set into `NAME_local.yaml`.
        token_file: the token; default `.config-server.token` beside the file, made where it is missing.
        allow_hosts: further names by which the server may be addressed.
        hub_port: the in port of the first pair of the messaging hub whose state the page shows.

    Raises:
        InvalidConfig: the file or the token file is missing or bad.
        CannotStart: the port is taken, or the address is not this machine's.
    """
    # The YAML reader in C, which ruamel loads for modes that keep no comments: 2 MB.
    sys.modules.setdefault("_ruamel_yaml", None)  # type: ignore[arg-type]
    from panoptes_utils.config.model import problems

    # Until the event loop listens for them. As process 1 of a container there is no default action to rely on, and
    # an exception would get lost where it hits a module that is just being imported.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    path = config_path(config_file)
    store = ConfigStore(path, load_local=load_local, save_local=save_local, check=problems)
    token = token_path = None
    if not is_loopback(host):
        token_path = token_file or path.with_name(TOKEN_FILE)
        token = read_token(token_path, make=token_file is None)
        logger.info(f"changes need the token in {token_path}")
    listener = listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    logger.info(f"serving {path} on http://{shown}:{listener.getsockname()[1]}")
    serve(store, Access(token, allow_hosts, token_file=token_path), listener, lambda: None, hub_port)
    logger.info("stopped")


def serve(
    store: ConfigStore,
    access: Access,
    listener: socket.socket,
    ready: Callable[[], None],
    hub_port: int = 6500,
) -> None:
    """Serve the store on a listening socket until SIGTERM, SIGINT or a client's `stop`."""
    asyncio.set_event_loop_policy(_fastest_loop())
    asyncio.run(_serve(store, access, listener, ready, hub_port))


async def _serve(
    store: ConfigStore, access: Access, listener: socket.socket, ready: Callable[[], None], hub_port: int
) -> None:
    import uvicorn

    from panoptes_utils.config.app import ConfigApp
    from panoptes_utils.config.protocol import MAX_CONNECTIONS, BoundedProtocol

    class Server(uvicorn.Server):
        """Ends with exit code 0 at a signal: uvicorn's own way is to send it to itself again."""

        def install_signal_handlers(self) -> None:
            pass

        def capture_signals(self) -> Any:
            from contextlib import nullcontext

            return nullcontext()

        async def startup(self, sockets: Optional[List[socket.socket]] = None) -> None:
            await super().startup(sockets)
            ready()

    def stop() -> None:
        server.should_exit = True

    app = ConfigApp(store, access, stop, hub_port)
    server = Server(
        uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            # Never reached: the protocol drops a quiet connection for each new one beyond its own limit.
            limit_concurrency=2 * MAX_CONNECTIONS,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    watching = loop.create_task(_cut_off_slow_clients(server))
    try:
        await server.serve(sockets=[listener])
    finally:
        watching.cancel()


async def _cut_off_slow_clients(server: Any) -> None:
    while True:
        await asyncio.sleep(REQUEST_SECONDS / 4)
        oldest = asyncio.get_running_loop().time() - REQUEST_SECONDS
        for connection in list(server.server_state.connections):
            connection.close_if_waiting_since(oldest)


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; a port that is just becoming free is waited for, `PORT_SECONDS` at most.

    Raises:
        CannotStart: the port is taken (the text says by what), or the address is not this machine's.
    """
    try:
        # As bytes where it can be: text makes Python load its tables of international names.
        name = host.encode() if host.isascii() else host
        family, _, _, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
    except (OSError, OverflowError) as error:
        raise CannotStart(f"{host!r} port {port} is no address of this machine: {error}") from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind_when_free(listener, address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            holder = holder_of(port)
            raise CannotStart(f"port {port} is taken by {holder}; stop that or choose another port") from error
        raise CannotStart(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listener


def _bind_when_free(listener: socket.socket, address: Any) -> None:
    deadline = time.monotonic() + PORT_SECONDS
    while True:
        try:
            listener.bind(address)
            break
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
        time.sleep(0.02)
    listener.listen(128)


def _fastest_loop() -> asyncio.AbstractEventLoopPolicy:
    try:
        import uvloop
    except ImportError:
        return asyncio.DefaultEventLoopPolicy()
    return uvloop.EventLoopPolicy()
