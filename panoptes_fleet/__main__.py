"""`panoptes-fleet`, and `python -m panoptes_fleet`."""

from __future__ import annotations

import sys


def run() -> None:
    """The command line, or what has to be installed for it."""
    try:
        from .cli import main
    except ImportError as error:
        sys.exit(f"panoptes-fleet: {error}; it runs in the environment that `make controller` makes")
    main(prog_name="panoptes-fleet")


if __name__ == "__main__":
    run()
