"""TLS. OpenSSL prints one text for an unknown root and a missing intermediate; the chain, the other stores and the hosts tell them apart.

Codes are X509_V_ERR_* of OpenSSL (include/openssl/x509_vfy.h).
"""

from __future__ import annotations

import datetime
import email.utils
import shlex
from collections.abc import Iterator

from diagnostics.case import Case, Cause, Certificate, Fault, Finding, Handshake, Leg, Remedy, StoreVerdict, Subject
from diagnostics.causes.claims import again, all_in_one, by_subject, export, fails, host_port, on_legs, with_same_answers, works
from diagnostics.facts import clients, hosts
from diagnostics.facts.stores import trust

UNTRUSTED_ISSUER = frozenset({2, 18, 19, 20, 21, 27})
NOT_YET_VALID, EXPIRED = 9, 10
NAME_MISMATCH = frozenset({62, 63, 64})
TOO_WEAK = frozenset({66, 67, 68})
BUILT_IN = ("certifi", "operating system")
FEW_ROOTS = 10
WEAK_REASONS = ("KEY_TOO_SMALL", "MD_TOO_WEAK", "CA_KEY_TOO_SMALL", "EE_KEY_TOO_SMALL", "DH_KEY_TOO_SMALL")


def _untrusted(case: Case, faults: tuple[Fault, ...], codes: frozenset[int] = UNTRUSTED_ISSUER) -> Iterator[tuple[Fault, Leg, Handshake]]:
    for fault, leg in on_legs(case, faults, "handshake", "untrusted"):
        if isinstance(leg.handshake, Handshake) and leg.handshake.code in codes:
            yield fault, leg, leg.handshake


def _client(case: Case) -> str:
    return clients.title(case.target.client) if case.target.client else "the client"


def _last(handshake: Handshake) -> Certificate | None:
    return handshake.chain[-1] if handshake.chain else None


def _product(handshake: Handshake) -> str:
    """The inspection product that signs, by the issuers' names."""
    return next((name for item in handshake.chain for text in (item.issuer, item.subject) if (name := hosts.inspection_product(text))), "")


def _issuer(handshake: Handshake) -> str:
    last = _last(handshake)
    return (last.issuer_name or last.issuer) if last else "unknown"


def _accepting(handshake: Handshake, *names: str) -> StoreVerdict | None:
    return next((verdict for verdict in handshake.verdicts if verdict.accepted and (not names or verdict.store in names)), None)


def _facts(case: Case, leg: Leg) -> dict[str, str]:
    handshake = leg.handshake
    assert isinstance(handshake, Handshake)
    leaf, last, other = handshake.chain[0] if handshake.chain else None, _last(handshake), _accepting(handshake, *BUILT_IN)
    return {
        "host": leg.host,
        "port": str(leg.port),
        "issuer": _issuer(handshake),
        "subject": leaf.subject_name or leaf.subject if leaf else "",
        "names": ", ".join(leaf.names[:6]) if leaf else "",
        "not_before": leaf.not_before if leaf else "",
        "not_after": leaf.not_after if leaf else "",
        "fingerprint": last.fingerprint if last else "",
        "product": _product(handshake),
        "client": _client(case),
        "store": handshake.store,
        "message": handshake.message,
        "other": other.store if other else "",
        "other_path": other.path if other else "",
        "alert": handshake.alert,
    }


# --- clock-wrong --------------------------------------------------------------------------------------------------------------


def _clock(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    claims = [fault for fault in faults if fault.code == "skew"]
    dated = [
        (fault, leg, handshake) for fault, leg, handshake in _untrusted(case, faults, frozenset({NOT_YET_VALID, EXPIRED})) if _valid_by_its_own_clock(handshake)
    ]
    claims += [fault for fault, _, _ in dated]
    impossible = _before_this_was_made(case)
    if impossible:
        dated += [(fault, leg, handshake) for fault, leg, handshake in _untrusted(case, faults, frozenset({NOT_YET_VALID})) if fault not in claims]
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


def _clock_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do="Set the clock: switch time synchronisation on. Under WSL after a sleep: sudo hwclock -s. In a container or VM: set the host's clock.",
            run="sudo timedatectl set-ntp true",
            check="date -u",
        )
    ]


