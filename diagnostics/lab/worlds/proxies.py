"""Proxies that are misspelt, away, something else, or that say no; and odd ones that work."""

from __future__ import annotations

import socket

from diagnostics.lab import http, tcp, tls
from diagnostics.lab import hub as hubs
from diagnostics.lab.http import Reply, page, text
from diagnostics.lab.proxy import Policy, http_proxy, socks5
from diagnostics.lab.stage import CDN, HUB, Namespace, Stage
from diagnostics.lab.worlds import world
from diagnostics.lab.worlds.healthy import behind_proxy, put_up_hub, shut
from diagnostics.lab.worlds.settings import put_up_file

LOGIN, ENCODED = "lab:pa%ss/w@rd", "lab:pa%25ss%2Fw%40rd"
VIA = ("Via", "1.1 lab-proxy (squid/6.6)")


def only_through(stage: Stage, talk: tcp.Talk, scheme: str = "http", login: str = "", *, secure: bool = False) -> str:
    """On loopback: an https hub that cannot be reached directly, and ``talk`` where the proxy is said to be. Returns the proxy's URL."""
    port = stage.listen("proxy.corp.example", talk, port=3128, context=tls.serving(stage.certificate("proxy.corp.example")) if secure else None)
    return _with_proxy(stage, port, scheme, login)


def _with_proxy(stage: Stage, port: int, scheme: str = "http", login: str = "") -> str:
    closed = stage.stack.enter_context(tcp.refused_port())
    address = f"{scheme}://{login + '@' if login else ''}{stage.authority('proxy.corp.example', port)}"
    stage.variables |= {"HF_ENDPOINT": f"https://{tcp.LOOPBACK}:{closed}", "HTTPS_PROXY": address}
    stage.spec = hubs.NAME
    return address


def refusing(status: int, title: str = "", words: str = "", headers: http.Pairs = (VIA,)) -> tcp.Talk:
    """A proxy with one answer for everybody."""
    return http_proxy(Policy(refuses=lambda host: page(title or str(status), words, status, headers)))


# --- the value ----------------------------------------------------------------------------------------------------------------


def _spelt(name: str, value: str, doc: str, cause: str = "proxy-url-invalid") -> None:
    """A world in which HTTPS_PROXY has a value that cannot be used."""

    def build(stage: Stage) -> None:
        put_up_hub(stage)
        stage.variables["HTTPS_PROXY"] = value

    build.__doc__ = doc
    build.__module__ = __name__
    world(name, cause=cause)(build)


_spelt(
    "proxy-url-invalid",
    f"http://{LOGIN}@127.0.0.1:3128",
    "A password with a slash and an @ that were not percent-encoded: huggingface_hub fails before it asks for anything.",
)
_spelt("proxy-url-hash", "http://lab:pa%ss/w@rd#1@127.0.0.1:3128", "A password with a # in it.")
_spelt("proxy-url-port", "http://127.0.0.1:31a28", "A port that is no number.")
_spelt("proxy-url-space", " http://127.0.0.1:3128 ", "White space around the address.")
_spelt("proxy-url-quotes", '"http://127.0.0.1:3128"', "Quotation marks that became part of the value.")
_spelt("proxy-url-socks", "socks://127.0.0.1:1080", "socks:// as desktops write it, which no Python client knows.")
_spelt("proxy-url-scheme", "htp://127.0.0.1:3128", "A misspelt scheme.")
_spelt("proxy-url-no-at", "http://lab:pa%ss/w@rd:127.0.0.1:3128", "A colon where the @ behind the password is due.")


@world("proxy-url-port-range", cause="proxy-url-invalid")
def proxy_url_port_range(stage: Stage) -> None:
    """A port beyond 65535: the client begins, and cannot connect."""
    only_through(stage, http_proxy(Policy()))
    stage.variables["HTTPS_PROXY"] = "http://127.0.0.1:99999"


@world("proxy-url-host", cause="proxy-url-invalid")
def proxy_url_host(stage: Stage) -> None:
    """No host."""
    only_through(stage, http_proxy(Policy()))
    stage.variables["HTTPS_PROXY"] = "http://:3128"


