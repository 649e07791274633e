"""Where a repair writes: a repository in the hub's cache, or a model's folder. Made beside, renamed into place, what was there kept.

The cache's layout is huggingface_hub's (``file_download.py`` 0.36 to 2.4: blobs named by etag, relative links from snapshots, copies where links do not work, one
lock file a blob). New content is made in ``.diagnostics-repair`` inside the repository or folder: the same file system, so that renaming is all or nothing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from diagnostics.case import Repair
from diagnostics.probes.cache import is_inside

STAGING, LOCK = ".diagnostics-repair", "lock"
POLL_SECONDS = 0.1
_NAME = re.compile(r"[0-9a-f]{32,128}")
NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES})


class Refused(Exception):
    """A repair that would touch what is not the target's own; its text says why, in one line."""


class Busy(Exception):
    """Somebody else holds a lock, for too long."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """``folder`` is the repository's folder in the cache, or the model's folder; ``entries`` is where its files are found by their names."""

    kind: Literal["cache", "folder"]
    folder: str
    entries: str

    @property
    def staging(self) -> str:
        return os.path.join(self.folder, STAGING)

    def entry(self, path: str) -> str:
        """Where the file ``path`` of the target is found. Raises Refused where that is outside."""
        if not is_inside(path):
            raise Refused("its name leads out of the folder")
        if self.kind == "folder" and any(part.startswith(".") for part in path.split("/")):
            raise Refused("it would lie in a hidden folder, or be hidden: no loader reads that, other programs might")
        found = os.path.join(self.entries, *path.split("/"))
        parent, root = os.path.realpath(os.path.dirname(found)), os.path.realpath(self.entries)
        if parent != root and not parent.startswith(root.rstrip(os.sep) + os.sep):
            raise Refused("a folder on the way to it is a link that leads elsewhere")
        return found

    def blob(self, name: str) -> str:
        """Where the cache keeps a content; "" in a folder, or where the content has no name."""
        return os.path.join(self.folder, "blobs", name) if self.kind == "cache" and _NAME.fullmatch(name) else ""

    def content(self, repair: Repair) -> str:
        """The very file that holds what the target's loader gets under this name now, or would."""
        entry = self.entry(repair.path)
        if os.path.lexists(entry) and not os.path.islink(entry):
            return entry
        blob = self.blob(repair.blob)
        if not blob:
            return entry
        shared = os.path.realpath(os.path.join(os.path.dirname(self.folder), "blobs"))  # a blob may be a link into the store that repositories share
        target = os.path.realpath(blob)
        return target if os.path.islink(blob) and target.startswith(shared + os.sep) else blob

    def put(self, repair: Repair, staged: str) -> str:
        """Give the verified file ``staged`` its place; returns where what lay there is kept, "" where nothing did. Raises OSError, Refused."""
        entry, content = self.entry(repair.path), self.content(repair)
        os.makedirs(os.path.dirname(content), exist_ok=True)
        kept = replace(content, staged)
        if content != entry:
            self.link(repair)
        return kept

    def link(self, repair: Repair) -> None:
        """Let the snapshot's entry lead to the blob, as huggingface_hub's ``_create_symlink`` does it; in one step."""
        entry, blob = self.entry(repair.path), self.blob(repair.blob)
        os.makedirs(os.path.dirname(entry), exist_ok=True)
        self.entry(repair.path)  # once more: the folder is there now
        if os.path.islink(entry) and os.path.exists(entry) and os.path.realpath(entry) == os.path.realpath(blob):
            return
        beside = _beside(entry)
        try:
            os.symlink(os.path.relpath(blob, os.path.dirname(entry)), beside)
        except OSError as error:
            if error.errno not in NO_LINKS and os.name != "nt":
                raise
            os.replace(blob, entry)  # no links on this file system: the client then looks for the file itself there
            return
        os.replace(beside, entry)


def replace(path: str, staged: str) -> str:
    """``staged`` in place of ``path``, which is kept under a name of its own (returned; "" where there was nothing). There is no moment without either, where the file system can link."""
    _settle(staged, path)
    kept = keep(path)
    try:
        os.replace(staged, path)
    except OSError:
        if kept and not os.path.lexists(path):
            os.rename(kept, path)
        elif kept:
            os.unlink(kept)  # a second name of what still lies in its place
        raise
    sync(os.path.dirname(path))
    return kept


