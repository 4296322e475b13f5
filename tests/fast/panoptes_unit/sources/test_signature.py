"""Signatures as `cosign sign --key` leaves them: which are taken, and why the others are not."""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from panoptes_unit.errors import ConfigurationError, RegistryError, UnitError
from panoptes_unit.sources import signature
from panoptes_unit.sources.bundle import served
from panoptes_unit.sources.reference import Reference
from panoptes_unit.sources.registry import Registry

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
OTHER = "sha256:" + "0" * 64


def openssl(*arguments, given=b""):
    return subprocess.run(["openssl", *arguments], input=given, check=True, capture_output=True).stdout


class Maintainer:
    """Signs as `cosign sign --key` does; the key pair is a real one."""

    def __init__(self, folder, name):
        self.private = str(folder / name)
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.private)
        self.public = openssl("pkey", "-in", self.private, "-pubout").decode()

    def sign(self, digest, **changes):
        """(payload, what its layer says of it)."""
        critical = {
            "identity": {"docker-reference": "elsewhere.org/a/b"},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
            **changes,
        }
        payload = json.dumps({"critical": critical, "optional": None}).encode()
        made = base64.b64encode(openssl("dgst", "-sha256", "-sign", self.private, given=payload)).decode()
        layer = {
            "mediaType": PAYLOAD,
            "digest": digest_of(payload),
            "size": len(payload),
            "annotations": {signature.ANNOTATION: made},
        }
        return payload, layer


def digest_of(body):
    return "sha256:" + hashlib.sha256(body).hexdigest()


def manifest_of(layers):
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(b"{}"), "size": 2}
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return Maintainer(tmp_path_factory.mktemp("keys"), "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    return Maintainer(tmp_path_factory.mktemp("keys"), "theirs")


@pytest.fixture
def registry(stand_in):
    with stand_in() as server:
        server.index_digest = server.put_index("a/b", "latest", ["linux/amd64"])
        yield server


def attach(registry, *signed):
    """Puts the signatures where cosign would."""
    for payload, layer in signed:
        registry.blobs[layer["digest"]] = payload
    document = manifest_of([layer for _, layer in signed])
    registry.put("a/b", signature.tag_of(registry.index_digest), document, MANIFEST)


def require(registry, key):
    signature.require(Registry(registry.host), "a/b", registry.index_digest, key, "r.org/a/b:latest")


def test_good_signature_costs_two_requests(registry, ours):
    attach(registry, ours.sign(registry.index_digest))
    require(registry, ours.public)
    tag = registry.index_digest.replace(":", "-") + ".sig"
    assert registry.log[0] == ("GET", f"/v2/a/b/manifests/{tag}")
    assert len(registry.log) == 2


def test_one_good_signature_among_others_is_enough(registry, ours, theirs):
    digest = registry.index_digest
    attach(registry, theirs.sign(digest), ours.sign(OTHER), ours.sign(digest))
    require(registry, ours.public)


def test_signature_with_line_ends_as_openssl_writes_them(registry, ours):
    payload, layer = ours.sign(registry.index_digest)
    text = layer["annotations"][signature.ANNOTATION]
    layer["annotations"][signature.ANNOTATION] = f"{text[:64]}\n{text[64:]}\n"
    attach(registry, (payload, layer))
    require(registry, ours.public)


def test_rsa_keys_serve_as_well(registry, tmp_path, ours):
    private = str(tmp_path / "rsa")
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", private)
    other = Maintainer.__new__(Maintainer)
    other.private, other.public = private, openssl("pkey", "-in", private, "-pubout").decode()
    attach(registry, other.sign(registry.index_digest))
    require(registry, other.public)
    with pytest.raises(UnitError, match="another key"):
        require(registry, ours.public)


def test_unsigned_release_is_refused_with_the_command_that_signs(registry, ours):
    with pytest.raises(UnitError, match=r"r.org/a/b:latest \(index [0-9a-f]{12}\) is not signed.*cosign sign --key"):
        require(registry, ours.public)


def test_signed_with_another_key(registry, ours, theirs):
    attach(registry, theirs.sign(registry.index_digest))
    with pytest.raises(UnitError, match="no valid signature: made with another key"):
        require(registry, ours.public)


def test_signature_of_another_image(registry, ours):
    attach(registry, ours.sign(OTHER))
    with pytest.raises(UnitError, match=r"signature of another image \(000000000000\)"):
        require(registry, ours.public)


def test_payload_of_another_type(registry, ours):
    attach(registry, ours.sign(registry.index_digest, type="atomic container signature"))
    with pytest.raises(UnitError, match="of type 'atomic container signature'"):
        require(registry, ours.public)


def test_payload_changed_after_signing(registry, ours):
    payload, layer = ours.sign(OTHER)
    changed = payload.replace(OTHER.encode(), registry.index_digest.encode())
    attach(registry, (changed, {**layer, "digest": digest_of(changed)}))
    with pytest.raises(UnitError, match="another key, or damaged"):
        require(registry, ours.public)


def test_payload_that_is_not_what_its_digest_says(registry, ours):
    payload, layer = ours.sign(registry.index_digest)
    attach(registry, (payload + b" ", layer))
    with pytest.raises(RegistryError, match="a blob is damaged"):
        require(registry, ours.public)


def test_payload_that_is_too_long_is_refused(registry, ours):
    big = b" " * 100_000
    attach(registry, (big, {**ours.sign(OTHER)[1], "digest": digest_of(big)}))
    with pytest.raises(RegistryError, match="refused an answer of more than 65536 bytes"):
        require(registry, ours.public)


def test_number_of_signatures_is_bounded(registry, ours, theirs):
    attach(registry, *[theirs.sign(registry.index_digest)] * 100)
    with pytest.raises(UnitError, match="another key"):
        require(registry, ours.public)
    assert len(registry.log) < 20


@pytest.mark.parametrize(
    "layers",
    [
        "x",
        None,
        {},
        [],
        ["x"],
        [{}],
        [{"annotations": None}],
        [{"annotations": {signature.ANNOTATION: 1}, "digest": OTHER}],
        [{"annotations": {signature.ANNOTATION: "?"}, "digest": OTHER}],
        [{"annotations": {signature.ANNOTATION: "QQ=="}}],
        [{"annotations": {signature.ANNOTATION: "QQ=="}, "digest": 1}],
    ],
)
def test_damaged_list_of_signatures(registry, ours, layers):
    registry.put("a/b", signature.tag_of(registry.index_digest), manifest_of(layers), MANIFEST)
    with pytest.raises(UnitError, match="damaged"):
        require(registry, ours.public)


def test_signature_without_its_payload_is_refused(registry, ours):
    attach(registry, ours.sign(registry.index_digest))
    registry.blobs.clear()
    with pytest.raises(UnitError, match="a payload is missing"):
        require(registry, ours.public)


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b'{"critical": {}}', b'{"critical": {"image": [], "type": 1}}'])
def test_signed_text_that_cosign_does_not_write_is_refused(registry, ours, payload):
    made = openssl("dgst", "-sha256", "-sign", ours.private, given=payload)
    layer = {"digest": digest_of(payload), "annotations": {signature.ANNOTATION: base64.b64encode(made).decode()}}
    attach(registry, (payload, layer))
    with pytest.raises(UnitError, match="not what cosign signs"):
        require(registry, ours.public)


