"""What a report says was seen to work does: pasted into a fresh shell in the world where it was printed, and then the real client downloads."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import ssl
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from diagnostics.lab.worlds import worlds
from tests.functional import applying
from tests.functional.runs import Outcome, in_world, run, why_no_namespace

AT_ONCE = 2 + (os.cpu_count() or 1)
SCRIPT = Path(applying.__file__)
no_namespace = functools.cache(why_no_namespace)


def applied(world: str, folder: Path, *options: str) -> dict[str, Any]:
    """What came of the remedies of a world."""
    out = folder / "applied.json"
    done = run([sys.executable, "-m", "diagnostics.lab", world, "--", sys.executable, str(SCRIPT), str(out), "--diagnose={spec}", *options], folder)
    assert out.exists(), done.output
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[dict[str, Any]]]]:
    """Several worlds at once: most of their time is waiting."""
    asked = [item.callspec.params.get("world", "") for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ready = [name for name in asked if name in applying.WORLDS and not (worlds()[name].needs == "namespace" and no_namespace())]
        yield {name: pool.submit(applied, name, tmp_path_factory.mktemp(name[:40])) for name in ready}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("world", applying.WORLDS)
def test_a_remedy_that_was_seen_to_work_lets_the_client_download(world: str, outcomes: dict[str, Future[dict[str, Any]]]) -> None:
    """Each of them by itself, as printed."""
    if world not in outcomes:
        pytest.skip(no_namespace())
    outcome = outcomes[world].result()
    assert outcome["cause"] == worlds()[world].cause
    assert outcome["tried"], "it was on the list because one was seen to work"
    assert [(tried["run"], tried["said"]) for tried in outcome["tried"] if tried["code"]] == []


# --- --diagnose-save-ca -------------------------------------------------------------------------------------------------------


def saved(world: str, folder: Path, *options: str) -> Outcome:
    if no_namespace():
        pytest.skip(no_namespace())
    return in_world(world, folder, f"--diagnose-save-ca={folder / 'ca.pem'}", *options)


def test_a_root_that_was_sent_is_saved_told_and_used(tmp_path: Path) -> None:
    """The middlebox sends its root: the file holds it, and the report tells its fingerprint."""
    outcome = saved("tls-intercepted-whole-chain", tmp_path)
    der = ssl.PEM_cert_to_DER_cert((tmp_path / "ca.pem").read_text())
    record, remedy = outcome.document["case"]["saved_authority"], outcome.document["diagnoses"][0]["remedies"][0]
    assert (record["root"], record["source"], record["fingerprint"]) == (True, "presented", hashlib.sha256(der).hexdigest())
    assert record["fingerprint"] in remedy["do"] and remedy["proof"] == "untried", "only a person can compare it"


def test_the_remedy_that_names_the_saved_root_works(tmp_path: Path) -> None:
    """Once a person has compared it."""
    if no_namespace():
        pytest.skip(no_namespace())
    outcome = applied("tls-intercepted-whole-chain", tmp_path, f"--diagnose-save-ca={tmp_path / 'ca.pem'}")
    assert str(tmp_path / "ca.pem") in outcome["tried"][0]["run"]
    assert [(tried["run"], tried["said"]) for tried in outcome["tried"] if tried["code"]] == []


def test_an_intermediate_alone_is_said_to_be_one(tmp_path: Path) -> None:
    """It is no root: the remedy goes on asking for that."""
    outcome = saved("tls-intercepted-intermediate", tmp_path)
    assert outcome.document["case"]["saved_authority"]["root"] is False
    assert "only an intermediate" in " ".join(outcome.output.split())
    assert "company-root.pem" in outcome.document["diagnoses"][0]["remedies"][0]["run"]


@pytest.mark.parametrize("world", ["tls-intercepted-bare-leaf", "healthy-internet"])
def test_nothing_is_saved_where_there_is_nothing(world: str, tmp_path: Path) -> None:
    """A leaf is nobody's authority, and a trusted chain needs none."""
    outcome = saved(world, tmp_path)
    assert not (tmp_path / "ca.pem").exists()
    assert "nothing saved" in " ".join(outcome.output.split())


def test_a_root_of_this_machines_own_stores_is_found_by_its_name(tmp_path: Path) -> None:
    """The operating system has it, though it was not sent."""
    outcome = saved("ca-variable-ignored-alone", tmp_path)
    assert outcome.document["case"]["saved_authority"]["source"] == "on this machine"


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    """Said before anything is looked at."""
    (tmp_path / "ca.pem").write_text("mine")
    outcome = in_world("healthy-hub", tmp_path, f"--diagnose-save-ca={tmp_path / 'ca.pem'}")
    assert (outcome.code, (tmp_path / "ca.pem").read_text()) == (4, "mine")
    assert "nothing is overwritten" in outcome.output


# --- the ticket ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("world", "states"),
    [
        ("download-host-blocked-refused", {"huggingface.co": "reached", "cdn-lfs.hf.co": "refused"}),
        ("download-host-blocked-by-sni", {"huggingface.co": "reached", "cdn-lfs.hf.co": "tls-reset"}),
        ("tls-handshake-cut-by-name", {"huggingface.co": "tls-by-name"}),
        ("download-host-blocked-by-proxy", {"huggingface.co": "reached", "cdn-lfs.hf.co": "proxy-refused"}),
        ("tls-intercepted-download-host", {"huggingface.co": "reached", "cdn-lfs.hf.co": "tls-replaced"}),
        ("healthy-internet", {"huggingface.co": "reached", "cdn-lfs.hf.co": "reached"}),
        ("healthy-proxy", {"huggingface.co": "reached", "cdn-lfs.hf.co": "reached"}),
    ],
)
def test_the_ticket_tells_how_far_each_host_was_reached(world: str, states: dict[str, str], tmp_path: Path) -> None:
    """Hosts found by following, each with what stood in the way; in the JSON and as text."""
    if no_namespace():
        pytest.skip(no_namespace())
    document = in_world(world, tmp_path).document
    assert {host["host"]: host["state"] for host in document["hosts"]} == states
    blocked = [name for name, state in states.items() if state != "reached"]
    assert [name for name in blocked if f"BLOCKED   {name}:443" in document["ticket"]] == blocked
    assert document["ticket"].count("BLOCKED") == len(blocked)
