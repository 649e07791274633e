"""Listeners on threads, and connections that misbehave before anything is said: refused, reset, closed, silent, cut after the first words."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Literal

Talk = Callable[[socket.socket], None]  # what is done with one accepted connection; it is closed afterwards
LOOPBACK = "127.0.0.1"
HELLO_BYTES = 16384  # of the client's first record
PATIENCE_SECONDS = 120.0  # a connection that nobody ends is ended here


class Server:
    """A TCP listener. Each connection is handed to ``talk`` on a thread of its own, behind TLS where there is a ``context``."""

    def __init__(self, talk: Talk, *, address: str = LOOPBACK, port: int = 0, context: ssl.SSLContext | None = None) -> None:
        self._talk, self._context = talk, context
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.accepted = 0  # connections so far
        self._listener = _listener(address, port)
        self.host, self.port = self._listener.getsockname()[:2]
        threading.Thread(target=self._accept, name=f"lab-{self.host}:{self.port}", daemon=True).start()

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and end every connection."""
        _end(self._listener)
        with self._lock:
            connections, self._open = list(self._open), set()
        for connection in connections:
            _end(connection)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            with self._lock:
                self.accepted += 1
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), name=f"lab-talk-{self.port}", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        speaking = connection
        try:
            connection.settimeout(PATIENCE_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as servers do: else a body waits 40 ms for the client's delayed ACK
            if self._context is not None:
                speaking = self._context.wrap_socket(connection, server_side=True)
                with self._lock:
                    self._open = (self._open - {connection}) | {speaking}
            self._talk(speaking)
        except (OSError, EOFError, ValueError):  # the client went away, or refused our certificate: that is what the lab is for
            pass
        finally:
            with self._lock:
                self._open.discard(speaking)
                self._open.discard(connection)
            with contextlib.suppress(OSError):
                speaking.close()


def _listener(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(64)
    return listener


def _end(sock: socket.socket) -> None:
    """Close, waking whoever waits on it."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        sock.close()


# --- ports without a service --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def refused_port(address: str = LOOPBACK) -> Iterator[int]:
    """A port that is taken and not listened on: a connection is refused, and nobody else can take it meanwhile."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind((address, 0))
        yield taken.getsockname()[1]


@contextlib.contextmanager
def deaf_port(address: str = LOOPBACK) -> Iterator[int]:
    """A port whose queue is full and never served: Linux drops further SYNs, so a connection times out, with no firewall at all."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        listener.bind((address, 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


# --- talks --------------------------------------------------------------------------------------------------------------------


def reset(sock: socket.socket) -> None:
    """End with a RST instead of a FIN (SO_LINGER of zero)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def close_at_once(sock: socket.socket) -> None:
    """Accept and close."""


def stay_silent(sock: socket.socket) -> None:
    """Take everything and say nothing, until the other side has had enough."""
    with contextlib.suppress(OSError):
        while sock.recv(65536):
            pass


def banner(text: bytes = b"SSH-2.0-OpenSSH_9.6\r\n") -> Talk:
    """Speak first, as SSH and SMTP do, and then listen."""

    def talk(sock: socket.socket) -> None:
        sock.sendall(text)
        stay_silent(sock)

    return talk


def after_hello(end: Literal["reset", "close", "silence", "alert"], alert: int = 40) -> Talk:
    """Wait for the client's first words (a ClientHello) and then reset, close, say nothing, or send an alert (40 is handshake_failure)."""

    def talk(sock: socket.socket) -> None:
        sock.recv(HELLO_BYTES)
        if end == "reset":
            reset(sock)
        elif end == "silence":
            stay_silent(sock)
        elif end == "alert":
            sock.sendall(b"\x15\x03\x01\x00\x02\x02" + bytes((alert,)))  # RFC 8446 §6: fatal

    return talk


def relay(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes both ways until either side ends. One thread for both: an SSL object may not be used by two."""
    opposite = {one: other, other: one}
    while ready := [sock for sock in opposite if _pending(sock)] or select.select(list(opposite), [], [], PATIENCE_SECONDS)[0]:
        for sock in ready:
            piece = sock.recv(65536)
            if not piece:
                return
            opposite[sock].sendall(piece)


def _pending(sock: socket.socket) -> bool:
    """Whether TLS holds decrypted bytes that select() does not see."""
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def unless_named(name: bytes, cut: Talk, context: ssl.SSLContext, talk: Talk) -> Talk:
    """A filter that reads the server's name in the ClientHello (RFC 6066 §3), ends what names ``name``, and lets everything else through."""

    def filtering(sock: socket.socket) -> None:
        if name in sock.recv(HELLO_BYTES, socket.MSG_PEEK):
            cut(sock)
            return
        with context.wrap_socket(sock, server_side=True) as inside:
            talk(inside)

    return filtering
