#!/usr/bin/env python3
"""Measure the two services; each figure that depends on the machine is a ratio to a peer in the same run.

Peers: the config server of panoptes-utils 0.3.8 (in a throwaway environment) and a bare `zmq_proxy`.
Writes benchmarks/services.md.
"""

import argparse
import json
import os
import platform
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import zmq

HERE = Path(__file__).parent
TOP = HERE.parent
PEER = "panoptes-utils[config]==0.3.8"
UNIT = """\
name: Benchmark Unit
pan_id: PAN000
location: {latitude: 19.54 deg, longitude: -155.58 deg, elevation: 3400.0 m, horizon: 30 deg}
directories: {base: /var/panoptes, images: images, data: resources, fields: conf_files/fields}
messaging: {cmd_port: 6500, msg_port: 6510}
cameras: {primary: 14d3bd, devices: [{model: canon_gphoto2}, {model: canon_gphoto2}]}
scheduler: {type: dispatch, fields_file: simple.yaml, check_file: true}
"""
CONFIG = "import sys; from panoptes_utils.config.cli import main; sys.exit(main())"
HUB = "import sys; from panoptes_utils.messaging.cli import main; sys.exit(main())"
PEER_SERVER = (
    "import sys; from panoptes.utils.config.server import config_server;"
    "config_server(sys.argv[1], host='127.0.0.1', port=int(sys.argv[2])).join()"
)
BARE = (
    "import sys, zmq; c = zmq.Context(); f, b = c.socket(zmq.XSUB), c.socket(zmq.XPUB);"
    "f.bind('tcp://127.0.0.1:' + sys.argv[1]); b.bind('tcp://127.0.0.1:' + sys.argv[2]); zmq.proxy(f, b)"
)


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A server, in a session of its own so that its children end with it."""

    def __init__(self, *words, port, python=sys.executable):
        self.port = port
        self._process = subprocess.Popen(
            [python, "-c", *map(str, words)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=tempfile.gettempdir(),
            env={**os.environ, "PYTHONPATH": str(TOP)} if python == sys.executable else None,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the server on port {port} did not start") from None
                time.sleep(0.05)

    def resident_mb(self):
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def cpu_seconds(self):
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def peer_python(folder):
    """Python of an environment with the peer, None where it cannot be installed."""
    installed = [shutil.which(name) for name in ("python3.13", "python3.12", "python3.14", "python3")]
    # The commands of pyenv stand on PATH for every version, and refuse all but the chosen one.
    installed += map(str, Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/*/bin/python3"))
    for python in filter(None, installed):
        done = subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 12))"], capture_output=True)
        if done.returncode:
            continue
        say(f"installing {PEER} into a throwaway environment (a minute)")
        subprocess.run([python, "-m", "venv", folder], check=True, capture_output=True)
        done = subprocess.run([folder / "bin" / "pip", "install", "-q", PEER], capture_output=True)
        return folder / "bin" / "python" if done.returncode == 0 else None
    return None


def requests_a_second(port, seconds, connections=8):
    """Requests a second for one key and their times in ms, sorted."""
    body = b'{"key": "location.latitude"}'
    request = (
        b"POST /get-config HTTP/1.1\r\nHost: localhost:%d\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (port, len(body), body)
    )
    with socket.create_connection(("127.0.0.1", port)) as first:
        first.sendall(request)
        answer = b""
        while not answer.endswith(b'"19.54 deg"'):
            answer += first.recv(65536)
    waiting, poll, times = {}, select.epoll(), []
    for _ in range(connections):
        one = socket.create_connection(("127.0.0.1", port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(one.fileno(), select.EPOLLIN)
        waiting[one.fileno()] = [one, 0, time.perf_counter()]
        one.sendall(request)
    begin = time.perf_counter()
    while time.perf_counter() < begin + seconds:
        for descriptor, _ in poll.poll(1):
            entry = waiting[descriptor]
            entry[1] += len(entry[0].recv(65536))
            if entry[1] >= len(answer):
                now = time.perf_counter()
                times.append((now - entry[2]) * 1000)
                entry[1:] = 0, now
                entry[0].sendall(request)
    elapsed = time.perf_counter() - begin
    for entry in waiting.values():
        entry[0].close()
    return len(times) / elapsed, sorted(times)


def at(times, share):
    return times[min(len(times) - 1, int(len(times) * share))]


def resident(config):
    """Resident MB of a running config server and of a hub that has passed its health check."""
    ports = free_port(), free_port()
    with Process(HUB, "--pair", *ports, port=ports[0]) as hub:
        subprocess.run([sys.executable, "-c", HUB, "health", "--pair", *map(str, ports)], check=True, cwd=TOP)
        time.sleep(1.5)
        return config.resident_mb(), hub.resident_mb()


def told_memory(config, hub):
    return f"{config:.1f} + {hub:.1f} = {config + hub:.1f} MB"


def memory_alone(folder):
    """Both services after two seconds of reads; returns what main() ends with."""
    path, port = folder / "pocs.yaml", free_port()
    path.write_text(UNIT)
    with Process(CONFIG, "--port", port, "run", "--config-file", path, port=port) as config:
        requests_a_second(port, 2)
        both = resident(config)
    print(told_memory(*both))
    return 0 if sum(both) <= 60 else "more than 60 MB"


def image_figures():
    """The memory inside panoptes-utils, with its own versions of Python and the libraries, where a lab is up."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(os.environ.get("PANOPTES_LAB_CACHE") or Path(home) / "panoptes-lab") / "lab.json"
    if not path.exists():
        return []
    lab = json.loads(path.read_text(encoding="utf-8"))
    image = lab["images"]["panoptes-utils"].replace(":latest", f":{lab['architecture']}")
    done = subprocess.run(
        [lab["docker_cli"], "--host", lab["docker_host"], "run", "--rm", "--init", "--read-only", "--tmpfs", "/tmp",
         "--volume", f"{TOP}:/opt/panoptes-utils:ro", image, "python", "benchmarks/services.py", "--memory"],
        capture_output=True, text=True, check=True
    )  # fmt: skip
    return [("Memory of both services inside panoptes-utils", done.stdout.strip(), "", "", "≤ 60 MB")]


