"""Entry of the zipapp and of `python -m panoptes_unit`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
