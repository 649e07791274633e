"""Names and shapes of the tensors against what config.json implies. Pure: tables in, misfits out; the facts are in ``facts/architectures.toml``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from diagnostics.case import Misfit, Severity
from diagnostics.facts.architectures import Dimensions, ModelType, dimension, known, model_type, setting
from diagnostics.probes.formats import Tensor
from diagnostics.redact import plain

MOST_LAYERS = 2000
MOST_NAMED = 3
_NUMBER = re.compile(r"\.\d+(?=\.)|^\d+(?=\.)")
_OLD_NAMES = ((".gamma", ".weight"), (".beta", ".bias"))  # of LayerNorm in the first releases of BERT; the loader renames them
_QUANTISED = re.compile(r"\.(qweight|qzeros|weight_packed|weight_scale\w*|absmax|quant_state\.\w+|SCB|g_idx|scales|weight_blocks|\w+_blocks)$|\.quant_map$")
_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?|block)\.(\d+)\.")
# Prefixes that wrappers leave in names: DataParallel, torch.compile, Lightning, PEFT, FSDP, DeepSpeed.
WRAPPERS = (
    "module.",
    "_orig_mod.",
    "model.",
    "base_model.model.",
    "state_dict.",
    "net.",
    "network.",
    "backbone.",
    "encoder.",
    "_fsdp_wrapped_module.",
    "student.",
    "teacher.",
)


@dataclass(frozen=True)
class Fit:
    """The weights beside their config. ``whole`` says that every file of them was read."""

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    whole: bool = True
    file: str = "the weights"
    facts: ModelType | None = None
    names: Mapping[str, str] = field(default_factory=dict)  # name without the base prefix → as it stands in the file


def compare(config: Mapping[str, Any], tensors: Mapping[str, Tensor], whole: bool = True, file: str = "the weights") -> tuple[list[Misfit], int]:
    """(misfits, tensors judged). The one that explains the others comes alone: placeholders, then names, then what is missing or has another shape."""
    if empty := placeholders(tensors, file):
        return [empty], len(tensors)
    kind = config.get("model_type")
    facts = model_type(kind) if isinstance(kind, str) else None
    fit = Fit(config, tensors, whole, file, facts, _without_base(tensors, facts))
    if facts is None:
        return _general(fit), len(tensors)
    if strange := _strange(fit, facts):
        return strange, len(tensors)
    wrong_heads = [*_undivided(fit, facts), *_padding(fit, facts)]
    return [*wrong_heads, *_shapes(fit, facts), *_absent(fit, facts), *_too_many_layers(fit, facts)], len(fit.names)


def _without_base(tensors: Mapping[str, Tensor], facts: ModelType | None) -> dict[str, str]:
    """Names as the table has them → names as they stand in the file."""
    found = {}
    for name in tensors:
        short = next((name.removeprefix(base) for base in facts.bases if name.startswith(base)), name) if facts else name
        for old, new in _OLD_NAMES:
            short = short.removesuffix(old) + new if short.endswith(old) else short
        for form, plain_name in facts.renames if facts else ():
            short, times = re.subn(form, plain_name, short)
            if times:
                break
        found[short] = name
    return found


def pattern_of(name: str) -> str:
    """With its first number as {layer}."""
    return _NUMBER.sub(lambda match: "{layer}" if match[0][0] != "." else ".{layer}", name, count=1)


# --- names ----------------------------------------------------------------------------------------------------------------------


def placeholders(tensors: Mapping[str, Tensor], file: str) -> Misfit | None:
    """Tensors without elements, as DeepSpeed's ZeRO-3 leaves them where nobody gathered them."""
    hollow = [name for name, tensor in tensors.items() if 0 in tensor.shape]
    weights = [name for name in tensors if name.endswith("weight")]
    if not hollow or len(hollow) * 4 < len(weights):
        return None
    first = hollow[0]
    return Misfit(
        code="tensors-unconsolidated",
        name=plain(first, 200),
        seen=_shape(tensors[first].shape),
        expected="numbers",
        because=f"{len(hollow)} of {len(tensors)} tensors of {file} have no elements",
        count=len(hollow),
        facts={"file": file},
    )


