"""And if…? What happens when one thing is changed about a request that failed: the evidence behind a cause and its remedy.

Nothing is changed on the machine, no other host is asked than the one at hand, the proxies this environment names and the issuer that a
certificate names (AIA), and credentials are never repeated once refused.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from diagnostics.case import (
    ABSENT,
    NOT_ASKED,
    Address,
    Certificate,
    Connection,
    Counterfactual,
    Handshake,
    Journey,
    Leg,
    ProxySetting,
    Resolution,
    Response,
    Route,
    StoreVerdict,
    Tunnel,
    Unseen,
)
from diagnostics.environment.proxies import setting as proxy_setting
from diagnostics.facts.hosts import is_instance_metadata
from diagnostics.probes import certificates, connection, proxy, tls
from diagnostics.probes import http as http_probe
from diagnostics.probes.budget import Deadline, Together, together
from diagnostics.probes.leg import Arrival, Means, Stop, go, is_absolute, passage
from diagnostics.redact import plain

DIRECT_SECONDS = 1.5
ALL_SECONDS = 6.0
FETCH_SECONDS = 2.0
OTHER_SCHEME_SECONDS = 1.5
MOST_PROXIES = 4
HTTPS_PORT = 443
NOWHERE = "/pytest-diagnostics-asks-who-answers"  # no host has that; what redirects it redirects everything
PERMANENT = frozenset({301, 308})  # what a host says of itself; a portal lasts only until somebody signs in
CONNECTS_LATER = "connects-later"
LATER_SECONDS = 1.2  # a SYN, its repetition after a second, and the answer of a host that is near
Question = Callable[[], Counterfactual]


def examine(arrival: Arrival, stop: Stop, means: Means) -> Leg:
    """The leg with what else was found out about its failure; unchanged where it did not fail."""
    leg = arrival.leg
    if isinstance(leg.handshake, Handshake) and leg.handshake.outcome != "accepted":
        leg = dataclasses.replace(leg, handshake=_explained(leg.handshake, arrival, means))
    questions = _questions(leg, arrival, stop, means)
    answers = together(questions, means.deadline.within(ALL_SECONDS)) if questions else {}
    return dataclasses.replace(leg, counterfactuals=tuple(answers[key] for key in questions if key in answers))


def _questions(leg: Leg, arrival: Arrival, stop: Stop, means: Means) -> dict[str, Question]:
    """What is worth asking, by the step that failed."""
    found: dict[str, Question] = {}
    if failed_before_handshake(leg):
        found |= _other_routes(leg, means)
    found |= _about_addresses(leg, means)
    found |= _about_resolvers(leg, means)
    found |= {name: functools.partial(_spoken_to_as, name, scheme, leg, means) for name, scheme in _other_ways_to_speak(leg)}
    if isinstance(leg.connection, Connection) and not leg.connection.address and leg.scheme == "https" and leg.route.kind == "direct":
        found["plain-http"] = functools.partial(_plain_http, leg, means, LATER_SECONDS if _given_up_early(leg.connection) else 2.0)
    if isinstance(leg.connection, Connection) and _given_up_early(leg.connection):
        found[CONNECTS_LATER] = functools.partial(_connects_later, leg, means)
    if isinstance(leg.tunnel, Tunnel) and leg.tunnel.outcome in ("silent", "closed", "reset"):
        found["proxy-alive"] = functools.partial(_proxy_alive, leg, means)
    if isinstance(leg.handshake, Handshake) and arrival.dial:
        found |= _about_handshake(leg, leg.handshake, arrival, stop, means)
    if isinstance(leg.response, Response):
        found |= _about_response(leg, leg.response, arrival, stop, means)
        if is_absolute(leg) and (leg.response.outcome != "answered" or (isinstance(leg.response.status, int) and leg.response.status >= 400)):
            found["direct"] = functools.partial(_direct_answer, stop, means)
    return found


def _other_ways_to_speak(leg: Leg) -> Iterator[tuple[str, str]]:
    """(question, scheme): how else the proxy could be spoken to, where nothing sensible came back."""
    tunnel = leg.tunnel
    if not isinstance(tunnel, Tunnel) or tunnel.outcome in ("open", "unsupported"):
        return
    if tunnel.protocol != "http" and tunnel.outcome != "refused":
        yield "plain-proxy", "http"
        if tunnel.reason == "untrusted":
            yield "proxy-with-any-certificate", "https"
    elif tunnel.outcome in ("closed", "reset", "not_http") or tunnel.status == 400:  # nginx says 400 to what is not TLS
        yield "tls-proxy", "https"
        yield "socks-proxy", "socks5h"


def failed_before_handshake(leg: Leg) -> bool:
    """The name, the connection or the tunnel failed."""
    if isinstance(leg.tunnel, Tunnel):
        return leg.tunnel.outcome != "open"
    if isinstance(leg.connection, Connection):
        return not leg.connection.address
    return isinstance(leg.resolution, Resolution) and not leg.resolution.addresses


# --- other routes -------------------------------------------------------------------------------------------------------------


def _other_routes(leg: Leg, means: Means) -> dict[str, Question]:
    """Through the proxies that this request did not use, and without any."""
    used = (leg.route.host, leg.route.port) if leg.route.kind == "proxy" else ("", 0)
    named = [found for found in _proxies_named_anywhere(means) if (found[1].host, found[1].port) != used][:MOST_PROXIES]
    questions: dict[str, Question] = {
        f"proxy:{name}": functools.partial(_through, f"proxy:{name}", route, address, leg, means) for name, route, address in named
    }
    return questions if leg.route.kind == "direct" else {"direct": functools.partial(_direct, leg, means), **questions}


def _proxies_named_anywhere(means: Means) -> list[tuple[str, Route, str]]:
    """Proxies that a variable or another program's configuration names, though this request went direct; with their addresses, credentials included."""
    environment, secrets = means.environment, means.secrets
    found = [
        (setting.variable, _route_through(setting), secrets.proxies.get(setting.variable, ""))
        for setting in environment.proxies
        if not setting.problem and setting.host
    ]
    for configured, raw in zip(environment.configured_proxies, secrets.configured, strict=False):
        read = proxy_setting(configured.source, raw.strip().strip("\"'"))
        if read.host and not read.problem and not configured.automatic:
            found.append((configured.source, _route_through(read), raw.strip().strip("\"'")))
    unique = {(route.host, route.port): (name, route, address) for name, route, address in reversed(found)}
    return list(reversed(unique.values()))


