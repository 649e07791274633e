"""Connections that are refused, dropped, reset or have no way; networks that want a proxy; and addresses of which one is dead."""

from __future__ import annotations

import threading

from diagnostics.lab import hub as hubs
from diagnostics.lab import tcp
from diagnostics.lab.http import Reply, Request, page, redirect
from diagnostics.lab.proxy import Policy
from diagnostics.lab.stage import CDN, HUB, Namespace, Stage
from diagnostics.lab.worlds import world
from diagnostics.lab.worlds.healthy import behind_proxy, fill_cache, put_up_hub
from diagnostics.lab.worlds.names import weights_by_url

PROXY = "http://proxy.corp.example:3128"
LOST_SECONDS = 2.4  # longer than a survey waits where another host is near
IPV6_HUB, IPV6_CDN = "2001:db8::1", "2001:db8::2"


def firewalled(stage: Namespace, name: str, verdict: str) -> None:
    """What leaves for ``name`` meets ``verdict``: drop, or reject with something."""
    for address in stage.zone[name]:
        stage.firewall(f"{'ip6' if ':' in address else 'ip'} daddr {address} tcp dport {{ 80, 443 }} {verdict}")


# --- connection-refused -------------------------------------------------------------------------------------------------------


@world("connection-refused")
def connection_refused(stage: Stage) -> None:
    """HF_ENDPOINT points to a port on which nothing listens."""
    port = stage.stack.enter_context(tcp.refused_port())
    stage.variables["HF_ENDPOINT"] = f"http://{tcp.LOOPBACK}:{port}"
    stage.spec = hubs.NAME


@world("connection-refused-by-firewall", needs="namespace", cause="connection-refused", twin="healthy-internet")
def connection_refused_by_firewall(stage: Namespace) -> None:
    """A firewall answers for the hub with a reset."""
    put_up_hub(stage)
    firewalled(stage, HUB, "reject with tcp reset")


@world("connection-refused-list", needs="namespace", cause="connection-refused", twin="healthy-internet")
def connection_refused_list(stage: Namespace) -> None:
    """Two files by URL; at the second host nothing listens."""
    weights_by_url(stage, "files.example", "mirror.example")
    firewalled(stage, "mirror.example", "reject with tcp reset")


@world("connection-refused-nothing", needs="namespace", cause="connection-refused", twin="healthy-nothing")
def connection_refused_nothing(stage: Namespace) -> None:
    """No target, and the hub refuses."""
    put_up_hub(stage)
    stage.spec = ""
    firewalled(stage, HUB, "reject with tcp reset")


# --- connection-timed-out -----------------------------------------------------------------------------------------------------


@world("connection-timed-out")
def connection_timed_out(stage: Stage) -> None:
    """HF_ENDPOINT points to a port whose packets vanish."""
    port = stage.stack.enter_context(tcp.deaf_port())
    stage.variables["HF_ENDPOINT"] = f"http://{tcp.LOOPBACK}:{port}"
    stage.spec = hubs.NAME


@world("connection-timed-out-by-firewall", needs="namespace", cause="connection-timed-out", twin="healthy-internet")
def connection_timed_out_by_firewall(stage: Namespace) -> None:
    """A firewall drops what goes to the hub; everything else works."""
    put_up_hub(stage)
    firewalled(stage, HUB, "drop")


@world("connection-timed-out-everywhere", needs="namespace", cause="connection-timed-out", twin="healthy-internet")
def connection_timed_out_everywhere(stage: Namespace) -> None:
    """Names resolve, and packets to each of sixteen hosts vanish behind the default route: one diagnosis."""
    weights_by_url(stage, *(f"files{number}.example" for number in range(16)))
    stage.firewall("tcp dport { 80, 443 } drop")
    stage.gateway()


@world("connection-timed-out-black-hole", needs="namespace", cause="dns-server-unreachable", twin="healthy-internet")
def connection_timed_out_black_hole(stage: Namespace) -> None:
    """A default route behind which everything vanishes, names and hosts alike, and a list with sixteen hosts."""
    stage.gateway()
    weights_by_url(stage, *(f"files{number}.example" for number in range(16)))
    stage.resolv_conf("nameserver 203.0.113.53\nnameserver 203.0.113.54\nnameserver 203.0.113.55\n")


@world("connection-timed-out-ipv6-unroutable", needs="namespace", cause="connection-timed-out", twin="healthy-ipv6-unroutable")
def connection_timed_out_ipv6_unroutable(stage: Namespace) -> None:
    """No route for IPv6, as is usual, and IPv4 is dropped: the missing route is not the cause."""
    put_up_hub(stage)
    firewalled(stage, HUB, "drop")
    stage.zone[HUB] = (*stage.zone[HUB], "2001:db8:ffff::1")


