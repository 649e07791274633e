"""Look-alikes of the network, told apart on hand-made Cases: each shows the very same thing to a client's user."""

from __future__ import annotations

import dataclasses
import errno
from typing import Any

import pytest

from diagnostics.case import (
    Attempt,
    Body,
    Case,
    ConfiguredProxy,
    Environment,
    Header,
    Leg,
    Platform,
    ProxySetting,
    Published,
    Resolution,
    ResolverAnswer,
    Response,
    StoreVerdict,
    Target,
    Token,
    Unseen,
    Variable,
)
from diagnostics.diagnosis import diagnose, judge
from tests.unit.cases import (
    CDN,
    HUB,
    IPV4,
    IPV6,
    PROXY,
    answer,
    body,
    case,
    causes,
    certificate,
    connection,
    handshake,
    journey,
    leg,
    resolution,
    response,
    stopped_at,
    tunnel,
    unresolved,
)

LINUX = Platform(system="Linux", default_route=True)
TOKEN = Environment(platform=LINUX, token=Token(present=True, source="HF_TOKEN"))


def only(found: Leg, **changes: object) -> Case:
    return case(journey(found), **changes)  # type: ignore[arg-type]


def test_a_healthy_hub_has_no_diagnosis() -> None:
    """The twin of everything below."""
    assert causes(case(journey(leg()))) == []


NAMES = {
    "dns-server-unreachable": unresolved("EAI_AGAIN", {"error": "timed_out"}),
    "dns-server-failure": unresolved("EAI_AGAIN", {"rcode": "SERVFAIL"}),
    "dns-name-unknown": unresolved("EAI_NONAME", {"rcode": "NXDOMAIN"}),
    "dns-no-address": unresolved("EAI_NODATA", {"rcode": "NOERROR"}),
}


@pytest.mark.parametrize("cause", NAMES)
def test_names_that_do_not_resolve(cause: str) -> None:
    """“Name or service not known” and “temporary failure” come from several causes; the resolver's own answer decides."""
    assert causes(only(stopped_at("resolution", NAMES[cause]))) == [cause]


CUT_OFF = Environment(platform=Platform(system="Linux", default_route=False))
UNROUTED = dataclasses.replace(connection((IPV4, "unreachable")), attempts=(Attempt(address=IPV4, outcome="unreachable", errno=errno.ENETUNREACH),))
FORBIDDEN = dataclasses.replace(UNROUTED, attempts=(Attempt(address=IPV4, outcome="unreachable", errno=errno.EHOSTUNREACH),))


def test_no_way_to_any_resolver_and_no_default_route_is_a_machine_that_is_offline() -> None:
    """With a default route it is the resolver (a VPN's) that has no way; a resolver that answers shows a network, whatever route a host lacks."""
    unreachable = unresolved("EAI_AGAIN", {"error": "unreachable"})
    assert causes(only(stopped_at("resolution", unreachable), environment=CUT_OFF)) == ["network-offline"]
    assert causes(only(stopped_at("resolution", unreachable))) == ["dns-server-unreachable"]
    assert causes(only(stopped_at("connection", UNROUTED), environment=CUT_OFF)) == ["host-unreachable"]
    pinned = resolution(resolvers=(), hosts_file=(IPV4.ip,))
    assert causes(only(stopped_at("connection", UNROUTED, resolution=pinned), environment=CUT_OFF)) == ["network-offline"]
    assert causes(only(stopped_at("connection", FORBIDDEN, resolution=pinned), environment=CUT_OFF)) == ["host-unreachable"]


def test_a_stub_without_a_link_knows_nothing() -> None:
    """systemd-resolved answers SERVFAIL where every card is unplugged; the same answer with a link is the resolver's failure."""
    servfail = Resolution(host=HUB, error="EAI_AGAIN", resolvers=(ResolverAnswer(server="127.0.0.53", transport="udp", rcode="SERVFAIL"),))
    unplugged = Environment(platform=Platform(system="Linux", default_route=False, link_up=False))
    plugged = Environment(platform=Platform(system="Linux", default_route=False, link_up=True))
    assert causes(only(stopped_at("resolution", servfail), environment=unplugged)) == ["network-offline"]
    assert causes(only(stopped_at("resolution", servfail), environment=plugged)) == ["dns-server-failure"]


