"""Virtual machines that stand for a Raspberry Pi: its userland, a kernel, an engine and a disk of their own."""

from .commands import vm
from .machine import Machine
from .saved import clone

__all__ = ["Machine", "clone", "vm"]