# --- connection-reset ---------------------------------------------------------------------------------------------------------


@world("connection-reset", needs="namespace", twin="healthy-internet")
def connection_reset(stage: Namespace) -> None:
    """The hub's port accepts and resets before a word of TLS."""
    put_up_hub(stage)
    stage.place("reset.example")
    stage.listen("reset.example", tcp.reset, port=443)
    stage.zone[HUB] = stage.zone["reset.example"]


@world("connection-reset-closed", needs="namespace", cause="connection-reset", twin="healthy-internet")
def connection_reset_closed(stage: Namespace) -> None:
    """The hub's port accepts and closes before a word of TLS."""
    put_up_hub(stage)
    stage.listen("reset.example", tcp.close_at_once, port=443)
    stage.zone[HUB] = stage.zone["reset.example"]


@world("connection-reset-plain", cause="connection-reset")
def connection_reset_plain(stage: Stage) -> None:
    """A plain http endpoint that accepts and resets."""
    port = stage.listen("hub.example", tcp.reset, port=0)
    stage.variables["HF_ENDPOINT"] = stage.url("hub.example", port)
    stage.spec = hubs.NAME


@world("connection-reset-plain-closed", cause="connection-reset")
def connection_reset_plain_closed(stage: Stage) -> None:
    """A plain http endpoint that accepts and closes."""
    port = stage.listen("hub.example", tcp.close_at_once, port=0)
    stage.variables["HF_ENDPOINT"] = stage.url("hub.example", port)
    stage.spec = hubs.NAME


# --- host-unreachable ---------------------------------------------------------------------------------------------------------


def somewhere_else(stage: Namespace, *route: str) -> None:
    """The hub at an address to which ``ip route`` has this to say."""
    put_up_hub(stage)
    stage.gateway()
    stage.zone[HUB] = ("198.51.100.1",)
    stage.route(*route)


@world("host-unreachable", needs="namespace", twin="healthy-internet")
def host_unreachable(stage: Namespace) -> None:
    """A router says that it knows no way to the hub (ICMP host unreachable)."""
    put_up_hub(stage)
    stage.gateway()
    firewalled(stage, HUB, "reject with icmpx host-unreachable")


@world("host-unreachable-prohibited", needs="namespace", cause="host-unreachable", twin="healthy-internet")
def host_unreachable_prohibited(stage: Namespace) -> None:
    """A firewall says that it does not let this through (ICMP administratively prohibited)."""
    put_up_hub(stage)
    firewalled(stage, HUB, "reject with icmpx admin-prohibited")


@world("host-unreachable-route", needs="namespace", cause="host-unreachable", twin="healthy-internet")
def host_unreachable_route(stage: Namespace) -> None:
    """A route of this machine says that the hub's network is unreachable (a VPN left it behind)."""
    somewhere_else(stage, "unreachable", "198.51.100.0/24")


@world("host-unreachable-prohibit", needs="namespace", cause="host-unreachable", twin="healthy-internet")
def host_unreachable_prohibit(stage: Namespace) -> None:
    """A route of this machine prohibits the hub's network: permission denied, says the system."""
    somewhere_else(stage, "prohibit", "198.51.100.0/24")


@world("host-unreachable-blackhole", needs="namespace", cause="host-unreachable", twin="healthy-internet")
def host_unreachable_blackhole(stage: Namespace) -> None:
    """A black-hole route of this machine: invalid argument, says the system."""
    somewhere_else(stage, "blackhole", "198.51.100.0/24")


@world("host-unreachable-no-default-route", needs="namespace", cause="host-unreachable", twin="healthy-internet")
def host_unreachable_no_default_route(stage: Namespace) -> None:
    """The resolver answers and there is no route beyond the local network: a compute node of a cluster."""
    put_up_hub(stage)
    stage.zone[HUB] = ("198.51.100.1",)


@world("host-unreachable-ipv6-only", needs="namespace", cause="host-unreachable", twin="healthy-ipv6-only")
def host_unreachable_ipv6_only(stage: Namespace) -> None:
    """The host has only IPv6 addresses, and this machine has only IPv4."""
    weights_by_url(stage, "files.example")
    stage.gateway()
    stage.zone["files.example"] = ("2001:db8:ffff::1",)


# --- several addresses --------------------------------------------------------------------------------------------------------


