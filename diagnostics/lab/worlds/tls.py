"""TLS that fails, and TLS that only looks odd.

On loopback a host is 127.0.0.1 and its certificate names that; worlds in which names, stores or several hosts matter have a namespace.
"""

from __future__ import annotations

import datetime
import shlex
import socket
import ssl
import sys

from diagnostics.lab import hub as hubs
from diagnostics.lab import tcp, tls
from diagnostics.lab.http import file, page, serving, text
from diagnostics.lab.proxy import Policy
from diagnostics.lab.stage import CDN, HUB, Namespace, Stage
from diagnostics.lab.worlds import world
from diagnostics.lab.worlds.healthy import behind_proxy

HERE = (tcp.LOOPBACK, "localhost", HUB)
MIRROR = "hub.corp.example"
YEAR = datetime.timedelta(days=365)
OLD_STORE = ("Lab Public Root R0", "DigiCert Inc")  # another public root, which the store at hand does have


def on_loopback(stage: Stage, leaf: tls.Leaf | None = None, *, context: ssl.SSLContext | None = None, trusted: bool = True, clock_seconds: float = 0.0) -> str:
    """A hub behind TLS that serves the bytes itself. ``trusted``: the lab's public root is in the client's store."""
    base = stage.web(HUB, hubs.hub(hubs.tiny()), leaf=leaf, context=context, clock_seconds=clock_seconds)
    return hub_at(stage, base, trusted)


def hub_at(stage: Stage, base: str, trusted: bool = True) -> str:
    if trusted:
        stage.variables["SSL_CERT_FILE"] = str(stage.trust(tls.public_root()))
    stage.variables["HF_ENDPOINT"] = base
    stage.spec = hubs.NAME
    return base


def answering(stage: Stage, talk: tcp.Talk, trusted: bool = True) -> None:
    """A port that is asked for https and does ``talk``."""
    hub_at(stage, stage.url(HUB, stage.listen(HUB, talk, port=443), secure=True), trusted)


def internet(stage: Namespace, *, hub: tls.Leaf | None = None, cdn: tls.Leaf | None = None, clock_seconds: float = 0.0) -> None:
    """The public hub and its CDN, either with another certificate."""
    stage.web(CDN, hubs.cdn(hubs.tiny()), leaf=cdn, clock_seconds=clock_seconds)
    stage.web(HUB, hubs.hub(hubs.tiny(), cdn=f"https://{CDN}"), leaf=hub, clock_seconds=clock_seconds)
    stage.spec = hubs.NAME


def private_hub(stage: Namespace, leaf: tls.Leaf, name: str = MIRROR, cdn: str = "") -> None:
    """A hub of the company's own, with a certificate of its own authority."""
    stage.web(name, hubs.hub(hubs.tiny(), cdn=f"https://{cdn}" if cdn else ""), leaf=leaf)
    stage.variables["HF_ENDPOINT"] = f"https://{name}"
    stage.spec = hubs.NAME


def file_by_url(stage: Namespace, host: str, leaf: tls.Leaf | None = None) -> None:
    """One file by URL: requests and certifi's store."""
    weights = hubs.tiny().file("model.safetensors")
    assert weights is not None
    stage.web(host, lambda request: file(weights.data, weights.sha256), leaf=leaf)
    stage.spec = f"https://{host}/tiny/model.safetensors#sha256={weights.sha256}"


def company() -> tls.Authority:
    return tls.root(*tls.COMPANY)


# --- intercepted --------------------------------------------------------------------------------------------------------------


@world("tls-intercepted", needs="namespace", twin="healthy-internet")
def intercepted(stage: Namespace) -> None:
    """A middlebox signs for every host with a root that no store here has."""
    internet(stage, hub=company().issue(HUB), cdn=company().issue(CDN))


@world("tls-intercepted-named-product", needs="certificates", cause="tls-intercepted")
def intercepted_named(stage: Stage) -> None:
    """The root names its product."""
    on_loopback(stage, tls.root("Zscaler Root CA", "Zscaler Inc.").issue(*HERE))


