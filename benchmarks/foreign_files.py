"""Every file that looks like FITS in the packages of other people: opened, or refused with one line, never damaged.

    python benchmarks/foreign_files.py > benchmarks/foreign_files.md

The packages are pinned by version and hash, and kept in ~/.cache/panoptes/foreign-files. What is an image is judged
by astropy's own list of the units in the file, not by the module. Exit code 1 if a single outcome is wrong.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
from astropy.io import fits as astropy_fits

from panoptes_utils.error import PanError
from panoptes_utils.images import fits
from panoptes_utils.logging import logger

# Name, version and SHA-256 of the wheel for CPython 3.11 on x86_64; other machines take it too: only data are read.
WHEELS = (
    ("astropy", "8.0.2", "000d6998bcf4f097257b3776f29f1dafde0967bf1b091edbad95df564eee4eea"),
    ("ccdproc", "2.5.1", "335c75029f6d63a8d9b665830689553329beb31f8e06677860a751bf27619ba5"),
    ("fitsio", "1.4.2", "70a027fc6d1777eb828b92278e8b7c22d0bdf170bd9a351f209443433fbdbe14"),
    ("photutils", "3.0.0", "6e0ccb7361144f8f220c8d852c01678661bc7ed5a1e1378b39c8bf78a479efc4"),
)
SUFFIXES = (".fits", ".fit", ".fz", ".hdr", ".gz", ".z", ".bz2", ".xz")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "panoptes" / "foreign-files"
READERS = (fits.getdata, fits.getheader, fits.getwcs, fits.detect_sources)


def wheel(name, version, digest):
    """Path of the wheel in the cache, which is filled when it is not there."""
    cached = CACHE / f"{digest}.whl"
    if not cached.is_file():
        with tempfile.TemporaryDirectory() as folder:
            pin = Path(folder) / "pin.txt"
            pin.write_text(f"{name}=={version} --hash=sha256:{digest}\n")
            options = ["--no-deps", "--only-binary=:all:", "--python-version=3.11", "--implementation=cp"]
            options += [f"--platform=manylinux{each}_x86_64" for each in ("_2_28", "2014")]
            command = [sys.executable, "-m", "pip", "download", "--quiet", *options, "--dest", folder, "-r", str(pin)]
            subprocess.run(command, check=True, stdout=sys.stderr)
            (found,) = Path(folder).glob("*.whl")
            CACHE.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, cached.with_suffix(".part"))
            cached.with_suffix(".part").replace(cached)
    if hashlib.sha256(cached.read_bytes()).hexdigest() != digest:
        raise SystemExit(f"{cached}: not the file that is pinned; remove it")
    return cached


def judged(path):
    """What astropy alone says: the pixels of the first image in the file, or None where there is none to see."""
    try:
        with astropy_fits.open(path, memmap=False) as hdus:
            for hdu in hdus:
                if hdu.is_image and len(hdu.shape) >= 2 and min(hdu.shape) > 0:
                    data = hdu.data
                    return data if np.isfinite(data).any() else None
    except Exception:  # whatever is wrong with it, it is no image that can be read
        return None
    return None


def refused(function, *arguments):
    """(what it returns, None), or (None, its refusal); an error that is no refusal, or takes two lines, is raised."""
    try:
        return function(*arguments), None
    except PanError as error:
        if "\n" in str(error):
            raise ValueError("a refusal of more than one line") from error
        return None, str(error)


def outcome(path):
    """(what became of the file, whether that is right)."""
    before = path.read_bytes()
    truth = judged(path)
    try:
        image, refusal = refused(fits.readable_image, path)
        others = [refused(reader, path) for reader in READERS]
        unread = path.read_bytes() == before
        _, unwritten = refused(fits.update_observation_headers, path, {"field_name": "M31"})
    except Exception as error:
        return f"**{type(error).__name__}**: {error}", False
    if not unread or (unwritten and path.read_bytes() != before):
        return "**changed**", False
    if image is None:
        refusal = refusal.replace(f"{path.parent}/", "").split(": ", 2)[-1]
        return f"refused: {refusal}", truth is None
    _, data = image
    text = f"opened, {data.shape[1]} × {data.shape[0]}"
    if truth is None:
        return f"{text}, **where astropy sees no image**", False
    # The same pixels as astropy's, before and after a key was written into the header.
    pixels = others[0][0]
    right = pixels is not None and np.array_equal(pixels, truth, equal_nan=pixels.dtype.kind == "f")
    right = right and others[1][1] is None and others[3][1] is None and data.shape == truth.shape[-2:]
    again = judged(path)
    right = right and again is not None and np.array_equal(again, truth, equal_nan=again.dtype.kind == "f")
    if truth.size > data.size:
        text += f", mean of {truth.size // data.size} planes"
    if others[2][1]:
        text += "; coordinates refused: " + others[2][1].replace(f"{path.parent}/", "").split(": ", 3)[-1]
    if unwritten:
        text += "; header not written: " + unwritten.replace(f"{path.parent}/", "").split(": ", 2)[-1]
    return text, right


def main():
    """Try all files and print the page."""
    logger.remove()
    warnings.simplefilter("ignore")
    groups = {}
    for name, version, digest in WHEELS:
        with zipfile.ZipFile(wheel(name, version, digest)) as archive, tempfile.TemporaryDirectory() as folder:
            for number, member in enumerate(sorted(archive.namelist())):
                if not member.lower().endswith(SUFFIXES):
                    continue
                path = Path(folder) / str(number) / Path(member).name
                path.parent.mkdir()
                path.write_bytes(archive.read(member))
                text, right = outcome(path)
                text = text.replace("|", "\\|")
                parent, suffix = str(Path(member).parent), path.suffix
                groups.setdefault((f"{name} {version}", parent, suffix, text, right), []).append(path.name)
                shutil.rmtree(path.parent)
    every = list(groups.items())
    number = sum(len(names) for _, names in every)
    wrong = sum(len(names) for key, names in every if not key[-1])
    opened = sum(len(names) for key, names in every if key[-1] and key[3].startswith("opened"))
    packed = sum(len(names) for key, names in every if key[-1] and "its compression is not known" in key[3])
    print("# Files of other packages\n")
    print("Made by `make bench-foreign`: every file in these packages that is named like FITS, or like something")
    print("compressed. Opened means: the pixels that astropy alone reads, by every function, and the same again after")
    print("a key was written into the header. Refused means: one line, and astropy sees no image there either. The")
    print("module reads with astropy too: what astropy itself misreads is not seen here. No file was changed by")
    print("reading it, nor by a refusal. `.Z` (LZW) is what astropy needs a further package for: one of those files")
    print("is an image, and the line says that it has to be unpacked first.\n")
    print(f"{number} files: {opened} opened, {number - opened - packed - wrong} refused since they hold no image,")
    print(f"{packed} refused for their compression, **{wrong} wrong**.\n")
    print("| package | files | outcome |\n|---|---|---|")
    for (package, parent, suffix, text, right), names in every:
        files = f"`{names[0]}`" if len(names) == 1 else f"{len(names)} `{suffix}` in `{parent}`, as `{names[0]}`"
        print(f"| {package} | {files} | {text}{'' if right else ' (**wrong**)'} |")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
