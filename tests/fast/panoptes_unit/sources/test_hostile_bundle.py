"""A stick that anybody wrote: nothing outside it is served, and nothing in it hangs the tool or fills its memory."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import socket
import tarfile
import tempfile
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptes_unit.errors import UnitError
from panoptes_unit.sources.bundle import Bundle, served

CONFIG = b'{"os": "linux", "architecture": "arm", "variant": "v7"}'
LAYER = b"layer" * 1000
SECRET = b"root:secret:20000:0:99999:7:::\n"


def digest(content):
    return hashlib.sha256(content).hexdigest()


MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "config": {"digest": f"sha256:{digest(CONFIG)}", "size": len(CONFIG)},
        "layers": [{"digest": f"sha256:{digest(LAYER)}", "size": len(LAYER)}],
    }
).encode()


def index(*manifests):
    entries = [{"digest": f"sha256:{digest(one)}", "size": len(one)} for one in manifests]
    return json.dumps({"schemaVersion": 2, "manifests": entries}).encode()


@pytest.fixture
def stick(tmp_path):
    """A layout with one image, as a folder."""
    folder = tmp_path / "stick"
    (folder / "blobs/sha256").mkdir(parents=True)
    for content in (CONFIG, LAYER, MANIFEST):
        (folder / "blobs/sha256" / digest(content)).write_bytes(content)
    (folder / "index.json").write_bytes(index(MANIFEST))
    return folder


@pytest.fixture
def secret(tmp_path):
    """A file outside the stick, which only root may read."""
    path = tmp_path / "outside/shadow"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    return path


def ask(name, path):
    """The status of an answer, and its body."""
    try:
        with urllib.request.urlopen(f"http://{name.partition('/')[0]}/v2/{path}", timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def blob(content):
    return f"panoptes-utils/blobs/sha256:{digest(content)}"


def naming(*layers):
    """A manifest that names these contents as its layers."""
    entries = [{"digest": f"sha256:{digest(layer)}", "size": len(layer)} for layer in layers]
    config = {"digest": f"sha256:{digest(CONFIG)}", "size": len(CONFIG)}
    return json.dumps({"schemaVersion": 2, "config": config, "layers": entries}).encode()


def put(folder, manifest):
    (folder / "blobs/sha256" / digest(manifest)).write_bytes(manifest)
    (folder / "index.json").write_bytes(index(manifest))


def test_link_to_a_file_outside_is_not_served_although_a_manifest_names_it(stick, secret):
    put(stick, naming(LAYER, SECRET))
    (stick / "blobs/sha256" / digest(SECRET)).symlink_to(secret)
    with served(stick, 0) as name:
        assert ask(name, blob(LAYER)) == (200, LAYER)
        assert ask(name, blob(SECRET))[0] == 404


def test_folder_that_is_a_link_is_not_entered(stick, secret):
    put(stick, naming(LAYER, SECRET))
    (secret.parent / digest(SECRET)).write_bytes(SECRET)
    (stick / "blobs").rename(stick / "real")
    (stick / "blobs").mkdir()
    (stick / "blobs/sha256").symlink_to(secret.parent)
    with pytest.raises(UnitError, match="incomplete"):
        Bundle(stick)


def test_file_that_becomes_a_link_after_it_was_listed_is_not_followed(stick, secret):
    put(stick, naming(SECRET))
    planted = stick / "blobs/sha256" / digest(SECRET)
    planted.write_bytes(SECRET)
    with served(stick, 0) as name:
        planted.unlink()
        planted.symlink_to(secret)
        with pytest.raises(http.client.IncompleteRead):
            ask(name, blob(SECRET))


def test_folder_that_becomes_a_link_after_it_was_listed_is_not_followed(stick, secret):
    put(stick, naming(SECRET))
    (stick / "blobs/sha256" / digest(SECRET)).write_bytes(SECRET)
    (secret.parent / digest(SECRET)).write_bytes(SECRET)
    with served(stick, 0) as name:
        (stick / "blobs/sha256").rename(stick / "blobs/gone")
        (stick / "blobs/sha256").symlink_to(secret.parent)
        with pytest.raises(http.client.IncompleteRead):
            ask(name, blob(SECRET))


def test_what_no_manifest_names_is_not_served(stick):
    (stick / "blobs/sha256" / digest(SECRET)).write_bytes(SECRET)
    with served(stick, 0) as name:
        assert ask(name, blob(LAYER)) == (200, LAYER)
        assert ask(name, blob(SECRET))[0] == 404
        assert ask(name, f"panoptes-utils/manifests/sha256:{digest(LAYER)}")[0] == 404, "a layer is no manifest"
        for path in ("panoptes-utils/blobs/index.json", "../../etc/passwd", "panoptes-utils/blobs/../index.json"):
            assert ask(name, path)[0] == 404


def test_manifest_that_is_not_of_its_digest_is_refused(stick):
    (stick / "blobs/sha256" / digest(MANIFEST)).write_bytes(naming(SECRET))
    with pytest.raises(UnitError, match="has the content of"):
        Bundle(stick)


@pytest.mark.parametrize("link", ["../../../outside/shadow", "/etc/hostname", "../{}", "../../../../etc/passwd"])
def test_layer_of_docker_save_is_a_link_to_one_in_the_bundle_or_missing(tmp_path, secret, link):
    folder = tmp_path / "save"
    for name in ("1", "2"):
        (folder / name).mkdir(parents=True)
    (folder / "1/layer.tar").write_bytes(LAYER)
    (folder / "2/layer.tar").symlink_to(link.format("1/layer.tar"))
    (folder / "c.json").write_bytes(CONFIG)
    saved = [{"Config": "c.json", "Layers": ["1/layer.tar", "2/layer.tar"]}]
    (folder / "manifest.json").write_text(json.dumps(saved))
    if "{}" in link:
        assert Bundle(folder).find(f"sha256:{digest(LAYER)}")
        return
    with pytest.raises(UnitError, match="'2/layer.tar' is missing"):
        Bundle(folder)


def tar(path, *members):
    """A tar of (name, content or link) and what changes each header."""
    with tarfile.open(path, "w") as archive:
        for name, content, change in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for field, value in change.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return path


@pytest.mark.parametrize("name", ["../index.json", "/etc/index.json", "a/../../b", "a//b", "blobs/./x"])
def test_member_that_leads_out_of_a_tar_is_refused(tmp_path, name):
    path = tar(tmp_path / "b.tar", (name, b"{}", {}), ("index.json", index(MANIFEST), {}))
    with pytest.raises(UnitError, match="leads out of it"):
        Bundle(path)


def test_layer_that_is_a_link_in_a_tar_stays_in_it(tmp_path, secret):
    saved = json.dumps([{"Config": "c.json", "Layers": ["1/layer.tar"]}]).encode()
    link = {"type": tarfile.SYMTYPE, "linkname": str(secret)}
    path = tar(tmp_path / "b.tar", ("c.json", CONFIG, {}), ("manifest.json", saved, {}), ("1/layer.tar", b"", link))
    with pytest.raises(UnitError, match="'1/layer.tar' is missing"):
        Bundle(path)


def test_member_larger_than_the_tar_is_refused(tmp_path):
    path = tar(tmp_path / "b.tar", ("index.json", b"x" * 600, {}))
    with path.open("r+b") as file:
        file.truncate(1024)
    with pytest.raises(UnitError, match="more than there is"):
        Bundle(path)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_header_that_claims_gigabytes_is_not_read_into_memory(tmp_path, kind):
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 20_000_000_000
    path = tmp_path / "b.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, 20_000_001_024)  # sparse: it takes no room
    with pytest.raises(UnitError, match="a header of 20000000"):
        Bundle(path)


def test_chain_of_headers_without_end_is_refused(tmp_path):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 0
    path = tmp_path / "b.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) * 5000)
    with pytest.raises(UnitError):
        Bundle(path)


def test_pipe_device_or_socket_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero"), Path("/dev/null")):
            with pytest.raises(UnitError, match="neither a folder nor a file"):
                Bundle(path)


@pytest.mark.parametrize("name", ["index.json", "manifest.json", "version"])
def test_pipe_in_the_folder_is_not_opened(stick, name):
    (stick / "index.json").unlink()
    (stick / "manifest.json").write_text("[]")
    (stick / name).unlink(missing_ok=True)
    os.mkfifo(stick / name)
    with pytest.raises(UnitError):
        Bundle(stick)


def test_file_that_becomes_a_pipe_holds_nobody_up(stick):
    path = stick / "blobs/sha256" / digest(LAYER)
    with served(stick, 0) as name:
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(http.client.IncompleteRead):
            ask(name, blob(LAYER))


@pytest.mark.parametrize("name", ["index.json", "manifest.json"])
def test_document_of_gigabytes_is_refused_by_its_size(stick, name):
    (stick / "index.json").unlink()
    (stick / name).touch()
    os.truncate(stick / name, 50_000_000_000)  # sparse: it takes no room
    with pytest.raises(UnitError, match="a document of 50000000000 bytes"):
        Bundle(stick)


def test_manifest_of_gigabytes_is_refused_by_its_size(stick):
    os.truncate(stick / "blobs/sha256" / digest(MANIFEST), 50_000_000_000)
    with pytest.raises(UnitError, match="a document of 50000000000 bytes"):
        Bundle(stick)


DOCUMENTS = {
    "nested": b"[" * 300_000,
    "nested manifests": b'{"manifests": ' + b"[" * 300_000,
    "binary": b"\xff\xfe",
    "a number as manifest": b'{"manifests": [1]}',
    "no digest": b'{"manifests": [{}]}',
    "numeric digest": b'{"manifests": [{"digest": 7}]}',
    "digest that is a path": b'{"manifests": [{"digest": "../../etc/shadow"}]}',
    "numeric annotations": b'{"manifests": [{"digest": "sha256:%s", "annotations": 7}]}' % (b"a" * 64),
    "numeric name": b'{"manifests": [{"digest": "sha256:%s", "annotations": {"org.opencontainers.image.ref.name": 7}}]}'
    % (b"a" * 64),
    "NaN": b'{"manifests": NaN}',
    "10,000 manifests": b'{"manifests": [%s{}]}' % (b"{}," * 10_000),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_list_of_contents_out_of_bounds_is_refused_plainly(stick, name):
    (stick / "index.json").write_bytes(DOCUMENTS[name])
    with pytest.raises(UnitError, match="is damaged") as caught:
        Bundle(stick)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", ["text/html", "a\r\nX: y", 5])
def test_type_that_is_none_is_refused_and_comes_into_no_header(stick, kind):
    put(stick, json.dumps({**json.loads(MANIFEST), "mediaType": kind}).encode())
    with pytest.raises(UnitError, match="mediaType|the type of neither"):
        Bundle(stick)


def test_too_many_files_and_folders_in_each_other_are_refused(stick, monkeypatch):
    deep = stick / "/".join(["a"] * 20)
    deep.mkdir(parents=True)
    with pytest.raises(UnitError, match="folders deep"):
        Bundle(stick)
    (stick / "a").rename(stick.parent / "a")
    monkeypatch.setattr("panoptes_unit.sources.bundle._FILES_LIMIT", 3)
    with pytest.raises(UnitError, match="more than 3 files"):
        Bundle(stick)


def test_many_clients_at_once_get_each_what_they_asked_for(tmp_path):
    """They share the descriptor of the tar, and must not share its position."""
    layers = [bytes([number]) * 3_000_000 for number in range(6)]
    manifest = naming(*layers)
    files = {digest(one): one for one in (CONFIG, manifest, *layers)}
    members = [(f"blobs/sha256/{name}", content, {}) for name, content in files.items()]
    path = tar(tmp_path / "b.tar", ("index.json", index(manifest), {}), *members)
    with served(path, 0) as name, ThreadPoolExecutor(6) as pool:
        answers = pool.map(lambda layer: ask(name, blob(layer)), layers * 3)
        assert all(answer == (200, layer) for answer, layer in zip(answers, layers * 3))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3000))
def test_any_file_is_a_bundle_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "b.tar"
    path.write_bytes(content)
    with pytest.raises(UnitError):
        Bundle(path)


PLACES = ["index.json", "blobs", "blobs/sha256", *(f"blobs/sha256/{digest(one)}" for one in (CONFIG, LAYER, SECRET))]
KINDS = ["link to the file", "link to its folder", "link to nothing", "link up", "fifo", "folder", "socket", "sparse"]


def replace(place, kind, outside):
    with suppress(OSError):
        if place.is_dir() and not place.is_symlink():
            place.rename(place.with_name("aside"))
        place.unlink(missing_ok=True)
        if kind.startswith("link"):
            links = {"link to the file": outside, "link to its folder": outside.parent, "link up": ".."}
            place.symlink_to(links.get(kind, "nothing"))
        elif kind == "fifo":
            os.mkfifo(place)
        elif kind == "folder":
            place.mkdir()
        elif kind == "socket":
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(str(place))
        else:
            place.touch()
            os.truncate(place, 10**12)


REPLACED = st.tuples(st.sampled_from(PLACES), st.sampled_from(KINDS))


@settings(max_examples=300, deadline=None)
@given(before=st.lists(REPLACED, max_size=2), after=st.lists(REPLACED, min_size=1, max_size=6))
def test_whatever_stands_in_the_folder_nothing_from_outside_is_served(before, after):
    """Both before it is listed and after."""
    with tempfile.TemporaryDirectory() as name:
        top, outside = Path(name) / "stick", Path(name) / "outside" / digest(SECRET)
        (top / "blobs/sha256").mkdir(parents=True)
        outside.parent.mkdir()
        for content in (CONFIG, LAYER, SECRET):
            (outside.parent / digest(content)).write_bytes(SECRET)
        for content in (CONFIG, LAYER):
            (top / "blobs/sha256" / digest(content)).write_bytes(content)
        put(top, naming(LAYER, SECRET))
        for place, kind in before:
            replace(top / place, kind, outside)
        try:
            bundle = Bundle(top)
        except UnitError as error:
            assert str(error).isprintable()
            return
        for place, kind in after:
            replace(top / place, kind, outside)
        for content in (CONFIG, LAYER, SECRET):
            found = bundle.find(f"sha256:{digest(content)}")
            with suppress(OSError):
                # What is sparse has a size without end, and is read piece by piece.
                begin = b"".join(islice(bundle.chunks(found), 2)) if isinstance(found, tuple) else found
                assert SECRET not in (begin or b"")
