"""What `status` and `doctor` say of services, on a fake engine: a missing one is told, with a remedy that helps."""

from __future__ import annotations

import pytest
from fake_unit import FakeUnit, image_of

from panoptes_unit.cli import _service_state
from panoptes_unit.deploy import verdicts
from panoptes_unit.errors import UnitError
from panoptes_unit.health import wholeness
from panoptes_unit.health.status import status


@pytest.fixture
def unit(tmp_path, monkeypatch):
    made = FakeUnit(tmp_path / "unit")
    made.deploy("old")
    monkeypatch.setattr(wholeness, "Engine", lambda settings: made.engine)
    return made


def told(unit) -> dict[str, str]:
    return {row["service"]: _service_state(row) for row in status(unit.settings)["services"]}


def test_service_that_works_is_healthy(unit):
    assert told(unit) == {"config-server": "healthy", "messaging-hub": "healthy"}
    assert wholeness._services(wholeness.Seen(unit.settings)) == "config-server healthy, messaging-hub healthy"


@pytest.mark.parametrize("watched", [True, False])
def test_service_without_a_container_is_told_and_the_advised_command_brings_it_back(unit, watched):
    if watched:
        unit.settings.watch = {"config-server": 1, "messaging-hub": 2}
    del unit.engine.running["messaging-hub"]
    assert told(unit)["messaging-hub"] == "has no container: panoptes-unit repair"
    with pytest.raises(UnitError, match="^messaging-hub has no container: panoptes-unit repair$"):
        wholeness._services(wholeness.Seen(unit.settings))
    unit.settings.watch = {}
    assert unit.run("deploy").verdict == verdicts.RESTORED
    assert told(unit)["messaging-hub"] == "healthy"


def test_service_on_another_image_or_stopped_is_told_with_the_same_remedy(unit):
    hub = unit.engine.running["messaging-hub"]
    unit.engine.running["messaging-hub"] = hub._replace(image=image_of("other"))
    assert "but on" in told(unit)["messaging-hub"]
    with pytest.raises(UnitError, match="messaging-hub runs another image: panoptes-unit repair$"):
        wholeness._services(wholeness.Seen(unit.settings))
    unit.engine.running["messaging-hub"] = hub._replace(status="exited")
    assert told(unit)["messaging-hub"] == "exited"
    with pytest.raises(UnitError, match="messaging-hub is exited: panoptes-unit repair$"):
        wholeness._services(wholeness.Seen(unit.settings))


def test_unhealthy_service_is_one_to_read_the_log_of(unit):
    hub = unit.engine.running["messaging-hub"]
    unit.engine.running["messaging-hub"] = hub._replace(health="unhealthy")
    with pytest.raises(UnitError, match="messaging-hub is unhealthy: docker logs messaging-hub"):
        wholeness._services(wholeness.Seen(unit.settings))


def test_before_the_services_are_laid_out_none_is_missing(tmp_path, monkeypatch):
    blank = FakeUnit(tmp_path / "blank")
    (tmp_path / "blank" / "compose.yaml").unlink()
    monkeypatch.setattr(wholeness, "Engine", lambda settings: blank.engine)
    assert status(blank.settings)["services"] == []
