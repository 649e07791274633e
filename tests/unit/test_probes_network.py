"""What the probes make of odd bytes, odd files of the system, and addresses that do not answer. Loopback and socket pairs only."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from diagnostics.case import Address, Body, ClientUse, Connection, Environment, Resolution, Response
from diagnostics.facts import clients
from diagnostics.lab import tcp
from diagnostics.probes import certificates, connection, dns, journey, tls
from diagnostics.probes import http as http_probe
from diagnostics.probes.budget import Deadline, OpenSockets
from diagnostics.probes.leg import Means, Stop, go
from diagnostics.probes.survey import MOST_URLS, _chosen
from diagnostics.redact import Secrets

CONTENT = b"\x93NUMPY" + bytes(range(256)) * 40
SAMPLE = http_probe.Sample(most_bytes=1 << 20)


def read(raw: bytes, sample: http_probe.Sample = SAMPLE) -> Body:
    """What is read of an answer that consists of these bytes, after which the server ends."""
    here, there = socket.socketpair()
    with here, there:
        there.sendall(raw)
        there.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(here)
        answer.begin()
        body, _ = http_probe.read(answer, here, sample, Deadline(5.0), Secrets())
        return body


def sent(body: bytes, *fields: str) -> bytes:
    return "\r\n".join(("HTTP/1.1 200 OK", *fields, "", "")).encode() + body


def test_a_packed_answer_is_judged_by_what_it_unpacks_to() -> None:
    """A server may compress unasked; its twin sends the file as it is, and both have the same digest."""
    packed = gzip.compress(CONTENT)
    body = read(sent(packed, "Content-Encoding: gzip", f"Content-Length: {len(packed)}"))
    plain = read(sent(CONTENT, f"Content-Length: {len(CONTENT)}"))
    assert body.sha256 == plain.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (body.bytes, body.content_bytes, plain.content_bytes) == (len(packed), len(CONTENT), len(CONTENT))


def test_an_encoding_that_nobody_here_unpacks_has_no_digest() -> None:
    """Rather none than a wrong one."""
    body = read(sent(CONTENT, "Content-Encoding: br", f"Content-Length: {len(CONTENT)}"))
    assert (body.outcome, bool(body.sha256)) == ("complete", False)


def test_what_is_not_packed_though_it_says_so_is_invalid() -> None:
    """No client can read it."""
    assert read(sent(CONTENT, "Content-Encoding: gzip", f"Content-Length: {len(CONTENT)}")).outcome == "invalid"


def test_a_bomb_is_not_unpacked() -> None:
    """A hundred megabytes of nothing in a hundred kilobytes: no digest, and little memory."""
    packed = gzip.compress(bytes(100 << 20))
    body = read(sent(packed, "Content-Encoding: gzip", f"Content-Length: {len(packed)}"), http_probe.Sample(most_bytes=1 << 20, keep=True))
    assert not body.sha256
    assert not body.content_bytes


def test_a_chunked_answer_that_ends_is_cut_and_one_with_garbage_is_invalid() -> None:
    """http.client raises the same exception for both."""
    chunked = "Transfer-Encoding: chunked"
    assert read(sent(b"5\r\nhello\r\n0\r\n\r\n", chunked)).outcome == "complete"
    assert read(sent(b"5\r\nhello\r\n", chunked)).outcome == "truncated"
    assert read(sent(b"5\r\nhello\r\n5\r\nhe", chunked)).outcome == "truncated"
    assert read(sent(b"5\r\nhello\r\nthis is no chunk\r\n", chunked)).outcome == "invalid"


@pytest.mark.parametrize(
    ("text", "servers", "domains"),
    [
        ("# nothing\n", (), ()),
        ("nameserver 10.0.0.1 # ours\nnameserver dns.example\nsearch a.example b.example.\n", ("10.0.0.1",), ("a.example", "b.example")),
        ("domain a.example\nsearch b.example\n nameserver ::1\nnameserver 1.1.1.1\nnameserver 8.8.8.8\nnameserver 9.9.9.9", ("::1", "1.1.1.1", "8.8.8.8"), ("b.example",)),
    ],
)  # fmt: skip
def test_resolv_conf_is_read_as_resolv_conf_5_says(tmp_path: Path, text: str, servers: tuple[str, ...], domains: tuple[str, ...]) -> None:
    """The first three servers that are addresses, the last search list, comments left out."""
    path = tmp_path / "resolv.conf"
    path.write_text(text)
    assert tuple(dns._nameservers(path)) == servers
    assert dns.search_domains(path) == domains


def test_no_file_is_no_resolver(tmp_path: Path) -> None:
    """A container without resolv.conf, nsswitch.conf and hosts."""
    absent = tmp_path / "absent"
    assert (tuple(dns._nameservers(absent)), dns.search_domains(absent), dns.name_sources(absent), dns.hosts_entries("a", absent)) == ((), (), "", ())


def test_every_host_of_a_long_list_is_asked() -> None:
    """The first file of each host comes before the second of any."""
    urls = [f"https://a.example/{number}" for number in range(30)] + ["https://b.example/1", "https://c.example/1"]
    chosen = _chosen(urls)
    assert {30, 31} <= chosen
    assert len(chosen) == MOST_URLS


@contextlib.contextmanager
def half_dead() -> Iterator[int]:
    """A port that answers at 127.0.0.1 and takes no connection at 127.0.0.2."""
    with tcp.deaf_port("127.0.0.2") as port, tcp.Server(tcp.stay_silent, port=port):
        yield port


def test_nobody_waits_twice_for_an_address_that_does_not_answer() -> None:
    """Where another one does; what is reported is what was seen the first time."""
    dead, alive = Address(family="ipv4", ip="127.0.0.2"), Address(family="ipv4", ip="127.0.0.1")
    sockets, silent = OpenSockets(), connection.Silent()
    with half_dead() as port:
        first, _ = connection.connect((dead, alive), port, Deadline(10.0), sockets, silent)
        started = time.monotonic()
        second, _ = connection.connect((dead, alive), port, Deadline(10.0), sockets, silent)
        seconds = time.monotonic() - started
        sockets.close_all()
    assert [attempt.outcome for attempt in first.attempts] == ["timed_out", "connected"]
    assert first.attempts[0] == second.attempts[0]
    assert seconds < 0.5


def asked(handle: Callable[[str, str], bytes], url: str, **changes: object) -> list[tuple[str, str]]:
    """(Host, Authorization) of each request that a journey to ``url`` leads to; ``handle`` answers host and path, {port} is the server's."""
    seen: list[tuple[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.headers["Host"].partition(":")[0], self.headers.get("Authorization", "")))
            self.wfile.write(handle(self.headers["Host"].partition(":")[0], self.path).replace(b"{port}", b"%d" % server.server_port))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = {name: urlsplit(value.format(port=server.server_port)) if isinstance(value, str) else value for name, value in changes.items()}
        means = means_with(**made)
        journey.travel(
            journey.Trip(name="t", purpose="content", url=url.format(port=server.server_port), sample=http_probe.Sample(most_bytes=100)), means, lambda _: None
        )
        server.shutdown()
    return seen


