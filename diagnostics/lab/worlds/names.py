"""Names that do not resolve, resolve to lies, or resolve late; and the odd ways of resolving that are none of these."""

from __future__ import annotations

from diagnostics.lab import dns, tcp
from diagnostics.lab import hub as hubs
from diagnostics.lab.http import file, page
from diagnostics.lab.stage import CDN, HUB, RESOLVER, Namespace
from diagnostics.lab.worlds import world
from diagnostics.lab.worlds.healthy import fill_cache, put_up_hub

SECOND = "192.0.2.54"
NOWHERE = "203.0.113.53"  # RFC 5737: no interface and no route of the stage leads there
NETWORK_SETTINGS = "options timeout:1 attempts:1\n"


def answering(stage: Namespace, faults: dict[str, dns.Fault]) -> None:
    """The stage's one resolver, with these faults."""
    stage.resolvers[RESOLVER].faults.update(faults)


def weights_by_url(stage: Namespace, *hosts: str) -> None:
    """A file from each of ``hosts``, as one URL or a list of them."""
    weights = hubs.tiny().file("model.safetensors")
    assert weights is not None
    bases = [stage.web(host, lambda request: file(weights.data, weights.sha256)) for host in hosts]
    if len(bases) == 1:
        stage.spec = f"{bases[0]}/model.safetensors"
        return
    lines = (f'[[files]]\npath = "part-{number}.bin"\nurl = "{base}/part-{number}.bin"\n' for number, base in enumerate(bases))
    (stage.work / "list.toml").write_text("\n".join(lines))
    stage.spec = str(stage.work / "list.toml")


# --- network-offline ----------------------------------------------------------------------------------------------------------


@world("network-offline", needs="namespace", twin="healthy-internet")
def network_offline(stage: Namespace) -> None:
    """No route to anything, the resolver included: a container with --network none."""
    stage.spec = hubs.NAME
    stage.resolv_conf(f"nameserver {NOWHERE}\n")


@world("network-offline-cached", needs="namespace", cause="network-offline", twin="healthy-internet")
def network_offline_cached(stage: Namespace) -> None:
    """No route to anything, and the whole model in the cache: the remedy is to say so."""
    network_offline(stage)
    fill_cache(stage, hubs.tiny())


@world("network-offline-list", needs="namespace", cause="network-offline", twin="healthy-internet")
def network_offline_list(stage: Namespace) -> None:
    """No route to any of sixteen hosts: one diagnosis."""
    weights_by_url(stage, *(f"files{number}.example" for number in range(16)))
    stage.resolv_conf(f"nameserver {NOWHERE}\nnameserver 203.0.113.54\nnameserver 203.0.113.55\n")


@world("network-offline-pinned", needs="namespace", cause="network-offline", twin="healthy-internet")
def network_offline_pinned(stage: Namespace) -> None:
    """The hosts file knows where the hub is, and there is no route there nor to a resolver."""
    stage.spec = hubs.NAME
    stage.hosts_entry(f"203.0.113.7 {HUB}")
    stage.resolv_conf(f"nameserver {NOWHERE}\n")


@world("network-offline-unplugged", needs="namespace", cause="network-offline", twin="healthy-internet")
def network_offline_unplugged(stage: Namespace) -> None:
    """A laptop without a link: its own stub resolver (systemd-resolved) answers SERVFAIL to everything."""
    stage.spec = hubs.NAME
    stage.unplugged_card()
    stage.resolver("127.0.0.53", {dns.EVERY_NAME: dns.SERVFAIL})
    stage.resolv_conf("nameserver 127.0.0.53\noptions edns0 trust-ad\n")


@world("network-offline-nothing", needs="namespace", cause="network-offline", twin="healthy-nothing")
def network_offline_nothing(stage: Namespace) -> None:
    """No target, no network."""
    network_offline(stage)
    stage.spec = ""


