"""Config, tokenizer and weights against each other, from headers and small files alone. Nothing is loaded; no library of models is imported.

A *home* is a folder of the target that holds a config.json (or an adapter's) and, mostly, weights. Files with a defect of their own are left out: their defect is the root.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from diagnostics.case import ABSENT, Environment, Files, FileSeen, Misfit, Model, Target, Tokenizer, Unseen
from diagnostics.facts.architectures import dimension, model_type, setting, vocabulary
from diagnostics.probes import cache, model_fit, model_sets, model_tokenizer
from diagnostics.probes.files_one import Looks, examine_whole
from diagnostics.probes.files_sets import index_members
from diagnostics.probes.files_wanted import weights_format
from diagnostics.probes.formats import Tensor
from diagnostics.probes.model_gguf import see_gguf
from diagnostics.redact import plain

MOST_CONFIG = 4 << 20
MOST_INDEX = 64 << 20
MOST_HOMES = 24
FEWEST_ENTRIES = 16  # of any vocabulary beside special tokens
READ = frozenset({"safetensors", "torch-zip", "torch-legacy", "pickle"})
QUANTISED_BESIDE = frozenset({"quantize_config.json", "quant_config.json"})  # AutoGPTQ's and AutoAWQ's own: other loaders read them
KEPT = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "num_labels",
    "tie_word_embeddings",
    "dtype",
    "torch_dtype",
    "transformers_version",
)


@dataclass(frozen=True)
class Home:
    """One folder of the target: its files by their names within it, and those of them that have a defect or are not here."""

    path: str
    files: Mapping[str, FileSeen]
    broken: frozenset[str]
    below: tuple[str, ...] = ()  # weights in folders further down that have no config of their own

    def location(self, name: str) -> str:
        return cache.real(self.files[name].location)

    def folder(self) -> str:
        return os.path.dirname(self.location(next(iter(self.files))))


def see_model(target: Target, environment: Environment, files: Files | Unseen, looks: Looks | None = None) -> Model | Unseen:
    """The target's model as its small files and headers tell it; ``Unseen`` where there is no config and no adapter. ``looks`` saves reading headers twice."""
    if not isinstance(files, Files):
        return files
    models = [model for home in _homes(files)[:MOST_HOMES] if (model := _see(home, target, environment, looks or {})) is not None]
    if not models and (one := see_gguf(files, looks or {})):
        models = [one]
    if not models:
        return Unseen("absent", "there is no config.json to compare with")
    misfits = tuple(misfit for model in models for misfit in model.misfits)
    return replace(models[0], misfits=misfits, compared=sum(model.compared for model in models))


def _homes(files: Files) -> list[Home]:
    """The folders that hold a config, the top first."""
    folders: dict[str, dict[str, FileSeen]] = {}
    for seen in files.files:
        folder, _, name = seen.path.rpartition("/")
        folders.setdefault(folder, {})[name] = seen
    gone: dict[str, set[str]] = {}
    for seen in (*files.absent, *files.unfinished):
        folder, _, name = seen.path.rpartition("/")
        gone.setdefault(folder, set()).add(name)
    homes = []
    for folder in sorted(folders):
        members = folders[folder]
        if {"config.json", "adapter_config.json"} & set(members):
            broken = {name for name, seen in members.items() if seen.defects or seen.content == "link-elsewhere"}
            homes.append(Home(folder, members, frozenset(broken | gone.get(folder, set())), _below(folder, folders)))
    return homes


def _below(folder: str, folders: Mapping[str, Mapping[str, FileSeen]]) -> tuple[str, ...]:
    start = f"{folder}/" if folder else ""
    inner = [(other, members) for other, members in folders.items() if other.startswith(start) and other != folder and "config.json" not in members]
    return tuple(f"{other.removeprefix(start)}/{name}" for other, members in inner for name in members if weights_format(name))


