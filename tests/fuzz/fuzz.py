"""`make fuzz`: what others wrote, damaged in a million ways each, is taken or refused in one plain line.

PANOPTES_FUZZ_INPUTS sets the number of inputs for each reader, PANOPTES_FUZZ_SEED another row of them.

A mutator of our own, and not hypothesis or a fuzzer that watches branches: those take milliseconds for an input, and
ours microseconds, so that a million of them take minutes. It knows what the documents are made of: it changes
whole words, numbers and brackets of the corpus as often as single bytes, which brings it past the parser and to what
reads the fields.

The corpus in `corpus/READER/` is what each reader takes, and each input that once broke it (`broke-…`, which a run that
finds one leaves there). What is too large to be kept is made in `giants`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from panoptes_unit import cli, services, web
from panoptes_unit.deploy import recovery
from panoptes_unit.deploy.journal import Journal
from panoptes_unit.deploy.observing_lock import activity
from panoptes_unit.deploy.outcome import Outcome
from panoptes_unit.deploy.release import Release, read_release
from panoptes_unit.deploy.state import Store
from panoptes_unit.documents import TEXT_LIMIT
from panoptes_unit.errors import UnitError
from panoptes_unit.settings import Settings, load
from panoptes_unit.sources.bundle import Bundle
from panoptes_unit.sources.registry import Registry

CORPUS = Path(__file__).parent / "corpus"
TOO_SLOW_S = 10  # for one input; the slowest takes milliseconds, a giant a second
SHOWN = 3  # of those that broke a reader
KEPT_BYTES = 20_000  # a larger one is no seed
_TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*"|[\w.+-]+|\s+|.', re.DOTALL)
_WORDS = [
    *b'{ } [ ] , : - + " \\ * & ! | > # = . / ~ % @ \0 \x1b 9 sha256: latest ../ /etc/shadow <<: &a *a --- ...'.split(
        b" "
    ),
    *b"null true false 0 1 -1 -0 1.5 -5 0x10 0b1 1:1:1 NaN Infinity -Infinity 1e999 -1e999 1e-999 .nan .inf".split(),
    *b"9223372036854775807 9223372036854775808 -9223372036854775809 1e308 2147483648 4294967296".split(),
    *b"9999-12-31T23:59:59+00:00 0001-01-01T00:00:00+14:00 2026-99-99 2026-07-01 !!int !!float !!bool !!binary".split(),
    *b"!!timestamp !!set !!omap !!python/object:os.system".split(),
    *(b'"" "x" "\\ud800" "\\u0000" "\\u001b[31m"'.split()),
    *b"[] {} [1] [[]] [{}] [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[".split(),
    b'{"a":' * 40,
    b"9" * 400,
    b"9" * 5000,
    b"-" + b"9" * 25,
    b'"sha256:' + b"0" * 64 + b'"',
    b'"sha256:' + b"0" * 64 + b'\\n"',
    *(b"\n", b"\r\n\r\n", b"\t", b" ", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc2\x85", "\u202e".encode()),
    *(b"\x1b]0;x\x07", b"\x9b31m"),
    b"Content-Length: abc\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"-1\r\n",
    b"ffffffff\r\n",
    b"Location: http://127.0.0.1/\r\n",
    b"Location: http://[::1\r\n",
    b"Retry-After: \xb2\r\n",
    b"HTTP/1.1 302 x\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b'WWW-Authenticate: Bearer realm="https://[x"\r\n',
    b"Date: Mon, 99 Abc 99999 99:99\r\n",
]


class Result(NamedTuple):
    """What became of the inputs of one reader."""

    name: str
    inputs: int
    refused: int
    broke: list[str]  # what was raised, and the input
    seconds: float


class Reader:
    """Something that reads what others wrote; `plain` is what it may raise. A folder of its own to write inputs to."""

    plain: tuple[type[BaseException], ...] = (UnitError,)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "input"

    def read(self, content: bytes) -> bool:
        """Is it taken? It may also raise one of `plain`."""
        raise NotImplementedError

    def write(self, content: bytes, path: Path | None = None) -> Path:
        (path or self.file).write_bytes(content)
        return path or self.file


class RegistryAnswers(Reader):
    """Manifests, configurations and tokens."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.registry = Registry("127.0.0.1:1")
        self.headers = Message()
        self.headers["Content-Type"] = "application/vnd.oci.image.manifest.v1+json"

    def read(self, content: bytes) -> bool:
        def canned(*_: object, **__: object) -> Any:
            response = io.BytesIO(content)
            response.headers = self.headers  # type: ignore[attr-defined]
            return self.headers, response

        taken = False
        with mock.patch.object(self.registry, "_open", canned), mock.patch.object(self.registry, "_answer", canned):
            for ask in (
                lambda: [entry.platform for entry in self.registry.index("a/b").manifests],
                lambda: self.registry.image("a/b", "latest").size < 0 and 1 / 0,
                lambda: self.registry._log_in('Bearer realm="https://x.org/t"', "a/b"),
            ):
                with contextlib.suppress(UnitError):
                    ask()
                    taken = True
        return taken