def _route_through(setting: ProxySetting) -> Route:
    port = setting.port if isinstance(setting.port, int) else 80
    return Route(
        kind="proxy",
        variable=setting.variable,
        proxy=setting.value,
        scheme=setting.scheme or "http",
        host=setting.host,
        port=port,
        credentials=setting.credentials,
    )


def _through(question: str, route: Route, address: str, leg: Leg, means: Means) -> Counterfactual:
    """Whether this proxy connects to the host."""
    started = time.monotonic()
    resolution = means.resolve(route.host, route.port)
    _, sock = connection.connect(resolution.addresses, route.port, _hurried(means, 3.0).deadline, means.sockets)
    if sock is None:
        return Counterfactual(question=question, works=False, detail="the proxy does not answer", seconds=time.monotonic() - started)
    tunnel, inner = proxy.open_tunnel(sock, passage(route, leg, means, address), means.verdicts)
    if inner is not None:
        means.sockets.discard(inner)
    return Counterfactual(question=question, works=tunnel.outcome == "open", detail=_spoken(tunnel), seconds=time.monotonic() - started)


def _spoken(tunnel: Tunnel) -> str:
    return f"{tunnel.status} {tunnel.reason}".strip() if isinstance(tunnel.status, int) else tunnel.outcome


def _direct(leg: Leg, means: Means) -> Counterfactual:
    """Whether the host answers without the proxy: TCP, and TLS where it is due."""
    found = means.resolve(leg.host, leg.port).addresses
    return _answers_at("direct", tuple(address.ip for address in found), leg, means)


