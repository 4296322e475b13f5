"""Which parts of a configuration are secrets.

What stands below the key `secrets` is one, and so is whatever the list `secret_keys` names by dotted keys:

    secret_keys: [social_accounts.slack, "cameras.devices[0].password"]
    secrets:
      weather_api: 0123456789
"""

from typing import Any, Dict, List

from panoptes_utils.config.keys import KeyProblem, Part, counted_from_front, get_part, parse_key

SECTION = "secrets"
NAMES = "secret_keys"


def secret_parts(config: Dict[str, Any]) -> List[List[Part]]:
    """The keys of all that is secret, with indexes from the front; a name that is no key marks nothing."""
    marked: List[List[Part]] = [[SECTION]]
    named = config.get(NAMES)
    for name in named if isinstance(named, list) else [named]:
        if isinstance(name, str):
            try:
                marked.append(counted_from_front(config, parse_key(name)))
            except KeyProblem:
                continue
    return [parts for parts in marked if get_part(config, parts) is not None]


def without(config: Dict[str, Any], marked: List[List[Part]]) -> Dict[str, Any]:
    """A new tree without what is marked: a key is left out, an entry of a list is null. The old one is left alone."""
    for parts in marked:
        config = _without(config, parts)
    return config


def _without(tree: Any, parts: List[Part]) -> Any:
    part = parts[0]
    if get_part(tree, [part]) is None:
        return tree
    copy: Any = list(tree) if isinstance(tree, list) else dict(tree)
    if len(parts) > 1:
        copy[part] = _without(tree[part], parts[1:])
    elif isinstance(part, int):
        copy[part] = None
    else:
        del copy[part]
    return copy


def is_below(parts: List[Part], marked: List[List[Part]]) -> bool:
    """Whether a key is marked itself, or stands below one that is."""
    return any(parts[: len(one)] == one for one in marked)
