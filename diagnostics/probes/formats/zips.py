"""Zip archives (APPNOTE.TXT 4.3): torch checkpoints, NumPy's npz, Keras v3. End record, directory, local headers; of the contents only the small pickle."""

from __future__ import annotations

import io
import lzma
import re
import struct
import zipfile
import zlib
from dataclasses import replace
from math import prod

from diagnostics.case import Defect, Unseen
from diagnostics.probes.formats import pickles, torch_state
from diagnostics.probes.formats.hdf5 import SIGNATURE, look_at_hdf5
from diagnostics.probes.formats.reading import Bytes, Look, Part, Tensor, truncated, zero_filled, zeros_from
from diagnostics.probes.formats.torch_files import refused
from diagnostics.redact import plain

MOST_DIRECTORY = 16 << 20  # of an archive's central directory
MOST_PICKLE = 16 << 20
LOCAL_HEADERS_CHECKED = 64
MOST_ARRAYS = 4096
LEAST_ZEROS = 1024
INNER = {"file-truncated": "archive-damaged", "file-structure-damaged": "archive-damaged"}  # of a member: the archive itself has its length
UNREADABLE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    NotImplementedError,
    ValueError,
    struct.error,
    EOFError,
    OverflowError,
    zlib.error,
    lzma.LZMAError,
    RuntimeError,
)
_NPY = re.compile(rb"\{'descr': '([<>|=]?)([a-zA-Z])(\d{1,9})', 'fortran_order': (?:True|False), 'shape': \(([\d, L]*)\)")


def look_at_zip(file: Bytes) -> Look:
    """Whether the archive's parts are where they should be, and whether the pickle or the arrays in it fit the records."""
    end = _end_record(file)
    if end is None:
        return Look("zip", (_lost_end(file),))
    position, comment = end
    extra = file.size - position - 22 - comment
    reader = _Reader(file)
    try:
        with zipfile.ZipFile(reader) as archive:
            records = archive.infolist()
            content = _zip_content([record.filename for record in records])
            inner = _misplaced(file, records) or _inside(file, archive, records, content)
    except OSError as error:
        if error.errno is not None:
            raise
        return Look("zip", (_damaged(f"a record of it cannot be unpacked: {plain(str(error), 100)}"),))  # bz2's way to say so
    except UNREADABLE as error:
        return Look("zip", (_damaged(f"its directory cannot be read: {plain(str(error), 100)}"),))
    look = inner if isinstance(inner, Look) else Look(content, (_damaged(inner),) if inner else ())
    if extra > 0 and not look.defects:
        behind = Defect(code="file-trailing-bytes", detail=f"{extra} bytes behind the archive's end", offset=file.size - extra)
        return Look(content, (behind,), file.size - extra, look.tensors)
    return look


def _damaged(detail: str) -> Defect:
    return Defect(code="archive-damaged", detail=plain(detail))


def _lost_end(file: Bytes) -> Defect:
    start = zeros_from(file)
    filled = start is not None and file.size - start >= LEAST_ZEROS
    return zero_filled(start, file.size) if start is not None and filled else truncated(file, "a zip archive without its end record")


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


def _zip_content(names: list[str]) -> str:
    """torch-zip where torch wrote it (a pickle named data.pkl one folder down), else npz, keras or zip."""
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        return "torchscript" if any(name.endswith("/constants.pkl") for name in names) else "torch-zip"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "keras" if "config.json" in names and "metadata.json" in names else "zip"


def _misplaced(file: Bytes, records: list[zipfile.ZipInfo]) -> str:
    for record in sorted(records, key=lambda record: -record.compress_size)[:LOCAL_HEADERS_CHECKED]:
        if record.header_offset < 0 or record.header_offset + 30 + record.compress_size > file.size or file.read(record.header_offset, 4) != b"PK\x03\x04":
            return f"its record {plain(record.filename, 80)} is not where the directory says"
    return ""


def _inside(file: Bytes, archive: zipfile.ZipFile, records: list[zipfile.ZipInfo], content: str) -> Look | str:
    if content == "torch-zip":
        return _torch(archive, records)
    if content == "npz":
        return _arrays(archive, records)
    if content == "keras":
        return _keras(file, records)
    return ""


def _keras(file: Bytes, records: list[zipfile.ZipInfo]) -> Look | str:
    """Keras v3 (keras/src/saving/saving_lib.py): the weights are an HDF5 file, stored as it is."""
    if not any(record.filename.startswith("model.weights.") for record in records):
        return "it holds no model.weights.h5"
    inner = next((record for record in records if record.filename == "model.weights.h5"), None)
    if inner is None or inner.compress_type != zipfile.ZIP_STORED or inner.flag_bits & 1:
        return ""
    lengths = file.read(inner.header_offset + 26, 4)
    if len(lengths) < 4:
        return "its model.weights.h5 is not where the directory says"
    part = Part(file, inner.header_offset + 30 + sum(struct.unpack("<HH", lengths)), inner.file_size)
    if part.head()[:8] != SIGNATURE:
        return "its model.weights.h5 is no HDF5 file"
    look = look_at_hdf5(part)
    moved = tuple(replace(defect, detail=f"its model.weights.h5: {defect.detail}", offset=_behind(part.start, defect.offset)) for defect in look.defects)
    return Look("keras", tuple(replace(defect, code=INNER.get(defect.code, defect.code)) for defect in moved), tensors=look.tensors)


