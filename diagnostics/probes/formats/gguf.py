"""GGUF v1 to v3 (ggml docs/gguf.md; llama.cpp ggml/src/gguf.cpp): metadata, tensor table, and the table against the size."""

from __future__ import annotations

import struct
from math import prod

from diagnostics.case import ABSENT, Defect
from diagnostics.probes.formats.reading import (
    Broken,
    Bytes,
    Cursor,
    EndOfFile,
    Look,
    Tensor,
    damaged,
    enough_zeros,
    promised,
    trailing,
    truncated,
    zero_filled,
    zeros_from,
)
from diagnostics.redact import plain

MOST_DIMENSIONS = 8
MOST_NAME = 1 << 16
MOST_KEPT = 200
STRING, ARRAY = 8, 9
_FIXED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}

# ggml/src/ggml.c type_traits: type → (name, elements a block, bytes a block)
TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip


def look_at_gguf(file: Bytes) -> Look:
    """Every entry of the metadata and of the tensor table; the last tensor against the size."""
    try:
        return _read(file)
    except EndOfFile as end:
        start = zeros_from(file)
        if start is not None and file.size - start >= 1024:
            return Look("gguf", (zero_filled(start, file.size),))
        if end.need > file.size * 1000 + (1 << 40):  # no file is that long: the length itself is wrong
            return Look("gguf", (damaged("a length in its tables is more than any file has"),))
        return Look("gguf", (truncated(file, "its tables go on behind its end"),))
    except Broken as broken:
        return Look("gguf", (damaged(str(broken)),))


def _read(file: Bytes) -> Look:
    cursor = Cursor(file)
    magic = cursor.take(4)
    version = cursor.number("I")
    if magic == b"FUGG" or version & 0xFFFF == 0:
        cursor.order = ">"
        version = struct.unpack(">I", struct.pack("<I", version))[0]
    if version not in (1, 2, 3):
        raise Broken(f"it gives its version as {version}")
    wide = "I" if version == 1 else "Q"
    tensor_count, entry_count = cursor.number(wide), cursor.number(wide)
    if tensor_count > 1 << 24 or entry_count > 1 << 20:
        raise Broken(f"it claims {tensor_count} tensors and {entry_count} entries of metadata")
    facts: dict[str, str] = {}
    for _ in range(entry_count):
        key = _string(cursor, wide).decode("utf-8", "replace")
        value = _value(cursor, wide, cursor.number("I"))
        if len(facts) < MOST_KEPT or key.startswith(("split.", "general.", "tokenizer.")):
            facts[plain(key, 120)] = plain(str(value), 120)
    tensors, need = _tensors(cursor, tensor_count, wide)
    alignment = int(facts.get("general.alignment", "32")) if facts.get("general.alignment", "32").isdigit() else 32
    if not 0 < alignment <= 1 << 20:
        raise Broken(f"it gives its alignment as {alignment}")
    start = _aligned(cursor.at, alignment)
    end = start + need if tensors else cursor.at
    return Look("gguf", _against_size(file, start, end, _aligned(end, alignment)), end if need >= 0 else ABSENT, tensors, facts=facts)


def _aligned(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


def _string(cursor: Cursor, wide: str) -> bytes:
    length = cursor.number(wide)
    if length > MOST_NAME:
        cursor.skip(length)
        return b""
    return cursor.take(length)


def _value(cursor: Cursor, wide: str, kind: int, depth: int = 0) -> object:
    """A scalar or a short string; of an array how many it holds."""
    if kind == STRING:
        return _string(cursor, wide).decode("utf-8", "replace")
    if kind == ARRAY:
        inner, count = cursor.number("I"), cursor.number(wide)
        if inner in _FIXED:
            cursor.skip(struct.calcsize("<" + _FIXED[inner]) * count)
        elif inner not in (STRING, ARRAY) or depth > 4:
            raise Broken(f"its metadata hold a value of unknown type {inner}")
        else:
            for _ in range(count):
                _value(cursor, wide, inner, depth + 1)
        return f"{count} entries"
    if kind not in _FIXED:
        raise Broken(f"its metadata hold a value of unknown type {kind}")
    return cursor.number(_FIXED[kind])


def _tensors(cursor: Cursor, count: int, wide: str) -> tuple[dict[str, Tensor], int]:
    """(tensors by name, bytes of the data up to the end of the last one)."""
    tensors: dict[str, Tensor] = {}
    need = 0
    for _ in range(count):
        name = plain(_string(cursor, wide), 200)
        dimensions = cursor.number("I")
        if dimensions > MOST_DIMENSIONS:
            raise Broken(f"its tensor {name} has {dimensions} dimensions")
        shape = [cursor.number(wide) for _ in range(dimensions)]
        kind, offset = cursor.number("I"), cursor.number("Q")
        if name in tensors:
            raise Broken(f"its tensor {name} is there twice")
        title, elements, width = TYPES.get(kind, (f"type {kind}", 0, 0))
        size = -(-prod(shape) // elements) * width if elements else 0
        if size >= 1 << 60 or offset >= 1 << 60:
            raise Broken(f"its tensor {name} is larger than can be")
        tensors[name] = Tensor(tuple(reversed(shape)), title)
        need = max(need, offset + size)
    return tensors, need


def _against_size(file: Bytes, start: int, end: int, padded: int) -> tuple[Defect, ...]:
    if file.size < end:
        return (promised(file, end, "its tensor table promises"),)
    if file.size > padded + 4096:  # some writers pad further
        return (trailing(file, padded),)
    zeros = zeros_from(file, start)
    return (zero_filled(zeros, file.size),) if zeros is not None and enough_zeros(file.size - start, zeros - start) else ()
