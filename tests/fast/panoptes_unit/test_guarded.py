"""Root in folders of others: whatever they plant there, nothing outside changes, and nothing from outside is copied."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from fake_unit import FakeUnit, image_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panoptes_unit import guarded
from panoptes_unit.deploy import kept_configuration, verdicts
from panoptes_unit.errors import UnitError
from panoptes_unit.guarded import UnsafeError, open_folder
from panoptes_unit.machine import backup
from panoptes_unit.machine.probe import Probe
from panoptes_unit.machine.wanted_files import Directory, File, apply
from panoptes_unit.report import Report

SECRET = b"only for root\n"
PROGRAMS = 1000
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another account")
ME = {"uid": os.geteuid(), "gid": os.getegid()}


def described(top: Path) -> dict:
    """Everything below `top`: kind, mode, owner, names and content."""
    found = {}
    for path in [top, *sorted(top.rglob("*"))]:
        info = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(info.st_mode) and info.st_size < 10**9 else b""
        found[str(path)] = (info.st_mode, info.st_uid, info.st_gid, info.st_nlink, content)
    return found


@pytest.fixture
def outside(tmp_path):
    """A folder of root's, with a file that nobody else may read; the test may change nothing in it."""
    folder = tmp_path / "outside"
    (folder / "sub").mkdir(parents=True)
    for name in ("secret", "sub/pocs.yaml"):
        (folder / name).write_bytes(SECRET)
        (folder / name).chmod(0o600)
    before = described(folder)
    yield folder
    assert described(folder) == before


def copies_of_the_secret(top: Path) -> list:
    return [path for path, kept in described(top).items() if SECRET in kept[-1]]


@contextmanager
def swapping(file: Path, secret: Path):
    """A file and a link to `secret` take turns at one name, as fast as they can."""
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for kind in ("link", "file"):
                draft = file.with_name(f"draft of a {kind}")
                with suppress(FileNotFoundError, FileExistsError):  # root put it aside in this moment
                    draft.unlink(missing_ok=True)
                    draft.symlink_to(secret) if kind == "link" else draft.write_bytes(b"mine\n")
                    draft.replace(file)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        file.unlink(missing_ok=True)


# Row by row of what was once possible.


