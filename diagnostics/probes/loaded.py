"""Packages that this process loaded before another version of them was installed: in a notebook, after ``!pip install -U``.

What is loaded stays as it is until the process ends (docs.python.org, importlib: sys.modules), while what is still to be imported comes from the new files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import psutil

from diagnostics.case import Distribution
from diagnostics.facts import versions
from diagnostics.facts.clients import canonical
from diagnostics.probes.cache import real
from diagnostics.redact import plain


def superseded(distributions: Iterable[Distribution]) -> tuple[str, ...]:
    """Of these, "package: 4.40 is loaded, 5.24 is installed", each installed after this process began."""
    found = []
    for item in distributions:
        module = sys.modules.get(versions.module_of(canonical(item.name)) or item.name.replace("-", "_"))
        loaded = str(getattr(module, "__version__", "") or "")
        if loaded and _came_from(module, item) and loaded.partition("+")[0] != item.version.partition("+")[0] and _is_newer(item):
            found.append(plain(f"{canonical(item.name)}: {loaded} is loaded, {item.version} is installed", 200))
    return tuple(found)


def _came_from(module: object, item: Distribution) -> bool:
    """Whether it was loaded from where this distribution lies now: another place on the path is another matter."""
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and os.path.realpath(file).startswith(os.path.realpath(real(item.location)) + os.sep)


def _is_newer(item: Distribution) -> bool:
    """Whether its metadata was written after this process began."""
    folder = os.path.join(real(item.location), f"{item.name}-{item.version}.dist-info")
    plainer = os.path.join(real(item.location), f"{item.name.replace('-', '_')}-{item.version}.dist-info")
    try:
        written = next(os.stat(path).st_mtime for path in (folder, plainer) if os.path.isdir(path))
        return written > psutil.Process().create_time()
    except (OSError, StopIteration, psutil.Error):
        return False
