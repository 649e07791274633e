"""What a model type implies for its tensors, and whose vocabulary has which size: the reader of ``architectures.toml``."""

from __future__ import annotations

import datetime
import functools
import importlib.resources
import tomllib
from collections.abc import Mapping
from typing import Any

from diagnostics.case import record

MOST = 1 << 40  # no dimension is larger
Dimensions = tuple[int | str, ...]


@record
class ModelType:
    """One type's facts. Names of tensors are without the base prefix, ``{layer}`` is their first number."""

    name: str
    bases: tuple[str, ...] = ()
    renames: tuple[tuple[str, str], ...] = ()  # names of other releases as patterns, and what they are called here
    layers: Mapping[str, str]  # prefix of a stack → the config's key for its number of layers
    parts: Mapping[str, tuple[str, ...]]  # prefix of a stack → architectures that have it
    vocabulary: tuple[str, ...] = ()  # names the embedding goes by, the usual one first
    rows: str = "vocab_size"
    tied: bool = True  # what tie_word_embeddings is where the config does not say
    divides: tuple[tuple[str, str], ...] = (("hidden_size", "num_attention_heads"),)
    beyond_rows: tuple[str, ...] = ()  # tokens that have no row by right
    defaults: Mapping[str, int | str]
    tensors: Mapping[str, Dimensions]  # needed
    optional: Mapping[str, Dimensions]
    heads: Mapping[str, Mapping[str, Dimensions]]  # end of an architecture's name → tensors that it needs


@functools.cache
def _table() -> dict[str, Any]:
    return tomllib.loads(importlib.resources.files("diagnostics.facts").joinpath("architectures.toml").read_text(encoding="utf-8"))


def as_of() -> datetime.date:
    """The day the table was written."""
    day = _table()["as_of"]
    assert isinstance(day, datetime.date)
    return day


def known() -> tuple[str, ...]:
    return tuple(_table()["types"])


@functools.cache
def model_type(name: str) -> ModelType | None:
    """The facts of a ``model_type``; None for one that the table does not have."""
    if name not in _table()["types"]:
        return None
    row = _row(name)
    return ModelType(
        name=name,
        **{key: tuple(row.get(key, ())) for key in ("bases", "vocabulary", "beyond_rows")},
        renames=tuple((pair[0], pair[1]) for pair in row.get("renames", ())),
        layers=row.get("layers", {}),
        parts={prefix: tuple(names) for prefix, names in row.get("parts", {}).items()},
        rows=row.get("rows", "vocab_size"),
        tied=row.get("tied", True),
        divides=tuple((pair[0], pair[1]) for pair in row.get("divides", [["hidden_size", "num_attention_heads"]] if "head_dim" not in row["defaults"] else [])),
        defaults=row["defaults"],
        tensors=_tuples(row["tensors"]),
        optional=_tuples(row.get("optional", {})),
        heads={head: _tuples(tensors) for head, tensors in row.get("heads", {}).items()},
    )


def _row(name: str) -> dict[str, Any]:
    """A type's table, laid over the one it is like."""
    own = _table()["types"][name]
    if "like" not in own:
        return dict(own)
    other = _row(own["like"])
    return {**other, **own, "tensors": {**other["tensors"], **own.get("tensors", {})}}


def _tuples(table: Mapping[str, list[int | str]]) -> dict[str, Dimensions]:
    return {name: tuple(dimensions) for name, dimensions in table.items()}


def dimension(form: int | str, config: Mapping[str, Any], facts: ModelType, depth: int = 0) -> int | None:
    """A dimension's value in this config; None where it cannot be told (or is any)."""
    if isinstance(form, int):
        return form
    if form == "?" or depth > 4:
        return None
    if "|" in form:
        return next((found for part in form.split("|") if (found := dimension(part, config, facts, depth + 1))), None)  # 0 is "as the next says"
    if "*" in form:
        factors = [dimension(part, config, facts, depth + 1) for part in form.split("*")]
        return None if None in factors else functools.reduce(int.__mul__, factors)  # type: ignore[arg-type]
    if "/" in form:
        above, below = (dimension(part, config, facts, depth + 1) for part in form.split("/"))
        return above // below if above is not None and below else None
    if form.isdigit():
        return int(form)
    value = setting(form, config)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST:
        return value
    default = facts.defaults.get(form)
    return None if default is None else dimension(default, config, facts, depth + 1)


def setting(key: str, config: Mapping[str, Any]) -> Any:
    """A key of config.json, dotted for nested ones; the number of labels is told by their names too."""
    if key == "num_labels":
        names = config.get("id2label")
        return len(names) if isinstance(names, dict) and names else config.get("num_labels") or 2
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


@record
class Vocabulary:
    """A size by which a tokenizer or an embedding is known."""

    size: int
    name: str
    exact: bool = False


@functools.cache
def vocabulary(size: int) -> Vocabulary | None:
    """Whose vocabulary has this size."""
    row = next((row for row in _table()["vocabularies"] if row["size"] == size), None)
    return Vocabulary(size=row["size"], name=row["name"], exact=row.get("exact", False)) if row else None
