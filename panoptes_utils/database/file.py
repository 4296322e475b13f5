"""Records in files: a line of JSON each, on the disk before the call returns."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional, Union

from panoptes_utils.database.base import AbstractPanDB, checked_name
from panoptes_utils.files import replacing


def _storage(storage_dir: Optional[Union[str, Path]]) -> Path:
    return Path(storage_dir or Path(os.getenv("PANDIR", "/var/panoptes")) / "json_store")


class PanFileDB(AbstractPanDB):
    """A database in a folder: `COLLECTION.json` of JSON lines, `current_COLLECTION.json` with the current record.

    A power cut costs at most the record that was being written: a line that it cut off is ended before the next one is
    appended, and is skipped by readers. Several processes may write.

    Args:
        db_name: str; folder of the database.
        storage_dir: folder of databases; `$PANDIR/json_store` by default.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(
        self, db_name: str = "panoptes", storage_dir: Optional[Union[str, Path]] = None, **kwargs: Any
    ) -> None:
        super().__init__(db_name)
        self.folder = _storage(storage_dir) / db_name
        self.folder.mkdir(parents=True, exist_ok=True)

    def _records_file(self, collection: str) -> Path:
        return self.folder / f"{collection}.json"

    def _current_file(self, collection: str) -> Path:
        return self.folder / f"current_{collection}.json"

    def _store(self, collection: str, identifier: str, line: str, current: bool, permanent: bool) -> None:
        line = line.replace("\n", " ")
        if current:
            with replacing(self._current_file(collection)) as draft:
                draft.write_text(line + "\n", encoding="utf-8")
        if permanent:
            with self._records_file(collection).open("a+b") as records:
                fcntl.flock(records, fcntl.LOCK_EX)
                if records.seek(0, os.SEEK_END):
                    records.seek(-1, os.SEEK_END)
                    if records.read(1) != b"\n":
                        records.write(b"\n")
                records.write(line.encode() + b"\n")
                records.flush()
                os.fsync(records.fileno())

    def _current(self, collection: str) -> Optional[str]:
        try:
            line = self._current_file(collection).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return line if _whole(line) else None

    def _find(self, collection: str, identifier: str) -> Optional[str]:
        path = self._records_file(collection)
        with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if str(identifier) in line and _whole(line) and json.loads(line).get("_id") == identifier:
                    return line
        return None

    def clear_current(self, collection: str) -> None:
        """Remove the current record of a collection."""
        with suppress(FileNotFoundError):
            self._current_file(checked_name(collection)).unlink()

    @classmethod
    def permanently_erase_database(
        cls, db_name: str, storage_dir: Optional[Union[str, Path]] = None, **kwargs: Any
    ) -> None:
        """Erase all records, and the folder."""
        with suppress(FileNotFoundError):
            shutil.rmtree(_storage(storage_dir) / checked_name(db_name, "db_name"))


def _whole(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
