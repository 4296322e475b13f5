"""Archives that somebody else made: only what a backup may hold is written, and all of it or nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from panoptes_unit.machine import archive, backup

CONF = "/var/panoptes/conf_files"
ALLOWED = (*backup.PATHS, "/opt/notes-*")
GOOD = f"{CONF}/pocs.yaml"


def entry(content: bytes = b"x", **others) -> dict:
    checksum = hashlib.sha256(content).hexdigest()
    return {"mode": "0644", "uid": 0, "gid": 0, "size": len(content), "sha256": checksum, **others}


def manifest(files: dict, folders=(), **others) -> dict:
    folder = {"mode": "0755", "uid": 0, "gid": 0}
    return {"format": 2, "made": 0, "unit": "", "hostname": "pan012", "files": files,
            "folders": dict.fromkeys(folders, folder), **others}  # fmt: skip


def tarred(*members, end: bytes = b"") -> bytes:
    """Of pairs of a name, or of a TarInfo, and content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue() + end)


def evil(files: dict, *members, folders=(), **others) -> bytes:
    """With a good file, others as the manifest lists them, and members besides."""
    listed = {GOOD: entry(), **files}
    text = json.dumps(manifest(listed, folders, **others)).encode()
    return tarred(("manifest.json", text), *((f"files{path}", b"x") for path in listed), *members)


@pytest.fixture
def blank(tmp_path):
    """A place for a machine, and the means to ask what was written anywhere beside it."""
    root = tmp_path / "deep/blank"
    root.mkdir(parents=True)
    return root


def refused(packed: bytes, blank: Path, match: str, **how) -> None:
    """It is refused, in one line, and nothing was written, neither on the machine nor beside it."""
    path = blank.parent.parent / "evil.tar.gz"
    path.write_bytes(packed)
    before = sorted(blank.parent.parent.rglob("*"))
    with pytest.raises(backup.BackupError, match=match) as caught:
        backup.restore(str(path), str(blank), overwrite=True, paths=ALLOWED, **how)
    assert len(str(caught.value).splitlines()) == 1
    assert sorted(blank.parent.parent.rglob("*")) == before


def test_a_good_archive_made_by_hand_is_taken(tmp_path, blank):
    path = tmp_path / "good.tar.gz"
    path.write_bytes(evil({"/opt/notes-1/a": entry(), "/etc/ssh/ssh_host_rsa_key": entry()}, folders=(CONF,)))
    assert len(backup.restore(str(path), str(blank), paths=ALLOWED).written) == 3


@pytest.mark.parametrize(
    "path",
    [
        "/etc/cron.d/evil",
        "/root/.ssh/authorized_keys",
        "/etc/ssh/sshd_config",
        "/etc/ssh/ssh_host_rsa_key/deeper",
        "/var/panoptes/conf_files2/x",
        "/var/panoptes/x",
        "/var/lib/panoptes-unit/restored.json",
        "/var/lib/panoptes-unit/journal.jsonl",
        f"{CONF}/../../../etc/passwd",
        f"{CONF}/./x",
        f"{CONF}//x",
        f"/{CONF}/x",
        f"{CONF}/x/",
        f"{CONF}/x\0y",
        f"{CONF}/{'n' * 256}",
        f"{CONF}/{'n/' * 2100}n",
        "etc/passwd",
        "/",
        "",
    ],
)
def test_no_file_and_no_folder_where_a_backup_may_hold_none(blank, path):
    # Whatever the members are called: the manifest is what is looked at first.
    refused(evil({path: entry()}), blank, "do not use it|not a backup")
    refused(evil({}, folders=(path,)), blank, "do not use it|not a backup")


PARTS = st.sampled_from(
    ["..", ".", "", "etc", "var", "panoptes", "conf_files", "lib", "panoptes-unit", "ssh", "x", "\0"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS, max_size=7).map(lambda parts: "/" + "/".join(parts)) | st.text(max_size=20))
