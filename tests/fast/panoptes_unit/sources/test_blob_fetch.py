"""A release arrives whole whatever the line does, and what has arrived is not asked for again."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moody_registry import MoodyRegistry, digest_of, noise

from panoptes_unit.errors import RegistryError, UnitError
from panoptes_unit.sources.blob_fetch import Fetch, Pace, Source
from panoptes_unit.sources.blob_store import BlobStore, StoreError, blobs_of, names_of, opened
from panoptes_unit.sources.manifests import Layer
from panoptes_unit.sources.registry import Registry

SIZE = 40_000
_folders = itertools.count()


@pytest.fixture
def registry():
    with MoodyRegistry() as made:
        yield made


@pytest.fixture
def image(registry):
    return registry.offer("new", [noise(seed, SIZE) for seed in range(3)])


@pytest.fixture
def store(tmp_path):
    with opened(tmp_path / "copy") as made:
        yield made


def fetch(store: BlobStore, *registries: MoodyRegistry, waits=(0.0, 0.0, 0.0), **more) -> Fetch:
    sources = [Source(Registry(one.host, timeout=5, waits=(0.0,)), "a/b") for one in registries]
    return Fetch(store, sources, waits, **more)


def partial(store: BlobStore, blob: Layer) -> Path:
    return store.path / "blobs" / "sha256" / f"{blob.digest[7:]}.partial"


def assert_whole(store: BlobStore, image) -> None:
    assert all(store.is_sound(blob) for blob in blobs_of(image))
    names = {path.name for path in (store.path / "blobs" / "sha256").iterdir()}
    assert names == {blob.digest[7:] for blob in blobs_of(image)}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.tuples(st.integers(0, 2), st.integers(0, SIZE)), min_size=1, max_size=3), ranges=st.booleans())
def test_line_may_break_at_any_byte_of_any_layer(registry, image, tmp_path, cuts, ranges):
    registry.knows_ranges, registry.sent = ranges, 0
    registry.moods = {layer.digest: [at for number, at in cuts if number == which]
                      for which, layer in enumerate(image.layers)}  # fmt: skip
    with opened(tmp_path / f"copy{next(_folders)}") as store:
        made = fetch(store, registry)
        made.bring(blobs_of(image))
        assert_whole(store, image)
        if ranges:
            assert made.tally.bytes == image.size, "not one byte came twice"
        assert made.tally.here == made.tally.total


# What the server does to the answer after the first half of a layer has come.
FAULTS = ["wrong range", "longer", "shorter", "other", "packed", "no range", "503", "429", "416"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_server_that_knows_no_better_is_got_along_with(registry, image, store, fault, which):
    registry.moods[image.layers[which].digest] = [SIZE // 2, fault]
    made = fetch(store, registry)
    made.bring(blobs_of(image))
    assert_whole(store, image)
    assert made.tally.bytes <= image.size + SIZE
    asked = [asked for path, asked in registry.asked if path.endswith(image.layers[which].digest)]
    assert asked[:2] == ["", f"bytes={SIZE // 2}-"]


@pytest.mark.parametrize("fault", ["other", "longer", "packed", "503"])
def test_what_stays_wrong_is_one_plain_reason_and_leaves_nothing_wrong(registry, image, store, fault):
    bad = image.layers[1]
    registry.moods[bad.digest] = [fault] * 20
    with pytest.raises(RegistryError, match=f"{bad.digest}|503"):
        fetch(store, registry).bring(blobs_of(image))
    assert not store.has(bad)
    assert store.is_sound(image.layers[0])
    registry.moods.clear()
    registry.sent = 0
    fetch(store, registry).bring(blobs_of(image))
    assert_whole(store, image)
    assert registry.sent == 2 * SIZE, "what was whole is not asked for again"


def test_login_that_runs_out_on_the_way_is_made_again(registry, image, store):
    registry.wants_login = True
    registry.moods[image.layers[1].digest] = [1000, "expired"]
    made = fetch(store, registry)
    made.bring(blobs_of(image))
    assert_whole(store, image)
    assert made.tally.bytes == image.size and registry.tokens >= 3


def test_next_source_goes_on_where_the_first_ended(registry, image, store):
    with MoodyRegistry() as first:
        first.offer("new", [registry.blobs[layer.digest] for layer in image.layers])
        first.moods[image.layers[0].digest] = [30_000, *["503"] * 20]
        del first.blobs[image.layers[1].digest]
        made = fetch(store, first, registry)
        made.bring(blobs_of(image))
        assert_whole(store, image)
        assert made.tally.bytes == image.size
        assert made.tally.sources[f"{registry.host}/a/b"] == 10_000 + SIZE


def test_next_run_goes_on_where_this_one_failed(registry, image, store):
    registry.moods[image.layers[1].digest] = [12_345, *["503"] * 20]
    with pytest.raises(RegistryError, match="503"):
        fetch(store, registry).bring(blobs_of(image))
    registry.moods.clear()
    made = fetch(store, registry)
    made.bring(blobs_of(image))
    assert_whole(store, image)
    assert (made.tally.bytes, made.tally.resumed) == (2 * SIZE - 12_345, 1)


KILLED = """
import os, signal, sys
from pathlib import Path
from panoptes_unit.sources.blob_fetch import Fetch, Source
from panoptes_unit.sources.blob_store import opened
from panoptes_unit.sources.manifests import Layer
from panoptes_unit.sources.registry import Registry

