"""Whoever looks after a unit is told what happens to it: once for each event, and again until it was received.

Records wait on the disk, because the network is often what is missing, and no more of them than a folder bears. They
are sent after the look and the repair, within a limit of time. They hold no secret; nor does what is said of where they
go.
"""

from __future__ import annotations

import base64
import json
import os
import pwd
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from .. import web
from ..deploy import verdicts
from ..deploy.deadline import deadline
from ..deploy.outcome import Outcome
from ..deploy.state import Store
from ..errors import ConfigurationError, UnitError
from ..files import read_json, remove_durably, write_durably
from ..report import Report, stamp
from ..settings import Settings
from ..sources.reference import read_secret
from .record import Record, cause

NOT_WHOLE = "not-whole"
HEALED = "healed"
ROLLED_BACK = "rolled-back"
SILENT = "silent"
# Records that wait; of more, the oldest go.
MOST = 100
# For one record, and for all that are sent in one go.
SECONDS = 20.0
SECONDS_A_GO = 60.0
DAY_S = 86400.0
# Who runs the command: what it is told may come from others, and Docker's socket is root's.
USER = "nobody"
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class NotReceivedError(UnitError):
    """A record is sent again later."""


@dataclass
class _Told:
    """What was told so far, so that each event is told once; on the disk, for a restart is no event.

    Attributes:
        since: when the unit began to tell.
        number: of the last record.
        whole, silent: as it was told last.
        history_bytes, history_id: how far the history was read.
    """

    since: float = 0.0
    number: int = 0
    whole: bool = True
    silent: bool = False
    history_bytes: int = -1
    history_id: str = ""


def is_wanted(settings: Settings) -> bool:
    """Is anybody to be told?"""
    return bool(settings.notify.to or settings.notify.address_file)


def note(settings: Settings, store: Store, found: Record, is_sure: bool, outcome: Optional[Outcome] = None) -> None:
    """Put a record into the queue for each event that was not told yet.

    Args:
        settings: of the unit.
        store: has the history and the state.
        found: by the look.
        is_sure: it is more than a service that just starts.
        outcome: of the repair, if there was one.

    Raises:
        OSError: the disk takes no record; the event is told at the next look.
    """
    if not is_wanted(settings):
        return
    known = _known(store)
    before = asdict(known)
    rolled_back = _rolled_back(store, known)
    records = [_record(settings, ROLLED_BACK, f"went back: {line['reason']}", attempt=line) for line in rolled_back]
    if known.whole and is_sure and not found.whole:
        known.whole = False
        records.append(_record(settings, NOT_WHOLE, f"is not whole: {cause(found)}", found.problems))
    if not known.whole and found.whole:
        known.whole = True
        how = f": {outcome.reason}" if outcome else ""
        records.append(_record(settings, HEALED, f"is whole again{how}", [], outcome.as_dict() if outcome else None))
    silence = _silence(settings, store, known)
    if silence and not known.silent:
        records.append(_record(settings, SILENT, silence))
    known.silent = bool(silence)
    for record in records:
        known.number += 1
        _queue(store, known.number, record)
    if asdict(known) != before:
        write_durably(_folder(store) / "told.json", json.dumps(asdict(known)) + "\n", mode=0o600)


def send(settings: Settings, report: Report) -> None:
    """Send what waits, the oldest first; what is not received waits on."""
    store = Store(Path(settings.state))
    files = waiting(store)
    if not files or not is_wanted(settings):
        return
    end = time.monotonic() + SECONDS_A_GO
    try:
        target = target_of(settings)
        for path in files:
            record = read_json(path)
            if record is not None:  # otherwise the disk has spoiled it
                target.tell(json.dumps(record).encode())
            remove_durably(path)
            if time.monotonic() > end:
                return
    except (UnitError, OSError) as error:
        report.step("notices", f"{len(waiting(store))} wait: {error}")


def waiting(store: Store) -> List[Path]:
    """The records that were not received yet, oldest first."""
    return sorted(path for path in _folder(store).glob("*.json") if path.stem.isdigit())


def told(settings: Settings) -> str:
    """Who is told, and whether something waits, for a person.

    Raises:
        ConfigurationError: nobody can be told, as it is set.
        UnitError: records wait.
    """
    if not is_wanted(settings):
        return "nobody is told of events: health_notify is not set"
    target = target_of(settings)
    files = waiting(Store(Path(settings.state)))
    if files:
        since = stamp(files[0].stat().st_mtime)
        raise UnitError(f"{len(files)} notices wait since {since} UTC: panoptes-unit heal says why")
    return f"{target.name} is told of events"


# -- events --------------------------------------------------------------------------------------------------------


def _folder(store: Store) -> Path:
    return store.folder / "notices"


def _known(store: Store) -> _Told:
    document = read_json(_folder(store) / "told.json")
    known = _Told(since=time.time())
    if isinstance(document, dict):
        for item in fields(_Told):
            value = document.get(item.name)
            if type(value) is type(getattr(known, item.name)):
                setattr(known, item.name, value)
    known.since = min(known.since, time.time())  # a time in the future is none
    return known


