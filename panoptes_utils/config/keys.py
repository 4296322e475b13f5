"""Dotted keys such as `location.latitude` and `cameras.devices[1].model`; `devices[-1]` is the last entry."""

import re
from typing import Any, List, Union

MAX_LENGTH = 512
MAX_DEPTH = 32

Part = Union[str, int]
# Every key of this form is within the bounds above.
PATTERN = r"[^.\[\]]+(\[-?\d{1,6}\]){0,3}(\.[^.\[\]]+(\[-?\d{1,6}\]){0,3}){0,7}"
_PIECE = re.compile(r"(?P<name>[^\[\]]*)(?P<indexes>(?:\[-?\d{1,6}\])*)")


class KeyProblem(ValueError):
    """The key cannot be read; the text says which key and why."""


class KeyConflict(KeyProblem):
    """The key can be read but does not fit the configuration as it is."""


def parse_key(key: str) -> List[Part]:
    """The names and indexes that a dotted key consists of.

    >>> parse_key("devices[1].model")
    ['devices', 1, 'model']

    Raises:
        KeyProblem: the key is empty, too long, too deep or malformed.
    """
    if len(key) > MAX_LENGTH:
        raise KeyProblem(f"key is {len(key)} characters long, {MAX_LENGTH} are allowed")
    parts: List[Part] = []
    for number, piece in enumerate(key.split(".")):
        match = _PIECE.fullmatch(piece)
        if not match or (not match["name"] and (number or not match["indexes"])):
            raise KeyProblem(f"key {key!r} is malformed; write it like 'devices[1].model'")
        if match["name"]:
            parts.append(match["name"])
        parts.extend(int(index) for index in re.findall(r"-?\d+", match["indexes"]))
    if len(parts) > MAX_DEPTH:
        raise KeyProblem(f"key {key[:40]!r}… has {len(parts)} levels, {MAX_DEPTH} are allowed")
    return parts


def counted_from_front(tree: Any, parts: List[Part]) -> List[Part]:
    """The same key with indexes that count from the front: the one way in which an entry of this tree is named.

    An index that counts from the end of a list that is not there, or is shorter, stays as it is.
    """
    front: List[Part] = []
    for part in parts:
        if isinstance(part, int) and part < 0 and isinstance(tree, list) and -part <= len(tree):
            part += len(tree)
        front.append(part)
        tree = get_part(tree, [part])
    return front


def get_part(tree: Any, parts: List[Part]) -> Any:
    """What stands in the tree at the key, None where nothing does."""
    for part in parts:
        if isinstance(part, int):
            if not isinstance(tree, list) or not -len(tree) <= part < len(tree):
                return None
            tree = tree[part]
        elif isinstance(tree, dict):
            tree = tree.get(part)
        else:
            return None
    return tree


def set_part(tree: dict, key: str, parts: List[Part], value: Any) -> None:
    """Put the value into the tree (in place), making the missing levels above it.

    Raises:
        KeyConflict: the key goes through something that is not a mapping or a list, or beyond a list's end.
    """
    node: Any = tree
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(part, int):
            if not isinstance(node, list):
                raise KeyConflict(f"key {key!r}: {_above(parts, depth)} is not a list")
            if not -len(node) <= part <= len(node) or (part == len(node) and not last):
                raise KeyConflict(f"key {key!r}: {_above(parts, depth)} has {len(node)} entries, no index {part}")
            if part == len(node):
                node.append(value)
                return
        elif not isinstance(node, dict):
            raise KeyConflict(f"key {key!r}: {_above(parts, depth)} is a value, it holds no further keys")
        if last:
            node[part] = value
            return
        below = node[part] if isinstance(part, int) else node.get(part)
        if below is None:
            below = node[part] = [] if isinstance(parts[depth + 1], int) else {}
        node = below


def _above(parts: List[Part], depth: int) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts[:depth])
    return repr(text.lstrip(".") or "the configuration")
