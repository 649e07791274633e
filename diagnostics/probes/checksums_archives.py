"""Archives that nobody published a digest of carry checksums of their own: each record's CRC-32, in the zip directory (APPNOTE.TXT 4.4.7).

torch.load does not check them (ecosystem.md 5): a checkpoint with flipped bits loads and is wrong.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Literal

from diagnostics.case import Files, Published
from diagnostics.redact import plain

ALGORITHM: Literal["crc32"] = "crc32"
WHOLE = "as its directory says"
CONTENTS = frozenset({"torch-zip", "torchscript", "npz", "keras"})
CHUNK = 1 << 20
MOST_UNPACKED = 64  # times the record's packed size: more is no weights


def published(files: Files) -> Iterator[Published]:
    """Archives without a defect so far."""
    for seen in files.files:
        if seen.content in CONTENTS and not seen.defects:
            yield Published(path=seen.path, algorithm=ALGORITHM, value=WHOLE, source="the archive's own checksums", bytes=seen.bytes)


def verify(location: str, advance: Callable[[int], None], over: Callable[[], bool]) -> str:
    """WHOLE, or which record is another than its checksum says; "" where it was stopped, cannot be read, or has no checksums (torch can be told so)."""
    try:
        with zipfile.ZipFile(location) as archive:
            records = [record for record in archive.infolist() if record.CRC and record.file_size <= MOST_UNPACKED * max(record.compress_size, CHUNK)]
            if not records:
                return ""
            for record in records:
                found = _record(archive, record, advance, over)
                if found != WHOLE:
                    return found
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError):
        return ""
    return WHOLE


def _record(archive: zipfile.ZipFile, record: zipfile.ZipInfo, advance: Callable[[int], None], over: Callable[[], bool]) -> str:
    try:
        with archive.open(record) as member:
            while piece := member.read(CHUNK):
                advance(len(piece))
                if over():
                    return ""
    except (zipfile.BadZipFile, zlib.error):
        return f"its record {plain(record.filename, 80)} is another"
    return WHOLE
