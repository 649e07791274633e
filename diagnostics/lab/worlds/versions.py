"""Environments that lack a package, or hold one that is too old, too new, in pieces, hidden, or somewhere else; and models that ask for more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from diagnostics.lab import environments, formats, model
from diagnostics.lab import hub as hubs
from diagnostics.lab.environments import GONE, VERSIONS
from diagnostics.lab.stage import Stage
from diagnostics.lab.worlds import world
from diagnostics.lab.worlds.healthy import put_up_hub


def folder(stage: Stage, config: Mapping[str, object] | None = None, without: tuple[str, ...] = (), **files: str) -> Path:
    """The tiny model in a folder, with some keys of its config changed, files left out and others added (dots as two underscores)."""
    place = model.write(model.tiny_bert(), stage.work / "tiny-bert")
    (place / "config.json").write_text(json.dumps({**model.config(model.TINY), **(config or {})}))
    for name in without:
        (place / name).unlink()
    for name, text in files.items():
        (place / name.replace("__", ".")).write_text(text)
    stage.spec = str(place)
    return place


def loads_in(
    stage: Stage, versions: Mapping[str, str] = VERSIONS, requires: Mapping[str, tuple[str, ...]] | None = None, **changes: dict[str, str] | None
) -> None:
    """An environment of its own, in which the model will load."""
    stage.python = str(environments.make(stage.folder / "env", versions, requires or {}, changes))


@world("healthy-environment", cause="", twin="healthy-folder")
def healthy_environment(stage: Stage) -> None:
    """A whole environment, and a model that it can load."""
    folder(stage)
    loads_in(stage, requires={"transformers": ("tokenizers<0.24.0,>=0.23.1", "safetensors>=0.8.0", 'torch>=2.6; extra == "torch"')})


@world("healthy-old-environment", cause="", twin="healthy-folder")
def healthy_old_environment(stage: Stage) -> None:
    """An older transformers with an older torch, which is enough for safetensors."""
    folder(stage)
    loads_in(stage, {**VERSIONS, "transformers": "4.53.0", "torch": "2.4.0", "tokenizers": "0.21.0", "numpy": "2.0.1", "huggingface_hub": "0.33.0"})


@world("package-missing", twin="healthy-environment")
def package_missing(stage: Stage) -> None:
    """transformers without torch."""
    folder(stage)
    loads_in(stage, torch=None)


@world("package-missing-tokenizer", cause="package-missing", twin="healthy-environment")
def package_missing_tokenizer(stage: Stage) -> None:
    """A SentencePiece tokenizer without sentencepiece and protobuf."""
    config = json.dumps({"tokenizer_class": "T5Tokenizer"})
    place = folder(stage, without=("tokenizer.json", "vocab.txt", "special_tokens_map.json"), tokenizer_config__json=config)
    (place / "spiece.model").write_bytes(formats.sentencepiece(model.TINY.vocabulary))
    loads_in(stage)


@world("package-missing-quantised", cause="package-missing", twin="healthy-environment")
def package_missing_quantised(stage: Stage) -> None:
    """Weights quantised with bitsandbytes, which is not there."""
    folder(stage, {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}})
    loads_in(stage)


@world("package-missing-imported", cause="package-missing", twin="healthy-environment")
def package_missing_imported(stage: Stage) -> None:
    """transformers imports a package that was never installed (pip install --no-deps)."""
    folder(stage)
    loads_in(stage, transformers={"transformers/__init__.py": "import yaml\n"})


@world("package-too-old", twin="healthy-environment")
def package_too_old(stage: Stage) -> None:
    """A torch that this transformers does not take."""
    folder(stage)
    loads_in(stage, {**VERSIONS, "torch": "2.4.1"})


@world("torch-too-old-for-pickle", twin="healthy-old-environment")
def torch_too_old_for_pickle(stage: Stage) -> None:
    """Weights in pickled form only, and a torch before 2.6."""
    place = folder(stage, {"model_type": "mimi_decoder"}, without=("model.safetensors",))  # whose tensors nobody compares
    (place / "pytorch_model.bin").write_bytes(environments.checkpoint())
    loads_in(stage, {**VERSIONS, "transformers": "4.53.0", "torch": "2.4.0", "tokenizers": "0.21.0", "numpy": "2.0.1", "huggingface_hub": "0.33.0"})


@world("package-too-new", twin="healthy-environment")
def package_too_new(stage: Stage) -> None:
    """sentence-transformers 2.2 imports what huggingface_hub 0.26 removed."""
    folder(stage)
    old = {**VERSIONS, "transformers": "4.40.0", "torch": "2.4.0", "tokenizers": "0.19.1", "numpy": "1.26.4", "huggingface_hub": "0.26.0"}
    loads_in(stage, {**old, "sentence-transformers": "2.2.2"})


@world("package-conflict", twin="healthy-environment")
def package_conflict(stage: Stage) -> None:
    """A tokenizers that this transformers refuses at its import."""
    folder(stage)
    loads_in(stage, {**VERSIONS, "tokenizers": "0.21.0"}, {"transformers": ("tokenizers<0.24.0,>=0.23.1",)})


@world("package-broken", twin="healthy-environment")
def package_broken(stage: Stage) -> None:
    """A file of tokenizers went away."""
    folder(stage)
    loads_in(stage, tokenizers={"tokenizers/__init__.py": "from tokenizers import part\n", "tokenizers/part.py": GONE})


@world("package-broken-symbol", cause="package-broken", twin="healthy-environment")
def package_broken_symbol(stage: Stage) -> None:
    """A compiled part built for another version of the rest."""
    folder(stage)
    loads_in(stage, torch={"torch/__init__.py": "raise ImportError('libtorch_python.so: undefined symbol: _ZN3c106detail14torchCheckFail')\n"})


@world("system-library-missing", twin="healthy-environment")
def system_library_missing(stage: Stage) -> None:
    """A library of the system's that is not there."""
    folder(stage)
    loads_in(stage, torch={"torch/__init__.py": "raise ImportError('libgomp.so.1: cannot open shared object file: No such file or directory')\n"})


