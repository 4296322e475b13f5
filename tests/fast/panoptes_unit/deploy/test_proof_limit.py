"""One limit holds for the whole proof: what hangs in it is undone, and blames nobody."""

from __future__ import annotations

import threading

import pytest
from fake_unit import FakeUnit

from panoptes_unit.deploy import proof, verdicts
from panoptes_unit.errors import HealthError, UnitError
from panoptes_unit.settings import Settings


def hang(*_, **__):
    threading.Event().wait(60)
    raise AssertionError("nothing ended it")


def test_limit_has_room_for_every_part_of_the_proof():
    settings, seconds = Settings(), []
    parts = settings.limits.healthy_s + settings.limits.soak_s + 2 * 3 * settings.limits.round_trip_s
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "deadline", lambda limit, *_: seconds.append(limit))
        proof.limited(settings)
    assert seconds == [parts + proof.ENGINE_S]


@pytest.mark.parametrize("part", ["wait_healthy", "works", "soak"])
def test_part_of_the_proof_that_never_ends_is_undone_and_blames_nobody(tmp_path, monkeypatch, part):
    unit = FakeUnit(tmp_path)
    assert unit.deploy("good").verdict == verdicts.UPDATED
    real = getattr(proof, part)
    unit.settings.limits.soak_s = unit.settings.limits.round_trip_s = 0.01

    def once(*arguments, **more):
        monkeypatch.setattr(proof, part, real)
        hang()

    monkeypatch.setattr(proof, "ENGINE_S", 0.5)
    monkeypatch.setattr(proof, part, once)
    outcome = unit.deploy("other")
    assert outcome.verdict == verdicts.ROLLED_BACK
    assert "the proof of the release took longer than" in outcome.reason
    assert unit.state.quarantine == {}


def test_answer_that_nobody_thought_of_is_undone_too(tmp_path, monkeypatch):
    unit = FakeUnit(tmp_path)
    assert unit.deploy("good").verdict == verdicts.UPDATED
    said = [RecursionError("\x1b]0;owned\x07"), None]
    monkeypatch.setattr(proof, "works", lambda _: (_ for _ in ()).throw(said.pop(0)) if said[0] else None)
    outcome = unit.deploy("other")
    assert outcome.verdict == verdicts.ROLLED_BACK
    assert outcome.reason == "RecursionError: \\x1b]0;owned\\x07"


def test_limit_is_a_plain_refusal_and_no_blame():
    settings = Settings()
    settings.limits.healthy_s = settings.limits.soak_s = settings.limits.round_trip_s = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "ENGINE_S", 0.1)
        with pytest.raises(UnitError, match="systemctl status docker") as caught, proof.limited(settings):
            hang()
    assert not isinstance(caught.value, HealthError)
