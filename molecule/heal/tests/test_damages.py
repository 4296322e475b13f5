"""Whatever is damaged, `panoptes-unit repair` brings the unit back; nothing of a person or of others is lost."""

from __future__ import annotations

import json

import pytest

from lab.damages import DEEDS, HOWS, LESSER, LESSER_HOWS, NO_CONTENT, OWN, STORE


def cases(kinds, hows=HOWS):
    return [
        pytest.param(kind, how, id=f"{kind}, {how}")
        for kind in kinds
        for how in (("removed",) if kind in NO_CONTENT else hows)
    ]


@pytest.mark.parametrize(("kind", "how"), cases(STORE))
def test_damaged_store_of_the_engine(patient, kind, how, record_property):
    patient.damage(kind, how)
    if "content" in kind and how == "one bit flipped":  # nothing else may ever notice
        assert patient.unit.tool("verify")["rc"] == 7
    patient.must_heal(record_property)


@pytest.mark.parametrize(("kind", "how"), cases(LESSER, LESSER_HOWS))
def test_damaged_store_of_the_engine_in_what_matters_less(patient, kind, how, record_property):
    patient.damage(kind, how)
    patient.must_heal(record_property)


@pytest.mark.parametrize(("kind", "how"), cases(OWN))
def test_damaged_file_of_the_tool(patient, kind, how, record_property):
    if kind == "record of verify":
        patient.unit.tool("verify", expect=0)
    patient.damage(kind, how)
    if "engine" in kind:
        patient.host.run("docker kill config-server; systemctl daemon-reload; systemctl restart docker")
    patient.must_heal(record_property)
    if kind == "settings":  # what can still be read may be what a person typed, a flipped bit in a certificate too
        patient.unit.settings({})


@pytest.mark.parametrize("name", DEEDS)
def test_what_somebody_did(patient, name, record_property):
    patient.host.run(DEEDS[name])
    patient.must_heal(record_property)


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(pair, id=" and ".join(pair))
        for pair in (
            ("state", "image configuration"),
            ("release file", "container configuration"),
            ("Compose file", "short name of a layer"),
            ("settings", "content of the lowest layer"),
            ("container configuration", "content of the lowest layer"),
        )
    ],
)
def test_two_damages_at_once(patient, pair, record_property):
    for kind in reversed(pair):  # the files of the tool last: with the others the engine starts anew
        patient.damage(kind, "removed" if kind in NO_CONTENT else "zero bytes")
    patient.must_heal(record_property)


# A damage that leads to the step, and the step.
STEPS = {
    "start": ("service of the engine", "removed"),
    "up": ("container configuration", "removed"),
    "recreate": ("layer metadata size", "emptied"),
    "fetch": ("content of the module's layer", "emptied"),
    "store": ("network database", "zero bytes"),
}


@pytest.mark.parametrize("point", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_repair_that_is_killed_goes_on_at_boot(patient, step, point, record_property):
    patient.damage(*STEPS[step])
    if step == "start":  # an engine that runs does not miss it
        patient.host.run("docker kill config-server; systemctl daemon-reload; systemctl stop docker.socket docker")
    answer = patient.repair("--new-store", env=f"PANOPTES_UNIT_DIE_AT=repair-{step}:{point}")
    record_property("outcome", f"killed: {answer['rc'] == 137}")
    patient.host.run("panoptes-unit recover")
    patient.must_heal(record_property, said_yes=True)


def test_plan_is_told_and_nothing_happens(patient):
    patient.unit.check("docker kill messaging-hub")
    answer = json.loads(patient.host.run("panoptes-unit repair --dry-run --json").stdout)
    assert "messaging-hub is exited" in answer["reason"]
    assert "bring the services up" in answer["reason"]
    assert patient.unit.check("docker inspect --format {{.State.Status}} messaging-hub").strip() == "exited"
    assert patient.host.run("panoptes-unit repair").rc == 0


def test_catalogue_has_every_kind_of_file_that_the_store_has(patient):
    assert json.loads(patient.script("unlisted")) == []
