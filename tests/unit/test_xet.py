"""The bytes' own way through Xet storage: whom the tokens go to, what is tried where it fails, and what is left out of every record."""

from __future__ import annotations

import dataclasses
from http.client import HTTPMessage
from urllib.parse import urlsplit

import pytest

from diagnostics.case import NOT_ASKED, Case, ClientUse, Environment, Target
from diagnostics.causes.alternatives import remedies, ruled_out
from diagnostics.codec import encode
from diagnostics.diagnosis import judge
from diagnostics.lab import hub as hubs
from diagnostics.lab import xet
from diagnostics.lab.http import App, text
from diagnostics.lab.stage import Stage
from diagnostics.probes.http import Sample, xet_fields
from diagnostics.probes.journey import Trip
from diagnostics.probes.survey import Survey
from diagnostics.probes.xet import see_xet
from diagnostics.redact import Secrets
from tests.unit import cases
from tests.unit.test_probes_network import means_with

TARGET = Target(
    spec=hubs.NAME,
    name=hubs.NAME,
    kind="hub",
    client=ClientUse(family="huggingface_hub-2", version="2.4.0"),
    transports=(ClientUse(family="hf_xet", version="1.8.0", role="bytes"),),
)


def look(stage: Stage, cas: App | None = None, store: App | None = None, target: Target = TARGET) -> Case:
    tiny = hubs.tiny()
    bytes_from = stage.web("cdn", hubs.cdn(tiny))
    pieces_from = stage.web("store", store or xet.store(tiny))
    told_by = stage.web("cas", cas or xet.cas(tiny, store=pieces_from))
    base = stage.web("hub", xet.hub(tiny, cdn=bytes_from, cas=told_by))
    secrets = Secrets(token=hubs.TOKEN, endpoint=base)
    return Survey(dataclasses.replace(target, endpoint=base), Environment(), secrets, wanted=frozenset({"journeys"}), budget_seconds=20).run()


def test_the_pieces_are_followed_and_no_token_is_kept() -> None:
    """Token, CAS, store; the CDN is not asked. The hub's token stays with the hub, and neither is in the Case."""
    with Stage() as stage:
        case = look(stage)
        found = next(journey for journey in case.journeys or () if journey.name == "xet")
        assert [leg.response.status for leg in found.legs if leg.response] == [200, 206, 206]
        assert found.client.family == "hf_xet"
        assert stage.visits["cdn"] == []
        assert {request.headers.get("authorization") for request in stage.visits["cas"]} == {f"Bearer {xet.TOKEN}"}
        assert {request.headers.get("authorization") for request in stage.visits["store"]} == {None}
        kept = str(encode(case))
        assert hubs.TOKEN not in kept and xet.TOKEN not in kept and "c0ffee" not in kept
        assert judge(case).diagnoses == ()


@pytest.mark.parametrize("refresh", ["https://[x", "https://h:99999999/x", "http://169.254.169.254/latest", "file:///etc/passwd"])
def test_a_refresh_route_that_is_no_address_is_not_asked(refresh: str) -> None:
    """A header of the server's: neither a crash of ours, nor a question to a machine's metadata service."""
    trip = Trip(name="largest-file", purpose="x", url="http://127.0.0.1:9/f", path="f", sample=Sample(most_bytes=1))
    nowhere = dataclasses.replace(means_with(), endpoint=urlsplit("http://127.0.0.1:9"))
    assert see_xet(trip, ("a" * 64, refresh), nowhere, nowhere, lambda journey: None).legs == ()


def test_without_hf_xet_the_bytes_come_from_the_cdn() -> None:
    with Stage() as stage:
        case = look(stage, target=dataclasses.replace(TARGET, transports=()))
        assert "xet" not in [journey.name for journey in case.journeys or ()]
        assert stage.visits["cdn"]


def test_where_it_fails_plain_http_is_tried_and_recommended() -> None:
    """The effect was seen, so the remedy says so."""
    with Stage() as stage:
        case = look(stage, store=lambda request: text("try later", 503))
        root = judge(case).diagnoses[0]
        assert root.cause == "http-server-error"
        assert (root.remedies[0].run, root.remedies[0].proof) == ("export HF_HUB_DISABLE_XET=1", "seen")


def test_a_cas_without_the_older_endpoint_is_asked_by_the_newer_one() -> None:
    """And what it says there is enough."""
    with Stage() as stage:
        case = look(stage, cas=lambda request: text("{}", content_type="application/json") if request.path.startswith("/v2/") else text("gone", 404))
        assert judge(case).diagnoses == ()


@pytest.mark.parametrize(
    "said", ["[]", "nonsense", '{"fetch_info": 3}', '{"fetch_info": {"a": [{"url": "file:///etc/passwd"}]}}', '{"fetch_info": {"a": [7]}}']
)
def test_a_cas_that_talks_nonsense_leads_nowhere_else(said: str) -> None:
    """No further host is asked."""
    with Stage() as stage:
        case = look(stage, cas=lambda request: text(said, content_type="application/json"))
        found = next(journey for journey in case.journeys or () if journey.name == "xet")
        assert len(found.legs) == 2
        assert stage.visits["store"] == []


@pytest.mark.parametrize(
    ("fields", "refresh"),
    [
        ({"X-Xet-Hash": "a" * 64, "Link": '<https://h/t>; rel="xet-auth", <https://h/i>; rel="xet-reconstruction-info"'}, "https://h/t"),
        ({"X-Xet-Hash": "a" * 64, "Link": '<https://h/i>; rel="xet-reconstruction-info", <https://h/t>; rel="xet-auth"'}, "https://h/t"),
        ({"X-Xet-Hash": "a" * 64, "X-Xet-Refresh-Route": "https://h/r"}, "https://h/r"),
        ({"X-Xet-Hash": "../../x", "X-Xet-Refresh-Route": "https://h/r"}, ""),
        ({"X-Xet-Hash": "a" * 64}, ""),
        ({}, ""),
    ],
)
def test_where_the_token_is_to_be_had(fields: dict[str, str], refresh: str) -> None:
    headers = HTTPMessage()
    for name, value in fields.items():
        headers[name] = value
    assert xet_fields(headers)[1] == refresh


def test_what_was_tried_and_did_not_help_is_ruled_out() -> None:
    """A way out that was seen is a remedy, one that was not is named."""
    leg = cases.stopped_at("connection", cases.connection((cases.IPV4, "refused")), counterfactuals=cases.answer("without-xet", False, "no more from the CDN"))
    found = cases.case(cases.journey(leg, name="xet"))
    claims = judge(found).diagnoses[0].claims
    assert remedies(claims, found) == []
    assert any("without Xet" in sentence for sentence in ruled_out(claims, found))
    assert found.client_trial is NOT_ASKED
