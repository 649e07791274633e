"""What the bytes of a file are, and whether they hold together as far as lengths and tables tell. Headers only; every length is bounded before it is believed.

Nothing is unpickled and nothing unpacked. A reader takes an open :class:`Bytes` and returns the defects it sees; it never raises for what is in the file.
"""

from __future__ import annotations

import io
import json
import os
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

from diagnostics.case import ABSENT, Defect, Unseen
from diagnostics.redact import plain

HEAD_BYTES = 4096
BLOCK = 4096
MOST_SAFETENSORS_HEADER = 100_000_000  # safetensors/src/tensor.rs MAX_HEADER_SIZE: the library refuses more
MOST_JSON_PARSED = 8 << 20
MOST_HEADER_PARSED = 32 << 20
MOST_DIRECTORY = 16 << 20  # of a zip archive's central directory
LOCAL_HEADERS_CHECKED = 64
TORCH_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch/serialization.py MAGIC_NUMBER, pickled with protocol 2
LFS_PREFIX = b"version https://git-lfs.github.com/spec/"
_PAGE = re.compile(rb"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_XML = re.compile(rb"<(?:\?xml\b|Error>|ListBucketResult)")
_TITLE = re.compile(rb"<title[^>]*>(.{0,300}?)</title>|<Code>(.{0,200}?)</Code>", re.IGNORECASE | re.DOTALL)

# safetensors/src/tensor.rs Dtype: bits an element
DTYPE_BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64,
}  # fmt: skip

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (LFS_PREFIX, "lfs-pointer"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"GGUF", "gguf"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"(\xb5/\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\x93NUMPY", "npy"),
    (b"%PDF-", "pdf"),
    (b"\x89PNG", "image"),
    (b"\xff\xd8\xff", "image"),
    (TORCH_LEGACY_MAGIC, "torch-legacy"),
)


class Bytes:
    """An open file that is only read in short pieces. ``read`` counts what it brought."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor, self.size, self.read_bytes = descriptor, size, 0

    def read(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes from ``offset``. Raises OSError as the file system does."""
        data = _read_at(self.descriptor, max(0, min(count, self.size - offset)), offset)
        self.read_bytes += len(data)
        return data

    def head(self) -> bytes:
        return self.read(0, HEAD_BYTES)

    def tail(self, count: int = BLOCK) -> bytes:
        return self.read(max(0, self.size - count), count)


def _read_at(descriptor: int, count: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)  # Windows
    return os.read(descriptor, count)


@dataclass(frozen=True)
class Look:
    """What one file's bytes are, and what is wrong with them. ``expected`` is its true size where the format tells."""

    content: str
    defects: tuple[Defect, ...] = ()
    expected: int | Unseen = ABSENT


def content_of(head: bytes, size: int) -> str:
    """The kind of the first bytes: empty, zeros, lfs-pointer, zip, pickle, torch-legacy, safetensors, gguf, hdf5, gzip, html, xml, json, text, binary …"""
    if not size:
        return "empty"
    if not head.strip(b"\0"):
        return "zeros"
    if found := next((kind for magic, kind in _MAGIC if head.startswith(magic)), ""):
        return found
    if _is_safetensors(head, size):
        return "safetensors"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _PAGE.match(text) or (text.startswith((b"<?xml", b"<!--")) and _PAGE.search(text)):
        return "html"
    if _XML.match(text):
        return "xml"
    if text[:1] in (b"{", b"["):
        return "json"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if head[257:262] == b"ustar":
        return "tar"
    return "text" if _is_text(head) else "binary"


def _is_safetensors(head: bytes, size: int) -> bool:
    """Eight bytes of length and a JSON object (safetensors README, “Format”); also where the length or the brace is damaged but the header shows."""
    if len(head) < 9:
        return False
    length = struct.unpack("<Q", head[:8])[0]
    if head[8:9] == b"{" and 2 <= length <= MOST_SAFETENSORS_HEADER:
        return True
    return b'"data_offsets"' in head and b'"dtype"' in head and head.lstrip()[:1] not in (b"{", b"[")


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not merely cut in the middle of a character
            return False
        text = head[: error.start].decode("utf-8")
    return not any(ord(char) < 32 and char not in "\t\n\r\f\x1b" for char in text)


