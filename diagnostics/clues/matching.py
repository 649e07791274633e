"""Which signatures a failure fits, and what follows: causes with how sure one may be, best first."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from diagnostics.clues.failures import Failure, Said
from diagnostics.clues.features import Features, features_of
from diagnostics.facts.signatures import Signature, signatures

DECIDES = 20  # a signature below this rank only says that something failed
_CODES = ("hub", "verify", "alert", "gai", "errno", "status")


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A signature that fits one exception of a chain."""

    signature: Signature
    said: Said
    depth: int  # 0 is the first error of the chain
    names: tuple[tuple[str, str], ...] = ()  # what the pattern's groups took out: ("package", "sentencepiece")


@functools.cache
def _by_code() -> dict[tuple[str, str], tuple[Signature, ...]]:
    """Signatures that one code, or the class, must call up; the rest is under ("", "")."""
    table: dict[tuple[str, str], list[Signature]] = {}
    for signature in signatures():
        kind = next((kind for kind in (*_CODES, "types") if getattr(signature, kind)), "")
        for key in [(kind, value) for value in getattr(signature, kind)] if kind else [("", "")]:
            table.setdefault(key, []).append(signature)
    return {key: tuple(found) for key, found in table.items()}


def hits_of(failure: Failure) -> list[Hit]:
    """Everything that fits, what decides most first; of equals the first error of the chain."""
    found: list[Hit] = []
    for depth, (said, features) in enumerate(zip(failure.said, features_of(failure), strict=True)):
        for signature in _candidates(features):
            if failure.level == "warning" and signature.level != "warning":
                continue
            names = _fits(signature, features, said)
            if names is not None:
                found.append(Hit(signature=signature, said=said, depth=depth, names=names))
    return sorted(found, key=lambda hit: (-hit.signature.rank, hit.depth))


def _candidates(features: Features) -> Iterator[Signature]:
    table = _by_code()
    for kind in _CODES:
        if value := getattr(features, kind):
            yield from table.get((kind, value), ())
    yield from table.get(("types", features.name), ())
    yield from table.get(("", ""), ())


def _fits(signature: Signature, features: Features, said: Said) -> tuple[tuple[str, str], ...] | None:
    """The names that the signature's pattern takes out, None where it does not fit. Cheap questions first."""
    if not all(not wanted or getattr(features, kind) in wanted for kind in _CODES if (wanted := getattr(signature, kind))):
        return None
    if signature.types and features.name not in signature.types:
        return None
    if signature.any and not any(text in features.lower for text in signature.any):
        return None
    if not all(text in features.lower for text in signature.has):
        return None
    if not _fits_around(signature, features):
        return None
    if signature.match is None:
        return ()
    match = signature.match.search(said.text)
    return tuple((kind, value) for kind, value in match.groupdict().items() if value) if match else None


def _fits_around(signature: Signature, features: Features) -> bool:
    """What the whole chain, its frames and the way tell."""
    if signature.proxy is not None and features.proxy != signature.proxy:
        return False
    if signature.phase and features.phase != signature.phase:
        return False
    if signature.chain and not any(text in features.chain for text in signature.chain):
        return False
    if signature.frames and not any(text in features.frames for text in signature.frames):
        return False
    return not any(text in features.chain for text in signature.not_)


def plain_words(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
