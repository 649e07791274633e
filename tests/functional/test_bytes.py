"""What is predicted to be written is what the real client writes, to the byte; and what it holds while it writes is what we say it holds."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from diagnostics.lab import model
from diagnostics.lab.hub import NAME, Repository
from diagnostics.lab.stage import Stage
from diagnostics.lab.worlds.healthy import put_up_hub
from tests.functional.runs import run

DOWNLOAD = "import sys; from huggingface_hub import snapshot_download as d; d(sys.argv[1], allow_patterns=sys.argv[2:])"


def seen(stage: Stage, folder: Path, *options: str) -> dict[str, Any]:
    """The case that a run of ours saw."""
    command = [sys.executable, "-m", "pytest", "diagnostics", f"--diagnose={NAME}", f"--diagnose-report={folder}", *options]
    found: dict[str, Any] = run(command, folder, stage.environment(), cwd=stage.work).document["case"]
    return found


def needed(case: dict[str, Any]) -> int:
    return next(int(disk["needed_bytes"]) for disk in case["disks"] if "cache" in disk["roles"])


def written(stage: Stage) -> int:
    """Bytes of the blobs, shared ones counted once."""
    blobs = {path.resolve() for path in stage.hub_cache.rglob("*") if path.is_file() and "blobs" in path.parts}
    return sum(path.stat().st_size for path in blobs)


@pytest.mark.parametrize("before", [(), ("config.json", "vocab.txt"), ("*",)], ids=["empty", "half", "whole"])
def test_the_bytes_still_missing_are_predicted_exactly(before: tuple[str, ...], tmp_path: Path) -> None:
    """With an empty cache, one that holds some of the files, and one that holds all."""
    with Stage() as stage:
        put_up_hub(stage, Repository(files=model.tiny_bert(model.SMALL)))
        if before:
            assert run([sys.executable, "-c", DOWNLOAD, NAME, *before], stage.work, stage.environment()).code == 0
        had, case = written(stage), seen(stage, tmp_path, "-k", "disk")
        wanted = case["listing"]["wanted"]
        assert run([sys.executable, "-c", DOWNLOAD, NAME, *wanted], stage.work, stage.environment()).code == 0
        assert needed(case) == written(stage) - had


def test_the_lock_of_a_real_download_is_seen(tmp_path: Path) -> None:
    """The real client, stopped in the middle: its process is named as the one that holds the lock."""
    with Stage() as stage:
        put_up_hub(stage)
        program = (
            "import sys, time, huggingface_hub.file_download as f; plain = f._download_to_tmp_and_move\n"
            "def hold(**more):\n    print('held', flush=True); time.sleep(60)\n"
            "f._download_to_tmp_and_move = hold; f.hf_hub_download(sys.argv[1], 'model.safetensors')\n"
        )
        process = subprocess.Popen([sys.executable, "-c", program, NAME], env=stage.environment(), cwd=stage.work, stdout=subprocess.PIPE)
        try:
            assert process.stdout and process.stdout.readline() == b"held\n"
            time.sleep(0.1)
            locks = seen(stage, tmp_path, "-k", "lock")["cache_state"]["locks"]
            assert [(lock["file"], lock["pid"]) for lock in locks] == [("model.safetensors", process.pid)]
        finally:
            process.kill()
            process.wait()
            assert process.stdout
            process.stdout.close()
