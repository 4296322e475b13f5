"""What the config server tells of the unit: name, release, the hub."""

import json
import threading

import pytest
from free_ports import free_ports
from squatter import statistics_told


def test_status_tells_unit_and_release(serve):
    image = "registry.example/panoptes-utils@sha256:" + "a" * 64
    server = serve("--hub-port", str(free_ports(1)[0]),
                   env={"PANOPTES_RELEASE_TAG": "latest", "PANOPTES_UTILS_IMAGE": image})  # fmt: skip
    status = server.ask("/status")[1]
    assert (status["name"], status["pan_id"]) == ("Roof Unit", "PAN042")
    assert (status["release"], status["image"]) == ("latest", image)
    assert status["hub"]["state"] == "down"


@pytest.fixture
def hub_port():
    """The in port of a hub pair; the hub's place for those who ask is free."""
    pytest.importorskip("zmq")
    return free_ports(1)[0]


def test_status_tells_what_the_hub_says(serve, hub_port):
    from panoptes_utils.messaging.hub import Hub

    server = serve("--hub-port", str(hub_port))
    hub = Hub([(hub_port, hub_port + 1)])
    thread = threading.Thread(target=hub.run)
    thread.start()
    try:
        told = server.ask("/status")[1]["hub"]
        assert (told["state"], told["pairs"][0]["sub"]) == ("up", hub_port)
    finally:
        hub.stop()
        thread.join()
    assert server.ask("/status")[1]["hub"] == {"state": "down", "reason": f"no hub with port {hub_port} is running"}


def test_status_does_not_wait_for_a_hub_that_hangs(serve, hub_port):
    server = serve("--hub-port", str(hub_port))
    with statistics_told(hub_port, listens=False):
        assert server.ask("/status")[1]["hub"] == {"state": "down", "reason": "no answer within 1 s"}


ANSWERS = {
    "empty": b"{}",
    "deep": b"[" * 100_000,
    "long": b"x" * 2_000_000,
    "of another hub": b'{"pairs": [{"sub": 1}]}',
    "no object": b"true",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_status_believes_no_statistics_but_those_of_the_hub(serve, hub_port, answer):
    server = serve("--hub-port", str(hub_port))
    with statistics_told(hub_port, answer):
        assert server.ask("/status")[1]["hub"]["state"] == "down"


def test_status_believes_nobody_who_does_not_listen_on_the_port(serve, hub_port):
    server = serve("--hub-port", str(hub_port))
    with statistics_told(hub_port, json.dumps({"pairs": [{"sub": hub_port}]}).encode(), listens=False):
        assert server.ask("/status")[1]["hub"]["state"] == "down"
