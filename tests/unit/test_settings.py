"""Causes of the settings section on hand-made Cases: each with its healthy twin, and with its look-alikes."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

import pytest

from diagnostics.case import (
    Case,
    CaVariable,
    ClientUse,
    Counterfactual,
    Diagnosis,
    Environment,
    Files,
    FileSeen,
    Header,
    Interpreter,
    Journey,
    Leg,
    NetrcEntry,
    Platform,
    Problem,
    StoreVerdict,
    Target,
    Token,
    Tunnel,
    Variable,
)
from diagnostics.causes.settings import CAUSES
from diagnostics.diagnosis import diagnose, judge
from diagnostics.environment.proxies import read_no_proxy, read_proxies
from diagnostics.environment.settings import endpoint_problem, read_offline, read_settings
from diagnostics.facts.clients import facts
from diagnostics.facts.routes import route
from diagnostics.targets import parse
from tests.unit.cases import HUB, IPV4, answer, body, case, causes, certificate, connection, handshake, journey, leg, response, stopped_at, unresolved

LINUX = Platform(system="Linux", default_route=True)
PYTHON = Interpreter(executable="python", version="3.11.7")
HUB2 = ClientUse(family="huggingface_hub-2", version="2.4.0")
HUB0 = ClientUse(family="huggingface_hub-0", version="0.36.2")
XET = ClientUse(family="hf_xet", version="1.8.0", role="bytes")
URLLIB = ClientUse(family="urllib", version="3.11.7")
PROXY = "http://proxy.corp.test:3128"


def environment(**changes: Any) -> Environment:
    return dataclasses.replace(Environment(platform=LINUX, interpreter=PYTHON, caches={"hub": "~/.cache/huggingface/hub"}), **changes)


def proxied(variables: dict[str, str], **changes: Any) -> Environment:
    return environment(proxies=read_proxies(variables)[0], no_proxy=read_no_proxy(variables), settings=read_settings(variables), **changes)


def target(client: ClientUse = HUB2, *transports: ClientUse, **changes: Any) -> Target:
    return dataclasses.replace(
        Target(spec="org/name", kind="hub", name="org/name", endpoint=f"https://{HUB}", client=client, transports=transports, loader="transformers"), **changes
    )


def trip(*legs: Leg, client: ClientUse = HUB2, name: str = "listing") -> Journey:
    return journey(*legs, name=name) if client is HUB2 else dataclasses.replace(journey(*legs, name=name), client=client)


def first(found: Case) -> Diagnosis:
    return diagnose(found)[0]


def severities(found: Case) -> list[tuple[str, str]]:
    return [(diagnosis.cause, diagnosis.severity) for diagnosis in diagnose(found)]


def test_every_id_of_the_section_is_there() -> None:
    """The public vocabulary of causes.md."""
    assert {cause.id for cause in CAUSES} == {
        "offline-mode-set",
        "endpoint-misconfigured",
        "client-setting-invalid",
        "url-invalid",
        "ca-bundle-missing",
        "ca-bundle-invalid",
        "ca-directory-unhashed",
        "ca-bundle-incomplete",
        "ca-variable-ignored",
        "proxy-variable-ignored",
        "proxy-variables-disagree",
        "no-proxy-invalid",
        "netrc-overrides-token",
        "token-malformed",
        "model-id-invalid",
        "path-missing",
        "local-directory-shadows-id",
        "cache-variable-deprecated",
    }


# --- healthy ------------------------------------------------------------------------------------------------------------------

HARMLESS = {
    "nothing set": environment(),
    "a mirror with a path": environment(endpoint=Variable(name="HF_ENDPOINT", value="https://mirror.corp.test/artifactory/api/huggingfaceml/x")),
    "a private plain-http hub": environment(endpoint=Variable(name="HF_ENDPOINT", value="http://10.0.0.1:8000")),
    "offline switches off": environment(offline=read_offline({"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "no"})),
    "numbers that are numbers": environment(settings=read_settings({"HF_HUB_ETAG_TIMEOUT": "30", "HF_HUB_DISABLE_XET": "1"})),
    "a whole bundle": environment(
        ca=(CaVariable(variable="SSL_CERT_FILE", path="/etc/ssl/certs/ca-certificates.crt", exists=True, certificates=144, form="pem"),)
    ),
    "a hashed folder": environment(
        ca=(CaVariable(variable="SSL_CERT_DIR", path="/etc/ssl/certs", exists=True, is_directory=True, files=290, certificates=144, form="hashed"),)
    ),
    "a variable of node's that is broken": environment(ca=(CaVariable(variable="NODE_EXTRA_CA_CERTS", path="/none"),)),
    "a proxy that works": proxied({"https_proxy": PROXY, "HTTPS_PROXY": PROXY, "no_proxy": "localhost,127.0.0.1"}),
    "a proxy for other addresses": proxied({"HTTP_PROXY": PROXY}),
    "a SOCKS proxy of another scheme": proxied({"FTP_PROXY": "socks://x"}),
    "a token": environment(token=Token(present=True, source="HF_TOKEN")),
    "an empty token variable": environment(token=Token(present=False, source="HF_TOKEN", problem=Problem(code="empty"))),
    "a netrc that the client does not read": environment(token=Token(present=True, source="HF_TOKEN"), netrc=(NetrcEntry(host=HUB, path="~/.netrc"),)),
    "the old name of the cache in use": environment(deprecated_caches=(Variable(name="HUGGINGFACE_HUB_CACHE", value="/b"),)),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_no_fault(name: str) -> None:
    """Set, and no harm: no diagnosis at all."""
    assert causes(case(trip(leg()), target=target(HUB2, XET), environment=HARMLESS[name])) == []


# --- the target ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ("a--b", "model-id-invalid"),
        ("org/name/x", "model-id-invalid"),
        ("foo:bar", "model-id-invalid"),
        ("list:none-such", "model-id-invalid"),
        ("https://h:abc/x", "url-invalid"),
        ("./nowhere", "path-missing"),
        ("/nowhere/at/all", "path-missing"),
        ("list:./none.toml", "path-missing"),
    ],
)
def test_targets_that_cannot_be_used(spec: str, cause: str) -> None:
    """One diagnosis, an error, with a remedy; nothing else is said of a target that nobody can look at."""
    given, _ = parse(spec, environment(), exists=lambda path: False, isdir=lambda path: False)
    found = Case(target=given, environment=environment())
    assert severities(found) == [(cause, "error")]
    assert first(found).remedies


def test_a_shadowing_folder() -> None:
    given = target(problem=Problem(code="local-directory-shadows-id", detail="the folder ~/org/name …"), paths=("~/org/name",))
    found = Case(target=given, environment=environment())
    assert causes(found) == ["local-directory-shadows-id"]
    assert "~/org/name" in first(found).title


def test_a_missing_path_in_a_container_is_to_be_mounted() -> None:
    given, _ = parse("/models/x", environment(), exists=lambda path: path == "/", isdir=lambda path: path == "/")
    inside = environment(platform=Platform(system="Linux", container="docker"))
    assert any("-v " in remedy.run for remedy in first(Case(target=given, environment=inside)).remedies)
    assert not any("-v " in remedy.run for remedy in first(Case(target=given, environment=environment())).remedies)


# --- offline, endpoint, numbers -----------------------------------------------------------------------------------------------

OFFLINE = environment(offline=read_offline({"HF_HUB_OFFLINE": "1"}))


def cached(*missing: str) -> Files:
    return Files(place="cache", path="~/.cache/huggingface/hub/models--org--name", files=(FileSeen(path="config.json"),), missing=missing)


def test_offline_and_not_cached() -> None:
    """The variable is the root; the way to unset it is given."""
    found = Case(target=target(), environment=OFFLINE, files=cached("model.safetensors"))
    assert causes(found)[0] == "offline-mode-set"
    assert "model.safetensors" in first(found).title
    assert first(found).remedies[0].run == "unset HF_HUB_OFFLINE"


def test_offline_and_cached() -> None:
    """Offline is right where everything is here."""
    assert "offline-mode-set" not in causes(Case(target=target(), environment=OFFLINE, files=cached()))


def test_offline_is_the_hubs_matter_alone() -> None:
    found = Case(target=Target(spec="https://h.test/x", kind="url", urls=("https://h.test/x",), client=ClientUse(family="requests")), environment=OFFLINE)
    assert causes(found) == []


@pytest.mark.parametrize("value", ["", "huggingface.co", "https://h:abc", "https://huggingface.co "])
def test_an_endpoint_that_cannot_be_asked(value: str) -> None:
    """An error for a hub's model, a warning for a plain URL."""
    wrong = environment(endpoint=Variable(name="HF_ENDPOINT", value=value, problem=endpoint_problem(value)))
    assert severities(Case(target=target(), environment=wrong)) == [("endpoint-misconfigured", "error")]
    plain = Target(spec="https://h.test/x", kind="url", urls=("https://h.test/x",), client=ClientUse(family="requests"))
    assert severities(Case(target=plain, environment=wrong)) == [("endpoint-misconfigured", "warning")]


