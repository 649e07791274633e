"""Hand-made Cases: a healthy hub over https, and one thing changed."""

from __future__ import annotations

import dataclasses
from typing import Any

from diagnostics.case import (
    ABSENT,
    NOT_ASKED,
    Address,
    Attempt,
    Body,
    Case,
    Certificate,
    ClientUse,
    Connection,
    Counterfactual,
    Environment,
    Handshake,
    Header,
    Interpreter,
    Journey,
    Leg,
    Platform,
    Resolution,
    ResolverAnswer,
    Response,
    Route,
    Target,
    Tunnel,
)
from diagnostics.diagnosis import diagnose

CLIENT = ClientUse(family="huggingface_hub-2", version="2.4.0")
HUB = "huggingface.co"
CDN = "cdn-lfs.hf.co"
IPV4 = Address(family="ipv4", ip="18.1.2.3")
IPV6 = Address(family="ipv6", ip="2600:9000::1")
PROXY = Route(kind="proxy", variable="HTTPS_PROXY", proxy="http://proxy.corp.example:3128", scheme="http", host="proxy.corp.example", port=3128)
HUB_HEADERS = (Header(name="x-request-id", value="Root=1-2"), Header(name="x-repo-commit", value="a" * 40), Header(name="etag", value='"x"'))
DIRECT = Route(kind="direct")


def resolution(host: str = HUB, **changes: Any) -> Resolution:
    answers = tuple(ResolverAnswer(server="10.0.0.53", transport=transport, rcode="NOERROR", addresses=(IPV4.ip,)) for transport in ("udp", "tcp"))
    return dataclasses.replace(Resolution(host=host, addresses=(IPV4,), resolvers=answers, seconds=0.02), **changes)


def unresolved(error: str = "EAI_AGAIN", *answers: dict[str, Any], host: str = HUB) -> Resolution:
    """A name without an address, and what the one resolver said over UDP and TCP."""
    resolvers = tuple(ResolverAnswer(server="10.0.0.53", transport=transport, **answer) for answer in answers for transport in ("udp", "tcp"))
    return Resolution(host=host, error=error, resolvers=resolvers)


def connection(*outcomes: tuple[Address, str], port: int = 443) -> Connection:
    attempts = tuple(
        Attempt(address=address, outcome=outcome, errno=111 if outcome == "refused" else 0, seconds=0.01)
        for address, outcome in outcomes or ((IPV4, "connected"),)
    )  # type: ignore[arg-type]
    chosen = next((attempt.address for attempt in attempts if attempt.outcome == "connected"), ABSENT)
    return Connection(port=port, attempts=attempts, address=chosen)


def handshake(**changes: Any) -> Handshake:
    return dataclasses.replace(Handshake(outcome="accepted", store="operating system", version="TLSv1.3"), **changes)


def certificate(issuer: str = "DigiCert Inc", **changes: Any) -> Certificate:
    return dataclasses.replace(
        Certificate(
            subject="CN=huggingface.co",
            issuer=f"CN={issuer} CA, O={issuer}",
            issuer_name=f"{issuer} CA",
            issuer_organization=issuer,
            names=(HUB,),
            not_before="2026-01-01T00:00:00Z",
            not_after="2027-12-01T00:00:00Z",
            fingerprint="ab" * 32,
        ),
        **changes,
    )


def response(status: int = 200, *headers: Header, **changes: Any) -> Response:
    return dataclasses.replace(
        Response(
            method="GET", outcome="answered", status=status, reason="", headers=headers or (HUB_HEADERS if status < 400 else ()), length=10, skew_seconds=0.2
        ),
        **changes,
    )


def body(**changes: Any) -> Body:
    return dataclasses.replace(Body(outcome="complete", bytes=10, expected=10, content="json"), **changes)


def leg(host: str = HUB, path: str = "/api/models/org/name/revision/main", **changes: Any) -> Leg:
    whole = Leg(
        url=f"https://{host}{path}",
        scheme="https",
        host=host,
        port=443,
        route=DIRECT,
        resolution=resolution(host),
        connection=connection(),
        tunnel=NOT_ASKED,
        handshake=handshake(),
        response=response(),
        body=body(),
    )
    return dataclasses.replace(whole, **changes)


def stopped_at(step: str, record: object, host: str = HUB, **changes: Any) -> Leg:
    """A leg whose first failed step is ``step``; what lies behind it was not reached."""
    from diagnostics.case import NOT_REACHED

    steps = ["resolution", "connection", "tunnel", "handshake", "response", "body"]
    behind = {name: NOT_REACHED for name in steps[steps.index(step) + 1 :] if name != "tunnel" or changes.get("route", DIRECT).kind == "proxy"}
    return leg(host, **{**behind, step: record, **changes})


def journey(*legs: Leg, name: str = "listing", **changes: Any) -> Journey:
    return Journey(name=name, purpose="the hub's API", client=CLIENT, legs=legs, **changes)


def case(*journeys: Journey, target: Target | None = None, environment: Environment | None = None, **changes: Any) -> Case:
    chosen = target or Target(spec="org/name", kind="hub", name="org/name", endpoint=f"https://{HUB}", client=CLIENT, loader="transformers")
    surroundings = environment or Environment(
        platform=Platform(system="Linux", default_route=True), interpreter=Interpreter(executable="python", version="3.11.7", openssl="OpenSSL 3.0")
    )
    return Case(target=chosen, environment=surroundings, journeys=journeys, resolvers=("10.0.0.53",), **changes)


def causes(found: Case) -> list[str]:
    """Ids of the diagnoses, the first to act on first."""
    return [diagnosis.cause for diagnosis in diagnose(found)]


def answer(question: str, works: bool, detail: str = "") -> tuple[Counterfactual, ...]:
    return (Counterfactual(question=question, works=works, detail=detail),)


def tunnel(outcome: str, **changes: Any) -> Tunnel:
    return dataclasses.replace(Tunnel(proxy="proxy.corp.example:3128", protocol="http", outcome=outcome), **changes)  # type: ignore[arg-type]