class _FakeSocket:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def makefile(self, *_: object, **__: object) -> io.BytesIO:
        return io.BytesIO(self.content)

    def settimeout(self, _: float) -> None: ...

    def sendall(self, _: bytes) -> None: ...

    def setsockopt(self, *_: object) -> None: ...

    def close(self) -> None: ...


class Wire(Reader):
    """Whole answers of a registry, from the first byte of the status line."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.registry = Registry("127.0.0.1:1", waits=(0,))

    def read(self, content: bytes) -> bool:
        self.registry._authorization.clear()
        with (
            mock.patch.object(socket, "create_connection", lambda *_, **__: _FakeSocket(content)),
            mock.patch("panoptes_unit.sources.registry.time.sleep", lambda _: None),
        ):
            self.registry.digest_of("a/b")
        return True


class ServiceAnswers(Reader):
    """The config server's: the first line is its header `Date`."""

    def read(self, content: bytes) -> bool:
        date, _, body = content.partition(b"\n")
        response = io.BytesIO(body)
        response.headers = Message()  # type: ignore[attr-defined]
        response.headers["Date"] = date.decode("latin-1").strip("\r")  # type: ignore[attr-defined]
        with mock.patch.object(web, "open_plainly", lambda *_: response):
            services.check_config("http://127.0.0.1:1", "pan_id", "")
        return True


class BundleDocuments(Reader):
    """A folder's list of contents, a manifest that it names, and what docker save writes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.layout, self.saved = folder / "layout", folder / "saved"
        self.blobs = self.layout / "blobs/sha256"
        self.blobs.mkdir(parents=True)
        self.saved.mkdir()
        (self.saved / "config.json").write_bytes(b'{"os": "linux"}')
        (self.saved / "layer.tar").write_bytes(b"layer")
        self.blob("{}")

    def blob(self, content: str | bytes) -> str:
        content = content.encode() if isinstance(content, str) else content
        digest = hashlib.sha256(content).hexdigest()
        (self.blobs / digest).write_bytes(content)
        return digest

    def read(self, content: bytes) -> bool:
        digest = self.blob(content)
        entry = b'{"digest": "sha256:%s"}' % digest.encode()
        path, text = (
            (self.layout / "index.json", content),
            (self.layout / "index.json", b'{"schemaVersion": 2, "manifests": [%s]}' % entry),
            (self.layout / "index.json", b'{"schemaVersion": 2, "manifests": [%s, %s]}' % (entry, entry)),
            (self.saved / "manifest.json", content),
        )[int(digest[0], 16) % 4]
        path.write_bytes(text)
        try:
            bundle = Bundle(path.parent)
            bundle.kind(bundle.top).encode("ascii")
        finally:
            (self.blobs / digest).unlink()
        return True


class BundleTars(Reader):
    """The headers of a tar."""

    def read(self, content: bytes) -> bool:
        Bundle(self.write(content))
        return True


class PocsState(Reader):
    """The observing lock's file: whatever is in it, the lock has an answer."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.settings = Settings(source="r.org/a")
        self.settings.observing.file = str(self.file)

    def read(self, content: bytes) -> bool:
        self.write(content)
        found = activity(self.settings)
        assert found.detail.isprintable() and len(found.detail) < 2 * TEXT_LIMIT, "its answer is no plain line"
        return found.kind in ("idle", "observing")


