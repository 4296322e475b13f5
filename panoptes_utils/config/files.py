"""The configuration's files: `pocs.yaml`, which people and provisioning write, and `pocs_local.yaml`, which the
server writes.

The local file holds only what was set through the server. It has a copy beside it, `.pocs_local.yaml.good`, so
that a local file damaged by a failing disk costs nothing.
"""

import math
import os
import stat
import time
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from panoptes_utils.error import InvalidConfig
from panoptes_utils.files import sync, write_durably
from panoptes_utils.logging import logger
from panoptes_utils.serializers import serialize_object
from panoptes_utils.yaml_bounds import bounded_composer, too_deep, too_many

# Longer files, more values (aliases count as what they stand for) and deeper ones are refused: they would keep a small
# computer busy for minutes.
MAX_FILE = 256 * 1024
MAX_VALUES = 20_000
MAX_LEVELS = 64
# What was set may hold secrets: nobody but the unit's user and group reads it.
MOST_LOCAL = 0o640


def local_path(path: Path) -> Path:
    """The local file that belongs to a configuration file: `pocs.yaml` → `pocs_local.yaml`."""
    return path if path.stem.endswith("_local") else path.with_name(f"{path.stem}_local{path.suffix}")


def read_yaml(path: Path) -> Dict[str, Any]:
    """The mapping in a YAML file, with its comments.

    Raises:
        InvalidConfig: the file is not there, not readable or not a YAML mapping; the text says where.
    """
    try:
        data = read_bounded(path)
    except OSError as error:
        raise InvalidConfig(f"cannot read {path}: {error.strerror}") from error
    return parse_yaml(data, path)


def read_bounded(path: Path) -> bytes:
    """The content of a regular file, and of a longer one than is allowed just enough to see that.

    Raises:
        InvalidConfig: it is something that can be read for ever, such as a pipe.
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise InvalidConfig(f"{path} is no regular file")
        return stream.read(MAX_FILE + 1)


def parse_yaml(data: bytes, path: Path) -> Dict[str, Any]:
    """The mapping in YAML text that came from `path`, with its comments; empty text is an empty mapping.

    Raises:
        InvalidConfig: it is not a YAML mapping, or longer, deeper or fuller than is allowed; the text says where.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if len(data) > MAX_FILE:
        raise InvalidConfig(f"{path} is longer than {MAX_FILE // 1024} kB: put long lists into files of their own")
    try:
        yaml = YAML()
        yaml.Composer = bounded_composer(MAX_LEVELS, MAX_VALUES)
        tree = yaml.load(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidConfig(f"{path} is not UTF-8 text (byte {error.start})") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidConfig(f"{path}{where}: {error.problem or 'not YAML'}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()
        raise InvalidConfig(f"{path} is not YAML: {reason[0] if reason else error!r}") from error
    if tree is None:
        return CommentedMap()
    if not isinstance(tree, dict):
        raise InvalidConfig(f"{path} holds a {type(tree).__name__}, not 'key: value' lines")
    levels, values = _levels_and_values(tree)
    if levels > MAX_LEVELS:
        raise InvalidConfig(f"{path}: {too_deep(MAX_LEVELS)}")
    if values > MAX_VALUES:
        raise InvalidConfig(f"{path}: {too_many(MAX_VALUES)}")
    return tree


def _levels_and_values(tree: Any) -> Tuple[int, int]:
    """How deep the tree is and how many values it holds; counting ends soon after too many of either."""
    level, levels, values = [tree], 0, 0
    while level and levels <= MAX_LEVELS and values <= MAX_VALUES:
        levels, values = levels + 1, values + len(level)
        level = [
            below
            for node in level
            if isinstance(node, (dict, list, tuple, set))
            for below in (node.values() if isinstance(node, dict) else node)
        ]
    return levels, values


def count_values(tree: Any) -> int:
    """How many values a tree holds, mappings and lists included."""
    return _levels_and_values(tree)[1]


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
    except (YAMLError, UnicodeError, AttributeError) as error:
        raise ValueError(f"no YAML form: {error}") from error
    return stream.getvalue()


def plain(tree: Any) -> Any:
    """The tree as JSON sees it: dicts with text keys, lists, text, numbers, booleans, null.

    Dates become ISO text and what JSON has no number for (infinities, NaN) null.

    Raises:
        InvalidConfig: the tree contains itself (by YAML's anchors) or is nested too deeply.
    """
    try:
        return _plain(tree)
    except RecursionError as error:
        raise InvalidConfig("the configuration contains itself or is nested too deeply") from error


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
    if repair:
        close_to_others(path)
    try:
        data = read_bounded(path)
    except FileNotFoundError:
        return parse_yaml(b"", path), None
    except (InvalidConfig, OSError) as error:
        tree = read_good(path)
        reason = error.msg if isinstance(error, InvalidConfig) else f"cannot read {path}: {error.strerror}"
        return (tree if tree is not None else parse_yaml(b"", path)), reason
    try:
        if b"\x00" in data:
            raise InvalidConfig(f"{path} holds NUL bytes")
        if not data.strip() and good.exists() and good.stat().st_size:
            raise InvalidConfig(f"{path} is empty, its copy is not")
        return parse_yaml(data, path), None
    except InvalidConfig as error:
        reason = error.msg
    tree = read_good(path)
    # Of a link what it points at is set aside: the link is somebody's wish, and is not what is damaged.
    damaged = path.resolve() if path.is_symlink() else path
    aside = damaged.with_name(f"{damaged.name}.damaged-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
    if repair:
        with suppress(OSError):
            damaged.replace(aside)
            if tree is not None:
                write_durably(path, good.read_bytes(), most=MOST_LOCAL)
            else:
                sync(damaged.parent)
    used = "its last good copy is used" if tree is not None else "there is no good copy: started without it"
    return (tree if tree is not None else parse_yaml(b"", path)), f"{reason}; set aside as {aside.name}, {used}"


def write_local(path: Path, data: bytes) -> None:
    """Write the local file durably, then its copy.

    Raises:
        OSError: the local file could not be written; the old one is intact.
    """
    write_durably(path, data, most=MOST_LOCAL)
    try:
        write_durably(good_copy(path), data, most=MOST_LOCAL)
    except OSError as error:
        # The write itself is safe on the disk: only the second line of defence is thinner.
        logger.warning(f"cannot write the copy of {path}: {error.strerror}")


def keep_good(path: Path) -> None:
    """Keep a copy of a configuration file that was found to be good, for the day on which it is not."""
    try:
        data = read_bounded(path)
        copy = good_copy(path)
        if not copy.exists() or read_bounded(copy) != data:
            write_durably(copy, data, most=MOST_LOCAL)
    except (InvalidConfig, OSError) as error:
        logger.warning(f"cannot keep a copy of {path}: {error}")


def close_to_others(path: Path) -> None:
    """Take from others what earlier versions let them do with a local file, its copy and what was set aside."""
    for one in (path, good_copy(path), *path.parent.glob(f"{path.name}.damaged-*")):
        with suppress(OSError):
            state = one.lstat()
            if stat.S_ISREG(state.st_mode) and state.st_mode & 0o777 & ~MOST_LOCAL:
                one.chmod(state.st_mode & MOST_LOCAL)


def good_copy(path: Path) -> Path:
    """The copy that stands in for a damaged file."""
    return path.with_name(f".{path.name}.good")


def read_good(path: Path) -> Optional[Dict[str, Any]]:
    """What the copy of a file holds, None where there is no good one."""
    copy = good_copy(path)
    try:
        return read_yaml(copy) if copy.stat().st_size else None
    except (OSError, InvalidConfig):
        return None
