"""What was tried about a request that failed, whatever its cause: the remedy whose effect was seen, and what is ruled out because it did not help."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from diagnostics.case import Case, Counterfactual, Fault, Handshake, Leg, Remedy
from diagnostics.causes.claims import again, leg_of, works
from diagnostics.causes.settings_common import set_variable

MOST = 6  # sentences about what did not help
# Question → what it would have meant had it worked. Questions that only describe the failure (says-nothing, whoami) are no way out and are not listed.
WAYS = {
    "direct": "going without the proxy",
    "without-token": "the request without the token",
    "without-xet": "the download without Xet storage (HF_HUB_DISABLE_XET=1)",
    "ipv4": "IPv4 alone",
    "other-address": "the address that another resolver gives",
    "port-443": "port 443 of the same host",
    "plain-same-port": "plain HTTP at the same port",
    "without-sni": "a handshake that does not name the host",
    "tls-1.2": "TLS 1.2 alone",
    "tls-proxy": "TLS with the proxy itself",
    "socks-proxy": "SOCKS in place of HTTP with the proxy",
}


def remedies(claims: Iterable[Fault], case: Case) -> list[Remedy]:
    """Leaving Xet out, where only the bytes' own way through Xet storage is cut and they come by plain HTTP."""
    legs = [(fault, leg_of(case, fault)) for fault in claims]
    if not legs or any(fault.journey != "xet" or leg is None for fault, leg in legs):
        return []
    if not any(works(leg, "without-xet") for _, leg in legs if leg):
        return []
    do = "Until then, leave Xet storage out: by plain HTTP, from the hub's other download host, the same file comes."
    return [Remedy(do=do, run=set_variable("HF_HUB_DISABLE_XET", "1"), check=again(case), proof="seen")]


def ruled_out(claims: Iterable[Fault], case: Case) -> tuple[str, ...]:
    """What was tried on the legs at fault and did not help either."""
    legs = dict.fromkeys(leg for fault in claims if fault.severity == "error" and (leg := leg_of(case, fault)))
    return tuple(dict.fromkeys(sentence for leg in legs for sentence in (*_ways(leg), *_stores(leg))))[:MOST]


def _ways(leg: Leg) -> Iterator[str]:
    for item in leg.counterfactuals:
        words = _words(item)
        if words and not item.works:
            yield f"{words} ({item.detail or 'no better'})"


def _words(item: Counterfactual) -> str:
    if item.question.startswith("proxy:"):
        return f"the proxy of {item.question.removeprefix('proxy:')}"
    if item.question.startswith("resolver:"):
        return f"the address that the resolver {item.question.removeprefix('resolver:')} gives"
    return WAYS.get(item.question, "")


def _stores(leg: Leg) -> Iterator[str]:
    if isinstance(leg.handshake, Handshake) and leg.handshake.outcome == "untrusted":
        for verdict in leg.handshake.verdicts:
            if not verdict.accepted and verdict.store != leg.handshake.store:
                yield f"the store “{verdict.store}”: it refuses the certificate of {leg.host} too"
