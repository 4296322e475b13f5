"""A unit's small state: kept, verified, put back on a blank machine, and never on one with a state of its own."""

import gzip
import hashlib
import io
import json
import os
import random
import tarfile

import pytest

from panoptes_utils.unit import backup

PATHS = ["/var/panoptes/conf_files", "/var/lib/panoptes-unit", "/etc/ssh/ssh_host_*_key", "/nowhere"]
FILES = {
    "var/panoptes/conf_files/pocs.yaml": "name: Unit\n",
    "var/panoptes/conf_files/pocs_local.yaml": "pan_id: PAN012\n",
    "var/panoptes/conf_files/.config-server.token": "secret\n",
    "var/lib/panoptes-unit/history.jsonl": '{"id": 1}\n',
    "etc/ssh/ssh_host_ed25519_key": "key of the old machine\n",
    "etc/hostname": "pan012\n",
}


@pytest.fixture
def unit(tmp_path):
    root = tmp_path / "unit"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "var/panoptes/conf_files/.config-server.token").chmod(0o600)
    (root / "var/panoptes/conf_files").chmod(0o750)
    return root


@pytest.fixture
def blank(tmp_path):
    root = tmp_path / "blank"
    (root / "etc/ssh").mkdir(parents=True)
    (root / "etc/ssh/ssh_host_ed25519_key").write_text("key that the new machine made itself\n")
    return root


@pytest.fixture
def archive(unit, tmp_path):
    path = tmp_path / "unit.tar.gz"
    backup.make(str(path), PATHS, "pan012", str(unit))
    return path


