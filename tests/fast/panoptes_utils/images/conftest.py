"""What the tests of programs on images share."""

import pytest
from processes import running


@pytest.fixture
def temporary(tmp_path_factory, monkeypatch):
    """A temporary folder of the test's own, empty again at its end, and no solver left running."""
    folder = tmp_path_factory.mktemp("tmp")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield folder
    assert list(folder.iterdir()) == []
    assert running(folder) == []
