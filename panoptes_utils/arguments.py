"""argparse without its largest import, for commands that run every half minute on a small computer."""

import argparse
import os
from contextlib import suppress
from typing import Any


class ArgumentParser(argparse.ArgumentParser):
    """argparse's parser, which finds out the terminal's width without loading every kind of compression."""

    def __init__(self, **settings: Any):
        super().__init__(**{"formatter_class": _Formatter, **settings})


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str):
        # Where it is not told the width, it imports shutil for it, at every option and not only for --help.
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    with suppress(KeyError, ValueError):
        return int(os.environ["COLUMNS"])
    with suppress(OSError):
        return os.get_terminal_size().columns or 80
    return 80
