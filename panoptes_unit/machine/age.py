"""Encryption of backups: what is done by `age`, the program of Debian's package of that name."""

from __future__ import annotations

import re
import subprocess
from typing import List, Sequence

from .archive import BackupError

SUFFIX = ".age"
_MAGIC = b"age-encryption.org/"
_LIMIT_S = 120.0


def is_encrypted(content: bytes) -> bool:
    """Whether `age` wrote it."""
    return content.startswith(_MAGIC)


def check_recipients(recipients: Sequence[str]) -> None:
    """Refuse what `age` would not take, or would take for an option.

    Raises:
        BackupError: one of them is no recipient.
    """
    for recipient in recipients:
        if not re.fullmatch(r"age1[0-9a-z]+|ssh-(ed25519|rsa) [0-9A-Za-z+/=]+( [^\n]*)?", recipient):
            raise BackupError(
                f"{recipient!r} is no recipient of an encrypted backup: write age1… as age-keygen prints it, or a "
                "public key of ssh (backup_recipients)"
            )


def encrypt(content: bytes, recipients: Sequence[str]) -> bytes:
    """`content`, for the eyes of whoever has the identity of one of `recipients`.

    Raises:
        BackupError: `age` is missing or refuses.
    """
    check_recipients(recipients)
    words = ["--encrypt"]
    for recipient in recipients:
        words += ["--recipient", recipient]
    return _age(words, content, "a backup cannot be encrypted")


def decrypt(content: bytes, identity: str, name: str) -> bytes:
    """What `encrypt` was given. `age` does not compress: it is never larger than what was encrypted.

    Args:
        content: the encrypted archive.
        identity: path of the file with the identity.
        name: what messages call the archive.

    Raises:
        BackupError: there is no identity, it is another one, `age` is missing or the archive is damaged.
    """
    if not identity:
        raise BackupError(f"{name} is encrypted: name the file with the identity of a recipient (backup_identity)")
    return _age(["--decrypt", "--identity", identity], content, f"{name} cannot be decrypted")


def _age(words: List[str], content: bytes, problem: str) -> bytes:
    try:
        # In a session of its own it has no terminal on which to ask for a passphrase, and says so.
        done = subprocess.run(
            ["age", *words], input=content, capture_output=True, timeout=_LIMIT_S, start_new_session=True, check=False
        )
    except FileNotFoundError:
        raise BackupError(f"{problem}: age is not installed: apt-get install age") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackupError(f"{problem}: age does not work ({type(error).__name__})") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"age ended with code {done.returncode}"]
        raise BackupError(f"{problem}: {lines[0]}")
    return done.stdout
