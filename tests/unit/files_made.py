"""Small true files: safetensors, torch's zip and legacy forms, a BERT-shaped folder, a hub cache; written with the standard library."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

from diagnostics.case import Environment, Fault, Files, Listing, RemoteFile, Target, Unseen
from diagnostics.diagnosis import Expect
from diagnostics.lab.formats import noise
from diagnostics.probes.files import see_files

COMMIT = "86b5e0934494bd15c9632b12f734a8a67f723594"
NOWHERE = Unseen("absent")


def safetensors(tensors: dict[str, int] | None = None, data: bytes | None = None, **changes: Any) -> bytes:
    """A safetensors file of U8 tensors: name → bytes."""
    tensors = tensors or {"a.weight": 6000, "b.weight": 4000}
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, count in tensors.items():
        header[name] = {"dtype": "U8", "shape": [count], "data_offsets": [at, at + count]}  # type: ignore[dict-item]
        at += count
    header |= changes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + (noise(at) if data is None else data)


def torch_zip(path: Path, records: int = 2) -> None:
    """A checkpoint as torch ≥ 1.6 lays it out: stored records in one folder, data.pkl first."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}, protocol=2))
        archive.writestr("archive/byteorder", "little")
        for number in range(records):
            archive.writestr(f"archive/data/{number}", noise(5000, str(number)))
        archive.writestr("archive/version", "3\n")


CONFIG = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 8, "vocab_size": 40}


def model(folder: Path, **files: bytes) -> Path:
    """A whole little model; ``files`` (dots as two underscores) come on top."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": {}}))
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\nthe\n")
    (folder / "model.safetensors").write_bytes(safetensors())
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


def sharded(folder: Path, count: int = 3, index: bool = True) -> Path:
    """The same in shards, with their index."""
    model(folder)
    (folder / "model.safetensors").unlink()
    names = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(safetensors({f"t{number}": 3000}))
    if index:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {f"t{number}": name for number, name in enumerate(names)}}))
    return folder


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def cached(hub: Path, contents: dict[str, bytes], name: str = "org/tiny", tree: bool = True, large: tuple[str, ...] = ("model.safetensors",)) -> Path:
    """A hub cache with one revision, as huggingface_hub 2.x lays it out; returns the repository's folder."""
    folder = hub / f"models--{name.replace('/', '--')}"
    files = {}
    for part in ("blobs", "refs", "trees", f"snapshots/{COMMIT}"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(COMMIT)
    for path, content in contents.items():
        etag = hashlib.sha256(content).hexdigest() if path in large else git_sha1(content)
        (folder / "blobs" / etag).write_bytes(content)
        link = folder / "snapshots" / COMMIT / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(folder / "blobs" / etag, link.parent))
        files[path] = {"size": len(content), "blob_id": git_sha1(content)} | ({"lfs_sha256": etag, "lfs_size": len(content)} if path in large else {})
    if tree:
        (folder / "trees" / f"{COMMIT}.json").write_text(json.dumps({"format_version": 1, "files": files}))
    return folder


def tiny() -> dict[str, bytes]:
    return {"config.json": json.dumps(CONFIG).encode(), "tokenizer.json": b'{"version": "1.0"}', "model.safetensors": safetensors()}


def listing_of(contents: dict[str, bytes], large: tuple[str, ...] = ("model.safetensors",)) -> Listing:
    """The hub's list of these files."""
    files = tuple(
        RemoteFile(path=path, bytes=len(content), **({"sha256": hashlib.sha256(content).hexdigest()} if path in large else {"git_sha1": git_sha1(content)}))  # type: ignore[arg-type]
        for path, content in contents.items()
    )
    return Listing(source="hub", commit=COMMIT, files=files, wanted=tuple(contents))


def hub_target(name: str = "org/tiny") -> Target:
    return Target(spec=name, kind="hub", name=name, loader="transformers")


def folder_target(folder: Path, **changes: Any) -> Target:
    return Target(spec=str(folder), kind="directory", paths=(str(folder),), **{"loader": "transformers", **changes})


def seen_in(folder: Path, **changes: Any) -> Files:
    """What the probe sees in a folder."""
    found = see_files(folder_target(folder, **changes), Environment(), NOWHERE)
    assert isinstance(found, Files)
    return found


def seen_cached(hub: Path, listing: Listing | Unseen = NOWHERE) -> Files:
    found = see_files(hub_target(), Environment(caches={"hub": str(hub)}), listing)
    assert isinstance(found, Files)
    return found


def codes(files: Files) -> dict[str, str]:
    """Path → code of the first defect, of everything that has one."""
    return {seen.path: seen.defects[0].code for seen in (*files.unfinished, *files.absent, *files.files) if seen.defects}


def faults_of(check: Any, **records: Any) -> list[Fault]:
    """What a check finds."""
    expect = Expect("under/test")
    check(**records, expect=expect)
    return expect.faults
