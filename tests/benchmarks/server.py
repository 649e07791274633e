"""Where nginx is not installed: a server of a folder's files on sendfile(2), with ranges, and a rate for each connection.

python -m tests.benchmarks.server PORT FOLDER BYTES_PER_SECOND
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import time
from pathlib import Path

STEP = 1 << 20
COMMIT = "5f1c0e4a9d7b3c2e8a6f4d1b0c9e8f7a6b5c4d3e"


def path_of(target: str, www: Path) -> Path:
    """The file of a request; those of the hub's addresses too."""
    bare = target.partition("?")[0]
    if match := re.fullmatch(r"/api/models/lab/(\w+)(?:/revision/[^/]+)?", bare):
        return www / f"{match[1]}.json"
    if match := re.fullmatch(r"/api/models/lab/(\w+)/tree/[^/]+", bare):
        return www / f"{match[1]}-tree.json"
    return www / bare.rpartition("/")[2]


def talk(sock: socket.socket, www: Path, rate: float) -> None:
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            piece = sock.recv(65536)
            if not piece:
                return
            data += piece
        head, _, data = data.partition(b"\r\n\r\n")
        method, target, _ = head.decode("latin-1").split("\r\n")[0].split(" ")
        answer(sock, method, path_of(target, www), re.search(rb"(?im)^range: *bytes=(\d+)-(\d*)", head), rate)


def answer(sock: socket.socket, method: str, path: Path, ranged: re.Match[bytes] | None, rate: float) -> None:
    if not path.is_file():
        sock.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        return
    size = path.stat().st_size
    start, end = (int(ranged[1]), min(int(ranged[2] or size), size - 1) + 1) if ranged else (0, size)
    kind = "application/json" if path.suffix == ".json" else "application/octet-stream"
    lines = ["HTTP/1.1 206 Partial Content" if ranged else "HTTP/1.1 200 OK", f"Content-Length: {end - start}", f"Content-Type: {kind}"]
    lines += [f'ETag: "{path.name}-{size}"', f"X-Repo-Commit: {COMMIT}", "Accept-Ranges: bytes"]
    lines += [f"Content-Range: bytes {start}-{end - 1}/{size}"] if ranged else []
    sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
    if method != "HEAD":
        send(sock, path, start, end, rate)


def send(sock: socket.socket, path: Path, start: int, end: int, rate: float) -> None:
    with path.open("rb") as file:
        while start < end:
            began = time.monotonic()
            count = os.sendfile(sock.fileno(), file.fileno(), start, min(STEP, end - start))
            start += count
            if rate:
                time.sleep(max(0.0, count / rate - (time.monotonic() - began)))


def serve(port: int, www: Path, rate: float) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=64)
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_until_gone, args=(sock, www, rate), daemon=True).start()


def _until_gone(sock: socket.socket, www: Path, rate: float) -> None:
    try:
        with sock:
            talk(sock, www, rate)
    except OSError:  # the client went away
        pass


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
