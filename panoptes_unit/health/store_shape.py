"""Would the engine find the layers of an image again, and the containers that are made of it? Its own notes, read.

A power cut leaves these small files empty, and their links away. What runs goes on running; the engine stumbles over it
when it makes the next container, or starts anew. Some of it follows from the rest, and can be put right.
Sources: https://github.com/moby/moby/tree/master/layer, https://github.com/moby/moby/tree/master/daemon/graphdriver/overlay2
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Collection, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..documents import DocumentError, read_object
from ..errors import UnitError
from ..files import sync_folder, write_durably

DRIVER = "overlay2"
_LIMIT = 4 * 1024 * 1024
_MOST_LAYERS = 130  # the engine allows some fewer
_SHORT_NAME = re.compile(r"[A-Z0-9]{26}")
_FOLDER_NAME = re.compile(r"[0-9a-f]{64}")
_GZIP = b"\x1f\x8b"


class Flaw(NamedTuple):
    """Something that is not as the engine left it.

    Attributes:
        path: of the file or link.
        layer: digest of the layer that it tells of; empty where it is of an image or a container.
        text: what has to stand there; None where nothing tells.
        target: where the link has to lead; empty for a file.
    """

    path: Path
    layer: str = ""
    text: Optional[str] = None
    target: str = ""

    @property
    def can_be_mended(self) -> bool:
        """Does the rest of the store say how it was?"""
        return bool(self.text or self.target)


class StoreShape:
    """The engine's notes on one image and some containers.

    Args:
        root: the engine's folder.
        image: id of the image, which is the digest of its configuration; where the engine has none, nothing is wrong.
        layers: digests of its layers, unpacked, bottom first; as the configuration says where none are given.
        containers: ids of those that are made of it; which the engine has none of, nothing is wrong with.
    """

    def __init__(self, root: Path, image: str, layers: Sequence[str], containers: Collection[str] = ()) -> None:
        self._root, self._image, self._layers, self._containers = root, image, layers, containers
        self._images = root / "image" / DRIVER
        self._contents = root / DRIVER
        self._names = self._names_of_folders()
        self._below: List[str] = []  # short names of the layers, uppermost first; empty as long as they are not known

    def is_there(self) -> bool:
        """Does this engine keep its images as this module expects it?"""
        return (self._images / "layerdb" / "sha256").is_dir() and self._contents.is_dir()

    def flaws(self) -> List[Flaw]:
        """All that is not as it has to be; empty where nothing is wrong."""
        self._below.clear()
        path = self._images / "imagedb" / "content" / "sha256" / self._image.partition(":")[2]
        if not self._image or not os.path.lexists(path):
            return []
        configuration = _bytes(path)
        is_whole = hashlib.sha256(configuration).hexdigest() == path.name
        if is_whole and not self._layers:
            rootfs = read_object(configuration, _LIMIT).get("rootfs")
            self._layers = list(rootfs["diff_ids"]) if isinstance(rootfs, dict) else []
        return [*([] if is_whole else [Flaw(path)]), *self._of_layers(), *self._of_containers()]

    def _of_layers(self) -> Iterator[Flaw]:
        chain, below = "", self._below
        for layer in self._layers:
            above, chain = chain, _chain(chain, layer)
            notes = self._images / "layerdb" / "sha256" / chain.partition(":")[2]
            for name, right in (("diff", layer), ("parent", above)):
                if _text(notes / name) != right:
                    yield Flaw(notes / name, layer, right)
            if not _text(notes / "size").isdigit():
                yield Flaw(notes / "size", layer, _size(notes / "tar-split.json.gz"))
            if _bytes(notes / "tar-split.json.gz", len(_GZIP)) != _GZIP:
                yield Flaw(notes / "tar-split.json.gz", layer)
            folder = _text(notes / "cache-id")
            if not (_FOLDER_NAME.fullmatch(folder) and (self._contents / folder / "diff").is_dir()):
                folder = self._found(below)
                yield Flaw(notes / "cache-id", layer, folder or None)
                if not folder:
                    below.clear()
                    return  # nobody knows where this layer is, and so what is upon it
            yield from self._links(folder, below, layer)
            below.insert(0, self._name(folder))

    def _of_containers(self) -> Iterator[Flaw]:
        for number in sorted(self._containers):
            if not (self._root / "containers" / number).is_dir():
                continue
            for name in ("config.v2.json", "hostconfig.json"):
                path = self._root / "containers" / number / name
                try:
                    read_object(_bytes(path), _LIMIT)
                except DocumentError:
                    yield Flaw(path)
            notes = self._images / "layerdb" / "mounts" / number
            below = list(self._below)
            for name in ("init-id", "mount-id"):
                folder = _text(notes / name)
                if folder in ("", ".", "..") or not (self._contents / folder / "diff").is_dir():
                    yield Flaw(notes / name)
                    break
                if self._below:  # a container that is made anew is as good as a mended one
                    yield from (one._replace(text=None, target="") for one in self._links(folder, below, ""))
                below.insert(0, self._name(folder))

    def _links(self, folder: str, below: List[str], layer: str) -> Iterator[Flaw]:
        """Of one folder of the driver: its short name, the link of that name, and the list of what is below it."""
        place, name = self._contents / folder, self._name(folder)
        if _text(place / "link") != name:
            yield Flaw(place / "link", layer, name)
        link, target = self._contents / "l" / name, f"../{folder}/diff"
        if _target(link) != target:
            yield Flaw(link, layer, target=target)
        lower = ":".join(f"l/{one}" for one in below)
        if _text(place / "lower") != lower:
            yield Flaw(place / "lower", layer, lower)

    def _found(self, below: List[str]) -> str:
        """The folder of a layer that lies on these, by its list of them; empty where that is not sure."""
        database = self._images / "layerdb"
        notes = [*database.glob("sha256/*/cache-id"), *database.glob("mounts/*/*-id")]
        claimed = {_text(path) for path in notes}
        lower = ":".join(f"l/{one}" for one in below)
        found = [
            place.name
            for place in self._contents.iterdir()
            if _FOLDER_NAME.fullmatch(place.name)
            and place.name not in claimed
            and _text(place / "lower") == lower
            and (place / "diff").is_dir()
        ]
        return found[0] if len(found) == 1 else ""

    def _name(self, folder: str) -> str:
        """The short name of a folder: what both sides say, or one of them, or a new one."""
        if folder not in self._names:
            told = _text(self._contents / folder / "link")
            is_free = _SHORT_NAME.fullmatch(told) and told not in self._names.values()
            self._names[folder] = told if is_free else base64.b32encode(os.urandom(16)).decode("ascii")[:26]
        return self._names[folder]

    def _names_of_folders(self) -> Dict[str, str]:
        """Folder -> the short name that leads there."""
        found: Dict[str, str] = {}
        with suppress(OSError):
            for link in (self._contents / "l").iterdir():
                target = re.fullmatch(r"\.\./([^/]+)/diff", _target(link))
                if target and _SHORT_NAME.fullmatch(link.name):
                    found[target[1]] = link.name
        return found


def mend(flaws: Collection[Flaw]) -> None:
    """Put right what can be.

    Raises:
        OSError: the disk takes nothing.
    """
    for flaw in flaws:
        if flaw.target:
            new = flaw.path.with_name(f".{flaw.path.name}.new")
            new.unlink(missing_ok=True)
            new.symlink_to(flaw.target)
            new.replace(flaw.path)
            sync_folder(flaw.path.parent)
        elif flaw.text:
            write_durably(flaw.path, flaw.text)


def holders(root: Path, layers: Sequence[str], known: Collection[str]) -> List[Path]:
    """Notes on containers that the engine cannot read and so lists no more, but for which it keeps layers.

    Args:
        root: the engine's folder.
        layers: digests of those of one image, unpacked, bottom first.
        known: ids of the containers that the engine lists.
    """
    chains = {chain for _, chain in _chains(layers)}
    database = root / "image" / DRIVER / "layerdb"
    with suppress(OSError):
        notes = sorted((database / "mounts").iterdir())
        return [one for one in notes if one.name not in known and chains & set(_down(database, _text(one / "parent")))]
    return []


def _down(database: Path, chain: str) -> Iterator[str]:
    """A layer and those below it, by their chains: an image before this one has its own on top, and shares the rest."""
    for _ in range(_MOST_LAYERS):
        yield chain
        chain = _text(database / "sha256" / chain.partition(":")[2] / "parent") if ":" in chain else ""
        if not chain:
            return


def kept(root: Path, layers: Sequence[str], removed: Collection[str]) -> List[str]:
    """Those of some layers that the engine should have removed, and has.

    Args:
        root: the engine's folder.
        layers: digests of those of one image, unpacked, bottom first.
        removed: digests of the layers in question.
    """
    database = root / "image" / DRIVER / "layerdb" / "sha256"
    return [
        layer for layer, chain in _chains(layers) if layer in removed and (database / chain.partition(":")[2]).is_dir()
    ]


def let_go(root: Path, notes: Collection[Path]) -> None:
    """Keep such notes in the folder of their container instead, where the engine does not look; it must not run.

    Raises:
        UnitError: the disk will not.
    """
    for one in notes:
        folder = root / "containers" / one.name
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            one.rename(folder / "layers")
        except OSError as error:
            raise UnitError(f"{one} cannot be moved away: {error.strerror}") from None


def _size(files: Path) -> Optional[str]:
    """The bytes of a layer's files, by its list of them; None where that is damaged."""
    from .stored_layers import PUZZLING, entries  # only here: the look every few minutes does without

    try:
        return str(sum(entry[1] for entry in entries(files) if not isinstance(entry, bytes)))
    except PUZZLING:
        return None


def _chains(layers: Sequence[str]) -> Iterator[Tuple[str, str]]:
    """Each layer, bottom first, and its chain: what the engine calls it by."""
    chain = ""
    for layer in layers:
        chain = _chain(chain, layer)
        yield layer, chain


def _chain(below: str, layer: str) -> str:
    return "sha256:" + hashlib.sha256(f"{below} {layer}".encode()).hexdigest() if below else layer


def _bytes(path: Path, limit: int = _LIMIT) -> bytes:
    """The content of a file, or as much of it; empty where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        raise
    except OSError:
        return b""
    try:
        return os.read(descriptor, limit) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:  # the card gives it no more
        return b""
    finally:
        os.close(descriptor)


def _text(path: Path) -> str:
    return _bytes(path).decode("utf-8", errors="replace")


def _target(link: Path) -> str:
    with suppress(OSError):
        return str(link.readlink())
    return ""