def page_title(head: bytes) -> str:
    """The title of a page, or the code of a storage's XML error."""
    match = _TITLE.search(head)
    return plain(b" ".join((match[1] or match[2] or b"").split()), 120) if match else ""


def lfs_pointer(head: bytes) -> tuple[str, int | Unseen]:
    """(sha256, true size) of a git-lfs pointer (git-lfs docs/spec.md); ("", ABSENT) for what it does not say."""
    oid = re.search(rb"^oid sha256:([0-9a-f]{64})\s*$", head, re.MULTILINE)
    size = re.search(rb"^size (\d{1,18})\s*$", head, re.MULTILINE)
    return oid[1].decode() if oid else "", int(size[1]) if size else ABSENT


def json_error(data: bytes) -> str:
    """The message of a server's JSON error, "" for any other JSON. Only a small object that speaks of nothing but an error counts."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(value, dict) or not value or len(value) > 6:
        return ""
    said = next((value[key] for key in ("error", "message", "detail", "errors") if isinstance(value.get(key), str | list | dict) and value.get(key)), None)
    known = {"error", "message", "detail", "errors", "code", "status", "statusCode", "error_code", "requestId", "request_id", "timestamp", "path", "success"}
    return plain(said if isinstance(said, str) else json.dumps(said), 160) if said is not None and set(value) <= known else ""


# --- zeros ------------------------------------------------------------------------------------------------------------------


def zeros_from(file: Bytes, start: int = 0) -> int | None:
    """The offset from which a file is nothing but zeros to its end, as a few samples show; None where its last block is not zero.

    A preallocated or crashed copy is one run of zeros; its beginning is found by halving, then checked by samples. Offsets are exact to one byte.
    """
    if file.size <= start or file.tail().strip(b"\0"):
        return None
    low, high = start, max(start, file.size - BLOCK)  # high: known to be zeros from here on
    step = BLOCK
    while high > low:
        probe = max(low, high - step)
        if file.read(probe, BLOCK).strip(b"\0"):
            low = probe
            break
        high, step = probe, step * 2
    while high - low > BLOCK:
        middle = (low + high) // 2
        if file.read(middle, BLOCK).strip(b"\0"):
            low = middle
        else:
            high = middle
    first = _first_zero(file, max(start, high - BLOCK), high)
    return first if _all_zeros(file, first) else None


def _first_zero(file: Bytes, low: int, high: int) -> int:
    block = file.read(low, high - low)
    return low + len(block.rstrip(b"\0"))


def _all_zeros(file: Bytes, start: int) -> bool:
    """Whether 32 samples between ``start`` and the end are zeros."""
    length = file.size - start
    return not any(file.read(start + length * step // 32, 512).strip(b"\0") for step in range(32))


def enough_zeros(size: int, start: int) -> bool:
    """Whether a run of zeros from ``start`` is too long to be an accident: a quarter of the file, or 1 MiB; a block at least."""
    return size - start >= max(BLOCK, min(size // 4, 1 << 20))


def zero_filled(start: int, size: int) -> Defect:
    return Defect(code="file-zero-filled", detail=f"only zeros from byte {start} to its end ({size - start} bytes)", offset=start)


# --- safetensors ------------------------------------------------------------------------------------------------------------


def look_at_safetensors(file: Bytes) -> Look:
    """Header length, JSON, shapes against offsets, offsets against each other, all against the size (safetensors/src/tensor.rs, ``Metadata::validate``)."""
    length = struct.unpack("<Q", file.read(0, 8))[0]
    if length > MOST_SAFETENSORS_HEADER or length < 2:
        return _bad_header(f"the header says that it is {length} bytes long")
    if length > file.size - 8:
        if _whole_json(file.read(8, MOST_JSON_PARSED)):
            return _bad_header(f"its JSON is whole, but its length is given as {length} bytes, more than the file holds")
        return Look("safetensors", (Defect(code="file-truncated", detail=f"its header alone needs {length + 8} bytes", offset=file.size),))
    if length > MOST_HEADER_PARSED:
        return Look("safetensors")
    header = file.read(8, length)
    if header.rstrip(b"\0") != header:
        return Look("safetensors", (zero_filled(8 + len(header.rstrip(b"\0")), file.size),))
    try:
        spans = _tensor_spans(json.loads(header))
    except RecursionError:
        return _bad_header("its JSON is nested too deep")
    except UnicodeDecodeError as error:
        return _bad_header("its JSON is no UTF-8", 8 + error.start)
    except json.JSONDecodeError as error:
        return _bad_header(f"its JSON does not parse: {plain(error.msg, 80)}", 8 + error.pos)
    except ValueError as error:
        return _bad_header(str(error))
    end = 8 + length + (spans[-1][1] if spans else 0)
    return Look("safetensors", _against_size(file, spans, 8 + length, end), end)


def _whole_json(data: bytes) -> bool:
    """Whether an object that is whole stands at the beginning."""
    try:
        json.JSONDecoder().raw_decode(data.decode("latin-1"))
    except (ValueError, RecursionError):
        return False
    return True


def _bad_header(detail: str, offset: int | Unseen = ABSENT) -> Look:
    return Look("safetensors", (Defect(code="safetensors-header-invalid", detail=plain(detail), offset=offset),))


def _tensor_spans(header: Any) -> list[tuple[int, int]]:
    """(begin, end) of every tensor behind the header, in order. Raises ValueError where they overlap, leave holes or do not fit shape and dtype."""
    if not isinstance(header, dict):
        raise ValueError("its JSON is no object")
    spans = sorted(_tensor_span(name, entry) for name, entry in header.items() if name != "__metadata__")
    at = 0
    for begin, end in spans:
        if begin != at:
            raise ValueError(f"tensors {'overlap' if begin < at else 'leave a hole'} at byte {min(begin, at)} of the data")
        at = end
    return spans


def _tensor_span(name: str, entry: Any) -> tuple[int, int]:
    shown = plain(name, 80)
    if not isinstance(entry, dict):
        raise ValueError(f"the entry of {shown} is no object")
    offsets, shape = entry.get("data_offsets"), entry.get("shape")
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(_is_count(number) for number in offsets) and offsets[0] <= offsets[1]):
        raise ValueError(f"{shown} has no usable data_offsets")
    if not (isinstance(shape, list) and len(shape) <= 64 and all(_is_count(number) for number in shape)):
        raise ValueError(f"{shown} has no usable shape")
    bits = DTYPE_BITS.get(entry["dtype"]) if isinstance(entry.get("dtype"), str) else None
    if not isinstance(entry.get("dtype"), str):
        raise ValueError(f"{shown} has no dtype")
    if bits is not None:  # a dtype newer than this table is taken at its word
        count = 1
        for number in shape:
            count *= number
            if count >= 1 << 63:
                raise ValueError(f"{shown} has more elements than can be")
        if (count * bits + 7) // 8 != offsets[1] - offsets[0]:
            raise ValueError(f"{shown}: its shape needs {(count * bits + 7) // 8} bytes, its offsets give {offsets[1] - offsets[0]}")
    return offsets[0], offsets[1]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _against_size(file: Bytes, spans: list[tuple[int, int]], data: int, end: int) -> tuple[Defect, ...]:
    if file.size < end:
        return (Defect(code="file-truncated", detail=f"its header promises {end} bytes, {end - file.size} are missing", offset=file.size),)
    if file.size > end:
        return (Defect(code="file-trailing-bytes", detail=f"{file.size - end} bytes more than its header promises", offset=end),)
    start = zeros_from(file, data)
    return (zero_filled(start, file.size),) if start is not None and _no_accident(start - data, spans, file.size - data) else ()


def _no_accident(start: int, spans: list[tuple[int, int]], length: int) -> bool:
    """Whether zeros from ``start`` of the data on are no tensors that are zero by right (biases, LoRA's B, padded embedding rows).

    By right they begin where a tensor begins, or are the end of the last one alone; a crashed copy begins anywhere and takes all that follows.
    """
    if start == 0:
        return length >= BLOCK
    begin, end = next((span for span in spans if span[0] <= start < span[1]), (start, start))
    if end - start < 8:  # the high bytes of a small integer
        begin = start = end
    inside_last = end == length and (end - start) * 2 < end - begin
    return begin < start and not inside_last and enough_zeros(length, start)


# --- zip: torch, npz, keras -------------------------------------------------------------------------------------------------


def look_at_zip(file: Bytes) -> Look:
    """End record, directory, and the local header of each of the first records (APPNOTE.TXT 4.3). Records' contents are not read."""
    end = _end_record(file)
    if end is None:
        start = zeros_from(file)
        lost = (
            zero_filled(start, file.size)
            if start is not None
            else Defect(code="file-truncated", detail="a zip archive without its end record", offset=file.size)
        )
        return Look("zip", (lost,))
    position, comment = end
    extra = file.size - position - 22 - comment
    try:
        records = _records(file)
        content = _zip_content([record.filename for record in records])
        wrong = _misplaced(file, records)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, ValueError, struct.error, EOFError, OverflowError) as error:
        return Look("zip", (Defect(code="archive-damaged", detail=f"its directory cannot be read: {plain(str(error), 100)}"),))
    if wrong:
        return Look(content, (Defect(code="archive-damaged", detail=wrong),))
    if extra > 0:
        return Look(
            content, (Defect(code="file-trailing-bytes", detail=f"{extra} bytes behind the archive's end", offset=file.size - extra),), file.size - extra
        )
    return Look(content)


