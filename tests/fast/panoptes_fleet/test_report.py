"""The report: one file, complete in itself, and with `--public` nothing in it that is nobody's business."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from panoptes_fleet import report, sky
from panoptes_fleet.inventory import Inventory, Unit
from panoptes_fleet.looks import Attempt, Kept, LastCheck, Look, Problem, Release, Status

NOW = 1_790_000_000.0
VOID = {"meta", "br"}
SECRETS = ("10.1.", "robert", "Observatory <b>", "secret-host")


class Page(HTMLParser):
    """Every element closed, every attribute kept; what is in the table of units, by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.rows = 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        self.rows += tag == "tr"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def fleet_of(number: int, folder: Path) -> tuple[Inventory, Kept]:
    kept, units = Kept(folder), {}
    for n in range(number):
        name = f"secret-host-{n}"
        units[name] = Unit(
            name, f"PAN{n:03}", "Observatory <b>", f"Site {n}", (n * 37) % 180 - 90, (n * 53) % 360 - 180, False, "",
            f"10.1.0.{n % 256}",
        )  # fmt: skip
        history = [
            Attempt(id=str(k), verb="deploy", at=NOW - 86400 * (k + 1), by="robert", bytes=1.5e6,
                    verdict="failed" if k % 5 == 4 else "updated", new=f"x@sha256:{k % 9:064x}",
                    reason=f"registry 10.1.2.3 answered {k} to robert" if k % 5 == 4 else "")
            for k in range(50)
        ]  # fmt: skip
        status = Status(
            whole=n % 7 > 0, source="10.1.9.9/panoptes-utils:latest",
            problems=[] if n % 7 else [Problem(name="services", problem="no route from 10.1.0.1 for robert")],
            release=Release(image=f"10.1.9.9/x@sha256:{n % 3:064x}", index=str(n % 3)), last_attempt=history[-1],
            last_check=LastCheck(at=NOW, index="2", source="10.1.9.9/panoptes-utils:latest"),
        )  # fmt: skip
        kept._path(name).parent.mkdir(parents=True, exist_ok=True)
        why = "not reached: ssh: connect to host 10.1.0.3 as robert" if n % 11 == 10 else ""
        look = Look(seen=NOW - 60 * n, tried=NOW, status=status, history=history, why=why, silent=bool(why))
        kept._path(name).write_text(look.model_dump_json())
        if n % 2:
            (folder / "backups" / name).mkdir(parents=True)
            (folder / "backups" / name / "2026-09-01T120000Z.tar.gz.age").touch()
    return Inventory(folder, units), kept


@pytest.mark.parametrize("number", [0, 1, 25, 500])
@pytest.mark.parametrize("public", [False, True])
def test_it_is_one_whole_page_that_loads_nothing(number, public, tmp_path):
    text = report.report(*fleet_of(number, tmp_path), tmp_path / "backups", public, NOW)
    page = Page(text)
    assert len(text.encode()) < 1_000_000
    assert not [one for one in page.attributes if one[1] in ("src", "href", "xlink:href", "srcset")]
    assert "<script" not in text and "url(" not in text and "@import" not in text
    assert text.count('stroke="#fff"') == number, "a dot on the map for each unit"
    assert page.rows >= number
    if number:
        assert re.search(r'id="failures".*failed', text, re.DOTALL)
        assert re.search(r'id="bytes".*2026-0', text, re.DOTALL) and "Site 0" in text
    for secret in SECRETS:
        assert secret not in text or not public, secret
    assert "<b>" not in text


def test_the_shade_lies_where_the_sun_is_down():
    for at in range(1_760_000_000, 1_792_000_000, 3_111_111):
        path = report.night(at)
        points = [tuple(map(float, pair.split())) for pair in re.findall(r"[\d.]+ [\d.]+", path)]
        for latitude in range(-80, 81, 20):
            for longitude in range(-170, 171, 20):
                altitude = sky.sun_altitude(latitude, longitude, at)
                if abs(altitude) > 3:
                    inside = _inside(points, (longitude + 180) * 2, (90 - latitude) * 2)
                    assert inside == (altitude < 0), (at, latitude, longitude, altitude)


def _inside(points, x, y):
    crossings = 0
    for (x1, y1), (x2, y2) in zip(points, points[1:] + points[:1], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            crossings += 1
    return crossings % 2 == 1


def test_towns_are_where_they_are():
    found = report.towns()
    if not found:
        pytest.skip("this machine has no database of time zones")
    assert any(abs(a + 33.87) < 0.1 and abs(b - 151.22) < 0.1 for a, b in found), "Sydney"
    assert all(-90 <= a <= 90 and -180 <= b <= 180 for a, b in found)