def _see(home: Home, target: Target, environment: Environment, looks: Looks) -> Model | None:
    config, adapter = _json(home, "config.json"), _json(home, "adapter_config.json")
    if config is None and adapter is None:
        return None
    names = [name for name in home.files if name not in home.broken]
    tensors, index, whole = _tensors(home, looks)
    seen = model_tokenizer.see_tokenizer(names, _reader(home))
    misfits: list[Misfit] = []
    compared = 0
    if adapter is not None and (base := model_sets.base_missing(adapter, names, target, environment, home.folder())):
        misfits.append(base)
    if config is not None:
        wrong_type = model_sets.type_missing(config, names, home.folder()) if not home.path else None  # a part of a pipeline says it in its own way
        if wrong_type:
            misfits.append(wrong_type)
        elif framework := _framework(home, target, environment, config):
            misfits.append(framework)
        misfits += index
        file = _weights_name(home)
        found, compared = model_fit.compare(config, tensors, whole and not index, file) if tensors and not wrong_type else ([], 0)
        misfits += _with_tokenizer(found, config, tensors, seen)
        if not QUANTISED_BESIDE & set(home.files) and (unlike := model_fit.quantisation(config, tensors, whole, file)):
            misfits.append(unlike)
    elif empty := model_fit.placeholders(tensors, "adapter_model.safetensors"):
        misfits.append(empty)
    tokenizer_config = _json(home, "tokenizer_config.json") or {}
    misfits += model_sets.tokenizer_lacks(seen, {*home.files, *home.broken}, tokenizer_config, environment)
    misfits += model_sets.unread_templates(names, tokenizer_config, _reader(home))
    return _model(home, config or {}, tensors, seen, tuple(_placed(home, misfit) for misfit in misfits), compared)


def _placed(home: Home, misfit: Misfit) -> Misfit:
    return replace(misfit, name=f"{home.path}/{misfit.name}") if home.path and misfit.name in home.files else misfit


def _model(
    home: Home, config: Mapping[str, Any], tensors: Mapping[str, Tensor], seen: model_tokenizer.Seen | None, misfits: tuple[Misfit, ...], compared: int
) -> Model:
    names = config.get("architectures")
    rows = rows_of(config, tensors)
    return Model(
        path=plain(home.path, 300),
        model_type=plain(str(config.get("model_type") or ""), 60),
        architectures=tuple(plain(str(name), 80) for name in names[:4]) if isinstance(names, list) else (),
        config={key: plain(str(config[key]), 60) for key in KEPT if key in config},
        tokenizer=seen.tokenizer if seen else ABSENT,
        tensors=len(tensors),
        parameters=sum(prod(tensor.shape) for tensor in tensors.values()),
        dtypes=tuple(sorted({plain(tensor.dtype, 20) for tensor in tensors.values()}))[:8],
        rows=rows if rows is not None else ABSENT,
        compared=compared,
        misfits=misfits,
    )


def _json(home: Home, name: str) -> dict[str, Any] | None:
    """A small JSON object of the home; None where it is not there or not whole."""
    if name not in home.files or name in home.broken:
        return None
    value = cache.load_json(home.location(name), MOST_CONFIG)
    return value if isinstance(value, dict) else None


@dataclass(frozen=True)
class Weights:
    """The top home's config and the tables of its weights, for whoever compares more. ``folder`` is where it lies, ``file`` what a person calls the weights."""

    folder: str
    file: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    whole: bool


def weights_of(files: Files | Unseen, looks: Looks) -> Weights | Unseen:
    """``Unseen`` where there is no config of a model with its weights."""
    homes = _homes(files) if isinstance(files, Files) else []
    config = _json(homes[0], "config.json") if homes else None
    if config is None:
        return Unseen("absent", "there is no config.json to build a model from")
    tensors, index, whole = _tensors(homes[0], looks)
    return Weights(homes[0].folder(), _weights_name(homes[0]), config, tensors, whole and not index)


