"""Where a world is put up: on loopback, as any user on any system, or in a network namespace in which every name and port is its own.

A world is written once against :class:`Stage`. On loopback a host is a port of 127.0.0.1; in a namespace it has its name, its address, ports 80 and
443, resolvers, trust stores and a firewall, and the real huggingface.co cannot be reached by mistake.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from diagnostics.lab import dns, tcp, tls
from diagnostics.lab import http as lab_http
from diagnostics.lab.http import App, Request

HUB, CDN, API_PORT = "huggingface.co", "cdn-lfs.hf.co", 443
RESOLVER = "192.0.2.53"
BLACK_HOLE = "203.0.113.1"  # RFC 5737 as well: routed, and nobody answers
NETWORK, NETWORK6 = "192.0.2", "2001:db8"  # RFC 5737, RFC 3849: nobody's
KEPT = ("PATH", "LANG", "LC_ALL", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "VIRTUAL_ENV")


class Stage:
    """A loopback stage: what every world may count on. Everything is taken down at the end of the ``with`` block."""

    secure = False  # whether hosts speak TLS where nothing else is said

    def __init__(self) -> None:
        self.stack = contextlib.ExitStack()
        self.spec = ""
        self.options: list[str] = []  # further options of the diagnostic run
        self.python = ""  # the interpreter the model will load in, where it is not this one
        self.visits: dict[str, list[Request]] = {}  # what each host was asked

    def __enter__(self) -> Stage:
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="diagnostics-lab-", ignore_cleanup_errors=True)))
        self.home, self.temp, self.work = self._made("home"), self._made("tmp"), self._made("work")
        self.variables = {"HOME": str(self.home), "HF_HOME": str(self.home / "hf"), "TMPDIR": str(self.temp)}
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stack.close()

    def _made(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(mode=0o755)
        return path

    @property
    def hub_cache(self) -> Path:
        return self.home / "hf" / "hub"

    # --- hosts ---

    def web(
        self,
        name: str,
        app: App,
        *,
        port: int = 0,
        leaf: tls.Leaf | None = None,
        context: ssl.SSLContext | None = None,
        secure: bool | None = None,
        clock_seconds: float = 0.0,
    ) -> str:
        """An HTTP server for ``name``; returns its base URL. With a ``leaf`` or ``context``, or where this stage is secure, behind TLS."""
        talk = lab_http.serving(app, self.visits.setdefault(name, []), clock_seconds)
        behind_tls = leaf is not None or context is not None or (self.secure if secure is None else secure)
        if behind_tls and context is None:
            context = tls.serving(leaf or self.certificate(name))
        return self.url(name, self.listen(name, talk, port=port or (443 if behind_tls else 80), context=context), behind_tls)

    def listen(self, name: str, talk: tcp.Talk, *, port: int, context: ssl.SSLContext | None = None) -> int:
        """A listener for ``name``; returns the port it got, which is ``port`` in a namespace."""
        return int(self.stack.enter_context(tcp.Server(talk, context=context)).port)

    def url(self, name: str, port: int, secure: bool = False) -> str:
        return f"{'https' if secure else 'http'}://{self.authority(name, port)}"

    def authority(self, name: str, port: int) -> str:
        return f"{tcp.LOOPBACK}:{port}"

    def certificate(self, name: str) -> tls.Leaf:
        """A good certificate of the lab's public authority."""
        return tls.public_authority().issue(name)

    def trust(self, *authorities: tls.Authority, name: str = "roots.pem") -> Path:
        """These authorities as a file."""
        return tls.write_pem(self.folder / name, *authorities)

    def interpreter(self, **versions: str) -> None:
        """Let the model load in another Python: this one, with these distributions in front of its own, as far as their metadata goes."""
        folder = self._made("python")
        for name, version in versions.items():
            (folder / f"{name}-{version}.dist-info").mkdir()
            (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        script = folder / "python"
        script.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(folder))} exec {shlex.quote(sys.executable)} "$@"\n')
        script.chmod(0o755)
        self.python = str(script)

    def environment(self) -> dict[str, str]:
        """Every variable of the process that diagnoses."""
        return {**{name: os.environ[name] for name in KEPT if name in os.environ}, **self.variables}


