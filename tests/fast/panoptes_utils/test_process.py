import os
import signal
import threading
import time
from pathlib import Path

import pytest

from panoptes_utils import error, process


def alive(pid):
    """Whether a process runs (one that waits to be reaped does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # before it is opened, and before it is read
        return False


def wait_until(condition, seconds=10):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "gave up waiting"
        time.sleep(0.01)


@pytest.fixture
def stubborn(tmp_path):
    """A program that will not stop when asked, with a child that will not either; writes both numbers."""
    script = tmp_path / "stubborn"
    script.write_text(
        f"""#!/bin/sh
trap '' TERM
(trap '' TERM; while :; do sleep 0.1; done) &
echo $$ $! > {tmp_path}/pids.part
mv {tmp_path}/pids.part {tmp_path}/pids
wait
while :; do sleep 0.1; done
"""
    )
    return script


def pids(folder):
    wait_until((folder / "pids").exists)
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def test_the_time_limit_ends_a_stubborn_program_and_its_child(stubborn, tmp_path):
    with pytest.raises(error.Timeout, match="sh: stopped after 1.0 s"):
        process.run(["sh", stubborn], timeout=1)
    leader, child = pids(tmp_path)
    wait_until(lambda: not alive(leader) and not alive(child))


def test_an_interrupt_ends_the_program_too(stubborn, tmp_path):
    def interrupt():
        pids(tmp_path)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        process.run(["sh", stubborn], timeout=30)
    thread.join()
    leader, child = pids(tmp_path)
    wait_until(lambda: not alive(leader) and not alive(child))


def test_a_child_that_outlives_its_parent_is_ended(tmp_path):
    started = process.start(["sh", "-c", f"sleep 100 & echo $! > {tmp_path}/child"])
    started.wait(10)
    child = int((tmp_path / "child").read_text())
    assert alive(child)
    process.stop(started)
    wait_until(lambda: not alive(child))


def test_stopped_means_gone_even_where_dying_takes_a_while(stubborn, tmp_path, monkeypatch):
    """On a busy machine a killed program waits for a processor, and could still write."""
    started = process.start(["sh", stubborn])
    leader, child = pids(tmp_path)
    killpg = os.killpg

    def late(group, sign):
        threading.Timer(3 if sign == signal.SIGKILL else 0, killpg, (group, sign)).start()

    monkeypatch.setattr(os, "killpg", late)
    os.kill(leader, signal.SIGKILL)
    process.stop(started)
    assert not alive(leader)
    wait_until(lambda: not alive(child), 2)


class Stop(Exception):
    """What the handler of a signal raises, as the command line's does."""


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_program_starts_ends_it(monkeypatch, sign):
    """It comes when the program runs and Popen has not yet said which it is."""
    started = []

    class Interrupted(process.subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self.pid)
            os.kill(os.getpid(), sign)

    def stop(*_):
        raise Stop

    monkeypatch.setattr(process.subprocess, "Popen", Interrupted)
    before = signal.signal(sign, stop)
    try:
        with pytest.raises(Stop):
            process.run(["sleep", "100"], timeout=30)
        assert signal.getsignal(sign) is stop
    finally:
        signal.signal(sign, before)
    assert len(started) == 1
    assert not alive(started[0])


def test_failure_is_told_in_one_line():
    with pytest.raises(error.InvalidSystemCommand, match="exit code 3: the reason$"):
        process.run(["sh", "-c", "echo first >&2; echo the reason >&2; exit 3"], timeout=10, check=True)
    with pytest.raises(error.InvalidSystemCommand, match="no message"):
        process.run(["false"], timeout=10, check=True)
    assert process.run(["sh", "-c", "exit 4"], timeout=10).returncode == 4


def test_programs_are_found_or_named(monkeypatch, tmp_path):
    assert process.find_program("no-such-program", "sh").endswith("/sh")
    with pytest.raises(error.InvalidSystemCommand, match="no-such-program or nor-this"):
        process.find_program("no-such-program", "nor-this")
    monkeypatch.setenv("MY_SHELL", "/no/such/shell")
    with pytest.raises(error.InvalidSystemCommand, match="MY_SHELL=/no/such/shell"):
        process.find_program("sh", variable="MY_SHELL")
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    with pytest.raises(error.InvalidSystemCommand, match="broken: cannot be run"):
        process.run([broken], timeout=5)
