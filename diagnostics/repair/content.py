"""Whether a file is what was published; and its bytes from what lies on this machine already: a second copy, a beginning that is right."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

from diagnostics.case import ABSENT, Environment, Published, Unseen
from diagnostics.probes.cache import real
from diagnostics.probes.files_one import examine

CHUNK = 1 << 20
BLOCK = 4096
MOST_REPOSITORIES = 2000
Progress = Callable[[int], None]  # bytes done, since the last call


def digest_of(path: str, algorithm: str, progress: Progress | None = None) -> str:
    """Lower-case hex; "git-sha1" is git's name for the content. Raises OSError. A link is not followed, so that what is checked is what will be renamed."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        made = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if algorithm == "git-sha1" else hashlib.new(algorithm, usedforsecurity=False)
        while piece := file.read(CHUNK):
            made.update(piece)
            if progress:
                progress(len(piece))
    return made.hexdigest()


@contextlib.contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """A regular file, not through a link. Raises OSError for anything else."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
        yield file


def what_is_wrong(path: str, name: str, size: int | Unseen, digest: Published | Unseen, progress: Progress | None = None) -> str:
    """Why the file at ``path`` is not the file ``name`` as published; "" where it is. Where no digest is published, its own tables decide."""
    length = os.lstat(path).st_size
    if isinstance(size, int) and length != size:
        return f"it has {length} bytes instead of {size}"
    if isinstance(digest, Published) and digest.algorithm != "crc32":
        actual = digest_of(path, digest.algorithm, progress)
        return "" if actual.startswith(digest.value) else f"its {digest.algorithm} is {actual[:16]}…, published is {digest.value[:16]}…"
    seen = examine(name, path, size if isinstance(size, int) else ABSENT)
    return next((f"{defect.code}: {defect.detail}" for defect in seen.defects), "")


def copies_of(digest: Published | Unseen, environment: Environment) -> Iterator[str]:
    """Blobs of that name in any repository of the cache, to be verified once they are copied."""
    hub = real(environment.caches.get("hub", ""))
    if not hub or not isinstance(digest, Published) or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", digest.value):
        return
    try:
        repositories = sorted(name for name in os.listdir(hub) if "--" in name)[:MOST_REPOSITORIES]
    except OSError:
        return
    yield from (path for name in repositories if os.path.isfile(path := os.path.join(hub, name, "blobs", digest.value)))


def copy(source: str, target: str, most: int | None = None) -> int:
    """The first ``most`` bytes of a file (all of it, where that is None) into a new one; returns how many. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    done = 0
    with opened(os.path.realpath(source)) as reader, os.fdopen(os.open(target, flags, 0o666), "wb") as writer:
        while piece := reader.read(CHUNK if most is None else min(CHUNK, most - done)):
            writer.write(piece)
            done += len(piece)
    return done


def written_bytes(path: str, most: int) -> int:
    """How much of the beginning was ever written: without the blocks of zeros that a preallocated download ends with. At most ``most``. Raises OSError."""
    with opened(path) as file:
        end = min(os.fstat(file.fileno()).st_size, most)
        while end > 0:
            begin = max(0, end - CHUNK)
            file.seek(begin)
            piece = file.read(end - begin).rstrip(b"\0")
            if piece:
                return min(end, begin + -(-len(piece) // BLOCK) * BLOCK)
            end = begin
    return 0