def test_a_name_under_invalid_does_not_exist_whatever_the_resolvers_do() -> None:
    """RFC 6761; the same silence about another name is the resolver's."""
    dead = unresolved("EAI_AGAIN", {"error": "timed_out"}, host="hub.invalid")
    assert causes(only(stopped_at("resolution", dead, "hub.invalid"))) == ["dns-name-unknown"]
    assert causes(only(stopped_at("resolution", dead, "hub.example"))) == ["dns-server-unreachable"]


def test_an_address_that_nobody_waits_for_is_no_alarm() -> None:
    """A dead IPv4 address behind an IPv6 one that answers; the other way round every connection waits."""
    assert causes(only(leg(connection=connection((IPV6, "connected"), (IPV4, "timed_out"))))) == []
    assert causes(only(leg(connection=connection((IPV6, "timed_out"), (IPV4, "connected"))))) == ["ipv6-broken"]
    other = dataclasses.replace(IPV4, ip="18.9.9.9")
    assert causes(only(leg(connection=connection((IPV4, "connected"), (other, "timed_out"))))) == ["connection-timed-out"]


def test_a_question_that_this_machine_does_not_let_out_is_no_missing_network() -> None:
    """A packet filter that drops UDP to port 53 gives EPERM to whoever sends."""
    udp, tcp = (ResolverAnswer(server="10.0.0.53", transport=transport, error=error) for transport, error in (("udp", "denied"), ("tcp", "timed_out")))
    found = Resolution(host=HUB, error="EAI_AGAIN", resolvers=(udp, tcp))
    assert causes(only(stopped_at("resolution", found), environment=CUT_OFF)) == ["dns-server-unreachable"]


def test_what_is_truncated_is_no_empty_answer() -> None:
    """UDP says that the answer is too long, TCP is dropped: the resolver cannot be heard; where both are whole and empty there is no address."""
    udp = ResolverAnswer(server="10.0.0.53", transport="udp", rcode="NOERROR", truncated=True)
    tcp = ResolverAnswer(server="10.0.0.53", transport="tcp", error="timed_out")
    assert causes(only(stopped_at("resolution", Resolution(host=HUB, error="EAI_AGAIN", resolvers=(udp, tcp))))) == ["dns-server-unreachable"]
    assert causes(only(stopped_at("resolution", unresolved("EAI_NODATA", {"rcode": "NOERROR"})))) == ["dns-no-address"]


def test_a_resolver_that_is_silent_about_one_name_answers_others() -> None:
    """It is a failure of that server for that name; one that answers nothing cannot be reached."""
    found = unresolved("EAI_AGAIN", {"error": "timed_out", "answers_others": True})
    assert causes(only(stopped_at("resolution", found))) == ["dns-server-failure"]


def test_nsswitch_without_dns_is_no_resolver() -> None:
    """The resolvers know the name and the system never asks them."""
    known = {"rcode": "NOERROR", "addresses": (IPV4.ip,)}
    found = dataclasses.replace(unresolved("EAI_NONAME", known), sources="files")
    assert causes(only(stopped_at("resolution", found))) == ["dns-not-configured"]


def test_many_hosts_that_fail_alike_are_one_diagnosis() -> None:
    """A firewall is one, however many hosts it shuts off."""
    for outcome, cause in (("timed_out", "connection-timed-out"), ("refused", "connection-refused")):
        legs = [stopped_at("connection", connection((IPV4, outcome)), f"host{number}.example") for number in range(16)]
        assert causes(case(*(journey(item, name=f"url-{number}") for number, item in enumerate(legs)))) == [cause]


def test_a_hosts_entry_is_a_lie_where_the_host_is_elsewhere() -> None:
    """Only if the host answers where the resolver points to; a pinned address that a firewall shuts off is no lie."""
    elsewhere = dataclasses.replace(IPV4, ip="18.9.9.9")
    pinned = resolution(addresses=(elsewhere,), hosts_file=(elsewhere.ip,))
    dropped = stopped_at("connection", connection((elsewhere, "timed_out")), resolution=pinned)
    assert causes(only(dataclasses.replace(dropped, counterfactuals=answer("other-address", True)))) == ["dns-wrong-address"]
    assert causes(only(dataclasses.replace(dropped, counterfactuals=answer("other-address", False)))) == ["connection-timed-out"]


