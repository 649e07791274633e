"""Who signed: interception, missing intermediates, stores that are old or empty, private authorities."""

from __future__ import annotations

import shlex
from dataclasses import replace

from diagnostics.case import Case, Fault, Finding, Handshake, Leg, Platform, Remedy, SavedAuthority
from diagnostics.causes.claims import again, all_in_one, by_subject, exports, note, on_legs, works
from diagnostics.causes.settings_common import public_roots, quoted
from diagnostics.causes.tls_common import (
    BUILT_IN,
    EXPIRED,
    FEW_ROOTS,
    accepting,
    ca_variables,
    client_of,
    facts_of,
    issuer_of,
    last_of,
    product_of,
    readers,
    untrusted,
)
from diagnostics.facts import clients, hosts
from diagnostics.facts.stores import trust


def not_strict(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg in on_legs(case, faults, "handshake", "untrusted")
        if isinstance(leg.handshake, Handshake) and any(verdict.accepted and verdict.store.endswith("not strict") for verdict in leg.handshake.verdicts)
    ]
    return all_in_one("tls-root-not-strict", pairs, lambda fault, leg: facts_of(case, leg))


def not_strict_remedies(finding: Finding, case: Case) -> list[Remedy]:
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


def chain_incomplete(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """The issuer is public and was not sent, or fetching it (AIA) makes the chain hold."""
    pairs = [
        (fault, leg) for fault, leg, handshake in untrusted(case, faults, frozenset({2, 20, 21})) if not product_of(handshake) and _issuer_not_sent(handshake)
    ]
    return by_subject(
        "tls-chain-incomplete", pairs, lambda fault, leg: {**facts_of(case, leg), "intermediate": _aia(leg), "fetched": "yes" if _fetched(leg) else ""}
    )


def _issuer_not_sent(handshake: Handshake) -> bool:
    last = last_of(handshake)
    if last is None or last.self_issued or accepting(handshake, *BUILT_IN):  # what another store verifies as it was sent is complete
        return False
    return accepting(handshake, "fetched intermediate") is not None or (hosts.public_authority(last.issuer_organization) and not last.issuer_in)


def _fetched(leg: Leg) -> bool:
    return isinstance(leg.handshake, Handshake) and accepting(leg.handshake, "fetched intermediate") is not None


def _aia(leg: Leg) -> str:
    last = last_of(leg.handshake) if isinstance(leg.handshake, Handshake) else None
    return last.ca_issuers[0] if last and last.ca_issuers else ""


def chain_incomplete_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    server = Remedy(
        do=f"Tell whoever runs {facts['host']} that the server does not send its intermediate certificate “{facts['issuer']}”: it must serve the full chain (fullchain.pem, not cert.pem).",
        check=f"openssl s_client -connect {shlex.quote(facts['host'])}:{facts['port']} -servername {shlex.quote(facts['host'])} -showcerts </dev/null",
    )
    if not facts["intermediate"]:
        return [server]
    named = "; ".join(f'export {name}="$PWD/ca-with-intermediate.pem"' for name in ca_variables(case))
    lines = f"curl -sS {shlex.quote(facts['intermediate'])} | openssl x509 -inform der > intermediate.pem; cat {public_roots(case)} intermediate.pem > ca-with-intermediate.pem; {named}"
    return [
        server,
        Remedy(
            do="Until then, add the missing certificate to a bundle of your own.",
            run=lines,
            check=again(case),
            proof="seen" if facts["fetched"] else "untried",
        ),
    ]


def store_outdated(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """The client's own store is missing or too old: another store here holds the public root, or the root it does hold has expired."""
    pairs = [(fault, leg) for fault, leg, handshake in untrusted(case, faults) if handshake.store in BUILT_IN and _lacks_public_root(leg, handshake)]
    pairs += [
        (fault, leg)
        for fault, leg, handshake in untrusted(case, faults, frozenset({EXPIRED}))
        if handshake.store in BUILT_IN and _all_sent_is_in_date(case, handshake) and not product_of(handshake)
    ]
    pairs += [
        (fault, leg)
        for fault, leg in on_legs(case, faults, "handshake", "store_unusable")
        if isinstance(leg.handshake, Handshake) and leg.handshake.store in BUILT_IN
    ]
    return all_in_one("ca-store-outdated", pairs, lambda fault, leg: facts_of(case, leg))


def _lacks_public_root(leg: Leg, handshake: Handshake) -> bool:
    """certifi holds public roots only; the operating system's store may also hold the company's, so there the issuer's name has to tell."""
    last, other = last_of(handshake), accepting(handshake, *BUILT_IN)
    if product_of(handshake):
        return False
    public = last is not None and hosts.public_authority(last.issuer_organization)
    if other is not None:
        nearly_empty = isinstance(handshake.roots, int) and handshake.roots < FEW_ROOTS
        return public or other.store == "certifi" or (nearly_empty and not hosts.is_known_public(leg.host))
    return handshake.roots == 0 and (public or last is None)


def _all_sent_is_in_date(case: Case, handshake: Handshake) -> bool:
    """Then what has expired is a root that only the store brings (DST Root CA X3 in September 2021)."""
    return bool(handshake.chain and case.started) and all(item.not_after >= case.started for item in handshake.chain if item.not_after)


def store_outdated_remedies(finding: Finding, case: Case) -> list[Remedy]:
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
                run=exports(ca_variables(case), facts["other_path"]),
                check=again(case),
                proof="seen",
            ),
        )
    return found


