"""What the engine keeps on its disk, read without it: what of that is not the unit's own?

Whatever cannot be read and is not known counts as somebody else's: a store is set aside for good only where nothing of
others is in it. Sources: https://github.com/moby/moby/tree/master/daemon (containers), .../image (images, names).
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Collection, Dict, Iterator, List, NamedTuple

from ..documents import DocumentError, read_object

_LIMIT = 8 * 1024 * 1024
_SHORT = 12


class Own(NamedTuple):
    """What is the unit's own.

    Attributes:
        project: of its containers.
        repositories: of its images, without tag or digest.
        containers, images: ids that were its own when it last worked.
    """

    project: str
    repositories: Collection[str]
    containers: Collection[str] = ()
    images: Collection[str] = ()


def strangers(root: Path, own: Own) -> List[str]:
    """What is there of others, a few words for each; empty where all of it is the unit's own."""
    return [*_volumes(root), *_containers(root, own), *_images(root, own), *_swarm(root)]


def _volumes(root: Path) -> Iterator[str]:
    for name in _folders(root / "volumes"):
        yield f"volume {name}"


def _containers(root: Path, own: Own) -> Iterator[str]:
    for number in _folders(root / "containers"):
        if number in own.containers:
            continue
        document = _document(root / "containers" / number / "config.v2.json")
        config = document.get("Config")
        labels = config.get("Labels") if isinstance(config, dict) else None
        project = labels.get("com.docker.compose.project") if isinstance(labels, dict) else None
        if project != own.project:
            name = document.get("Name")
            yield f"container {name.strip('/') if isinstance(name, str) and name else number[:_SHORT]}"


def _images(root: Path, own: Own) -> Iterator[str]:
    for driver in _folders(root / "image"):
        folder = root / "image" / driver
        names: Dict[str, List[str]] = {}
        for repository, tags in _dictionary(_document(folder / "repositories.json").get("Repositories")).items():
            for tag, image in _dictionary(tags).items():
                names.setdefault(str(image).partition(":")[2], []).append(str(tag))
                if repository not in own.repositories:
                    yield f"image {tag}"
        for number in _names(folder / "imagedb" / "content" / "sha256"):
            # What no name leads to is what is left of a removed image, or its name is lost: then it is to be known.
            if number not in names and f"sha256:{number}" not in own.images:
                yield f"image {number[:_SHORT]}"


def _swarm(root: Path) -> Iterator[str]:
    if (root / "swarm" / "docker-state.json").exists():
        yield "the state of a swarm"


def _document(path: Path) -> Dict[str, Any]:
    with suppress(OSError, DocumentError):
        if path.stat().st_size <= _LIMIT:
            return dict(read_object(path.read_bytes(), _LIMIT))
    return {}


def _dictionary(value: Any) -> Dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _names(folder: Path) -> List[str]:
    with suppress(OSError):
        return sorted(path.name for path in folder.iterdir())
    return []


def _folders(folder: Path) -> List[str]:
    return [name for name in _names(folder) if (folder / name).is_dir()]
