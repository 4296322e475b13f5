"""The engine's own store, read where it lies: whatever bit of it is spoiled is found and named."""

from __future__ import annotations

import errno
import os
import random

import pytest
from fake_images import FakeImage, crc64, layer_files, sha256

from panoptes_unit.health import stored_layers
from panoptes_unit.health.stored_layers import LayerStore

ODD = {
    "odd/name with ü": b"x" * 1000,
    "odd/link": ("symlink", "/etc/passwd"),
    "odd/again": ("hardlink", "odd/name with ü"),
    "odd/.wh.taken away": b"",
    "odd/.wh..wh..opq": b"",
}


@pytest.fixture(scope="module")
def image():
    return FakeImage([layer_files(1), layer_files(2), {**layer_files(3), **ODD}])


@pytest.fixture
def places(image, tmp_path):
    return image.store(tmp_path)


def found(image, root):
    return list(LayerStore(root).damages(image.layers, lambda layer, count: None))


def test_whole_image_has_nothing_wrong_and_every_byte_is_read(image, places, tmp_path):
    read: dict[str, int] = {}

    def add(layer, count):
        read[layer] = read.get(layer, 0) + count

    assert LayerStore(tmp_path).is_there()
    assert list(LayerStore(tmp_path).damages(image.layers, add)) == []
    for layer, files in zip(image.layers, image.files):
        assert read[layer] == sum(len(content) for content in files.values() if isinstance(content, bytes))


@pytest.mark.parametrize("seed", range(30))
def test_one_flipped_bit_in_a_file_is_found_and_named(image, places, tmp_path, seed):
    chance = random.Random(seed)
    number = chance.randrange(3)
    name, content = chance.choice([(name, content) for name, content in image.files[number].items()
                                   if isinstance(content, bytes) and content])  # fmt: skip
    spoiled = bytearray(content)
    bit = chance.choice([0, 8 * len(content) - 1, chance.randrange(8 * len(content))])
    spoiled[bit // 8] ^= 1 << bit % 8
    (places[number] / name).write_bytes(spoiled)
    (damage,) = found(image, tmp_path)
    assert (damage.layer, damage.file, damage.problem) == (image.layers[number], name, "its content has changed")


@pytest.mark.parametrize("seed", range(40))
def test_one_flipped_bit_in_what_the_engine_knows_of_a_layer_is_found(image, places, tmp_path, seed):
    chance = random.Random(seed)
    folders = sorted((tmp_path / "image/overlay2/layerdb/sha256").iterdir())
    file = chance.choice(folders) / chance.choice(["diff", "cache-id", "tar-split.json.gz"])
    spoiled = bytearray(file.read_bytes())
    # Bytes 4 to 9 of gzip's header are a time and where it was made: nothing depends on them.
    at = chance.choice([place for place in range(len(spoiled)) if file.suffix != ".gz" or not 4 <= place < 10])
    spoiled[at] ^= 1 << chance.randrange(8)
    file.write_bytes(spoiled)
    damages = found(image, tmp_path)
    layer = image.layers[[(folder / "tar-split.json.gz") for folder in _chain(image, tmp_path)].index(
        file.parent / "tar-split.json.gz")]  # fmt: skip
    assert damages and {damage.layer for damage in damages} == {layer}


def _chain(image, root):
    chain = ""
    for layer in image.layers:
        chain = sha256(f"{chain} {layer}".encode()) if chain else layer
        yield root / "image/overlay2/layerdb/sha256" / chain[7:]


LOST = {
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "it has 69999 bytes, not 70000"),
    "empty, as after a power cut": (lambda path: path.write_bytes(b""), "it has 0 bytes, not 70000"),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"x"), "it has 70001 bytes, not 70000"),
    "gone": (lambda path: path.unlink(), "it cannot be read: No such file or directory"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "it cannot be read: it is no regular file"),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "it cannot be read: it is no regular file"),
    "a link": (
        lambda path: (path.rename(path.parent / "away"), path.symlink_to("away")),
        "it cannot be read: Too many levels of symbolic links",
    ),
}


