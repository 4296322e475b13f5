"""Where messages go, and that a service's process stays small."""

import ast
import re
import string
import subprocess
import sys
from pathlib import Path

import pytest

import panoptes_utils
from panoptes_utils import error, process
from panoptes_utils.logging import get_root_logger, log_to_stderr, logger
from panoptes_utils.time import CountdownTimer

# What loguru's logger and the plain one both have.
SHARED = {"trace", "debug", "info", "success", "warning", "error", "critical", "exception", "log"}


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


def _calls():
    """Every call of the logger in the package: where, the method's name, the call."""
    for path in sorted(Path(panoptes_utils.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                if getattr(owner, "id", getattr(owner, "attr", None)) == "logger":
                    yield f"{path.name}:{node.lineno}", node.func.attr, node


def test_every_call_suits_both_loggers():
    found = list(_calls())
    assert len(found) > 30
    for where, method, call in found:
        if method in ("add", "remove"):  # loguru's own, where loguru was asked for
            assert where.startswith(("logging.py:", "cli.py:")), where
            continue
        assert method in SHARED, where
        message, *values = call.args[1:] if method == "log" else call.args
        if values or call.keywords:
            # A text with places for exactly the values that come with it: both loggers use str.format.
            assert isinstance(message, ast.Constant), f"{where}: values belong into a plain text, not an f-string"
            places = [field for _, field, _, _ in string.Formatter().parse(message.value) if field is not None]
            assert places == [""] * len(values) + [word.arg for word in call.keywords], where


@pytest.fixture(params=["plain", "loguru"])
def told(request, capfd):
    """Either logger at its most talkative, and a function that returns what it wrote."""
    if request.param == "plain":
        log_to_stderr("TRACE")
        yield lambda: capfd.readouterr().err
        return
    from loguru import logger as loguru_logger

    lines = []
    number = loguru_logger.add(lines.append, level="TRACE", format="{level}: {message}")
    yield lambda: "".join(lines)
    loguru_logger.remove(number)


def test_both_loggers_write_the_same(told):
    for method in sorted(SHARED - {"exception", "log"}):
        getattr(logger, method)("{} of {total}", method, total=7)
    logger.log("INFO", "{:.1f} s", 2)
    logger.warning("{not a place}")
    logger.error(ValueError("as it is"))
    try:
        raise ValueError("inside")
    except ValueError:
        logger.exception("{} failed", "it")
    text = told()
    for method in SHARED - {"exception", "log"}:
        assert f"{method.upper()}: {method} of 7\n" in text
    for line in ("INFO: 2.0 s", "WARNING: {not a place}", "ERROR: as it is", "ERROR: it failed", "ValueError: inside"):
        assert f"{line}\n" in text


def test_programs_and_timers_under_both_loggers(told):
    assert process.run(["echo", "{}"], timeout=20).stdout == "{}\n"
    with pytest.raises(error.InvalidSystemCommand, match="exit code 1"):
        process.run(["false"], timeout=20, check=True)
    CountdownTimer(0.01, "short").sleep(log_level="INFO")
    text = told()
    assert "DEBUG: Running ['echo', '{}']\n" in text
    assert "INFO: Sleeping short Timer" in text
