"""The catalogue of causes: one module a section of causes.md, joined here into the one total order in which they claim faults."""

from __future__ import annotations

from diagnostics.case import Cause
from diagnostics.causes import connections, disk, files, http, last, load, memory, model, names, proxies, settings, tls, transfer, versions

# In the order in which a load would meet them; the report lists independent roots so.
_MODULES = (settings, names, connections, proxies, tls, http, disk, transfer, files, versions, memory, model, load, last)
SECTIONS = tuple(module.__name__.rpartition(".")[2] for module in _MODULES)
SECTION_OF = {cause.id: module.__name__.rpartition(".")[2] for module in _MODULES for cause in module.CAUSES}
# These look at the whole way at once and explain what the sections after settings would otherwise claim step by step.
_WHOLE_WAY = ("proxy-bypassed", "network-offline", "http-captive-portal", "proxy-required", "proxy-from-pac-only", "download-host-blocked")
_ALL = tuple(cause for module in _MODULES for cause in module.CAUSES)
BY_ID = {cause.id: cause for cause in _ALL}
ORDER: tuple[Cause, ...] = (
    *settings.CAUSES,
    *(BY_ID[name] for name in _WHOLE_WAY),
    *(cause for cause in _ALL if cause not in settings.CAUSES and cause.id not in _WHOLE_WAY),
)

if len(BY_ID) != len(_ALL):
    raise ValueError("a cause id is used twice")