@world("healthy-proxy-port-range", cause="")
def healthy_proxy_port_range(stage: Stage) -> None:
    """The same value for https:// addresses, and nothing here is one."""
    put_up_hub(stage)
    stage.variables["HTTPS_PROXY"] = "http://127.0.0.1:99999"


@world("healthy-proxy-spelt-oddly", cause="", twin="healthy-proxy", needs="namespace")
def healthy_proxy_spelt_oddly(stage: Namespace) -> None:
    """An upper-case scheme, an address of IPv6, a path behind it, and a login with every odd character percent-encoded."""
    put_up_hub(stage)
    stage.place("proxy.corp.example", ("2001:db8::3128",))
    behind_proxy(stage, Policy(login="lab:@#/%:? ü"), "HTTP://lab:%40%23%2F%25%3A%3F%20%C3%BC@[2001:db8::3128]:3128/")


# --- SOCKS --------------------------------------------------------------------------------------------------------------------


@world("proxy-socks-unsupported")
def proxy_socks_unsupported(stage: Stage) -> None:
    """A SOCKS proxy, and the package that huggingface_hub needs for it is not installed."""
    put_up_hub(stage)
    port = stage.listen("proxy.corp.example", socks5(Policy()), port=1080)
    stage.variables["ALL_PROXY"] = stage.url("proxy.corp.example", port).replace("http://", "socks5h://")


@world("proxy-socks-unsupported-by-urllib", cause="proxy-socks-unsupported", needs="namespace", twin="healthy-proxy")
def proxy_socks_unsupported_by_urllib(stage: Namespace) -> None:
    """A SOCKS proxy, and torch.hub downloads, which speaks HTTP to it."""
    stage.interpreter(torch="2.13.0")
    put_up_file(stage, "download.pytorch.org")
    reaches = {name: (addresses[0], 443) for name, addresses in stage.zone.items()}
    stage.listen("proxy.corp.example", socks5(Policy(reaches=reaches)), port=1080)
    shut(stage, tuple(reaches), "unknown")
    stage.variables["https_proxy"] = "socks5://proxy.corp.example:1080"


def _behind_socks(stage: Namespace, policy: Policy, address: str) -> None:
    """A way out through SOCKS alone, for a client that can use it."""
    stage.interpreter(huggingface_hub="2.4.0", httpx2="2.16.2", socksio="1.0.0", hf_xet="1.8.0")
    put_up_hub(stage)
    reaches = {name: (addresses[0], 443) for name, addresses in stage.zone.items()}
    refuses = policy.refuses
    stage.listen("proxy.corp.example", socks5(Policy(login=policy.login, reaches=reaches, refuses=refuses)), port=1080)
    shut(stage, tuple(reaches), "unknown")
    stage.variables["ALL_PROXY"] = address


@world("healthy-proxy-socks", cause="", twin="healthy-proxy", needs="namespace")
def healthy_proxy_socks(stage: Namespace) -> None:
    """A SOCKS proxy with a login, which also resolves the names."""
    _behind_socks(stage, Policy(login=LOGIN), f"socks5h://{ENCODED}@proxy.corp.example:1080")


@world("proxy-socks-login", cause="proxy-auth-required", twin="healthy-proxy-socks", needs="namespace")
def proxy_socks_login(stage: Namespace) -> None:
    """A SOCKS proxy that wants a login, and none is set."""
    _behind_socks(stage, Policy(login=LOGIN), "socks5h://proxy.corp.example:1080")


@world("proxy-socks-denied", cause="proxy-denied", twin="healthy-proxy-socks", needs="namespace")
def proxy_socks_denied(stage: Namespace) -> None:
    """A SOCKS proxy whose rules do not allow these hosts."""
    _behind_socks(stage, Policy(refuses=lambda host: page("no")), "socks5h://proxy.corp.example:1080")


@world("proxy-socks-is-http", cause="proxy-scheme-wrong", twin="healthy-proxy-socks", needs="namespace")
def proxy_socks_is_http(stage: Namespace) -> None:
    """socks5h:// in front of an HTTP proxy."""
    stage.interpreter(huggingface_hub="2.4.0", httpx2="2.16.2", socksio="1.0.0")
    put_up_hub(stage)
    behind_proxy(stage, Policy(), "")
    stage.variables["HTTPS_PROXY"] = "socks5h://proxy.corp.example:3128"