def intercepted(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """A private authority signs for a host that has a public certificate, or for several unrelated hosts; or an inspection product signs."""
    seen = list(untrusted(case, faults))
    pairs = [
        (fault, leg) for fault, leg, handshake in seen if product_of(handshake) or hosts.is_known_public(leg.host) or _signs_elsewhere(handshake, leg, seen)
    ]
    found = all_in_one("tls-intercepted", pairs, lambda fault, leg: {**facts_of(case, leg), "hosts": _hosts(pairs), "by": _signer(leg)})
    told = tuple(dict.fromkeys(note(fault.subject, "recognised as an interception by", _recognised(leg, seen)) for fault, leg in pairs[:1]))
    return [replace(finding, evidence=(*finding.evidence, *told)) for finding in found]


def _recognised(leg: Leg, seen: list[tuple[Fault, Leg, Handshake]]) -> str:
    """What tells that it is the network that signs, and not the host."""
    assert isinstance(leg.handshake, Handshake)
    if product := product_of(leg.handshake):
        return f"the issuer's name, which is that of {product}"
    if hosts.is_known_public(leg.host):
        return f"{leg.host} being a public host, and its certificate being of no public authority"
    others = dict.fromkeys(other.host for _, other, _ in seen if _domain(other.host) != _domain(leg.host))
    return f"the same private authority signing for {', '.join(others)} as well"


def _signs_elsewhere(handshake: Handshake, leg: Leg, seen: list[tuple[Fault, Leg, Handshake]]) -> bool:
    """The same private issuer for a host of another domain."""
    last = last_of(handshake)
    return (
        last is not None
        and not last.self_issued
        and any(
            other.host != leg.host and _domain(other.host) != _domain(leg.host) and (their := last_of(theirs)) is not None and their.issuer == last.issuer
            for _, other, theirs in seen
        )
    )


def _domain(host: str) -> str:
    return host if host.replace(".", "").isdigit() or ":" in host else ".".join(host.split(".")[-2:])


def _signer(leg: Leg) -> str:
    assert isinstance(leg.handshake, Handshake)
    product = product_of(leg.handshake)
    if not leg.handshake.chain:
        return "somebody else (the certificates could not be read a second time)"
    return f"“{issuer_of(leg.handshake)}”" + (f" ({product})" if product and product.lower() not in issuer_of(leg.handshake).lower() else "")


def intercepted_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts["other_path"]:
        return [
            Remedy(
                do=f"The root is in the store “{facts['other']}” of this machine already; {facts['client']} does not look there by itself. Point it there.",
                run=exports(ca_variables(case), facts["other_path"]),
                check=again(case),
                proof="seen",
            )
        ]
    exempt = Remedy(do=f"Ask the admin to exempt {facts['hosts']} from inspection.", check=again(case))
    return [*_with_root(case, facts), exempt]


def _with_root(case: Case, facts: dict[str, str]) -> list[Remedy]:
    """The company's root joined with the public ones: from the file that was saved, from where this platform keeps it, or from the admin."""
    saved = case.saved_authority
    if isinstance(saved, SavedAuthority) and saved.root:
        do = f"Compare the SHA-256 of {saved.path} with your admin's: {saved.fingerprint}. Only if it is the same, give that root to the clients together with the public ones."
        return [Remedy(do=f"{do} {readers(case)}.", run=joined(case, quoted(saved.path)), check=again(case))]
    path = "company-root.pem"
    partly = f" (what {saved.path} holds is only an intermediate)" if isinstance(saved, SavedAuthority) else ""
    do = f"Get the root certificate “{facts['issuer']}” from your network's admin as PEM ({path}){partly}, compare its fingerprint with theirs, and give it to the clients together with the public roots. {readers(case)}."
    found = [Remedy(do=do, run=joined(case, path), check=again(case))]
    if fetch := _exported(case, facts["issuer"]):
        return [
            Remedy(do=f"This machine's own store may hold that root: write it to {path}, and compare its fingerprint with the admin's.", run=fetch),
            replace(found[0], do=f"Then give it to the clients together with the public roots. {readers(case)}.", follows=True),
        ]
    return found


def _exported(case: Case, issuer: str) -> str:
    """Where the platform keeps a company's root, the command that writes it as PEM (security(1), find-certificate; certutil -store, -encode)."""
    platform = case.environment.platform
    system, inside = (platform.system, platform.container) if isinstance(platform, Platform) else ("", "")
    name = shlex.quote(issuer)
    if system == "Darwin":
        return f"security find-certificate -a -c {name} -p /Library/Keychains/System.keychain > company-root.pem"
    if system == "Windows" or inside == "wsl":
        tool = "certutil.exe" if inside == "wsl" else "certutil"
        return f"{tool} -store Root {name} company-root.cer && {tool} -encode company-root.cer company-root.pem"
    return ""


def joined(case: Case, path: str) -> str:
    """Public roots and the file ``path`` (as a word of the shell) in one bundle, named to every client in play; and to requests or the rest, which share processes with them."""
    names = dict.fromkeys((*ca_variables(case), "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"))
    return "; ".join((f"cat {public_roots(case)} {path} > ca-all.pem", *(f'export {name}="$PWD/ca-all.pem"' for name in names)))


def self_signed(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg, handshake in untrusted(case, faults)
        if handshake.code == 18 or (len(handshake.chain) == 1 and handshake.chain[0].self_issued)
    ]
    return by_subject("tls-self-signed", pairs, lambda fault, leg: facts_of(case, leg))


def self_signed_remedies(finding: Finding, case: Case) -> list[Remedy]:
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
            f"cat {public_roots(case)} server.pem > ca-all.pem",
            *(f'export {name}="$PWD/ca-all.pem"' for name in ca_variables(case)),
        )
    )
    return [Remedy(do=do, run=lines, check=again(case))]


