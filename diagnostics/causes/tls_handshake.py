"""The handshake itself: client certificates, versions, what is no TLS, what is cut."""

from __future__ import annotations

import re
import shlex

from diagnostics.case import Case, Fault, Finding, Handshake, Leg, Remedy
from diagnostics.causes.claims import again, by_subject, export, fails, host_port, on_legs, with_same_answers, works
from diagnostics.causes.tls_common import facts_of


def client_certificate(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for step in ("handshake", "response")
        for fault, leg in on_legs(case, faults, step)
        if isinstance(leg.handshake, Handshake) and (_wants_certificate(fault, leg.handshake) or _page_wants_certificate(leg, leg.handshake))
    ]
    return by_subject("tls-client-certificate-required", with_same_answers(case, faults, pairs), lambda fault, leg: facts_of(case, leg))


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


def client_certificate_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"{facts['host']} admits only clients with a certificate of their own. Ask whoever runs it for one (and how your client is to present it), or for an endpoint that works with a token.",
            check=f"openssl s_client -connect {shlex.quote(facts['host'])}:{facts['port']} -servername {shlex.quote(facts['host'])} </dev/null | grep -A3 'client certificate CA'",
        )
    ]


def versions(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg in on_legs(case, faults, "handshake", "alert", "error")
        if isinstance(leg.handshake, Handshake) and _no_common_ground(leg.handshake)
    ]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        assert isinstance(leg.handshake, Handshake)
        offered = ", ".join(name.replace("_", ".") for name in leg.handshake.versions_that_work)
        return {
            **facts_of(case, leg),
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


def versions_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"{facts['host']} offers: {facts['offers']}; {facts['openssl']} here wants TLS 1.2 or newer with today's ciphers. Whoever runs the server must switch TLS 1.2 on; if this Python is very old, use a newer one.",
            check=f"openssl s_client -connect {shlex.quote(facts['host'])}:{facts['port']} -servername {shlex.quote(facts['host'])} -tls1_2 </dev/null",
        )
    ]


def not_tls(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        assert isinstance(leg.handshake, Handshake)
        tried = {name: "yes" if works(leg, name) else "" for name in ("plain-same-port", "port-443")}
        return {**facts_of(case, leg), "said": leg.handshake.first_bytes or "something else", "url": leg.url, **tried}

    return by_subject("tls-not-tls", on_legs(case, faults, "handshake", "not_tls"), facts)


def not_tls_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts["port-443"]:
        better = re.sub(r"(https://[^/]*?):\d+(?=/|$)", r"\1", facts["url"])
        do = f"{facts['host']} speaks TLS at port 443: leave :{facts['port']} out of the address."
        return [
            Remedy(do=do, run=_endpoint_without_port(case, facts), check=f"curl -sSI {shlex.quote(better)}"),
            *_where_it_speaks(finding, case),
        ]
    return _where_it_speaks(finding, case)


def _endpoint_without_port(case: Case, facts: dict[str, str]) -> str:
    """The line that sets HF_ENDPOINT without its port, where the address comes from there."""
    endpoint = case.environment.endpoint
    there = f"{facts['host']}:{facts['port']}"
    return export("HF_ENDPOINT", endpoint.value.replace(there, facts["host"])) if endpoint and there in endpoint.value else ""


def _where_it_speaks(finding: Finding, case: Case) -> list[Remedy]:
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
                proof="seen" if facts["plain-same-port"] else "untried",
            )
        ]
    return [
        Remedy(
            do=f"Something else than a web server listens at {facts['host']}:{facts['port']} ({facts['said']}): correct the port.",
            check=f"curl -sSI https://{shlex.quote(facts['host'])}:{facts['port']}/",
        )
    ]


def cut(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg in on_legs(case, faults, "handshake", "closed", "reset", "silent", "alert", "error") if not fails(leg, "says-nothing")]
    how = {"closed": "closed", "reset": "reset", "silent": "left without an answer", "alert": "ended with an alert", "error": "broken off"}

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        assert isinstance(leg.handshake, Handshake)
        alert = leg.handshake.alert if leg.handshake.alert_sent_by == "server" else ""
        return {
            **facts_of(case, leg),
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


def cut_remedies(finding: Finding, case: Case) -> list[Remedy]:
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
