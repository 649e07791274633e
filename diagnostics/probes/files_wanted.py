"""Which files of a model count: what the loader takes, by names alone. One rule, used for a hub's listing, a cached snapshot and a folder alike.

Sources: transformers 5.23 ``modeling_utils.py`` (``_get_resolved_checkpoint_files``: model.safetensors, its index, pytorch_model.bin, its index), diffusers
``pipeline_utils.py`` (component folders), sentence-transformers ``modules.json``, llama.cpp ``common/arg.cpp`` (of several GGUF files: Q4_K_M, else the first).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.[a-z0-9.]+)$")
_NUMBERED_TF = re.compile(r".+\.data-\d{5}-of-\d{5}$")
# Formats in the order in which a loader prefers them, each with how its files are named.
FORMATS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("safetensors", re.compile(r".+\.safetensors(\.index(\.[\w-]+)?\.json)?$")),
    (
        "torch",
        re.compile(
            r"(pytorch_model|adapter_model|diffusion_pytorch_model|model)[\w.-]*\.bin(\.index(\.[\w-]+)?\.json)?$|(?!optimizer|scheduler|rng_state|training_args|scaler).+\.(pt|pth|ckpt)$"
        ),
    ),
    ("gguf", re.compile(r".+\.gguf$")),
    ("onnx", re.compile(r".+\.onnx([_.]data\w*)?$")),
    ("tensorflow", re.compile(r".+\.(h5|keras)(\.index\.json)?$|saved_model\.pb$|.*ckpt.*\.(index|meta|data-\d{5}-of-\d{5})$|checkpoint$")),
    ("flax", re.compile(r".+\.msgpack(\.index\.json)?$")),
    ("other", re.compile(r".+\.(ot|mlmodel|tflite|mar|nemo|mnn|bin\.xml|engine|params|pdparams|pdiparams)$|openvino_model.*\.(xml|bin)$")),
)
# Names by which transformers and diffusers ask for weights, the most wanted first.
ASKED_FOR = ("model", "adapter_model", "diffusion_pytorch_model", "pytorch_model")
_VARIANT = re.compile(r"\.(fp16|bf16|fp32|int8|non_ema|ema|fp8|8bit|4bit)(?=[.-])")
# Folders of other runtimes, of training, and of the original release beside the converted one.
_ELSEWHERE = re.compile(r"(onnx|openvino|coreml|original|metal|mlx|tflite|runs|logs|\.git|\.cache|checkpoint-\d+|global_step\d+|tensorrt|ckpt|gguf)(/|$)")
# Of these, what somebody else's loader takes where there is nothing else.
_RUNTIMES = re.compile(r"(onnx|openvino|coreml|tflite|mlx|gguf)(/|$)")
_PAPERS = re.compile(
    r"(readme|license|licence|notice|changelog|citation|use_policy|acceptable_use|usage_policy|authors|contributing)\b|.+\.(md|png|jpe?g|gif|svg|webp|pdf|mp4|mp3|wav|ipynb|html?)$|^\.",
    re.IGNORECASE,
)
# Config, tokenizer and code beside the weights.
_SIDE = re.compile(r".+\.(json|txt|model|bpe|tiktoken|spm|vocab|py|jinja|ya?ml)(\.v\d\w*)?$")
_TRAINING = re.compile(r"(optimizer|scheduler|rng_state|training_args|scaler)[\w.-]*\.(pt|pth|bin|safetensors|distcp)$|trainer_state\.json$|events\.out\.")


def wanted_files(paths: tuple[str, ...], loader: str = "", patterns: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Those of ``paths`` that count, in their order: config, tokenizer and code, and the weights in the one format that ``loader`` takes first.

    ``patterns`` (``--diagnose-files``; fnmatch, against the whole path or its last part) say otherwise. In what is no model (a data set), everything counts.
    """
    if patterns:
        return tuple(path for path in paths if any(_matches(path, pattern) for pattern in patterns))
    names = set(paths)
    folders: dict[str, list[str]] = {}
    for path in paths:
        folder = path.rpartition("/")[0]
        folders.setdefault(folder, []).append(path)
    if not any(weights_format(path) for path in paths) and not any(
        _base(path) in ("config.json", "tokenizer_config.json", "adapter_config.json") for path in paths
    ):
        return tuple(path for path in paths if not _base(path).startswith("."))
    chosen: set[str] = set()
    pipeline = "model_index.json" in names
    for folder, members in folders.items():
        if _taken(folder, names):
            chosen |= set(_of_folder(members, loader, weights=bool(folder) or not pipeline))
    return tuple(path for path in paths if path in chosen)


