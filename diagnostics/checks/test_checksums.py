"""Checksums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostics.case import Digests, Files, Subject
from diagnostics.checks.wording import duration, fact, size

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect


def test_files_are_what_was_published(digests: Digests, here: tuple[Files, ...], expect: Expect) -> None:
    """Is every file byte for byte what was published?"""
    places = {seen.path: seen.location for files in here for seen in files.files}
    for digest in digests.checked:
        subject = Subject(kind="file", name=places.get(digest.path) or digest.path)
        seen = fact(subject, digest.algorithm, str(digest.actual), f"{digest.expected} ({digest.source})")
        copy = [fact(subject, "differs", digest.differs, f"as in {digest.copy}")] if digest.differs else []
        expect.that(digest.actual == digest.expected, "mismatch", subject, seen, fact(subject, "bytes", digest.bytes), *copy, step="digests")
    for item in digests.unreadable:
        subject = Subject(kind="file", name=places.get(item.path) or item.path)
        for defect in item.defects:
            what = fact(subject, "what it is", item.content or "a file", defect.detail)
            expect.that(False, defect.code, subject, what, fact(subject, "from byte", defect.offset), fact(subject, "bytes", item.bytes), step="files")
    if digests.unverified:
        expect.skip(
            f"{len(digests.unverified)} files ({size(digests.unverified_bytes)}) are not verified; it would take about {duration(digests.seconds_left)} (--diagnose-digests all)"
        )
    elif not digests.checked:
        expect.skip("nothing is published to compare with" if digests.unpublished else "there is no file to verify yet")
