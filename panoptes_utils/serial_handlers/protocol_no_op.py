"""`no_op://`: a port that accepts everything and never sends anything."""

from panoptes_utils.serial_handlers import NoOpSerial

Serial = NoOpSerial