def _matches(path: str, pattern: str) -> bool:
    pattern = pattern + "*" if pattern.endswith("/") else pattern
    return fnmatchcase(path, pattern) or fnmatchcase(_base(path), pattern)


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def weights_format(path: str) -> str:
    """The format of the weights that a name promises; "" for what is not named like weights."""
    name = _base(path)
    if _TRAINING.match(name):
        return ""
    return next((kind for kind, form in FORMATS if form.match(name)), "")


def _taken(folder: str, names: set[str]) -> bool:
    """Whether a loader looks into this folder: the top; below it the parts of a pipeline, or everything where the top holds no model."""
    if not folder:
        return True
    at_top = {name for name in names if "/" not in name}
    composed = bool({"model_index.json", "modules.json"} & at_top)
    model_at_top = "config.json" in at_top or "adapter_config.json" in at_top or any(weights_format(name) for name in at_top)
    if _ELSEWHERE.match(folder) and (composed or any(weights_format(name) for name in at_top)):
        return bool(_RUNTIMES.match(folder)) and not any(weights_format(name) and not _ELSEWHERE.match(name) for name in names)
    return (
        composed
        or not model_at_top
        or (not any(weights_format(name) for name in at_top) and any(weights_format(name) and name.startswith(folder + "/") for name in names))
    )


def _of_folder(paths: list[str], loader: str, weights: bool) -> list[str]:
    names = [(path, _base(path)) for path in paths if not weights_format(path)]
    side = [path for path, name in names if _SIDE.match(name) and not _PAPERS.match(name) and not _TRAINING.match(name)]
    return side + (weights_of(paths, loader) if weights else [])


def weights_of(paths: Iterable[str], loader: str = "") -> list[str]:
    """The weights of one folder in the format that the loader takes first, without variants and second copies."""
    by_format: dict[str, list[str]] = {}
    for path in paths:
        if kind := weights_format(path):
            by_format.setdefault(kind, []).append(path)
    if not by_format:
        return []
    kind = next((kind for kind, _ in FORMATS if any(not _VARIANT.search(path) for path in by_format.get(kind, ()))), "") or next(iter(by_format))
    found = by_format[kind]
    if kind in ("safetensors", "torch"):
        return _asked_for(_plain_variant(found))
    if kind == "gguf":
        return _one_quantisation(found)
    if kind == "onnx" and (stem := next((path for path in found if _base(path) == "model.onnx"), "")):
        return [path for path in found if path == stem or path.startswith((stem + "_", stem + "."))]
    return found


def _plain_variant(paths: list[str]) -> list[str]:
    """Without fp16 and the like, where the plain file is there too (a loader takes a variant only when told to)."""
    return [path for path in paths if not _VARIANT.search(path) or not _has_plain(path, paths)]


def _has_plain(path: str, paths: list[str]) -> bool:
    stem = _base(path).split(".")[0].split("-0")[0]
    return any(not _VARIANT.search(other) and _base(other).split(".")[0].split("-0")[0] == stem for other in paths)


def _asked_for(paths: list[str]) -> list[str]:
    """What is named as the loader asks for it, one whole file before shards; other names only where there is none of that."""
    taken: list[str] = []
    for stem in ASKED_FOR:
        own = [path for path in paths if (match := re.match(rf"{stem}(?=[.-])", _base(path))) and match]
        shards = [path for path in own if SHARD.match(_base(path)) or ".index." in _base(path)]
        whole = [path for path in own if path not in shards]
        taken += whole or shards
    return taken or paths


def _one_quantisation(paths: list[str]) -> list[str]:
    """One of several GGUF files: Q4_K_M, else the first; with all its parts. Projectors (mmproj) come along."""
    extra = [path for path in paths if _base(path).lower().startswith("mmproj")]
    models = [path for path in paths if path not in extra] or paths
    first = next((path for path in models if "q4_k_m" in path.lower()), models[0])
    match = SHARD.match(_base(first))
    stem = match["stem"] if match else ""
    parts = [path for path in models if match and _base(path).startswith(f"{stem}-") and SHARD.match(_base(path))] or [first]
    return parts + (extra[:1] if models is not paths else [])
