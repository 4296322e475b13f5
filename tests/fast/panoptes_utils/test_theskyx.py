"""Against a stand-in for TheSkyX: a TCP server that answers as that program's scripts do."""

import socket
import threading

import pytest

from panoptes_utils import error
from panoptes_utils.theskyx import TheSkyX

ANSWERS = {
    "version": "10.5.0|No error. Error = 0.",
    "slew": "|The mount is not connected. Error = 200.",
    "typo": "ReferenceError: Can't find variable: Skyy|No error. Error = 0.",
    "plain": "value",
    "broken": "Error: something went wrong",
}


@pytest.fixture
def stand_in():
    """Port of a server that answers each script by ANSWERS, hangs up on "bye" and is silent on anything else."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                while True:
                    script = connection.recv(1000).decode()
                    if script in ("", "bye"):
                        break
                    if script in ANSWERS:
                        connection.sendall(ANSWERS[script].encode())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


@pytest.fixture
def sky(stand_in):
    connection = TheSkyX(host="127.0.0.1", port=stand_in)
    yield connection
    connection.close()


def test_answers_are_read_without_their_frame(sky):
    assert sky.is_connected
    sky.write("version")
    assert sky.read() == "10.5.0"
    sky.write("plain")
    assert sky.read() == "value"


@pytest.mark.parametrize(
    ("script", "kind", "why"),
    [
        ("slew", error.TheSkyXError, "not connected. Error = 200"),
        ("broken", error.TheSkyXError, "went wrong"),
        ("typo", error.TheSkyXKeyError, "Skyy"),
    ],
)
def test_failed_script_raises_what_the_program_said(sky, script, kind, why):
    sky.write(script)
    with pytest.raises(kind, match=why):
        sky.read()


def test_silence_and_hanging_up(sky):
    sky.write("nothing")
    with pytest.raises(error.TheSkyXTimeout, match="0.1 s"):
        sky.read(timeout=0.1)
    sky.write("bye")
    with pytest.raises(error.BadConnection, match="closed"):
        sky.read()
    assert not sky.is_connected


def test_commands_without_a_connection_are_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    sky = TheSkyX(host="127.0.0.1", port=port)
    assert not sky.is_connected
    with pytest.raises(error.BadConnection, match="not connected"):
        sky.write("version")
    with pytest.raises(error.BadConnection, match="not connected"):
        sky.read()
    assert not TheSkyX(connect=False).is_connected
