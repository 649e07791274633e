"""The worlds of the lab, by the stems of the catalogue's sections: a fault each, and the healthy ones they differ from.

A world builds itself on a stage and says what is diagnosed there. ``cause`` is what the first diagnosis has to be, "" in a healthy world.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from diagnostics.case import Severity

Needs = Literal["loopback", "certificates", "namespace"]
Build = Callable[[Any], None]  # of a Stage, or of a Namespace where the world needs one
_FOUND: dict[str, World] = {}


@dataclass(frozen=True, kw_only=True)
class World:
    """One world. ``twin`` is the healthy world it differs from."""

    name: str
    build: Build
    cause: str
    needs: Needs
    twin: str
    severity: Severity
    title: str


def world(
    name: str, *, needs: Needs = "loopback", cause: str | None = None, twin: str = "healthy-hub", severity: Severity = "error"
) -> Callable[[Build], Build]:
    """Register ``build`` as the world ``name``; its cause has the same id unless said otherwise."""

    def register(build: Build) -> Build:
        if name in _FOUND:
            raise ValueError(f"there are two worlds {name}")
        title = (build.__doc__ or "").strip().split("\n")[0]
        _FOUND[name] = World(name=name, build=build, cause=name if cause is None else cause, needs=needs, twin=twin, severity=severity, title=title)
        return build

    return register


@functools.cache
def worlds() -> dict[str, World]:
    """Every world by name, in the order of their modules."""
    for module in sorted(name for _, name, _ in pkgutil.iter_modules(__path__)):
        importlib.import_module(f"{__name__}.{module}")
    return dict(_FOUND)


def named(name: str) -> World:
    """Raises ValueError, with near names, where there is no such world."""
    found = worlds().get(name)
    if found is None:
        near = difflib.get_close_matches(name, worlds(), 3, 0.5)
        raise ValueError(f"the lab has no world “{name}”" + (f": did you mean {', '.join(near)}?" if near else ""))
    return found
