"""Serial lines; `loop://` is pyserial's own, the others are the module's stand-ins for devices."""

import os
import pty
import re
import time
from types import SimpleNamespace

import pytest
import serial
from serial.serialutil import SerialException

from panoptes_utils import error, rs232
from panoptes_utils.serial import device as serial_device
from panoptes_utils.serial.device import SerialDevice, SerialDeviceDefaults, find_serial_port
from panoptes_utils.serial.handlers import NoOpSerial
from panoptes_utils.serial_handlers import protocol_buffers, protocol_hooked


@pytest.fixture(autouse=True)
def handlers():
    """pyserial knows the stand-ins during the test."""
    serial.protocol_handler_packages.append("panoptes_utils.serial_handlers")
    yield
    serial.protocol_handler_packages.remove("panoptes_utils.serial_handlers")


@pytest.fixture
def terminal():
    """A pseudo terminal, as real a serial line as there is without hardware: (our end, path of the other)."""
    ours, theirs = pty.openpty()
    yield ours, os.ttyname(theirs)
    for end in (ours, theirs):
        os.close(end)


def test_a_line_over_a_terminal(terminal):
    ours, path = terminal
    line = rs232.SerialData(port=path, timeout=2, open_delay=0.01)
    assert line.is_connected and line.port == path and "connected" in str(line)
    os.write(ours, b'{"temp": 12.5}\nnext\n')
    when, text = line.get_reading()
    assert text == '{"temp": 12.5}' and when.endswith(" UTC")
    assert line.read() == "next\n"
    assert line.write("hello\n") == 6
    assert os.read(ours, 100) == b"hello\n"
    line.connect()
    line.disconnect()
    assert not line.is_connected and "not connected" in str(line)


@pytest.mark.parametrize("port", ["{}/ttyACM0", "{}", "arduinosimulator://?board=toaster"])
def test_a_port_that_cannot_be_opened_is_told_at_once(tmp_path, port):
    port = port.format(tmp_path)
    with pytest.raises(error.BadSerialConnection, match=re.escape(port)):
        rs232.SerialData(port=port)


def test_a_port_has_to_be_named():
    with pytest.raises(ValueError, match="port is missing"):
        rs232.SerialData()


def test_a_line_that_was_closed_tells_whoever_uses_it():
    line = rs232.SerialData(port="loop://")
    line.disconnect()
    for use in (lambda: line.write("x"), line.read, line.read_bytes, line.reset_input_buffer):
        with pytest.raises(error.BadSerialConnection, match="not connected"):
            use()
    line.connect()
    assert line.is_connected


def test_a_device_that_is_pulled_out_is_told():
    ours, theirs = pty.openpty()
    line = rs232.SerialData(port=os.ttyname(theirs), timeout=0.1, retry_limit=1)
    os.close(theirs)
    os.close(ours)
    with pytest.raises(error.BadSerialConnection):
        line.read()
    with pytest.raises(error.BadSerialConnection):
        line.read_bytes(3)
    with pytest.raises(error.BadSerialConnection):
        line.write("x")


def test_buffers_stand_in_for_a_device_and_noise_is_skipped():
    protocol_buffers.ResetBuffers(b'noise\n{"a": [nan, 1, -NAN], "s": "banan: nan"}\n\xff\xfelast\n')
    line = rs232.SerialData(port="buffers://", retry_delay=0.001)
    assert line.ser.in_waiting > 10
    _, data = line.get_and_parse_reading()
    assert data == {"a": [None, 1, None], "s": "banan: nan"}
    assert line.read() == "last\n"
    assert line.read() == "" and line.get_reading() is None
    assert line.get_and_parse_reading(retry_limit=1) is None
    line.write("abc")
    assert line.write_bytes(b"d") == 1
    assert protocol_buffers.GetWBufferValue() == b"abcd"
    protocol_buffers.SetRBufferValue(b"xyz")
    assert line.read_bytes(2) == b"xy"
    line.reset_input_buffer()
    with pytest.raises(TypeError, match="not bytes"):
        protocol_buffers.SetRBufferValue("text")


