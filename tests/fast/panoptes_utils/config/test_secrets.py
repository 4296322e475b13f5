"""Secrets of the configuration: marked, kept from those without the token, and never in a log."""

import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptes_utils.config import secrets
from panoptes_utils.config.client import get_config, set_config
from panoptes_utils.config.store import ConfigStore

MARKED = """
secret_keys: [social.slack, "cameras.devices[1].password", "a..b", no.such.key]
secrets: {weather: hush-1}
social: {slack: hush-2, name: open}
"""


@pytest.fixture
def public(serve, unit):
    """A public server with secrets, the token and what it gives without."""
    unit.write_text(unit.read_text().replace("- model: zwo", "- model: zwo\n    password: hush-3") + MARKED)
    server = serve("--public")
    server.token = {"Authorization": f"Bearer {(unit.parent / '.config-server.token').read_text().strip()}"}
    return server


def test_secrets_are_not_readable_without_the_token(public):
    everything = public.ask("/get-config")[1]
    assert "hush" not in json.dumps(everything)
    assert everything["social"] == {"name": "open"}
    assert public.ask("/get-config", {"key": "cameras"})[1]["devices"][1] == {"model": "zwo"}
    for key in (
        "secrets",
        "secrets.weather",
        "social.slack",
        "cameras.devices[1].password",
        "cameras.devices[01].password",
        "cameras.devices[-1].password",
    ):
        status, answer, _ = public.ask("/get-config", {"key": key})
        assert (status, "secret" in answer["msg"], "hush" in str(answer)) == (401, True, False), key
        assert public.ask("/get-config", {"key": key}, headers={"Authorization": "Bearer wrong"})[0] == 401
        assert public.ask("/heartbeat", {"key": key})[0] == 401
    assert public.ask("/get-config", {"key": "name"})[:2] == (200, "Roof Unit")


def test_secrets_are_readable_with_the_token(public):
    assert public.ask("/get-config", {"key": "secrets.weather"}, headers=public.token)[1] == "hush-1"
    everything = public.ask("/get-config", headers=public.token)[1]
    assert everything["cameras"]["devices"][1]["password"] == "hush-3"
    assert get_config("social.slack", port=public.port) == "hush-2"
    # What was answered to one is not kept for the other.
    assert "hush" not in str(public.ask("/get-config")[1])


@pytest.mark.parametrize("mark", [-1, 1])
@pytest.mark.parametrize("asked", [-1, 1])
def test_a_secret_is_one_from_whichever_end_it_is_counted(unit, mark, asked):
    named = unit.read_text().replace("- model: zwo", "- model: zwo\n    password: hush")
    unit.write_text(f'{named}secret_keys: ["cameras.devices[{mark}].password"]\n')
    store = ConfigStore(unit)
    assert store.is_secret(f"cameras.devices[{asked}].password")
    assert store.get(f"cameras.devices[{asked}].password", secret=False) is None
    assert "hush" not in json.dumps(store.get(secret=False))


def test_refusals_and_changes_leave_a_line_with_who_and_what_but_no_secret(public):
    public.ask("/set-config", {"secrets.weather": "hush-9"}, headers={"User-Agent": "evil\xe9"})
    public.ask("/get-config", {"key": "secrets.weather"})
    assert set_config("secrets.weather", "hush-8", port=public.port)
    public.ask("/reset-config", {"reset": True}, headers=public.token)
    log = public.log.read_text()
    assert "WARNING: refused /set-config to 127.0.0.1 (evil?): changes need" in log
    assert "WARNING: refused /get-config to 127.0.0.1 (no name): this key is secret" in log
    assert "set secrets.weather\n" in log
    assert "had the files read again" in log
    assert "hush" not in log
    assert public.token["Authorization"].split()[1] not in log


def test_what_was_set_is_closed_to_others_also_where_it_was_open(serve, unit):
    local = unit.with_name("pocs_local.yaml")
    kept = [local, unit.with_name(".pocs_local.yaml.good"), unit.with_name("pocs_local.yaml.damaged-1")]
    for path in kept:
        path.write_text("name: Old\n")
        path.chmod(0o644)
    server = serve()
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o640}
    assert server.ask("/set-config", {"name": "New"})[0] == 200
    local.unlink()
    kept[1].unlink()
    assert server.ask("/set-config", {"name": "Newer"})[0] == 200
    assert {stat.S_IMODE(path.stat().st_mode) & 0o027 for path in kept} == {0}


values = st.recursive(
    st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=12,
)
configs = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def leaves(tree, parts=()):
    """Every key of the tree with what stands there."""
    yield list(parts), tree
    below = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for part, value in below:
        yield from leaves(value, (*parts, part))


@given(configs, st.data())
def test_whatever_is_marked_is_left_out_and_nothing_else(config, data):
    keys = [parts for parts, _ in leaves(config) if parts]
    marked = data.draw(st.lists(st.sampled_from(keys), max_size=3)) if keys else []
    before = json.dumps(config)
    rest = secrets.without(config, marked)
    assert json.dumps(config) == before
    left = {json.dumps(parts): value for parts, value in leaves(rest)}
    for parts in keys:
        hidden = secrets.is_below(parts, marked)
        found = left.get(json.dumps(parts))
        if hidden:
            assert found is None
        else:
            assert found is not None or secrets.get_part(config, parts) is None
