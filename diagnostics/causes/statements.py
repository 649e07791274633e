"""A remedy's command, which is written for POSIX, taken apart: which variables it sets, which it takes away, which files it joins, and what is left as it is.

Only what our own remedies are written in is understood (POSIX.1-2024, Shell Command Language 2.2, 2.3); every other statement stays opaque.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

PartKind = Literal["text", "variable", "bare-url", "output"]
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_STRIPPED = re.compile(r"\$\{([A-Za-z_]\w*)#\*://\}", re.ASCII)
_VARIABLE = re.compile(r"\$([A-Za-z_]\w*)", re.ASCII)
_JOINERS = ("&&", ";")


@dataclass(frozen=True)
class Part:
    """A piece of a word. ``text``: as it is; ``variable``: that variable's value; ``bare-url``: the same without ``scheme://``; ``output``: a command's output."""

    kind: PartKind
    text: str


Word = tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One simple command. ``kind`` is what a shell that is not POSIX has to know; ``raw`` is the text."""

    kind: Literal["set", "unset", "join", "folder", "opaque"]
    raw: str
    pairs: tuple[tuple[str, Word], ...] = ()  # set
    names: tuple[str, ...] = ()  # unset
    words: tuple[Word, ...] = ()  # join: the files; folder: the folders
    into: Word = ()  # join: the file that is written


class _Opaque(Exception):
    """Syntax that is none of ours to translate."""


def statements(text: str) -> list[Statement]:
    """The statements of a command in order; they are joined by ``;`` or ``&&``, which makes no difference to the ones understood here."""
    return [_statement(raw.strip()) for raw in _split(text) if raw.strip()]


def _split(text: str) -> Iterator[str]:
    """At ``;`` and ``&&`` outside of quotes and ``$(…)``. An ``||`` or ``|`` or ``(`` makes the whole text one opaque statement."""
    start, position, quote, depth = 0, 0, "", 0
    pieces = []
    while position < len(text):
        char = text[position]
        if char == "\\" and quote != "'":
            position += 2
            continue
        if quote:
            quote = "" if char == quote and not depth else quote
        elif char in "'\"":
            quote = char
        if text.startswith("$(", position) and quote != "'":
            end = text.find(")", position)
            position = end if end > 0 else position
        elif not quote and (joiner := next((joiner for joiner in _JOINERS if text.startswith(joiner, position)), "")):
            pieces.append(text[start:position])
            position += len(joiner)
            start = position
            continue
        elif not quote and (text.startswith("||", position) or char in "()"):
            yield text
            return
        position += 1
    yield from (*pieces, text[start:])


def _statement(raw: str) -> Statement:
    opaque = Statement(kind="opaque", raw=raw)
    try:
        words = _words(raw)
    except _Opaque:
        return opaque
    head = _plain(words[0]) if words else ""
    if head == "export" and len(words) > 1:
        pairs = tuple(_assignment(word) for word in words[1:])
        return Statement(kind="set", raw=raw, pairs=tuple(pair for pair in pairs if pair)) if all(pairs) else opaque
    if head == "unset" and len(words) > 1 and all(_NAME.fullmatch(_plain(word)) for word in words[1:]):
        return Statement(kind="unset", raw=raw, names=tuple(_plain(word) for word in words[1:]))
    if head == "cat" and len(words) > 3 and _plain(words[-2]) == ">":
        return Statement(kind="join", raw=raw, words=tuple(words[1:-2]), into=words[-1])
    if head == "mkdir" and len(words) > 2 and _plain(words[1]) == "-p":
        return Statement(kind="folder", raw=raw, words=tuple(words[2:]))
    return opaque


def _plain(word: Word) -> str:
    """The word's text; "" where it is more than text."""
    return "".join(part.text for part in word) if all(part.kind == "text" for part in word) else ""


def _assignment(word: Word) -> tuple[str, Word] | None:
    first = word[0] if word else None
    name, equals, rest = first.text.partition("=") if first and first.kind == "text" else ("", "", "")
    if not equals or not _NAME.fullmatch(name):
        return None
    return name, ((Part("text", rest),) if rest else ()) + word[1:]


def _words(raw: str) -> list[Word]:
    """Raises _Opaque for anything that expands, pipes or redirects in another way than ``>`` alone."""
    words: list[list[Part]] = []
    fresh, position = True, 0
    while position < len(raw):
        char = raw[position]
        if char == " ":
            fresh, position = True, position + 1
            continue
        if fresh:
            words.append([])
        parts, position = _piece(raw, position, fresh)
        words[-1] += parts
        fresh = False
    return [_merged(word) for word in words]


def _piece(raw: str, position: int, first: bool) -> tuple[list[Part], int]:
    char = raw[position]
    if char == "'":
        end = _found(raw, "'", position + 1)
        return [Part("text", raw[position + 1 : end])], end + 1
    if char == '"':
        end = _end_of_double(raw, position + 1)
        return list(_expanded(raw[position + 1 : end])), end + 1
    if char == "~" and first and raw[position + 1 : position + 2] in ("/", "", " "):
        return [Part("variable", "HOME")], position + 1
    if char == "\\" and position + 1 < len(raw):
        return [Part("text", raw[position + 1])], position + 2
    if char == ">" and raw[position + 1 : position + 2] == " ":
        return [Part("text", ">")], position + 1
    if char in "*?[]{}|&<>()`$#!;":
        raise _Opaque
    return [Part("text", char)], position + 1


def _found(text: str, what: str, start: int) -> int:
    end = text.find(what, start)
    if end < 0:
        raise _Opaque
    return end


def _end_of_double(raw: str, position: int) -> int:
    """The closing double quote, not one within ``$(…)``."""
    while position < len(raw):
        if raw.startswith("$(", position):
            position = _found(raw, ")", position)
        elif raw[position] == '"':
            return position
        elif raw[position] in "\\`":
            raise _Opaque
        position += 1
    raise _Opaque


def _expanded(text: str) -> Iterator[Part]:
    """What stands within double quotes."""
    position = 0
    while position < len(text):
        if text[position] != "$":
            end = text.find("$", position)
            end = len(text) if end < 0 else end
            yield Part("text", text[position:end])
            position = end
        elif text.startswith("$(", position):
            end = _found(text, ")", position)
            yield Part("output", text[position + 2 : end])
            position = end + 1
        elif match := _STRIPPED.match(text, position):
            yield Part("bare-url", match[1])
            position = match.end()
        elif match := _VARIABLE.match(text, position):
            yield Part("variable", match[1])
            position = match.end()
        else:
            raise _Opaque


def _merged(parts: list[Part]) -> Word:
    found: list[Part] = []
    for part in parts:
        if found and part.kind == "text" and found[-1].kind == "text":
            found[-1] = Part("text", found[-1].text + part.text)
        else:
            found.append(part)
    return tuple(found)
