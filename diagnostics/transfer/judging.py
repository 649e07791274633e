"""What is read off an answer, and what is wrong with a file that lies still."""

from __future__ import annotations

import errno
from urllib.parse import urlsplit

from diagnostics.case import ABSENT, Published
from diagnostics.probes.files_one import examine
from diagnostics.transfer import meeting
from diagnostics.transfer.hashing import hash_of, matches
from diagnostics.transfer.records import Failure, Wanted
from diagnostics.transfer.wire import Answer

# What makes a file that nobody published a digest of no good, whatever its size.
BROKEN = frozenset({"html-instead-of-file", "lfs-pointer", "file-truncated", "file-structure-damaged", "format-unrecognised"})


def judge(path: str, wanted: Wanted, size: int | None) -> Failure | None:
    """What is wrong with it; None for nothing. By the digest where one is published, else by its own structure. Raises OSError."""
    digest = wanted.digest
    if isinstance(digest, Published):
        seen = hash_of(path, digest)
        return None if matches(digest, seen) else differs(digest, seen)
    looked = examine(wanted.name, path, size if size is not None else ABSENT)
    broken = next((defect for defect in looked.defects if defect.code in BROKEN), None)
    return Failure(reason="structure", detail=f"{broken.code}: {broken.detail}", seen=looked.content) if broken else None


def host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def known(value: object) -> int | None:
    return value if isinstance(value, int) else None


def head_of(answer: Answer) -> meeting.Seen:
    first, _, size = answer.content_range
    headers = answer.headers
    return meeting.Seen(
        status=answer.status,
        etag=headers.get("etag", ""),
        modified=headers.get("last-modified", ""),
        date=headers.get("date", ""),
        length=answer.length,
        first=first,
        size=size,
        encoding=answer.encoding,
    )


def differs(digest: Published, seen: str) -> Failure:
    shown = seen[: len(digest.value)]
    return Failure(
        reason="digest-differs", detail=f"{digest.algorithm} {shown}, published ({digest.source}): {digest.value}", expected=digest.value, seen=shown
    )


def no_room(needed: int, free: int) -> Failure:
    detail = f"{needed} bytes are needed, {max(free, 0)} are free"
    return Failure(reason="no-space", detail=detail, errno=errno.ENOSPC, expected=str(needed), seen=str(max(free, 0)))