@world("connection-timed-out-one-address", needs="namespace", cause="connection-timed-out", severity="warning", twin="healthy-internet")
def connection_timed_out_one_address(stage: Namespace) -> None:
    """One of the hub's two IPv4 addresses is dead: every other connection waits for it."""
    stage.place(HUB, ("192.0.2.101", "192.0.2.102"))
    put_up_hub(stage)
    stage.firewall("ip daddr 192.0.2.101 drop")


@world("healthy-ipv4-dead", cause="", needs="namespace")
def healthy_ipv4_dead(stage: Namespace) -> None:
    """IPv6 works, is tried first, and nobody waits for the IPv4 address that does not answer."""
    stage.place(HUB, ("192.0.2.101", IPV6_HUB))
    stage.place(CDN, ("192.0.2.102", IPV6_CDN))
    put_up_hub(stage)
    stage.firewall("ip daddr { 192.0.2.101, 192.0.2.102 } drop")


@world("healthy-packets-lost", cause="", needs="namespace")
def healthy_packets_lost(stage: Namespace) -> None:
    """The first packets to the host of the bytes are lost for some seconds, as on a bad radio link; then it answers."""
    put_up_hub(stage)
    shown = hubs.hub(hubs.tiny(), cdn=f"https://{CDN}")

    def app(request: Request) -> Reply:
        if hubs.of_file("model.safetensors")(request):
            threading.Timer(LOST_SECONDS, stage.open_firewall).start()
        return shown(request)

    stage.zone.pop(HUB)
    stage.web(HUB, app)
    firewalled(stage, CDN, "drop")


# --- IPv6 ---------------------------------------------------------------------------------------------------------------------


@world("ipv6-broken", needs="namespace", severity="warning", twin="healthy-dual-stack")
def ipv6_broken(stage: Namespace) -> None:
    """IPv6 packets vanish and the hub's client waits ten seconds for them, at each connection."""
    healthy_dual_stack(stage)
    stage.firewall("ip6 daddr 2001:db8::/32 drop")


@world("ipv6-broken-url", needs="namespace", cause="ipv6-broken", twin="healthy-dual-stack")
def ipv6_broken_url(stage: Namespace) -> None:
    """IPv6 packets vanish, and the client that fetches a URL has no time-out: it hangs for minutes."""
    stage.place("files.example", ("192.0.2.20", "2001:db8::20"))
    weights_by_url(stage, "files.example")
    stage.firewall("ip6 daddr 2001:db8::/32 drop")


@world("ipv6-broken-cdn", needs="namespace", cause="ipv6-broken", severity="warning", twin="healthy-dual-stack")
def ipv6_broken_cdn(stage: Namespace) -> None:
    """IPv6 packets vanish on the way to the CDN alone."""
    healthy_dual_stack(stage)
    stage.firewall(f"ip6 daddr {IPV6_CDN} drop")


@world("ipv6-broken-cut", needs="namespace", cause="ipv6-broken", twin="healthy-dual-stack")
def ipv6_broken_cut(stage: Namespace) -> None:
    """Something on the way resets TLS over IPv6; no client goes back to IPv4 after it has connected."""
    healthy_dual_stack(stage)
    for host, ip in ((HUB, IPV6_HUB), (CDN, IPV6_CDN)):
        stage.zone[host] = (*(address for address in stage.zone[host] if address != ip), f"{ip}ff")
        stage.address(f"{ip}ff")
        stage.stack.enter_context(tcp.Server(tcp.after_hello("reset"), address=f"{ip}ff", port=443))


@world("healthy-dual-stack", cause="", needs="namespace")
def healthy_dual_stack(stage: Namespace) -> None:
    """Hosts with IPv4 and IPv6 addresses, all of which answer."""
    stage.place(HUB, ("192.0.2.101", IPV6_HUB))
    stage.place(CDN, ("192.0.2.102", IPV6_CDN))
    put_up_hub(stage)


@world("healthy-ipv6-only", cause="", needs="namespace")
def healthy_ipv6_only(stage: Namespace) -> None:
    """Hosts and a resolver with IPv6 addresses alone."""
    stage.place(HUB, (IPV6_HUB,))
    stage.place(CDN, (IPV6_CDN,))
    put_up_hub(stage)
    stage.resolver("2001:db8::53")
    stage.resolv_conf("nameserver 2001:db8::53\n")


@world("healthy-ipv6-unroutable", cause="", needs="namespace")
def healthy_ipv6_unroutable(stage: Namespace) -> None:
    """Hosts with IPv6 addresses that have no route here, as on most networks: the client goes on at once."""
    put_up_hub(stage)
    stage.zone |= {name: (*stage.zone[name], f"2001:db8:ffff::{number}") for number, name in enumerate((HUB, CDN), 1)}


