"""Damaged caches and folders are put right: the second look finds nothing, every byte is as published, and what lay there is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagnostics.lab.stage import Stage
from diagnostics.lab.worlds.healthy import fill_cache, put_up_hub
from tests.functional.damages import DAMAGES, Cached, mend, sharded

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
    import sys

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
