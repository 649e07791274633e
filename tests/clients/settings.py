"""The settings that every client is measured with: sections 1 to 4 of what was once measured by hand, as cells.

A cell is a set of variables and an address. ``{}`` names in values are filled in by whoever puts the servers up (``inside.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

P, OTHER = "http://127.0.0.1:3128", "http://127.0.0.1:3129"
HOST = "https://hub.test:8443"
PLAIN = "http://hub.test"
FILE = "/lab/tiny-bert/resolve/main/config.json"
IMPATIENT = 0.8  # seconds, where nothing will come


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting. ``base`` is scheme, host and port; ``phase`` names the state of the machine's stores."""

    section: str
    name: str
    base: str = HOST
    path: str = FILE
    variables: dict[str, str] = field(default_factory=dict)
    seconds: float = 3.0
    phase: str = ""

    @property
    def transport_only(self) -> bool:
        """Whether it is about the way there and not about what comes."""
        return self.path == FILE


def proxy_variables() -> Iterator[Cell]:
    """Section 1: which variable, case, precedence."""
    for base in (PLAIN, HOST):
        scheme = base.partition(":")[0]
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "Https_Proxy", "Http_Proxy"):
            yield Cell(section="1", name=f"{scheme} {name}", base=base, variables={name: P})
        upper, lower = f"{scheme}_proxy".upper(), f"{scheme}_proxy"
        for variables in (
            {upper: P, lower: OTHER},
            {upper: P, lower: ""},
            {upper: "", "ALL_PROXY": P},
            {lower: "", "ALL_PROXY": P},
            {upper: P, "ALL_PROXY": OTHER},
            {"ALL_PROXY": P, "all_proxy": OTHER},
            {"ALL_PROXY": P, "all_proxy": ""},
            {"HTTP_PROXY": P, "REQUEST_METHOD": "GET"},
            {"http_proxy": P, "REQUEST_METHOD": "GET"},
            {"HTTPS_PROXY": P, "REQUEST_METHOD": "GET"},
            {upper: "", lower: ""},
        ):
            yield Cell(section="1", name=f"{scheme} " + " ".join(f"{key}={_short(value)}" for key, value in variables.items()), base=base, variables=variables)


def _short(value: str) -> str:
    return {P: "P", OTHER: "Q"}.get(value, value)


FORMS = (
    "127.0.0.1:3128", "HTTP://127.0.0.1:3128", "http://127.0.0.1:3128/foo", " http://127.0.0.1:3128 ", '"http://127.0.0.1:3128"',
    "https://127.0.0.1:3443", "http://127.0.0.1:3443", "socks5://127.0.0.1:1080", "socks5h://127.0.0.1:1080", "socks4://127.0.0.1:1080",
    "socks://127.0.0.1:1080", "http://127.0.0.1:abc", "http://127.0.0.1:99999", "http://bare.test", "http://user:p@ss:w/rd#1@127.0.0.1:3130",
    "http://user:p%40ss%3Aw%2Frd%231@127.0.0.1:3130", "http://127.0.0.1:3130", "ftp://127.0.0.1:3128", "http://", "http://[::1]:3128", "//127.0.0.1:3128",
    "proxy.test:3128", "http://proxy.test:3128/", "http://127.0.0.1:03128", "http://127.0.0.1:3128?x=1",
)  # fmt: skip
ENDS = (
    "http://127.0.0.1:1", "http://nosuch.invalid:3128", "http://127.0.0.1:3407", "http://127.0.0.1:3403", "http://127.0.0.1:3502", "http://127.0.0.1:3111",
    "http://127.0.0.1:3112", "http://127.0.0.1:3022", "http://mitm.test:3128",
)  # fmt: skip
SILENT = ("https://127.0.0.1:3128", "http://127.0.0.1:3113")


