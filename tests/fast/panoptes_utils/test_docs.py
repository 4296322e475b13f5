"""The examples in the docstrings."""

import doctest
import pkgutil
import warnings
from importlib import import_module

import pytest

import panoptes_utils

# The services have tests of their own; what is theirs needs their parts.
OTHERS = ("panoptes_utils.config", "panoptes_utils.messaging", "panoptes_utils.ports")
MODULES = [
    module.name
    for module in pkgutil.walk_packages(panoptes_utils.__path__, "panoptes_utils.")
    if not module.name.startswith(OTHERS)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_do_what_they_say(name, capsys):
    module = import_module(name)
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL | doctest.NORMALIZE_WHITESPACE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = doctest.testmod(module, optionflags=flags)
    assert result.failed == 0, capsys.readouterr().out
