"""The catalogue of causes: one module a section of causes.md, joined here into the one total order in which they claim faults."""

from __future__ import annotations

from diagnostics.case import Cause
from diagnostics.causes import connections, disk, files, http, last, memory, names, proxies, settings, tls, transfer, versions

# In the order in which a load would meet them; the report lists independent roots so.
_MODULES = (settings, names, connections, proxies, tls, http, disk, transfer, files, versions, memory, last)
SECTIONS = tuple(module.__name__.rpartition(".")[2] for module in _MODULES)
SECTION_OF = {cause.id: module.__name__.rpartition(".")[2] for module in _MODULES for cause in module.CAUSES}
ORDER: tuple[Cause, ...] = tuple(cause for module in _MODULES for cause in module.CAUSES)
BY_ID = {cause.id: cause for cause in ORDER}

if len(BY_ID) != len(ORDER):
    raise ValueError("a cause id is used twice")
