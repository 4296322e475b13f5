"""How many faults the tests inject: a part of them in `make test`, all of them at every point at night."""

from __future__ import annotations

import os

from panoptes_unit.deploy.journal import POINTS

# `make test-update`, `make test-lab`, `make test-pi` set it.
EVERY_FAULT = bool(os.environ.get("PANOPTES_EVERY_FAULT"))

# The points of the journal at which an update has touched the services.
AFTER_THE_SWITCH = tuple(point for point in POINTS if point.startswith(("switch", "prove", "commit", "undo")))