def test_an_endpoint_without_scheme_is_completed() -> None:
    wrong = environment(endpoint=Variable(name="HF_ENDPOINT", value="hf-mirror.example", problem=endpoint_problem("hf-mirror.example")))
    assert first(Case(target=target(), environment=wrong)).remedies[0].run == "export HF_ENDPOINT=https://hf-mirror.example"


def test_an_endpoint_where_something_else_answers() -> None:
    """A web server that knows nothing of the API: the variable is the root. A hub that lacks the repository says so itself."""
    mirror = environment(endpoint=Variable(name="HF_ENDPOINT", value="https://www.corp.test"))
    page = leg("www.corp.test", response=response(404, Header(name="content-type", value="text/html"), content="html"), body=body(content="html"))
    found = case(trip(page), target=target(endpoint="https://www.corp.test"), environment=mirror)
    assert causes(found) == ["endpoint-misconfigured"]
    missing = leg("www.corp.test", response=response(404, Header(name="x-error-code", value="RepoNotFound")), body=body())
    assert "endpoint-misconfigured" not in causes(case(trip(missing), target=target(), environment=mirror))
    assert "endpoint-misconfigured" not in causes(case(trip(page), target=target(), environment=environment()))


@pytest.mark.parametrize(("client", "severity"), [(HUB2, "error"), (ClientUse(family="requests"), "warning")])
def test_a_number_that_is_none(client: ClientUse, severity: str) -> None:
    """It ends the import of the hub's client, and nobody else's."""
    wrong = environment(settings=read_settings({"HF_HUB_ETAG_TIMEOUT": "abc"}))
    found = case(trip(leg()), target=target(client), environment=wrong)
    assert severities(found) == [("client-setting-invalid", severity)]
    assert "HF_HUB_ETAG_TIMEOUT" in first(found).title


