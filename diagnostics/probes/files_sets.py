"""Which members of a set of files are absent: shards that an index names, the index, config, weights, folders of modules.

Works on names and a few small JSON files; a member that is absent is a ``FileSeen`` without a size, whose defect says what it is missed by.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from diagnostics.case import Defect, FileSeen
from diagnostics.probes.cache import is_inside
from diagnostics.probes.files_wanted import ASKED_FOR, SHARD, weights_format
from diagnostics.redact import plain

MOST_NAMED = 500  # absent shards to name
LoadJson = Callable[[str], Any]
_TRANSFORMERS_WEIGHTS = re.compile(r"(model|pytorch_model)(-\d{5}-of-\d{5})?\.(safetensors|bin)$")
# What stands in for config.json: adapters, pipelines, original releases, timm and open_clip exports, Keras.
_OTHER_CONFIGS = frozenset({"adapter_config.json", "model_index.json", "params.json", "open_clip_config.json", "metadata.json", "config.yaml"})
# Below a folder: DeepSpeed, Trainer, Meta's original release.
_NO_LOADER = re.compile(r"(global_step\d+|checkpoint-\d+|original|metal)/")
_DATA = re.compile(r"(?P<stem>.+)\.data-\d{5}-of-\d{5}$")
_CACHED = re.compile(r"(hub/)?models--(?P<name>[^/]+)/")
_NO_FOLDER_NEEDED = (".Normalize",)  # sentence-transformers modules that save nothing


def absent(path: str, code: str, detail: str = "") -> FileSeen:
    return FileSeen(path=plain(path, 500), defects=(Defect(code=code, detail=plain(detail)),))


def absent_members(names: frozenset[str], everything: frozenset[str], load: LoadJson, loader: str = "") -> tuple[FileSeen, ...]:
    """What the files that count (``names``) ask for and is not in the folder (``everything``). ``load`` reads a JSON file of it, None where that fails."""
    found = [
        *_shards(names, everything, load),
        *_modules(everything, load),
        *_components(everything, load),
        *_tensorflow(everything),
        *_weights(everything, load),
        *_config(names, everything, load, loader),
    ]
    return tuple({seen.path: seen for seen in found}.values())


def index_members(value: Any) -> tuple[str, ...]:
    """The shards that an index names (``weight_map``), sorted; empty for what is no index."""
    weights = value.get("weight_map") if isinstance(value, dict) else None
    return tuple(sorted({name for name in weights.values() if isinstance(name, str)})) if isinstance(weights, dict) else ()


def _shards(names: frozenset[str], everything: frozenset[str], load: LoadJson) -> Iterator[FileSeen]:
    indexes = [name for name in sorted(names) if ".index." in name and name.endswith(".json")]
    for index in indexes:
        folder = index.rpartition("/")[0]
        members = index_members(load(index))
        gone = [member for member in members if is_inside(member) and _join(folder, member) not in everything]
        for member in gone[:MOST_NAMED]:
            yield absent(_join(folder, member), "shard-missing", f"{index} names it; {len(gone)} of its {len(members)} shards are not here")
    yield from _numbered(names, everything, indexes)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _numbered(names: frozenset[str], everything: frozenset[str], indexes: list[str]) -> Iterator[FileSeen]:
    """Shards numbered k of n, where no index says more."""
    groups: dict[tuple[str, str, str], set[int]] = {}
    for name in names:
        if (match := SHARD.match(name)) and weights_format(name) in ("safetensors", "torch", "gguf"):
            groups.setdefault((match["stem"], match["count"], match["suffix"]), set()).add(int(match["number"]))
    for (stem, count, suffix), numbers in sorted(groups.items()):
        if _has_index(stem, indexes):
            continue
        if suffix in (".safetensors", ".bin") and stem.rpartition("/")[2].split(".")[0] in ASKED_FOR:
            detail = f"{len(numbers)} shards of {stem}{suffix} are here and nothing says which tensor is in which"
            yield absent(f"{stem}{suffix}.index.json", "index-missing", detail)
        gone = sorted(set(range(1, min(int(count), 100_000) + 1)) - numbers) if 0 not in numbers else []
        for number in gone[:MOST_NAMED]:
            name = f"{stem}-{number:05d}-of-{count}{suffix}"
            if name not in everything:
                yield absent(name, "shard-missing", f"the names of the others count to {int(count)}; {len(gone)} are not here")


def _has_index(stem: str, indexes: list[str]) -> bool:
    folder, _, base = stem.rpartition("/")
    return any(index.rpartition("/")[0] == folder and index.rpartition("/")[2].startswith(base.split(".")[0] + ".") for index in indexes)


def _modules(everything: frozenset[str], load: LoadJson) -> Iterator[FileSeen]:
    """The folders that modules.json names (sentence_transformers/SentenceTransformer.py, ``_load_sbert_model``)."""
    value = load("modules.json") if "modules.json" in everything else None
    for module in value[:50] if isinstance(value, list) else []:
        path, kind = (module.get("path"), module.get("type")) if isinstance(module, dict) else (None, None)
        if not (isinstance(path, str) and path and isinstance(kind, str) and is_inside(path)) or kind.endswith(_NO_FOLDER_NEEDED):
            continue
        inside = [name for name in everything if name.startswith(path + "/")]
        if not inside or (kind.endswith((".Pooling", ".Dense")) and f"{path}/config.json" not in everything):
            yield absent(f"{path}/config.json", "file-missing", f"modules.json names the folder {path} ({kind})")
        elif kind.endswith(".Dense") and not any(weights_format(name) for name in inside):
            yield absent(f"{path}/model.safetensors", "weights-missing", f"modules.json names the folder {path} ({kind}), and it holds no weights")


def _components(everything: frozenset[str], load: LoadJson) -> Iterator[FileSeen]:
    """The folders that model_index.json names (diffusers pipeline_utils.py): [library, class], null for one that is left out."""
    value = load("model_index.json") if "model_index.json" in everything else None
    for name, entry in list(value.items())[:50] if isinstance(value, dict) else []:
        kind = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
        if not isinstance(kind, str) or name.startswith("_") or not is_inside(name):
            continue
        inside = [path for path in everything if path.startswith(name + "/")]
        if not inside:
            yield absent(f"{name}/{_main_file(kind)}", "file-missing", f"model_index.json names the folder {name} ({plain(kind, 60)})")
        elif _main_file(kind) == "config.json" and not any(weights_format(path) for path in inside):
            yield absent(
                f"{name}/model.safetensors", "weights-missing", f"model_index.json names the folder {name} ({plain(kind, 60)}), and it holds no weights"
            )


def _main_file(kind: str) -> str:
    """The file that a component of a pipeline is known by."""
    others = {
        "Scheduler": "scheduler_config.json",
        "Tokenizer": "tokenizer_config.json",
        "Processor": "preprocessor_config.json",
        "Extractor": "preprocessor_config.json",
    }
    return next((file for part, file in others.items() if part in kind), "config.json")


_GPT2 = ("checkpoint", "encoder.json", "hparams.json", "model.ckpt.index", "model.ckpt.meta", "vocab.bpe")  # openai/gpt-2 download_model.py


def _tensorflow(everything: frozenset[str]) -> Iterator[FileSeen]:
    """GPT-2's own folder; data files of a checkpoint whose index is gone (the other way round, the index says so itself)."""
    if "hparams.json" in everything and any(name.startswith("model.ckpt.") for name in everything):
        for name in _GPT2:
            if name not in everything:
                yield absent(name, "file-missing", "GPT-2's folder holds " + ", ".join(_GPT2[:4]) + " and more; its code reads all of them")
        return
    for stem in sorted({match["stem"] for name in everything if (match := _DATA.match(name))}):
        if f"{stem}.index" not in everything:
            yield absent(f"{stem}.index", "file-missing", f"{stem}.data-… is here; which tensor is where in it, its index says")


