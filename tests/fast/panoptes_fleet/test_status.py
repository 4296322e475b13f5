"""`panoptes-fleet status`: what each unit's answer becomes, and what it is worth when there is none."""

from __future__ import annotations

import json

import pytest

from panoptes_fleet import engine, looks, rows
from panoptes_fleet.inventory import Unit

DAY = 1_700_000_000.0
GARBAGE = ["", "nothing", "{", "[]", "{}", '{"whole": 3}', '{"whole": "x"}', '{"whole": true, "release": 7}',
           '{"whole": true, "last_check": {"at": NaN}}', "[" * 5000, '{"verdict": "failed", "reason": "disk full"}',
           "\x1b]0;title\x07"]  # fmt: skip


def test_every_kind_of_unit_has_its_row_and_keeps_it_when_it_falls_silent(fleet):
    place = {"panoptes_pan_id": "PAN012", "panoptes_location": {"name": "Roof", "latitude": -34.05, "longitude": 151}}
    fleet.add("newest", release=f"sha256:{'b' * 64}", variables=place)
    fleet.add("behind")
    fleet.add("sick", whole=False)
    fleet.add("full", disk="3 MB free")
    fleet.add("odd", garbage="{ this is no JSON")
    fleet.add("gone", silent=True)
    fleet.add("mistyped")
    (fleet.inventory / "host_vars" / "mistyped.yml").write_text("a: [1\nb: 2\n")
    done = fleet.run("status", "--json")
    assert done.returncode == 1, done.stderr
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert list(found) == ["newest", "behind", "sick", "full", "odd", "gone", "mistyped"]
    states = {name: one["state"] for name, one in found.items()}
    assert states == {
        "newest": "whole", "behind": "whole", "sick": "ill", "full": "ill", "odd": "ill", "gone": "silent",
        "mistyped": "settings",
    }  # fmt: skip
    assert (found["newest"]["behind"], found["behind"]["behind"]) == (0, 1)
    assert found["newest"]["release"] == "b" * 12 and found["newest"]["place"] == "Roof"
    assert found["newest"]["light"] in ("day", "twilight", "night")
    assert "messaging-hub restarts" in found["sick"]["what"] and "3 MB free" in found["full"]["what"]
    assert "not reached" in found["gone"]["what"] and "refused" in found["gone"]["what"]
    assert "host_vars/mistyped.yml, line 2" in found["mistyped"]["what"]
    assert fleet.asked("mistyped") == []

    # The next day one of them gives no answer any more, and what it was stays known.
    fleet.set("sick", garbage="Segmentation fault")
    done = fleet.run("status", "sick", "newest")
    line = next(line for line in done.stdout.splitlines() if line.startswith("sick"))
    assert "no answer that can be read: Segmentation fault" in line and f"release {'a' * 12}" in line
    assert done.stdout.splitlines()[-1] == "2 units: 1 whole, 1 ill"

    kept = fleet.run("status", "--kept", "--behind")
    assert [line.partition(":")[0] for line in kept.stdout.splitlines()[:-1]] == ["behind", "sick", "full"]
    assert fleet.run("status", "nobody").returncode == 2


def told(text: str) -> engine.Told:
    return engine.Told(result={"stdout": text, "rc": 0})


@pytest.mark.parametrize("text", GARBAGE)
def test_an_answer_that_is_none_is_told_in_one_line_and_never_believed(text, tmp_path):
    kept = looks.Kept(tmp_path)
    kept.save("pan012", looks.look_of(told('{"whole": true}'), 100.0))
    look = kept.save("pan012", looks.look_of(told(text), 200.0))
    one = rows.row(Unit("pan012"), look, {}, 300.0)
    assert one.state == "ill" and one.what.isprintable() and len(one.what) <= 300 and one.what
    assert (one.seen, one.whole) == (100.0, True), "its last good answer stays"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"seen": "x"}', '{"status": {"whole": 1.5}}', "\0"])
def test_a_damaged_file_is_as_none(content, tmp_path):
    kept = looks.Kept(tmp_path)
    kept.save("pan012", looks.look_of(told('{"whole": true}'), 100.0))
    (tmp_path / "units" / "pan012.json").write_text(content)
    (tmp_path / "releases.json").write_text(content)
    assert kept.load("pan012") == looks.Look()
    assert kept.offered([]) == {}


def test_a_unit_is_as_far_behind_as_releases_came_after_its_own(tmp_path):
    kept = looks.Kept(tmp_path)
    for second, index in enumerate("abc"):
        # The clock of the second unit is at its beginning.
        check = looks.LastCheck(at=second if index == "b" else DAY + second, index=index, source="s")
        look = looks.Look(seen=DAY + second, status=looks.Status(whole=True, last_check=check))
        offered = kept.offered([look])
    assert [rows.behind("s", index, offered, DAY + 10) for index in "abcx"] == [(2, 9.0), (1, 8.0), (0, 0.0), (1, 8.0)]
    assert rows.behind("other", "a", offered, DAY) == (None, 0.0)
