"""What others wrote, read within bounds: it is plain values, or one plain line."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptes_unit.documents import (
    DEPTH_LIMIT,
    TEXT_LIMIT,
    DocumentError,
    http_date,
    objects,
    printable,
    read_json,
    read_yaml,
    size,
)
from panoptes_unit.errors import HealthError, RegistryError, UnitError
from panoptes_unit.files import read_json as read_json_file
from panoptes_unit.files import read_json_lines
from tests.fuzz.fuzz import READERS, run

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)  # fmt: skip


@given(PLAIN)
def test_what_is_plain_comes_back_as_it_was(document):
    assert read_json(json.dumps(document).encode()) == document


@given(st.binary() | st.text().map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_are_json_or_refused(content):
    try:
        read_json(content)
    except DocumentError as error:
        assert str(error).isprintable()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 200_000, "deep"),
        ('{"a":' * 200_000, "deep"),
        ("[" * (DEPTH_LIMIT + 1) + "]" * (DEPTH_LIMIT + 1), "deep"),
        ("[NaN]", "NaN is no number"),
        ("[Infinity, 1]", "Infinity is no number"),
        ("[-1e999]", "inf is no number"),
        ('{"at": ' + "9" * 400 + "}", "a number of 400 digits"),
        (str(2**63), "too large"),
        ('["\\ud800"]', "half a character"),
        ("{'a': 1}", "not JSON"),
        (b"\xff\xfe", "UTF-8"),
        ("[1, 2, 3]" + " " * 100, "more than 50"),
        ("\x1b[31m", "not JSON"),
    ],
)
def test_text_out_of_bounds_is_refused_with_the_reason(text, words):
    with pytest.raises(DocumentError, match=words):
        read_json(text, 50 if words.startswith("more than") else 10**7)


def aliases(line: str) -> str:
    return "".join(f"a{n}: &a{n} {line.format(', '.join([f'*a{n - 1}'] * 9) if n else '')}\n" for n in range(12))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (aliases("[{}]"), "aliases"),
        (aliases("{{<<: [{}], k: 1}}"), "aliases"),
        ("a: &a [*a, *a]", "deep|values"),
        ("a: " + "[" * 1000 + "]" * 1000, "deep"),
        ("a: " + "{a: " * 1000, "deep"),
        ("a: .nan", "nan is no number"),
        ("a: [1, {b: -.inf}]", "inf is no number"),
        ("a: " + "9" * 400, "400 digits"),
        ("a: 1" + ":59" * 400, "digits"),
        ("- a\n" * 30_000, "more than 10000 values"),
        ("a: 2026-99-99", "a value that is none"),
        ("a: !!int ''", "a value that is none"),
        ("a: !!python/object/apply:os.system [ls]", "not YAML"),
        ("a: \x1b[31m", "not YAML"),
        ("x" * 300_000, "more than 262144"),
    ],
)
def test_yaml_out_of_bounds_is_refused_with_the_reason(text, words):
    with pytest.raises(DocumentError, match=words) as caught:
        read_yaml(text, 262144)
    assert str(caught.value).isprintable()


def test_yaml_with_a_few_aliases_is_read():
    assert read_yaml("a: &a [1]\nb: *a\nkey: '" + "1" * 64 + "'", 1000) == {"a": [1], "b": [1], "key": "1" * 64}


@pytest.mark.parametrize("value", [-1, -(10**30), 10**13, 1.5, "7", None, True, [1], math.nan])
def test_size_is_a_number_of_bytes(value):
    with pytest.raises(DocumentError, match="field size must be"):
        size({"size": value})


@pytest.mark.parametrize("value", [1, "x", None, {}, [1], [{}, "x"], [{}] * 6])
def test_list_of_objects_is_one(value):
    with pytest.raises(DocumentError, match="field manifests"):
        objects({"manifests": value}, "manifests", 5)


@given(st.text(), st.integers(1, 50))
def test_any_text_is_one_line_without_control_sequences(text, limit):
    said = printable(text, limit)
    assert said.isprintable() and len(said) <= limit
    said.encode()


@pytest.mark.parametrize("kind", [UnitError, HealthError, RegistryError, DocumentError])
def test_what_an_error_quotes_cannot_reach_the_terminal(kind):
    said = str(kind("answers 500 \x1b]0;owned\x07\r\n\x9b31m \u202e for a/b" + "x" * 5000))
    assert said.startswith("answers 500 \\x1b]0;owned\\x07  \\x9b31m \\u202e for a/b")
    assert said.isprintable() and len(said) == TEXT_LIMIT


@pytest.mark.parametrize("date", ["Mon, 01 Jan 99999 00:00:00 GMT", "Mon, 01 Jan 1900 00:00:00 GMT"])
def test_date_that_no_clock_shows_is_refused(date):
    with pytest.raises(DocumentError, match="no clock shows"):
        http_date(date)


@given(st.text(max_size=200))
def test_any_date_is_one_or_none_or_refused(text):
    with suppress(DocumentError):
        assert http_date(text) is None or http_date(text) >= 0


def test_own_files_that_are_too_deep_are_passed_over(tmp_path):
    deep, good = "[" * 200_000, '{"id": 1}'
    (tmp_path / "a").write_text(deep)
    (tmp_path / "b").write_text(f'{good}\n{deep}\n{{"id": {"9" * 5000}}}\n{good}\n')
    assert read_json_file(tmp_path / "a") is None
    assert read_json_lines(tmp_path / "b") == [{"id": 1}, {"id": 1}]


@pytest.mark.parametrize("name", READERS)
def test_reader_takes_or_refuses_what_the_fuzzer_makes(name):
    result = run(name, 300, seed=1)
    assert result.broke == []
    assert 0 < result.refused < result.inputs, "the corpus is not taken, or nothing is refused"


def test_every_reader_has_a_corpus_that_is_small():
    folder = Path(__file__).parents[2] / "fuzz/corpus"
    assert {path.name for path in folder.iterdir()} == set(READERS)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 200_000
