"""Settings of the on-unit tool: what is refused, and with which words."""

import dataclasses
import json

import pytest

from panoptes_unit.errors import ConfigurationError
from panoptes_unit.settings import Limits, Settings, load

pytest.importorskip("yaml")


def write(tmp_path, text):
    path = tmp_path / "unit.yaml"
    path.write_text(text)
    return path


def test_values_are_laid_over_the_defaults(tmp_path):
    settings = load(write(tmp_path, "source: r.org/a\nlimits: {soak_s: 3}\nwindow: {longitude: -155.5}\n"))
    assert settings.source == "r.org/a"
    assert (settings.limits.soak_s, settings.limits.healthy_s) == (3.0, Limits().healthy_s)
    assert settings.window.longitude == -155.5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("source: ''\n", "source is empty"),
        ("sauce: r.org/a\n", "unknown setting 'sauce'; known are .*source"),
        ("source: r.org/a\nlimits: {soak: 3}\n", "limits: unknown setting 'soak'"),
        ("source: r.org/a\nlimits: {soak_s: long}\n", "soak_s must be of type float, not 'long'"),
        ("source: r.org/a\nlimits: {soak_s: -1}\n", "soak_s must not be negative"),
        ("source: r.org/a\nbundle_port: true\n", "bundle_port must be of type int"),
        ("source: r.org/a\nstaging: sometimes\n", "staging must be auto or always or never, not 'sometimes'"),
        ("source: r.org/a\nkeep_copy: copies\n", "keep_copy must be auto, the path of a folder from / on, or empty"),
        ("source: r.org/a\nrate_kbps: -1\n", "rate_kbps must not be negative"),
        ("source: [\n", "is not YAML"),
        ("- a\n", "expected settings"),
        ("source: r.org/a\nwindow: {longitude: .nan}\n", "nan is no number"),
        ("source: r.org/a\nlimits: {soak_s: .inf}\n", "inf is no number"),
        ("source: r.org/a\nlimits: {floor_bytes: " + "9" * 400 + "}\n", "400 digits"),
        ("source: r.org/a\nhub_pairs: [[a, b]]\n", "hub_pairs must be a list of pairs of ports"),
        ("source: r.org/a\nhub_pairs: [[6500]]\n", "hub_pairs must be a list of pairs of ports"),
        ("source: r.org/a\nwatch: {hub: 70000}\n", "watch must be names with a port each"),
        ("source: r.org/a\npreserve: [1]\n", "preserve must be a list of texts"),
        ("source: r.org/a\nobserving: {idle: [[1]]}\n", "idle must be a list of texts"),
        ("".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]\n" for n in range(12)), "aliases"),
        ("source: " + "[" * 5000, "deep"),
        ("x: 2026-99-99", "a value that is none"),
        ("#" * 300_000, "more than 262144"),
        ("sauce\x1b: 1", "not YAML"),
        ('"\\e]0;owned\\a": 1', "unknown setting '.x1b]0;owned.x07'"),
    ],
)
def test_bad_settings_are_named(tmp_path, text, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        load(write(tmp_path, text))
    assert str(caught.value).isprintable()


def test_default_settings_are_taken_when_they_are_written_out(tmp_path):
    written = {**dataclasses.asdict(Settings()), "source": "r.org/a"}
    assert dataclasses.asdict(load(write(tmp_path, json.dumps(written)))) == written


def test_settings_of_a_unit_that_knew_no_copy_and_no_staging_are_read_and_keep_none(tmp_path):
    settings = load(write(tmp_path, "source: r.org/a\nbundle_port: 6599\n"))
    assert (settings.keep_copy, settings.staging, settings.rate_kbps) == ("", "auto", 0)


def test_absent_settings_name_the_remedy(tmp_path):
    with pytest.raises(ConfigurationError, match="role release writes them"):
        load(tmp_path / "absent.yaml")


def test_every_setting_is_documented():
    for kind in (Settings, *(field.default_factory for field in dataclasses.fields(Settings) if "." not in field.name)):
        if not dataclasses.is_dataclass(kind):
            continue
        for field in dataclasses.fields(kind):
            if dataclasses.is_dataclass(field.default_factory):
                continue
            assert field.name in kind.__doc__, f"{kind.__name__}.{field.name}"
