"""What an answer means for a file of which something may be here already: read it, begin anew, ask otherwise, or give up. Pure (RFC 9110 §13.1.5, §14, §15)."""

from __future__ import annotations

import email.utils
from dataclasses import replace
from typing import Literal

from diagnostics.case import ABSENT, Unseen, record
from diagnostics.transfer.journal import Identity
from diagnostics.transfer.records import Failure

Kind = Literal[
    "read",  # from ``at`` on
    "whole",  # the server gives no parts: the whole file follows, the same as before
    "anew",  # the whole file follows, and it is another one than before
    "restart",  # it is another one than before, and this is not its beginning
    "plainly",  # ask again without If-Range: the published digest will tell
    "complete",  # there is nothing behind what is here
    "failed",
]


@record
class Asked:
    start: int = 0
    ranged: bool = False  # a Range was sent
    conditional: bool = False  # and an If-Range


@record
class Known:
    """Of the file: what earlier answers said, and what was published."""

    identity: Identity
    published_size: int | None = None
    digest: bool = False


@record
class Seen:
    status: int
    etag: str = ""
    modified: str = ""
    date: str = ""
    length: int | Unseen = ABSENT
    first: int | Unseen = ABSENT
    size: int | Unseen = ABSENT  # of the whole, by Content-Range
    encoding: str = ""


@record
class Verdict:
    kind: Kind
    at: int = 0
    identity: Identity = Identity()
    failure: Failure | Unseen = ABSENT
    note: str = ""


def decide(asked: Asked, known: Known, seen: Seen) -> Verdict:
    """What to do with an answer to a request for ``asked``. Statuses of failure are not for here: the caller has dealt with them, but for 416."""
    if seen.status == 416:
        return _nothing_there(asked, known, seen)
    if seen.status not in (200, 206):
        return _failed("status", f"an answer {seen.status} brings no file", status=seen.status)
    if seen.encoding:
        return _failed("encoded", f"it came as {seen.encoding[:40]}, which was not asked for")
    identity = _identity(known.identity, seen)
    if isinstance(contradicted := _size_problem(known, identity.size), Failure):
        return Verdict(kind="failed", failure=contradicted, identity=identity)
    verdict = _part(asked, known, seen, identity) if seen.status == 206 else _whole(asked, known, identity)
    return replace(verdict, note=contradicted)


def _failed(reason: Literal["status", "encoded", "answer-invalid"], detail: str, status: int | Unseen = ABSENT) -> Verdict:
    return Verdict(kind="failed", failure=Failure(reason=reason, detail=detail, status=status))


def _identity(before: Identity, seen: Seen) -> Identity:
    """Whose bytes the answer brings."""
    total = seen.size if seen.status == 206 else seen.length
    return Identity(
        source=before.source,
        digest=before.digest,
        etag=strong(seen.etag),
        modified=dated(seen.modified, seen.date),
        size=total if isinstance(total, int) else None,
    )


def strong(etag: str) -> str:
    """A strong entity tag as it is sent back; "" for a weak one, or none (RFC 9110 §8.8.3)."""
    fine = len(etag) >= 2 and etag[0] == etag[-1] == '"' and len(etag) <= 500 and etag.isascii() and etag.isprintable()
    return etag if fine else ""


def dated(modified: str, date: str) -> str:
    """A Last-Modified that is a strong validator: older than the answer by a second at least, so that nothing can have changed within it (RFC 9110 §8.8.2.2)."""
    try:
        age = (email.utils.parsedate_to_datetime(date) - email.utils.parsedate_to_datetime(modified)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return ""
    return modified if age >= 1 and modified.isascii() and modified.isprintable() else ""


def _size_problem(known: Known, size: int | None) -> Failure | str:
    """The published size against what the server announces: shorter cannot be right; longer may be, where a digest decides over the published part."""
    published = known.published_size
    if published is None or size is None or size == published:
        return ""
    if size > published and known.digest:
        return f"the server announces {size} bytes where {published} were published: only those were read"
    return Failure(reason="size-differs", detail=f"{published} bytes were published, the server has {size}", expected=str(published), seen=str(size))


def _changed(before: Identity, after: Identity) -> bool:
    """Whether the server has another file now, as far as both answers tell."""
    if before.size is not None and after.size is not None and before.size != after.size:
        return True
    if before.etag and after.etag:
        return before.etag != after.etag
    return bool(before.modified and after.modified and before.modified != after.modified)


def _part(asked: Asked, known: Known, seen: Seen, identity: Identity) -> Verdict:
    """206: of the very bytes that were asked for."""
    merged = _merged(known.identity, identity)
    if not asked.ranged or seen.first != asked.start:
        return _failed(
            "answer-invalid", f"bytes from {asked.start} on were asked for, a part from {seen.first if isinstance(seen.first, int) else '?'} on came"
        )
    if _changed(known.identity, identity) and not (known.digest and known.identity.size in (None, identity.size)):
        return Verdict(kind="restart", identity=identity)
    return Verdict(kind="read", at=asked.start, identity=merged)


def _whole(asked: Asked, known: Known, identity: Identity) -> Verdict:
    """200: the whole file, asked for or not."""
    before = known.identity
    if not asked.ranged:
        same: Kind = "read" if asked.start == 0 else "whole" if known.digest or _shown_same(before, identity) else "anew"
        return Verdict(kind="anew" if _changed(before, identity) else same, identity=_merged(before, identity))
    if not _changed(before, identity) and (known.digest or _shown_same(before, identity)):
        return Verdict(kind="whole", identity=_merged(before, identity))
    if asked.conditional and known.digest and before.size in (None, identity.size):
        return Verdict(kind="plainly", identity=before)  # servers behind one name may each have a tag of their own for the same file
    return Verdict(kind="anew", identity=identity)


def _shown_same(before: Identity, after: Identity) -> bool:
    return bool((before.etag and before.etag == after.etag) or (before.modified and before.modified == after.modified))


def _merged(before: Identity, after: Identity) -> Identity:
    """``after``, with what only earlier answers said."""
    return replace(
        after, etag=after.etag or before.etag, modified=after.modified or before.modified, size=after.size if after.size is not None else before.size
    )


def _nothing_there(asked: Asked, known: Known, seen: Seen) -> Verdict:
    """416: the file ends where we went on, or it became shorter."""
    if isinstance(seen.size, int) and seen.size == asked.start and known.published_size in (None, seen.size) and known.identity.size in (None, seen.size):
        return Verdict(kind="complete", identity=replace(known.identity, size=seen.size))
    if asked.start > 0:
        return Verdict(kind="restart", identity=Identity(source=known.identity.source, digest=known.identity.digest))
    return _failed("status", "416 for the whole file", status=416)
