"""Downloaders side by side on a loopback web server: seconds without their start-up, medians and ratios of one interleaved run.

    python -m tests.benchmarks.downloads                         # a small form: 64 MiB, 40 × 256 KiB
    python -m tests.benchmarks.downloads --full --rounds 5       # 1 GiB and 200 × 1 MiB, unthrottled and at 20 MB/s a connection
    python -m tests.benchmarks.downloads --full --client-python /path/python   # where huggingface_hub and pooch are, if not here

The server is nginx where it is installed, else a small one of ours on sendfile(2). Clients that are not installed are left out, and named.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1 << 20
COMMIT = "5f1c0e4a9d7b3c2e8a6f4d1b0c9e8f7a6b5c4d3e"
CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is fetched."""

    name: str
    count: int
    bytes: int
    limited: bool = False  # the server gives 20 MB/s a connection

    @property
    def files(self) -> list[str]:
        return [f"{self.name}-{number:03}.bin" for number in range(self.count)]


SMALL = (Load(name="one", count=1, bytes=64 * MIB), Load(name="many", count=40, bytes=MIB // 4))
FULL = (Load(name="one", count=1, bytes=1024 * MIB), Load(name="many", count=200, bytes=MIB))


@dataclass
class Took:
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # of the client's process: what a busy machine does not blur
    peak_mib: float = 0.0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


# --- the server -----------------------------------------------------------------------------------------------------------------

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000; default_type application/octet-stream;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; {limit}
    location ~ ^/lab/[^/]+/resolve/[^/]+/(?<path>.+)$ {{ add_header X-Repo-Commit {commit}; rewrite ^ /$path break; }}
    location ~ ^/api/models/lab/(?<name>[^/]+)/revision/ {{ default_type application/json; rewrite ^ /$name.json break; }}
    location ~ ^/api/models/lab/(?<name>[^/]+)/tree/ {{ default_type application/json; rewrite ^ /$name-tree.json break; }}
    location ~ ^/api/models/lab/(?<name>[^/]+)$ {{ default_type application/json; rewrite ^ /$name.json break; }}
  }}
}}
"""


def make_files(www: Path, loads: tuple[Load, ...]) -> dict[str, str]:
    """The files, and what a hub says of them; name → sha256."""
    www.mkdir(exist_ok=True)
    (www / "empty.bin").write_bytes(b"")
    digests, chance = {}, random.Random(6)
    block = chance.randbytes(MIB)
    for load in loads:
        for name in load.files:
            digest = hashlib.sha256()
            with (www / name).open("wb") as file:
                for start in range(0, load.bytes, MIB):
                    piece = (start.to_bytes(8, "big") + name.encode() + block)[: min(MIB, load.bytes - start)]
                    file.write(piece)
                    digest.update(piece)
            digests[name] = digest.hexdigest()
        entries = [
            {"type": "file", "path": name, "size": load.bytes, "oid": "0" * 40, "lfs": {"oid": digests[name], "size": load.bytes, "pointerSize": 130}}
            for name in load.files
        ]
        about = {"id": f"lab/{load.name}", "modelId": f"lab/{load.name}", "sha": COMMIT, "private": False, "gated": False, "tags": [], "downloads": 0}
        (www / f"{load.name}.json").write_text(json.dumps({**about, "siblings": [{"rfilename": name} for name in load.files]}))
        (www / f"{load.name}-tree.json").write_text(json.dumps(entries))
    return digests


@contextlib.contextmanager
def serving(folder: Path, limited: bool) -> Iterator[str]:
    """A server of ``folder/www``; its base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if nginx := shutil.which("nginx"):
        own = folder / f"nginx-{port}"
        own.mkdir()
        (own / "www").symlink_to(folder / "www")
        (own / "nginx.conf").write_text(NGINX.format(folder=own, port=port, commit=COMMIT, limit="limit_rate 20m;" if limited else ""))
        command = [nginx, "-e", str(own / "error.log"), "-p", str(own), "-c", str(own / "nginx.conf")]
    else:
        command = [sys.executable, "-m", "tests.benchmarks.server", str(port), str(folder / "www"), "20e6" if limited else "0"]
    process = subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


