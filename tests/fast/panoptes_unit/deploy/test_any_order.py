"""Verbs, power cuts, signals, losses and edits in any order, on a fake engine: what always holds of a unit afterwards.

PANOPTES_SEQUENCES says how many sequences are tried (`make test-sequences`: 10,000).
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from fake_unit import FakeUnit, PowerCut, digest_of, image_of
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from panoptes_unit import errors
from panoptes_unit.deploy import run_lock, verdicts
from panoptes_unit.deploy.journal import POINTS, Journal
from panoptes_unit.deploy.release import read_release
from panoptes_unit.errors import UnitError

SEQUENCES = int(os.environ.get("PANOPTES_SEQUENCES", "200"))
GOOD = ("works", "rewrites")
BEHAVIOURS = (*GOOD, "works", "exits", "unhealthy", "refused", "spoils", "absent-service")
VERBS = ("deploy", "update", "rollback", "recover")
# A release that comes before the run; none where it is empty.
OFFERED = st.sampled_from(("", *BEHAVIOURS))


class Unit(RuleBasedStateMachine):
    """A unit in the field."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="panoptes-any-order-"))
        self.unit = FakeUnit(self.folder / "unit")
        self.names = (f"release {number}" for number in itertools.count())
        self.texts: set[str] = {"by a person\n"}
        self.connected = True
        self.signalled = False
        self.unit.engine.before_pull = self._pulled

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def _pulled(self) -> None:
        if not self.connected:
            raise UnitError("no route")

    @initialize()
    def first_release(self) -> None:
        assert self.unit.deploy(next(self.names)).verdict == verdicts.UPDATED

    # -- the world ---------------------------------------------------------------------------------------------

    @rule(connected=st.booleans())
    def the_network_comes_or_goes(self, connected: bool) -> None:
        self.connected = connected

    @rule(service=st.sampled_from(["config-server", "messaging-hub", ""]))
    def containers_are_removed(self, service: str) -> None:
        for name in [service] if service else list(self.unit.engine.running):
            self.unit.engine.running.pop(name, None)

    @rule(taken=st.booleans())
    def a_stranger_takes_the_port_or_leaves_it(self, taken: bool) -> None:
        self.unit.engine.before_up = self._refused if taken else self._free

    def _free(self) -> None:
        pass

    def _refused(self) -> None:
        raise UnitError("docker compose up: error: address already in use")

    @rule()
    def images_that_nothing_uses_are_pruned(self) -> None:
        used = {one.image for one in self.unit.engine.running.values()}
        self.unit.engine.images = {name: value for name, value in self.unit.engine.images.items() if name in used}

    @rule()
    def everything_is_pruned(self) -> None:
        self.unit.engine.images.clear()
        self.unit.engine.running.clear()

    @rule(damage=st.sampled_from([None, b"", b"\xff\x00", b"PANOPTES_UTILS_IMAGE="]))
    def release_file_is_damaged(self, damage: bytes | None) -> None:
        path = Path(self.unit.settings.release_file)
        path.unlink(missing_ok=True)
        if damage is not None:
            path.write_bytes(damage)

    @rule(number=st.integers(0, 10**9))
    def a_person_edits(self, number: int) -> None:
        text = f"edit {number}\n"
        (self.unit.configuration / "pocs_local.yaml").write_text(text)
        self.texts = {text}

    @rule(state=st.sampled_from(["observing", "parked", None]))
    def the_observatory_does_something(self, state: str | None) -> None:
        self.unit.observing(self.folder, state)

    # -- runs --------------------------------------------------------------------------------------------------

    def _offer(self, behaviour: str) -> None:
        if behaviour:
            self.unit.engine.behaviours[self.unit.registry.offer(next(self.names))] = behaviour

    def _run(self, verb: str, force: bool = False) -> None:
        # Where an earlier run was cut short, this one first goes back to what ran before that.
        working = "" if self.unit.store.journal_path.exists() else self._works()
        self._true(self.unit.run(verb, force=force), working)

    def _works(self) -> str:
        """The release that is wholly up and works; empty where none is."""
        images = {one.image for one in self.unit.engine.running.values()}
        up = len(self.unit.engine.running) == 2 and all(
            one.status == "running" and one.health == "healthy" for one in self.unit.engine.running.values()
        )
        return images.pop() if up and len(images) == 1 else ""

    def _true(self, outcome, working: str) -> None:
        """The exit code says what is so."""
        ending = verdicts.VERDICTS.get(outcome.verdict)
        works = self._works()
        if ending is None:  # an interrupted update is not undone yet, or a signal came while it was
            assert self.unit.store.journal_path.exists() or self.signalled
            return
        if outcome.verdict in (verdicts.UPDATED, verdicts.RESTORED, verdicts.ROLLED_BACK):
            self.unit.whole()
        if outcome.verdict == verdicts.UNCHANGED and outcome.verb != "recover":
            self.unit.whole()
        if outcome.verdict in (verdicts.DEFERRED, verdicts.FAILED, verdicts.HELD) and working:
            assert works == working, "services of a working release were stopped"
        if outcome.verdict == verdicts.BROKEN:
            assert outcome.exit_code == errors.BROKEN

    @rule(offered=OFFERED, verb=st.sampled_from(VERBS), force=st.booleans())
    def somebody_runs(self, offered: str, verb: str, force: bool) -> None:
        self._offer(offered)
        self._run(verb, force)

    @rule(
        offered=OFFERED,
        verb=st.sampled_from(VERBS),
        point=st.sampled_from(POINTS),
        number=st.none() | st.integers(0, 10**9),
        boots=st.booleans(),
    )
    def the_power_fails(self, offered: str, verb: str, point: str, number: int | None, boots: bool) -> None:
        """Also while somebody edits; and where the boot does not recover, whatever runs next does."""
        self._offer(offered)
        transaction = self.unit.transaction(verb, dies_at=point)
        with suppress(PowerCut, UnitError):
            (transaction.deploy if verb == "update" else getattr(transaction, verb))()
        if number is not None:
            self.a_person_edits(number)
        # Docker starts again what ran; then the boot unit recovers.
        for name, one in self.unit.engine.running.items():
            if one.status == "exited" and one.exit_code == 0:
                self.unit.engine.running[name] = one._replace(status="running")
        if boots:
            self._run("recover")

    @rule(
        offered=OFFERED,
        verb=st.sampled_from(VERBS),
        point=st.sampled_from(POINTS),
        number=st.sampled_from([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]),
        times=st.integers(1, 2),
    )
    def a_signal_comes(self, offered: str, verb: str, point: str, number: int, times: int) -> None:
        self._offer(offered)
        mark = Journal.mark

        def marking(journal, step, name, **facts):
            mark(journal, step, name, **facts)
            if f"{step}:{name}" == point:
                for _ in range(times):
                    os.kill(os.getpid(), number)

        Journal.mark = marking
        self.signalled = True
        try:
            self._run(verb)
        finally:
            Journal.mark = mark
            self.signalled = False

    @precondition(lambda self: self.connected)
    @rule()
    def a_good_release_always_gets_through(self) -> None:
        unit = self.unit
        unit.settings.observing.source = "none"
        unit.engine.before_up = self._free
        name = next(self.names)
        outcome = unit.deploy(name)
        assert outcome.verdict == verdicts.UPDATED, outcome
        assert unit.whole() == image_of(name)

    # -- what always holds -------------------------------------------------------------------------------------

    @invariant()
    def no_release_in_quarantine_is_in_force(self) -> None:
        state = self.unit.state
        if state.current and not self.unit.store.journal_path.exists():
            assert state.current["image"].partition("@")[2] not in state.quarantine

    @invariant()
    def only_what_does_not_work_is_in_quarantine(self) -> None:
        by_hand_or_cut = ("rolled back by", "updates to it were interrupted")
        working = {image.partition("@")[2] for image, one in self.unit.engine.behaviours.items() if one in GOOD}
        for digest, entry in self.unit.state.quarantine.items():
            assert digest not in working or any(text in entry["reason"] for text in by_hand_or_cut), entry

    @invariant()
    def a_rollback_goes_to_another_release(self) -> None:
        state = self.unit.state
        if state.current and state.previous and not self.unit.store.journal_path.exists():
            assert state.current["image"] != state.previous["image"]

    @invariant()
    def containers_are_of_one_release(self) -> None:
        if not self.unit.store.journal_path.exists():
            assert len({one.image for one in self.unit.engine.running.values()}) <= 1

    @invariant()
    def no_text_of_a_person_is_lost(self) -> None:
        store = self.unit.store
        places = [self.unit.configuration, store.saved_files]
        places += [*store.folder.glob("left-by-*"), *store.folder.glob("before-*")]
        texts = {path.read_text() for place in places for path in place.rglob("pocs_local.yaml*")}
        assert self.texts <= texts

    @invariant()
    def what_a_bad_release_wrote_does_not_stay(self) -> None:
        if not self.unit.store.journal_path.exists():
            assert (self.unit.configuration / "pocs_local.yaml").read_text() != "spoiled\n"
            assert not (self.unit.configuration / "new").exists()

    @invariant()
    def release_file_names_one_release_or_the_state_does(self) -> None:
        try:
            named = read_release(Path(self.unit.settings.release_file))
        except UnitError:
            named = None
        assert named is None or named.digest in {digest_of(name) for name in self.unit.registry.indexes.values()}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Nothing here is about the disk."""
    for name in ("fsync", "sync"):
        monkeypatch.setattr(os, name, lambda *_: None)
    monkeypatch.setattr(run_lock, "PATIENCE_S", 0.0)


@pytest.mark.slow
def test_in_any_order():
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Unit,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=12,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
