"""The way through a proxy: CONNECT (RFC 9110 §9.3.6), TLS to the proxy itself, SOCKS 4 and 5 (RFC 1928, 1929).

Credentials are sent once: a proxy that refuses them is remembered, so that no second thread repeats a wrong password.
"""

from __future__ import annotations

import base64
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import unquote

from diagnostics.case import ABSENT, Header, Route, Tunnel
from diagnostics.probes import http, tls
from diagnostics.probes.budget import Deadline, OpenSockets
from diagnostics.redact import Secrets

TUNNEL_SECONDS = 8.0
HEAD_BYTES = 65536
_SOCKS5_REPLIES = {1: "general failure", 2: "not allowed by ruleset", 3: "network unreachable", 4: "host unreachable", 5: "connection refused", 6: "TTL expired", 7: "command not supported", 8: "address type not supported"}


@dataclass
class Verdicts:
    """What each proxy said of the credentials it was shown. One thread at a time shows them to a proxy that has not spoken yet."""

    refused: dict[str, Tunnel] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def lock(self, proxy: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(proxy, threading.Lock())


def credentials(address: str) -> tuple[str, str]:
    """User and password of a proxy URL, percent-decoded; empty where there are none."""
    userinfo, at, _ = address.split("://", 1)[-1].rpartition("@")
    user, _, password = userinfo.partition(":")
    return (unquote(user), unquote(password)) if at else ("", "")


def authorization(address: str) -> str:
    """The value of Proxy-Authorization (RFC 7617), or ""."""
    user, password = credentials(address)
    return "Basic " + base64.b64encode(f"{user}:{password}".encode("utf-8", "surrogateescape")).decode() if user or password else ""


def open_tunnel(
    sock: socket.socket, route: Route, address: str, host: str, port: int, store: tls.Store, deadline: Deadline, sockets: OpenSockets, secrets: Secrets, verdicts: Verdicts
) -> tuple[Tunnel, socket.socket | None]:
    """Through the proxy at the other end of ``sock`` to ``host:port``. ``address`` is the proxy's URL with its credentials."""
    proxy = f"{route.host}:{route.port}"
    if route.scheme.startswith("socks"):
        return _closing(_socks(sock, route, address, host, port, deadline, secrets), sock, sockets)
    if not route.credentials:
        return _http_tunnel(sock, route, "", host, port, store, deadline, sockets, secrets)
    with verdicts.lock(proxy) if proxy not in verdicts.accepted else threading.Lock():
        if proxy in verdicts.refused:
            sockets.discard(sock)
            return verdicts.refused[proxy], None
        tunnel, inner = _http_tunnel(sock, route, authorization(address), host, port, store, deadline, sockets, secrets)
        if tunnel.status == 407:
            verdicts.refused[proxy] = tunnel
        elif tunnel.outcome == "open":
            verdicts.accepted.add(proxy)
    return tunnel, inner


def _closing(tunnel: Tunnel, sock: socket.socket, sockets: OpenSockets) -> tuple[Tunnel, socket.socket | None]:
    if tunnel.outcome == "open":
        return tunnel, sock
    sockets.discard(sock)
    return tunnel, None


def _http_tunnel(
    sock: socket.socket, route: Route, authorization_value: str, host: str, port: int, store: tls.Store, deadline: Deadline, sockets: OpenSockets, secrets: Secrets
) -> tuple[Tunnel, socket.socket | None]:
    started = time.monotonic()
    proxy = f"{route.host}:{route.port}"
    protocol = "https" if route.scheme == "https" else "http"
    if protocol == "https":
        shaken, channel = tls.handshake(sock, route.host, store, deadline, sockets)
        if channel is None:
            message = f"TLS to the proxy itself: {shaken.outcome} ({shaken.message})"
            return Tunnel(proxy=proxy, protocol="https", outcome="tls_failed", message=secrets.clean(message), seconds=time.monotonic() - started), None
        sock = channel.sock
    tunnel = _connect(sock, proxy, protocol, authorization_value, host, port, deadline, secrets, started)
    return _closing(tunnel, sock, sockets)


def _connect(sock: socket.socket, proxy: str, protocol: str, authorization_value: str, host: str, port: int, deadline: Deadline, secrets: Secrets, started: float) -> Tunnel:
    """CONNECT and its answer; of a refusal also the page's title, which often says who refuses."""
    about = {"proxy": proxy, "protocol": protocol, "credentials_sent": bool(authorization_value)}
    authority = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", f"User-Agent: {http.USER_AGENT}"]
    lines += [f"Proxy-Authorization: {authorization_value}"] if authorization_value else []
    end = time.monotonic() + deadline.within(TUNNEL_SECONDS)
    try:
        sock.settimeout(max(0.01, end - time.monotonic()))
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace"))
        data = _read_head(sock, end)
    except TimeoutError:
        return Tunnel(**about, outcome="silent", seconds=time.monotonic() - started)  # type: ignore[arg-type]
    except OSError as error:
        return Tunnel(**about, outcome="reset", message=secrets.clean(str(error)), seconds=time.monotonic() - started)  # type: ignore[arg-type]
    if not data:
        return Tunnel(**about, outcome="closed", seconds=time.monotonic() - started)  # type: ignore[arg-type]
    return _answer(data, sock, about, secrets, started)


def _read_head(sock: socket.socket, end: float) -> bytes:
    """Up to the end of the header; what came where the peer closed earlier or says no HTTP."""
    data = b""
    while b"\r\n\r\n" not in data and b"\n\n" not in data and len(data) < HEAD_BYTES:
        sock.settimeout(max(0.01, end - time.monotonic()))
        try:
            piece = sock.recv(1) if data.startswith(b"HTTP/") else sock.recv(5)  # not a byte beyond the header: TLS begins there
        except TimeoutError:
            if data:
                break
            raise
        if not piece:
            break
        data += piece
        if len(data) >= 5 and not data.startswith(b"HTTP/"):
            sock.settimeout(0.3)
            try:
                return data + sock.recv(400)
            except OSError:
                return data
    return data


def _answer(data: bytes, sock: socket.socket, about: dict[str, object], secrets: Secrets, started: float) -> Tunnel:
    parsed = http.parse_head(data)
    if parsed is None:
        return Tunnel(**about, outcome="not_http", first_bytes=secrets.clean(data[:80]), seconds=time.monotonic() - started)  # type: ignore[arg-type]
    status, reason, pairs = parsed
    page = b"" if 200 <= status < 300 else _page(sock)
    return Tunnel(
        **about,  # type: ignore[arg-type]
        outcome="open" if 200 <= status < 300 else "refused",
        status=status,
        reason=secrets.clean(reason, 80),
        headers=secrets.headers(pairs),
        schemes=auth_schemes(secrets.headers(pairs)),
        title=secrets.clean(http.title(page), 160),
        first_bytes=secrets.clean(page[:120]),
        seconds=time.monotonic() - started,
    )


def _page(sock: socket.socket, limit: int = 8192) -> bytes:
    data, end = b"", time.monotonic() + 0.8
    try:
        while len(data) < limit and b"</title>" not in data.lower() and time.monotonic() < end:
            sock.settimeout(max(0.01, end - time.monotonic()))
            piece = sock.recv(2048)
            if not piece:
                break
            data += piece
    except OSError:
        pass
    return data


def auth_schemes(headers: tuple[Header, ...]) -> tuple[str, ...]:
    """Scheme names of every Proxy-Authenticate challenge (RFC 9110 §11.6.1)."""
    values = (header.value for header in headers if header.name == "proxy-authenticate")
    found = [word for value in values for part in value.split(",") if (word := part.strip().split(" ")[0]) and "=" not in word]
    return tuple(dict.fromkeys(found))


def alive(sock: socket.socket, seconds: float = 2.0) -> bool:
    """Whether what listens there answers HTTP at all: a question about itself, to no other host."""
    try:
        sock.settimeout(seconds)
        sock.sendall(b"OPTIONS * HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n")
        return sock.recv(16).startswith(b"HTTP/")
    except OSError:
        return False


# --- SOCKS -------------------------------------------------------------------------------------------------------------------


def _socks(sock: socket.socket, route: Route, address: str, host: str, port: int, deadline: Deadline, secrets: Secrets) -> Tunnel:
    started = time.monotonic()
    version = 4 if route.scheme.startswith("socks4") else 5
    about = {"proxy": f"{route.host}:{route.port}", "protocol": f"socks{version}", "credentials_sent": version == 5 and route.credentials}
    sock.settimeout(deadline.within(TUNNEL_SECONDS))
    status = 0
    try:
        outcome, status, message = (_socks4 if version == 4 else _socks5)(sock, credentials(address), host, port)
    except TimeoutError:
        outcome, message = "silent", ""
    except ConnectionError as error:
        outcome, message = "reset", str(error)
    except EOFError:
        outcome, message = "closed", ""
    except (OSError, UnicodeError) as error:
        outcome, message = "refused", str(error)
    return Tunnel(**about, outcome=outcome, status=status or ABSENT, message=secrets.clean(message), first_bytes=secrets.clean(message) if outcome == "not_http" else "", seconds=time.monotonic() - started)  # type: ignore[arg-type]


def _socks5(sock: socket.socket, login: tuple[str, str], host: str, port: int) -> tuple[str, int, str]:
    """RFC 1928 with the name resolved by the proxy (socks5h); returns (outcome, reply, what it said). A refused login counts as 407."""
    methods = b"\x00\x02" if any(login) else b"\x00"
    sock.sendall(bytes((5, len(methods))) + methods)
    version, method = _take(sock, 2)
    if version != 5:
        return "not_http", 0, repr(bytes((version, method)))
    if method == 2:
        user, password = (part.encode()[:255] for part in login)
        sock.sendall(bytes((1, len(user))) + user + bytes((len(password),)) + password)
        if _take(sock, 2)[1]:
            return "refused", 407, "the SOCKS proxy refused the user name or password"
    elif method:
        return "refused", 407, "the SOCKS proxy wants an authentication that was not offered"
    name = host.strip("[]").encode("idna")
    sock.sendall(b"\x05\x01\x00\x03" + bytes((len(name),)) + name + struct.pack(">H", port))
    _, reply, _, kind = _take(sock, 4)
    _take(sock, {1: 4, 4: 16}.get(kind) or _take(sock, 1)[0])
    _take(sock, 2)
    return ("open", 0, "") if reply == 0 else ("refused", reply, f"SOCKS reply {reply}: {_SOCKS5_REPLIES.get(reply, 'unknown')}")


def _socks4(sock: socket.socket, login: tuple[str, str], host: str, port: int) -> tuple[str, int, str]:
    """SOCKS 4A: the name goes along for the proxy to resolve."""
    sock.sendall(b"\x04\x01" + struct.pack(">H", port) + b"\x00\x00\x00\x01" + login[0].encode() + b"\x00" + host.encode("idna") + b"\x00")
    reply = _take(sock, 8)[1]
    return ("open", 0, "") if reply == 90 else ("refused", reply, f"SOCKS 4 reply {reply}")


def _take(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