class SettingsFile(Reader):
    def read(self, content: bytes) -> bool:
        load(self.write(content))
        return True


class ReleaseFile(Reader):
    def read(self, content: bytes) -> bool:
        found = read_release(self.write(content))
        return found is not None and bool(found.digest)


class StateFile(Reader):
    def read(self, content: bytes) -> bool:
        self.write(content, self.folder / "state.json")
        store = Store(self.folder)
        state = store.load()
        for release in (state.current_release, state.previous_release):
            if release is not None:
                release.as_env()
        state.lock_in_force()
        return not store.damage


class History(Reader):
    """Its lines, as `panoptes-unit history` shows them."""

    def read(self, content: bytes) -> bool:
        self.write(content, self.folder / "history.jsonl")
        settings, shown = Settings(source="r.org/a", state=str(self.folder)), io.StringIO()
        options = argparse.Namespace(settings=None, lines=20, json=False)
        with mock.patch.object(cli, "load", lambda _: settings), contextlib.redirect_stdout(shown):
            cli._history(options)
        shown.getvalue().encode()
        return "no attempt" not in shown.getvalue()


class JournalFile(Reader):
    """Its lines, as recovery reads them."""

    def read(self, content: bytes) -> bool:
        left = Journal(self.write(content)).unfinished()
        if left is None or not recovery._begins(left):
            return False
        Outcome.from_dict(left["outcome"])
        Release.from_dict(left["old"])
        set(left["points"])
        return bool(recovery._wanted(left).digest) or True


READERS: dict[str, type[Reader]] = {
    "registry": RegistryAnswers,
    "wire": Wire,
    "services": ServiceAnswers,
    "bundle": BundleDocuments,
    "tar": BundleTars,
    "pocs": PocsState,
    "settings": SettingsFile,
    "release": ReleaseFile,
    "state": StateFile,
    "history": History,
    "journal": JournalFile,
}


class Mutator:
    """Inputs made of a corpus, the same ones for the same seed."""

    def __init__(self, corpus: list[bytes], seed: object) -> None:
        self.random = random.Random(repr(seed))
        self.corpus = corpus
        self.tokens = [_TOKEN.findall(content) for content in corpus]
        self.words = _WORDS + sorted({token for tokens in self.tokens for token in tokens if not token.isspace()})

    def next(self) -> bytes:
        """One more input."""
        draw = self.random.random
        tokens = list(self.tokens[int(draw() * len(self.tokens))])
        for _ in range(1 + int(draw() * 3)):
            at, kind = int(draw() * len(tokens)), draw()
            if kind < 0.6:
                tokens[at : at + 1] = [self.words[int(draw() * len(self.words))]]
            elif kind < 0.7:
                tokens.insert(at, self.words[int(draw() * len(self.words))])
            elif kind < 0.8:
                del tokens[at : at + 1 + int(draw() * 5)]
            elif kind < 0.9:
                tokens[at:at] = tokens[at : at + 1 + int(draw() * 12)]
            else:
                other = self.tokens[int(draw() * len(self.tokens))]
                tokens[at:] = other[int(draw() * len(other)) :]
        content = b"".join(tokens)
        if content and draw() < 0.3:
            raw = bytearray(content)
            for _ in range(1 + int(draw() * 4)):
                raw[int(draw() * len(raw))] = int(draw() * 256)
            content = bytes(raw)
        return content


