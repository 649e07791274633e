"""The ladder: one request, step by step, as the client that will download makes it.

Each step is marked as waited for before it begins, so that a survey that ends meanwhile reads "timed out here" and not "nothing".
"""

from __future__ import annotations

import base64
import dataclasses
import errno
import http.client
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from diagnostics.case import NOT_ASKED, NOT_REACHED, Attempt, ClientUse, Connection, Environment, Handshake, Leg, Resolution, Response, Route, Tunnel, Unseen
from diagnostics.facts.clients import ClientFacts
from diagnostics.facts.hosts import is_instance_metadata
from diagnostics.facts.routes import authority
from diagnostics.probes import connection, dns, proxy, tls
from diagnostics.probes import http as http_probe
from diagnostics.probes.budget import Deadline, OpenSockets
from diagnostics.probes.route import route as route_for
from diagnostics.redact import Secrets

# What a step needs before its silence means anything: a SYN is repeated after 1 s, a slow host may think for some seconds.
FAIR_SECONDS = {"resolution": 3.0, "connection": 3.0, "tunnel": 5.0, "handshake": 5.0, "response": 8.0, "body": 5.0}
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(kw_only=True)
class Means:
    """What every leg of a survey is travelled with."""

    client: ClientUse
    facts: ClientFacts
    environment: Environment
    secrets: Secrets
    store: tls.Store  # that this client uses
    other_stores: tuple[tls.Store, ...]
    servers: tuple[str, ...]  # configured resolvers
    endpoint: SplitResult = field(default_factory=lambda: urlsplit(""))  # the only place the token is for
    deadline: Deadline
    sockets: OpenSockets = field(default_factory=OpenSockets)
    verdicts: proxy.Verdicts = field(default_factory=proxy.Verdicts)
    silent: connection.Silent = field(default_factory=dict)
    nearest_seconds: float = float("inf")  # how fast the quickest host of this survey took a connection
    patient: bool = False  # wait for a connection as long as anybody would, however near others are
    _names: dict[str, Resolution] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def resolve(self, host: str, port: int) -> Resolution:
        """Each name is asked for once a survey."""
        with self._guard:
            lock = self._locks.setdefault(host, threading.Lock())
        with lock:
            if host not in self._names:
                self._names[host] = dns.resolve(host, port, self.deadline, self.servers)
            return self._names[host]

    @property
    def endpoint_host(self) -> str:
        return self.endpoint.hostname or ""

    def authorization(self, parts: SplitResult, wanted: bool = True) -> str:
        """What this client would send there: the token to the hub; a netrc entry where the client reads it, which then wins. Nothing that is not ``wanted``."""
        host = parts.hostname or ""
        if wanted and self.facts.netrc and host in self.secrets.netrc:
            return "Basic " + base64.b64encode(self.secrets.netrc[host].encode("utf-8", "surrogateescape")).decode()
        token = self.secrets.token if wanted and self._is_endpoint(parts) else ""
        return f"Bearer {token}" if token and token.isascii() and token.isprintable() else ""

    def _is_endpoint(self, parts: SplitResult) -> bool:
        """The same scheme, host and port, or TLS in place of plain http: never another service on that host, never in the clear where it was not (requests, should_strip_auth)."""
        ours, there = (self.endpoint.scheme, self.endpoint.hostname, port_of(self.endpoint)), (parts.scheme, parts.hostname, port_of(parts))
        return ours == there or (ours[::2] == ("http", 80) and there == ("https", ours[1], 443))