# --- certificates -------------------------------------------------------------------------------------------------------------


def ca(variable: str, form: str = "pem", **changes: Any) -> CaVariable:
    return CaVariable(
        **{"variable": variable, "path": "/etc/ssl/corp.pem", "exists": form != "missing", "certificates": int(form == "pem"), "form": form, **changes}
    )


def untrusted(store: str, *verdicts: StoreVerdict, host: str = HUB, **changes: Any) -> Leg:
    chain = (certificate("Initech"),)
    shaken = handshake(
        **{
            "outcome": "untrusted",
            "store": store,
            "code": 20,
            "message": "unable to get local issuer certificate",
            "chain": chain,
            "verdicts": verdicts,
            **changes,
        }
    )
    return stopped_at("handshake", shaken, host)


def said(store: str, accepted: bool) -> StoreVerdict:
    return StoreVerdict(store=store, accepted=accepted)


BROKEN_CA = [
    ("SSL_CERT_FILE", "missing", {}, "ca-bundle-missing"),
    ("SSL_CERT_FILE", "empty", {}, "ca-bundle-invalid"),
    ("SSL_CERT_FILE", "der", {}, "ca-bundle-invalid"),
    ("SSL_CERT_FILE", "damaged-pem", {}, "ca-bundle-invalid"),
    ("SSL_CERT_FILE", "hashed", {"is_directory": True}, "ca-bundle-invalid"),
    ("SSL_CERT_DIR", "unhashed", {"is_directory": True, "files": 2}, "ca-directory-unhashed"),
    ("SSL_CERT_DIR", "missing", {}, "ca-bundle-missing"),
]


