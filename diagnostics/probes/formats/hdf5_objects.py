"""HDF5's groups and datasets (HDF5 File Format Specification 3.0, III and IV): names, shapes, types, and whether the data lie inside the file.

Object headers of both versions, groups as symbol tables, as links in the header and as links in a fractal heap; data contiguous, compact and chunked.
What this reader does not know it passes over: only what the format itself forbids is a defect. Numbers from the file are bounded before they are believed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

from diagnostics.probes.formats.checksums import lookup3
from diagnostics.probes.formats.reading import Bytes, Tensor
from diagnostics.redact import plain

UNDEFINED = 0xFFFFFFFFFFFFFFFF
MOST_OBJECTS = 50_000
MOST_MESSAGES = 4096  # of one object
MOST_BLOCK = 1 << 20  # of one header or node
MOST_READ = 64 << 20
MOST_CHECKED = 1 << 17  # bytes whose checksums are computed: it is slow in Python
MOST_CHUNKS = 200_000
DEEPEST = 32
MOST_LEVELS = 5  # of a version 2 B-tree
NIL, DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL, LAYOUT, FILTERS, CONTINUATION, SYMBOLS = 0x00, 0x01, 0x02, 0x03, 0x06, 0x07, 0x08, 0x0B, 0x10, 0x11
COMPACT, CONTIGUOUS, CHUNKED = 0, 1, 2
KINDS = {0: "int", 1: "float", 2: "time", 3: "string", 4: "bits", 5: "opaque", 6: "compound", 7: "reference", 8: "enum", 9: "variable", 10: "array"}


class Damaged(Exception):
    """What the format forbids, for a person; ``at`` is where."""

    def __init__(self, detail: str, at: int) -> None:
        super().__init__(detail)
        self.detail, self.at = detail, at


class Unknown(Exception):
    """A form that this reader does not know. No defect."""


@dataclass
class Table:
    """What was found: datasets by their paths, and the first thing that the format forbids."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    damaged: Damaged | None = None


@dataclass
class Dataset:
    shape: tuple[int, ...] | None = None
    kind: str = ""
    width: int = 0
    layout: bytes = b""
    at: int = 0  # of the layout message
    filtered: bool = False
    external: bool = False


