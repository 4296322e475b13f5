"""`panoptes.utils` is `panoptes_utils`: one module object under two names, whoever asks first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import panoptes_utils

TOP = Path(panoptes_utils.__file__).parents[1]
PACKAGE = TOP / "panoptes_utils"
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.stem != "__main__" and path != PACKAGE / "__init__.py"
)


def python(code: str, *arguments: str, path: object = TOP) -> str:
    """What a fresh Python prints, with the checkout on its path and nothing else of ours."""
    command = [sys.executable, *arguments, *(["-c", code] if code else [])]
    environment = {"PYTHONPATH": str(path), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_module_is_one_object_under_both_names():
    """Every module that can be loaded here, by the one name first and by the other in turns."""
    python(f"""
import importlib
names = ["panoptes.utils", "panoptes_utils"]
apart, tried = [], 0
for name in {MODULES!r}:
    names.reverse()
    try:
        one = importlib.import_module(f"{{names[0]}}.{{name}}")
    except ImportError:  # what only images have
        continue
    tried += 1
    other = importlib.import_module(f"{{names[1]}}.{{name}}")
    if one is not other or one.__name__ != "panoptes_utils." + name or one.__spec__.name != one.__name__:
        apart.append(name)
assert not apart, apart
assert tried > 20, tried
import panoptes.utils, panoptes_utils
assert panoptes.utils is panoptes_utils
""")


def test_values_set_under_one_name_are_seen_under_the_other():
    python("""
from panoptes.utils.error import PanError, NotFound
import panoptes_utils.error
assert NotFound is panoptes_utils.error.NotFound
import panoptes.utils.config.client as said
import panoptes_utils.config.client as real
said.mark = 1
assert real.mark == 1
""")


def test_pickles_of_either_name_are_the_same_class():
    python("""
import pickle
from panoptes.utils.time import CountdownTimer
text = pickle.dumps(CountdownTimer)
import panoptes_utils.time
assert pickle.loads(text) is panoptes_utils.time.CountdownTimer
assert pickle.loads(text.replace(b"panoptes_utils.time", b"panoptes.utils.time")) is CountdownTimer
""")


def test_files_of_the_package_and_its_version_are_found_by_both_names():
    python("""
from importlib import resources
one, other = (resources.files(name).joinpath("VERSION").read_text() for name in ("panoptes.utils", "panoptes_utils"))
assert one == other
import panoptes.utils
assert panoptes.utils.__version__ == one.strip()
""")


def test_module_is_run_and_reloaded_by_its_second_name():
    assert "Usage" in python("", "-m", "panoptes.utils.cli", "--help")
    python("""
import importlib
import panoptes.utils.error as error
assert importlib.reload(error) is error
import panoptes_utils.error
assert panoptes_utils.error is error
""")


def test_names_that_programs_ask_for_where_they_were_are_the_ones_of_today():
    python("""
from panoptes.utils.images.misc import crop_data, make_timelapse, mask_saturated
from panoptes.utils.rs232 import find_serial_port
from panoptes.utils.database import AbstractPanDB, PanDB
from panoptes_utils import images
from panoptes_utils.database.memory import PanMemoryDB
from panoptes_utils.serial import device
assert (crop_data, make_timelapse, mask_saturated) == (images.crop_data, images.make_timelapse, images.mask_saturated)
assert find_serial_port is device.find_serial_port
assert isinstance(PanDB("memory", "names"), AbstractPanDB) and issubclass(PanMemoryDB, AbstractPanDB)
""")


def test_namespace_is_shared_with_others(tmp_path):
    (tmp_path / "panoptes" / "pocs").mkdir(parents=True)
    (tmp_path / "panoptes" / "pocs" / "__init__.py").write_text("from panoptes.utils.error import NotFound\n")
    for path in (f"{TOP}:{tmp_path}", f"{tmp_path}:{TOP}"):
        python(
            "import panoptes.pocs, panoptes_utils.error as e; assert panoptes.pocs.NotFound is e.NotFound", path=path
        )


def test_module_that_is_not_there_is_said_by_the_name_that_was_asked_for():
    assert "panoptes.utils.nothing" in python("""
try:
    import panoptes.utils.nothing
except ModuleNotFoundError as error:
    print(error)
""")