@pytest.mark.parametrize(("variable", "form", "changes", "cause"), BROKEN_CA)
def test_a_broken_variable_that_this_client_reads(variable: str, form: str, changes: dict[str, Any], cause: str) -> None:
    """An error, even before any handshake; with the handshake that failed for it, still one diagnosis."""
    broken = environment(ca=(ca(variable, form, **changes),))
    assert severities(case(target=target(), environment=broken)) == [(cause, "error")]
    unusable = stopped_at("handshake", handshake(outcome="store_unusable", store=variable))
    assert causes(case(trip(unusable), target=target(), environment=broken)) == [cause]


@pytest.mark.parametrize(("variable", "form", "changes", "cause"), BROKEN_CA)
def test_a_broken_variable_that_this_client_does_not_read(variable: str, form: str, changes: dict[str, Any], cause: str) -> None:
    """A warning: the download works."""
    if (variable, form, changes) == ("SSL_CERT_FILE", "hashed", {"is_directory": True}):
        return  # nobody who does not read it can say what it is for
    broken = environment(ca=(ca(variable, form, **changes),))
    found = case(trip(leg(), client=HUB0), target=target(HUB0), environment=broken)
    assert severities(found) == [(cause, "warning")]
    assert judge(found).verdict == "degraded"


def test_requests_variable_is_a_warning_for_httpx() -> None:
    broken = environment(ca=(ca("REQUESTS_CA_BUNDLE", "missing"),))
    assert severities(case(trip(leg()), target=target(), environment=broken)) == [("ca-bundle-missing", "warning")]
    assert severities(case(target=target(HUB0), environment=broken)) == [("ca-bundle-missing", "error")]


def test_urllib_takes_no_notice_of_a_missing_file() -> None:
    """A warning while the handshakes hold; the root of those that fail."""
    broken = environment(ca=(ca("SSL_CERT_FILE", "missing"),))
    url = Target(spec="https://h.test/x", kind="url", urls=("https://h.test/x",), client=URLLIB)
    assert severities(case(trip(leg(), client=URLLIB, name="url-1"), target=url, environment=broken)) == [("ca-bundle-missing", "warning")]
    failed = untrusted("SSL_CERT_FILE", said("certifi", True), said("operating system", True))
    assert severities(case(trip(failed, client=URLLIB, name="url-1"), target=url, environment=broken)) == [("ca-bundle-missing", "error")]


def test_hf_xet_reads_an_unhashed_folder() -> None:
    """It is read by hf_xet and not by the hub's client: still an error for the download, and the text says who reads it how."""
    broken = environment(ca=(ca("SSL_CERT_DIR", "unhashed", is_directory=True, files=2),))
    assert causes(case(target=target(HUB2, XET), environment=broken)) == ["ca-directory-unhashed"]


