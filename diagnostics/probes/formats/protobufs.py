"""Files that are one protobuf message: ONNX (onnx/onnx.proto), TensorFlow's saved_model.pb, sentencepiece models. Fields are walked by their lengths, values skipped.

The wire format (https://protobuf.dev/programming-guides/encoding/) has no end mark: a file is whole where its last field ends with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from diagnostics.probes.formats.reading import Broken, Bytes, Cursor, EndOfFile, Look, Need, Tensor, damaged, promised, zero_filled, zeros_from
from diagnostics.redact import plain

MOST_FIELDS = 3_000_000
MOST_TEXT = 4096
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_ONNX_TYPES = {1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 9: "BOOL", 10: "F16", 11: "F64", 16: "BF16"}


class Field(NamedTuple):
    """One field: of VARINT its value, of BYTES where its content begins and ends."""

    number: int
    wire: int
    value: int
    begin: int
    end: int


def fields(cursor: Cursor) -> Iterator[Field]:
    """The fields up to the cursor's end. Contents are skipped. Raises EndOfFile, Broken."""
    while cursor.at < cursor.end:
        key = cursor.varint()
        number, wire = key >> 3, key & 7
        begin, value = cursor.at, 0
        if number == 0:
            raise Broken(f"there is no field 0, at byte {cursor.at - 1}")
        if wire == VARINT:
            value = cursor.varint()
        elif wire == BYTES:
            length = cursor.varint()
            begin = cursor.at
            cursor.skip(length)
        elif wire in (FIXED64, FIXED32):
            cursor.skip(8 if wire == FIXED64 else 4)
        else:
            raise Broken(f"there is no field of kind {wire}, at byte {cursor.at - 1}")
        yield Field(number, wire, value, begin, cursor.at)


def look_at_protobuf(file: Bytes, content: str = "protobuf") -> Look:
    """Any message: whether its fields fill the file."""
    return _guarded(file, content, lambda: _walk(file, content))


def _walk(file: Bytes, content: str) -> Look:
    for count, _ in enumerate(fields(Cursor(file))):
        if count > MOST_FIELDS:
            break
    return Look(content)


def look_at_sentencepiece(file: Bytes) -> Look:
    """sentencepiece_model.proto: pieces (1), trainer_spec (2), normalizer_spec (3). ``facts`` tells how many pieces."""

    def read() -> Look:
        counts: dict[int, int] = {}
        for field in fields(Cursor(file)):
            counts[field.number] = counts.get(field.number, 0) + 1
        if 2 not in counts and 3 not in counts:  # the writer puts them behind the pieces
            return Look("sentencepiece", (promised(file, file.size + 1, "its trainer's and normaliser's parts are not there: at least"),))
        return Look("sentencepiece", facts={"pieces": str(counts.get(1, 0))})

    return _guarded(file, "sentencepiece", read)


def _guarded(file: Bytes, content: str, read: Callable[[], Look]) -> Look:
    try:
        return read()
    except EndOfFile as end:
        start = zeros_from(file)
        if start is not None and file.size - start >= 1024:
            return Look(content, (zero_filled(start, file.size),))
        if end.need > file.size * 64 + (1 << 32):
            return Look(content, (damaged("a length in it is more than such a file has"),))
        return Look(content, (promised(file, end.need, "a field of it ends at"),))
    except Broken as broken:
        start = zeros_from(file)
        if start is not None and file.size - start >= 1024:
            return Look(content, (zero_filled(start, file.size),))
        return Look(content, (damaged(str(broken)),))


# --- ONNX -------------------------------------------------------------------------------------------------------------------


def look_at_onnx(file: Bytes) -> Look:
    """ModelProto: its graph's initializers, and the files in which their data lie outside (``external_data``: location, offset, length)."""
    return _guarded(file, "onnx", lambda: _onnx(file))


def _onnx(file: Bytes) -> Look:
    tensors: dict[str, Tensor] = {}
    outside: dict[str, int] = {}
    graphs = 0
    for field in list(fields(Cursor(file))):
        if field.number == 7 and field.wire == BYTES:  # graph
            graphs += 1
            for inner in fields(Cursor(file, field.begin, field.end)):
                if inner.number == 5 and inner.wire == BYTES:  # initializer
                    _initializer(file, inner, tensors, outside)
    if not graphs:
        raise Broken("there is no graph in it")
    needs = tuple(Need(path, size) for path, size in sorted(outside.items()))
    return Look("onnx", tensors=tensors, needs=needs)


def _initializer(file: Bytes, place: Field, tensors: dict[str, Tensor], outside: dict[str, int]) -> None:
    """TensorProto: dims 1, data_type 2, name 8, external_data 13, data_location 14."""
    shape: list[int] = []
    kind, name, entries, external = 0, "", {}, False
    for field in fields(Cursor(file, place.begin, place.end)):
        if field.number == 1:
            shape += [field.value] if field.wire == VARINT else _packed(file, field)
        elif field.number == 2:
            kind = field.value
        elif field.number == 8:
            name = _text(file, field)
        elif field.number == 13 and field.wire == BYTES:
            key, value = _entry(file, field)
            entries[key] = value
        elif field.number == 14:
            external = field.value == 1
    tensors[name] = Tensor(tuple(shape[:16]), _ONNX_TYPES.get(kind, str(kind)))
    if external and (location := entries.get("location", "")):
        offset, length = (int(entries[key]) if entries.get(key, "").isdigit() and len(entries[key]) < 18 else 0 for key in ("offset", "length"))
        outside[location] = max(outside.get(location, 0), offset + length)


def _packed(file: Bytes, field: Field) -> list[int]:
    cursor = Cursor(file, field.begin, field.end)
    found: list[int] = []
    while cursor.at < cursor.end and len(found) < 16:
        found.append(cursor.varint())
    return found


def _entry(file: Bytes, place: Field) -> tuple[str, str]:
    parts = {field.number: _text(file, field) for field in fields(Cursor(file, place.begin, place.end)) if field.wire == BYTES}
    return parts.get(1, ""), parts.get(2, "")


def _text(file: Bytes, field: Field) -> str:
    return plain(file.read(field.begin, min(field.end - field.begin, MOST_TEXT)), 500)
