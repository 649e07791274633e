"""Who answers on the way to a model: the reader of ``hosts.toml``. Every text given may come from anybody; it is only compared."""

from __future__ import annotations

import functools
import importlib.resources
import ipaddress
import re
import socket
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

# 2026-11: link-local addresses are those of AWS, Azure, GCP, OpenStack; these are the others' (docs of Alibaba Cloud, AWS over IPv6, Oracle, Azure's wire server).
_METADATA_ADDRESSES = frozenset({"100.100.100.200", "fd00:ec2::254", "192.0.0.192", "168.63.129.16"})
_METADATA_NAMES = frozenset({"metadata.google.internal", "metadata.goog", "metadata", "instance-data"})
MOST_CHARACTERS = 500  # of a text that is compared


@functools.cache
def _table() -> dict[str, Any]:
    return tomllib.loads(importlib.resources.files("diagnostics.facts").joinpath("hosts.toml").read_text(encoding="utf-8"))


@functools.cache
def _patterns(*keys: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    table = _table()
    for key in keys:
        table = table[key]
    return tuple((product, re.compile(pattern, re.IGNORECASE)) for product, pattern in table.items())


def _entry(host: str) -> dict[str, Any] | None:
    """The row for a host, the first that fits."""
    name = host.lower().rstrip(".")
    return next((row for row in _table()["hosts"] if any(_fits(pattern, name) for pattern in row["patterns"])), None)


def _fits(pattern: str, name: str) -> bool:
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else name == pattern


def is_known_public(host: str) -> bool:
    """Whether models are publicly fetched from this host, so that its certificate is a public authority's."""
    return _entry(host) is not None


def purpose(host: str) -> str:
    """What a known host is for, "" for any other."""
    row = _entry(host)
    return str(row["purpose"]) if row else ""


def moved_to(url: str) -> dict[str, str] | None:
    """Where the files of an address that was given up are now: ``why`` to read and ``run`` to paste. None for any other address."""
    bare = url.partition("://")[2].lower()
    return next((row for row in _table()["moved"] if bare.startswith(row["prefix"])), None)


def is_instance_metadata(address: str) -> bool:
    """Whether a cloud's metadata service answers there, with credentials of this machine's role. No model lies there; what a server points there is an attack."""
    if address.lower().rstrip(".") in _METADATA_NAMES:
        return True
    if not address:
        return False
    try:  # inet_aton takes 0xa9fea9fe, 2852039166 and 169.254.43518 too
        ip = ipaddress.ip_address(address if ":" in address else socket.inet_aton(address))
    except (ValueError, OSError):
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_link_local or str(mapped or ip) in _METADATA_ADDRESSES


def known_hosts() -> tuple[str, ...]:
    """The known host names that are no patterns: what a misspelt name may have meant."""
    return tuple(pattern for row in _table()["hosts"] for pattern in row["patterns"] if not pattern.startswith("*."))


def of_the_hub() -> tuple[str, ...]:
    """The host names and patterns that huggingface.co sends a client to for the bytes."""
    return tuple(pattern for row in _table()["hosts"] if row["purpose"].startswith("the Hub's ") for pattern in row["patterns"])


def as_of() -> str:
    """The day of the table."""
    return str(_table()["as_of"])


def inspection_product(issuer_text: str) -> str:
    """The product that signs with this issuer name to inspect TLS, "" where none is recognised."""
    return _product(_patterns("inspection"), issuer_text)


def _product(patterns: tuple[tuple[str, re.Pattern[str]], ...], text: str) -> str:
    return next((product for product, pattern in patterns if pattern.search(text[:MOST_CHARACTERS])), "")


def public_authority(organisation: str) -> bool:
    """Whether an issuer's organisation is a certificate authority that browsers trust (or says so), and none of its products that inspect."""
    words = _words(organisation)
    return bool(words) and not inspection_product(organisation) and any(words == known or words.startswith(known + " ") for known in _authorities())


@functools.cache
def _authorities() -> frozenset[str]:
    return frozenset(_words(name) for name in _table()["authorities"]["organisations"])


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text[:MOST_CHARACTERS].lower()))


def origin_headers(host: str, header_names: Iterable[str]) -> bool:
    """Whether an answer carries a field that the known host's own answers always carry. True for a host of which nothing is known."""
    row = _entry(host)
    if row is None or not row["headers"]:
        return True
    return bool({name.lower() for name in header_names} & set(row["headers"]))


def filter_product(headers: Mapping[str, str], title: str) -> str:
    """The filter or proxy that an answer's fields or its page's title name, "" where neither does."""
    fields = frozenset(_table()["filters"]["fields"])
    lines = "\n".join(f"{name.lower()}: {value[:200]}" for name, value in headers.items() if name.lower() in fields)
    return _product(_patterns("filters", "headers"), lines) or _product(_patterns("filters", "titles"), title)
