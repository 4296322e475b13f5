"""Is a release signed by whom this unit trusts? The signatures are those of `cosign sign --key`.

They lie beside the image, in the same repository under the tag `sha256-<index digest>.sig`, and are verified with
Debian's openssl. What is signed is the index, which names everything below it by digest.
Source: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
"""

from __future__ import annotations

import base64
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..documents import printable, read_object
from ..errors import ConfigurationError, NotFoundError, UnitError
from ..report import short
from .registry import Registry

ANNOTATION = "dev.cosignproject.cosign/signature"
PAYLOAD_TYPE = "cosign container image signature"
TAG = re.compile(r"^sha256-[0-9a-f]{64}\.sig\Z")
_PAYLOAD_LIMIT = 64 * 1024  # bytes; cosign writes about 250
_SIGNATURES_LIMIT = 16  # each signer adds one


def tag_of(digest: str) -> str:
    """The tag that holds the signatures of an image, from the digest of its index."""
    return digest.replace(":", "-") + ".sig"


def require(registry: Registry, repository: str, digest: str, key: str, where: str) -> None:
    """Refuse an image that nobody signed with the key of this unit.

    Args:
        registry, repository: where the image is.
        digest: of its index.
        key: public key, PEM text.
        where: the name of the image for the message.

    Raises:
        UnitError: no signature, or none that holds; the message says why.
        ConfigurationError: the key is not a public key.
    """
    check_key(key)
    name = f"{where} (index {short(digest)})"
    try:
        layers = registry.manifest(repository, tag_of(digest)).get("layers")
    except NotFoundError:
        raise UnitError(f"{name} is not signed, and this unit wants a signature: cosign sign --key") from None
    problems: List[str] = []
    for layer in layers[:_SIGNATURES_LIMIT] if isinstance(layers, list) else ():
        problem = _problem(registry, repository, digest, key, layer)
        if not problem:
            return
        if problem not in problems:
            problems.append(problem)
    raise UnitError(f"{name} has no valid signature: {', '.join(problems) or 'the list of signatures is damaged'}")


def check_key(key: str) -> None:
    """Can signatures be verified with this key at all?

    Raises:
        ConfigurationError: it is not a public key in PEM.
        UnitError: openssl is missing.
    """
    # A look at the first line as well: openssl also takes the public half out of a private key.
    if not key.lstrip().startswith("-----BEGIN PUBLIC KEY-----") or _openssl("pkey", "-pubin", "-noout", given=key):
        raise ConfigurationError(
            "signature_key is not a public key in PEM (-----BEGIN PUBLIC KEY-----): "
            "`cosign public-key --key cosign.key` prints it"
        )


def verify(payload: bytes, signature: bytes, key: str) -> bool:
    """Does `signature` (ASN.1 DER over SHA-256) of `payload` hold for the public key `key`, PEM text?"""
    with tempfile.TemporaryDirectory(prefix="panoptes-unit-") as folder:
        for name, content in (("key", key.encode()), ("signature", signature), ("payload", payload)):
            (Path(folder) / name).write_bytes(content)
        return not _openssl("dgst", "-sha256", "-verify", "key", "-signature", "signature", "payload", folder=folder)


def _problem(registry: Registry, repository: str, digest: str, key: str, layer: Dict[str, Any]) -> str:
    """Why this signature is not good; empty where it is."""
    try:
        # `cosign attach signature` leaves the line ends of what it is given.
        signature = base64.b64decode("".join(layer["annotations"][ANNOTATION].split()), validate=True)
        payload = registry.blob(repository, layer["digest"], _PAYLOAD_LIMIT)
    except NotFoundError:
        return "a payload is missing"
    except (AttributeError, KeyError, TypeError, ValueError):
        return "a signature is damaged"
    if not verify(payload, signature, key):
        return "made with another key, or damaged"
    try:  # only now is it worth reading
        critical = read_object(payload, _PAYLOAD_LIMIT)["critical"]
        signed, kind = critical["image"]["docker-manifest-digest"], critical["type"]
    except (KeyError, TypeError, ValueError):
        return "a payload is not what cosign signs"
    if kind != PAYLOAD_TYPE:
        return f"a payload is of type {printable(repr(kind), 60)}"
    if signed != digest:
        return f"it is the signature of another image ({short(printable(signed))})"
    return ""


def _openssl(*arguments: str, given: Optional[str] = None, folder: Optional[str] = None) -> int:
    try:
        done = subprocess.run(
            ["openssl", *arguments], input=given and given.encode(), cwd=folder, capture_output=True, timeout=60
        )
    except FileNotFoundError:
        raise UnitError("openssl is missing, and this unit wants signatures: apt-get install openssl") from None
    except subprocess.TimeoutExpired:
        raise UnitError("openssl did not verify the signature within 60 s") from None
    return done.returncode
