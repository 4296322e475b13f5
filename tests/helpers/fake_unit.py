"""A unit without Docker: a fake engine, a fake registry and a journal that a power cut can end, for seconds-long tests.

They stand where the real ones are too slow to try everything; scenario `update` tries the same on the real ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from pathlib import Path
from typing import Callable

from panoptes_unit.deploy.engine import Container, Engine, StoredImage
from panoptes_unit.deploy.journal import Journal
from panoptes_unit.deploy.outcome import Outcome
from panoptes_unit.deploy.release import read_release
from panoptes_unit.deploy.run import Run
from panoptes_unit.deploy.state import Store
from panoptes_unit.deploy.transaction import Transaction
from panoptes_unit.errors import NotFoundError, UnitError
from panoptes_unit.report import Report
from panoptes_unit.settings import Limits, Settings
from panoptes_unit.sources.manifests import Image, Index, Layer, PlatformManifest

NAME = "registry.example.org/panoptes-utils"
PLATFORM = "linux/amd64"
SERVICES = ["config-server", "messaging-hub"]


class PowerCut(BaseException):
    """The machine is off: nothing of the tool runs after this."""


def digest_of(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def image_of(name: str) -> str:
    """The release `name`, by digest."""
    return f"{NAME}@{digest_of(name)}"


class FakeEngine:
    """Images, and containers of the image that the release file names; how an image behaves is up to the test.

    Attributes:
        behaviours: image -> what it does: works, rewrites (the configuration, and works), exits, unhealthy, starting
            (for ever), restarts (in the soak), refused (by Compose), absent-service, vanishes (in the soak), spoils
            (the configuration, then exits), engine-dies.
        images: image -> platform, of what is on the disk.
        alive: whether it answers.
        ups, stops: how often services were brought up and stopped.
        before_up: called before services are brought up.
    """

    was_lost = staticmethod(Engine.was_lost)

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.behaviours: dict[str, str] = {}
        self.images: dict[str, str] = {}
        self.running: dict[str, Container] = {}
        self.alive = True
        self.free = 10**12
        self.ups = self.stops = self.looks = 0
        self.before_up: Callable[[], None] = lambda: None
        self.before_pull: Callable[[], None] = lambda: None

    def _answer(self) -> None:
        if not self.alive:
            raise UnitError("Docker Engine does not answer: systemctl status docker")

    def is_alive(self) -> bool:
        return self.alive

    def wait_ready(self, limit_s: float) -> None:
        if not self.alive:
            raise UnitError(f"Docker Engine did not answer within {limit_s:g} s: systemctl status docker")

    def version(self) -> str:
        self._answer()
        return "1.2.3"

    def root(self) -> Path:
        return Path("/var/lib/docker")

    def free_bytes(self) -> int:
        return self.free

    def has(self, image: str) -> bool:
        self._answer()
        return image in self.images

    def platform(self, image: str) -> str:
        return self.images[image]

    def pull(self, image: str, credentials, progress) -> int:
        self._answer()
        self.before_pull()
        progress(500, 1000)
        self.images[image] = PLATFORM
        return 1000

    def services(self) -> list:
        self._answer()
        return list(SERVICES)

    def up(self) -> None:
        self.before_up()
        self._answer()
        self.ups += 1
        self.looks = 0
        named = read_release(Path(self.settings.release_file))
        if named is None or named.image not in self.images:
            raise UnitError("docker compose up: no such image")
        behaviour = self.behaviours.get(named.image, "works")
        if behaviour == "refused":
            raise UnitError("docker compose up: error: exec: no such file or directory")
        if behaviour == "engine-dies":
            self.alive = False
            raise UnitError("docker compose up: error during connect: EOF")
        there = self.running.get("config-server")
        if behaviour == "rewrites" and not (there and there.image == named.image):  # as a server does when it is new
            for folder in self.settings.preserve:
                (Path(folder) / "pocs_local.yaml").write_text("in the new form\n")
        if behaviour == "spoils":
            for folder in self.settings.preserve:
                (Path(folder) / "pocs_local.yaml").write_text("spoiled\n")
                (Path(folder) / "new").write_text("left behind\n")
        for service in SERVICES:
            there = self.running.get(service)
            if there and there.image == named.image and there.status == "running":
                continue
            status, health, code = "running", "healthy", 0
            if service == "messaging-hub":
                status = "exited" if behaviour in ("exits", "spoils") else status
                health = {"unhealthy": "unhealthy", "starting": "starting"}.get(behaviour, health)
                code = 3 if behaviour in ("exits", "spoils") else 0
            if behaviour == "absent-service" and service == "messaging-hub":
                self.running.pop(service, None)
                continue
            self.running[service] = Container(
                f"{service}-{self.ups}", service, named.image, status, health, 0, f"{self.ups:03}", code
            )

    def stop(self) -> None:
        self.stops += 1
        self.running = {name: one._replace(status="exited") for name, one in self.running.items()}

    def containers(self) -> list:
        self._answer()
        self.looks += 1
        behaviours = {self.behaviours.get(one.image, "works") for one in self.running.values()}
        if "restarts" in behaviours and self.looks > 2:
            hub = self.running["messaging-hub"]
            self.running["messaging-hub"] = hub._replace(started="999")
        if "vanishes" in behaviours and self.looks > 2:
            self.running.pop("messaging-hub", None)
        return list(self.running.values())

    def glance(self) -> list:
        return self.containers()

    def storage(self) -> tuple:
        """A driver that nobody knows: how overlay2 keeps things is tried with files as it writes them."""
        self._answer()
        return "fake", self.root()

    def stored(self, image: str) -> StoredImage:
        self._answer()
        return StoredImage(digest_of(f"configuration of {image}"), (digest_of(f"layer of {image}"),), 1000)

    def images_with(self, layers) -> list:
        self._answer()
        return [image for image in self.images if set(self.stored(image).layers) & set(layers)]

    def container_ids(self) -> set:
        self._answer()
        return {one.id for one in self.running.values()}

    def remove_image(self, name: str) -> None:
        self._answer()
        self.images.pop(name, None)

    def remove_containers(self) -> None:
        self._answer()
        self.running.clear()

    def last_words(self, container_id: str, lines: int = 3) -> str:
        return "its last words"

    def prune(self, repositories: set, keep: set) -> list:
        self._answer()
        gone = [image for image in self.images if image.partition("@")[0] in repositories and image not in keep]
        for image in gone:
            del self.images[image]
        return gone


class FakeRegistry:
    """What tags name; `offer` moves `latest`."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.indexes: dict[str, str] = {}  # index -> name of the release
        self.requests = self.bytes_received = 0
        self.layer_bytes = 1000

    def offer(self, name: str, index: str = "", tag: str = "latest") -> str:
        """Make a tag name the release `name`; its image."""
        digest = digest_of(index or f"index of {name}")
        self.tags[tag] = digest
        self.indexes[digest] = name
        return image_of(name)

    def digest_of(self, repository: str, tag: str) -> str:
        self.requests += 1
        if tag not in self.tags:
            raise NotFoundError(f"no tag {tag!r}")
        return self.tags[tag]

    def index(self, repository: str, digest: str) -> Index:
        self.requests += 1
        name = self.indexes[digest]
        return Index(digest, "", (PlatformManifest(PLATFORM, digest_of(name), "amd64", ""),))

    def image(self, repository: str, digest: str) -> Image:
        self.requests += 1
        return Image(digest, Layer(digest_of("config"), 10), (Layer(digest_of(f"layer {digest}"), self.layer_bytes),))


