"""What torch.save writes: a zip of storages with a pickle (torch ≥ 1.6), or pickles and storages one after the other (torch/serialization.py ``_legacy_save``)."""

from __future__ import annotations

import struct

from diagnostics.case import Defect
from diagnostics.facts.pickles import judge
from diagnostics.probes.formats import pickles, torch_state
from diagnostics.probes.formats.magic import TORCH_LEGACY_MAGIC
from diagnostics.probes.formats.reading import Bytes, Look, damaged, promised, trailing, truncated, zero_filled, zero_tail, zeros_from
from diagnostics.redact import plain

MOST_PICKLE = 32 << 20
FIRST_READ = 1 << 20
MOST_NAMED = 4


def look_at_legacy(file: Bytes) -> Look:
    """Magic number, version, system, the object, the keys of its storages, then each storage behind its length."""
    at = len(TORCH_LEGACY_MAGIC)
    scans: list[pickles.Scan] = []
    data = file.read(0, FIRST_READ)
    while len(scans) < 4:
        scan = pickles.scan(data, at)
        if scan.short and len(data) < min(file.size, MOST_PICKLE):
            data = file.read(0, MOST_PICKLE)
            continue
        if scan.end < 0:
            return Look("torch-legacy", _broken(file, scan, len(data)))
        scans.append(scan)
        at = scan.end
    tensors, storages = torch_state.contents(scans[2].value)
    return Look("torch-legacy", refused(scans[2]) or _storages(file, at, scans[3].value, storages), tensors=tensors)


def _broken(file: Bytes, scan: pickles.Scan, read: int) -> tuple[Defect, ...]:
    """A pickle that does not reach its end: cut short, or damaged; unknown where it is longer than is read."""
    if scan.short and read < file.size:
        return ()
    if (start := zeros_from(file)) is not None and start < file.size - 512:
        return (zero_filled(start, file.size),)
    return (truncated(file, "its pickle breaks off before its end"),) if scan.short else (damaged(f"its pickle cannot be read: {scan.error}", scan.at),)


def _storages(file: Bytes, at: int, keys: object, storages: dict[str, torch_state.Storage]) -> tuple[Defect, ...]:
    """The lengths that the pickle gives against the file's size, and against those before each storage."""
    strange = sorted(set(storages) - {key for key in keys if isinstance(key, str)}) if isinstance(keys, list) else []
    if strange:
        return (damaged(f"its pickle names the storage {plain(strange[0], 40)}, which is not in it"),)
    named = [storages.get(key) if isinstance(key, str) else None for key in (keys if isinstance(keys, list) else [])]
    sizes = [(storage, torch_state.STORAGE_BYTES[storage.dtype]) for storage in named if storage and storage.dtype in torch_state.STORAGE_BYTES]
    if len(sizes) < len(named):
        return zero_tail(file)
    end = at + sum(8 + storage.numel * width for storage, width in sizes)
    if file.size != end:
        return (promised(file, end),) if file.size < end else (trailing(file, end),)
    for storage, width in sizes:
        count = struct.unpack("<q", file.read(at, 8))[0]
        if count != storage.numel:
            start = zeros_from(file)
            if start is not None and start <= at + 8:
                return (zero_filled(start, file.size),)
            return (damaged(f"its storage {plain(storage.key, 40)} is given {count} elements, the pickle says {storage.numel}", at),)
        at += 8 + count * width
    return zero_tail(file)


def look_at_pickle(file: Bytes) -> Look:
    """A plain pickle: what it would import; cut short where its end is not reached."""
    data = file.read(0, MOST_PICKLE)
    scan = pickles.scan(data)
    if scan.end < 0:
        return Look("pickle", refused(scan) or _broken(file, scan, len(data)))
    tensors, _ = torch_state.contents(scan.value)
    return Look("pickle", refused(scan), tensors=tensors)


def refused(scan: pickles.Scan) -> tuple[Defect, ...]:
    """What ``weights_only`` would refuse of the pickle's globals, the dangerous ones first."""
    verdicts = {name: judge(name.module, name.name) for name in scan.globals}
    for verdict, code in (("dangerous", "pickle-unsafe"), ("refused", "torch-weights-only")):
        names = [str(name) for name, found in verdicts.items() if found == verdict]
        if names:
            more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
            return (Defect(code=code, detail=plain(", ".join(names[:MOST_NAMED]) + more)),)
    return ()