def test_a_search_domain_is_meant_for_short_names() -> None:
    """A short name that a search domain completes is no lie, whatever is wrong there; a public name that one captures is."""
    refused = connection((IPV4, "refused"))
    nxdomain = ResolverAnswer(server="10.0.0.53", transport="udp", rcode="NXDOMAIN")
    for host, cause in (("hub", "connection-refused"), ("hub.svc", "connection-refused"), (HUB, "dns-wrong-address")):
        found = resolution(host, resolvers=(nxdomain,), search_domain="corp.example")
        assert causes(only(stopped_at("connection", refused, host, resolution=found))) == [cause]


def test_whoever_goes_by_a_public_name_on_this_machine_is_judged_by_his_certificate() -> None:
    """A mirror on loopback with an expired certificate is expired; one that shows another's name is a sinkhole."""
    here = dataclasses.replace(IPV4, ip="127.0.0.1")
    local = resolution(addresses=(here,), hosts_file=("127.0.0.1",), resolvers=())
    connected = connection((here, "connected"))
    assert causes(only(dataclasses.replace(untrusted(10), resolution=local, connection=connected))) == ["tls-certificate-expired"]
    assert causes(only(dataclasses.replace(untrusted(62), resolution=local, connection=connected))) == ["dns-wrong-address"]


def test_a_refusing_resolver_is_a_failure_and_a_refused_port_is_an_unreachable_one() -> None:
    """REFUSED is an answer, a refused port is none."""
    assert causes(only(stopped_at("resolution", unresolved("EAI_AGAIN", {"rcode": "REFUSED"})))) == ["dns-server-failure"]
    assert causes(only(stopped_at("resolution", unresolved("EAI_AGAIN", {"error": "refused"})))) == ["dns-server-unreachable"]


def test_no_resolver_at_all_is_its_own_cause() -> None:
    """An empty resolv.conf is not a resolver that does not answer."""
    found = dataclasses.replace(only(stopped_at("resolution", unresolved("EAI_AGAIN"))), resolvers=())
    assert causes(found) == ["dns-not-configured"]


def test_a_dead_resolver_is_one_diagnosis_for_nine_hosts() -> None:
    """Each host fails; the root is one."""
    legs = [stopped_at("resolution", NAMES["dns-server-unreachable"], f"host{number}.example") for number in range(9)]
    found = case(*(journey(item, name=f"url-{number}") for number, item in enumerate(legs)))
    assert causes(found) == ["dns-server-unreachable"]


def test_a_sinkhole_is_the_root_of_the_refused_connection() -> None:
    """0.0.0.0 looks like “connection refused”."""
    nowhere = dataclasses.replace(IPV4, ip="0.0.0.0")
    found = only(stopped_at("connection", connection((nowhere, "refused")), resolution=resolution(addresses=(nowhere,))))
    assert causes(found) == ["dns-wrong-address"]


def test_a_public_name_on_loopback_that_answers_is_no_alarm() -> None:
    """A namespace, a tunnel or a mirror on this machine may be meant."""
    here = dataclasses.replace(IPV4, ip="127.0.0.1")
    assert causes(only(leg(resolution=resolution(addresses=(here,), hosts_file=("127.0.0.1",))))) == []


def test_a_budget_that_went_into_slow_names_is_the_names_fault() -> None:
    """survey-timed-out is for what nothing better explains."""
    slow = leg(resolution=resolution(seconds=14.0))
    cut = stopped_at("resolution", Unseen("timed_out", f"the address of {CDN}"), CDN)
    assert causes(case(journey(slow, cut))) == ["dns-slow"]
    assert causes(case(journey(leg(), cut))) == ["survey-timed-out"]


def test_slow_names_warn_and_do_not_fail() -> None:
    """dns-slow is a warning."""
    judged = judge(only(leg(resolution=resolution(seconds=5.1))))
    assert [(item.cause, item.severity) for item in judged.diagnoses] == [("dns-slow", "warning")]
    assert judged.verdict == "degraded"


CONNECTIONS = {"connection-refused": "refused", "connection-timed-out": "timed_out", "host-unreachable": "unreachable", "connection-reset": "reset"}


@pytest.mark.parametrize("cause", CONNECTIONS)
def test_connections_that_fail(cause: str) -> None:
    """Each errno has its cause (a host of several, so that the machine is not offline)."""
    found = case(journey(stopped_at("connection", connection((IPV4, CONNECTIONS[cause])))), journey(leg("other.example"), name="url-1"))
    assert causes(found) == [cause]


