"""The verb `verify` on the real engine: a bit that is flipped below the engine is found and named."""

from __future__ import annotations

import io
import random
import tarfile
import uuid
from pathlib import Path

import pytest

from panoptes_unit.deploy.engine import Engine
from panoptes_unit.deploy.release import Release
from panoptes_unit.errors import UnitError
from panoptes_unit.health import verify
from panoptes_unit.health.exported_layers import damages
from panoptes_unit.report import Report
from panoptes_unit.settings import Settings

docker = pytest.importorskip("docker")
pytestmark = pytest.mark.lab

PREFIX = "panoptes-lab/verify"
LARGE = "usr/lib/ünlike"


def tar_of(files: dict[str, int], seed: str) -> bytes:
    buffer, chance = io.BytesIO(), random.Random(seed)
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, size in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.uid, entry.mode = size, 1000, 0o600
            archive.addfile(entry, io.BytesIO(chance.randbytes(size)))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def client(lab):
    return docker.APIClient(base_url=lab["docker_host"], version="auto", timeout=60)


@pytest.fixture
def image(client):
    """A small image of two layers that nobody else has."""
    name = f"{PREFIX}-{uuid.uuid4().hex[:12]}"
    try:
        client.import_image_from_data(
            tar_of({"usr/lib/first": 1000, LARGE: 200_000, "etc/empty": 0}, name), name, "one"
        )
        made = client.create_container(f"{name}:one", command=["none"])["Id"]
        try:
            client.put_archive(made, "/", tar_of({"srv/second": 5000}, name))
            client.commit(made, repository=name, tag="two")
        finally:
            client.remove_container(made, force=True)
        yield f"{name}:two"
    finally:
        for tag in ("two", "one"):
            client.remove_image(f"{name}:{tag}", force=True)


@pytest.fixture
def layers(client, image):
    """Folders of the image's layers in the engine's own store, bottom first."""
    about = client.inspect_image(image)["GraphDriver"]
    if about["Name"] != "overlay2" or not Path(about["Data"]["UpperDir"]).is_dir():
        pytest.skip("the engine keeps its images elsewhere")
    return [Path(path) for path in (about["Data"]["LowerDir"], about["Data"]["UpperDir"])]


@pytest.fixture
def verified(lab, image, tmp_path, monkeypatch):
    settings = Settings(docker_host=lab["docker_host"], state=str(tmp_path / "state"))
    release = Release(image=image, index="", tag="", platform="")
    monkeypatch.setattr(verify, "_running", lambda settings, store: release)
    monkeypatch.setattr(verify, "become_idle", lambda: None)
    return lambda: verify.verify(settings, Report(quiet=True))


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_flipped_bit_in_the_engines_store_is_named_and_gone_when_flipped_back(client, image, layers, verified):
    ids = client.inspect_image(image)["RootFS"]["Layers"]
    assert verified().damaged == []
    flip(layers[0] / LARGE, 123_456)
    flip(layers[1] / "srv/second", 0)
    assert [tuple(damage) for damage in verified().damaged] == [
        (ids[0], LARGE, "its content has changed"),
        (ids[1], "srv/second", "its content has changed"),
    ]
    flip(layers[0] / LARGE, 123_456)
    flip(layers[1] / "srv/second", 0)
    (layers[0] / "etc/empty").rename(layers[0] / "etc/elsewhere")
    assert [tuple(damage) for damage in verified().damaged] == [(ids[0], "etc/empty", "it is gone")]


def test_export_of_the_engine_says_the_same_in_its_own_words(lab, client, image, layers):
    engine = Engine(Settings(docker_host=lab["docker_host"]))
    stored = engine.stored(image)

    def found():
        return damages(engine.export(image), stored.id, stored.layers, lambda name, count: None)

    assert found() == []
    flip(layers[1] / "srv/second", 17)
    (damage,) = found()
    assert damage.file == "srv/second", damage
    assert "integrity checksum failed" in damage.problem


def test_image_that_is_not_there_is_an_error_and_no_damage(verified, client, image):
    client.remove_image(image, force=True)
    with pytest.raises(UnitError, match="not on the disk"):
        verified()
    client.tag(image.replace(":two", ":one"), image.partition(":")[0], "two")  # for the end of the fixture
