"""Repairs that are interrupted, doubled, hindered or lied to: nothing is lost, nothing half-written or unverified has a final name, and the next run ends right."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagnostics.lab import hub as hubs
from diagnostics.lab import model, tcp
from diagnostics.lab.http import App, corrupted
from diagnostics.lab.stage import HUB, Stage
from diagnostics.lab.worlds.healthy import fill_cache, put_up_hub
from tests.functional.damages import Cached, broken_link, cut_and_locked, flipped, mend, mixed_revision, sharded, truncated
from tests.functional.runs import DOCUMENTS, SECRETS, Outcome, run, why_no_namespace

REPOSITORY = sharded(model.SMALL)


def staged(stage: Stage, monkeypatch: pytest.MonkeyPatch | None, cdn: App | None = None) -> Cached:
    """A hub whose bytes come from ``cdn``, and the whole model in the cache."""
    put_up_hub(stage, REPOSITORY, cdn=cdn)
    fill_cache(stage, REPOSITORY)
    for name, value in stage.variables.items() if monkeypatch else ():
        assert monkeypatch is not None
        monkeypatch.setenv(name, value)
    return Cached(stage.hub_cache, REPOSITORY)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


def slow(bytes_per_second: float) -> App:
    return hubs.spoiled(hubs.cdn(REPOSITORY), hubs.always, lambda reply: reply.but(bytes_per_second=bytes_per_second))


def command(folder: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "diagnostics", f"--diagnose={REPOSITORY.name}", "--diagnose-repair", f"--diagnose-report={folder}", *options]


def repair(stage: Stage, folder: Path, *options: str) -> Outcome:
    """The real command."""
    return run(command(folder, *options), folder, stage.environment(), cwd=stage.work)


def start(stage: Stage, folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(command(folder), cwd=stage.work, env=stage.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def final_names(cached: Cached) -> list[str]:
    """Blobs under a final name that are not what their name says, but for those that were damaged on purpose."""
    published = {file.etag: file.data for file in REPOSITORY.files}
    blobs = (path for path in (cached.folder / "blobs").iterdir() if path.name in published)
    return [path.name for path in blobs if path.read_bytes() != published[path.name]]


# --- ended by force -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [truncated, broken_link], ids=["continued by us", "fetched by the client"])
def test_killed_at_any_moment_the_next_run_ends_right(damage: object, stage: Stage, tmp_path: Path) -> None:
    """kill -9 again and again; the damaged file, or none, is under the final name until the right one is."""
    cached = staged(stage, None, slow(1_500_000))
    damage(cached)  # type: ignore[operator]
    lying = final_names(cached)
    chance = random.Random(7)
    for _ in range(3):
        process = start(stage, tmp_path / "killed")
        time.sleep(1.0 + 1.6 * chance.random())
        process.kill()
        process.wait()
        assert set(final_names(cached)) <= set(lying)
    outcome = repair(stage, tmp_path)
    assert outcome.code == 0, outcome.output
    assert (cached.wrong(), cached.left()) == ([], [])


def test_interrupted_it_says_so_and_leaves_what_was(stage: Stage, tmp_path: Path) -> None:
    """SIGTERM amid the repair: exit 2, the report of what is known, the old file in its place."""
    cached = staged(stage, None, slow(60_000))
    flipped(cached)
    process = start(stage, tmp_path)
    end = time.monotonic() + 30
    while not (cached.folder / ".diagnostics-repair").exists() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 2
    document = Outcome(code=2, output="", folder=tmp_path).document
    assert document["interrupted"] == "SIGTERM"
    assert [item["cause"] for item in document["before"]["diagnoses"]] == ["file-checksum-mismatch"]
    assert final_names(cached) == [cached.shard.sha256], "the damaged one still lies there"


def test_two_repairs_at_once_make_one(stage: Stage, tmp_path: Path) -> None:
    """The second waits and finds nothing left to do; both end healthy."""
    cached = staged(stage, None, slow(1_500_000))
    flipped(cached)
    running = [start(stage, tmp_path / name) for name in ("one", "two")]
    assert [process.wait(60) for process in running] == [0, 0]
    assert cached.wrong() == []
    assert len(list(cached.hub.rglob("*.corrupt-*"))) == 1
    done = [Outcome(code=0, output="", folder=tmp_path / name).document.get("repairs", []) for name in ("one", "two")]
    assert sorted(item["outcome"] for items in done for item in items) in (["not_needed", "repaired"], ["repaired"])


# --- lied to ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [truncated, flipped, broken_link], ids=["continued by us", "fetched by the client", "nothing there"])
def test_wrong_bytes_are_not_taken(damage: object, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the right size: the client would be content. What lay there lies there still, and the second look says what the first did."""
    spoiled = hubs.spoiled(hubs.cdn(REPOSITORY), hubs.always, lambda reply: reply.but(body=corrupted(reply.body)))
    cached = staged(stage, monkeypatch, spoiled)
    damage(cached)  # type: ignore[operator]
    lying = {path: path.read_bytes() for path in cached.hub.rglob("*") if path.is_file()}
    mended = mend()
    assert [item.outcome for item in mended.done] in (["failed"], ["refused"]), mended.done
    assert [item.cause for item in mended.after.diagnoses] == [item.cause for item in mended.before.diagnoses]
    assert {path: path.read_bytes() for path in lying} == lying
    assert not list(cached.hub.rglob("*.corrupt-*"))


