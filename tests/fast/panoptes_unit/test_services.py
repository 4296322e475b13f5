"""What the unit asks its own services, and what it makes of the answers."""

from __future__ import annotations

import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from panoptes_unit.errors import HealthError
from panoptes_unit.services import check_config


@pytest.fixture
def stand_in():
    """Address of something that answers as the config server does, in a container whose clock can be set."""
    clock: list = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            body = b'"PAN000"'
            self.send_response_only(200)
            if clock:
                self.send_header("Date", clock[0])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", clock
        server.shutdown()


def test_container_in_another_time_is_not_healthy(stand_in):
    url, clock = stand_in
    # What a C library gets where the engine's filter does not know its way to ask for the time
    clock.append(formatdate(0, usegmt=True))
    with pytest.raises(HealthError, match=r"1970-01-01 .* in the container .* libseccomp2"):
        check_config(url, "pan_id", "PAN000")


@pytest.mark.parametrize("date", [lambda: [formatdate(usegmt=True)], lambda: [], lambda: ["no date"]])
def test_container_in_this_time_is_healthy(stand_in, date):
    url, clock = stand_in
    clock.extend(date())  # a server that does not tell is not one in another time
    assert check_config(url, "pan_id", "PAN000") < 10


def test_other_value_is_not_this_unit(stand_in):
    with pytest.raises(HealthError, match=r"'PAN000' and not 'PAN001'.*pocs_local.yaml"):
        check_config(stand_in[0], "pan_id", "PAN001")
