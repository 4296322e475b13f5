"""Stand-ins for serial devices, under the name that newer programs use."""

from panoptes_utils.serial_handlers import NoOpSerial

__all__ = ["NoOpSerial"]