def test_a_variable_that_this_client_does_not_read() -> None:
    """REQUESTS_CA_BUNDLE holds the company's root, and huggingface_hub 2 reads SSL_CERT_FILE."""
    corporate = environment(ca=(ca("REQUESTS_CA_BUNDLE"),))
    failed = untrusted("operating system", said("certifi", False), said("REQUESTS_CA_BUNDLE", True))
    found = case(trip(failed), target=target(), environment=corporate)
    assert causes(found)[0] == "ca-variable-ignored"
    assert len(causes(found)) == 1
    diagnosis = first(found)
    assert "REQUESTS_CA_BUNDLE" in diagnosis.title
    assert "huggingface_hub 2.4.0" in diagnosis.title
    assert diagnosis.remedies[0].run == "export SSL_CERT_FILE=/etc/ssl/corp.pem"
    assert diagnosis.remedies[0].proof == "seen"


def test_the_variable_to_set_is_the_clients_own() -> None:
    """requests wants REQUESTS_CA_BUNDLE where httpx2 wants SSL_CERT_FILE."""
    corporate = environment(ca=(ca("SSL_CERT_FILE"),))
    failed = untrusted("certifi", said("operating system", False), said("SSL_CERT_FILE", True))
    diagnosis = first(case(trip(failed, client=HUB0), target=target(HUB0), environment=corporate))
    assert diagnosis.cause == "ca-variable-ignored"
    assert diagnosis.remedies[0].run.startswith("export REQUESTS_CA_BUNDLE=")


def test_look_alikes_of_an_ignored_variable() -> None:
    """Not it: nobody holds the chain; the operating system's store does too; the variable is the one in use."""
    corporate = environment(ca=(ca("REQUESTS_CA_BUNDLE"),))
    for verdicts in ((said("REQUESTS_CA_BUNDLE", False),), (said("REQUESTS_CA_BUNDLE", True), said("certifi", True))):
        assert "ca-variable-ignored" not in causes(case(trip(untrusted("operating system", *verdicts)), target=target(), environment=corporate))
    used = environment(ca=(ca("SSL_CERT_FILE"),))
    assert "ca-variable-ignored" not in causes(case(trip(untrusted("SSL_CERT_FILE", said("SSL_CERT_FILE", True))), target=target(), environment=used))


def test_a_bundle_that_replaces_too_much() -> None:
    """SSL_CERT_FILE with the company's root alone, and a host that is not inspected."""
    corporate = environment(ca=(ca("SSL_CERT_FILE"),))
    failed = untrusted("SSL_CERT_FILE", said("certifi", True), said("operating system", True))
    found = case(trip(failed), target=target(), environment=corporate)
    assert causes(found) == ["ca-bundle-incomplete"]
    diagnosis = first(found)
    assert diagnosis.remedies[0].proof == "seen"
    assert any("certifi" in remedy.run for remedy in diagnosis.remedies)
    private = untrusted("SSL_CERT_FILE", said("certifi", False), said("operating system", False))
    assert "ca-bundle-incomplete" not in causes(case(trip(private), target=target(), environment=corporate))


# --- proxies ------------------------------------------------------------------------------------------------------------------


def routed(item: Leg, surroundings: Environment, client: ClientUse = HUB2) -> Leg:
    """A leg with the route that this client would take."""
    return dataclasses.replace(item, route=route(facts(client.family), surroundings, item.scheme, item.host, item.port))


def asked(question: str, works: bool) -> tuple[Counterfactual, ...]:
    return (Counterfactual(question=question, works=works),)


def closed(*answers: Counterfactual, client: ClientUse = HUB2, outcome: str = "timed_out") -> Leg:
    return stopped_at("connection", connection((IPV4, outcome)), counterfactuals=answers)