# --- weights --------------------------------------------------------------------------------------------------------------------


def _tensors(home: Home, looks: Looks) -> tuple[dict[str, Tensor], list[Misfit], bool]:
    """(every tensor of the home's weights, what the index says and the shards do not hold, whether all of the weights were read)."""
    tables: dict[str, Mapping[str, Tensor]] = {}
    weights = [name for name in home.files if weights_format(name) and not name.endswith(".json")]
    for name in weights:
        if name not in home.broken and home.files[name].content in READ:
            look = looks.get(home.files[name].location)
            tables[name] = look.tensors if look else examine_whole(name, home.location(name))[1].tensors
    everything = {tensor: table[tensor] for table in tables.values() for tensor in table}
    whole = bool(tables) and len(tables) == len(weights) and not any(weights_format(name) for name in home.broken) and all(tables.values())
    return everything, _index_misfits(home, tables), whole


def _index_misfits(home: Home, tables: Mapping[str, Mapping[str, Tensor]]) -> list[Misfit]:
    """Tensors that an index places in a shard that does not hold them: shards and index are of two different saves."""
    found = []
    for name in home.files:
        if ".index." not in name or not name.endswith(".json") or name in home.broken:
            continue
        value = cache.load_json(home.location(name), MOST_INDEX)
        if not index_members(value):
            continue
        places = {tensor: shard for tensor, shard in value["weight_map"].items() if isinstance(shard, str)}
        gone = [(tensor, shard) for tensor, shard in places.items() if shard in tables and tensor not in tables[shard]]
        if gone:
            found.append(_misplaced(name, gone, tables))
    return found


def _misplaced(index: str, gone: list[tuple[str, str]], tables: Mapping[str, Mapping[str, Tensor]]) -> Misfit:
    tensor, shard = gone[0]
    other = next((name for name, table in tables.items() if tensor in table), "")
    return Misfit(
        code="tensors-missing",
        name=plain(tensor, 200),
        seen=f"in {other}" if other else "in no shard",
        expected=plain(f"in {shard}, as {index} says", 200),
        because=f"{len(gone)} tensors are not in the shard in which {index} places them: index and shards are of two different saves",
        count=len(gone),
        facts={
            "file": plain(shard, 200),
            "index": plain(index, 200),
            "kind": "",
            "head": "",
            "layers": "",
            "shards": plain(", ".join(sorted({place for _, place in gone})[:5]), 300),
        },
    )


