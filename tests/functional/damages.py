"""A cached model damaged in the ways that happen, each with what a repair has to call it; and one repair as the command does it, without pytest around it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from diagnostics.case import Judgement, Repaired
from diagnostics.diagnosis import judge
from diagnostics.lab import model
from diagnostics.lab.hub import NAME, Repository
from diagnostics.lab.model import ModelFile
from diagnostics.probes.survey import prepare
from diagnostics.repair.session import put_right

OLD_SECONDS = 7200.0
PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in to continue.</body></html>"


def sharded(shape: model.Shape = model.TINY) -> Repository:
    """The lab's model in two shards with their index."""
    shapes = model.tensors(shape)
    halves = [{name: size for name, size in shapes.items() if ("layer.1" in name) is later} for later in (False, True)]
    names = [f"model-{number:05d}-of-00002.safetensors" for number in (1, 2)]
    index = {"metadata": {}, "weight_map": {tensor: name for name, half in zip(names, halves, strict=True) for tensor in half}}
    others = tuple(file for file in model.tiny_bert(shape) if file.path != "model.safetensors")
    shards = tuple(ModelFile(path=name, data=model.safetensors(half)) for name, half in zip(names, halves, strict=True))
    return Repository(files=(*others, *shards, ModelFile(path="model.safetensors.index.json", data=json.dumps(index).encode())))


@dataclasses.dataclass(frozen=True)
class Cached:
    """One repository in a hub's cache on disk."""

    hub: Path
    repository: Repository

    @property
    def folder(self) -> Path:
        return self.hub / ("models--" + self.repository.name.replace("/", "--"))

    @property
    def shard(self) -> ModelFile:
        """The file of weights that is damaged: the last."""
        return [file for file in self.repository.files if file.path.endswith(".safetensors")][-1]

    def link(self, path: str) -> Path:
        return self.folder / "snapshots" / self.repository.commit / path

    def blob(self, file: ModelFile) -> Path:
        return self.folder / "blobs" / file.etag

    def wrong(self) -> list[str]:
        """Files that the snapshot does not hold as published."""
        return [file.path for file in self.repository.files if not self.link(file.path).exists() or self.link(file.path).read_bytes() != file.data]

    def left(self) -> list[str]:
        """What a repair might have left lying about."""
        return sorted(
            str(path.relative_to(self.hub))
            for path in self.hub.rglob("*")
            if ".diagnostics-repair" in path.parts or path.name.endswith((".part", ".incomplete"))
        )


def truncated(cached: Cached) -> None:
    os.truncate(cached.blob(cached.shard), len(cached.shard.data) // 2)


def flipped(cached: Cached) -> None:
    data = bytearray(cached.shard.data)
    data[len(data) // 2] ^= 1
    cached.blob(cached.shard).write_bytes(bytes(data))


def zero_tail(cached: Cached) -> None:
    whole = len(cached.shard.data)
    cached.blob(cached.shard).write_bytes(cached.shard.data[: whole // 2] + bytes(whole - whole // 2))


def missing_shard(cached: Cached) -> None:
    cached.link(cached.shard.path).unlink()
    cached.blob(cached.shard).unlink()


def page(cached: Cached) -> None:
    cached.blob(cached.shard).write_bytes(PAGE)


def pointer(cached: Cached) -> None:
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{cached.shard.sha256}\nsize {len(cached.shard.data)}\n"
    cached.blob(cached.shard).write_text(text)


def broken_link(cached: Cached) -> None:
    cached.blob(cached.shard).unlink()


def missing_ref(cached: Cached) -> None:
    (cached.folder / "refs" / "main").unlink()


def cut_and_locked(cached: Cached) -> None:
    """A download that was killed hours ago: its partial file, its lock, and nothing under the final name."""
    missing_shard(cached)
    partial = cached.folder / "blobs" / f"{cached.shard.sha256}.0a1b2c3d.incomplete"
    partial.write_bytes(cached.shard.data[: len(cached.shard.data) * 2 // 3])
    lock = cached.hub / ".locks" / cached.folder.name / f"{cached.shard.sha256}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    for path in (partial, lock):
        os.utime(path, (time.time() - OLD_SECONDS,) * 2)


def empty(cached: Cached) -> None:
    cached.blob(cached.shard).write_bytes(b"")


def mixed_revision(cached: Cached) -> None:
    """The snapshot leads to the weights of another commit, which are whole in themselves."""
    data = bytearray(cached.shard.data)
    data[-4:] = b"\0\0\0\x3f"
    other = cached.folder / "blobs" / hashlib.sha256(bytes(data)).hexdigest()
    other.write_bytes(bytes(data))
    link = cached.link(cached.shard.path)
    link.unlink()
    link.symlink_to(os.path.relpath(other, link.parent))
    cached.blob(cached.shard).unlink()


Damage = Callable[[Cached], None]
# name → (damage, the kind that its repair has, whether something that lay there is kept)
DAMAGES: dict[str, tuple[Damage, str, bool]] = {
    "truncated blob": (truncated, "cut", True),
    "flipped byte": (flipped, "corrupt", True),
    "zero tail": (zero_tail, "corrupt", True),
    "missing shard": (missing_shard, "missing", False),
    "html page as blob": (page, "corrupt", True),
    "lfs pointer": (pointer, "corrupt", True),
    "broken symlink": (broken_link, "missing", False),
    "missing ref": (missing_ref, "missing", False),
    "stale lock and .incomplete": (cut_and_locked, "cut", False),
    "empty file": (empty, "corrupt", True),
    "mixed revision": (mixed_revision, "misplaced", False),
}


@dataclasses.dataclass(frozen=True)
class Mended:
    before: Judgement
    done: list[Repaired]
    cannot: str
    after: Judgement

    @property
    def outcomes(self) -> list[tuple[str, str, str]]:
        return [(item.repair.kind, item.repair.path, item.outcome) for item in self.done]


def mend(spec: str = NAME, python: str = "", named: str = "") -> Mended:
    """Look, judge, repair, look again, judge: in this process's environment."""
    survey = prepare(spec, digests="all", python=python)
    case = survey.run()
    before = judge(case)
    done: list[Repaired] = []
    cannot = put_right(case, before.diagnoses, survey, named, judge, lambda text: None, done)
    return Mended(before, done, cannot, judge(prepare(spec, digests="all", python=python).run()))
