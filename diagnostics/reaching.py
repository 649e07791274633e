"""How far each host that this target needs was reached, and what stood in the way, in the words of whoever runs the firewall or the proxy. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from diagnostics.case import Body, Case, Connection, Handshake, Host, HostState, Leg, Resolution, Response, Tunnel
from diagnostics.facts import hosts
from diagnostics.facts.routes import authority

# What somebody on the way (or at the host) does to the connection, as opposed to what the host or this machine says of itself.
BLOCKED: frozenset[HostState] = frozenset(
    [
        "name-unknown",
        "refused",
        "reset",
        "dropped",
        "unreachable",
        "denied-here",
        "proxy-unreachable",
        "proxy-refused",
        "proxy-silent",
        "tls-reset",
        "tls-dropped",
        "tls-by-name",
        "tls-replaced",
        "not-tls",
        "request-cut",
        "request-dropped",
        "filtered",
        "content-cut",
    ]
)
WORST = ("refused", "reset", "timed_out", "denied", "unreachable", "error")  # of several addresses: what an admin can change first
Seen = tuple[HostState, str]


def hosts_of(case: Case) -> tuple[Host, ...]:
    """Every host that was asked, as it was met, for what, and how far it was reached; found by following, never from a list."""
    found: dict[tuple[str, int], Host] = {}
    for journey in case.journeys or ():
        for leg in journey.legs:
            purpose = "metadata" if leg is journey.legs[0] and journey.name in ("hub", "listing", "tree") else "files"
            now = _host(leg, purpose)
            before = found.get((leg.host, leg.port))
            found[leg.host, leg.port] = _joined(before, now) if before else now
    return tuple(found.values())


def _host(leg: Leg, purpose: str) -> Host:
    state, how = state_of(leg)
    by_proxy = leg.route.kind == "proxy"
    made = leg.connection if isinstance(leg.connection, Connection) else None
    addresses = tuple(attempt.address.ip for attempt in made.attempts) if made else ()
    return Host(
        host=leg.host,
        port=leg.port,
        needed_for=purpose,
        reached=reached(leg),
        through=authority(leg.route.host, leg.route.port) if by_proxy else "",
        state=state,
        how=how,
        addresses=() if by_proxy else addresses,
        source=made.source if made else "",
    )


def _joined(before: Host, now: Host) -> Host:
    """Two requests to one host: for all that they were for, and what the worse of them met."""
    worse = now if before.state == "reached" or (before.state not in BLOCKED and now.state in BLOCKED) else before
    needed = before.needed_for if now.needed_for in before.needed_for else f"{before.needed_for}, {now.needed_for}"
    return Host(
        host=now.host,
        port=now.port,
        needed_for=needed,
        reached=before.reached or now.reached,
        through=worse.through,
        state=worse.state,
        how=worse.how,
        addresses=tuple(dict.fromkeys((*before.addresses, *now.addresses))),
        source=worse.source or before.source,
    )


def reached(leg: Leg) -> bool:
    """Whether the host itself answered."""
    return bool(leg.response and leg.response.outcome == "answered" and leg.response.status != 407)


def state_of(leg: Leg) -> Seen:
    """How far one request came: the first step that was not fine."""
    return next(_steps(leg), ("reached", ""))


def _steps(leg: Leg) -> Iterator[Seen]:
    who = f"the proxy {authority(leg.route.host, leg.route.port)}" if leg.route.kind == "proxy" else ""
    if leg.route.kind == "unusable":
        yield "not-tried", "the proxy setting cannot be used"
    if isinstance(leg.resolution, Resolution) and not leg.resolution.addresses:
        yield ("proxy-unreachable" if who else "name-unknown"), _unresolved(leg.resolution, who)
    if isinstance(leg.connection, Connection) and not leg.connection.address:
        state, how = _unconnected(leg.connection)
        yield ("proxy-unreachable" if who else state), (f"{who}: {how}" if who else how)
    if isinstance(leg.tunnel, Tunnel) and leg.tunnel.outcome != "open":
        yield _not_through(leg.tunnel)
    if isinstance(leg.handshake, Handshake) and leg.handshake.outcome != "accepted":
        yield _unshaken(leg, leg.handshake)
    if isinstance(leg.response, Response):
        yield from _answer(leg, leg.response)
    if isinstance(leg.body, Body) and leg.body.outcome in ("truncated", "reset", "stalled"):
        word = "no more bytes came" if leg.body.outcome == "stalled" else "the connection was cut"
        yield "content-cut", f"{word} after {leg.body.bytes} bytes of the content"
    if not leg.response:
        yield "not-tried", "not reached within the time of this look"


def _unresolved(resolution: Resolution, who: str) -> str:
    said = [f"{answer.rcode or answer.error} from {answer.server}" for answer in resolution.resolvers]
    return f"{'the name of ' + who if who else 'its name'} is not resolved here ({', '.join(said) or resolution.error})"


def _unconnected(made: Connection) -> Seen:
    outcomes = {attempt.outcome for attempt in made.attempts}
    worst = next((outcome for outcome in WORST if outcome in outcomes), "timed_out")
    words: dict[str, Seen] = {
        "refused": ("refused", "refused at once (a TCP reset in answer to the first packet)"),
        "reset": ("reset", "reset before the connection stood"),
        "timed_out": ("dropped", f"no answer for {max((attempt.seconds for attempt in made.attempts), default=0.0):.0f} s (the packets are dropped)"),
        "denied": ("denied-here", "not let out by this machine's own packet filter"),
        "unreachable": ("unreachable", "unreachable (no route, or an ICMP message says so)"),
        "error": ("unreachable", "could not be tried"),
    }
    state, how = words[worst]
    return state, f"TCP port {made.port}: {how}"


def _not_through(tunnel: Tunnel) -> Seen:
    if isinstance(tunnel.status, int):
        state: HostState = "proxy-login" if tunnel.status == 407 else "proxy-refused"
        page = f" “{tunnel.title}”" if tunnel.title else ""
        return state, f"the proxy {tunnel.proxy} answers CONNECT with {tunnel.status} {tunnel.reason}".rstrip() + page
    words = {"silent": "does not answer CONNECT", "tls_failed": "cannot be spoken to over TLS", "unsupported": "cannot be used with this setting"}
    state = "proxy-silent" if tunnel.outcome in ("silent", "closed", "reset") else "not-tried"
    return state, f"the proxy {tunnel.proxy} {words.get(tunnel.outcome, 'ends the connection at CONNECT')}"


def _unshaken(leg: Leg, handshake: Handshake) -> Seen:
    if handshake.outcome in ("reset", "closed", "silent"):
        cut = "no answer" if handshake.outcome == "silent" else "cut"
        nameless = any(item.question == "without-sni" and item.works for item in leg.counterfactuals)
        if nameless:
            return "tls-by-name", f"TLS: {cut} once the name {leg.host} is in the first message (SNI); a handshake that names no host is answered"
        return ("tls-dropped" if handshake.outcome == "silent" else "tls-reset"), f"TCP connects; TLS: {cut} after the first message"
    if handshake.outcome == "not_tls":
        return "not-tls", "TCP connects; what answers there does not speak TLS"
    last = handshake.chain[-1] if handshake.chain else None
    product = next((name for item in handshake.chain for text in (item.issuer, item.subject) if (name := hosts.inspection_product(text))), "")
    if last and (product or (hosts.is_known_public(leg.host) and not hosts.public_authority(last.issuer_organization))):
        return "tls-replaced", f"TLS is opened on the way: the certificate is signed by “{last.issuer_name or last.issuer}”" + (
            f" ({product})" if product and product not in last.issuer else ""
        )
    said = handshake.message or handshake.alert or handshake.outcome
    return "tls-failed", f"TCP connects; TLS fails: {said}"


def _answer(leg: Leg, response: Response) -> Iterator[Seen]:
    if response.outcome != "answered":
        word = "no answer to the request" if response.outcome == "silent" else f"the connection is cut after the request ({response.outcome})"
        yield ("request-dropped" if response.outcome == "silent" else "request-cut"), f"{'TLS stands; ' if leg.scheme == 'https' else ''}{word}"
        return
    fields = {header.name: header.value for header in response.headers}
    product = hosts.filter_product(fields, response.title)
    status = response.status if isinstance(response.status, int) else 0
    if status == 407:
        yield "proxy-login", "the proxy wants a login (407)"
    elif product or ((status >= 300 or response.content == "html") and not hosts.origin_headers(leg.host, fields)):
        page = f" “{response.title}”" if response.title else ""
        yield "filtered", f"HTTP {status}{page} is not the host's own answer" + (f": {product}" if product else "")
