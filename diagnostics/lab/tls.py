"""Authorities and certificates, good and bad, and the server contexts that present them. Needs the extra ``[lab]``.

EC keys throughout: they cost a millisecond. Each authority is made once a process.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import ipaddress
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography import x509

MISSING = "The lab's certificates need two packages more: pip install 'pytest-diagnostics[lab]' (in a checkout: pip install -e '.[lab]')."
DAY = datetime.timedelta(days=1)
LONG_AGO, FAR_OFF = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC), datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)
# Of an organisation that browsers trust, so that a diagnosis takes it for public. It lives in the lab's stores only.
PUBLIC = ("Lab Public Root R1", "Internet Security Research Group")
PUBLIC_INTERMEDIATE = ("Lab Public Intermediate E1", "Let's Encrypt")
COMPANY = ("Initech Web Gateway 2", "Initech")
PRIVATE = ("Initech Engineering Root", "Initech")
HOSTILE = ("\x1b[31mred</script><script>alert(1)</script>]]>", '"; rm -rf / #')


class MissingExtra(ImportError):
    """The extra ``[lab]`` is not installed."""


def require() -> None:
    """Raises MissingExtra, in one sentence, where certificates cannot be made."""
    try:
        import cryptography.x509
        import trustme  # noqa: F401  # the extra's name on the index; it brings cryptography
    except ImportError as error:
        raise MissingExtra(MISSING) from error
    assert cryptography.x509 is not None


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A server's certificate, the chain it sends behind it, and its key; PEM."""

    certificate: bytes
    key: bytes
    chain: tuple[bytes, ...] = ()

    @property
    def whole(self) -> bytes:
        return b"".join((self.key, self.certificate, *self.chain))


@dataclass(frozen=True, kw_only=True)
class Authority:
    """A certificate that signs others."""

    certificate: x509.Certificate
    key: Any = field(repr=False)
    above: Authority | None = None  # the authority that signed this one

    @property
    def pem(self) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding

        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding

        return self.certificate.public_bytes(Encoding.DER)

    def issue(
        self,
        *names: str,
        key: Any = None,
        valid: tuple[datetime.datetime, datetime.datetime] | None = None,
        sends_chain: bool = True,
        issuer_url: str = "",
        subject: tuple[str, str] | None = None,
        legacy: bool = False,
    ) -> Leaf:
        """A certificate for ``names`` (hosts and addresses). ``issuer_url`` goes into AIA; without ``sends_chain`` the intermediates are left out.

        A ``legacy`` one has no key identifiers, as the legacy root that signs it has none.
        """
        own_key = key or _key()
        builder = _builder(_name(*(subject or (names[0][:64], ""))), self.certificate.subject, own_key, valid or _this_year())
        builder = builder.add_extension(_alternative_names(names), critical=False) if legacy else _leaf_extensions(builder, own_key, self, names, issuer_url)
        chain = tuple(authority.pem for authority in self._line()) if sends_chain else ()
        return Leaf(certificate=_pem(builder.sign(self.key, _sha256())), key=_key_pem(own_key), chain=chain)

    def _line(self) -> tuple[Authority, ...]:
        """This authority and those above it, without the root, which servers do not send."""
        return (self, *self.above._line()) if self.above else ()

    def sign_authority(
        self, common: str, organisation: str, issuer_url: str = "", valid: tuple[datetime.datetime, datetime.datetime] | None = None
    ) -> Authority:
        """An intermediate."""
        return self.vouch_for(_key(), common, organisation, issuer_url, valid)

    def vouch_for(
        self, key: Any, common: str, organisation: str, issuer_url: str = "", valid: tuple[datetime.datetime, datetime.datetime] | None = None
    ) -> Authority:
        """An intermediate over a key that is there already: the same one that another authority signed (cross-signing)."""
        builder = _authority_extensions(_builder(_name(common, organisation), self.certificate.subject, key, valid or (LONG_AGO, FAR_OFF)), key, self)
        if issuer_url:
            builder = builder.add_extension(_aia(issuer_url), critical=False)
        return Authority(certificate=builder.sign(self.key, _sha256()), key=key, above=self)


# --- authorities --------------------------------------------------------------------------------------------------------------


@functools.cache
def root(common: str, organisation: str, legacy: bool = False, valid: tuple[datetime.datetime, datetime.datetime] | None = None) -> Authority:
    """A root. A legacy one is made as many companies made theirs: basicConstraints not critical, no key identifiers."""
    require()
    key = _key()
    name = _name(common, organisation)
    builder = _builder(name, name, key, valid or (LONG_AGO, FAR_OFF))
    builder = _legacy_extensions(builder) if legacy else _authority_extensions(builder, key, None)
    return Authority(certificate=builder.sign(key, _sha256()), key=key)


def public_root() -> Authority:
    """The authority that the lab's own stores trust as the public ones."""
    return root(*PUBLIC)


@functools.cache
def public_authority() -> Authority:
    """An intermediate of the public root: what a good server's certificate is signed by."""
    return public_root().sign_authority(*PUBLIC_INTERMEDIATE)


def self_signed(*names: str, valid: tuple[datetime.datetime, datetime.datetime] | None = None) -> Leaf:
    """A leaf that vouches for itself."""
    require()
    key, name = _key(), _name(names[0], "Self")
    builder = _builder(name, name, key, valid or _this_year()).add_extension(_alternative_names(names), critical=False)
    return Leaf(certificate=_pem(builder.sign(key, _sha256())), key=_key_pem(key))


