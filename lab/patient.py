"""A unit that is damaged and has to heal, and something of others in the same engine, which must not be touched."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path

from .unit_under_test import UnitUnderTest

SCRIPT = Path(__file__).with_name("damage_on_unit.py").read_text(encoding="utf-8")
# By their ids: the engine keeps all names of images in one file, and who spoils that has spoiled others' names too.
THEIRS = "docker inspect --format {{.Id}} theirs $(docker inspect --format {{.Image}} theirs)"
ASIDE = "/var/lib/docker/set-aside-*"


class Patient:
    """The unit, and what of others is on it."""

    def __init__(self, unit: UnitUnderTest, release: str) -> None:
        self.unit, self.host, self.release = unit, unit.host, release
        self.unit.check(f"printf %s {shlex.quote(SCRIPT)} > /root/damage.py")
        self.configuration = self.unit.configuration()
        self.guests()

    def guests(self) -> None:
        """A container, an image and a volume that are somebody else's."""
        self.unit.check(
            "docker inspect theirs > /dev/null 2>&1 || { "
            "cd /etc && tar --create hostname | docker import - theirs:latest > /dev/null && "
            "docker create --name theirs --volume films:/films theirs:latest none > /dev/null && "
            "date > /var/lib/docker/volumes/films/_data/film; }"
        )
        self.film = self.unit.check("cat /var/lib/docker/volumes/films/_data/film")
        self.theirs = self.unit.check(THEIRS)

    def damage(self, kind: str, how: str) -> str:
        """One file; its path."""
        return self.script(kind, how).strip()

    def script(self, *words: str) -> str:
        """What damage_on_unit.py prints, run there with these words."""
        return self.unit.check(f"python3 /root/damage.py {shlex.join(words)}")

    def repair(self, *options: str, env: str = "") -> dict:
        """The answer of one repair, whatever it is."""
        return self.unit.tool("repair", *options, env=env)

    def forget_old_stores(self) -> None:
        """As a person does who needs nothing of them any more."""
        self.unit.check(f"rm --recursive --force {ASIDE}")

    def guests_are_as_they_were(self) -> bool:
        film = self.host.run("cat /var/lib/docker/volumes/films/_data/film")
        theirs = self.host.run(THEIRS)
        return (film.stdout, theirs.stdout) == (self.film, self.theirs)

    def must_heal(self, record_property: Callable[[str, object], None], said_yes: bool = False) -> None:
        """It is whole again, by itself or after the one yes that only a person can give; nothing of others is lost.

        Args:
            said_yes: a repair before this one was allowed a new store, and may have begun it.
        """
        began = time.monotonic()
        answer = self.repair()
        asked = answer["rc"] == 6 and "--new-store" in answer["reason"]
        if asked:
            film = self.unit.check("cat /var/lib/docker/volumes/films/_data/film")
            assert film == self.film, "it asked, and had taken it away already"
            answer = self.repair("--new-store")
        assert answer["rc"] == 0, f"{answer}{self.unit.journal()}"
        assert answer["verdict"] in ("healed", "unchanged"), f"{answer}{self.unit.journal()}"
        seconds = time.monotonic() - began
        self.unit.must_run(self.release)
        assert self.unit.configuration() == self.configuration
        moved = (asked or said_yes) and not self.guests_are_as_they_were()
        if moved:
            aside = self.unit.check(f"cat {ASIDE}/volumes/films/_data/film")
            assert aside == self.film, "what is not ours is kept beside"
        else:
            assert self.guests_are_as_they_were(), self.unit.journal()
        again = self.repair()
        assert (again["rc"], again["verdict"], again["changed"]) == (0, "unchanged", False), f"{again}"
        helped = answer["reason"].rpartition("what helped: ")[2] or answer["verdict"]
        record_property("seconds", seconds)
        record_property("outcome", f"{'asked; ' * asked}{helped}")
        if moved:
            self.forget_old_stores()
            self.guests()
