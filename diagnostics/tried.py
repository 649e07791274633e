"""The trial load against what the probes saw: it confirms a diagnosis, names the cause that no probe saw, or, where it went well, softens what only said that it could not.

Pure. A load that ended badly is a fault of the check ``load/the-model-loads``, which the causes of the section load claim; here it goes to the root behind it.
"""

from __future__ import annotations

from dataclasses import replace

from diagnostics.case import Case, Clues, Diagnosis, Evidence, Explanation, Remedy, Subject, Trial
from diagnostics.causes import BY_ID, SECTION_OF
from diagnostics.confirmation import PLAUSIBLE, SURE, filled
from diagnostics.facts.signatures import look

OWN = frozenset({"load-killed", "load-crashed", "load-failed"})
# What a load meets of a model that is here: an error there may be behind whatever the load said.
MET = ("settings", "disk", "files", "versions", "memory", "model")
ON_THE_WAY = ("names", "connections", "proxies", "tls", "http", "transfer")
OF_FILES = ("files", "model")  # one text for both: a damaged header reads as a tensor that does not fit
ALIKE = {"torch-weights-only": ("pickle-unsafe",)}  # torch refuses the one as it refuses the other
# What a load that went well refutes: that it cannot be. Not what it does not look at: digests, zeros, what a pickle would run, ids beyond the embedding, accelerators,
# the working folder (which is not on its path), worker processes.
REFUTED = frozenset({
    "memory-insufficient", "memory-limited-by-container", "address-space-limited", "memory-overcommit-refused", "pagefile-too-small",
    "environment-mixed", "package-missing", "python-unsupported", "numpy-abi-mismatch", "torch-too-old-for-pickle", "package-too-old", "package-too-new",
    "torch-weights-only", "package-conflict", "system-library-missing", "cpu-instruction-missing", "package-broken", "remote-code-required", "architecture-unknown",
    "file-unreadable", "model-directory-empty", "download-unfinished", "lfs-pointer", "html-instead-of-file", "file-empty", "file-truncated",
    "safetensors-header-invalid", "json-invalid", "format-unrecognised", "cache-link-broken", "shard-missing", "index-missing", "weights-missing", "config-missing",
    "file-missing", "model-not-cached", "model-type-missing", "weights-framework-mismatch", "adapter-base-missing", "tensors-misnamed", "shape-mismatch",
    "tensors-missing", "tokenizer-incomplete", "mmap-unsupported",
})  # fmt: skip
LACK = frozenset({"memory-insufficient", "memory-limited-by-container", "memory-overcommit-refused"})  # what the kernel kills for


def led(case: Case, diagnoses: tuple[Diagnosis, ...]) -> tuple[Diagnosis, ...]:
    """The diagnoses with what the trial load showed."""
    trial = case.trial
    if not isinstance(trial, Trial):
        return diagnoses
    if trial.outcome == "loaded":
        return tuple(_softened(trial, diagnosis) for diagnosis in diagnoses)
    own = next((diagnosis for diagnosis in diagnoses if diagnosis.cause in OWN), None)
    if own is None:  # its check was not asked
        return diagnoses
    others = tuple(diagnosis for diagnosis in diagnoses if diagnosis is not own)
    behind = _behind(trial, others)
    if behind is not None:
        told = _with(behind, own, trial)
        return (told, *(diagnosis for diagnosis in others if diagnosis is not behind))
    named = _best(trial)
    if named is not None:
        return (_by_its_words(trial, named, own), *others)
    return diagnoses


# --- a load that ended badly --------------------------------------------------------------------------------------------------


def _behind(trial: Trial, others: tuple[Diagnosis, ...]) -> Diagnosis | None:
    """The diagnosis of the probes that explains it: the one that its words name, else the first error in what a load meets."""
    confirmed = next((diagnosis for diagnosis in others if _names(trial, diagnosis)), None)
    if confirmed is not None:
        return confirmed
    if trial.outcome == "killed":
        lack = (diagnosis for diagnosis in others if diagnosis.cause in LACK)
        return next(lack, None) if trial.killer else None
    waits = trial.network == "as it is" and trial.outcome == "hung"  # what a client says of a network that fails is known; one that waits says nothing
    sections = (*MET, *ON_THE_WAY) if trial.network == "on" or waits else MET
    best = _best(trial)
    errors = [diagnosis for diagnosis in others if diagnosis.severity == "error" and SECTION_OF.get(diagnosis.cause) in sections]
    if best is not None:  # its words are about one thing: only what is of that kind can be it, by the bytes rather than by the message
        errors = [diagnosis for diagnosis in errors if SECTION_OF.get(diagnosis.cause) in _kind(best) or diagnosis.cause in ALIKE.get(best.cause, ())]
    return errors[0] if errors else None


