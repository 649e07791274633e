"""JSON, gzip, and what holds no tables of its own."""

from __future__ import annotations

import json
import zlib

from diagnostics.case import Defect
from diagnostics.probes.formats.reading import Bytes, Look, zero_filled, zero_tail
from diagnostics.probes.formats.safetensors import MOST_JSON_PARSED
from diagnostics.redact import plain


def look_at_json(file: Bytes) -> Look:
    """Parsed whole up to 8 MiB; of a longer one only whether it ends as it began."""
    if file.size > MOST_JSON_PARSED:
        head, tail = file.head().lstrip(), file.tail()
        closed = tail.rstrip().endswith(b"}" if head[:1] == b"{" else b"]")
        return Look("json", () if closed else zero_tail(file) or (Defect(code="json-invalid", detail="it breaks off before its end", offset=file.size),))
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
    return Look("gzip", zero_tail(file))
