"""What came of a transfer, in words. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from diagnostics import redact
from diagnostics.case import Unseen
from diagnostics.redact import plain
from diagnostics.transfer.progress import shown_bytes
from diagnostics.transfer.records import Failure, Outcome

WORDS = {
    "status": "the server answers {detail}",
    "name": "the name {host} does not resolve: {detail}",
    "connection": "no connection to {host}: {detail}",
    "timed-out": "{host} says nothing: {detail}",
    "tls": "no TLS with {host}: {detail}",
    "certificate": "the certificate of {host} is not trusted: {detail}",
    "proxy": "the proxy {host} does not let it through: {detail}",
    "redirect-refused": "a redirect was not followed: {detail}",
    "answer-invalid": "the server's answer makes no sense: {detail}",
    "encoded": "the server compresses what has to come as it is: {detail}",
    "cut": "the connection ended early, again and again: {detail}",
    "size-differs": "the server has another file than was published: {detail}",
    "digest-differs": "the bytes are not those that were published: {detail}",
    "structure": "what came is not the file: {detail}",
    "changed": "{detail}",
    "endless": "{detail}",
    "no-space": "no room on the disk: {detail}",
    "disk": "the file cannot be written: {detail}",
    "name-unsafe": "its name may not be used: {detail}",
    "busy": "another process is fetching it: {detail}",
}
# Of this machine's folder, or of the file itself: no look at the network could say more.
OF_HERE = frozenset({"no-space", "disk", "name-unsafe", "busy", "changed", "endless"})


def reason(failure: Failure) -> str:
    """One line."""
    return plain(WORDS[failure.reason].format(detail=failure.detail or failure.exception or "no reason was given", host=failure.host or "the server"), 400)


def lines(outcomes: Iterable[Outcome], folder: str, seconds: float) -> Iterator[str]:
    """Each failure with its reason, what was put aside, what there is to note, and the sum."""
    outcomes = tuple(outcomes)
    for outcome in outcomes:
        yield from _about(outcome)
    yield _sum(outcomes, folder, seconds)


def _about(outcome: Outcome) -> Iterator[str]:
    name = plain(outcome.name, 120)
    if outcome.failure:
        yield f"✗ {name}: {reason(outcome.failure)}"
        if outcome.failure.kept:
            yield f"  the wrong bytes are kept: {redact.path(outcome.failure.kept)}"
    if outcome.replaced:
        yield f"  {name}: what lay there is kept as {plain(os.path.basename(outcome.replaced), 200)}"
    for note in outcome.notes:
        yield f"  {name}: {plain(note, 300)}"


def _sum(outcomes: tuple[Outcome, ...], folder: str, seconds: float) -> str:
    counts = {kind: sum(outcome.outcome == kind for outcome in outcomes) for kind in ("fetched", "continued", "already_here", "failed")}
    words = {"fetched": "fetched", "continued": "continued", "already_here": "here already", "failed": "failed"}
    said = ", ".join(f"{count} {words[kind]}" for kind, count in counts.items() if count)
    size = sum(outcome.bytes for outcome in outcomes if isinstance(outcome.bytes, int) and outcome.outcome != "failed")
    unproven = sum(outcome.outcome != "failed" and outcome.verified != "digest" for outcome in outcomes)
    doubt = f"; of {unproven} no digest is published" if unproven else ""
    return f"{said}: {shown_bytes(size)} in {redact.path(folder)}, {seconds:.1f} s{doubt}"


def total_size(sizes: Iterable[int | Unseen]) -> int | None:
    """The sum, where every size is known."""
    known = list(sizes)
    return sum(size for size in known if isinstance(size, int)) if all(isinstance(size, int) for size in known) else None