@world("tls-intercepted-whole-chain", needs="namespace", cause="tls-intercepted", twin="healthy-internet")
def intercepted_whole_chain(stage: Namespace) -> None:
    """The middlebox sends an intermediate and the root with it."""
    subordinate = company().sign_authority("Initech Web Gateway 2 - node 7", "Initech")

    def leaf(name: str) -> tls.Leaf:
        signed = subordinate.issue(name)
        return tls.Leaf(certificate=signed.certificate, key=signed.key, chain=(*signed.chain, company().pem))

    internet(stage, hub=leaf(HUB), cdn=leaf(CDN))


@world("tls-intercepted-intermediate", needs="namespace", cause="tls-intercepted", twin="healthy-internet")
def intercepted_intermediate(stage: Namespace) -> None:
    """The middlebox sends its intermediate without the root."""
    subordinate = company().sign_authority("Initech Web Gateway 2 - node 7", "Initech")
    internet(stage, hub=subordinate.issue(HUB), cdn=subordinate.issue(CDN))


@world("tls-intercepted-bare-leaf", needs="namespace", cause="tls-intercepted", twin="healthy-internet")
def intercepted_bare_leaf(stage: Namespace) -> None:
    """The middlebox leaves its intermediate out, and names an address to fetch it from that nobody answers."""
    subordinate = company().sign_authority("Initech Web Gateway 2 - node 7", "Initech")
    address = "http://pki.initech.example/node7.crt"
    internet(stage, hub=subordinate.issue(HUB, sends_chain=False, issuer_url=address), cdn=subordinate.issue(CDN, sends_chain=False, issuer_url=address))


@world("tls-intercepted-self-signed", needs="namespace", cause="tls-intercepted", twin="healthy-internet")
def intercepted_self_signed(stage: Namespace) -> None:
    """A box that presents a certificate of its own making for the public hub."""
    internet(stage, hub=tls.self_signed(HUB), cdn=tls.self_signed(CDN))


@world("tls-intercepted-download-host", needs="namespace", cause="tls-intercepted", twin="healthy-internet")
def intercepted_cdn(stage: Namespace) -> None:
    """The hub is exempt from inspection, the host of the bytes is not."""
    internet(stage, cdn=company().issue(CDN))


@world("tls-intercepted-by-proxy", needs="namespace", cause="tls-intercepted", twin="healthy-proxy")
def intercepted_by_proxy(stage: Namespace) -> None:
    """The company's proxy opens what passes through it."""
    internet(stage)
    trusts = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusts.load_verify_locations(cadata=tls.public_root().pem.decode())
    behind_proxy(stage, Policy(impersonates=tls.impersonating(company()), trusts=trusts))


@world("tls-intercepted-url", needs="namespace", cause="tls-intercepted", twin="healthy-internet")
def intercepted_url(stage: Namespace) -> None:
    """The root is in the operating system's store; requests, which fetches URLs, looks into certifi's only."""
    stage.stores(system=(tls.public_root(), company()))
    file_by_url(stage, "download.pytorch.org", company().issue("download.pytorch.org"))


@world("tls-intercepted-list", needs="namespace", cause="tls-intercepted", twin="healthy-internet")
def intercepted_several(stage: Namespace) -> None:
    """Unrelated private hosts, one private signer."""
    hosts = ("models.alpha.example", "files.beta.test")
    for host in hosts:
        stage.web(host, lambda request: text("a small file"), leaf=company().issue(host))
    stage.spec = " ".join(f"https://{host}/a.bin" for host in hosts)


@world("tls-intercepted-nothing", needs="namespace", cause="tls-intercepted", twin="healthy-nothing")
def intercepted_nothing(stage: Namespace) -> None:
    """No target; the hub is intercepted."""
    internet(stage, hub=company().issue(HUB))
    stage.spec = ""


@world("tls-intercepted-ca-variable-ignored", needs="namespace", cause="ca-variable-ignored", twin="healthy-internet")
def intercepted_variable_ignored(stage: Namespace) -> None:
    """The root is where REQUESTS_CA_BUNDLE says, which huggingface_hub 2 does not read."""
    internet(stage, hub=company().issue(HUB), cdn=company().issue(CDN))
    stage.variables["REQUESTS_CA_BUNDLE"] = str(stage.trust(tls.public_root(), company()))


@world("healthy-intercepted", needs="namespace", cause="")
def healthy_intercepted(stage: Namespace) -> None:
    """Intercepted, with the company's root in the operating system's store, which huggingface_hub 2 trusts."""
    stage.stores(system=(tls.public_root(), company()))
    internet(stage, hub=company().issue(HUB), cdn=company().issue(CDN))


