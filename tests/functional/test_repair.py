"""Damaged caches and folders are put right: the second look finds nothing, every byte is as published, and what lay there is kept."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagnostics.case import Environment, Repair, Target
from diagnostics.lab import hub as hubs
from diagnostics.lab.stage import HUB, Stage
from diagnostics.lab.worlds.healthy import fill_cache, put_up_hub
from diagnostics.redact import Secrets
from diagnostics.repair.client import HubClient
from diagnostics.repair.place import Place
from diagnostics.repair.work import Means, perform
from tests.functional.damages import DAMAGES, Cached, flipped, mend, missing_shard, sharded

NO_CLIENT = "import sys; sys.modules['huggingface_hub'] = None"


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A hub, its CDN, and a whole model in the cache; this process stands in that environment."""
    with Stage() as stage:
        put_up_hub(stage, sharded())
        fill_cache(stage, sharded())
        for name, value in stage.variables.items():
            monkeypatch.setenv(name, value)
        yield stage


@pytest.fixture
def cached(stage: Stage) -> Cached:
    return Cached(stage.hub_cache, sharded())


@pytest.fixture
def without_client(stage: Stage) -> str:
    """An interpreter that has no huggingface_hub."""
    folder = stage.folder / "bare"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(NO_CLIENT)
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    script.chmod(0o755)
    return str(script)


def kept(cached: Cached) -> list[Path]:
    return sorted(cached.hub.rglob("*.corrupt-*"))


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("client", [True, False], ids=["with huggingface_hub", "without"])
def test_a_damaged_cache_is_put_right(name: str, client: bool, cached: Cached, request: pytest.FixtureRequest) -> None:
    """By the installed client and verified, or by our own writing of the same layout."""
    damage, kind, keeps = DAMAGES[name]
    damage(cached)
    mended = mend(python="" if client else request.getfixturevalue("without_client"))
    assert [(item.repair.kind, item.outcome) for item in mended.done] == [(kind, "repaired")], mended.done
    assert mended.cannot == ""
    assert (mended.after.verdict, mended.after.diagnoses) == ("healthy", ())
    assert cached.wrong() == []
    assert (cached.folder / "refs" / "main").read_text() == cached.repository.commit
    assert [path.name.partition(".")[0] for path in kept(cached)] == ([cached.shard.sha256] if keeps else [])
    assert cached.left() == []


def test_a_healthy_cache_is_left_alone(cached: Cached) -> None:
    """Not a byte, not a time, not a request for a file."""
    before = {path: os.lstat(path).st_mtime_ns for path in cached.hub.rglob("*")}
    mended = mend()
    assert (mended.done, mended.after.verdict) == ([], "healthy")
    assert {path: os.lstat(path).st_mtime_ns for path in cached.hub.rglob("*")} == before


def test_the_client_reads_a_repaired_cache_as_any_other(cached: Cached) -> None:
    """Nothing that is kept or made disturbs its own scan of the cache, and it finds every file without the network."""
    from huggingface_hub import hf_hub_download, scan_cache_dir

    flipped(cached)
    assert [item.outcome for item in mend().done] == ["repaired"]
    scanned = scan_cache_dir(cached.hub)
    assert scanned.warnings == []
    assert [(repo.repo_id, repo.nb_files) for repo in scanned.repos] == [(cached.repository.name, len(cached.repository.files))]
    found = [hf_hub_download(cached.repository.name, file.path, cache_dir=cached.hub, local_files_only=True) for file in cached.repository.files]
    assert [Path(path).read_bytes() for path in found] == [file.data for file in cached.repository.files]


def test_links_that_cannot_be_made_are_files(cached: Cached, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the client does it on such a file system: the content itself lies in the snapshot; and it is repaired there, too."""

    def refuse(*_arguments: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    missing_shard(cached)
    monkeypatch.setattr("diagnostics.repair.place.os.symlink", refuse)
    for damage in (lambda: None, lambda: os.truncate(cached.link(cached.shard.path), 5000)):
        damage()
        mended = mend()
        assert ([item.outcome for item in mended.done], mended.after.verdict, cached.wrong()) == (["repaired"], "healthy", []), mended.done
        assert not cached.link(cached.shard.path).is_symlink()


def test_a_download_without_an_end_is_ended(cached: Cached, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would go on until the disk is full: it is ended once it has brought more than the file is long."""
    monkeypatch.setattr("diagnostics.repair.client.SLACK_BYTES", 1 << 20)
    cached.blob(cached.shard).unlink()
    endless = hubs.spoiled(
        hubs.hub(sharded()), hubs.of_file(cached.shard.path), lambda reply: reply.but(body=bytes(400_000_000), chunked=True, bytes_per_second=4e6)
    )
    client = HubClient(
        "", hub_target(), sharded().commit, str(stage.work / "client"), {**stage.environment(), "HF_ENDPOINT": stage.web(HUB, endless)}, Secrets()
    )
    brought = client.fetch(cached.shard.path, lambda count: None, len(cached.shard.data))
    assert brought.at == ""
    assert "more came than" in brought.problem or "onsistency" in brought.problem, brought
    client.close()


def hub_target() -> Target:
    return Target(spec=sharded().name, kind="hub", name=sharded().name)


def test_a_stale_memory_of_absence_is_removed(cached: Cached) -> None:
    """The cache says that the hub has no such file, and it has: the client would never ask again."""
    marker = cached.folder / ".no_exist" / cached.repository.commit / "tokenizer.json"
    marker.parent.mkdir(parents=True)
    marker.touch()
    mended = mend()
    assert [(item.repair.path, item.outcome) for item in mended.done] == [(f".no_exist/{cached.repository.commit}/tokenizer.json", "repaired")]
    assert (marker.exists(), mended.after.verdict) == (False, "healthy")


@pytest.mark.parametrize("path", [".locks/../../precious", ".locks/other/../../x", "blobs/../../precious", "precious", "/etc/passwd"])
def test_nothing_is_removed_outside_the_caches_own_bookkeeping(path: str, cached: Cached, stage: Stage) -> None:
    """Whatever a plan says."""
    precious = stage.hub_cache / "precious"
    precious.write_text("mine")
    os.utime(precious, (0, 0))
    place = Place(kind="cache", folder=str(cached.folder), entries=str(cached.link("config.json").parent))
    plan = (Repair(kind="stale", path=path, location=path, why="", how="remove"),)
    done = list(perform(plan, place, Means(environment=Environment(), secrets=Secrets(), target=hub_target())))
    assert [item.outcome for item in done] in (["failed"], ["not_needed"])
    assert precious.read_text() == "mine"


@pytest.mark.parametrize(("owner", "outcome"), [("dead", "repaired"), ("alive", "refused")])
def test_a_lock_goes_only_with_its_owner(owner: str, outcome: str, cached: Cached) -> None:
    """A soft lock of this host, hours old."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lock = cached.hub / ".locks" / cached.folder.name / f"{cached.shard.sha256}.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(f"{ended.pid if owner == 'dead' else os.getpid()}\n{socket.gethostname()}\n")
    os.utime(lock, (time.time() - 7200,) * 2)
    place = Place(kind="cache", folder=str(cached.folder), entries=str(cached.link("config.json").parent))
    plan = (Repair(kind="stale", path=f".locks/{cached.folder.name}/{lock.name}", location=str(lock), why="", how="remove"),)
    done = list(perform(plan, place, Means(environment=Environment(), secrets=Secrets(), target=hub_target())))
    assert ([item.outcome for item in done], lock.exists()) == ([outcome], owner == "alive")
    assert os.listdir(lock.parent) == ([lock.name] if owner == "alive" else [])
