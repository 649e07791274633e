"""What the installed client said of itself, beside what the probes saw: where both fail it is evidence, where it came through the probes' word is doubted.

Pure. That the client fails where no probe does is a fault of its own (``http/the-client-itself-comes-through``).
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from diagnostics.case import Case, ClientTrial, Diagnosis, Evidence, Request, Subject
from diagnostics.causes.claims import leg_of
from diagnostics.facts.clients import title

# Steps before anybody answered: what the client has behind it cannot stand in its way. Not what comes after them: nobody verifies content as we do.
ON_THE_WAY = frozenset({"resolution", "connection", "tunnel", "handshake"})


def heard(case: Case, diagnoses: tuple[Diagnosis, ...]) -> tuple[Diagnosis, ...]:
    """The diagnoses with what the client showed."""
    trial = case.client_trial
    if not isinstance(trial, ClientTrial) or not diagnoses:
        return diagnoses
    reached = _reached(case, trial)
    doubted = tuple(_doubted(case, trial, diagnosis, reached) for diagnosis in diagnoses)
    failed = next((request for request in trial.requests if request.outcome == "failed"), None)
    if failed is None:
        return doubted
    first = next((index for index, item in enumerate(doubted) if item.severity == "error" and any(fault.journey for fault in item.claims)), None)
    return doubted if first is None else (*doubted[:first], _agreed(trial, doubted[first], failed), *doubted[first + 1 :])


def _reached(case: Case, trial: ClientTrial) -> frozenset[str]:
    """Hosts that answered the client."""
    answered = [request for request in trial.requests if request.outcome in ("fetched", "refused")]
    endpoint = urlsplit(case.target.endpoint or "https://huggingface.co").hostname or ""
    return frozenset({endpoint, *(request.host.partition(":")[0] for request in answered if request.outcome == "fetched")} - {""}) if answered else frozenset()


def _doubted(case: Case, trial: ClientTrial, diagnosis: Diagnosis, reached: frozenset[str]) -> Diagnosis:
    """No more than a warning where the client came past all that it claims, to the same hosts."""
    legs = [leg_of(case, fault) for fault in diagnosis.claims]
    past = bool(legs) and all(
        leg is not None and leg.host in reached and fault.step in ON_THE_WAY and fault.journey != "xet"
        for leg, fault in zip(legs, diagnosis.claims, strict=True)
    )
    if diagnosis.severity != "error" or not past:
        return diagnosis
    subject = Subject(kind="package", name=title(trial.client))
    seen = Evidence(subject=subject, fact="the installed client itself, at the same time", seen="it came through to the same hosts")
    return replace(diagnosis, severity="warning", evidence=(seen, *diagnosis.evidence))


def _agreed(trial: ClientTrial, diagnosis: Diagnosis, request: Request) -> Diagnosis:
    subject = Subject(kind="package", name=title(trial.client))
    seen = Evidence(subject=subject, fact=f"the installed client itself, asked for {request.path}", seen=" ← ".join(request.errors[:3]))
    return replace(diagnosis, evidence=(*diagnosis.evidence, seen))