@world("healthy-intercepted-variable", needs="namespace", cause="")
def healthy_intercepted_variable(stage: Namespace) -> None:
    """Intercepted, with the company's root where SSL_CERT_FILE says."""
    internet(stage, hub=company().issue(HUB), cdn=company().issue(CDN))
    stage.variables["SSL_CERT_FILE"] = str(stage.trust(tls.public_root(), company()))


# --- issuers ------------------------------------------------------------------------------------------------------------------


@world("tls-self-signed", needs="certificates")
def self_signed(stage: Stage) -> None:
    """A mirror that signed its own certificate."""
    on_loopback(stage, tls.self_signed(*HERE), trusted=False)


@world("healthy-self-signed", needs="certificates", cause="")
def healthy_self_signed(stage: Stage) -> None:
    """The same, and SSL_CERT_FILE names that certificate."""
    leaf = tls.self_signed(*HERE)
    path = stage.folder / "mirror.pem"
    path.write_bytes(leaf.certificate)
    on_loopback(stage, leaf, trusted=False)
    stage.variables["SSL_CERT_FILE"] = str(path)


@world("tls-issuer-unknown", needs="certificates")
def issuer_unknown(stage: Stage) -> None:
    """A mirror with a certificate of the company's own authority."""
    on_loopback(stage, tls.root(*tls.PRIVATE).issue(*HERE), trusted=False)


@world("tls-issuer-unknown-two-hosts", needs="namespace", cause="tls-issuer-unknown", twin="healthy-internet")
def issuer_unknown_two_hosts(stage: Namespace) -> None:
    """Hub and download host of one company, both of its own authority."""
    authority, cdn = tls.root(*tls.PRIVATE), "lfs.corp.example"
    stage.web(cdn, hubs.cdn(hubs.tiny()), leaf=authority.issue(cdn))
    private_hub(stage, authority.issue(MIRROR), cdn=cdn)


@world("tls-issuer-unknown-intermediate", needs="namespace", cause="tls-issuer-unknown", twin="healthy-internet")
def issuer_unknown_intermediate(stage: Namespace) -> None:
    """The whole private chain is sent, the root included."""
    authority = tls.root(*tls.PRIVATE)
    signed = authority.sign_authority("Initech Engineering Issuing CA", "Initech").issue(MIRROR)
    private_hub(stage, tls.Leaf(certificate=signed.certificate, key=signed.key, chain=(*signed.chain, authority.pem)))


@world("tls-issuer-unknown-hostile", needs="certificates", cause="tls-issuer-unknown")
def issuer_unknown_hostile(stage: Stage) -> None:
    """Names in the certificate that would like to be markup, escapes and commands."""
    on_loopback(stage, tls.root(*tls.HOSTILE).issue(*HERE), trusted=False)


@world("tls-chain-incomplete", needs="namespace", twin="healthy-internet")
def chain_incomplete(stage: Namespace) -> None:
    """The intermediate is not sent; the certificate tells where it is, and it is there."""
    intermediate = tls.public_authority()
    stage.web("r1.i.lencr.example", lambda request: file(intermediate.der, content_type="application/pkix-cert"), port=80, secure=False)
    private_hub(stage, intermediate.issue(MIRROR, sends_chain=False, issuer_url="http://r1.i.lencr.example/e1.der"))


@world("tls-chain-incomplete-unfetchable", needs="namespace", cause="tls-chain-incomplete", twin="healthy-internet")
def chain_incomplete_unfetchable(stage: Namespace) -> None:
    """The intermediate is not sent, and where it is said to be nobody answers."""
    private_hub(stage, tls.public_authority().issue(MIRROR, sends_chain=False, issuer_url="http://r1.i.lencr.example/e1.der"))


@world("tls-chain-incomplete-download-host", needs="namespace", cause="tls-chain-incomplete", twin="healthy-internet")
def chain_incomplete_cdn(stage: Namespace) -> None:
    """The host of the bytes leaves its intermediate out."""
    intermediate = tls.public_authority()
    stage.web("r1.i.lencr.example", lambda request: file(intermediate.der, content_type="application/pkix-cert"), port=80, secure=False)
    internet(stage, cdn=intermediate.issue(CDN, sends_chain=False, issuer_url="http://r1.i.lencr.example/e1.der"))


