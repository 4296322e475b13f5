"""A release comes through a folder that goes on where a download ended, and a repair takes it from there offline."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_unit import NAME, PLATFORM, FakeEngine, FakeUnit, PowerCut
from moody_registry import MoodyRegistry, digest_of, noise

from panoptes_unit.deploy import staging, verdicts
from panoptes_unit.deploy.journal import POINTS
from panoptes_unit.deploy.release import read_release
from panoptes_unit.deploy.state import Store
from panoptes_unit.errors import UnitError
from panoptes_unit.health import repair as repairing
from panoptes_unit.health.repair import repair
from panoptes_unit.health.wholeness import Seen, findings
from panoptes_unit.sources.blob_store import opened
from panoptes_unit.sources.registry import Registry

SIZE = 50_000
BASE = noise(0, SIZE)


class PullingEngine(FakeEngine):
    """Takes images as Docker Engine does: over HTTP, by digest, each layer once, whatever the name."""

    def __init__(self, settings, at: dict[str, str]) -> None:
        super().__init__(settings)
        self.at = at  # name of a registry -> where it is
        self.layers: set[str] = set()
        self.downloads: list[tuple[str, int]] = []

    def pull(self, image: str, credentials, progress) -> int:
        self._answer()
        self.before_pull()
        name, _, digest = image.partition("@")
        host, _, repository = name.partition("/")
        registry = Registry(self.at.get(host, host), timeout=5)
        found, count = registry.image(repository, digest), 0
        for layer in found.layers:
            if layer.digest in self.layers:
                continue
            body = b"".join(registry.stream(repository, layer.digest, layer.size)[1])
            if digest_of(body) != layer.digest:
                raise UnitError(f"pulling {image}: filesystem layer verification failed")
            count += len(body)
            self.layers.add(layer.digest)
        self.images[image] = PLATFORM
        self.downloads.append((image, count))
        return count

    def remove_image(self, name: str) -> None:
        super().remove_image(name)
        if not self.images:
            self.layers.clear()


class Unit(FakeUnit):
    def __init__(self, folder: Path, moody: MoodyRegistry, **more) -> None:
        super().__init__(folder)
        self.moody = moody
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.settings.bundle_port = free.getsockname()[1]
        for name, value in more.items():
            setattr(self.settings, name, value)
        self.engine = PullingEngine(self.settings, {"registry.example.org": moody.host})

    def transaction(self, *arguments, **options):
        made = super().transaction(*arguments, **options)
        made.run.registry_at = lambda settings, host: Registry(self.engine.at.get(host, host), timeout=5)
        return made

    def offer(self, name: str):
        """A release over a base that all share; its image."""
        return self.moody.offer(name, [BASE, noise(sum(name.encode()), SIZE), noise(7 + sum(name.encode()), SIZE)])

    def mend(self, dies_at: str = ""):
        """One repair without a service of the machine."""
        transaction = self.transaction("repair", dies_at=dies_at)
        try:
            return repair(transaction.run)
        except UnitError:
            return transaction.outcome

    def lose_image(self) -> None:
        """As somebody who prunes does."""
        self.engine.images.clear()
        self.engine.layers.clear()
        self.engine.running.clear()

    def in_copy(self) -> set[str]:
        folder = staging.path(self.settings) / "blobs" / "sha256"
        return {f"sha256:{path.name}" for path in folder.iterdir()} if folder.exists() else set()


@pytest.fixture
def moody():
    with MoodyRegistry() as made:
        yield made


@pytest.fixture
def kept(tmp_path, moody):
    """A unit that keeps a local copy, on release `old`."""
    unit = Unit(tmp_path / "unit", moody, keep_copy="auto")
    unit.offer("old")
    assert unit.run().verdict == verdicts.UPDATED
    return unit


@pytest.fixture
def staged(tmp_path, moody):
    """A unit that stages all and keeps nothing, on release `old`."""
    unit = Unit(tmp_path / "unit", moody, staging="always")
    unit.offer("old")
    assert unit.run().verdict == verdicts.UPDATED
    return unit


def blobs(image) -> set[str]:
    return {image.digest, image.config.digest, *(layer.digest for layer in image.layers)}


class TestLocalCopy:
    def test_is_of_the_release_that_runs_and_is_written_once(self, kept):
        new = kept.offer("new")
        kept.moody.sent = 0
        outcome = kept.run("update")
        assert outcome.verdict == verdicts.UPDATED
        assert kept.in_copy() == blobs(new)
        # The base is there from the release before: neither fetched for the engine nor for the copy.
        assert kept.moody.sent == outcome.bytes == 2 * SIZE + new.config.size
        assert kept.whole() == f"{NAME}@{new.digest}"
        assert not any(name.startswith("127.") for name in kept.engine.images)

    def test_second_run_asks_for_nothing_and_writes_nothing(self, kept):
        kept.moody.sent, place = 0, staging.path(kept.settings)
        before = {path: path.stat() for path in place.rglob("*")}
        assert kept.run("update").verdict == verdicts.UNCHANGED
        assert kept.moody.sent == 0
        assert {path: path.stat() for path in place.rglob("*")}.keys() == before.keys()
        assert all(path.stat().st_mtime_ns == info.st_mtime_ns for path, info in before.items())

    def test_repair_needs_no_network(self, kept):
        kept.moody.is_up, kept.moody.sent = False, 0
        kept.lose_image()
        outcome = kept.mend()
        assert (outcome.verdict, outcome.bytes) == (verdicts.HEALED, 0)
        assert kept.whole().startswith(f"{staging.loopback_name(kept.settings)}@")
        assert kept.moody.sent == 0

    def test_repair_keeps_the_name_where_the_registry_answers_and_downloads_nothing(self, kept):
        name = kept.whole()
        kept.moody.sent = 0
        kept.lose_image()
        assert kept.mend().verdict == verdicts.HEALED
        assert kept.whole() == name
        assert kept.moody.sent == 0
        assert list(kept.engine.images) == [name]

    @pytest.mark.parametrize("after", ["repair-fetch:before", "taken", "named", "repair-fetch:after"])
    def test_repair_offline_that_a_power_cut_ends_goes_on(self, kept, monkeypatch, after):
        kept.moody.is_up, kept.moody.sent = False, 0
        kept.lose_image()

        def cut(*_):
            raise PowerCut(after)

        with monkeypatch.context() as patch, suppress(PowerCut):
            if after == "taken":
                patch.setattr(repairing, "write_release", cut)
            if after == "named":
                patch.setattr(Store, "save", cut)
            kept.mend(dies_at=after)
        assert kept.mend().verdict in (verdicts.HEALED, verdicts.UNCHANGED)
        kept.whole()
        assert kept.moody.sent == 0

    def test_release_that_came_from_this_unit_is_fetched_again_where_the_unit_finds_its_releases(self, kept):
        name = kept.whole()
        kept.moody.is_up = False
        kept.lose_image()
        assert kept.mend().verdict == verdicts.HEALED
        kept.moody.is_up, kept.settings.keep_copy = True, ""
        assert kept.run("update").verdict == verdicts.UNCHANGED
        assert kept.in_copy() == set()
        kept.lose_image()
        assert kept.mend().verdict == verdicts.HEALED
        assert kept.whole() == name

    def test_update_after_a_repair_offline_goes_on_as_ever(self, kept):
        kept.moody.is_up = False
        kept.lose_image()
        assert kept.mend().verdict == verdicts.HEALED
        kept.moody.is_up = True
        assert kept.run("update").verdict == verdicts.UNCHANGED
        new = kept.offer("new")
        assert kept.run("update").verdict == verdicts.UPDATED
        assert kept.whole() == f"{NAME}@{new.digest}"
        assert kept.in_copy() == blobs(new)

    @pytest.mark.parametrize("damage", ["bit", "gone", "cut"])
    def test_damaged_copy_is_not_used_and_is_whole_again_after_the_next_update(self, kept, damage):
        image = kept.offer("old")
        place = staging.path(kept.settings) / "blobs" / "sha256" / image.layers[1].digest[7:]
        content = bytearray(place.read_bytes())
        content[100] ^= 1
        {"bit": lambda: place.write_bytes(content), "gone": place.unlink,
         "cut": lambda: place.write_bytes(content[:100])}[damage]()  # fmt: skip
        kept.lose_image()
        kept.moody.sent = 0
        outcome = kept.mend()
        assert outcome.verdict == verdicts.HEALED
        assert outcome.bytes == kept.moody.sent == 3 * SIZE
        kept.moody.sent = 0
        assert kept.run("update").verdict == verdicts.UNCHANGED
        assert kept.in_copy() == blobs(image)
        assert kept.moody.sent == SIZE, "only what was damaged is fetched"

    def test_copy_gives_way_to_an_update(self, kept):
        copy = kept.in_copy()
        new = kept.offer("new")
        # Enough without the copy, and not with it: what it holds is 150 kB.
        needed = 2 * SIZE * 3.5 + 1000
        kept.engine.free_bytes = lambda: needed - (1 if copy <= kept.in_copy() else -1)
        assert kept.run("update").verdict == verdicts.UPDATED
        assert kept.whole() == f"{NAME}@{new.digest}"

    def test_no_room_for_a_copy_is_told_and_is_no_failure(self, tmp_path, moody, monkeypatch):
        unit = Unit(tmp_path / "unit", moody, keep_copy="auto")
        unit.offer("old")
        monkeypatch.setattr(staging.shutil, "disk_usage", lambda path: SimpleNamespace(free=3 * SIZE))
        outcome = unit.run()
        assert (outcome.verdict, outcome.sources) == (verdicts.UPDATED, {})
        assert unit.in_copy() == {unit.state.current_release.digest}
        assert staging.told(unit.settings, unit.state.current_release).startswith("off: ")
        moody.sent = 0
        assert unit.run("update").verdict == verdicts.UNCHANGED
        assert moody.sent == 0

    def test_doctor_tells_of_it(self, kept):
        def told():
            kept.engine.alive = True
            found = {one.name: one for one in findings(Seen(kept.settings, kept.engine), "updates")}
            return found["copy"]

        assert told().text.endswith(f"in {staging.path(kept.settings)}") and not told().problem
        kept.settings.keep_copy = ""
        assert "release_keep_copy is not set" in told().text

    def test_copy_of_a_release_from_a_bundle_is_of_the_bundle(self, kept, tmp_path):
        new = kept.offer("new")
        other = Unit(tmp_path / "other", kept.moody, keep_copy="auto")
        assert other.run().verdict == verdicts.UPDATED
        kept.moody.is_up = False
        transaction = kept.transaction("deploy")
        assert transaction.deploy(bundle_path=str(staging.path(other.settings))).verdict == verdicts.UPDATED
        assert kept.in_copy() == blobs(new)

    def test_folder_is_cleared_where_no_copy_is_wanted_any_more(self, kept):
        kept.settings.keep_copy = ""
        assert kept.run("update").verdict == verdicts.UNCHANGED
        assert kept.in_copy() == set()


class TestStaging:
    def test_nothing_stays_after_the_commit_and_the_history_tells_where_it_came_from(self, staged):
        new = staged.offer("new")
        staged.moody.moods[new.layers[1].digest] = [20_000]
        outcome = staged.run("update")
        assert outcome.verdict == verdicts.UPDATED
        assert staged.in_copy() == set()
        line = staged.store.history()[-1]
        assert line["sources"] == {f"{staged.moody.host}/panoptes-utils": 2 * SIZE + new.config.size}
        assert (line["resumed"], line["bytes"]) == (1, 2 * SIZE + new.config.size)

    def test_failed_download_leaves_the_unit_whole_and_the_next_goes_on(self, staged):
        new = staged.offer("new")
        staged.moody.moods[new.layers[2].digest] = [30_000, *["503"] * 30]
        old = staged.whole()
        outcome = staged.run("update")
        assert outcome.verdict == verdicts.FAILED and "503" in outcome.reason
        assert staged.whole() == old
        staged.moody.moods.clear()
        staged.moody.sent = 0
        assert staged.run("update").verdict == verdicts.UPDATED
        assert staged.moody.sent == 20_000

    def test_tag_that_moves_wastes_nothing_that_the_new_release_has_too(self, staged):
        new = staged.offer("new")
        staged.moody.moods[new.layers[2].digest] = ["503"] * 30
        assert staged.run("update").verdict == verdicts.FAILED
        shared = staged.moody.blobs[new.layers[1].digest]
        staged.moody.offer("newer", [BASE, shared, noise(99, SIZE)])
        staged.moody.sent = 0
        outcome = staged.run("update")
        assert outcome.verdict == verdicts.UPDATED
        assert SIZE < staged.moody.sent < SIZE + 500

    @pytest.mark.parametrize("point", POINTS)
    def test_power_cut_at_any_step_wastes_nothing(self, staged, point):
        staged.settings.keep_copy = "auto"
        new = staged.offer("new")
        staged.moody.sent = 0
        with suppress(PowerCut):
            staged.run("update", dies_at=point)
        assert staged.run("update").verdict in (verdicts.UPDATED, verdicts.UNCHANGED)
        assert staged.whole() == f"{NAME}@{new.digest}"
        assert staged.in_copy() == blobs(new)
        assert staged.moody.sent == 3 * SIZE + new.config.size, "the base for the copy, and all else once"

    def test_layer_that_the_engine_has_no_more_is_fetched_after_all(self, staged):
        new = staged.offer("new")
        staged.engine.layers.clear()
        assert staged.run("update").verdict == verdicts.UPDATED
        assert staged.whole() == f"{NAME}@{new.digest}"

    def test_folder_that_cannot_be_used_is_told_and_the_engine_downloads(self, staged):
        place = staging.path(staged.settings)
        place.chmod(0o777)
        new = staged.offer("new")
        assert staged.run("update").verdict == verdicts.UPDATED
        assert staged.engine.downloads[-1] == (f"{NAME}@{new.digest}", 2 * SIZE)

    def test_release_of_a_unit_that_sets_nothing_is_left_to_the_engine(self, tmp_path, moody):
        unit = Unit(tmp_path / "unit", moody)
        unit.offer("old")
        assert unit.run().verdict == verdicts.UPDATED
        assert not staging.path(unit.settings).exists()
        unit.settings.rate_kbps = 10_000_000
        unit.offer("new")
        assert unit.run("update").sources, "only this way has a rate"

    def test_two_images_are_not_mixed_up(self, kept):
        """While the next release is staged, the copy of the running one is still there and sound."""
        new, old = kept.offer("new"), kept.state.current_release
        kept.moody.moods[new.layers[2].digest] = ["503"] * 30
        assert kept.run("update").verdict == verdicts.FAILED
        with opened(staging.path(kept.settings)) as store:
            assert all(store.is_sound(layer) for layer in store.image(old.digest).layers)
        kept.moody.is_up = False
        kept.lose_image()
        assert kept.mend().verdict == verdicts.HEALED
        assert read_release(Path(kept.settings.release_file)).digest == old.digest