class TestUndoWithPlantedLinks:
    @pytest.fixture
    def unit(self, tmp_path):
        made = FakeUnit(tmp_path / "unit")
        (made.configuration / "sub").mkdir()
        (made.configuration / "sub/pocs.yaml").write_text("in a folder\n")
        assert made.deploy("old").verdict == verdicts.UPDATED
        return made

    def undone(self, unit, plant):
        def once():
            unit.engine.before_up = lambda: None
            plant(unit.configuration)

        unit.engine.before_up = once
        outcome = unit.deploy("bad", "exits")
        assert outcome.verdict == verdicts.ROLLED_BACK
        assert unit.whole() == image_of("old"), "the way back was not gone to its end"
        assert copies_of_the_secret(unit.store.folder) == []
        assert unit.configuration.is_symlink() or copies_of_the_secret(unit.configuration) == []
        return outcome

    def test_link_under_the_name_of_the_draft_is_not_written_through(self, unit, outside):
        def plant(folder):
            (folder / ".pocs_local.yaml.restored").symlink_to(outside / "secret")
            (folder / "pocs_local.yaml").write_text("spoiled\n")

        self.undone(unit, plant)
        assert (unit.configuration / "pocs_local.yaml").read_text() == "by a person\n"

    @pytest.mark.parametrize("target", ["secret", "made by root", "sub"])
    def test_link_in_place_of_a_file_is_moved_and_not_followed(self, unit, outside, target):
        def plant(folder):
            (folder / "pocs_local.yaml").unlink()
            (folder / "pocs_local.yaml").symlink_to(outside / target)

        self.undone(unit, plant)
        file = unit.configuration / "pocs_local.yaml"
        assert not file.is_symlink() and file.read_text() == "by a person\n"

    def test_link_in_place_of_a_folder_is_moved_and_not_followed(self, unit, outside):
        def plant(folder):
            shutil.rmtree(folder / "sub")
            (folder / "sub").symlink_to(outside / "sub")

        self.undone(unit, plant)
        assert not (unit.configuration / "sub").is_symlink()
        assert (unit.configuration / "sub/pocs.yaml").read_text() == "in a folder\n"

    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
    def test_what_is_no_file_is_moved_out_of_its_place(self, unit, make):
        def plant(folder):
            (folder / "pocs_local.yaml").unlink()
            make(folder / "pocs_local.yaml")

        self.undone(unit, plant)
        assert (unit.configuration / "pocs_local.yaml").read_text() == "by a person\n"

    @pytest.mark.parametrize("where", ["in the way", "beside it"])
    def test_far_too_large_file_is_neither_read_nor_copied(self, unit, where):
        def plant(folder):
            with (folder / ("pocs_local.yaml" if where == "in the way" else "new")).open("wb") as file:
                file.truncate(50_000_000_000)

        self.undone(unit, plant)
        assert (unit.configuration / "pocs_local.yaml").read_text() == "by a person\n"

    def test_names_that_no_terminal_should_see_are_written_out(self, unit):
        self.undone(unit, lambda folder: (folder / os.fsdecode(b"\xff\x1b]0;x")).write_text("x"))
        found = kept_configuration.differences([str(unit.configuration)], unit.store.folder / "none")
        assert all(name.isprintable() for name in found)

    @needs_root
    def test_folder_swapped_for_a_link_is_named_and_the_text_is_kept(self, unit, outside, monkeypatch):
        os.chown(unit.configuration.parent, PROGRAMS, PROGRAMS)
        said = []
        monkeypatch.setattr(Report, "step", lambda _, name, text: said.append(text))

        def plant(folder):
            folder.rename(folder.with_name("old"))
            folder.symlink_to(outside)

        outcome = self.undone(unit, plant)
        assert any("is a link, which is not followed" in text for text in said)
        kept = Path(outcome.kept) / "not-put-back/0/pocs_local.yaml"
        assert kept.read_text() == "by a person\n"


class TestLinkInPlaceOfAWantedFolder:
    def test_is_refused_in_one_line(self, tmp_path, outside):
        (tmp_path / "conf_files").symlink_to(outside)
        with pytest.raises(UnsafeError, match=r"conf_files is a link, which is not followed: put the folder") as told:
            apply([Directory(str(tmp_path / "conf_files"), "0700", **ME)], [], [])
        assert "\n" not in str(told.value)

    @needs_root
    @pytest.mark.parametrize("wanted", ["directory", "file", "absent"])
    def test_is_refused_on_the_way_where_others_could_put_it(self, tmp_path, outside, wanted):
        theirs = tmp_path / "panoptes"
        theirs.mkdir()
        os.chown(theirs, PROGRAMS, PROGRAMS)
        (theirs / "conf_files").symlink_to(outside)
        path = str(theirs / "conf_files/sub")
        asked = {
            "directory": ([Directory(path, "0777", PROGRAMS, PROGRAMS)], [], []),
            "file": ([], [File(f"{path}/pocs.yaml", "0777", PROGRAMS, PROGRAMS, "theirs")], []),
            "absent": ([], [], [f"{path}/pocs.yaml"]),
        }[wanted]
        with pytest.raises(UnsafeError, match="is a link"):
            apply(*asked)
        assert Probe().files([f"{path}/pocs.yaml"]) == {}

    def test_is_followed_on_the_way_where_only_the_caller_could_put_it(self, tmp_path):
        (tmp_path / "disk").mkdir()
        (tmp_path / "link").symlink_to("disk")
        apply([], [File(str(tmp_path / "link/a.conf"), **ME, content="x")], [])
        assert (tmp_path / "disk/a.conf").read_text() == "x"

    def test_links_that_lead_round_in_a_circle_end(self, tmp_path):
        (tmp_path / "one").symlink_to("other")
        (tmp_path / "other").symlink_to("one")
        with pytest.raises(UnsafeError, match="over and over"):
            open_folder(tmp_path / "one" / "x")