@pytest.mark.parametrize(
    ("client", "variables", "unread", "run"),
    [
        (URLLIB, {"ALL_PROXY": PROXY}, "ALL_PROXY", 'export HTTPS_PROXY="$ALL_PROXY"'),
        (HUB2, {"HTTP_PROXY": PROXY}, "HTTP_PROXY", 'export HTTPS_PROXY="$HTTP_PROXY"'),
        (HUB2, {"https_proxy": "", "HTTPS_PROXY": PROXY}, "HTTPS_PROXY", "unset https_proxy"),
    ],
)
def test_a_proxy_variable_that_is_not_read(client: ClientUse, variables: dict[str, str], unread: str, run: str) -> None:
    """The way direct is closed, and through the variable's proxy it is open (or was not tried)."""
    surroundings = proxied(variables)
    for answers, proof in ((asked(f"proxy:{unread}", True), "seen"), ((), "untried")):
        found = case(trip(routed(closed(*answers), surroundings, client), client=client), target=target(client), environment=surroundings)
        assert causes(found) == ["proxy-variable-ignored"]
        assert first(found).remedies[0].run == run
        assert first(found).remedies[0].proof == proof


def test_look_alikes_of_an_ignored_proxy() -> None:
    """Not it: the proxy does not open the way either; the variable is read; nothing is set; the way direct is open."""
    surroundings = proxied({"ALL_PROXY": PROXY})
    dead = case(trip(routed(closed(*asked("proxy:ALL_PROXY", False)), surroundings, URLLIB), client=URLLIB), target=target(URLLIB), environment=surroundings)
    assert causes(dead) == ["connection-timed-out"]
    assert "proxy-variable-ignored" not in causes(case(trip(closed()), target=target(), environment=environment()))
    assert causes(case(trip(leg(), client=URLLIB), target=target(URLLIB), environment=surroundings)) == []


def test_a_name_that_only_the_proxy_resolves() -> None:
    """Behind a company's proxy, public names often do not resolve: with the trial's word for it, the variable is the root."""
    surroundings = proxied({"HTTP_PROXY": PROXY})
    unknown = stopped_at("resolution", unresolved("EAI_NONAME", {"rcode": "NXDOMAIN"}), counterfactuals=asked("proxy:HTTP_PROXY", True))
    assert causes(case(trip(unknown), target=target(), environment=surroundings)) == ["proxy-variable-ignored"]
    untried = stopped_at("resolution", unresolved("EAI_NONAME", {"rcode": "NXDOMAIN"}))
    assert causes(case(trip(untried), target=target(), environment=surroundings)) == ["dns-name-unknown"]


def test_clients_that_go_different_ways() -> None:
    """huggingface_hub takes the lower-case form, hf_xet the upper-case one: a warning while both work."""
    surroundings = proxied({"https_proxy": PROXY, "HTTPS_PROXY": "http://other.test:1"})
    found = case(trip(routed(leg(), surroundings)), target=target(HUB2, XET), environment=surroundings)
    assert severities(found) == [("proxy-variables-disagree", "warning")]
    assert "https_proxy and HTTPS_PROXY" in first(found).title
    for alone in (target(HUB2), target(HUB2, XET)):
        same = proxied({"https_proxy": PROXY, "HTTPS_PROXY": PROXY + "/"}) if alone.transports else surroundings
        assert causes(case(trip(routed(leg(), same)), target=alone, environment=same)) == []


def test_an_empty_form_counts_as_different() -> None:
    surroundings = proxied({"https_proxy": "", "HTTPS_PROXY": PROXY})
    assert severities(case(trip(leg()), target=target(HUB2, XET), environment=surroundings)) == [("proxy-variables-disagree", "warning")]


