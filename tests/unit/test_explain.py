"""What pasted errors mean: measured texts of clients, provoked errors of loaders, wordings from the field; and silence about healthy logs."""

from __future__ import annotations

import errno
import json
import re
import socket
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import diagnostics
from diagnostics import errors
from diagnostics.causes import BY_ID
from diagnostics.clues.lines import read_lines
from diagnostics.codec import encode
from diagnostics.facts.signatures import Signature, compiled, look, signatures

DATA = Path(__file__).parent / "data"
CURL = ("curl(", "log:")


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def causes(error: str | bytes | BaseException) -> list[str]:
    return [item.cause for item in diagnostics.explain(error)]


def as_traceback(lines: list[str]) -> str:
    """A chain, last error first as it was measured, the way Python prints it: first error first."""
    if lines[0].startswith(CURL):
        return "\n".join(line.split(": ", 1)[1] for line in lines)
    head = 'Traceback (most recent call last):\n  File "load.py", line 3, in main\n    load()\n'
    joined = "\n\nThe above exception was the direct cause of the following exception:\n\n"
    return joined.join(head + line.removeprefix("builtins.") for line in reversed(lines)) + "\n"


def is_right(got: list[str], wanted: list[str]) -> bool:
    """One cause: it stands first. Several that print the same text: all of them among the first three."""
    return got[:1] == wanted if len(wanted) == 1 else set(wanted) <= set(got[:3])


@pytest.mark.parametrize("form", ["traceback", "lines"])
def test_measured_texts_of_clients_lead_to_their_causes(form: str) -> None:
    """Of 972 measured texts (577 distinct), 95 of 100 for every client; the whole chain in either form."""
    right, all_of = Counter[str](), Counter[str]()
    for row in rows("client_errors.jsonl"):
        text = as_traceback(row["lines"]) if form == "traceback" else "\n".join(row["lines"])
        all_of[row["client"]] += 1
        right[row["client"]] += is_right(causes(text), row["causes"])
    assert {client: (right[client], count) for client, count in all_of.items() if right[client] < 0.95 * count} == {}


@pytest.mark.parametrize("row", rows("loader_errors.jsonl"), ids=lambda row: f"{row['condition']}, {row['client'].split(',')[0]}")
def test_provoked_errors_of_loaders_lead_to_their_causes(row: dict[str, Any]) -> None:
    """Whole tracebacks of transformers, torch, safetensors and huggingface_hub, each provoked for real."""
    assert causes(row["text"])[0] in row["causes"]


@pytest.mark.parametrize("row", rows("field_errors.jsonl"), ids=lambda row: row["text"][:60])
def test_wordings_from_the_field_lead_to_their_causes(row: dict[str, Any]) -> None:
    """As people paste them: git, wget, pip, docker, Slurm, Kubernetes, llama.cpp, vllm, older clients."""
    assert causes(row["text"])[0] in row["causes"]


@pytest.mark.parametrize("row", rows("thread_errors.jsonl"), ids=lambda row: row["source"])
def test_errors_of_public_threads_lead_to_what_the_thread_found(row: dict[str, Any]) -> None:
    """Tracebacks and logs of issue threads, shortened; ``causes`` is what its maintainers or poster found, or all that the text honestly allows."""
    assert causes(row["text"])[0] in row["causes"]


@pytest.mark.parametrize("row", rows("harmless_logs.jsonl"), ids=lambda row: row["tool"])
def test_nothing_about_a_healthy_log(row: dict[str, Any]) -> None:
    """Warnings, progress bars, retries that helped, words like "error" and "failed": no explanation is better than a wrong one."""
    assert causes(row["text"]) == []


# --- the signatures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signature", [item for item in signatures() if item.example], ids=lambda item: item.id)
def test_every_signature_is_met_by_its_example(signature: Signature) -> None:
    """A wording that stands in the tables is recognised, and leads to the table's first cause."""
    found = diagnostics.explain(signature.example)
    assert found and (found[0].cause, found[0].signature) == (signature.causes[0][0], signature.id)


def test_signatures_name_causes_that_exist_and_say_where_they_were_seen() -> None:
    """Ids are unique, sums of confidences are at most one, every cause has a meaning, a place to look at and something to do."""
    ids = Counter(item.id for item in signatures())
    assert [name for name, count in ids.items() if count > 1] == []
    assert [item.id for item in signatures() if not item.seen or sum(share for _, share in item.causes) > 1] == []
    assert {cause for item in signatures() for cause, _ in item.causes} <= set(look())
    assert all(compiled(item.match) for item in signatures())
    assert set(BY_ID) - {"survey-timed-out", "unexplained"} <= set(look())
    assert [cause for cause, entry in look().items() if not {"means", "look", "do"} <= set(entry)] == []


