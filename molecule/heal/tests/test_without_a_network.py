"""The same damages where no registry answers: the unit takes its release from the local copy."""

from __future__ import annotations

import pytest

from lab.damages import DEEDS, NO_CONTENT, STORE
from lab.settings import read_lab


@pytest.fixture(scope="module")
def copied(patient_made):
    """A unit that keeps a copy of what it runs."""
    patient_made.unit.settings({"keep_copy": "auto"})
    answer = patient_made.unit.tool("update", expect=0)
    assert answer["verdict"] == "unchanged", answer
    [copy] = [item for item in patient_made.unit.tool("doctor")["answer"] if item["name"] == "copy"]
    assert not copy["problem"], copy
    yield patient_made
    patient_made.unit.settings({})


@pytest.fixture(scope="module")
def cut_off(copied):
    """No packet of it reaches the registry, and none of the engine's either."""
    rule = f"OUTPUT --destination {read_lab()['registry'].partition(':')[0]} --jump REJECT"
    copied.unit.check(f"iptables --insert {rule}")
    yield copied
    copied.host.run(f"iptables --delete {rule}")


@pytest.fixture
def patient_cut_off(cut_off, patient):
    return patient


@pytest.mark.parametrize("kind", STORE)
def test_damaged_store_of_the_engine(patient_cut_off, kind, record_property):
    patient_cut_off.damage(kind, "removed" if kind in NO_CONTENT else "emptied")
    patient_cut_off.must_heal(record_property)


@pytest.mark.parametrize("name", ["containers removed", "everything pruned", "image without a name"])
def test_what_somebody_did(patient_cut_off, name, record_property):
    patient_cut_off.host.run(DEEDS[name])
    patient_cut_off.must_heal(record_property)


def test_a_new_store_is_filled_from_the_copy(patient_cut_off, record_property):
    patient_cut_off.host.run("docker kill config-server messaging-hub")
    answer = patient_cut_off.repair("--new-store", "--force")
    assert (answer["rc"], answer["verdict"]) == (0, "healed"), f"{answer}{patient_cut_off.unit.journal()}"
    patient_cut_off.guests()
    patient_cut_off.must_heal(record_property)
