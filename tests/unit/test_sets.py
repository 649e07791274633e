"""Sets of files: what one file names and is not here, and where the model is when the path is not it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diagnostics.case import Case, Diagnosis, Environment, Unseen
from diagnostics.diagnosis import diagnose
from diagnostics.lab import formats as made
from diagnostics.probes.files import see_files
from tests.unit.files_made import COMMIT, CONFIG, folder_target, model, noise, safetensors, sharded


def judged(folder: Path) -> list[Diagnosis]:
    target = folder_target(folder)
    return diagnose(Case(target=target, files=see_files(target, Environment(), Unseen("absent"))))


def roots(folder: Path) -> list[str]:
    return [found.cause for found in judged(folder)]


def write(folder: Path, **files: object) -> Path:
    """Files by their names, dots as two underscores, slashes as three."""
    for name, content in files.items():
        path = folder / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return folder


# --- the path is one level off --------------------------------------------------------------------------------------------------


def test_a_level_too_high(tmp_path: Path) -> None:
    """One model further down, several, a repository of the hub's cache, the cache itself: each remedy names what to name."""
    model(tmp_path / "one" / "inner")
    model(tmp_path / "two" / "checkpoint-500")
    model(tmp_path / "two" / "checkpoint-900")
    repository = tmp_path / "hub" / "models--org--tiny"
    model(repository / "snapshots" / COMMIT)
    write(repository, refs___main=b"x")
    said = {}
    for name in ("one", "two", "hub", "hub/models--org--tiny"):
        (found,) = judged(tmp_path / name)
        assert found.cause == "config-missing"
        said[name] = found.remedies[0].run
    assert "one/inner" in said["one"] and "two/checkpoint-500" in said["two"]
    assert said["hub"].endswith(" org/tiny") and f"snapshots/{COMMIT}" in said["hub/models--org--tiny"]


def test_a_level_too_low(tmp_path: Path) -> None:
    """Weights without a config, and the folder above has one."""
    model(tmp_path)
    write(tmp_path / "weights", model__safetensors=safetensors())
    (found,) = judged(tmp_path / "weights")
    assert found.cause == "config-missing" and str(tmp_path) in found.remedies[0].run and roots(tmp_path) == []


def test_training_leaves_no_weights_that_a_loader_takes(tmp_path: Path) -> None:
    """DeepSpeed's own files, and a Trainer's checkpoints below: the remedy is the script, or the checkpoint."""
    deep = write(tmp_path / "deep", config__json=CONFIG, global_step10___mp_rank_00_model_states__pt=made.torch_zip())
    (found,) = judged(deep)
    assert found.cause == "weights-missing" and "zero_to_fp32.py" in found.remedies[0].run
    trained = write(tmp_path / "trained", config__json=CONFIG)
    model(trained / "checkpoint-500")
    (found,) = judged(trained)
    assert found.cause == "weights-missing" and "checkpoint-500" in found.remedies[0].run


# --- what others name -----------------------------------------------------------------------------------------------------------

PIPELINE = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "safety_checker": [None, None],
}


def pipeline(folder: Path) -> Path:
    return write(
        folder,
        model_index__json=PIPELINE,
        unet___config__json={"_class_name": "UNet2DConditionModel"},
        unet___diffusion_pytorch_model__safetensors=safetensors(),
        scheduler___scheduler_config__json={"_class_name": "PNDMScheduler"},
    )