@world("numpy-abi-mismatch", twin="healthy-environment")
def numpy_abi_mismatch(stage: Stage) -> None:
    """A torch built for numpy 1 beside numpy 2: it says so and goes on."""
    folder(stage)
    text = "A module that was compiled using NumPy 1.x cannot be run in\\nNumPy 2.4.6 as it may crash. To support both\\n"
    old = {**VERSIONS, "transformers": "4.40.0", "torch": "2.2.2", "tokenizers": "0.19.1", "huggingface_hub": "0.23.0"}
    loads_in(stage, old, torch={"torch/__init__.py": f"import sys\nsys.stderr.write('\\n{text}')\n"})


@world("python-unsupported", twin="healthy-environment")
def python_unsupported(stage: Stage) -> None:
    """A package that is written for a newer Python."""
    folder(stage)
    loads_in(stage, requires={"tokenizers": ("python >=3.99",)}, tokenizers={"tokenizers/__init__.py": "def of_tomorrow[T](: T): pass\n"})


@world("package-shadowed", twin="healthy-environment")
def package_shadowed(stage: Stage) -> None:
    """torch.py in the working folder."""
    folder(stage)
    loads_in(stage)
    (stage.work / "torch.py").write_text("print('experiments with torch')\n")


@world("environment-mixed", twin="healthy-environment")
def environment_mixed(stage: Stage) -> None:
    """The pip on the PATH is another environment's: what it installed is not here."""
    folder(stage)
    loads_in(stage, tokenizers=None)
    other = environments.make(stage.folder / "other")
    (other.parent / "pip").write_text(f"#!{other}\n")
    (other.parent / "pip").chmod(0o755)
    stage.variables["PATH"] = f"{other.parent}:/usr/bin:/bin:/usr/sbin:/sbin"


@world("architecture-unknown", twin="healthy-environment")
def architecture_unknown(stage: Stage) -> None:
    """A model type that this transformers does not have yet."""
    folder(stage, {"model_type": "bert6", "transformers_version": "6.2.0"})
    loads_in(stage)


def on_hub(stage: Stage, config: Mapping[str, object]) -> None:
    """The tiny model on a hub, with some keys of its config changed; nothing of it is here."""
    text = json.dumps({**model.config(model.TINY), **config}).encode()
    files = tuple(model.ModelFile(path=file.path, data=text) if file.path == "config.json" else file for file in model.tiny_bert())
    put_up_hub(stage, hubs.Repository(files=files))
    loads_in(stage)


@world("healthy-environment-for-hub", cause="")
def healthy_environment_for_hub(stage: Stage) -> None:
    """A whole environment, and a model that is still on the hub."""
    on_hub(stage, {})


@world("architecture-unknown-on-hub", cause="architecture-unknown", twin="healthy-environment-for-hub")
def architecture_unknown_on_hub(stage: Stage) -> None:
    """A model type that this transformers does not have, told before anything is downloaded."""
    on_hub(stage, {"model_type": "bert6"})


@world("package-missing-on-hub", cause="package-missing", twin="healthy-environment-for-hub")
def package_missing_on_hub(stage: Stage) -> None:
    """Quantised weights on the hub, and nothing here that reads them."""
    on_hub(stage, {"quantization_config": {"quant_method": "torchao"}})


@world("remote-code-required", twin="healthy-environment")
def remote_code_required(stage: Stage) -> None:
    """A model that brings its own code."""
    own = {"AutoConfig": "configuration_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"}
    folder(stage, {"model_type": "own", "auto_map": own}, configuration_own__py="import torch\n", modeling_own__py="import torch\n")
    loads_in(stage)


@world("healthy-own-code-not-needed", cause="", twin="healthy-environment")
def healthy_own_code_not_needed(stage: Stage) -> None:
    """It brings its own code for what the library has itself."""
    folder(stage, {"auto_map": {"AutoModel": "modeling_own.OwnModel"}}, modeling_own__py="import nothing_like_it\n")
    loads_in(stage)


@world("quantization-unsupported", twin="healthy-environment")
def quantization_unsupported(stage: Stage) -> None:
    """Weights quantised for an accelerator, on a machine that has none."""
    folder(stage, {"quantization_config": {"quant_method": "eetq"}})
    loads_in(stage, {**VERSIONS, "kernels": "0.11.0", "accelerate": "1.15.0"})
