"""Is the image of the running release on the disk still what it was when it came, bit for bit? (`panoptes-unit verify`)

A card that ages flips bits where nobody looks until that file is needed. So everything is read once a week, at the
lowest priority, and compared with the digests of the image. Nothing is repaired here, and nothing is stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

from ..deploy.engine import Engine, StoredImage
from ..deploy.release import Release, read_release
from ..deploy.state import Store
from ..errors import DAMAGED, OK, UnitError, refused
from ..files import put_aside, read_json, remove_durably, write_durably
from ..report import Report, ago, megabytes, short
from ..settings import Settings
from .damage import Damage, mismatch

if TYPE_CHECKING:
    from .stored_layers import LayerStore

WHOLE_VERDICT = "whole"
DAMAGED_VERDICT = "damaged"
# The record is written again after this time: a little less than the week after which the timer comes again.
RECORD_AFTER_S = 6 * 86400
# So many are written down: a card that dies may spoil thousands of files.
RECORDED_DAMAGES = 20
REMEDY = "panoptes-unit repair, and look after the card"


@dataclass
class Verification:
    """What was found.

    Attributes:
        image: the release, by digest.
        layers: how many it has.
        bytes: how many were read.
        damaged: all that is wrong.
    """

    image: str
    layers: int = 0
    bytes: int = 0
    seconds: float = 0.0
    damaged: List[Damage] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """One word."""
        return DAMAGED_VERDICT if self.damaged else WHOLE_VERDICT

    @property
    def exit_code(self) -> int:
        """Of the command."""
        return DAMAGED if self.damaged else OK

    def as_dict(self) -> Dict[str, Any]:
        """For JSON."""
        return {
            **asdict(self),
            "verdict": self.verdict,
            "damaged": [damage._asdict() for damage in self.damaged],
            "exit_code": self.exit_code,
        }


def verify(settings: Settings, report: Report, engine: Optional[Engine] = None, in_haste: bool = False) -> Verification:
    """Read the image of the running release from the disk, and write down what was found.

    Args:
        in_haste: the unit does not work until this is known, so that it gives way to nothing.

    Raises:
        UnitError: there is no release, the engine does not answer, or what it keeps may not be read.
    """
    engine = engine or Engine(settings)
    store = Store(Path(settings.state))
    release = _running(settings, store)
    if not engine.has(release.image):
        raise UnitError(
            f"the image {short(release.image)} of the release file is not on the disk: panoptes-unit repair"
        )
    if not in_haste:
        become_idle()
    began = time.monotonic()
    stored = engine.stored(release.image)
    found = Verification(release.image, layers=len(stored.layers))

    def read(_: str, count: int) -> None:
        found.bytes += count
        report.progress("verify", f"{megabytes(found.bytes)} of {megabytes(max(stored.size, found.bytes))}")

    if release.config and stored.id not in (release.config, release.digest, release.index):
        problem = f"the engine has image {short(stored.id)} under the name of this release, not {short(release.config)}"
        found.damaged.append(Damage("", "", problem))
    try:
        found.damaged += _damages(engine, settings, release.image, stored, read)
    except OSError as error:
        what = f"{error.filename or 'the image'} cannot be read"
        raise refused(what) if isinstance(error, PermissionError) else UnitError(f"{what}: {error.strerror}") from None
    if found.damaged and not engine.is_alive():
        raise UnitError("Docker Engine went away while the image was read: systemctl status docker")
    if found.damaged and not engine.has(release.image):
        raise UnitError(f"the image {short(release.image)} was removed while it was read: panoptes-unit status")
    found.seconds = round(time.monotonic() - began, 1)
    try:
        _record(_file(settings), found)
    except OSError as error:
        report.step("verify", f"{error.strerror}: {_file(settings)} is not written")
    return found


def _running(settings: Settings, store: Store) -> Release:
    """The release of the release file, with what the state knows of it."""
    named = read_release(Path(settings.release_file))
    if named is None:
        raise UnitError("no release is installed: panoptes-unit deploy")
    known = store.load().current_release
    return known if known is not None and known.image == named.image else named


def _damages(engine: Engine, settings: Settings, image: str, stored: StoredImage, read: Any) -> List[Damage]:
    from . import exported_layers, store_shape, stored_layers  # only here: a look every few minutes does without

    driver, root = engine.storage()
    layers = stored_layers.LayerStore(root)
    if driver == store_shape.DRIVER and layers.is_there():
        return [*_of_configuration(layers, stored), *layers.damages(stored.layers, read)]
    # Engines other than those with containerd's image store write an export to their disk before they send it.
    need, free = stored.size + settings.limits.floor_bytes, engine.free_bytes()
    if free < need:
        raise UnitError(
            f"not enough room on {root} to read the image: {megabytes(need)} needed, {megabytes(free)} free"
        )
    return exported_layers.damages(engine.export(image), stored.id, stored.layers, read)


def _of_configuration(store: LayerStore, stored: StoredImage) -> Sequence[Damage]:
    try:
        content = store.configuration(stored.id)
    except FileNotFoundError:
        return [Damage("", "", "the image's configuration is gone")]
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    if digest != stored.id:
        return [Damage("", "", f"the image's configuration: {mismatch(digest)}")]
    if json.loads(content)["rootfs"]["diff_ids"] != list(stored.layers):
        return [Damage("", "", "the engine keeps other layers than the image's configuration names")]
    return []


def become_idle() -> None:
    """Run only when nothing else wants the processor or the disk. Where that is not allowed, go on all the same."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError):
        subprocess.run(["ionice", "--class", "idle", "--pid", str(os.getpid())], capture_output=True, check=False)