def test_the_parts_of_a_pipeline(tmp_path: Path) -> None:
    """diffusers: whole, a part's folder gone, a part's weights gone."""
    assert roots(pipeline(tmp_path / "whole")) == []
    gone = pipeline(tmp_path / "gone")
    (gone / "scheduler" / "scheduler_config.json").unlink()
    (gone / "scheduler").rmdir()
    assert roots(gone) == ["file-missing"]
    hollow = pipeline(tmp_path / "hollow")
    (hollow / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert roots(hollow) == ["weights-missing"]


MODULES = [
    {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    {"idx": 3, "path": "3_Normalize", "type": "sentence_transformers.models.Normalize"},
]


def sentences(folder: Path) -> Path:
    model(folder)
    return write(
        folder,
        modules__json=MODULES,
        config_sentence_transformers__json={},
        _1_Pooling___config__json={"word_embedding_dimension": 8},
        **{
            "2_Dense___config__json": {"in_features": 8},
            "2_Dense___model__safetensors": safetensors(),
            "1_Pooling___config__json": {"word_embedding_dimension": 8},
        },
    )


@pytest.mark.parametrize(
    ("lost", "root"),
    [
        ("", []),
        ("1_Pooling/config.json", ["file-missing"]),
        ("2_Dense/config.json", ["file-missing"]),
        ("2_Dense/model.safetensors", ["weights-missing"]),
        ("config.json", ["config-missing"]),
        ("model.safetensors", ["weights-missing"]),
    ],
)
def test_the_modules_of_sentence_transformers(tmp_path: Path, lost: str, root: list[str]) -> None:
    """Each part is needed, but for Normalize, which saves nothing."""
    folder = sentences(tmp_path / "m")
    if lost:
        (folder / lost).unlink()
    found = roots(folder)
    assert found == root or (lost == "model.safetensors" and found in ([], root))


def gpt2(folder: Path) -> Path:
    index, data = made.tf_index()
    texts = {
        "checkpoint": b"model_checkpoint_path: 'model.ckpt'",
        "encoder.json": b"{}",
        "hparams.json": b"{}",
        "vocab.bpe": b"a b",
        "model.ckpt.meta": noise(900),
    }
    folder.mkdir(parents=True)
    for name, content in {**texts, "model.ckpt.index": index, "model.ckpt.data-00000-of-00001": data}.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("lost", ["checkpoint", "encoder.json", "vocab.bpe", "model.ckpt.meta", "model.ckpt.index", "model.ckpt.data-00000-of-00001"])
def test_the_folder_of_gpt2(tmp_path: Path, lost: str) -> None:
    """Its code reads all seven files; without one of them, that one is named."""
    folder = gpt2(tmp_path / "124M")
    assert roots(folder) == []
    (folder / lost).unlink()
    (found,) = judged(folder)
    assert found.cause == ("shard-missing" if ".data-" in lost else "file-missing") and lost in found.title


def test_a_tensorflow_checkpoint_without_its_index(tmp_path: Path) -> None:
    """Data files alone say nothing."""
    write(tmp_path, bert_config__json=CONFIG)
    (tmp_path / "bert_model.ckpt.data-00000-of-00001").write_bytes(noise(900))
    assert roots(tmp_path) == ["file-missing"]


def test_shards_of_another_count_than_the_index_names(tmp_path: Path) -> None:
    """An index of three, shards of two: what the index names is missing."""
    folder = sharded(tmp_path / "m", 3)
    other = sharded(tmp_path / "other", 2)
    for path in folder.glob("model-*.safetensors"):
        path.unlink()
    for path in other.glob("model-*.safetensors"):
        path.rename(folder / path.name)
    assert roots(folder) == ["shard-missing"]


def test_parts_of_a_split_gguf(tmp_path: Path) -> None:
    """llama.cpp's -00001-of-00003: all of them, or the one that is missing."""
    for number in (1, 2, 3):
        (tmp_path / f"big-{number:05d}-of-00003.gguf").write_bytes(made.gguf())
    assert roots(tmp_path) == []
    (tmp_path / "big-00002-of-00003.gguf").unlink()
    (found,) = judged(tmp_path)
    assert found.cause == "shard-missing" and "big-00002-of-00003.gguf" in found.title


# --- remedies that go on where it stopped -----------------------------------------------------------------------------------------


def test_a_truncated_file_says_from_which_byte_to_go_on(tmp_path: Path) -> None:
    """The second remedy resumes; the byte is the file's length."""
    whole = safetensors()
    folder = model(tmp_path, model__safetensors=whole[:5000])
    (found,) = judged(folder)
    assert "5000" in found.remedies[1].do and "curl -L -C -" in found.remedies[1].run and f"{len(whole)} bytes" in found.title


# --- what stands in the place of a file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (b"Entry not found", "format-unrecognised", "Entry not found"),
        (b"Invalid username or password.", "format-unrecognised", "Invalid username"),
        (b'{"error":"Access to model org/x is restricted"}', "format-unrecognised", "restricted"),
        (b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>x</Message></Error>', "html-instead-of-file", "AccessDenied"),
        (b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>", "html-instead-of-file", "Sign in"),
        ("<!DOCTYPE html><html><title>Gesperrt</title></html>".encode("utf-16"), "html-instead-of-file", "Gesperrt"),
        (b"\x1f\x8b\x08\x00" + noise(600), "archive-damaged", ""),
        (made.gguf(), "format-unrecognised", "gguf"),
        (made.torch_zip(), "format-unrecognised", "torch-zip"),
        (made.hdf5(), "format-unrecognised", "hdf5"),
        (b"%PDF-1.7" + noise(900), "format-unrecognised", "pdf"),
        (b"\x02\x00", "file-truncated", "2 bytes"),
    ],
)
def test_what_it_really_is(tmp_path: Path, content: bytes, code: str, says: str) -> None:
    """Under the name of safetensors: the root says what was saved instead, by its bytes."""
    (found,) = judged(model(tmp_path, model__safetensors=content))
    assert found.cause == code and says in found.title
