"""What is known of an unfinished file, in a journal beside it: whose bytes they are, and which of them are there.

A line is added behind each piece written. ``w`` is for bytes handed to the operating system: they outlive our process, so they count as long as the machine was not
started anew. ``s`` is for bytes that were on the disk (fdatasync) before the line was written: they always count. No address is in it, only what it hashes to.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

from diagnostics.case import Published, record
from diagnostics.transfer.ranges import Ranges, joined, within
from diagnostics.transfer.records import Wanted

VERSION = 1
MOST_BYTES = 64 << 20
LARGEST = 1 << 60


@record
class Identity:
    """Whose bytes these are. ``etag`` is a strong validator, ``modified`` a Last-Modified that may serve as one (RFC 9110 §8.8); "" for none."""

    source: str = ""
    etag: str = ""
    modified: str = ""
    size: int | None = None
    digest: str = ""

    @property
    def validator(self) -> str:
        """What If-Range asks with (RFC 9110 §13.1.5)."""
        return self.etag or self.modified

    @property
    def provable(self) -> bool:
        """Whether pieces fetched at different times can be shown to belong together."""
        return bool(self.validator or self.digest)


@record
class Journal:
    identity: Identity
    here: Ranges


def source_of(url: str) -> str:
    """A name for an address that does not give it away; the query is left out: a signature changes with every request."""
    parts = urlsplit(url)
    return hashlib.sha256(f"{parts.scheme}://{parts.hostname}:{parts.port}{parts.path}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def digest_of(wanted: Wanted) -> str:
    return f"{wanted.digest.algorithm}:{wanted.digest.value}" if isinstance(wanted.digest, Published) else ""


def head(identity: Identity, boot: str) -> bytes:
    """The first line."""
    about = {"version": VERSION, "boot": boot, "source": identity.source, "etag": identity.etag, "modified": identity.modified}
    return json.dumps({**about, "size": identity.size, "digest": identity.digest}).encode("ascii") + b"\n"


def lines(kind: str, ranges: Ranges) -> bytes:
    return b"".join(b"%s %d %d\n" % (kind.encode("ascii"), start, end) for start, end in ranges)


def parse(data: bytes, boot: str, file_size: int) -> Journal | None:
    """What a journal says of a file that is ``file_size`` bytes long now; None for what is no journal of ours. A line that was torn counts for nothing."""
    first, _, rest = data.partition(b"\n")
    try:
        about = json.loads(first)
    except (ValueError, RecursionError):
        return None
    if not isinstance(about, dict) or about.get("version") != VERSION:
        return None
    trusted = (b"w", b"s") if boot and about.get("boot") == boot else (b"s",)
    marks = (_mark(line) for line in rest.split(b"\n")[:-1])
    here = joined((mark[1], mark[2]) for mark in marks if mark and mark[0] in trusted)
    return Journal(identity=_identity(about), here=within(here, file_size))


def _mark(line: bytes) -> tuple[bytes, int, int] | None:
    words = line.split(b" ")
    if len(words) != 3 or words[0] not in (b"w", b"s") or not all(word.isdigit() and len(word) < 19 for word in words[1:]):
        return None
    return words[0], int(words[1]), int(words[2])


def _identity(about: dict[str, Any]) -> Identity:
    size = about.get("size")
    texts = {name: value if isinstance(value := about.get(name), str) else "" for name in ("source", "etag", "modified", "digest")}
    return Identity(size=size if isinstance(size, int) and not isinstance(size, bool) and 0 <= size < LARGEST else None, **texts)


def usable(old: Journal | None, wanted: Wanted) -> bool:
    """Whether what an earlier run left can be continued for ``wanted``: the same published digest, or the same address and a validator to ask with."""
    if old is None or (isinstance(wanted.size, int) and old.identity.size not in (None, wanted.size)):
        return False
    if (published := digest_of(wanted)) and old.identity.digest:
        return old.identity.digest == published
    return old.identity.source == source_of(wanted.url) and bool(old.identity.validator)
