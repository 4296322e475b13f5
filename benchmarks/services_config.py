"""Figures of the config server beside that of panoptes-utils 0.3.8, and the memory of both services."""

import json
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from services_processes import CONFIG, HUB, TOP, Process, at, free_port, say

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
PEER_SERVER = (
    "import sys; from panoptes.utils.config.server import config_server;"
    "config_server(sys.argv[1], host='127.0.0.1', port=int(sys.argv[2])).join()"
)


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


def changes_a_second(port, seconds, clients=50):
    """Answered changes a second of clients that each change a key of their own again and again; times in ms, sorted."""
    waiting, poll, times = {}, select.epoll(), []

    def ask(entry):
        body = b'{"counters.c%d": %d}' % (entry["client"], entry["turn"])
        entry.update(begun=time.perf_counter(), turn=entry["turn"] + 1, answer=b"")
        entry["connection"].sendall(
            b"POST /set-config HTTP/1.1\r\nHost: localhost:%d\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (port, len(body), body)
        )

    for client in range(clients):
        one = socket.create_connection(("127.0.0.1", port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(one.fileno(), select.EPOLLIN)
        waiting[one.fileno()] = {"connection": one, "client": client, "turn": 0}
        ask(waiting[one.fileno()])
    begin, refused = time.perf_counter(), 0
    while time.perf_counter() < begin + seconds:
        for descriptor, _ in poll.poll(1):
            entry = waiting[descriptor]
            entry["answer"] += entry["connection"].recv(65536)
            if entry["answer"].endswith(b"}"):
                if entry["answer"].startswith(b"HTTP/1.1 200 "):
                    times.append((time.perf_counter() - entry["begun"]) * 1000)
                else:
                    refused += 1
                ask(entry)
    elapsed = time.perf_counter() - begin
    for entry in waiting.values():
        entry["connection"].close()
    if refused:
        say(f"{refused} changes were refused: too often")
    return len(times) / elapsed, sorted(times)


def change_figures(folder, rounds, seconds):
    """Changes of fifty clients, beside one client's alone: how many share a write."""
    path, port = folder / "changes.yaml", free_port()
    path.write_text(UNIT)
    measured = {1: [], 50: []}
    with Process(CONFIG, "--port", port, "run", "--config-file", path, port=port):
        changes_a_second(port, 0.2)
        for turn in range(rounds):
            say(f"changes: round {turn + 1} of {rounds}")
            for clients, rates in measured.items():
                rates.append(changes_a_second(port, seconds, clients))
    rate = {clients: statistics.median(one[0] for one in all_) for clients, all_ in measured.items()}
    p99 = {clients: statistics.median(at(one[1], 0.99) for one in all_) for clients, all_ in measured.items()}
    told = {clients: f"{rate[clients]:,.0f}/s, p99 {p99[clients]:.1f} ms" for clients in measured}
    return [("Config changes on the disk, 50 clients", told[50], f"1 client {told[1]}", f"{rate[50] / rate[1]:.1f} ×",
             "≥ 1,000/s")]  # fmt: skip


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
    from lab.console import LabError
    from lab.settings import read_lab

    try:
        lab = read_lab()
    except LabError:
        return []
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
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=TOP).stdout
