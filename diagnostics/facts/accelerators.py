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
    """Compute capabilities that a build has kernels for; ``ptx``: the one that newer devices can compile from, "" for none."""

    kernels: tuple[str, ...]
    ptx: str
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


def build_facts(torch: str, cuda: str, machine: str = "x86_64") -> BuildFacts | None:
    """What torch's own wheel of this version, built for this CUDA and machine, runs on; None where nothing is known, as of others' builds ("2.1.0a0+nv23.06")."""
    if "+" in torch and not torch.partition("+")[2].startswith("cu"):
        return None
    for row in _table()["builds"]:
        if satisfies(cuda, row["cuda"]) and (not row.get("torch") or satisfies(torch, row["torch"])) and row.get("machine", machine) == machine:
            return BuildFacts(kernels=tuple(row["kernels"]), ptx=row.get("ptx", ""), source=row["source"])
    return None


def quantization_facts(method: str) -> QuantizationFacts | None:
    """What a ``quant_method`` asks for; None for one that is not known."""
    row = _table()["quantizations"].get(method)
    return QuantizationFacts(packages=tuple(row["packages"]), accelerator=row.get("accelerator", False), capability=row.get("capability", "")) if row else None


def fits(capability: str, kernels: tuple[str, ...], ptx: str = "") -> bool:
    """Whether a device of this compute capability ("8.6") finds kernels among these; True for one that is not known."""
    number = _number(capability)
    return not number or any(_number(kernel)[:1] == number[:1] and _number(kernel) <= number for kernel in kernels) or () < _number(ptx) <= number


def _number(capability: str) -> tuple[int, ...]:
    parts = capability.split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) and capability else ()