# --- resolvers ----------------------------------------------------------------------------------------------------------------


@world("dns-not-configured", needs="namespace", twin="healthy-no-resolver-named")
def dns_not_configured(stage: Namespace) -> None:
    """resolv.conf names no resolver, and none runs on this machine."""
    put_up_hub(stage)
    stage.resolv_conf("# written by nobody\nsearch corp.example\n")


@world("healthy-no-resolver-named", cause="", needs="namespace")
def healthy_no_resolver_named(stage: Namespace) -> None:
    """resolv.conf is empty and a resolver runs on this machine: the C library asks 127.0.0.1 (resolv.conf(5))."""
    put_up_hub(stage)
    stage.resolver("127.0.0.1")
    stage.resolv_conf("")


@world("dns-server-unreachable", needs="namespace", twin="healthy-internet")
def dns_server_unreachable(stage: Namespace) -> None:
    """The resolver's packets vanish."""
    put_up_hub(stage)
    stage.firewall(f"ip daddr {RESOLVER} drop")


@world("dns-server-unreachable-refused", needs="namespace", cause="dns-server-unreachable", twin="healthy-internet")
def dns_server_unreachable_refused(stage: Namespace) -> None:
    """resolv.conf points to this machine, where no resolver runs (the local stub was stopped)."""
    put_up_hub(stage)
    stage.resolv_conf("nameserver 127.0.0.53\n")


@world("dns-server-unreachable-silent", needs="namespace", cause="dns-server-unreachable", twin="healthy-internet")
def dns_server_unreachable_silent(stage: Namespace) -> None:
    """Three resolvers, all silent, with the C library's own patience of 5 s each."""
    put_up_hub(stage)
    for address in (SECOND, "192.0.2.55"):
        stage.resolver(address, {dns.EVERY_NAME: dns.SILENT})
    answering(stage, {dns.EVERY_NAME: dns.SILENT})
    stage.resolv_conf(f"nameserver {RESOLVER}\nnameserver {SECOND}\nnameserver 192.0.2.55\n")


@world("dns-server-unreachable-list", needs="namespace", cause="dns-server-unreachable", twin="healthy-internet")
def dns_server_unreachable_list(stage: Namespace) -> None:
    """A silent resolver and a list with sixteen hosts: one diagnosis, in the time of one."""
    weights_by_url(stage, *(f"files{number}.example" for number in range(16)))
    answering(stage, {dns.EVERY_NAME: dns.SILENT})
    stage.resolv_conf(f"nameserver {RESOLVER}\n")


@world("dns-server-unreachable-cached", needs="namespace", cause="dns-server-unreachable", twin="healthy-internet")
def dns_server_unreachable_cached(stage: Namespace) -> None:
    """A dead resolver, and the whole model in the cache."""
    dns_server_unreachable(stage)
    fill_cache(stage, hubs.tiny())


@world("dns-server-unreachable-over-udp", needs="namespace", cause="dns-server-unreachable", twin="healthy-internet")
def dns_server_unreachable_over_udp(stage: Namespace) -> None:
    """A firewall that drops UDP to port 53; over TCP the resolver answers, and the C library does not ask there."""
    put_up_hub(stage)
    stage.firewall("udp dport 53 drop")


@world("dns-server-unreachable-over-tcp", needs="namespace", cause="dns-server-unreachable", twin="healthy-dns-over-tcp")
def dns_server_unreachable_over_tcp(stage: Namespace) -> None:
    """The answer is too long for UDP (TC), and a firewall drops TCP to port 53."""
    put_up_hub(stage)
    answering(stage, {HUB: dns.Fault(truncated=True)})
    stage.firewall("tcp dport 53 drop")


@world("healthy-dns-over-tcp", cause="", needs="namespace")
def healthy_dns_over_tcp(stage: Namespace) -> None:
    """Every answer is too long for UDP and comes over TCP."""
    put_up_hub(stage)
    answering(stage, {dns.EVERY_NAME: dns.Fault(truncated=True)})