def config_figures(folder, rounds, seconds, peer):
    path = folder / "pocs.yaml"
    path.write_text(UNIT)
    peer = peer or peer_python(folder / "peer")
    rows = []
    port = free_port()
    with Process(CONFIG, "--port", port, "run", "--config-file", path, port=port) as ours:
        measured = {"ours": [], "peer": []}
        if peer:
            other_port = free_port()
            with Process(PEER_SERVER, path, other_port, port=other_port, python=peer) as other:
                for turn in range(rounds):
                    say(f"config server: round {turn + 1} of {rounds}")
                    measured["ours"].append(requests_a_second(ours.port, seconds))
                    measured["peer"].append(requests_a_second(other.port, seconds))
        else:
            measured["ours"] = [requests_a_second(ours.port, seconds) for _ in range(rounds)]
        rate = {who: statistics.median(one[0] for one in all_) for who, all_ in measured.items() if all_}
        p99 = {who: statistics.median(at(one[1], 0.99) for one in all_) for who, all_ in measured.items() if all_}
        told = f"{rate['ours']:,.0f}/s, p99 {p99['ours']:.1f} ms"
        if peer:
            ratio = rate["ours"] / rate["peer"]
            rows.append(("Config reads, 8 connections", told, f"{rate['peer']:,.0f}/s, p99 {p99['peer']:.1f} ms",
                         f"{ratio:.1f} ×", "≥ 3 ×"))  # fmt: skip
        else:
            rows.append(("Config reads, 8 connections", told, "peer not installable here", "–", "≥ 3 ×"))
        program = (
            "import time; begin = time.perf_counter(); from panoptes_utils.config.client import get_config, set_config;"
            "loaded = (time.perf_counter() - begin) * 1000; import sys, json; times = []\n"
            "for _ in range(1000):\n"
            f"    begin = time.perf_counter(); get_config('name', port={port})\n"
            "    times.append((time.perf_counter() - begin) * 1000)\n"
            f"set_config('name', 'x', port={port}); times.sort()\n"
            "print(json.dumps([loaded, times[500], times[990]]))"
        )
        loaded, median, slow = zip(*(json.loads(python(program)) for _ in range(5)))
        rows.append(("Reading a key with the Python client", f"{statistics.median(median):.2f} ms, p99 "
                     f"{statistics.median(slow):.2f} ms", "", "", "≤ 1.5 ms"))  # fmt: skip
        rows.append(("Import of the client", f"{statistics.median(loaded):.0f} ms", "", "", "≤ 150 ms"))
        rows.append(("Memory of both services, after that load", told_memory(*resident(ours)), "", "", "≤ 60 MB"))
        begin = time.perf_counter()
        for _ in range(5):
            subprocess.run([sys.executable, "-c", CONFIG, "--port", str(port), "health"], check=True, cwd=TOP)
        health = (time.perf_counter() - begin) / 5 * 1000
        begin = time.perf_counter()
        for _ in range(5):
            subprocess.run([sys.executable, "-c", "pass"], check=True, cwd=TOP)
        bare = (time.perf_counter() - begin) / 5 * 1000
        rows.append(("Health check of the config server", f"{health:.0f} ms", f"bare Python {bare:.0f} ms", "", ""))
    return rows


