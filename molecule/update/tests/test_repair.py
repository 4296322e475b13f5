"""Three damages that people met; scenario `heal` has the whole catalogue."""

from __future__ import annotations

import pytest

from lab.patient import Patient
from lab.unit_under_test import UnitUnderTest


@pytest.fixture(scope="module")
def patient(host, releases):
    unit = UnitUnderTest(host, releases.source)
    release = releases.offer("good-1")
    unit.tool("deploy", "--force", expect=0)
    return Patient(unit, release)


@pytest.mark.fault("file of a layer emptied")
def test_emptied_file_of_a_layer_is_fetched_again(patient, record_property):
    patient.damage("content of the module's layer", "emptied")
    patient.must_heal(record_property)


@pytest.mark.fault("short name of a layer gone, as after a power cut")
def test_layer_without_its_short_name_gets_it_back(patient, record_property):
    patient.damage("short name of a layer", "removed")
    patient.must_heal(record_property)


@pytest.mark.fault("engine without its unit file, all images gone")
def test_engine_that_cannot_start_and_images_that_are_gone(patient, record_property):
    patient.host.run(
        "docker rm --force config-server messaging-hub;"
        " docker image rm --force $(docker image ls --quiet --filter reference='*/update-tests/*/*')"
    )
    patient.damage("service of the engine", "removed")
    patient.host.run("systemctl daemon-reload; systemctl stop docker.socket docker.service")
    patient.must_heal(record_property)