def test_what_is_taken_lies_in_a_place_that_was_named(path):
    try:
        taken = archive.unpack(evil({path: entry()}), "it", ALLOWED).contents
    except (backup.BackupError, UnicodeEncodeError, ValueError):  # tarfile cannot even write some names
        return
    for name in taken:
        resolved = Path(tempfile.gettempdir(), name.lstrip("/")).resolve()
        inside = [Path(tempfile.gettempdir(), place.lstrip("/")) for place in backup.PATHS]
        assert any(place in (resolved, *resolved.parents) for place in inside)


def special(kind: bytes, name: str = f"files{CONF}/link") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/shadow"
    return member


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_no_links_devices_and_pipes(blank, kind):
    refused(evil({}, (special(kind), b"")), blank, "no plain file|besides")
    refused(evil({f"{CONF}/link": entry(b"")}, (special(kind), b"")), blank, "no plain file|altered|besides")


def test_member_that_is_not_listed_and_one_that_comes_twice(blank):
    refused(evil({}, (f"files{CONF}/unlisted", b"x")), blank, "unlisted' besides")
    refused(evil({}, (f"files{GOOD}", b"x")), blank, "besides what it lists")
    refused(evil({}, ("manifest.json", b"{}")), blank, "besides what it lists")
    refused(evil({}, ("elsewhere", b"x")), blank, "besides what it lists")
    text = json.dumps(manifest({GOOD: entry(), f"{CONF}/absent": entry()})).encode()
    refused(tarred(("manifest.json", text), (f"files{GOOD}", b"x")), blank, "absent is missing")
    refused(tarred((f"files{GOOD}", b"x"), ("manifest.json", text)), blank, "not a backup")
    refused(tarred(("manifest.json", text[:-1] + b', "files": {}}')), blank, "not a backup")


def test_path_that_is_a_file_and_a_folder_at_once(blank):
    refused(evil({f"{GOOD}/below": entry()}), blank, "as a file and as a folder")
    refused(evil({}, folders=(GOOD,)), blank, "as a file and as a folder")


def test_nothing_behind_its_end(blank):
    text = json.dumps(manifest({GOOD: entry()})).encode()
    members = (("manifest.json", text), (f"files{GOOD}", b"x"))
    refused(tarred(*members, end=b"\0" * 20480 + b"more"), blank, "behind its end")
    refused(tarred(*members) + gzip.compress(b"\0" * 20480 + b"more"), blank, "behind its end")
    refused(tarred(*members) + b"more", blank, "not a backup")


@pytest.mark.parametrize(
    "others",
    [
        {"hostname": "a\n10.0.0.1 registry"},
        {"hostname": "../../etc"},
        {"hostname": 5},
        {"made": float("nan")},
        {"made": 10**400},
        {"made": "0"},
        {"format": True},
        {"format": 10**10},
        {"unit": []},
        {"files": []},
        {"folders": None},
        {"files": {GOOD: 7}},
        *({"files": {GOOD: entry(**wrong)}} for wrong in (
            {"mode": "07777777"}, {"mode": 420}, {"mode": "0o77"}, {"uid": -1}, {"uid": "0"}, {"gid": None},
            {"gid": 1e400}, {"size": 10**30}, {"size": -1}, {"size": 0}, {"sha256": "0" * 64}, {"sha256": None},
        )),
    ],
    ids=str,
)  # fmt: skip
def test_manifest_of_other_kinds_is_refused_in_one_line(blank, others):
    text = json.dumps({**manifest({GOOD: entry()}), **others}).encode()
    refused(tarred(("manifest.json", text), (f"files{GOOD}", b"x")), blank, "another one|do not use it|made it")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2000), st.booleans())
@example(b"[" * 200_000, True)
@example(b'{"files": ' * 50_000, True)
@example(b"9" * 1_000_000, True)
def test_nothing_but_a_refusal_comes_of_other_bytes(content, as_manifest):
    packed = tarred(("manifest.json", content)) if as_manifest else gzip.compress(content)
    for bytes_ in (packed, content):
        with pytest.raises(backup.BackupError):
            archive.unpack(bytes_, "it", ALLOWED)