@world("proxy-is-socks", cause="proxy-not-a-proxy")
def proxy_is_socks(stage: Stage) -> None:
    """http:// in front of a SOCKS proxy."""
    only_through(stage, socks5(Policy()))


# --- the scheme ---------------------------------------------------------------------------------------------------------------


@world("proxy-scheme-wrong")
def proxy_scheme_wrong(stage: Stage) -> None:
    """https:// in front of a proxy that speaks plain HTTP, because the variable is called HTTPS_PROXY."""
    only_through(stage, http_proxy(Policy(reaches={})), "https")


@world("proxy-scheme-wrong-hangs", cause="proxy-scheme-wrong", twin="healthy-proxy", needs="namespace")
def proxy_scheme_wrong_hangs(stage: Namespace) -> None:
    """The same where the proxy waits for the end of what it takes for a header: the client hangs."""
    put_up_hub(stage)
    reaches = {name: (addresses[0], 443) for name, addresses in stage.zone.items()}
    stage.listen("proxy.corp.example", _patient(http_proxy(Policy(reaches=reaches))), port=3128)
    shut(stage, tuple(reaches), "unknown")
    stage.variables["HTTPS_PROXY"] = "https://proxy.corp.example:3128"


def _patient(talk: tcp.Talk) -> tcp.Talk:
    """Silent to what does not begin with a letter."""

    def waiting(sock: socket.socket) -> None:
        first = sock.recv(1, socket.MSG_PEEK)
        (talk if first.isalpha() else tcp.stay_silent)(sock)

    return waiting


@world("proxy-scheme-wrong-plain", cause="proxy-scheme-wrong")
def proxy_scheme_wrong_plain(stage: Stage) -> None:
    """https:// in front of a plain proxy, and the hub is one over http://."""
    put_up_hub(stage)
    port = stage.listen("proxy.corp.example", http_proxy(Policy()), port=3128)
    stage.variables["HTTP_PROXY"] = stage.url("proxy.corp.example", port, secure=True)


@world("proxy-wants-tls", cause="proxy-scheme-wrong", twin="healthy-proxy-tls", needs="namespace")
def proxy_wants_tls(stage: Namespace) -> None:
    """http:// in front of a proxy that speaks TLS."""
    _behind_tls_proxy(stage, "http://proxy.corp.example:3128")


@world("healthy-proxy-tls", cause="", twin="healthy-proxy", needs="namespace")
def healthy_proxy_tls(stage: Namespace) -> None:
    """A proxy that is spoken to over TLS, and is given so."""
    _behind_tls_proxy(stage, "https://proxy.corp.example:3128")


@world("healthy-proxy-https-with-urllib", cause="", twin="healthy-proxy", needs="namespace")
def healthy_proxy_https_with_urllib(stage: Namespace) -> None:
    """https:// in front of a plain proxy: torch.hub's client takes no notice of it, and it works."""
    stage.interpreter(torch="2.13.0")
    put_up_file(stage, "download.pytorch.org")
    behind_proxy(stage, Policy(), "https://proxy.corp.example:3128")


def _behind_tls_proxy(stage: Namespace, address: str) -> None:
    put_up_hub(stage)
    reaches = {name: (addresses[0], 443) for name, addresses in stage.zone.items()}
    context = tls.serving(stage.certificate("proxy.corp.example"))
    stage.listen("proxy.corp.example", http_proxy(Policy(reaches=reaches)), port=3128, context=context)
    shut(stage, tuple(reaches), "unknown")
    stage.variables |= {"HTTPS_PROXY": address, "https_proxy": address}


# --- its address --------------------------------------------------------------------------------------------------------------


@world("proxy-name-unknown", twin="healthy-proxy", needs="namespace")
def proxy_name_unknown(stage: Namespace) -> None:
    """A proxy whose name does not exist, as outside the company's network."""
    put_up_hub(stage)
    stage.variables["HTTPS_PROXY"] = "http://proxy.corp.example:3128"


@world("proxy-name-unknown-no-direct", cause="proxy-name-unknown", twin="healthy-proxy", needs="namespace")
def proxy_name_unknown_no_direct(stage: Namespace) -> None:
    """A misspelt proxy, and nothing can be reached without one."""
    put_up_hub(stage)
    behind_proxy(stage, Policy(), "http://proxi.corp.example:3128")