@world("healthy-ipv6-refused", cause="", needs="namespace")
def healthy_ipv6_refused(stage: Namespace) -> None:
    """The first address refuses at once and the second answers."""
    put_up_hub(stage)
    stage.address("2001:db8::99")
    stage.zone |= {name: (*stage.zone[name], "2001:db8::99") for name in (HUB, CDN)}


# --- download-host-blocked ----------------------------------------------------------------------------------------------------


@world("download-host-blocked", needs="namespace", twin="healthy-internet")
def download_host_blocked(stage: Namespace) -> None:
    """The hub answers, and packets to the host of the bytes vanish."""
    put_up_hub(stage)
    firewalled(stage, CDN, "drop")


@world("download-host-blocked-refused", needs="namespace", cause="download-host-blocked", twin="healthy-internet")
def download_host_blocked_refused(stage: Namespace) -> None:
    """The host of the bytes refuses."""
    put_up_hub(stage)
    firewalled(stage, CDN, "reject with tcp reset")


@world("download-host-blocked-unreachable", needs="namespace", cause="download-host-blocked", twin="healthy-internet")
def download_host_blocked_unreachable(stage: Namespace) -> None:
    """A firewall says that the host of the bytes may not be reached."""
    put_up_hub(stage)
    firewalled(stage, CDN, "reject with icmpx admin-prohibited")


@world("download-host-blocked-reset", needs="namespace", cause="download-host-blocked", twin="healthy-internet")
def download_host_blocked_reset(stage: Namespace) -> None:
    """The host of the bytes accepts and resets."""
    put_up_hub(stage)
    stage.listen("reset.example", tcp.reset, port=443)
    stage.zone[CDN] = stage.zone["reset.example"]


@world("download-host-blocked-by-sni", needs="namespace", cause="download-host-blocked", twin="healthy-internet")
def download_host_blocked_by_sni(stage: Namespace) -> None:
    """A filter cuts the handshake with the host of the bytes after it has read its name."""
    put_up_hub(stage)
    stage.listen("filter.example", tcp.after_hello("reset"), port=443)
    stage.zone[CDN] = stage.zone["filter.example"]


@world("download-host-blocked-sinkhole", needs="namespace", cause="dns-wrong-address", twin="healthy-internet")
def download_host_blocked_sinkhole(stage: Namespace) -> None:
    """The name of the host of the bytes leads to 0.0.0.0: a cause of its own."""
    put_up_hub(stage)
    stage.zone[CDN] = ("0.0.0.0",)


@world("download-host-blocked-by-proxy", needs="namespace", cause="download-host-blocked", twin="healthy-proxy")
def download_host_blocked_by_proxy(stage: Namespace) -> None:
    """The proxy lets the hub through and refuses the host of the bytes."""
    put_up_hub(stage)
    behind_proxy(stage, Policy(refuses=lambda host: page("Access denied", status=403) if host == CDN else None), PROXY)


@world("download-host-blocked-url", needs="namespace", cause="download-host-blocked", twin="healthy-internet")
def download_host_blocked_url(stage: Namespace) -> None:
    """One URL that redirects to a storage host, which is dropped."""
    weights_by_url(stage, "storage.example")
    stage.web("files.example", lambda request: redirect("https://storage.example/model.safetensors"))
    stage.spec = "https://files.example/model.safetensors"
    firewalled(stage, "storage.example", "drop")


@world("download-host-blocked-cached", needs="namespace", cause="download-host-blocked", twin="healthy-internet")
def download_host_blocked_cached(stage: Namespace) -> None:
    """The host of the bytes is dropped, and the model is in the cache already."""
    download_host_blocked(stage)
    fill_cache(stage, hubs.tiny())


# --- proxy-required -----------------------------------------------------------------------------------------------------------


def network_with_proxy(stage: Namespace, verdict: str = "drop", login: str = "") -> None:
    """The hub and its CDN are at addresses that only ``proxy.corp.example`` reaches; what goes there directly meets ``verdict``. No variable says so."""
    put_up_hub(stage)
    behind_proxy(stage, Policy(login=login))
    for name in ("HTTPS_PROXY", "HTTP_PROXY"):
        stage.variables.pop(name)
    stage.gateway()
    stage.zone |= {HUB: ("198.51.100.1",), CDN: ("198.51.100.2",)}
    stage.firewall(f"ip daddr 198.51.100.0/24 {verdict}")