def test_ipv6_that_hangs_is_a_warning_where_the_client_has_a_time_out() -> None:
    """hub 2 waits ten seconds a connection, urllib for ever."""
    dead = leg(resolution=resolution(addresses=(IPV6, IPV4)), connection=connection((IPV6, "timed_out"), (IPV4, "connected")))
    assert [(item.cause, item.severity) for item in judge(only(dead)).diagnoses] == [("ipv6-broken", "warning")]
    urllib = Target(
        spec="https://x.example/a.pth", kind="url", urls=("https://x.example/a.pth",), client=dataclasses.replace(case().target.client, family="urllib")
    )  # type: ignore[type-var]
    assert [(item.cause, item.severity) for item in judge(only(dead, target=urllib)).diagnoses] == [("ipv6-broken", "error")]


def test_ipv6_that_is_not_routed_at_all_is_no_alarm() -> None:
    """The client goes on at once."""
    assert causes(only(leg(connection=connection((IPV6, "unreachable"), (IPV4, "connected"))))) == []


REDIRECTED = leg(response=response(302, location=f"https://{CDN}/x"), body=Unseen("not_asked"))
BLOCKED = {
    "names": stopped_at("resolution", unresolved("EAI_NONAME", {"rcode": "NXDOMAIN"}), CDN),
    "connection": stopped_at("connection", connection((IPV4, "timed_out")), CDN),
    "tls": stopped_at("handshake", handshake(outcome="reset"), CDN, counterfactuals=answer("says-nothing", True)),
}


@pytest.mark.parametrize("step", BLOCKED)
def test_only_the_download_host_is_blocked(step: str) -> None:
    """The hub works, the host of the bytes does not."""
    assert causes(case(journey(REDIRECTED, BLOCKED[step], name="largest-file"))) == ["download-host-blocked"]


def test_a_download_host_with_a_cause_of_its_own_keeps_it() -> None:
    """An expired certificate at the CDN is not a blocked host."""
    expired = stopped_at("handshake", handshake(outcome="untrusted", code=10, chain=(certificate(),)), CDN)
    assert causes(case(journey(REDIRECTED, expired, name="largest-file"))) == ["tls-certificate-expired"]


def test_a_proxy_that_only_pip_knows_is_required() -> None:
    """Direct requests die, nothing is exported, pip.conf names a proxy through which the host answers."""
    dead = stopped_at("connection", connection((IPV4, "timed_out")), counterfactuals=answer("proxy:pip.conf", True))
    named = Environment(platform=LINUX, configured_proxies=(ConfiguredProxy(source="pip.conf", value="http://proxy.corp.example:3128"),))
    assert causes(only(dead, environment=named)) == ["proxy-required"]
    assert causes(only(dataclasses.replace(dead, counterfactuals=answer("proxy:pip.conf", False)), environment=named)) == ["connection-timed-out"]


def test_no_proxy_that_sends_a_host_into_the_wall_is_the_root() -> None:
    """The time-out is the symptom, the NO_PROXY entry the cause."""
    around = dataclasses.replace(PROXY, kind="direct", bypassed_by=".co")
    dead = stopped_at("connection", connection((IPV4, "timed_out")), route=around, counterfactuals=answer("proxy:HTTPS_PROXY", True))
    setting = ProxySetting(variable="HTTPS_PROXY", value=PROXY.proxy, scheme="http", host=PROXY.host, port=PROXY.port)
    surroundings = Environment(platform=LINUX, proxies=(setting,), no_proxy=(Variable(name="NO_PROXY", value="localhost,.co"),))
    judged = judge(only(dead, environment=surroundings))
    assert [item.cause for item in judged.diagnoses] == ["proxy-bypassed"]
    assert judged.diagnoses[0].remedies[0].run == "export NO_PROXY=localhost"
    assert judged.diagnoses[0].remedies[0].proof == "seen"


def by_proxy(found: object, step: str = "tunnel", **changes: object) -> Case:
    behind = {} if step == "resolution" else {"resolution": resolution(PROXY.host)}
    return only(stopped_at(step, found, route=PROXY, **behind, **changes))


PROXIES = {
    "proxy-auth-required": tunnel("refused", status=407, schemes=("Basic",)),
    "proxy-denied": tunnel("refused", status=403, title="Access denied"),
    "proxy-upstream-failed": tunnel("refused", status=502),
    "proxy-not-a-proxy": tunnel("not_http", first_bytes="SSH-2.0-OpenSSH"),
    "proxy-unreachable": tunnel("silent"),
}