@world("proxy-name-malformed", cause="proxy-name-unknown")
def proxy_name_malformed(stage: Stage) -> None:
    """Two dots in a row: a name that nobody can be asked for."""
    only_through(stage, http_proxy(Policy()))
    stage.variables["HTTPS_PROXY"] = "http://proxy..corp.example:3128"


@world("proxy-unreachable")
def proxy_unreachable(stage: Stage) -> None:
    """Nothing listens at the proxy's port: a local relay that was not started."""
    _with_proxy(stage, stage.stack.enter_context(tcp.refused_port()))


@world("proxy-unreachable-plain", cause="proxy-unreachable")
def proxy_unreachable_plain(stage: Stage) -> None:
    """The same for a hub over http://, which answers directly."""
    put_up_hub(stage)
    stage.variables["HTTP_PROXY"] = stage.url("proxy.corp.example", stage.stack.enter_context(tcp.refused_port()))


@world("proxy-black-hole", cause="proxy-unreachable", twin="healthy-proxy", needs="namespace")
def proxy_black_hole(stage: Namespace) -> None:
    """Packets to the proxy vanish, as when the VPN is off."""
    put_up_hub(stage)
    behind_proxy(stage, Policy())
    shut(stage, ("proxy.corp.example",), "dropped")


@world("proxy-silent", cause="proxy-unreachable")
def proxy_silent(stage: Stage) -> None:
    """Something accepts connections at the proxy's port and never says a word."""
    only_through(stage, tcp.stay_silent)


@world("proxy-not-a-proxy")
def proxy_not_a_proxy(stage: Stage) -> None:
    """An SSH server listens at the proxy's port."""
    only_through(stage, tcp.banner())


def _web_server(name: str, reply: Reply, doc: str) -> None:
    """A world in which a web server of one answer listens where the proxy is said to be."""

    def build(stage: Stage) -> None:
        only_through(stage, http.serving(lambda request: reply))

    build.__doc__ = doc
    build.__module__ = __name__
    world(name, cause="proxy-not-a-proxy")(build)


NGINX = (("Server", "nginx/1.24.0"),)
_web_server("proxy-is-web-server", page("400 Bad Request", status=400, headers=NGINX), "nginx, which takes CONNECT for a bad request.")
_web_server("proxy-is-web-server-404", page("404 Not Found", status=404, headers=(("Server", "uvicorn"),)), "An application server that knows no such path.")
_web_server("proxy-is-web-server-405", text("Method Not Allowed", 405, headers=(("Allow", "GET, HEAD"),)), "A server without that method.")
_web_server(
    "proxy-is-web-server-501", page("Unsupported method ('CONNECT')", status=501, headers=(("Server", "SimpleHTTP/0.6 Python/3.11"),)), "Python's http.server."
)


@world("proxy-closes", cause="proxy-not-a-proxy")
def proxy_closes(stage: Stage) -> None:
    """What listens there closes at once."""
    only_through(stage, tcp.close_at_once)


@world("proxy-is-tls-server", cause="proxy-not-a-proxy", needs="certificates")
def proxy_is_tls_server(stage: Stage) -> None:
    """A web server with TLS listens at the proxy's port."""
    only_through(stage, http.serving(lambda request: page("Welcome to nginx!", status=200 if request.method == "GET" else 405, headers=NGINX)), secure=True)


# --- its answer ---------------------------------------------------------------------------------------------------------------


@world("proxy-auth-required")
def proxy_auth_required(stage: Stage) -> None:
    """The proxy wants a login, and none is set."""
    only_through(stage, http_proxy(Policy(login=LOGIN)))


@world("proxy-auth-wrong", cause="proxy-auth-required")
def proxy_auth_wrong(stage: Stage) -> None:
    """The proxy refuses the login that is set (which must be tried no more than once)."""
    only_through(stage, http_proxy(Policy(login="lab:another")), login=ENCODED)


def _offering(name: str, doc: str, *schemes: str) -> None:
    def build(stage: Stage) -> None:
        only_through(stage, http_proxy(Policy(login=LOGIN, schemes=schemes)))

    build.__doc__ = doc
    build.__module__ = __name__
    world(name, cause="proxy-auth-required")(build)