def _answers_at(question: str, addresses: tuple[str, ...], leg: Leg, means: Means) -> Counterfactual:
    """Whether the host is at one of these addresses: TCP, and TLS where it is due."""
    started = time.monotonic()
    for ip in addresses[:2]:
        with contextlib.suppress(OSError):
            sock = socket.create_connection((ip, leg.port), means.deadline.within(DIRECT_SECONDS))
            means.sockets.add(sock)
            works, detail = True, "connected"
            if leg.scheme == "https":
                shaken, channel = tls.handshake(sock, leg.host, means.store, means.deadline, means.sockets)
                works, detail, sock = channel is not None, shaken.outcome, channel.sock if channel else sock
            means.sockets.discard(sock)
            return Counterfactual(question=question, works=works, detail=f"{detail} at {ip}", seconds=time.monotonic() - started)
    detail = "the name does not resolve here" if not addresses else "no connection"
    return Counterfactual(question=question, works=False, detail=detail, seconds=time.monotonic() - started)


def _about_addresses(leg: Leg, means: Means) -> dict[str, Question]:
    """Where the hosts file, a search domain or one of several resolvers says otherwise than the rest: whether the host is where the rest says."""
    resolution, failed = leg.resolution, failed_before_handshake(leg) or bool(leg.handshake and leg.handshake.outcome != "accepted")
    if leg.route.kind != "direct" or not failed or not isinstance(resolution, Resolution) or not resolution.addresses:
        return {}
    said = [set(answer.addresses) for answer in resolution.resolvers if answer.addresses]
    disputed = resolution.hosts_file or resolution.search_domain or any(one.isdisjoint(other) for one in said for other in said)
    others = set().union(*said) - {address.ip for address in resolution.addresses}
    return {"other-address": functools.partial(_answers_at, "other-address", tuple(sorted(others)), leg, means)} if disputed and others else {}


def _about_resolvers(leg: Leg, means: Means) -> dict[str, Question]:
    """Where the name does not resolve and one of the configured resolvers knows it: whether the host is at the address that this one gives."""
    resolution = leg.resolution
    if leg.route.kind != "direct" or not isinstance(resolution, Resolution) or resolution.addresses:
        return {}
    knowing = {f"resolver:{answer.server}": answer.addresses for answer in resolution.resolvers if answer.addresses}
    return {name: functools.partial(_answers_at, name, addresses, leg, means) for name, addresses in list(knowing.items())[:2]}


def _about_families(leg: Leg, means: Means) -> dict[str, Question]:
    """Where TLS fails over IPv6: whether it comes about over IPv4 alone."""
    made, resolution = leg.connection, leg.resolution
    over6 = isinstance(made, Connection) and isinstance(made.address, Address) and made.address.family == "ipv6"
    others = tuple(address.ip for address in resolution.addresses if address.family == "ipv4") if isinstance(resolution, Resolution) else ()
    return {"ipv4": functools.partial(_answers_at, "ipv4", others, leg, means)} if over6 and others else {}


def _direct_answer(stop: Stop, means: Means) -> Counterfactual:
    """Whether the same request is granted without the proxy that answered it (or should have)."""
    arrived = go(dataclasses.replace(stop, through=Route(kind="direct")), _hurried(means, 2 * DIRECT_SECONDS))
    status = arrived.leg.response.status if arrived.leg.response else ABSENT
    return Counterfactual(question="direct", works=isinstance(status, int) and status < 400, detail=str(status) if isinstance(status, int) else "no answer")


def _proxy_socket(leg: Leg, means: Means) -> socket.socket | None:
    if not isinstance(leg.connection, Connection) or not leg.connection.address:
        return None
    try:
        return means.sockets.add(socket.create_connection((leg.connection.address.ip, leg.connection.port), means.deadline.within(2.0)))
    except OSError:
        return None


def _spoken_to_as(question: str, scheme: str, leg: Leg, means: Means) -> Counterfactual:
    """Whether what listens there is a proxy once it is spoken to as one of ``scheme``. No credentials: a 407 is an answer too."""
    sock = _proxy_socket(leg, means)
    if sock is None:
        return Counterfactual(question=question, works=False)
    route = dataclasses.replace(leg.route, scheme=scheme, credentials=False)
    asked = dataclasses.replace(
        passage(route, leg, _hurried(means, OTHER_SCHEME_SECONDS), ""), absolute=False, store=dataclasses.replace(means.store, anybody=True)
    )
    tunnel, inner = proxy.open_tunnel(sock, asked, means.verdicts)
    if inner is not None:
        means.sockets.discard(inner)
    like = tunnel.status == 407 or tunnel.outcome == "open" or bool(tunnel.status) if scheme.startswith("socks") else proxy.is_proxy_like(tunnel)
    return Counterfactual(question=question, works=like, detail=_spoken(tunnel), seconds=tunnel.seconds)