@pytest.mark.parametrize("cause", PROXIES)
def test_answers_of_a_proxy(cause: str) -> None:
    """What comes back from CONNECT decides."""
    assert causes(by_proxy(PROXIES[cause])) == [cause]


def test_a_web_server_is_no_proxy_but_a_proxy_may_say_404() -> None:
    """A 405 with nothing of a proxy's headers is a web server's; with a Via it is a policy."""
    assert causes(by_proxy(tunnel("refused", status=405))) == ["proxy-not-a-proxy"]
    assert causes(by_proxy(tunnel("refused", status=405, headers=(Header(name="via", value="1.1 squid"),)))) == ["proxy-denied"]


def test_silence_after_connect_belongs_to_the_proxy_or_to_what_lies_behind() -> None:
    """A proxy that answers for itself could not reach the host."""
    assert causes(by_proxy(tunnel("silent"), counterfactuals=answer("proxy-alive", True))) == ["proxy-upstream-failed"]
    assert causes(by_proxy(tunnel("silent"), counterfactuals=answer("proxy-alive", False))) == ["proxy-unreachable"]


def test_a_plain_proxy_behind_an_https_url() -> None:
    """https:// in front of a plain proxy."""
    judged = judge(by_proxy(tunnel("tls_failed", protocol="https"), counterfactuals=answer("plain-proxy", True)))
    assert [item.cause for item in judged.diagnoses] == ["proxy-scheme-wrong"]


def test_the_proxys_own_name_and_port() -> None:
    """The hub's name is not asked for behind a proxy; the proxy's is."""
    assert causes(by_proxy(unresolved("EAI_NONAME", {"rcode": "NXDOMAIN"}, host=PROXY.host), "resolution")) == ["proxy-name-unknown"]
    assert causes(by_proxy(connection((IPV4, "refused"), port=3128), "connection")) == ["proxy-unreachable"]


def untrusted(code: int = 20, *verdicts: StoreVerdict, chain: tuple[object, ...] = (), host: str = "huggingface.co", **changes: object) -> Leg:
    seen = handshake(outcome="untrusted", code=code, message="x", chain=chain or (certificate("Initech"),), verdicts=verdicts, **changes)
    return stopped_at("handshake", seen, host)


def test_an_unknown_root_is_an_interception_where_the_host_is_public() -> None:
    """huggingface.co is signed by no private authority."""
    assert causes(only(untrusted())) == ["tls-intercepted"]


def test_an_unknown_root_of_a_private_host_alone_is_an_unknown_issuer() -> None:
    """A company's own mirror may have a company's certificate."""
    assert causes(only(untrusted(host="hub.corp.example"))) == ["tls-issuer-unknown"]


def test_the_same_unknown_root_for_unrelated_hosts_is_an_interception() -> None:
    """One private authority for two domains."""
    found = case(journey(untrusted(host="hub.one.example")), journey(untrusted(host="files.two.test"), name="url-1"))
    assert causes(found) == ["tls-intercepted"]


def test_an_inspection_product_is_recognised_for_any_host() -> None:
    """Its name is in the issuer."""
    assert causes(only(untrusted(chain=(certificate("Zscaler"),), host="hub.corp.example"))) == ["tls-intercepted"]


def test_a_missing_intermediate_of_a_public_authority_is_an_incomplete_chain() -> None:
    """Same text, same code as an unknown root."""
    assert causes(only(untrusted(chain=(certificate("DigiCert Inc"),)))) == ["tls-chain-incomplete"]
    fetched = StoreVerdict(store="fetched intermediate", accepted=True)
    assert causes(only(untrusted(20, fetched, host="hub.corp.example"))) == ["tls-chain-incomplete"]


def test_an_empty_store_is_outdated_where_another_accepts() -> None:
    """A slim image has certifi and no ca-certificates."""
    certifi = StoreVerdict(store="certifi", path="/c.pem", accepted=True)
    assert causes(only(untrusted(20, certifi, roots=0))) == ["ca-store-outdated"]


