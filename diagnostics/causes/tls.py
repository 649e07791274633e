"""TLS. OpenSSL prints one text for an unknown root and a missing intermediate; the chain, the other stores and the hosts tell them apart.

Codes are X509_V_ERR_* of OpenSSL (include/openssl/x509_vfy.h).
"""

from __future__ import annotations

from diagnostics.case import Cause
from diagnostics.causes import tls_dates, tls_handshake, tls_trust

CAUSES = (
    Cause(id="clock-wrong", owner=("machine",), title="This machine's clock is {amount}", why="The servers tell another time, and by theirs the certificates are valid. Certificates, signed URLs and tokens all depend on the clock.", recognise=tls_dates.clock, remedies=tls_dates.clock_remedies, lab="clock-wrong"),
    Cause(id="tls-root-not-strict", owner=("network",), title="Python's strict check refuses the authority “{issuer}” that signs for {host}: {message}", why="Since Python 3.13 certificates must follow RFC 5280 to the letter. The same chain holds without the strict flag: the root is trusted, but made the old way.", recognise=tls_trust.not_strict, remedies=tls_trust.not_strict_remedies, lab="tls-root-not-strict"),
    Cause(id="tls-chain-incomplete", owner=("server",), title="{host} does not send the intermediate certificate “{issuer}”, so its chain cannot be verified", why="The certificate is issued by a public authority whose intermediate the server leaves out. Browsers fetch it by themselves, Python does not.", recognise=tls_trust.chain_incomplete, remedies=tls_trust.chain_incomplete_remedies, lab="tls-chain-incomplete"),
    Cause(id="ca-store-outdated", owner=("machine",), title="The trust store of {client} ({store}) lacks the root that {host} needs", why="The store is missing, empty or too old; nothing is wrong with the server's certificate.", recognise=tls_trust.store_outdated, remedies=tls_trust.store_outdated_remedies, lab="ca-store-outdated"),
    Cause(id="tls-intercepted", owner=("network",), title="TLS to {hosts} is intercepted: {by} signs in place of the real authority", why="A middlebox of this network opens the encryption and signs with its own root, which {client} (store: {store}) does not trust. Retrying cannot help; the client needs that root.", recognise=tls_trust.intercepted, remedies=tls_trust.intercepted_remedies, lab="tls-intercepted"),
    Cause(id="tls-self-signed", owner=("server",), title="{host} presents a certificate that it signed itself ({subject})", why="No authority vouches for it, so no store can know it.", recognise=tls_trust.self_signed, remedies=tls_trust.self_signed_remedies, lab="tls-self-signed"),
    Cause(id="tls-issuer-unknown", owner=("server",), title="The certificate of {hosts} is issued by “{issuer}”, which {client} (store: {store}) does not know", why="A private authority issued the certificate, and its root has to be given to the client. If a browser here shows that issuer for other sites too, it is this network that inspects TLS.", recognise=tls_trust.issuer_unknown, remedies=tls_trust.issuer_unknown_remedies, lab="tls-issuer-unknown"),
    Cause(id="tls-certificate-expired", owner=("server",), title="{which} {host} expired on {when}", why="{clock}", recognise=tls_dates.expired, remedies=tls_dates.owner_remedies, lab="tls-certificate-expired"),
    Cause(id="tls-not-yet-valid", owner=("server",), title="The certificate of {host} is valid only from {when}", why="{clock}", recognise=tls_dates.not_yet_valid, remedies=tls_dates.owner_remedies, lab="tls-not-yet-valid"),
    Cause(id="tls-name-mismatch", owner=("server", "network"), title="The certificate at {host} is for other names ({names})", why="Whoever answers there is not {host}: a wrong address, a sign-in page of the network, or a server set up for another name.", recognise=tls_dates.mismatch, remedies=tls_dates.mismatch_remedies, lab="tls-name-mismatch"),
    Cause(id="tls-key-too-weak", owner=("server",), title="The certificate of {host} is too weak for this OpenSSL ({key})", why="OpenSSL's security level refuses keys and signatures that can be forged today. Older systems accept them.", recognise=tls_dates.too_weak, remedies=tls_dates.owner_remedies, lab="tls-key-too-weak"),
    Cause(id="tls-client-certificate-required", owner=("server",), title="{host} wants a client certificate", why="The handshake asks for one and ends because none was presented.", recognise=tls_handshake.client_certificate, remedies=tls_handshake.client_certificate_remedies, lab="tls-client-certificate-required"),
    Cause(id="tls-version-unsupported", owner=("server",), title="{host} and this Python have no TLS version or cipher in common", why="The server ends the handshake ({alert}). It offers: {offers}.", recognise=tls_handshake.versions, remedies=tls_handshake.versions_remedies, lab="tls-version-unsupported"),
    Cause(id="tls-not-tls", owner=("you", "server"), title="{host}:{port} does not speak TLS", why="The URL says https, and what answers there is: {said}.", recognise=tls_handshake.not_tls, remedies=tls_handshake.not_tls_remedies, lab="tls-not-tls"),
    Cause(id="tls-handshake-cut", owner=("network",), title="TLS to {host} is {how} right after the client's first message", why="The connection stands and is ended between hello and finish. {told}", recognise=tls_handshake.cut, remedies=tls_handshake.cut_remedies, lab="tls-handshake-cut"),
)  # fmt: skip