# --- the clients ----------------------------------------------------------------------------------------------------------------

# Each Python client prints its seconds, without imports, and its peak of resident memory in KiB: not ru_maxrss, which counts the parent's before the exec too.
HEAD = """
import json, os, sys, time
base, into, load, names, digests, size = json.loads(sys.argv[1])
{setup}
before, started = sum(os.times()[:2]), time.perf_counter()
{work}
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([time.perf_counter() - started, sum(os.times()[:2]) - before, peak]))
"""
OURS = """
from pathlib import Path
from diagnostics.case import Published
from diagnostics.transfer import Access, Wanted, fetch
wanted = [Wanted(name=name, url=f"{base}/{name}", size=size, digest=Published(path=name, value=digests[name], source="x")) if WITH_DIGEST
          else Wanted(name=name, url=f"{base}/{name}") for name in names]
"""
OURS_WORK = """
outcomes = fetch(wanted, Path(into), access=Access())
assert all(outcome.outcome == "fetched" for outcome in outcomes), outcomes
print("streams", max(outcome.streams for outcome in outcomes), file=sys.stderr)
"""
SCRIPTS = {
    "ours": ("WITH_DIGEST = False" + OURS, OURS_WORK),
    "ours+digest": ("WITH_DIGEST = True" + OURS, OURS_WORK),
    "requests": (
        "import requests\nsession = requests.Session()",
        """
for name in names:
    with session.get(f"{base}/{name}", stream=True) as answer, open(os.path.join(into, name), "wb") as file:
        answer.raise_for_status()
        for piece in answer.iter_content(1 << 20):
            file.write(piece)
""",
    ),
    "huggingface_hub": (
        "os.environ.update(HF_ENDPOINT=base, HF_HOME=into + '/hf', HF_HUB_DISABLE_XET='1', HF_HUB_DISABLE_PROGRESS_BARS='1', HF_HUB_DISABLE_TELEMETRY='1')\nfrom huggingface_hub import snapshot_download",
        "snapshot_download('lab/' + load, local_dir=into)",
    ),
    "pooch": ("import pooch\nfetcher = pooch.HTTPDownloader()", 'for name in names:\n    fetcher(f"{base}/{name}", os.path.join(into, name), None)'),
    "hashing": (
        "import hashlib",
        """
for name in names:
    with open(os.path.join(os.environ["WWW"], name), "rb") as file:
        hashlib.file_digest(file, "sha256")
""",
    ),
}
TOOLS = {
    "curl": lambda base, into, names: ["curl", "-sf", *(part for name in names for part in ("-o", f"{into}/{name}", f"{base}/{name}"))],
    "aria2c": lambda base, into, names: [
        "aria2c",
        "-q",
        "-x8",
        "-s8",
        "-j8",
        "-k1M",
        "--file-allocation=none",
        "-d",
        into,
        "-Z",
        *(f"{base}/{name}" for name in names),
    ],
}


def available(python: str) -> list[str]:
    """Clients that are installed."""
    found = ["ours", "ours+digest", "requests", "hashing"]
    for module in ("huggingface_hub", "pooch"):
        here = importlib.util.find_spec(module) is not None
        if here if python == sys.executable else subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0:
            found.append(module)
    return [*found, *(tool for tool in TOOLS if shutil.which(tool))]


