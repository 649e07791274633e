"""flax's msgpack (flax/serialization.py): nested maps of arrays; an array is an extension of type 1 that holds shape, dtype and bytes. Lengths are walked."""

from __future__ import annotations

from diagnostics.probes.formats.reading import Broken, Bytes, Cursor, EndOfFile, Look, Tensor, damaged, promised, trailing, zero_filled, zeros_from
from diagnostics.redact import plain

MOST_VALUES = 2_000_000
DEEPEST = 40
MOST_KEY = 1000
_DTYPES = {
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float64": "F64",
    "int64": "I64",
    "int32": "I32",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}

# First byte → what follows, in struct's notation
_NUMBERS = dict(zip(range(0xCC, 0xD4), "BHIQbhiq", strict=True))
_TEXTS = dict(zip((0xD9, 0xDA, 0xDB), "BHI", strict=True))
_ARRAYS = {0xDC: "H", 0xDD: "I"}
_MAPS = {0xDE: "H", 0xDF: "I"}
_BYTES = dict(zip((0xC4, 0xC5, 0xC6), "BHI", strict=True))
_EXTENSIONS = dict(zip((0xC7, 0xC8, 0xC9), "BHI", strict=True))
_SKIPPED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}


def look_at_msgpack(file: Bytes) -> Look:
    """One value from beginning to end."""
    walk = _Walk(file)
    try:
        walk.value("", 0)
    except EndOfFile as end:
        start = zeros_from(file)
        if start is not None and file.size - start >= 4096:
            return Look("msgpack", (zero_filled(start, file.size),))
        return Look("msgpack", (promised(file, end.need, "a value of it ends at"),))
    except Broken as broken:
        return Look("msgpack", (damaged(str(broken)),))
    if walk.cursor.at < file.size:
        return Look("msgpack", (trailing(file, walk.cursor.at),), walk.cursor.at, walk.tensors)
    return Look("msgpack", (), walk.cursor.at, walk.tensors)


class _Walk:
    """msgpack's own types (https://github.com/msgpack/msgpack/blob/master/spec.md); tensors are kept by their path."""

    def __init__(self, file: Bytes) -> None:
        self.cursor, self.count = Cursor(file, order=">"), 0
        self.tensors: dict[str, Tensor] = {}

    def value(self, path: str, depth: int) -> object:
        """A number or a text; of anything else only that it was there."""
        self.count += 1
        if depth > DEEPEST or self.count > MOST_VALUES:
            raise Broken("it is nested deeper or holds more than such a file does")
        code = self.cursor.take(1)[0]
        if code < 0x80 or code >= 0xE0:
            return code if code < 0x80 else code - 256
        if code < 0xC0:
            return self._short(code, path, depth)
        if code in _NUMBERS:
            return self.cursor.number(_NUMBERS[code])
        if code in _TEXTS:
            return self._text(self.cursor.number(_TEXTS[code]))
        if code in _ARRAYS:
            return self._array(self.cursor.number(_ARRAYS[code]), path, depth)
        self._nameless(code, path, depth)
        return None

    def _short(self, code: int, path: str, depth: int) -> object:
        """Maps, arrays and texts that hold their length in their first byte."""
        if code >= 0xA0:
            return self._text(code & 31)
        if code >= 0x90:
            return self._array(code & 15, path, depth)
        self._map(code & 15, path, depth)
        return None

    def _nameless(self, code: int, path: str, depth: int) -> None:
        """What is walked over: maps, bytes, extensions, floats, nil, true, false."""
        if code in _MAPS:
            self._map(self.cursor.number(_MAPS[code]), path, depth)
        elif code in _BYTES:
            self.cursor.skip(self.cursor.number(_BYTES[code]))
        elif code in _EXTENSIONS:
            self._extension(self.cursor.number(_EXTENSIONS[code]), path, depth)
        elif code in _SKIPPED:
            self.cursor.skip(_SKIPPED[code])
        else:
            raise Broken(f"there is no value of kind {code:#04x}, at byte {self.cursor.at - 1}")

    def _text(self, length: int) -> str:
        if length > MOST_KEY:
            self.cursor.skip(length)
            return ""
        return plain(self.cursor.take(length), MOST_KEY)

    def _map(self, count: int, path: str, depth: int) -> None:
        for _ in range(count):
            key = self.value("", depth + 1)
            self.value(f"{path}.{key}" if path else str(key), depth + 1)

    def _array(self, count: int, path: str, depth: int) -> tuple[object, ...]:
        found = [self.value(path, depth + 1) for _ in range(min(count, 64))]
        for _ in range(count - len(found)):
            self.value(path, depth + 1)
        return tuple(found)

    def _extension(self, length: int, path: str, depth: int) -> None:
        """An array of flax: (shape, dtype, bytes) as msgpack within."""
        kind, begin = self.cursor.take(1)[0], self.cursor.at
        if begin + length > self.cursor.end:
            raise EndOfFile(begin + length)
        if kind == 1 and self.cursor.take(1)[0] == 0x93:
            shape, dtype = self.value("", depth + 1), self.value("", depth + 1)
            if isinstance(shape, tuple) and all(isinstance(number, int) for number in shape) and isinstance(dtype, str):
                self.tensors[plain(path, 300)] = Tensor(shape, _DTYPES.get(dtype, dtype))
        self.cursor.at = begin
        self.cursor.skip(length)