def _strange(fit: Fit, facts: ModelType) -> list[Misfit]:
    """Most of what the type needs is not there by its name: a prefix too many, or another architecture."""
    needed = _some_needed(fit, facts)
    here = sum(name in fit.names for name in needed)
    if not needed or not fit.tensors or here * 2 >= len(needed):
        return []
    prefix = _prefix(fit.tensors, needed)
    if prefix:
        own = [name for name in fit.tensors if name.startswith(prefix)]
        return [
            Misfit(
                code="tensors-misnamed",
                name=plain(own[0], 200),
                seen=plain(prefix, 100),
                expected=plain(f"{own[0].removeprefix(prefix)}", 200),
                because=f"{len(own)} of {len(fit.tensors)} names in {fit.file} begin with “{plain(prefix, 100)}”, where a {facts.name} model has none",
                count=len(own),
                facts={"prefix": plain(prefix, 100), "file": fit.file},
            )
        ]
    if not fit.whole or here:
        return []
    other = _looks_like(fit.tensors, facts.name)
    first = next(iter(fit.tensors))
    return [
        Misfit(
            code="tensors-missing",
            name=plain(needed[0], 200),
            seen=f"{len(fit.tensors)} others, such as {plain(first, 100)}",
            expected=f"the tensors of a {facts.name} model",
            because=f"model_type of config.json is {facts.name}" + (f"; the names are those of a {other} model" if other else ""),
            count=len(needed),
            facts={"file": fit.file, "other": other, "kind": facts.name},
        )
    ]


def _some_needed(fit: Fit, facts: ModelType) -> list[str]:
    """What the type needs of its first layer and outside of layers."""
    parts = tuple(prefix for prefix in facts.parts if not _has_part(fit, facts, prefix))
    return [pattern.replace("{layer}", "0") for pattern in facts.tensors if not (parts and pattern.startswith(parts))]


def _prefix(tensors: Mapping[str, Tensor], needed: list[str]) -> str:
    """What stands before most of the needed names, "" where nothing does."""
    ends = [name for name in needed if "{" not in name and name.count(".") >= 1]
    for name in tensors:
        for end in ends:
            if name.endswith("." + end):
                prefix = name[: -len(end)]
                if sum(prefix + one in tensors for one in ends) * 2 >= len(ends):
                    return prefix
    return ""


def _looks_like(tensors: Mapping[str, Tensor], own: str) -> str:
    """Another known type whose needed names are all here."""
    for name in known():
        facts = model_type(name)
        if facts is None or name == own:
            continue
        names = _without_base(tensors, facts)
        needed = [pattern.replace("{layer}", "0") for pattern in facts.tensors]
        if sum(one in names for one in needed) * 10 >= len(needed) * 9:
            return name
    return ""


# --- shapes ---------------------------------------------------------------------------------------------------------------------


def _undivided(fit: Fit, facts: ModelType) -> list[Misfit]:
    for whole, by in facts.divides:
        size, heads = dimension(whole, fit.config, facts), dimension(by, fit.config, facts)
        if size and heads and size % heads:
            because = "config.json alone: each head must get the same share"
            return [
                Misfit(
                    code="shape-mismatch", name=whole, seen=f"{size} / {heads}", expected=f"{whole} a multiple of {by}", because=because, facts={"key": whole}
                )
            ]
    return []


# Their embeddings take no padding_idx, so an id without a row fails only when it is used.
_NO_PADDING_INDEX = frozenset({"gpt2", "t5", "mt5", "clip", "clip_text_model"})


def _padding(fit: Fit, facts: ModelType) -> list[Misfit]:
    """torch.nn.Embedding asserts that padding_idx is one of its rows: with pad_token_id beyond them the model cannot even be built."""
    pad, rows = fit.config.get("pad_token_id"), dimension(facts.rows, fit.config, facts)
    if not isinstance(pad, int) or isinstance(pad, bool) or rows is None or pad < rows:
        return []
    because = "pad_token_id of config.json: “Padding_idx must be within num_embeddings”"
    numbers = {"key": "pad_token_id", "config": str(rows), "rows": str(rows), "pad": str(pad)}
    severity: Severity = "warning" if facts.name in _NO_PADDING_INDEX else "error"
    return [
        Misfit(
            code="vocabulary-mismatch",
            name="config.json",
            seen=f"pad_token_id {pad}",
            expected=f"an id below {rows}",
            because=because,
            facts=numbers,
            severity=severity,
        )
    ]