def told(damage: Damage) -> str:
    """One line for a person."""
    where = f"layer {short(damage.layer)}" if damage.layer else "image"
    return f"{where}{f', /{damage.file}' if damage.file else ''}: {damage.problem}"


def _file(settings: Settings) -> Path:
    return Path(settings.state) / "verified.json"


def _record(path: Path, found: Verification) -> None:
    """Write down what was found, where it says something new: a card is not written to without need."""
    known = found.as_dict()
    entry = {"at": round(time.time()), **{key: known[key] for key in ("image", "verdict", "seconds")}}
    entry["damaged"] = known["damaged"][:RECORDED_DAMAGES]
    entry["damages"] = len(found.damaged)
    earlier = _read(path)
    same = earlier and all(earlier[key] == entry[key] for key in ("image", "verdict", "damaged", "damages"))
    if earlier and same and 0 <= entry["at"] - earlier["at"] < RECORD_AFTER_S:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_dir():
        put_aside(path)
    write_durably(path, json.dumps(entry, indent=1) + "\n", mode=0o600)


def _read(path: Path) -> Optional[Dict[str, Any]]:
    """The record; None where there is none, or something else."""
    entry = read_json(path)
    kinds: Dict[str, Any] = {"at": (int, float), "image": str, "verdict": str, "damaged": list, "damages": int}
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), kind) for name, kind in kinds.items()):
        return None
    try:
        [Damage(**damage) for damage in entry["damaged"]]
    except TypeError:
        return None
    return entry


def forget(settings: Settings) -> None:
    """What was found says nothing any more: the image comes anew."""
    remove_durably(_file(settings))


def last(settings: Settings) -> Optional[Dict[str, Any]]:
    """What was found last: `at`, `image`, `verdict`, `seconds`, `damages` (how many) and the first of them, `damaged`.

    None where the release that runs now has not been verified yet.
    """
    entry = _read(_file(settings))
    named = read_release(Path(settings.release_file))
    return entry if entry and named and named.image == entry["image"] else None


def last_told(entry: Optional[Dict[str, Any]]) -> str:
    """The same in words."""
    if entry is None:
        return "not yet: panoptes-unit verify"
    when = ago(entry["at"])
    if not entry["damages"]:
        return f"whole, {when}"
    return f"DAMAGED, {when}: {damage_told(entry)}: {REMEDY}"


def damage_told(entry: Dict[str, Any]) -> str:
    """The first of the damages, and how many more there are."""
    first = told(Damage(**entry["damaged"][0])) if entry["damaged"] else ""
    return first + (f", and {entry['damages'] - 1} more" if entry["damages"] > 1 else "")
