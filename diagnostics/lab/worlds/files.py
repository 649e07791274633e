"""Worlds of damaged, missing and foreign files: a model in a folder, or in the hub's cache, with one thing wrong."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from diagnostics.lab import formats, model
from diagnostics.lab import hub as hubs
from diagnostics.lab.stage import Stage
from diagnostics.lab.worlds import world
from diagnostics.lab.worlds.healthy import fill_cache, put_up_hub

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def folder(stage: Stage, *without: str, **files: bytes | str) -> Path:
    """The tiny model as the target, without some of its files and with others (dots as two underscores, slashes as three)."""
    place = model.write(model.tiny_bert(), stage.work / "tiny-bert")
    for name in without:
        (place / name).unlink()
    for name, content in files.items():
        path = place / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    stage.spec = str(place)
    return place


def weights() -> bytes:
    return next(file.data for file in model.tiny_bert() if file.path == WEIGHTS)


def pickled(stage: Stage, content: bytes) -> Path:
    """The tiny model with a pickled checkpoint in place of safetensors."""
    return folder(stage, WEIGHTS, pytorch_model__bin=content)


def in_shards(stage: Stage) -> Path:
    """The tiny model in two shards with their index."""
    shapes = model.tensors(model.TINY)
    halves = [{name: shape for name, shape in shapes.items() if ("layer.1" in name) is later} for later in (False, True)]
    names = [f"model-{number:05d}-of-00002.safetensors" for number in (1, 2)]
    place = folder(stage, WEIGHTS)
    for name, half in zip(names, halves, strict=True):
        (place / name).write_bytes(model.safetensors(half))
    index = {"metadata": {}, "weight_map": {tensor: name for name, half in zip(names, halves, strict=True) for tensor in half}}
    (place / "model.safetensors.index.json").write_text(json.dumps(index))
    return place


@world("healthy-shards", cause="")
def healthy_shards(stage: Stage) -> None:
    """A model in two shards with their index."""
    in_shards(stage)


@world("healthy-pickled", cause="")
def healthy_pickled(stage: Stage) -> None:
    """A checkpoint as torch.save writes it."""
    pickled(stage, formats.torch_zip(model.tensors(model.TINY)))


@world("healthy-gpt2", cause="")
def healthy_gpt2(stage: Stage) -> None:
    """GPT-2 as its first release laid it out: a TensorFlow checkpoint and four files beside it."""
    gpt2(stage)


def gpt2(stage: Stage) -> Path:
    place = stage.work / "124M"
    place.mkdir()
    index, data = formats.tf_index()
    others = {
        "checkpoint": b"model_checkpoint_path: 'model.ckpt'\n",
        "encoder.json": b"{}",
        "hparams.json": b"{}",
        "vocab.bpe": b"a b\n",
        "model.ckpt.meta": formats.noise(900),
    }
    for name, content in {**others, "model.ckpt.index": index, "model.ckpt.data-00000-of-00001": data}.items():
        (place / name).write_bytes(content)
    stage.spec = str(place)
    return place


# --- not here -------------------------------------------------------------------------------------------------------------------


@world("model-directory-empty", twin="healthy-folder")
def model_directory_empty(stage: Stage) -> None:
    """An empty folder, as a volume that was not mounted leaves it."""
    place = stage.work / "model"
    place.mkdir()
    stage.spec = str(place)


@world("weights-missing", twin="healthy-folder")
def weights_missing(stage: Stage) -> None:
    """config and tokenizer, and no weights."""
    folder(stage, WEIGHTS)


@world("weights-missing-deepspeed", cause="weights-missing", twin="healthy-folder")
def weights_missing_deepspeed(stage: Stage) -> None:
    """Only DeepSpeed's own files of the training."""
    folder(stage, WEIGHTS, global_step10___mp_rank_00_model_states__pt=formats.torch_zip())


@world("config-missing", twin="healthy-folder")
def config_missing(stage: Stage) -> None:
    """Weights and tokenizer, and no config."""
    folder(stage, CONFIG)


@world("config-missing-above", cause="config-missing", twin="healthy-folder")
def config_missing_above(stage: Stage) -> None:
    """The path is the folder above the model."""
    stage.spec = str(folder(stage).parent)


@world("config-missing-cache", cause="config-missing", twin="healthy-folder")
def config_missing_cache(stage: Stage) -> None:
    """The path is the repository's folder in the hub's cache, not the snapshot in it."""
    fill_cache(stage, hubs.tiny())
    stage.spec = str(next(stage.hub_cache.glob("models--*")))


