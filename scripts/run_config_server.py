#!/usr/bin/env python3
"""Run the config server: the options of `panoptes-config-server run`."""

import sys

from panoptes_utils.config.cli import script

if __name__ == "__main__":
    sys.exit(script())