@world("healthy-resolver-dead", cause="", needs="namespace")
def healthy_resolver_dead(stage: Namespace) -> None:
    """The first of two resolvers refuses the port; the second answers at once."""
    put_up_hub(stage)
    stage.resolv_conf(f"nameserver 127.0.0.53\nnameserver {RESOLVER}\n")


@world("healthy-resolver-silent", cause="", needs="namespace")
def healthy_resolver_silent(stage: Namespace) -> None:
    """The first of two resolvers is silent and the second is asked after one second."""
    put_up_hub(stage)
    stage.resolver(SECOND, {dns.EVERY_NAME: dns.SILENT})
    stage.resolv_conf(f"nameserver {SECOND}\nnameserver {RESOLVER}\n{NETWORK_SETTINGS}")


@world("healthy-resolver-servfail", cause="", needs="namespace")
def healthy_resolver_servfail(stage: Namespace) -> None:
    """The first of two resolvers answers SERVFAIL; the C library goes on to the second."""
    put_up_hub(stage)
    stage.resolver(SECOND, {dns.EVERY_NAME: dns.SERVFAIL})
    stage.resolv_conf(f"nameserver {SECOND}\nnameserver {RESOLVER}\n")


@world("healthy-resolver-ipv6", cause="", needs="namespace")
def healthy_resolver_ipv6(stage: Namespace) -> None:
    """A resolver at an IPv6 address, in front of one that is not there."""
    put_up_hub(stage)
    stage.resolver("2001:db8::53")
    stage.resolv_conf("nameserver 2001:db8::53\n")


# --- answers ------------------------------------------------------------------------------------------------------------------


@world("dns-server-failure", needs="namespace", twin="healthy-internet")
def dns_server_failure(stage: Namespace) -> None:
    """The resolver answers SERVFAIL about the hub."""
    put_up_hub(stage)
    answering(stage, {HUB: dns.SERVFAIL})


@world("dns-server-failure-dnssec", needs="namespace", cause="dns-server-failure", twin="healthy-internet")
def dns_server_failure_dnssec(stage: Namespace) -> None:
    """The hub's DNSSEC signatures do not hold: SERVFAIL with the extended error 6, and an answer with checking disabled."""
    put_up_hub(stage)
    answering(stage, {HUB: dns.BOGUS})


@world("dns-server-failure-refused", needs="namespace", cause="dns-server-failure", twin="healthy-internet")
def dns_server_failure_refused(stage: Namespace) -> None:
    """The resolver is not for this network: REFUSED for every name."""
    put_up_hub(stage)
    answering(stage, {dns.EVERY_NAME: dns.Fault(rcode="REFUSED", extended=(18, "not for you"))})


@world("dns-server-failure-both", needs="namespace", cause="dns-server-failure", twin="healthy-internet")
def dns_server_failure_both(stage: Namespace) -> None:
    """The first resolver is silent, the second answers SERVFAIL."""
    put_up_hub(stage)
    stage.resolver(SECOND, {dns.EVERY_NAME: dns.SERVFAIL})
    answering(stage, {dns.EVERY_NAME: dns.SILENT})
    stage.resolv_conf(f"nameserver {RESOLVER}\nnameserver {SECOND}\n{NETWORK_SETTINGS}")


@world("dns-server-failure-silent", needs="namespace", cause="dns-server-failure", twin="healthy-internet")
def dns_server_failure_silent(stage: Namespace) -> None:
    """The resolver answers about everything but this name, of which it says nothing."""
    put_up_hub(stage)
    answering(stage, {HUB: dns.SILENT})


@world("dns-server-failure-list", needs="namespace", cause="dns-server-failure", twin="healthy-internet")
def dns_server_failure_list(stage: Namespace) -> None:
    """SERVFAIL for every one of sixteen hosts: one diagnosis."""
    weights_by_url(stage, *(f"files{number}.example" for number in range(16)))
    answering(stage, {dns.EVERY_NAME: dns.SERVFAIL})


