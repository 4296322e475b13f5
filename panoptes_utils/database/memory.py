"""Records in memory, gone with the process."""

from threading import Lock
from typing import ClassVar
from weakref import WeakValueDictionary

from panoptes_utils.database.base import AbstractPanDB, checked_name


class PanMemoryDB(AbstractPanDB):
    """A database in memory; those of one name, in one process, are one while anybody holds one."""

    active_dbs: ClassVar[WeakValueDictionary] = WeakValueDictionary()
    _all = Lock()

    def __new__(cls, db_name="panoptes", **kwargs):
        """Return the database of that name."""
        with cls._all:
            database = cls.active_dbs.get(db_name)
            if database is None:
                database = super().__new__(cls)
                database._lock, database._currents, database._records = Lock(), {}, {}
                cls.active_dbs[db_name] = database
            return database

    def _store(self, collection, identifier, line, current, permanent):
        with self._lock:
            if current:
                self._currents[collection] = line
            if permanent:
                self._records.setdefault(collection, {})[identifier] = line

    def _current(self, collection):
        with self._lock:
            return self._currents.get(collection)

    def _find(self, collection, identifier):
        with self._lock:
            return self._records.get(collection, {}).get(identifier)

    def clear_current(self, collection):
        """Remove the current record of a collection."""
        with self._lock:
            self._currents.pop(checked_name(collection), None)

    @classmethod
    def permanently_erase_database(cls, db_name, **kwargs):
        """Erase all records."""
        database = cls.active_dbs.get(db_name)
        if database is not None:
            with database._lock:
                database._currents.clear()
                database._records.clear()
