"""The pages hang together: each is reached from README.md, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from pages import tracked_pages

TOP = Path(__file__).parents[3]
# Reached in another way than by a link, and why.
NOT_LINKED: dict[str, str] = {}
LINK = re.compile(r"\[[^\]\[]*(?:\[[^\]]*\][^\]\[]*)*\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """The page without its blocks of code and code in lines, in which a link is not one."""
    text = re.sub(r"^( *)(```|~~~).*?^\1\2 *$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", lambda code: code.group().strip("`").replace("](", "] ("), text)


def links(page: Path) -> list[tuple[Path, str]]:
    """Target and anchor of each link of a page that leads into this repository."""
    found = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        found.append(((page.parent / unquote(path)).resolve() if path else page, anchor))
    return found


def anchors(page: Path) -> set[str]:
    """What a heading is called in a link, as GitHub makes it."""
    names: set[str] = set()
    for title in re.findall(r"^#{1,6} +(.+?) *$", prose(page), flags=re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = sum(1 for known in names if re.fullmatch(rf"{re.escape(name)}(-\d+)?", known))
        names.add(f"{name}-{count}" if count else name)
    return names | set(re.findall(r'<a (?:id|name)="([^"]+)"', page.read_text(encoding="utf-8")))


def page_name(page: Path) -> str:
    return page.relative_to(TOP).as_posix()


@pytest.mark.parametrize("page", tracked_pages(), ids=page_name)
def test_every_link_leads_to_something_and_every_anchor_to_a_heading(page):
    found = links(page)
    assert [str(target) for target, _ in found if not target.exists()] == []
    lost = [f"{page_name(target)}#{name}" for target, name in found if name and name not in anchors(target)]
    assert lost == []


# Named on pages though no file of this repository: written by a person or by a command.
MADE_ELSEWHERE = re.compile(
    r"artifacts/|backups/|docs/site/|inventory/host_vars/(pan012|NAME)\.yml$|inventory/group_vars/(units|.*/90-mine)\.yml$"
)
FOLDERS = "|".join(path.name for path in TOP.iterdir() if path.is_dir() and not path.name.startswith("."))


@pytest.mark.parametrize("page", tracked_pages(), ids=page_name)
def test_every_file_that_a_page_names_is_there(page):
    named = set(re.findall(rf"(?<![\w/.:-])((?:{FOLDERS})/[\w./-]*\w)(?![\w/{{*…])", page.read_text(encoding="utf-8")))
    gone = [name for name in named if not (TOP / name).exists() and not MADE_ELSEWHERE.match(name)]
    assert sorted(gone) == []


def test_every_page_is_reached_from_the_readme():
    todo, reached = [TOP / "README.md"], set()
    while todo:
        page = todo.pop()
        if page.suffix == ".md" and page.is_file() and page not in reached:
            reached.add(page)
            todo += [target for target, _ in links(page)]
    lost = [page_name(page) for page in tracked_pages() if page not in reached]
    assert sorted(lost) == sorted(NOT_LINKED), "link these from a page that README.md leads to"


def test_a_page_that_nobody_links_and_a_wrong_anchor_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One: two\n\n[a](#one-two) `[no](link.md)` [b](other.md#x)\n\n```\n[c](code.md)\n```\n")
    assert anchors(page) == {"one-two"}
    assert links(page) == [(page, "one-two"), (tmp_path / "other.md", "x")]
