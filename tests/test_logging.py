"""Where messages go, and that a service's process stays small."""

import re
import subprocess
import sys

import pytest

from panoptes_utils.logging import get_root_logger, log_to_stderr, logger


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(logger, "target", None)


def test_plain_lines_of_a_service(capfd):
    log_to_stderr("WARNING")
    logger.info("not this")
    logger.warning("two\nlines")
    try:
        raise ValueError("inside")
    except ValueError:
        logger.exception("outside")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "WARNING: two\\nlines"
    assert lines[1] == "ERROR: outside"
    assert lines[-1] == "ValueError: inside"
    with pytest.raises(AttributeError):
        logger.nonsense("x")


def test_a_service_does_not_load_loguru():
    program = (
        "import sys; from panoptes_utils.logging import logger, log_to_stderr; log_to_stderr(); logger.info('x');"
        "assert not {'loguru', 'asyncio', 'logging'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_file_in_the_log_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PANLOG", str(tmp_path / "logs"))
    log = get_root_logger("unit", {"level": "WARNING"})
    try:
        log.info("not this")
        log.warning("rain")
    finally:
        log.remove()
    text = (tmp_path / "logs" / "unit.log").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} WARNING  \S+:\d+ rain\n", text)
