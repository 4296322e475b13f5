"""Records of a unit (weather, states, images), in memory or in files of JSON lines."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Optional, Union

from panoptes_utils.error import IllegalValue
from panoptes_utils.lazy import load_when_used

_KINDS = {"file": "PanFileDB", "memory": "PanMemoryDB"}

__getattr__, __dir__, _ = load_when_used(__name__, {"AbstractPanDB": "base"})
__all__ = ["AbstractPanDB", "PanDB"]


class PanDB:
    """A database of the kind that is asked for.

    Args:
        db_type: "memory", shared by name within the process, or "file".
        db_name: str; "panoptes" by default.
        kwargs: `storage_dir` of the file kind.

    Returns:
        panoptes_utils.database.memory.PanMemoryDB or panoptes_utils.database.file.PanFileDB

    Raises:
        IllegalValue: another kind.

    Example:
        >>> db = PanDB("memory", "testing")
        >>> _ = db.insert_current("weather", {"safe": True})
        >>> db.get_current("weather")["data"]
        {'safe': True}
    """

    def __new__(cls, db_type: str = "memory", db_name: Optional[str] = None, **kwargs: Any) -> Any:
        """Make the database."""
        return _class(db_type)(db_name=db_name or "panoptes", **kwargs)

    @classmethod
    def permanently_erase_database(
        cls,
        db_type: str,
        db_name: str,
        storage_dir: Optional[Union[str, Path]] = None,
        really: Union[str, bool] = False,
        dangerous: Union[str, bool] = False,
        **kwargs: Any,
    ) -> None:
        """Erase all records of a database whose name contains "test".

        Args:
            db_type, db_name: which.
            storage_dir: of the file kind.
            really, dangerous: must be "Yes" and "Totally".

        Raises:
            ValueError: the name has no "test" in it, or the words are not those.
        """
        if "test" not in db_name:
            raise ValueError(f"{db_name}: only a database with 'test' in its name can be erased")
        if really != "Yes" or dangerous != "Totally":
            raise ValueError(f"{db_name}: to erase it pass really='Yes', dangerous='Totally'")
        _class(db_type).permanently_erase_database(db_name, storage_dir=storage_dir)


def _class(db_type: str) -> Any:
    if db_type not in _KINDS:
        raise IllegalValue(f"db_type={db_type!r} is not one of {', '.join(_KINDS)}")
    return getattr(import_module(f"{__name__}.{db_type}"), _KINDS[db_type])