@pytest.mark.parametrize("kind", LOST)
def test_file_that_is_something_else_is_named_and_the_others_are_still_looked_at(image, places, tmp_path, kind):
    act, problem = LOST[kind]
    act(places[0] / "usr/lib/part1/file5")
    (places[2] / "usr/lib/part3/file1").write_bytes(b"\0\0")
    assert [(damage.file, damage.problem) for damage in found(image, tmp_path)] == [
        ("usr/lib/part1/file5", problem),
        ("usr/lib/part3/file1", "it has 2 bytes, not 1"),
    ]


@pytest.mark.parametrize("name", ["odd/link", "odd/again", "odd/taken away", "usr/lib/part3/file0"])
def test_link_or_empty_file_that_is_gone_is_named(image, places, tmp_path, name):
    (places[2] / name).unlink()
    (damage,) = found(image, tmp_path)
    listed = "odd/.wh.taken away" if name == "odd/taken away" else name
    assert (damage.layer, damage.file, damage.problem) == (image.layers[2], listed, "it is gone")


def test_folder_that_is_gone_is_named_with_all_that_was_in_it(image, places, tmp_path):
    (places[1] / "usr/lib/part2").rename(tmp_path / "lost+found")
    assert {damage.file for damage in found(image, tmp_path)} == {"usr/lib/part2/", *image.files[1]}


def test_layer_whose_folder_is_gone_is_named(image, places, tmp_path):
    places[1].rename(tmp_path / "lost+found")
    (damage,) = found(image, tmp_path)
    assert (damage.layer, damage.file) == (image.layers[1], "")
    assert "No such file" in damage.problem


def test_error_of_the_disk_is_the_files_and_a_missing_right_is_nobodys_damage(image, places, tmp_path, monkeypatch):
    def fails_with(number):
        def fail(file):
            raise OSError(number, os.strerror(number), "x")

        monkeypatch.setattr(stored_layers, "_forget", fail)

    fails_with(errno.EIO)
    assert {damage.problem for damage in found(image, tmp_path)} == {"it cannot be read: Input/output error"}
    fails_with(errno.EACCES)
    with pytest.raises(PermissionError):
        found(image, tmp_path)


def test_link_on_the_way_to_a_file_leads_nowhere_but_into_the_layer(tmp_path):
    """A tar may name files below a folder that it has made a link: they are where it leads with the layer as root."""
    outside = tmp_path / "outside"
    outside.mkdir()
    files = {
        "real/deep/file": b"first",
        "relative": ("symlink", "real/../real/deep"),
        "absolute": ("symlink", "/real/deep"),
        "high": ("symlink", "../../../real/deep"),
        "out": ("symlink", str(outside)),
        "round": ("symlink", "round"),
        "relative/a": b"aa",
        "absolute/b": b"bbb",
        "high/c": b"cccc",
        "out/d": b"ddddd",
    }
    image = FakeImage([files])
    (place,) = image.store(tmp_path / "docker")
    inside = place / outside.relative_to("/")
    for path in (place / "real/deep/c", place / "real/deep/b"):
        path.write_bytes({"b": b"bbb", "c": b"cccc"}[path.name])
    inside.mkdir(parents=True, exist_ok=True)
    (inside / "d").write_bytes(b"ddddd")
    assert found(image, tmp_path / "docker") == []
    (inside / "d").unlink()
    (outside / "d").write_bytes(b"ddddd")  # the same content, where root must not look
    assert [damage.file for damage in found(image, tmp_path / "docker")] == ["out/d"]


def test_checksum_is_the_one_that_go_computes():
    """The check value of CRC-64/GO-ISO, and any content in any pieces against the slow way."""
    start = stored_layers._START
    assert stored_layers._checksum(start, b"123456789") ^ start == crc64(b"123456789") == 0xB90956C775A41001
    chance = random.Random(0)
    for size in [*range(1, 140), 1000, 4096, 4097]:
        content = chance.randbytes(size)
        cut = chance.randrange(size)
        state = stored_layers._checksum(stored_layers._checksum(start, content[:cut]), content[cut:])
        assert state ^ start == crc64(content), size
