"""The clock, and what a certificate says of itself: dates, names, keys."""

from __future__ import annotations

import datetime
import email.utils
import shlex

from diagnostics.case import Case, Certificate, Fault, Finding, Handshake, Leg, Remedy, Subject
from diagnostics.causes.claims import again, by_subject, on_legs
from diagnostics.causes.tls_common import EXPIRED, NAME_MISMATCH, NOT_YET_VALID, TOO_WEAK, WEAK_REASONS, facts_of, untrusted
from diagnostics.facts import clients


def clock(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    claims = [fault for fault in faults if fault.code == "skew"]
    dated = [
        (fault, leg, handshake) for fault, leg, handshake in untrusted(case, faults, frozenset({NOT_YET_VALID, EXPIRED})) if _valid_by_its_own_clock(handshake)
    ]
    claims += [fault for fault, _, _ in dated]
    impossible = _before_this_was_made(case)
    if impossible:
        dated += [(fault, leg, handshake) for fault, leg, handshake in untrusted(case, faults, frozenset({NOT_YET_VALID})) if fault not in claims]
        claims += [fault for fault, _, _ in dated if fault not in claims]
    if not claims:
        return []
    skews = [handshake.skew_seconds for _, _, handshake in dated if isinstance(handshake.skew_seconds, float)]
    skews += [leg.response.skew_seconds for leg in case.legs if leg.response and isinstance(leg.response.skew_seconds, float)]
    skew = max(skews, key=abs, default=0.0)
    behind = f"far behind ({case.started[:10]}, before this tool was made)"
    facts = {"amount": f"{_span(abs(skew))} {'ahead' if skew > 0 else 'behind'}" if skew else behind}
    return [
        Finding(
            cause="clock-wrong", subjects=(Subject(kind="machine", name="clock"),), claims=tuple(claims), facts=facts, severity="error" if dated else "warning"
        )
    ]


def _before_this_was_made(case: Case) -> bool:
    """A clock that tells a time before the tables of this very program were written (a dead battery, an image without time) needs no other witness."""
    return bool(case.started) and case.started[:10] < clients.as_of().isoformat()


def _valid_by_its_own_clock(handshake: Handshake) -> bool:
    """Whether every certificate is valid at the time the server itself tells."""
    if not isinstance(handshake.skew_seconds, float) or not handshake.chain or abs(handshake.skew_seconds) < 60:
        return False
    theirs = _server_time(handshake)
    return theirs is not None and all(_between(item, theirs) for item in handshake.chain)


def _server_time(handshake: Handshake) -> datetime.datetime | None:
    try:
        return email.utils.parsedate_to_datetime(handshake.date).astimezone(datetime.UTC)
    except (ValueError, TypeError):
        return None


def _between(item: Certificate, moment: datetime.datetime) -> bool:
    text = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return (not item.not_before or item.not_before <= text) and (not item.not_after or text <= item.not_after)


def _span(seconds: float) -> str:
    for size, word in ((86400 * 365, "years"), (86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} seconds"


def clock_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do="Set the clock: switch time synchronisation on. Under WSL after a sleep: sudo hwclock -s. In a container or VM: set the host's clock.",
            run="sudo timedatectl set-ntp true",
            check="date -u",
        )
    ]


def expired(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return by_subject(
        "tls-certificate-expired",
        [(fault, leg) for fault, leg, _ in untrusted(case, faults, frozenset({EXPIRED}))],
        lambda fault, leg: {**facts_of(case, leg), "which": _which(case, leg), "when": _when(leg, EXPIRED), "clock": _whose_clock(leg)},
    )


def not_yet_valid(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return by_subject(
        "tls-not-yet-valid",
        [(fault, leg) for fault, leg, _ in untrusted(case, faults, frozenset({NOT_YET_VALID}))],
        lambda fault, leg: {**facts_of(case, leg), "when": _when(leg, NOT_YET_VALID), "clock": _whose_clock(leg)},
    )


def _which(case: Case, leg: Leg) -> str:
    """The leaf, an intermediate, or, where all that was sent is in date, the root."""
    assert isinstance(leg.handshake, Handshake)
    chain = leg.handshake.chain
    late = [item for item in chain if item.not_after and item.not_after < case.started]
    if chain and not late:
        return "the root that certifies"
    return f"the intermediate certificate “{late[0].subject_name or late[0].subject}” of" if late and late[0] is not chain[0] else "the certificate of"


def _whose_clock(leg: Leg) -> str:
    assert isinstance(leg.handshake, Handshake)
    if isinstance(leg.handshake.skew_seconds, float):
        return "That is so by the server's own clock as well, so this machine's clock is not to blame."
    return "The server did not tell its time; check this machine's (date -u) before blaming the server."


def _when(leg: Leg, code: int) -> str:
    assert isinstance(leg.handshake, Handshake)
    if not leg.handshake.chain:
        return "an unknown date"
    values = (
        [item.not_after for item in leg.handshake.chain if item.not_after]
        if code == EXPIRED
        else [item.not_before for item in leg.handshake.chain if item.not_before]
    )
    return (min(values) if code == EXPIRED else max(values)) if values else "an unknown date"


def owner_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Only whoever runs {facts['host']} can renew its certificate: report it to them with this report; use a mirror (HF_ENDPOINT) or another source meanwhile.",
            check=f"openssl s_client -connect {shlex.quote(facts['host'])}:{facts['port']} -servername {shlex.quote(facts['host'])} </dev/null 2>/dev/null | openssl x509 -noout -dates -subject",
        )
    ]


def mismatch(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return by_subject(
        "tls-name-mismatch",
        [(fault, leg) for fault, leg, _ in untrusted(case, faults, NAME_MISMATCH)],
        lambda fault, leg: {**facts_of(case, leg), "names": facts_of(case, leg)["names"] or "no name at all"},
    )


def mismatch_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"You reach a server that is not {facts['host']}: check the spelling of the host, a line for it in /etc/hosts, and whether this network asks for a sign-in first (open http://{facts['host']}/ in a browser). If you run the server, its certificate must name {facts['host']}.",
            run=f"getent hosts {shlex.quote(facts['host'])}",
            check=again(case),
        )
    ]


def too_weak(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, _ in untrusted(case, faults, TOO_WEAK)]
    pairs += [
        (fault, leg)
        for fault, leg in on_legs(case, faults, "handshake", "alert", "error")
        if isinstance(leg.handshake, Handshake) and leg.handshake.reason.endswith(WEAK_REASONS)
    ]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        handshake = leg.handshake
        assert isinstance(handshake, Handshake)
        leaf = handshake.chain[0] if handshake.chain else None
        key = f"{leaf.key_bits}-bit key, {leaf.signature}" if leaf and isinstance(leaf.key_bits, int) else handshake.message
        return {**facts_of(case, leg), "key": key}

    return by_subject("tls-key-too-weak", pairs, facts)