def _proxy_alive(leg: Leg, means: Means) -> Counterfactual:
    sock = _proxy_socket(leg, means)
    works = sock is not None and proxy.alive(sock)
    if sock is not None:
        means.sockets.discard(sock)
    return Counterfactual(question="proxy-alive", works=works)


# --- TLS ----------------------------------------------------------------------------------------------------------------------


def _explained(seen: Handshake, arrival: Arrival, means: Means) -> Handshake:
    """A failed handshake with the chain, the server's clock, and what other stores say."""
    dial, host = arrival.dial, arrival.leg.host
    if dial is None:
        return seen
    if seen.outcome in ("not_tls", "closed", "reset", "silent"):
        words = tls.first_words(dial, host, means.sockets)
        if seen.outcome == "not_tls" or tls.plain_service(words):
            return dataclasses.replace(seen, outcome="not_tls", first_bytes=means.secrets.clean(words, 120))
    if seen.outcome in ("alert", "error"):
        return dataclasses.replace(seen, versions_that_work=tls.versions_that_work(dial, host, means.deadline, means.sockets))
    if seen.outcome not in ("untrusted", "store_unusable"):
        return seen
    stores = tuple(store for store in means.other_stores if store != means.store)
    if means.store.strict:
        stores += (dataclasses.replace(means.store, name=f"{means.store.name}, not strict", strict=False),)
    looking = Together({"look": functools.partial(tls.look, dial, host, means.deadline, means.sockets, functools.partial(date_of, host=host, means=means))})
    verdicts = tls.verdicts(dial, host, stores, means.deadline, means.sockets)
    chain, date, skew = looking.within(means.deadline.within(tls.VERDICT_SECONDS)).get("look", ((), "", None))
    chain = tuple(_known_issuers(item, (means.store, *means.other_stores)) for item in chain)
    if chain and seen.code in (2, 20, 21) and not chain[-1].self_issued:
        verdicts += _with_fetched_issuer(chain, arrival, means)
    return dataclasses.replace(
        seen, chain=chain, date=means.secrets.clean(date), skew_seconds=skew if skew is not None else ABSENT, verdicts=verdicts, roots=_roots(means.store)
    )


def _roots(store: tls.Store) -> int | Unseen:
    """How many roots a store file holds; a hashed folder is read only as needed."""
    return Unseen("unsupported", "a folder of hashed files") if store.capath else len(certificates.authorities(store.cafile, store.capath))


def _known_issuers(item: Certificate, stores: tuple[tls.Store, ...]) -> Certificate:
    """With the stores that hold a root of the issuer's name."""
    names = [store.name for store in stores if item.issuer in certificates.authorities(store.cafile, store.capath)]
    return dataclasses.replace(item, issuer_in=tuple(dict.fromkeys(names)))


def _with_fetched_issuer(chain: tuple[Certificate, ...], arrival: Arrival, means: Means) -> tuple[StoreVerdict, ...]:
    """Whether the chain holds once the issuer that the last certificate points to (AIA, RFC 5280 §4.2.2.1) is fetched and added."""
    for address in chain[-1].ca_issuers[:1]:
        pem = _fetch_certificate(address, means)
        if pem and arrival.dial:
            store = dataclasses.replace(means.store, name="fetched intermediate")
            found = tls.verdict(arrival.dial, arrival.leg.host, store, means.deadline, means.sockets, extra=pem)
            return (dataclasses.replace(found, path=plain(address)),)
    return ()


def _fetch_certificate(address: str, means: Means) -> str:
    """The certificate at an AIA address as PEM; "" where there is none. Plain http by specification."""
    if not address.startswith("http://") or is_instance_metadata(host_of(address)):
        return ""
    arrived = go(
        Stop(url=address, sample=http_probe.Sample(most_bytes=65536, seconds=FETCH_SECONDS, keep=True), with_token=False, pointed_to=True),
        _hurried(means, FETCH_SECONDS),
    )
    data = arrived.content
    if not (arrived.leg.response and arrived.leg.response.status == 200 and data):
        return ""
    if data.startswith(b"-----BEGIN CERTIFICATE-----"):
        return data.decode("ascii", "replace")
    return "-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(data).decode() + "-----END CERTIFICATE-----\n"