@pytest.mark.parametrize("key", ["x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "private"])
def test_key_that_is_no_public_key(registry, ours, key):
    if key == "private":
        key = Path(ours.private).read_text()
    with pytest.raises(ConfigurationError, match="signature_key is not a public key in PEM") as told:
        require(registry, key)
    assert "PRIVATE" not in str(told.value)
    assert registry.log == [], "nothing is asked for what could not be verified"


def test_missing_openssl_is_refused_with_the_package_to_install(registry, ours, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnitError, match="apt-get install openssl"):
        require(registry, ours.public)


@pytest.mark.parametrize("form", ["{tag}", "panoptes-utils:{tag}", "skopeo"])
def test_bundle_carries_its_signature(tmp_path, ours, form):
    """One more entry of an OCI layout's index, as tools name it; or a folder beside the files of `skopeo … dir:`."""
    config = json.dumps({"os": "linux", "architecture": "amd64"}).encode()
    image = manifest_of([])
    image["config"] = {**image["config"], "digest": digest_of(config), "size": len(config)}
    index = json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": MANIFEST, "digest": digest_of(json.dumps(image).encode()), "size": 1,
         "platform": {"os": "linux", "architecture": "amd64"}},
    ]}).encode()  # fmt: skip
    payload, layer = ours.sign(digest_of(index))
    signatures = json.dumps(manifest_of([layer])).encode()
    tag = signature.tag_of(digest_of(index))
    bundle = tmp_path / "bundle"
    image = json.dumps(image).encode()
    if form == "skopeo":
        (bundle / tag).mkdir(parents=True)
        (bundle / "version").write_text("Directory Transport Version: 1.1\n")
        (bundle / "manifest.json").write_bytes(index)
        (bundle / f"{digest_of(image)[7:]}.manifest.json").write_bytes(image)
        (bundle / digest_of(config)[7:]).write_bytes(config)
        (bundle / tag / "manifest.json").write_bytes(signatures)
        (bundle / tag / digest_of(payload)[7:]).write_bytes(payload)
    else:
        entries = [{"digest": digest_of(index)}, {"digest": digest_of(signatures)}]
        entries[1]["annotations"] = {"org.opencontainers.image.ref.name": form.format(tag=tag)}
        (bundle / "blobs/sha256").mkdir(parents=True)
        for blob in (config, image, index, payload, signatures):
            (bundle / "blobs/sha256" / digest_of(blob)[7:]).write_bytes(blob)
        (bundle / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    with tarfile.open(tmp_path / "bundle.tar", "w") as archive:
        archive.add(bundle, ".")
    for path in (bundle, tmp_path / "bundle.tar"):
        with served(path, 0) as found:
            reference = Reference.parse(found)
            registry = Registry(reference.registry)
            assert registry.digest_of(reference.repository) == digest_of(index), "the signature is no image of its own"
            entry = registry.index(reference.repository).for_platform("linux/amd64")
            assert registry.image(reference.repository, entry.digest).config.digest == digest_of(config)
            signature.require(registry, reference.repository, digest_of(index), ours.public, str(path))


def test_bundle_without_a_signature(tmp_path, ours):
    (tmp_path / "version").write_text("Directory Transport Version: 1.1\n")
    (tmp_path / "manifest.json").write_text(json.dumps({"schemaVersion": 2, "manifests": []}))
    with served(tmp_path, 0) as found:
        reference = Reference.parse(found)
        registry = Registry(reference.registry)
        digest = registry.digest_of(reference.repository)
        with pytest.raises(UnitError, match=r"^/stick \(index [0-9a-f]{12}\) is not signed"):
            signature.require(registry, reference.repository, digest, ours.public, "/stick")