def proxy_forms() -> Iterator[Cell]:
    """Sections 1.1 and 1.2: what a value may look like, and what stands at its end."""
    for section, values in (("1.1", FORMS), ("1.2", ENDS), ("1.2", SILENT)):
        for value in values:
            seconds = IMPATIENT if value in SILENT else 3.0
            yield Cell(section=section, name=f"https_proxy={value!r}", variables={"https_proxy": value, "HTTPS_PROXY": value}, seconds=seconds)
    for value in ("127.0.0.1:3128", "https://127.0.0.1:3443", "socks5h://127.0.0.1:1080", "http://127.0.0.1:3407", "http://127.0.0.1:3403"):
        yield Cell(section="1.1", name=f"http_proxy={value!r}", base=PLAIN, variables={"http_proxy": value, "HTTP_PROXY": value})
    for value in ("http://127.0.0.1:abc", "socks5://127.0.0.1:1080", "socks://127.0.0.1:1080", "http://"):
        yield Cell(section="1.1", name=f"https through P, http_proxy={value!r}", variables={"https_proxy": P, "HTTPS_PROXY": P, "http_proxy": value})


NO_PROXY = (
    ("hub.test", "hub.test"), ("hub.test", "www.hub.test"), ("hub.test", "nothub.test"), ("HUB.test", "hub.test"), (".hub.test", "hub.test"),
    (".hub.test", "www.hub.test"), ("*.hub.test", "www.hub.test"), ("*.hub.test", "hub.test"), ("*hub.test", "nothub.test"), ("hub.test:8443", "hub.test"),
    ("hub.test:443", "hub.test"), ("www.hub.test:8443", "hub.test"), ("127.0.0.1:8443", "127.0.0.1"), ("https://hub.test", "hub.test"),
    ("http://hub.test", "hub.test"), ("a, hub.test", "hub.test"), ("a hub.test", "hub.test"), ("a;hub.test", "hub.test"), ("a,,hub.test", "hub.test"),
    ("*", "hub.test"), ("a,*", "hub.test"), ("127.0.0.0/8", "127.0.0.1"), ("127.0.0.1/32", "127.0.0.1"), ("192.0.2.0/24", "hub.test"), ("127.0.0.1", "127.0.0.1"),
    ("127.0.0.1", "hub.test"), ("127.0.0.*", "127.0.0.1"), ("127.", "127.0.0.1"), ("0.0.1", "127.0.0.1"), (".0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"),
    ("hub.test.", "hub.test"), ('"hub.test"', "hub.test"), ("hub.test/", "hub.test"), (" hub.test ", "hub.test"), ("test", "hub.test"), (".test", "hub.test"),
    ("[::1]", "[::1]"), ("::1", "[::1]"), ("::1/128", "[::1]"), ("fd00::/8", "hub.test"), ("fe80::/10,localhost", "hub.test"), ("example.com:abc", "hub.test"),
    ("https://x:abc", "hub.test"), ("", "127.0.0.1"), ("[::1]:8443", "[::1]"),
)  # fmt: skip


def no_proxy() -> Iterator[Cell]:
    """Section 2: which host goes direct."""
    through = {"https_proxy": P, "HTTPS_PROXY": P}
    for entry, host in NO_PROXY:
        base = f"https://{host}:8443"
        yield Cell(section="2", name=f"NO_PROXY={entry!r} for {host}", base=base, variables={**through, "NO_PROXY": entry})
    for variables in (
        {"no_proxy": "", "NO_PROXY": "hub.test"},
        {"no_proxy": "hub.test", "NO_PROXY": ""},
        {"no_proxy": "hub.test"},
        {"no_proxy": "a", "NO_PROXY": "hub.test"},
    ):
        yield Cell(section="2", name=" ".join(f"{name}={value!r}" for name, value in variables.items()), variables={**through, **variables})
    for entry in ("hub.test", "hub.test:80", "*.test"):
        yield Cell(section="2", name=f"http, NO_PROXY={entry!r}", base=PLAIN, variables={"http_proxy": P, "HTTP_PROXY": P, "NO_PROXY": entry})


