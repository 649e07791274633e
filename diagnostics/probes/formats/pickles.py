"""Pickles, read by their opcodes and never executed: what they would import, and which tensors they describe.

Python's pickle protocol 0-5 (CPython Lib/pickletools.py); what ``torch.load(weights_only=True)`` takes is data, ``facts/pickles.toml``.
Nothing is called, imported or hashed but strings; every value costs a constant. ``Scan.end`` tells whether the STOP opcode was reached.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from diagnostics.redact import plain

MOST_OPCODES = 1_500_000
MOST_GLOBALS = 1000


class Broken(ValueError):
    """It is no pickle from here on."""


class Short(ValueError):
    """The pickle goes on behind the bytes given."""


@dataclass(frozen=True)
class Global:
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Made:
    """What a call would give: the callable and its arguments."""

    what: Any
    arguments: Any


@dataclass
class Stored:
    """A persistent id: torch's ("storage", type, key, location, numel)."""

    value: Any


class _Mark:
    pass


@dataclass
class Scan:
    """What one pickle would do. ``end`` is where it stops; ``error`` where it does not."""

    globals: dict[Global, bool] = field(default_factory=dict)  # → whether it is called
    value: Any = None
    end: int = -1
    error: str = ""
    short: bool = False
    at: int = 0


def scan(data: bytes, at: int = 0) -> Scan:
    """Read one pickle from ``at``. Never raises for what is in it."""
    machine = _Machine(data, at)
    try:
        machine.run()
    except Short:
        machine.result.short, machine.result.error = True, "it breaks off before its end"
    except Broken as error:
        machine.result.error = plain(str(error), 120)
    machine.result.at = machine.at
    return machine.result


