"""The ticket for whoever runs the firewall: which connections are needed, how far each was reached and what stood in the way; no secret, on lines of their own."""

from __future__ import annotations

import dataclasses
import json

import pytest

from diagnostics import report as reports
from diagnostics.case import Case, Header, Leg, Report
from diagnostics.diagnosis import judge
from diagnostics.reaching import BLOCKED, hosts_of, state_of
from diagnostics.render import json as json_renderer
from diagnostics.render import markdown, terminal
from diagnostics.render.anonymize import anonymize
from diagnostics.render.ticket import short, ticket
from tests.unit.cases import (
    CDN,
    HUB_HEADERS,
    IPV4,
    IPV6,
    PROXY,
    answer,
    body,
    case,
    certificate,
    connection,
    handshake,
    journey,
    leg,
    response,
    stopped_at,
    tunnel,
    unresolved,
)

BY_PROXY = {"route": PROXY, "tunnel": tunnel("open")}
STATES = [
    ("name-unknown", stopped_at("resolution", unresolved("EAI_NONAME", {"rcode": "NXDOMAIN"})), "NXDOMAIN from 10.0.0.53"),
    ("refused", stopped_at("connection", connection((IPV4, "refused"))), "port 443: refused at once"),
    ("reset", stopped_at("connection", connection((IPV4, "reset"))), "before the connection stood"),
    ("dropped", stopped_at("connection", connection((IPV4, "timed_out"))), "no answer"),
    ("dropped", stopped_at("connection", connection((IPV6, "unreachable"), (IPV4, "timed_out"))), "no answer"),
    ("unreachable", stopped_at("connection", connection((IPV4, "unreachable"))), "no route"),
    ("denied-here", stopped_at("connection", connection((IPV4, "denied"))), "this machine's own packet filter"),
    ("proxy-unreachable", stopped_at("connection", connection((IPV4, "refused"), port=3128), route=PROXY), "the proxy proxy.corp.example:3128"),
    ("proxy-refused", stopped_at("tunnel", tunnel("refused", status=403, reason="Forbidden", title="Blocked"), route=PROXY), "403 Forbidden “Blocked”"),
    ("proxy-login", stopped_at("tunnel", tunnel("refused", status=407), route=PROXY), "407"),
    ("proxy-silent", stopped_at("tunnel", tunnel("silent"), route=PROXY), "does not answer CONNECT"),
    ("tls-reset", stopped_at("handshake", handshake(outcome="reset")), "TCP connects; TLS: cut"),
    ("tls-dropped", stopped_at("handshake", handshake(outcome="silent")), "TCP connects; TLS: no answer"),
    ("tls-by-name", stopped_at("handshake", handshake(outcome="reset"), counterfactuals=answer("without-sni", True)), "(SNI)"),
    ("tls-replaced", stopped_at("handshake", handshake(outcome="untrusted", chain=(certificate("Zscaler Inc."),))), "Zscaler"),
    ("tls-failed", stopped_at("handshake", handshake(outcome="untrusted", chain=(certificate(),), message="certificate has expired")), "expired"),
    ("not-tls", stopped_at("handshake", handshake(outcome="not_tls")), "does not speak TLS"),
    ("request-cut", stopped_at("response", response(outcome="reset")), "after the request"),
    ("request-dropped", stopped_at("response", response(outcome="silent")), "no answer to the request"),
    ("filtered", leg(response=response(403, Header(name="server", value="nobody"), title="Access denied")), "403 “Access denied” is not the host's own"),
    ("content-cut", leg(body=body(outcome="reset", bytes=4096)), "after 4096 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("state", "request_", "words"), STATES, ids=[f"{state}-{number}" for number, (state, _, _) in enumerate(STATES)])
def test_what_stood_in_the_way_is_named_by_its_kind(state: str, request_: Leg, words: str) -> None:
    """Refused, dropped, cut by name, refused by a proxy: what an admin has to look for differs."""
    seen, how = state_of(request_)
    assert seen == state
    assert words in how


@pytest.mark.parametrize("request_", [leg(), leg(**BY_PROXY), leg(response=response(404, *HUB_HEADERS)), leg(response=response(401, *HUB_HEADERS))])
def test_what_the_host_itself_answers_is_no_blockade(request_: Leg) -> None:
    """A 401 or 404 of the host's own is the model's matter, not the network's."""
    assert state_of(request_) == ("reached", "")


def report_of(made: Case) -> Report:
    return reports.build(made, judge(made))


def test_a_host_shows_the_worst_that_any_request_met() -> None:
    """Its API answers and its files are cut: that is what the admin has to know, and that it was reached all the same."""
    found = hosts_of(case(journey(leg()), journey(leg(body=body(outcome="stalled", bytes=9)), name="largest-file")))
    assert [(host.state, host.reached, host.needed_for) for host in found] == [("content-cut", True, "metadata, files")]


@pytest.mark.parametrize(("address", "said"), [("127.0.0.1", False), ("10.0.0.7", True)])
def test_no_admin_is_asked_about_what_never_leaves_the_machine(address: str, said: bool) -> None:
    """A refusal at loopback is its user's matter; at any other address it may be a firewall's."""
    refused = stopped_at("connection", connection((dataclasses.replace(IPV4, ip=address), "refused")))
    assert bool(short(report_of(case(journey(refused))))) == said


def test_the_ticket_names_every_host_and_what_is_behind() -> None:
    """The blocked one with its address and how; the open one; the proxy's part; when and from where."""
    blocked = stopped_at("connection", dataclasses.replace(connection((IPV4, "timed_out")), source="10.0.0.7"), CDN)
    text = ticket(report_of(case(journey(leg()), journey(leg(), blocked, name="largest-file"))))
    assert "BLOCKED   cdn-lfs.hf.co:443  (files)" in text
    assert "18.1.2.3" in text and "no answer" in text
    assert "open      huggingface.co:443" in text
    assert "10.0.0.7" in text and "No proxy is used" in text
    assert max(map(len, text.splitlines())) <= 90


def test_hosts_behind_a_blocked_hub_are_said_to_be_unknown_yet() -> None:
    """And named from the dated table, as what was not tried; an open hub needs no list."""
    closed = ticket(report_of(case(journey(stopped_at("connection", connection((IPV4, "refused")))))))
    assert "not known yet" in closed and "*.xethub.hf.co" in closed and "not tried" in closed
    assert "xethub" not in ticket(report_of(case(journey(leg()))))


def test_behind_a_proxy_the_proxy_has_to_let_it_through() -> None:
    text = ticket(report_of(case(journey(stopped_at("tunnel", tunnel("refused", status=403, reason="Forbidden"), route=PROXY)))))
    assert "Through the proxy proxy.corp.example:3128 (by HTTPS_PROXY)" in text
    assert "CONNECT" in text and "No proxy is used" not in text


def test_it_is_in_every_document_and_short_on_the_terminal_only_where_something_is_blocked() -> None:
    """JSON and Markdown hold it whole; a healthy run's terminal says nothing of it."""
    blocked, healthy = (report_of(case(journey(found))) for found in (stopped_at("connection", connection((IPV4, "refused"))), leg()))
    assert json.loads(json_renderer.text(blocked))["ticket"] == ticket(blocked)
    assert all(line in markdown.text(blocked) for line in ticket(blocked).splitlines())
    assert any("For your admin: huggingface.co:443 refused" in line.text for line in terminal.section(blocked, 100, {}))
    assert short(healthy) == ""
    assert not any("admin" in line.text for line in terminal.section(healthy, 100, {}))


def test_a_hostile_title_stays_on_its_line() -> None:
    """A page's title can neither end the fence of the Markdown nor forge a line of the ticket."""
    page = response(403, Header(name="server", value="nobody"), title="x```\nBLOCKED evil:1")
    text = ticket(report_of(case(journey(leg(response=page)))))
    assert not any(line.startswith("BLOCKED evil") for line in text.splitlines())
    assert "````text" in markdown.text(report_of(case(journey(leg(response=page)))))


def test_anonymized_it_names_nobody() -> None:
    found = report_of(case(journey(stopped_at("tunnel", tunnel("refused", status=403), "models.corp.example", route=PROXY))))
    text = ticket(anonymize(found))
    assert "corp" not in text


def test_every_state_of_a_blockade_is_tried_above() -> None:
    assert {state for state, _, _ in STATES} >= BLOCKED
