"""Every flavour for real: pulled by `latest` for its platform, run through emulation, and its tools used."""

from __future__ import annotations

import json
import os

import pytest
from image_checks import TOOLS, TOP, solve_simulated_sky

from lab.flavours import FLAVOURS

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@pytest.fixture(scope="module", params=list(FLAVOURS))
def flavour(request, all_flavours):
    if request.param not in all_flavours:
        pytest.skip(f"not in this run: PANOPTES_TEST_FLAVOURS={','.join(all_flavours)} (`make test-arm64` has arm64v8)")
    return request.param


@pytest.fixture(scope="module")
def pulled(lab, flavour):
    """The digest reference of `latest` for one platform, pulled from the registry."""
    name = lab["images"]["panoptes-utils"]
    listed = json.loads(lab.docker("manifest", "inspect", name).stdout)["manifests"]
    _, architecture, *variant = FLAVOURS[flavour].platform.split("/")
    wanted = {"os": "linux", "architecture": architecture, **({"variant": variant[0]} if variant else {})}
    (digest,) = [one["digest"] for one in listed if one["platform"] == wanted]
    said = lab.docker("pull", "--platform", FLAVOURS[flavour].platform, name).stdout
    assert "Digest:" in said
    image_id = lab.inspect(name)["Id"]
    yield image_id, f"{name.rsplit(':', 1)[0]}@{digest}"
    lab.docker("rmi", name, check=False)


def test_image_is_of_its_platform(lab, flavour, pulled):
    image_id, by_digest = pulled
    lab.docker("pull", "--platform", FLAVOURS[flavour].platform, by_digest)
    assert lab.inspect(by_digest)["Id"] == image_id
    found = lab.inspect(image_id)
    # For arm64 builders leave v8 out of the image: there is no other. The manifest list has it (fixture `pulled`).
    variant = found.get("Variant") or {"arm64": "v8"}.get(found["Architecture"])
    assert "/".join(filter(None, ("linux", found["Architecture"], variant))) == FLAVOURS[flavour].platform
    dpkg = lab.run(image_id, "dpkg", "--print-architecture").stdout.strip()
    assert dpkg == FLAVOURS[flavour].debian


def test_programs_of_the_image_run_on_every_platform(lab, pulled):
    assert "Source Extractor" in lab.run(pulled[0], "sh", "-ec", TOOLS).stdout


def test_module_is_imported_on_every_platform(lab, pulled):
    modules = "panoptes_utils.images.fits, panoptes_utils.config.cli, panoptes_utils.messaging, sep, photutils"
    script = f"import {modules}; print('imported')"
    assert "imported" in lab.run(pulled[0], "python", "-c", script).stdout


def test_services_start_with_compiled_modules(lab, pulled):
    """They may write nothing, and would compile themselves at every start and every health check."""
    script = (
        "import os, sys, panoptes_utils.config.cli, panoptes_utils.config.server;"
        "import panoptes_utils.messaging.cli, panoptes_utils.messaging.hub;"
        "mine = [one for name, one in sys.modules.items() if name.startswith('panoptes_utils')];"
        "print(len(mine), *(one.__name__ for one in mine if not os.path.exists(one.__cached__)))"
    )
    number, *uncompiled = lab.run(pulled[0], "python", "-c", script).stdout.split()
    assert int(number) > 5 and uncompiled == []


def test_module_passes_its_quick_tests(lab, flavour, pulled):
    if flavour == lab["architecture"]:
        pytest.skip("this machine's own flavour runs all of them: make test-image")
    if "PANOPTES_TEST_FLAVOURS" not in os.environ:
        pytest.skip("at night: make test-arm64")
    checkout = ("--init", "--volume", f"{TOP}:/opt/panoptes-utils:ro")
    if flavour == "arm64v8":
        checkout += ("--env", "QEMU_CPU=cortex-a72")  # as in docker/build-image.sh
    done = lab.run(pulled[0], "scripts/testing/run_tests.sh", "--quick", options=checkout, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr


def test_simulated_sky_is_solved(lab, flavour, pulled):
    if flavour == "arm64v8":
        pytest.skip("solved on amd64 and arm32v7; arm64v8 differs from amd64 in nothing that solving depends on")
    assert solve_simulated_sky(lab, pulled[0]) < 30
