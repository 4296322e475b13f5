"""Docker Engine as a service of this machine: started whatever keeps it from starting, stopped, given a new store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import List

from ..documents import DocumentError, printable, read_json
from ..errors import UnitError
from .listeners import container_of

UNITS = ("containerd.service", "docker.socket", "docker.service")
OPTIONS_FILE = Path("/etc/docker/daemon.json")
DEFAULT_ROOT = Path("/var/lib/docker")
# What is moved out of the way: kept where it holds what is not ours, removed otherwise.
ASIDE = ".set-aside-"
SPENT = ".spent-"
# An engine with many containers takes its time; systemd's own limit is 90 s.
SYSTEMD_S = 180.0
LIMIT_OF_OPTIONS = 1024 * 1024


class EngineService:
    """What systemd and the disk say of the engine, which itself may be silent."""

    def start(self) -> None:
        """Start it, also where somebody disabled or masked it.

        Raises:
            UnitError: it does not start; the text holds its last words.
        """
        _systemctl("daemon-reload")
        for unit in UNITS:
            if _state(unit) in ("masked", "masked-runtime"):
                _systemctl("unmask", unit)
                _systemctl("unmask", "--runtime", unit)
        for unit in UNITS:
            if _state(unit) == "disabled":
                _systemctl("enable", unit)
        _systemctl("reset-failed", *UNITS)
        done = _systemctl("start", "docker.service")
        if done.returncode:
            raise UnitError(f"Docker Engine does not start: {_last_words() or done.stderr.strip()}")

    def stop(self) -> None:
        """Stop it, and what still runs in containers although it is gone: with live-restore, all of them.

        Raises:
            UnitError: it does not stop.
        """
        done = _systemctl("stop", "docker.socket", "docker.service")
        if done.returncode and _systemctl("is-active", "docker.service").stdout.strip() == "active":
            raise UnitError(f"Docker Engine does not stop: {done.stderr.strip()}")
        end = time.monotonic() + SYSTEMD_S
        while True:
            left = [pid for pid in _processes() if container_of(pid)]
            if not left:
                return
            if time.monotonic() > end:
                raise UnitError(f"process {left[0]} of a container does not end")
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)

    def root(self) -> Path:
        """Where the engine keeps all that it has, as its options say; the usual place where they say nothing."""
        options = None
        with suppress(OSError, DocumentError):
            if OPTIONS_FILE.stat().st_size <= LIMIT_OF_OPTIONS:
                options = read_json(OPTIONS_FILE.read_text(encoding="utf-8", errors="replace"))
        chosen = options.get("data-root") if isinstance(options, dict) else None
        return Path(chosen) if isinstance(chosen, str) and chosen.startswith("/") else DEFAULT_ROOT

    def move_store(self, root: Path, kind: str) -> Path:
        """Move what the engine keeps out of its way; `kind` is ASIDE or SPENT. The engine must not run.

        Nothing stays mounted in it, so that a person can remove it.

        Returns:
            Where it is now.
        """
        name = f"{kind}{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
        if not os.path.ismount(root):
            aside = root.with_name(root.name + name)
            root.rename(aside)
            _unmount_below(aside)
            return aside
        # A disk of its own: what is on it stays on it.
        aside = root / name[1:]
        aside.mkdir(mode=0o700)
        for one in sorted(root.iterdir()):
            if not one.name.startswith((ASIDE[1:], SPENT[1:], "lost+found")):
                one.rename(aside / one.name)
        _unmount_below(aside)
        return aside

    def spent(self, root: Path) -> List[Path]:
        """Stores that were moved away and hold nothing but what is ours; a kill may have left them."""
        found = list(root.parent.glob(f"{root.name}{SPENT}*"))
        return sorted([*found, *root.glob(f"{SPENT[1:]}*")])


def remove_store(path: Path) -> None:
    """Remove a store, whatever is wrong with it.

    Raises:
        UnitError: something of it stays.
    """
    _unmount_below(path)
    done = subprocess.run(
        ["rm", "--recursive", "--force", "--one-file-system", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UnitError(f"{path} cannot be removed: {printable(done.stderr.strip(), 200)}")


def _unmount_below(path: Path) -> None:
    """A container that died with its engine leaves its file system mounted there, and nobody can remove the folder."""
    for line in reversed(Path("/proc/mounts").read_text(encoding="utf-8").splitlines()):
        target = line.split()[1].encode().decode("unicode_escape")
        if Path(target) != path and path in Path(target).parents:
            subprocess.run(["umount", "--lazy", target], capture_output=True, check=False)


def _processes() -> List[int]:
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]


def _state(unit: str) -> str:
    return _systemctl("is-enabled", unit).stdout.strip()


def _last_words() -> str:
    """Why the engine ended, in its own words."""
    command = ["journalctl", "--unit", "docker.service", "--lines", "40", "--output", "json", "--no-pager"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    said = ""
    for line in done.stdout.splitlines():
        with suppress(ValueError, AttributeError):
            text = json.loads(line).get("MESSAGE")
            if isinstance(text, str) and ("failed to start daemon" in text or "unable to configure" in text):
                said = text
    return printable(said, 300)


def _systemctl(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=SYSTEMD_S, check=False)
    except FileNotFoundError:
        raise UnitError("systemctl is missing: this machine does not run systemd") from None
    except subprocess.TimeoutExpired:
        raise UnitError(f"systemctl {words[0]} did not end within {SYSTEMD_S:g} s") from None
