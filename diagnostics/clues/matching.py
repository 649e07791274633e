"""Which signatures a failure fits, and what follows: causes with how sure one may be, best first."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from diagnostics.clues.failures import Failure, Said
from diagnostics.clues.features import Features, features_of, from_a_loader
from diagnostics.facts.signatures import Signature, compiled, signatures

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
    """Signatures that one code, or the class, must call up."""
    table: dict[tuple[str, str], list[Signature]] = {}
    for signature in signatures():
        kind = _key(signature)
        for value in getattr(signature, kind) if kind else ():
            table.setdefault((kind, value), []).append(signature)
    return {key: tuple(found) for key, found in table.items()}


def _key(signature: Signature) -> str:
    return next((kind for kind in (*_CODES, "types") if getattr(signature, kind)), "")


@functools.cache
def _by_text() -> tuple[tuple[str, tuple[Signature, ...]], ...]:
    """Every text that calls up signatures, with these: looked for one by one, which is faster than any pattern of a thousand branches."""
    table: dict[str, list[Signature]] = {}
    for signature in signatures():
        if not _key(signature):
            for text in signature.any or signature.has[:1]:
                table.setdefault(text, []).append(signature)
    return tuple((text, tuple(found)) for text, found in table.items())


def hits_of(failure: Failure, warnings_count: bool = False) -> list[Hit]:
    """Everything that fits, what decides most first; of equals the first error of the chain. A warning fits only what says so, unless ``warnings_count``."""
    found: list[Hit] = []
    for depth, (said, features) in enumerate(zip(failure.said, features_of(failure), strict=True)):
        for signature in _candidates(features).values():
            if failure.level == "warning" and signature.level != "warning" and not warnings_count:
                continue
            names = _fits(signature, features, said)
            if names is not None:
                found.append(Hit(signature=signature, said=said, depth=depth, names=names))
    return sorted(found, key=lambda hit: (-hit.signature.rank, hit.depth))


def _candidates(features: Features) -> dict[str, Signature]:
    table, lower = _by_code(), features.lower
    keys = [(kind, value) for kind in _CODES if (value := getattr(features, kind))] + [("types", features.name)]
    found = {signature.id: signature for key in keys for signature in table.get(key, ())}
    for text, called in _by_text():
        if text in lower:
            found.update((signature.id, signature) for signature in called)
    return found


def _fits(signature: Signature, features: Features, said: Said) -> tuple[tuple[str, str], ...] | None:
    """The names that the signature's pattern takes out, None where it does not fit. Cheap questions first."""
    for kind in _CODES:
        wanted = getattr(signature, kind)
        if wanted and getattr(features, kind) not in wanted:
            return None
    if signature.types and features.name not in signature.types:
        return None
    if signature.any and not any(text in features.lower for text in signature.any):
        return None
    if not all(text in features.lower for text in signature.has):
        return None
    if not _fits_around(signature, features):
        return None
    if not signature.match:
        return ()
    match = compiled(signature.match).search(said.text)
    return tuple((kind, value) for kind, value in match.groupdict().items() if value) if match else None


def _fits_around(signature: Signature, features: Features) -> bool:
    """What the whole chain, its frames and the way tell."""
    if signature.proxy is not None and features.proxy != signature.proxy:
        return False
    if signature.phase and features.phase != signature.phase:
        return False
    if signature.loader and features.frames and not from_a_loader(features.frames) and not any(word in features.frames for word in ("load_model", "tokenizer")):
        return False
    if signature.chain and not any(text in features.chain for text in signature.chain):
        return False
    if signature.frames and not any(text in features.frames for text in signature.frames):
        return False
    return not any(text in features.chain for text in signature.not_)
