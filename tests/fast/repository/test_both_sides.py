"""What the unit's tool and the library both need, and neither may take from the other: both answer the same."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import panoptes_unit.files
import panoptes_utils.files
from panoptes_unit import web
from panoptes_unit.machine.probe import Probe
from panoptes_utils import ports

NAMES = ["localhost", "localhost.example.org", "127.example.org", "127.1", "::1", "", "0.0.0.0", "::", "[::1]"]


LOOPBACK = st.ip_addresses(network="127.0.0.0/8") | st.ip_addresses(network="::/126")


@given((st.ip_addresses() | LOOPBACK).map(str) | st.sampled_from(NAMES) | st.text())
def test_loopback_is_the_same_address_for_both(host):
    assert web.is_loopback(host) == ports.is_loopback(host)


@pytest.mark.parametrize("is_loopback", [web.is_loopback, ports.is_loopback])
def test_a_name_that_begins_like_loopback_is_another_machine(is_loopback):
    assert [name for name in NAMES if is_loopback(name)] == ["localhost", "::1"]
    assert is_loopback("127.0.0.1") and is_loopback("127.255.0.3")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_both_find_the_same_listener(family):
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    with ExitStack() as stack:
        listener, bound, caller = (stack.enter_context(closing(socket.socket(family))) for _ in range(3))
        try:
            listener.bind((address, 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        bound.bind((address, 0))
        listener.listen()
        # A connection has a port of its own, on which nobody listens.
        caller.connect(listener.getsockname())
        port, *others = (each.getsockname()[1] for each in (listener, bound, caller))
        found = Probe().listeners([port, *others])
        # A program of the machine may listen on the same number of the other family.
        here = {number: [entry for entry in each if entry["address"] == address] for number, each in found.items()}
        assert [number for number, entries in here.items() if entries] == [str(port)]
        (entry,) = here[str(port)]
        assert str(entry["pid"]) in ports.holder_of(port) or len(found[str(port)]) > 1
        assert {ports.holder_of(other) for other in others if str(other) not in found} <= {"another process"}


@pytest.mark.parametrize("write", [panoptes_unit.files.write_durably, panoptes_utils.files.write_durably])
@pytest.mark.parametrize("old", [None, b"old"])
def test_both_put_data_then_name_then_folder_on_the_disk(tmp_path, monkeypatch, write, old):
    path, steps = tmp_path / "a.yaml", []
    if old is not None:
        path.write_bytes(old)
    fsync = os.fsync

    def watched_fsync(descriptor):
        synced = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append("folder" if synced.is_dir() else synced.read_bytes())
        fsync(descriptor)

    def watched(rename):
        def named(source, target, **folders):
            assert Path(target).name == path.name and (path.read_bytes() if path.exists() else None) == old
            steps.append("name")
            rename(source, target, **folders)

        return named

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched(os.replace))
    monkeypatch.setattr(os, "rename", watched(os.rename))
    write(path, b"new")
    assert steps == [b"new", "name", "folder"]
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"new"]