@dataclass(frozen=True, kw_only=True)
class Stop:
    """One request to make. ``url`` is raw: it may carry a signature."""

    url: str = field(repr=False)
    method: str = "GET"
    sample: http_probe.Sample | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    with_token: bool = True  # and what ~/.netrc holds for the host
    pointed_to: bool = False  # by a server: a redirect's target, a certificate's AIA
    through: Route | None = None  # another route than the client's own (a counterfactual)
    confidential: bool = False  # what comes holds a credential: none of it goes into a record


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """What a leg leaves in the hand: the record, and the raw things that are in no record."""

    leg: Leg
    parts: SplitResult
    location: str = field(default="", repr=False)
    content: bytes = field(default=b"", repr=False)
    xet: tuple[str, str] = field(default=("", ""), repr=False)  # X-Xet-Hash, and where the hub gives the token for it
    dial: tls.Dial | None = None


Publish = Callable[[Leg], None]


def go(stop: Stop, means: Means, publish: Publish = lambda leg: None) -> Arrival:
    """One request, from the name to the bytes."""
    parts = urlsplit(stop.url)
    host, port = parts.hostname or "", port_of(parts)
    route = stop.through or route_for(means.facts, means.environment, parts.scheme, host, port)
    leg = Leg(
        url=means.secrets.url(stop.url),
        scheme=parts.scheme,
        host=host,
        port=port,
        method=stop.method,
        route=route,
        token_sent=bool(means.authorization(parts, stop.with_token)),
        tunnel=NOT_REACHED if _needs_step_at_proxy(route, parts.scheme) else NOT_ASKED,
        handshake=NOT_REACHED if parts.scheme == "https" else NOT_ASKED,
        body=NOT_REACHED if stop.sample else NOT_ASKED,
    )
    walk = _Walk(stop=stop, parts=parts, means=means, leg=leg, publish=publish)
    try:
        walk.climb()
    finally:
        walk.leave()
    return Arrival(leg=walk.leg, parts=parts, location=walk.location, content=walk.content, xet=walk.xet, dial=walk.dial if walk.connected else None)