def _end_record(file: Bytes) -> tuple[int, int] | None:
    """(position, length of the comment) of the end-of-central-directory record."""
    tail = file.tail(65_557)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        return None
    return file.size - len(tail) + at, struct.unpack("<H", tail[at + 20 : at + 22])[0]


class _Reader(io.RawIOBase):
    """Just enough of a file object for ``zipfile``, with a ceiling on what one directory may make it read."""

    def __init__(self, file: Bytes) -> None:
        self.file, self.at = file, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.file.size)[whence]
        if self.at < 0:
            raise ValueError("an offset before the file")
        return self.at

    def read(self, count: int = -1) -> bytes:
        wanted = self.file.size - self.at if count is None or count < 0 else count
        if wanted > MOST_DIRECTORY:
            raise ValueError("its directory is too large to be one")
        data = self.file.read(self.at, wanted)
        self.at += len(data)
        return data


def _records(file: Bytes) -> list[zipfile.ZipInfo]:
    with zipfile.ZipFile(_Reader(file)) as archive:
        return archive.infolist()


def _zip_content(names: list[str]) -> str:
    """torch-zip where torch wrote it (a pickle named data.pkl one folder down), else npz, keras or zip."""
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        return "torch-zip"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "keras" if "config.json" in names and "metadata.json" in names else "zip"


