"""Files in Xet storage: the hub's client has the metadata, hf_xet the bytes, and each goes its own way.

The loading interpreter has hf_xet, as every environment with huggingface_hub has it today.
"""

from __future__ import annotations

from collections.abc import Callable

from diagnostics.lab import hub as hubs
from diagnostics.lab import tls, xet
from diagnostics.lab.http import App, Reply, page, text
from diagnostics.lab.proxy import Policy, http_proxy
from diagnostics.lab.stage import BLACK_HOLE, CDN, HUB, Namespace, Stage
from diagnostics.lab.worlds import world
from diagnostics.lab.worlds.tls import company


def put_up(stage: Stage, *, cas: App | None = None, store: App | None = None, cas_leaf: tls.Leaf | None = None, store_leaf: tls.Leaf | None = None) -> None:
    """The hub, its CDN, the CAS and the store of the pieces; the target is the model."""
    tiny = hubs.tiny()
    bytes_from = stage.web(CDN, hubs.cdn(tiny))
    pieces_from = stage.web(xet.STORE, store or xet.store(tiny), leaf=store_leaf)
    told_by = stage.web(xet.CAS, cas or xet.cas(tiny, store=pieces_from), leaf=cas_leaf)
    base = stage.web(HUB, xet.hub(tiny, cdn=bytes_from, cas=told_by))
    if base != f"https://{HUB}":
        stage.variables["HF_ENDPOINT"] = base
    stage.spec = hubs.NAME
    stage.interpreter(huggingface_hub="2.4.0", httpx2="2.16.2", hf_xet="1.8.0")


@world("healthy-xet", cause="")
def healthy(stage: Stage) -> None:
    """The largest file lies in Xet storage."""
    put_up(stage)


@world("healthy-xet-names", cause="", needs="namespace")
def healthy_names(stage: Namespace) -> None:
    """The same under the public names, behind public certificates."""
    put_up(stage)


@world("healthy-xet-without-cdn", cause="", needs="namespace", twin="healthy-xet-names")
def without_cdn(stage: Namespace) -> None:
    """The host that serves the bytes to others cannot be reached: nothing of this download needs it."""
    put_up(stage)
    stage.zone[CDN] = (BLACK_HOLE,)
    stage.black_hole()


@world("healthy-xet-disabled", cause="", needs="namespace", twin="healthy-xet-names")
def disabled(stage: Namespace) -> None:
    """HF_HUB_DISABLE_XET, and nobody reaches the CAS."""
    put_up(stage)
    stage.zone[xet.CAS] = (BLACK_HOLE,)
    stage.black_hole()
    stage.variables["HF_HUB_DISABLE_XET"] = "1"


@world("xet-cas-blocked", needs="namespace", cause="download-host-blocked", twin="healthy-xet-names")
def cas_blocked(stage: Namespace) -> None:
    """A firewall lets the hub and its CDN through, and not the CAS."""
    put_up(stage)
    stage.zone[xet.CAS] = (BLACK_HOLE,)
    stage.black_hole()


@world("xet-store-unknown", needs="namespace", cause="download-host-blocked", twin="healthy-xet-names")
def store_unknown(stage: Namespace) -> None:
    """The host of the pieces has no address here."""
    put_up(stage)
    del stage.zone[xet.STORE]


@world("xet-cas-intercepted", needs="namespace", cause="tls-intercepted", twin="healthy-xet-names")
def cas_intercepted(stage: Namespace) -> None:
    """A middlebox opens the TLS with the CAS alone; hf_xet finds its root nowhere."""
    put_up(stage, cas_leaf=company().issue(xet.CAS))


@world("healthy-xet-company-root", cause="", needs="namespace", twin="xet-cas-intercepted")
def company_root(stage: Namespace) -> None:
    """The same middlebox, its root in the operating system's store, which hf_xet trusts."""
    stage.stores(system=(tls.public_root(), company()))
    put_up(stage, cas_leaf=company().issue(xet.CAS))


@world("xet-cas-blocked-by-filter", needs="namespace", cause="http-blocked-by-filter", twin="healthy-xet-names")
def cas_filtered(stage: Namespace) -> None:
    """Something in between answers for the CAS with its own page."""
    blocked = page("Web Page Blocked", "Access to the web page you were trying to visit has been blocked in accordance with company policy.", 403)
    put_up(stage, cas=lambda request: blocked)


@world("xet-store-fails", cause="http-server-error", twin="healthy-xet")
def store_fails(stage: Stage) -> None:
    """The host of the pieces is out of order."""
    put_up(stage, store=lambda request: text("try later", 503))


@world("client-cut-by-its-name", needs="namespace", cause="unexplained", twin="healthy-internet")
def cut_by_name(stage: Namespace) -> None:
    """Something on the way ends whatever says that it is huggingface_hub, and nothing else: only the client itself shows it."""
    hub = hubs.hub(hubs.tiny())
    stage.web(HUB, hubs.instead(hub, lambda request: "hf_hub/" in request.headers.get("user-agent", ""), Reply(dropped=True, cut_by_reset=True)))
    stage.spec = hubs.NAME


@world("xet-other-proxy", needs="namespace", cause="proxy-variables-disagree", twin="healthy-xet-same-proxy")
def other_proxy(stage: Namespace) -> None:
    """hf_xet takes the upper-case variable, whose proxy does not let it out; the hub's client the lower-case one."""
    put_up(stage)
    two_proxies(stage, lambda host: page("Access denied by policy", status=403))
    stage.variables |= {"https_proxy": "http://good.corp.example:3128", "HTTPS_PROXY": "http://other.corp.example:3128"}


@world("healthy-xet-same-proxy", cause="", needs="namespace", twin="xet-other-proxy")
def same_proxy(stage: Namespace) -> None:
    """Both forms name the proxy that works."""
    put_up(stage)
    two_proxies(stage, lambda host: page("Access denied by policy", status=403))
    stage.variables |= {"https_proxy": "http://good.corp.example:3128", "HTTPS_PROXY": "http://good.corp.example:3128"}


def two_proxies(stage: Namespace, refuses: Callable[[str], Reply]) -> None:
    """Nothing can be reached directly; one of two proxies lets out."""
    reaches = {name: (addresses[0], 443) for name, addresses in stage.zone.items()}
    stage.listen("good.corp.example", http_proxy(Policy(reaches=reaches)), port=3128)
    stage.listen("other.corp.example", http_proxy(Policy(reaches=reaches, refuses=refuses)), port=3128)
    for name in reaches:
        del stage.zone[name]