def keep(path: str) -> str:
    """A second name for what lies at ``path`` (a new one for a link), so that it is not lost when that is replaced."""
    try:
        seen = os.lstat(path)
    except FileNotFoundError:
        return ""
    kept = f"{path}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    if os.path.lexists(kept):
        kept = f"{kept}-{secrets.token_hex(4)}"
    if stat.S_ISREG(seen.st_mode):
        with contextlib.suppress(OSError):
            os.link(path, kept)
            return kept
    os.rename(path, kept)
    return kept


def _settle(path: str, place: str) -> None:
    """On the disk before it gets its name; for whoever could read what lay there, else as whatever this user makes (huggingface_hub's ``_chmod_and_move``)."""
    os.chmod(path, _mode(place) or _usual_mode(f"{path}.{secrets.token_hex(4)}"))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mode(path: str) -> int:
    with contextlib.suppress(OSError):
        seen = os.lstat(path)
        return seen.st_mode & 0o666 | 0o400 if stat.S_ISREG(seen.st_mode) else 0
    return 0


def _usual_mode(probe: str) -> int:
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
        os.unlink(probe)


def sync(folder: str) -> None:
    """A renaming is on the disk only with its folder. Not every file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_small(path: str, text: str) -> None:
    """A small file of the cache (a ref), beside and then in place. Raises OSError."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    beside = _beside(path)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def _beside(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name[:100]}.{secrets.token_hex(4)}")


def staged_name(repair: Repair) -> str:
    """The same in every run, so that the next one goes on where a killed one stopped."""
    return repair.blob if _NAME.fullmatch(repair.blob) else hashlib.sha256(repair.path.encode("utf-8", "surrogateescape")).hexdigest()[:40]


# --- locks --------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def staging(place: Place, patience: float) -> Iterator[str]:
    """The folder that new content is made in, for one repair at a time. Raises Busy, Refused, OSError. It is removed again, unless something unfinished is left in it."""
    folder = place.staging
    lock = os.path.join(folder, LOCK)
    end = time.monotonic() + patience
    with contextlib.ExitStack() as stack:
        while True:  # the one before removes the folder when it is done
            _made(folder)
            with contextlib.suppress(FileNotFoundError):
                stack.enter_context(held(lock, max(0.0, end - time.monotonic()), ours=True))
                break
        try:
            yield folder
        finally:
            with contextlib.suppress(OSError):
                os.unlink(lock)
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def clear(folder: str) -> None:
    """What a repair made and needs no more, but for the lock of the one that clears. Links are removed, not followed."""
    for below, folders, names in os.walk(folder, topdown=False):
        for name in (*names, *folders):
            path = os.path.join(below, name)
            if path == os.path.join(folder, LOCK):
                continue
            with contextlib.suppress(OSError):
                os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def clean(place: Place) -> None:
    """Remove what a killed repair left, where none is at work now."""
    if os.path.lexists(place.staging):
        with contextlib.suppress(OSError, Busy, Refused), staging(place, 0.0) as folder:
            clear(folder)


def _made(folder: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise Refused(f"{STAGING} is no folder")


@contextlib.contextmanager
def held(path: str, patience: float, ours: bool = False) -> Iterator[None]:
    """An exclusive flock(2) of a lock file, which stays (filelock ``_unix.py``: removing it would split those who wait). Raises Busy, OSError.

    ``ours``: all who contend are repairs and the file is removed at the end, so whoever got it makes sure that it is still the file of that name.
    """
    try:
        import fcntl  # not on Windows, where a download makes its own unique file anyway
    except ImportError:
        yield
        return
    end = time.monotonic() + patience
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o664)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not ours or _is_still(path, descriptor):
                break
            os.close(descriptor)
            continue
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP):
                yield  # a file system without locks; renaming is still all or nothing
                return
            if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                raise
        if time.monotonic() >= end:
            raise Busy
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        os.close(descriptor)


def _is_still(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except OSError:
        return False


@contextlib.contextmanager
def blob_lock(place: Place, name: str, patience: float) -> Iterator[None]:
    """The lock that huggingface_hub takes for this blob (``.locks/<repository>/<etag>.lock``), so that its downloads and a repair exclude each other."""
    if not place.blob(name):
        yield
        return
    folder = os.path.join(os.path.dirname(place.folder), ".locks", os.path.basename(place.folder))
    os.makedirs(folder, exist_ok=True)
    with held(os.path.join(folder, f"{name}.lock"), patience):
        yield
