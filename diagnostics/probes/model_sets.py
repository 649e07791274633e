"""What a model's files say of themselves beside shapes: which framework they are for, what type they are, whose adapter, which tokenizer they need."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from diagnostics.case import Environment, Misfit, Target
from diagnostics.facts.clients import canonical, offline
from diagnostics.facts.versions import satisfies
from diagnostics.probes import cache, model_tokenizer
from diagnostics.probes.files_wanted import weights_format
from diagnostics.redact import path as shown_path
from diagnostics.redact import plain

PYTORCH = ("safetensors", "torch")
TITLES = {"tensorflow": "TensorFlow", "flax": "Flax", "onnx": "ONNX", "gguf": "llama.cpp (GGUF)", "other": "another runtime"}
# Keys by which a config.json without model_type says that it is for another library.
_OTHERS = frozenset(
    {
        "_class_name",
        "_diffusers_version",
        "architecture",
        "model_cfg",
        "pretrained_cfg",
        "quant_method",
        "add_source_bos",
        "bos_token",
        "backend",
        "module",
        "build_config",
        "preprocess_cfg",
    }
)
_OWN_SAFETENSORS = re.compile(r"(model|pytorch_model)(-\d{5}-of-\d{5})?\.(safetensors|bin)$")


def framework_mismatch(names: Iterable[str], target: Target, environment: Environment, config: Mapping[str, Any]) -> Misfit | None:
    """A transformers model whose weights are here only in a form that torch's side of it does not read."""
    formats: dict[str, str] = {}
    for name in sorted(names):
        if kind := weights_format(name):
            formats.setdefault(kind, name)
    if "model_type" not in config or not formats or any(kind in formats for kind in PYTORCH) or target.loader not in ("transformers", ""):
        return None
    kind = next(iter(formats)) if len(formats) == 1 else min(formats, key=("tensorflow", "flax", "onnx", "gguf", "other").index)
    readers = {
        "tensorflow": ("tensorflow", "keras"),
        "flax": ("flax",),
        "onnx": ("optimum", "onnxruntime", "onnxruntime-gpu"),
        "gguf": ("llama-cpp-python", "gguf"),
    }
    installed = {canonical(item.name): item.version for item in environment.distributions}
    served = any(name in installed for name in readers.get(kind, ()))
    if kind in ("tensorflow", "flax") and satisfies(installed.get("transformers", ""), ">=5.0.dev0"):
        served = served and "transformers" not in installed
    if served and kind in ("tensorflow", "flax"):
        return None
    return Misfit(
        code="weights-framework-mismatch",
        name=plain(formats[kind], 200),
        seen=TITLES.get(kind, kind),
        expected="model.safetensors or pytorch_model.bin",
        because="transformers with PyTorch asks for these",
        facts={"format": kind, "file": plain(formats[kind], 200)},
        severity="error" if "transformers" in installed and not served and kind != "gguf" else "warning",
    )


def type_missing(config: Mapping[str, Any], names: Iterable[str], folder: str) -> Misfit | None:
    """A config.json for transformers that does not say which model it is."""
    here = set(names)
    if isinstance(config.get("model_type"), str) or _OTHERS & set(config) or "model_index.json" in here:
        return None
    module = "pooling_mode_mean_tokens" in config or "word_embedding_dimension" in config
    if not module and not ("architectures" in config or any(_OWN_SAFETENSORS.match(name) for name in here)):
        return None
    above = next((parent for parent in _parents(folder) if os.path.isfile(os.path.join(parent, "config.json"))), "")
    guess = _guess(config)
    return Misfit(
        code="model-type-missing",
        name="config.json",
        seen=plain(", ".join(list(config)[:8]), 150) or "nothing",
        expected="model_type",
        because="a part of a sentence-transformers model" if module else "transformers takes the class from it",
        facts={"above": shown_path(above) if above else "", "guess": guess, "part": "yes" if module else ""},
        severity="error" if module or _is_of_transformers(config) else "warning",  # a class of one's own (PyTorchModelHubMixin) has such a config too
    )


def _is_of_transformers(config: Mapping[str, Any]) -> bool:
    sizes = {"hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads", "intermediate_size"}
    return bool({"architectures", "transformers_version"} & set(config)) or len(sizes & set(config)) > 1


def _parents(folder: str) -> Iterator[str]:
    yield os.path.dirname(folder.rstrip("/"))