_offering("proxy-auth-ntlm", "The proxy offers NTLM and Negotiate, which no Python client speaks.", "NTLM", "Negotiate")
_offering("proxy-auth-digest", "The proxy offers Digest alone.", 'Digest realm="corp", nonce="c0ffee", qop="auth", algorithm=MD5')


@world("proxy-auth-plain", cause="proxy-auth-required")
def proxy_auth_plain(stage: Stage) -> None:
    """The hub is one over http://, and the proxy answers 407 to a plain request."""
    put_up_hub(stage)
    port = stage.listen("proxy.corp.example", http_proxy(Policy(login=LOGIN)), port=3128)
    stage.variables["HTTP_PROXY"] = stage.url("proxy.corp.example", port)


@world("proxy-auth-cdn", cause="proxy-auth-required", twin="healthy-proxy", needs="namespace")
def proxy_auth_cdn(stage: Namespace) -> None:
    """The proxy wants a login for the host of the bytes alone."""
    put_up_hub(stage)
    offer: http.Pairs = (("Proxy-Authenticate", 'Basic realm="corp"'), VIA)
    behind_proxy(stage, Policy(refuses=lambda host: page("Login", status=407, headers=offer) if host == CDN else None))


@world("proxy-denied")
def proxy_denied(stage: Stage) -> None:
    """The proxy refuses the host by policy, with a page that says so."""
    only_through(stage, refusing(403, "Access Denied: category Artificial Intelligence", "Ask the service desk."))


@world("proxy-denied-bare", cause="proxy-denied")
def proxy_denied_bare(stage: Stage) -> None:
    """A refusal without a page or a name."""
    only_through(stage, http_proxy(Policy(refuses=lambda host: Reply(status=403, reason="Forbidden"))))


@world("proxy-denied-port", cause="proxy-denied", twin="healthy-proxy", needs="namespace")
def proxy_denied_port(stage: Namespace) -> None:
    """squid does not connect to this port."""
    put_up_hub(stage)
    behind_proxy(
        stage,
        Policy(
            refuses=lambda host: page("ERROR: The requested URL could not be retrieved", status=403, headers=(VIA, ("X-Squid-Error", "ERR_ACCESS_DENIED 0")))
        ),
    )


@world("proxy-denied-plain", cause="proxy-denied")
def proxy_denied_plain(stage: Stage) -> None:
    """The hub is one over http://, and the proxy refuses the plain request."""
    put_up_hub(stage)
    port = stage.listen(
        "proxy.corp.example",
        refusing(403, "ERROR: The requested URL could not be retrieved", headers=(VIA, ("X-Squid-Error", "ERR_ACCESS_DENIED 0"))),
        port=3128,
    )
    stage.variables["HTTP_PROXY"] = stage.url("proxy.corp.example", port)


@world("proxy-denied-cdn", cause="download-host-blocked", twin="healthy-proxy", needs="namespace")
def proxy_denied_cdn(stage: Namespace) -> None:
    """The proxy opens the way to the hub and refuses the host of the bytes."""
    put_up_hub(stage)
    behind_proxy(stage, Policy(refuses=lambda host: page("Access Denied", status=403, headers=(VIA,)) if host == CDN else None))


@world("proxy-upstream-failed")
def proxy_upstream_failed(stage: Stage) -> None:
    """The proxy cannot reach the host itself: 502."""
    only_through(stage, refusing(502, "Bad Gateway"))


@world("proxy-upstream-503", cause="proxy-upstream-failed")
def proxy_upstream_503(stage: Stage) -> None:
    """squid cannot resolve the name: 503 with its own error code."""
    only_through(stage, refusing(503, "ERROR: The requested URL could not be retrieved", headers=(VIA, ("X-Squid-Error", "ERR_DNS_FAIL 0"))))


@world("proxy-upstream-504", cause="proxy-upstream-failed")
def proxy_upstream_504(stage: Stage) -> None:
    """The proxy ran out of time: 504."""
    only_through(stage, refusing(504, "Gateway Timeout"))