@world("file-missing", twin="healthy-gpt2")
def file_missing(stage: Stage) -> None:
    """GPT-2's folder without its vocabulary."""
    (gpt2(stage) / "encoder.json").unlink()


@world("file-missing-onnx", cause="file-missing", twin="healthy-folder")
def file_missing_onnx(stage: Stage) -> None:
    """An ONNX model whose weights lie in a file of their own, which is not here."""
    place = stage.work / "model.onnx"
    place.write_bytes(formats.onnx({"model.onnx_data": (0, 4000)}))
    stage.spec = str(place)


@world("shard-missing", twin="healthy-shards")
def shard_missing(stage: Stage) -> None:
    """One of two shards."""
    (in_shards(stage) / "model-00002-of-00002.safetensors").unlink()


@world("index-missing", twin="healthy-shards")
def index_missing(stage: Stage) -> None:
    """Both shards, and no index."""
    (in_shards(stage) / "model.safetensors.index.json").unlink()


@world("model-not-cached", cause="offline-mode-set", twin="healthy-cached-offline")
def model_not_cached(stage: Stage) -> None:
    """Nothing in the cache and no network allowed: the variable is the root, and says what is not cached."""
    put_up_hub(stage)
    stage.variables["HF_HUB_OFFLINE"] = "1"


@world("download-unfinished", twin="healthy-folder")
def download_unfinished(stage: Stage) -> None:
    """What a download left behind, and not the file."""
    folder(stage, WEIGHTS, model__safetensors__part=weights()[:50_000])


@world("download-unfinished-snapshot", cause="download-unfinished", twin="healthy-folder")
def download_unfinished_snapshot(stage: Stage) -> None:
    """A snapshot of the cache, named by its path, whose weights are still an .incomplete beside the blobs."""
    fill_cache(stage, hubs.tiny())
    link = next(stage.hub_cache.rglob(f"snapshots/*/{WEIGHTS}"))
    blob = link.resolve()
    link.unlink()
    blob.rename(blob.with_name(f"{blob.name}.incomplete"))
    stage.spec = str(link.parent)


@world("cache-link-broken", twin="healthy-folder")
def cache_link_broken(stage: Stage) -> None:
    """A snapshot, named by its path, whose blob is gone."""
    fill_cache(stage, hubs.tiny())
    link = next(stage.hub_cache.rglob(f"snapshots/*/{WEIGHTS}"))
    link.resolve().unlink()
    stage.spec = str(link.parent)


# --- not whole ------------------------------------------------------------------------------------------------------------------


@world("file-empty", twin="healthy-folder")
def file_empty(stage: Stage) -> None:
    """Zero bytes of weights."""
    folder(stage, model__safetensors=b"")


