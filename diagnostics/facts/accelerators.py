"""Which accelerators a build of torch runs on, and what quantised weights ask for: the reader of ``accelerators.toml``."""

from __future__ import annotations

import datetime
import functools
import importlib.resources
import tomllib
from typing import Any

from diagnostics.case import record
from diagnostics.facts.versions import satisfies


@record
class BuildFacts:
    """Compute capabilities that a build has kernels for."""

    lowest: str
    highest: str
    source: str


@record
class QuantizationFacts:
    packages: tuple[str, ...]
    accelerator: bool = False
    capability: str = ""


@functools.cache
def _table() -> dict[str, Any]:
    return tomllib.loads(importlib.resources.files("diagnostics.facts").joinpath("accelerators.toml").read_text(encoding="utf-8"))


def as_of() -> datetime.date:
    """The day the table was written."""
    day = _table()["as_of"]
    assert isinstance(day, datetime.date)
    return day


def build_facts(torch: str, cuda: str) -> BuildFacts | None:
    """What a torch of this version, built for this CUDA, runs on; None where nothing is known."""
    for row in _table()["builds"]:
        if satisfies(cuda, row["cuda"]) and (not row.get("torch") or satisfies(torch, row["torch"])):
            return BuildFacts(lowest=row["lowest"], highest=row["highest"], source=row["source"])
    return None


def quantization_facts(method: str) -> QuantizationFacts | None:
    """What a ``quant_method`` asks for; None for one that is not known."""
    row = _table()["quantizations"].get(method)
    return QuantizationFacts(packages=tuple(row["packages"]), accelerator=row.get("accelerator", False), capability=row.get("capability", "")) if row else None


def fits(capability: str, build: BuildFacts) -> bool:
    """Whether a device of this compute capability ("8.6") finds kernels in the build."""
    number = _number(capability)
    return not number or _number(build.lowest) <= number <= _number(build.highest)


def _number(capability: str) -> tuple[int, ...]:
    parts = capability.split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) and capability else ()