@world("dns-name-unknown", needs="namespace", twin="healthy-internet")
def dns_name_unknown(stage: Namespace) -> None:
    """HF_ENDPOINT with a letter too few: NXDOMAIN."""
    put_up_hub(stage)
    stage.variables["HF_ENDPOINT"] = "https://hugingface.co"


@world("dns-name-unknown-blocked", needs="namespace", cause="dns-name-unknown", twin="healthy-internet")
def dns_name_unknown_blocked(stage: Namespace) -> None:
    """A resolver that hides the hub: NXDOMAIN, and it says that it blocks (extended error 15)."""
    put_up_hub(stage)
    answering(stage, {HUB: dns.Fault(rcode="NXDOMAIN", extended=(15, "policy: AI tools"))})


@world("dns-name-unknown-first", needs="namespace", cause="dns-name-unknown", twin="healthy-internet")
def dns_name_unknown_first(stage: Namespace) -> None:
    """The first resolver knows only the company's names; the second would know the hub and is never asked."""
    put_up_hub(stage)
    stage.resolver(SECOND, {dns.EVERY_NAME: dns.NXDOMAIN})
    stage.resolv_conf(f"nameserver {SECOND}\nnameserver {RESOLVER}\n")


@world("dns-name-unknown-reserved", needs="namespace", cause="dns-name-unknown", twin="healthy-internet")
def dns_name_unknown_reserved(stage: Namespace) -> None:
    """An endpoint under .invalid, on a machine whose resolver is dead as well: with a resolver it would not exist either."""
    stage.spec = hubs.NAME
    stage.variables["HF_ENDPOINT"] = "https://hub.invalid"
    stage.resolv_conf("nameserver 127.0.0.53\n")


@world("dns-not-configured-nsswitch", needs="namespace", cause="dns-not-configured", twin="healthy-internet")
def dns_not_configured_nsswitch(stage: Namespace) -> None:
    """nsswitch.conf leaves DNS out: the resolver knows every name and is never asked."""
    put_up_hub(stage)
    stage.bind("/etc/nsswitch.conf", "hosts: files\n")


@world("dns-server-unreachable-garbage", needs="namespace", cause="dns-server-unreachable", twin="healthy-internet")
def dns_server_unreachable_garbage(stage: Namespace) -> None:
    """Something else than a resolver listens on port 53."""
    put_up_hub(stage)
    stage.address(SECOND)
    stage.place("other.example", (SECOND,))
    stage.listen("other.example", tcp.banner(), port=53)
    stage.resolv_conf(f"nameserver {SECOND}\n{NETWORK_SETTINGS}")


@world("dns-server-unreachable-vpn", needs="namespace", cause="dns-server-unreachable", twin="healthy-internet")
def dns_server_unreachable_vpn(stage: Namespace) -> None:
    """The resolver belongs to a VPN that is down: there is a default route, and none to the VPN's network."""
    put_up_hub(stage)
    stage.gateway()
    stage.route("unreachable", "203.0.113.0/24")
    stage.resolv_conf(f"nameserver {NOWHERE}\n")


@world("dns-name-unknown-url", needs="namespace", cause="dns-name-unknown", twin="healthy-internet")
def dns_name_unknown_url(stage: Namespace) -> None:
    """One URL whose host does not exist."""
    stage.spec = "https://files.exmaple.invalid/model.safetensors"


@world("download-host-blocked-by-name", needs="namespace", cause="download-host-blocked", twin="healthy-internet")
def download_host_blocked_by_name(stage: Namespace) -> None:
    """Only the CDN's name does not exist here."""
    put_up_hub(stage)
    answering(stage, {CDN: dns.NXDOMAIN})