def test_dates_names_and_keys() -> None:
    """verify_code decides."""
    assert causes(only(untrusted(10, skew_seconds=1.0))) == ["tls-certificate-expired"]
    assert causes(only(untrusted(9, skew_seconds=1.0))) == ["tls-not-yet-valid"]
    assert causes(only(untrusted(62))) == ["tls-name-mismatch"]
    assert causes(only(untrusted(66))) == ["tls-key-too-weak"]
    assert causes(only(untrusted(18, host="hub.corp.example"))) == ["tls-self-signed"]


def test_a_certificate_that_only_this_clock_finds_expired_is_the_clocks_fault() -> None:
    """The server's Date says that it is valid."""
    skewed = untrusted(10, skew_seconds=2.0e8, date="Sun, 01 Feb 2026 00:00:00 GMT")
    judged = judge(only(skewed))
    assert [(item.cause, item.severity) for item in judged.diagnoses] == [("clock-wrong", "error")]


def test_one_server_with_a_wrong_clock_is_no_alarm_two_that_agree_are() -> None:
    """Any one server may be wrong."""
    skewed = leg(response=response(skew_seconds=7200.0))
    assert causes(only(skewed)) == []
    other = leg("cdn.example", response=response(skew_seconds=7201.0))
    assert causes(case(journey(skewed), journey(other, name="url-1"))) == ["clock-wrong"]


def test_strictness_is_told_from_an_unknown_root() -> None:
    """It holds without the strict flag."""
    assert causes(only(untrusted(89, StoreVerdict(store="SSL_CERT_FILE, not strict", accepted=True)))) == ["tls-root-not-strict"]


def test_cuts_before_and_after_the_first_message() -> None:
    """Cut unasked: by address; cut after the hello: by name."""
    assert causes(only(stopped_at("handshake", handshake(outcome="reset"), counterfactuals=answer("says-nothing", False)))) == ["connection-reset"]
    assert causes(only(stopped_at("handshake", handshake(outcome="reset"), counterfactuals=answer("says-nothing", True)))) == ["tls-handshake-cut"]


def test_handshakes_that_end_in_alerts() -> None:
    """The alert's number and what the server asked for."""
    assert causes(only(stopped_at("handshake", handshake(outcome="alert", alert="protocol_version", alert_sent_by="server")))) == ["tls-version-unsupported"]
    assert causes(only(stopped_at("handshake", handshake(outcome="alert", alert="handshake_failure", certificate_requested=True)))) == [
        "tls-client-certificate-required"
    ]
    assert causes(only(stopped_at("handshake", handshake(outcome="not_tls", first_bytes="HTTP/1.1 400")))) == ["tls-not-tls"]


def answered(status: int, *headers: Header, path: str = "/api/models/org/name/revision/main", **changes: object) -> Leg:
    return leg(path=path, response=response(status, *headers), body=Unseen("not_asked"), **changes)


HUB_SAYS = Header(name="x-request-id", value="Root=1")


def code(value: str) -> Header:
    return Header(name="x-error-code", value=value)


STATUSES = {
    "http-gated": answered(401, code("GatedRepo")),
    "http-repository-missing": answered(401, HUB_SAYS),
    "http-revision-missing": answered(404, code("RevisionNotFound")),
    "http-file-missing": answered(404, code("EntryNotFound"), path="/org/name/resolve/main/x.bin"),
    "http-rate-limited": answered(429, Header(name="retry-after", value="7")),
    "http-server-error": answered(503, HUB_SAYS),
    "http-forbidden": answered(403, HUB_SAYS),
    "http-blocked-by-filter": answered(403),
    "http-legally-blocked": answered(451, HUB_SAYS),
    "http-request-rejected": answered(400, HUB_SAYS),
    "http-captive-portal": answered(511),
    "http-redirect-loop": answered(302, HUB_SAYS),
}


@pytest.mark.parametrize("cause", STATUSES)
def test_statuses_and_who_says_them(cause: str) -> None:
    """The status alone tells little, the headers tell who spoke."""
    assert causes(only(STATUSES[cause])) == [cause]


def test_a_451_without_the_origins_headers_is_a_filters() -> None:
    """causes.md: 451 with the origin's own headers is the law, without them a filter."""
    assert causes(only(answered(451))) == ["http-blocked-by-filter"]