class MortalJournal(Journal):
    """A journal during which the power fails, once a point is on the disk."""

    dies_at = ""

    def mark(self, step: str, point: str, **facts: object) -> None:
        super().mark(step, point, **facts)
        if f"{step}:{point}" == self.dies_at:
            raise PowerCut(self.dies_at)


class FakeUnit:
    """A unit whose folders are real, and whose engine and registry are not."""

    def __init__(self, folder: Path) -> None:
        self.configuration = folder / "conf_files"
        self.configuration.mkdir(parents=True)
        (self.configuration / "pocs_local.yaml").write_text("by a person\n")
        self.settings = Settings(
            source=f"{NAME}:latest",
            compose_file=str(folder / "compose.yaml"),
            release_file=str(folder / "release.env"),
            state=str(folder / "state"),
            health=str(folder / "run" / "health.json"),
            preserve=[str(self.configuration)],
            config_url="",
            hub_pairs=[],
            watch={},
            limits=Limits(healthy_s=0.2, soak_s=0.0, floor_bytes=1000),
        )
        self.settings.observing.source = "none"
        self.settings.window.start_h = self.settings.window.end_h = 0.0
        Path(self.settings.compose_file).write_text("services: {}\n")
        self.engine = FakeEngine(self.settings)
        self.registry = FakeRegistry()
        self.store = Store(Path(self.settings.state))
        self._runs = itertools.count()

    def transaction(self, verb: str = "deploy", force: bool = False, dies_at: str = "") -> Transaction:
        """One run; with `dies_at` the power fails at that point of the journal."""
        journal = MortalJournal(self.store.journal_path)
        journal.dies_at = dies_at
        outcome = Outcome.begun(verb, "tester", force)
        outcome.id += f"-{next(self._runs)}"  # the runs of a test are of one process
        return Transaction(
            Run(
                settings=self.settings,
                report=Report(quiet=True),
                engine=self.engine,  # type: ignore[arg-type]
                store=self.store,
                journal=journal,
                outcome=outcome,
                force=force,
                registry_at=lambda settings, host: self.registry,  # type: ignore[arg-type,return-value]
                architecture=lambda: "amd64",
                waits=(0.0, 0.0),
                root=Path(self.settings.state).parent / "root",
                settings_path=Path(self.settings.state).parent / "unit.yaml",
            )
        )

    def run(self, verb: str = "deploy", **options) -> Outcome:
        """One run to its end; its outcome, also where it raised."""
        transaction = self.transaction(verb, **options)
        act = {"deploy": transaction.deploy, "update": transaction.deploy}.get(verb) or getattr(transaction, verb)
        try:
            act()
        except UnitError as error:
            assert transaction.outcome.exit_code == error.exit_code or not transaction.outcome.verdict
        except KeyboardInterrupt:
            pass
        return transaction.outcome

    def deploy(self, name: str, behaviour: str = "works", **options) -> Outcome:
        """Offer a release and deploy it."""
        self.engine.behaviours[self.registry.offer(name)] = behaviour
        return self.run(**options)

    def observing(self, folder: Path, state: str | None) -> None:
        """POCS's state file says `state`; None: it is not there."""
        path = folder / "current_state.json"
        self.settings.observing = dataclasses.replace(self.settings.observing, source="file", file=str(path))
        path.unlink(missing_ok=True)
        if state is not None:
            path.write_text(json.dumps({"state": state}))

    @property
    def state(self):
        """What the tool knows, from the disk."""
        return self.store.load()

    def whole(self) -> str:
        """The release that the unit is wholly on: file, containers and state agree, and nothing is open."""
        named = read_release(Path(self.settings.release_file))
        assert named is not None
        assert {one.image for one in self.engine.running.values()} == {named.image}
        assert sorted(self.engine.running) == sorted(SERVICES)
        assert all(one.status == "running" and one.health == "healthy" for one in self.engine.running.values())
        assert self.state.current["image"] == named.image
        assert (self.state.previous or {}).get("image") != named.image, "a rollback would go nowhere"
        assert named.digest not in self.state.quarantine
        assert not self.store.journal_path.exists()
        assert not self.store.saved_files.exists()
        return named.image