@world("tls-chain-incomplete-private", needs="namespace", cause="tls-chain-incomplete", twin="healthy-internet")
def chain_incomplete_private(stage: Namespace) -> None:
    """The company's root is in the store, and its server leaves the intermediate out."""
    authority = tls.root(*tls.PRIVATE)
    issuing = authority.sign_authority("Initech Engineering Issuing CA", "Initech")
    stage.stores(system=(tls.public_root(), authority))
    stage.web("pki.corp.example", lambda request: file(issuing.der), port=80, secure=False)
    private_hub(stage, issuing.issue(MIRROR, sends_chain=False, issuer_url="http://pki.corp.example/issuing.crt"))


@world("ca-store-outdated", needs="namespace", twin="healthy-internet")
def store_empty(stage: Namespace) -> None:
    """A slim container: the operating system's store is empty, certifi's is full."""
    stage.stores(system=())
    internet(stage)


@world("ca-store-outdated-old", needs="namespace", cause="ca-store-outdated", twin="healthy-internet")
def store_old(stage: Namespace) -> None:
    """The operating system's store lacks the one public root that is needed."""
    stage.stores(system=[tls.root(f"Lab Public Root {number}", "DigiCert Inc") for number in range(20)])
    internet(stage)


@world("ca-store-outdated-certifi", needs="namespace", cause="ca-store-outdated", twin="healthy-internet")
def store_old_certifi(stage: Namespace) -> None:
    """certifi is years old and lacks the root; the operating system's store has it."""
    stage.stores(certifi=[tls.root(f"Lab Public Root {number}", "DigiCert Inc") for number in range(20)])
    file_by_url(stage, "download.pytorch.org")


@world("ca-store-outdated-everywhere", needs="namespace", cause="ca-store-outdated", twin="healthy-internet")
def store_empty_everywhere(stage: Namespace) -> None:
    """No store on this machine holds any root."""
    stage.stores(system=(), certifi=())
    internet(stage)


@world("ca-store-outdated-expired-root", needs="namespace", cause="ca-store-outdated", twin="healthy-internet")
def store_expired_root(stage: Namespace) -> None:
    """The store knows the authority by a root that has expired and not by the one that replaced it (DST Root CA X3, September 2021)."""
    old = tls.root("Lab Public Root X3", "Digital Signature Trust Co.", valid=tls.expired())
    intermediate, key = tls.public_authority(), tls.public_root().key
    crossed = old.vouch_for(key, *tls.PUBLIC)
    stage.stores(system=(old,))
    leaf = intermediate.issue(HUB)
    internet(stage, hub=tls.Leaf(certificate=leaf.certificate, key=leaf.key, chain=(*leaf.chain, crossed.pem)))


@world("healthy-cross-signed", needs="namespace", cause="")
def healthy_cross_signed(stage: Namespace) -> None:
    """The server still sends the cross-signed root of an authority that has expired; the store has the new one."""
    old = tls.root("Lab Public Root X3", "Digital Signature Trust Co.", valid=tls.expired())
    crossed = old.vouch_for(tls.public_root().key, *tls.PUBLIC)
    leaf = tls.public_authority().issue(HUB)
    internet(stage, hub=tls.Leaf(certificate=leaf.certificate, key=leaf.key, chain=(*leaf.chain, crossed.pem)))


@world("healthy-root-sent", needs="namespace", cause="")
def healthy_root_sent(stage: Namespace) -> None:
    """The server sends its root too, and in the wrong order."""
    leaf = tls.public_authority().issue(HUB)
    internet(stage, hub=tls.Leaf(certificate=leaf.certificate, key=leaf.key, chain=(tls.public_root().pem, *leaf.chain)))


# --- dates --------------------------------------------------------------------------------------------------------------------


@world("tls-certificate-expired", needs="certificates")
def expired(stage: Stage) -> None:
    """The certificate ran out a month ago."""
    on_loopback(stage, tls.public_authority().issue(*HERE, valid=tls.expired()))


