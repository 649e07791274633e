"""Disks that are full, closed, read-only or refuse something: small file systems in a mount namespace of their own."""

from __future__ import annotations

import os

from diagnostics.lab import environments, model
from diagnostics.lab import hub as hubs
from diagnostics.lab.stage import Namespace, Stage
from diagnostics.lab.worlds import world
from diagnostics.lab.worlds.healthy import fill_cache, put_up_hub
from diagnostics.lab.worlds.limits import bound, without_capabilities


@world("healthy-small-disk", cause="", needs="namespace")
def healthy_small_disk(stage: Namespace) -> None:
    """A cache on a file system that has just the room."""
    put_up_hub(stage)
    stage.variables["HF_HOME"] = str(stage.disk("small", "1m"))


@world("disk-space-insufficient", needs="namespace", twin="healthy-small-disk")
def disk_space_insufficient(stage: Namespace) -> None:
    """A cache on a file system of 64 kB."""
    put_up_hub(stage, hubs.Repository(files=model.tiny_bert(model.SMALL)))
    stage.variables["HF_HOME"] = str(stage.disk("small", "64k"))


@world("disk-full", cause="disk-space-insufficient", needs="namespace", twin="healthy-small-disk")
def disk_full(stage: Namespace) -> None:
    """A cache on a file system on which not one byte is left."""
    put_up_hub(stage)
    full = stage.disk("full", "64k")
    (full / "filler").write_bytes(b"x" * 65536)
    stage.variables["HF_HOME"] = str(full)


@world("disk-inodes-exhausted", needs="namespace", twin="healthy-small-disk")
def disk_inodes_exhausted(stage: Namespace) -> None:
    """Room, and no further file may be made."""
    put_up_hub(stage)
    few = stage.disk("few", "4m", "nr_inodes=3")
    (few / "a").touch()
    (few / "b").touch()
    stage.variables["HF_HOME"] = str(few)


@world("disk-read-only", needs="namespace", twin="healthy-small-disk")
def disk_read_only(stage: Namespace) -> None:
    """A cache on a read-only file system, with nothing of the model in it."""
    put_up_hub(stage)
    stage.variables["HF_HOME"] = str(stage.disk("shared", "4m", "ro"))


@world("healthy-read-only-cache", cause="", needs="namespace")
def healthy_read_only_cache(stage: Namespace) -> None:
    """A read-only cache that holds the whole model: nothing has to be written."""
    put_up_hub(stage)
    fill_cache(stage, hubs.tiny())
    path = str(stage.home / "hf")
    for options in (["--bind", path, path], ["-o", "remount,bind,ro", path]):
        stage.mount(*options)


@world("temp-space-insufficient", needs="namespace", severity="warning")
def temp_space_insufficient(stage: Namespace) -> None:
    """TMPDIR on a full file system."""
    put_up_hub(stage)
    full = stage.disk("scratch", "64k")
    (full / "filler").write_bytes(b"x" * 65536)
    stage.variables["TMPDIR"] = str(full)


@world("cache-not-writable", needs="namespace")
def cache_not_writable(stage: Namespace) -> None:
    """A cache that a command run by somebody else made."""
    put_up_hub(stage)
    stage.hub_cache.mkdir(parents=True)
    os.chmod(stage.hub_cache, 0o555)
    without_capabilities(stage, "dac_override", "dac_read_search")


@world("path-too-long")
def path_too_long(stage: Stage) -> None:
    """A cache so deep that the client's own names no longer fit."""
    put_up_hub(stage)
    stage.variables["HF_HOME"] = str(stage.home.joinpath(*["deep" * 50] * 20))


@world("file-size-limited", needs="namespace")
def file_size_limited(stage: Namespace) -> None:
    """ulimit -f below the largest file."""
    put_up_hub(stage, hubs.Repository(files=model.tiny_bert(model.Shape(hidden=512, intermediate=2048))))
    bound(stage, "RLIMIT_FSIZE", 8_000_000)


@world("disk-noexec", needs="namespace", twin="healthy-environment")
def disk_noexec(stage: Namespace) -> None:
    """The environment that loads lies on a file system that refuses code."""
    stage.spec = str(model.write(model.tiny_bert(), stage.work / "tiny-bert"))
    stage.python = str(environments.make(stage.disk("scratch", "8m", "noexec") / "env"))


@world("cache-metadata-stale")
def cache_metadata_stale(stage: Stage) -> None:
    """The cache says that the hub has no tokenizer.json at this commit, and the hub has it."""
    put_up_hub(stage)
    whole = hubs.tiny()
    fill_cache(stage, hubs.Repository(files=tuple(file for file in whole.files if file.path != "tokenizer.json")))
    mark = stage.hub_cache / "models--lab--tiny-bert" / ".no_exist" / whole.commit / "tokenizer.json"
    mark.parent.mkdir(parents=True)
    mark.touch()