@world("proxy-upstream-silent", cause="proxy-upstream-failed", twin="healthy-proxy", needs="namespace")
def proxy_upstream_silent(stage: Namespace) -> None:
    """The proxy says nothing while it waits for a host that does not answer; asked about itself it does."""
    put_up_hub(stage)
    reaches = {name: (addresses[0], 443) for name, addresses in stage.zone.items()}
    stage.listen("proxy.corp.example", http_proxy(Policy(refuses=lambda host: Reply(silent=True) if host == HUB else None, reaches=reaches)), port=3128)
    shut(stage, tuple(reaches), "unknown")
    stage.variables["HTTPS_PROXY"] = "http://proxy.corp.example:3128"


@world("proxy-upstream-plain", cause="proxy-upstream-failed")
def proxy_upstream_plain(stage: Stage) -> None:
    """The hub is one over http://, and the proxy cannot reach it."""
    put_up_hub(stage)
    port = stage.listen(
        "proxy.corp.example",
        refusing(503, "ERROR: The requested URL could not be retrieved", headers=(VIA, ("X-Squid-Error", "ERR_CONNECT_FAIL 111"))),
        port=3128,
    )
    stage.variables["HTTP_PROXY"] = stage.url("proxy.corp.example", port)


# --- around it ----------------------------------------------------------------------------------------------------------------


@world("proxy-bypassed", twin="healthy-proxy", needs="namespace")
def proxy_bypassed(stage: Namespace) -> None:
    """NO_PROXY holds the hub, and there is no direct way."""
    put_up_hub(stage)
    behind_proxy(stage, Policy(login=LOGIN), f"http://{ENCODED}@proxy.corp.example:3128")
    stage.variables["NO_PROXY"] = f"localhost,127.0.0.1,{HUB},.hf.co"


@world("proxy-bypassed-dropped", cause="proxy-bypassed", twin="healthy-proxy", needs="namespace")
def proxy_bypassed_dropped(stage: Namespace) -> None:
    """NO_PROXY is a star, and packets vanish directly."""
    put_up_hub(stage)
    behind_proxy(stage, Policy(), direct="dropped")
    stage.variables["no_proxy"] = "*"


@world("proxy-bypassed-cdn", cause="proxy-bypassed", twin="healthy-proxy", needs="namespace")
def proxy_bypassed_cdn(stage: Namespace) -> None:
    """NO_PROXY holds the host of the bytes alone."""
    put_up_hub(stage)
    behind_proxy(stage, Policy(), direct="dropped")
    stage.variables["NO_PROXY"] = "hf.co"


@world("healthy-proxy-bypassed", cause="", twin="healthy-internet", needs="namespace")
def healthy_proxy_bypassed(stage: Namespace) -> None:
    """NO_PROXY sends the hub around a proxy that refuses it, and that works."""
    put_up_hub(stage)
    behind_proxy(stage, Policy(refuses=lambda host: page("no", status=403)), direct="open")
    stage.variables["NO_PROXY"] = f"{HUB},.hf.co"


@world("proxy-from-pac-only", twin="healthy-proxy", needs="namespace")
def proxy_from_pac_only(stage: Namespace) -> None:
    """A desktop's automatic configuration names the proxy, the environment does not, and there is no direct way."""
    put_up_hub(stage)
    behind_proxy(stage, Policy(), "", direct="dropped")
    stage.variables["auto_proxy"] = "http://wpad.corp.example/proxy.pac"


@world("healthy-pac", cause="", twin="healthy-internet", needs="namespace")
def healthy_pac(stage: Namespace) -> None:
    """An automatic configuration, and the direct way is open."""
    put_up_hub(stage)
    stage.variables["auto_proxy"] = "http://wpad.corp.example/proxy.pac"


@world("proxy-certificate-unknown", cause="tls-issuer-unknown", twin="healthy-proxy-tls", needs="namespace")
def proxy_certificate_unknown(stage: Namespace) -> None:
    """A proxy that is spoken to over TLS, with a certificate of the company's that this client does not trust."""
    put_up_hub(stage)
    reaches = {name: (addresses[0], 443) for name, addresses in stage.zone.items()}
    context = tls.serving(tls.root(*tls.PRIVATE).issue("proxy.corp.example"))
    stage.listen("proxy.corp.example", http_proxy(Policy(reaches=reaches)), port=3128, context=context)
    shut(stage, tuple(reaches), "unknown")
    stage.variables |= {"HTTPS_PROXY": "https://proxy.corp.example:3128", "https_proxy": "https://proxy.corp.example:3128"}
