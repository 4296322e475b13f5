"""What the engine noted of an image and its containers: each note, damaged in all ways, is found; most are mended."""

from __future__ import annotations

import json
import os

import pytest
from fake_images import FakeImage, layer_files, sha256

from panoptes_unit.health import store_shape
from panoptes_unit.health.store_shape import StoreShape

CONTAINER = sha256(b"container")[7:]
HOWS = {
    "emptied": lambda content: b"",
    "cut in half": lambda content: content[: len(content) // 2],
    "zero bytes": lambda content: bytes(len(content)),
    "one bit flipped": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "removed": None,
}
# Below the engine's folder, where L is the folder of a layer, and N the notes on it.
MENDED = ("L/link", "L/lower", "N/diff", "N/parent", "N/cache-id")
ONLY_FOUND = ("N/tar-split.json.gz", "image/overlay2/imagedb/content/sha256/IMAGE")
OF_CONTAINER = (
    f"containers/{CONTAINER}/config.v2.json",
    f"containers/{CONTAINER}/hostconfig.json",
    f"image/overlay2/layerdb/mounts/{CONTAINER}/mount-id",
    f"image/overlay2/layerdb/mounts/{CONTAINER}/init-id",
    "overlay2/MOUNT/link",
    "overlay2/MOUNT/lower",
)


class Place:
    """An engine's folder with an image of three layers and a container."""

    def __init__(self, root):
        self.root, self.image = root, FakeImage([layer_files(number) for number in range(3)])
        self.layers = [path.parent for path in self.image.store(root)]
        notes = root / "image/overlay2/layerdb/mounts" / CONTAINER
        notes.mkdir(parents=True)
        below = [f"l/{number:026}" for number in (2, 1, 0)]
        for name, folder, short in (("init-id", "abc-init", "A" * 26), ("mount-id", "abc", "B" * 26)):
            (notes / name).write_text(folder)
            place = root / "overlay2" / folder
            (place / "diff").mkdir(parents=True)
            (place / "link").write_text(short)
            (place / "lower").write_text(":".join(below))
            (root / "overlay2/l" / short).symlink_to(f"../{folder}/diff")
            below.insert(0, f"l/{short}")
        for name in ("config.v2.json", "hostconfig.json"):
            path = root / "containers" / CONTAINER / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"of": name}))

    def path(self, name: str, number: int):
        chain = ""
        for layer in self.image.layers[: number + 1]:
            chain = sha256(f"{chain} {layer}".encode()) if chain else layer
        name = name.replace("IMAGE", self.image.id[7:]).replace("MOUNT", "abc")
        if name.startswith("L/"):
            return self.layers[number] / name[2:]
        if name.startswith("N/"):
            return self.root / "image/overlay2/layerdb/sha256" / chain[7:] / name[2:]
        return self.root / name

    def flaws(self):
        return StoreShape(self.root, self.image.id, self.image.layers, [CONTAINER]).flaws()

    def tree(self):
        """All that is there: name -> content, or where a link leads."""
        paths = [path for path in self.root.rglob("*") if path.is_symlink() or path.is_file()]
        return {path: str(path.readlink()) if path.is_symlink() else path.read_bytes() for path in paths}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def spoil(path, how):
    if HOWS[how] is None:
        path.unlink()
    else:
        path.write_bytes(HOWS[how](path.read_bytes()))


def test_whole_store_has_no_flaw(place):
    assert place.flaws() == []


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", MENDED)
def test_note_that_follows_from_the_rest_stands_again_as_it_was(place, name, how, number):
    before = place.tree()
    spoil(place.path(name, number), how)
    flaws = place.flaws()
    assert [flaw.path for flaw in flaws] == [place.path(name, number)]
    store_shape.mend(flaws)
    assert place.tree() == before
    assert place.flaws() == []


