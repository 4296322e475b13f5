#!/usr/bin/env python3
"""Run the messaging hub: the options of `panoptes-messaging-hub`."""

import sys

from panoptes_utils.messaging.cli import main

if __name__ == "__main__":
    sys.exit(main())