def measure(client: str, base: str, load: Load, www: Path, digests: dict[str, str], python: str, scratch: Path) -> tuple[float, float, float]:
    """(seconds, seconds of computing, MiB of memory) of one client for one load, into an empty folder."""
    into = Path(tempfile.mkdtemp(dir=scratch))
    try:
        if client in TOOLS:
            whole, nothing = _tool(client, base, into, load.files), _tool(client, base, into, ["empty.bin"])
            return whole[0] - nothing[0], whole[1] - nothing[1], 0.0
        setup, work = SCRIPTS[client]
        source = HEAD.replace("{setup}", setup).replace("{work}", work)
        argument = json.dumps([base, str(into), load.name, load.files, digests, load.bytes])
        environment = {"PATH": os.environ["PATH"], "HOME": str(into), "PYTHONPATH": str(CHECKOUT), "WWW": str(www), "PYTHONDONTWRITEBYTECODE": "1"}
        own = python if client in ("huggingface_hub", "pooch") else sys.executable
        done = subprocess.run([own, "-c", source, argument], capture_output=True, text=True, env=environment, check=False, timeout=900)
        if done.returncode:
            raise RuntimeError(f"{client}: {textwrap.shorten(done.stderr[-2000:], 2000)}")
        seconds, cpu, kib = json.loads(done.stdout.splitlines()[-1])
        missing = [name for name in load.files if client != "hashing" and (into / name).stat().st_size != load.bytes]
        assert not missing, (client, missing[:3])
        return seconds, cpu, kib / 1024
    finally:
        shutil.rmtree(into)


def _tool(client: str, base: str, into: Path, names: list[str]) -> tuple[float, float]:
    before, started = sum(os.times()[2:4]), time.perf_counter()
    subprocess.run(TOOLS[client](base, str(into), names), check=True, capture_output=True)
    return time.perf_counter() - started, sum(os.times()[2:4]) - before


def compare(
    loads: tuple[Load, ...], rounds: int, python: str = sys.executable, limits: tuple[bool, ...] = (False,), clients: list[str] | None = None
) -> dict[tuple[str, bool], dict[str, Took]]:
    """(load, limited) → client → what it took, round after round."""
    chosen = clients or available(python)
    results: dict[tuple[str, bool], dict[str, Took]] = {}
    where = os.environ.get("BENCHMARK_FOLDER") or ("/dev/shm" if os.path.isdir("/dev/shm") else None)
    with tempfile.TemporaryDirectory(prefix="downloads-", dir=where) as text:
        folder = Path(text)
        folder.chmod(0o755)  # nginx gives up its rights
        digests = make_files(folder / "www", loads)
        for limited in limits:
            with serving(folder, limited) as base:
                for _ in range(rounds):
                    for load in loads:
                        table = results.setdefault((load.name, limited), {})
                        for client in chosen:
                            if not (limited and client == "hashing"):
                                seconds, cpu, peak = measure(client, base, load, folder / "www", digests, python, folder)
                                took = table.setdefault(client, Took())
                                took.seconds.append(seconds)
                                took.cpu.append(cpu)
                                took.peak_mib = max(took.peak_mib, peak)
    return results


def show(results: dict[tuple[str, bool], dict[str, Took]]) -> None:
    for (name, limited), table in results.items():
        ours = table["ours"].median
        print(f"\n{name}{', 20 MB/s a connection' if limited else ''}: medians, spread, our ratio to it, computing, peak memory")
        for client, took in table.items():
            spread = f"{min(took.seconds):.3f}–{max(took.seconds):.3f}"
            print(
                f"  {client:16} {took.median:7.3f} s  {spread:16} {ours / max(took.median, 1e-9):6.2f}  {statistics.median(took.cpu):6.2f} s  {took.peak_mib:6.0f} MiB"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--client-python", default=sys.executable)
    parser.add_argument("--clients", default="")
    parser.add_argument("--limits", default="both")
    given = parser.parse_args()
    chosen = given.clients.split(",") if given.clients else None
    both = {"both": (False, True), "off": (False,), "on": (True,)}[given.limits]
    show(compare(FULL if given.full else SMALL, given.rounds, given.client_python, both if given.full else (False,), chosen))