def host_of(address: str) -> str:
    """ "" for what is no URL."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def date_of(sock: ssl.SSLSocket, host: str, means: Means) -> tuple[str, float | None]:
    """The server's clock: the Date of an answer to a HEAD without credentials."""
    sock.settimeout(2.0)
    response, _ = http_probe.request(sock, http_probe.Ask(method="HEAD", target="/", host=host), means.deadline, means.secrets)
    date = next((header.value for header in response.headers if header.name == "date"), "")
    return date, response.skew_seconds if isinstance(response.skew_seconds, float) else None


def _about_handshake(leg: Leg, seen: Handshake, arrival: Arrival, stop: Stop, means: Means) -> dict[str, Question]:
    dial = arrival.dial
    assert dial is not None
    found: dict[str, Question] = {}
    if seen.outcome in ("reset", "closed", "silent"):
        found["says-nothing"] = functools.partial(_says_nothing, dial, means)
        found["without-sni"] = lambda: Counterfactual(
            question="without-sni", works=tls.works_without_name(dial, means.deadline, means.sockets), detail="a handshake that names no host"
        )
        found["tls-1.2"] = lambda: Counterfactual(
            question="tls-1.2", works=tls.works_in_12(dial, leg.host, means.deadline, means.sockets), detail="a handshake that offers TLS 1.2 only"
        )
    if seen.outcome not in ("accepted", "store_unusable") and leg.route.kind == "direct":
        found["plain-http"] = functools.partial(_plain_http, leg, means)
        found |= _about_families(leg, means)
    if seen.outcome == "not_tls" and leg.route.kind == "direct":
        found["plain-same-port"] = functools.partial(_plain_same_port, stop, means)
        if leg.port != HTTPS_PORT and isinstance(leg.resolution, Resolution):
            there = tuple(address.ip for address in leg.resolution.addresses)
            found["port-443"] = functools.partial(_answers_at, "port-443", there, dataclasses.replace(leg, port=HTTPS_PORT), means)
    return found


def _plain_same_port(stop: Stop, means: Means) -> Counterfactual:
    """Whether the same request is granted at the same port in plain HTTP. Without the token, which was meant for TLS."""
    plain_url = stop.url.replace("https://", "http://", 1)
    arrived = go(dataclasses.replace(stop, url=plain_url, with_token=False, through=Route(kind="direct"), sample=None), _hurried(means, 2.0))
    status = arrived.leg.response.status if arrived.leg.response else ABSENT
    works = isinstance(status, int) and status < 400
    return Counterfactual(question="plain-same-port", works=works, detail=str(status) if isinstance(status, int) else "no answer")


def _says_nothing(dial: tls.Dial, means: Means) -> Counterfactual:
    detail = "a connection on which nothing is said stays open"
    return Counterfactual(question="says-nothing", works=not tls.cut_unprompted(dial, means.sockets), detail=detail)


def _given_up_early(made: Connection) -> bool:
    """Silence was waited for no longer than where other hosts are near."""
    return not made.address and made.seconds < connection.CONNECT_SECONDS / 2 and any(attempt.outcome == "timed_out" for attempt in made.attempts)


def _connects_later(leg: Leg, means: Means) -> Counterfactual:
    """Whether the next hop takes a connection now: packets get lost."""
    started = time.monotonic()
    assert isinstance(leg.connection, Connection)
    addresses = tuple(attempt.address for attempt in leg.connection.attempts)
    made, sock = connection.connect(addresses, leg.connection.port, _hurried(means, LATER_SECONDS).deadline, means.sockets)
    if sock is not None:
        means.sockets.discard(sock)
    return Counterfactual(question=CONNECTS_LATER, works=bool(made.address), detail="a second try", seconds=time.monotonic() - started)


