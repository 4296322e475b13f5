"""What a power cut, a full disk or a person can leave in place of a file of the tool, by its description."""

from __future__ import annotations

CONTENTS = {
    "null": b"null",
    "an empty object": b"{}",
    "a list": b"[1, 2]",
    "a number": b"7",
    "a text": b'"text"',
    "nothing": b"",
    "binary": b"\xff\xfe\x00\x01",
    "cut": b'{"current": {"image": "r.exam',
    "wrong types": b'{"current": 7, "quarantine": [], "pinned": "yes", "locked": [], "deferrals": null}',
    "half a release": b'{"current": {"image": "a@sha256:b"}}',
    "an entry without a reason": b'{"quarantine": {"sha256:aa": {"index": "x"}}}',
    "deep": b"[" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "below the reader's limit, and deep for what copies it": b'{"pinned":' * 500 + b"1" + b"}" * 500,
    "numbers for texts": b'{"current": {"image": 1, "index": 2, "tag": 3, "platform": 4}}',
    "layers that are none": b'{"previous": {"image": "a@b", "index": "", "tag": "", "platform": "", "layers": [1]}}',
    "text for a time": b'{"locked": {"at": 1, "by": "a", "reason": "", "until": "tomorrow"}}',
    "NaN for a time": b'{"locked": {"at": NaN, "by": "a", "reason": ""}}',
    "no clock shows it": b'{"quarantine": {"sha256:aa": {"at": 1e300, "reason": "x", "index": "y"}}}',
    "entry without an index": b'{"quarantine": {"sha256:aa": {"at": 1, "reason": "x"}}}',
    "entry without a person": b'{"pinned": {"at": 1, "reason": "x"}, "locked": {"at": 1, "reason": "x"}}',
    "text for a count": b'{"deferrals": {"window": "x"}, "interrupted": {"sha256:aa": []}}',
    "last check of no time": b'{"last_check": {"at": "x"}}',
    "attempts that are none": b'{"id": 1, "verb": [], "at": "x"}\n{"id": "a", "verb": "b", "at": 1, "gap_s": [1]}\n'
    b'{"id": "a", "verb": "b", "at": 1e300}\n{"id": "a", "verb": "b", "at": 1, "gap_s": {"x": null}, "old": 5}',
    "journal of no outcome": b'{"point": "begin", "outcome": {"id": "a", "verb": "b", "at": "c"}, "old": 5, "new": {}}',
    "a folder": None,
}
# The others are a state, of a unit that knows nothing.
VALID = ("an empty object", "journal of no outcome", "entry without an index", "entry without a person")
DAMAGES = [name for name in CONTENTS if name not in VALID]


def damage(path, content):
    """Put the content of that description in place of `path`; None makes it a folder."""
    path.unlink(missing_ok=True)
    if CONTENTS[content] is None:
        path.mkdir()
    else:
        path.write_bytes(CONTENTS[content])
