"""The release to go to: found by its tag, checked before anything is downloaded, and fetched while services run."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import NamedTuple, Optional

from ..errors import PlatformError, RegistryError, UnitError
from ..report import megabytes, short
from ..settings import AUTO
from ..sources import signature
from ..sources.blob_store import StoreError
from ..sources.manifests import Image
from ..sources.platforms import platform_of
from ..sources.reference import Reference
from . import own_files, proof, staging, verdicts
from .deadline import deadline
from .release import Release, read_release, write_release
from .run import Run


class Candidate(NamedTuple):
    """A release to go to, and what the registry says of its image.

    Attributes:
        restores: it is the current release, which does not run whole; empty where it is another one.
    """

    release: Release
    image: Image
    restores: str = ""


def find(run: Run, name: str) -> Optional[Candidate]:
    """What a tag names for this machine; None where there is nothing to do, and the outcome says why.

    Raises:
        UnitError: the registry cannot be used, or has nothing for this machine.
    """
    reference = Reference.parse(name)
    registry = run.registry(reference.registry)
    try:
        index_digest = registry.digest_of(reference.repository, reference.tag)
        run.state.last_check = {"at": round(time.time()), "index": index_digest, "source": run.outcome.source}
        run.store.save(run.state)
        current = run.state.current_release
        lacking = _lacking(run, current) if current and current.index == index_digest else ""
        if current and current.index == index_digest and not lacking:
            run.report.step("resolve", f"{run.outcome.source} is {short(current.image)}: already running")
            own_files.keep(run)
            run.end(verdicts.UNCHANGED, "this is the newest release")
            return None
        if not run.force:
            for digest, entry in run.state.quarantine.items():
                if entry["index"] == index_digest:
                    run.end(verdicts.HELD, f"{digest[7:19]} is in quarantine: {entry['reason']}")
                    return None
        platform = platform_of(run.architecture())
        manifest = registry.index(reference.repository, index_digest).for_platform(platform)
        image = registry.image(reference.repository, manifest.digest)
    finally:
        run.count_requests(registry)
    release = Release(
        image=f"{reference.name}@{manifest.digest}",
        index=index_digest,
        tag=reference.tag,
        platform=platform,
        layers=tuple(layer.digest for layer in image.layers),
        config=image.config.digest,
    )
    run.outcome.new = release.image
    run.report.step("resolve", f"{run.outcome.source} is {short(release.image)} for {platform}")
    if current and current.digest == release.digest:
        release = replace(release, image=current.image)
        lacking = lacking or _lacking(run, current)
        if not lacking:
            _relabel(run, release)
            return None
        run.report.step("resolve", f"it is the current release, but {lacking}")
        return Candidate(release, image, lacking)
    return Candidate(release, image)


def _lacking(run: Run, release: Release) -> str:
    """Why a release that the state calls current does not run whole; empty where it does."""
    named = read_release(run.release_file)
    if named is None or named.image != release.image:
        return f"{run.release_file} does not name it"
    if run.outcome.verb != "update" and not run.engine.has(release.image):  # what runs as this image has it
        return "its image is not on the disk"
    if not run.has_services():
        return ""
    services = proof.expected(run.engine, run.settings)
    return ", ".join(proof.missing(run.engine.glance(), services, release.image))


def _relabel(run: Run, release: Release) -> None:
    write_release(run.release_file, release)
    run.state.current = release.as_dict()
    run.store.save(run.state)
    run.outcome.changed = True
    run.end(verdicts.RELABELLED, "a new index with the same image for this platform")


def check(run: Run, name: str, candidate: Candidate) -> None:
    """Everything that can be known before the download.

    Raises:
        UnitError: it is not signed, is in quarantine, cannot be proved here, or there is no room for it.
    """
    _check_signature(run, Reference.parse(name), candidate.release)
    entry = run.state.quarantine.get(candidate.release.digest)
    if entry and not run.force:
        raise UnitError(f"{candidate.release.digest[7:19]} is in quarantine: {entry['reason']}; or --force")
    if run.has_services():
        proof.require_tools(run.settings)
        run.engine.services()  # a Compose file that cannot be read is no fault of the release
    if not candidate.restores:
        _require_way_back(run)
    if not run.engine.has(candidate.release.image):
        check_room(run, candidate.image)


def _require_way_back(run: Run) -> None:
    """The image that runs now is on the disk, or is fetched again, before anything else is.

    Raises:
        UnitError: it cannot be had, and services run that work.
    """
    old = run.state.current_release
    if old is None or not run.outcome.old or run.engine.has(old.image):
        return
    run.report.step("check", f"{short(old.image)}, which runs now, is not on the disk any more: fetching the way back")
    try:
        run.pull(old.image)
    except UnitError as error:
        if any(one.status == "running" for one in run.engine.containers()):
            raise UnitError(
                f"the release that runs now, {short(old.image)}, is not on the disk any more, so there would be no way "
                f"back, and it cannot be fetched again: {error}"
            ) from None
        run.report.step("check", f"it cannot be fetched, and nothing runs that could be lost: {error}")


def _check_signature(run: Run, reference: Reference, release: Release) -> None:
    """Not passed by --force, and no case for quarantine: a release that is signed later is taken then."""
    if not run.settings.signature_key:
        return
    registry = run.registry(reference.registry)
    try:
        with deadline(run.settings.limits.resolve_s, f"asking for the signature of {run.outcome.source}"):
            key = run.settings.signature_key
            signature.require(registry, reference.repository, release.index, key, run.outcome.source)
    finally:
        run.count_requests(registry)
    run.report.step("check", f"index {short(release.index)} is signed with this unit's key")


def check_room(run: Run, image: Image) -> None:
    """What counts as there is what the engine has, and not what the state believes."""
    known = run.known_layers()
    missing = sum(layer.size for layer in image.layers if layer.digest not in known)
    need = missing * run.settings.limits.expansion + run.settings.limits.floor_bytes
    free = run.engine.free_bytes()
    if free < need:
        run.prune()  # our own superfluous images go before anybody is told to remove something
        free = run.engine.free_bytes()
    if free < need:
        staging.give_way(run, image)
        free = run.engine.free_bytes()
    run.report.step("check", f"{megabytes(missing)} to download, {megabytes(free)} free")
    if free < need:
        raise UnitError(
            f"not enough room on {run.engine.root()}: this release needs {megabytes(need)} free "
            f"(floor included), there are {megabytes(free)}: remove images or logs"
        )


def fetch(run: Run, release: Release, image: Image) -> None:
    """Bring the image onto the disk, and see that it is made for this machine.

    Raises:
        PlatformError: it is not, whatever its manifest says; it is in quarantine then.
        UnitError: the download failed.
    """
    if run.engine.has(release.image):
        run.report.step("fetch", "already on the disk")
    else:
        began = time.monotonic()

        try:
            _download(run, release, image)
        finally:
            seconds = time.monotonic() - began
            run.outcome.fetch_s = round(seconds, 1)
        run.report.step("fetch", f"{megabytes(run.outcome.bytes)} in {seconds:.1f} s")
        # Layers unpacked but not yet on the disk become empty files in a power cut.
        os.sync()
    platform = run.engine.platform(release.image)
    if platform != release.platform:
        reason = f"the image is made for {platform}, although its manifest says {release.platform}"
        run.quarantine(release, reason)
        raise PlatformError(f"{reason}: build and push it again")


def _download(run: Run, release: Release, image: Image) -> None:
    if staging.is_wanted(run, release, image):
        try:
            staging.bring(run, release, image)
            return
        except StoreError as error:
            run.report.step("fetch", f"{error}; without going on after a break, and at full rate")
        except RegistryError as error:
            if run.outcome.bytes or run.outcome.resumed or run.settings.staging != AUTO:
                raise
            # Docker Engine may have ways, such as a proxy, that this tool does not know of.
            run.report.step("fetch", f"{error}; Docker Engine tries it by itself")

    def progress(received: int, total: int) -> None:
        run.report.progress("fetch", f"{megabytes(received)} of {megabytes(total)}")

    run.outcome.bytes += run.pull(release.image, progress)
