"""Names: ``getaddrinfo`` for what the clients will get, each configured resolver asked directly for the reason.

dnspython reads neither /etc/hosts nor nsswitch, so its answer is never the truth for a client; and ``getaddrinfo`` cannot say which
resolver failed, nor how. Both are asked at once. ``getaddrinfo`` cannot be interrupted: it is waited for on a thread and left behind.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from diagnostics import redact
from diagnostics.case import NOT_ASKED, Address, Resolution, ResolverAnswer, Unseen
from diagnostics.probes.budget import Deadline, Together, together

if TYPE_CHECKING:
    import dns.edns
    import dns.message

RESOLV_CONF = Path("/etc/resolv.conf")
HOSTS = Path("/etc/hosts")
NSSWITCH = Path("/etc/nsswitch.conf")
MOST_DOMAINS = 6  # glibc's MAXDNSRCH before 2.26
GETADDRINFO_SECONDS = 12.0  # glibc's default for one silent server: 5 s, twice
RESOLVER_SECONDS = 3.0
PATIENT_SECONDS = 20.0  # a first server that is silent, with “options timeout:15”
HOPELESS_SECONDS = 5.5  # glibc has asked a second time by then
ANOTHER_SECONDS = 0.8  # for a question on the side
OTHER_WORD_SECONDS = 1.0  # what the resolvers say of a name that the hosts file answers for
AFTERTHOUGHT_SECONDS = 0.25  # how long a name that resolves waits for the resolvers' own answers
EAI_NAMES = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}
Transport = Literal["udp", "tcp"]
Failure = Literal["timed_out", "refused", "unreachable", "denied", "invalid"]
Lookup = tuple[str, str, tuple[Address, ...]]  # EAI name, message, addresses


def resolve(host: str, port: int, deadline: Deadline, servers: tuple[str, ...]) -> Resolution:
    """What the clients get for ``host``, and what each of ``servers`` says about it."""
    bare = host.strip("[]")
    if literal := _literal(bare):
        return Resolution(host=redact.plain(host), addresses=(literal,), literal=True)
    if problem := _unaskable(bare):
        return Resolution(host=redact.plain(host), error="IDNA", message=problem)
    asked = {(server, transport): functools.partial(ask, server, bare, transport, deadline) for server in servers for transport in ("udp", "tcp")}
    started = time.monotonic()
    resolvers = Together(asked)
    error, message, addresses = _looked_up(bare, port, resolvers, len(asked), deadline)
    seconds = time.monotonic() - started
    hosts_file = hosts_entries(bare)
    answers = resolvers.within(deadline.within(_patience(addresses, hosts_file, seconds)))
    heard = tuple(answers[key] for key in asked if key in answers)
    return Resolution(
        host=redact.plain(host),
        addresses=addresses,
        error=error,
        message=message,
        hosts_file=hosts_file,
        resolvers=heard,
        search_domain="" if hosts_file else _search_domain(bare, addresses, heard, deadline),
        sources=name_sources(),
        seconds=seconds,
    )


def _patience(addresses: tuple[Address, ...], hosts_file: tuple[str, ...], seconds: float) -> float:
    """How long the resolvers' own answers are worth waiting for once the system has given its answer, in ``seconds``."""
    if not addresses:
        return RESOLVER_SECONDS + ANOTHER_SECONDS
    return OTHER_WORD_SECONDS if hosts_file else max(AFTERTHOUGHT_SECONDS, min(seconds, 2 * AFTERTHOUGHT_SECONDS))


def _looked_up(host: str, port: int, resolvers: Together[tuple[str, str], ResolverAnswer], asked: int, deadline: Deadline) -> Lookup:
    """``getaddrinfo``, for as long as there is hope: where no resolver could be heard when asked directly, only until it has tried again once;
    where one of them knows the name, until the C library has come round to asking that one."""
    started = time.monotonic()
    waiting = Together({"getaddrinfo": lambda: _getaddrinfo(host, port)})
    for until in (HOPELESS_SECONDS, GETADDRINFO_SECONDS, PATIENT_SECONDS):
        if found := waiting.within(deadline.within(started + until - time.monotonic())).get("getaddrinfo"):
            return found
        said = resolvers.within(0.0)
        hopeless = len(said) == asked and all(answer.error or answer.truncated for answer in said.values())
        if hopeless or (until == GETADDRINFO_SECONDS and not any(answer.addresses for answer in said.values())):
            break
    return "TIMED_OUT", f"no answer in {time.monotonic() - started:.1f} s", ()


