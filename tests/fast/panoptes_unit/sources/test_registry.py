"""The registry client against a stand-in (every odd answer) and against the lab's real registry."""

import datetime
import ipaddress
import socket
from pathlib import Path

import pytest

from panoptes_unit.errors import ConfigurationError, NotFoundError, PlatformError, RegistryError
from panoptes_unit.sources.platforms import platform_of
from panoptes_unit.sources.reference import Credentials, Reference
from panoptes_unit.sources.registry import Registry

THREE = ["linux/amd64", "linux/arm/v7", "linux/arm64"]


@pytest.fixture
def registry(stand_in):
    with stand_in() as server:
        server.index_digest = server.put_index("a/b", "latest", THREE)
        yield server


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r.org:5000/a/b:1", ("r.org:5000", "a/b", "1", "")),
        ("r.org/b", ("r.org", "b", "latest", "")),
        ("localhost/b", ("localhost", "b", "latest", "")),
        ("debian", ("docker.io", "library/debian", "latest", "")),
        ("panoptes/panoptes-utils:x", ("docker.io", "panoptes/panoptes-utils", "x", "")),
        ("r.org/b@sha256:" + "0" * 64, ("r.org", "b", "latest", "sha256:" + "0" * 64)),
    ],
)
def test_reference_is_taken_apart(text, expected):
    assert tuple(Reference.parse(text)) == expected


@pytest.mark.parametrize("text", ["", "r.org/", "r.org/Upper", "r.org/b:", "r.org/b@sha256:12", "r.org/b: x", "a b"])
def test_bad_reference_is_named(text):
    with pytest.raises(ConfigurationError, match="image name|tag"):
        Reference.parse(text)


@pytest.mark.parametrize(
    ("dpkg", "platform"), [("amd64", "linux/amd64"), ("armhf", "linux/arm/v7"), ("arm64\n", "linux/arm64/v8")]
)
def test_dpkg_architecture_names_the_platform(dpkg, platform):
    assert platform_of(dpkg) == platform


def test_architecture_without_images_is_refused_with_those_there_are():
    with pytest.raises(PlatformError, match="'armel'.*amd64, arm64, armhf"):
        platform_of("armel")


def test_index_gives_the_image_of_each_platform_and_refuses_others(registry):
    client = Registry(registry.host)
    index = client.index("a/b", "latest")
    assert index.digest == registry.index_digest
    assert index.platforms == ["linux/amd64", "linux/arm/v7", "linux/arm64/v8"]
    entry = index.for_platform("linux/arm64/v8")
    assert client.image("a/b", entry.digest).layers[0].size == 1000
    with pytest.raises(PlatformError, match=r"linux/riscv64.*linux/amd64, linux/arm/v7, linux/arm64/v8"):
        index.for_platform("linux/riscv64")


def test_single_image_takes_its_platform_from_its_configuration(registry):
    digest = registry.put_image("a/b", "linux/arm/v7", tag="single")
    index = Registry(registry.host).index("a/b", "single")
    assert (index.digest, index.platforms) == (digest, ["linux/arm/v7"])


def test_digest_costs_one_request_without_body(registry):
    client = Registry(registry.host)
    assert client.digest_of("a/b", "latest") == registry.index_digest
    assert registry.log == [("HEAD", "/v2/a/b/manifests/latest")]
    assert client.requests == 1
    assert client.bytes_received < 1000


@pytest.mark.parametrize("private", [False, True])
def test_registry_that_wants_a_token_gets_one_and_refuses_strangers(stand_in, private):
    with stand_in(login="bearer") as server:
        server.private = private
        digest = server.put_index("a/b", "latest", THREE)
        login = Credentials("anna", "secret") if private else None
        assert Registry(server.host, credentials=login).digest_of("a/b") == digest
        if private:
            with pytest.raises(RegistryError, match="refuses the login.*credentials"):
                Registry(server.host).digest_of("a/b")


def test_login_from_a_file_is_used_and_a_wrong_one_refused(stand_in, tmp_path):
    file = tmp_path / "login"
    file.write_text("anna:secret\n")
    file.chmod(0o600)
    with stand_in(login="basic") as server:
        digest = server.put_index("a/b", "latest", THREE)
        assert Registry(server.host, credentials=Credentials.from_file(str(file))).digest_of("a/b") == digest
        with pytest.raises(RegistryError, match="wants a login"):
            Registry(server.host).digest_of("a/b")
        with pytest.raises(RegistryError, match="refuses access to a/b"):
            Registry(server.host, credentials=Credentials("anna", "wrong")).digest_of("a/b")


def test_credentials_file_must_be_private(tmp_path):
    file = tmp_path / "login"
    file.write_text("anna:secret\n")
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match=f"chmod 0600 {file}"):
        Credentials.from_file(str(file))
    file.chmod(0o600)
    assert "secret" not in repr(Credentials.from_file(str(file)))
    file.write_text("nonsense")
    with pytest.raises(ConfigurationError, match="username:password"):
        Credentials.from_file(str(file))


@pytest.mark.parametrize(("repository", "tag"), [("a/b", "nightly"), ("no/such", "latest")])
def test_absent_repository_or_tag_is_named(registry, repository, tag):
    with pytest.raises(NotFoundError, match=f"'{repository}' or no tag '{tag}'"):
        Registry(registry.host).index(repository, tag)


def test_manifest_with_another_digest_is_refused(registry):
    registry.lie_about_digest = True
    with pytest.raises(RegistryError, match="damaged"):
        Registry(registry.host).index("a/b")


def test_answer_that_is_cut_short_is_refused(registry):
    registry.cut = True
    with pytest.raises(RegistryError, match="cut short"):
        Registry(registry.host).index("a/b")


def test_registry_that_does_not_answer_is_named_with_the_reason():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        with pytest.raises(RegistryError, match="not reachable.*[Rr]efused"):
            Registry(f"127.0.0.1:{taken.getsockname()[1]}").ping()


def test_silent_server_is_given_up():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(RegistryError, match="did not answer within 0.2 s"):
            Registry(f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.2).ping()


def make_ca(folder, days_from=-1, days_to=1):
    """A self-signed certificate for 127.0.0.1: (certificate, key) as paths."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days_from))
        .not_valid_after(now + datetime.timedelta(days=days_to))
        .add_extension(x509.SubjectAlternativeName([loopback]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "ca.crt", folder / "ca.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(pem), str(private)


def test_tls_by_ca_file_and_by_text(stand_in, tmp_path):
    pem, key = make_ca(tmp_path)
    with stand_in(tls=(pem, key)) as server:
        digest = server.put_index("a/b", "latest", THREE)
        assert Registry(server.host, ca=pem).digest_of("a/b") == digest
        assert Registry(server.host, ca=Path(pem).read_text()).digest_of("a/b") == digest


def test_tls_not_trusted_names_the_ca(stand_in, tmp_path):
    (tmp_path / "other").mkdir()
    other, _ = make_ca(tmp_path / "other")
    with stand_in(tls=make_ca(tmp_path)) as server, pytest.raises(RegistryError, match="trusted.*CA file"):
        Registry(server.host, ca=other).ping()


def test_tls_not_yet_valid_names_the_clock(stand_in, tmp_path):
    pem, key = make_ca(tmp_path, days_from=10, days_to=20)
    with stand_in(tls=(pem, key)) as server, pytest.raises(RegistryError, match="clock right"):
        Registry(server.host, ca=pem).ping()


def test_unreadable_ca_file_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Registry("127.0.0.1:1", ca=str(tmp_path / "absent"))
