"""The lab, for tests that need it."""

from __future__ import annotations

import pytest

from lab.console import LabError
from lab.settings import read_lab


@pytest.fixture(scope="session")
def lab() -> dict:
    """What `make lab` wrote down; without a lab, these tests are skipped."""
    try:
        return read_lab()
    except LabError as error:
        pytest.skip(str(error))