@pytest.mark.parametrize(("entry", "rest"), [("fd00::/8", "localhost"), ("[::1]", "")])
def test_an_entry_that_ends_the_client(entry: str, rest: str) -> None:
    """huggingface_hub 1 ends at it, 2 does not; one diagnosis with the tunnel's fault under it."""
    value = ",".join(filter(None, (entry, rest)))
    surroundings = proxied({"https_proxy": PROXY, "NO_PROXY": value})
    hub1 = ClientUse(family="huggingface_hub-1", version="1.33.0")
    failed = routed(leg(), surroundings, hub1)
    failed = stopped_at("tunnel", Tunnel(proxy="", protocol="http", outcome="unsupported"), route=failed.route)
    found = case(trip(failed, client=hub1), target=target(hub1), environment=surroundings)
    assert causes(found) == ["no-proxy-invalid"]
    assert entry in first(found).title
    assert first(found).remedies[0].run == (f"export NO_PROXY={rest}" if rest else "unset NO_PROXY")
    assert causes(case(trip(routed(leg(), surroundings)), target=target(), environment=surroundings)) == []


def test_an_entry_that_is_not_understood() -> None:
    """*.corp.test means nothing to requests: the internal hub is asked of the proxy, which refuses it, and answers directly. Where the proxy serves it, nothing is wrong."""
    surroundings = proxied({"https_proxy": PROXY, "NO_PROXY": "*.corp.test"})
    through = routed(leg("hub.corp.test"), surroundings, HUB0)
    refused = stopped_at("tunnel", Tunnel(proxy="proxy.corp.test:3128", protocol="http", outcome="refused", status=403), "hub.corp.test", route=through.route)
    assert causes(case(trip(refused, client=HUB0), target=target(HUB0, endpoint="https://hub.corp.test"), environment=surroundings)) == ["proxy-denied"]
    refused = dataclasses.replace(refused, counterfactuals=answer("direct", True))
    found = case(trip(refused, client=HUB0), target=target(HUB0, endpoint="https://hub.corp.test"), environment=surroundings)
    assert causes(found) == ["no-proxy-invalid"]
    assert first(found).remedies[0].run == "export NO_PROXY=corp.test"
    served = dataclasses.replace(through, tunnel=Tunnel(proxy="proxy.corp.test:3128", protocol="http", outcome="open"))
    assert causes(case(trip(served, client=HUB0), target=target(HUB0), environment=surroundings)) == []


def test_a_proxy_value_that_nobody_can_read() -> None:
    """The check's fault; the cause is the proxies' section's."""
    surroundings = proxied({"https_proxy": "http://user:p/w@proxy.test:3128"})
    faults = [fault for result in judge(case(target=target(), environment=surroundings)).results for fault in result.faults]
    assert {(fault.step, fault.code, fault.subject.name) for fault in faults} == {("setting", "proxy-url-invalid", "https_proxy")}
    assert "p/w" not in repr(faults)


# --- token, netrc, caches -----------------------------------------------------------------------------------------------------


def refused(status: int = 401, **changes: Any) -> Leg:
    return leg(response=response(status, Header(name="x-error-code", value="RepoNotFound")), token_sent=True, **changes)


def test_a_netrc_entry_in_the_tokens_place() -> None:
    """huggingface_hub 0 (requests) sends the entry's login: a warning while nothing is refused, the root of a refusal."""
    surroundings = environment(token=Token(present=True, source="HF_TOKEN"), netrc=(NetrcEntry(host=HUB, path="~/.netrc"),))
    assert severities(case(trip(leg(), client=HUB0), target=target(HUB0), environment=surroundings)) == [("netrc-overrides-token", "warning")]
    found = case(trip(refused(), client=HUB0), target=target(HUB0), environment=surroundings)
    assert causes(found) == ["netrc-overrides-token"]
    assert first(found).severity == "error"
    other = environment(token=Token(present=True, source="HF_TOKEN"), netrc=(NetrcEntry(host="git.corp.test", path="~/.netrc"),))
    assert causes(case(trip(leg(), client=HUB0), target=target(HUB0), environment=other)) == []


def test_a_malformed_token() -> None:
    surroundings = environment(token=Token(present=True, source="HF_TOKEN", problem=Problem(code="white-space", detail="character 4 of 9 is white space")))
    found = case(trip(leg()), target=target(), environment=surroundings)
    assert severities(found) == [("token-malformed", "error")]
    assert "character 4 of 9" in first(found).title


