"""TCP to every address of a name at once, so that one dead address or family shows beside the ones that work."""

from __future__ import annotations

import errno
import selectors
import socket
import time
from typing import Literal

from diagnostics.case import ABSENT, Address, Attempt, Connection
from diagnostics.probes.budget import Deadline, OpenSockets

CONNECT_SECONDS = 6.0  # a SYN is repeated after 1 s and 3 s
NEAR_SECONDS = 0.3  # a network on which another host answered as fast
NEAR_PATIENCE_SECONDS = 2.05  # there: two SYNs and a second for the answer; it is tried once more while other questions are asked
STRAGGLER_SECONDS = 1.5  # how long the other addresses get once one is connected
MOST_ADDRESSES = 8

_OUTCOMES: dict[int, Literal["refused", "timed_out", "unreachable", "reset", "denied"]] = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timed_out",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.EINVAL: "unreachable",  # a black-hole route
    errno.EADDRNOTAVAIL: "unreachable",  # no address of this family here
    errno.EAFNOSUPPORT: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.ECONNRESET: "reset",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
}


Silent = dict[tuple[str, int], Attempt]  # by address and port


def connect(
    addresses: tuple[Address, ...],
    port: int,
    deadline: Deadline,
    sockets: OpenSockets,
    silent: Silent | None = None,
    patience: float = CONNECT_SECONDS,
) -> tuple[Connection, socket.socket | None]:
    """Try every address (in the order ``getaddrinfo`` gave) at once; the socket returned is the earliest in that order that connected.

    ``silent`` keeps what did not answer: nobody waits for it a second time where another address answers.
    """
    silent = {} if silent is None else silent
    started = time.monotonic()
    attempts: dict[Address, Attempt] = {}
    connected: dict[Address, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        for address in addresses[:MOST_ADDRESSES]:
            _begin(address, port, selector, attempts, connected, started)
        _finish(selector, attempts, connected, started, deadline.within(patience), {address for address in addresses if (address.ip, port) in silent})
        _give_up(selector, attempts, started, port, silent)
    chosen = next((address for address in addresses if address in connected), None)
    for address, sock in connected.items():
        if address != chosen:
            sock.close()
    ordered = tuple(attempts[address] for address in addresses[:MOST_ADDRESSES])
    seconds = attempts[chosen].seconds if chosen else time.monotonic() - started
    source = own_address(chosen or next(iter(addresses), None), port)
    made = Connection(port=port, attempts=ordered, address=chosen or ABSENT, source=source, seconds=seconds)
    return made, sockets.add(connected[chosen]) if chosen else None


def own_address(towards: Address | None, port: int) -> str:
    """The address this machine would speak from, by its routing table; "" where there is no route. Nothing is sent: a datagram socket connects to nobody."""
    if towards is None:
        return ""
    try:
        with socket.socket(socket.AF_INET6 if towards.family == "ipv6" else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((towards.ip, port))
            return str(sock.getsockname()[0])
    except (OSError, OverflowError):
        return ""


def _begin(
    address: Address, port: int, selector: selectors.BaseSelector, attempts: dict[Address, Attempt], connected: dict[Address, socket.socket], started: float
) -> None:
    family = socket.AF_INET6 if address.family == "ipv6" else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        attempts[address] = _attempt(address, error.errno or 0, started)
        return
    sock.setblocking(False)
    try:
        target = socket.getaddrinfo(address.ip, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)[0][4]
        code = sock.connect_ex(target)
    except (OSError, OverflowError) as error:
        code = getattr(error, "errno", 0) or errno.EINVAL
    if code in (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN):
        selector.register(sock, selectors.EVENT_WRITE, address)
    else:
        _settle(sock, address, code, attempts, connected, started)


def _finish(
    selector: selectors.BaseSelector,
    attempts: dict[Address, Attempt],
    connected: dict[Address, socket.socket],
    started: float,
    seconds: float,
    known_silent: set[Address],
) -> None:
    end = started + seconds
    shortened = False
    while selector.get_map():
        if connected and not shortened:
            patience = 0.0 if {key.data for key in selector.get_map().values()} <= known_silent else STRAGGLER_SECONDS
            end, shortened = min(end, time.monotonic() + patience), True
        ready = selector.select(max(0.0, end - time.monotonic()))
        for key, _ in ready:
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            selector.unregister(sock)
            _settle(sock, key.data, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), attempts, connected, started)
        if not ready and time.monotonic() >= end:
            return


def _settle(
    sock: socket.socket, address: Address, code: int, attempts: dict[Address, Attempt], connected: dict[Address, socket.socket], started: float
) -> None:
    attempts[address] = _attempt(address, code, started)
    if code:
        sock.close()
    else:
        sock.setblocking(True)
        connected[address] = sock


def _give_up(selector: selectors.BaseSelector, attempts: dict[Address, Attempt], started: float, port: int, silent: Silent) -> None:
    for key in list(selector.get_map().values()):
        attempts[key.data] = silent.setdefault((key.data.ip, port), _attempt(key.data, errno.ETIMEDOUT, started))
        selector.unregister(key.fileobj)
        assert isinstance(key.fileobj, socket.socket)
        key.fileobj.close()


def _attempt(address: Address, code: int, started: float) -> Attempt:
    return Attempt(address=address, outcome="connected" if code == 0 else _OUTCOMES.get(code, "error"), errno=code, seconds=time.monotonic() - started)
