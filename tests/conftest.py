"""What tests of several modules share."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

with suppress(ImportError):  # the quick tests do without
    from hypothesis import HealthCheck, settings

    # How long one example takes says something of the machine, and nothing of the code.
    settings.register_profile("no timing", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("no timing")

TOP = Path(__file__).parents[1]
PROGRAMS = ("solve-field", "wcsinfo", "source-extractor", "dcraw", "exiftool", "fpack", "funpack")


def pytest_configure(config):
    # A plugin that Debian installs with astropy skips what is marked slow, unless told; here -m chooses.
    if hasattr(config.option, "run_slow"):
        config.option.run_slow = True
    # What a shell starts in the background ignores Ctrl-C, and so would every program that a test interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if not missing:
        return
    skip = pytest.mark.skip(reason=f"not on PATH: {', '.join(missing)} (panoptes-base carries them)")
    for item in items:
        if item.get_closest_marker("tools"):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _no_unit_environment(monkeypatch):
    """A test sees nothing of the unit it may run on."""
    for name in ("POCSTIME", "PANDIR", "SOLVE_FIELD", "SEXTRACTOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _signals_as_before():
    """What a test does to signals ends with it: what is left behind fails another test, far away."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    changed = [number for number in numbers if signal.getsignal(number) != before[number]]
    for number in changed:
        signal.signal(number, before[number])
    assert not changed, f"left behind: {[number.name for number in changed]}"


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the real sky frames."""
    places = [os.getenv("PANOPTES_SHARED_DATA"), TOP.parent / "shared" / "data"]
    for place in places:
        if place and (Path(place) / "unsolved.fits").is_file():
            return Path(place)
    pytest.skip("no real sky frames: set PANOPTES_SHARED_DATA to their folder")


@pytest.fixture(scope="session")
def sky():
    """A simulated frame of 2 degrees, with the position of the mount in its header."""
    from sky_simulator import simulate

    return simulate(ra=303.2, dec=46.0, size=560, pixscale=12.9, rotation=30, seed=1)


@pytest.fixture
def sky_file(sky, tmp_path):
    """That frame as a file, not solved."""
    return Path(sky.write(tmp_path / "20160909T081152.fits"))


@pytest.fixture
def solved_file(sky, tmp_path):
    """That frame as a file, with its true coordinates."""
    return Path(sky.write(tmp_path / "solved.fits", solved=True))


@pytest.fixture
def bayer_image():
    """Raw pixels: 4 levels, one for each place in the Bayer matrix, a gradient and stars; uint16, 120 rows of 160."""
    import numpy as np

    rows, columns = np.mgrid[:120, :160]
    image = 1000.0 + 2 * columns + np.array([[100, 300], [200, 400]])[rows % 2, columns % 2]
    for x, y in ((30, 40), (100, 80), (140, 20)):
        image += 5000 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 4)
    return image.astype(np.uint16)


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A clean clone of this checkout at its last commit."""
    if not shutil.which("git") or not (TOP / ".git").exists():
        pytest.skip("needs git and a git checkout")
    clone = tmp_path / "clone"
    safe = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", TOP, clone], check=True, env={**os.environ, **safe})
    return clone