def issuer_unknown(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    by_issuer: dict[str, list[tuple[Fault, Leg]]] = {}
    for fault, leg, handshake in untrusted(case, faults):
        by_issuer.setdefault(issuer_of(handshake), []).append((fault, leg))
    return [
        *_issuer_of_proxy_unknown(case, faults),
        *(
            finding
            for pairs in by_issuer.values()
            for finding in all_in_one("tls-issuer-unknown", pairs, lambda fault, leg, pairs=pairs: facts_of(case, leg) | {"hosts": _hosts(pairs)})  # type: ignore[misc]
        ),
    ]


def _issuer_of_proxy_unknown(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """A proxy that is spoken to over TLS, and whose own certificate the client does not trust."""

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        client = clients.facts(case.target.client.family if case.target.client else "requests")
        store = trust(client, case.environment).store
        return {
            "hosts": f"the proxy {fault.subject.name}", "issuer": "a private authority", "client": client_of(case),
            "store": {"os": "operating system"}.get(store, store), "other_path": "", "other": "",
        }  # fmt: skip

    pairs = [(fault, leg) for fault, leg in on_legs(case, faults, "tunnel", "tls_failed") if works(leg, "proxy-with-any-certificate")]
    return by_subject("tls-issuer-unknown", pairs, facts)


def _hosts(pairs: list[tuple[Fault, Leg]]) -> str:
    return ", ".join(dict.fromkeys(leg.host for _, leg in pairs))


def issuer_unknown_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts["other_path"]:
        return [
            Remedy(
                do=f"The store “{facts['other']}” of this machine knows that authority; {facts['client']} does not look there by itself. Point it there.",
                run=exports(ca_variables(case), facts["other_path"]),
                check=again(case),
                proof="seen",
            )
        ]
    saved = case.saved_authority
    if isinstance(saved, SavedAuthority) and saved.root:
        do = f"Compare the SHA-256 of {saved.path} with that of whoever runs {facts['hosts']}: {saved.fingerprint}. Only if it is the same, add it to the roots. {readers(case)}."
        return [Remedy(do=do, run=joined(case, quoted(saved.path)), check=again(case))]
    return [
        Remedy(
            do=f"Get the root certificate of “{facts['issuer']}” from whoever runs {facts['hosts']} (or this network) as PEM (authority.pem) and add it to the roots that {facts['client']} reads.",
            run=joined(case, "authority.pem"),
            check=again(case),
        )
    ]
