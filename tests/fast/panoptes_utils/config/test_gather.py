"""Changes of many clients share a write, and each is treated as if it had come alone."""

import asyncio
import errno
import http.client
import json
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panoptes_utils import files as any_files
from panoptes_utils.config import files, gather
from panoptes_utils.config.access import Access, Denied
from panoptes_utils.config.app import ConfigApp
from panoptes_utils.config.gather import Gatherer
from panoptes_utils.config.model import problems
from panoptes_utils.config.store import MAX_SET_VALUES, RUNNING, ConfigStore, Conflict, Refused

SECONDS = 20


class Disk:
    """Stands before the store's disk: each write waits until it is let through, and can be made to fail."""

    def __init__(self, monkeypatch):
        self.writes = []
        self.fails = None
        self.free = threading.Semaphore(0)
        self.write, self.began = files.write_local, threading.Semaphore(0)
        monkeypatch.setattr(files, "write_local", self)

    def __call__(self, path, data):
        self.began.release()
        assert self.free.acquire(timeout=SECONDS)
        self.writes.append(data)
        if self.fails:
            raise self.fails
        self.write(path, data)

    async def busy(self):
        """Wait until a write is under way."""
        assert await asyncio.get_running_loop().run_in_executor(None, lambda: self.began.acquire(timeout=SECONDS))


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def run(work):
    """Run a coroutine, not for ever."""
    return asyncio.run(asyncio.wait_for(work, SECONDS))


def agrees(store):
    """Whether what is served is what a server that starts now would serve."""
    return json.dumps(ConfigStore(store.path).get(), sort_keys=True) == json.dumps(store.get(), sort_keys=True)


async def first_and_others(store, disk, others, fails=None):
    """One change whose write is held back until the others wait; what became of it, and of them."""
    gatherer = Gatherer(store)
    first = asyncio.ensure_future(gatherer.set({"first": 1}))
    await disk.busy()
    waiting = [asyncio.ensure_future(gatherer.set(changes)) for changes in others]
    await asyncio.sleep(0)
    assert gatherer.gathers
    disk.free.release()
    await disk.busy()
    assert first.done()
    assert not any(one.done() for one in waiting), "answered before it was written"
    disk.fails = fails
    disk.free.release(len(others))
    done = await asyncio.gather(*waiting, return_exceptions=True)
    return await first, done


def test_what_comes_while_the_disk_is_busy_is_one_write(unit, disk):
    store = ConfigStore(unit)
    _, answers = run(first_and_others(store, disk, [{f"counters.c{number}": number} for number in range(49)]))
    assert answers == [None] * 49
    assert len(disk.writes) == 2
    assert store.get("counters") == {f"c{number}": number for number in range(49)}
    assert agrees(store)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_write_that_fails_fails_those_that_were_in_it_and_no_others(unit, disk, number):
    store = ConfigStore(unit)
    others = [{f"counters.c{place}": place} for place in range(9)]
    first, answers = run(first_and_others(store, disk, others, OSError(number, "broken")))
    assert first is None
    assert [answer.errno for answer in answers] == [number] * 9
    assert (store.get("first"), store.get("counters")) == (1, None)
    assert agrees(store)
    disk.fails = None
    disk.free.release()
    store.set({"counters.c0": "again"})
    assert agrees(store)


def test_where_only_the_folder_cannot_be_synced_memory_and_file_agree(unit, monkeypatch):
    store = ConfigStore(unit)
    sync = any_files.sync

    def broken(path):
        if path.is_dir():
            raise OSError(errno.EIO, "broken")
        sync(path)

    monkeypatch.setattr(any_files, "sync", broken)
    (failure,) = store.set_together([{"name": "New"}])
    assert isinstance(failure, OSError)
    assert agrees(store)


def test_a_server_whose_disk_is_full_can_be_told_to_end(unit, disk):
    store = ConfigStore(unit)
    disk.fails = OSError(errno.ENOSPC, "full")
    disk.free.release()
    failures = store.set_together([{"name": "x"}, {RUNNING: False}, {"name": "y"}])
    assert [type(failure) for failure in failures] == [OSError, type(None), OSError]
    assert not store.running
    assert store.get("name") == "Roof Unit"