def means_with(**changes: object) -> Means:
    known = {
        "client": ClientUse(family="requests"),
        "facts": clients.facts("requests"),
        "environment": Environment(),
        "secrets": Secrets(token="hf_token", netrc={"localhost": "me:pw"}),
        "store": tls.Store(name="none", cafile="", capath=""),
        "other_stores": (),
        "servers": (),
        "deadline": Deadline(5.0),
    }
    return Means(**{**known, **changes})  # type: ignore[arg-type]


def moved(location: str) -> Callable[[str, str], bytes]:
    return lambda _host, path: (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        if path == "/there"
        else f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    )


def test_the_token_goes_to_the_hub_alone() -> None:
    """Its twins are another port and another scheme of the same host: another service, or everybody on the way."""
    hub = "http://127.0.0.1:{port}"
    assert asked(moved("/there"), f"{hub}/x", endpoint=hub) == [("127.0.0.1", "Bearer hf_token")] * 2
    assert asked(moved("/there"), f"{hub}/x", endpoint="http://127.0.0.1:9") == [("127.0.0.1", "")] * 2
    assert asked(moved("/there"), f"{hub}/x", endpoint="https://127.0.0.1") == [("127.0.0.1", "")] * 2
    assert [login for _, login in asked(moved("http://localhost:{port}/there"), f"{hub}/x", endpoint=hub)] == ["Bearer hf_token", "Basic bWU6cHc="]


@pytest.mark.parametrize("place", ["https://[x", "http://[::1", "http://h:99999999/"])
def test_a_redirect_to_no_address_ends_the_journey(place: str) -> None:
    """urllib raises a ValueError for it; to us it is the server's mistake, seen and not followed."""
    assert len(asked(moved(place), "http://127.0.0.1:{port}/x")) == 1


def test_a_question_without_credentials_takes_none_from_netrc_either() -> None:
    """Plain http to a host whose https failed, say: whoever cut that listens."""
    means = means_with()
    assert means.authorization(urlsplit("http://localhost/"))
    assert not means.authorization(urlsplit("http://localhost/"), wanted=False)


@pytest.mark.parametrize(
    "place", ["169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]", "[fe80::1]", "metadata.google.internal", "100.100.100.200"]
)
def test_no_redirect_leads_to_a_metadata_service(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers there are credentials of the machine's role, and the first of it would stand in the report; a redirect elsewhere is followed."""
    went: list[str] = []
    monkeypatch.setattr(connection, "connect", lambda addresses, *rest, _real=connection.connect: (went.append(addresses[0].ip), _real(addresses, *rest))[1])
    assert len(asked(moved(f"http://{place}/latest/meta-data/"), "http://127.0.0.1:{port}/x")) == 1
    assert went == ["127.0.0.1"]


def test_a_name_that_resolves_to_a_metadata_service_is_not_asked_where_a_server_named_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS belongs to whoever owns the name."""
    bad = Address(family="ipv4", ip="169.254.169.254")
    monkeypatch.setattr(Means, "resolve", lambda _self, host, _port: Resolution(host=host, addresses=(bad,)))
    monkeypatch.setattr(connection, "connect", lambda *_: pytest.fail("it was asked"))
    arrived = go(Stop(url="http://evil.test/latest", pointed_to=True), means_with())
    assert isinstance(arrived.leg.connection, Connection) and not arrived.leg.connection.address


def test_a_machine_without_any_store_has_no_authorities() -> None:
    """A slim container without ca-certificates: nothing to read is no error."""
    assert certificates.authorities("", "") == ()


@pytest.mark.parametrize("before", range(230, 300, 7))
def test_the_beginning_of_a_page_shows_no_beginning_of_a_secret(before: int) -> None:
    """A server that repeats the token where what is shown of its page ends: a half is recognised by nothing."""
    token = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
    page = b"x" * before + b" " + token.encode() + b" " + b"y" * 400

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page) + page)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        stop = Stop(url=f"http://127.0.0.1:{server.server_port}/", sample=http_probe.Sample(most_bytes=4096))
        arrived = go(stop, means_with(secrets=Secrets(token=token)))
    response = arrived.leg.response
    assert isinstance(response, Response)
    assert response.first_bytes.startswith("x" * 230)
    assert "hf_A" not in response.first_bytes