class TestFileSwappedForALinkWhileRootCopies:
    ROUNDS = 150

    def test_is_never_in_the_kept_configuration(self, tmp_path, outside):
        folder = tmp_path / "conf_files"
        folder.mkdir()
        (tmp_path / "aside").mkdir()
        with swapping(folder / "pocs_local.yaml", outside / "secret"):
            for number in range(self.ROUNDS):
                kept_configuration.save([str(folder)], tmp_path / "saved")
                assert copies_of_the_secret(tmp_path / "saved") == []
                kept_configuration.restore([str(folder)], tmp_path / "saved", tmp_path / f"aside/left-by-{number}")
                assert copies_of_the_secret(tmp_path / "aside") == []

    @pytest.mark.parametrize("name", ["pocs_local.yaml", "sub"])
    def test_is_not_followed_where_it_is_swapped_after_root_has_looked(self, tmp_path, outside, monkeypatch, name):
        """The very moment, for certain: each look at the name is followed by the swap."""
        folder = tmp_path / "conf_files"
        (folder / "sub").mkdir(parents=True)
        (folder / "sub/pocs.yaml").write_text("mine\n")
        (folder / "pocs_local.yaml").write_text("mine\n")
        look = os.stat

        def looked_at(path, *arguments, **options):
            found = look(path, *arguments, **options)
            if path == name and not (folder / name).is_symlink():
                (folder / name).rename(tmp_path / "before")
                (folder / name).symlink_to(outside / ("secret" if name == "pocs_local.yaml" else "sub"))
            return found

        with monkeypatch.context() as patch:
            patch.setattr(os, "stat", looked_at)
            kept_configuration.save([str(folder)], tmp_path / "saved")
        assert (folder / name).is_symlink(), "it was never swapped"
        assert copies_of_the_secret(tmp_path / "saved") == []

    def test_is_never_in_a_backup(self, tmp_path, outside):
        folder = tmp_path / "unit/conf_files"
        folder.mkdir(parents=True)
        (folder / "pocs.yaml").write_text("x")
        with swapping(folder / "pocs_local.yaml", outside / "secret"):
            for _ in range(self.ROUNDS):
                paths = ["/conf_files"]
                backup.make(str(tmp_path / "a.tar.gz"), paths, root=str(tmp_path / "unit"))
                assert SECRET not in backup.read(str(tmp_path / "a.tar.gz"), paths)[1].values()

    def test_is_never_hashed(self, tmp_path, outside):
        (tmp_path / "their").mkdir()
        file = tmp_path / "their/pocs.yaml"
        (tmp_path / "copy").write_bytes(SECRET)
        secret = Probe().files([str(tmp_path / "copy")])[str(tmp_path / "copy")]["sha256"]
        with swapping(file, outside / "secret"):
            for _ in range(self.ROUNDS):
                assert secret not in str(Probe().files([str(file)]))


ASKED = {
    "status": (lambda folder: folder.status("a"), "stat"),
    "names": (lambda folder: folder.names(), "scandir"),
    "folder": (lambda folder: folder.folder("a"), "open"),
    "make_folder": (lambda folder: folder.make_folder("a", 0o755), "mkdir"),
    "open_file": (lambda folder: folder.open_file("file"), "open"),
    "read": (lambda folder: folder.read("file"), "stat"),
    "replacing": (lambda folder: guarded.copy(guarded.Place(folder, "file"), guarded.Place(folder, "a")), "fchmod"),
    "draft": (lambda folder: folder.replacing("a", 0o644).__enter__(), "open"),
    "sync": (lambda folder: folder.sync(), "fsync"),
    "rename": (lambda folder: folder.rename("file", "a"), "rename"),
    "remove": (lambda folder: folder.remove("a"), "unlink"),
}


