"""The configuration as it was before a release is put back whole, or it is said what is not, and where it is."""

from __future__ import annotations

import pytest

from panoptes_unit.deploy import kept_configuration
from panoptes_unit.guarded import TooLargeError


def test_configuration_is_put_back_byte_for_byte(tmp_path):
    folder, target, aside = tmp_path / "conf", tmp_path / "saved", tmp_path / "aside"
    (folder / "deep").mkdir(parents=True)
    (folder / "pocs.yaml").write_text("name: a\n")
    (folder / "deep" / "gone").write_bytes(b"\x00\xff")
    (folder / "pocs.yaml").chmod(0o640)
    kept_configuration.save([str(folder)], target)
    assert kept_configuration.differences([str(folder)], target) == []
    (folder / "pocs.yaml").write_text("spoiled")
    (folder / "pocs.yaml").chmod(0o600)
    (folder / "deep" / "gone").unlink()
    (folder / "new").write_text("by the bad release")
    assert len(kept_configuration.differences([str(folder)], target)) == 3
    kept_configuration.restore([str(folder)], target, aside)
    assert kept_configuration.differences([str(folder)], target) == []
    assert (folder / "pocs.yaml").stat().st_mode & 0o777 == 0o640
    assert (aside / str(folder / "new").lstrip("/")).read_text() == "by the bad release"


def test_new_file_in_a_subfolder_moves_aside(tmp_path):
    folder, target, aside = tmp_path / "conf", tmp_path / "saved", tmp_path / "aside"
    (folder / "deep").mkdir(parents=True)
    kept_configuration.save([str(folder)], target)
    (folder / "deep" / "new").write_text("by the bad release")
    assert kept_configuration.restore([str(folder)], target, aside) == []
    assert list((folder / "deep").iterdir()) == []
    assert (aside / str(folder / "deep" / "new").lstrip("/")).read_text() == "by the bad release"


def test_folder_that_became_a_link_is_not_followed_and_the_saved_files_stay(tmp_path):
    folder, target, aside = tmp_path / "theirs" / "conf", tmp_path / "saved", tmp_path / "aside"
    folder.mkdir(parents=True)
    folder.parent.chmod(0o777)
    (folder / "pocs.yaml").write_text("name: a\n")
    kept_configuration.save([str(folder)], target)
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    (elsewhere / "pocs.yaml").write_text("of somebody else")
    folder.symlink_to(elsewhere)
    problems = kept_configuration.restore([str(folder)], target, aside)
    assert any("pocs.yaml is not put back" in problem for problem in problems)
    assert (elsewhere / "pocs.yaml").read_text() == "of somebody else"
    assert (aside / "not-put-back" / "0" / "pocs.yaml").read_text() == "name: a\n"


def test_more_than_can_be_kept_is_refused_before_the_switch(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_configuration, "LIMIT_BYTES", 100)
    folder = tmp_path / "conf"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_bytes(b"x" * 50)
    with pytest.raises(TooLargeError, match="more than 100 bytes"):
        kept_configuration.save([str(folder)], tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
