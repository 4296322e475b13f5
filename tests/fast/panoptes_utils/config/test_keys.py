"""Dotted keys."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptes_utils.config.keys import (
    MAX_DEPTH,
    MAX_LENGTH,
    KeyProblem,
    counted_from_front,
    get_part,
    parse_key,
    set_part,
)

names = st.text(st.characters(exclude_characters=".[]", exclude_categories=["Cs"]), min_size=1, max_size=8)
paths = st.lists(names | st.integers(-99999, 99999), min_size=1, max_size=8).filter(
    lambda parts: isinstance(parts[0], str)
)


def written(parts):
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".")


@given(paths)
def test_what_is_written_is_read(parts):
    assert parse_key(written(parts)) == parts


@pytest.mark.parametrize(
    "key", ["", ".", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[--1]", "a[-]", "a]b", "a[1]b", "a.[1]"]
)
def test_malformed_key_is_refused(key):
    with pytest.raises(KeyProblem, match="malformed"):
        parse_key(key)


def test_key_that_is_too_long_or_too_deep_is_refused():
    with pytest.raises(KeyProblem, match="characters long"):
        parse_key("a" * (MAX_LENGTH + 1))
    with pytest.raises(KeyProblem, match="levels"):
        parse_key(".".join("a" * (MAX_DEPTH + 1)))


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    with suppress(KeyProblem):
        assert len(parse_key(text)) >= 1


@given(st.lists(names, min_size=1, max_size=8), st.sampled_from([[], [0]]), st.integers())
def test_a_set_value_is_found_below_new_levels(parts, index, value):
    parts = parts + index
    tree = {}
    set_part(tree, "key", parts, value)
    assert get_part(tree, parts) == value


def test_missing_value_is_none():
    tree = {"a": [{"b": 1}], "c": 5}
    for key in ("x", "a[1]", "a.b", "a[0].c", "c.d", "c[0]", "a[-2]", "c[-1]"):
        assert get_part(tree, parse_key(key)) is None


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("c.d", "'c' is a value"),
        ("a.b", "'a' is a value"),
        ("c[0]", "'c' is not a list"),
        ("a[3]", "'a' has 1 entries, no index 3"),
        ("a[1].x", "'a' has 1 entries, no index 1"),
        ("a[-2]", "'a' has 1 entries, no index -2"),
        ("b[-1]", "'b' has 0 entries, no index -1"),
    ],
)
def test_what_does_not_fit_is_refused(key, reason):
    with pytest.raises(KeyProblem, match=reason.replace("[", r"\[")):
        set_part({"a": [{"b": 1}], "c": 5}, key, parse_key(key), 1)


def test_a_list_grows_at_its_end():
    tree = {"a": [1]}
    set_part(tree, "a[1]", ["a", 1], 2)
    assert tree == {"a": [1, 2]}


@given(st.lists(st.lists(st.integers(), min_size=1, max_size=3), min_size=1, max_size=3), st.data(), st.integers())
def test_indexes_from_the_end_read_and_set_the_same_as_those_from_the_front(entries, data, value):
    outer = data.draw(st.integers(0, len(entries) - 1))
    inner = data.draw(st.integers(0, len(entries[outer]) - 1))
    front = ["a", outer, inner]
    end = parse_key(f"a[{outer - len(entries)}][{inner - len(entries[outer])}]")
    tree = {"a": entries}
    assert counted_from_front(tree, end) == front
    assert get_part(tree, end) == entries[outer][inner]
    set_part(tree, "key", end, value)
    assert get_part(tree, front) == value
