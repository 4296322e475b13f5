"""A unit's small state: kept, verified, put back on a blank machine, and never on one with a state of its own."""

import hashlib
import os
import random
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from panoptes_unit.machine import backup

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
    (root / "etc/ssh/ssh_host_ed25519_key").chmod(0o600)
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
    _, planned, _ = backup.restore(str(archive), str(blank), dry_run=True)
    assert not (blank / "var").exists(), "a look has written something"
    manifest, written, sealed = backup.restore(str(archive), str(blank))
    assert not sealed
    assert written == planned == sorted(f"/{name}" for name in FILES if name != "etc/hostname")
    assert manifest["hostname"] == "pan012"
    for name in FILES:
        if name != "etc/hostname":
            assert (blank / name).read_text() == FILES[name]
            assert (blank / name).stat().st_mode == (unit / name).stat().st_mode
    assert (blank / "var/panoptes/conf_files").stat().st_mode & 0o777 == 0o750
    # The unit lives on; the same command again must not take it back in time.
    (blank / "var/panoptes/conf_files/pocs_local.yaml").write_text("pan_id: PAN012\nstate: new\n")
    assert backup.restore(str(archive), str(blank)).written == []
    assert "state: new" in (blank / "var/panoptes/conf_files/pocs_local.yaml").read_text()


def test_same_archive_is_put_back_again_where_a_person_asks_for_it(blank, archive):
    own = blank / "var/panoptes/conf_files/pocs_local.yaml"
    backup.restore(str(archive), str(blank))
    assert backup.restore(str(archive), str(blank), again=True).written == []
    own.write_text("pan_id: PAN012\nstate: new\n")
    with pytest.raises(backup.BackupError, match=r"pocs_local.yaml.*backup_overwrite"):
        backup.restore(str(archive), str(blank), again=True)
    written = backup.restore(str(archive), str(blank), overwrite=True, again=True).written
    assert written == ["/var/panoptes/conf_files/pocs_local.yaml"]
    assert own.read_text() == FILES["var/panoptes/conf_files/pocs_local.yaml"]


def test_restore_that_was_cut_off_is_finished(blank, archive, monkeypatch):
    count = 0

    def power_cut(*arguments, rename=os.rename, **places):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        rename(*arguments, **places)

    with monkeypatch.context() as patched:
        patched.setattr(backup.os, "rename", power_cut)
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
        except backup.BackupError as error:
            refused += 1
            assert "is damaged (" in str(error)
        assert below(blank) == before
    assert refused == 40
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(backup.BackupError, match="use another one"):
        backup.restore(str(archive), str(blank))


def test_newer_format_and_foreign_files_are_named(tmp_path, unit, archive, monkeypatch):
    with pytest.raises(backup.BackupError, match="not a backup of a unit"):
        backup.read(str(tmp_path / "absent.tar.gz"))
    monkeypatch.setattr(backup.archive, "_READABLE", (3,))
    with pytest.raises(backup.BackupError, match="format 2, and this version reads"):
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
        assert backup.read(str(path)).manifest == manifest
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


KEY = "0123456789abcdef0123456789abcdef"
# Made by the version before there was a seal: what units have on their sticks.
FIRST_FORMAT = Path(__file__).parent / "backup-format-1.tar.gz"


def test_backup_of_the_first_format_is_put_back_and_known_to_have_no_seal(blank):
    written = backup.restore(str(FIRST_FORMAT), str(blank), key=KEY)
    assert not written.sealed
    assert "/var/panoptes/conf_files/größe.yaml" in written.written
    assert (blank / "var/panoptes/conf_files" / ("long" * 40)).read_text() == "x\n"
    assert (blank / "etc/ssh/ssh_host_ed25519_key").stat().st_mode & 0o777 == 0o600


def test_backup_without_a_seal_is_refused_where_a_key_is_required(blank, unit, archive):
    before = below(blank)
    for path in (FIRST_FORMAT, archive):
        with pytest.raises(backup.BackupError, match="no seal.*backup_require_key"):
            backup.restore(str(path), str(blank), key=KEY, require_key=True)
    with pytest.raises(backup.BackupError, match="no backup_key"):
        backup.restore(str(archive), str(blank), require_key=True)
    assert below(blank) == before