def _shapes(fit: Fit, facts: ModelType) -> list[Misfit]:
    """One misfit for each key of the config (or tensor) that does not fit; the embedding's rows have a cause of their own."""
    wanted = {**facts.optional, **facts.tensors, **_of_heads(fit, facts)}
    groups: dict[tuple[str, str], list[tuple[str, Tensor, Dimensions]]] = {}
    for short, name in fit.names.items():
        form = wanted.get(pattern_of(short)) or wanted.get(short)
        tensor = fit.tensors[name]
        if form is None or (_is_quantised(fit) and len(form) > 1 and short not in facts.vocabulary):
            continue
        if key := _first_difference(form, tensor.shape, fit.config, facts):
            groups.setdefault(("vocabulary-mismatch" if key == facts.rows else "shape-mismatch", key), []).append((name, tensor, form))
    return [_shape_misfit(code, key, members, fit, facts) for (code, key), members in groups.items()]


def _first_difference(form: Dimensions, shape: tuple[int, ...], config: Mapping[str, Any], facts: ModelType) -> str:
    """The dimension (as the table writes it) that differs first, "" where none does. Dimensions that cannot be told are taken to fit."""
    if len(form) != len(shape):
        return str(form[0])
    for part, actual in zip(form, shape, strict=True):
        due = dimension(part, config, facts)
        if due is not None and due != actual:
            return str(part)
    return ""


def _shape_misfit(code: str, key: str, members: list[tuple[str, Tensor, Dimensions]], fit: Fit, facts: ModelType) -> Misfit:
    name, tensor, form = members[0]
    due = [dimension(part, fit.config, facts) for part in form]
    return Misfit(
        code=code,
        name=plain(name, 200),
        seen=_shape(tensor.shape),
        expected=_shape(tuple("?" if part is None else part for part in due)),
        because=f"{key.replace('|', ' or ')} of config.json"
        if setting(key, fit.config) is not None
        else f"{key.replace('|', ' or ')}, by config.json and the defaults of {facts.name}",
        count=len(members),
        facts={"key": key, "config": str(dimension(key, fit.config, facts)), "file": fit.file, "rows": str(tensor.shape[0] if tensor.shape else 0)},
    )


def _of_heads(fit: Fit, facts: ModelType) -> dict[str, Dimensions]:
    """The tensors of the head that the first architecture names. An untied language head is one of them."""
    name = architecture(fit.config)
    found = next((dict(tensors) for head, tensors in facts.heads.items() if name.endswith(head)), {})
    tied = fit.config.get("tie_word_embeddings", facts.tied)
    return {key: form for key, form in found.items() if not (key in facts.vocabulary and tied is not False)}


