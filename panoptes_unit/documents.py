"""One guarded reader for what others wrote: JSON and YAML of a registry, a stick, a service, POCS or a person.

Whatever is in such a document, what comes out is plain values within bounds, or one line that says what is wrong.
"""

from __future__ import annotations

import json
import math
import re
from email.utils import mktime_tz, parsedate_tz
from typing import Any, Dict, List, Optional, Tuple, Type, Union

# Deeper than any document of ours, and shallow enough for every later walk through it.
DEPTH_LIMIT = 32
# Values in one YAML document, those behind an alias counted each time.
NODE_LIMIT = 10_000
# So few cannot stand for much: with some more, ten lines stand for gigabytes.
ALIAS_LIMIT = 16
TEXT_LIMIT = 1000
SIZE_LIMIT = 10**12  # bytes: no image, layer or answer is that large
_LONGEST_INTEGER = 19  # digits of 2**63
_YEAR_10000 = 253402300800.0
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class DocumentError(ValueError):
    """A document that is not what it should be; one line, without the name of where it came from."""

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: object, limit: int = TEXT_LIMIT) -> str:
    """A text of others for a terminal, a journal or a history: one line, no control sequences, at most `limit` long."""
    said = str(text)
    whole = len(said)
    if not said.isprintable():
        said = "".join(_shown(character) for character in said[:limit])
    return said if max(len(said), whole) <= limit else said[: limit - 1] + "…"


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else ascii(character)[1:-1]


def read_json(text: Union[str, bytes], limit: int = SIZE_LIMIT, depth: int = DEPTH_LIMIT) -> Any:
    """The value of a JSON text.

    Args:
        text: bytes are UTF-8.
        limit: bytes (or characters) that it may have.
        depth: lists and objects inside each other.

    Raises:
        DocumentError: it is no JSON, too large, too deep, or has a number that is none.
    """
    if len(text) > limit:
        raise DocumentError(f"more than {limit} bytes")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        document = _DECODER.decode(text)
    except DocumentError:
        raise
    except UnicodeDecodeError:
        raise DocumentError("it is not text in UTF-8") from None
    except RecursionError:
        raise DocumentError(f"lists or objects more than {depth} deep") from None
    except ValueError as error:
        raise DocumentError(f"it is not JSON: {error}") from None
    _check(document, depth)
    if _SURROGATE.search(text):
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise DocumentError("it has half a character") from None
    return document


def read_object(text: Union[str, bytes], limit: int = SIZE_LIMIT) -> Dict[str, Any]:
    """The object that a JSON text holds.

    Raises:
        DocumentError: as `read_json`, or it holds something else.
    """
    document = read_json(text, limit)
    if not isinstance(document, dict):
        raise DocumentError("it holds no object")
    return document