@world("download-host-blocked-by-nodata", needs="namespace", cause="download-host-blocked", twin="healthy-internet")
def download_host_blocked_by_nodata(stage: Namespace) -> None:
    """Only the CDN's name has no address here."""
    put_up_hub(stage)
    answering(stage, {CDN: dns.NODATA})


@world("download-host-blocked-by-refusal", needs="namespace", cause="download-host-blocked", twin="healthy-internet")
def download_host_blocked_by_refusal(stage: Namespace) -> None:
    """The resolver refuses to speak of the CDN."""
    put_up_hub(stage)
    answering(stage, {CDN: dns.REFUSED})


@world("dns-no-address", needs="namespace", twin="healthy-internet")
def dns_no_address(stage: Namespace) -> None:
    """The hub's name exists and has no address: NOERROR without an answer."""
    put_up_hub(stage)
    answering(stage, {HUB: dns.NODATA})


# --- lies ---------------------------------------------------------------------------------------------------------------------


@world("dns-wrong-address", needs="namespace", twin="healthy-mirror-in-hosts-file")
def dns_wrong_address(stage: Namespace) -> None:
    """A block list in the resolver: the hub is at 0.0.0.0."""
    put_up_hub(stage)
    answering(stage, {HUB: dns.Fault(addresses=("0.0.0.0", "::"))})


@world("dns-wrong-address-loopback", needs="namespace", cause="dns-wrong-address", twin="healthy-mirror-in-hosts-file")
def dns_wrong_address_loopback(stage: Namespace) -> None:
    """A sinkhole that answers with 127.0.0.1."""
    put_up_hub(stage)
    answering(stage, {HUB: dns.Fault(addresses=("127.0.0.1",))})


@world("dns-wrong-address-hosts", needs="namespace", cause="dns-wrong-address", twin="healthy-mirror-in-hosts-file")
def dns_wrong_address_hosts(stage: Namespace) -> None:
    """A line of the hosts file sends the hub to this machine."""
    put_up_hub(stage)
    stage.hosts_entry(f"127.0.0.1 {HUB}")


@world("dns-wrong-address-stale", needs="namespace", cause="dns-wrong-address", twin="healthy-mirror-in-hosts-file")
def dns_wrong_address_stale(stage: Namespace) -> None:
    """A line of the hosts file from a time when the hub was elsewhere: nobody answers there, and where the resolver points the hub does."""
    put_up_hub(stage)
    stage.address("198.51.100.9")
    stage.firewall("ip daddr 198.51.100.9 drop")
    stage.hosts_entry(f"198.51.100.9 {HUB}")


@world("dns-wrong-address-elsewhere", needs="namespace", cause="dns-wrong-address", twin="healthy-mirror-in-hosts-file")
def dns_wrong_address_elsewhere(stage: Namespace) -> None:
    """The hosts file sends the hub to another server, which has a certificate for its own name."""
    put_up_hub(stage)
    stage.web("intranet.example", lambda request: page("Intranet"))
    stage.hosts_entry(f"{stage.zone['intranet.example'][0]} {HUB}")


@world("dns-wrong-address-block-page", needs="namespace", cause="dns-wrong-address", twin="healthy-mirror-in-hosts-file")
def dns_wrong_address_block_page(stage: Namespace) -> None:
    """The resolver sends the hub to a block page and says that it does (extended error 17)."""
    put_up_hub(stage)
    stage.web("block.example", lambda request: page("Blocked", status=403))
    answering(stage, {HUB: dns.Fault(addresses=stage.zone["block.example"], extended=(17, "filtered: AI tools"))})


@world("dns-wrong-address-search", needs="namespace", cause="dns-wrong-address", twin="healthy-search-domain")
def dns_wrong_address_search(stage: Namespace) -> None:
    """A search domain whose every name exists, tried before the name itself (ndots:5, as in Kubernetes)."""
    put_up_hub(stage)
    stage.web("wildcard.corp.example", lambda request: page("Welcome to nginx!"))
    stage.zone[f"{HUB}.corp.example"] = stage.zone["wildcard.corp.example"]
    stage.resolv_conf(f"search corp.example\nnameserver {RESOLVER}\noptions ndots:5\n")


