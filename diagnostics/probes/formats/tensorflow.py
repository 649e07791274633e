"""A TensorFlow checkpoint's index: an SSTable (LevelDB's table format; tensorflow/core/lib/io/table) of BundleEntryProto (tensor_bundle.proto).

Its entries say which data file holds each tensor and where; with them the data files are judged by their sizes. Its blocks carry a masked crc32c.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator

from diagnostics.probes.formats.protobufs import BYTES, Field, fields
from diagnostics.probes.formats.reading import Broken, Bytes, Cursor, EndOfFile, Look, Need, Tensor, damaged, truncated, zero_filled, zeros_from
from diagnostics.redact import plain

MAGIC = 0xDB4775248B80FB57
FOOTER = 48
MOST_BLOCK = 8 << 20
MOST_CHECKED = 256 << 10  # crc32c in Python takes a second for a few megabytes
_DTYPES = {1: "F32", 2: "F64", 3: "I32", 4: "U8", 5: "I16", 6: "I8", 7: "STRING", 9: "I64", 10: "BOOL", 14: "BF16", 19: "F16"}


def look_at_index(file: Bytes) -> Look:
    """The footer's magic number, each block's checksum, and every entry."""
    footer = file.tail(FOOTER)
    if len(footer) < FOOTER or struct.unpack("<Q", footer[-8:])[0] != MAGIC:
        start = zeros_from(file)
        filled = start is not None and file.size - start >= 64
        defect = zero_filled(start, file.size) if start is not None and filled else truncated(file, "a table without its footer")
        return Look("tensorflow-index", (defect,))
    try:
        return _read(file)
    except (Broken, EndOfFile) as error:
        detail = str(error) if isinstance(error, Broken) else "a length in it leads behind its end"
        return Look("tensorflow-index", (damaged(detail),))


def _read(file: Bytes) -> Look:
    cursor = Cursor(file, file.size - FOOTER)
    cursor.varint(), cursor.varint()  # the metaindex block
    offset, size = cursor.varint(), cursor.varint()
    tensors: dict[str, Tensor] = {}
    ends: dict[int, int] = {}
    shards = 0
    for _, handle in _entries(_block(file, offset, size)):
        inner = _Text(handle)
        for key, value in _entries(_block(file, inner.varint(), inner.varint())):
            if not key:
                shards = _shard_count(value)
            else:
                _tensor(plain(key, 200), value, tensors, ends)
    if not 0 < shards <= 100_000:
        raise Broken(f"its header speaks of {shards} data files")
    needs = tuple(Need(f".data-{number:05d}-of-{shards:05d}", ends.get(number, 0), "shard-missing") for number in range(shards))
    return Look("tensorflow-index", tensors=tensors, needs=needs)


class _Text(Cursor):
    """A cursor over bytes that were read already."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.end, self.order = data, 0, len(data), "<"

    def take(self, count: int) -> bytes:
        if self.at + count > self.end:
            raise EndOfFile(self.at + count)
        self.at += count
        return self.data[self.at - count : self.at]


def _block(file: Bytes, offset: int, size: int) -> bytes:
    """A block's content, behind it one byte of compression and four of checksum."""
    if size > MOST_BLOCK or offset + size + 5 > file.size:
        raise Broken("a block of it lies behind its end")
    data = file.read(offset, size + 5)
    content, kind, checksum = data[:size], data[size], struct.unpack("<I", data[size + 1 :])[0]
    if size <= MOST_CHECKED and masked(crc32c(data[: size + 1])) != checksum:
        raise Broken(f"the block at byte {offset} does not have its own checksum")
    if kind:
        raise Broken(f"the block at byte {offset} is compressed in a way that is not read here")
    return content


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of a block: keys share prefixes; behind them restart points and their count."""
    if len(block) < 4:
        raise Broken("a block of it is too short")
    restarts = struct.unpack("<I", block[-4:])[0]
    cursor, key = _Text(block), b""
    cursor.end = len(block) - 4 - 4 * restarts
    if cursor.end < 0:
        raise Broken("a block of it has more restart points than room")
    while cursor.at < cursor.end:
        shared, fresh, length = cursor.varint(), cursor.varint(), cursor.varint()
        if shared > len(key) or fresh > MOST_BLOCK:
            raise Broken("a key of it does not continue the one before")
        key = key[:shared] + cursor.take(fresh)
        yield key, cursor.take(length)


def _shard_count(value: bytes) -> int:
    """BundleHeaderProto.num_shards."""
    return next((field.value for field in _of(value) if field.number == 1), 0)


def _tensor(name: str, value: bytes, tensors: dict[str, Tensor], ends: dict[int, int]) -> None:
    """BundleEntryProto: dtype 1, shape 2, shard_id 3, offset 4, size 5."""
    kind, shard, offset, size = 0, 0, 0, 0
    shape: tuple[int, ...] = ()
    for field in _of(value):
        if field.number == 1:
            kind = field.value
        elif field.number == 2 and field.wire == BYTES:
            shape = _shape(value[field.begin : field.end])
        elif field.number == 3:
            shard = field.value
        elif field.number == 4:
            offset = field.value
        elif field.number == 5:
            size = field.value
    tensors[name] = Tensor(shape, _DTYPES.get(kind, str(kind)))
    ends[shard] = max(ends.get(shard, 0), offset + size)


def _shape(value: bytes) -> tuple[int, ...]:
    """TensorShapeProto: dim 2, each with its size 1."""
    dims = [value[field.begin : field.end] for field in _of(value) if field.number == 2 and field.wire == BYTES]
    return tuple(next((field.value for field in _of(dim) if field.number == 1), 0) for dim in dims[:16])


def _of(value: bytes) -> Iterator[Field]:
    return fields(_Text(value))


@functools.cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


def crc32c(data: bytes) -> int:
    """Castagnoli's CRC (RFC 3720 B.4)."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """As LevelDB stores it (util/crc32c.h)."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
