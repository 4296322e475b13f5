"""`hooked://`: a port that a test gives a class of its own.

protocol_hooked.ExampleSerialClassForUrl = MySerial
"""

from __future__ import annotations

from typing import Tuple

from panoptes_utils.serial_handlers import NoOpSerial

ExampleSerialClassForUrl = NoOpSerial


def serial_class_for_url(url: str) -> Tuple[str, type]:
    """Return the address and the class, as pyserial asks for them."""
    return url, ExampleSerialClassForUrl