def _behind(start: int, offset: int | Unseen) -> int | Unseen:
    return start + offset if isinstance(offset, int) else offset


def _torch(archive: zipfile.ZipFile, records: list[zipfile.ZipInfo]) -> Look | str:
    """data.pkl (with its CRC) and the storages that it names."""
    main = next(record for record in records if record.filename.endswith("data.pkl"))
    if main.file_size > MOST_PICKLE:
        return ""
    scan = pickles.scan(_member(archive, main))
    if scan.end < 0:
        return f"its data.pkl cannot be read: {scan.error}" if scan.error != "it is longer than is read" else ""
    tensors, storages = torch_state.contents(scan.value)
    if found := refused(scan):
        return Look("torch-zip", found, tensors=tensors)
    root = main.filename.removesuffix("data.pkl")
    sizes = {record.filename: record.file_size for record in records}
    wrong = _storages_wrong(root, sizes, storages)
    return wrong or Look("torch-zip", tensors=tensors)


def _storages_wrong(root: str, sizes: dict[str, int], storages: dict[str, torch_state.Storage]) -> str:
    for key, storage in storages.items():
        name = f"{root}data/{key}"
        if name not in sizes and f"{root}tensors/{key}" not in sizes:
            return f"its pickle names the record data/{plain(key, 40)}, which is not in it"
        width = torch_state.STORAGE_BYTES.get(storage.dtype)
        if width and name in sizes and sizes[name] < storage.numel * width:
            return f"its record data/{plain(key, 40)} has {sizes[name]} bytes, its pickle needs {storage.numel * width}"
    return ""


def _member(archive: zipfile.ZipFile, record: zipfile.ZipInfo, most: int = -1) -> bytes:
    """A record's content; to its end with its CRC checked (BadZipFile), unless torch was told to write none (torch.serialization.set_crc32_options)."""
    if not record.CRC:
        record.CRC = None  # type: ignore[assignment]  # ZipExtFile checks none then
    try:
        with archive.open(record) as member:
            return member.read(most)
    except zipfile.BadZipFile as error:
        raise zipfile.BadZipFile(f"{record.filename}: {error}") from None


def _arrays(archive: zipfile.ZipFile, records: list[zipfile.ZipInfo]) -> Look | str:
    tensors = {}
    for record in records[:MOST_ARRAYS]:
        seen = npy_header(_member(archive, record, 512))
        if seen is None:
            continue
        tensor, need = seen
        if record.file_size < need:
            return f"its array {plain(record.filename, 80)} has {record.file_size} bytes and needs {need}"
        tensors[record.filename.removesuffix(".npy")] = tensor
    return Look("npz", tensors=tensors)


def npy_header(head: bytes) -> tuple[Tensor, int] | None:
    """(shape and type, bytes of the whole file) of a NumPy array (numpy/lib/format.py); None for structured and other types."""
    if not head.startswith(b"\x93NUMPY") or len(head) < 12:
        return None
    long = head[6] > 1
    begin = 12 if long else 10
    length = struct.unpack("<I" if long else "<H", head[8:begin])[0]
    match = _NPY.match(head[begin : begin + 512])
    if match is None:
        return None
    shape = tuple(int(number) for number in re.findall(rb"\d{1,18}", match[4]))
    width = int(match[3]) * (4 if match[2] == b"U" else 1)
    if len(shape) > 64 or max((*shape, 0)) >= 1 << 60 or width > 1 << 30:
        return None
    return Tensor(shape, f"{match[2].decode()}{match[3].decode()}"), begin + length + prod(shape) * width


def look_at_npy(file: Bytes) -> Look:
    """One NumPy array against its header."""
    head = file.head()
    long = len(head) > 6 and head[6] > 1
    begin = 12 if long else 10
    if len(head) < begin or file.size < begin + struct.unpack("<I" if long else "<H", head[8:begin])[0]:
        return Look("npy", (truncated(file, "its header is not whole"),))
    seen = npy_header(head)
    if seen is None:
        return Look("npy")
    tensor, need = seen
    if file.size < need:
        return Look("npy", (truncated(file, f"its header promises {need} bytes, {need - file.size} are missing"),), need, {"": tensor})
    return Look("npy", (), need, {"": tensor})