def _misplaced(file: Bytes, records: list[zipfile.ZipInfo]) -> str:
    for record in sorted(records, key=lambda record: -record.compress_size)[:LOCAL_HEADERS_CHECKED]:
        if record.header_offset < 0 or record.header_offset + 30 + record.compress_size > file.size or file.read(record.header_offset, 4) != b"PK\x03\x04":
            return f"its record {plain(record.filename, 80)} is not where the directory says"
    return ""


# --- others -----------------------------------------------------------------------------------------------------------------


def look_at_hdf5(file: Bytes) -> Look:
    """The end-of-file address in the superblock (HDF5 File Format Specification 3.0, II.A) against the size."""
    head = file.head()
    if len(head) < 48:
        return Look("hdf5", (Defect(code="file-truncated", detail="its superblock is not whole", offset=file.size),))
    version = head[8]
    size_of_offsets = head[13] if version < 2 else head[9]
    at = (24 if version == 0 else 28 if version == 1 else 12) + (2 * size_of_offsets)
    if version > 3 or size_of_offsets != 8 or len(head) < at + 8:
        return Look("hdf5")
    end = struct.unpack("<Q", head[at : at + 8])[0]
    if file.size < end:
        return Look(
            "hdf5", (Defect(code="file-truncated", detail=f"its superblock promises {end} bytes, {end - file.size} are missing", offset=file.size),), end
        )
    return Look("hdf5", _zero_tail(file), end)