def test_a_token_that_is_rejected_where_none_is_needed() -> None:
    """The same request without it works."""
    rejected = answered(401, HUB_SAYS, token_sent=True, counterfactuals=answer("without-token", True))
    judged = judge(only(rejected, environment=TOKEN))
    assert [item.cause for item in judged.diagnoses] == ["http-token-rejected"]
    assert judged.diagnoses[0].remedies[0].run == "unset HF_TOKEN"
    unknown = answered(401, HUB_SAYS, token_sent=True, counterfactuals=answer("without-token", False, "401"))
    assert causes(only(unknown, environment=TOKEN)) == ["http-repository-missing"]


def test_a_valid_token_without_the_right() -> None:
    """whoami works, the hub itself says 403."""
    narrow = answered(403, HUB_SAYS, token_sent=True, counterfactuals=answer("whoami", True))
    assert causes(only(narrow, environment=TOKEN)) == ["http-token-scope"]
    gated = answered(403, code("GatedRepo"), token_sent=True, counterfactuals=answer("whoami", True))
    assert causes(only(gated, environment=TOKEN)) == ["http-gated"]


def test_a_url_that_wants_credentials_is_no_missing_repository() -> None:
    """401 of a plain host."""
    url = Target(spec="https://files.example/a.bin", kind="url", urls=("https://files.example/a.bin",))
    wants = leg("files.example", "/a.bin", response=response(401, Header(name="www-authenticate", value='Basic realm="x"')), body=Unseen("not_asked"))
    assert causes(case(journey(wants, name="url-1"), target=url)) == ["http-authentication-required"]


def test_a_page_where_a_file_is_due() -> None:
    """A filter's where it says so, somebody's page otherwise."""
    url = Target(spec="https://files.example/a.bin", kind="url", urls=("https://files.example/a.bin",))
    page = leg("files.example", "/a.bin", response=response(200, Header(name="content-type", value="text/html")), body=body(content="html", title="Sign in"))
    assert causes(case(journey(page, name="url-1"), target=url)) == ["http-html-instead-of-file"]
    blocked = leg(
        "files.example",
        "/a.bin",
        response=response(200, Header(name="server", value="FortiGuard")),
        body=body(content="html", title="FortiGuard Intrusion Prevention - Access Blocked"),
    )
    assert causes(case(journey(blocked, name="url-1"), target=url)) == ["http-blocked-by-filter"]


def test_a_head_that_is_blocked_while_get_works() -> None:
    """The hub's client never tries GET."""
    refused = leg(path="/org/name/resolve/main/config.json", method="HEAD", response=response(405, HUB_SAYS, method="HEAD"), body=Unseen("not_asked"))
    found = journey(refused, name="small-file", method_fallback=answer("get", True)[0])
    assert causes(case(journey(leg()), found)) == ["http-method-blocked"]


def test_a_mirror_without_the_headers_of_the_hub() -> None:
    """No X-Repo-Commit, no download."""
    bare = leg(
        path="/org/name/resolve/main/config.json",
        method="HEAD",
        response=response(200, Header(name="etag", value="x"), method="HEAD"),
        body=Unseen("not_asked"),
    )
    assert causes(case(journey(leg()), journey(bare, name="small-file"))) == ["http-metadata-missing"]


def unanswered(outcome: str, **changes: object) -> Response:
    return dataclasses.replace(Response(method="GET", outcome=outcome), **changes)  # type: ignore[arg-type]


def test_silence_and_nonsense() -> None:
    """No answer, and no HTTP."""
    assert causes(only(stopped_at("response", unanswered("silent")))) == ["http-no-response"]
    assert causes(only(stopped_at("response", unanswered("invalid", message="SSH-2.0")))) == ["http-invalid-response"]


BODIES: dict[str, Body] = {
    "download-truncated": body(outcome="truncated", bytes=4, content="binary"),
    "download-stalled": body(outcome="stalled", bytes=4, stalled_seconds=8.0, content="binary"),
    "http-range-unsupported": body(expected=1 << 30, ranges="ignored", outcome="sampled", content="binary"),
    "http-invalid-response": body(outcome="invalid", bytes=4, content="binary", message="IncompleteRead"),
}


@pytest.mark.parametrize("cause", BODIES)
def test_bodies(cause: str) -> None:
    """What happens to the bytes."""
    assert causes(case(journey(leg()), journey(leg(path="/org/name/resolve/main/m.bin", body=BODIES[cause]), name="largest-file"))) == [cause]


