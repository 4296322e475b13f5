"""What the kinds of database have in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Any, Dict, Optional
from uuid import uuid4

from panoptes_utils.error import IllegalValue
from panoptes_utils.serializers import from_json, to_json
from panoptes_utils.time import current_time

_NAME = re.compile(r"[A-Za-z0-9][-\w.]*\Z")


def checked_name(name: str, what: str = "collection") -> str:
    """Return a name that can be a file's, or raise IllegalValue."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise IllegalValue(f"{what}={name!r}: a name has letters, digits, dots, _ and -, and begins with no dot")
    return name


class AbstractPanDB(ABC):
    """A database of records in collections; each collection has at most one current record.

    A record is a dict: `_id` (str), `data`, `type` (the collection), `date` (UTC).
    """

    def __init__(self, db_name: str = "panoptes", **kwargs: Any) -> None:
        self.db_name = checked_name(db_name, "db_name")

    def insert_current(self, collection: str, obj: Any, store_permanently: bool = True) -> str:
        """Make `obj` the current record of a collection.

        Args:
            collection: str.
            obj: what JSON, or the project's serializers, can hold.
            store_permanently: keep it in the collection too.

        Returns:
            str: its identifier.

        Raises:
            InvalidSerialization: it cannot be written as JSON.
            IllegalValue: not a name of a collection.
        """
        return self._insert(collection, obj, current=True, permanent=store_permanently)

    def insert(self, collection: str, obj: Any) -> str:
        """Add a record; arguments, result and errors as of `insert_current`."""
        return self._insert(collection, obj, current=False, permanent=True)

    def _insert(self, collection: str, obj: Any, current: bool, permanent: bool) -> str:
        checked_name(collection)
        identifier = str(uuid4())
        when = current_time(datetime=True).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        line = to_json({"_id": identifier, "data": obj, "type": collection, "date": when})
        self._store(collection, identifier, line, current, permanent)
        return identifier

    def get_current(self, collection: str) -> Optional[Dict[str, Any]]:
        """Return the current record of a collection, or None."""
        line = self._current(checked_name(collection))
        return from_json(line) if line else None

    def find(self, collection: str, obj_id: str) -> Optional[Dict[str, Any]]:
        """Return the record of that identifier in a collection, or None."""
        line = self._find(checked_name(collection), obj_id)
        return from_json(line) if line else None

    @abstractmethod
    def clear_current(self, collection: str) -> None:
        """Remove the current record of a collection."""

    @abstractmethod
    def _store(self, collection: str, identifier: str, line: str, current: bool, permanent: bool) -> None:
        """Keep a record, written as one line of JSON."""

    @abstractmethod
    def _current(self, collection: str) -> Optional[str]:
        """The line of the current record, or None."""

    @abstractmethod
    def _find(self, collection: str, identifier: str) -> Optional[str]:
        """The line of a record, or None."""
