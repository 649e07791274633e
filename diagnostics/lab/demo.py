"""``demo`` and ``demo:FAULT``: a world on loopback for any machine, with no network; it brings its own environment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from diagnostics.lab import tls
from diagnostics.lab.stage import Stage
from diagnostics.lab.worlds import named


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What is to be diagnosed in it, and with which variables."""

    spec: str
    variables: Mapping[str, str]
    home: str
    work: str  # the folder to stand in
    python: str = ""  # the interpreter of the world, "" for none of its own


@contextlib.contextmanager
def start_demo(fault: str) -> Iterator[Demo]:
    """Put up the world ``fault`` ("" is the healthy hub). Raises ValueError for one that does not exist or cannot be on loopback."""
    world = named(fault or "healthy-hub")
    if world.needs == "namespace":
        raise ValueError(f"{fault} needs names, ports or a firewall of its own: run python -m diagnostics.lab {fault} (Linux, as root or with user namespaces)")
    try:
        if world.needs == "certificates":
            tls.require()
        with Stage() as stage:
            world.build(stage)
            yield Demo(spec=stage.spec, variables={"PATH": os.defpath, **stage.variables}, home=str(stage.home), work=str(stage.work), python=stage.python)
    except tls.MissingExtra as error:
        raise ValueError(str(error)) from error
