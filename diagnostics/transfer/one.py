"""One file, from its URL to its final name. Several threads may carry it; each brings one claim at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import filecmp
import http.client
import time
from collections.abc import Iterator
from typing import Literal

from diagnostics.case import ABSENT, Published
from diagnostics.transfer import failures, journal, judging, meeting
from diagnostics.transfer.hashing import matches
from diagnostics.transfer.journal import Identity
from diagnostics.transfer.part import Left, Part, take
from diagnostics.transfer.place import Place, Unsafe
from diagnostics.transfer.ranges import Ranges, front, missing, total
from diagnostics.transfer.records import MIB, Failure
from diagnostics.transfer.segments import OPEN, Claim
from diagnostics.transfer.standing import Standing
from diagnostics.transfer.waiting import pause, retry_after
from diagnostics.transfer.wire import Answer

SMALLEST_READ, LARGEST_READ = 16 << 10, MIB
QUICK_SECONDS, SLOW_SECONDS = 0.05, 0.2  # a read that took less may be longer next time, one that took more shorter
NOTED_BYTES, NOTED_SECONDS = MIB, 0.1  # what a kill may cost a connection
GAINED_BYTES = 64 << 10  # a try that brought less was in vain
MOST_CHANGES = 3
# Statuses of the place a redirect led to that its signature ran out or it went away: the address itself may lead on.
_STALE = frozenset({401, 403, 404, 410})


class Download(Standing):
    """Where one file stands."""

    # --- beginning ---

    def begin(self) -> Literal["busy", "ready"]:
        """Look at what is here. After "ready", ``outcome`` may be there already; "busy": another process fetches it."""
        self._began = self._began or time.monotonic()
        try:
            return self._begin()
        except Unsafe as error:
            self._end(Failure(reason="name-unsafe", detail=str(error.strerror)))
        except OSError as error:
            self._end(failures.of_disk(error, self.wanted.name))
        return "ready"

    def _begin(self) -> Literal["busy", "ready"]:
        self._place = self._place or Place(self._into, self.wanted.name)
        if self._seed is None and self._is_here():
            return "ready"
        part = take(self._place)
        if part == "busy":
            self._waited = True
            return "busy"
        self._part = part
        if self._seed is None and self._waited and self._is_here():
            return "ready"
        self._most = max(0, min(self._most, self._place.free_bytes() - self._limits.spare_bytes))
        here = self._left_here(part)
        self._resumed = bool(here)
        self._progress.expect(self.wanted.name, self._size if self._size is not None else ABSENT, total(here))
        self._segments.of_whole(self._size)
        if self._size is not None:
            self._segments.pending = missing(self._size, here)
            self._check_room()
        elif here:
            self._segments.pending = ((front(here), OPEN),)
        self._follow()
        if self._segments.done and self.outcome is None:
            self._finish()
        return "ready"

    def _left_here(self, part: Part) -> Ranges:
        """What an earlier run left that can be gone on with, or what repair gives us to begin with."""
        old = part.read_journal()
        if old is not None and journal.usable(old, self.wanted) and old.here:
            self._identity = dataclasses.replace(old.identity, digest=self._identity.digest or old.identity.digest)
            self._size = self._size if self._size is not None else old.identity.size
            part.go_on(self._identity, old.here)
            return old.here
        part.begin_anew(self._identity)
        if self._seed is None:
            return ()
        self._seed.copy_to(part.descriptor)
        part.go_on(self._identity, self._seed.here)
        return self._seed.here

    def _is_here(self) -> bool:
        """Whether the file is here and intact, as far as can be told without asking; then that is the outcome."""
        assert self._place is not None
        there = self._place.seen(self._place.leaf, follow=True)
        if there is None or (self._size is not None and there.st_size != self._size):
            return False
        if self._size is None and not isinstance(self.wanted.digest, Published):
            return False  # its size is in the answer
        if problem := self._judge(str(self._place.path)):
            self._notes.append(f"what lay here was not what was published: {problem.detail}")
            return False
        self._succeed("already_here", there.st_size)
        return True

    # --- what is to be done next ---

    def next_claim(self) -> Claim | None:
        """The first gap nobody carries."""
        with self._unless_held() as free:
            return self._counted(self._segments.take()) if free and self._open else None

    def claim_beside(self, block: int) -> Claim | None:
        """A part of what is left, for one more connection."""
        with self._unless_held() as free:
            if not free or not self._open or not self._identity.provable or self._size is None or not self._segments.claims:
                return None
            return self._counted(self._segments.take_beside(block, self._limits.segment_bytes // 2))

    @contextlib.contextmanager
    def _unless_held(self) -> Iterator[bool]:
        """The lock, if it is free: whoever looks for work must not wait for one file."""
        free = self._lock.acquire(blocking=False)
        try:
            yield free
        finally:
            if free:
                self._lock.release()

    def _counted(self, claim: Claim | None) -> Claim | None:
        self._streams = max(self._streams, len(self._segments.claims))
        if claim is not None:
            claim.moved_at = claim.noted_at = time.monotonic()
        return claim

    # --- one claim ---

    def carry(self, claim: Claim, buffer: memoryview) -> None:
        """Bring it, or find out why not."""
        part = self._part
        assert part is not None
        epoch = part.epoch
        headers = self._headers(claim)
        shortcut = self._shortcut
        found = self._wire.ask(shortcut or self.wanted.url, headers, pointed_to=bool(shortcut))
        try:
            if isinstance(found, Answer):
                self._met(claim, epoch, headers, found, buffer)
            else:
                self._missed(claim, epoch, found)
        except _Disk as error:
            self._end(failures.of_disk(error.error, self.wanted.name))
        except OSError as error:  # of the journal: what the network does wrong is data by now
            self._end(failures.of_disk(error, self.wanted.name))
        finally:
            if isinstance(found, Answer):
                found.leave(False)
        self._finish_if_done(buffer)

    def _headers(self, claim: Claim) -> dict[str, str]:
        with self._lock:
            headers = {"Cache-Control": "no-cache", "Pragma": "no-cache"} if self._fresh else {}
            whole = claim.start == 0 and (claim.end >= OPEN or claim.end == self._size)
            if not whole and self._segments.divisible:
                headers["Range"] = f"bytes={claim.start}-" + (str(claim.end - 1) if claim.end < OPEN else "")
                if self._identity.validator and self._conditional:
                    headers["If-Range"] = self._identity.validator
            return headers

    def _met(self, claim: Claim, epoch: int, headers: dict[str, str], answer: Answer, buffer: memoryview) -> None:
        if answer.status >= 400 and answer.status != 416:
            self._refused(claim, epoch, answer)
            return
        asked = meeting.Asked(start=claim.start, ranged="Range" in headers, conditional="If-Range" in headers)
        with self._lock:
            if epoch != self._epoch:
                return
            known = meeting.Known(identity=self._identity, published_size=judging.known(self.wanted.size), digest=isinstance(self.wanted.digest, Published))
            verdict = meeting.decide(asked, known, judging.head_of(answer))
            if verdict.note and verdict.note not in self._notes:
                self._notes.append(verdict.note)
            if answer.redirected:
                self._shortcut = answer.url
            if answer.headers.get("accept-ranges", "").lower() == "none":
                self._segments.divisible = False
            claim.whole, claim.answer = answer.status == 200, answer
            epoch = self._settle(claim, epoch, verdict)
        if epoch >= 0:
            self._read(claim, epoch, answer, buffer, skipped=claim.start if verdict.kind == "whole" else 0)

    def _settle(self, claim: Claim, epoch: int, verdict: meeting.Verdict) -> int:
        """Act on a verdict, under the lock: the epoch to read in, or -1 for nothing to read."""
        match verdict.kind:
            case "read":
                return epoch if self._learn(verdict.identity) else -1
            case "whole":
                return self._take_whole(claim, epoch)
            case "anew" | "restart":
                return self._begin_again(claim, verdict)
            case "plainly":
                self._conditional = False
                self._segments.give_back(claim)
            case "complete":
                self._segments.close(claim)
                self._learn(verdict.identity)
            case "failed":
                assert verdict.failure
                self._segments.give_back(claim)
                self._wrong_answer(verdict.failure)
        return -1

    def _learn(self, identity: Identity) -> bool:
        """What the answer says of the file. False where that ends it."""
        assert self._part is not None and self._place is not None
        if identity.size is not None and self._size is None:
            self._size = identity.size
            self._segments.sized(identity.size)
            self._progress.expect(self.wanted.name, identity.size, total(self._part.here))
            if self._lies_here(identity.size):
                return False
            self._check_room()
        if identity != self._identity:
            self._identity = identity
            self._part.identify(identity)
        self._follow()
        return self.outcome is None

    def _lies_here(self, size: int) -> bool:
        """Of the size the server announces, and whole as far as can be told."""
        assert self._place is not None and self._part is not None
        there = self._place.seen(self._place.leaf, follow=True)
        if there is None or there.st_size != size or self._seed is not None or self._judge(str(self._place.path)) is not None:
            return False
        self._part.discard()
        self._succeed("already_here", size)
        return True

    def _take_whole(self, claim: Claim, epoch: int) -> int:
        """The server gives no parts: this connection brings everything, and what is here already is read past."""
        assert self._part is not None
        return epoch if self._segments.whole_by(claim, front(self._part.here), self._size) else -1

    def _begin_again(self, claim: Claim, verdict: meeting.Verdict) -> int:
        """The server's file is another one now: what is here of the old one counts no more."""
        assert self._part is not None
        self._changes += 1
        if self._changes > MOST_CHANGES:
            self._segments.close(claim)
            self._end(Failure(reason="changed", detail=f"the server's file changed {self._changes} times while it was fetched", host=self.host))
            return -1
        self._notes.append("the server's file had changed: begun anew")
        base = Identity(source=self._identity.source, digest=self._identity.digest)
        self._start_over(base)
        if verdict.kind == "restart":
            return -1
        whole = self._segments.take()
        assert whole is not None
        claim.start = claim.position = claim.noted = 0
        claim.end = whole.end
        self._segments.claims[:] = [claim]
        return self._epoch if self._learn(dataclasses.replace(verdict.identity, source=base.source, digest=base.digest)) else -1

    # --- reading ---

    def _read(self, claim: Claim, epoch: int, answer: Answer, buffer: memoryview, skipped: int) -> None:
        """The body, piece by piece, to where it is ours. ``skipped`` bytes at its beginning are here already."""
        position, step = (0 if skipped else claim.position), min(SMALLEST_READ * 4, len(buffer))
        try:
            while (want := self._wanted_now(claim, epoch, position, step)) > 0:
                started = time.monotonic()
                count = answer.read_into(buffer[:want])
                took = time.monotonic() - started
                if count == 0:
                    break
                self.bytes_read += count
                if position + count > skipped:
                    self._store(claim, epoch, max(position, skipped), buffer[max(0, skipped - position) : count])
                position += count
                step = min(step * 2, len(buffer)) if took < QUICK_SECONDS else max(step // 2, SMALLEST_READ) if took > SLOW_SECONDS else step
        except (http.client.HTTPException, OSError, ValueError) as error:
            self._missed(claim, epoch, failures.of(error, self._wire.secrets, host=answer.host, url=answer.url))
            return
        self._read_out(claim, epoch, answer, position)

    def _wanted_now(self, claim: Claim, epoch: int, position: int, step: int) -> int:
        """How much to read next; 0 at the end. Raises Left where nothing of it is wanted any more."""
        if self._stop.is_set() or epoch != self._epoch or self.outcome is not None:
            raise Left
        return min(step, claim.end - position)

    def _store(self, claim: Claim, epoch: int, offset: int, piece: memoryview) -> None:
        assert self._part is not None
        try:
            self._part.write(epoch, offset, piece)
            self._stored(claim, epoch, offset + len(piece), len(piece))
        except OSError as error:
            raise _Disk(error) from error

    def _stored(self, claim: Claim, epoch: int, position: int, count: int) -> None:
        with self._lock:
            if epoch != self._epoch:
                raise Left
            now = time.monotonic()
            claim.position, claim.moved_at = position, now
            self._gained_since += count
            if self._gained_since >= GAINED_BYTES:
                self._in_vain = 0
            if claim.position - claim.noted >= NOTED_BYTES or claim.position >= claim.end or now - claim.noted_at > NOTED_SECONDS:
                claim.noted_at = now
                self._note(claim, epoch)
            if claim.end >= OPEN and claim.position > self._most:
                self._end(
                    Failure(reason="endless", detail=f"no length was announced, and {claim.position} bytes are more than may be written here", host=self.host)
                )

    def _read_out(self, claim: Claim, epoch: int, answer: Answer, position: int) -> None:
        """The body is over, or what we wanted of it."""
        with self._lock:
            if epoch != self._epoch:
                return
            self._note(claim, epoch)
            if position < claim.end < OPEN:
                self._missed(claim, epoch, Failure(reason="cut", detail=f"{claim.end - position} bytes were still to come", host=answer.host, passing=True))
                return
            if claim.end >= OPEN:
                if answer.status == 206 and isinstance(answer.length, int) and position - claim.start < answer.length:
                    self._missed(claim, epoch, Failure(reason="cut", detail="its answer ended early", host=answer.host, passing=True))
                    return
                self._size = position
                if not isinstance(answer.length, int) and "chunked" not in answer.headers.get("transfer-encoding", "").lower():
                    self._notes.append("no length was announced: whether it is whole, its end does not tell")
                self._segments.sized(position)
            self._segments.close(claim)
        answer.leave(answer.is_over)

    # --- what goes wrong ---

    def _refused(self, claim: Claim, epoch: int, answer: Answer) -> None:
        """A status of failure."""
        if answer.redirected and answer.status in _STALE and self._shortcut == answer.url:
            with self._lock:
                self._shortcut = ""
                self._segments.give_back(claim)
            return
        told = retry_after(answer.headers, time.time())
        failure = failures.of_status(answer.status, self._wire.secrets, answer.host, answer.url, told)
        if failure.passing and answer.status in (429, 503):
            self._hold(self.host, min(told, self._limits.most_told_seconds))
        self._missed(claim, epoch, failure)

    def _missed(self, claim: Claim, epoch: int, failure: Failure) -> None:
        """A try that failed: again in a while, where that may help."""
        with self._lock:
            if epoch != self._epoch or self.outcome is not None:
                return
            self._note(claim, epoch)
            self._segments.give_back(claim)
            self._shortcut = ""
            if not self._identity.provable and self._part is not None and self._part.here:
                self._restarts += 1
                self._start_over(self._identity)  # nothing could show that what follows belongs to it
            now = time.monotonic()
            if now < self.not_before and failure.passing:
                return  # another connection met the same a moment ago
            self._in_vain, self._gained_since = self._in_vain + 1, 0
            lonely = failure.errno in failures.NOBODY_THERE and self.bytes_read == 0 and self._in_vain > 1
            too_long = failure.wait_seconds > self._limits.most_told_seconds
            if not failure.passing or max(self._in_vain, self._restarts) > self._limits.retries or lonely or too_long:
                self._end(failure)
                return
            self._retries += 1
            self.not_before = now + pause(self._in_vain, self._limits, failure.wait_seconds)

    def _wrong_answer(self, failure: Failure) -> None:
        """What the server announces is not what was published: asked once more, past caches; what is here already stays."""
        self._wrong += failure.reason == "size-differs"
        if failure.reason != "size-differs" or self._wrong > 1:
            self._end(dataclasses.replace(failure, host=failure.host or self.host))
            return
        self._once_more(failure)

    def _wrong_content(self, failure: Failure) -> None:
        """What came is not what was published: fetched once more, past caches; then it is given up, and the bytes are kept beside."""
        assert self._part is not None
        self._wrong += 1
        if self._wrong > 1:
            self._end(dataclasses.replace(failure, kept=self._part.put_aside(), host=self.host))
            return
        self._once_more(failure)
        self._start_over(Identity(source=self._identity.source, digest=self._identity.digest))

    def _once_more(self, failure: Failure) -> None:
        self._fresh, self._shortcut, self._retries = True, "", self._retries + 1
        self._notes.append(f"fetched a second time: {failure.detail}")

    # --- the end ---

    def _finish_if_done(self, buffer: memoryview) -> None:
        with self._lock:
            if not self._open or not self._segments.done:
                return
            self._finishing = True
        self._finish(buffer)

    def _finish(self, buffer: memoryview | None = None) -> None:
        """All bytes are there: judge them, and give them their name."""
        assert self._part is not None and self._place is not None and self._size is not None
        self._finishing = True
        try:
            problem = self._verify(buffer)
            if problem is not None:
                with self._lock:
                    self._wrong_content(problem)
            elif self._same_as_before():
                self._part.discard()
                self._succeed("already_here", self._size)
            else:  # without the lock: this may take as long as the disk likes
                self._succeed("continued" if self._resumed else "fetched", self._size, self._part.finish(self._size))
        except OSError as error:
            self._end(failures.of_disk(error, self.wanted.name))
        finally:
            self._finishing = False

    def _verify(self, buffer: memoryview | None) -> Failure | None:
        digest = self.wanted.digest
        if isinstance(digest, Published):
            self._follow()
            assert self._following is not None
            seen = self._following.result(buffer)
            if not seen:
                raise Left
            return None if matches(digest, seen) else judging.differs(digest, seen)
        assert self._place is not None
        return self._judge(str(self._place.folder / self._place.part))

    def _same_as_before(self) -> bool:
        """Whether the very same content lies in its place already, of which nobody could tell before."""
        assert self._place is not None
        there = self._place.seen(self._place.leaf)
        if there is None or there.st_size != self._size or isinstance(self.wanted.digest, Published):
            return False
        return filecmp.cmp(self._place.folder / self._place.part, self._place.path, shallow=False)


class _Disk(Exception):
    """Writing failed; not to be taken for the network's failure."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error
