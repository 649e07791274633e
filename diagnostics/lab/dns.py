"""A DNS server over UDP and TCP with a zone of addresses, and one way to fail for each name, or for all of them.

Messages are dnspython's. RFC 1035; extended errors: RFC 8914; checking disabled: RFC 4035 §3.2.2.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diagnostics.lab import tcp

if TYPE_CHECKING:
    import dns.message

EVERY_NAME = "*"
TTL_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to a question in place of an answer from the zone."""

    rcode: str = ""  # "NXDOMAIN", "SERVFAIL", "REFUSED"; "NOERROR" answers with nothing (NODATA)
    unless_checking_disabled: bool = False  # a query with CD=1 is answered well: broken DNSSEC
    addresses: tuple[str, ...] = ()  # a lie
    extended: tuple[int, str] | None = None  # code and text of RFC 8914
    silent: bool = False
    wait_seconds: float = 0.0
    truncated: bool = False  # over UDP only the header with TC: ask again over TCP


NXDOMAIN = Fault(rcode="NXDOMAIN")
NODATA = Fault(rcode="NOERROR")
SERVFAIL = Fault(rcode="SERVFAIL")
REFUSED = Fault(rcode="REFUSED")
SILENT = Fault(silent=True)
BOGUS = Fault(rcode="SERVFAIL", unless_checking_disabled=True, extended=(6, "DNSSEC bogus"))

Zone = Mapping[str, tuple[str, ...]]  # name → IPv4 and IPv6 addresses


class DnsServer:
    """Answers for ``zone``; a name that is not in it does not exist. Zone and faults may be changed while it runs."""

    def __init__(self, zone: Zone, faults: Mapping[str, Fault] | None = None, *, address: str = tcp.LOOPBACK, port: int = 0) -> None:
        self.zone, self.faults = dict(zone), dict(faults or {})
        self.questions: list[tuple[str, str, str]] = []  # name, type, transport
        self._tcp = tcp.Server(self._talk, address=address, port=port)
        self.host, self.port = self._tcp.host, self._tcp.port
        self._udp = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((address, self.port))
        threading.Thread(target=self._listen, name="lab-dns", daemon=True).start()

    def __enter__(self) -> DnsServer:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._tcp.close()
        with contextlib.suppress(OSError):
            self._udp.shutdown(socket.SHUT_RDWR)  # wakes recvfrom; an unconnected socket complains and wakes all the same
        self._udp.close()

    def _listen(self) -> None:
        while True:
            try:
                wire, sender = self._udp.recvfrom(65535)
            except OSError:
                return
            threading.Thread(target=self._reply, args=(wire, sender), name="lab-dns-answer", daemon=True).start()

    def _reply(self, wire: bytes, sender: tuple[Any, ...]) -> None:
        answer = self._answer(wire, "udp")
        with contextlib.suppress(OSError):
            if answer is not None:
                self._udp.sendto(answer, sender)

    def _talk(self, sock: socket.socket) -> None:
        while len(size := sock.recv(2, socket.MSG_WAITALL)) == 2:
            wire = sock.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
            answer = self._answer(wire, "tcp")
            if answer is None:
                tcp.stay_silent(sock)
                return
            sock.sendall(len(answer).to_bytes(2, "big") + answer)

    def _answer(self, wire: bytes, transport: str) -> bytes | None:
        """The reply on the wire; None for silence, and for what is no question."""
        import dns.exception
        import dns.message
        import dns.rdatatype

        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if not query.question:
            return None
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        self.questions.append((name, dns.rdatatype.to_text(query.question[0].rdtype), transport))
        fault = self.faults.get(name) or self.faults.get(EVERY_NAME) or Fault()
        time.sleep(fault.wait_seconds)
        if fault.silent:
            return None
        return _message(query, self.zone.get(name), fault, transport).to_wire()


def _message(query: dns.message.Message, known: tuple[str, ...] | None, fault: Fault, transport: str) -> dns.message.Message:
    import dns.edns
    import dns.flags
    import dns.message
    import dns.rcode
    import dns.rrset

    reply = dns.message.make_response(query, recursion_available=True)
    trusting = fault.unless_checking_disabled and bool(query.flags & dns.flags.CD)
    if fault.extended and query.edns >= 0 and not trusting:
        reply.use_edns(0, options=[dns.edns.EDEOption(dns.edns.EDECode.make(fault.extended[0]), fault.extended[1])])
    if fault.truncated and transport == "udp":
        reply.flags |= dns.flags.TC
    elif fault.rcode and not trusting:
        reply.set_rcode(dns.rcode.from_text(fault.rcode))
    elif fault.addresses or known is not None:
        question = query.question[0]
        found = [address for address in fault.addresses or known or () if _kind(address) == question.rdtype]
        if found:
            reply.answer.append(dns.rrset.from_text(question.name, TTL_SECONDS, question.rdclass, question.rdtype, *found))
    else:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    return reply


def _kind(address: str) -> int:
    """The type of record that holds an address: A is 1, AAAA is 28."""
    return 28 if ":" in address else 1
