"""A registry that answers as none does: one plain line, in time, within bounds, and no login goes astray."""

from __future__ import annotations

import json
import math

import pytest
from hostile import hostile, http
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panoptes_unit.errors import RegistryError
from panoptes_unit.sources import registry as module
from panoptes_unit.sources.manifests import IMAGE_TYPES, INDEX_TYPES
from panoptes_unit.sources.reference import Credentials
from panoptes_unit.sources.registry import Registry

DIGEST = "sha256:" + "a" * 64
ENTRY = {"digest": DIGEST, "platform": {"os": "linux", "architecture": "amd64"}}
LAYER = {"digest": DIGEST, "size": 5}


def manifest(kind=IMAGE_TYPES[0], **fields):
    document = {"schemaVersion": 2, "mediaType": kind, **fields}
    return http(json.dumps(document).encode(), f"Content-Type: {kind}")


def index(manifests, **fields):
    return manifest(INDEX_TYPES[0], manifests=manifests, **fields)


def image(layers, config=LAYER, **fields):
    return manifest(config=config, layers=layers, **fields)


# What a registry answers, and what is said of it.
INDEXES = {
    "a number as manifest": (index([1]), "field manifests must be a list of objects, one is 1"),
    "a number as manifests": (index(7), "field manifests must be a list, is 7"),
    "no digest": (index([{}]), "field digest must be a text, is absent"),
    "numeric digest": (index([{"digest": 5}]), "field digest must be a text, is 5"),
    "digest that is none": (index([{"digest": "sha256:x"}]), "'sha256:x' is not a digest"),
    "digest with a line end": (index([{"digest": DIGEST + "\n"}]), "is not a digest"),
    "numeric platform": (index([{"digest": DIGEST, "platform": 5}]), "field platform must be an object, is 5"),
    "numeric architecture": (index([{**ENTRY, "platform": {"architecture": 5}}]), "field architecture must be a text"),
    "list as variant": (
        index([{**ENTRY, "platform": {"architecture": "arm", "variant": []}}]),
        "field variant must be a text",
    ),
    "10,000 manifests": (index([ENTRY] * 10_000), "10000 entries, more than 500"),
    "index and image at once": (index([ENTRY], layers=[LAYER]), "an index and an image at once"),
    "type of something else": (manifest("text/html\x1b[31m", manifests=[]), "the type of neither image nor index"),
    "numeric type": (manifest(5, manifests=[]), "the type of neither image nor index"),
    "list as type": (manifest([], manifests=[]), "the type of neither image nor index"),
    "image without a configuration": (manifest(), "field config must be an object, is absent"),
    "numeric digest of a configuration": (manifest(config={"digest": 5}), "field digest must be a text, is 5"),
    "list": (http(b"[]"), "holds no object"),
    "nested": (http(b"[" * 300_000), "deep"),
    "nested manifests": (http(b'{"schemaVersion": 2, "manifests": ' + b"[" * 300_000), "deep"),
    "5 MB": (http(b" " * 5_000_000), "refused an answer of more than"),
    "NaN": (http(b'{"schemaVersion": NaN}'), "NaN is no number"),
    "escape sequences": (http(b"\x1b]0;owned\x07"), "not JSON"),
    "length abc": (http(b"{}", "Content-Length: abc"), "whose length is 'abc'"),
    "negative length": (http(b"{}", "Content-Length: -5"), "whose length is '-5'"),
    "two lengths": (http(b"{}", "Content-Length: 2, 2"), "whose length"),
    "length too large": (http(b"{}", "Content-Length: 300"), "cut short"),
    "chunk of negative length": (http(b"-1\r\n{}\r\n", "Transfer-Encoding: chunked"), "no HTTP|cut short"),
    "status with escape sequences": (http(b"", status="500 \x1b]0;owned\x07\x9b31m"), r"answers 500 .x1b]0;owned"),
    "status line that is none": (b"\x1b]0;owned\x07\r\n\r\n", "does not speak HTTP"),
    "200 headers": (http(b"{}", *[f"X-{number}: y" for number in range(200)]), "does not speak HTTP"),
    "header of 1 MB": (http(b"{}", "X: " + "y" * 1_000_000), "does not speak HTTP"),
}


@pytest.mark.parametrize("name", INDEXES)
def test_answer_out_of_bounds_is_refused_plainly(name):
    answer, words = INDEXES[name]
    with hostile(answer) as server, pytest.raises(RegistryError, match=words) as caught:
        Registry(server.host, timeout=5).index("a/b")
    assert str(caught.value).isprintable()