def test_only_the_holder_of_the_key_makes_what_is_taken_with_it(tmp_path, unit, blank):
    path = tmp_path / "sealed.tar.gz"
    backup.make(str(path), PATHS, "pan012", str(unit), key=KEY)
    with pytest.raises(backup.BackupError, match="seal of another key"):
        backup.restore(str(path), str(blank), key=KEY[::-1])
    assert not (blank / "var").exists()
    assert not backup.read(str(path)).sealed, "without a key nobody can know"
    assert backup.restore(str(path), str(blank), key=KEY, require_key=True).sealed
    with pytest.raises(backup.BackupError, match="needs 16"):
        backup.make(str(path), PATHS, "pan012", str(unit), key="short")


def test_nightly_backup_is_sealed_with_the_key_on_the_unit(tmp_path, unit, blank):
    stick = tmp_path / "stick"
    stick.mkdir()
    (unit / "etc/panoptes").mkdir()
    (unit / "etc/panoptes/backup.key").write_text(f"{KEY}\n")
    path, _ = backup.make_dated(str(stick), PATHS, root=str(unit))
    assert backup.restore(str(path), str(blank), key=KEY, require_key=True).sealed


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A fake `age` that turns bytes round, and writes down how it was called."""
    program = tmp_path / "bin/age"
    program.parent.mkdir()
    program.write_text(
        "#!/usr/bin/env python3\nimport sys\n"
        f"open({str(tmp_path / 'words')!r}, 'a').write(' '.join(sys.argv[1:]) + chr(10))\n"
        "magic, content = b'age-encryption.org/v1\\n', sys.stdin.buffer.read()\n"
        "if 'wrong' in sys.argv[-1]: sys.exit('age: error: no identity matched any of the recipients')\n"
        "out = magic + content[::-1] if '--encrypt' in sys.argv else content[len(magic):][::-1]\n"
        "sys.stdout.buffer.write(out)\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path / "words"


def test_encrypted_backup_leaves_nothing_readable_on_the_stick(tmp_path, unit, blank, stranger):
    stick = tmp_path / "stick"
    stick.mkdir()
    (unit / "etc/panoptes").mkdir()
    (unit / "etc/panoptes/backup.recipients").write_text("age1abc\nssh-ed25519 AAAA me@here\n")
    path, manifest = backup.make_dated(str(stick), PATHS, root=str(unit))
    assert path.name.endswith(".tar.gz.age")
    assert [entry for entry in stick.rglob("*") if entry.is_file()] == [path]
    assert stranger.read_text() == "--encrypt --recipient age1abc --recipient ssh-ed25519 AAAA me@here\n"
    with pytest.raises(backup.BackupError, match="is encrypted.*backup_identity"):
        backup.restore(str(path), str(blank))
    with pytest.raises(backup.BackupError, match="cannot be decrypted: age: error: no identity matched"):
        backup.read(str(path), identity="wrong")
    assert backup.read(str(path), identity="mine").manifest == manifest
    for _ in range(3):
        backup.make_dated(str(stick), PATHS, keep=1, root=str(unit))
    assert len(list((stick / "pan012").iterdir())) == 1


def test_encryption_that_cannot_be_leaves_no_backup_and_says_why(tmp_path, unit, monkeypatch):
    target = tmp_path / "a.tar.gz.age"
    for wrong in ("--output=/etc/passwd", "age1abc\n-i", "someone"):
        with pytest.raises(backup.BackupError, match="backup_recipients"):
            backup.make(str(target), PATHS, root=str(unit), recipients=[wrong])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(backup.BackupError, match="apt-get install age"):
        backup.make(str(target), PATHS, root=str(unit), recipients=["age1abc"])
    assert not target.exists()


@pytest.mark.skipif(shutil.which("age-keygen") is None, reason="age is not installed here: apt-get install age")
def test_age_itself_reads_what_was_encrypted_for_its_identity(tmp_path, unit):
    identity, path = tmp_path / "identity", tmp_path / "a.tar.gz.age"
    subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
    recipient = next(line for line in identity.read_text().splitlines() if "public key" in line).split()[-1]
    manifest = backup.make(str(path), PATHS, root=str(unit), recipients=[recipient])
    assert b"secret" not in path.read_bytes()
    assert backup.read(str(path), identity=str(identity)).manifest == manifest
    other = tmp_path / "other"
    subprocess.run(["age-keygen", "-o", other], check=True, capture_output=True)
    with pytest.raises(backup.BackupError, match="cannot be decrypted: age: error"):
        backup.read(str(path), identity=str(other))


@pytest.mark.parametrize("planted", ["var/panoptes", "var/panoptes/conf_files", "var/panoptes/conf_files/pocs.yaml"])
def test_restore_follows_no_link(tmp_path, blank, archive, planted):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("root's own\n")
    link = blank / planted
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere / "file" if planted.endswith("yaml") else elsewhere)
    before = below(tmp_path)
    with pytest.raises(backup.BackupError, match=r"in the way|state of its own"):
        backup.restore(str(archive), str(blank))
    with pytest.raises(backup.BackupError, match="is in the way"):
        backup.restore(str(archive), str(blank), overwrite=True)
    assert below(tmp_path) == before


def test_link_that_is_planted_while_files_are_written_is_not_followed(tmp_path, blank, archive, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # As on a unit, where it belongs to the unit's account: others can put a link into it.
    (blank / "var/panoptes").mkdir(parents=True)
    (blank / "var/panoptes").chmod(0o777)

    def plant(*arguments, rename=os.rename, **places):
        rename(*arguments, **places)
        folder = blank / "var/panoptes/conf_files"
        if folder.is_dir() and not folder.is_symlink() and (folder / "pocs.yaml").exists():
            folder.rename(blank / "aside")
            folder.symlink_to(elsewhere)

    monkeypatch.setattr(backup.os, "rename", plant)
    with pytest.raises(backup.BackupError, match="cannot be put back: .*conf_files is a link, which is not followed"):
        backup.restore(str(archive), str(blank))
    assert list(elsewhere.iterdir()) == []


def test_pipe_and_giant_are_no_archives_and_nobody_waits(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(backup.BackupError, match="not a backup of a unit"):
        backup.read(str(tmp_path / "pipe"))
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(backup.BackupError, match="the limit of a backup"):
        backup.read(str(tmp_path / "giant"))


@pytest.mark.parametrize("paths", [["var/panoptes"], ["/var/../etc"], ["/"], [""]])
def test_place_that_is_none_is_refused_on_both_sides(tmp_path, unit, archive, paths):
    with pytest.raises(backup.BackupError, match="no place for a backup"):
        backup.make(str(tmp_path / "a.tar.gz"), paths, root=str(unit))
    with pytest.raises(backup.BackupError, match="no place for a backup"):
        backup.read(str(archive), paths)


def test_foreign_owners_and_bits_stay_behind(tmp_path, unit):
    ours, state = unit / "var/panoptes/conf_files/pocs.yaml", unit / "var/lib/panoptes-unit/history.jsonl"
    ours.chmod(0o6775)
    state.chmod(0o666)
    if os.geteuid() == 0:
        os.chown(ours, 1000, 4321)
        os.chown(state, 1000, 1000)
    ours.chmod(0o6775)
    kept = backup.make(str(tmp_path / "a.tar.gz"), PATHS, root=str(unit))["files"]
    assert stat.S_IMODE(ours.stat().st_mode) == 0o6775
    assert kept["/var/panoptes/conf_files/pocs.yaml"]["mode"] == "0775"
    if os.geteuid() == 0:
        assert kept["/var/panoptes/conf_files/pocs.yaml"]["gid"] == 1000
    assert {key: kept["/var/lib/panoptes-unit/history.jsonl"][key] for key in ("mode", "uid", "gid")} == {
        "mode": "0644",
        "uid": 0,
        "gid": 0,
    }