@pytest.mark.parametrize(("ask", "call"), ASKED.values(), ids=ASKED)
def test_what_the_disk_refuses_is_told_by_the_path_that_people_know(tmp_path, monkeypatch, ask, call):
    (tmp_path / "file").write_bytes(b"text")
    with open_folder(tmp_path) as folder:
        real, names = getattr(os, call), [str(tmp_path / name) for name in ("a", "file")]

        def refused(*args, **kwargs):
            if kwargs.get("dir_fd", folder.descriptor) != folder.descriptor:
                return real(*args, **kwargs)
            raise OSError(30, "Read-only file system", *args[:1])

        monkeypatch.setattr(guarded.os, call, refused)
        with pytest.raises(OSError, match="Read-only") as refusal:
            ask(folder)
        monkeypatch.undo()
    assert refusal.value.filename in [*names, str(tmp_path)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's files are those of others here")
def test_second_name_of_a_file_of_others_is_refused(tmp_path, outside):
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", PROGRAMS, PROGRAMS)
    shutil.copy(outside / "secret", tmp_path / "secret")
    os.link(tmp_path / "secret", tmp_path / "theirs/pocs.yaml")
    with open_folder(tmp_path / "theirs") as folder, pytest.raises(UnsafeError, match="second name"):
        folder.read("pocs.yaml")
    kept_configuration.save([str(tmp_path / "theirs")], tmp_path / "saved")
    assert copies_of_the_secret(tmp_path / "saved") == []
    (tmp_path / "secret").unlink()
    with open_folder(tmp_path / "theirs") as folder:
        assert folder.read("pocs.yaml")[0] == SECRET, "an administrator's editor leaves such files"


def test_backup_behind_a_planted_link_or_too_large_is_refused_in_one_line(tmp_path, monkeypatch):
    unit = tmp_path / "unit"
    unit.mkdir()
    with (unit / "large").open("wb") as file:
        file.truncate(50_000_000_000)
    with pytest.raises(backup.BackupError, match="backup_paths"):
        backup.make(str(tmp_path / "a.tar.gz"), ["/large"], root=str(unit))
    os.mkfifo(unit / "fifo")
    (unit / "small").write_text("x")
    manifest = backup.make(str(tmp_path / "a.tar.gz"), ["/fifo", "/small"], root=str(unit))
    assert list(manifest["files"]) == ["/small"]
    if os.geteuid() == 0:
        os.chown(unit, PROGRAMS, PROGRAMS)
        (unit / "conf_files").symlink_to("/etc")
        with pytest.raises(backup.BackupError, match="is a link"):
            backup.make(str(tmp_path / "a.tar.gz"), ["/conf_files/ssh"], root=str(unit))


def test_tree_without_end_is_refused_before_the_switch_and_undone_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr(guarded, "NAMES", 50)
    unit = FakeUnit(tmp_path / "unit")
    assert unit.deploy("old").verdict == verdicts.UPDATED

    def plant():
        unit.engine.before_up = lambda: None
        for number in range(60):
            (unit.configuration / f"{number:03}").write_text("x")
        (unit.configuration / "pocs_local.yaml").write_text("spoiled\n")

    unit.engine.before_up = plant
    assert unit.deploy("bad", "exits").verdict == verdicts.ROLLED_BACK
    assert (unit.configuration / "pocs_local.yaml").read_text() == "by a person\n"
    outcome = unit.deploy("new")
    assert outcome.verdict == verdicts.ROLLED_BACK and "holds more than 50 names" in outcome.reason


# Generated: the kind of it.

NAMES = st.sampled_from(
    ["pocs.yaml", "pocs_local.yaml", ".pocs_local.yaml.restored", "a", "b", "c" * 200, "\udcff", "é\n"]
)
DEEP = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
KINDS = ["file", "large", "folder", "link", "link to a folder", "link to nothing", "link up", "fifo", "socket"]
PLANTS = st.lists(st.tuples(DEEP, st.sampled_from([*KINDS, *(["device"] if os.geteuid() == 0 else [])])), max_size=8)


def plant(folder: Path, outside: Path, planted: list) -> None:
    """What an account can do in its own folder; what is impossible is left out."""
    for name, kind in planted:
        place = folder / name
        with suppress(OSError):
            if place.parent.resolve().is_relative_to(folder):
                if not place.parent.is_dir():
                    place.parent.mkdir(parents=True)
                if place.is_dir() and not place.is_symlink():
                    shutil.rmtree(place)
                elif place.is_symlink() or place.exists():
                    place.unlink()
                make(place, kind, outside)


def make(place: Path, kind: str, outside: Path) -> None:
    links = {
        "link": outside / "secret",
        "link to a folder": outside,
        "link to nothing": outside / "made",
        "link up": "..",
    }
    if kind in links:
        place.symlink_to(links[kind])
    elif kind == "folder":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "device":
        os.mknod(place, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(place))
    else:
        place.write_text(f"{place.name.encode(errors='replace')} by a program\n")
        if kind == "large":
            os.truncate(place, 50_000_000_000)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=PLANTS, after=PLANTS)
