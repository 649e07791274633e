"""What names this site is gone from every document; what a diagnosis stands on is still told apart."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from diagnostics.case import (
    Case,
    Certificate,
    ConfiguredProxy,
    Disk,
    Distribution,
    Environment,
    Header,
    Interpreter,
    NetrcEntry,
    Platform,
    ProxySetting,
    Report,
    Target,
    Variable,
)
from diagnostics.diagnosis import diagnose
from diagnostics.render import FILES, terminal
from diagnostics.render.anonymize import anonymize
from tests.examples import SAMPLES, reported, several
from tests.unit.cases import HUB, PROXY, certificate, handshake, journey, leg, resolution, response, stopped_at, tunnel

SITE = ("initech", "gw7", "alice", "bob", "10.20.30.40", "203.0.113.77", "2001:db8:77", "fd12:3456", "squidbox", "nas01")


def site(user: str = "alice", **changes: Any) -> Report:
    """A report in which the site's names stand wherever a record can hold them."""
    place = f"/home/{user}/models"
    environment = Environment(
        platform=Platform(system="Linux", user=user, default_route=True),
        interpreter=Interpreter(executable=f"/scratch/{user}/venv/bin/python", version="3.11.7"),
        proxies=(ProxySetting(variable="HTTP_PROXY", value="http://***@gw7.initech.example:3128", host="gw7.initech.example", port=3128),),
        configured_proxies=(ConfiguredProxy(source="pip.conf", value="http://squidbox:3128"),),
        no_proxy=(Variable(name="NO_PROXY", value="localhost,.initech.example,10.20.30.40,mirror.initech.example:8443"),),
        netrc=(NetrcEntry(host="git.initech.example", path=f"C:\\Users\\{user}\\_netrc"),),
        settings=(Variable(name="HF_HUB_CACHE", value=r"\\nas01.initech.example\share\bob"), Variable(name="MIRROR", value="https://nas01/hf")),
        distributions=(Distribution(name="nvidia-cublas", version="12.1.3.1", location=f"{place}/lib"),),
        caches={"hub": f"{place}/hub", "temp": "/tmp"},
    )
    seen = response(
        403,
        Header(name="via", value="1.1 cache3.initech.example (squid/5.7)"),
        title="Initech.example: blocked for alice",
        location="https://login.initech.example/",
    )
    denied = stopped_at("tunnel", tunnel("refused", status=403, proxy="gw7.initech.example:3128", title=f"no entry for {user}@initech.example"), route=PROXY)
    signed = handshake(chain=(certificate("DigiCert Inc", names=(HUB, "*.initech.example"), subject="CN=deep.er.initech.example"),))
    case = Case(
        started="2026-11-22T01:00:00Z",
        target=Target(spec=place, kind="hub", name="org/name", endpoint="https://hub.initech.example/hf", urls=("https://files.initech.example/x.bin",)),
        environment=environment,
        resolvers=("10.20.30.40", "fd12:3456::53"),
        journeys=(
            journey(denied),
            journey(
                leg(
                    "hub.initech.example",
                    resolution=resolution("hub.initech.example", message="asked 203.0.113.77 and 2001:db8:77::1"),
                    response=seen,
                    handshake=signed,
                ),
                name="b",
            ),
        ),
        disks=(Disk(roles=("cache",), path=place, denied_owner="bob", writable=False, write_errno=13),),
        **changes,
    )
    return reported(case)


@pytest.mark.parametrize("document", [*FILES, "terminal"])
def test_nothing_names_the_site(document: str) -> None:
    """Its twin, the report as it is, does."""
    plain, hidden = (_text(document, report) for report in (site(), anonymize(site())))
    assert [name for name in SITE if name in hidden.lower().replace("initech.example:", "")] == []
    assert "initech" in plain.lower()


def _text(document: str, report: Report) -> str:
    if document == "terminal":
        return "\n".join(line.text for line in terminal.section(report, 80, {}))
    return FILES[document](report)


def test_public_hosts_loopback_and_versions_stay() -> None:
    hidden = FILES["report.json"](anonymize(site()))
    for kept in (HUB, "localhost", "12.1.3.1", "org/name", "2026-11-22T01:00:00Z", "DigiCert"):
        assert kept in hidden


def test_tokens_are_the_same_everywhere_and_told_apart() -> None:
    """The proxy of a leg and of a variable are one host; hosts of one domain share it."""
    hidden = anonymize(several())
    proxy = hidden.case.environment.proxies[0].host
    assert proxy == hidden.case.legs[-1].route.host != several().case.environment.proxies[0].host
    assert FILES["report.json"](anonymize(several())) == FILES["report.json"](hidden)
    endpoint = anonymize(site()).case.target.endpoint
    no_proxy = anonymize(site()).case.environment.no_proxy[0].value
    assert no_proxy.split(",")[1].strip(".") == endpoint.removeprefix("https://").removesuffix("/hf").partition(".")[2]


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "hostile"])
def test_an_anonymized_case_has_the_same_diagnoses(name: str) -> None:
    """A private address stays private, a public one does not become so."""
    report = SAMPLES[name]()
    assert [item.cause for item in diagnose(anonymize(report).case)] == [item.cause for item in diagnose(report.case)]
    assert anonymize(report).judgement.verdict == report.judgement.verdict


@pytest.mark.parametrize("user", ["hub", "model", "direct", "error", "cause", "jo", "python", "tls-intercepted"])
def test_a_user_called_like_a_word_of_ours_breaks_nothing(user: str) -> None:
    """Keys, ids and closed sets of words are not the user's name; the path is."""
    hidden = anonymize(site(user))
    assert hidden.case.target.kind == "hub"
    assert f"/home/{user}/" not in FILES["report.json"](hidden)
    assert [item.cause for item in hidden.judgement.diagnoses] == [item.cause for item in site(user).judgement.diagnoses]


def test_many_addresses_stay_apart() -> None:
    """More than one byte can count."""
    servers = tuple(f"10.{number // 250}.{number % 250}.7" for number in range(1, 700))
    report = dataclasses.replace(several(), case=dataclasses.replace(several().case, resolvers=servers))
    hidden = anonymize(report).case.resolvers
    assert len(set(hidden or ())) == len(servers)


def test_certificates_keep_their_dates_and_prints() -> None:
    """A fingerprint or a time is no address."""
    colons = ":".join(["AB"] * 32)
    report = site()
    one = Certificate(subject="CN=x", issuer="CN=y", not_before="2026-01-01T10:20:30Z", fingerprint="ab" * 32, signature=colons)
    changed = dataclasses.replace(report, case=dataclasses.replace(report.case, journeys=(journey(leg(handshake=handshake(chain=(one,)))),)))
    shown = anonymize(changed).case.legs[0].handshake
    assert shown and shown.chain[0] == one