def python(program):
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=TOP
    ).stdout


class Traffic:
    """A publisher and subscribers of one forwarder, with a bounded number of messages on their way."""

    def __init__(self, front, back, subscribers):
        self._context = zmq.Context()
        self._publisher = self._context.socket(zmq.PUB)
        # No mark at this end: a publisher that is told late how much was taken would drop messages itself.
        self._publisher.set_hwm(0)
        self._publisher.connect(f"tcp://127.0.0.1:{front}")
        self._subscribers, self._poller = [], zmq.Poller()
        for _ in range(subscribers):
            one = self._context.socket(zmq.SUB)
            one.subscribe(b"")
            one.set_hwm(0)
            one.setsockopt(zmq.RCVTIMEO, 5000)
            one.connect(f"tcp://127.0.0.1:{back}")
            self._subscribers.append(one)
        for one in self._subscribers:
            while not one.poll(10):
                self._publisher.send(b"hello")
        time.sleep(0.1)
        for one in self._subscribers:
            while one.poll(50):
                one.recv()

    def throughput(self, size, seconds):
        """Messages a second that every subscriber got, and how many were sent."""
        message, window = b"T " + b"x" * (size - 2), 4 if size > 100_000 else 200
        sent = got = 0
        begin = time.perf_counter()
        while time.perf_counter() < begin + seconds:
            while sent < got + window:
                self._publisher.send(message, copy=False)
                sent += 1
            # Half the window is awaited at once, so that neither side waits for the other all the time.
            for one in self._subscribers:
                for _ in range(window // 2):
                    one.recv(copy=False)
            got += window // 2
        elapsed = time.perf_counter() - begin
        for one in self._subscribers:
            for _ in range(sent - got):
                one.recv()
        return got / elapsed, sent

    def latencies(self, size, count):
        """Times in ms until a message has reached every subscriber."""
        message, times = b"T " + b"x" * (size - 2), []
        for _ in range(count):
            begin = time.perf_counter()
            self._publisher.send(message, copy=False)
            for one in self._subscribers:
                one.recv(copy=False)
            times.append((time.perf_counter() - begin) * 1000)
        return times

    def close(self):
        self._context.destroy(linger=0)


TURNS = 4


def hub_figures(rounds, seconds):
    """Every round has processes of its own: one bare proxy can be a third slower than another, all its life."""
    rows = []
    for size, named in ((100, "100 B"), (1000, "1 kB"), (1_000_000, "1 MB")):
        for subscribers in (1, 20):
            say(f"hub: {named}, {subscribers} subscribers")
            rates, slow, cost = ([], []), [[], []], [0.0, 0.0]
            for _ in range(rounds):
                ports = [free_port() for _ in range(4)]
                with (
                    Process(HUB, "--pair", *ports[:2], port=ports[0]) as hub,
                    Process(BARE, *ports[2:], port=ports[2]) as proxy,
                ):
                    ends = [Traffic(*ports[:2], subscribers), Traffic(*ports[2:], subscribers)]
                    for turn in range(TURNS):
                        # Alternately first and second, so that a busy moment of the machine hits both.
                        for which in (0, 1) if turn % 2 else (1, 0):
                            before = (hub, proxy)[which].cpu_seconds()
                            rate, sent = ends[which].throughput(size, seconds)
                            rates[which].append(rate)
                            used = (hub, proxy)[which].cpu_seconds() - before
                            cost[which] += used / sent * 1e6 / rounds / TURNS
                            slow[which] += ends[which].latencies(size, 10 if size > 100_000 else 50)
                    for one in ends:
                        one.close()
            ours, bare = statistics.median(rates[0]), statistics.median(rates[1])
            delays = [at(sorted(times), 0.99) for times in slow]
            rows.append(
                (f"Hub, {named}, {subscribers} subscriber{'s' if subscribers > 1 else ''}",
                 f"{ours:,.0f}/s, p99 {delays[0]:.2f} ms, CPU {cost[0]:.1f} µs",
                 f"{bare:,.0f}/s, p99 {delays[1]:.2f} ms, CPU {cost[1]:.1f} µs",
                 f"{ours / bare:.2f} ×, p99 {delays[1] / delays[0]:.2f} ×", "≥ 0.95 ×")
            )  # fmt: skip
    return rows


def kill_figures(kills):
    say(f"{kills} × kill -9 during writes (about {kills * 0.3:.0f} s)")
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/config/test_durability.py", "-k", "kill_9"],
        cwd=TOP,
        env={**os.environ, "PANOPTES_TEST_KILLS": str(kills)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(done.stdout)
        raise SystemExit("an acknowledged write was lost, or a file damaged")
    seconds = time.monotonic() - begin
    return [(f"{kills:,} × kill -9 during writes", f"0 acknowledged writes lost, 0 files damaged ({seconds:.0f} s)",
             "", "", "0 lost")]  # fmt: skip


def machine():
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())  # fmt: skip
    return (
        f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, "
        f"libzmq {zmq.zmq_version()}; load average at the start {os.getloadavg()[0]:.1f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is measured [5]")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement [2]")
    parser.add_argument("--kills", type=int, default=1000, help="how often the server is killed; 0: not at all [1000]")
    parser.add_argument("--peer-python", type=Path, help="python with the peer installed [one is made for the run]")
    parser.add_argument("--output", type=Path, default=HERE / "services.md")
    parser.add_argument("--memory", action="store_true", help="print the memory of both services and nothing else")
    options = parser.parse_args()
    if options.memory:
        with tempfile.TemporaryDirectory() as folder:
            return memory_alone(Path(folder))
    where = machine()
    with tempfile.TemporaryDirectory() as folder:
        rows = config_figures(Path(folder), options.rounds, options.seconds, options.peer_python)
    rows += image_figures()
    # Many short turns: what else runs on the machine then hits ours and the peer alike.
    rows += hub_figures(options.rounds * 2, options.seconds / 8)
    if options.kills:
        rows += kill_figures(options.kills)
    lines = ["| what | ours | peer | ratio | goal |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    table = "\n".join(lines)
    print(table)
    options.output.write_text(
        "# Figures of the services\n\n"
        f"Made by `make bench-services`. Machine: {where}.\n"
        f"Medians of {options.rounds} rounds, ours and peer in turn. Peers: the config server of panoptes-utils\n"
        "0.3.8, a bare `zmq_proxy` in pyzmq. The publisher keeps a bounded number of messages on their way; p99 is\n"
        "the time until one message has reached every subscriber, CPU what the forwarder's process spent on one\n"
        "message.\n\n"
        f"{table}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    sys.exit(main())