class Walk:
    """One pass over the objects of a file whose offsets and lengths have 8 bytes each, from ``base``."""

    def __init__(self, file: Bytes, base: int, end: int) -> None:
        self.file, self.base, self.end = file, base, min(end, file.size)
        self.left, self.unchecked, self.chunks = MOST_READ, MOST_CHECKED, MOST_CHUNKS
        self.table = Table()

    def see(self, root: int) -> Table:
        """Every dataset below the object at ``root``."""
        waiting, visited = [("", root, 0)], {root}
        while waiting and len(visited) <= MOST_OBJECTS and self.left > 0:
            path, address, depth = waiting.pop()
            try:
                for name, child in self._object(path, address):
                    if child not in visited and depth < DEEPEST:
                        visited.add(child)
                        waiting.append((f"{path}/{name}" if path else name, child, depth + 1))
            except Damaged as error:
                self.table.damaged = self.table.damaged or error
            except (Unknown, struct.error, IndexError):  # the latter two: a message shorter than it should be
                continue
        return self.table

    def read(self, address: int, count: int, what: str) -> bytes:
        """``count`` bytes from an address of the file. Damaged where it has not so many."""
        if count > MOST_BLOCK or self.left <= 0:
            raise Unknown
        at = self.base + address
        if address == UNDEFINED or at + count > self.end:
            raise Damaged(f"{what} leads beyond its end", min(at, self.end))
        self.left -= count + 64
        data = self.file.read(at, count)
        if len(data) < count:
            raise Damaged(f"{what} leads beyond its end", at)
        return data

    def checked(self, data: bytes, stored: bytes, what: str, address: int) -> None:
        """Whether a block has its own checksum, as long as there is time for it."""
        self.unchecked -= len(data)
        if self.unchecked >= 0 and lookup3(data) != struct.unpack("<I", stored)[0]:
            raise Damaged(f"{what} does not have its own checksum", self.base + address)

    # --- objects ---

    def _object(self, path: str, address: int) -> list[tuple[str, int]]:
        """Notes a dataset; the members of a group."""
        shown = f"the header of “{plain(path, 80) or '/'}”"
        dataset, members = Dataset(), []
        for kind, flags, body, at in self._messages(address, shown):
            if flags & 2 and kind in (DATASPACE, DATATYPE):  # shared: it lies elsewhere
                dataset.kind = dataset.kind or "shared"
            elif kind == SYMBOLS and len(body) >= 16:
                tree, heap = struct.unpack("<QQ", body[:16])
                members += list(self._symbols(tree, heap, path))
            elif kind == LINK:
                members += [found] if (found := _link(body)) else []
            elif kind == LINK_INFO:
                members += list(self._dense(body, path))
            else:
                _note(dataset, kind, body, at)
        if dataset.layout and dataset.shape is not None and not members:
            self.table.tensors[plain(path, 500)] = Tensor(dataset.shape, f"{dataset.kind}{dataset.width * 8}" if dataset.width else dataset.kind)
            self._data(dataset, f"the data of “{plain(path, 80)}”")
        return members

    def _messages(self, address: int, shown: str) -> Iterator[tuple[int, int, bytes, int]]:
        """(type, flags, content, address of the content) of each message, continuations included."""
        start = self.read(address, 16, shown)
        if start[:4] == b"OHDR":
            yield from self._second(address, shown)
        elif start[0] == 1:
            yield from self._first(address, start, shown)
        else:
            raise Damaged(f"{shown} is none", self.base + address)

    def _first(self, address: int, start: bytes, shown: str) -> Iterator[tuple[int, int, bytes, int]]:
        """IV.A.1.a. Version 1: no checksums; messages fill their blocks exactly."""
        total, blocks, seen = struct.unpack("<H", start[2:4])[0], [(address + 16, struct.unpack("<I", start[8:12])[0])], 0
        while blocks and seen < MOST_MESSAGES:
            at, length = blocks.pop(0)
            data, here = self.read(at, length, shown), 0
            while here + 8 <= length and seen < min(total, MOST_MESSAGES):
                kind, size, flags = struct.unpack("<HHB", data[here : here + 5])
                if here + 8 + size > length:
                    raise Damaged(f"a message of {shown} is longer than its block", self.base + at + here)
                body, seen = data[here + 8 : here + 8 + size], seen + 1
                if kind == CONTINUATION and size >= 16:
                    blocks.append(struct.unpack("<QQ", body[:16]))
                elif kind != NIL:
                    yield kind, flags, body, at + here + 8
                here += 8 + size

    def _second(self, address: int, shown: str) -> Iterator[tuple[int, int, bytes, int]]:
        """IV.A.1.b. Version 2: each block with a checksum behind it."""
        head = self.read(address, min(64, self.end - self.base - address), shown)
        flags = head[5]
        if head[4] != 2:
            raise Damaged(f"{shown} gives its version as {head[4]}", self.base + address + 4)
        at = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        length = int.from_bytes(head[at : at + width], "little")
        blocks, seen = [(address, at + width, length)], 0
        while blocks and seen < MOST_MESSAGES:
            begin, skip, length = blocks.pop(0)
            data = self.read(begin, skip + length + 4, shown)
            if skip == 4 and data[:4] != b"OCHK":
                raise Damaged(f"a further block of {shown} is none", self.base + begin)
            self.checked(data[:-4], data[-4:], shown, begin)
            here, prefix = skip, 6 if flags & 4 else 4
            while here + prefix <= skip + length and seen < MOST_MESSAGES:
                kind, size, own = struct.unpack("<BHB", data[here : here + 4])
                if here + prefix + size > skip + length:
                    raise Damaged(f"a message of {shown} is longer than its block", self.base + begin + here)
                body, seen = data[here + prefix : here + prefix + size], seen + 1
                if kind == CONTINUATION and size >= 16:
                    place, count = struct.unpack("<QQ", body[:16])
                    blocks.append((place, 4, count - 8))
                    if count < 8:
                        raise Damaged(f"a further block of {shown} is too short", self.base + begin + here)
                elif kind != NIL:
                    yield kind, own, body, begin + here + prefix
                here += prefix + size

    # --- groups ---

    def _symbols(self, tree: int, heap: int, path: str) -> Iterator[tuple[str, int]]:
        """III.B, III.C, III.D: a B-tree of symbol nodes, names in a local heap."""
        shown = f"the group “{plain(path, 80) or '/'}”"
        head = self.read(heap, 32, f"the names of {shown}")
        if head[:4] != b"HEAP":
            raise Damaged(f"the names of {shown} are no heap", self.base + heap)
        length, _, place = struct.unpack("<QQQ", head[8:32])
        names = self.read(place, length, f"the names of {shown}") if length else b""
        for node in self._tree(tree, 0, shown):
            data = self.read(node, 8, shown)
            if data[:4] != b"SNOD":
                raise Damaged(f"a node of {shown} is none", self.base + node)
            count = struct.unpack("<H", data[6:8])[0]
            entries = self.read(node + 8, count * 40, shown)
            for number in range(count):
                offset, child, cached = struct.unpack("<QQI", entries[number * 40 : number * 40 + 20])
                if offset >= len(names):
                    raise Damaged(f"{shown} names a member that has no name", self.base + node)
                if cached != 2 and child != UNDEFINED:  # 2: a symbolic link
                    yield names[offset : names.find(b"\0", offset)].decode("utf-8", "replace"), child

    def _tree(self, address: int, kind: int, shown: str, key: int = 8) -> Iterator[int]:
        """Addresses of the leaves' children in a version 1 B-tree (III.A.1), each node once."""
        waiting, visited = [(address, -1)], {address}
        while waiting:
            at, level = waiting.pop()
            head = self.read(at, 24, shown)
            own, depth, count = struct.unpack("<BBH", head[4:8])
            if head[:4] != b"TREE" or own != kind or (level >= 0 and depth != level):
                raise Damaged(f"a node in the tree of {shown} is none", self.base + at)
            data = self.read(at + 24, count * (key + 8) + key, shown)
            for number in range(count):
                begin = number * (key + 8)
                child = struct.unpack("<Q", data[begin + key : begin + key + 8])[0]
                if depth == 0:
                    if kind == 1:
                        self._chunk(child, struct.unpack("<I", data[begin : begin + 4])[0], shown)
                    yield child
                elif child in visited or len(visited) > MOST_OBJECTS:
                    raise Damaged(f"the tree of {shown} leads back into itself", self.base + at)
                else:
                    visited.add(child)
                    waiting.append((child, depth - 1))

    def _dense(self, body: bytes, path: str) -> Iterator[tuple[str, int]]:
        """IV.A.2.c: many links, in a fractal heap, found through a version 2 B-tree."""
        at = 10 if body[1] & 1 else 2
        heap, index = struct.unpack("<QQ", body[at : at + 16])
        if heap == UNDEFINED:
            return
        shown = f"the group “{plain(path, 80) or '/'}”"
        store = Heap(self, heap, shown)
        for record in self._records(index, shown):
            if found := _link(store.object(record[4:])):
                yield found

    def _records(self, address: int, shown: str) -> Iterator[bytes]:
        """III.A.2: the records of a version 2 B-tree."""
        head = self.read(address, 38, shown)
        if head[:4] != b"BTHD":
            raise Damaged(f"the index of {shown} is none", self.base + address)
        self.checked(head[:34], head[34:38], f"the index of {shown}", address)
        kind, node, size, depth = struct.unpack("<BIHH", head[5:14])
        root, count, total = struct.unpack("<QHQ", head[16:34])
        if kind != 5 or size < 5 or depth > MOST_LEVELS or node < 64:
            raise Unknown
        if not total:
            return
        yield from self._leaf(root, count, size, shown) if depth == 0 else self._inner(root, count, Sizes.of(node, size, depth), depth, shown)

    def _leaf(self, address: int, count: int, size: int, shown: str) -> Iterator[bytes]:
        data = self.read(address, 6 + count * size + 4, shown)
        if data[:4] != b"BTLF":
            raise Damaged(f"a node in the index of {shown} is none", self.base + address)
        self.checked(data[:-4], data[-4:], f"the index of {shown}", address)
        yield from (data[6 + number * size : 6 + (number + 1) * size] for number in range(count))

    def _inner(self, address: int, count: int, sizes: Sizes, depth: int, shown: str) -> Iterator[bytes]:
        """An inner node: its own records, and those of the nodes below."""
        pointer = 8 + sizes.counts + (sizes.totals[depth - 1] if depth > 1 else 0)
        data = self.read(address, 6 + count * sizes.record + (count + 1) * pointer, shown)
        if data[:4] != b"BTIN":
            raise Damaged(f"a node in the index of {shown} is none", self.base + address)
        yield from (data[6 + number * sizes.record : 6 + (number + 1) * sizes.record] for number in range(count))
        for number in range(count + 1):
            at = 6 + count * sizes.record + number * pointer
            child, records = struct.unpack("<Q", data[at : at + 8])[0], int.from_bytes(data[at + 8 : at + 8 + sizes.counts], "little")
            yield from self._leaf(child, records, sizes.record, shown) if depth == 1 else self._inner(child, records, sizes, depth - 1, shown)

    # --- data ---

    def _data(self, dataset: Dataset, shown: str) -> None:
        """Whether the bytes of a dataset lie inside the file, and are as many as its shape asks for."""
        layout, version = dataset.layout, dataset.layout[0]
        if dataset.external or dataset.shape is None:
            return
        if version in (3, 4):
            kind = layout[1]
            if kind == CONTIGUOUS:
                address, length = struct.unpack("<QQ", layout[2:18])
                self._contiguous(address, length, dataset, shown)
            elif kind == CHUNKED and version == 3:
                self._chunked(layout[2], struct.unpack("<Q", layout[3:11])[0], shown)
            elif kind > 3:
                raise Damaged(f"{shown} are laid out in a way that there is not ({kind})", self.base + dataset.at)
        elif version in (1, 2):
            if layout[2] == CONTIGUOUS:
                self._contiguous(struct.unpack("<Q", layout[8:16])[0], prod(dataset.shape) * dataset.width, dataset, shown)
            elif layout[2] == CHUNKED:
                self._chunked(layout[1], struct.unpack("<Q", layout[8:16])[0], shown)

    def _contiguous(self, address: int, length: int, dataset: Dataset, shown: str) -> None:
        if address == UNDEFINED:  # nothing was written yet: all of it is the fill value
            return
        if self.base + address + length > self.end:
            raise Damaged(f"{shown} end at byte {self.base + address + length}, the file at {self.end}", self.base + dataset.at)
        need = prod(dataset.shape or ()) * dataset.width
        if dataset.width and length < need:
            raise Damaged(f"{shown} have {length} bytes, its shape asks for {need}", self.base + dataset.at)

    def _chunked(self, dimensions: int, address: int, shown: str) -> None:
        if address != UNDEFINED:
            for _ in self._tree(address, 1, shown, 8 + 8 * dimensions):
                pass

    def _chunk(self, address: int, length: int, shown: str) -> None:
        self.chunks -= 1
        if self.chunks < 0:
            raise Unknown
        if address != UNDEFINED and self.base + address + length > self.end:
            raise Damaged(f"a piece of {shown} ends at byte {self.base + address + length}, the file at {self.end}", self.end)