@pytest.mark.parametrize("whole", [False, True], ids=["what is here is continued", "fetched whole"])
@pytest.mark.parametrize("client", [True, False], ids=["with huggingface_hub", "without"])
def test_wrong_bytes_that_no_look_saw_are_found_by_the_digest(whole: bool, client: bool, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a file that no probe samples is served wrong: the repair itself finds it, says so, and leaves no trace."""
    small = min((file for file in REPOSITORY.files if file.large), key=lambda file: len(file.data))
    spoiled = hubs.spoiled(hubs.cdn(REPOSITORY), lambda request: small.sha256 in request.path, lambda reply: reply.but(body=corrupted(reply.body)))
    cached = staged(stage, monkeypatch, spoiled)
    blob = cached.blob(small)
    blob.write_bytes(b"" if whole else small.data[:9000])
    lying = blob.read_bytes()
    if not client:
        monkeypatch.setattr("diagnostics.repair.work._Work._hub_client", lambda work: None)
    mended = mend()
    assert [item.outcome for item in mended.done] == ["failed"], mended.done
    assert "published" in mended.done[0].reason or "digest" in mended.done[0].reason
    assert mended.after.verdict == "broken"
    assert (blob.read_bytes(), list(cached.hub.rglob("*.corrupt-*")), cached.left()) == (lying, [], [])


def test_a_disk_that_fills_midway_loses_nothing(stage: Stage, tmp_path: Path) -> None:
    """There was room when it began; what was begun is removed, since it would stand in everybody's way."""
    if reason := why_no_namespace():
        pytest.skip(reason)
    cached = staged(stage, None)
    flipped(cached)
    filler = f"while [ ! -d {cached.folder}/.diagnostics-repair ]; do sleep 0.02; done; dd if=/dev/zero of={cached.hub}/filler bs=64k 2>/dev/null"
    script = (
        f"mount --make-rprivate / && cp -a {cached.hub} {stage.folder}/kept && mount -t tmpfs -o size=9m none {cached.hub} && cp -a {stage.folder}/kept/. {cached.hub}/ "
        f"&& (({filler}) & {' '.join(command(tmp_path))}; code=$?; sha256sum {cached.blob(cached.shard)}; ls -A {cached.folder} {cached.folder}/.diagnostics-repair; exit $code)"
    )
    before = hashlib.sha256(cached.blob(cached.shard).read_bytes()).hexdigest()
    outcome = run(["unshare", "--mount", "sh", "-c", script], tmp_path, stage.environment(), cwd=stage.work)
    assert outcome.code == 1, outcome.output
    assert [item["outcome"] for item in outcome.document["repairs"]] == ["failed"], outcome.output
    assert "space" in outcome.document["repairs"][0]["reason"]
    assert f"{before}  " in outcome.output, "what lay there lies there still"


@pytest.mark.parametrize(
    "spoil",
    [lambda reply: reply.but(cut_after=9000), lambda reply: reply.but(status=503, body=b""), lambda reply: reply.but(body=b"<html>sign in</html>")],
    ids=["cut", "503", "a page"],
)
def test_a_hub_that_fails_loses_nothing(spoil: object, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The damaged file stays where it is."""
    cached = staged(stage, monkeypatch, hubs.spoiled(hubs.cdn(REPOSITORY), hubs.always, spoil))  # type: ignore[arg-type]
    flipped(cached)
    mended = mend()
    assert {item.outcome for item in mended.done} <= {"failed", "refused"}
    assert mended.after.verdict == "broken"
    assert final_names(cached) == [cached.shard.sha256]


def test_without_a_network_it_says_what_stands_in_the_way(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digests are the blobs' own names; nothing is fetched, nothing is touched."""
    cached = staged(stage, monkeypatch)
    flipped(cached)
    port = stage.stack.enter_context(tcp.refused_port())
    monkeypatch.setenv("HF_ENDPOINT", stage.url(HUB, port))
    mended = mend()
    assert [item.outcome for item in mended.done] == ["refused"]
    assert mended.cannot == mended.before.diagnoses[0].title
    assert mended.after.verdict == "broken"


def test_offline_it_repairs_what_it_can_from_here(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE is respected: not one request; a whole copy in another repository of the cache does."""
    cached = staged(stage, monkeypatch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    flipped(cached)
    mended = mend()
    assert [(item.outcome, "HF_HUB_OFFLINE" in item.reason) for item in mended.done] == [("refused", True)], mended.done
    fill_cache(stage, dataclasses.replace(REPOSITORY, name="lab/fork"))
    mended = mend()
    assert [(item.outcome, item.fetched_bytes) for item in mended.done] == [("repaired", 0)], mended.done
    assert (mended.after.verdict, cached.wrong()) == ("healthy", [])
    assert [request for requests in stage.visits.values() for request in requests] == []


# --- the machine --------------------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_said(stage: Stage, tmp_path: Path) -> None:
    """Mounted read-only."""
    if reason := why_no_namespace():
        pytest.skip(reason)
    cached = staged(stage, None)
    flipped(cached)
    script = f"mount --make-rprivate / && mount --bind {cached.hub} {cached.hub} && mount -o remount,ro,bind {cached.hub} && exec {' '.join(command(tmp_path))}"
    outcome = run(["unshare", "--mount", "sh", "-ec", script], tmp_path, stage.environment(), cwd=stage.work)
    assert outcome.code == 1, outcome.output
    assert [item["outcome"] for item in outcome.document["repairs"]] == ["failed"], outcome.output
    assert "read-only" in outcome.document["repairs"][0]["reason"].lower()


def test_a_full_disk_is_said_before_the_first_byte(stage: Stage, tmp_path: Path) -> None:
    """As what is replaced is kept, there must be room for both."""
    if reason := why_no_namespace():
        pytest.skip(reason)
    cached = staged(stage, None)
    flipped(cached)
    script = (
        f"mount --make-rprivate / && cp -a {cached.hub} {stage.folder}/kept && mount -t tmpfs -o size=2600k none {cached.hub} && cp -a {stage.folder}/kept/. {cached.hub}/ "
        f"&& {' '.join(command(tmp_path))}; code=$?; find {cached.hub} -name '*.corrupt-*' -o -name '.diagnostics*'; exit $code"
    )
    outcome = run(["unshare", "--mount", "sh", "-ec", script], tmp_path, stage.environment(), cwd=stage.work)
    assert outcome.code == 1, outcome.output
    assert [item["outcome"] for item in outcome.document["repairs"]] == ["refused"], outcome.output
    assert "are free in" in outcome.document["repairs"][0]["reason"]
    assert ".corrupt-" not in outcome.output.rpartition("exit 1")[2]


def test_no_secret_gets_out(stage: Stage, tmp_path: Path) -> None:
    """A token that is needed, and signed addresses: in no output, though a repair went through both."""
    gated = dataclasses.replace(REPOSITORY, gated="auto")
    bytes_from = stage.web("cdn", hubs.cdn(gated))
    stage.variables |= {"HF_ENDPOINT": stage.web(HUB, hubs.hub(gated, cdn=bytes_from)), "HF_TOKEN": hubs.TOKEN}
    fill_cache(stage, gated)
    cached = Cached(stage.hub_cache, gated)
    flipped(cached)
    outcome = repair(stage, tmp_path)
    assert outcome.code == 0, outcome.output
    assert [item["outcome"] for item in outcome.document["repairs"]] == ["repaired"]
    assert [secret for secret in SECRETS if secret in outcome.everything()] == []
    assert all((tmp_path / name).read_text().count("epaired") for name in DOCUMENTS)


# --- others at work -----------------------------------------------------------------------------------------------------------


def test_a_download_that_is_under_way_is_not_disturbed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock is held: the file is left to it, and said."""
    import fcntl

    cached = staged(stage, monkeypatch)
    monkeypatch.setattr("diagnostics.repair.work.DOWNLOAD_SECONDS", 0.3)
    cut_and_locked(cached)
    lock = cached.hub / ".locks" / cached.folder.name / f"{cached.shard.sha256}.lock"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        mended = mend()
    assert [(item.outcome, item.reason) for item in mended.done] == [("refused", "somebody is downloading this very file now")]
    assert len(list(cached.folder.glob("blobs/*.incomplete"))) == 1


@pytest.mark.parametrize("sign", ["young", "open"])
def test_a_partial_that_may_be_alive_is_used_and_left(sign: str, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are copied, the file stays: somebody may be writing it without a lock."""
    cached = staged(stage, monkeypatch)
    cut_and_locked(cached)
    partial = next(cached.folder.glob("blobs/*.incomplete"))
    content = partial.read_bytes()
    if sign == "young":
        os.utime(partial)
    with partial.open("ab") if sign == "open" else (cached.folder / "refs" / "main").open():
        mended = mend()
    assert [item.outcome for item in mended.done] == ["repaired"]
    assert mended.done[0].fetched_bytes < len(cached.shard.data) // 2
    assert cached.wrong() == []
    assert partial.read_bytes() == content


@pytest.mark.parametrize("owner", ["dead", "alive", "elsewhere", "nobody"])
def test_only_the_lock_of_a_dead_process_of_this_host_is_removed(owner: str, stage: Stage, tmp_path: Path) -> None:
    """A soft lock, whose mere existence locks."""
    from diagnostics.repair import stale

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    said = {
        "dead": f"{dead.pid}\n{socket.gethostname()}\n",
        "alive": f"{os.getpid()}\n{socket.gethostname()}\n",
        "elsewhere": f"{dead.pid}\nother-host\n",
        "nobody": "",
    }
    lock = tmp_path / "x.lock"
    lock.write_text(said[owner])
    assert stale.why_lock_lives(str(lock)), "young"
    os.utime(lock, (time.time() - 7200,) * 2)
    assert bool(stale.why_lock_lives(str(lock))) == (owner != "dead")


# --- planted ------------------------------------------------------------------------------------------------------------------


def test_a_planted_link_is_not_written_through(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The staging folder, a folder in the snapshot, the blob itself: nothing outside the repository changes."""
    cached = staged(stage, monkeypatch)
    outside = stage.folder / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    broken_link(cached)
    (cached.folder / ".diagnostics-repair").symlink_to(outside)
    assert [item.outcome for item in mend().done] == ["failed"]
    (cached.folder / ".diagnostics-repair").unlink()
    cached.blob(cached.shard).symlink_to(outside / "precious")
    mend()
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("precious", "mine")]
    assert cached.blob(cached.shard).is_symlink(), "somebody led it there on purpose: said, not repaired"


def test_what_an_earlier_run_left_is_verified_before_it_is_used(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write there could have put anything."""
    cached = staged(stage, monkeypatch)
    broken_link(cached)
    staging = cached.folder / ".diagnostics-repair"
    staging.mkdir()
    (staging / cached.shard.sha256).write_bytes(corrupted(cached.shard.data))
    assert [item.outcome for item in mend().done] == ["repaired"]
    assert cached.wrong() == []


def test_everything_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several files, each with its own damage, in one run."""
    cached = staged(stage, monkeypatch)
    mixed_revision(cached)
    files = {file.path: file for file in REPOSITORY.files}
    os.truncate(cached.blob(files["config.json"]), 20)
    cached.blob(files["tokenizer.json"]).unlink()
    cached.link("vocab.txt").unlink()
    cached.blob(files["model-00001-of-00002.safetensors"]).write_bytes(b"")
    (cached.folder / "refs" / "main").unlink()
    mended = mend()
    assert {item.outcome for item in mended.done} == {"repaired"}, mended.done
    assert (mended.after.verdict, cached.wrong(), cached.left()) == ("healthy", [], [])