# --- untrusted ----------------------------------------------------------------------------------------------------------------


def _not_strict(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg in on_legs(case, faults, "handshake", "untrusted")
        if isinstance(leg.handshake, Handshake) and any(verdict.accepted and verdict.store.endswith("not strict") for verdict in leg.handshake.verdicts)
    ]
    return all_in_one("tls-root-not-strict", pairs, lambda fault, leg: _facts(case, leg))


def _not_strict_remedies(finding: Finding, case: Case) -> list[Remedy]:
    found = [
        Remedy(
            do=f"Ask whoever runs the authority “{finding.facts['issuer']}” to reissue it with a critical basicConstraints, a keyUsage and key identifiers (RFC 5280); until then use Python 3.12, which is not strict.",
            check=again(case),
        )
    ]
    if case.target.client and case.target.client.family == "huggingface_hub-2":
        found.insert(
            0,
            Remedy(
                do="huggingface_hub 2 is not strict with the operating system's store: install that root there and unset SSL_CERT_FILE.",
                run="unset SSL_CERT_FILE",
                check=again(case),
            ),
        )
    return found


def _chain_incomplete(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """The issuer is public and was not sent, or fetching it (AIA) makes the chain hold."""
    pairs = [
        (fault, leg) for fault, leg, handshake in _untrusted(case, faults, frozenset({2, 20, 21})) if not _product(handshake) and _issuer_not_sent(handshake)
    ]
    return by_subject("tls-chain-incomplete", pairs, lambda fault, leg: {**_facts(case, leg), "intermediate": _aia(leg)})


def _issuer_not_sent(handshake: Handshake) -> bool:
    last = _last(handshake)
    if last is None or last.self_issued or _accepting(handshake, *BUILT_IN):  # what another store verifies as it was sent is complete
        return False
    return _accepting(handshake, "fetched intermediate") is not None or (hosts.public_authority(last.issuer_organization) and not last.issuer_in)


def _aia(leg: Leg) -> str:
    last = _last(leg.handshake) if isinstance(leg.handshake, Handshake) else None
    return last.ca_issuers[0] if last and last.ca_issuers else ""


def _chain_incomplete_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    server = Remedy(
        do=f"Tell whoever runs {facts['host']} that the server does not send its intermediate certificate “{facts['issuer']}”: it must serve the full chain (fullchain.pem, not cert.pem).",
        check=f"openssl s_client -connect {shlex.quote(facts['host'])}:{facts['port']} -servername {shlex.quote(facts['host'])} -showcerts </dev/null",
    )
    if not facts["intermediate"]:
        return [server]
    variable = _variable(case)
    lines = f'curl -sS {shlex.quote(facts["intermediate"])} | openssl x509 -inform der >> ca-with-intermediate.pem; cat "$(python -m certifi)" >> ca-with-intermediate.pem; export {variable}="$PWD/ca-with-intermediate.pem"'
    return [
        server,
        Remedy(
            do="Until then, add the missing certificate to a bundle of your own.",
            run=lines,
            check=again(case),
            proof="seen" if facts.get("intermediate") else "untried",
        ),
    ]


def _store_outdated(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """The client's own store is missing or too old: another store here holds the public root, or the root it does hold has expired."""
    pairs = [(fault, leg) for fault, leg, handshake in _untrusted(case, faults) if handshake.store in BUILT_IN and _lacks_public_root(leg, handshake)]
    pairs += [
        (fault, leg)
        for fault, leg, handshake in _untrusted(case, faults, frozenset({EXPIRED}))
        if handshake.store in BUILT_IN and _all_sent_is_in_date(case, handshake) and not _product(handshake)
    ]
    pairs += [
        (fault, leg)
        for fault, leg in on_legs(case, faults, "handshake", "store_unusable")
        if isinstance(leg.handshake, Handshake) and leg.handshake.store in BUILT_IN
    ]
    return all_in_one("ca-store-outdated", pairs, lambda fault, leg: _facts(case, leg))


def _lacks_public_root(leg: Leg, handshake: Handshake) -> bool:
    """certifi holds public roots only; the operating system's store may also hold the company's, so there the issuer's name has to tell."""
    last, other = _last(handshake), _accepting(handshake, *BUILT_IN)
    if _product(handshake):
        return False
    public = last is not None and hosts.public_authority(last.issuer_organization)
    if other is not None:
        nearly_empty = isinstance(handshake.roots, int) and handshake.roots < FEW_ROOTS
        return public or other.store == "certifi" or (nearly_empty and not hosts.is_known_public(leg.host))
    return handshake.roots == 0 and (public or last is None)


def _all_sent_is_in_date(case: Case, handshake: Handshake) -> bool:
    """Then what has expired is a root that only the store brings (DST Root CA X3 in September 2021)."""
    return bool(handshake.chain and case.started) and all(item.not_after >= case.started for item in handshake.chain if item.not_after)


def _store_outdated_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    update = (
        "python -m pip install --upgrade certifi"
        if facts["store"] == "certifi"
        else "sudo apt-get install --reinstall ca-certificates && sudo update-ca-certificates"
    )
    found = [
        Remedy(
            do=f"Renew the store that {facts['client']} uses ({facts['store']}). On macOS with Python from python.org: run “Install Certificates.command”.",
            run=update,
            check=again(case),
        )
    ]
    if facts["other_path"]:
        found.insert(
            0,
            Remedy(
                do=f"The store “{facts['other']}” accepts the same server: point the client to it.",
                run=export(_variable(case), facts["other_path"]),
                check=again(case),
                proof="seen",
            ),
        )
    return found


def _variable(case: Case) -> str:
    """The CA variable that this client reads first."""
    family = case.target.client.family if case.target.client else "requests"
    rules = clients.facts(family).ca
    return rules[0].variable if rules else "SSL_CERT_FILE"


def _intercepted(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """A private authority signs for a host that has a public certificate, or for several unrelated hosts; or an inspection product signs."""
    seen = list(_untrusted(case, faults))
    pairs = [(fault, leg) for fault, leg, handshake in seen if _product(handshake) or hosts.is_known_public(leg.host) or _signs_elsewhere(handshake, leg, seen)]
    return all_in_one(
        "tls-intercepted",
        pairs,
        lambda fault, leg: {
            **_facts(case, leg),
            "hosts": _hosts(pairs),
            "variable": _variable(case),
            "by": _signer(leg),
        },
    )


def _signs_elsewhere(handshake: Handshake, leg: Leg, seen: list[tuple[Fault, Leg, Handshake]]) -> bool:
    """The same private issuer for a host of another domain."""
    last = _last(handshake)
    return (
        last is not None
        and not last.self_issued
        and any(
            other.host != leg.host and _domain(other.host) != _domain(leg.host) and (their := _last(theirs)) is not None and their.issuer == last.issuer
            for _, other, theirs in seen
        )
    )


def _domain(host: str) -> str:
    return host if host.replace(".", "").isdigit() or ":" in host else ".".join(host.split(".")[-2:])


def _signer(leg: Leg) -> str:
    assert isinstance(leg.handshake, Handshake)
    product = _product(leg.handshake)
    if not leg.handshake.chain:
        return "somebody else (the certificates could not be read a second time)"
    return f"“{_issuer(leg.handshake)}”" + (f" ({product})" if product and product.lower() not in _issuer(leg.handshake).lower() else "")


def _intercepted_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    variable = facts["variable"]
    if facts["other_path"]:
        return [
            Remedy(
                do=f"The root is in the store “{facts['other']}” of this machine already; {facts['client']} does not look there by itself. Point it there.",
                run=export(variable, facts["other_path"]),
                check=again(case),
                proof="seen",
            )
        ]
    path = "company-root.pem"
    both = "; ".join(
        (
            f'cat "$(python -m certifi)" {path} > ca-all.pem',
            f'export {variable}="$PWD/ca-all.pem"',
            *(f'export {name}="$PWD/ca-all.pem"' for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if name != variable),
        )
    )
    return [
        Remedy(
            do=f"Get the root certificate “{facts['issuer']}” from your network's admin as PEM ({path}), compare its fingerprint with theirs, and give it to the clients together with the public roots. {facts['client']} reads {variable}.",
            run=both,
            check=again(case),
        ),
        Remedy(do=f"Ask the admin to exempt {facts['hosts']} from inspection.", check=again(case)),
    ]


def _self_signed(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg, handshake in _untrusted(case, faults)
        if handshake.code == 18 or (len(handshake.chain) == 1 and handshake.chain[0].self_issued)
    ]
    return by_subject("tls-self-signed", pairs, lambda fault, leg: _facts(case, leg))


def _self_signed_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return _trust_explicitly(
        case,
        facts,
        f"If you know that this is the right server (compare the fingerprint {facts['fingerprint'][:16]}… with its owner), trust its certificate together with the public roots; better, have it repaired.",
    )


def _trust_explicitly(case: Case, facts: dict[str, str], do: str) -> list[Remedy]:
    target = f"{shlex.quote(facts['host'])}:{facts['port']}"
    lines = "; ".join(
        (
            f"openssl s_client -connect {target} -servername {shlex.quote(facts['host'])} -showcerts </dev/null | openssl x509 > server.pem",
            "openssl x509 -in server.pem -noout -fingerprint -sha256",
            'cat "$(python -m certifi)" server.pem > ca-all.pem',
            f'export {_variable(case)}="$PWD/ca-all.pem"',
        )
    )
    return [Remedy(do=do, run=lines, check=again(case))]


def _issuer_unknown(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    by_issuer: dict[str, list[tuple[Fault, Leg]]] = {}
    for fault, leg, handshake in _untrusted(case, faults):
        by_issuer.setdefault(_issuer(handshake), []).append((fault, leg))
    return [
        *_issuer_of_proxy_unknown(case, faults),
        *(
            finding
            for pairs in by_issuer.values()
            for finding in all_in_one("tls-issuer-unknown", pairs, lambda fault, leg, pairs=pairs: _facts(case, leg) | {"hosts": _hosts(pairs)})  # type: ignore[misc]
        ),
    ]


def _issuer_of_proxy_unknown(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """A proxy that is spoken to over TLS, and whose own certificate the client does not trust."""

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        client = clients.facts(case.target.client.family if case.target.client else "requests")
        store = trust(client, case.environment).store
        return {
            "hosts": f"the proxy {fault.subject.name}", "issuer": "a private authority", "client": _client(case),
            "store": {"os": "operating system"}.get(store, store), "other_path": "", "other": "",
        }  # fmt: skip

    pairs = [(fault, leg) for fault, leg in on_legs(case, faults, "tunnel", "tls_failed") if works(leg, "proxy-with-any-certificate")]
    return by_subject("tls-issuer-unknown", pairs, facts)


def _hosts(pairs: list[tuple[Fault, Leg]]) -> str:
    return ", ".join(dict.fromkeys(leg.host for _, leg in pairs))


def _issuer_unknown_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts["other_path"]:
        return [
            Remedy(
                do=f"The store “{facts['other']}” of this machine knows that authority; {facts['client']} does not look there by itself. Point it there.",
                run=export(_variable(case), facts["other_path"]),
                check=again(case),
                proof="seen",
            )
        ]
    lines = f'cat "$(python -m certifi)" authority.pem > ca-all.pem; export {_variable(case)}="$PWD/ca-all.pem"'
    return [
        Remedy(
            do=f"Get the root certificate of “{facts['issuer']}” from whoever runs {facts['hosts']} (or this network) as PEM (authority.pem) and add it to the roots that {facts['client']} reads.",
            run=lines,
            check=again(case),
        )
    ]


# --- dates, names, keys -------------------------------------------------------------------------------------------------------


def _expired(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return by_subject(
        "tls-certificate-expired",
        [(fault, leg) for fault, leg, _ in _untrusted(case, faults, frozenset({EXPIRED}))],
        lambda fault, leg: {**_facts(case, leg), "which": _which(case, leg), "when": _when(leg, EXPIRED), "clock": _whose_clock(leg)},
    )


def _not_yet_valid(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return by_subject(
        "tls-not-yet-valid",
        [(fault, leg) for fault, leg, _ in _untrusted(case, faults, frozenset({NOT_YET_VALID}))],
        lambda fault, leg: {**_facts(case, leg), "when": _when(leg, NOT_YET_VALID), "clock": _whose_clock(leg)},
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


def _owner_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Only whoever runs {facts['host']} can renew its certificate: report it to them with this report; use a mirror (HF_ENDPOINT) or another source meanwhile.",
            check=f"openssl s_client -connect {shlex.quote(facts['host'])}:{facts['port']} -servername {shlex.quote(facts['host'])} </dev/null 2>/dev/null | openssl x509 -noout -dates -subject",
        )
    ]


def _mismatch(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return by_subject(
        "tls-name-mismatch",
        [(fault, leg) for fault, leg, _ in _untrusted(case, faults, NAME_MISMATCH)],
        lambda fault, leg: {**_facts(case, leg), "names": _facts(case, leg)["names"] or "no name at all"},
    )


def _mismatch_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"You reach a server that is not {facts['host']}: check the spelling of the host, a line for it in /etc/hosts, and whether this network asks for a sign-in first (open http://{facts['host']}/ in a browser). If you run the server, its certificate must name {facts['host']}.",
            run=f"getent hosts {shlex.quote(facts['host'])}",
            check=again(case),
        )
    ]


def _too_weak(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, _ in _untrusted(case, faults, TOO_WEAK)]
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
        return {**_facts(case, leg), "key": key}

    return by_subject("tls-key-too-weak", pairs, facts)


# --- the handshake itself -----------------------------------------------------------------------------------------------------


def _client_certificate(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for step in ("handshake", "response")
        for fault, leg in on_legs(case, faults, step)
        if isinstance(leg.handshake, Handshake) and (_wants_certificate(fault, leg.handshake) or _page_wants_certificate(leg, leg.handshake))
    ]
    return by_subject("tls-client-certificate-required", with_same_answers(case, faults, pairs), lambda fault, leg: _facts(case, leg))


def _wants_certificate(fault: Fault, handshake: Handshake) -> bool:
    if handshake.alert == "certificate_required":
        return True
    return handshake.certificate_requested and fault.code in ("alert", "closed", "reset") and handshake.outcome != "untrusted"


def _page_wants_certificate(leg: Leg, handshake: Handshake) -> bool:
    """nginx, Apache and IIS end the handshake well and answer in HTTP that the certificate they asked for did not come."""
    response = leg.response
    if not handshake.certificate_requested or not response or response.status not in (400, 401, 403, 495, 496):
        return False
    words = " ".join((response.reason, response.title, response.first_bytes)).lower()
    return "certificate" in words or response.status in (495, 496)


def _client_certificate_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"{facts['host']} admits only clients with a certificate of their own. Ask whoever runs it for one (and how your client is to present it), or for an endpoint that works with a token.",
            check=f"openssl s_client -connect {shlex.quote(facts['host'])}:{facts['port']} -servername {shlex.quote(facts['host'])} </dev/null | grep -A3 'client certificate CA'",
        )
    ]


def _versions(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg in on_legs(case, faults, "handshake", "alert", "error")
        if isinstance(leg.handshake, Handshake) and _no_common_ground(leg.handshake)
    ]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        assert isinstance(leg.handshake, Handshake)
        offered = ", ".join(name.replace("_", ".") for name in leg.handshake.versions_that_work)
        return {
            **_facts(case, leg),
            "offers": offered or "none that this OpenSSL knows",
            "openssl": case.environment.interpreter.openssl if case.environment.interpreter else "OpenSSL",
        }

    return by_subject("tls-version-unsupported", pairs, facts)


def _no_common_ground(handshake: Handshake) -> bool:
    if handshake.alert in ("protocol_version", "insufficient_security"):
        return True
    if handshake.reason in (
        "UNSUPPORTED_PROTOCOL",
        "NO_PROTOCOLS_AVAILABLE",
        "NO_CIPHERS_AVAILABLE",
        "VERSION_TOO_LOW",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "NO_SHARED_CIPHER",
    ):
        return True
    return handshake.alert == "handshake_failure" and not handshake.certificate_requested


def _versions_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"{facts['host']} offers: {facts['offers']}; {facts['openssl']} here wants TLS 1.2 or newer with today's ciphers. Whoever runs the server must switch TLS 1.2 on; if this Python is very old, use a newer one.",
            check=f"openssl s_client -connect {shlex.quote(facts['host'])}:{facts['port']} -servername {shlex.quote(facts['host'])} -tls1_2 </dev/null",
        )
    ]


def _not_tls(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        assert isinstance(leg.handshake, Handshake)
        return {**_facts(case, leg), "said": leg.handshake.first_bytes or "something else", "url": leg.url}

    return by_subject("tls-not-tls", on_legs(case, faults, "handshake", "not_tls"), facts)


def _not_tls_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts["said"].startswith("HTTP/"):
        endpoint = case.environment.endpoint
        plain = facts["url"].replace("https://", "http://", 1)
        if endpoint and facts["host"] in endpoint.value:
            return [
                Remedy(
                    do=f"Port {facts['port']} of {facts['host']} speaks plain HTTP: write http:// in HF_ENDPOINT, or name the port that speaks TLS.",
                    run=export("HF_ENDPOINT", endpoint.value.replace("https://", "http://", 1)),
                    check=again(case),
                )
            ]
        return [
            Remedy(
                do=f"Port {facts['port']} of {facts['host']} speaks plain HTTP: write http:// in the URL, or name the port that speaks TLS.",
                check=f"curl -sSI {shlex.quote(plain)}",
            )
        ]
    return [
        Remedy(
            do=f"Something else than a web server listens at {facts['host']}:{facts['port']} ({facts['said']}): correct the port.",
            check=f"curl -sSI https://{shlex.quote(facts['host'])}:{facts['port']}/",
        )
    ]


def _cut(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg in on_legs(case, faults, "handshake", "closed", "reset", "silent", "alert", "error") if not fails(leg, "says-nothing")]
    how = {"closed": "closed", "reset": "reset", "silent": "left without an answer", "alert": "ended with an alert", "error": "broken off"}

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        assert isinstance(leg.handshake, Handshake)
        alert = leg.handshake.alert if leg.handshake.alert_sent_by == "server" else ""
        return {
            **_facts(case, leg),
            "how": how[fault.code] + (f" ({alert})" if alert else ""),
            "told": _told(leg, alert),
            "old": "yes" if works(leg, "tls-1.2") else "",
        }

    return by_subject("tls-handshake-cut", pairs, facts)


def _told(leg: Leg, alert: str) -> str:
    """What the repeated handshakes tell about who cuts, and by what."""
    if works(leg, "without-sni"):
        return "A handshake that names no host gets through: something filters by the name (SNI)."
    if works(leg, "tls-1.2"):
        return "A handshake that offers only TLS 1.2 gets through: something on the way cannot bear the newer, longer first message."
    if alert:
        return "A filter acts so, and a server that has no certificate for this name."
    return "That is how filters act which may not decrypt."


def _cut_remedies(finding: Finding, case: Case) -> list[Remedy]:
    host, port = host_port(finding.subjects[0])
    check = f"openssl s_client -connect {shlex.quote(host)}:{port} -servername {shlex.quote(host)} </dev/null"
    if finding.facts["old"]:
        lines = "printf 'openssl_conf = c\\n[c]\\nssl_conf = s\\n[s]\\nsystem_default = d\\n[d]\\nMaxProtocol = TLSv1.2\\n' > openssl-1.2.cnf; export OPENSSL_CONF=\"$PWD/openssl-1.2.cnf\""
        return [
            Remedy(do="Until that box is renewed, let OpenSSL offer TLS 1.2 only.", run=lines, check=again(case), proof="seen"),
            Remedy(do=f"Tell your network's admin that a device on the way to {host}:{port} drops TLS 1.3 or long ClientHellos.", check=check),
        ]
    mtu = (
        " If it hangs only through a VPN or tunnel, try a smaller MTU (ip link set dev INTERFACE mtu 1400)." if finding.facts["how"].startswith("left") else ""
    )
    ask = f"Ask your network's admin to allow {host}:{port}, or try another network.{mtu}"
    if finding.facts["alert"]:
        return [
            Remedy(
                do=f"Check the spelling of {host} and that it still serves this; if it works from elsewhere, a filter here ends TLS to it. {ask}", check=check
            )
        ]
    return [Remedy(do=f"A filter on the way ends TLS to {host} after the first message. {ask}", check=check)]


CAUSES = (
    Cause(id="clock-wrong", owner=("machine",), title="This machine's clock is {amount}", why="The servers tell another time, and by theirs the certificates are valid. Certificates, signed URLs and tokens all depend on the clock.", recognise=_clock, remedies=_clock_remedies, lab="clock-wrong"),
    Cause(id="tls-root-not-strict", owner=("network",), title="Python's strict check refuses the authority “{issuer}” that signs for {host}: {message}", why="Since Python 3.13 certificates must follow RFC 5280 to the letter. The same chain holds without the strict flag: the root is trusted, but made the old way.", recognise=_not_strict, remedies=_not_strict_remedies, lab="tls-root-not-strict"),
    Cause(id="tls-chain-incomplete", owner=("server",), title="{host} does not send the intermediate certificate “{issuer}”, so its chain cannot be verified", why="The certificate is issued by a public authority whose intermediate the server leaves out. Browsers fetch it by themselves, Python does not.", recognise=_chain_incomplete, remedies=_chain_incomplete_remedies, lab="tls-chain-incomplete"),
    Cause(id="ca-store-outdated", owner=("machine",), title="The trust store of {client} ({store}) lacks the root that {host} needs", why="The store is missing, empty or too old; nothing is wrong with the server's certificate.", recognise=_store_outdated, remedies=_store_outdated_remedies, lab="ca-store-outdated"),
    Cause(id="tls-intercepted", owner=("network",), title="TLS to {hosts} is intercepted: {by} signs in place of the real authority", why="A middlebox of this network opens the encryption and signs with its own root, which {client} (store: {store}) does not trust. Retrying cannot help; the client needs that root.", recognise=_intercepted, remedies=_intercepted_remedies, lab="tls-intercepted"),
    Cause(id="tls-self-signed", owner=("server",), title="{host} presents a certificate that it signed itself ({subject})", why="No authority vouches for it, so no store can know it.", recognise=_self_signed, remedies=_self_signed_remedies, lab="tls-self-signed"),
    Cause(id="tls-issuer-unknown", owner=("server",), title="The certificate of {hosts} is issued by “{issuer}”, which {client} (store: {store}) does not know", why="A private authority issued the certificate, and its root has to be given to the client. If a browser here shows that issuer for other sites too, it is this network that inspects TLS.", recognise=_issuer_unknown, remedies=_issuer_unknown_remedies, lab="tls-issuer-unknown"),
    Cause(id="tls-certificate-expired", owner=("server",), title="{which} {host} expired on {when}", why="{clock}", recognise=_expired, remedies=_owner_remedies, lab="tls-certificate-expired"),
    Cause(id="tls-not-yet-valid", owner=("server",), title="The certificate of {host} is valid only from {when}", why="{clock}", recognise=_not_yet_valid, remedies=_owner_remedies, lab="tls-not-yet-valid"),
    Cause(id="tls-name-mismatch", owner=("server", "network"), title="The certificate at {host} is for other names ({names})", why="Whoever answers there is not {host}: a wrong address, a sign-in page of the network, or a server set up for another name.", recognise=_mismatch, remedies=_mismatch_remedies, lab="tls-name-mismatch"),
    Cause(id="tls-key-too-weak", owner=("server",), title="The certificate of {host} is too weak for this OpenSSL ({key})", why="OpenSSL's security level refuses keys and signatures that can be forged today. Older systems accept them.", recognise=_too_weak, remedies=_owner_remedies, lab="tls-key-too-weak"),
    Cause(id="tls-client-certificate-required", owner=("server",), title="{host} wants a client certificate", why="The handshake asks for one and ends because none was presented.", recognise=_client_certificate, remedies=_client_certificate_remedies, lab="tls-client-certificate-required"),
    Cause(id="tls-version-unsupported", owner=("server",), title="{host} and this Python have no TLS version or cipher in common", why="The server ends the handshake ({alert}). It offers: {offers}.", recognise=_versions, remedies=_versions_remedies, lab="tls-version-unsupported"),
    Cause(id="tls-not-tls", owner=("you", "server"), title="{host}:{port} does not speak TLS", why="The URL says https, and what answers there is: {said}.", recognise=_not_tls, remedies=_not_tls_remedies, lab="tls-not-tls"),
    Cause(id="tls-handshake-cut", owner=("network",), title="TLS to {host} is {how} right after the client's first message", why="The connection stands and is ended between hello and finish. {told}", recognise=_cut, remedies=_cut_remedies, lab="tls-handshake-cut"),
)  # fmt: skip
