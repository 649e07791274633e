"""Where a digest is wrong and the very content lies in the hub's cache as well: which bytes differ, so that the copy can take the place of the damaged file.

A blob of the cache is named by its sha256; the name is believed only after the blob itself was hashed, in the same pass that compares.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from diagnostics import redact
from diagnostics.case import Digest, Environment
from diagnostics.probes.cache import real

CHUNK = 1 << 20
BLOCK = 4096
MOST_COMPARED = 4
MOST_REPOSITORIES = 2000


def with_copies(digests: tuple[Digest, ...], places: Mapping[str, str], environment: Environment, over: Callable[[], bool]) -> tuple[Digest, ...]:
    """The digests, those that are wrong with what a second copy shows. ``places``: path in the target → path on disk."""
    wrong = [digest for digest in digests if digest.actual != digest.expected and digest.algorithm == "sha256"][:MOST_COMPARED]
    found = {digest.path: _compared(digest, places.get(digest.path, ""), environment, over) for digest in wrong}
    return tuple(found.get(digest.path, digest) if digest in wrong else digest for digest in digests)


def _compared(digest: Digest, location: str, environment: Environment, over: Callable[[], bool]) -> Digest:
    copy = _copy(digest.expected, location, environment)
    differs = _differs(location, copy, digest.expected, over) if copy else ""
    return replace(digest, copy=redact.path(copy), differs=differs) if differs else digest


def _copy(sha256: str, location: str, environment: Environment) -> str:
    """A blob of that name in any repository of the cache, other than the file itself."""
    hub = real(environment.caches.get("hub", ""))
    if not hub or not location or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        return ""
    try:
        repositories = sorted(name for name in os.listdir(hub) if "--" in name)[:MOST_REPOSITORIES]
        paths = [os.path.join(hub, name, "blobs", sha256) for name in repositories]
        return next((path for path in paths if os.path.isfile(path) and not os.path.samefile(path, location)), "")
    except (OSError, ValueError):
        return ""


def _differs(damaged: str, whole: str, sha256: str, over: Callable[[], bool]) -> str:
    """From which byte to which the two differ, and in how many blocks; "" where the copy is not what its name says, or there was no time."""
    digest, first, last, blocks, at = hashlib.sha256(), -1, -1, 0, 0
    try:
        with open(damaged, "rb") as bad, open(whole, "rb") as good:
            while piece := good.read(CHUNK):
                if over():
                    return ""
                digest.update(piece)
                other = bad.read(len(piece))
                if other != piece:
                    begins = [begin for begin in range(0, len(piece), BLOCK) if piece[begin : begin + BLOCK] != other[begin : begin + BLOCK]]
                    blocks += len(begins)
                    first = at + _first(piece, other, begins[0]) if first < 0 else first
                    last = at + begins[-1] + _last(piece, other, begins[-1])
                at += len(piece)
    except OSError:
        return ""
    if digest.hexdigest() != sha256 or first < 0:
        return ""
    return f"bytes {first} to {last}, in {blocks} block{'s' if blocks > 1 else ''} of 4 KiB"


def _first(piece: bytes, other: bytes, begin: int) -> int:
    pairs = zip(piece[begin : begin + BLOCK], other[begin : begin + BLOCK].ljust(BLOCK, b"\0"), strict=False)
    return begin + next((index for index, (one, two) in enumerate(pairs) if one != two), 0)


def _last(piece: bytes, other: bytes, begin: int) -> int:
    """The last differing byte of a block, counted from its beginning."""
    pairs = list(zip(piece[begin : begin + BLOCK], other[begin : begin + BLOCK].ljust(BLOCK, b"\0"), strict=False))
    return max((index for index, (one, two) in enumerate(pairs) if one != two), default=0)