# --- the text -----------------------------------------------------------------------------------------------------------------

PLAIN = """Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/huggingface_hub/file_download.py", line 555, in http_get
    temp_file.write(chunk)
OSError: [Errno 28] No space left on device: '/cache/hub/tmp1'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/main.py", line 10, in <module>
    model = AutoModel.from_pretrained("acme/large")
OSError: We couldn't connect to 'https://huggingface.co' to load this file, couldn't find it in the cached files
"""


def each(prefix: str) -> str:
    return "\n".join(prefix + line for line in PLAIN.splitlines())


DRESSED = {
    "docker compose": each("trainer-1  | "),
    "kubectl --prefix": each("[pod/train-0/main] "),
    "kubectl --timestamps": each("2026-05-01T10:00:00.123456789Z "),
    "CRI": each("2026-05-01T10:00:00.123456789Z stderr F "),
    "GitHub Actions": each("2026-05-01T10:00:00.1234567Z "),
    "GitLab": each("2026-05-01T10:00:00.123456Z 01E "),
    "Jenkins": each("[2026-05-01T10:00:00.123Z] "),
    "Jenkins timestamper": each("10:00:00  "),
    "syslog": each("May  1 10:00:00 node1 trainer[123]: "),
    "torchrun": each("[rank3]: "),
    "ray": each("(train pid=123, ip=10.0.0.7) "),
    "srun": each("0: "),
    "GitHub Actions in docker compose": each("2026-05-01T10:00:00.1234567Z trainer-1  | "),
    "stern": each("train-0 main "),
    "a quoted ticket": each("> "),
    "colours": PLAIN.replace("OSError", "\x1b[0;31mOSError\x1b[0m").replace("Traceback", "\x1b[1mTraceback"),
    "docker's json-file": "\n".join(json.dumps({"log": line + "\n", "stream": "stderr", "time": "2026-05-01T10:00:00Z"}) for line in PLAIN.splitlines()),
    "structured log": json.dumps({"level": "error", "msg": "load failed", "exc_info": PLAIN}),
    "escaped line breaks": PLAIN.replace("\n", "\\n"),
    "Windows line ends": PLAIN.replace("\n", "\r\n"),
    "among other lines": "INFO start\n" * 50 + PLAIN + "INFO exit\n" * 5,
    "a notebook": json.dumps(
        {
            "cells": [
                {"outputs": [{"output_type": "error", "ename": "OSError", "evalue": "x", "traceback": ["\x1b[0;31m" + line for line in PLAIN.splitlines()]}]}
            ]
        }
    ),
}


@pytest.mark.parametrize("name", DRESSED)
def test_what_stands_in_front_of_a_line_changes_nothing(name: str) -> None:
    """The same traceback as containers, schedulers, CI systems and notebooks print it; the first error decides, not the misleading last one."""
    found = diagnostics.explain(DRESSED[name])
    assert found[0].cause == "disk-space-insufficient"
    assert ("repository", "acme/large") in {(subject.kind, subject.name) for subject in found[0].subjects} or name == "a notebook"


def test_a_notebook_traceback_is_read() -> None:
    """IPython's form: the name in the heading, frames as "path in function(…)", arrows before the user's line."""
    text = """---------------------------------------------------------------------------
ModuleNotFoundError                       Traceback (most recent call last)
Cell In[3], line 2
      1 from transformers import AutoTokenizer
----> 2 tokenizer = AutoTokenizer.from_pretrained("acme/t5")

File ~/venv/lib/python3.11/site-packages/transformers/models/auto/tokenization_auto.py:814, in AutoTokenizer.from_pretrained(cls, name)
    812 import sentencepiece

ModuleNotFoundError: No module named 'sentencepiece'
"""
    found = diagnostics.explain(text)[0]
    assert (found.cause, found.subjects[0].kind, found.subjects[0].name) == ("package-missing", "package", "sentencepiece")


def test_a_chain_without_frames_is_followed() -> None:
    """huggingface_hub 2 raises an earlier error again without its traceback: its line stands alone before "direct cause"."""
    text = as_traceback(["builtins.OSError: We couldn't connect to 'https://huggingface.co' to load the files"]).strip()
    joined = "httpx2.ProxyError: 407 Proxy Authentication Required\n\nThe above exception was the direct cause of the following exception:\n\n" + text
    assert causes(joined)[0] == "proxy-auth-required"


