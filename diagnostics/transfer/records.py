"""What is to be brought here, with what, within which limits, and what came of it: the records of a transfer.

Sizes are bytes, times are seconds. A URL may carry a signature: it is in no ``repr``, no log and no journal.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal, Protocol

from diagnostics.case import ABSENT, ClientUse, Environment, Published, Unseen, record
from diagnostics.redact import Secrets

MIB = 1 << 20


@record
class Wanted:
    """One file. ``name`` is its POSIX path under the target folder, and stays inside it (``listing.is_inside``; checked again before anything is written)."""

    name: str
    url: str = field(repr=False)  # as it is asked for: it may carry a signature
    size: int | Unseen = ABSENT
    digest: Published | Unseen = ABSENT
    etag: str | Unseen = ABSENT  # a strong one, where it is known before the first answer


@record
class Access:
    """By which way, trusting whom, with which credentials: as the environment says it to ``client``. ``endpoint`` is the only place the hub's token goes to."""

    environment: Environment = field(default_factory=Environment)
    secrets: Secrets = field(default_factory=Secrets, repr=False)
    client: ClientUse = field(default_factory=lambda: ClientUse(family="requests"))
    endpoint: str = field(default="", repr=False)


@record
class Limits:
    """How far a transfer goes before it gives up, and how much it takes of the machine and of a host."""

    streams: int = 8  # connections at once in all
    streams_per_host: int = 8
    segment_bytes: int = 8 * MIB  # nothing shorter is shared between two connections
    retries: int = 5  # in a row, without anything gained between them
    first_wait_seconds: float = 0.5  # before the first retry; then twice as long each time, half of it by chance
    most_wait_seconds: float = 30.0
    most_told_seconds: float = 120.0  # a server's Retry-After beyond this is not waited for
    connect_seconds: float = 10.0
    stall_seconds: float = 30.0  # without a byte
    lock_seconds: float = 24 * 3600.0  # waited for another process that fetches the same file
    spare_bytes: int = 64 * MIB  # of the file system, left free
    most_unannounced_bytes: int = 256 << 30  # of a body whose length nobody says


Reason = Literal[
    "status",  # an answer that will not change, or did not in time
    "name",  # it does not resolve; ``errno`` is the resolver's
    "connection",  # refused, reset, unreachable
    "timed-out",
    "tls",
    "certificate",
    "proxy",
    "redirect-refused",  # to another scheme, into the clear, to a cloud's metadata, or without end
    "answer-invalid",  # no HTTP, or ranges that were not asked for
    "encoded",  # compressed in a way that was not asked for and is not known
    "cut",  # the body ended early, again and again
    "size-differs",
    "digest-differs",
    "structure",  # not what its name promises, or inconsistent in itself
    "changed",  # the server's file changed under way, again and again
    "endless",
    "no-space",
    "disk",  # any other refusal of the file system; ``errno``
    "name-unsafe",  # it would lie outside the folder, or behind a link
    "busy",  # another process fetches it, for too long
]


@record
class Failure:
    """Why a file is not here. ``detail`` is one redacted line."""

    reason: Reason
    detail: str = ""
    status: int | Unseen = ABSENT
    errno: int | Unseen = ABSENT
    exception: str = ""  # its type
    host: str = ""
    url: str = ""  # redacted
    expected: str = ""
    seen: str = ""
    kept: str = ""  # where the wrong bytes are, for whoever wants to look
    passing: bool = False  # of a kind that another try may not meet
    wait_seconds: float = 0.0  # that the server asked for


@record
class Outcome:
    """What came of one file."""

    name: str
    outcome: Literal["fetched", "already_here", "continued", "failed"]
    bytes: int | Unseen = ABSENT  # of the whole file
    bytes_fetched: int = 0  # over the network, in this run
    seconds: float = 0.0
    verified: Literal["digest", "structure", "size", "nothing"] = "nothing"
    failure: Failure | Unseen = ABSENT
    retries: int = 0
    streams: int = 0  # the most that carried it at once
    replaced: str = ""  # where the file that lay here before was put
    notes: tuple[str, ...] = ()


class Progress(Protocol):
    """Told from several threads what happens. Every method returns quickly."""

    def expect(self, name: str, size: int | Unseen, here: int) -> None:
        """A file begins, of which ``here`` bytes are here already."""

    def advance(self, name: str, count: int) -> None:
        """``count`` more bytes are here; negative where some turned out to be of no use."""

    def finish(self, outcome: Outcome) -> None:
        """Nothing more comes of this file."""
