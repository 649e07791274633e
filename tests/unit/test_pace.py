"""The pace of a long download: on one connection, on several, and what follows for the client."""

from __future__ import annotations

import dataclasses

import pytest

from diagnostics.case import ABSENT, Case, ClientUse, Diagnosis, Header, Listing, Pace, RemoteFile
from diagnostics.diagnosis import diagnose
from diagnostics.render import words
from tests.unit.cases import CDN, HUB_HEADERS, body, case, journey, leg, response

HUGE = 5_000_000_000


def seen(together: float | None = None, **changes: object) -> Pace:
    made = Pace(journey="largest-file", host=CDN, single_bytes_per_second=250_000.0, needed_bytes=HUGE)
    several = {"connections": 4, "together_bytes_per_second": together} if together else {}
    return dataclasses.replace(made, **{**several, **changes})  # type: ignore[arg-type]


def slow(pace: Pace, *headers: Header) -> Case:
    """A hub whose CDN sends a quarter of a megabyte a second, five gigabytes to come."""
    sampled = body(outcome="sampled", bytes=550_000, expected=HUGE, bytes_per_second=250_000.0, seconds=2.2)
    largest = journey(leg(response=response(200, *HUB_HEADERS, *headers)), leg(CDN, body=sampled), name="largest-file", path="model.safetensors")
    listing = Listing(source="hub", files=(RemoteFile(path="model.safetensors", bytes=HUGE),), wanted=("model.safetensors",))
    return case(largest, listing=listing, pace=pace)


def diagnosis(made: Case) -> Diagnosis:
    found = [item for item in diagnose(made) if item.cause == "download-slow"]
    assert len(found) == 1 and found[0].severity == "warning"
    return found[0]


def test_several_connections_are_advised_where_they_help() -> None:
    """The twin: the link is what is slow, and several share it."""
    assert "4.0 times as fast" in diagnosis(slow(seen(1_000_000.0))).remedies[0].do
    assert not any("times as fast" in remedy.do for remedy in diagnosis(slow(seen(260_000.0))).remedies)


def test_hf_xet_is_advised_only_where_the_file_is_on_xet_and_the_client_has_it() -> None:
    """It opens many connections by itself; elsewhere only another tool does."""
    xet = (Header(name="x-xet-hash", value="a" * 64),)
    with_xet = slow(seen(1_000_000.0), *xet)
    with_xet = dataclasses.replace(with_xet, target=dataclasses.replace(with_xet.target, transports=(ClientUse(family="hf_xet", role="bytes"),)))
    assert diagnosis(with_xet).remedies[0].run.startswith("export HF_XET_HIGH_PERFORMANCE=1; hf download")
    assert diagnosis(slow(seen(1_000_000.0), *xet)).remedies[0].run.startswith("aria2c")


@pytest.mark.parametrize(("refused", "one"), [("429", True), ("reset", True), ("", False), ("416", False)])
def test_one_connection_is_advised_where_a_further_one_is_refused(refused: str, one: bool) -> None:
    """By a limit, and not because the range was odd."""
    runs = [remedy.run for remedy in diagnosis(slow(seen(refused=refused))).remedies]
    assert any("--max-workers 1" in run for run in runs) is one


def test_the_evidence_names_limits_and_pauses() -> None:
    made = slow(seen(1_000_000.0, longest_pause_seconds=2.5, limits=(Header(name="ratelimit", value='"resolvers";r=3;t=200'),)))
    told = {item.fact: item.seen for item in diagnosis(made).evidence}
    assert told["4 connections at once"] == "1.0 MB/s together"
    assert (told["longest pause"], told["ratelimit"]) == ("2.5 s", '"resolvers";r=3;t=200')


def test_the_report_says_how_long_it_will_take_where_that_is_long() -> None:
    """Minutes and more; what takes seconds, or is not known, is not spoken of."""
    assert words.to_come(slow(seen(1_000_000.0))) == "5.0 GB still to come: about 5.6 h at 250 kB/s on one connection, 83 min on 4"
    assert words.to_come(slow(seen(needed_bytes=1_000_000))) == ""
    assert words.to_come(slow(seen(needed_bytes=ABSENT))) == ""