def architecture(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""


def _is_quantised(fit: Fit) -> bool:
    return "quantization_config" in fit.config or any(_QUANTISED.search(name) for name in fit.tensors)


# method → the tensor that such weights have in the place of each weight (GPTQModel, AutoAWQ, compressed-tensors' pack-quantized, bitsandbytes' 4 bit)
SAID_BY = frozenset({"quantization_config", "compression_config", "quantization"})  # transformers, older compressed-tensors, mlx; also for a part alone
PACKED = {"gptq": "qweight", "awq": "qweight"}
_PACKED = re.compile(r"\.(qweight|weight_packed|weight\.quant_state\.\w+)$")


def quantisation(config: Mapping[str, Any], tensors: Mapping[str, Tensor], whole: bool, file: str) -> Misfit | None:
    """quantization_config without packed weights, or packed weights that no quantization_config announces: the loader makes modules of the other kind."""
    said = config.get("quantization_config")
    method = said.get("quant_method") if isinstance(said, Mapping) else None
    packed = [name for name in tensors if _PACKED.search(name)]
    weights = [name for name, tensor in tensors.items() if name.endswith(".weight") and len(tensor.shape) == 2]
    facts = {"file": file, "layers": "", "kind": plain(str(config.get("model_type", "")), 60), "head": ""}
    if isinstance(method, str) and method in PACKED and whole and weights and not packed:
        name, kind = plain(weights[0], 200), tensors[weights[0]].dtype
        because = f"quant_method of config.json is {method}; the weights in {file} are not packed ({plain(kind, 20)})"
        due = name.removesuffix("weight") + PACKED[method]
        return Misfit(
            code="tensors-missing",
            name=due,
            seen="not in any file",
            expected=f"{PACKED[method]}, scales and zeros",
            because=because,
            count=len(weights),
            facts=facts,
        )
    parts = [config, *(value for value in config.values() if isinstance(value, Mapping))]
    if packed and not any(SAID_BY & set(part) for part in parts):
        due = _PACKED.sub(".weight", packed[0])
        because = "config.json has no quantization_config, so the loader asks for plain weights"
        return Misfit(code="tensors-missing", name=plain(due, 200), seen=plain(f"packed as {packed[0].removeprefix(due.removesuffix('weight'))}", 100), expected="a plain tensor", because=because, count=len(packed), facts=facts)  # fmt: skip
    return None


# --- what is missing ------------------------------------------------------------------------------------------------------------


def _absent(fit: Fit, facts: ModelType) -> list[Misfit]:
    if not fit.whole or _is_quantised(fit):
        return []
    gone = [name for name in _needed(fit, facts) if name not in fit.names]
    if any(name in fit.names for name in facts.vocabulary):
        gone = [name for name in gone if name not in facts.vocabulary or name in _of_heads(fit, facts)]
    if not gone:
        return []
    total = len(list(_needed(fit, facts)))
    layers = sorted({int(match[1]) for name in gone if (match := _LAYER.search(name))})
    return [
        Misfit(
            code="tensors-missing",
            name=plain(gone[0], 200),
            seen="not in any file",
            expected=f"{len(gone)} of the {total} that a {facts.name} model needs: "
            + plain(", ".join(gone[:MOST_NAMED]), 250)
            + (" …" if len(gone) > MOST_NAMED else ""),
            because=_layers_because(fit, facts, gone, layers),
            count=len(gone),
            facts={
                "file": fit.file,
                "layers": ", ".join(map(str, layers[:12])),
                "kind": facts.name,
                "head": "yes" if set(gone) <= set(_of_heads(fit, facts)) else "",
            },
        )
    ]


def _layers_because(fit: Fit, facts: ModelType, gone: list[str], layers: list[int]) -> str:
    """Where whole layers at the end are gone, the config's number of layers is what says that they should be there."""
    for prefix, key in facts.layers.items():
        count = dimension(key, fit.config, facts)
        own = sorted({int(match[1]) for name in gone if name.startswith(prefix) and (match := _LAYER.search(name))})
        if (
            count
            and own
            and own[-1] == min(count, MOST_LAYERS) - 1
            and len(own) == own[-1] - own[0] + 1
            and not any(name.startswith(prefix) and _layer_of(name) in set(own) for name in fit.names)
        ):
            return f"{key} of config.json is {count}, the weights have {own[0]} layers" + (f" below {prefix.rstrip('.')}" if len(facts.layers) > 1 else "")
    return f"model_type {facts.name}" + (f" with architecture {architecture(fit.config)}" if architecture(fit.config) else "")


def _layer_of(name: str) -> int:
    match = _LAYER.search(name)
    return int(match[1]) if match else -1


def _needed(fit: Fit, facts: ModelType) -> Iterator[str]:
    """Every name that must be there, layer by layer."""
    for pattern in {**facts.tensors, **_of_heads(fit, facts)}:
        part = next((prefix for prefix in facts.parts if pattern.startswith(prefix)), "")
        if part and not _has_part(fit, facts, part):
            continue
        key = next((key for prefix, key in facts.layers.items() if pattern.startswith(prefix)), "")
        if "{layer}" not in pattern:
            yield pattern
        elif count := dimension(key, fit.config, facts) if key else None:
            yield from (pattern.replace("{layer}", str(layer)) for layer in range(min(count, MOST_LAYERS)))


def _has_part(fit: Fit, facts: ModelType, prefix: str) -> bool:
    """Whether this architecture has the stack: as the config names it, or, where it names none, as the names show."""
    name = architecture(fit.config)
    return name in facts.parts[prefix] if name else any(short.startswith(prefix) for short in fit.names)


def _too_many_layers(fit: Fit, facts: ModelType) -> list[Misfit]:
    """More layers in the file than the config says: the rest would be left out without a word."""
    for prefix, key in facts.layers.items():
        count = dimension(key, fit.config, facts)
        there = max((_layer_of(name) for name in fit.names if name.startswith(prefix) and pattern_of(name) in facts.tensors), default=-1) + 1
        if count is not None and there > count:
            because = f"{key} of config.json is {count}; the layers behind would be left out in silence"
            return [
                Misfit(
                    code="shape-mismatch",
                    name=key,
                    seen=f"{there} layers",
                    expected=f"{count} layers",
                    because=because,
                    facts={"key": key, "config": str(count), "file": fit.file},
                )
            ]
    return []


# --- types that the table does not have -----------------------------------------------------------------------------------------

_EMBEDDINGS = re.compile(r"(^|\.)(embed_tokens|word_embeddings|wte|tok_embeddings|embed_in|shared)\.weight$")
_ROW_KEYS = ("vocab_size",)


def _general(fit: Fit) -> list[Misfit]:
    """What holds for any decoder or encoder of transformers: the embedding's rows, and as many layers as the config says."""
    config = fit.config.get("text_config") if isinstance(fit.config.get("text_config"), Mapping) else fit.config
    assert isinstance(config, Mapping)
    return [*_general_rows(fit, config), *_general_layers(fit, config)]


def _general_rows(fit: Fit, config: Mapping[str, Any]) -> list[Misfit]:
    due = config.get("vocab_size")
    found = [(name, tensor) for name, tensor in fit.tensors.items() if _EMBEDDINGS.search(name) and len(tensor.shape) == 2]
    if not isinstance(due, int) or isinstance(due, bool) or len({tensor.shape for _, tensor in found}) != 1:
        return []
    name, tensor = found[0]
    padded = any("pad" in key and "vocab" in key for key in config) or "auto_map" in fit.config
    if tensor.shape[0] == due or (padded and due < tensor.shape[0] < due + 1024):
        return []
    facts = {"key": "vocab_size", "config": str(due), "file": fit.file, "rows": str(tensor.shape[0])}
    shape = _shape((due, tensor.shape[1]))
    return [
        Misfit(code="vocabulary-mismatch", name=plain(name, 200), seen=_shape(tensor.shape), expected=shape, because="vocab_size of config.json", facts=facts)
    ]


def _general_layers(fit: Fit, config: Mapping[str, Any]) -> list[Misfit]:
    """Fewer layers than the config says, in a model of one stack of layers."""
    key = next((key for key in ("num_hidden_layers", "n_layer", "num_layers", "n_layers") if isinstance(config.get(key), int)), "")
    stacks: dict[str, set[int]] = {}
    for name in fit.tensors:
        if match := _LAYER.search(name):
            stacks.setdefault(name[: match.start(1)], set()).add(int(match[1]))
    if not key or len(stacks) != 1 or not fit.whole or _is_quantised(fit):
        return []
    (prefix, numbers), count = next(iter(stacks.items())), config[key]
    gone = [number for number in range(min(count, MOST_LAYERS)) if number not in numbers]
    if not gone:
        return []
    facts = {"file": fit.file, "layers": ", ".join(map(str, gone[:12])), "kind": str(fit.config.get("model_type", "")), "head": ""}
    because = f"{key} of config.json is {count}, the weights have {len(numbers)} layers"
    return [
        Misfit(
            code="tensors-missing",
            name=plain(f"{prefix}{gone[0]}", 200),
            seen="not in any file",
            expected=f"{count} layers",
            because=because,
            count=len(gone),
            facts=facts,
        )
    ]


def _shape(shape: tuple[int | str, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
