"""The configuration that a server holds: what is asked for most is ready as bytes, what was set is on the disk."""

import json
import threading
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from panoptes_utils.config import files, secrets
from panoptes_utils.config.helpers import parse_config_directories
from panoptes_utils.config.keys import (
    MAX_DEPTH,
    KeyConflict,
    KeyProblem,
    Part,
    counted_from_front,
    get_part,
    parse_key,
    set_part,
)
from panoptes_utils.error import InvalidConfig
from panoptes_utils.files import folder_lock
from panoptes_utils.logging import logger

RUNNING = "config_server.running"
_CACHED_KEYS = 1024
# Writing takes its time for every value that was ever set: with these a change stays well under 0.2 s.
MAX_SET_VALUES = 500
MAX_SET_BYTES = 32 * 1024
# The server's own section: `running` lives in memory, `replaced` (which mappings hide the file's) in the local file.
_OWN = "config_server"
_REPLACED = "replaced"

Check = Callable[[Dict[str, Any]], List[str]]


class Refused(ValueError):
    """A change that was not made: the text names the key and the reason."""


class Conflict(Refused):
    """A change that does not fit the configuration as it is: through a value, or beyond a list's end."""


# A dotted key, the same taken apart, and the value that it is set to.
_Set = Tuple[str, List[Part], Any]


class _Change:
    """What one client asks for: its place among the others, all that it sets, of that what is to be saved, and how
    many values and bytes it is."""

    __slots__ = ("failure", "lasting", "parsed", "place", "size", "values")

    def __init__(self, place: int, parsed: List[_Set], lasting: List[_Set]):
        self.place, self.parsed, self.lasting = place, parsed, lasting
        asked = {key: value for key, _, value in parsed}
        self.values, self.size = files.count_values(asked), len(to_bytes(asked))
        self.failure: Optional[Exception] = None