def test_wrong_bytes_of_the_right_size() -> None:
    """No client of the hub looks."""
    published = Published(path="m.bin", algorithm="sha256", value="a" * 64, source="hub listing")
    served = leg(path="/org/name/resolve/main/m.bin", body=body(content="binary", sha256="b" * 64))
    assert causes(case(journey(leg()), journey(served, name="largest-file", path="m.bin", published=published))) == ["remote-checksum-mismatch"]
    genuine = leg(path="/org/name/resolve/main/m.bin", body=body(content="binary", sha256="a" * 64))
    assert causes(case(journey(leg()), journey(genuine, name="largest-file", path="m.bin", published=published))) == []


def test_a_survey_that_ran_out_of_time_says_what_it_waited_for() -> None:
    """Only where nothing better explains it."""
    cut = stopped_at("response", Unseen("timed_out", "an answer to GET from huggingface.co"))
    judged = judge(only(cut))
    assert [item.cause for item in judged.diagnoses] == ["survey-timed-out"]
    assert "an answer to GET from huggingface.co" in judged.diagnoses[0].title


def test_what_lies_behind_a_fault_is_blocked_and_names_the_root() -> None:
    """Nothing cascades."""
    judged = judge(only(stopped_at("connection", connection((IPV4, "refused")))))
    outcomes = {result.check: (result.outcome, result.blocked_by) for result in judged.results}
    assert outcomes["connection/hosts-accept-connections"] == ("failed", Unseen("absent"))
    assert outcomes["tls/certificates-are-trusted"] == ("blocked", "connection-refused")
    assert outcomes["http/requests-are-granted"] == ("blocked", "connection-refused")


# --- what a strange proxy turns out to be ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "question", "expected", "line"),
    [
        ("https", "plain-proxy", "proxy-scheme-wrong", "export HTTPS_PROXY=http://proxy.corp.example:3128"),
        ("http", "tls-proxy", "proxy-scheme-wrong", "export HTTPS_PROXY=https://proxy.corp.example:3128"),
        ("http", "socks-proxy", "proxy-not-a-proxy", "export HTTPS_PROXY=socks5h://proxy.corp.example:3128"),
    ],
)
def test_a_proxy_spoken_to_in_the_wrong_way(scheme: str, question: str, expected: str, line: str) -> None:
    """What it answers to once it is spoken to otherwise is the remedy; where it answers to nothing, it is no proxy."""
    setting = ProxySetting(variable="HTTPS_PROXY", value=f"{scheme}://proxy.corp.example:3128", scheme=scheme, host="proxy.corp.example", port=3128)
    route = dataclasses.replace(PROXY, scheme=scheme, proxy=setting.value)
    surroundings = Environment(proxies=(setting,), platform=Platform(system="Linux", default_route=True))
    shut = stopped_at("tunnel", tunnel("tls_failed" if scheme == "https" else "closed"), route=route, counterfactuals=answer(question, True, "200 OK"))
    found = case(journey(shut), environment=surroundings)
    assert causes(found) == [expected]
    remedy = diagnose(found)[0].remedies[0]
    assert (remedy.run, remedy.proof) == (line, "seen")
    assert causes(case(journey(dataclasses.replace(shut, counterfactuals=answer(question, False))), environment=surroundings)) == ["proxy-not-a-proxy"]


@pytest.mark.parametrize(("status", "expected"), [(403, "proxy-denied"), (503, "proxy-upstream-failed"), (407, "proxy-auth-required")])
def test_a_plain_request_that_the_proxy_itself_refuses(status: int, expected: str) -> None:
    """By its own fields, or because the host grants the same request directly; without either it is the host's word."""
    plain: dict[str, Any] = {"scheme": "http", "port": 80, "url": "http://hub.corp.example/x", "route": dataclasses.replace(PROXY, variable="HTTP_PROXY")}
    squid = Header(name="x-squid-error", value="ERR_ACCESS_DENIED 0")
    marked = stopped_at("response", response(status, squid), "hub.corp.example", **plain)
    assert causes(case(journey(marked))) == [expected]
    elsewhere = stopped_at("response", response(status), "hub.corp.example", counterfactuals=answer("direct", True, "200"), **plain)
    found = case(journey(elsewhere))
    assert causes(found) == [expected]
    assert diagnose(found)[0].remedies[0].run == "export NO_PROXY=hub.corp.example"
    if status != 407:
        assert expected not in causes(case(journey(stopped_at("response", response(status), "hub.corp.example", **plain))))
