"""HDF5: the superblock (HDF5 File Format Specification 3.0, II.A): its own checksum and the end-of-file address against the size."""

from __future__ import annotations

import struct

from diagnostics.probes.formats.reading import Bytes, Look, damaged, promised, truncated, zero_tail

_MASK = 0xFFFFFFFF


def look_at_hdf5(file: Bytes) -> Look:
    """Versions 0 to 3; the end of file is where the library itself looks ("truncated file: eof = …, stored_eof = …")."""
    head = file.head()
    if len(head) < 48:
        return Look("hdf5", (truncated(file, "its superblock is not whole"),))
    version = head[8]
    if version > 3:
        return Look("hdf5", (damaged(f"its superblock gives its version as {version}", 8),))
    width = head[13] if version < 2 else head[9]
    if width not in (2, 4, 8, 16):
        return Look("hdf5", (damaged(f"its superblock says that offsets have {width} bytes", 13 if version < 2 else 9),))
    at = (24 if version == 0 else 28 if version == 1 else 12) + 2 * width
    if width != 8 or len(head) < at + 8:
        return Look("hdf5")
    if version >= 2 and lookup3(head[: at + 16]) != struct.unpack("<I", head[at + 16 : at + 20])[0]:
        return Look("hdf5", (damaged("its superblock does not have its own checksum", 0),))
    end = struct.unpack("<Q", head[at : at + 8])[0]
    if file.size < end:
        if end > 1 << 60:
            return Look("hdf5", (damaged("its superblock promises more than any file has", at),))
        return Look("hdf5", (promised(file, end, "its superblock promises"),), end)
    return Look("hdf5", zero_tail(file), end)


def _rotated(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & _MASK


def lookup3(data: bytes) -> int:
    """Bob Jenkins' hash, as HDF5 uses it for its checksums (H5checksum.c ``H5_checksum_lookup3``)."""
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    at = 0
    while len(data) - at > 12:
        x, y, z = struct.unpack("<III", data[at : at + 12])
        a, b, c = _mixed((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)
        at += 12
    if at == len(data):
        return c
    x, y, z = struct.unpack("<III", data[at:].ljust(12, b"\0"))
    return _final((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    for by in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _MASK) ^ _rotated(c, by)
        c = (c + b) & _MASK
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    for by in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotated(b, by)) & _MASK
        a, b, c = b, c, a
    return b  # the last one that was changed
