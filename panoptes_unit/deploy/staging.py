"""A folder through which a release comes to the engine, and in which the running one may stay.

The parts of a release are brought into the folder, from where a broken download goes on, and the engine takes them from
loopback, as it takes a bundle. Where a local copy is wanted, those of the running release stay, and a repair needs no
network.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Callable, ContextManager, List, Optional, Sequence

from ..errors import UnitError
from ..report import megabytes, minutes, short
from ..settings import AUTO, Settings
from ..sources.blob_fetch import Fetch, Pace, Source, Tally
from ..sources.blob_store import NAME, BlobStore, StoreError, blobs_of, names_of, opened
from ..sources.manifests import IMAGE_TYPES, Image, Layer
from ..sources.reference import BUNDLE_REPOSITORY, Reference
from .release import Release
from .run import Run


class RefusedError(UnitError):
    """The engine does not take an image from loopback."""


def path(settings: Settings) -> Path:
    """The folder: staging and local copy are one, so that what was downloaded is written once."""
    return Path(settings.state if settings.keep_copy in ("", AUTO) else settings.keep_copy) / NAME


def loopback_name(settings: Settings) -> str:
    """What an image is called that the engine took from this unit itself, without tag and digest."""
    return f"127.0.0.1:{settings.bundle_port}/{BUNDLE_REPOSITORY}"


def is_wanted(run: Run, release: Release, image: Image) -> bool:
    """Is this release brought into the folder first? Never where that has no room: then the engine downloads it."""
    settings = run.settings
    if settings.staging == "never" or release.image.startswith(f"{loopback_name(settings)}@"):
        return False
    known = run.known_layers()
    to_unpack = [layer for layer in image.layers if layer.digest not in known]
    missing = sum(layer.size for layer in to_unpack)
    if settings.staging == AUTO and not (settings.keep_copy or settings.rate_kbps):
        return False
    to_come = missing + image.config.size
    with suppress(UnitError), opened(path(settings), make=False) as store:
        to_come = store.lacking([image.config, *to_unpack])
    lacks = _lacks_room(run, to_come, missing * settings.limits.expansion)
    if lacks:
        run.report.step("fetch", f"without going on after a break, and at full rate: {lacks}")
    return not lacks


def _lacks_room(run: Run, to_come: int, besides: float = 0) -> str:
    """Why there is no room for so many more bytes in the folder; `besides`, those that the engine needs after that."""
    place, floor = path(run.settings), run.settings.limits.floor_bytes
    while not place.exists():
        place = place.parent
    free, need = shutil.disk_usage(place).free, float(to_come + floor)
    if _is_on_disk_of_engine(run, place):
        free, need = min(free, run.engine.free_bytes()), need + besides
    if free >= need:
        return ""
    return f"{place} has {megabytes(free)} free, and needs {megabytes(need)} (floor included)"


def _is_on_disk_of_engine(run: Run, place: Path) -> bool:
    try:
        return place.stat().st_dev == run.engine.root().stat().st_dev
    except (OSError, UnitError):
        return True  # nobody knows: both have to fit


def bring(run: Run, release: Release, image: Image) -> None:
    """Bring a release into the folder, and from there to the engine.

    Raises:
        StoreError: the folder cannot be used; nothing was downloaded for nothing if the engine does it now.
        UnitError: it cannot be had; the next try goes on where this one ended.
    """
    reference = Reference.parse(release.image)
    registry = run.registry(reference.registry)
    with opened(path(run.settings)) as store:
        store.thin([*names_of(image), *_kept(run, store)])
        kind, text = registry.manifest_text(reference.repository, release.digest)
        store.put(release.digest, text)
        fetch = _fetch(run, store, [Source(registry, reference.repository)])
        known = run.known_layers()
        wanted = [blob for blob in blobs_of(image) if blob == image.config or blob.digest not in known]
        try:
            _bring_sound(store, fetch, wanted)
            store.list_images({release.digest: kind})
            try:
                name = _take(run, release)
            except RefusedError as error:
                if len(wanted) == len(blobs_of(image)):
                    raise
                run.report.step("fetch", f"{error}: the layers that the engine should have are fetched too")
                _bring_sound(store, fetch, blobs_of(image))
                name = _take(run, release)
        finally:
            run.count_requests(registry)
            _note(run, fetch.tally)
    _give_name(run, release, name)


def _kept(run: Run, store: BlobStore) -> List[str]:
    """Digests of the copy of the running release, which stays until the next one is proved."""
    current = run.state.current_release
    if run.settings.keep_copy and current is not None:
        with suppress(UnitError):
            return names_of(store.image(current.digest))
    return []


def _fetch(run: Run, store: BlobStore, sources: Sequence[Source]) -> Fetch:
    def told(tally: Tally) -> None:
        run.signals.check()
        left = f", {minutes(tally.left_s())} left" if tally.here else ""
        run.report.progress("fetch", f"{megabytes(tally.here)} of {megabytes(tally.total)}{left}")

    def says(line: str) -> None:
        run.signals.check()
        run.report.step("fetch", line)

    return Fetch(store, sources, run.waits, Pace(run.settings.rate_kbps), told, says)


def _bring_sound(store: BlobStore, fetch: Fetch, blobs: Sequence[Layer]) -> None:
    for blob in blobs:
        store.is_sound(blob)  # what is not, is gone then, and comes again
    fetch.bring(blobs)


def _note(run: Run, tally: Tally) -> None:
    outcome = run.outcome
    outcome.bytes += tally.bytes
    outcome.resumed += tally.resumed
    for source, count in tally.sources.items():
        outcome.sources[source] = outcome.sources.get(source, 0) + count


def _take(run: Run, release: Release) -> str:
    """The engine takes the image from the folder; the name that it has then."""
    from ..sources import bundle  # only here: each night's look for news does without

    def progress(received: int, total: int) -> None:
        run.report.progress("fetch", f"Docker Engine has taken {megabytes(received)} of {megabytes(total)}")

    name = f"{loopback_name(run.settings)}@{release.digest}"
    with bundle.served(path(run.settings), run.settings.bundle_port):
        try:
            run.pull(name, progress)
        except UnitError as error:
            raise RefusedError(str(error)) from None
    return name


def _give_name(run: Run, release: Release, name: str) -> None:
    """Call an image that the engine took from loopback as its registry does; only the registry can say that it may.

    Raises:
        UnitError: it does not answer.
    """
    if name != release.image:
        run.pull(release.image)
        with suppress(UnitError):  # a name too many harms nobody, and goes when the image goes
            run.engine.remove_image(name)


def sound_copy(run: Run, release: Release) -> Optional[Image]:
    """The local copy of a release, if all of it is here and has its digests; every byte is looked at."""
    if not path(run.settings).exists():
        return None
    try:
        with opened(path(run.settings)) as store:
            image = store.image(release.digest)
            run.report.step("copy", f"looking at the local copy of {short(release.image)}")
            # Each of them: what is damaged goes, so that it comes again.
            if not [blob for blob in blobs_of(image) if not store.is_sound(blob)]:
                return image
            run.report.step("copy", f"the local copy of {short(release.image)} is not whole")
    except UnitError as error:
        run.report.step("copy", str(error))
    return None


def take_copy(run: Run, release: Release) -> Release:
    """The engine takes a release from its local copy.

    Returns:
        The release under the name that it has now: its own, or, where its registry does not answer, that of a bundle.

    Raises:
        UnitError: the engine refuses it.
    """
    with opened(path(run.settings)) as store:
        store.list_images({release.digest: store.listed().get(release.digest, IMAGE_TYPES[0])})
    name = _take(run, release)
    reference = Reference.parse(release.image)
    try:
        # Asked before the engine asks, which takes minutes to find out that nobody is there.
        run.registry(reference.registry).image(reference.repository, release.digest)
        _give_name(run, release, name)
    except UnitError as error:
        run.report.step("copy", f"it keeps the name of a bundle, {name.partition('@')[0]}: {error}")
        return replace(release, image=name)
    return release


def settle(run: Run, source: Callable[[], ContextManager[str]]) -> None:
    """After a run: the copy is of the release that runs, and what nobody needs is gone. Nothing here fails a run.

    Args:
        source: opens where the release came from: a bundle has to be served once more.
    """
    try:
        before = Path(run.settings.state) / NAME
        if before != path(run.settings) and before.exists():
            with opened(before) as store:
                store.thin(())
        if run.settings.keep_copy:
            with source():
                _complete(run)
        elif path(run.settings).exists():
            with opened(path(run.settings)) as store:
                store.thin(())
    except KeyboardInterrupt:
        run.report.step("copy", "stopped: the next update goes on")
    except UnitError as error:
        run.report.step("copy", f"{error}; the next update goes on")


def _complete(run: Run) -> None:
    current = run.state.current_release
    if current is None:
        return
    with opened(path(run.settings)) as store:
        sources = _sources(run, current)
        image = _image(store, current, sources)
        blobs = blobs_of(image)
        if store.lacking(blobs):
            store.thin(names_of(image))
            lacks = _lacks_room(run, store.lacking(blobs))
            if lacks:
                store.thin([image.digest])
                run.report.step("copy", f"none is kept: {lacks}")
                return
            fetch = _fetch(run, store, sources)
            fetch.bring(blobs)
            run.report.step("copy", f"{megabytes(fetch.tally.bytes)} more for the local copy, which is whole now")
        store.list_images({image.digest: store.listed().get(image.digest, IMAGE_TYPES[0])})
        store.thin(names_of(image))


def _sources(run: Run, release: Release) -> List[Source]:
    """Where a release can be had: a bundle that is served now, its registry, the one that the unit follows."""
    found: List[Source] = []
    for reference in (Reference.parse(release.image), Reference.parse(run.settings.source)):
        source = Source(run.registry(reference.registry), reference.repository)
        if reference.name == loopback_name(run.settings):
            try:
                source.registry.ping()
            except UnitError:
                continue
        if source.name not in [one.name for one in found]:
            found.append(source)
    return found


def _image(store: BlobStore, release: Release, sources: Sequence[Source]) -> Image:
    with suppress(UnitError):
        return store.image(release.digest)
    problem: UnitError = StoreError(f"nobody has {short(release.image)}")
    for source in sources:
        try:
            kind, text = source.registry.manifest_text(source.repository, release.digest)
            store.put(release.digest, text)
            store.list_images({**store.listed(), release.digest: kind})
            return store.image(release.digest)
        except UnitError as error:
            problem = error
    raise problem


def give_way(run: Run, image: Image) -> None:
    """Room on the engine's disk for another release: nothing but what belongs to that one stays in the folder."""
    if path(run.settings).exists() and _is_on_disk_of_engine(run, path(run.settings)):
        with suppress(UnitError), opened(path(run.settings)) as store:
            gone = store.thin(names_of(image))
            if gone:
                run.report.step("check", f"the local copy gave {megabytes(gone)}")


def told(settings: Settings, current: Optional[Release]) -> str:
    """How it is with the local copy, for a person.

    Raises:
        StoreError: the folder cannot be used.
    """
    place = path(settings)
    if not settings.keep_copy:
        return "not kept, so that a repair may have to download: release_keep_copy is not set"
    if current is None or not place.exists():
        return "not yet: the next panoptes-unit update makes it"
    with opened(place, make=False) as store:
        try:
            image = store.image(current.digest)
        except StoreError:
            raise
        except UnitError:
            return f"not of {short(current.image)} yet: the next panoptes-unit update brings it"
        size = sum(blob.size for blob in blobs_of(image))
        lacking = store.lacking(blobs_of(image))
    need, free = lacking + settings.limits.floor_bytes, shutil.disk_usage(place).free
    if lacking and free < need:
        return f"off: {place} has {megabytes(free)} free, and it needs {megabytes(need)} (floor included)"
    if lacking:
        return f"{megabytes(size - lacking)} of {megabytes(size)}: the next panoptes-unit update goes on"
    return f"{short(current.image)}, {megabytes(size)} in {place}"