def _weights_name(home: Home) -> str:
    names = sorted(name for name in home.files if weights_format(name) in ("safetensors", "torch") and not name.endswith(".json"))
    return plain(names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more" if names else "the weights", 200)


def _framework(home: Home, target: Target, environment: Environment, config: Mapping[str, Any]) -> Misfit | None:
    if any(weights_format(name) in model_sets.PYTORCH for name in home.broken):
        return None  # they are due here and broken, or still to come
    return model_sets.framework_mismatch((*home.files, *home.below), target, environment, config)


def rows_of(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> int | None:
    """Rows of the input embedding; None where it is not found."""
    kind = config.get("model_type")
    facts = model_type(kind) if isinstance(kind, str) else None
    names = facts.vocabulary if facts else ("embed_tokens.weight", "word_embeddings.weight", "wte.weight", "shared.weight", "embed_in.weight")
    for name in names:
        end = "." + name
        found = {tensor.shape[0] for key, tensor in tensors.items() if (key == name or key.endswith(end)) and len(tensor.shape) == 2}
        if len(found) == 1:
            return found.pop()
    return None


# --- tokenizer ------------------------------------------------------------------------------------------------------------------


def _reader(home: Home) -> model_tokenizer.Read:
    def read(name: str) -> bytes:
        return cache.read_small(home.location(name), model_tokenizer.MOST_BYTES) if name in home.files and name not in home.broken else b""

    return read


def _with_tokenizer(found: list[Misfit], config: Mapping[str, Any], tensors: Mapping[str, Tensor], seen: model_tokenizer.Seen | None) -> list[Misfit]:
    """What the tokenizer adds: to a vocabulary that does not fit, which of the two it goes with; to one that fits, ids without a row."""
    if seen is None or not isinstance(seen.tokenizer.largest_id, int):
        return found
    size = seen.tokenizer.largest_id + 1
    if any(misfit.code == "vocabulary-mismatch" for misfit in found):
        return [replace(misfit, facts={**misfit.facts, "tokenizer": str(size)}) if misfit.code == "vocabulary-mismatch" else misfit for misfit in found]
    rows = rows_of(config, tensors) or _rows_by_config(config)
    if rows is None or any(misfit.code in ("tensors-misnamed", "tensors-unconsolidated") for misfit in found):
        return found
    misfit = _beyond_rows(seen, size, rows, config) or _other_vocabulary(seen.tokenizer, size, rows) or _hollow(seen.tokenizer, size, rows)
    return [*found, misfit] if misfit else found


def _rows_by_config(config: Mapping[str, Any]) -> int | None:
    kind = config.get("model_type")
    facts = model_type(kind) if isinstance(kind, str) else None
    if facts and facts.vocabulary:
        return dimension(facts.rows, config, facts)
    value = setting("vocab_size", config)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _beyond_rows(seen: model_tokenizer.Seen, size: int, rows: int, config: Mapping[str, Any]) -> Misfit | None:
    """Ids that the embedding has no row for; a warning where only added tokens are beyond."""
    tokenizer, kind = seen.tokenizer, config.get("model_type")
    facts = model_type(kind) if isinstance(kind, str) else None
    by_right = facts.beyond_rows if facts else ()
    beyond = [(number, text) for number, text in seen.added if number >= rows and text not in by_right]
    if size <= rows and not beyond:
        return None
    only_added = size <= rows
    detail = ", ".join(f"{text} = {number}" for number, text in beyond[:3]) if only_added else f"ids up to {size - 1}"
    return Misfit(
        code="vocabulary-mismatch",
        name=tokenizer.files[0],
        seen=plain(detail, 200),
        expected=f"ids below {rows}",
        because=f"the embedding has {rows} rows",
        count=len(beyond) if only_added else size - rows,
        facts={
            "tokenizer": str(size),
            "rows": str(rows),
            "config": str(setting("vocab_size", config) or ""),
            "key": "tokenizer",
            "added": "yes" if only_added else "",
        },
        severity="warning" if only_added else "error",
    )


def _hollow(tokenizer: Tokenizer, size: int, rows: int) -> Misfit | None:
    """A tokenizer of special tokens alone, as transformers makes one in silence where it finds no vocabulary, and as it is saved then."""
    if size > FEWEST_ENTRIES or rows < 1000:
        return None
    seen, due = f"only {size} entries", f"a vocabulary for {rows} rows"
    facts = {"what": "hollow", "expected": due, "rows": str(rows)}
    return Misfit(code="tokenizer-incomplete", name=tokenizer.files[0], seen=seen, expected=due, because="every word would be unknown", facts=facts)


def _other_vocabulary(tokenizer: Tokenizer, size: int, rows: int) -> Misfit | None:
    """A tokenizer of one known base beside the embedding of another: no id is out of range, and every word is another."""
    own, other = vocabulary(rows), vocabulary(size)
    if own is None or other is None or own == other or not (own.exact and other.exact):
        return None
    return Misfit(
        code="vocabulary-mismatch",
        name=tokenizer.files[0],
        seen=f"{size} entries, as {other.name} has",
        expected=f"{rows}, as {own.name} has",
        because=f"the embedding has {rows} rows",
        facts={"tokenizer": str(size), "rows": str(rows), "config": str(rows), "key": "tokenizer"},
    )
