"""Filter that writes a word as systemd reads it back: systemd has its own meaning for `%`, `$`, quotes and blanks."""

from __future__ import annotations


def unit_systemd(word: str, command: bool = False) -> str:
    """A word of a list of paths or, with `command`, of a command line; in quotes.

    Args:
        word: one line.
        command: systemd puts variables into command lines, so that `$` means something there.
    """
    for special in ("\\", '"'):
        word = word.replace(special, f"\\{special}")
    word = word.replace("%", "%%")
    return f'"{word.replace("$", "$$") if command else word}"'


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict:
        """Name -> function."""
        return {"unit_systemd": unit_systemd}
