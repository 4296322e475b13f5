"""The configuration's files: merging, damage, and writing that survives a crash at any step."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptes_utils.config import files
from panoptes_utils.config.helpers import config_path, load_config, parse_config_directories, save_config
from panoptes_utils.config.store import ConfigStore
from panoptes_utils.error import InvalidConfig, NotFound
from panoptes_utils.files import write_durably

trees = st.recursive(
    st.integers() | st.text(max_size=5) | st.none() | st.lists(st.integers(), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict))


class PowerCut(BaseException):
    """The machine stops here."""


@given(trees, trees)
def test_merge_takes_mappings_level_by_level(base, over):
    merged = files.merge(base, over)
    assert set(merged) == set(base) | set(over)
    for key in merged:
        if key not in over:
            assert merged[key] == base[key]
        elif isinstance(over[key], dict) and isinstance(base.get(key), dict):
            assert merged[key] == files.merge(base[key], over[key])
        else:
            assert merged[key] == over[key]


STEPS = ["open", "chmod", "fsync", "close", "replace"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_power_cut_at_any_step_leaves_old_or_new(tmp_path, monkeypatch, step, when):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"old")
    real = getattr(os, step)

    def cut(*arguments, **options):
        if when == "after":
            real(*arguments, **options)
        raise PowerCut

    monkeypatch.setattr(os, step, cut)
    with pytest.raises(PowerCut):
        write_durably(path, b"new content")
    monkeypatch.undo()
    assert path.read_bytes() == (b"new content" if (step, when) == ("replace", "after") else b"old")
    # What a cut leaves behind is no obstacle, and does not become more.
    (tmp_path / ".x.yaml.tmp").write_bytes(b"new con")
    write_durably(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.yaml"]


def test_the_order_of_steps_is_the_one_that_survives_a_power_cut(tmp_path, monkeypatch):
    steps = []
    real = {name: getattr(os, name) for name in ("fsync", "replace")}

    def fsync(descriptor):
        name = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append(f"fsync {name}" if name.is_dir() else f"fsync {name} {name.read_text()}")
        real["fsync"](descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda *a, **k: steps.append("rename") or real["replace"](*a, **k))
    write_durably(tmp_path / "x", b"data")
    assert steps == [f"fsync {tmp_path}/.x.tmp data", "rename", f"fsync {tmp_path}"]


def test_mode_is_kept_and_nothing_left_after_an_error(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(0o640)
    write_durably(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o640

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"newer")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("damage", [b"a: [1", b"\x00\x00\x00\x00", b"", b"\xff\xfe", b"- a list", b"a: 1\n\x00\x00"])
def test_a_damaged_local_file_is_set_aside_for_its_copy(tmp_path, damage):
    path = tmp_path / "pocs_local.yaml"
    files.write_local(path, b"a: 1\n")
    path.write_bytes(damage)
    tree, said = files.read_local(path)
    assert tree == {"a": 1}
    assert "last good copy is used" in said
    assert path.read_bytes() == b"a: 1\n"
    aside = list(tmp_path.glob("pocs_local.yaml.damaged-*"))
    assert [entry.read_bytes() for entry in aside] == [damage]
    assert files.read_local(path) == ({"a": 1}, None)


def test_a_local_file_that_cannot_be_read_is_left_alone_and_its_copy_used(tmp_path):
    path = tmp_path / "pocs_local.yaml"
    path.mkdir()
    files.good_copy(path).write_text("name: kept\n")
    tree, damage = files.read_local(path)
    assert (tree, path.is_dir()) == ({"name": "kept"}, True)
    assert f"cannot read {path}" in damage


def test_a_damaged_local_file_without_a_copy(tmp_path):
    path = tmp_path / "pocs_local.yaml"
    path.write_bytes(b"a: [1")
    tree, said = files.read_local(path)
    assert tree == {}
    assert "there is no good copy" in said
    assert not path.exists()


def test_a_removed_local_file_stays_removed(tmp_path):
    path = tmp_path / "pocs_local.yaml"
    files.write_local(path, b"a: 1\n")
    path.unlink()
    assert files.read_local(path) == ({}, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"a: [1\nb: 2", "line 2, column 2"),
        (b"- 1", "not 'key: value' lines"),
        (b"\xff", "not UTF-8"),
        (b"a: &x 1\nb: *y", "undefined alias"),
        (b"a: 1\na: 2", "duplicate key"),
    ],
)
def test_bad_yaml_is_named(tmp_path, text, reason):
    (tmp_path / "x.yaml").write_bytes(text)
    with pytest.raises(InvalidConfig, match=reason):
        files.read_yaml(tmp_path / "x.yaml")


def test_plain_is_what_json_knows():
    tree = files.parse_yaml(b"a: 2020-01-01\nb: .inf\n3: x\nc: 0x10\nd: [1.5, true, null]", "x")
    assert files.plain(tree) == {"a": "2020-01-01", "b": None, "3": "x", "c": 16, "d": [1.5, True, None]}


def test_a_tree_that_contains_itself_is_refused():
    tree = {}
    tree["again"] = tree
    with pytest.raises(InvalidConfig, match="contains itself"):
        files.plain(tree)


def test_load_merges_and_parses(unit):
    units = pytest.importorskip("astropy.units")
    (unit.parent / "pocs_local.yaml").write_text("location: {latitude: 20 deg}\n")
    config = load_config(unit)
    assert config["location"]["latitude"] == 20 * units.deg
    assert config["location"]["elevation"] == 3400 * units.m
    assert config["directories"] == {"base": "/var/panoptes", "images": "/var/panoptes/images"}
    assert load_config(unit, parse=False, load_local=False)["location"]["latitude"] == "19.54 deg"


def test_several_files_and_missing_ones(unit, monkeypatch):
    (unit.parent / "other.yaml").write_text("name: Other\nlocation: {horizon: 20 deg}\n")
    config = load_config([unit, "other", "missing"], parse=False)
    assert config["name"] == "Other"
    assert config["location"]["latitude"] == "19.54 deg"
    assert config["location"]["horizon"] == "20 deg"


def test_configuration_is_found_by_name_and_environment(unit, monkeypatch):
    assert config_path("pocs") == unit
    assert config_path() == unit
    monkeypatch.setenv("PANOPTES_CONFIG_FILE", "/etc/other.yaml")
    assert str(config_path()) == "/etc/other.yaml"


def test_save_writes_the_local_file(unit):
    before = unit.read_text()
    assert save_config(unit, {"a": {"b": 1}}) is True
    assert (unit.parent / "pocs_local.yaml").read_text() == "a:\n  b: 1\n"
    with pytest.raises(FileExistsError):
        save_config(unit, {}, overwrite=False)
    assert unit.read_text() == before


@pytest.mark.parametrize("content", [None, b"", b"# mine\na: 1\n", b"a: [1", b"\0" * 100])
@pytest.mark.parametrize("target", ["../kept/real.yaml", "{}/kept/real.yaml", "{}/kept/chain"])
@pytest.mark.parametrize("copied", [True, False])
def test_a_local_file_that_is_a_link_stays_one(unit, tmp_path, content, target, copied):
    real, local = tmp_path / "kept" / "real.yaml", unit.with_name("pocs_local.yaml")
    real.parent.mkdir()
    (real.parent / "chain").symlink_to(real)
    if content is not None:
        real.write_bytes(content)
    if copied:
        files.good_copy(local).write_text("name: Kept\n")
    local.symlink_to(target.format(tmp_path))
    store = ConfigStore(unit)
    store.set({"b": 2})
    assert local.is_symlink() and local.readlink() == Path(target.format(tmp_path))
    assert files.read_yaml(real)["b"] == 2
    assert ConfigStore(unit).get() == store.get()
    aside = list(real.parent.glob("real.yaml.damaged-*"))
    bad = content is not None and b"a: 1" not in content and (copied or content != b"")
    assert [path.read_bytes() for path in aside] == ([content] if bad else [])
    assert (store.get("name") == "Kept") == (bad and copied)
    save_config(unit, {"c": 3})
    assert local.is_symlink() and real.read_text() == "c: 3\n"


words = st.text("abc: #'-0159.", max_size=8)
plain_trees = st.dictionaries(
    words.filter(bool),
    st.recursive(st.none() | st.booleans() | st.integers() | words, lambda inner: st.lists(inner, max_size=3)),
    max_size=4,
)


@given(plain_trees, st.booleans())
def test_what_was_saved_is_loaded_with_or_without_the_file_that_it_belongs_to(tree, has_base):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "unit.yaml"
        if has_base:
            path.write_text("{}")
        save_config(path, tree)
        assert load_config(path, parse=False) == tree
        assert load_config([path, Path(folder) / "missing"], parse=False) == tree
        assert load_config(path, parse=False, load_local=False) == {}
        assert load_config(path.with_name("unit_local"), parse=False) == tree


def test_relative_directories_are_below_the_base(tmp_path):
    assert parse_config_directories({"images": "images", "logs": "/logs"}) == {
        "base": str(tmp_path),
        "images": f"{tmp_path}/images",
        "logs": "/logs",
    }
    with pytest.raises(NotFound, match=r"directories\.images"):
        parse_config_directories({"images": "images"}, must_exist=True)