@world("file-truncated", twin="healthy-folder")
def file_truncated(stage: Stage) -> None:
    """Two thirds of the weights."""
    folder(stage, model__safetensors=weights()[: len(weights()) * 2 // 3])


@world("file-truncated-torch", cause="file-truncated", twin="healthy-pickled")
def file_truncated_torch(stage: Stage) -> None:
    """Two thirds of a checkpoint of torch."""
    content = formats.torch_zip(model.tensors(model.TINY))
    pickled(stage, content[: len(content) * 2 // 3])


@world("file-truncated-shard", cause="file-truncated", twin="healthy-shards")
def file_truncated_shard(stage: Stage) -> None:
    """One shard is short by a hundred bytes."""
    shard = in_shards(stage) / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])


@world("file-truncated-data", cause="file-truncated", twin="healthy-gpt2")
def file_truncated_data(stage: Stage) -> None:
    """GPT-2's data file is shorter than its index says."""
    data = gpt2(stage) / "model.ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])


@world("file-truncated-cached", cause="file-truncated", twin="healthy-cached")
def file_truncated_cached(stage: Stage) -> None:
    """A blob in the cache is short; the hub can be asked how long it should be."""
    put_up_hub(stage)
    fill_cache(stage, hubs.tiny())
    blob = next(stage.hub_cache.rglob(f"snapshots/*/{WEIGHTS}")).resolve()
    blob.write_bytes(blob.read_bytes()[:40_000])


@world("healthy-cached", cause="")
def healthy_cached(stage: Stage) -> None:
    """A hub, and all of its model in the cache."""
    put_up_hub(stage)
    fill_cache(stage, hubs.tiny())


@world("file-zero-filled", twin="healthy-folder")
def file_zero_filled(stage: Stage) -> None:
    """The right length, and zeros behind the middle."""
    half = len(weights()) // 2
    folder(stage, model__safetensors=weights()[:half] + bytes(len(weights()) - half))


@world("file-structure-damaged", twin="healthy-gpt2")
def file_structure_damaged(stage: Stage) -> None:
    """One bit of the checkpoint's index is another."""
    index = gpt2(stage) / "model.ckpt.index"
    content = bytearray(index.read_bytes())
    content[30] ^= 4
    index.write_bytes(bytes(content))


@world("file-trailing-bytes", twin="healthy-folder")
def file_trailing_bytes(stage: Stage) -> None:
    """Two downloads in one file."""
    folder(stage, model__safetensors=weights() + weights()[:1000])


@world("file-checksum-mismatch", twin="healthy-folder")
def file_checksum_mismatch(stage: Stage) -> None:
    """One byte of a tensor is another; SHA256SUMS beside it tells."""
    place = folder(stage)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in sorted(place.iterdir())]
    (place / "SHA256SUMS").write_text("\n".join(lines) + "\n")
    content = bytearray(weights())
    content[-5000] ^= 1
    (place / WEIGHTS).write_bytes(bytes(content))


@world("file-checksum-mismatch-snapshot", cause="file-checksum-mismatch", twin="healthy-folder")
def file_checksum_mismatch_snapshot(stage: Stage) -> None:
    """A snapshot, named by its path: the blob's own name is its digest."""
    fill_cache(stage, hubs.tiny())
    link = next(stage.hub_cache.rglob(f"snapshots/*/{WEIGHTS}"))
    content = bytearray(link.read_bytes())
    content[-5000] ^= 1
    link.resolve().write_bytes(bytes(content))
    stage.spec = str(link.parent)


@world("safetensors-header-invalid", twin="healthy-folder")
def safetensors_header_invalid(stage: Stage) -> None:
    """A byte of the header is another."""
    content = bytearray(weights())
    content[30] = 0xFF
    folder(stage, model__safetensors=bytes(content))


@world("archive-damaged", twin="healthy-pickled")
def archive_damaged(stage: Stage) -> None:
    """A thousand bytes were lost in the middle of a checkpoint of torch."""
    content = formats.torch_zip(model.tensors(model.TINY))
    pickled(stage, content[:20_000] + content[21_000:])


# --- something else -------------------------------------------------------------------------------------------------------------


@world("lfs-pointer", twin="healthy-folder")
def lfs_pointer(stage: Stage) -> None:
    """A clone without git-lfs."""
    digest = hashlib.sha256(weights()).hexdigest()
    folder(stage, model__safetensors=f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(weights())}\n")


@world("html-instead-of-file", twin="healthy-folder")
def html_instead_of_file(stage: Stage) -> None:
    """A page that was saved under the name of the weights."""
    folder(stage, model__safetensors="<!DOCTYPE html>\n<html><head><title>Sign in to continue</title></head><body></body></html>\n")


@world("format-unrecognised", twin="healthy-folder")
def format_unrecognised(stage: Stage) -> None:
    """A checkpoint of torch that was only renamed to safetensors."""
    folder(stage, model__safetensors=formats.torch_zip(model.tensors(model.TINY)))


@world("format-unrecognised-error", cause="format-unrecognised", twin="healthy-folder")
def format_unrecognised_error(stage: Stage) -> None:
    """A server's error in JSON, saved as config.json."""
    folder(stage, config__json='{"error": "Repository not found"}')


@world("json-invalid", twin="healthy-folder")
def json_invalid(stage: Stage) -> None:
    """config.json breaks off."""
    folder(stage, config__json='{"model_type": "bert",\n  "hidden_size": ')


@world("pickle-unsafe", twin="healthy-pickled")
def pickle_unsafe(stage: Stage) -> None:
    """A checkpoint that would start a program when it is loaded."""
    pickled(stage, formats.torch_zip(model.tensors(model.TINY), extra=formats.Runs()))


@world("torch-weights-only", twin="healthy-pickled")
def torch_weights_only(stage: Stage) -> None:
    """A checkpoint with an object of a class of its own."""
    pickled(stage, formats.torch_zip(model.tensors(model.TINY), extra=formats.OfMain()))


@world("file-unreadable", twin="healthy-folder")
def file_unreadable(stage: Stage) -> None:
    """A pipe under the name of the weights: whoever reads it waits for ever (a file without the right to be read is no obstacle for root)."""
    os.mkfifo(folder(stage, WEIGHTS) / WEIGHTS)