def test_hooked_port_uses_the_class_of_the_test(monkeypatch):
    class Echo(NoOpSerial):
        def read(self, size=1):
            return b"!\n"[:size]

    monkeypatch.setattr(protocol_hooked, "ExampleSerialClassForUrl", Echo)
    assert rs232.SerialData(port="hooked://", retry_limit=1).read_bytes(2) == b"!\n"


def test_no_op_behaves_like_a_port():
    port = serial.serial_for_url("no_op://")
    assert (port.read(5), port.write(b"abc"), port.in_waiting, port.out_waiting) == (b"", 3, 0, 0)
    assert port.cts and port.dsr and port.cd and not port.ri
    port.flush()
    port.reset_input_buffer()
    port.reset_output_buffer()
    with pytest.raises(SerialException, match="already open"):
        port.open()
    port.close()
    with pytest.raises(SerialException, match="not open"):
        port.read()
    with pytest.raises(SerialException, match="must be configured"):
        NoOpSerial().open()


@pytest.mark.parametrize(
    ("board", "key"), [("telemetry", "power"), ("camera", "accelerometer"), ("json_object", "report_num")]
)
def test_arduino_simulator_reports_and_takes_commands(board, key):
    line = rs232.SerialData(port=f"arduinosimulator://?board={board}&period=0.05", timeout=5)
    _, first = line.get_and_parse_reading()
    _, second = line.get_and_parse_reading()
    assert key in first and second["report_num"] == first["report_num"] + 1
    line.write("0,1\n")
    assert line.ser.received == b"0,1\n"
    line.reset_input_buffer()
    assert line.ser.in_waiting >= 0


def test_serial_ports_are_listed():
    assert isinstance(rs232.get_serial_port_info(), list)


def test_port_of_a_usb_device(monkeypatch):
    ports = [SimpleNamespace(device=f"/dev/ttyUSB{n}", vid=0x0403, pid=0x6015) for n in range(2)]
    monkeypatch.setattr(serial_device, "get_serial_port_info", lambda: ports)
    assert find_serial_port(0x0403, 0x6015) == "/dev/ttyUSB0"
    assert find_serial_port(0x0403, 0x6015, return_all=True) == ["/dev/ttyUSB0", "/dev/ttyUSB1"]
    with pytest.raises(error.NotFound, match="0x1234:0x0001"):
        find_serial_port(0x1234, 1)


def wait_for(condition):
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit, "gave up waiting"
        time.sleep(0.01)


def test_device_reads_in_the_background(terminal):
    ours, path = terminal
    device = SerialDevice(path, name="weather", serial_settings=SerialDeviceDefaults(timeout=0.1), reader_queue_size=2)
    try:
        assert device.is_connected and "weather, connected" in str(device)
        device.connect()
        os.write(ours, b"one\r\ntwo\nthree\n")
        wait_for(lambda: list(device.readings) == ["two", "three"])
        device.add_reader_callback(lambda line: {"value": int(line)})
        os.write(ours, b"not a number\n7\n")
        wait_for(lambda: device.readings[-1] == {"value": 7})
        device.add_reader_callback(lambda line: None)
        os.write(ours, b"plain\n")
        wait_for(lambda: device.readings[-1] == "plain")
        device.write("go")
        assert os.read(ours, 10) == b"go\n"
    finally:
        device.disconnect()
    assert not device.is_connected and "not connected" in str(device)
    with pytest.raises(error.BadSerialConnection, match="not connected"):
        device.write("go")


def test_device_without_port_is_told(tmp_path):
    with pytest.raises(error.BadSerialConnection, match="ttyUSB0"):
        SerialDevice(str(tmp_path / "ttyUSB0"))
