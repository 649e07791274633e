"""``python -m tests.clients.inside NAME PYTHON``, in a network namespace: what we say of a client in every setting, and what the client does.

Prints a line of JSON a cell: section, name, ours and theirs (``works``, ``way``: the listeners that were reached, proxies first), and what each said.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from diagnostics import environment as environment_module
from diagnostics.case import NOT_ASKED, Body, Case, ClientUse, Diagnosis, Distribution, Interpreter, Journey, Target
from diagnostics.diagnosis import judge
from diagnostics.environment.interpreter import read_interpreter
from diagnostics.facts.clients import ClientFacts, facts
from diagnostics.lab import dns, tcp, tls, xet
from diagnostics.lab import hub as hubs
from diagnostics.lab.http import App, Reply, Request, page, redirect, serving, text
from diagnostics.lab.proxy import Policy, http_proxy, socks5
from diagnostics.lab.stage import BLACK_HOLE, Namespace
from diagnostics.probes import budget, counterfactual, journey
from diagnostics.probes.http import Sample
from diagnostics.probes.survey import Survey
from tests.clients.homes import MEASURED, Measured
from tests.clients.settings import SIGNED, Cell, cells

LOGIN = "user:p@ss:w/rd#1"
# One more try, at once: a connection that the proxy has ended meanwhile is no failure. The hub's own client asks its endpoint for more than the file.
PATIENCE = {
    "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "1", "HF_XET_CLIENT_RETRY_BASE_DELAY": "50ms", "HF_XET_CLIENT_CONNECT_TIMEOUT": "2s", "HF_XET_CLIENT_READ_TIMEOUT": "2s",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
}  # fmt: skip
DATA = b"0123456789abcdef" * 4096
NAMES_OF_CHECKS = ("settings/", "dns/", "connection/", "proxy/", "tls/", "http/", "transfer/")


class Machine(Namespace):
    """A machine with every server and proxy that the cells speak of; it knows which listeners were reached."""

    def __init__(self, python: Path) -> None:
        super().__init__()
        self.python_home = python.parents[1]
        self.reached: list[str] = []

    def __enter__(self) -> Machine:
        super().__enter__()
        self.roots = {
            name: tls.root(f"{name} root", "Let's Encrypt" if name != "company" else "Initech") for name in ("in-certifi", "in-system", "company", "other")
        }
        self.store_phase("")
        self.files()
        self.address("::1")
        self.hosts()
        self.proxies()
        self.faulty_names()
        self.faulty_handshakes()
        return self

    # --- stores ---

    def store_phase(self, phase: str) -> None:
        """What certifi (ours and the client's) and the system's store hold."""
        certifi = () if phase == "certifi empty" else (tls.public_root(), self.roots["in-certifi"])
        system = () if phase == "no system store" else (tls.public_root(), self.roots["in-system"])
        self.stores(certifi=certifi, system=system)
        if phase == "no system store":
            for path in Path(os.path.realpath("/etc/ssl/certs")).iterdir():
                path.unlink()
        for bundle in self.python_home.glob("lib/*/site-packages/certifi/cacert.pem"):
            self.bind(str(bundle), "".join(root.pem.decode() for root in certifi))

    def files(self) -> None:
        """What the variables point to."""
        company = self.roots["company"]
        self.paths = {"company": self.trust(company, name="company.pem"), "other": self.trust(self.roots["other"], name="other.pem")}
        self.paths["all"] = self.trust(tls.public_root(), *self.roots.values(), name="all.pem")
        self.trust(company, name="home/company.pem")
        for name, inner in (("hashed", f"{tls.subject_hash(company)}.0"), ("unhashed", "company.pem"), ("empty", "")):
            folder = self._made(name)
            self.paths[name] = folder
            if inner:
                (folder / inner).write_bytes(company.pem)
        for name, data in (("nothing", b""), ("text", b"no certificate\n"), ("der", company.der), ("cut", company.pem[:300])):
            self.paths[name] = self.folder / f"{name}.pem"
            self.paths[name].write_bytes(data)
        self.paths["missing"] = self.folder / "missing.pem"

    # --- servers ---

    def noting(self, name: str, talk: tcp.Talk) -> tcp.Talk:
        def noted(sock: Any) -> None:
            self.reached.append(name)
            talk(sock)

        return noted

    def at(self, name: str, talk: tcp.Talk, *, port: int, context: Any = None, ip: str = tcp.LOOPBACK) -> None:
        self.stack.enter_context(tcp.Server(self.noting(name, talk), address=ip, port=port, context=context))

    def host(self, name: str, app: App, *, port: int, leaf: tls.Leaf | None = None) -> None:
        context = tls.serving(leaf) if leaf else None
        self.listen(name, self.noting(name, serving(app)), port=port, context=context)

    def hosts(self) -> None:
        for name in ("hub.test", "www.hub.test", "nothub.test"):
            self.host(name, application("https"), port=8443, leaf=self.certificate(name))
        self.host("hub.test", application("http"), port=80)
        self.host("secure.test", application("https"), port=443, leaf=self.certificate("secure.test"))
        for ip in (tcp.LOOPBACK, "::1"):
            self.at(ip, serving(application("https")), port=8443, context=tls.serving(self.certificate(ip)), ip=ip)
        for name in SIGNED:
            signer = {"public.test": tls.public_authority()}.get(name) or self.roots[name.removesuffix(".test")]
            self.host(name, application("https"), port=443, leaf=signer.issue(name))

    def proxies(self) -> None:
        """Ports of 127.0.0.1, and some names."""
        plain = Policy()
        for name, port in (("P", 3128), ("Q", 3129)):
            self.at(name, http_proxy(plain), port=port)
        self.at("P6", http_proxy(plain), port=3128, ip="::1")
        self.at("login", http_proxy(Policy(login=LOGIN)), port=3130)
        self.at("tls proxy", http_proxy(plain), port=3443, context=tls.serving(self.certificate(tcp.LOOPBACK)))
        self.at("socks", socks5(plain), port=1080)
        for status, port in ((407, 3407), (403, 3403), (502, 3502)):
            policy = Policy(login="nobody:knows") if status == 407 else Policy(refuses=lambda host, status=status: page("no", status=status))  # type: ignore[misc]
            self.at(str(status), http_proxy(policy), port=port)
        for end, port in (("close", 3111), ("reset", 3112), ("silence", 3113)):
            self.at(end, tcp.after_hello(end), port=port)  # type: ignore[arg-type]
        self.at("ssh", tcp.banner(), port=3022)
        for name, port in (("bare.test", 80), ("bare.test", 1080), ("proxy.test", 3128)):
            self.listen(name, self.noting(f"{name}:{port}", http_proxy(plain)), port=port)
        trusting = tls.ssl.SSLContext(tls.ssl.PROTOCOL_TLS_CLIENT)
        trusting.load_verify_locations(cadata=tls.public_root().pem.decode())
        opening = Policy(impersonates=tls.impersonating(self.roots["company"]), trusts=trusting)
        self.listen("mitm.test", self.noting("mitm", http_proxy(opening)), port=3128)

    def faulty_names(self) -> None:
        faults = {"servfail.test": dns.Fault(rcode="SERVFAIL"), "refused-answer.test": dns.Fault(rcode="REFUSED")}
        self.resolvers["192.0.2.53"].faults = faults
        self.zone["no-address.test"] = ()
        self.zone["unreachable.test"] = ("198.51.100.7",)
        self.route("unreachable", "198.51.100.0/24")
        self.black_hole()
        self.zone["dropped.test"] = (BLACK_HOLE,)
        good = self.place("hub.test")
        self.zone["half.test"] = (BLACK_HOLE, good)
        self.zone["half-refused.test"] = ("127.0.0.9", good)

    def faulty_handshakes(self) -> None:
        public = tls.public_authority()
        plain = application("https")
        leaves = {
            "self-signed": lambda name: tls.self_signed(name),
            "expired": lambda name: public.issue(name, valid=tls.expired()),
            "not-yet": lambda name: public.issue(name, valid=tls.not_yet()),
            "other-name": lambda name: public.issue("other.example"),
            "no-san": without_names,
            "weak-rsa": lambda name: public.issue(name, key=tls.weak_key()),
            "sha1": lambda name: tls.sha1_signed(tls.public_root(), name),
            "no-chain": lambda name: public.issue(name, sends_chain=False),
            "root-in-chain": lambda name: with_root(self.roots["other"].issue(name), self.roots["other"]),
        }
        for label, make in leaves.items():
            name = f"{label}.test"
            context = tls.serving(make(name), weak=label in ("weak-rsa", "sha1"))
            self.listen(name, self.noting(name, serving(plain)), port=443, context=context)
        self.listen("not-tls.test", serving(plain), port=443)
        old = tls.serving(self.certificate("old-tls.test"), newest=tls.ssl.TLSVersion.TLSv1_1, weak=True)
        self.listen("old-tls.test", serving(plain), port=443, context=old)
        wanting = tls.serving(self.certificate("wants-certificate.test"), clients=self.roots["other"])
        self.listen("wants-certificate.test", serving(plain), port=443, context=wanting)
        for label, end in (("closes", "close"), ("resets", "reset"), ("alert", "alert"), ("tls-silent", "silence")):
            self.listen(f"{label}.test", tcp.after_hello(end), port=443)  # type: ignore[arg-type]

    def filled(self, cell: Cell) -> dict[str, str]:
        """The variables of a cell with the paths of this machine."""
        return {name: value.format(**self.paths) if "{" in value else value for name, value in cell.variables.items()}


def without_names(name: str) -> tls.Leaf:
    """A certificate that names its host as people did before RFC 2818: in the subject alone."""
    public = tls.public_authority()
    key = tls._key()
    builder = tls._builder(tls._name(name, ""), public.certificate.subject, key, tls._this_year())
    return tls.Leaf(certificate=tls._pem(builder.sign(public.key, tls._sha256())), key=tls._key_pem(key), chain=tuple(item.pem for item in public._line()))


def with_root(leaf: tls.Leaf, root: tls.Authority) -> tls.Leaf:
    return dataclasses.replace(leaf, chain=(*leaf.chain, root.pem))


def application(scheme: str) -> App:
    """A hub, its Xet storage, and answers that go wrong, all on one host."""
    tiny = hubs.tiny()
    hub = hubs.hub(tiny)

    def app(request: Request) -> Reply:
        base = f"{scheme}://{request.host}"
        if request.path.startswith("/body/"):
            return body(request.path.removeprefix("/body/"))
        if request.path.startswith(("/v1/", "/v2/")):
            return xet.cas(tiny, store=base)(request)
        if "/xorb/" in request.path:
            return xet.store(tiny)(request)
        return hub(request)

    return app


def body(kind: str) -> Reply:
    whole = Reply(headers=(("Content-Type", "application/octet-stream"),), body=DATA)
    packed = gzip.compress(os.urandom(60000))
    zipped: Callable[[bytes], Reply] = lambda data: whole.but(body=data, headers=(*whole.headers, ("Content-Encoding", "gzip")))  # noqa: E731
    known = {
        "whole": whole,
        "cut": whole.but(cut_after=20000),
        "cut-by-reset": whole.but(cut_after=20000, cut_by_reset=True),
        "chunks-cut": whole.but(chunked=True, cut_after=20000),
        "stalls": whole.but(stall_after=20000),
        "not-gzip": zipped(DATA),
        "cut-gzip": zipped(packed[:30000]),
        "gzip": zipped(packed),
        "loop": redirect("/body/loop"),
        "to-plain": redirect("http://hub.test/body/whole"),
        "to-other": redirect("https://secure.test/body/whole"),
        "closes": Reply(dropped=True),
        "resets": Reply(dropped=True, cut_by_reset=True),
        "garbage": Reply(raw=b"\x00\x01\x02 garbage\r\n\r\n"),
        "ssh": Reply(raw=b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        "silent": Reply(silent=True),
        "204": Reply(status=204),
        "no-length": Reply(raw=b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + DATA),
    }
    return known.get(kind) or text(f"{kind} it is", int(kind))


# --- what we say --------------------------------------------------------------------------------------------------------------


def ours(cell: Cell, variables: dict[str, str], measured: Measured, described: Any) -> tuple[bool, str]:
    """Whether this client comes through, by our own journey in its manner and our own judgement of it; and what we found."""
    environment, secrets = environment_module.read({**variables, "HF_ENDPOINT": "https://hub.test"}, home=Path(variables["HOME"]))
    environment = dataclasses.replace(environment, interpreter=described[0], distributions=described[1])
    url = cell.base + cell.path
    target = Target(spec=url, kind="url", urls=(url,), client=ClientUse(family=measured.family))
    means = Survey(target, environment, dataclasses.replace(secrets, urls=(url,)))._make_means(budget.Deadline(cell.seconds))
    trip = journey.Trip(name="url-1", purpose="the file", url=url, path=url, sample=Sample(most_bytes=1 << 22))
    seen, _ = journey.travel(trip, means, lambda _: None)
    judgement = judge(Case(target=target, environment=environment, journeys=(seen,)))
    broken = [item for item in judgement.diagnoses if item.severity == "error" and not unnoticed(item, seen, facts(measured.family))]
    return not broken, "; ".join(item.cause for item in broken)


def unnoticed(found: Diagnosis, seen: Journey, row: ClientFacts) -> bool:
    """A body that does not unpack, before a client that does not unpack: it keeps what came."""
    last = seen.legs[-1].body if seen.legs else None
    return "encoding" not in row.verifies and isinstance(last, Body) and bool(last.encoding) and all(fault.step == "body" for fault in found.claims)


def only_the_way(*_arguments: Any) -> Any:
    """No "and if…?": what is asked here is whether the way leads there."""
    return _arguments[0].leg


def main(name: str, python: str) -> None:
    measured = next(item for item in MEASURED if item.name == name)
    counterfactual.examine = only_the_way  # type: ignore[assignment]
    counterfactual.get_instead = lambda *_arguments: NOT_ASKED
    interpreter, distributions, _ = read_interpreter(python, dict(os.environ))
    described: tuple[Interpreter, tuple[Distribution, ...]] = (interpreter, distributions)  # type: ignore[assignment]
    environment_module.read_interpreter = lambda *_arguments: (*described, None)  # type: ignore[attr-defined]
    with Machine(Path(python)) as machine, client(python, measured) as ask:
        for cell in wanted(measured):
            machine.store_phase(cell.phase) if cell.phase != getattr(machine, "phase", "") else None
            machine.phase = cell.phase  # type: ignore[attr-defined]
            variables = {**machine.environment(), "HOME": str(machine.home), **machine.filled(cell)}
            variables |= PATIENCE | {"HF_ENDPOINT": cell.base}
            started = time.monotonic()
            we, they = {}, {}
            for again in (cell, dataclasses.replace(cell, seconds=3 * cell.seconds)):  # on a machine that is busy, once more with patience
                we = _both(machine, functools.partial(ours, again, variables, measured, described))
                they = _both(machine, functools.partial(ask, again, variables))
                if (we["works"], we["way"]) == (they["works"], they["way"]):
                    break
            print(
                json.dumps({"section": cell.section, "name": cell.name, "ours": we, "theirs": they, "seconds": round(time.monotonic() - started, 2)}),
                flush=True,
            )


def _both(machine: Machine, look: Callable[[], tuple[bool, str]]) -> dict[str, Any]:
    """What came of it, and which way it went: the proxies that were reached, or the host."""
    machine.reached.clear()
    works, said = look()
    reached = list(dict.fromkeys(machine.reached))
    through = [name for name in reached if not name.endswith(".test") and name not in (tcp.LOOPBACK, "::1")]
    return {"works": works, "way": " ".join(sorted(through or reached)), "said": said}


def wanted(measured: Measured) -> tuple[Cell, ...]:
    chosen = sorted(cells(), key=lambda cell: cell.phase)
    only = os.environ.get("DIAGNOSTICS_CELLS", "")
    told = {"hf_xet": lambda cell: cell.transport_only, "pooch": lambda cell: cell.section in ("1", "3.1")}.get(measured.driver, lambda cell: True)
    return tuple(cell for cell in chosen if told(cell) and cell.section.startswith(only))


@contextlib.contextmanager
def client(python: str, measured: Measured) -> Iterator[Callable[[Cell, dict[str, str]], tuple[bool, str]]]:
    """The client's own process, which answers one cell after the other."""
    tiny = next(file for file in hubs.tiny().files if file.large)
    path = f"/xet/{tiny.sha256}/{len(tiny.data)}" if measured.driver == "hf_xet" else ""
    process = subprocess.Popen(
        [python, "-B", str(Path(__file__).with_name("driver.py")), measured.driver],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
    )  # fmt: skip
    assert process.stdin and process.stdout

    def ask(cell: Cell, variables: dict[str, str]) -> tuple[bool, str]:
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps({"variables": variables, "url": cell.base + (path or cell.path), "seconds": cell.seconds}) + "\n")
        process.stdin.flush()
        said = json.loads(process.stdout.readline())
        return said["works"], said["said"]

    yield ask
    process.stdin.close()
    process.wait(10)


if __name__ == "__main__":
    main(*sys.argv[1:])