@world("healthy-search-domain", cause="", needs="namespace")
def healthy_search_domain(stage: Namespace) -> None:
    """Search domains that know nothing, tried before the name itself (ndots:5, as in Kubernetes)."""
    put_up_hub(stage)
    stage.resolv_conf(f"search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver {RESOLVER}\noptions ndots:5\n")


@world("connection-refused-short-name", needs="namespace", cause="connection-refused", twin="healthy-short-name")
def connection_refused_short_name(stage: Namespace) -> None:
    """A mirror by its short name, which a search domain completes; it is down."""
    healthy_short_name(stage)
    stage.firewall("tcp dport 80 reject with tcp reset")


@world("healthy-short-name", cause="", needs="namespace")
def healthy_short_name(stage: Namespace) -> None:
    """A mirror by its short name, which a search domain completes."""
    stage.web("mirror.corp.example", hubs.hub(hubs.tiny()), secure=False)
    stage.variables["HF_ENDPOINT"] = "http://mirror"
    stage.spec = hubs.NAME
    stage.resolv_conf(f"search corp.example\nnameserver {RESOLVER}\n")


@world("healthy-mirror-in-hosts-file", cause="", needs="namespace")
def healthy_mirror_in_hosts_file(stage: Namespace) -> None:
    """A mirror of the hub on this machine, by a line of the hosts file, with a certificate for the hub's name."""
    stage.zone |= {HUB: ("127.0.0.1",), CDN: ("127.0.0.2",)}
    put_up_hub(stage)
    stage.zone |= {HUB: ("198.51.100.1",), CDN: ("198.51.100.2",)}
    stage.hosts_entry(f"127.0.0.1 {HUB}")
    stage.hosts_entry(f"127.0.0.2 {CDN}")


@world("healthy-hosts-file-only", cause="", needs="namespace")
def healthy_hosts_file_only(stage: Namespace) -> None:
    """Every name by the hosts file, and no resolver that answers."""
    put_up_hub(stage)
    for name in (HUB, CDN):
        stage.hosts_entry(f"{stage.zone[name][0]} {name}")
    stage.resolv_conf("nameserver 127.0.0.53\n")


# --- time ---------------------------------------------------------------------------------------------------------------------


@world("dns-slow", needs="namespace", severity="warning", twin="healthy-internet")
def dns_slow(stage: Namespace) -> None:
    """Every answer takes three seconds."""
    put_up_hub(stage)
    answering(stage, {dns.EVERY_NAME: dns.Fault(wait_seconds=3.0)})
    stage.resolv_conf(f"nameserver {RESOLVER}\n")


@world("dns-slow-first-silent", needs="namespace", cause="dns-slow", severity="warning", twin="healthy-resolver-silent")
def dns_slow_first_silent(stage: Namespace) -> None:
    """The first of two resolvers is silent, and the C library waits for it for five seconds, at each name."""
    put_up_hub(stage)
    stage.resolver(SECOND, {dns.EVERY_NAME: dns.SILENT})
    stage.resolv_conf(f"nameserver {SECOND}\nnameserver {RESOLVER}\n")


@world("dns-slow-patient", needs="namespace", cause="dns-slow", severity="warning", twin="healthy-resolver-silent")
def dns_slow_patient(stage: Namespace) -> None:
    """A silent first resolver, and resolv.conf asks for fourteen seconds of patience with it."""
    dns_slow_first_silent(stage)
    stage.hosts_entry(f"{stage.zone[CDN][0]} {CDN}")
    stage.resolv_conf(f"nameserver {SECOND}\nnameserver {RESOLVER}\noptions timeout:14 attempts:1\n")