def _weights(everything: frozenset[str], load: LoadJson) -> Iterator[FileSeen]:
    """A config without any weights at all; those of a training run or of an original release further down are none that a loader takes."""
    if any(weights_format(name) and not _NO_LOADER.match(name) for name in everything):
        return
    if "adapter_config.json" in everything:
        yield absent("adapter_model.safetensors", "weights-missing", "adapter_config.json is here and no adapter")
    elif "config.json" in everything:
        config = load("config.json")
        if isinstance(config, dict) and ({"model_type", "architectures"} & set(config)):
            kind = plain(str(config.get("model_type") or "model"), 40)
            below = sorted({match[1] for name in everything if weights_format(name) and (match := _NO_LOADER.match(name))})
            where = f"; there are some of another form in {', '.join(below[:3])}" if below else ""
            yield absent("model.safetensors", "weights-missing", f"config.json of a {kind} is here and no weights in any known format{where}")


def _config(names: frozenset[str], everything: frozenset[str], load: LoadJson, loader: str) -> Iterator[FileSeen]:
    """Weights named as transformers names them, or nothing at all, and config.json not here or one level down."""
    top = {name for name in everything if "/" not in name}
    if "config.json" in top or top & _OTHER_CONFIGS or loader == "torch" or ("modules.json" in top and not _first_module_at_top(load)):
        return
    at_top = any(_TRANSFORMERS_WEIGHTS.match(name) for name in names)
    if at_top:
        yield absent("config.json", "config-missing", "")
    elif not any(weights_format(name) for name in top) and (where := _models_below(everything)):
        yield absent("config.json", "config-missing", where)


def _models_below(everything: frozenset[str]) -> str:
    """Where the model is, or the models are, of a folder that is no model itself; "" where there is none further down either."""
    cached = sorted({match["name"].replace("--", "/", 1) for name in everything if (match := _CACHED.match(name))})
    if cached:
        return f"it is the hub's cache, in which models are named by their ids: {plain(', '.join(cached[:3]), 200)}"
    below = sorted(name.removesuffix("/config.json") for name in everything if name.endswith("/config.json"))
    snapshots = [name for name in below if re.match(r"snapshots/[0-9a-f]{40}$", name)]
    if snapshots:
        return f"there is one in {snapshots[-1]}"
    homes = [folder for folder in below if any(other.startswith(f"{folder}/") and weights_format(other) for other in everything)]
    homes = [folder for folder in homes if not any(folder.startswith(f"{other}/") for other in homes)]
    if len(homes) > 1:
        return f"there are {len(homes)} models further down: {plain(', '.join(homes[:4]), 200)}"
    return f"there is one in {homes[0]}" if homes else ""


def _first_module_at_top(load: LoadJson) -> bool:
    """Whether modules.json of sentence-transformers puts the transformer itself into the folder's top."""
    value = load("modules.json")
    return isinstance(value, list) and any(
        isinstance(module, dict) and module.get("path") == "" and str(module.get("type")).endswith(".Transformer") for module in value
    )