def port_of(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _needs_step_at_proxy(route: Route, scheme: str) -> bool:
    """CONNECT, SOCKS, or TLS with the proxy itself."""
    return route.kind == "unusable" or (route.kind == "proxy" and (scheme == "https" or route.scheme != "http"))


def is_absolute(leg: Leg) -> bool:
    """Whether the request goes to an HTTP proxy itself, in absolute form (RFC 9112 §3.2.2)."""
    return leg.route.kind == "proxy" and leg.scheme == "http" and not leg.route.scheme.startswith("socks")


@dataclass(kw_only=True)
class _Walk:
    """A leg under way."""

    stop: Stop
    parts: SplitResult
    means: Means
    leg: Leg
    publish: Publish
    sock: socket.socket | None = None
    channel: tls.Channel | None = None
    location: str = ""
    content: bytes = b""
    xet: tuple[str, str] = ("", "")
    awaited: str = ""

    def climb(self) -> None:
        """Step after step, until one is not fine."""
        steps = {"resolution": self._resolve, "connection": self._connect, "tunnel": self._tunnel, "handshake": self._shake, "response": self._request}
        for name, step in steps.items():
            left = self.means.deadline.left()
            if not step():
                self._take_back(name, left)
                return

    def _take_back(self, step: str, left: float) -> None:
        """Silence for less time than is fair, only because the budget ran out, is no finding: the step reads "timed out" instead."""
        seen = getattr(self.leg, step)
        if self.means.deadline.over and left < FAIR_SECONDS[step] and was_silent(seen):
            self._waiting(step, self.awaited)

    def leave(self) -> None:
        if self.sock is not None:
            self.means.sockets.discard(self.sock)

    @property
    def connected(self) -> bool:
        return bool(self.leg.connection and self.leg.connection.address)

    def _waiting(self, step: str, detail: str) -> None:
        self.awaited = detail
        self._note(**{step: Unseen("timed_out", detail)})

    def _note(self, **steps: object) -> None:
        self.leg = dataclasses.replace(self.leg, **steps)  # type: ignore[arg-type]
        self.publish(self.leg)

    @property
    def _next_hop(self) -> tuple[str, int]:
        route = self.leg.route
        return (route.host, route.port) if route.kind == "proxy" else (self.leg.host, self.leg.port)

    def _resolve(self) -> bool:
        route = self.leg.route
        if route.kind == "unusable":
            problem = route.problem.detail if route.problem else ""
            self._note(tunnel=Tunnel(proxy=route.proxy, protocol="http", outcome="unsupported", message=problem))
            return False
        host, port = self._next_hop
        self._waiting("resolution", f"the address of {host}")
        resolution = self.means.resolve(host, port)
        self._note(resolution=resolution)
        return bool(resolution.addresses)

    def _connect(self) -> bool:
        host, port = self._next_hop
        self._waiting("connection", f"a connection to {host}:{port}")
        assert isinstance(self.leg.resolution, Resolution)
        if self.stop.pointed_to and self.leg.route.kind == "direct" and any(is_instance_metadata(address.ip) for address in self.leg.resolution.addresses):
            refused = (Attempt(address=address, outcome="error", errno=errno.EACCES) for address in self.leg.resolution.addresses)
            self._note(connection=Connection(port=port, attempts=tuple(refused)))
            return False
        near = self.means.nearest_seconds < connection.NEAR_SECONDS and not self.means.patient
        patience = connection.NEAR_PATIENCE_SECONDS if near else connection.CONNECT_SECONDS
        made, self.sock = connection.connect(self.leg.resolution.addresses, port, self.means.deadline, self.means.sockets, self.means.silent, patience)
        if made.address:
            self.means.nearest_seconds = min(self.means.nearest_seconds, made.seconds)
        self._note(connection=made)
        return self.sock is not None

    def _tunnel(self) -> bool:
        if self.leg.tunnel is NOT_ASKED:
            return True
        self._waiting("tunnel", f"{self._proxy} to connect to {self.leg.host}:{self.leg.port}")
        tunnel, self.sock = self._open_tunnel(self.sock)
        self._note(tunnel=tunnel)
        return self.sock is not None

    def _open_tunnel(self, sock: socket.socket | None) -> tuple[Tunnel, socket.socket | None]:
        assert sock is not None
        return proxy.open_tunnel(sock, passage(self.leg.route, self.leg, self.means), self.means.verdicts)

    def _shake(self) -> bool:
        if self.leg.handshake is NOT_ASKED:
            return True
        assert self.sock is not None
        self._waiting("handshake", f"TLS with {self.leg.host}")
        shaken, channel = tls.handshake(self.sock, self.leg.host, self.means.store, self.means.deadline, self.means.sockets)
        self.sock = channel.sock if channel else None
        self.channel = channel
        self._note(handshake=shaken)
        return channel is not None

    def _request(self) -> bool:
        assert self.sock is not None
        self._waiting("response", f"an answer to {self.stop.method} from {self.leg.host}")
        with self.means.verdicts.showing(self._proxy, self._proxy_login) as before:
            if isinstance(before, Response):
                self._note(response=before)
                return False
            response, answer = http_probe.request(self.sock, self._ask(), self.means.deadline, self.means.secrets)
            self.means.verdicts.note(self._proxy, self._proxy_login, response)
        if answer is None:
            self._note(response=self._with_alert(response))
            return False
        self.location = answer.headers.get("location", "")
        self.xet = http_probe.xet_fields(answer.headers)
        self._note(response=response)
        if self.stop.sample and not (response.status in REDIRECTS and self.location):
            self._waiting("body", f"the content from {self.leg.host}")
            self._read(answer, response)
        return True

    @property
    def _proxy(self) -> str:
        return authority(self.leg.route.host, self.leg.route.port)

    @property
    def _proxy_login(self) -> str:
        """Proxy-Authorization of a request in absolute form; a tunnel has shown it before."""
        if not is_absolute(self.leg) or not self.leg.route.credentials:
            return ""
        return proxy.authorization(self.means.secrets.proxies.get(self.leg.route.variable, ""))

    def _with_alert(self, response: Response) -> Response:
        """A TLS 1.3 server refuses a missing client certificate only after the handshake (RFC 8446 §4.4.2.4)."""
        overheard = self.channel.overheard if self.channel else None
        if overheard and overheard.alert >= 0 and isinstance(self.leg.handshake, Handshake):
            self.leg = dataclasses.replace(
                self.leg,
                handshake=dataclasses.replace(self.leg.handshake, alert=tls.alert_name(overheard.alert), certificate_requested=overheard.certificate_requested),
            )
            return dataclasses.replace(response, outcome="alert")
        return response

    def _read(self, answer: http.client.HTTPResponse, response: Response) -> None:
        assert self.sock is not None and self.stop.sample
        failed = isinstance(response.status, int) and response.status >= 400
        sample = http_probe.Sample(most_bytes=16384, seconds=2.0, keep=True) if failed else self.stop.sample
        left = self.means.deadline.left()
        body, self.content = http_probe.read(answer, self.sock, sample, self.means.deadline, self.means.secrets)
        shown = "" if self.stop.confidential and not failed else self.means.secrets.clean(self.content[:8192], 280)
        noted = dataclasses.replace(response, title=body.title, content=body.content, first_bytes=shown)
        if body.outcome == "stalled" and self.means.deadline.over and left < FAIR_SECONDS["body"]:
            self._note(response=noted)  # the body stays waited for
            return
        self._note(response=noted, body=NOT_ASKED if failed else body)

    def _ask(self) -> http_probe.Ask:
        parts, leg = self.parts, self.leg
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        path = _sendable(path)
        default = {"https": 443, "http": 80}.get(parts.scheme)
        name = f"[{leg.host}]" if ":" in leg.host else leg.host.encode("idna").decode()
        authority = name if leg.port == default else f"{name}:{leg.port}"
        headers = list(self.stop.headers)
        login = proxy.authorization(self.stop.url) if parts.username else ""
        if authorization := login or self.means.authorization(parts, self.stop.with_token):
            headers.append(("Authorization", authorization))
        if self._proxy_login:
            headers.append(("Proxy-Authorization", self._proxy_login))
        target = f"http://{authority}{path}" if is_absolute(leg) else path
        return http_probe.Ask(method=self.stop.method, target=target, host=authority, headers=tuple(headers))

    def dial(self) -> socket.socket | None:
        """Another connection to the same server, by the same route."""
        made = self.leg.connection
        if not isinstance(made, Connection) or not made.address:
            return None
        try:
            sock = socket.create_connection((made.address.ip, made.port), self.means.deadline.within(3.0))
        except OSError:
            return None
        self.means.sockets.add(sock)
        if self.leg.tunnel is NOT_ASKED:
            return sock
        return self._open_tunnel(sock)[1]


def was_silent(seen: object) -> bool:
    """Whether a step ended because nothing came."""
    if isinstance(seen, Resolution):
        return seen.error == "TIMED_OUT"
    if isinstance(seen, Connection):
        return any(attempt.outcome == "timed_out" for attempt in seen.attempts)
    return getattr(seen, "outcome", "") == "silent"


def passage(route: Route, leg: Leg, means: Means, address: str | None = None) -> proxy.Passage:
    """What to ask of the proxy of ``route`` for this leg."""
    known = means.secrets.proxies.get(route.variable, "") if address is None else address
    return proxy.Passage(
        route=route,
        address=known,
        host=leg.host,
        port=leg.port,
        absolute=route.kind == "proxy" and leg.scheme == "http" and not route.scheme.startswith("socks"),
        store=means.store,
        deadline=means.deadline,
        sockets=means.sockets,
        secrets=means.secrets,
    )


def _sendable(path: str) -> str:
    """Percent-encode what http.client would refuse (RFC 3986 §2.1)."""
    return "".join(char if "!" <= char <= "~" else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape")) for char in path)