def test_whatever_stands_in_the_folder_nothing_leads_out_of_it(before, after):
    with tempfile.TemporaryDirectory() as name:
        top = Path(name).resolve()
        outside, folder, saved = top / "outside", top / "theirs/conf_files", top / "state/saved"
        folder.mkdir(parents=True)
        (folder / "pocs.yaml").write_text("name: Unit\n")
        outside.mkdir()
        (outside / "secret").write_bytes(SECRET)
        if os.geteuid() == 0:
            os.chown(folder.parent, PROGRAMS, PROGRAMS)
            os.chown(folder, PROGRAMS, PROGRAMS)
        untouched = described(outside)
        plant(folder, outside, before)
        kept_configuration.save([str(folder)], saved)
        kept = described(saved / "0")
        plant(folder, outside, after)
        problems = kept_configuration.restore([str(folder)], saved, top / "state/left-by-x")
        assert described(outside) == untouched
        assert copies_of_the_secret(top / "state") == []
        assert problems == []
        for path, (mode, uid, gid, _, content) in kept.items():
            if stat.S_ISREG(mode):
                file = folder / Path(path).relative_to(saved / "0")
                info = file.lstat()
                assert (info.st_mode, info.st_uid, info.st_gid, file.read_bytes()) == (mode, uid, gid, content)
        assert kept_configuration.differences([str(folder)], saved) == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(planted=PLANTS, wanted=st.lists(DEEP, min_size=1, max_size=3), folders=st.lists(DEEP, max_size=2))
def test_whatever_stands_there_wanted_files_stay_inside_or_are_refused(planted, wanted, folders):
    with tempfile.TemporaryDirectory() as name:
        top = Path(name).resolve()
        outside, folder = top / "outside", top / "theirs"
        folder.mkdir()
        outside.mkdir()
        (outside / "secret").write_bytes(SECRET)
        owner = {"uid": PROGRAMS, "gid": PROGRAMS} if os.geteuid() == 0 else ME
        if os.geteuid() == 0:
            os.chown(folder, PROGRAMS, PROGRAMS)
        else:
            folder.chmod(0o777)  # others can write to it, as they can on a unit
        plant(folder, outside, planted)
        untouched = described(outside)
        for place in folders:
            with suppress(OSError, UnitError):
                apply([Directory(str(folder / place), "0777", **owner)], [], [])
        for place in wanted:
            with suppress(OSError, UnitError):
                apply([], [File(str(folder / place), "0666", **owner, content="wanted")], [])
            with suppress(OSError, UnitError):
                apply([], [], [str(folder / place)])
        assert described(outside) == untouched