@functools.cache
def weak_key() -> Any:
    """1024 bits of RSA: below what OpenSSL's security level 2 accepts."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


def sha1_signed(authority: Authority, *names: str) -> Leaf:
    """A leaf whose signature is over SHA-1. cryptography signs none any more: the algorithm's last byte is changed and RSA signs anew (RFC 8017 A.2.4)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.serialization import Encoding

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signer = authority.vouch_for(key, "Lab Public Intermediate R1", PUBLIC_INTERMEDIATE[1])
    good = signer.issue(*names)
    made = x509.load_pem_x509_certificate(good.certificate)
    sha256_with_rsa = bytes.fromhex("06092a864886f70d01010b")
    sha1_with_rsa = sha256_with_rsa[:-1] + b"\x05"
    content = made.tbs_certificate_bytes.replace(sha256_with_rsa, sha1_with_rsa)
    whole = made.public_bytes(Encoding.DER)
    signature = key.sign(content, padding.PKCS1v15(), hashes.SHA1())
    weak = whole.replace(made.tbs_certificate_bytes, content).replace(sha256_with_rsa, sha1_with_rsa).replace(made.signature, signature)
    return Leaf(certificate=ssl.DER_cert_to_PEM_cert(weak).encode(), key=good.key, chain=good.chain)


def expired() -> tuple[datetime.datetime, datetime.datetime]:
    return _now() - 400 * DAY, _now() - 35 * DAY


def not_yet() -> tuple[datetime.datetime, datetime.datetime]:
    return _now() + 35 * DAY, _now() + 400 * DAY


def around(moment: datetime.datetime) -> tuple[datetime.datetime, datetime.datetime]:
    """Validity of a certificate that was fresh at ``moment``."""
    return moment - 30 * DAY, moment + 60 * DAY


def subject_hash(authority: Authority) -> str:
    """The name that OpenSSL looks for in a folder of certificates: X509_NAME_hash, the first four bytes of the SHA-1 of the canonical subject."""
    from cryptography import x509
    from cryptography.x509.name import _ASN1Type

    plain = [
        x509.RelativeDistinguishedName([x509.NameAttribute(item.oid, " ".join(str(item.value).lower().split()), _ASN1Type.UTF8String) for item in part])
        for part in authority.certificate.subject.rdns
    ]
    der = x509.Name(plain).public_bytes()
    content = der[2 + (der[1] & 0x7F) * (der[1] >> 7) :]  # without the outer SEQUENCE's tag and length
    return f"{int.from_bytes(hashlib.sha1(content, usedforsecurity=False).digest()[:4], 'little'):08x}"


# --- contexts -----------------------------------------------------------------------------------------------------------------


def serving(
    leaf: Leaf,
    *,
    clients: Authority | None = None,
    oldest: ssl.TLSVersion | None = None,
    newest: ssl.TLSVersion | None = None,
    weak: bool = False,
    ciphers: str = "",
) -> ssl.SSLContext:
    """What a server presents ``leaf`` with. ``clients`` is who must have signed the client's certificate; ``weak`` allows what OpenSSL refuses by default."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if weak or ciphers:
        context.set_ciphers(ciphers or "ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = oldest or ssl.TLSVersion.MINIMUM_SUPPORTED, newest or ssl.TLSVersion.MAXIMUM_SUPPORTED
    with tempfile.NamedTemporaryFile(prefix="lab-", suffix=".pem") as file:
        file.write(leaf.whole)
        file.flush()
        context.load_cert_chain(file.name)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.pem.decode())
    return context


def impersonating(authority: Authority) -> Callable[[str], ssl.SSLContext]:
    """Contexts for whatever host is asked for, signed by ``authority`` on the spot: what a middlebox does."""

    @functools.cache
    def context_for(host: str) -> ssl.SSLContext:
        return serving(authority.issue(host))

    return context_for


def by_name(contexts: Callable[[str], ssl.SSLContext], default: str) -> ssl.SSLContext:
    """One context that presents, for each server name a client sends, the certificate of that name."""
    first = contexts(default)

    def choose(sock: ssl.SSLSocket | ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        sock.context = contexts(name or default)

    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listening.sni_callback = choose
    listening.set_ciphers("DEFAULT")
    del first
    return listening


def write_pem(path: Path, *authorities: Authority) -> Path:
    path.write_bytes(b"".join(authority.pem for authority in authorities))
    return path


# --- pieces of X.509 ----------------------------------------------------------------------------------------------------------


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _this_year() -> tuple[datetime.datetime, datetime.datetime]:
    return around(_now())


def _key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _sha256() -> Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    data: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return data


def _name(common: str, organisation: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, issuer: x509.Name, key: Any, valid: tuple[datetime.datetime, datetime.datetime]) -> x509.CertificateBuilder:
    from cryptography import x509

    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key()).serial_number(x509.random_serial_number())
    return builder.not_valid_before(valid[0]).not_valid_after(valid[1])


def _authority_extensions(builder: x509.CertificateBuilder, key: Any, above: Authority | None) -> x509.CertificateBuilder:
    from cryptography import x509

    signing = {name: name in ("key_cert_sign", "crl_sign") for name in ("key_cert_sign", "crl_sign", "digital_signature", *_OTHER_USES)}
    signer = above.key.public_key() if above else key.public_key()
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**signing), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


_OTHER_USES = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")


def _legacy_extensions(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    from cryptography import x509

    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)


def _leaf_extensions(builder: x509.CertificateBuilder, key: Any, issuer: Authority, names: tuple[str, ...], issuer_url: str) -> x509.CertificateBuilder:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    builder = (
        builder.add_extension(_alternative_names(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    return builder.add_extension(_aia(issuer_url), critical=False) if issuer_url else builder


def _alternative_names(names: tuple[str, ...]) -> x509.SubjectAlternativeName:
    from cryptography import x509

    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _aia(url: str) -> x509.AuthorityInformationAccess:
    from cryptography import x509
    from cryptography.x509.oid import AuthorityInformationAccessOID

    return x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(url))])
