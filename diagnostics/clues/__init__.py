"""What already went wrong: a pasted text, a log or an exception, to the causes it can have, best first. Pure: the text alone, no I/O.

``lines`` cleans, ``failures`` and ``objects`` find the chains, ``features`` reads their codes, ``matching`` asks the signatures (``facts/signatures``).
"""

from __future__ import annotations

import shlex

from diagnostics import redact
from diagnostics.case import Evidence, Explanation, Subject
from diagnostics.clues.failures import Failure, find_failures
from diagnostics.clues.features import from_a_loader
from diagnostics.clues.lines import read_lines
from diagnostics.clues.matching import DECIDES, Hit, hits_of
from diagnostics.clues.objects import failure_of
from diagnostics.clues.subjects import names_of
from diagnostics.clues.versions import which_way
from diagnostics.facts.signatures import look

__all__ = ["explain", "failures_in"]

MOST = 8  # explanations of one text
LEAST = 0.02
TRACEBACK = 0.8  # what ended a program with a traceback, against a line of its log, in steps of ten ranks
UNKNOWN = 0.25  # of an error that no signature knows
_CLEAN = redact.Secrets()


def explain(error: str | bytes | BaseException) -> list[Explanation]:
    """The causes that ``error`` can have, best first; empty where nothing in it is known to be wrong.

    ``error`` is a text of any length (a message, a traceback, a whole log) or an exception, whose chain, errno, verify_code and response are read.
    """
    return explanations(failures_in(error))


def failures_in(error: str | bytes | BaseException) -> list[Failure]:
    """The chains of exceptions, and lines that report one, in the order of the text."""
    if isinstance(error, BaseException):
        return [failure_of(error)]
    text = error.decode("utf-8", "replace") if isinstance(error, bytes) else error
    return find_failures(read_lines(text))


def explanations(failures: list[Failure]) -> list[Explanation]:
    """Of all failures of a text: what ended it stands last, unless it only follows from another or says nothing."""
    judged = _judged(failures)
    if not judged:
        return _unknown(failures)
    ranked = sorted(enumerate(judged), key=lambda item: _weight(item[0], item[1][1][0], len(judged), framed=bool(item[1][0].frames)), reverse=True)
    found: dict[str, Explanation] = {}
    for place, (_, (failure, hits)) in enumerate(ranked[:4]):
        share = 1.0 if place == 0 else 0.15
        for explanation in _of_failure(failure, hits, share):
            found.setdefault(explanation.cause, explanation)
    if set(found) - {"load-failed"}:
        found.pop("load-failed", None)  # which is what no other cause explains
    best = sorted(found.values(), key=lambda item: -item.confidence)
    return _at_most_one([item for item in best if item.confidence >= LEAST][:MOST])


def _unknown(failures: list[Failure]) -> list[Explanation]:
    """An error that no signature knows is said to be one, where a loader or client raised it: it is no healthy log, and not our reader's own code."""
    failure = next((failure for failure in reversed(failures) if failure.frames and from_a_loader("\n".join(failure.frames).replace("\\", "/"))), None)
    if failure is None:
        return []
    last = failure.said[-1]
    where = Subject(kind="text", name=f"line {last.line}" if last.line else "the error")
    evidence = Evidence(subject=where, fact="says", seen=_CLEAN.clean(last.text.strip() or last.type, 300))
    return [Explanation(cause="load-failed", confidence=UNKNOWN, evidence=(evidence,), look=look()["load-failed"]["look"], subjects=names_of(failure))]


def _judged(failures: list[Failure]) -> list[tuple[Failure, list[Hit]]]:
    """Every failure that a signature fits. Where what ended it says nothing (a client that hides the reason), the warnings before it are heard too."""
    every = [(failure, hits_of(failure)) for failure in failures]
    judged = [(failure, hits) for failure, hits in every if hits]
    vague = all(hits[0].signature.rank < DECIDES for _, hits in judged)
    if vague and any(failure.level == "error" and (failure.frames or hits) for failure, hits in every):
        judged += [(failure, hits) for failure in failures if failure.level == "warning" and (hits := hits_of(failure, warnings_count=True))]
    return judged


def _weight(index: int, best: Hit, count: int, framed: bool) -> tuple[int, float]:
    """First by how much it decides, in coarse steps; then the later one, and a traceback before a line."""
    rank = best.signature.rank
    step = 0 if rank < DECIDES else 1 if rank < 40 else 2
    return step, rank / 10 + index / count + (TRACEBACK if framed else 0.0)


def _of_failure(failure: Failure, hits: list[Hit], share: float) -> list[Explanation]:
    """The best signature's causes; then those of the others in the same chain, which may still be what it was."""
    found: list[Explanation] = []
    for place, hit in enumerate(hits[:3]):
        weight = share if place == 0 else share * 0.12
        subjects = names_of(failure, hit.names)
        for cause, confidence in which_way(hit.signature.causes, dict(hit.names)):
            if all(other.cause != cause for other in found):
                found.append(_explanation(cause, confidence * weight, failure, hit, subjects))
    return found


def _explanation(cause: str, confidence: float, failure: Failure, hit: Hit, subjects: tuple[Subject, ...]) -> Explanation:
    where = Subject(kind="text", name=f"line {hit.said.line}" if hit.said.line else "the error")
    said = _CLEAN.clean(hit.said.text.strip() or hit.said.type, 300)
    first = failure.said[-1]
    evidence = [Evidence(subject=where, fact="says", seen=said)]
    if first is not hit.said and first.text.strip():
        last = Subject(kind="text", name=f"line {first.line}" if first.line else "the error")
        evidence.append(Evidence(subject=last, fact="ended with", seen=_CLEAN.clean(first.text.strip(), 200)))
    entry = look().get(cause, {})
    return Explanation(
        cause=cause,
        confidence=round(confidence, 3),
        evidence=tuple(evidence),
        look=_filled(entry.get("look", ""), subjects),
        subjects=subjects,
        signature=hit.signature.id,
    )


def _filled(text: str, subjects: tuple[Subject, ...]) -> str:
    """``{host}``, ``{path}``, ``{package}`` … replaced by what the text names, or by the word in capitals."""
    for kind in ("host", "path", "package", "repository", "tensor"):
        if "{" + kind + "}" in text:
            name = next((subject.name for subject in subjects if subject.kind == kind), kind.upper())
            text = text.replace("{" + kind + "}", shlex.quote(name))  # in a command, perhaps, and the text is anybody's
    return text


def _at_most_one(found: list[Explanation]) -> list[Explanation]:
    total = sum(item.confidence for item in found)
    if total <= 1:
        return found
    return [Explanation(**{**vars(item), "confidence": round(item.confidence / total, 3)}) for item in found]
