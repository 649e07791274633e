"""What the installed client said of itself, beside what the probes saw: where both fail it is evidence, where it came through the probes' word is doubted.

Pure. That the client fails where no probe does is a fault of its own (``http/the-client-itself-comes-through``).
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from diagnostics.case import Case, ClientTrial, Diagnosis, Evidence, Fault, Request, Subject
from diagnostics.causes import SECTION_OF
from diagnostics.causes.claims import leg_of
from diagnostics.facts.clients import title

# Steps before anybody answered: what the client has behind it cannot stand in its way. Not what comes after them: nobody verifies content as we do.
ON_THE_WAY = frozenset({"resolution", "connection", "tunnel", "handshake"})
BEFORE_THE_BYTES = frozenset({"settings", "names", "connections", "proxies", "tls", "http"})  # sections that a client's request can fail of


def heard(case: Case, diagnoses: tuple[Diagnosis, ...]) -> tuple[Diagnosis, ...]:
    """The diagnoses with what the client showed."""
    trial = case.client_trial
    if not isinstance(trial, ClientTrial) or not diagnoses:
        return diagnoses
    reached = _reached(case, trial)
    doubted = tuple(_doubted(case, trial, diagnosis, reached) for diagnosis in diagnoses)
    failed = next((request for request in trial.requests if request.outcome == "failed"), None)
    root = next((item for item in doubted if item.severity == "error" and SECTION_OF[item.cause] in BEFORE_THE_BYTES and not _only_the_client(item)), None)
    if failed is None or root is None:
        return doubted
    own = tuple(fault for item in doubted if _only_the_client(item) for fault in item.claims)
    agreed = _agreed(trial, root, failed, own)
    return tuple(agreed if item is root else item for item in doubted if not _only_the_client(item))


def _only_the_client(diagnosis: Diagnosis) -> bool:
    """What nobody but the client showed: where something else is known to stand in the way, that is why."""
    return all(fault.step == "client" for fault in diagnosis.claims)


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


def _agreed(trial: ClientTrial, diagnosis: Diagnosis, request: Request, own: tuple[Fault, ...]) -> Diagnosis:
    subject = Subject(kind="package", name=title(trial.client))
    seen = Evidence(subject=subject, fact=f"the installed client itself, asked for {request.path}", seen=" ← ".join(request.errors[:3]))
    checks = tuple(dict.fromkeys((*diagnosis.checks, *(fault.check for fault in own))))
    return replace(diagnosis, evidence=(*diagnosis.evidence, seen), claims=(*diagnosis.claims, *own), checks=checks)
