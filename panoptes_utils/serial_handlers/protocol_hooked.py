"""`hooked://`: a port that a test gives a class of its own.

    protocol_hooked.ExampleSerialClassForUrl = MySerial
"""

from panoptes_utils.serial_handlers import NoOpSerial

ExampleSerialClassForUrl = NoOpSerial


def serial_class_for_url(url):
    """Return the address and the class, as pyserial asks for them."""
    return url, ExampleSerialClassForUrl