class ConfigStore:
    """One configuration file with its local file over it.

    Reading is safe from any thread and never waits for the disk: a change makes a new tree and swaps it in when it
    is on the disk. Changes are made one after the other, also among several servers of the same file.

    Args:
        path: the configuration file. It is read only.
        load_local: read `NAME_local.yaml` beside it.
        save_local: write what is set into `NAME_local.yaml`; False keeps it in memory.
        check: lists what is wrong with a configuration; a change that adds to the list is refused.

    Raises:
        InvalidConfig: the configuration file is missing, or it is bad and there is no good copy of it.
    """

    def __init__(self, path: Path, load_local: bool = True, save_local: bool = True, check: Optional[Check] = None):
        self.path = path
        self.local = files.local_path(path)
        self.load_local = load_local
        self.save_local = save_local
        self.check = check or (lambda config: [])
        self.running = True
        self._changing = threading.Lock()
        self._cache: Dict[Optional[str], bytes] = {}
        self._open_cache: Dict[Optional[str], bytes] = {}
        self._base: Dict[str, Any] = {}
        self._config: Dict[str, Any] = {}
        self._secrets: List[List[Part]] = []
        self._open: Dict[str, Any] = {}
        self._local_tree: Dict[str, Any] = {}
        self._local_stamp: Tuple[int, ...] = ()
        self._load(use_good_copy=True)

    @property
    def config(self) -> Dict[str, Any]:
        """The whole configuration. It is shared: never change it."""
        return self._config

    def get(self, key: Optional[str] = None, secret: bool = True) -> Any:
        """The value at a dotted key, None where there is none; the whole configuration without a key.

        The value is shared: never change it.

        Args:
            key: the dotted key.
            secret: False leaves out what is marked as secret.
        """
        config = self._config if secret else self._open
        if key is None:
            return config
        try:
            return get_part(config, parse_key(key))
        except KeyProblem:
            return None

    def is_secret(self, key: Optional[str]) -> bool:
        """Whether the key has a value that is marked as secret."""
        if key is None or not self._secrets:
            return False
        try:
            parts = counted_from_front(self._config, parse_key(key))
            return secrets.is_below(parts, self._secrets) and self.get(key) is not None
        except KeyProblem:
            return False

    def get_json(self, key: Optional[str] = None, secret: bool = True) -> bytes:
        """The value at a dotted key as JSON text; the arguments are those of `get`."""
        cache = self._cache if secret else self._open_cache
        answer = cache.get(key)
        if answer is None:
            answer = to_bytes(self.get(key, secret))
            # A key that nobody set answers `null`: caching it would let a scan of keys fill the memory.
            if answer != b"null" and len(cache) < _CACHED_KEYS:
                cache[key] = answer
        return answer

    def set(self, changes: Dict[str, Any]) -> None:
        """Make the changes, all or none; when this returns they are on the disk.

        Args:
            changes: dotted keys and plain JSON values.

        Raises:
            Conflict: a key does not fit the configuration as it is.
            Refused: a key is malformed or a value is invalid.
            OSError: the local file cannot be written; nothing was changed.
        """
        (failure,) = self.set_together([changes])
        if failure is not None:
            raise failure

    def set_together(self, requests: Sequence[Dict[str, Any]]) -> List[Optional[Exception]]:
        """Make what several clients ask for, in this order and with one write for all that can be made.

        Args:
            requests: for each client dotted keys and plain JSON values; all of them are set or none.

        Returns:
            For each request None once it is on the disk, else what `set` raises for it. An OSError is that of all
            which were to be written together: none of them was changed.
        """
        failures: List[Optional[Exception]] = [None] * len(requests)
        changes: List[_Change] = []
        for place, request in enumerate(requests):
            try:
                parsed = _parsed(request)
            except Refused as error:
                failures[place] = error
                continue
            lasting = [one for one in parsed if one[1][0] != _OWN] if self.save_local else []
            changes.append(_Change(place, parsed, lasting))
        with self._changing:
            for group in _groups(changes):
                self._make(group)
        for change in changes:
            failures[change.place] = change.failure
        return failures

    def _make(self, changes: List["_Change"]) -> None:
        """Make changes with one write and note in each of them what kept it from being made."""
        for change in changes:
            change.failure = None
        try:
            if any(change.lasting for change in changes):
                with folder_lock(self.local.parent):
                    self._take_outside_edits()
                    config, tree = self._after(changes)
                    if not _same(files.plain(tree), files.plain(self._local_tree)):
                        files.write_local(self.local, self._checked_dump(tree))
                    self._local_tree, self._local_stamp = tree, _stamp(self.local)
            else:
                config, _ = self._after(changes)
        except OSError as error:
            for change in changes:
                change.failure = error
            # What is in the folder may be the new file even so, where only the folder's own sync failed.
            with suppress(OSError), folder_lock(self.local.parent):
                self._take_outside_edits()
            # What lives in memory needs no disk: a server whose disk is full can be told to end.
            rest = [change for change in changes if not change.lasting]
            if rest:
                self._make(rest)
            return
        except Exception as error:
            # One of them cannot be kept with the others. Rare, so halving finds it cheaply enough, and what came
            # first is made first.
            if len(changes) == 1:
                changes[0].failure = error
                return
            middle = len(changes) // 2
            self._make(changes[:middle])
            self._make(changes[middle:])
            return
        if config is not self._config:
            self._swap(config)
            self.running = bool(get_part(config, [_OWN, "running"]))

    def reload(self) -> None:
        """Read the files again; what was set without saving is forgotten.

        Raises:
            InvalidConfig: the configuration file is missing or not a YAML mapping; the old one stays in use.
        """
        self._load(use_good_copy=False)

    def _load(self, use_good_copy: bool) -> None:
        with self._changing:
            base = files.plain(self._read_base(use_good_copy))
            if isinstance(base.get("directories"), dict):
                base["directories"] = parse_config_directories(base["directories"])
            tree: Dict[str, Any] = {}
            if self.load_local and self.local != self.path:
                with folder_lock(self.local.parent):
                    tree = self._read_local()
            self._base = base
            self._local_tree, self._local_stamp = tree, _stamp(self.local)
            config = _combined(base, tree)
            config[_OWN] = {"running": self.running}
            self._swap(config)
            for problem in self.check(config):
                logger.warning(f"{self.path.name}: {problem}")

    def _read_base(self, use_good_copy: bool) -> Dict[str, Any]:
        """The configuration file; where it is there but bad, and that is wished, the copy of its last good content."""
        try:
            base = files.read_yaml(self.path)
        except InvalidConfig as error:
            kept = files.read_good(self.path) if use_good_copy and self.path.exists() else None
            if kept is None:
                raise
            logger.error(f"{error.msg}; its last good copy is served until that is mended")
            return kept
        if self.save_local and self.local != self.path:
            files.keep_good(self.path)
        return base

    def _read_local(self) -> Dict[str, Any]:
        tree, damage = files.read_local(self.local)
        if damage:
            logger.warning(damage)
        return tree

    def _take_outside_edits(self) -> None:
        """Start from what is in the local file now: an editor or a second server may have been there."""
        if self.load_local and _stamp(self.local) != self._local_stamp:
            self._local_tree = self._read_local()
            config = _combined(self._base, self._local_tree)
            config[_OWN] = self._config[_OWN]
            self._swap(config)

    def _after(self, changes: List["_Change"]) -> Tuple[Dict[str, Any], Dict[str, Any]]:
        """The configuration and the local tree with those changes made that fit; the others are told why they do not.

        Raises:
            Refused: there would be more in the local tree than is allowed.
        """
        config, tree = self._config, deepcopy(self._local_tree)
        had = _extent(tree)
        known = set(self.check(config))
        for change in changes:
            try:
                after, front = _changed(config, change.parsed)
            except KeyConflict as error:
                change.failure = Conflict(str(error))
                continue
            found = self.check(after)
            wrong = [problem for problem in found if problem not in known]
            if wrong:
                change.failure = Refused("; ".join(wrong))
                continue
            config, known = after, set(found)
            for key, _, _ in change.lasting:
                try:
                    _set_local(tree, self._base, config, key, front[key])
                except KeyConflict as error:
                    raise Conflict(str(error)) from error
        # A file that was longer before there were limits can still be changed.
        for what, most, before, now in zip(("values", "bytes"), (MAX_SET_VALUES, MAX_SET_BYTES), had, _extent(tree)):
            if now > max(most, before):
                raise Refused(
                    f"what was set would be {now:,} {what}, more than {most:,}; put long lists and texts into files of "
                    f"their own, or into {self.path.name}"
                )
        return config, tree

    def _checked_dump(self, tree: Dict[str, Any]) -> bytes:
        """The local tree as YAML that is known to read back as the same."""
        try:
            data = files.dump_yaml(tree)
            if _same(files.plain(files.parse_yaml(data, self.local)), files.plain(tree)):
                return data
        except (ValueError, InvalidConfig) as error:
            raise Refused(f"the value cannot be kept in a YAML file: {error}") from error
        raise Refused("the value cannot be kept in a YAML file: it reads back differently")

    def _swap(self, config: Dict[str, Any]) -> None:
        self._secrets = secrets.secret_parts(config)
        self._open = secrets.without(config, self._secrets)
        self._config = config
        # A new dict instead of clear(): a reader that is just filling the old one cannot leave a stale entry.
        self._cache, self._open_cache = {}, {}


