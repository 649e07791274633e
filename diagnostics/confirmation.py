"""A pasted error against what the probes saw: confirmed, refuted, or not to be checked here. A clue never claims a fault; it only says which diagnosis comes first.

Pure. The explanation itself becomes the diagnosis only where no probe could look at what it speaks of, or where the text is from another machine.
"""

from __future__ import annotations

import shlex
from dataclasses import replace

from diagnostics.case import Case, CheckResult, Clues, Diagnosis, Evidence, Explanation, Remedy, Subject
from diagnostics.causes import BY_ID, SECTION_OF
from diagnostics.causes.shells import for_shell
from diagnostics.facts.signatures import look

PLAUSIBLE = 0.1  # of the best explanation's confidence: below it a clue confirms nothing
SURE = 0.3  # an explanation below it gives way to anything that a probe sees
# A cause's section → the checks that would see it, by the first part of their ids.
SEEN_BY = {
    "settings": ("settings",),
    "names": ("dns",),
    "connections": ("connection",),
    "proxies": ("proxy",),
    "tls": ("tls",),
    "http": ("http",),
    "transfer": ("transfer",),
    "disk": ("disk",),
    "files": ("files", "checksums"),
    "memory": ("memory",),
    "versions": ("versions",),
    "model": ("model",),
    "load": ("load",),
}
WORDS = ((0.85, "almost certainly"), (0.6, "most likely"), (0.35, "probably"), (0.0, "possibly"))


def confirm(case: Case, diagnoses: tuple[Diagnosis, ...], results: tuple[CheckResult, ...]) -> tuple[Diagnosis, ...]:
    """The diagnoses with the one that the pasted error is about in front."""
    clues = case.clues
    if not isinstance(clues, Clues) or not clues.explanations:
        return diagnoses
    best = clues.explanations[0]
    confirmed = next((diagnosis for diagnosis in diagnoses if explanation_of(clues, diagnosis)), None)
    if confirmed is not None:
        told = replace(confirmed, evidence=(*confirmed.evidence, *(explanation_of(clues, confirmed) or best).evidence[:1]))
        return (told, *(diagnosis for diagnosis in diagnoses if diagnosis is not confirmed))
    errors = [diagnosis for diagnosis in diagnoses if diagnosis.severity == "error"]
    if errors and (not clues.decided or best.confidence < SURE or (_failed(best, results) and clues.here is not False)):
        instead = f"what the error's text suggests ({best.cause}): it is not what stands in the way here"
        return (replace(errors[0], ruled_out=(*errors[0].ruled_out, instead)), *(item for item in diagnoses if item is not errors[0]))
    if clues.here is True and refuted(best, results):
        return diagnoses
    by_text = _by_text_alone(case, clues, results)
    if errors and clues.here is True and _blocked(best, results):
        return (errors[0], by_text, *(item for item in diagnoses if item is not errors[0]))  # what stands before it on this machine, now
    return (by_text, *diagnoses)


def explanation_of(clues: Clues, diagnosis: Diagnosis) -> Explanation | None:
    """The explanation that a diagnosis confirms: of its cause, or of a symptom that it explains."""
    least = clues.explanations[0].confidence * PLAUSIBLE
    names = (diagnosis.cause, *diagnosis.explains)
    return next((item for item in clues.explanations if item.cause in names and item.confidence >= least), None)


def section_of(cause: str) -> str:
    return SECTION_OF.get(cause, "")


def _results(explanation: Explanation, results: tuple[CheckResult, ...]) -> list[CheckResult]:
    names = SEEN_BY.get(section_of(explanation.cause), ())
    return [result for result in results if result.check.split("/")[0] in names]


def _blocked(explanation: Explanation, results: tuple[CheckResult, ...]) -> CheckResult | None:
    return next((result for result in _results(explanation, results) if result.outcome == "blocked"), None)


def _failed(explanation: Explanation, results: tuple[CheckResult, ...]) -> bool:
    """Whether a probe found something else wrong just there."""
    return any(result.outcome == "failed" for result in _results(explanation, results))


def refuted(explanation: Explanation, results: tuple[CheckResult, ...]) -> bool:
    """Whether the checks that would see it looked, and all was well."""
    found = _results(explanation, results)
    return bool(found) and any(result.outcome == "passed" for result in found) and all(result.outcome in ("passed", "warned", "skipped") for result in found)


def why_unchecked(case: Case, explanation: Explanation, results: tuple[CheckResult, ...]) -> str:
    """What kept the probes from looking, or why what they saw does not count."""
    if isinstance(case.clues, Clues) and case.clues.here is False:
        return "the files it names are not here, so it seems to be from another machine, and nothing here can confirm it"
    if blocked := _blocked(explanation, results):
        return f"it could not be checked from here ({blocked.reason or 'not reached'})"
    if refuted(explanation, results):
        return "it is not to be seen on this machine now; the text may be from another one, or it is over"
    return "no probe looks at this, so nothing here can confirm it"


def _by_text_alone(case: Case, clues: Clues, results: tuple[CheckResult, ...]) -> Diagnosis:
    best, others = clues.explanations[0], clues.explanations[1:4]
    entry, known = look().get(best.cause, {}), BY_ID.get(best.cause)
    could = tuple(
        Evidence(
            subject=Subject(kind="text", name="the error"),
            fact="could also be",
            seen=f"{item.cause} ({item.confidence:.0%}): {look().get(item.cause, {}).get('means', '')}",
        )
        for item in others
        if item.confidence >= 0.05
    )
    untold = Remedy(do=entry.get("do", "Report it with the whole log."), run=filled(entry.get("run", ""), best), check="", proof="untried")
    remedy = for_shell(untold, case.environment.shell)
    return Diagnosis(
        cause=best.cause,
        severity="error",
        owner=known.owner if known else ("you",),
        title=f"The error says that {_means(best)} ({how_sure(best)}, {best.confidence:.0%})",
        why=f"This is read from the text alone: {why_unchecked(case, best, results)}. To be sure, look at: {best.look or 'the whole log'}.",
        subjects=best.subjects[:4] or (Subject(kind="text", name="the error"),),
        evidence=(*best.evidence, *could),
        remedies=(Remedy(do=filled(remedy.do, best), run=remedy.run, check=remedy.check, proof=remedy.proof),),
    )


def how_sure(explanation: Explanation) -> str:
    """The confidence in words."""
    return next(word for least, word in WORDS if explanation.confidence >= least)


def _means(explanation: Explanation) -> str:
    name = next((subject.name for subject in explanation.subjects if subject.kind in ("package", "tensor", "symbol", "library")), "")
    return look().get(explanation.cause, {}).get("means", explanation.cause) + (f": {name}" if name else "")


def filled(text: str, explanation: Explanation) -> str:
    """A remedy's places filled with what the text names, or with the word in capitals."""
    for kind in ("host", "path", "package", "repository"):
        if "{" + kind + "}" in text:
            name = next((subject.name for subject in explanation.subjects if subject.kind == kind), kind.upper())
            text = text.replace("{" + kind + "}", name if name == kind.upper() else shlex.quote(name))
    return text