def _search_domain(host: str, addresses: tuple[Address, ...], heard: tuple[ResolverAnswer, ...], deadline: Deadline) -> str:
    """The search domain under which these addresses are found, where no resolver gives them for the name itself; "" in all other cases."""
    got = {address.ip for address in addresses}
    words = [answer for answer in heard if not answer.error]
    if not got or not words or any(got & set(answer.addresses) for answer in words):
        return ""
    limited = Deadline(deadline.within(ANOTHER_SECONDS))
    asked = {domain: functools.partial(ask, words[0].server, f"{host}.{domain}", words[0].transport, limited) for domain in search_domains()}
    answers = together(asked, limited.within(ANOTHER_SECONDS)) if asked else {}
    return next((redact.plain(domain) for domain, answer in answers.items() if got & set(answer.addresses)), "")


def _literal(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return Address(family="ipv6" if address.version == 6 else "ipv4", ip=host)


def _unaskable(host: str) -> str:
    """Why no resolver can be asked for this name (RFC 1035 §2.3.4, RFC 3490), or ""."""
    try:
        host.encode("idna")
    except UnicodeError as error:
        return redact.plain(str(error))
    return ""


def _getaddrinfo(host: str, port: int) -> Lookup:
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except socket.gaierror as error:
        return EAI_NAMES.get(error.errno or 0, str(error.errno)), redact.plain(error.strerror or ""), ()
    except (OSError, UnicodeError) as error:
        return "EAI_SYSTEM", redact.plain(str(error)), ()
    addresses = (Address(family="ipv6" if family == socket.AF_INET6 else "ipv4", ip=str(sockaddr[0])) for family, _, _, _, sockaddr in found)
    return "", "", tuple(dict.fromkeys(addresses))


def configured_resolvers(path: Path = RESOLV_CONF) -> tuple[str, ...]:
    """The name servers this machine asks, in order; empty where none is configured (glibc then tries 127.0.0.1)."""
    if sys.platform != "win32":
        return tuple(_nameservers(path))
    import dns.resolver

    try:
        return tuple(str(server) for server in dns.resolver.Resolver().nameservers)
    except dns.resolver.NoResolverConfiguration:
        return ()


def _nameservers(path: Path) -> Iterator[str]:
    """``nameserver`` lines of resolv.conf(5): the first three count."""
    servers = [words[0] for keyword, *words in _lines(path) if keyword == "nameserver" and words]
    yield from (server for server in servers[:3] if _literal(server))


def search_domains(path: Path = RESOLV_CONF) -> tuple[str, ...]:
    """What is tried behind a name: the last ``search`` or ``domain`` line of resolv.conf(5)."""
    lines = [words for keyword, *words in _lines(path) if keyword in ("search", "domain")]
    return tuple(domain.strip(".") for domain in (lines[-1] if lines else ()) if domain.strip("."))[:MOST_DOMAINS]


def name_sources(path: Path = NSSWITCH) -> str:
    """The ``hosts`` line of nsswitch.conf(5): where names are looked up, in order."""
    return next((redact.plain(" ".join(words), 200) for keyword, *words in _lines(path) if keyword == "hosts:"), "")


def _lines(path: Path) -> list[list[str]]:
    """The words of a file's lines, without comments; nothing where there is no such file."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return []
    return [words for line in text.splitlines() if (words := line.partition("#")[0].split())]


def hosts_entries(host: str, path: Path = HOSTS) -> tuple[str, ...]:
    """Addresses that the hosts file gives for ``host`` (hosts(5))."""
    return tuple(redact.plain(address) for address, *names in _lines(path) if host.lower() in (name.lower() for name in names))


def ask(server: str, host: str, transport: Transport, deadline: Deadline) -> ResolverAnswer:
    """Ask one resolver for A and AAAA of ``host``; a SERVFAIL is asked again with checking disabled, which tells DNSSEC apart."""
    import dns.flags
    import dns.rcode

    started = time.monotonic()
    first = _query(server, host, "A", transport, deadline)
    if isinstance(first, str):
        seconds = time.monotonic() - started
        others = _answers_others(server, transport, deadline) if first == "timed_out" else NOT_ASKED
        return ResolverAnswer(server=server, transport=transport, error=first, answers_others=others, seconds=seconds)
    second = _query(server, host, "AAAA", transport, deadline)
    replies = [reply for reply in (first, second) if not isinstance(reply, str)]
    helps: bool | Unseen = NOT_ASKED
    if first.rcode() == dns.rcode.SERVFAIL:
        unchecked = _query(server, host, "A", transport, deadline, dns.flags.CD)
        helps = not isinstance(unchecked, str) and unchecked.rcode() == dns.rcode.NOERROR
    return ResolverAnswer(
        server=server,
        transport=transport,
        rcode=redact.plain(dns.rcode.to_text(first.rcode())),
        addresses=tuple(redact.plain(text) for reply in replies for text in _addresses(reply)),
        extended_errors=tuple(_extended(error) for error in first.extended_errors()),
        truncated=bool(first.flags & dns.flags.TC),
        checking_disabled_helps=helps,
        seconds=time.monotonic() - started,
    )


def _addresses(reply: dns.message.Message) -> Iterator[str]:
    import dns.rdatatype

    for answer in reply.answer:
        if answer.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
            yield from (record.address for record in answer)


def _extended(error: dns.edns.EDEOption) -> str:
    """An extended error with its name in RFC 8914 §4 and the server's own text."""
    number = int(error.code)
    name = error.code.name.replace("_", " ").lower() if hasattr(error.code, "name") else ""
    return redact.plain(f"EDE {number}" + (f" ({name})" if name else "") + (f": {error.text}" if error.text else ""))


def _answers_others(server: str, transport: Transport, deadline: Deadline) -> bool:
    """Whether a server that is silent about one name answers anything: who serves the root. Any answer counts."""
    return not isinstance(_query(server, ".", "NS", transport, Deadline(deadline.within(ANOTHER_SECONDS))), str)


def _query(server: str, host: str, kind: str, transport: Transport, deadline: Deadline, flags: int = 0) -> dns.message.Message | Failure:
    """One question to one server: the reply, or how it failed."""
    import dns.exception
    import dns.flags
    import dns.message
    import dns.rcode

    try:
        for payload in (1232, 0):  # a server that cannot do EDNS says FORMERR and is asked again without
            query = dns.message.make_query(host, kind, use_edns=bool(payload) or -1, payload=payload or None, flags=dns.flags.RD | flags)
            reply = _exchange(server, query, transport, deadline.within(RESOLVER_SECONDS))
            if reply.rcode() not in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
                break
        return reply
    except (TimeoutError, dns.exception.Timeout):
        return "timed_out"
    except ConnectionRefusedError:
        return "refused"
    except PermissionError:  # a packet filter of this machine drops what leaves
        return "denied"
    except OSError:
        return "unreachable"
    except (dns.exception.DNSException, EOFError, ValueError):
        return "invalid"


def _exchange(server: str, query: dns.message.Message, transport: Transport, seconds: float) -> dns.message.Message:
    import dns.message

    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    end = time.monotonic() + seconds
    with socket.socket(family, kind) as sock:
        sock.settimeout(seconds)
        sock.connect((server, 53))  # a connected UDP socket hears of a refused port
        wire = query.to_wire()
        sock.sendall(wire if transport == "udp" else len(wire).to_bytes(2, "big") + wire)
        while True:
            sock.settimeout(max(0.01, end - time.monotonic()))
            data = sock.recv(65535) if transport == "udp" else _framed(sock)
            reply = dns.message.from_wire(data, ignore_trailing=True)
            if query.is_response(reply) or time.monotonic() > end:
                return reply


def _framed(sock: socket.socket) -> bytes:
    """One message over TCP, RFC 1035 §4.2.2."""
    length = int.from_bytes(_exactly(sock, 2), "big")
    return _exactly(sock, length)


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