def _parsed(changes: Dict[str, Any]) -> List[_Set]:
    """The keys of one request taken apart.

    Raises:
        Refused: a key is malformed, or a value cannot be kept whatever the configuration is.
    """
    try:
        parsed = [(key, parse_key(key), value) for key, value in changes.items()]
        for key, value in changes.items():
            if _deeper_than(value, MAX_DEPTH):
                raise Refused(f"{key}: the value has more than {MAX_DEPTH} levels")
        to_bytes(changes)
    except KeyProblem as error:
        raise Refused(str(error)) from error
    except UnicodeEncodeError as error:
        raise Refused("the text has half a surrogate pair, which is no character") from error
    for key, parts, value in parsed:
        if parts[0] == _OWN and (parts != [_OWN, "running"] or not isinstance(value, bool)):
            raise Refused(f"{key}: of the server's own section only {RUNNING} can be set, to true or false")
    return parsed


def _changed(config: Dict[str, Any], sets: List[_Set]) -> Tuple[Dict[str, Any], Dict[str, List[Part]]]:
    """A new configuration with the keys set, and the keys with indexes from the front.

    Raises:
        KeyConflict: a key does not fit the configuration.
    """
    config = dict(config)
    # With indexes from the front, since what another change appends moves the end.
    front = {}
    for key, parts, value in sets:
        front[key] = counted_from_front(config, parts)
        # Only what is above the key is copied, and the rest shared: the configuration may be long.
        node: Any = config
        for part in front[key][:-1]:
            below = get_part(node, [part])
            if not isinstance(below, (dict, list)):
                break
            node[part] = below = below.copy()
            node = below
        set_part(config, key, parts, deepcopy(value))
    return config, front


