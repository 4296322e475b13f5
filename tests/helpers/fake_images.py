"""Images as an engine exports and as it stores them, made of a few small files: for tests that damage every part."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import io
import json
import random
import tarfile
from pathlib import Path

POLYNOMIAL = 0xD800000000000000


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _row(state: int) -> int:
    for _ in range(8):
        state = (state >> 1) ^ (POLYNOMIAL if state & 1 else 0)
    return state


_TABLE = [_row(byte) for byte in range(256)]


def crc64(content: bytes) -> int:
    """As Go's crc64.ISO, one byte after the other: slow, and plainly what the standard says."""
    state = (1 << 64) - 1
    for byte in content:
        state = _TABLE[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state ^ ((1 << 64) - 1)


def layer_files(seed: int) -> dict[str, bytes]:
    """Name -> content of a layer's files, the same for the same seed; one of them is empty, one is large."""
    chance = random.Random(seed)
    sizes = (0, 1, 511, 512, 513, 70_000)
    return {f"usr/lib/part{seed}/file{number}": chance.randbytes(size) for number, size in enumerate(sizes)}


def tar_of(members: dict[str, bytes | tuple[str, str]]) -> bytes:
    """A tar of files, and of links, which are (`symlink` or `hardlink`, target), with the folders that they are in."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        made: set[str] = set()
        for name, content in members.items():
            for folder in reversed(Path(name).parents[:-1]):
                if str(folder) not in made and str(folder) not in members:
                    made.add(str(folder))
                    entry = tarfile.TarInfo(f"{folder}/")
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(entry)
            entry = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                entry.type = tarfile.SYMTYPE if content[0] == "symlink" else tarfile.LNKTYPE
                entry.linkname = content[1]
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class FakeImage:
    """An image with these layers, given as the names and contents of their files, bottom first."""

    def __init__(self, layers: list[dict[str, bytes | tuple[str, str]]]) -> None:
        self.files = layers
        self.tars = [tar_of(members) for members in layers]
        self.layers = tuple(sha256(tar) for tar in self.tars)
        about = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": list(self.layers)}}
        self.config = json.dumps(about).encode()
        self.id = sha256(self.config)

    def older_export(self) -> dict[str, bytes | tuple[str, str]]:
        """As Docker before 25 writes it; a layer that was there before is a link to it."""
        members: dict[str, bytes | tuple[str, str]] = {f"{self.id[7:]}.json": self.config}
        names: list[str] = []
        for number, tar in enumerate(self.tars):
            folder = sha256(f"{number} {self.layers}".encode())[7:]
            names.append(f"{folder}/layer.tar")
            members[f"{folder}/VERSION"] = b"1.0"
            members[f"{folder}/json"] = json.dumps({"id": folder}).encode()
            first = self.layers.index(self.layers[number])
            members[names[-1]] = ("symlink", f"../{names[first]}") if first < number else tar
        members = dict(sorted(members.items()))
        contents = [{"Config": f"{self.id[7:]}.json", "RepoTags": None, "Layers": names}]
        members["manifest.json"] = json.dumps(contents).encode()
        return members

    def layout_export(self, packed: bool = False) -> dict[str, bytes | tuple[str, str]]:
        """As Docker writes it since 25; `packed`: as an engine with containerd's image store keeps the layers."""
        tars = [gzip.compress(tar, mtime=0) for tar in self.tars] if packed else self.tars
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"digest": self.id, "size": len(self.config)},
            "layers": [{"digest": sha256(tar), "size": len(tar)} for tar in tars],
        }
        body = json.dumps(manifest).encode()
        self.manifest_digest = sha256(body)
        blobs = [self.config, body, *tars]
        members: dict[str, bytes | tuple[str, str]] = {f"blobs/sha256/{sha256(blob)[7:]}": blob for blob in blobs}
        members = dict(sorted(members.items()))
        index = {"schemaVersion": 2, "manifests": [{"digest": sha256(body), "size": len(body)}]}
        members["index.json"] = json.dumps(index).encode()
        names = [f"blobs/sha256/{sha256(tar)[7:]}" for tar in tars]
        members["manifest.json"] = json.dumps([{"Config": f"blobs/sha256/{self.id[7:]}", "Layers": names}]).encode()
        members["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
        return members

    def store(self, root: Path) -> list[Path]:
        """As the driver overlay2 keeps it below `root`; the folders with the files of each layer."""
        images = root / "image/overlay2"
        content = images / "imagedb/content/sha256"
        content.mkdir(parents=True)
        (content / self.id[7:]).write_bytes(self.config)
        chain, places, below = "", [], []  # type: str, list[Path], list[str]
        (root / "overlay2/l").mkdir(parents=True)
        for number, (layer, tar) in enumerate(zip(self.layers, self.tars)):
            above, chain = chain, sha256(f"{chain} {layer}".encode()) if chain else layer
            about = images / "layerdb/sha256" / chain[7:]
            about.mkdir(parents=True, exist_ok=True)
            (about / "diff").write_text(layer)
            (about / "size").write_text(str(len(tar)))
            if above:
                (about / "parent").write_text(above)
            folder = sha256(f"folder {number}".encode())[7:]
            (about / "cache-id").write_text(folder)
            (about / "tar-split.json.gz").write_bytes(gzip.compress(split(tar), mtime=0))
            places.append(root / "overlay2" / folder / "diff")
            places[-1].mkdir(parents=True)
            short = f"{number:026}"
            (places[-1].parent / "link").write_text(short)
            if below:
                (places[-1].parent / "lower").write_text(":".join(below))
            (root / "overlay2/l" / short).symlink_to(f"../{folder}/diff")
            below.insert(0, f"l/{short}")
            with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
                for entry in archive:
                    unpack(archive, entry, places[-1])
        return places


def unpack(archive: tarfile.TarFile, entry: tarfile.TarInfo, place: Path) -> None:
    path = place / entry.name
    if entry.isdir():
        path.mkdir()
    elif entry.issym():
        path.symlink_to(entry.linkname)
    elif entry.islnk():
        path.hardlink_to(place / entry.linkname)
    elif path.name.startswith(".wh."):  # the driver has a device in the place of the file that is taken away
        (path.parent / path.name[len(".wh.") :]).touch()
    else:
        reading = archive.extractfile(entry)
        assert reading is not None
        # Where a folder on the way is a link, it is one within the layer.
        target = path.parent.resolve()
        inside = target if target.is_relative_to(place.resolve()) else place / target.relative_to("/")
        inside.mkdir(parents=True, exist_ok=True)
        (inside / path.name).write_bytes(reading.read())


@functools.cache
def split(tar: bytes) -> bytes:
    """The list of files of a tar, as tar-split writes it."""
    lines, end = [], 0
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for entry in archive:
            lines.append({"type": 2, "payload": base64.b64encode(tar[end : entry.offset_data]).decode()})
            name = entry.name + ("/" if entry.isdir() else "")
            line: dict[str, object] = {"type": 1, "payload": None}
            line["name_raw" if not name.isascii() else "name"] = (
                base64.b64encode(name.encode()).decode() if not name.isascii() else name
            )
            size = entry.size if entry.isreg() else 0
            end = entry.offset_data + size
            if size:
                content = tar[entry.offset_data : end]
                line |= {"size": size, "payload": base64.b64encode(crc64(content).to_bytes(8, "big")).decode()}
            lines.append(line)
    lines.append({"type": 2, "payload": base64.b64encode(tar[end:]).decode()})
    return b"".join(json.dumps({**line, "position": at}).encode() + b"\n" for at, line in enumerate(lines))
