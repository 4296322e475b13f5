"""The configuration's files: `pocs.yaml`, which people and provisioning write, and `pocs_local.yaml`, which the
server writes.

The local file holds only what was set through the server. It has a copy beside it, `.pocs_local.yaml.good`, so
that a local file damaged by a failing disk costs nothing.
"""

import math
import time
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from panoptes_utils.config.durable import sync_folder, write_durably
from panoptes_utils.error import InvalidConfig
from panoptes_utils.logging import logger
from panoptes_utils.serializers import serialize_object


def local_path(path: Path) -> Path:
    """The local file that belongs to a configuration file: `pocs.yaml` → `pocs_local.yaml`."""
    return path if path.stem.endswith("_local") else path.with_name(f"{path.stem}_local{path.suffix}")


def read_yaml(path: Path) -> Dict[str, Any]:
    """The mapping in a YAML file, with its comments.

    Raises:
        InvalidConfig: the file is not there, not readable or not a YAML mapping; the text says where.
    """
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise InvalidConfig(f"cannot read {path}: {problem.strerror}") from problem
    return parse_yaml(data, path)


def parse_yaml(data: bytes, path: Path) -> Dict[str, Any]:
    """The mapping in YAML text that came from `path`, with its comments; empty text is an empty mapping.

    Raises:
        InvalidConfig: it is not a YAML mapping; the text says where.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        tree = YAML().load(data.decode("utf-8"))
    except UnicodeDecodeError as problem:
        raise InvalidConfig(f"{path} is not UTF-8 text (byte {problem.start})") from problem
    except MarkedYAMLError as problem:
        mark = problem.problem_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidConfig(f"{path}{where}: {problem.problem or 'not YAML'}") from problem
    except (YAMLError, ValueError, RecursionError) as problem:
        reason = str(problem).splitlines()
        raise InvalidConfig(f"{path} is not YAML: {reason[0] if reason else problem!r}") from problem
    if tree is None:
        return CommentedMap()
    if not isinstance(tree, dict):
        raise InvalidConfig(f"{path} holds a {type(tree).__name__}, not 'key: value' lines")
    return tree


def dump_yaml(tree: Dict[str, Any]) -> bytes:
    """The tree as YAML text, comments included.

    Raises:
        ValueError: a value has no YAML form.
    """
    from io import BytesIO

    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    stream = BytesIO()
    yaml = YAML()
    yaml.width = 4096
    try:
        yaml.dump(tree, stream)
    except (YAMLError, UnicodeError, AttributeError) as problem:
        raise ValueError(f"no YAML form: {problem}") from problem
    return stream.getvalue()


def plain(tree: Any) -> Any:
    """The tree as JSON sees it: dicts with text keys, lists, text, numbers, booleans, null.

    Dates become ISO text and what JSON has no number for (infinities, NaN) null.

    Raises:
        InvalidConfig: the tree contains itself (by YAML's anchors) or is nested too deeply.
    """
    try:
        return _plain(tree)
    except RecursionError as problem:
        raise InvalidConfig("the configuration contains itself or is nested too deeply") from problem


def _plain(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {str(key): _plain(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple, set)):
        return [_plain(value) for value in tree]
    if isinstance(tree, bool) or tree is None:
        return tree
    if isinstance(tree, int):
        return int(tree)
    if isinstance(tree, float):
        return float(tree) if math.isfinite(tree) else None
    if isinstance(tree, str):
        return str(tree)
    if isinstance(tree, (date, datetime)):
        return serialize_object(tree)
    return str(tree)


def merge(base: Dict[str, Any], over: Dict[str, Any]) -> Dict[str, Any]:
    """A new tree: mappings are merged level by level, anything else in `over` replaces what `base` has."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def read_local(path: Path, repair: bool = True) -> Tuple[Dict[str, Any], Optional[str]]:
    """The local file's tree and, where it was damaged, what was done about it.

    A damaged file (not YAML, NUL bytes, or empty though its copy is not) is set aside under a name with the time,
    and the copy takes its place. A file that was removed on purpose is not brought back.

    Args:
        path: the local file.
        repair: rename and restore; False only reads.
    """
    good = good_copy(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return parse_yaml(b"", path), None
    except OSError as problem:
        tree = _read_good(good)
        return (tree if tree is not None else parse_yaml(b"", path)), f"cannot read {path}: {problem.strerror}"
    try:
        if b"\x00" in data:
            raise InvalidConfig(f"{path} holds NUL bytes")
        if not data.strip() and good.exists() and good.stat().st_size:
            raise InvalidConfig(f"{path} is empty, its copy is not")
        return parse_yaml(data, path), None
    except InvalidConfig as problem:
        reason = problem.msg
    tree = _read_good(good)
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
    if repair:
        with suppress(OSError):
            path.replace(aside)
            if tree is not None:
                write_durably(path, good.read_bytes())
            else:
                sync_folder(path.parent)
    used = "its last good copy is used" if tree is not None else "there is no good copy: started without it"
    return (tree if tree is not None else parse_yaml(b"", path)), f"{reason}; set aside as {aside.name}, {used}"


def write_local(path: Path, data: bytes) -> None:
    """Write the local file durably, then its copy.

    Raises:
        OSError: the local file could not be written; the old one is intact.
    """
    write_durably(path, data)
    try:
        write_durably(good_copy(path), data)
    except OSError as problem:
        # The write itself is safe on the disk: only the second line of defence is thinner.
        logger.warning(f"cannot write the copy of {path}: {problem.strerror}")


def good_copy(path: Path) -> Path:
    """The copy that stands in for a damaged local file."""
    return path.with_name(f".{path.name}.good")


def _read_good(path: Path) -> Optional[Dict[str, Any]]:
    try:
        return read_yaml(path) if path.stat().st_size else None
    except (OSError, InvalidConfig):
        return None
