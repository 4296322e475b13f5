"""The commands that the pages, and the first lines of playbooks, tell people to type."""

from __future__ import annotations

import re
from pathlib import Path

from pages import TOP, tracked_pages

# What a command begins with; other words in code spans are names, values and options.
PROGRAMS = re.compile(
    r"(sudo|make|git|cp|cat|curl|ssh|python3?|pip|pytest|molecule|ansible(-[a-z]+)?|docker|skopeo|cosign|mypy|ruff|source"
    r"|panoptes-(unit|utils|fleet|config-server|messaging-hub)"
    r"|docker/build-image\.sh|scripts/\S+\.(sh|py)|[a-z]+=\$\(.*) \S"
)
SHELLS = {"", "console", "sh", "bash", "shell"}
# What has been is not an instruction.
NOT_INSTRUCTIONS = {"CHANGELOG.md"}
FENCE = re.compile(r"^( *)```(\S*)\n(.*?)^\1``` *$", re.MULTILINE | re.DOTALL)


def in_block(info: str, text: str) -> list[str]:
    """The commands of a fenced block: the lines after a prompt, or all that begin with a program."""
    if info not in SHELLS:
        return []
    lines = re.sub(r" *\\\n *", " ", text).splitlines()
    prompted = [line.strip()[2:] for line in lines if line.strip().startswith("$ ")]
    typed = prompted or [line for line in lines if PROGRAMS.match(line)]
    # What a program's own output tells people to type next.
    typed += re.findall(r"^ +(make [a-z-]+)  +\S", text, re.MULTILINE)
    return [re.sub(r"\s{2,}# .*", "", line).strip() for line in typed]


def in_page(text: str) -> list[str]:
    """The commands of a page, from its blocks and from code within sentences, in the order of the page's parts."""
    blocks = [command for _, info, block in FENCE.findall(text) for command in in_block(info, block)]
    paragraphs = re.split(r"\n\s*\n", FENCE.sub("", text))
    spans = [" ".join(span.split()) for part in paragraphs for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", part)]
    return blocks + [span for span in spans if PROGRAMS.match(span)]


def in_playbook(text: str) -> list[str]:
    """The commands in the comments of a playbook."""
    return re.findall(r"^ *#  +(ansible-playbook .*\S)", text, re.MULTILINE)


def told_commands() -> dict[str, list[str]]:
    """Each command as written, and the pages that tell it."""
    found: dict[str, list[str]] = {}
    pages = [page for page in tracked_pages() if page.name not in NOT_INSTRUCTIONS]
    for path in [*pages, *sorted((TOP / "playbooks").glob("*.yml"))]:
        text = path.read_text(encoding="utf-8")
        for command in in_page(text) if path.suffix == ".md" else in_playbook(text):
            found.setdefault(command, []).append(path.relative_to(TOP).as_posix())
    return found


def block_with(page: str, words: str) -> list[str]:
    """The commands of that block of a page in which the words stand."""
    text = Path(TOP, page).read_text(encoding="utf-8")
    return next(in_block(info, block) for _, info, block in FENCE.findall(text) if words in block)