@world("tls-certificate-expired-intermediate", needs="certificates", cause="tls-certificate-expired")
def expired_intermediate(stage: Stage) -> None:
    """The intermediate that is sent ran out a month ago."""
    on_loopback(stage, tls.public_root().sign_authority(*tls.PUBLIC_INTERMEDIATE, valid=tls.expired()).issue(*HERE))


@world("tls-certificate-expired-download-host", needs="namespace", cause="tls-certificate-expired", twin="healthy-internet")
def expired_cdn(stage: Namespace) -> None:
    """The hub is fine, the host of the bytes is not."""
    internet(stage, cdn=tls.public_authority().issue(CDN, valid=tls.expired()))


@world("tls-certificate-expired-self-signed", needs="certificates", cause="tls-self-signed")
def expired_self_signed(stage: Stage) -> None:
    """Self-signed and expired: renewed in the same way it would still not be trusted."""
    on_loopback(stage, tls.self_signed(*HERE, valid=tls.expired()), trusted=False)


@world("tls-not-yet-valid", needs="certificates")
def not_yet_valid(stage: Stage) -> None:
    """A certificate that begins next month."""
    on_loopback(stage, tls.public_authority().issue(*HERE, valid=tls.not_yet()))


@world("clock-wrong", needs="certificates")
def clock_behind(stage: Stage) -> None:
    """This machine's clock is two years behind: by it no certificate is valid yet."""
    then = datetime.datetime.now(datetime.UTC) + 2 * YEAR
    on_loopback(stage, tls.public_authority().issue(*HERE, valid=tls.around(then)), clock_seconds=(2 * YEAR).total_seconds())


@world("clock-wrong-ahead", needs="namespace", cause="clock-wrong", twin="healthy-internet")
def clock_ahead(stage: Namespace) -> None:
    """This machine's clock is two years ahead: by it every certificate has expired."""
    then = tls.around(datetime.datetime.now(datetime.UTC) - 2 * YEAR)
    hub, cdn = (tls.public_authority().issue(name, valid=then) for name in (HUB, CDN))
    internet(stage, hub=hub, cdn=cdn, clock_seconds=-(2 * YEAR).total_seconds())


@world("clock-wrong-by-minutes", needs="namespace", cause="clock-wrong", severity="warning", twin="healthy-internet")
def clock_off_by_minutes(stage: Namespace) -> None:
    """Twenty minutes off: certificates hold, signed URLs and tokens will not."""
    internet(stage, clock_seconds=1200.0)


@world("healthy-server-clock", needs="namespace", cause="")
def healthy_server_clock(stage: Namespace) -> None:
    """One server's clock is a day off, the other's is right: not this machine's fault."""
    stage.web(CDN, hubs.cdn(hubs.tiny()), clock_seconds=86400.0)
    stage.web(HUB, hubs.hub(hubs.tiny(), cdn=f"https://{CDN}"))
    stage.spec = hubs.NAME


@world("healthy-two-minutes", needs="namespace", cause="")
def healthy_two_minutes(stage: Namespace) -> None:
    """Two minutes off hurts nobody."""
    internet(stage, clock_seconds=120.0)


# --- names and keys -----------------------------------------------------------------------------------------------------------


@world("tls-name-mismatch", needs="certificates")
def name_mismatch(stage: Stage) -> None:
    """A good certificate of somebody else."""
    on_loopback(stage, tls.public_authority().issue("www.elsewhere.example", "elsewhere.example"))


@world("tls-name-mismatch-wildcard", needs="namespace", cause="tls-name-mismatch", twin="healthy-wildcard")
def name_mismatch_wildcard(stage: Namespace) -> None:
    """A wildcard covers one label, not two (RFC 6125 §6.4.3)."""
    private_hub(stage, tls.public_authority().issue("*.corp.example"), name="hub.models.corp.example")


@world("tls-name-mismatch-address", needs="namespace", cause="tls-name-mismatch", twin="healthy-address")
def name_mismatch_address(stage: Namespace) -> None:
    """The endpoint is an address; the certificate names only the host."""
    address = stage.place(MIRROR)
    private_hub(stage, tls.public_authority().issue(MIRROR))
    stage.variables["HF_ENDPOINT"] = f"https://{address}"


