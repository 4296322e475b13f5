"""The errors that programs of a unit raise and catch."""

import pytest

from panoptes_utils import error
from panoptes_utils.logging import logger


def test_names_what_went_wrong():
    assert str(error.NotFound("no camera")) == "NotFound: no camera"
    assert str(error.PanError()) == "PanError"


@pytest.mark.parametrize(
    ("kind", "caught_as"),
    [
        (error.SolveError, error.NotFound),
        (error.CameraNotFound, error.NotFound),
        (error.TheSkyXTimeout, error.TheSkyXError),
        (error.IllegalValue, ValueError),
        (error.NotSupported, NotImplementedError),
        (error.InvalidSerialization, error.PanError),
    ],
)
def test_can_be_caught_as(kind, caught_as):
    with pytest.raises(caught_as):
        raise kind("x")


def test_ends_the_program_where_asked():
    messages = []
    sink = logger.add(messages.append, format="{level} {message}")
    try:
        with pytest.raises(SystemExit) as end:
            error.InvalidConfig("no location", exit=True)
    finally:
        logger.remove(sink)
    assert end.value.code == 1
    assert "CRITICAL TERMINATING: no location" in messages[-1]
