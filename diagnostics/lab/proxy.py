"""Proxies: HTTP with CONNECT and absolute-form, behind TLS of their own or not, SOCKS 5, and a middlebox that opens the TLS that passes.

RFC 9110 §9.3.6 (CONNECT), RFC 9112 §3.2.2 (absolute-form), RFC 1928 and 1929 (SOCKS 5).
"""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from diagnostics.lab import http, tcp

DIAL_SECONDS = 5.0
Place = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How a proxy behaves. ``reaches`` maps a host (or ``host:port``) to where it is; what is not in it is looked up."""

    login: str = ""  # "user:password"; empty asks for none
    schemes: tuple[str, ...] = ('Basic realm="corp"',)
    refuses: Callable[[str], http.Reply | None] = field(default=lambda host: None)  # by host: an answer in place of a way there
    reaches: Mapping[str, Place] = field(default_factory=dict)
    impersonates: Callable[[str], ssl.SSLContext] | None = None  # opens the TLS that passes, with a certificate of its own
    trusts: ssl.SSLContext | None = None  # towards the host, where it opens TLS


def http_proxy(policy: Policy, visits: list[http.Request] | None = None) -> tcp.Talk:
    """A talk that opens tunnels and forwards plain requests."""

    def talk(sock: socket.socket) -> None:
        rest = b""
        while True:
            request, rest = http.read_request(sock, rest)
            if request is None:
                return
            if visits is not None:
                visits.append(request)
            if refusal := _refusal(request, policy):
                if not http.send(sock, request, refusal):
                    return
            elif request.method == "CONNECT":
                _tunnel(sock, request, policy)
                return
            elif not _forward(sock, request, policy):
                return

    return talk


def _refusal(request: http.Request, policy: Policy) -> http.Reply | None:
    wanted = "Basic " + base64.b64encode(policy.login.encode()).decode()
    if policy.login and request.headers.get("proxy-authorization") != wanted:
        offers = tuple(("Proxy-Authenticate", scheme) for scheme in policy.schemes)
        return http.page("Proxy authentication required", status=407, headers=(*offers, ("Via", "1.1 lab-proxy")))
    return policy.refuses(_host_of(request))


def _host_of(request: http.Request) -> str:
    return request.target.rpartition(":")[0] if request.method == "CONNECT" else urlsplit(request.target).hostname or request.host


def _dial(policy: Policy, host: str, port: int) -> socket.socket:
    place = policy.reaches.get(f"{host}:{port}") or policy.reaches.get(host) or (host, port)
    onward = socket.create_connection(place, DIAL_SECONDS)
    onward.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return onward


def _tunnel(sock: socket.socket, request: http.Request, policy: Policy) -> None:
    host, _, port = request.target.rpartition(":")
    host = host.strip("[]")
    try:
        onward = _dial(policy, host, int(port))
    except OSError:
        http.send(sock, request, http.page("Bad gateway", "The host cannot be reached.", 502, (("Via", "1.1 lab-proxy"),)))
        return
    sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    with contextlib.ExitStack() as stack:
        stack.enter_context(onward)
        if policy.impersonates and policy.trusts:
            inside = stack.enter_context(policy.impersonates(host).wrap_socket(sock, server_side=True))
            onward = stack.enter_context(policy.trusts.wrap_socket(onward, server_hostname=host))
            tcp.relay(inside, onward)
        else:
            tcp.relay(sock, onward)


def _forward(sock: socket.socket, request: http.Request, policy: Policy) -> bool:
    """One plain request passed on, its answer until the host ends the connection; False, as that ends this one too."""
    parts = urlsplit(request.target)
    try:
        onward = _dial(policy, parts.hostname or "", parts.port or 80)
    except (OSError, ValueError):
        return http.send(sock, request, http.page("Bad gateway", "The host cannot be reached.", 502, (("Via", "1.1 lab-proxy"),)))
    origin_form = re.sub(r"^http://[^/]*", "", request.target) or "/"
    kept = {name: value for name, value in request.headers.items() if not name.startswith("proxy-") and name != "connection"}
    lines = [f"{request.method} {origin_form} HTTP/1.1", *(f"{name}: {value}" for name, value in kept.items()), "Connection: close", "", ""]
    with onward:
        onward.sendall("\r\n".join(lines).encode("latin-1") + request.body)
        while piece := onward.recv(65536):
            sock.sendall(piece)
    return False


def socks5(policy: Policy) -> tcp.Talk:
    """A SOCKS 5 talk: CONNECT only, names resolved here; with a login, user name and password (RFC 1929)."""

    def talk(sock: socket.socket) -> None:
        _, count = _take(sock, 2)
        offered, wanted = _take(sock, count), 2 if policy.login else 0
        sock.sendall(bytes((5, wanted if wanted in offered else 255)))
        if wanted not in offered or (wanted and not _logged_in(sock, policy.login)):
            return
        host, port = _asked(sock)
        try:
            if policy.refuses(host):
                raise PermissionError
            onward = _dial(policy, host, port)
        except PermissionError:
            sock.sendall(b"\x05\x02\x00\x01" + bytes(6))
            return
        except OSError:
            sock.sendall(b"\x05\x04\x00\x01" + bytes(6))
            return
        sock.sendall(b"\x05\x00\x00\x01" + bytes(6))
        with onward:
            tcp.relay(sock, onward)

    return talk


def _logged_in(sock: socket.socket, login: str) -> bool:
    _, length = _take(sock, 2)
    user = _take(sock, length)
    password = _take(sock, _take(sock, 1)[0])
    good = b":".join((user, password)) == login.encode()
    sock.sendall(b"\x01\x00" if good else b"\x01\x01")
    return good


def _asked(sock: socket.socket) -> Place:
    _, _, _, kind = _take(sock, 4)
    if kind == 3:
        host = _take(sock, _take(sock, 1)[0]).decode("ascii")
    else:
        family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
        host = socket.inet_ntop(family, _take(sock, size))
    return host, int.from_bytes(_take(sock, 2), "big")


def _take(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
