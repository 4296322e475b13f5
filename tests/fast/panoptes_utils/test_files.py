import os

import pytest

from panoptes_utils.files import replacing


def test_the_new_content_and_the_old_mode(tmp_path):
    path = tmp_path / "a.fits"
    path.write_text("old")
    path.chmod(0o640)
    with replacing(path) as draft:
        assert draft.suffix == ".fits"
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_gets_the_usual_mode(tmp_path):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "new") as draft:
            draft.write_text("x")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640


def test_nothing_changes_when_the_block_fails(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as draft:
        draft.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    with replacing(tmp_path / "link") as draft:
        draft.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_what_others_may_not_read_is_private_while_it_is_written(tmp_path):
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o400)
    with replacing(path) as draft:
        assert draft.stat().st_mode & 0o777 == 0o600
        draft.write_text("new")
    assert path.stat().st_mode & 0o777 == 0o400


def test_two_writers_at_once_do_not_meet(tmp_path):
    path = tmp_path / "a"
    with replacing(path) as one, replacing(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one", "who ends last"
    assert list(tmp_path.iterdir()) == [path]
