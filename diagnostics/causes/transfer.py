"""The bytes under way: cut, stalled, slow, or not those that were published."""

from __future__ import annotations

import shlex

from diagnostics.case import Body, Case, Cause, Fault, Finding, Leg, Published, Remedy
from diagnostics.causes.claims import again, by_subject, journey_of, on_legs

HOW = {
    "reset": "The connection was reset before the end of {file}.",
    "truncated": "The connection was closed before the end of {file}.",
    "short": "The answer is in order, and what it holds is shorter than {file} as published: that host (or something on the way) has only a part of it.",
}


def _facts(case: Case, fault: Fault, leg: Leg) -> dict[str, str]:
    body, journey = leg.body, journey_of(case, fault)
    assert isinstance(body, Body)
    name = (journey.path if journey else "") or leg.url
    published = journey.published if journey and isinstance(journey.published, Published) else None
    known = (published.bytes if published else None) if fault.code in ("short", "digest") else body.expected
    return {
        "host": leg.host,
        "url": journey.legs[0].url if journey else leg.url,  # what is signed is in no record: the first URL leads there anew
        "file": name,
        "bytes": str(body.bytes),
        "of": f" of {known}" if isinstance(known, int) else "",
        "how": HOW.get(fault.code, "").format(file=name),
        "length": "The length is right and the digest is not." if body.bytes == known else "The digest is not the published one.",
        "silence": f"{body.stalled_seconds:.0f}",
        "rate": next((item.seen.partition(" over ")[0] for item in fault.evidence if item.fact == "rate"), ""),
        "estimate": next((item.expected.partition(" at ")[0] for item in fault.evidence if item.fact == "still to come"), ""),
    }


def _found(cause: str, case: Case, faults: tuple[Fault, ...], *codes: str) -> list[Finding]:
    return by_subject(cause, on_legs(case, faults, "body", *codes), lambda fault, leg: _facts(case, fault, leg))


def _truncated(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return _found("download-truncated", case, faults, "truncated", "reset", "short")


def _truncated_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts["how"] == HOW["short"].format(file=facts["file"]):
        return [
            Remedy(
                do=f"Take {facts['file']} from another mirror or over another network, and report it to {facts['host']}: a retry there brings the same part again.",
                check=f"curl -sSL -o /dev/null -w '%{{size_download}}\\n' {shlex.quote(facts['url'])}",
            )
        ]
    return [
        Remedy(
            do=f"Fetch it with a client that resumes (hf download and curl -C - do); if it is cut at the same place again, something between limits size or time: try another network, or ask the admin of this one about {facts['host']}.",
            run=f"hf download {shlex.quote(case.target.name)}"
            if case.target.kind == "hub"
            else f"curl -L -C - --retry 20 --retry-all-errors -O {shlex.quote(facts['url'])}",
            check=again(case),
        )
    ]


def _stalled(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return _found("download-stalled", case, faults, "stalled")


def _stalled_remedies(finding: Finding, case: Case) -> list[Remedy]:
    hub = case.target.kind == "hub"
    patient = Remedy(
        do="Give the client more patience, and fetch with one plain connection at a time.",
        run="export HF_HUB_DOWNLOAD_TIMEOUT=60 HF_HUB_DISABLE_XET=1",
        check=again(case),
    )
    return [
        *([patient] if hub else []),
        Remedy(
            do=f"Try another network; if it works there, something here holds back the bytes from {finding.facts['host']} (an inspecting proxy that scans first, a rate limit): ask its admin.",
            check=f"curl -L -o /dev/null --speed-limit 1 --speed-time 15 {shlex.quote(finding.facts['url'])}",
        ),
    ]


def _digest(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return _found("remote-checksum-mismatch", case, faults, "digest")


def _digest_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Fetch {facts['file']} over another network and compare. If it differs there too, report it to {facts['host']}; if not, something on this network changes the bytes. Do not load what you have.",
            check=f"curl -sSL {shlex.quote(facts['url'])} | sha256sum",
        )
    ]


def _slow(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return _found("download-slow", case, faults, "slow")


def _slow_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do="Use a nearer mirror (HF_ENDPOINT), an hour with less traffic, or a smaller or quantised variant of the model; a resumable client (hf download) may run over night.",
            check=again(case),
        )
    ]


CAUSES = (
    Cause(
        id="download-truncated",
        owner=("network", "server"),
        title="The download from {host} is cut: {bytes}{of} bytes came",
        why="{how} Some clients save such a file as if it were whole.",
        recognise=_truncated,
        remedies=_truncated_remedies,
        lab="download-truncated",
    ),
    Cause(
        id="download-stalled",
        owner=("network",),
        title="The download from {host} stops after {bytes} bytes and says nothing for {silence} s",
        why="The connection stays open and no byte comes. Clients wait out their time-outs, several times, and report only “timed out”.",
        recognise=_stalled,
        remedies=_stalled_remedies,
        lab="download-stalled",
    ),
    Cause(
        id="remote-checksum-mismatch",
        owner=("server", "network"),
        title="{host} sends other bytes for {file} than were published",
        why="{length} No client of the hub checks this; the model would load and be wrong.",
        recognise=_digest,
        remedies=_digest_remedies,
        lab="remote-checksum-mismatch",
    ),
    Cause(
        id="download-slow",
        owner=("network",),
        severity="warning",
        title="At {rate} this download would take {estimate}",
        why="The link to {host} works, only slowly, for what is still to come.",
        recognise=_slow,
        remedies=_slow_remedies,
        lab="download-slow",
    ),
)
