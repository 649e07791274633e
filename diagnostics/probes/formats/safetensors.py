"""safetensors: header length, JSON, shapes against offsets, offsets against each other, all against the size (safetensors/src/tensor.rs, ``Metadata::validate``)."""

from __future__ import annotations

import json
import re
import struct
from typing import Any, NamedTuple

from diagnostics.case import ABSENT, Defect, Unseen
from diagnostics.probes.formats.magic import MOST_SAFETENSORS_HEADER
from diagnostics.probes.formats.reading import BLOCK, MOST_HEADER_PARSED, Bytes, Look, Tensor, enough_zeros, promised, truncated, zero_filled, zeros_from
from diagnostics.redact import plain

_DTYPE = re.compile(r"(?:U|I|F|BF|C|NF)(1|2|3|4|5|6|7|8|12|16|24|32|64|128|256)(_E\dM\d[A-Z]{0,4})?")
MOST_JSON_PARSED = 8 << 20
MANY = 8  # tensors in a row that are all zero in no model

# safetensors/src/tensor.rs Dtype: bits an element
DTYPE_BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64,
}  # fmt: skip


def look_at_safetensors(file: Bytes) -> Look:
    """Header length, JSON, shapes against offsets, offsets against each other, all against the size (safetensors/src/tensor.rs, ``Metadata::validate``)."""
    length = struct.unpack("<Q", file.read(0, 8))[0]
    if length > MOST_SAFETENSORS_HEADER or length < 2:
        return _bad_header(f"the header says that it is {length} bytes long")
    if length > file.size - 8:
        if _whole_json(file.read(8, MOST_JSON_PARSED)):
            return _bad_header(f"its JSON is whole, but its length is given as {length} bytes, more than the file holds")
        return Look("safetensors", (truncated(file, f"its header alone needs {length + 8} bytes"),))
    if length > MOST_HEADER_PARSED:
        return Look("safetensors")
    header = file.read(8, length)
    if header.rstrip(b"\0") != header:
        return Look("safetensors", (zero_filled(8 + len(header.rstrip(b"\0")), file.size),))
    try:
        tensors, spans = _table(json.loads(header))
    except RecursionError:
        return _bad_header("its JSON is nested too deep")
    except UnicodeDecodeError as error:
        return _bad_header("its JSON is no UTF-8", 8 + error.start)
    except json.JSONDecodeError as error:
        return _bad_header(f"its JSON does not parse: {plain(error.msg, 80)}", 8 + error.pos)
    except ValueError as error:
        return _bad_header(str(error))
    end = 8 + length + (spans[-1].end if spans else 0)
    return Look("safetensors", _against_size(file, spans, 8 + length, end), end, tensors)


def _whole_json(data: bytes) -> bool:
    """Whether an object that is whole stands at the beginning."""
    try:
        json.JSONDecoder().raw_decode(data.decode("latin-1"))
    except (ValueError, RecursionError):
        return False
    return True


def _bad_header(detail: str, offset: int | Unseen = ABSENT) -> Look:
    return Look("safetensors", (Defect(code="safetensors-header-invalid", detail=plain(detail), offset=offset),))


class Span(NamedTuple):
    """A tensor's place behind the header, and the bytes of one of its rows (0 where it has none)."""

    begin: int
    end: int
    row: int


def _table(header: Any) -> tuple[dict[str, Tensor], list[Span]]:
    """Every tensor by name, and their places in order. Raises ValueError where they overlap, leave holes or do not fit shape and dtype."""
    if not isinstance(header, dict):
        raise ValueError("its JSON is no object")
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    spans = sorted(_tensor_span(name, entry) for name, entry in entries.items())
    at = 0
    for span in spans:
        if span.begin != at:
            raise ValueError(f"tensors {'overlap' if span.begin < at else 'leave a hole'} at byte {min(span.begin, at)} of the data")
        at = span.end
    return {name: Tensor(tuple(entry["shape"]), entry["dtype"]) for name, entry in entries.items()}, spans


def _tensor_span(name: str, entry: Any) -> Span:
    """Written out for speed: a large model has tens of thousands of tensors."""
    if not isinstance(entry, dict):
        raise _wrong(name, "its entry is no object")
    offsets, shape, dtype = entry.get("data_offsets"), entry.get("shape"), entry.get("dtype")
    if not (isinstance(offsets, list) and len(offsets) == 2 and _is_count(offsets[0]) and _is_count(offsets[1]) and offsets[0] <= offsets[1]):
        raise _wrong(name, "it has no usable data_offsets")
    if not (isinstance(shape, list) and len(shape) <= 64):
        raise _wrong(name, "it has no usable shape")
    if not isinstance(dtype, str):
        raise _wrong(name, "it has no dtype")
    count = 1
    for number in shape:
        if not _is_count(number):
            raise _wrong(name, "it has no usable shape")
        count *= number
        if count >= 1 << 63:
            raise _wrong(name, "it has more elements than can be")
    bits = DTYPE_BITS.get(dtype) or _bits_by_name(name, dtype)
    if (count * bits + 7) // 8 != offsets[1] - offsets[0]:
        raise _wrong(name, f"its shape needs {(count * bits + 7) // 8} bytes, its offsets give {offsets[1] - offsets[0]}")
    return Span(offsets[0], offsets[1], shape[-1] * bits // 8 if len(shape) > 1 else 0)


def _bits_by_name(name: str, dtype: str) -> int:
    """Bits an element of a dtype that is newer than this table, as its name says them (F4, F6_E2M3)."""
    match = _DTYPE.fullmatch(dtype)
    if match is None:
        raise _wrong(name, f"there is no dtype {plain(dtype, 20)}")
    return int(match[1])


def _wrong(name: str, what: str) -> ValueError:
    return ValueError(f"{plain(name, 80)}: {what}")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63  # no bool; JSON makes no other subclass


def _against_size(file: Bytes, spans: list[Span], data: int, end: int) -> tuple[Defect, ...]:
    if file.size < end:
        return (promised(file, end, "its header promises"),)
    if file.size > end:
        return (Defect(code="file-trailing-bytes", detail=f"{file.size - end} bytes more than its header promises", offset=end),)
    start = zeros_from(file, data)
    return (zero_filled(start, file.size),) if start is not None and _no_accident(start - data, spans, file.size - data) else ()


def _no_accident(start: int, spans: list[Span], length: int) -> bool:
    """Whether zeros from ``start`` of the data on are no tensors that are zero by right (biases, LoRA's B, padded embedding rows).

    By right they begin where a tensor or one of its rows begins, and few tensors follow, or they are the end of the last one alone; a crashed copy begins anywhere and
    takes all that follows.
    """
    if start == 0:
        return length >= BLOCK
    begin, end, row = next((span for span in spans if span.begin <= start < span.end), Span(start, start, 0))
    if end - start < 8:  # the high bytes of a small integer
        return False
    if row > 16 and length - start >= 2 * BLOCK and not _near_row(start - begin, row):
        return True
    if begin == start:
        return sum(span.begin >= start for span in spans) >= MANY and (length - start) * 4 >= length
    inside_last = end == length and (end - start) * 2 < end - begin
    return begin < start and not inside_last and enough_zeros(length, start)


def _near_row(offset: int, row: int) -> bool:
    """Whether zeros that were seen to begin at ``offset`` may begin with a row: its last numbers may end in bytes of zero themselves."""
    return (-offset) % row < 8 or offset % row < 8
