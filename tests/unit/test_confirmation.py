"""A pasted error against what the probes saw, on hand-made Cases: confirmed, refuted, something else instead, or not to be checked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from diagnostics import errors
from diagnostics.case import ABSENT, Case, Clues, Judgement, Unseen
from diagnostics.codec import decode, encode
from diagnostics.comparison import differences, lines
from diagnostics.diagnosis import judge
from diagnostics.inputs import read, read_case
from diagnostics.options import Options
from tests.unit.cases import PROXY, case, certificate, handshake, journey, leg, response, stopped_at, tunnel, unresolved

EXPIRED = "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1006)"
VAGUE = "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files."
PROXY_407 = stopped_at("tunnel", tunnel("refused", status=407, reason="Proxy Authentication Required", schemes=("Basic",)), route=PROXY)
NO_NAME = stopped_at("resolution", unresolved("EAI_NONAME", {"rcode": "NXDOMAIN"}))


def judged(text: str, *legs: object, here: bool | Unseen = ABSENT) -> Judgement:
    clues = dataclasses.replace(errors.clues_of(text.encode(), "org/name"), here=here)
    return judge(dataclasses.replace(case(journey(*legs)), clues=clues))  # type: ignore[arg-type]


def causes(judgement: Judgement) -> list[str]:
    return [item.cause for item in judgement.diagnoses]


def test_an_error_that_a_probe_sees_is_confirmed() -> None:
    """The diagnosis is the probe's, with its remedies; the text is one more piece of evidence."""
    judgement = judged("httpx2.ProxyError: 407 Proxy Authentication Required", PROXY_407)
    assert causes(judgement) == ["proxy-auth-required"]
    assert judgement.diagnoses[0].claims and "407 Proxy" in judgement.diagnoses[0].evidence[-1].seen


def test_where_the_same_step_fails_for_another_reason_that_reason_is_said_instead() -> None:
    """The text says expired, the handshake fails for its issuer: the probe decides, and what the text suggested is ruled out."""
    seen = handshake(outcome="untrusted", code=20, message="unable to get local issuer certificate", chain=(certificate("Initech Web Gateway"),))
    judgement = judged(EXPIRED, stopped_at("handshake", seen))
    assert causes(judgement)[0].startswith("tls-") and causes(judgement)[0] != "tls-certificate-expired"
    assert "tls-certificate-expired" in judgement.diagnoses[0].ruled_out[-1]


def test_on_the_same_machine_a_healthy_probe_refutes_the_text() -> None:
    """It is over, or was another one: nothing is claimed, and the run is healthy."""
    assert (causes(judged(EXPIRED, leg(), here=True)), judged(EXPIRED, leg(), here=True).verdict) == ([], "healthy")


def test_a_text_from_another_machine_is_the_diagnosis_itself() -> None:
    """Nothing here can refute it: the confidence is said, and the run is broken."""
    judgement = judged(EXPIRED, leg(), here=False)
    first = judgement.diagnoses[0]
    assert (first.cause, judgement.verdict) == ("tls-certificate-expired", "broken")
    assert "70%" in first.title and first.remedies[0].do and "another machine" in first.why


def test_what_lies_behind_another_fault_could_not_be_checked() -> None:
    """Elsewhere the text stands first; on this very machine what stands before it does."""
    assert causes(judged(EXPIRED, NO_NAME))[0] == "tls-certificate-expired"
    assert causes(judged(EXPIRED, NO_NAME, here=True))[:2][1] == "tls-certificate-expired"
    assert "could not be checked" in judged(EXPIRED, NO_NAME).diagnoses[0].why


def test_a_sentence_that_many_failures_print_gives_way_to_what_is_seen() -> None:
    """transformers prints it for a proxy's 407, a filter, no network and offline mode alike."""
    assert causes(judged(VAGUE, PROXY_407)) == ["proxy-auth-required"]
    assert causes(judged(VAGUE, leg(response=response(429)))) == ["http-rate-limited"]


def test_a_cause_without_a_probe_is_taken_from_the_text() -> None:
    """No check looks at a GPU's memory: a healthy network refutes nothing."""
    assert causes(judged("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", leg(), here=True)) == ["gpu-memory-insufficient"]


def test_a_text_without_a_known_error_changes_nothing() -> None:
    """Beside a fault, and beside none."""
    assert causes(judged("INFO all is well", PROXY_407)) == ["proxy-auth-required"]
    assert causes(judged("INFO all is well", leg())) == []


# --- what the text is about ---------------------------------------------------------------------------------------------------


