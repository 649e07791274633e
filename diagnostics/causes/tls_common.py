"""What the causes of the TLS section ask of a handshake: its chain, who signed, what other stores say, and the words that all of them use."""

from __future__ import annotations

from collections.abc import Iterator

from diagnostics.case import Case, Certificate, Fault, Handshake, Leg, StoreVerdict
from diagnostics.causes.claims import on_legs
from diagnostics.facts import clients, hosts

UNTRUSTED_ISSUER = frozenset({2, 18, 19, 20, 21, 27})
NOT_YET_VALID = 9
EXPIRED = 10
NAME_MISMATCH = frozenset({62, 63, 64})
TOO_WEAK = frozenset({66, 67, 68})
BUILT_IN = ("certifi", "operating system")
FEW_ROOTS = 10
WEAK_REASONS = ("KEY_TOO_SMALL", "MD_TOO_WEAK", "CA_KEY_TOO_SMALL", "EE_KEY_TOO_SMALL", "DH_KEY_TOO_SMALL")


def untrusted(case: Case, faults: tuple[Fault, ...], codes: frozenset[int] = UNTRUSTED_ISSUER) -> Iterator[tuple[Fault, Leg, Handshake]]:
    for fault, leg in on_legs(case, faults, "handshake", "untrusted"):
        if isinstance(leg.handshake, Handshake) and leg.handshake.code in codes:
            yield fault, leg, leg.handshake


def client_of(case: Case) -> str:
    return clients.title(case.target.client) if case.target.client else "the client"


def last_of(handshake: Handshake) -> Certificate | None:
    return handshake.chain[-1] if handshake.chain else None


def product_of(handshake: Handshake) -> str:
    """The inspection product that signs, by the issuers' names."""
    return next((name for item in handshake.chain for text in (item.issuer, item.subject) if (name := hosts.inspection_product(text))), "")


def issuer_of(handshake: Handshake) -> str:
    last = last_of(handshake)
    return (last.issuer_name or last.issuer) if last else "unknown"


def accepting(handshake: Handshake, *names: str) -> StoreVerdict | None:
    return next((verdict for verdict in handshake.verdicts if verdict.accepted and (not names or verdict.store in names)), None)


def facts_of(case: Case, leg: Leg) -> dict[str, str]:
    handshake = leg.handshake
    assert isinstance(handshake, Handshake)
    leaf, last, other = handshake.chain[0] if handshake.chain else None, last_of(handshake), accepting(handshake, *BUILT_IN)
    return {
        "host": leg.host,
        "port": str(leg.port),
        "issuer": issuer_of(handshake),
        "subject": leaf.subject_name or leaf.subject if leaf else "",
        "names": ", ".join(leaf.names[:6]) if leaf else "",
        "not_before": leaf.not_before if leaf else "",
        "not_after": leaf.not_after if leaf else "",
        "fingerprint": last.fingerprint if last else "",
        "product": product_of(handshake),
        "client": client_of(case),
        "store": handshake.store,
        "message": handshake.message,
        "other": other.store if other else "",
        "other_path": other.path if other else "",
        "alert": handshake.alert,
    }


def ca_variables(case: Case) -> tuple[str, ...]:
    """The variables that name a file of roots to the clients in play, each client's first."""
    families = [use.family for use in clients.clients_of(case.target)] or ["requests"]
    firsts = (next((rule.variable for rule in clients.facts(family).ca if rule.takes in ("file", "either")), "") for family in families)
    return tuple(dict.fromkeys(filter(None, firsts))) or ("SSL_CERT_FILE",)


def readers(case: Case) -> str:
    """Who reads which: “huggingface_hub 0.36.2 reads REQUESTS_CA_BUNDLE, hf_xet 1.8.0 reads SSL_CERT_FILE”."""
    by_variable: dict[str, list[str]] = {}
    for use in clients.clients_of(case.target):
        variable = next((rule.variable for rule in clients.facts(use.family).ca if rule.takes in ("file", "either")), "no such variable")
        by_variable.setdefault(variable, []).append(clients.title(use))
    return ", ".join(f"{' and '.join(names)} read{'s' if len(names) == 1 else ''} {variable}" for variable, names in by_variable.items())