SIGNED = ("public.test", "in-certifi.test", "in-system.test", "company.test")
FILES, FOLDERS = (
    ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT", "GIT_SSL_CAINFO"),
    ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR"),
)
STORES = (
    {}, *({name: "{company}"} for name in FILES), *({name: "{hashed}"} for name in FOLDERS), *({name: "{unhashed}"} for name in FOLDERS),
    {"REQUESTS_CA_BUNDLE": "{company}", "CURL_CA_BUNDLE": "{other}"}, {"REQUESTS_CA_BUNDLE": "{other}", "SSL_CERT_FILE": "{company}"},
    {"SSL_CERT_FILE": "{company}", "SSL_CERT_DIR": "{empty}"}, {"SSL_CERT_FILE": "{other}", "SSL_CERT_DIR": "{hashed}"},
    {"SSL_CERT_FILE": "~/company.pem"}, {"REQUESTS_CA_BUNDLE": "~/company.pem"}, {"SSL_CERT_FILE": "{all}"}, {"REQUESTS_CA_BUNDLE": "{all}"},
    {"SSL_CERT_DIR": "{empty}:{hashed}"}, {"CURL_CA_BUNDLE": "", "REQUESTS_CA_BUNDLE": "", "SSL_CERT_FILE": "", "SSL_CERT_DIR": ""},
)  # fmt: skip
WRONG = ("{missing}", "{empty}", "{nothing}", "{text}", "{der}", "{cut}")


def stores() -> Iterator[Cell]:
    """Sections 3.1 and 3.2: which roots count, and what a value that leads to none does."""
    for variables in STORES:
        words = " ".join(f"{name}={value}" for name, value in variables.items()) or "nothing set"
        for host in SIGNED:
            yield Cell(section="3.1", name=f"{words}, {host}", base=f"https://{host}", variables=variables)
    for phase in ("no system store", "certifi empty"):
        for host in SIGNED[:3]:
            yield Cell(section="3.1", name=f"{phase}, {host}", base=f"https://{host}", phase=phase)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR"):
        for value in WRONG:
            for base in ("https://public.test", PLAIN):
                yield Cell(section="3.2", name=f"{name}={value}, {base.partition(':')[0]}", base=base, variables={name: value})


TLS = (
    "self-signed",
    "expired",
    "not-yet",
    "other-name",
    "no-san",
    "weak-rsa",
    "sha1",
    "not-tls",
    "old-tls",
    "closes",
    "resets",
    "alert",
    "wants-certificate",
    "no-chain",
    "root-in-chain",
)


def handshakes() -> Iterator[Cell]:
    """Section 3.4."""
    for name in TLS:
        yield Cell(section="3.4", name=name, base=f"https://{name}.test", seconds=IMPATIENT if name == "not-tls" else 3.0)
    yield Cell(section="3.4", name="silent", base="https://tls-silent.test", seconds=IMPATIENT)


BODIES = (
    "whole", "cut", "cut-by-reset", "chunks-cut", "not-gzip", "cut-gzip", "gzip", "loop", "to-plain", "to-other", "closes", "resets", "garbage", "ssh",
    "401", "403", "404", "407", "429", "500", "503", "204", "no-length",
)  # fmt: skip
NAMES = ("nosuch.test", "servfail.test", "refused-answer.test", "no-address.test", "label..test", f"{'a' * 64}.test")


def network() -> Iterator[Cell]:
    """Section 4."""
    for host in NAMES:
        yield Cell(section="4", name=f"name {host[:24]}", base=f"http://{host}")
    yield Cell(section="4", name="refused", base="http://hub.test:1")
    yield Cell(section="4", name="unreachable", base="http://unreachable.test")
    yield Cell(section="4", name="dropped", base="http://dropped.test", seconds=IMPATIENT)
    yield Cell(section="4", name="one address of two dropped", base="http://half.test")
    yield Cell(section="4", name="one address of two refused", base="http://half-refused.test")
    for path in BODIES:
        yield Cell(section="4", name=f"answer {path}", base=PLAIN, path=f"/body/{path}")
    for path in ("silent", "stalls"):
        yield Cell(section="4", name=f"answer {path}", base=PLAIN, path=f"/body/{path}", seconds=IMPATIENT)


def cells() -> tuple[Cell, ...]:
    return (*proxy_variables(), *proxy_forms(), *no_proxy(), *stores(), *handshakes(), *network())