def look_at_json(file: Bytes) -> Look:
    """Parsed whole up to 8 MiB; of a longer one only whether it ends as it began."""
    if file.size > MOST_JSON_PARSED:
        head, tail = file.head().lstrip(), file.tail()
        closed = tail.rstrip().endswith(b"}" if head[:1] == b"{" else b"]")
        return Look("json", () if closed else _zero_tail(file) or (Defect(code="json-invalid", detail="it breaks off before its end", offset=file.size),))
    data = file.read(0, file.size)
    if data.rstrip(b"\0") != data:
        return Look("json", (zero_filled(len(data.rstrip(b"\0")), file.size),))
    if data.startswith(b"\xef\xbb\xbf"):
        return Look("json", (Defect(code="json-invalid", detail="it begins with a byte-order mark, which no loader takes", offset=0),))
    try:
        json.loads(data.decode("utf-8"))
    except RecursionError:
        return Look("json", (Defect(code="json-invalid", detail="it is nested too deep"),))
    except UnicodeDecodeError as error:
        return Look("json", (Defect(code="json-invalid", detail="it is no UTF-8", offset=error.start),))
    except json.JSONDecodeError as error:
        return Look("json", (Defect(code="json-invalid", detail=f"{plain(error.msg, 80)}: line {error.lineno} column {error.colno}", offset=error.pos),))
    except ValueError:  # an integer of more digits than Python takes (PYTHONINTMAXSTRDIGITS)
        return Look("json", (Defect(code="json-invalid", detail="a number in it is too long"),))
    return Look("json")


def look_at_gzip(file: Bytes) -> Look:
    """The member's header (RFC 1952); its content is not unpacked."""
    try:
        zlib.decompressobj(wbits=31).decompress(file.head(), 1)
    except zlib.error:
        return Look("gzip", (Defect(code="archive-damaged", detail="its first block does not unpack"),))
    return Look("gzip", _zero_tail(file))


def _zero_tail(file: Bytes) -> tuple[Defect, ...]:
    """A last quarter of zeros: less may be right in a format whose tables are not read here (an optimizer's empty slots)."""
    start = zeros_from(file)
    return (zero_filled(start, file.size),) if start is not None and file.size - start >= max(BLOCK, file.size // 4) else ()


def look_at(file: Bytes, head: bytes) -> Look:
    """What a file is, and its inner defects. Names play no part here."""
    content = content_of(head, file.size)
    if content == "empty":
        return Look(content)
    if content == "zeros":
        start = zeros_from(file)
        return Look("zeros" if start == 0 else "binary", (zero_filled(0, file.size),) if start == 0 else ())
    readers = {"safetensors": look_at_safetensors, "zip": look_at_zip, "hdf5": look_at_hdf5, "json": look_at_json, "gzip": look_at_gzip}
    if reader := readers.get(content):
        return reader(file)
    return Look(content, () if content in ("html", "xml", "lfs-pointer", "text", "npy", "tar") else _zero_tail(file))
