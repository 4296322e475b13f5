"""A unit that takes only signed releases: what it refuses, and that going back needs no signature."""

from __future__ import annotations

import subprocess

import pytest

from lab.unit_under_test import UnitUnderTest


@pytest.fixture(scope="module")
def unit(host, releases):
    return UnitUnderTest(host, releases.source)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Name -> file of a private key, with its public half beside it."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        private = folder / name
        curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        subprocess.run(["openssl", "genpkey", *curve, "-out", private], check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", f"{private}.pub"], check=True)
    return folder


@pytest.fixture
def signed_only(unit, offered, keys):
    """The unit takes only what is signed with `ours`."""
    unit.settings({"signature_key": (keys / "ours.pub").read_text()})


@pytest.mark.fault("signature: absent")
def test_unsigned_release_is_refused_before_its_download_until_it_is_signed(
    unit, releases, offered, signed_only, keys, record_property
):
    """Refused each night without a download; taken as soon as it is signed, and rolled back without a network."""
    new = releases.offer("good-unsigned")
    for options in ([], [], ["--force"]):
        answer = unit.tool("update", *options, expect=1)
        assert "is not signed" in answer["reason"]
        assert (answer["changed"], answer["bytes"]) == (False, 0)
    assert new not in unit.check("docker images --digests"), "refused before the pull"
    assert new not in unit.tool("status")["quarantine"]
    unit.must_run(offered[0])
    record_property("outcome", "refused without a download, also by force; taken once it is signed")
    releases.sign(keys / "ours")
    assert unit.tool("update", expect=0)["verdict"] == "updated"
    unit.must_run(new)
    nightly = unit.tool("update", expect=0)
    assert nightly["verdict"] == "unchanged"
    assert nightly["registry"]["requests"] <= 2, "the signature of what runs is not fetched again"


@pytest.mark.fault("signature: {what}")
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("of another image", "signature of another image"),
        ("with another key", "made with another key"),
        ("damaged", "made with another key, or damaged"),
    ],
)
def test_bad_signature_is_refused_without_a_download_or_quarantine(
    unit, releases, offered, refused, signed_only, keys, what, words, record_property
):
    if what == "of another image":
        releases.sign(keys / "ours", names="sha256:" + "1" * 64)
    else:
        releases.sign(keys / ("theirs" if what == "with another key" else "ours"), damaged=what == "damaged")
    answer = refused(1, words)
    assert answer["bytes"] == 0
    assert offered[1] not in unit.tool("status")["quarantine"]
    record_property("outcome", answer["reason"].partition(") ")[2])


@pytest.mark.fault("signature and registry gone at rollback")
def test_rollback_asks_for_no_signature(unit, releases, offered, signed_only, keys, unplugged, record_property):
    releases.sign(keys / "ours")
    assert unit.tool("update", expect=0)["verdict"] == "updated"
    unplugged()
    assert unit.tool("rollback", expect=0)["verdict"] == "updated"
    unit.must_run(offered[0])
    record_property("outcome", "back on a release that nobody signed")