def read_yaml(text: str, limit: int) -> Any:
    """The value of a YAML text of plain values.

    Raises:
        DocumentError: it is no such text, too large, too deep, or has a number that is none.
    """
    import yaml  # Debian's python3-yaml; only here, so that what Ansible carries does without

    if len(text) > limit:
        raise DocumentError(f"more than {limit} characters")
    try:
        _check_events(yaml.parse(text, Loader=yaml.SafeLoader))
        document = yaml.safe_load(text)
    except DocumentError:
        raise
    except yaml.YAMLError as error:
        raise DocumentError(f"it is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise DocumentError(f"more than {DEPTH_LIMIT} deep") from None
    # What the loader itself raises for `!!int ""`, `!!bool x`, 2026-99-99 and their like.
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise DocumentError(f"it has a value that is none: {error}") from None
    _check(document, DEPTH_LIMIT, NODE_LIMIT)
    return document


def _check_events(events: Any) -> None:
    """Depth and size before anything is built, for the loader's own effort grows with both."""
    import yaml

    depth = aliases = 0
    for count, event in enumerate(events):
        aliases += isinstance(event, yaml.AliasEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.ScalarEvent) and _is_long_number(event):
            raise DocumentError(f"a number of {len(event.value)} digits")
        if depth > DEPTH_LIMIT:
            raise DocumentError(f"lists or objects more than {DEPTH_LIMIT} deep")
        if aliases > ALIAS_LIMIT:
            raise DocumentError(f"more than {ALIAS_LIMIT} aliases: write the values out")
        if count > 2 * NODE_LIMIT:
            raise DocumentError(f"more than {NODE_LIMIT} values")


def _is_long_number(event: Any) -> bool:
    """Reading one takes the square of its length."""
    is_text = event.style is not None and event.tag is None  # quoted
    return len(event.value) > 2 * _LONGEST_INTEGER and not is_text and not event.value.strip("+-0123456789_:.")


def _check(document: Any, depth: int, nodes: Optional[int] = None) -> None:
    """No value is deeper than `depth` and no number out of bounds; without recursion, for it has to pass any depth."""
    row, level, count = [document], 0, 0
    while row:
        below: List[Any] = []
        for value in row:
            if isinstance(value, (dict, list, tuple, set)) and level >= depth:
                raise DocumentError(f"lists or objects more than {depth} deep")
            if isinstance(value, dict):
                below += value.values()
                below += [key for key in value if not isinstance(key, str)]
            elif isinstance(value, (list, tuple, set)):
                below += value
            elif isinstance(value, float) and not math.isfinite(value):
                raise DocumentError(f"{value} is no number")
            elif isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise DocumentError("a number is too large")
        count += len(row)
        if nodes is not None and count > nodes:
            raise DocumentError(f"more than {nodes} values")
        row, level = below, level + 1


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER + 1:
        raise DocumentError(f"a number of {len(text)} digits")
    return int(text)


def _decimal(text: str) -> float:
    return float(text) if len(text) <= 400 else _no_number(text)


def _no_number(text: str) -> float:
    raise DocumentError(f"{printable(text, 40)} is no number")


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_decimal, parse_constant=_no_number)

# What a value may be called, for the sentence that refuses another.
_KINDS = {str: "a text", int: "a whole number", dict: "an object", list: "a list"}


def field(document: Dict[str, Any], name: str, kind: Type[Any], default: Any = None) -> Any:
    """The value of a field, which has to be of type `kind`; `default`, if one is given, where there is none or null.

    Raises:
        DocumentError: it is absent, or something else.
    """
    value = document.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DocumentError(f"field {name} must be {_KINDS[kind]}, {_found(document, name)}")
    return value


def objects(document: Dict[str, Any], name: str, most: int) -> List[Dict[str, Any]]:
    """A field that holds a list of at most `most` objects.

    Raises:
        DocumentError: it holds something else.
    """
    value: List[Dict[str, Any]] = field(document, name, list)
    if len(value) > most:
        raise DocumentError(f"field {name} has {len(value)} entries, more than {most}")
    for item in value:
        if not isinstance(item, dict):
            raise DocumentError(f"field {name} must be a list of objects, one is {printable(repr(item), 60)}")
    return value


def size(document: Dict[str, Any], name: str = "size") -> int:
    """A field that holds a number of bytes.

    Raises:
        DocumentError: it is none, negative, or larger than anything there is.
    """
    value: int = field(document, name, int)
    if not 0 <= value <= SIZE_LIMIT:
        raise DocumentError(f"field {name} must be a number of bytes, is {value}")
    return value


def _found(document: Dict[str, Any], name: str) -> str:
    return f"is {printable(repr(document[name]), 60)}" if name in document else "is absent"


def http_date(text: Optional[str]) -> Optional[float]:
    """Seconds since 1970 of a date in a header; None where it is no date at all.

    Raises:
        DocumentError: it is one that no clock shows.
    """
    try:
        parts: Optional[Tuple[Any, ...]] = parsedate_tz((text or "")[:100])
        if not parts:
            return None
        moment = float(mktime_tz(parts))
    # What the standard library raises for odd dates differs from one version to the next.
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
        moment = -1.0
    if not 0 <= moment < _YEAR_10000:
        raise DocumentError(f"{printable(repr(text), 60)} is a date that no clock shows")
    return moment
