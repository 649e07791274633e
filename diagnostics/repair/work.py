"""The doing of a plan: each file under its lock, made beside, verified, put in its place. What happened is data; an interrupt leaves everything as it was or as it should be."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from diagnostics import redact, transfer
from diagnostics.case import ABSENT, Environment, Published, Repair, Repaired, Target, Unseen
from diagnostics.probes.cache import real
from diagnostics.redact import Secrets
from diagnostics.repair import content, stale
from diagnostics.repair.client import HubClient
from diagnostics.repair.place import Busy, Place, Refused, blob_lock, clear, staged_name, staging, write_small

OTHER_REPAIR_SECONDS = 600.0
DOWNLOAD_SECONDS = 10.0  # waited for a download of the very file that somebody else has under way
SPARE_BYTES = 64 << 20
OWN = "pytest-diagnostics"
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Means:
    """With what a repair works. ``url`` says where a path of the target is fetched, signature and all; "" where nobody knows."""

    environment: Environment
    secrets: Secrets = field(repr=False)
    target: Target  # the source's
    commit: str = ""
    endpoint: str = field(default="", repr=False)
    url: Callable[[str], str] = field(default=lambda path: "", repr=False)
    python: str = ""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)  # of the process that will load
    obstacle: str = ""  # why nothing can be fetched
    tell: Tell = lambda text: None


def perform(plan: tuple[Repair, ...], place: Place, means: Means) -> Iterator[Repaired]:
    """Do it, one after the other; yields what came of each as it is done. Nothing is raised for what a repair may meet."""
    done, whole = 0, True
    try:
        if lacking := _lacking(plan, place):
            yield from (Repaired(repair=repair, outcome="refused", reason=lacking) for repair in plan)
            return
        with staging(place, OTHER_REPAIR_SECONDS) as folder, _Work(place, means, folder) as work:
            for repair in plan:
                started = time.monotonic()
                means.tell(f"repairing {repair.path}")
                refused = Repaired(repair=repair, outcome="refused", reason="a file that it rests on is not repaired")
                done_now = refused if not whole and _rests_on_all(repair) else work.on(repair)
                outcome = replace(done_now, seconds=time.monotonic() - started)
                whole = whole and outcome.outcome in ("repaired", "not_needed")
                done += 1
                yield outcome
            if whole:  # nothing in there is of use to a later run
                clear(folder)
    except Busy:
        yield from (Repaired(repair=repair, outcome="refused", reason="another repair is still at work here") for repair in plan[done:])
    except (OSError, Refused) as error:
        yield from (Repaired(repair=repair, outcome="failed", reason=_said(error)) for repair in plan[done:])


def _rests_on_all(repair: Repair) -> bool:
    """A ref leads to every file of its commit; a partial is what the next try goes on from, where this one failed."""
    return repair.how == "write" or (repair.how == "remove" and repair.path.startswith("blobs/"))


def _lacking(plan: tuple[Repair, ...], place: Place) -> str:
    """Whether there is room for everything that is to be written, what it replaces being kept."""
    needed = sum(repair.size for repair in plan if isinstance(repair.size, int) and repair.how in ("fetch", "continue", "copy", "trim"))
    try:
        state = os.statvfs(place.folder)
    except (OSError, AttributeError):  # not on Windows: there the writing itself finds out
        return ""
    free = state.f_bavail * state.f_frsize
    if needed == 0 or free >= needed + min(SPARE_BYTES, needed):
        return ""
    return f"it takes {needed} bytes, as what is replaced is kept, and {free} are free in {redact.path(place.folder)}"


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        where = f" ({redact.path(os.fsdecode(error.filename))})" if error.filename and not isinstance(error.filename, int) else ""
        return f"{error.strerror or redact.plain(str(error))}{where}"
    return str(error)


@dataclass
class _Made:
    """How the content was come by: who brought it, how many bytes over the network, or why it is not to be had."""

    by: str = ""
    fetched: int = 0
    problem: str = ""
    blob: str = ""  # its name, where only the one who served it knew


class _Work:
    """One repair under way in one place."""

    def __init__(self, place: Place, means: Means, folder: str) -> None:
        self.place, self.means, self.folder = place, means, folder
        self._client: HubClient | None = None

    def __enter__(self) -> _Work:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._client is not None:
            self._client.close()
            clear(self._client.cache)
            with contextlib.suppress(OSError):
                os.rmdir(self._client.cache)

    def on(self, repair: Repair) -> Repaired:
        """One repair, whatever comes of it."""
        try:
            if repair.how == "remove":
                return self._remove(repair)
            if repair.how == "write":
                return self._write_ref(repair)
            with blob_lock(self.place, repair.blob, DOWNLOAD_SECONDS):
                return self._file(repair)
        except Busy:
            return Repaired(repair=repair, outcome="refused", reason="somebody is downloading this very file now")
        except (OSError, Refused) as error:
            return Repaired(repair=repair, outcome="failed", reason=_said(error))

    # --- files ---

    def _file(self, repair: Repair) -> Repaired:
        if os.path.isdir(self.place.entry(repair.path)):
            raise Refused("a folder has its name")
        if self._is_right(repair):
            return self._only_link(repair)
        staged = os.path.join(self.folder, staged_name(repair))
        made = self._made(repair, staged)
        if made.problem:
            refused = made.problem == self.means.obstacle
            return Repaired(repair=repair, outcome="refused" if refused else "failed", reason=made.problem, fetched_bytes=made.fetched, by=made.by)
        repair = replace(repair, blob=repair.blob or made.blob)
        kept = self.place.put(repair, staged)
        self._tidy(repair)
        return Repaired(repair=repair, outcome="repaired", fetched_bytes=made.fetched, by=made.by, kept=redact.path(kept) if kept else "")

    def _is_right(self, repair: Repair) -> bool:
        """Whether it is as published by now: another process may have seen to it, or its author made it as it is."""
        if not (isinstance(repair.digest, Published) or isinstance(repair.size, int)):
            return False
        try:
            return not content.what_is_wrong(os.path.realpath(self.place.content(repair)), repair.path, repair.size, repair.digest)
        except OSError:
            return False

    def _only_link(self, repair: Repair) -> Repaired:
        entry = self.place.entry(repair.path)
        if self.place.content(repair) == entry or os.path.realpath(entry) == os.path.realpath(self.place.content(repair)):
            return Repaired(repair=repair, outcome="not_needed", reason="it is as published")
        self.place.link(repair)
        return Repaired(repair=repair, outcome="repaired", reason="linked to what lay in the cache already")

    def _made(self, repair: Repair, staged: str) -> _Made:
        """The right content at ``staged``: from this machine where it has it, else over the network."""
        here = self._from_here(repair, staged)
        if here is not None:
            return here
        if self.means.obstacle:
            return _Made(problem=self.means.obstacle)
        fetched = 0
        if repair.how == "continue":
            made = self._continued(repair, staged)
            if not made.problem:
                return made
            fetched = made.fetched
        made = self._fetched(repair, staged)
        return replace(made, fetched=made.fetched + fetched)

    def _wrong(self, repair: Repair, staged: str) -> str:
        return content.what_is_wrong(staged, repair.path, repair.size, repair.digest)

    def _from_here(self, repair: Repair, staged: str) -> _Made | None:
        """What an earlier repair left whole; another copy in the cache; the file's own beginning, where the rest of it is too much."""
        if not isinstance(repair.digest, Published):
            return None
        with contextlib.suppress(OSError):
            if not self._wrong(repair, staged):
                return _Made(by="what an earlier repair had fetched")
        own = os.path.realpath(self.place.content(repair))
        known = [real(repair.copy)] if repair.copy else []
        for path in (*known, *content.copies_of(repair.digest, self.means.environment)):
            if os.path.realpath(path) != own and self._copied(repair, path, staged, None):
                return _Made(by=f"a copy in {redact.path(path)}")
        if repair.how == "trim" and self._copied(repair, real(repair.partial) if repair.partial else own, staged, repair.good_bytes):
            return _Made(by="its own beginning")
        return None

    def _copied(self, repair: Repair, source: str, staged: str, most: int | None) -> bool:
        """Whether a copy came out right; one that did not is removed. A file that cannot be read is no copy; a disk that is full is an error."""
        try:
            if isinstance(repair.size, int) and most is None and os.path.getsize(source) != repair.size:
                return False
        except OSError:
            return False
        try:
            content.copy(source, staged, most)
            right = not self._wrong(repair, staged)
        except OSError:
            _unlink(staged)
            raise
        if not right:
            _unlink(staged)
        return right

    # --- the network ---

    def _continued(self, repair: Repair, staged: str) -> _Made:
        """What is here from the beginning on, and the rest of it."""
        source = real(repair.partial) if repair.partial else os.path.realpath(self.place.content(repair))
        try:
            good = content.written_bytes(source, repair.good_bytes)
        except OSError as error:
            return _Made(problem=_said(error))
        if not good or not isinstance(repair.size, int):
            return _Made(problem="nothing of it is of use")
        wanted = self._wanted(repair, staged)
        progress = _Shown(repair.path, self.means.tell)
        outcome = transfer.fill(wanted, Path(self.folder), [(good, repair.size)], access=self._access(), progress=progress, source=Path(source))
        return self._checked(repair, staged, outcome)

    def _fetched(self, repair: Repair, staged: str) -> _Made:
        problem = ""
        if self.place.kind == "cache" and self.means.target.kind == "hub" and (client := self._hub_client()):
            made = self._by_client(repair, staged, client)
            if not made.problem or made.fetched:  # what it brought was wrong: another client is served the same
                return made
            problem = f"{made.problem}; "
        outcome = transfer.fetch([self._wanted(repair, staged)], Path(self.folder), access=self._access(), progress=_Shown(repair.path, self.means.tell))[0]
        made = self._checked(repair, staged, outcome)
        return replace(made, problem=f"{problem}{made.problem}") if made.problem else made

    def _checked(self, repair: Repair, staged: str, outcome: transfer.Outcome) -> _Made:
        if outcome.outcome == "failed":
            failure = outcome.failure
            if failure and failure.reason in ("digest-differs", "size-differs", "structure", "no-space"):
                self._drop(staged)  # of no use to a later run, or in everybody's way
            said = (f"{failure.reason}: {failure.detail}" if failure.detail else failure.reason) if failure else "it failed"
            return _Made(by=OWN, fetched=outcome.bytes_fetched, problem=self.means.secrets.clean(said))
        return self._judged(repair, staged, _Made(by=OWN, fetched=outcome.bytes_fetched))

    def _drop(self, staged: str) -> None:
        """What was made for this file in the staging folder, under whatever name a transfer gave it."""
        stem = os.path.basename(staged)
        with contextlib.suppress(OSError):
            for name in os.listdir(self.folder):
                if name.lstrip(".").startswith(stem):
                    _unlink(os.path.join(self.folder, name))

    def _judged(self, repair: Repair, staged: str, made: _Made) -> _Made:
        """What was brought, if it is right; wrong bytes are of no use to anybody."""
        wrong = self._wrong(repair, staged)
        if wrong:
            _unlink(staged)
            return replace(made, problem=f"what was served is not what is published: {wrong}")
        return made

    def _wanted(self, repair: Repair, staged: str) -> transfer.Wanted:
        digest: Published | Unseen = repair.digest if isinstance(repair.digest, Published) and repair.digest.algorithm != "crc32" else ABSENT
        return transfer.Wanted(name=os.path.basename(staged), url=self.means.url(repair.path), size=repair.size, digest=digest)

    def _access(self) -> transfer.Access:
        means, client = self.means, self.means.target.client
        if client:
            return transfer.Access(environment=means.environment, secrets=means.secrets, client=client, endpoint=means.endpoint)
        return transfer.Access(environment=means.environment, secrets=means.secrets, endpoint=means.endpoint)

    def _hub_client(self) -> HubClient | None:
        """The installed huggingface_hub, started once; None where there is none."""
        if self._client is None:
            means, cache = self.means, os.path.join(self.folder, "client")
            self._client = HubClient(means.python, means.target, means.commit or means.target.revision, cache, means.variables, means.secrets)
        return self._client if self._client.version else None

    def _by_client(self, repair: Repair, staged: str, client: HubClient) -> _Made:
        who = f"huggingface_hub {client.version}"
        size = repair.size if isinstance(repair.size, int) else None
        brought = client.fetch(repair.path, lambda count: self.means.tell(f"repairing {repair.path}: {count / 1e6:.0f} MB"), size)
        if brought.problem:
            return _Made(by=who, problem=f"{who}: {brought.problem}")
        length = os.path.getsize(brought.at)
        os.replace(brought.at, staged)
        name = os.path.basename(brought.at) if os.path.basename(os.path.dirname(brought.at)) == "blobs" else ""
        return self._judged(repair, staged, _Made(by=who, fetched=length, blob=name))

    # --- what the cache keeps beside the files ---

    def _tidy(self, repair: Repair) -> None:
        """The partial download that was continued, once it is nobody's."""
        partial = real(repair.partial) if repair.partial else ""
        if partial:
            with contextlib.suppress(OSError):
                if not stale.why_not_dead(partial):
                    os.unlink(partial)

    def _remove(self, repair: Repair) -> Repaired:
        path = self._own(repair.path)
        if not os.path.lexists(path):
            return Repaired(repair=repair, outcome="not_needed", reason="it is gone already")
        if repair.path.startswith(".locks/"):
            reason = stale.why_lock_lives(path)
            if not reason:
                stale.remove_lock(path)
        elif repair.path.startswith(".no_exist/"):
            reason = "it is no empty file" if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) else ""
            if not reason:
                os.unlink(path)
        else:
            reason = self._remove_partial(path)
        return Repaired(repair=repair, outcome="refused" if reason else "repaired", reason=reason or "removed")

    def _remove_partial(self, path: str) -> str:
        """Under the lock of its blob: no download of this host has it then."""
        with blob_lock(self.place, os.path.basename(path).split(".")[0], 0.0):
            reason = stale.why_not_dead(path)
            if not reason:
                os.unlink(path)
            return reason

    def _own(self, path: str) -> str:
        """A path of the cache's own bookkeeping. Raises Refused where it is none."""
        first, _, rest = path.partition("/")
        base = os.path.dirname(self.place.folder) if first == ".locks" else self.place.folder
        found = os.path.join(base, *path.split("/"))
        if self.place.kind != "cache" or not rest or os.path.realpath(os.path.dirname(found)) != os.path.join(os.path.realpath(base), *path.split("/")[:-1]):
            raise Refused("it lies elsewhere")
        return found

    def _write_ref(self, repair: Repair) -> Repaired:
        path = self._own(repair.path)
        if not self.means.commit:
            raise Refused("nobody said which commit it is")
        write_small(path, self.means.commit)
        return Repaired(repair=repair, outcome="repaired", reason=f"it is {self.means.commit[:12]}")


class _Shown:
    """How far one file is, for a terminal."""

    def __init__(self, path: str, tell: Tell) -> None:
        self.path, self.tell, self.here = path, tell, 0

    def expect(self, name: str, size: int | Unseen, here: int) -> None:
        self.here = here

    def advance(self, name: str, count: int) -> None:
        self.here += count
        self.tell(f"repairing {self.path}: {self.here / 1e6:.0f} MB")

    def finish(self, outcome: transfer.Outcome) -> None:
        self.tell(f"repairing {self.path}: verifying")


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


__all__ = ["Means", "perform"]
