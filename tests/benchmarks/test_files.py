"""What looking at files costs, as ratios in one run. The full size: ``BYTES=4000000000 SHARDS=30 TENSORS=30000 CACHED=10000 pytest tests/benchmarks/test_files.py -s``."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from diagnostics.case import ABSENT, Digests, Environment, Files, Model
from diagnostics.probes import checksums
from diagnostics.probes.checksums import see_digests
from diagnostics.probes.files import see_files
from diagnostics.probes.files_one import Looks
from diagnostics.probes.model import see_model
from tests.unit.files_made import folder_target

BYTES = int(os.environ.get("BYTES", "200000000"))
SHARDS, TENSORS = int(os.environ.get("SHARDS", "10")), int(os.environ.get("TENSORS", "10000"))
CACHED = int(os.environ.get("CACHED", "2000"))
LEAST_SHARE = 0.95  # of what bare hashlib reaches with as many threads
NOISE = 0.1
PIECE = 1 << 20


def bare(paths: list[Path], threads: int) -> float:
    """Seconds in which ``threads`` threads hash these files, with hashlib and nothing else."""
    waiting = list(paths)

    def work() -> None:
        buffer = bytearray(PIECE)
        view = memoryview(buffer)
        while waiting:
            try:
                path = waiting.pop()
            except IndexError:
                return
            digest = hashlib.sha256()
            with open(path, "rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    digest.update(view[:count])
            digest.hexdigest()

    started = time.perf_counter()
    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return time.perf_counter() - started


def made(folder: Path, count: int) -> list[Path]:
    piece = os.urandom(PIECE)
    folder.mkdir()
    paths = [folder / f"part-{number}.bin" for number in range(count)]
    for path in paths:
        with path.open("wb") as file:
            for _ in range(BYTES // count // PIECE):
                file.write(piece)
    (folder / "SHA256SUMS").write_text("".join(f"{'0' * 64}  {path.name}\n" for path in paths))
    return paths


@pytest.mark.parametrize("threads", sorted({1, checksums._cores()}))
def test_hashing_reaches_what_hashlib_reaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """The best of alternating rounds: on a busy machine one alone says nothing. Progress is told, memory stays constant."""
    paths = made(tmp_path / "m", 4)
    target = folder_target(tmp_path / "m")
    files = see_files(target, Environment(), ABSENT)
    assert isinstance(files, Files)
    monkeypatch.setattr(checksums, "_cores", lambda: threads)
    ours, theirs, told, cpu = [], [], 0, []

    def progress(_done: int, _total: int) -> None:
        nonlocal told
        told += 1

    for _ in range(6):
        begun = time.process_time()
        theirs.append(bare(paths, threads))
        started, between = time.perf_counter(), time.process_time()
        digests = see_digests(target, Environment(), ABSENT, files, "all", 3600.0, progress)
        ours.append(time.perf_counter() - started)
        cpu.append((between - begun) / (time.process_time() - between))
        assert isinstance(digests, Digests) and len(digests.checked) == len(paths)
        if min(theirs) / min(ours) >= LEAST_SHARE and max(cpu) >= LEAST_SHARE and len(ours) > 1:
            break
    print(f"{threads} threads: {sum(path.stat().st_size for path in paths) / min(ours) / 1e6:.0f} MB/s, {min(theirs) / min(ours):.3f} of bare hashlib")
    assert told > len(paths)
    assert max(cpu) >= LEAST_SHARE  # of the work itself
    assert min(theirs) / min(ours) >= LEAST_SHARE - NOISE  # of the clock, which others on this machine move too


def test_hashing_takes_no_more_memory_for_more_bytes(tmp_path: Path) -> None:
    """A buffer a thread, whatever the size."""
    made(tmp_path / "m", 4)
    target = folder_target(tmp_path / "m")
    files = see_files(target, Environment(), ABSENT)
    tracemalloc.start()
    try:
        see_digests(target, Environment(), ABSENT, files, "all", 3600.0)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def sparse_model(folder: Path, bytes_each: int) -> None:
    """Shards with true headers over sparse files; their config."""
    folder.mkdir()
    names: dict[str, str] = {}
    for shard in range(SHARDS):
        file = f"model-{shard + 1:05d}-of-{SHARDS:05d}.safetensors"
        count = TENSORS // SHARDS
        each = bytes_each // count // 2 * 2
        header = {
            f"model.layers.{shard * count + n}.w.weight": {"dtype": "BF16", "shape": [each // 2], "data_offsets": [n * each, (n + 1) * each]}
            for n in range(count)
        }
        names |= dict.fromkeys(header, file)
        text = json.dumps(header).encode()
        with (folder / file).open("wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            out.truncate(8 + len(text) + each * count - 1)
            out.seek(8 + len(text) + each * count - 1)
            out.write(b"\1")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    (folder / "config.json").write_text(json.dumps({"model_type": "nobody-knows", "architectures": ["X"], "vocab_size": 10}))


def judged(folder: Path) -> tuple[float, int]:
    """(CPU seconds, peak bytes) of the structure and the config of a model."""
    target, looks = folder_target(folder), Looks()
    started = time.process_time()
    files = see_files(target, Environment(), ABSENT, looks)
    model = see_model(target, Environment(), files, looks)
    seconds = time.process_time() - started
    assert isinstance(files, Files) and isinstance(model, Model) and model.tensors == TENSORS // SHARDS * SHARDS
    tracemalloc.start()
    try:
        see_files(target, Environment(), ABSENT, looks)
        return seconds, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_large_model_costs_by_its_tensors_not_by_its_bytes(tmp_path: Path) -> None:
    """Ten times the bytes of as many tensors cost hardly more."""
    sparse_model(tmp_path / "small", 400_000_000 // SHARDS)
    sparse_model(tmp_path / "large", 140_000_000_000 // SHARDS)
    judged(tmp_path / "small")
    small, large = (min(judged(tmp_path / name)[0] for _ in range(3)) for name in ("small", "large"))
    memory = judged(tmp_path / "large")[1]
    print(f"{SHARDS} shards, {TENSORS} tensors: {large:.2f} s of CPU, {memory / 1e6:.0f} MB; with few bytes {small:.2f} s")
    assert large < 2 * small + 0.1
    assert memory < 60e6


def test_many_small_files_are_listed_in_proportion(tmp_path: Path) -> None:
    """Twice as many files cost about twice as much."""

    def seconds(count: int) -> float:
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            (folder / f"f{number}.json").write_text("{}")
        started = time.process_time()
        see_files(folder_target(folder), Environment(), ABSENT)
        return time.process_time() - started

    half, whole = seconds(CACHED // 2), seconds(CACHED)
    print(f"{CACHED} files: {whole:.2f} s of CPU")
    assert whole < 4 * half + 0.1