def _rolled_back(store: Store, known: _Told) -> List[Dict[str, Any]]:
    """Lines of the history that are new since it was read last; none where it is read for the first time."""
    size = store.history_path.stat().st_size if store.history_path.is_file() else 0
    if size == known.history_bytes:
        return []
    lines, is_first = store.history(), known.history_bytes < 0
    numbers = [number for number, line in enumerate(lines) if line["id"] == known.history_id]
    known.history_bytes, known.history_id = size, lines[-1]["id"] if lines else ""
    new = lines[numbers[-1] + 1 :] if numbers else [] if is_first else lines
    return [line for line in new if line.get("verdict") == verdicts.ROLLED_BACK]


def _silence(settings: Settings, store: Store, known: _Told) -> str:
    days = settings.notify.silent_days
    if not days:
        return ""
    heard = (store.load().last_check or {}).get("at", 0.0)
    now = time.time()
    if now - max(known.since, heard if heard <= now else 0.0) <= days * DAY_S:
        return ""
    when = f"since {stamp(heard)} UTC" if heard else f"since {stamp(known.since)} UTC at least"
    return f"has had no answer of {settings.source} {when}"


def _record(
    settings: Settings,
    event: str,
    text: str,
    problems: Optional[List[Dict[str, str]]] = None,
    attempt: Optional[Dict[str, Any]] = None,
) -> Dict[str, Any]:
    unit = settings.config_value or socket.gethostname()
    kept = ("id", "verb", "by", "at", "verdict", "reason", "old", "new")
    return {
        "event": event,
        "at": round(time.time()),
        "unit": unit,
        "host": socket.gethostname(),
        "text": f"{unit} {text}",
        "problems": problems or [],
        "attempt": {name: attempt.get(name) for name in kept} if attempt else None,
    }


def _queue(store: Store, number: int, record: Dict[str, Any]) -> None:
    folder = _folder(store)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(folder / f"{number:08}.json", json.dumps({"number": number, **record}) + "\n", mode=0o600)
    for path in waiting(store)[:-MOST]:
        remove_durably(path)


# -- the way to whoever is told ------------------------------------------------------------------------------------


class Target(NamedTuple):
    """Who is told.

    Attributes:
        name: without what may be a secret.
        tell: takes a record as JSON; raises NotReceivedError.
    """

    name: str
    tell: Callable[[bytes], None]


def target_of(settings: Settings) -> Target:
    """Who is told, as the settings say.

    Raises:
        ConfigurationError: they say nothing that can be done.
    """
    words, file = settings.notify.to, settings.notify.address_file
    if words and file:
        raise ConfigurationError("notify: to and address_file are both set: leave one of them empty")
    if file:
        return _address(read_secret(file, "the address for notices"), f"the address in {file}", may_log_in=True)
    if not any("://" in word for word in words[:1]):
        return Target(words[0], lambda content: _run(words, content))
    if len(words) > 1:
        raise ConfigurationError("notify: to is an address and more words: give the address alone, or a command")
    return _address(words[0], "notify: to", may_log_in=False)


def _address(text: str, where: str, may_log_in: bool) -> Target:
    try:
        parts = urllib.parse.urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError(f"{where} is no address: write https://HOST/PATH") from None
    is_here = web.is_loopback(host)
    if not host or not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigurationError(f"{where} is no address: write https://HOST/PATH")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_here):
        raise ConfigurationError(f"{where} is not https: only this machine itself is told by http")
    if "@" in parts.netloc and not may_log_in:
        raise ConfigurationError(f"{where} holds a login: put the address into a file, and name that in address_file")
    place = f"[{host}]" if ":" in host else host
    place += f":{port}" if port else ""
    headers = {"Content-Type": "application/json", "User-Agent": "panoptes-unit"}
    if "@" in parts.netloc:
        login = urllib.parse.unquote(parts.netloc.rpartition("@")[0])
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    url = urllib.parse.urlunsplit((parts.scheme, place, parts.path or "/", parts.query, ""))
    name = f"{parts.scheme}://{place}"

    def tell(content: bytes) -> None:
        request = web.Request(url, SECONDS / 2, SECONDS, redirects=False, data=content, headers=headers)
        try:
            with deadline(SECONDS * 1.5, f"telling {name}"):
                web.open_plainly(web.opener(direct=is_here), request).close()
        except urllib.error.HTTPError as error:
            error.close()
            raise NotReceivedError(f"{name} answers {error.code}") from None
        except OSError as error:
            raise NotReceivedError(f"{name}: {_reason(error)}") from None
        except ValueError:
            raise NotReceivedError(f"{name} does not speak HTTP") from None

    return Target(name, tell)


def _reason(error: OSError) -> str:
    """Why there was no answer; what a server sends us on to may repeat the address."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, socket.timeout):
        return "it does not answer in time"
    if isinstance(reason, OSError):
        return reason.strerror or "it sends us on, or away"
    return "it cannot be reached"


def _run(words: List[str], content: bytes) -> None:
    who: Dict[str, Any] = {}
    if os.geteuid() == 0:
        account = pwd.getpwnam(USER)
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    try:
        # In a session of its own, so that all that it starts can be ended.
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd="/", env=_ENVIRONMENT, start_new_session=True, **who,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise NotReceivedError(f"{words[0]} does not start as {USER}: {said}") from None
    try:
        process.communicate(content, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise NotReceivedError(f"{words[0]} did not end within {SECONDS:g} s") from None
    if process.returncode:
        raise NotReceivedError(f"{words[0]} ended with {process.returncode}")
