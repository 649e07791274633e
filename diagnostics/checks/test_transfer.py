"""The bytes themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostics.case import Body, Files, Journey, Listing, Published, RemoteFile, Unseen
from diagnostics.checks.wording import destination, duration, fact, size

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect

PRACTICAL_SECONDS = 3600.0
ENOUGH_SAMPLE_SECONDS = 1.0


def test_bytes_keep_coming(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Do the bytes keep coming, to the end?"""
    for leg, body in expect.reached(journeys, "body"):
        subject = destination(leg)
        expected = f"{body.expected} bytes" if isinstance(body.expected, int) else "the whole content"
        seen = [fact(subject, f"content of {leg.url}", f"{body.outcome} after {body.bytes} bytes", expected)]
        seen += [fact(subject, "silence", duration(body.stalled_seconds), "bytes")] if body.outcome == "stalled" else []
        seen += [fact(subject, "content encoding", body.encoding)] if body.encoding and body.outcome == "invalid" else []
        seen += [fact(subject, "it broke with", body.message)] if body.message else []
        expect.that(body.outcome in ("complete", "sampled"), body.outcome, subject, *seen)


def test_bytes_are_those_published(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Are the bytes that arrive those that were published?"""
    for journey in journeys:
        for leg, body in expect.reached([journey], "body"):
            published = journey.published
            if isinstance(published, Published) and body.outcome == "complete" and not _somebody_elses_page(journey, body):
                subject = destination(leg)
                actual = body.git_sha1 if published.algorithm == "git-sha1" else body.sha256
                came = body.content_bytes if isinstance(body.content_bytes, int) else body.bytes
                wanted = f"{published.bytes} ({published.source})" if isinstance(published.bytes, int) else ""
                seen = [fact(subject, f"size of {journey.path}", came, wanted)]
                if isinstance(published.bytes, int) and came < published.bytes:
                    expect.that(False, "short", subject, *seen)
                elif published.algorithm in ("sha256", "git-sha1") and isinstance(actual, str):
                    digest = fact(subject, f"{published.algorithm} of {journey.path}", actual, f"{published.value} ({published.source})")
                    expect.that(actual.startswith(published.value), "digest", subject, digest, *seen)
    if not expect.examined and not expect.blocked:
        expect.skip("no file was small enough to be read whole, or none has a published digest")


def _somebody_elses_page(journey: Journey, body: Body) -> bool:
    """A web page in the place of a file is another check's question."""
    return body.content == "html" and not journey.path.endswith((".html", ".htm"))


def test_bytes_come_fast_enough(journeys: tuple[Journey, ...], listing: Listing | Unseen, files: Files | Unseen, expect: Expect) -> None:
    """Is the link fast enough for what is still to come?"""
    wanted = _bytes_to_come(listing, files)
    for leg, body in expect.reached(journeys, "body"):
        if wanted and isinstance(body.bytes_per_second, float) and body.seconds >= ENOUGH_SAMPLE_SECONDS and body.outcome in ("complete", "sampled"):
            subject = destination(leg)
            seconds = wanted / body.bytes_per_second
            seen = [
                fact(subject, "rate", f"{size(body.bytes_per_second)}/s over {body.seconds:.1f} s"),
                fact(subject, "still to come", size(wanted), f"{duration(seconds)} at that rate"),
            ]
            expect.that(seconds < PRACTICAL_SECONDS, "slow", subject, *seen, severity="warning")
    if not expect.examined and not expect.blocked:
        expect.skip("no file was large enough to measure the rate, or nothing is still to come")


def _bytes_to_come(listing: Listing | Unseen, files: Files | Unseen) -> int:
    """Bytes of the wanted files that are not here."""
    if not isinstance(listing, Listing):
        return 0
    here = {file.path for file in files.files if not file.defects} if isinstance(files, Files) else set()
    return sum(_bytes(file) for file in listing.files if file.path in listing.wanted and file.path not in here)


def _bytes(file: RemoteFile) -> int:
    return file.bytes if isinstance(file.bytes, int) else 0
