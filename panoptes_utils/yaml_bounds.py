"""YAML that is read leaves off at what is too deep or too much, before anything is built of it.

ruamel's own `max_depth` came with a version that Debian 12 does not have; without a bound it goes on until Python's
stack ends, after many seconds.
"""

from typing import Any, Dict, Optional


def too_deep(max_levels: int) -> str:
    """What is said of a document with more levels than that."""
    return f"nested more than {max_levels} levels deep"


def too_many(max_values: int) -> str:
    """What is said of a document with more values than that."""
    return f"stands for more than {max_values:,} values, which is too many for a configuration"


def bounded_composer(max_levels: int, max_values: Optional[int] = None) -> Any:
    """A class for the `Composer` of a `ruamel.yaml.YAML`: it raises ComposerError at the value that is one too deep.

    Args:
        max_levels: mappings and lists in each other.
        max_values: values in all, where aliases count as what they stand for, and none stands for itself; None takes
            any number of them, and any aliases.
    """
    from ruamel.yaml.composer import Composer, ComposerError

    class Bounded(Composer):
        levels = values = 0

        def __init__(self, loader: Any = None) -> None:
            super().__init__(loader)
            self.warn_double_anchors = False  # YAML allows them, and a file of them would fill the log

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.levels += 1
            self.values += parent is None or index is not None  # a key has a parent and no index
            if self.levels > max_levels:
                raise ComposerError(None, None, too_deep(max_levels), self.parser.peek_event().start_mark)
            if max_values is not None and self.values > max_values:
                raise ComposerError(None, None, too_many(max_values), self.parser.peek_event().start_mark)
            node = super().compose_node(parent, index)
            self.levels -= 1
            return node

        def get_single_node(self) -> Any:
            node = super().get_single_node()
            if max_values is not None and self.anchors:
                _check_aliases(node, max_values)
            return node

    return Bounded


def _check_aliases(root: Any, max_values: int) -> None:
    """Refuse a document whose aliases stand for too much, or for themselves; each anchor is counted once."""
    from ruamel.yaml.composer import ComposerError

    sizes: Dict[int, int] = {}

    def size(node: Any) -> int:
        below = node.value if node is not None and not isinstance(node.value, str) else []
        if not below:
            return 1
        if id(node) not in sizes:
            sizes[id(node)] = 0  # while it is being counted: what meets it again contains itself
            members = [one for entry in below for one in (entry if isinstance(entry, tuple) else (entry,))]
            sizes[id(node)] = 1 + sum(size(one) for one in members)
            if sizes[id(node)] > max_values:
                raise ComposerError(None, None, too_many(max_values), node.start_mark)
        elif not sizes[id(node)]:
            raise ComposerError(None, None, "contains itself, by an alias", node.start_mark)
        return sizes[id(node)]

    size(root)