def _groups(changes: List[_Change]) -> Iterator[List[_Change]]:
    """The changes in groups that hold no more than may be set at all, however much clients ask for at once."""
    group: List[_Change] = []
    values = size = 0
    for change in changes:
        values, size = values + change.values, size + change.size
        if group and (values > MAX_SET_VALUES or size > MAX_SET_BYTES):
            yield group
            group, values, size = [], change.values, change.size
        group.append(change)
    if group:
        yield group


def _extent(tree: Dict[str, Any]) -> Tuple[int, int]:
    """How many values a tree holds, and how many bytes they are."""
    return files.count_values(tree), len(to_bytes(files.plain(tree)))


def to_bytes(value: Any) -> bytes:
    """The value as JSON text in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")


def _deeper_than(value: Any, levels: int) -> bool:
    """Whether mappings and lists are nested in each other more than so many levels deep."""
    nodes = [value]
    for _ in range(levels + 1):
        nodes = [node for node in nodes if isinstance(node, (dict, list))]
        if not nodes:
            return False
        nodes = [below for node in nodes for below in (node.values() if isinstance(node, dict) else node)]
    return True


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1, 1.0 and true differ, the order of keys does not matter."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _combined(base: Dict[str, Any], tree: Dict[str, Any]) -> Dict[str, Any]:
    """The configuration file's tree with the local one over it."""
    over = files.plain(tree)
    replaced = get_part(over, [_OWN, _REPLACED]) or []
    over.pop(_OWN, None)
    if replaced:
        base = deepcopy(base)
        for path in replaced:
            parent = get_part(base, path[:-1]) if isinstance(path, list) else None
            if isinstance(parent, dict):
                parent.pop(path[-1], None)
    config = files.merge(base, over)
    config.pop(_OWN, None)
    return config


def _set_local(tree: Dict[str, Any], base: Dict[str, Any], config: Dict[str, Any], key: str, parts: List[Part]) -> None:
    """Bring the local tree (in place) to where it gives what `config` has at the key.

    A list that only the configuration file has is taken over whole. A mapping that was replaced by one with fewer
    keys is noted as replaced, since merging alone would bring the old keys back.
    """
    first_index = next((depth for depth, part in enumerate(parts) if isinstance(part, int)), len(parts))
    if first_index < len(parts) and not isinstance(get_part(tree, parts[:first_index]), list):
        parts = parts[:first_index]
    set_part(tree, key, parts, deepcopy(get_part(config, parts)))
    # The rest of the trees has no say in what the key's own branch becomes.
    branch = {name: value for name, value in base.items() if name == parts[0]}
    own = tree.get(_OWN)
    replaced = own.get(_REPLACED) if isinstance(own, dict) else None
    for depth in range(min(first_index, len(parts)), 0, -1):
        over = {name: value for name, value in tree.items() if str(name) in (parts[0], _OWN)}
        if _same(get_part(config, parts[:1]), get_part(_combined(branch, over), parts[:1])):
            return
        if replaced is None:
            replaced = []
            tree[_OWN] = {_REPLACED: replaced}
        if parts[:depth] not in replaced:
            replaced.append(list(parts[:depth]))


def _stamp(path: Path) -> Tuple[int, ...]:
    """What changes when a file is written or replaced."""
    try:
        state = path.stat()
    except OSError:
        return ()
    return (state.st_ino, state.st_size, state.st_mtime_ns)