def test_one_that_cannot_be_kept_takes_no_other_with_it(unit, monkeypatch):
    store = ConfigStore(unit)
    dump = files.dump_yaml

    def no_form(tree):
        if "no form" in str(tree):
            raise ValueError("no YAML form")
        return dump(tree)

    monkeypatch.setattr(files, "dump_yaml", no_form)
    group = [{f"k{place}": "no form" if place in (3, 4, 11) else place} for place in range(20)]
    failures = store.set_together(group)
    assert [place for place, failure in enumerate(failures) if isinstance(failure, Refused)] == [3, 4, 11]
    assert [place for place in range(20) if store.get(f"k{place}") == place] == [
        place for place in range(20) if place not in (3, 4, 11)
    ]
    assert agrees(store)


def test_one_that_is_too_much_takes_no_other_with_it(unit):
    store = ConfigStore(unit)
    failures = store.set_together([{"a": 1}, {"b": [0] * MAX_SET_VALUES}, {"c": 3}])
    assert [type(failure) for failure in failures] == [type(None), Refused, type(None)]
    assert (store.get("a"), store.get("b"), store.get("c")) == (1, None, 3)
    assert agrees(store)


def test_a_group_is_no_longer_than_what_may_be_set(unit, disk):
    store = ConfigStore(unit)
    disk.free.release(9)
    assert store.set_together([{"a": [number] * (MAX_SET_VALUES // 2)} for number in range(4)]) == [None] * 4
    assert len(disk.writes) == 4
    assert store.set_together([{"a": number} for number in range(4)]) == [None] * 4
    assert len(disk.writes) == 5
    assert store.get("a") == 3


def test_what_readers_hold_does_not_change_with_what_is_set(unit):
    store = ConfigStore(unit)
    before, text = store.get(), json.dumps(store.get())
    store.set_together([{"cameras.devices[0].model": "x"}, {"cameras.devices[2]": {}}, {"location.new.deep": 1}])
    assert json.dumps(before) == text
    assert store.get("cameras.devices[1]") is before["cameras"]["devices"][1], "the rest is shared"


keys = st.sampled_from(
    ["name", "location", "location.latitude", "location.latitude.deg", "cameras.devices[0].model",
     "cameras.devices[2]", "cameras.devices[-1].sn", "cameras.devices", "brand.new.key", "brand", "simulator[0]",
     "messaging.cmd_port", "bad..key", RUNNING, "config_server.other"]
)  # fmt: skip
values = st.sampled_from([None, True, 1, 1.0, "x", "45 deg", [], [1], {}, {"latitude": "1 deg"}, {"new": {"key": 2}}])
requests = st.dictionaries(keys, values, max_size=3)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=st.lists(st.lists(requests, min_size=1, max_size=6), min_size=1, max_size=3))
def test_together_and_one_after_the_other_come_to_the_same(unit, groups):
    with TemporaryDirectory() as folder:
        stores = []
        for name in ("together", "alone"):
            path = Path(folder) / name / "pocs.yaml"
            path.parent.mkdir()
            path.write_text(unit.read_text())
            stores.append(ConfigStore(path, check=problems))
        together, alone = stores
        for group in groups:
            expected = []
            for request in group:
                try:
                    alone.set(request)
                    expected.append(None)
                except Refused as error:
                    expected.append((type(error), str(error)))
            found = [failure and (type(failure), str(failure)) for failure in together.set_together(group)]
            assert found == expected
            assert json.dumps(together.get()) == json.dumps(alone.get())
            assert together.running == alone.running
            texts = [store.local.read_text() if store.local.exists() else "" for store in stores]
            assert texts[0] == texts[1]


def test_a_change_sees_those_before_it_in_its_group(unit):
    store = ConfigStore(unit)
    failures = store.set_together(
        [{"simulator[0]": "dome"}, {"simulator[1]": "weather"}, {"simulator[3]": "x"}, {"simulator[-1]": "all"}]
    )
    assert [type(failure) for failure in failures] == [type(None), type(None), Conflict, type(None)]
    assert store.get("simulator") == ["dome", "all"]


def test_a_client_alone_never_waits_for_others(unit, monkeypatch):
    monkeypatch.setattr(gather, "_PAUSE", 1e9)
    store = ConfigStore(unit)

    async def alone():
        gatherer = Gatherer(store)
        for number in range(5):
            await gatherer.set({"number": number})

    run(alone())
    assert store.get("number") == 4


def test_clients_that_come_again_are_waited_for_and_keep_their_order(unit, monkeypatch):
    # A pause that never ends by itself: the next group begins when everybody is there.
    monkeypatch.setattr(gather, "_PAUSE", 1e9)
    store, groups = ConfigStore(unit), []
    together = store.set_together
    monkeypatch.setattr(store, "set_together", lambda group: groups.append(group) or together(group))

    async def client(gatherer, name):
        for number in range(1000):
            await gatherer.set({name: number})

    async def until_all_have_come_again():
        gatherer = Gatherer(store)
        clients = [asyncio.ensure_future(client(gatherer, f"c{number}")) for number in range(10)]
        while not all((store.get(f"c{number}") or 0) >= 3 for number in range(10)):
            await asyncio.sleep(0)
        for one in clients:
            one.cancel()

    run(until_all_have_come_again())
    assert [len(group) for group in groups[:4]] == [1, 10, 10, 10]
    for name in (f"c{number}" for number in range(10)):
        seen = [request[name] for group in groups for request in group if name in request]
        assert seen == sorted(seen)


def test_a_pause_ends_where_nobody_comes_again(unit, disk):
    store = ConfigStore(unit)

    async def twice():
        await first_and_others(store, disk, [{"a": 1}, {"b": 2}])
        gatherer = Gatherer(store)
        disk.free.release(9)
        await asyncio.gather(*(gatherer.set({"c": number}) for number in range(3)))
        await gatherer.set({"c": "alone now"})

    run(twice())
    assert store.get("c") == "alone now"


def test_a_failure_that_nobody_thought_of_answers_everybody(unit, monkeypatch):
    store = ConfigStore(unit)

    def broken(group):
        raise MemoryError

    async def ask():
        gatherer = Gatherer(store)
        with monkeypatch.context() as patch:
            patch.setattr(store, "set_together", broken)
            answers = await asyncio.gather(*(gatherer.set({"a": 1}) for _ in range(3)), return_exceptions=True)
        await gatherer.set({"a": 2})
        return answers

    assert [type(answer) for answer in run(ask())] == [MemoryError] * 3
    assert store.get("a") == 2


def test_programs_of_this_machine_are_counted_by_the_writes_that_they_cost():
    access = Access(writes=5)
    for _ in range(50):
        access.check_rate("127.0.0.1", write=True, joins=True)
    with pytest.raises(Denied):
        for _ in range(50):
            access.check_rate("127.0.0.1", write=True)
    with pytest.raises(Denied):
        for _ in range(50):
            access.check_rate("192.168.1.7", write=True, joins=True)


def test_a_change_whose_body_comes_late_counts_if_nobody_waits_any_more(unit, disk):
    store = ConfigStore(unit)
    app = ConfigApp(store, Access(writes=0.5), stop=lambda: None)

    async def ask(changes, body_may_come=None):
        """The status with which a change is answered."""
        sent = []

        async def receive():
            if body_may_come:
                await body_may_come.wait()
            return {"type": "http.request", "body": json.dumps(changes).encode()}

        async def send(message):
            sent.append(message)

        headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"9")]
        scope = {"type": "http", "method": "POST", "path": "/set-config", "query_string": b"", "headers": headers}
        await app({**scope, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)}, receive, send)
        return sent[0]["status"]

    async def late():
        asked = [asyncio.ensure_future(ask({"a": 1}))]
        await disk.busy()
        asked += [asyncio.ensure_future(app._gatherer.set({"b": 2}))]
        body_may_come = asyncio.Event()
        asked += [asyncio.ensure_future(ask({"c": 3}, body_may_come))]
        while not app._gatherer.gathers:
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # its head is read
        disk.free.release(9)
        assert await asyncio.gather(*asked[:2]) == [200, None]
        body_may_come.set()
        return await asked[2]

    assert run(late()) == 429
    assert store.get("c") is None


def test_fifty_clients_at_once_are_all_answered_and_nothing_is_lost(server, unit):
    refused = []

    def client(name):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
        for number in range(6):
            body = json.dumps({f"counters.{name}": number})
            connection.request("POST", "/set-config", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if (answer.status, answer.read()) != (200, body.replace(" ", "").encode()):
                refused.append(answer.status)
        connection.close()

    names = [f"c{number}" for number in range(50)]
    threads = [threading.Thread(target=client, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not refused
    assert ConfigStore(unit).get("counters") == dict.fromkeys(names, 5)
    assert server.ask("/get-config", {"key": "counters"})[1] == dict.fromkeys(names, 5)
