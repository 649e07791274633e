"""The threads that carry the files of one call: which of them does what next, how many there are, and what a host is spared."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass

from diagnostics.probes.budget import start as start_thread
from diagnostics.transfer.governor import Governor
from diagnostics.transfer.one import Download
from diagnostics.transfer.part import Left
from diagnostics.transfer.records import MIB, Failure, Limits
from diagnostics.transfer.segments import Claim

TICK_SECONDS = 0.1
SYNC_SECONDS = 5.0
BUSY_SECONDS = 0.1  # until a file that another process fetches is looked at again
FIRST_TOGETHER = 4  # files begun at once, before anything was measured
BLOCK_SECONDS = 1.0  # what one connection brings before the next piece is given out
MOST_BLOCK = 64 * MIB
LEAVE_SECONDS = 2.0  # that threads get to end by themselves
MUTE_TIMES = 20.0  # of ``stall_seconds``: the head of an answer that does not end
STALLED_TIMES = 3.0  # of ``stall_seconds``: a connection that trickles below any use


@dataclass(kw_only=True)
class HostState:
    most: int
    busy: int = 0
    not_before: float = 0.0


Job = tuple[Download, Claim | None]


class Crew:
    def __init__(self, limits: Limits, stop: threading.Event) -> None:
        self._limits, self._stop = limits, stop
        self._changed = threading.Condition()  # something may be there to do
        self._over = threading.Event()
        self._queue: list[Download] = []
        self._active: list[Download] = []
        self._hosts: dict[str, HostState] = {}
        self._under_way: dict[Claim, Download] = {}
        self._busy = 0
        self._left = 0  # files without an outcome
        self._threads: list[threading.Thread] = []
        self._bugs: list[BaseException] = []
        self._read_before = self._read_by_ended = 0
        self._rate, self._ticked = 0.0, time.monotonic()
        self._governor = Governor(limits.streams, 1, time.monotonic())

    def hold(self, host: str, seconds: float) -> None:
        """The host asks for less: half as many connections, and none before then."""
        with self._changed:
            state, now = self._host(host), time.monotonic()
            if now >= state.not_before:
                state.most = max(1, min(state.most, state.busy) // 2)
            state.not_before = max(state.not_before, now + seconds)

    def run(self, downloads: list[Download]) -> None:
        """Until every file has an outcome. Raises what a thread raised: a bug of ours; KeyboardInterrupt leaves everything to be gone on with."""
        if not downloads:
            return
        self._downloads, self._queue, self._left = downloads, list(downloads), len(downloads)
        self._governor = Governor(self._limits.streams, min(len(downloads), FIRST_TOGETHER), time.monotonic())
        synced = time.monotonic()
        try:
            while self._left and not self._bugs:
                self._grow()
                self._over.wait(TICK_SECONDS)
                self._tick()
                if time.monotonic() - synced > SYNC_SECONDS:
                    synced = self._sync()
        finally:
            self._end()
        if self._bugs:
            raise self._bugs[0]

    # --- in the main thread ---

    def _grow(self) -> None:
        with self._changed:
            wanted = min(self._governor.allowed, self._limits.streams)
        while len(self._threads) < wanted and self._left:
            thread = threading.Thread(target=self._work, name=f"transfer-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            start_thread(thread)

    def _tick(self) -> None:
        now = time.monotonic()
        with self._changed:
            total = self._read_by_ended + sum(download.bytes_read for download in self._active)
            before = self._governor.allowed
            allowed = self._governor.observe(now, total, self._busy)
            seconds = max(now - self._ticked, 1e-6)
            self._rate = 0.7 * self._rate + 0.3 * (total - self._read_before) / seconds
            self._read_before, self._ticked = total, now
            stuck = [claim for claim in self._under_way if claim.answer and now - claim.moved_at > STALLED_TIMES * self._limits.stall_seconds]
            if allowed != before:
                self._changed.notify_all()
            mute = {item for claim, item in self._under_way.items() if claim.answer is None and now - claim.moved_at > MUTE_TIMES * self._limits.stall_seconds}
        for download in mute:
            download.give_up(Failure(reason="timed-out", detail="the head of its answer did not come to an end", host=download.host))
            with self._changed:
                if download in self._active:
                    self._ended(download)
        for claim in stuck:
            if claim.answer is not None:
                claim.answer.abort()

    def _sync(self) -> float:
        """In a thread of its own: it may take as long as the disk likes."""
        if not any(thread.name == "transfer-sync" and thread.is_alive() for thread in threading.enumerate()):
            with self._changed:
                active = list(self._active)
            threading.Thread(target=_sync_all, args=(active,), name="transfer-sync", daemon=True).start()
        return time.monotonic()

    def _end(self) -> None:
        """Whatever ended it: threads are let go, files are left as they are."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
            claims = list(self._under_way)
        for claim in claims:
            if claim.answer is not None:
                claim.answer.abort()
        end = time.monotonic() + LEAVE_SECONDS
        for thread in self._threads:
            if thread is not threading.current_thread() and thread.ident:
                thread.join(max(0.0, end - time.monotonic()))
        for download in self._downloads:
            if download.outcome is None:
                download.leave()

    # --- in the threads ---

    def _work(self) -> None:
        buffer = memoryview(bytearray(MIB))
        try:
            while (job := self._next()) is not None:
                self._do(*job, buffer)
        except BaseException as error:  # noqa: BLE001  # handed to run(), which raises it: a bug of ours
            with self._changed:
                self._bugs.append(error)
                self._over.set()
                self._changed.notify_all()

    def _do(self, download: Download, claim: Claim | None, buffer: memoryview) -> None:
        state = ""
        try:
            if claim is None:
                state = download.begin()
                claim = download.next_claim() if state == "ready" and not download.outcome else None
            if claim is not None:
                with self._changed:
                    self._under_way[claim] = download
                download.carry(claim, buffer)
        except Left:
            pass
        finally:
            self._done(download, claim, state)

    def _next(self) -> Job | None:
        """Waits for something to do; None at the end."""
        with self._changed:
            while not self._stop.is_set() and self._left and not self._bugs:
                job = self._pick(time.monotonic()) if self._busy < self._governor.allowed else None
                if job is not None:
                    self._busy += 1
                    self._host(job[0].host).busy += 1
                    return job
                self._changed.wait(TICK_SECONDS)
            return None

    def _pick(self, now: float) -> Job | None:
        """First what is begun and nobody carries, then the next file, then a part of what somebody carries."""
        free = [download for download in self._active if download.not_before <= now and self._may(download, now)]
        for download in free:
            if claim := download.next_claim():
                return download, claim
        for index, download in enumerate(self._queue):
            if download.not_before <= now and self._may(download, now):
                self._active.append(self._queue.pop(index))
                return download, None
        block = int(min(max(self._rate / max(self._busy, 1) * BLOCK_SECONDS, self._limits.segment_bytes), MOST_BLOCK))
        return next(((download, claim) for download in free if (claim := download.claim_beside(block))), None)

    def _may(self, download: Download, now: float) -> bool:
        state = self._host(download.host)
        return state.busy < state.most and state.not_before <= now

    def _host(self, host: str) -> HostState:
        return self._hosts.setdefault(host, HostState(most=self._limits.streams_per_host))

    def _done(self, download: Download, claim: Claim | None, state: str) -> None:
        with self._changed:
            if claim is not None:
                self._under_way.pop(claim, None)
            self._busy -= 1
            self._host(download.host).busy -= 1
            if state == "busy":
                download.wait_for_other(BUSY_SECONDS)
                if download.outcome is None:
                    self._active.remove(download)
                    self._queue.append(download)
            if download.outcome is not None and download in self._active:
                self._ended(download)
            self._changed.notify_all()

    def _ended(self, download: Download) -> None:
        self._active.remove(download)
        self._left -= 1
        self._read_by_ended += download.bytes_read
        if not self._left:
            self._over.set()


def _sync_all(downloads: list[Download]) -> None:
    for download in downloads:
        with contextlib.suppress(OSError):  # a full or failing disk is told by whoever writes next
            download.sync()