def _plain_http(leg: Leg, means: Means, seconds: float = 2.0) -> Counterfactual:
    """What plain http on port 80 of the same host says: a captive portal redirects everything to its own page, also what no host has."""
    stop = Stop(
        url=f"http://{_bracketed(leg.host)}{NOWHERE}",
        method="GET",
        sample=http_probe.Sample(most_bytes=8192, seconds=1.0),
        with_token=False,
        through=Route(kind="direct"),
    )
    arrived = go(stop, _hurried(means, seconds))
    response = arrived.leg.response
    if not isinstance(response, Response) or not isinstance(response.status, int):
        return Counterfactual(question="plain-http", works=False, detail="no answer")
    foreign = response.status not in PERMANENT and _foreign(response.location, leg.host)
    detail = f"{response.status}" + (f" to {response.location}" if response.location else "") + (f" “{response.title}”" if response.title else "")
    return Counterfactual(question="plain-http", works=not foreign and response.status != 511, detail=detail)


def _foreign(location: str, host: str) -> bool:
    """Whether a redirect leads away from a host and its relatives (www.HOST, HOST's own domain)."""
    other = urlsplit(location).hostname if location else None
    return other not in (None, host) and (other or "").split(".")[-2:] != host.split(".")[-2:]


def _hurried(means: Means, seconds: float) -> Means:
    """The same means with less time: a question on the side must not make a quick answer slow."""
    return dataclasses.replace(means, deadline=Deadline(means.deadline.within(seconds)))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


# --- HTTP ---------------------------------------------------------------------------------------------------------------------


def _about_response(leg: Leg, response: Response, arrival: Arrival, stop: Stop, means: Means) -> dict[str, Question]:
    found: dict[str, Question] = {}
    if response.outcome in ("reset", "closed") and leg.scheme == "http" and leg.route.kind == "direct" and arrival.dial:
        found["says-nothing"] = functools.partial(_says_nothing, arrival.dial, means)
        found["tls-instead"] = functools.partial(_tls_instead, arrival.dial, leg, means)
    if response.status in (401, 403, 404) and leg.token_sent:
        found["without-token"] = functools.partial(_without_token, stop, means)
        found["whoami"] = functools.partial(_whoami, leg, means)
    odd = response.content in ("html",) or (response.status in (302, 303, 307, 403, 451, 511) and leg.scheme == "http")
    if odd and leg.route.kind == "direct" and leg.scheme == "https":
        found["plain-http"] = functools.partial(_plain_http, leg, means)
    return found


def _tls_instead(dial: tls.Dial, leg: Leg, means: Means) -> Counterfactual:
    """Whether what cuts plain requests takes up TLS: http:// was written for a port of https."""
    works = tls.speaks_tls(dial, leg.host, _hurried(means, 1.0).deadline, means.sockets)
    return Counterfactual(question="tls-instead", works=works, detail="TLS on the same port")


def _without_token(stop: Stop, means: Means) -> Counterfactual:
    arrived = go(dataclasses.replace(stop, with_token=False), means)
    status = arrived.leg.response.status if arrived.leg.response else ABSENT
    return Counterfactual(
        question="without-token", works=isinstance(status, int) and status < 400, detail=str(status) if isinstance(status, int) else "no answer"
    )


def _whoami(leg: Leg, means: Means) -> Counterfactual:
    """Whether the hub knows the token at all (GET /api/whoami-v2, as ``hf auth whoami`` asks)."""
    base = means.secrets.endpoint.rstrip("/") or f"{leg.scheme}://{_bracketed(leg.host)}:{leg.port}"
    arrived = go(Stop(url=f"{base}/api/whoami-v2", sample=http_probe.Sample(most_bytes=65536, seconds=1.0)), means)
    status = arrived.leg.response.status if arrived.leg.response else ABSENT
    return Counterfactual(question="whoami", works=status == 200, detail=str(status) if isinstance(status, int) else "no answer")


def get_instead(journey: Journey, arrivals: list[Arrival], means: Means) -> Counterfactual | Unseen:
    """Where the client's HEAD was refused or cut: whether GET for the same URL works."""
    if not arrivals or arrivals[-1].leg.method != "HEAD":
        return NOT_ASKED
    last = arrivals[-1]
    response = last.leg.response
    if not isinstance(response, Response) or response.status in (401, 404, 429) or (isinstance(response.status, int) and response.status < 400):
        return NOT_ASKED
    arrived = go(Stop(url=last.parts.geturl(), sample=http_probe.Sample(most_bytes=65536, seconds=2.0)), means)
    status = arrived.leg.response.status if arrived.leg.response else ABSENT
    return Counterfactual(question="get", works=isinstance(status, int) and status < 400, detail=str(status) if isinstance(status, int) else "no answer")
