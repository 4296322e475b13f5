"""An engine's export, in both forms: whatever is spoiled, cut off, left out or exchanged is found and named."""

from __future__ import annotations

import json
import random
import resource

import pytest
from fake_images import FakeImage, layer_files, sha256, tar_of

from panoptes_unit.errors import UnitError
from panoptes_unit.health import exported_layers
from panoptes_unit.health.exported_layers import damages

FORMS = ["older", "layout", "packed"]


@pytest.fixture(scope="module")
def image():
    """The third layer is the first again, as happens where two steps of a build do the same."""
    return FakeImage([layer_files(1), layer_files(2), layer_files(1), layer_files(3)])


def export_of(image, form):
    return image.older_export() if form == "older" else image.layout_export(packed=form == "packed")


def pieces(content, size=5000):
    return (content[at : at + size] for at in range(0, len(content), size))


def found(image, content, form, ends=None):
    """What is found in an export that the engine ends with an error, or goes on to its end."""

    def stream():
        yield from pieces(content)
        if ends:
            raise UnitError(ends)

    named = image.manifest_digest if form == "packed" else image.id
    return damages(stream(), named, image.layers, lambda name, count: None)


def names_of(image, members):
    return json.loads(members["manifest.json"])[0]["Layers"]


@pytest.mark.parametrize("form", FORMS)
def test_whole_image_has_nothing_wrong_and_every_byte_is_read(image, form):
    members, read = export_of(image, form), []
    content = tar_of(members)
    named = image.manifest_digest if form == "packed" else image.id
    assert damages(pieces(content), named, image.layers, lambda name, count: read.append(count)) == []
    assert sum(read) == sum(len(member) for member in members.values() if isinstance(member, bytes))


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("form", FORMS)
def test_one_flipped_bit_in_a_layer_is_found_and_the_layer_named(image, form, seed):
    members = dict(export_of(image, form))
    chance = random.Random(seed)
    number = chance.randrange(4)
    name = names_of(image, members)[number]
    if isinstance(members[name], tuple):  # the link to the first layer
        name = names_of(image, members)[0]
    spoiled = bytearray(members[name])
    bit = chance.choice([0, 8 * len(spoiled) - 1, chance.randrange(8 * len(spoiled))])
    spoiled[bit // 8] ^= 1 << bit % 8
    if form == "packed" and 4 <= bit // 8 < 10:  # a time, on which nothing depends
        return
    members[name] = bytes(spoiled)
    both = {image.layers[0]} if number in (0, 2) else {image.layers[number]}
    assert {damage.layer for damage in found(image, tar_of(members), form)} == both


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("form", FORMS)
def test_one_flipped_bit_anywhere_is_found_unless_nothing_depends_on_it(image, form, seed):
    members = export_of(image, form)
    content = bytearray(tar_of(members))
    at = random.Random(seed).randrange(len(content))
    content[at] ^= 1 << seed % 8
    if not found(image, bytes(content), form):
        assert _is_spare(members, bytes(content), image, form)


def _is_spare(members, content, image, form):
    """Is the tar with the flipped bit the same image? What is not of the image may differ, and padding."""
    import io
    import tarfile

    of_image = {name for name, member in members.items() if member in (*image.tars, image.config)}
    of_image |= set(names_of(image, members)) if form != "packed" else set()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        there = {entry.name: archive.extractfile(entry).read() for entry in archive if entry.isreg()}
    return all(there.get(name) == members[name] for name in of_image if isinstance(members[name], bytes))


@pytest.mark.parametrize("form", FORMS)
def test_flipped_bit_of_the_configuration_is_found(image, form):
    members = dict(export_of(image, form))
    name = next(name for name, member in members.items() if member == image.config)
    members[name] = image.config.replace(b"amd64", b"amd65")
    (damage,) = found(image, tar_of(members), form)
    assert (damage.layer, damage.problem[:29]) == ("", "the image's configuration: it")


@pytest.mark.parametrize("share", [0.02, 0.2, 0.4, 0.6, 0.8, 0.97, 0.99999])
@pytest.mark.parametrize("form", FORMS)
def test_export_that_is_cut_off_is_a_finding(image, form, share):
    members = export_of(image, form)
    content = tar_of(members)
    end = content.rindex(members["manifest.json"]) + len(members["manifest.json"])
    assert found(image, content[: int(end * share)], form)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_error_of_the_engine_names_the_layer_that_was_read(image, number):
    members = export_of(image, "layout")
    content = tar_of(members)
    within = content.index(image.tars[number]) + len(image.tars[number]) // 2
    (damage,) = found(image, content[:within], "layout", ends="Docker Engine: exporting x: unexpected EOF")
    assert damage.layer == image.layers[number]
    assert "unexpected EOF" in damage.problem


def test_error_that_the_engine_writes_behind_the_export_is_told_in_its_words(image):
    content = tar_of(export_of(image, "layout"))
    said = b'{"errorDetail":{"message":"open x: no such file"},"error":"open x: no such file"}\r\n'
    for end in (len(content), len(content) // 2):
        (damage,) = found(image, content[:end] + said, "layout")
        assert damage.problem == "open x: no such file"


@pytest.mark.parametrize("at", [0, 30_000])
@pytest.mark.parametrize(
    "said", ["write /var/lib/docker/tmp/x: no space left on device", "UnixHTTPConnection: Read timed out"]
)
def test_engine_that_cannot_export_now_is_no_damage(image, said, at):
    with pytest.raises(UnitError, match=said):
        found(image, tar_of(export_of(image, "layout"))[:at], "layout", ends=said)


def test_file_and_layer_that_the_engine_names_are_the_ones_found(image):
    said = f'could not verify layer data for: {image.layers[1]}. file integrity checksum failed for "usr/bin/python3"'
    (damage,) = found(image, b"", "layout", ends=said)
    assert (damage.layer, damage.file) == (image.layers[1], "usr/bin/python3")


def _drop(members, names):
    del members[names[1]]


def _swap(members, names):
    members[names[1]], members[names[3]] = members[names[3]], members[names[1]]


def _reorder(members, names):
    document = json.loads(members["manifest.json"])
    document[0]["Layers"] = [names[1], names[0], *names[2:]]
    members["manifest.json"] = json.dumps(document).encode()


def _add(members, names):
    document = json.loads(members["manifest.json"])
    document[0]["Layers"] = [*names, names[0]]
    members["manifest.json"] = json.dumps(document).encode()


def _forget_the_list(members, names):
    del members["manifest.json"]


def _link_elsewhere(members, names):
    members[names[1]] = ("symlink", "../../../../etc/passwd")


def _link_round(members, names):
    members[names[1]] = ("hardlink", names[1])


def _another_image(members, names):
    other = FakeImage([layer_files(9)])
    name = next(name for name, member in members.items() if isinstance(member, bytes) and b'"rootfs"' in member)
    members[name] = other.config


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "change",
    [_drop, _swap, _reorder, _add, _forget_the_list, _link_elsewhere, _link_round, _another_image],
)
def test_export_with_something_else_in_it_is_never_whole(image, form, change):
    members = dict(export_of(image, form))
    change(members, names_of(image, members))
    assert found(image, tar_of(members), form)


@pytest.mark.parametrize("form", ["older", "layout"])
def test_layer_that_is_missing_is_named(image, form):
    members = dict(export_of(image, form))
    _drop(members, names_of(image, members))
    assert [damage for damage in found(image, tar_of(members), form) if damage.layer] == [
        (image.layers[1], "", "it is missing")
    ]


@pytest.mark.parametrize("content", [b"", b"x" * 10_000, b"\0" * 20_480, b'{"message": "no such image"}'])
def test_what_is_no_export_is_a_finding(image, content):
    assert found(image, content, "layout")


def test_more_files_than_an_image_has_are_refused(image, monkeypatch):
    monkeypatch.setattr(exported_layers, "_MEMBERS", 100)
    (damage,) = found(image, tar_of({f"file{number}": b"" for number in range(101)}), "layout")
    assert "more than 100 files" in damage.problem


def test_large_image_takes_little_memory():
    """200 MB that come piece by piece, one layer of them packed so that it is 200 times as large as it looks."""
    import gzip
    import tarfile

    size = 100_000_000
    packed = gzip.compress(bytes(size))
    name = f"blobs/sha256/{sha256(packed)[7:]}"

    def stream():
        for entry_name, length, source in (
            ("large", size, lambda: (bytes(65_536) for _ in range(size // 65_536 + 1))),
            (name, len(packed), lambda: pieces(packed)),
        ):
            entry = tarfile.TarInfo(entry_name)
            entry.size = length
            yield entry.tobuf()
            left = length
            for part in source():
                yield part[:left]
                left -= len(part[:left])
            yield bytes(-length % 512)
        yield bytes(10_240)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert damages(stream(), sha256(b""), [sha256(b"")], lambda name, count: None)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16_000  # kilobytes
