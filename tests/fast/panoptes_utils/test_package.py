"""The package as a whole."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import panoptes_utils


def loaded_after(statement):
    """Names of the modules that a fresh Python has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    "statement",
    [
        "import panoptes_utils; panoptes_utils.__version__",
        "from panoptes_utils import listify, CountdownTimer, current_time; current_time(pretty=True)",
        "import panoptes_utils.cli, panoptes_utils.images, panoptes_utils.images.fits, panoptes_utils.sources",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_used(statement):
    heavy = {"astropy", "numpy", "matplotlib", "pandas", "scipy", "requests", "serial"}
    assert not heavy & set(loaded_after(statement))


def test_names_at_the_top_are_those_of_the_modules():
    from panoptes_utils.time import current_time

    assert panoptes_utils.current_time is current_time
    assert {"current_time", "listify", "__version__"} <= set(dir(panoptes_utils))
    version = (Path(panoptes_utils.__file__).parent / "VERSION").read_text().strip()
    assert panoptes_utils.__version__ == version
    for module in map(import_module, ("panoptes_utils", "panoptes_utils.images", "panoptes_utils.sources")):
        assert all(getattr(module, name) is not None for name in module.__all__)
        assert set(module.__all__) <= set(dir(module))
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            module.nonsense  # noqa: B018