@dataclass(frozen=True)
class Sizes:
    """How wide numbers are in the inner nodes of a version 2 B-tree: as wide as the most records need (H5B2hdr.c ``H5B2__hdr_init``)."""

    record: int
    counts: int
    totals: tuple[int, ...]  # by depth of the node that is counted

    @classmethod
    def of(cls, node: int, record: int, depth: int) -> Sizes:
        most = (node - 10) // record
        counts, totals, all_below = _width(most), [0], most
        for _ in range(1, depth + 1):
            pointer = 8 + counts + totals[-1]
            here = max(0, (node - 10 - pointer) // (record + pointer))
            all_below = (here + 1) * all_below + here
            totals.append(_width(all_below))
        return cls(record, counts, tuple(totals))


def _width(number: int) -> int:
    return max(1, (number.bit_length() + 7) // 8)


class Heap:
    """A fractal heap's managed objects (III.G): one direct block, or direct blocks under one indirect block."""

    def __init__(self, walk: Walk, address: int, shown: str) -> None:
        self.walk, self.shown = walk, f"the links of {shown}"
        head = walk.read(address, 142, self.shown)
        if head[:4] != b"FRHP":
            raise Damaged(f"{self.shown} are no heap", walk.base + address)
        if struct.unpack("<H", head[7:9])[0]:  # filtered
            raise Unknown
        self.width, self.first, self.largest, bits = struct.unpack("<HQQH", head[110:130])
        self.root, self.rows = struct.unpack("<QH", head[132:142])
        self.offset_bytes = (bits + 7) // 8
        self.length_bytes = (min(self.largest, struct.unpack("<I", head[10:14])[0]).bit_length() + 7) // 8
        self.blocks = self._blocks()

    def _blocks(self) -> list[tuple[int, int, int]]:
        """(offset in the heap, size, address) of the direct blocks."""
        if self.rows == 0:
            return [(0, self.first, self.root)]
        if not self.first or self.rows > 64 or not 0 < self.width <= 1024:
            raise Unknown
        found, offset = [], 0
        skip = 5 + 8 + self.offset_bytes
        data = self.walk.read(self.root, skip + self.rows * self.width * 8, self.shown)
        if data[:4] != b"FHIB":
            raise Damaged(f"a block of {self.shown} is none", self.walk.base + self.root)
        for row in range(self.rows):
            size = self.first << max(0, row - 1)
            for column in range(self.width):
                at = skip + (row * self.width + column) * 8
                if size <= self.largest:
                    found.append((offset, size, struct.unpack("<Q", data[at : at + 8])[0]))
                offset += size
        return found

    def object(self, identity: bytes) -> bytes:
        """The bytes that a heap id names; b"" for one that is not managed here."""
        if not identity or identity[0] & 0x30:  # huge or tiny
            return b""
        offset = int.from_bytes(identity[1 : 1 + self.offset_bytes], "little")
        length = int.from_bytes(identity[1 + self.offset_bytes : 1 + self.offset_bytes + self.length_bytes], "little")
        for begin, size, address in self.blocks:
            if begin <= offset < begin + size and address != UNDEFINED:
                if offset + length > begin + size:
                    raise Damaged(f"{self.shown} lead out of their block", self.walk.base + address)
                return self.walk.read(address + offset - begin, length, self.shown)
        return b""


def _link(body: bytes) -> tuple[str, int] | None:
    """(name, address) of a hard link (IV.A.2.g); None for others."""
    if len(body) < 4 or body[0] != 1:
        return None
    flags, at = body[1], 2
    kind = body[at] if flags & 8 else 0
    at += (1 if flags & 8 else 0) + (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(body[at : at + width], "little")
    name = body[at + width : at + width + length]
    place = body[at + width + length : at + width + length + 8]
    return (name.decode("utf-8", "replace"), struct.unpack("<Q", place)[0]) if kind == 0 and len(place) == 8 and len(name) == length else None


def _note(dataset: Dataset, kind: int, body: bytes, at: int) -> None:
    if kind == DATASPACE and len(body) >= 4:
        version, rank = body[0], body[1]
        skip = 8 if version == 1 else 4
        if version in (1, 2) and rank <= 32 and len(body) >= skip + rank * 8 and not (version == 2 and body[3] == 2):  # 2: a null dataspace
            dataset.shape = struct.unpack(f"<{rank}Q", body[skip : skip + rank * 8])
    elif kind == DATATYPE and len(body) >= 8:
        dataset.kind, dataset.width = KINDS.get(body[0] & 15, ""), struct.unpack("<I", body[4:8])[0]
    elif kind == LAYOUT and body:
        dataset.layout, dataset.at = body, at
    elif kind == FILTERS:
        dataset.filtered = True
    elif kind == EXTERNAL:
        dataset.external = True