def test_where_the_last_error_hides_the_reason_the_warnings_before_it_are_heard() -> None:
    """datasets keeps only the name of what was caught; the client's own warnings say why. Without a failure the same warnings say nothing."""
    warning = "'[Errno -3] Temporary failure in name resolution' thrown while requesting HEAD https://huggingface.co/datasets/acme/none\nRetrying in 1s [Retry 1/5].\n"
    failure = "Traceback (most recent call last):\n  File \"/venv/lib/datasets/load.py\", line 1115, in f\nConnectionError: Couldn't reach 'acme/none' on the Hub (LocalEntryNotFoundError)\n"
    assert causes(warning + failure)[0] == "dns-server-unreachable"
    assert causes(warning + "README.md: 100%|█████| 1/1\n") == []


def test_what_ended_a_run_stands_before_what_it_survived() -> None:
    """Two failures of equal weight: the later one ended the run."""
    survived = "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\nModuleNotFoundError: No module named 'apex'\n\nINFO continuing\n"
    ended = 'Traceback (most recent call last):\n  File "b.py", line 1, in g\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n'
    assert causes(survived + ended)[:1] == ["gpu-memory-insufficient"]
    assert causes(survived)[:1] == ["package-missing"]


def test_what_fails_on_the_way_to_the_bytes_is_the_later_host() -> None:
    """The traceback shows how far it got: the same error in the request for metadata is the hub's own."""
    text = 'Traceback (most recent call last):\n  File "/venv/lib/python3.11/site-packages/huggingface_hub/file_download.py", line 420, in {}\n    r = request()\nhttpx2.ConnectError: {}\n'
    for said in ("[Errno 111] Connection refused", "[Errno -2] Name or service not known", "[Errno 104] Connection reset by peer"):
        assert causes(text.format("http_get", said))[0] == "download-host-blocked"
        assert "download-host-blocked" not in causes(text.format("get_hf_file_metadata", said))


def test_an_error_that_nobody_knows_is_called_one() -> None:
    """Raised inside a loader: the load failed, and how is not known; raised in the user's own code, or among other clues, it is none of ours."""
    text = 'Traceback (most recent call last):\n  File "{}", line 420, in f\n    x\nIndexError: list index out of range\n'
    found = diagnostics.explain(text.format("/venv/lib/python3.11/site-packages/transformers/modeling_utils.py"))
    assert [(item.cause, item.confidence) for item in found] == [("load-failed", 0.25)]
    assert causes(text.format("/home/u/project/main.py")) == []


def test_versions_in_the_text_decide_which_way() -> None:
    """Too old below the floor, too new above the ceiling: by the numbers, not by the sentence, which is the same."""
    text = "ImportError: huggingface-hub>=0.34.0,<1.0 is required for a normal functioning of this module, but found huggingface-hub=={}."
    assert (causes(text.format("1.1.2"))[0], causes(text.format("0.20.3"))[0]) == ("package-too-new", "package-too-old")


def test_names_in_the_text_become_subjects() -> None:
    """Where probes should look, and what the reader should see."""
    text = "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='cdn-lfs.hf.co', port=443): Max retries exceeded with url: /x (Caused by NewConnectionError('x: [Errno 111] Connection refused'))"
    assert [(subject.kind, subject.name) for subject in diagnostics.explain(text)[0].subjects] == [("host", "cdn-lfs.hf.co:443")]


def test_no_secret_of_the_text_comes_out() -> None:
    """Tokens, passwords in URLs and signed queries stay inside."""
    token, password = "hf_" + "Ab1" * 10, "s3cr3tpass"
    text = f"OSError: [Errno 28] No space left on device https://u:{password}@host.example/x?X-Amz-Signature=c0ffee {token}"
    shown = repr(diagnostics.explain(text))
    assert "disk-space-insufficient" in shown
    assert token not in shown and password not in shown and "c0ffee" not in shown


# --- exceptions as objects ----------------------------------------------------------------------------------------------------


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:  # noqa: BLE001  # it is the value
        return caught


class Response:
    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.status_code, self.headers = status, headers or {}


class HTTPStatusError(Exception):
    def __init__(self, response: Response) -> None:
        super().__init__("")
        self.response = response


def verification(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "")
    error.verify_code = code
    return error