def below(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_manifest_says_what_is_kept(unit, tmp_path):
    (unit / "var/lib/panoptes-unit/journal.jsonl").write_text("an update under way on this very disk\n")
    manifest = backup.make(str(tmp_path / "a.tar.gz"), PATHS, "pan012", str(unit))
    assert manifest["hostname"] == "pan012"
    assert manifest["unit"] == "pan012"
    assert set(manifest["files"]) == {f"/{name}" for name in FILES if name != "etc/hostname"}
    entry = manifest["files"]["/var/panoptes/conf_files/.config-server.token"]
    assert entry["mode"] == "0600"
    assert entry["sha256"] == hashlib.sha256(b"secret\n").hexdigest()
    assert (tmp_path / "a.tar.gz").stat().st_mode & 0o777 == 0o600, "others can read the unit's token"


def test_blank_machine_becomes_the_same_unit_once(unit, blank, archive):
    _, planned = backup.restore(str(archive), str(blank), dry_run=True)
    assert not (blank / "var").exists(), "a look has written something"
    manifest, written = backup.restore(str(archive), str(blank))
    assert written == planned == sorted(f"/{name}" for name in FILES if name != "etc/hostname")
    assert manifest["hostname"] == "pan012"
    for name in FILES:
        if name != "etc/hostname":
            assert (blank / name).read_text() == FILES[name]
            assert (blank / name).stat().st_mode == (unit / name).stat().st_mode
    assert (blank / "var/panoptes/conf_files").stat().st_mode & 0o777 == 0o750
    # The unit lives on; the same command again must not take it back in time.
    (blank / "var/panoptes/conf_files/pocs_local.yaml").write_text("pan_id: PAN012\nstate: new\n")
    assert backup.restore(str(archive), str(blank))[1] == []
    assert "state: new" in (blank / "var/panoptes/conf_files/pocs_local.yaml").read_text()


def test_restore_that_was_cut_off_is_finished(blank, archive, monkeypatch):
    count = 0

    def power_cut(path, content, mode, write=backup.write_durably):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        write(path, content, mode)

    with monkeypatch.context() as patched:
        patched.setattr(backup, "write_durably", power_cut)
        with pytest.raises(KeyboardInterrupt):
            backup.restore(str(archive), str(blank))
    backup.restore(str(archive), str(blank))
    kept = {name: text.encode() for name, text in FILES.items() if name != "etc/hostname"}
    assert kept.items() <= below(blank).items()


def test_machine_with_a_state_of_its_own_is_left_alone(blank, archive):
    own = blank / "var/panoptes/conf_files/pocs_local.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("pan_id: PAN013\n")
    before = below(blank)
    with pytest.raises(backup.BackupError, match=r"pocs_local.yaml.*backup_overwrite"):
        backup.restore(str(archive), str(blank))
    assert below(blank) == before
    backup.restore(str(archive), str(blank), overwrite=True)
    assert own.read_text() == FILES["var/panoptes/conf_files/pocs_local.yaml"]


def test_any_damage_is_found_before_anything_is_written(blank, archive):
    whole = archive.read_bytes()
    chance = random.Random(7)
    refused = 0
    for _ in range(40):
        damaged = bytearray(whole)
        damaged[chance.randrange(10, len(whole))] ^= 1 << chance.randrange(8)
        archive.write_bytes(damaged)
        before = below(blank)
        try:
            backup.restore(str(archive), str(blank), dry_run=True)
        except backup.BackupError:
            refused += 1
        assert below(blank) == before
    assert refused == 40
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(backup.BackupError, match="use another one"):
        backup.restore(str(archive), str(blank))


@pytest.mark.parametrize("path", ["/../etc/passwd", "/var/../../x", "etc/passwd"])
def test_archive_cannot_write_elsewhere(tmp_path, blank, path):
    content = b"x"
    manifest = {"format": 1, "made": 0, "unit": "", "hostname": "x", "folders": {},
                "files": {path: {"mode": "0644", "uid": 0, "gid": 0, "size": 1,
                                 "sha256": hashlib.sha256(content).hexdigest()}}}  # fmt: skip
    evil = tmp_path / "evil.tar.gz"
    with gzip.open(evil, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in (("manifest.json", json.dumps(manifest).encode()), (f"files{path}", content)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(backup.BackupError, match="no place of a unit's file"):
        backup.restore(str(evil), str(blank))


def test_newer_format_and_foreign_files_are_named(tmp_path, unit, archive, monkeypatch):
    with pytest.raises(backup.BackupError, match="not a backup of a unit"):
        backup.read(str(tmp_path / "absent.tar.gz"))
    monkeypatch.setattr(backup, "FORMAT", 2)
    with pytest.raises(backup.BackupError, match="format 1, and this version reads 2"):
        backup.read(str(archive))


def test_machine_that_is_no_unit_and_too_much_are_refused(tmp_path, unit, monkeypatch):
    with pytest.raises(backup.BackupError, match="not a unit yet"):
        backup.make(str(tmp_path / "a.tar.gz"), PATHS, "", str(tmp_path / "empty"))
    monkeypatch.setattr(backup, "LIMIT_BYTES", 10)
    with pytest.raises(backup.BackupError, match="backup_paths"):
        backup.make(str(tmp_path / "a.tar.gz"), PATHS, "", str(unit))
    assert not (tmp_path / "a.tar.gz").exists()


def test_the_same_state_gives_the_same_archive(unit, tmp_path, monkeypatch):
    monkeypatch.setattr(backup.time, "time", lambda: 1_800_000_000.0)
    one, other = tmp_path / "one.tar.gz", tmp_path / "other.tar.gz"
    backup.make(str(one), PATHS, "x", str(unit))
    os.utime(unit / "var/panoptes/conf_files/pocs.yaml", (0, 0))
    backup.make(str(other), PATHS, "x", str(unit))
    assert one.read_bytes() == other.read_bytes()


def test_nightly_backups_are_dated_verified_and_bounded(unit, tmp_path, monkeypatch):
    stick = tmp_path / "stick"
    with pytest.raises(backup.BackupError, match="plug the stick in"):
        backup.make_dated(str(stick), PATHS, root=str(unit))
    stick.mkdir()
    (stick / "pan013").mkdir()
    (stick / "pan013" / "2026-01-01T000000Z.tar.gz").write_text("another unit's")
    made = []
    for moment in [backup.time.gmtime(1_800_000_000 + 86400 * day) for day in range(4)]:
        monkeypatch.setattr(backup.time, "gmtime", lambda *_, moment=moment: moment)
        path, manifest = backup.make_dated(str(stick), PATHS, keep=2, root=str(unit))
        assert "/var/panoptes/conf_files/pocs_local.yaml" in manifest["files"]
        made.append(path)
    assert sorted((stick / "pan012").iterdir()) == made[-2:]
    assert (stick / "pan013" / "2026-01-01T000000Z.tar.gz").exists()


def test_stick_that_is_full_leaves_nothing_half_written(unit, tmp_path, monkeypatch):
    stick = tmp_path / "stick"
    stick.mkdir()
    whole, _ = backup.make_dated(str(stick), PATHS, root=str(unit))
    monkeypatch.setattr(backup.time, "strftime", lambda *_: "2099-01-01T000000Z.tar.gz")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup.os, "fsync", full)
    with pytest.raises(backup.BackupError, match="No space left on device"):
        backup.make_dated(str(stick), PATHS, root=str(unit))
    assert list((stick / "pan012").iterdir()) == [whole]