def _guess(config: Mapping[str, Any]) -> str:
    """model_type by the first architecture: BertForMaskedLM → bert."""
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    stem = re.split(r"(For[A-Z]|Model$|LMHead|WithLMHead|Encoder$|PreTrained)", name)[0]
    known = {
        "GPT2": "gpt2",
        "DistilBert": "distilbert",
        "Bert": "bert",
        "Roberta": "roberta",
        "XLMRoberta": "xlm-roberta",
        "T5": "t5",
        "MT5": "mt5",
        "ViT": "vit",
        "CLIP": "clip",
    }
    return known.get(stem) or (stem.lower() if re.fullmatch(r"[A-Za-z0-9]{2,30}", stem) else "")


def base_missing(adapter: Mapping[str, Any], names: Iterable[str], target: Target, environment: Environment, folder: str) -> Misfit | None:
    """An adapter whose base model cannot be had: a path that is not there, a hub id that is not cached where nothing may be fetched, or none at all."""
    base = adapter.get("base_model_name_or_path")
    if "config.json" in set(names) and any(_OWN_SAFETENSORS.match(name) for name in names):
        return None  # the base lies beside it
    if not isinstance(base, str) or not base:
        return _base("", "no base model is named", "warning") if "peft_type" in adapter else None
    if os.path.isabs(base) or base.startswith(("./", "../", "~", ".\\")) or re.match(r"[A-Za-z]:[\\/]", base):
        there = os.path.exists(os.path.join(folder, base)) or os.path.exists(os.path.expanduser(base))
        return None if there else _base(base, "there is no such folder here", "error")
    if os.path.isdir(base) or not (variable := offline(environment, target) or next((item for item in environment.offline if item.truthy), None)):
        return None
    hub = environment.caches.get("hub", "")
    cached = hub and os.path.isdir(os.path.join(cache.real(hub), "models--" + base.replace("/", "--"), "snapshots"))
    return None if cached else _base(base, f"it is not in the cache, and {variable.name} keeps the client off the network", "error")


def _base(base: str, why: str, severity: str) -> Misfit:
    return Misfit(
        code="adapter-base-missing",
        name="adapter_config.json",
        seen=why,
        expected=shown_path(plain(base, 200)) if base else "base_model_name_or_path",
        because="an adapter holds only what was changed of its base",
        facts={"base": shown_path(plain(base, 200)), "why": why},
        severity="warning" if severity == "warning" else "error",
    )


def unread_templates(names: Iterable[str], config: Mapping[str, Any], read: model_tokenizer.Read) -> Iterator[Misfit]:
    """Chat templates that Jinja cannot read: the model loads, and fails at the first conversation."""
    for name, text in model_tokenizer.chat_templates(set(names), dict(config), read):
        if stop := model_tokenizer.template_error(text) if len(text) < model_tokenizer.MOST_TEMPLATE else "":
            misfit = _incomplete(name, f"its chat template stops at {stop}", "a template that Jinja reads", "apply_chat_template compiles it", "template")
            yield replace(misfit, severity="warning")


def tokenizer_lacks(seen: model_tokenizer.Seen | None, names: Iterable[str], config: Mapping[str, Any], environment: Environment) -> Iterator[Misfit]:
    """Files that its class reads; a kind of model or a form of merges that the installed library does not know."""
    installed = {canonical(item.name): item.version for item in environment.distributions}
    if gone := model_tokenizer.lacks(seen, names, dict(config)):
        kind = plain(str(config.get("tokenizer_class")), 60)
        yield _incomplete(
            "tokenizer_config.json", "not here: " + ", ".join(gone), ", ".join(gone), f"{kind} reads {'it' if len(gone) == 1 else 'them'}", "files"
        )
    if seen is None:
        return
    if seen.model not in model_tokenizer.KNOWN_MODELS:
        yield _incomplete(
            "tokenizer.json", f"a model of kind {seen.model}", "BPE, WordPiece, WordLevel or Unigram", "the tokenizers library knows these", "kind"
        )
    elif seen.listed_merges and satisfies(installed.get("tokenizers", ""), "<0.20"):
        version = installed["tokenizers"]
        yield _incomplete(
            "tokenizer.json",
            f"merges as pairs, and tokenizers {version}",
            "tokenizers 0.20 or newer",
            "older ones say “data did not match any variant of untagged enum”",
            "upgrade",
        )
    kind = str(config.get("tokenizer_class") or "")
    if kind == "TokenizersBackend" and satisfies(installed.get("transformers", ""), "<5.0.dev0"):
        yield _incomplete(
            "tokenizer_config.json",
            f"tokenizer_class {kind}, and transformers {installed['transformers']}",
            "transformers 5",
            "the class came with transformers 5",
            "upgrade",
        )


def _incomplete(name: str, seen: str, expected: str, because: str, what: str) -> Misfit:
    return Misfit(code="tokenizer-incomplete", name=name, seen=plain(seen, 200), expected=expected, because=because, facts={"what": what, "expected": expected})