OBJECTS = {
    "disk-quota-exceeded": OSError(errno.EDQUOT, "", "/home/u/.cache/huggingface/x"),
    "dns-server-unreachable": socket.gaierror(socket.EAI_AGAIN, ""),
    "tls-certificate-expired": verification(10),
    "tls-intercepted": verification(20),
    "http-rate-limited": HTTPStatusError(Response(429)),
    "http-gated": HTTPStatusError(Response(403, {"x-error-code": "GatedRepo"})),
    "proxy-auth-required": HTTPStatusError(Response(407)),
    "connection-refused": ConnectionRefusedError(errno.ECONNREFUSED, ""),
    "memory-insufficient": MemoryError(),
    "package-missing": ModuleNotFoundError("No module named 'tiktoken'", name="tiktoken"),
}


@pytest.mark.parametrize("cause", OBJECTS)
def test_an_exception_tells_by_its_codes_whatever_it_says(cause: str) -> None:
    """errno, verify_code, status, X-Error-Code and class: no word of English is in these; beneath a sentence that misleads."""
    outer = raised(
        OSError("Can't load tokenizer for 'acme/tiny'. If you were trying to load it, make sure you don't have a local directory with the same name."),
        OBJECTS[cause],
    )
    assert causes(OBJECTS[cause])[0] == cause
    assert causes(outer)[0] == cause


def test_what_stands_in_the_arguments_of_an_exception_is_followed() -> None:
    """urllib3 and urllib keep what happened in ``reason`` and ``args``, not in the chain."""

    class URLError(OSError):
        def __init__(self, reason: BaseException) -> None:
            super().__init__()
            self.reason = reason

    assert causes(URLError(OSError(errno.ENETUNREACH, "")))[0] == "host-unreachable"
    assert causes(RuntimeError(OSError(errno.EROFS, "")))[0] == "disk-read-only"


def test_an_exception_that_cannot_be_printed_is_still_read() -> None:
    """Anybody's __str__ may fail."""

    class Odd(OSError):
        def __str__(self) -> str:
            raise ValueError

    assert causes(Odd(errno.ENOSPC, ""))[0] == "disk-space-insufficient"
    assert causes(KeyboardInterrupt()) == []


# --- anything at all ----------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=400),
        st.text(max_size=400),
        st.lists(
            st.sampled_from([PLAIN, "\x1b[", "{", '{"log":"', "Traceback (most recent call last):\n", "KeyError: 'x'\n", "| ", "\\n", "E   "]), max_size=12
        ).map("".join),
    )
)
def test_any_bytes_are_read_without_an_error(text: str | bytes) -> None:
    """Whatever is pasted; confidences stay between nothing and all."""
    found = diagnostics.explain(text)
    assert sum(item.confidence for item in found) <= 1.01
    assert [item.confidence for item in found] == sorted((item.confidence for item in found), reverse=True)


def test_a_long_log_is_read_at_its_ends_and_where_it_fails() -> None:
    """A traceback in the middle of twenty megabytes is found, with its line's number; so is a last line that says "Killed"."""
    filler = "2026-05-01 10:00:00 INFO step 1 loss 0.1 and so on and so on\n" * 150_000
    found = diagnostics.explain(filler + PLAIN + filler)
    assert (found[0].cause, found[0].evidence[0].subject.name) == ("disk-space-insufficient", "line 150004")
    assert causes(filler + "Killed\n")[0] == "load-killed"
    assert read_lines(filler).shortened and not read_lines(PLAIN).shortened


def test_a_token_in_place_of_a_name_is_neither_shown_nor_asked_for() -> None:
    """Somebody passed the token as the model; its twin names a model."""
    token = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
    text = "org/{} is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'"
    shown = errors.clues_of(text.format(token).encode(), "")
    assert token not in json.dumps(encode(shown)) + "\n".join(errors.lines(shown))
    assert errors.clues_of(text.format("name").encode(), "").guessed == "hub:org/name"


def test_what_to_look_at_holds_no_command_of_the_text() -> None:
    """A host in a pasted log may be anything; what is pasted from our answer stays a word."""
    text = "requests.exceptions.ConnectionError: HTTPSConnectionPool: Failed to establish a new connection: [Errno 111] Connection refused https://$(touch${IFS}x).example/"
    looks = [item.look for item in errors.clues_of(text.encode(), "").explanations]
    assert looks
    for told in looks:
        assert "$(" not in re.sub(r"'[^']*'", "", told), told
