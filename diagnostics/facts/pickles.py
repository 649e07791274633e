"""What a pickle may name: the reader of ``pickles.toml``."""

from __future__ import annotations

import functools
import importlib.resources
import re
import tomllib
from typing import Any, Literal

Verdict = Literal["taken", "refused", "dangerous"]


@functools.cache
def _table() -> dict[str, Any]:
    return tomllib.loads(importlib.resources.files("diagnostics.facts").joinpath("pickles.toml").read_text(encoding="utf-8"))


@functools.cache
def _taken() -> re.Pattern[str]:
    table = _table()["taken"]
    return re.compile("|".join([*map(re.escape, table["names"]), *table["patterns"]]))


def judge(module: str, name: str) -> Verdict:
    """What ``torch.load(weights_only=True)`` does with a global (taken or refused), and whether it could run code without it (dangerous).

    "taken" does not say that a file is safe, only that this name would not be refused.
    """
    whole = f"{module.replace('__builtin__', 'builtins')}.{name}"
    table = _table()["dangerous"]
    if whole in table["names"] or any(whole.endswith(f".{known}") for known in ("__reduce__", "__globals__", "__builtins__", "__subclasses__")):
        return "dangerous"
    if module.partition(".")[0] in table["modules"] and whole not in table["harmless"]:
        return "dangerous"
    return "taken" if _taken().fullmatch(f"{module}.{name}") else "refused"