def test_an_empty_token_matters_where_one_is_asked_for() -> None:
    surroundings = environment(token=Token(present=False, source="HF_TOKEN", problem=Problem(code="empty", detail="it is set and holds nothing")))
    needed = leg(response=response(401, Header(name="x-error-code", value="GatedRepo")))
    assert causes(case(trip(needed), target=target(), environment=surroundings))[0] == "token-malformed"


def test_an_old_cache_variable_is_a_warning() -> None:
    old = environment(
        deprecated_caches=(
            Variable(name="TRANSFORMERS_CACHE", value="/old", problem=Problem(code="ignored", detail="the cache in use is ~/.cache/huggingface/hub")),
        )
    )
    assert severities(case(trip(leg()), target=target(), environment=old)) == [("cache-variable-deprecated", "warning")]


# --- words --------------------------------------------------------------------------------------------------------------------

HOSTILE = "/tmp/x'; touch /tmp/owned; echo '$(id)`id`"


@pytest.mark.parametrize("shell", ["posix", "fish", "powershell", "cmd"])
def test_what_is_pasted_is_quoted(shell: str) -> None:
    """A path, a target and an endpoint that try to be commands stay words."""
    given, _ = parse(HOSTILE, environment(), exists=lambda path: False, isdir=lambda path: False)
    cases = [
        Case(target=given, environment=environment(shell=shell)),
        case(target=target(), environment=environment(shell=shell, ca=(ca("SSL_CERT_FILE", "missing", path=HOSTILE),))),
        case(target=target(), environment=environment(shell=shell, ca=(ca("SSL_CERT_FILE", "der", path=HOSTILE),))),
        case(
            target=target(),
            environment=environment(
                shell=shell, deprecated_caches=(Variable(name="TRANSFORMERS_CACHE", value=HOSTILE, problem=Problem(code="ignored", detail="x")),)
            ),
        ),
        case(
            trip(untrusted("operating system", said("REQUESTS_CA_BUNDLE", True))),
            target=target(),
            environment=environment(shell=shell, ca=(ca("REQUESTS_CA_BUNDLE", path=HOSTILE),)),
        ),
    ]
    for found in cases:
        for remedy in (remedy for diagnosis in diagnose(found) for remedy in diagnosis.remedies):
            for command in (remedy.run, remedy.check):
                if shell == "posix" and command:
                    assert "touch" not in shlex.split(command.replace("$(python -m certifi)", "")), command
                assert "\n" not in command


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.id)
def test_every_cause_is_a_sentence(cause: Any) -> None:
    assert cause.owner == ("you",)
    assert cause.title
    assert cause.why.endswith((".", "…"))


def test_no_field_of_a_title_is_left_open() -> None:
    """Every diagnosis above fills its words: none shows a <placeholder>."""
    surroundings = proxied(
        {"https_proxy": PROXY, "HTTPS_PROXY": "http://other.test:1", "NO_PROXY": "x"},
        ca=(ca("SSL_CERT_FILE", "missing"), ca("REQUESTS_CA_BUNDLE")),
        offline=read_offline({"HF_HUB_OFFLINE": "1"}),
    )
    wrong = dataclasses.replace(
        surroundings,
        settings=read_settings({"HF_HUB_ETAG_TIMEOUT": "x"}),
        endpoint=Variable(name="HF_ENDPOINT", value="x", problem=endpoint_problem("x")),
        token=Token(present=True, source="HF_TOKEN", problem=Problem(code="quotes", detail="q")),
    )
    for diagnosis in diagnose(case(trip(untrusted("certifi", said("REQUESTS_CA_BUNDLE", True))), target=target(HUB2, XET), environment=wrong)):
        assert "<" not in diagnosis.title + diagnosis.why, diagnosis.cause
        assert diagnosis.remedies, diagnosis.cause
