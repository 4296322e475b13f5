"""The watch over the ports takes nothing from the run that it belongs to."""

from __future__ import annotations

import time
from pathlib import Path

from panoptes_unit.deploy.downtime import DowntimeWatch
from panoptes_unit.deploy.signals import NUMBERS


def test_signals_are_for_the_run_and_not_for_its_watch():
    wanted = sum(1 << (number - 1) for number in NUMBERS)
    with DowntimeWatch({"config-server": 9}) as watch:
        status = Path(f"/proc/self/task/{watch._thread.native_id}/status")
        end, blocked = time.monotonic() + 10, 0
        while blocked & wanted != wanted and time.monotonic() < end:  # the thread may not have come to run yet
            blocked = int(status.read_text().partition("SigBlk:")[2].split()[0], 16)
    assert blocked & wanted == wanted
