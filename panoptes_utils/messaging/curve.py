"""CurveZMQ keys: encrypted connections, and only clients whose key the unit knows.

A folder of keys:

    server.key_secret           0600, the hub's own
    server.key                  public, goes to every client
    clients/NAME.key            public, who is admitted
    NAME.key_secret             0600, goes to that client and can be removed here
"""

from pathlib import Path
from typing import Any, Iterable, List, Union

import zmq
from zmq import auth

_HEALTH = "health"


def make_keys(folder: Union[str, Path], clients: Iterable[str] = ()) -> List[Path]:
    """Make what is missing in a folder of keys: the hub's, the health check's and the named clients'.

    Returns:
        The files that were made.

    Raises:
        ValueError: a client's name is not usable as a file's name.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    admitted = folder / "clients"
    admitted.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = []
    if not (folder / "server.key_secret").exists():
        made += [Path(path) for path in auth.create_certificates(folder, "server")]
    for name in (_HEALTH, *clients):
        if not name.replace("-", "").replace("_", "").isalnum() or name == "server":
            raise ValueError(f"client name {name!r}: letters, digits, - and _, and not 'server'")
        if (admitted / f"{name}.key").exists():
            continue
        public, secret = (Path(path) for path in auth.create_certificates(folder, name))
        made += [public.replace(admitted / public.name), secret]
    for path in folder.glob("*.key_secret"):
        path.chmod(0o600)
    return made


class ServerKeys:
    """What the hub needs: its own key and those it admits.

    Raises:
        OSError: a file is missing, or others can read the secret one.
    """

    def __init__(self, folder: Union[str, Path]):
        self._folder = Path(folder)
        self._public, self._secret = _secret_pair(self._folder / "server.key_secret")
        self._authenticator: Any = None

    def start(self, context: zmq.Context) -> None:
        """Begin to decide on who may connect. Clients that are added to the folder later need a restart."""
        from zmq.auth.thread import ThreadAuthenticator

        self._authenticator = ThreadAuthenticator(context)
        self._authenticator.start()
        self._authenticator.configure_curve(domain="*", location=str(self._folder / "clients"))

    def stop(self) -> None:
        """End what `start` began."""
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None

    def apply(self, socket: zmq.Socket) -> None:
        """Make a socket, before it is bound, ask its clients for their keys."""
        socket.curve_publickey, socket.curve_secretkey = self._public, self._secret
        socket.curve_server = True


class ClientKeys:
    """What a client needs: its own secret key and the hub's public one, both in one folder.

    Args:
        folder: holds `server.key` and `NAME.key_secret`.
        name: the client's name.

    Raises:
        OSError: a file is missing, or others can read the secret one.
    """

    def __init__(self, folder: Union[str, Path], name: str):
        self._public, self._secret = _secret_pair(Path(folder) / f"{name}.key_secret")
        self._server = auth.load_certificate(Path(folder) / "server.key")[0]

    def apply(self, socket: zmq.Socket) -> None:
        """Make a socket, before it is connected, show its key and expect the hub's."""
        socket.curve_publickey, socket.curve_secretkey = self._public, self._secret
        socket.curve_serverkey = self._server


def _secret_pair(path: Path) -> Any:
    try:
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError as error:
        raise OSError(f"there is no {path}; 'panoptes-messaging-hub keys {path.parent}' makes one") from error
    if mode & 0o077:
        raise OSError(f"{path} has mode {mode:04o}, others can read it: chmod 600 {path}")
    try:
        return auth.load_certificate(path)
    except ValueError as error:
        raise OSError(f"{path} holds no key: {error}") from error