def _kind(best: Explanation) -> tuple[str, ...]:
    section = SECTION_OF.get(best.cause, "")
    return OF_FILES if section in OF_FILES else (section,)


def _names(trial: Trial, diagnosis: Diagnosis) -> bool:
    if not isinstance(trial.clues, Clues) or not trial.clues.explanations:
        return False
    least = trial.clues.explanations[0].confidence * PLAUSIBLE
    return any(item.cause in (diagnosis.cause, *diagnosis.explains) and item.confidence >= least for item in trial.clues.explanations)


def _best(trial: Trial) -> Explanation | None:
    """What its words mean for sure, beyond that it failed."""
    clues = trial.clues
    if not isinstance(clues, Clues) or not clues.decided or not clues.explanations:
        return None
    best = clues.explanations[0]
    return best if best.confidence >= SURE and best.cause not in OWN else None


def _with(root: Diagnosis, own: Diagnosis, trial: Trial) -> Diagnosis:
    """The root with the trial's fault and evidence under it. What ended a load is an error, whatever it was before."""
    return replace(
        root,
        severity="error",
        evidence=(*root.evidence, *own.evidence),
        explains=(*root.explains, *(item for item in (own.cause, *own.explains) if item not in root.explains)),
        checks=tuple(dict.fromkeys((*root.checks, *own.checks))),
        claims=(*root.claims, *own.claims),
    )


def _by_its_words(trial: Trial, best: Explanation, own: Diagnosis) -> Diagnosis:
    """A cause of the catalogue that the load itself named and no probe saw."""
    entry, known = look().get(best.cause, {}), BY_ID.get(best.cause)
    names = ", ".join(f"{subject.kind} {subject.name}" for subject in best.subjects[:2])
    remedy = Remedy(do=filled(entry.get("do", "Report it with report.json attached."), best), run=filled(entry.get("run", ""), best), check="")
    others = trial.clues.explanations[1:3] if isinstance(trial.clues, Clues) else ()
    could = tuple(
        Evidence(subject=Subject(kind="load", name=trial.what), fact="could also be", seen=f"{item.cause} ({item.confidence:.0%})")
        for item in others
        if item.confidence >= 0.1
    )
    return replace(
        own,
        cause=best.cause,
        owner=known.owner if known else own.owner,
        title=f"The load fails because {entry.get('means', best.cause)}" + (f" ({names})" if names else ""),
        why=f"The trial load ({trial.what}) said so itself: {trial.error or 'it ended'}{f', “{trial.message.splitlines()[0][:200]}”' if trial.message else ''}. Look at: {best.look or 'the whole traceback'}.",
        subjects=best.subjects[:4] or own.subjects,
        evidence=(*own.evidence, *best.evidence, *could),
        remedies=(remedy,),
        explains=(own.cause,),
    )


# --- a load that went well ----------------------------------------------------------------------------------------------------


def _softened(trial: Trial, diagnosis: Diagnosis) -> Diagnosis:
    """An error that says that the load cannot be, where it was: it stays, as a warning, and both are said."""
    if diagnosis.severity != "error" or any(fault.check.startswith("load/") for fault in diagnosis.claims):
        return diagnosis
    section = SECTION_OF.get(diagnosis.cause, "")
    if section not in (*MET, *_reached(trial)):
        return diagnosis
    refuted = _is_refuted(trial, diagnosis, section)
    so = "so it does not stand in the way of this load" if refuted else "which does not look at this"
    line = Evidence(subject=Subject(kind="load", name=trial.what), fact="the trial load", seen=f"succeeded in {trial.seconds:.1f} s, {so}")
    return replace(diagnosis, severity="warning" if refuted else "error", evidence=(*diagnosis.evidence, line))


def _is_refuted(trial: Trial, diagnosis: Diagnosis, section: str) -> bool:
    """Only a load of the whole model, with every weight in its place, says anything about the rest; of a command its user says that it is one."""
    if trial.way == "files" or trial.missing or trial.mismatched or trial.without_numbers:
        return False
    return diagnosis.cause in REFUTED or section in _reached(trial)


def _reached(trial: Trial) -> tuple[str, ...]:
    """Sections that a load that went well went through on the network."""
    return ON_THE_WAY if trial.network == "on" else ("settings", *ON_THE_WAY) if trial.way == "command" else ()
