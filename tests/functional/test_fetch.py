"""``pytest-diagnostics fetch``: the real command, what it brings, what it says, and its exit code."""

from __future__ import annotations

import dataclasses
import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diagnostics.case import Published, Target
from diagnostics.lab import http, tcp
from diagnostics.lab import hub as hubs
from diagnostics.lab.stage import Stage
from diagnostics.repair.arrival import into_cache
from diagnostics.repair.place import Place
from diagnostics.transfer import Outcome as Fetched
from diagnostics.transfer import Wanted
from diagnostics.transfer.wanted import Unusable, folder_for, wanted_of
from tests.functional.runs import SECRETS, Outcome, run

DATA = bytes(range(256)) * 1000


def fetch(folder: Path, *arguments: str, variables: dict[str, str] | None = None) -> Outcome:
    done = run([sys.executable, "-m", "diagnostics", "fetch", *arguments, f"--diagnose-report={folder / 'report'}"], folder, variables)
    return Outcome(code=done.code, output=done.output, folder=folder / "report")


def test_the_demo_is_fetched_once(tmp_path: Path) -> None:
    """All that a loader takes of the embedded hub's model, by its listing's digests; the second time it is here."""
    first, second = fetch(tmp_path, "demo"), fetch(tmp_path, "demo", "--to", "tiny-bert")
    assert (first.code, second.code) == (0, 0), first.output
    assert "6 fetched: " in first.output and "6 here already: " in second.output and "no digest" not in first.output
    assert {path.name for path in (tmp_path / "tiny-bert").iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert not (tmp_path / "report").exists()


def test_a_model_of_a_hub_with_its_own_bytes_elsewhere(tmp_path: Path) -> None:
    """The listing from the hub with the token, the weights from the store that it signs for; no secret is in what is said."""
    with Stage() as stage:
        repository = dataclasses.replace(hubs.tiny(), private=True)
        store = stage.web("cdn", hubs.cdn(repository))
        hub = stage.web("hub", hubs.hub(repository, cdn=store))
        done = fetch(tmp_path, hubs.NAME, "--to", "m", variables={**stage.variables, "HF_ENDPOINT": hub, "HF_TOKEN": hubs.TOKEN})
        asked = stage.visits["cdn"]
    assert done.code == 0, done.output
    assert hashlib.sha256((tmp_path / "m/model.safetensors").read_bytes()).hexdigest() == repository.file("model.safetensors").sha256  # type: ignore[union-attr]
    assert asked and all("authorization" not in visit.headers for visit in asked)
    assert not any(secret in done.output for secret in SECRETS)


IN_CACHE = """
import os, sys
from huggingface_hub import hf_hub_download
for name in sys.argv[2:]:
    print(os.path.realpath(hf_hub_download(sys.argv[1], name, local_files_only=True)))
"""


def test_a_model_goes_where_its_client_looks_for_it(tmp_path: Path) -> None:
    """Without --to: the hub's cache, from which the real client then reads offline; again it is here; a broken blob is replaced and kept."""
    with Stage() as stage:
        repository = hubs.tiny()
        hub = stage.web("hub", hubs.hub(repository, cdn=stage.web("cdn", hubs.cdn(repository))))
        given = {**stage.variables, "HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "home")}
        first, second = fetch(tmp_path, hubs.NAME, variables=given), fetch(tmp_path, hubs.NAME, variables=given)
        names = ["config.json", "model.safetensors", "tokenizer.json"]
        read = run([sys.executable, "-c", IN_CACHE, hubs.NAME, *names], tmp_path, {**given, "HF_HUB_OFFLINE": "1"})
        assert (first.code, second.code, read.code) == (0, 0, 0), first.output + second.output + read.output
        blob = Path(read.output.splitlines()[1])
        blob.write_bytes(b"\0" * blob.stat().st_size)
        third = fetch(tmp_path, hubs.NAME, variables=given)
    assert "6 fetched: " in first.output and "6 here already: " in second.output and third.code == 0
    assert blob.name == hashlib.sha256(blob.read_bytes()).hexdigest() == repository.file("model.safetensors").sha256  # type: ignore[union-attr]
    folder = blob.parents[1]
    assert (folder / "refs/main").read_text() == next((folder / "snapshots").iterdir()).name
    assert [path.name.startswith(f"{blob.name}.corrupt-") for path in folder.glob("blobs/*.corrupt-*")] == [True]
    assert not (folder / ".diagnostics-repair").exists() and not (tmp_path / hubs.NAME.rpartition("/")[2]).exists()


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A file where the cache should be: one line, exit 1, no traceback."""
    (tmp_path / "home").write_text("")
    with Stage() as stage:
        hub = stage.web("hub", hubs.hub(hubs.tiny()))
        done = fetch(tmp_path, hubs.NAME, variables={**stage.variables, "HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "home")})
    assert done.code == 1 and "the cache cannot take it" in done.output and "Traceback" not in done.output


def test_a_whole_cache_that_nobody_may_write_to_is_here(tmp_path: Path) -> None:
    """Shared and read-only, with blob, link and ref right: nothing has to be written; without its ref, something had."""
    place = Place(kind="cache", folder=str(tmp_path / "models--a--b"), entries=str(tmp_path / "models--a--b/snapshots" / ("a" * 40)))
    item = Wanted(name="f", url="http://127.0.0.1:9/f", size=2, digest=Published(path="f", value=hashlib.sha256(b"hi").hexdigest(), source="hub listing"))
    asked: list[tuple[Wanted, ...]] = []

    def bring(files: tuple[Wanted, ...], into: Path) -> tuple[Fetched, ...]:
        asked.append(files)
        into.mkdir(parents=True)
        (into / "f").write_bytes(b"hi")
        return (Fetched(name="f", outcome="fetched"),)

    assert [outcome.outcome for outcome in into_cache(place, (item,), "main", bring)] == ["fetched"]
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert [outcome.outcome for outcome in into_cache(place, (item,), "main", bring)] == ["already_here"]
    assert len(asked) == 1 and {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    (tmp_path / "models--a--b/refs/main").unlink()
    into_cache(place, (item,), "main", bring)
    assert len(asked) == 1 and (tmp_path / "models--a--b/refs/main").read_text() == "a" * 40


def test_a_url_with_its_digest(tmp_path: Path) -> None:
    """Into the working folder under its own name; a wrong digest is exit 1, the bytes are kept, and nothing has the name."""
    with Stage() as stage:
        url = stage.web("host", lambda request: http.file(DATA, "x")) + "/weights.bin"
        right = fetch(tmp_path, f"{url}#sha256={hashlib.sha256(DATA).hexdigest()}")
        wrong = fetch(tmp_path, f"{url}#sha256={'0' * 64}", "--to", "other", variables=stage.variables)
    assert right.code == 0 and (tmp_path / "weights.bin").read_bytes() == DATA
    assert wrong.code == 1 and "✗ weights.bin: the bytes are not those that were published" in wrong.output
    assert [path.name.partition(".corrupt-")[0] for path in (tmp_path / "other").iterdir()] == ["weights.bin"] and not (tmp_path / "other/weights.bin").exists()


def test_a_list_in_folders_of_its_own(tmp_path: Path) -> None:
    """A manifest gives every file its path, size and digest."""
    with Stage() as stage:
        base = stage.web("host", lambda request: http.file(DATA, "x"))
        entries = "".join(f'[[files]]\npath = "{path}"\nbytes = {len(DATA)}\nmd5 = "{hashlib.md5(DATA).hexdigest()}"\n' for path in ("a/one.bin", "b/two.bin"))
        (tmp_path / "files.toml").write_text(f'name = "pair"\nbase = "{base}/"\n{entries}')
        done = fetch(tmp_path, "files.toml")
    assert done.code == 0, done.output
    assert (tmp_path / "pair/a/one.bin").read_bytes() == (tmp_path / "pair/b/two.bin").read_bytes() == DATA


def test_a_failure_ends_with_its_diagnosis(tmp_path: Path) -> None:
    """What failed, then the root cause with its remedy, and the report for the ticket."""
    with tcp.refused_port() as port:
        done = fetch(tmp_path, f"http://127.0.0.1:{port}/model.zip")
    assert done.code == 1 and "✗ model.zip: no connection to 127.0.0.1" in done.output
    assert done.roots[0] == ("connection-refused", "error") and "[connection-refused]" in done.output and "Do:" in done.output


def test_a_hub_without_its_list_ends_with_its_diagnosis(tmp_path: Path) -> None:
    """A repository that does not exist: nothing is begun, nothing is written but the report."""
    with Stage() as stage:
        hub = stage.web("hub", hubs.hub(hubs.tiny()))
        done = fetch(tmp_path, "lab/no-such-model", variables={**stage.variables, "HF_ENDPOINT": hub})
    assert done.code == 1 and done.roots == [("http-repository-missing", "error")]
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("arguments", [[], ["demo", "demo"], ["demo:no-such-world"], ["demo", "--too", "x"], [str(Path(__file__).parent)]])
def test_what_cannot_be_meant_is_a_usage_error(tmp_path: Path, arguments: list[str]) -> None:
    """Exit 4 and a line; nothing is fetched. A local folder is nothing to fetch."""
    done = fetch(tmp_path, *arguments)
    assert done.code == 4 and done.output.strip() and "Traceback" not in done.output and not list(tmp_path.iterdir())


def test_an_interrupt_is_exit_2_and_keeps_what_came(tmp_path: Path) -> None:
    """SIGTERM and Ctrl-C alike; the same command goes on."""
    with Stage() as stage:
        url = stage.web("host", lambda request: http.file(DATA * 20, "x").but(bytes_per_second=1.5e6 if len(stage.visits["host"]) < 2 else 0)) + "/w.bin"
        command = [sys.executable, "-m", "diagnostics", "fetch", url]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        end = time.monotonic() + 60
        while time.monotonic() < end and not (tmp_path / ".w.bin.part-journal").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[0]
        assert process.returncode == 2 and "the same command goes on" in said and (tmp_path / "w.bin.diagnostics-part").exists()
        again = fetch(tmp_path, url)
    assert again.code == 0 and "1 continued" in again.output and (tmp_path / "w.bin").read_bytes() == DATA * 20


def test_names_that_two_files_would_have_are_refused() -> None:
    """Before anything is asked for; and a name alone says where they go."""
    from diagnostics.redact import Secrets

    urls = ("https://a.example/model.bin", "https://b.example/model.bin")
    target = Target(spec="x", kind="url", name="2 URLs", urls=urls)
    with pytest.raises(Unusable, match="two of the files"):
        wanted_of(target, Secrets(urls=urls), target)  # type: ignore[arg-type]
    assert folder_for(Target(spec="x", kind="hub", name="org/name"), "") == Path("name")
    assert folder_for(Target(spec="x", kind="url", urls=urls[:1]), "") == Path()
    assert folder_for(target, "/tmp/x") == Path("/tmp/x")
