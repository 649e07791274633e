"""HDF5: the superblock (HDF5 File Format Specification 3.0, II.A): its own checksum, the end-of-file address against the size, and the datasets behind it."""

from __future__ import annotations

import struct

from diagnostics.probes.formats.checksums import lookup3
from diagnostics.probes.formats.hdf5_objects import UNDEFINED, Table, Walk
from diagnostics.probes.formats.reading import Bytes, Look, damaged, promised, truncated, zero_tail

SIGNATURE = b"\x89HDF\r\n\x1a\n"


def look_at_hdf5(file: Bytes) -> Look:
    """Versions 0 to 3; the end of file is where the library itself looks ("truncated file: eof = …, stored_eof = …")."""
    head = file.head()
    if len(head) < 48:
        return Look("hdf5", (truncated(file, "its superblock is not whole"),))
    version = head[8]
    if version > 3:
        return Look("hdf5", (damaged(f"its superblock gives its version as {version}", 8),))
    width, lengths = (head[13], head[14]) if version < 2 else (head[9], head[10])
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
    if zeros := zero_tail(file):
        return Look("hdf5", zeros, end)
    table = _objects(file, head, at, end) if lengths == 8 else Table()
    wrong = (damaged(table.damaged.detail, table.damaged.at),) if table.damaged else ()
    return Look("hdf5", wrong, end, table.tensors)


def _objects(file: Bytes, head: bytes, at: int, end: int) -> Table:
    """From the root group: behind the end-of-file address; in versions 0 and 1 behind the driver's address and the root's name too."""
    base = struct.unpack("<Q", head[at - 16 : at - 8])[0]
    place = at + 8 if head[8] >= 2 else at + 24
    if len(head) < place + 8 or base == UNDEFINED:
        return Table()
    return Walk(file, base, end).see(struct.unpack("<Q", head[place : place + 8])[0])
