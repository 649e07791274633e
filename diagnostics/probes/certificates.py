"""Certificates as presented, read with what the standard library has: ``_ssl`` for names and dates, a few lines of DER for the key.

X.509: RFC 5280. The reader is bounded and gives up (``Unseen``) on what it does not know; nothing is decided from a failed parse.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import ssl
from collections.abc import Iterator
from typing import Any

from diagnostics.case import ABSENT, Certificate, Unseen
from diagnostics.redact import plain

MOST_CERTIFICATES = 10
_SIGNATURES = {
    "1.2.840.113549.1.1.4": "md5WithRSA",
    "1.2.840.113549.1.1.5": "sha1WithRSA",
    "1.2.840.113549.1.1.11": "sha256WithRSA",
    "1.2.840.113549.1.1.12": "sha384WithRSA",
    "1.2.840.113549.1.1.13": "sha512WithRSA",
    "1.2.840.113549.1.1.10": "RSASSA-PSS",
    "1.2.840.10045.4.1": "ecdsa-with-SHA1",
    "1.2.840.10045.4.3.2": "ecdsa-with-SHA256",
    "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
    "1.3.101.112": "Ed25519",
}
_CURVES = {"1.2.840.10045.3.1.7": 256, "1.3.132.0.34": 384, "1.3.132.0.35": 521, "1.3.132.0.33": 224, "1.2.840.10045.3.1.1": 192}
_RSA, _EC = "1.2.840.113549.1.1.1", "1.2.840.10045.2.1"
_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "emailAddress": "E",
}
Name = tuple[tuple[tuple[str, str], ...], ...]


def presented(sock: ssl.SSLSocket) -> tuple[Certificate, ...]:
    """The chain the server sent, leaf first; empty where this Python cannot tell (``get_unverified_chain`` is private before 3.13)."""
    inner: Any = getattr(sock, "_sslobj", None)
    get_chain = getattr(inner, "get_unverified_chain", None)
    chain = (get_chain() if get_chain else None) or ()
    return tuple(certificate(item) for item in chain[:MOST_CERTIFICATES])


def certificate(item: Any) -> Certificate:
    """A ``_ssl.Certificate`` as a record."""
    import _ssl

    der = item.public_bytes(_ssl.ENCODING_DER)
    try:
        info = item.get_info()
    except (ValueError, ssl.SSLError):
        info = {}
    bits, signature = key_and_signature(der)
    subject, issuer = info.get("subject", ()), info.get("issuer", ())
    return Certificate(
        subject=one_line(subject),
        issuer=one_line(issuer),
        subject_name=part(subject, "commonName"),
        issuer_name=part(issuer, "commonName"),
        issuer_organization=part(issuer, "organizationName"),
        not_before=_iso(info.get("notBefore")),
        not_after=_iso(info.get("notAfter")),
        names=tuple(plain(value) for kind, value in info.get("subjectAltName", ())[:50] if kind in ("DNS", "IP Address")),
        ca_issuers=tuple(plain(value) for value in info.get("caIssuers", ())[:4]),
        self_issued=bool(subject) and subject == issuer,
        fingerprint=hashlib.sha256(der).hexdigest(),
        key_bits=bits,
        signature=signature,
        issuer_in=(),
    )


def one_line(name: Name) -> str:
    """A distinguished name as ``CN=…, O=…``, most telling part first."""
    pairs = [(_SHORT.get(key, key), value) for group in name for key, value in group]
    pairs.sort(key=lambda pair: pair[0] != "CN")
    return plain(", ".join(f"{key}={value}" for key, value in pairs))


def part(name: Name, wanted: str) -> str:
    return next((plain(value) for group in name for key, value in group if key == wanted), "")


def _iso(text: str | None) -> str:
    """``Jan  5 09:34:43 2027 GMT`` as ISO 8601; "" where it is not a date."""
    if not text:
        return ""
    try:
        return datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(text), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""


@functools.lru_cache(maxsize=16)  # one survey's worth: a store does not change within it
def authorities(cafile: str, capath: str) -> tuple[str, ...]:
    """The subject of every root in a store's file; none where there is no store at all (a container without ca-certificates)."""
    if not cafile and not capath:
        return ()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile or None, capath or None)
    except (OSError, ssl.SSLError):
        return ()
    roots: list[dict[str, Any]] = context.get_ca_certs()
    return tuple(one_line(root.get("subject", ())) for root in roots)


def key_and_signature(der: bytes) -> tuple[int | Unseen, str]:
    """Bits of the public key and the signature's algorithm, RFC 5280 §4.1."""
    try:
        whole = next(_elements(der))[1]
        tbs, algorithm = [value for _, value in _elements(whole)][:2]
        signature = _oid(next(_elements(algorithm))[1])
        fields = [value for tag, value in _elements(tbs) if tag != 0xA0]
        return _key_bits(fields[5]), _SIGNATURES.get(signature, signature)
    except (StopIteration, IndexError, ValueError, RuntimeError):
        return ABSENT, ""


def _key_bits(info: bytes) -> int | Unseen:
    algorithm, key = [value for _, value in _elements(info)][:2]
    parts = [value for _, value in _elements(algorithm)]
    kind = _oid(parts[0])
    if kind == _RSA:
        modulus = next(_elements(next(_elements(key[1:]))[1]))[1]
        return int.from_bytes(modulus, "big").bit_length()
    if kind == _EC and len(parts) > 1:
        return _CURVES.get(_oid(parts[1]), ABSENT)
    return ABSENT


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and value of each DER element in a row (X.690 §8.1); long tags are not needed here."""
    position = 0
    while position + 2 <= len(data):
        tag, length, position = data[position], data[position + 1], position + 2
        if length & 0x80:
            count = length & 0x7F
            length, position = int.from_bytes(data[position : position + count], "big"), position + count
        if position + length > len(data):
            raise ValueError("element longer than its container")
        yield tag, data[position : position + length]
        position += length


def _oid(data: bytes) -> str:
    numbers, value = [], 0
    for byte in data:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))
