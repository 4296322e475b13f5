"""The Python client: what programs get, and that nothing at night makes it raise."""

import socket
import subprocess
import sys
import threading

import pytest

from panoptes_utils.config.client import get_config, server_is_running, set_config
from panoptes_utils.error import InvalidSerialization
from panoptes_utils.logging import log_to_stderr, logger


def test_values_come_as_quantities_numbers_and_texts(server):
    units = pytest.importorskip("astropy.units")
    assert get_config("location.latitude", port=server.port) == 19.54 * units.deg
    assert get_config("location.latitude", port=server.port, parse=False) == '"19.54 deg"'
    assert get_config("name", port=str(server.port)) == "Roof Unit"
    assert get_config("cameras.devices[1].model", port=server.port) == "zwo"
    assert get_config(port=server.port)["location"]["elevation"] == 3400 * units.m
    assert get_config("nothing", port=server.port) is None
    assert get_config("nothing", default=5, port=server.port) == 5
    assert server_is_running(port=server.port) is True


def test_set_quantities_are_kept_as_quantities(server):
    units = pytest.importorskip("astropy.units")
    assert set_config("location.elevation", 10 * units.m, port=server.port) == {"location.elevation": 10 * units.m}
    assert set_config("location.elevation", 11 * units.m, port=server.port, parse=False) == {
        "location.elevation": "11.0 m"
    }
    assert get_config("location.elevation", port=server.port) == 11 * units.m


@pytest.mark.parametrize("serial", ["20160812", "0012", "2016"])
def test_a_serial_number_comes_back_as_it_was_set(server, serial):
    assert set_config("cameras.devices[1].sn", serial, port=server.port) == {"cameras.devices[1].sn": serial}
    assert get_config("cameras.devices[1].sn", port=server.port) == serial


def test_a_quantity_comes_back_whatever_its_unit(server):
    units = pytest.importorskip("astropy.units")
    for sent in (5 * units.km, 30 * units.Unit("arcsec / s"), units.Quantity([1, 2.5], "min"), 2 * units.percent):
        set_config("mount.settings.x", sent, port=server.port)
        read = get_config("mount.settings", port=server.port)["x"]
        assert read.unit == sent.unit
        assert read.value.tolist() == sent.value.tolist()


def test_environment_names_the_server(server, monkeypatch):
    monkeypatch.setenv("PANOPTES_CONFIG_PORT", str(server.port))
    monkeypatch.setenv("PANOPTES_CONFIG_HOST", "127.0.0.1")
    assert get_config("name") == "Roof Unit"
    assert server_is_running()


def test_refusals_give_none_and_a_line_in_the_log(server, capfd, monkeypatch):
    monkeypatch.setattr(logger, "target", None)
    log_to_stderr()
    assert set_config("location.latitude", "95 deg", port=server.port) is None
    assert set_config("a..b", 1, port=server.port) is None
    log = capfd.readouterr().err
    assert "location.latitude: '95 deg' is invalid" in log
    assert "malformed" in log
    assert log.count("Problem with set_config: ") == 2


def test_a_value_without_a_text_form_is_refused_before_it_is_sent():
    with pytest.raises(InvalidSerialization, match="object has no text form"):
        set_config("x", object(), port=1)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff",
        b"HTTP/1.1 204 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + b"[" * 5000 + b"]" * 5000,
    ],
)
def test_a_server_that_talks_nonsense_gives_the_default(answer):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer_all():
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=answer_all)
        thread.start()
        assert get_config("name", default="d", port=port) == "d"
        assert set_config("name", "x", port=port) is None
        thread.join()


def test_no_server_gives_the_default(free_port):
    assert get_config("name", default="d", port=free_port) == "d"
    assert set_config("name", "x", port=free_port) is None
    assert server_is_running(port=free_port) is False
    assert get_config("name", default="d", host="no.such.host.invalid") == "d"
    assert get_config("name", default="d", port="no port") == "d"


def test_a_restarted_server_is_found_again(serve):
    server = serve()
    assert get_config("name", port=server.port) == "Roof Unit"
    server.stop()
    assert get_config("name", port=server.port) is None
    serve()
    assert get_config("name", port=server.port) == "Roof Unit"


def test_each_of_many_threads_reads_what_it_wrote(server):
    wrong = []

    def work(number):
        for turn in range(20):
            set_config(f"t{number}", turn, port=server.port)
            if get_config(f"t{number}", port=server.port) != turn:
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_reading_loads_neither_astropy_nor_a_web_library(server):
    program = (
        f"import sys; from panoptes_utils.config.client import get_config;"
        f"assert get_config('name', port={server.port}) == 'Roof Unit';"
        "heavy = {'astropy', 'numpy', 'ruamel', 'loguru', 'requests', 'uvicorn', 'asyncio', 'pydantic_core'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("module", ["panoptes_utils.config.health", "panoptes_utils.config.cli"])
def test_the_health_check_is_light(module):
    program = (
        f"import sys, {module}; heavy = {{'astropy', 'ruamel', 'loguru', 'http.client', 'asyncio', 'ssl', 'uvicorn'}};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