@world("tls-name-mismatch-hosts-file", needs="namespace", cause="dns-wrong-address", twin="healthy-internet")
def name_mismatch_hosts_file(stage: Namespace) -> None:
    """A line in the hosts file still points to a machine that serves something else by now: that line is the root."""
    stage.web("shop.example", lambda request: text("a shop"))
    internet(stage)
    stage.hosts_entry(f"{stage.zone['shop.example'][0]} {HUB}")


@world("tls-name-mismatch-public", needs="namespace", cause="tls-name-mismatch", twin="healthy-internet")
def name_mismatch_public(stage: Namespace) -> None:
    """The network's resolver sends the hub's name to a server with a good certificate of its own."""
    address = stage.place("shop.example")
    stage.web("shop.example", lambda request: text("a shop"))
    stage.zone[HUB] = (address,)
    stage.spec = hubs.NAME


@world("healthy-wildcard", needs="namespace", cause="")
def healthy_wildcard(stage: Namespace) -> None:
    """A wildcard certificate."""
    private_hub(stage, tls.public_authority().issue("*.corp.example"))


@world("healthy-address", needs="namespace", cause="")
def healthy_address(stage: Namespace) -> None:
    """A mirror by its address, with a certificate for that address."""
    address = stage.place(MIRROR)
    private_hub(stage, tls.public_authority().issue(address))
    stage.variables["HF_ENDPOINT"] = f"https://{address}"


@world("healthy-address6", needs="namespace", cause="")
def healthy_address6(stage: Namespace) -> None:
    """The same over IPv6."""
    address = stage.place(MIRROR, ["2001:db8::1"])
    private_hub(stage, tls.public_authority().issue(address))
    stage.variables["HF_ENDPOINT"] = f"https://[{address}]"


@world("tls-key-too-weak", needs="certificates")
def key_too_weak(stage: Stage) -> None:
    """An RSA key of 1024 bits."""
    on_loopback(stage, context=tls.serving(tls.public_authority().issue(*HERE, key=tls.weak_key()), weak=True))


@world("tls-key-too-weak-signature", needs="certificates", cause="tls-key-too-weak")
def signature_too_weak(stage: Stage) -> None:
    """A signature over SHA-1."""
    on_loopback(stage, context=tls.serving(tls.sha1_signed(tls.public_root(), *HERE), weak=True))


# --- the handshake ------------------------------------------------------------------------------------------------------------


@world("tls-client-certificate-required", needs="certificates")
def client_certificate(stage: Stage) -> None:
    """A hub for who has a certificate; TLS 1.3, which refuses after the handshake."""
    leaf = tls.public_authority().issue(*HERE)
    on_loopback(stage, context=tls.serving(leaf, clients=tls.root(*tls.PRIVATE)))


@world("tls-client-certificate-required-1.2", needs="certificates", cause="tls-client-certificate-required")
def client_certificate_12(stage: Stage) -> None:
    """The same in TLS 1.2, which refuses within the handshake."""
    leaf = tls.public_authority().issue(*HERE)
    on_loopback(stage, context=tls.serving(leaf, clients=tls.root(*tls.PRIVATE), newest=ssl.TLSVersion.TLSv1_2))


@world("tls-client-certificate-required-page", needs="certificates", cause="tls-client-certificate-required")
def client_certificate_page(stage: Stage) -> None:
    """nginx: the handshake holds, and a page says that no certificate came."""
    context = tls.serving(tls.public_authority().issue(*HERE), clients=tls.root(*tls.PRIVATE))
    context.verify_mode = ssl.CERT_OPTIONAL
    refusal = page("400 No required SSL certificate was sent", status=400, headers=(("Server", "nginx/1.24.0"),))
    hub_at(stage, stage.web(HUB, lambda request: refusal, context=context))


@world("healthy-client-certificate-optional", needs="certificates", cause="")
def healthy_client_certificate(stage: Stage) -> None:
    """A server that asks for a client certificate and does without."""
    context = tls.serving(tls.public_authority().issue(*HERE), clients=tls.root(*tls.PRIVATE))
    context.verify_mode = ssl.CERT_OPTIONAL
    on_loopback(stage, context=context)


@world("tls-version-unsupported", needs="certificates")
def version_unsupported(stage: Stage) -> None:
    """A server of 2010: TLS 1.0 and nothing newer."""
    leaf = tls.public_authority().issue(*HERE)
    on_loopback(stage, context=tls.serving(leaf, oldest=ssl.TLSVersion.TLSv1, newest=ssl.TLSVersion.TLSv1, weak=True))