def test_a_folder_that_lies_here_is_taken_for_the_target(tmp_path: Path) -> None:
    """Before a repository that the text names too; one that does not lie here is from another machine."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "config.json").write_text("{}")
    (tmp_path / "models" / "model.safetensors").write_bytes(b"x")
    text = f"OSError: {tmp_path}/models/model.safetensors is broken, for 'acme/tiny'\nSafetensorError: Error while deserializing header: HeaderTooLarge"
    assert errors.clues_of(text.encode(), "").guessed == f"path:{tmp_path}/models"
    assert errors.clues_of(text.replace(str(tmp_path), "/elsewhere/data").encode(), "").guessed == ""
    assert errors.clues_of(text.encode(), "org/name").guessed == ""


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("Repository Not Found for url: https://huggingface.co/acme/tiny/resolve/main/config.json.", "hub:acme/tiny"),
        ("OSError: Can't load tokenizer for 'acme/tiny'. If you were trying to load it from 'https://huggingface.co/models', make sure", "hub:acme/tiny"),
        (
            'Traceback (most recent call last):\n  File "x.py", line 1, in f\n    m = AutoModel.from_pretrained("gpt2")\nOSError: We couldn\'t connect',
            "hub:gpt2",
        ),
        ("OSError: [Errno 28] No space left on device: '/home/u/.cache/huggingface/hub/models--acme--tiny/blobs/ab'", "hub:acme/tiny"),
        ("MemoryError", ""),
    ],
)
def test_a_repository_in_the_text_is_taken_for_the_target(text: str, spec: str) -> None:
    """From an address, a message, the user's own line, or a folder of the cache."""
    assert errors.clues_of(text.encode(), "").guessed == spec


def test_where_a_text_comes_from_is_told_by_the_files_of_its_traceback() -> None:
    """Most of them here, or not; without any, nobody knows."""
    frame = 'Traceback (most recent call last):\n  File "{}", line 3, in f\nMemoryError\n'
    assert errors.clues_of(frame.format(__file__).encode(), "").here is True
    assert errors.clues_of(frame.format("/app/main.py").encode(), "").here is False
    assert isinstance(errors.clues_of(b"MemoryError", "").here, Unseen)


# --- replay and comparison ----------------------------------------------------------------------------------------------------


def test_a_report_is_judged_again_without_its_machine(tmp_path: Path) -> None:
    """The Case in it is enough: the same roots, by today's rules."""
    seen = case(journey(PROXY_407))
    file = tmp_path / "report.json"
    file.write_text(json.dumps({"schema": 1, "case": {**encode(seen), "a field of a later version": 1}}))
    assert causes(judge(read_case(str(file), "--diagnose-case"))) == causes(judge(seen)) == ["proxy-auth-required"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"case": 3}', '{"case": {"target": 3}}', "[" * 100_000])
def test_a_file_that_is_no_report_is_one_sentence(tmp_path: Path, content: str) -> None:
    """A usage error that names the option, whatever the file holds."""
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(pytest.UsageError, match=r"^--diagnose-case “.*” is no report.json of ours"):
        read_case(str(file), "--diagnose-case")


def test_an_error_and_a_report_do_not_go_together(tmp_path: Path) -> None:
    """The report has a machine of its own."""
    file = tmp_path / "report.json"
    file.write_text(json.dumps(encode(case(journey(leg())))))
    with pytest.raises(pytest.UsageError, match="do not go together"):
        read(Options(error="-", case=str(file)), b"MemoryError")
    assert read(Options(error="-"), b"MemoryError").lines[0].startswith("The text can mean")


def test_two_reports_differ_in_what_differs() -> None:
    """Facts, each with its place; members of lists by their name and not by their order; two runs of one machine differ in nothing."""
    works, fails = case(journey(leg())), case(journey(PROXY_407), budget_seconds=5.0)
    assert differences(works, dataclasses.replace(works, seconds=3.0, started="later")) == []
    places = {place: (mine, theirs) for place, mine, theirs in differences(works, fails)}
    assert places["journeys[listing].legs[0].route.kind"] == ("direct", "proxy")
    assert lines(works, works) == ["Nothing that was seen differs from the other report."]
    assert any("route.kind: direct here, proxy there" in line for line in lines(works, fails))


def test_clues_survive_the_report() -> None:
    """JSON both ways."""
    clues = errors.clues_of(EXPIRED.encode(), "")
    whole = dataclasses.replace(case(journey(leg())), clues=clues)
    again = decode(Case, json.loads(json.dumps(encode(whole))))
    assert isinstance(again.clues, Clues) and again.clues == clues