def told(tally):
    if tally.bytes >= int(sys.argv[5]):
        os.kill(os.getpid(), signal.SIGKILL)

with opened(Path(sys.argv[1])) as store:
    Fetch(store, [Source(Registry(sys.argv[2]), "a/b")], told=told).bring([Layer(sys.argv[3], int(sys.argv[4]))])
"""


def test_kill_costs_no_more_than_what_was_not_yet_on_the_disk(registry, store):
    blob = registry.offer("large", [noise(9, 3_000_000)]).layers[0]
    words = [sys.executable, "-c", KILLED, str(store.path), registry.host, blob.digest, str(blob.size), "2500000"]
    assert subprocess.run(words).returncode == -9
    made = fetch(store, registry)
    made.bring([blob])
    assert store.is_sound(blob)
    assert made.tally.bytes <= 500_000 + (1 << 20)


@pytest.mark.parametrize("zeros", [1, 4096, 20_000])
def test_zeros_that_a_power_cut_leaves_at_the_end_are_no_part_of_it(registry, image, store, zeros):
    blob = image.layers[0]
    partial(store, blob).write_bytes(registry.blobs[blob.digest][:10_000].rstrip(b"\0") + bytes(zeros))
    made = fetch(store, registry)
    made.bring([blob])
    assert store.is_sound(blob)
    assert made.tally.bytes <= SIZE - 9_990


@pytest.mark.parametrize("left", [b"", b"\0" * SIZE, b"x" * 20_000, b"x" * SIZE, b"x" * (SIZE + 1)], ids=len)
def test_damaged_beginning_is_thrown_away(registry, image, store, left):
    blob = image.layers[0]
    partial(store, blob).write_bytes(left)
    fetch(store, registry).bring([blob])
    assert store.is_sound(blob)


@pytest.mark.parametrize("kind", ["link", "fifo", "second name"])
def test_what_others_put_in_the_place_of_a_beginning_is_not_written_to(registry, image, store, tmp_path, kind):
    blob, theirs = image.layers[0], tmp_path / "theirs"
    theirs.write_bytes(b"theirs")
    place = partial(store, blob)
    {"link": lambda: place.symlink_to(theirs), "fifo": lambda: os.mkfifo(place),
     "second name": lambda: os.link(theirs, place)}[kind]()  # fmt: skip
    fetch(store, registry).bring([blob])
    assert store.is_sound(blob)
    assert theirs.read_bytes() == b"theirs"


def test_damaged_blob_is_found_and_removed(registry, image, store):
    fetch(store, registry).bring(blobs_of(image))
    place = store.path / "blobs" / "sha256" / image.layers[1].digest[7:]
    content = bytearray(place.read_bytes())
    content[SIZE // 2] ^= 1
    place.write_bytes(content)
    assert [store.is_sound(layer) for layer in image.layers] == [True, False, True]
    assert not place.exists()


def test_only_what_a_release_needs_stays(registry, image, store):
    other = registry.offer("other", [noise(0, SIZE), noise(77, SIZE)])
    fetch(store, registry).bring(blobs_of(image))
    partial(store, other.layers[1]).write_bytes(b"begun")
    (store.path / "blobs" / "sha256" / "notes.txt").write_text("by a person")
    store.thin(names_of(other))
    left = {path.name for path in (store.path / "blobs" / "sha256").iterdir()}
    shared = image.layers[0].digest[7:]
    assert left == {shared, f"{other.layers[1].digest[7:]}.partial", "notes.txt"}


def test_folder_that_others_may_write_to_is_refused(tmp_path):
    (tmp_path / "copy").mkdir(mode=0o777)
    (tmp_path / "copy").chmod(0o777)
    with pytest.raises(StoreError, match="can be written by others"), opened(tmp_path / "copy"):
        pass


def test_full_disk_is_told_and_what_has_come_stays(registry, image, store, monkeypatch):
    from panoptes_unit.sources import blob_store

    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(blob_store.Arriving, "sync", full)
    with pytest.raises(UnitError, match="No space left") as caught:
        fetch(store, registry).bring(image.layers)
    assert not isinstance(caught.value, StoreError), "Docker Engine need not try it on the same disk"


def test_rate_is_kept():
    waited: list[float] = []
    pace = Pace(kbps=80, sleep=waited.append)  # 10 kB a second
    for _ in range(20):
        pace.passed(10_000)
    assert 18 <= waited[-1] <= 20, "nothing waited in truth, so that the last wait is that of all"
    assert digest_of(b"")  # no limit, no wait
    Pace(0, sleep=waited.append).passed(10**9)
    assert len(waited) == 20
