"""Files that a unit needs from the network once: index files for solving, and the Earth's orientation."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import time
from typing import Any, Callable, List, Optional, Tuple, Union

from panoptes_utils.error import BadConnection
from panoptes_utils.logging import logger

# Tycho-2 (wide fields) and 2MASS (narrow fields) index files of astrometry.net.
INDEX_URL = "http://data.astrometry.net"
WIDE_FIELD = [f"4100/index-{number}.fits" for number in range(4110, 4119)]
NARROW_FIELD = [f"4200/index-{number}.fits" for number in range(4210, 4219)]
# Seconds without a byte, how often a broken transfer is taken up again, and bytes that a break can cost.
PATIENCE = 30
TRIES = 5
CHUNK = 1 << 13
# The table of the Earth's orientation, and how long one is new, seconds.
EARTH_ORIENTATION = "finals2000A.all"
WEEK = 7 * 86400


def default_folder() -> Path:
    """Return the folder of index files, `$PANDIR/astrometry/data`."""
    return Path(os.getenv("PANDIR", "/var/panoptes")) / "astrometry" / "data"


class Downloader:
    """Fetches what is missing and resumes what was broken off.

    Args:
        data_folder: where the index files go; `$PANDIR/astrometry/data` by default.
        wide_field, narrow_field: which index files.
        keep_going: go on with the next file after a failure.
        verbose: show progress on the terminal.
        earth_orientation: fetch the table of the Earth's orientation too; `utils.altaz_to_radec` uses it.
        index_url: address under which the folders 4100 and 4200 are.

    Example:
        >>> Downloader(data_folder="/tmp", narrow_field=True).files[0]
        '4100/index-4110.fits'
    """

    def __init__(
        self,
        data_folder: Optional[Union[str, Path]] = None,
        wide_field: bool = True,
        narrow_field: bool = False,
        keep_going: bool = True,
        verbose: bool = False,
        earth_orientation: bool = True,
        index_url: str = INDEX_URL,
    ) -> None:
        self.data_folder = Path(data_folder) if data_folder else default_folder()
        self.files = (WIDE_FIELD if wide_field else []) + (NARROW_FIELD if narrow_field else [])
        self.keep_going = keep_going
        self.verbose = verbose
        self.earth_orientation = earth_orientation
        self.index_url = index_url.rstrip("/")

    def download_all_files(self) -> bool:
        """Fetch all that is missing.

        Returns:
            bool: True if everything is there.

        Raises:
            OSError: the folder cannot be made or written to.
        """
        self.data_folder.mkdir(parents=True, exist_ok=True)
        jobs: List[Tuple[str, Callable[[], None]]]
        jobs = [(name, partial(self._download_index, name)) for name in self.files]
        if self.earth_orientation:
            jobs.insert(0, ("Earth orientation", self.download_earth_orientation))
        complete = True
        for name, job in jobs:
            try:
                job()
            except BadConnection as error:
                logger.error(f"{name}: {error.msg}")
                complete = False
                if not self.keep_going:
                    break
        return complete

    def download_earth_orientation(self) -> None:
        """Fetch the table of the Earth's orientation (IERS-A), unless that of this week is there.

        It lies with the index files, because a container has no home to keep astropy's own copy in.

        Raises:
            BadConnection: it could not be fetched.
        """
        from astropy.utils import iers

        self.data_folder.mkdir(parents=True, exist_ok=True)
        target = self.data_folder / EARTH_ORIENTATION
        if target.exists() and time() - target.stat().st_mtime < WEEK:
            return
        url, draft = iers.conf.iers_auto_url, target.with_name(f"{EARTH_ORIENTATION}.new")
        fetch(url, draft, progress=self.verbose)
        try:
            iers.IERS_A.open(str(draft))
        except Exception as error:  # whatever astropy's reader of tables meets
            draft.unlink()
            raise BadConnection(f"{url}: what came is not a table of the Earth's orientation") from error
        draft.replace(target)

    def _download_index(self, name: str) -> None:
        target = self.data_folder / Path(name).name
        if target.exists():
            logger.debug("{} is there", target)
            return
        fetch(f"{self.index_url}/{name}", target, magic=b"SIMPLE  =", progress=self.verbose)


def fetch(url: str, target: Union[str, Path], magic: bytes = b"", progress: bool = False) -> None:
    """Fetch a file, whole; what was broken off before is taken up where it ended.

    Args:
        url: address.
        target: path. Until it is complete the content is in `NAME.part` beside it.
        magic: bytes that it must begin with.
        progress: show a progress bar.

    Raises:
        BadConnection: it cannot be fetched, or what came is not complete or not such a file.
        OSError: the disk is full or cannot be written to.
    """
    import requests
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    target = Path(target)
    part = target.with_name(target.name + ".part")
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, disable=not progress) as bar:
        task = bar.add_task(target.name, total=None)
        for attempt in range(1, TRIES + 1):
            try:
                if _fetch_rest(requests, url, part, bar, task):
                    break
                why = "the connection broke off"
            except requests.RequestException as error:
                why = str(error)
            logger.warning(f"{url}: {why} (attempt {attempt} of {TRIES})")
        else:
            raise BadConnection(f"{url}: not fetched after {TRIES} attempts: {why}; run again to resume")
    with part.open("rb") as content:
        begins = content.read(len(magic))
        os.fsync(content.fileno())
    if begins != magic:
        part.unlink()
        raise BadConnection(f"{url}: what came is not the file (a login page of the network?)")
    part.replace(target)


def _fetch_rest(requests: Any, url: str, part: Path, bar: Any, task: Any) -> bool:
    """Append what is missing to `part`; return whether it is complete."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, stream=True, timeout=PATIENCE) as answer:
        if answer.status_code == 416:  # nothing behind what we have: it is complete, or another file
            _, _, total = answer.headers.get("Content-Range", "").partition("/")
            if total.isdigit() and int(total) == have:
                return True
            part.unlink()
            return False
        if 400 <= answer.status_code < 500:
            raise BadConnection(f"{url}: the server answers {answer.status_code} {answer.reason}")
        answer.raise_for_status()
        resumed = answer.status_code == 206
        have = have if resumed else 0
        total = None
        with suppress(KeyError, ValueError):
            total = have + int(answer.headers["Content-Length"])
        bar.update(task, completed=have, total=total)
        with part.open("ab" if resumed else "wb") as out:
            for chunk in answer.iter_content(CHUNK):
                out.write(chunk)
                bar.update(task, advance=len(chunk))
    return total is None or part.stat().st_size == total
