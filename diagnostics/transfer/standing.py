"""How far one file is: what is known of it, which of its bytes are here, and how it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from diagnostics.case import ABSENT, Published
from diagnostics.transfer import journal, judging
from diagnostics.transfer.hashing import Following
from diagnostics.transfer.journal import Identity
from diagnostics.transfer.part import Left, Part
from diagnostics.transfer.place import Place
from diagnostics.transfer.ranges import front, total
from diagnostics.transfer.records import Failure, Limits, Outcome, Progress, Wanted
from diagnostics.transfer.seed import Seed
from diagnostics.transfer.segments import Claim, Segments
from diagnostics.transfer.wire import Wire

Hold = Callable[[str, float], None]


class Standing:
    """Where one file stands. ``outcome`` is None until nothing more comes of it."""

    def __init__(
        self, wanted: Wanted, into: Path, wire: Wire, limits: Limits, progress: Progress, stop: threading.Event, hold: Hold, seed: Seed | None = None
    ) -> None:
        self.wanted = wanted
        self.outcome: Outcome | None = None
        self.not_before = 0.0  # time.monotonic
        self.bytes_read = 0  # over the network, useful or not
        self.host = judging.host_of(wanted.url)
        self._into, self._wire, self._limits, self._progress, self._stop, self._hold, self._seed = into, wire, limits, progress, stop, hold, seed
        self._lock = threading.RLock()
        self._place: Place | None = None
        self._part: Part | None = None
        self._segments = Segments()
        self._identity = Identity(
            source=journal.source_of(wanted.url), digest=journal.digest_of(wanted), etag=wanted.etag if isinstance(wanted.etag, str) else ""
        )
        self._size = wanted.size if isinstance(wanted.size, int) else None
        self._following: Following | None = None
        self._shortcut = ""  # where the last redirect led
        self._conditional = True
        self._fresh = False  # ask past caches
        self._began = 0.0
        self._most = limits.most_unannounced_bytes
        self._in_vain = self._retries = self._wrong = self._changes = self._streams = self._restarts = 0
        self._gained_since = 0
        self._resumed = self._finishing = self._waited = False
        self._notes: list[str] = []

    @property
    def _open(self) -> bool:
        return self.outcome is None and not self._finishing and self._part is not None

    @property
    def _epoch(self) -> int:
        return self._part.epoch if self._part is not None else -1

    def _note(self, claim: Claim, epoch: int) -> None:
        assert self._part is not None
        piece = self._segments.written(claim)
        if piece[0] < piece[1] and epoch == self._epoch:
            before = total(self._part.here)
            last = claim.position >= claim.end and not self._segments.pending and len(self._segments.claims) == 1
            self._part.note(epoch, piece, last)
            self._progress.advance(self.wanted.name, total(self._part.here) - before)
            if self._following is not None:
                self._following.follow(front(self._part.here))

    def _follow(self) -> None:
        """Let a digest follow, as soon as there is one to be had."""
        if isinstance(self.wanted.digest, Published) and self._size is not None and self._part is not None and self.outcome is None:
            if self._following is None:
                self._following = Following(self._part.descriptor, self.wanted.digest, self._size, self._stop)
            self._following.follow(front(self._part.here))

    def _start_over(self, identity: Identity) -> None:
        assert self._part is not None
        self._progress.advance(self.wanted.name, -total(self._part.here))
        self._resumed = False
        self._part.begin_anew(identity)
        self._identity, self._size = identity, judging.known(self.wanted.size)
        self._segments.of_whole(self._size)
        if self._following is not None:
            self._following.close()
            self._following = None

    def _judge(self, path: str) -> Failure | None:
        """What is wrong with a file that lies still; None for nothing."""
        return judging.judge(path, self.wanted, self._size)

    def _check_room(self) -> None:
        """Before the first byte."""
        assert self._place is not None
        free = self._place.free_bytes()
        if self._segments.left > free - self._limits.spare_bytes and self._segments.left > 0:
            self._end(judging.no_room(self._segments.left, free))

    def wait_for_other(self, seconds: float) -> None:
        """Another process fetches it: look again then, or give up after a day."""
        self.not_before = time.monotonic() + seconds
        if time.monotonic() - self._began > self._limits.lock_seconds:
            self._end(Failure(reason="busy", detail="another process has held it all the time"))

    def _succeed(self, outcome: Literal["fetched", "continued", "already_here"], size: int, aside: str = "") -> None:
        verified: Literal["digest", "size", "structure"] = (
            "digest" if isinstance(self.wanted.digest, Published) else "size" if judging.known(self.wanted.size) is not None else "structure"
        )
        self._tell(Outcome(name=self.wanted.name, outcome=outcome, bytes=size, verified=verified, replaced=aside))

    def refuse(self, failure: Failure) -> None:
        """It is not even begun."""
        self._began = time.monotonic()
        self._end(failure)

    def give_up(self, failure: Failure) -> None:
        """End it from outside: its own thread waits for what may never come."""
        self._end(failure)

    def _end(self, failure: Failure) -> None:
        with self._lock:
            if self.outcome is None:
                self._tell(Outcome(name=self.wanted.name, outcome="failed", bytes=self._size if self._size is not None else ABSENT, failure=failure))

    def _tell(self, outcome: Outcome) -> None:
        seconds = time.monotonic() - self._began
        self.outcome = dataclasses.replace(
            outcome, bytes_fetched=self.bytes_read, seconds=seconds, retries=self._retries, streams=self._streams, notes=tuple(dict.fromkeys(self._notes))
        )
        self.leave()
        self._progress.finish(self.outcome)

    def sync(self) -> None:
        """Let what is here outlive a power cut."""
        if self._part is not None:
            self._part.sync()

    def leave(self) -> None:
        """Let go of everything; what is here stays for the next run."""
        with self._lock:
            if self._following is not None:
                self._following.close()
                self._following = None
            if self._part is not None:
                for claim in self._segments.claims:
                    with contextlib.suppress(OSError, Left):  # what is not noted is fetched again
                        self._note(claim, self._epoch)
                self._part.leave()
            if self._place is not None:
                self._place.close()
                self._place = None