class Namespace(Stage):
    """A stage in a network and mount namespace of this process (``lab.__main__`` enters them): names, resolvers, stores and firewall are its own."""

    secure = True

    def __enter__(self) -> Namespace:
        super().__enter__()
        _run("ip", "link", "set", "lo", "up")
        _run("mount", "--make-rprivate", "/")
        self.zone: dict[str, tuple[str, ...]] = {}
        self.resolvers: dict[str, dns.DnsServer] = {}  # by address
        self._hosts = ["127.0.0.1 localhost"]
        self._count = 0
        self.resolver(RESOLVER)
        self.resolv_conf(f"nameserver {RESOLVER}\noptions timeout:1 attempts:2\n")
        self.bind("/etc/nsswitch.conf", "hosts: files dns\n")
        self._write_hosts()
        self.stores(certifi=(tls.public_root(),), system=(tls.public_root(),))
        return self

    # --- names ---

    def resolver(self, address: str, faults: Mapping[str, dns.Fault] | None = None) -> dns.DnsServer:
        """A name server at ``address`` for the names of this stage."""
        self.address(address)
        server = self.stack.enter_context(dns.DnsServer(self.zone, faults, address=address, port=53))
        server.zone = self.zone  # names that come later count too
        self.resolvers[address] = server
        return server

    def resolv_conf(self, text: str) -> None:
        self.bind("/etc/resolv.conf", text)

    def hosts_entry(self, line: str) -> None:
        self._hosts.append(line)
        self._write_hosts()

    def _write_hosts(self) -> None:
        self.bind("/etc/hosts", "\n".join(self._hosts) + "\n")

    def place(self, name: str, addresses: Iterable[str] = ()) -> str:
        """The first address of ``name``, which gets one where it has none."""
        if name not in self.zone:
            self._count += 1
            self.zone[name] = tuple(addresses) or (f"{NETWORK}.{self._count}",)
        return self.zone[name][0]

    def address(self, ip: str) -> None:
        """An address of this machine's own, so that somebody is there."""
        _run("ip", "-6" if ":" in ip else "-4", "address", "replace", f"{ip}/{128 if ':' in ip else 32}", "dev", "lo", *(("nodad",) if ":" in ip else ()))

    # --- hosts ---

    def listen(self, name: str, talk: tcp.Talk, *, port: int, context: ssl.SSLContext | None = None) -> int:
        self.place(name)
        for ip in self.zone[name]:
            self.address(ip)
            self.stack.enter_context(tcp.Server(talk, address=ip, port=port, context=context))
        return port

    def authority(self, name: str, port: int) -> str:
        return name if port in (80, 443) else f"{name}:{port}"

    def firewall(self, *rules: str) -> None:
        """nftables rules for what leaves this machine: ``ip daddr 192.0.2.1 tcp dport 443 drop``."""
        for command in (
            "add table inet lab",
            "add chain inet lab out { type filter hook output priority 0 ; }",
            *(f"add rule inet lab out {rule}" for rule in rules),
        ):
            _run("nft", command)

    def open_firewall(self) -> None:
        """Let everything out again."""
        _run("nft", "flush chain inet lab out")

    def gateway(self) -> None:
        """A default route behind which everything vanishes: what goes to this machine's own loopback and is for nobody there is dropped."""
        self.address(f"{NETWORK}.254")
        self.route("default", "dev", "lo", "src", f"{NETWORK}.254")

    def unplugged_card(self) -> None:
        """A network card without a link."""
        _run("ip", "link", "add", "name", "card", "type", "bridge")

    def route(self, *words: str) -> None:
        """``ip route add`` of these words: ``unreachable 198.51.100.0/24``."""
        _run("ip", "route", "add", *words)

    def black_hole(self) -> None:
        """Let packets to the addresses around ``BLACK_HOLE`` vanish."""
        _run("ip", "route", "replace", BLACK_HOLE.rpartition(".")[0] + ".0/24", "dev", "lo")
        self.firewall(f"ip daddr {BLACK_HOLE.rpartition('.')[0]}.0/24 drop")

    # --- files of the system ---

    def bind(self, path: str, text: str) -> None:
        """A file of the system with other content, for this namespace only."""
        source = self.folder / ("bound" + path.replace("/", "-"))
        source.write_text(text)
        if not os.path.ismount(path):
            _run("mount", "--bind", str(source), os.path.realpath(path))

    def stores(self, *, certifi: Iterable[tls.Authority] | None = None, system: Iterable[tls.Authority] | None = None) -> None:
        """What certifi's bundle and the operating system's store hold."""
        if certifi is not None:
            self.bind(_certifi_bundle(), _pem(certifi))
        if system is not None:
            self._system_store(tuple(system))

    def _system_store(self, authorities: tuple[tls.Authority, ...]) -> None:
        """The bundle and the folder of hashed files, as OpenSSL and Debian have them."""
        folder = os.path.realpath(ssl.get_default_verify_paths().openssl_capath)
        if not os.path.ismount(folder):
            _run("mount", "-t", "tmpfs", "none", folder)
        for old in os.listdir(folder):
            os.unlink(os.path.join(folder, old))
        Path(folder, "ca-certificates.crt").write_text(_pem(authorities))
        for authority in authorities:
            Path(folder, f"{tls.subject_hash(authority)}.0").write_bytes(authority.pem)

    def mount(self, *words: str) -> None:
        """``mount`` of these words, for this namespace only."""
        _run("mount", *words)

    def disk(self, name: str, size: str, options: str = "") -> Path:
        """A file system of its own under this stage's folder."""
        path = self.folder / name
        path.mkdir()
        _run("mount", "-t", "tmpfs", "-o", f"size={size}{',' + options if options else ''}", "none", str(path))
        return path


@functools.cache
def _certifi_bundle() -> str:
    import certifi

    return certifi.where()


def _pem(authorities: Iterable[tls.Authority]) -> str:
    return "".join(authority.pem.decode() for authority in authorities)


def _run(*command: str) -> None:
    """A tool of the system. Raises RuntimeError with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
