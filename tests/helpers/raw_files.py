"""Raw camera files made of known pixels: CR2 and DNG, as dcraw and exiftool read them.

Pixels are stored as lossless JPEG (ITU-T T.81, process 14, predictor 1), which is what both formats do. No codec
library that is packaged for all of a unit's architectures writes it, so the thirty lines that do are here.
"""

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image


def lossless_jpeg(pixels, components=2):
    """Encode uint16 pixels, shape (height, width); `components` neighbours count as one sample each."""
    height, width = pixels.shape
    samples = pixels.reshape(height, width // components, components).astype(int)
    predicted = np.empty_like(samples)
    predicted[:, 1:] = samples[:, :-1]  # the left neighbour of the same component,
    predicted[1:, 0] = samples[:-1, 0]  # at the beginning of a line the one above,
    predicted[0, 0] = 1 << 13  # at the very beginning half of the 14-bit range
    bits = []
    for difference in (samples - predicted).ravel().tolist():
        size = abs(difference).bit_length()
        value = difference if difference >= 0 else difference + (1 << size) - 1
        # All 15 sizes have codes of four bits: the size itself.
        bits.append(f"{size:04b}" + (f"{value:0{size}b}" if size else ""))
    bits = "".join(bits)
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")

    def segment(marker, content):
        return struct.pack(">HH", marker, len(content) + 2) + content

    names = range(1, components + 1)
    frame = struct.pack(">BHHB", 14, height, width // components, components)
    frame += b"".join(bytes((name, 0x11, 0)) for name in names)
    table = bytes((0, 0, 0, 0, 15, *([0] * 12))) + bytes(range(15))
    head = bytes((components, *(byte for name in names for byte in (name, 0)), 1, 0, 0))
    return b"\xff\xd8" + segment(0xFFC4, table) + segment(0xFFC3, frame) + segment(0xFFDA, head) + scan + b"\xff\xd9"


def preview_jpeg(width=96, height=64):
    """A small JPEG, blue above and red below, as cameras put into their raw files."""
    image = Image.new("RGB", (width, height), "blue")
    image.paste("red", (0, height // 2, width, height))
    out = BytesIO()
    image.save(out, "JPEG")
    return out.getvalue()


_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 10: 8}


def _directory(start, entries, following=0):
    """A TIFF directory at offset `start`, with the values that do not fit into its entries behind it.

    entries: tag -> (type, list of numbers, text, or list of fractions).
    """
    table, beyond = b"", b""
    where = start + 2 + 12 * len(entries) + 4
    for tag, (kind, values) in sorted(entries.items()):
        if kind == 2:
            content = values.encode() + b"\0"
            count = len(content)
        elif kind == 5:
            content = b"".join(struct.pack("<II", *pair) for pair in values)
            count = len(values)
        else:
            content = struct.pack(f"<{len(values)}{ {1: 'B', 3: 'H', 4: 'I', 7: 'B'}[kind] }", *values)
            count = len(values)
        if len(content) <= 4:
            cell = content.ljust(4, b"\0")
        else:
            cell = struct.pack("<I", where + len(beyond))
            beyond += content + b"\0" * (len(content) % 2)
        table += struct.pack("<HHI", tag, kind, count) + cell
    return struct.pack("<H", len(entries)) + table + struct.pack("<I", following) + beyond


_EXIF = {
    0x829A: (5, [(1204, 10)]),  # exposure time
    0x8827: (3, [100]),  # ISO
    0x9003: (2, "2016:09:09 08:12:26"),
    0xA431: (2, "012070048413"),  # serial number of the body
}


def write_cr2(path, pixels, preview=True, exif_tags=()):
    """Write pixels, shape (height, width), uint16 below 2**14, as a Canon raw file; return the path.

    exif_tags: more of them, as in `_EXIF`.
    """
    tags = {**_EXIF, **dict(exif_tags)}
    height, width = pixels.shape
    raw, jpeg = lossless_jpeg(pixels), preview_jpeg() if preview else b""
    header = b"II*\0" + struct.pack("<I", 16) + b"CR\x02\0" + struct.pack("<I", 0)
    # Offsets depend on sizes only: lay out with zeros first, then with the real offsets.
    offsets = {"exif": 0, "second": 0, "jpeg": 0, "raw": 0}
    for _ in range(2):
        first_entries = {
            0x0100: (3, [96]),
            0x0101: (3, [64]),
            0x0103: (3, [6]),
            0x010F: (2, "Canon"),
            0x0110: (2, "Canon EOS 100D"),
            0x0112: (3, [1]),
            0x0132: (2, "2016:09:09 08:12:26"),
            0x8769: (4, [offsets["exif"]]),
        }
        if preview:
            first_entries[0x0111] = (4, [offsets["jpeg"]])
            first_entries[0x0117] = (4, [len(jpeg)])
        first = _directory(16, first_entries, offsets["second"])
        offsets["exif"] = 16 + len(first)
        exif = _directory(offsets["exif"], tags)
        offsets["second"] = offsets["exif"] + len(exif)
        second = _directory(
            offsets["second"],
            {
                0x0100: (3, [width]),
                0x0101: (3, [height]),
                0x0103: (3, [6]),
                0x0111: (4, [offsets["raw"]]),
                0x0117: (4, [len(raw)]),
            },
        )
        offsets["jpeg"] = offsets["second"] + len(second)
        offsets["raw"] = offsets["jpeg"] + len(jpeg)
    Path(path).write_bytes(header + first + exif + second + jpeg + raw)
    return str(path)


def write_dng(path, pixels, compressed=True, exif_tags=()):
    """Write pixels, shape (height, width), uint16 below 2**14, as a DNG of a Raspberry Pi camera; return the path.

    exif_tags: more of them, as in `_EXIF`.
    """
    tags = {**_EXIF, **dict(exif_tags)}
    height, width = pixels.shape
    raw = lossless_jpeg(pixels) if compressed else pixels.astype("<u2").tobytes()
    offsets = {"exif": 0, "raw": 0}
    for _ in range(2):
        first = _directory(
            8,
            {
                0x00FE: (4, [0]),
                0x0100: (4, [width]),
                0x0101: (4, [height]),
                0x0102: (3, [16]),
                0x0103: (3, [7 if compressed else 1]),
                0x0106: (3, [32803]),  # colour filter array
                0x010F: (2, "RaspberryPi"),
                0x0110: (2, "imx477"),
                0x0111: (4, [offsets["raw"]]),
                0x0112: (3, [1]),
                0x0115: (3, [1]),
                0x0116: (4, [height]),
                0x0117: (4, [len(raw)]),
                0x0132: (2, "2016:09:09 08:12:26"),
                0x828D: (3, [2, 2]),
                0x828E: (1, [0, 1, 1, 2]),  # R G / G B
                0x8769: (4, [offsets["exif"]]),
                0xC612: (1, [1, 4, 0, 0]),
                0xC614: (2, "RaspberryPi imx477"),
                0xC61D: (4, [16383]),
            },
        )
        offsets["exif"] = 8 + len(first)
        exif = _directory(offsets["exif"], tags)
        offsets["raw"] = offsets["exif"] + len(exif)
    Path(path).write_bytes(b"II*\0" + struct.pack("<I", 8) + first + exif + raw)
    return str(path)