class _TooSlow(BaseException):
    pass


def _ring(*_: object) -> None:
    raise _TooSlow


def giants() -> list[bytes]:
    """What is too large to lie in the corpus."""
    bomb = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]\n" for n in range(12))
    merges = "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9) if n else ''}], k: 1}}\n" for n in range(12))
    return [
        b"[" * 300_000,
        b'{"a":' * 300_000,
        b'{"manifests": ' + b"[" * 300_000,
        b"[" * 900 + b"]" * 900,
        b"[" + b"[]," * 100_000 + b"[]]",
        b"9" * 1_000_000,
        b'{"at": ' + b"9" * 400 + b', "state": "parked"}',
        b'"' + b"x" * 3_000_000 + b'"',
        b"\0" * 6_000_000,
        b"a: " + b"9" * 200_000,
        b"- " * 50_000,
        bomb.encode(),
        merges.encode(),
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20_000,
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer " + b"a" * 65_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 60_000 + b"\r\nx\r\n",
    ]


def corpus(name: str) -> list[bytes]:
    """What is kept for a reader."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def run(name: str, inputs: int, seed: int = 0) -> Result:
    """Give a reader its corpus, the giants, and `inputs` damaged ones."""
    kept = corpus(name)
    mutator = Mutator(kept, (name, seed))
    refused, broke, began = 0, [], time.monotonic()
    # In memory, if there is such a folder: a million files on a card are no kindness.
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="panoptes-fuzz-", dir=place))
    before = signal.signal(signal.SIGALRM, _ring)
    try:
        reader = READERS[name](folder)
        first = kept + giants()
        for number in range(len(first) + inputs):
            content = first[number] if number < len(first) else mutator.next()
            signal.setitimer(signal.ITIMER_REAL, TOO_SLOW_S)
            try:
                taken, said = _read(reader, content)
                refused += not taken
                if not said.isprintable() or len(said) > TEXT_LIMIT:
                    broke.append(_kept(name, content, f"a refusal that is no plain line: {said!r:.300}"))
            except (Exception, _TooSlow):
                broke.append(_kept(name, content, traceback.format_exc(limit=-3)))
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
        shutil.rmtree(folder)
    return Result(name, len(first) + inputs, refused, broke, time.monotonic() - began)


def _read(reader: Reader, content: bytes) -> tuple[bool, str]:
    """Is it taken? If not, what is said; the alarm may also ring while that is put together."""
    try:
        return reader.read(content), ""
    except reader.plain as error:
        return False, str(error)


def _kept(name: str, content: bytes, said: str) -> str:
    if len(content) <= KEPT_BYTES:
        (CORPUS / name / f"broke-{hashlib.sha256(content).hexdigest()[:12]}").write_bytes(content)
    return f"{name}: {content[:300]!r}{'…' if len(content) > 300 else ''}\n{said}"


def main() -> int:
    """Every reader, as many at a time as there are processors; 1 where one broke."""
    inputs = int(os.environ.get("PANOPTES_FUZZ_INPUTS", "1000000"))
    seed = int(os.environ.get("PANOPTES_FUZZ_SEED", "0"))
    names = sys.argv[1:] or list(READERS)
    print(f"{'reader':<10} {'inputs':>9} {'refused':>9} {'tracebacks':>10} {'seconds':>8}")
    failed = False
    with multiprocessing.Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        for result in pool.imap_unordered(_task, [(name, inputs, seed) for name in names]):
            counts = f"{result.inputs:>9} {result.refused:>9} {len(result.broke):>10} {result.seconds:>8.0f}"
            print(f"{result.name:<10} {counts}", flush=True)
            for text in result.broke[:SHOWN]:
                print(text, file=sys.stderr, flush=True)
            failed = failed or bool(result.broke)
    return int(failed)


def _task(arguments: tuple[str, int, int]) -> Result:
    return run(*arguments)


if __name__ == "__main__":
    sys.exit(main())