WHOLE = gzip.decompress(evil({f"{CONF}/größe": entry()}, folders=(CONF,)))


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_altered_tar_is_refused_or_still_holds_only_what_it_may(changes):
    altered = bytearray(WHOLE)
    for place, byte in changes:
        altered[place] = byte
    try:
        found = archive.unpack(gzip.compress(bytes(altered), 1), "it", ALLOWED)
    except backup.BackupError:
        return
    assert all(path.startswith(CONF) for path in (*found.contents, *found.manifest["folders"]))
    assert all(content == b"x" for content in found.contents.values())


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 0o7777), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.data())
def test_nothing_is_put_back_for_another_account_or_with_special_bits(mode, uid, gid, data):
    path = data.draw(st.sampled_from([GOOD, "/var/lib/panoptes-unit/state.json", "/etc/ssh/ssh_host_rsa_key"]))
    packed = evil({path: entry(mode=f"{mode:04o}", uid=uid, gid=gid)})
    kept = archive.unpack(packed, "it", ALLOWED).manifest["files"][path]
    bits = int(kept["mode"], 8)
    assert bits & ~mode == 0, "more than it had"
    assert bits & 0o7000 == 0
    if path == GOOD:
        assert {kept["uid"], kept["gid"]} <= {0, 1000}
    else:
        assert (kept["uid"], kept["gid"], bits & 0o022) == (0, 0, 0)
    if "ssh" in path:
        assert bits & 0o077 == 0


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=80).filter(
    lambda name: name not in (".", "..") and len(name.encode()) <= 255
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=50), min_size=1, max_size=5))
def test_every_name_that_a_disk_can_hold_comes_back(files):
    listed = {f"{CONF}/{name}": content for name, content in files.items()}
    packed = archive.pack(manifest({path: entry(content) for path, content in listed.items()}), listed)
    assert archive.unpack(packed, "it", ALLOWED).contents == listed


def bomb(way: str) -> bytes:
    """Three million bytes that unpack to three thousand million: as the manifest, as a file, or behind the end."""
    size = 1 if way == "behind" else 3_000_000_000
    text = json.dumps(manifest({GOOD: entry(size=size)})).encode()
    listed, large = tarfile.TarInfo("manifest.json"), tarfile.TarInfo(f"files{GOOD}")
    listed.size, large.size = size if way == "manifest" else len(text), size
    start = listed.tobuf()
    if way != "manifest":
        start += text + b"\0" * (-len(text) % 512) + large.tobuf()
    if way == "behind":
        start += b"x" + b"\0" * 511
    deflate = zlib.compressobj(9, wbits=-15)
    packed = b"\x1f\x8b\x08" + b"\0" * 7 + deflate.compress(start) + deflate.flush(zlib.Z_FULL_FLUSH)
    zeros = deflate.compress(b"\0" * 10_000_000) + deflate.flush(zlib.Z_FULL_FLUSH)
    return packed + zeros * 300


@pytest.mark.parametrize("way", ["manifest", "file", "behind"])
def test_three_megabytes_that_unpack_to_three_gigabytes_are_refused_in_little_memory(tmp_path, way):
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(bomb(way))
    assert path.stat().st_size < 4_000_000
    script = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (400_000_000, resource.RLIM_INFINITY))\n"
        f"from panoptes_unit.machine import backup\n"
        f"try: backup.read({str(path)!r})\n"
        f"except backup.BackupError as error: print(error)\n"
    )
    top = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", script], cwd=top, capture_output=True, text=True)
    assert (done.stderr, len(done.stdout.splitlines())) == ("", 1)
    # Not for want of memory, which would be said otherwise.
    assert " MB" in done.stdout


def test_sparse_member_that_stands_for_gigabytes(blank):
    text = json.dumps(manifest({GOOD: entry(size=3_000_000_000)})).encode()
    member = tarfile.TarInfo(f"files{GOOD}")
    member.pax_headers = {"GNU.sparse.size": "3000000000", "GNU.sparse.map": "0,1"}
    refused(tarred(("manifest.json", text), (member, b"x")), blank, "no plain file")
