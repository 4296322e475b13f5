"""What pip does in an image on top of panoptes-utils: other software of the module's name never takes its place."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
VERSION = (TOP / "panoptes_utils" / "VERSION").read_text(encoding="utf-8").strip()
OURS = f"{VERSION} /opt/panoptes-utils/panoptes_utils/__init__.py"
SAYS = "import importlib.metadata as m, panoptes.utils as u; print(m.version('panoptes-utils'), u.__file__)"

pytestmark = pytest.mark.lab


def make_wheel(folder: Path, name: str, version: str, requires: str = "", package: str = "") -> None:
    """A wheel of one package, enough of it for pip."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{package or name}/__init__.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


@pytest.fixture
def index(tmp_path) -> Path:
    """A folder of wheels in the place of PyPI: a newer panoptes-utils of others, and programs that require it."""
    make_wheel(tmp_path, "panoptes_utils", "0.5.3", package="panoptes/utils")
    make_wheel(tmp_path, "fits_every", "1", "panoptes-utils>=0.2.53")
    make_wheel(tmp_path, "wants_newer", "1", "panoptes-utils>=0.4")
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def shell(lab, utils_image, index):
    """Runs a script in a container as an image on top would: writable, by default as root; gives code and output."""

    def run(script: str, *options: str) -> tuple[int, str]:
        options = ("--rm", "--network", "none", "--user", "0", "--volume", f"{index}:/wheels:ro", *options)
        install = 'install() { pip install --no-index --find-links /wheels "$@" 2>&1; }'
        done = lab.docker("run", *options, utils_image, "sh", "-euc", f"cd /tmp; {install}; {script}", check=False)
        return done.returncode, done.stdout

    return run


def test_module_of_the_image_stays(shell):
    words = ("fits_every", "--upgrade panoptes-utils", "--upgrade --upgrade-strategy eager fits_every")
    code, said = shell("; ".join(f'install {one}; python -c "{SAYS}"' for one in words))
    assert code == 0 and said.splitlines().count(OURS) == len(words), said


@pytest.mark.parametrize("words", ["wants_newer", "panoptes-utils==0.5.3"])
def test_what_needs_another_number_is_refused_and_the_constraint_is_named(shell, words):
    code, said = shell(f"install {words}")
    assert code != 0 and f"(constraint) panoptes-utils=={VERSION}" in said


def test_the_user_of_the_image_keeps_it_too(shell):
    code, said = shell(f'install fits_every; python -c "{SAYS}"', "--user", "1000")
    assert code == 0 and said.splitlines()[-1] == OURS


def test_an_environment_on_top_that_lacks_it_does_not_get_the_other(shell):
    code, said = shell("python -m venv /tmp/mine; PATH=/tmp/mine/bin:$PATH; install fits_every")
    assert code != 0 and f"(constraint) panoptes-utils=={VERSION}" in said


def test_it_is_the_constraint_that_keeps_it(shell):
    code, said = shell(f'export PIP_CONFIG_FILE=/dev/null; install --upgrade panoptes-utils; python -c "{SAYS}"')
    assert code == 0 and said.splitlines()[-1].startswith("0.5.3 "), "nothing here would replace the module"


def test_a_constraint_of_the_image_on_top_is_added_to_it(shell):
    code, said = shell("echo 'fits_every==2' > mine; install --constraint mine fits_every")
    assert code != 0 and "fits_every==2" in said.replace("-", "_")
    code, said = shell("echo 'fits_every==1' > mine; install --constraint mine wants_newer")
    assert code != 0 and f"(constraint) panoptes-utils=={VERSION}" in said
