"""The engine for a look that comes every few minutes: it costs a tenth of a second, and answers the same."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from ..errors import UnitError
from ..settings import SIZE_LIMIT, Settings
from .engine import Container, Engine, StoredImage

_TOLD_FOR_S = 86400.0


class QuickEngine(Engine):
    """Asks through the command line, for python3-docker costs more than all else.

    Compose costs as much again, and is asked once a day, or where its files are not those of which it last told the
    services.

    Args:
        settings: of the unit.
        told: `told` of an earlier one.

    Attributes:
        told: {at, files, services}: when Compose told last, the checksum of its files, and the services in them; and
            {storage}: the engine's driver and folder, asked then too.
    """

    def __init__(self, settings: Settings, told: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(settings)
        self.told = told or {}
        self._seen: List[Container] = []
        self._error: Optional[UnitError] = None
        self._stored: Dict[str, Optional[StoredImage]] = {}
        self._has_looked = False

    def is_alive(self) -> bool:
        """Does the engine answer?"""
        with suppress(UnitError):
            self.containers()
            return True
        return False

    def version(self) -> str:
        """Not asked: it costs a process, and nothing hangs on it."""
        return "answers"

    def has(self, image: str) -> bool:
        """Is this image, by digest, on the disk?"""
        return self._inspected(image) is not None

    def stored(self, image: str) -> StoredImage:
        """As `Engine.stored`."""
        found = self._inspected(image)
        if found is None:
            raise UnitError(f"Docker Engine: inspecting {image}: no such image")
        return found

    def _inspected(self, image: str) -> Optional[StoredImage]:
        """What the engine says of it, asked once; None where it has none."""
        if image not in self._stored:
            self.containers()  # an engine that hangs is not waited for again
            fields = "{{.Id}}\t{{json .RootFS.Layers}}\t{{.Size}}"
            done = self._docker("looking for an image", "image", "inspect", "--format", fields, image)
            if done.returncode and "no such image" not in done.stderr.lower():
                raise UnitError(f"Docker Engine: looking for an image: {done.stderr.strip()}")
            self._stored[image] = None
            if not done.returncode:
                number, layers, size = done.stdout.strip("\n").split("\t")
                self._stored[image] = StoredImage(number, tuple(json.loads(layers) or ()), int(size))
        return self._stored[image]

    def storage(self) -> Tuple[str, Path]:
        """As `Engine.storage`, asked as often as Compose."""
        self.services()
        told: Any = self.told.get("storage")
        if not _is_storage(told):
            done = self._docker("asking for its data folder", "info", "--format", "{{.Driver}}\t{{.DockerRootDir}}")
            told = done.stdout.strip("\n").split("\t")
            # Without an engine, this command answers with empty fields, and ends well.
            if done.returncode or not _is_storage(told):
                raise UnitError(f"Docker Engine: asking for its data folder: {done.stderr.strip() or 'no answer'}")
            self.told["storage"] = told
        driver, root = told
        return driver, Path(root)

    def containers(self) -> List[Container]:
        """As `Engine.containers`, without restarts and exit code; asked once, also where there is no answer."""
        if not self._has_looked:
            self._has_looked = True
            try:
                # When they started is not told: of two of one service, the one that runs counts.
                self._seen = [
                    one._replace(started="running" if one.status == "running" else "") for one in self.glance()
                ]
            except UnitError as error:
                self._error = error
        if self._error is not None:
            raise self._error
        return self._seen

    def services(self) -> List[str]:
        """The names of the services that the Compose file defines."""
        files = self._checksum()
        if self.told.get("files") != files or not 0 <= time.time() - self.told["at"] < _TOLD_FOR_S:
            self.told = {"at": round(time.time()), "files": files, "services": super().services()}
        return list(self.told["services"])

    def _checksum(self) -> str:
        digest = hashlib.sha256()
        for path in (self._settings.compose_file, self._settings.release_file):
            try:
                with Path(path).open("rb") as file:
                    digest.update(hashlib.sha256(file.read(SIZE_LIMIT)).digest())
            except OSError as error:
                digest.update(str(error.errno).encode())
        return digest.hexdigest()


def _is_storage(told: Any) -> bool:
    return isinstance(told, list) and len(told) == 2 and all(isinstance(one, str) and one for one in told)