@world("proxy-required", needs="namespace", twin="healthy-proxy")
def proxy_required(stage: Namespace) -> None:
    """pip knows the proxy of this network, and the environment does not."""
    network_with_proxy(stage)
    _write(stage, ".config/pip/pip.conf", f"[global]\nproxy = {PROXY}\n")


@world("proxy-required-git", needs="namespace", cause="proxy-required", twin="healthy-proxy")
def proxy_required_git(stage: Namespace) -> None:
    """git knows the proxy, and the firewall refuses direct connections."""
    network_with_proxy(stage, "reject with tcp reset")
    _write(stage, ".gitconfig", f"[http]\n\tproxy = {PROXY}\n")


@world("proxy-required-npm", needs="namespace", cause="proxy-required", twin="healthy-proxy")
def proxy_required_npm(stage: Namespace) -> None:
    """npm knows the proxy; names do not resolve here, only the proxy's."""
    network_with_proxy(stage)
    for name in (HUB, CDN):
        del stage.zone[name]
    _write(stage, ".npmrc", f"https-proxy={PROXY}\n")


@world("proxy-required-apt", needs="namespace", cause="proxy-required", twin="healthy-proxy")
def proxy_required_apt(stage: Namespace) -> None:
    """apt knows the proxy; no name resolves here, and the proxy is an address."""
    network_with_proxy(stage)
    address = stage.zone["proxy.corp.example"][0]
    stage.resolv_conf("nameserver 203.0.113.53\n")
    stage.bind("/etc/apt/apt.conf.d/01autoremove", f'Acquire::http::Proxy "http://{address}:3128";\n')


@world("proxy-required-environment", needs="namespace", cause="proxy-required", twin="healthy-proxy")
def proxy_required_environment(stage: Namespace) -> None:
    """/etc/environment names the proxy, and this shell never read it (a service, a cron job, sudo)."""
    network_with_proxy(stage, "reject with icmpx admin-prohibited")
    stage.bind("/etc/environment", f'https_proxy="{PROXY}"\n')


@world("proxy-required-conda", needs="namespace", cause="proxy-required", twin="healthy-proxy")
def proxy_required_conda(stage: Namespace) -> None:
    """conda knows the proxy; another program's setting of that name beside it means nothing."""
    network_with_proxy(stage, "reject with tcp reset")
    _write(stage, ".condarc", f"channels:\n  - defaults\nproxy_servers:\n  https: {PROXY}\nchannel_alias:\n  https: http://nobody.example\n")


@world("proxy-required-profile", needs="namespace", cause="proxy-required", twin="healthy-proxy")
def proxy_required_profile(stage: Namespace) -> None:
    """The login shell would set the proxy, and this process is no child of one (cron, a service, docker exec)."""
    network_with_proxy(stage, "reject with tcp reset")
    _write(stage, ".profile", f'# proxies\nexport https_proxy="{PROXY}" # by IT\nexport all_proxy=$https_proxy\n')


@world("healthy-profile-with-proxy", cause="", needs="namespace")
def healthy_profile_with_proxy(stage: Namespace) -> None:
    """The login shell's proxy is of another network, and direct connections work here."""
    put_up_hub(stage)
    _write(stage, ".bashrc", "export https_proxy=http://proxy.elsewhere.example:3128\n")


@world("proxy-required-login", needs="namespace", cause="proxy-required", twin="healthy-proxy")
def proxy_required_login(stage: Namespace) -> None:
    """git knows the proxy and the password for it, which no output may show."""
    network_with_proxy(stage, login="lab:pa%ss/w@rd")
    _write(stage, ".gitconfig", f"[http]\n\tproxy = {PROXY.replace('://', '://lab:pa%25ss%2Fw%40rd@')}\n")


@world("proxy-required-dead", needs="namespace", cause="connection-timed-out", twin="healthy-internet")
def proxy_required_dead(stage: Namespace) -> None:
    """A proxy is left over in pip.conf and no longer answers: it is no remedy."""
    put_up_hub(stage)
    firewalled(stage, HUB, "drop")
    stage.place("proxy.corp.example")
    stage.address(stage.zone["proxy.corp.example"][0])
    _write(stage, ".config/pip/pip.conf", f"[global]\nproxy = {PROXY}\n")


@world("healthy-proxy-unneeded", cause="", needs="namespace")
def healthy_proxy_unneeded(stage: Namespace) -> None:
    """pip is configured for a proxy, and direct connections work."""
    put_up_hub(stage)
    _write(stage, ".config/pip/pip.conf", f"[global]\nproxy = {PROXY}\n")


def _write(stage: Stage, path: str, text: str) -> None:
    place = stage.home / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
