"""Worlds in which config, tokenizer and weights do not fit each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diagnostics.lab import formats, model
from diagnostics.lab.stage import Stage
from diagnostics.lab.worlds import world
from diagnostics.lab.worlds.files import CONFIG, WEIGHTS, folder

LOADERS = {"transformers": "5.24.0", "torch": "2.13.0", "safetensors": "0.8.0", "tokenizers": "0.22.2", "huggingface_hub": "2.4.0"}
Shapes = dict[str, tuple[int, ...]]


def with_config(stage: Stage, **changes: Any) -> Path:
    """The tiny model with some keys of its config changed; None takes one out."""
    place = folder(stage)
    config = model.config(model.TINY) | changes
    (place / CONFIG).write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return place


def with_tensors(stage: Stage, change: Callable[[Shapes], Shapes]) -> Path:
    """The tiny model with other tensors."""
    place = folder(stage)
    (place / WEIGHTS).write_bytes(model.safetensors(change(model.tensors(model.TINY))))
    return place


def with_loaders(stage: Stage, **more: str) -> None:
    """An interpreter with the libraries that load, as far as metadata and an import that works go."""
    versions = {**LOADERS, **more}
    stage.interpreter(**versions)
    for name, version in versions.items():
        module = stage.folder / "python" / name
        module.mkdir()
        (module / "__init__.py").write_text(f"__version__ = {version!r}\n")


@world("healthy-adapter", cause="")
def healthy_adapter(stage: Stage) -> None:
    """A LoRA adapter whose base is in a folder beside it."""
    adapter(stage, str(folder(stage)))


def adapter(stage: Stage, base: str) -> None:
    with_loaders(stage, peft="0.18.0", accelerate="1.12.0")
    place = stage.work / "lora"
    place.mkdir()
    (place / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": base, "r": 4}))
    (place / "adapter_model.safetensors").write_bytes(
        model.safetensors({"base_model.model.a.lora_A.weight": (4, 32), "base_model.model.a.lora_B.weight": (32, 4)})
    )
    stage.spec = str(place)


@world("vocabulary-mismatch", twin="healthy-folder")
def vocabulary_mismatch(stage: Stage) -> None:
    """The config of a model with another vocabulary."""
    with_config(stage, vocab_size=28996)


@world("vocabulary-mismatch-tokenizer", cause="vocabulary-mismatch", twin="healthy-folder")
def vocabulary_mismatch_tokenizer(stage: Stage) -> None:
    """The tokenizer of a larger model."""
    folder(stage, tokenizer__json=json.dumps(model.tokenizer(model.vocabulary(28996))))


@world("shape-mismatch", twin="healthy-folder")
def shape_mismatch(stage: Stage) -> None:
    """The config of a wider model."""
    with_config(stage, hidden_size=64)


@world("tensors-missing", twin="healthy-folder")
def tensors_missing(stage: Stage) -> None:
    """A layer was lost."""
    with_tensors(stage, lambda shapes: {name: shape for name, shape in shapes.items() if "layer.1." not in name})


@world("tensors-misnamed", twin="healthy-folder")
def tensors_misnamed(stage: Stage) -> None:
    """Saved from within DataParallel."""
    with_tensors(stage, lambda shapes: {f"module.{name}": shape for name, shape in shapes.items()})


@world("tensors-unconsolidated", twin="healthy-folder")
def tensors_unconsolidated(stage: Stage) -> None:
    """Saved under ZeRO-3 without gathering."""
    with_tensors(stage, lambda shapes: dict.fromkeys(shapes, (0,)))


@world("tokenizer-incomplete", twin="healthy-folder")
def tokenizer_incomplete(stage: Stage) -> None:
    """tokenizer_config.json names a class, and what that reads is not here."""
    folder(stage, "tokenizer.json", "vocab.txt")


@world("adapter-base-missing", twin="healthy-adapter")
def adapter_base_missing(stage: Stage) -> None:
    """The base is a path of the machine on which it was trained."""
    adapter(stage, "/data/models/llama-3-8b")


@world("model-type-missing", twin="healthy-folder")
def model_type_missing(stage: Stage) -> None:
    """config.json without model_type."""
    with_config(stage, model_type=None)


@world("weights-framework-mismatch", twin="healthy-folder")
def weights_framework_mismatch(stage: Stage) -> None:
    """Only the weights for Flax, and a transformers that knows PyTorch alone."""
    with_loaders(stage)
    folder(stage, WEIGHTS, flax_model__msgpack=formats.flax())