class _Machine:
    """The unpickler's stack, with every call left undone."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at, self.start = data, at, at
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.result = Scan()

    def run(self) -> None:
        for _ in range(MOST_OPCODES):
            code = self.take(1)[0]
            if code == 0x2E:  # STOP
                self.result.end = self.at
                self.result.value = self.stack[-1] if self.stack else None
                return
            action = _ACTIONS.get(code)
            if action is None:
                raise Broken(f"no opcode {code:#04x}, at byte {self.at - 1 - self.start}")
            action(self)
        raise Broken("it is longer than is read")

    def take(self, count: int) -> bytes:
        found = self.data[self.at : self.at + count]
        if len(found) < count:
            raise Short
        self.at += count
        return found

    def number(self, form: str) -> int:
        found: int = struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]
        return found

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise Short
        found, self.at = self.data[self.at : end], end + 1
        return found

    def counted(self, form: str) -> bytes:
        count = self.number(form)
        if count < 0:
            raise Broken("a length below zero")
        return self.take(count)

    def pop(self) -> Any:
        if not self.stack:
            raise Broken("it takes more from its stack than it put there")
        return self.stack.pop()

    def top(self) -> Any:
        return self.stack[-1] if self.stack else None

    def to_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[index], _Mark):
                found = self.stack[index + 1 :]
                del self.stack[index:]
                return found
        raise Broken("a mark is missing on its stack")

    def imports(self, module: Any, name: Any) -> None:
        known = isinstance(module, str) and isinstance(name, str)
        found = Global(plain(module, 200), plain(name, 200)) if known else Global("?", "?")
        if len(self.result.globals) < MOST_GLOBALS:
            self.result.globals.setdefault(found, False)
        self.stack.append(found)

    def call(self, what: Any, arguments: Any) -> None:
        if isinstance(what, Global) and what in self.result.globals:
            self.result.globals[what] = True
        plain_dict = isinstance(what, Global) and str(what) == "collections.OrderedDict"
        self.stack.append({} if plain_dict else Made(what, arguments))


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Broken("a text in it is no UTF-8") from None


def _push(read: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    def action(machine: _Machine) -> None:
        machine.stack.append(read(machine))

    return action


def _line_number(machine: _Machine) -> Any:
    raw = machine.line().rstrip(b"L")
    try:
        return int(raw) if len(raw) < 100 else None
    except ValueError:
        raise Broken("a number in it cannot be read") from None


def _long(machine: _Machine, form: str) -> Any:
    raw = machine.counted(form)
    return int.from_bytes(raw, "little", signed=True) if len(raw) < 64 else None


def _global(machine: _Machine) -> None:
    module, name = machine.line(), machine.line()
    machine.imports(_text(module), _text(name))


def _stack_global(machine: _Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.imports(module, name)


def _extension(form: str) -> Callable[[_Machine], None]:
    def action(machine: _Machine) -> None:
        machine.imports("copyreg", f"extension {machine.number(form)}")

    return action


def _reduce(machine: _Machine) -> None:
    arguments, what = machine.pop(), machine.pop()
    machine.call(what, arguments)


def _new_with_keywords(machine: _Machine) -> None:
    _, arguments, what = machine.pop(), machine.pop(), machine.pop()
    machine.call(what, arguments)


def _instance(machine: _Machine) -> None:
    module, name = machine.line(), machine.line()
    arguments = tuple(machine.to_mark())
    machine.imports(_text(module), _text(name))
    machine.call(machine.pop(), arguments)


def _object(machine: _Machine) -> None:
    members = machine.to_mark()
    if not members:
        raise Broken("an object without a class")
    machine.call(members[0], tuple(members[1:]))


def _build(machine: _Machine) -> None:
    """State for the object below: of a module (a whole pickled model) it holds the parameters."""
    state, owner = machine.pop(), machine.top()
    if isinstance(owner, Made) and isinstance(state, dict | tuple):
        owner.arguments = (owner.arguments, state)


def _append(machine: _Machine) -> None:
    value, owner = machine.pop(), machine.top()
    if isinstance(owner, list):
        owner.append(value)


def _appends(machine: _Machine) -> None:
    values, owner = machine.to_mark(), machine.top()
    if isinstance(owner, list):
        owner.extend(values)


def _set_item(machine: _Machine) -> None:
    value, key, owner = machine.pop(), machine.pop(), machine.top()
    _put(owner, key, value)


def _set_items(machine: _Machine) -> None:
    values, owner = machine.to_mark(), machine.top()
    for index in range(0, len(values) - 1, 2):
        _put(owner, values[index], values[index + 1])


def _put(owner: Any, key: Any, value: Any) -> None:
    if isinstance(owner, dict) and isinstance(key, str | int):  # others are not hashed: a deep tuple's hash would recurse
        owner[key] = value


def _dict(machine: _Machine) -> None:
    values: dict[Any, Any] = {}
    members = machine.to_mark()
    for index in range(0, len(members) - 1, 2):
        _put(values, members[index], members[index + 1])
    machine.stack.append(values)


def _duplicate(machine: _Machine) -> None:
    value = machine.pop()
    machine.stack += [value, value]


def _tuple_of(count: int) -> Callable[[_Machine], None]:
    def action(machine: _Machine) -> None:
        members = [machine.pop() for _ in range(count)]
        machine.stack.append(tuple(reversed(members)))

    return action


def _get(read: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    def action(machine: _Machine) -> None:
        key = read(machine)
        if key not in machine.memo:
            raise Broken("it asks for something that it never kept")
        machine.stack.append(machine.memo[key])

    return action


def _keep(read: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    def action(machine: _Machine) -> None:
        key = read(machine)
        if not machine.stack:
            raise Broken("it keeps what is not there")
        machine.memo[key] = machine.top()

    return action


def _skip(count: int) -> Callable[[_Machine], None]:
    def action(machine: _Machine) -> None:
        machine.take(count)

    return action


def _drop(machine: _Machine) -> None:
    machine.pop()


def _drop_to_mark(machine: _Machine) -> None:
    machine.to_mark()


_ACTIONS: Mapping[int, Callable[[_Machine], None]] = {
    ord("("): _push(lambda machine: _Mark()),
    ord("0"): _drop,
    ord("1"): _drop_to_mark,
    ord("2"): _duplicate,
    ord("F"): _push(lambda machine: machine.line() and None),
    ord("I"): _push(lambda machine: _line_number(machine)),
    ord("J"): _push(lambda machine: machine.number("i")),
    ord("K"): _push(lambda machine: machine.number("B")),
    ord("L"): _push(lambda machine: _line_number(machine)),
    ord("M"): _push(lambda machine: machine.number("H")),
    ord("N"): _push(lambda machine: None),
    ord("P"): _push(lambda machine: Stored(machine.line())),
    ord("Q"): _push(lambda machine: Stored(machine.pop())),
    ord("R"): _reduce,
    ord("S"): _push(lambda machine: _text(machine.line()).strip("'\"")),
    ord("T"): _push(lambda machine: machine.counted("i")),
    ord("U"): _push(lambda machine: machine.counted("B")),
    ord("V"): _push(lambda machine: _text(machine.line())),
    ord("X"): _push(lambda machine: _text(machine.counted("I"))),
    ord("a"): _append,
    ord("b"): _build,
    ord("c"): _global,
    ord("d"): _dict,
    ord("e"): _appends,
    ord("g"): _get(lambda machine: _line_number(machine)),
    ord("h"): _get(lambda machine: machine.number("B")),
    ord("j"): _get(lambda machine: machine.number("I")),
    ord("i"): _instance,
    ord("l"): _push(lambda machine: list(machine.to_mark())),
    ord("o"): _object,
    ord("p"): _keep(lambda machine: _line_number(machine)),
    ord("q"): _keep(lambda machine: machine.number("B")),
    ord("r"): _keep(lambda machine: machine.number("I")),
    ord("s"): _set_item,
    ord("t"): _push(lambda machine: tuple(machine.to_mark())),
    ord("u"): _set_items,
    ord("}"): _push(lambda machine: {}),
    ord("]"): _push(lambda machine: []),
    ord(")"): _push(lambda machine: ()),
    ord("B"): _push(lambda machine: machine.counted("I")),
    ord("C"): _push(lambda machine: machine.counted("B")),
    ord("G"): _push(lambda machine: machine.take(8) and None),
    0x80: _skip(1),
    0x81: _reduce,
    0x82: _extension("B"),
    0x83: _extension("H"),
    0x84: _extension("i"),
    0x85: _tuple_of(1),
    0x86: _tuple_of(2),
    0x87: _tuple_of(3),
    0x88: _push(lambda machine: True),
    0x89: _push(lambda machine: False),
    0x8A: _push(lambda machine: _long(machine, "B")),
    0x8B: _push(lambda machine: _long(machine, "i")),
    0x8C: _push(lambda machine: _text(machine.counted("B"))),
    0x8D: _push(lambda machine: _text(machine.counted("Q"))),
    0x8E: _push(lambda machine: machine.counted("Q")),
    0x8F: _push(lambda machine: []),
    0x90: _appends,
    0x91: _push(lambda machine: machine.to_mark()),
    0x92: _new_with_keywords,
    0x93: _stack_global,
    0x94: _keep(lambda machine: len(machine.memo)),
    0x95: _skip(8),
    0x96: _push(lambda machine: machine.counted("Q")),
    0x97: _push(lambda machine: None),
    0x98: lambda machine: None,
}
