"""A true HDF5 file of two datasets, ``kernel`` and ``bias``, as h5py writes them by default (version 0) and with ``libver="latest"`` (3)."""

from __future__ import annotations

import hashlib
import struct

from diagnostics.probes.formats.checksums import lookup3

UNDEFINED = (1 << 64) - 1
SIGNATURE = b"\x89HDF\r\n\x1a\n"
FLOAT32 = bytes([0x11, 0x20, 0x1F, 0]) + struct.pack("<IHHBBBBI", 4, 0, 32, 23, 8, 0, 23, 127)  # IV.A.2.d, class 1


def noise(count: int, seed: str = "x") -> bytes:
    """``count`` bytes without a long run of zeros, the same every time."""
    return hashlib.shake_256(seed.encode()).digest(count)


def hdf5(version: int = 0, size: int = 4096) -> bytes:
    """``size`` bytes in all, nearly all of them the data of ``kernel``."""
    return _old(size) if version == 0 else _new(version, size)


def _shape(room: int) -> tuple[int, int]:
    return room // 16, 4


# --- version 0: symbol tables ---------------------------------------------------------------------------------------------------


def _old(size: int) -> bytes:
    root, tree, heap, names, node, kernel, bias = 96, 136, 184, 216, 280, 368, 480
    data = 592
    shape = _shape(size - data - 16)
    block = SIGNATURE + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + struct.pack("<HHI", 4, 16, 0) + struct.pack("<QQQQ", 0, UNDEFINED, size, UNDEFINED)
    block += struct.pack("<QQII", 0, root, 1, 0) + struct.pack("<QQ", tree, heap)
    block += _header((0x11, struct.pack("<QQ", tree, heap)))
    block += b"TREE" + struct.pack("<BBHQQ", 0, 0, 1, UNDEFINED, UNDEFINED) + struct.pack("<QQQ", 0, node, 8)
    block += b"HEAP" + struct.pack("<IQQQ", 0, 64, 1, names)
    block += (bytes(8) + b"kernel\0\0" + b"bias\0\0\0\0").ljust(64, b"\0")
    block += b"SNOD" + struct.pack("<BBH", 1, 0, 2) + b"".join(struct.pack("<QQII", name, at, 0, 0) + bytes(16) for name, at in ((16, bias), (8, kernel)))
    block += _header(*_dataset(shape, data)) + _header(*_dataset((4,), size - 16), pad=8)
    return block.ljust(data, b"\0") + noise(size - data)


def _header(*messages: tuple[int, bytes], pad: int = 0) -> bytes:
    """IV.A.1.a: contents filled up to a multiple of eight bytes; ``pad`` more in an empty message."""
    parts = [(kind, body.ljust(-len(body) % 8 + len(body), b"\0")) for kind, body in messages]
    parts += [(0, bytes(pad - 8))] if pad else []
    body = b"".join(struct.pack("<HHBBBB", kind, len(content), 0, 0, 0, 0) + content for kind, content in parts)
    return struct.pack("<BBHII", 1, 0, len(parts), 1, len(body)) + bytes(4) + body


def _dataset(shape: tuple[int, ...], at: int, version: int = 1) -> tuple[tuple[int, bytes], ...]:
    space = bytes([version, len(shape), 0]) + (bytes(5) if version == 1 else b"\1") + struct.pack(f"<{len(shape)}Q", *shape)
    length = 4
    for side in shape:
        length *= side
    return ((0x01, space), (0x03, FLOAT32), (0x08, bytes([3, 1]) + struct.pack("<QQ", at, length)))


# --- version 3: links in the header ---------------------------------------------------------------------------------------------


def _new(version: int, size: int) -> bytes:
    kernel, bias, data = 160, 272, 384
    shape = _shape(size - data - 16)
    block = SIGNATURE + bytes([version, 8, 8, 0]) + struct.pack("<QQQQ", 0, UNDEFINED, size, 48)
    block += struct.pack("<I", lookup3(block))
    links = [(0x06, bytes([1, 0, len(name)]) + name + struct.pack("<Q", at)) for name, at in ((b"kernel", kernel), (b"bias", bias))]
    group = ((0x02, bytes(2) + struct.pack("<QQ", UNDEFINED, UNDEFINED)), (0x0A, bytes(2)))
    for at, messages in ((48, (*group, *links)), (kernel, _dataset(shape, data, 2)), (bias, _dataset((4,), size - 16, 2))):
        block = block.ljust(at, b"\0") + _second(messages)
    return block.ljust(data, b"\0") + noise(size - data)


def _second(messages: tuple[tuple[int, bytes], ...]) -> bytes:
    """IV.A.1.b."""
    body = b"".join(struct.pack("<BHB", kind, len(content), 0) + content for kind, content in messages)
    head = b"OHDR" + bytes([2, 0, len(body)]) + body
    return head + struct.pack("<I", lookup3(head))