@pytest.mark.parametrize(
    ("name", "how"), [(name, how) for name in ONLY_FOUND for how in HOWS if (name[-5:], how) != ("IMAGE", "removed")]
)
def test_note_that_nothing_tells_is_found_and_left(place, name, how):
    spoil(place.path(name, 1), how)
    if name.endswith("gz") and how == "cut in half":
        assert place.flaws() == [], "what is in it is for verify to say"
        return
    before = place.tree()
    flaws = place.flaws()
    assert flaws[0].path == place.path(name, 1)
    assert not flaws[0].can_be_mended
    assert flaws[0].layer == (place.image.layers[1] if name.startswith("N/") else "")
    store_shape.mend(flaws[:1])
    assert place.tree() == before


@pytest.mark.parametrize("how", ["emptied", "zero bytes", "removed"])
def test_size_is_counted_again(place, how):
    spoil(place.path("N/size", 1), how)
    store_shape.mend(place.flaws())
    assert place.flaws() == []
    size = sum(len(content) for content in place.image.files[1].values())
    assert place.path("N/size", 1).read_text() == str(size)


def test_folder_that_could_be_another_layers_is_not_taken(place):
    """Two folders lie on the same layers, and nobody says which of them is this one."""
    spoil(place.path("N/cache-id", 1), "emptied")
    twin = place.layers[1].with_name("f" * 64)
    (twin / "diff").mkdir(parents=True)
    (twin / "lower").write_text((place.layers[1] / "lower").read_text())
    flaws = place.flaws()
    assert flaws[0] == store_shape.Flaw(place.path("N/cache-id", 1), place.image.layers[1])


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", OF_CONTAINER)
def test_container_whose_notes_are_damaged_is_found(place, name, how):
    spoil(place.path(name, 0), how)
    flaws = place.flaws()
    assert flaws
    assert not any(flaw.can_be_mended or flaw.layer for flaw in flaws), "a new container is as good"
    assert StoreShape(place.root, place.image.id, place.image.layers).flaws() == [], "it is of the container alone"


@pytest.mark.parametrize("number", range(3))
def test_short_names_that_are_gone_are_made_again(place, number):
    before = place.tree()
    link = place.root / "overlay2/l" / f"{number:026}"
    link.unlink()
    store_shape.mend(place.flaws())
    assert place.tree() == before
    link.unlink()
    link.symlink_to("/etc")
    store_shape.mend(place.flaws())
    assert place.tree() == before


def test_layer_without_any_name_gets_one_that_all_above_it_use(place):
    """As a power cut leaves it: the file is empty, and the link is gone."""
    spoil(place.layers[0] / "link", "emptied")
    (place.root / "overlay2/l" / f"{0:026}").unlink()
    shape = StoreShape(place.root, place.image.id, place.image.layers)
    store_shape.mend(shape.flaws())
    assert StoreShape(place.root, place.image.id, place.image.layers).flaws() == []
    name = (place.layers[0] / "link").read_text()
    assert len(name) == 26
    assert (place.layers[2] / "lower").read_text().split(":")[-1] == f"l/{name}"
    assert (place.root / "overlay2/l" / name).resolve() == place.layers[0] / "diff"


def test_fifo_or_link_or_folder_in_place_of_a_note_is_found_and_waited_for_by_nobody(place):
    for make in (os.mkfifo, lambda path: path.symlink_to("/etc/hostname"), lambda path: path.mkdir()):
        path = place.path("N/size", 1)
        path.unlink()
        make(path)
        assert [flaw.path for flaw in place.flaws()] == [path]
        path.rmdir() if path.is_dir() else path.unlink()
        path.write_text("1")


def test_engine_that_does_not_say_what_it_has_is_not_needed(place):
    spoil(place.path("L/link", 1), "emptied")
    assert StoreShape(place.root, place.image.id, (), [CONTAINER]).flaws() == place.flaws() != []


def test_what_is_not_there_is_no_flaw(place):
    place.path("image/overlay2/imagedb/content/sha256/IMAGE", 0).unlink()
    assert place.flaws() == []
    assert StoreShape(place.root, "", ()).flaws() == []


def test_store_of_another_kind_is_left_alone(tmp_path):
    assert not StoreShape(tmp_path, "sha256:0", []).is_there()
