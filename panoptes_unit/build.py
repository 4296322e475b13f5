"""Builds the zipapp `panoptes-unit`: the same bytes from the same source, wherever and whenever.

    python -m panoptes_unit.build OUTPUT

Prints the SHA-256 of what it built, by which role `release` knows whether a unit has it already.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path

SHEBANG = b"#!/usr/bin/python3\n"
MAIN = b'"""Runs panoptes-unit."""\n\nimport sys\n\nfrom panoptes_unit.cli import main\n\nsys.exit(main())\n'
# Not for the unit: the builder itself, and what only Ansible modules use, which carry it by themselves.
LEAVE_OUT = {
    "__main__.py",
    "build.py",
    *(f"machine/{name}.py" for name in ("preflight", "probe", "wanted_files")),
}


def build() -> bytes:
    """The zipapp as bytes. zipapp of the standard library stamps the time; this one stamps none."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "__main__.py", MAIN)
        here = Path(__file__).parent
        for name in sorted(str(file.relative_to(here)) for file in here.rglob("*.py")):
            if name not in LEAVE_OUT:
                _add(archive, f"panoptes_unit/{name}", (here / name).read_bytes())
    return SHEBANG + buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_STORED  # zlib versions differ in the bytes they make
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def main() -> None:
    """Write the zipapp to the path given."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m panoptes_unit.build OUTPUT")
    content = build()
    target = Path(sys.argv[1])
    if not target.exists() or target.read_bytes() != content:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o755)
    print(hashlib.sha256(content).hexdigest())


if __name__ == "__main__":
    main()