@world("tls-version-unsupported-cipher", needs="certificates", cause="tls-version-unsupported")
def cipher_unsupported(stage: Stage) -> None:
    """A server with ciphers that nobody offers any more."""
    leaf = tls.public_authority().issue(*HERE)
    on_loopback(stage, context=tls.serving(leaf, newest=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-NULL-SHA:AECDH-NULL-SHA:@SECLEVEL=0"))


@world("healthy-tls-1.2", needs="certificates", cause="")
def healthy_12(stage: Stage) -> None:
    """TLS 1.2 only."""
    on_loopback(stage, context=tls.serving(tls.public_authority().issue(*HERE), newest=ssl.TLSVersion.TLSv1_2))


@world("tls-not-tls")
def not_tls(stage: Stage) -> None:
    """Plain HTTP where HF_ENDPOINT says https."""
    answering(stage, serving(hubs.hub(hubs.tiny())), trusted=False)


@world("tls-not-tls-hasty", cause="tls-not-tls")
def not_tls_hasty(stage: Stage) -> None:
    """Plain HTTP of a server that answers nonsense at once, as nginx does."""
    answering(stage, hasty(serving(hubs.hub(hubs.tiny()))), trusted=False)


def hasty(talk: tcp.Talk) -> tcp.Talk:
    """A web server that says 400 to what does not begin like a request."""

    def talking(sock: socket.socket) -> None:
        if sock.recv(1, socket.MSG_PEEK) == b"\x16":
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        else:
            talk(sock)

    return talking


@world("tls-not-tls-closing", cause="tls-not-tls")
def not_tls_closing(stage: Stage) -> None:
    """Plain HTTP of a server that hangs up on nonsense."""

    def talk(sock: socket.socket) -> None:
        if sock.recv(1, socket.MSG_PEEK) != b"\x16":
            serving(hubs.hub(hubs.tiny()))(sock)

    answering(stage, talk, trusted=False)


@world("tls-not-tls-ssh", cause="tls-not-tls")
def not_tls_ssh(stage: Stage) -> None:
    """An SSH server."""
    answering(stage, tcp.banner(), trusted=False)


@world("tls-not-tls-url", needs="namespace", cause="tls-not-tls")
def not_tls_url(stage: Namespace) -> None:
    """A file by https from a server that speaks plain HTTP on its port."""
    stage.listen("files.corp.example", serving(lambda request: text("a file")), port=8080)
    stage.spec = "https://files.corp.example:8080/model.bin"


@world("tls-not-tls-other-port", needs="namespace", cause="tls-not-tls", twin="healthy-internet")
def not_tls_other_port(stage: Namespace) -> None:
    """HF_ENDPOINT names a port that speaks plain HTTP of something else; the hub is at 443."""
    internet(stage)
    stage.listen(HUB, serving(lambda request: text("no hub here", 404)), port=8443)
    stage.variables["HF_ENDPOINT"] = f"https://{HUB}:8443"


@world("tls-handshake-cut")
def handshake_cut(stage: Stage) -> None:
    """The connection is reset after the ClientHello."""
    answering(stage, tcp.after_hello("reset"), trusted=False)


@world("tls-handshake-cut-closed", cause="tls-handshake-cut")
def handshake_closed(stage: Stage) -> None:
    """The connection is closed after the ClientHello."""
    answering(stage, tcp.after_hello("close"), trusted=False)


@world("tls-handshake-cut-silence", cause="tls-handshake-cut")
def handshake_silent(stage: Stage) -> None:
    """Nothing comes after the ClientHello."""
    answering(stage, tcp.after_hello("silence"), trusted=False)


@world("tls-handshake-cut-alert", cause="tls-handshake-cut")
def handshake_alert(stage: Stage) -> None:
    """The ClientHello is answered with the alert access_denied."""
    answering(stage, tcp.after_hello("alert", 49), trusted=False)


@world("tls-handshake-cut-intolerant", needs="certificates", cause="tls-handshake-cut")
def handshake_intolerant(stage: Stage) -> None:
    """A box that drops every ClientHello that offers TLS 1.3."""
    context = tls.serving(tls.public_authority().issue(*HERE))
    offers_13 = b"\x00\x2b\x00\x05\x04\x03\x04\x03\x03"  # supported_versions, RFC 8446 §4.2.1
    answering(stage, tcp.unless_named(offers_13, tcp.reset, context, serving(hubs.hub(hubs.tiny()))))


@world("tls-handshake-cut-by-name", needs="namespace", cause="tls-handshake-cut", twin="healthy-internet")
def handshake_cut_by_name(stage: Namespace) -> None:
    """A filter resets what names the hub; a handshake that names nobody passes."""
    context = tls.serving(tls.public_authority().issue(HUB))
    stage.listen(HUB, tcp.unless_named(HUB.encode(), tcp.reset, context, serving(hubs.hub(hubs.tiny()))), port=443)
    stage.spec = hubs.NAME


@world("tls-handshake-cut-by-name-silence", needs="namespace", cause="tls-handshake-cut", twin="healthy-internet")
def handshake_silenced_by_name(stage: Namespace) -> None:
    """A filter swallows what names the hub."""
    context = tls.serving(tls.public_authority().issue(HUB))
    stage.listen(HUB, tcp.unless_named(HUB.encode(), tcp.stay_silent, context, serving(hubs.hub(hubs.tiny()))), port=443)
    stage.spec = hubs.NAME


@world("tls-handshake-cut-download-host", needs="namespace", cause="download-host-blocked", twin="healthy-internet")
def handshake_cut_cdn(stage: Namespace) -> None:
    """The hub passes; the host of the bytes is cut by its name."""
    context = tls.serving(tls.public_authority().issue(CDN))
    stage.listen(CDN, tcp.unless_named(CDN.encode(), tcp.reset, context, serving(hubs.cdn(hubs.tiny()))), port=443)
    stage.web(HUB, hubs.hub(hubs.tiny(), cdn=f"https://{CDN}"))
    stage.spec = hubs.NAME


# --- strictness ---------------------------------------------------------------------------------------------------------------


def strict_python(stage: Stage) -> None:
    """Have the model loaded by a Python that checks as 3.13 does, whatever this one is."""
    path = stage.folder / "strict-python"
    path.write_text(f'#!/bin/sh\n{shlex.quote(sys.executable)} "$@" | sed \'s/"strict_x509": false/"strict_x509": true/\'\n')
    path.chmod(0o755)
    stage.options.append(f"--diagnose-python={path}")


def legacy() -> tls.Authority:
    return tls.root("Initech Legacy Root", "Initech", legacy=True)


@world("tls-root-not-strict", needs="certificates", twin="healthy-legacy-root")
def root_not_strict(stage: Stage) -> None:
    """A company root made the old way, named by SSL_CERT_FILE; from Python 3.13 on it does not do."""
    strict_python(stage)
    on_loopback(stage, legacy().issue(*HERE, legacy=True), trusted=False)
    stage.variables["SSL_CERT_FILE"] = str(stage.trust(tls.public_root(), legacy()))


@world("tls-root-not-strict-url", needs="namespace", cause="tls-root-not-strict", twin="healthy-legacy-root")
def root_not_strict_url(stage: Namespace) -> None:
    """The same for requests, which is strict with any store."""
    strict_python(stage)
    file_by_url(stage, "download.pytorch.org", legacy().issue("download.pytorch.org", legacy=True))
    stage.variables["REQUESTS_CA_BUNDLE"] = str(stage.trust(tls.public_root(), legacy()))


@world("healthy-legacy-root", needs="namespace", cause="")
def healthy_legacy_root(stage: Namespace) -> None:
    """The same root in the operating system's store, with which huggingface_hub 2 is not strict."""
    strict_python(stage)
    stage.stores(system=(tls.public_root(), legacy()))
    internet(stage, hub=legacy().issue(HUB, legacy=True), cdn=legacy().issue(CDN, legacy=True))


@world("healthy-strict", needs="certificates", cause="")
def healthy_strict(stage: Stage) -> None:
    """A private root made by the book passes the strict check."""
    strict_python(stage)
    on_loopback(stage, tls.root(*tls.PRIVATE).issue(*HERE), trusted=False)
    stage.variables["SSL_CERT_FILE"] = str(stage.trust(tls.root(*tls.PRIVATE)))
