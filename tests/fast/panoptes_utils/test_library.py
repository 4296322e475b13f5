import ctypes.util

import pytest

from panoptes_utils import error, library


def test_module_and_class_by_name():
    from panoptes_utils import horizon

    assert library.load_module("panoptes_utils.horizon") is horizon
    assert library.load_module("panoptes_utils.horizon.Horizon") is horizon.Horizon


@pytest.mark.parametrize("name", ["no_such_module", "panoptes_utils.horizon.Nothing", "panoptes_utils.nowhere.Thing"])
def test_unknown_module_is_named(name):
    with pytest.raises(error.NotFound, match=name):
        library.load_module(name)


def test_c_library_is_loaded_and_an_absent_one_refused():
    assert library.load_c_library("c").abs(-3) == 3
    assert library.load_c_library("c", path=ctypes.util.find_library("c")).abs(-3) == 3
    with pytest.raises(error.NotFound, match="no_such_library"):
        library.load_c_library("no_such_library")
    with pytest.raises(OSError):
        library.load_c_library("c", path="/no/such/lib.so")
