"""What is predicted to be written is what the real client writes, to the byte; and what it holds while it writes is what we say it holds."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from diagnostics.case import ABSENT, ClientUse, Listing, RemoteFile, Target
from diagnostics.lab import model
from diagnostics.lab.hub import NAME, Repository
from diagnostics.lab.stage import Stage
from diagnostics.lab.worlds.healthy import put_up_hub
from diagnostics.probes.download_cost import to_be_written
from tests.functional.runs import run

DOWNLOAD = "import sys; from huggingface_hub import snapshot_download as d; d(sys.argv[1], allow_patterns=sys.argv[2:])"


def seen(stage: Stage, folder: Path, *options: str) -> dict[str, Any]:
    """The case that a run of ours saw."""
    command = [sys.executable, "-m", "pytest", "diagnostics", f"--diagnose={NAME}", f"--diagnose-report={folder}", *options]
    found: dict[str, Any] = run(command, folder, stage.environment(), cwd=stage.work).document["case"]
    return found


def needed(case: dict[str, Any]) -> int:
    return next(int(disk["needed_bytes"]) for disk in case["disks"] if "cache" in disk["roles"])


def written(folder: Path) -> int:
    """Bytes of all that lies in the cache: blobs, and what the client writes beside them; links and locks hold none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def hf_download(stage: Stage, *arguments: str) -> None:
    """``hf download``, the real one."""
    done = run([str(Path(sys.prefix) / "bin" / "hf"), "download", NAME, *arguments], stage.work, stage.environment())
    assert done.code == 0, done.output


@pytest.mark.parametrize("before", [(), ("config.json", "vocab.txt"), ("*",)], ids=["empty", "half", "whole"])
def test_the_bytes_still_missing_are_predicted_exactly(before: tuple[str, ...], tmp_path: Path) -> None:
    """What the loader takes: with an empty cache, one that holds some of the files, and one that holds all."""
    with Stage() as stage:
        put_up_hub(stage, Repository(files=model.tiny_bert(model.SMALL)))
        if before:
            assert run([sys.executable, "-c", DOWNLOAD, NAME, *before], stage.work, stage.environment()).code == 0
        had, case = written(stage.hub_cache), seen(stage, tmp_path, "-k", "disk")
        wanted = case["listing"]["wanted"]
        assert run([sys.executable, "-c", DOWNLOAD, NAME, *wanted], stage.work, stage.environment()).code == 0
        assert needed(case) == written(stage.hub_cache) - had


@pytest.mark.parametrize("before", ["nothing", "one file", "cut short", "another model"])
def test_what_hf_download_writes_is_predicted_to_the_byte(before: str, tmp_path: Path) -> None:
    """Every file of the repository, fresh, partly there, after a download that was cut short (the client begins anew), in a cache that others use."""
    with Stage() as stage:
        put_up_hub(stage, Repository(files=model.tiny_bert(model.SMALL)))
        if before == "one file":
            hf_download(stage, "vocab.txt")
        if before == "cut short":
            hf_download(stage, "config.json")
            blobs = stage.hub_cache / "models--lab--tiny-bert" / "blobs"
            (blobs / f"{'a' * 64}.0123abcd.incomplete").write_bytes(b"x" * 50_000)
        if before == "another model":
            stage.hub_cache.mkdir(parents=True)
            (stage.hub_cache / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
        had, case = written(stage.hub_cache), seen(stage, tmp_path, "-k", "disk", "--diagnose-files=*")
        hf_download(stage)
        assert needed(case) == written(stage.hub_cache) - had > 100_000


def test_a_folder_of_ones_own_takes_as_much(tmp_path: Path) -> None:
    """``hf download --local-dir``: the same files, and beside each a note of where it came from, of some hundred bytes."""
    with Stage() as stage:
        put_up_hub(stage, Repository(files=model.tiny_bert(model.SMALL)))
        case = seen(stage, tmp_path, "-k", "disk", "--diagnose-files=*")
        hf_download(stage, "--local-dir", "here")
        whole = written(stage.work / "here")
        assert 0 <= whole - needed(case) + 40 <= 150 * len(case["listing"]["files"]), "a cache has a ref of 40 bytes, and no notes"


@pytest.mark.parametrize(("version", "again"), [("0.36.0", False), ("1.17.0", False), ("1.18.0", True), ("2.4.0", True)])
def test_an_older_client_takes_an_unfinished_download_up(version: str, again: bool, tmp_path: Path) -> None:
    """<etag>.incomplete, until 1.17; what is written beside the files depends on the client, too."""
    blob = "b" * 64
    (tmp_path / "models--a--b" / "blobs").mkdir(parents=True)
    (tmp_path / "models--a--b" / "blobs" / f"{blob}.incomplete").write_bytes(b"x" * 3000)
    listing = Listing(source="hub", commit="c" * 40, files=(RemoteFile(path="model.safetensors", bytes=10_000, sha256=blob),), wanted=("model.safetensors",))
    target = Target(spec="a/b", kind="hub", name="a/b", client=ClientUse(family="huggingface_hub", version=version))
    bytes_ = to_be_written(target, listing, ABSENT, str(tmp_path / "models--a--b"))
    assert isinstance(bytes_, int) and (bytes_ >= 10_000) == again
    assert (bytes_ - (10_000 if again else 7_000)) == {"0.36.0": 40, "1.17.0": 231, "1.18.0": 231}.get(version, bytes_ - 10_000) > 0


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
