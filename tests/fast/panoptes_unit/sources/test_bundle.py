"""Bundles: what is on the stick is what the registry client finds, and damage is told."""

import hashlib
import io
import json
import tarfile

import pytest

from panoptes_unit.errors import UnitError
from panoptes_unit.sources.bundle import served
from panoptes_unit.sources.reference import Reference
from panoptes_unit.sources.registry import Registry

CONFIG = json.dumps({"os": "linux", "architecture": "arm", "variant": "v7"}).encode()
LAYER = b"layer" * 1000


def digest(body):
    return hashlib.sha256(body).hexdigest()


def layout():
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"digest": "sha256:" + digest(CONFIG), "size": len(CONFIG)},
        "layers": [{"digest": "sha256:" + digest(LAYER), "size": len(LAYER)}],
    }
    body = json.dumps(manifest).encode()
    index = {"schemaVersion": 2, "manifests": [{"digest": "sha256:" + digest(body), "size": len(body)}]}
    blobs = {f"blobs/sha256/{digest(blob)}": blob for blob in (CONFIG, LAYER, body)}
    return {"oci-layout": b"{}", "index.json": json.dumps(index).encode(), **blobs}, "sha256:" + digest(body)


def docker_save():
    """As Docker before 25 wrote it: a second layer is a link to the first."""
    manifest = [{"Config": "c.json", "RepoTags": ["a:b"], "Layers": ["1/layer.tar"]}]
    return {"c.json": CONFIG, "manifest.json": json.dumps(manifest).encode(), "1/layer.tar": LAYER}


def as_tar(files, path, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def as_folder(files, path):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def image_in(path):
    with served(path, 0) as name:
        reference = Reference.parse(name)
        registry = Registry(reference.registry)
        index = registry.index(reference.repository, registry.digest_of(reference.repository))
        entry = index.for_platform("linux/arm/v7")
        image = registry.image(reference.repository, entry.digest)
        _, response = registry._open("GET", f"/v2/{reference.repository}/blobs/{image.layers[0].digest}", "")
        assert response.read() == LAYER
        return entry.digest


@pytest.mark.parametrize("form", [as_tar, as_folder])
def test_oci_layout_gives_the_image_it_holds(tmp_path, form):
    files, expected = layout()
    (tmp_path / "b").mkdir()
    assert image_in(form(files, tmp_path / "b" if form is as_folder else tmp_path / "b.tar")) == expected


def test_layout_of_several_images_without_platforms(tmp_path):
    files, expected = layout()
    index = json.loads(files["index.json"])
    files["index.json"] = json.dumps({**index, "manifests": index["manifests"] * 2}).encode()
    assert image_in(as_tar(files, tmp_path / "b.tar")) == expected


def test_output_of_docker_save_gives_the_same_digest_each_time(tmp_path):
    first = image_in(as_tar(docker_save(), tmp_path / "b.tar"))
    assert first == image_in(as_tar(docker_save(), tmp_path / "c.tar")), "the same image, the same digest"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path / "absent.tar", "is the stick mounted"),
        (lambda path: as_tar({"a": b"b"}, path / "b.tar"), "neither index.json nor manifest.json"),
        (lambda path: as_tar(layout()[0], path / "b.tar.gz", "w:gz"), "unpack it first"),
        (lambda path: as_tar({"index.json": b"{"}, path / "b.tar"), "damaged"),
        (lambda path: as_tar({"index.json": b"[]"}, path / "b.tar"), "damaged"),
    ],
)
def test_unusable_bundles_are_named(tmp_path, make, words):
    with pytest.raises(UnitError, match=words), served(make(tmp_path), 0):
        pass


def test_bundle_without_one_of_its_blobs_is_refused(tmp_path):
    files, _ = layout()
    del files[f"blobs/sha256/{digest(CONFIG)}"]
    with served(as_tar(files, tmp_path / "b.tar"), 0) as name:
        reference = Reference.parse(name)
        with pytest.raises(UnitError, match="no blob"):
            Registry(reference.registry).index(reference.repository)