SIZES = [-1, -(10**18), 10**13, 1.5, math.pi, "5", None, [], True]
IMAGES = {
    **{f"layer of size {size!r}": (image([LAYER, {**LAYER, "size": size}]), "field size") for size in SIZES},
    **{f"configuration of size {size!r}": (image([LAYER], {**LAYER, "size": size}), "field size") for size in SIZES},
    "size of 400 digits": (http(b'{"schemaVersion": 2, "size": %s}' % (b"9" * 400)), "400 digits"),
    "more than there is, in all": (image([{**LAYER, "size": 10**12}] * 3), "must be a number of bytes"),
    "10,000 layers": (image([LAYER] * 10_000), "10000 entries, more than 500"),
    "a number as layer": (image([1]), "must be a list of objects"),
    "no layers": (manifest(config=LAYER), "field layers must be a list, is absent"),
    "layer without a digest": (image([{"size": 5}]), "field digest"),
    "layer with a numeric digest": (image([{"size": 5, "digest": 5}]), "field digest"),
    "list of manifests": (image([LAYER], manifests=[]), "list of manifests"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_image_out_of_bounds_never_reaches_the_check_of_the_room(name):
    answer, words = IMAGES[name]
    with hostile(answer) as server, pytest.raises(RegistryError, match=words):
        Registry(server.host, timeout=5).image("a/b", "latest")


@given(st.lists(st.integers() | st.floats() | st.text(max_size=3), min_size=1, max_size=4))
@settings(deadline=None, max_examples=40)
def test_sum_of_sizes_is_never_less_than_any_of_them(sizes):
    body = json.dumps({"schemaVersion": 2, "config": LAYER, "layers": [{**LAYER, "size": one} for one in sizes]})
    with hostile(http(body.encode())) as server:
        try:
            found = Registry(server.host, timeout=5).image("a/b", "latest")
        except RegistryError:
            return
    assert all(0 <= layer.size <= found.size for layer in found.layers)


DRIPS = {
    "status line": (b"", b"H"),
    "headers": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}


@pytest.mark.parametrize("where", DRIPS)
def test_byte_now_and_then_ends_with_the_request(where, monkeypatch):
    monkeypatch.setattr(module, "_WAITS_A_REQUEST", 2)
    with hostile(*DRIPS[where]) as server, pytest.raises(RegistryError, match="within|connection lost"):
        Registry(server.host, timeout=0.2).index("a/b")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("http://example.org/x", "which is not https"),
        ("http://127.0.0.1.example.org/x", "which is not https"),
        ("http://127.0.0.1@example.org/x", "which is not https"),
        ("file:///etc/shadow", "302"),
        ("ftp://127.0.0.1/x", "which is not https"),
        ("//example.org/x", "which is not https"),
        ("http://[::1/x", "does not speak HTTP"),
        ("http://example.org/\x1b[31m", "which is not https"),
    ],
)
def test_registry_sends_us_on_to_https_only(place, words):
    with hostile(http(b"", f"Location: {place}", status="302 Found")) as server:
        with pytest.raises(RegistryError, match=words) as caught:
            Registry(server.host, timeout=5).index("a/b")
        assert len(server.asked) == 1
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("length", "drip"),
    [
        ("Content-Length: 1000000000000000", b""),
        ("Transfer-Encoding: chunked", b"1\r\nx\r\n"),
        ("X-Length: none", b"x"),
    ],
)
def test_page_that_comes_with_a_redirect_is_not_read(status, length, drip):
    """However long it says that it is, and though it never ends."""
    with hostile(http(b"", status="404 Not Found")) as other:
        page = f"HTTP/1.1 {status} On\r\nLocation: {other.url}/x\r\n{length}\r\n\r\n".encode()
        with hostile(page, drip) as server, pytest.raises(RegistryError, match="no repository"):
            Registry(server.host, timeout=5).index("a/b")
        assert other.asked


def test_circle_of_redirects_ends():
    with hostile(b"") as server:
        server.answer = http(b"", f"Location: {server.url}/v2/", status="302 Found")
        with pytest.raises(RegistryError, match="302"):
            Registry(server.host, timeout=5).index("a/b")
        assert len(server.asked) < 8


def test_login_stays_with_the_registry_that_asked_for_it():
    login = Credentials("anna", "secret")
    with hostile(http(b"", status="404 Not Found")) as other, hostile(b"") as server:
        registry = Registry(server.host, credentials=login, timeout=5)
        registry._authorization["a/b"] = "Basic c2VjcmV0"
        server.answer = http(b"", f"Location: {other.url}/x", status="307 Temporary Redirect")
        with pytest.raises(RegistryError):
            registry.index("a/b")
        assert b"authorization" in server.asked[0].lower()
        assert other.asked and b"authorization" not in other.asked[0].lower()


@pytest.mark.parametrize(
    "realm",
    [
        "http://example.org/token",
        "{base}@example.org/token",
        "{base}0.example.org/token",
        "{base}1/token",
        "https://anna@example.org/",
        "https:///token",
        "https://[x",
        "file:///etc/shadow",
        "",
    ],
)
def test_login_goes_nowhere_but_to_https_or_to_the_registry_itself(realm):
    with hostile(b"") as server:
        challenge = f'Bearer realm="{realm.format(base=server.url)}",service="s"'
        server.answer = http(b"{}", f"WWW-Authenticate: {challenge}", status="401 Unauthorized")
        with pytest.raises(RegistryError, match="unknown kind of login"):
            Registry(server.host, credentials=Credentials("anna", "secret"), timeout=5).index("a/b")
        assert len(server.asked) == 1


@pytest.mark.parametrize("token", [5, [], {}, "", "a\r\nX: y", "a b", "\x1b[31m", "ü", "x" * 100_000])
def test_token_that_is_none_is_not_sent_and_not_shown(token):
    registry = Registry("127.0.0.1:1")
    with hostile(http(json.dumps({"token": token}).encode())) as server:
        registry._base = server.url
        with pytest.raises(RegistryError, match="gave no token$"):
            registry._log_in(f'Bearer realm="{server.url}/token"', "a/b")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_any_header_of_a_busy_registry_is_a_wait_or_none(said):
    headers = module.Message()
    headers["Retry-After"] = said.replace("\r", "").replace("\n", "")
    assert 0 <= module._asked_to_wait(headers, 3.0) <= module.LONGEST_WAIT_S
