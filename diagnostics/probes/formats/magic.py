"""What the first bytes of a file are; and what was saved in place of it: pages, pointers, error messages."""

from __future__ import annotations

import json
import re
import struct

from diagnostics.case import ABSENT, Unseen
from diagnostics.redact import plain

MOST_SAFETENSORS_HEADER = 100_000_000  # safetensors/src/tensor.rs MAX_HEADER_SIZE: the library refuses more
TORCH_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch/serialization.py MAGIC_NUMBER, pickled with protocol 2
LFS_PREFIX = b"version https://git-lfs.github.com/spec/"
_PAGE = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|meta|script)\b", re.IGNORECASE)
_XML = re.compile(rb"<(?:\?xml\b|Error>|ListBucketResult)")
_TITLE = re.compile(rb"<title[^>]*>(.{0,300}?)</title>|<Code>(.{0,200}?)</Code>", re.IGNORECASE | re.DOTALL)
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_ONNX = re.compile(rb"\x08[\x01-\x20](?:\x12|\x1a|\x22|\x28|\x32|\x3a|\x42)")  # onnx.proto ModelProto: ir_version, then one of its other fields
_SAVED_MODEL = re.compile(rb"\x08\x01\x12")  # saved_model.proto: schema version 1, then a MetaGraphDef
_PIECES = re.compile(rb"\x0a[\x03-\x7f]\x0a")  # sentencepiece_model.proto: the first piece's text
_MSGPACK_KEY = re.compile(rb"(?:[\x81-\x8f]|\xde..|\xdf....)(?:[\xa1-\xbf]|\xd9.)[\x20-\x7e]", re.DOTALL)

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (LFS_PREFIX, "lfs-pointer"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"GGUF", "gguf"),
    (b"FUGG", "gguf"),
    (b"lmgg", "ggml"),
    (b"tjgg", "ggml"),
    (b"fmgg", "ggml"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"(\xb5/\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"BZh", "bzip2"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\x93NUMPY", "npy"),
    (b"%PDF-", "pdf"),
    (b"\x89PNG", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"\x7fELF", "program"),
    (TORCH_LEGACY_MAGIC, "torch-legacy"),
)


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
    if found := _markup(head):
        return found
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if head[257:262] == b"ustar":
        return "tar"
    if head[4:8] == b"TFL3":
        return "tflite"
    return "text" if _is_text(head) else _schema(head) or "binary"


def _markup(head: bytes) -> str:
    text = as_text(head).lstrip()
    if _PAGE.match(text) or (text.startswith((b"<?xml", b"<!--")) and _PAGE.search(text)):
        return "html"
    if _XML.match(text):
        return "xml"
    return "json" if text[:1] in (b"{", b"[") else ""


def as_text(head: bytes) -> bytes:
    """Without a byte-order mark, and UTF-16 (PowerShell's ``>``) as UTF-8."""
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return head[len(mark) :].decode(encoding, "ignore").encode("utf-8", "ignore")
    return head


def _schema(head: bytes) -> str:
    """Formats without a magic number, by how they must begin."""
    if _SAVED_MODEL.match(head):
        return "protobuf"
    if _ONNX.match(head):
        return "onnx"
    if _PIECES.match(head):
        return "sentencepiece"
    return "msgpack" if _MSGPACK_KEY.match(head) else ""


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
    match = _TITLE.search(as_text(head))
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


def text_error(data: bytes) -> str:
    """A server's error in plain words ("Entry not found", "404: Not Found", "Access denied"), "" for any other text."""
    text = as_text(data).strip()
    if len(text) > 200 or b"\n" in text:
        return ""
    form = rb"(?i)(\d{3}:? )?(entry|file|page|repository|revision|object)?\s*(not found|access denied|forbidden|unauthorized|invalid (username or password|credentials).*|too many requests|bad gateway|service unavailable|internal server error|gateway time-?out|.*rate limit.*|access to (model|dataset) \S+ is restricted.*)\.?"
    return plain(text, 160) if re.fullmatch(form, text) else ""
