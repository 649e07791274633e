"""What the bytes of a file are, and whether they hold together as far as lengths, tables and small checksums tell. Headers only; lengths are bounded first.

Nothing is unpickled and nothing unpacked. A reader takes an open :class:`Bytes` and returns a :class:`Look`: the content, the defects it sees, the tensors that the
format's tables name, the other files that it needs. It never raises for what is in the file (OSError of the file system passes through).
"""

from __future__ import annotations

from collections.abc import Callable

from diagnostics.probes.formats.gguf import look_at_gguf
from diagnostics.probes.formats.hdf5 import look_at_hdf5
from diagnostics.probes.formats.magic import TORCH_LEGACY_MAGIC, content_of
from diagnostics.probes.formats.msgpack import look_at_msgpack
from diagnostics.probes.formats.protobufs import look_at_onnx, look_at_protobuf, look_at_sentencepiece
from diagnostics.probes.formats.reading import Bytes, Look, Need, Tensor, zero_filled, zero_tail, zeros_from
from diagnostics.probes.formats.safetensors import look_at_safetensors
from diagnostics.probes.formats.tensorflow import look_at_index
from diagnostics.probes.formats.texts import look_at_gzip, look_at_json
from diagnostics.probes.formats.torch_files import look_at_legacy, look_at_pickle
from diagnostics.probes.formats.zips import look_at_npy, look_at_zip

__all__ = ["TORCH_LEGACY_MAGIC", "Bytes", "Look", "Need", "Tensor", "content_of", "look_at", "look_at_index"]

_READERS: dict[str, Callable[[Bytes], Look]] = {
    "safetensors": look_at_safetensors,
    "zip": look_at_zip,
    "torch-legacy": look_at_legacy,
    "pickle": look_at_pickle,
    "gguf": look_at_gguf,
    "hdf5": look_at_hdf5,
    "onnx": look_at_onnx,
    "protobuf": look_at_protobuf,
    "sentencepiece": look_at_sentencepiece,
    "msgpack": look_at_msgpack,
    "npy": look_at_npy,
    "json": look_at_json,
    "gzip": look_at_gzip,
}


def look_at(file: Bytes, head: bytes) -> Look:
    """What a file is, and its inner defects. Names play no part here."""
    content = content_of(head, file.size)
    if content == "empty":
        return Look(content)
    if content == "zeros":
        start = zeros_from(file)
        return Look("zeros" if start == 0 else "binary", (zero_filled(0, file.size),) if start == 0 else ())
    if reader := _READERS.get(content):
        return _zeroed(file, reader(file))
    return Look(content, () if content in ("html", "xml", "lfs-pointer", "text", "tar") else zero_tail(file))


def _zeroed(file: Bytes, look: Look) -> Look:
    """``look``, or that its last quarter is nothing but zeros, where that is no part of what its tables promise to end before."""
    codes = {defect.code for defect in look.defects}
    if look.content in ("safetensors", "json") or codes - {"file-truncated", "file-trailing-bytes", "file-structure-damaged"}:
        return look
    found = zero_tail(file)
    behind = bool(found) and isinstance(look.expected, int) and isinstance(found[0].offset, int) and found[0].offset >= look.expected
    return Look(look.content, found, look.expected, look.tensors, look.needs, look.facts) if found and not behind else look
