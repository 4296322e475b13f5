"""Records in memory, gone with the process."""

from __future__ import annotations

from threading import Lock
from typing import Any, ClassVar, Dict, Optional
from weakref import WeakValueDictionary

from panoptes_utils.database.base import AbstractPanDB, checked_name


class PanMemoryDB(AbstractPanDB):
    """A database in memory; those of one name, in one process, are one while anybody holds one."""

    active_dbs: ClassVar[WeakValueDictionary] = WeakValueDictionary()
    _all = Lock()
    _lock: Lock
    _currents: Dict[str, str]
    _records: Dict[str, Dict[str, str]]

    def __new__(cls, db_name: str = "panoptes", **kwargs: Any) -> PanMemoryDB:
        """Return the database of that name."""
        with cls._all:
            database = cls.active_dbs.get(db_name)
            if database is None:
                database = super().__new__(cls)
                database._lock, database._currents, database._records = Lock(), {}, {}
                cls.active_dbs[db_name] = database
            return database

    def _store(self, collection: str, identifier: str, line: str, current: bool, permanent: bool) -> None:
        with self._lock:
            if current:
                self._currents[collection] = line
            if permanent:
                self._records.setdefault(collection, {})[identifier] = line

    def _current(self, collection: str) -> Optional[str]:
        with self._lock:
            return self._currents.get(collection)

    def _find(self, collection: str, identifier: str) -> Optional[str]:
        with self._lock:
            return self._records.get(collection, {}).get(identifier)

    def clear_current(self, collection: str) -> None:
        """Remove the current record of a collection."""
        with self._lock:
            self._currents.pop(checked_name(collection), None)

    @classmethod
    def permanently_erase_database(cls, db_name: str, **kwargs: Any) -> None:
        """Erase all records."""
        database = cls.active_dbs.get(db_name)
        if database is not None:
            with database._lock:
                database._currents.clear()
                database._records.clear()
