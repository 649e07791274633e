"""Commands as the shell at hand reads them, or the file that variables are kept in. They are written for POSIX with ``shlex.quote``; other shells end such
quotes elsewhere, and what is quoted may be anybody's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from diagnostics.case import Remedy
from diagnostics.causes import places
from diagnostics.causes.statements import Statement, Word, statements

Spoken = dict[str, Callable[[str], str]]  # by the kind of a part
FORMS = ("fish", "powershell", "cmd", *places.PLACES)
_SUDO = re.compile(r"(?:(?<=^)|(?<=[|;&] ))sudo (?=[a-z])")
_ODD = re.compile(r"[^\w@%+=:,./-]", re.ASCII)

# PowerShell ends a '…' at any of these as well (about_Quoting_Rules), and takes a doubled one for itself.
_CURLY = re.compile("([\u2018\u2019\u201a\u201b])")


def for_shell(remedy: Remedy, shell: str, root: bool = False) -> Remedy:
    """The remedy with its commands as ``shell`` takes them; ``shell`` may be a place where variables are kept (a Dockerfile). Who is ``root`` already needs no sudo."""
    run, check = (text.replace("\n", " ") for text in (remedy.run, remedy.check))
    run, check = (_SUDO.sub("", text) if root else text for text in (run, check))
    if shell not in FORMS:
        return replace(remedy, run=run, check=check)
    return replace(remedy, run=translated(run, shell), check=checked(check, shell))


def translated(text: str, shell: str) -> str:
    """A POSIX command for another shell or place."""
    parsed = statements(text)
    sets = any(item.kind in ("set", "unset") for item in parsed)
    if shell in places.PLACES:
        return places.written(parsed, shell) if sets else checked(text, shell)
    if all(item.kind == "opaque" for item in parsed):
        return command(text, shell)
    joiner = {"cmd": " & "}.get(shell, "; ")
    return joiner.join(_spoken(item, shell) for item in parsed)


def checked(text: str, shell: str) -> str:
    """The line that checks it, where it is to be run."""
    if shell == "notebook" and text:
        return f"!{text}"
    return text if shell in places.PLACES else command(text, shell)


def _spoken(item: Statement, shell: str) -> str:
    match item.kind:
        case "set":
            return (
                " & ".join(_set(name, word, shell) for name, word in item.pairs)
                if shell == "cmd"
                else "; ".join(_set(name, word, shell) for name, word in item.pairs)
            )
        case "unset":
            return (" & " if shell == "cmd" else "; ").join(_unset(name, shell) for name in item.names)
        case "join":
            return _join(item, shell)
        case "folder":
            return (
                "; ".join(f"New-Item -ItemType Directory -Force {_powershell(word)}" for word in item.words)
                if shell == "powershell"
                else (
                    " & ".join(f"mkdir {_cmd(word)}" for word in item.words) if shell == "cmd" else "mkdir -p " + " ".join(_fish(word) for word in item.words)
                )
            )
    return command(item.raw, shell)


def _set(name: str, word: Word, shell: str) -> str:
    if shell == "fish":
        return f"set -x {name} {_fish(word)}"
    if shell == "powershell":
        return f"$env:{name} = {_powershell(word)}"
    return f'set "{name}={_within_cmd(word)}"'


def _unset(name: str, shell: str) -> str:
    return f"set -e {name}" if shell == "fish" else f"Remove-Item Env:{name}" if shell == "powershell" else f'set "{name}="'


def _join(item: Statement, shell: str) -> str:
    """Files one after another into a new one, byte for byte where the shell can."""
    if shell == "fish":
        return f"cat {' '.join(_fish(word) for word in item.words)} > {_fish(item.into)}"
    if shell == "powershell":  # ASCII: ">" of PowerShell 5 writes UTF-16, which nothing reads
        return f"Get-Content {', '.join(_powershell(word) for word in item.words)} | Set-Content -Encoding ascii {_powershell(item.into)}"
    output = next((part.text for word in item.words for part in word if part.kind == "output"), "")
    files = " + ".join('"%i"' if any(part.kind == "output" for part in word) else _cmd(word) for word in item.words)
    copy = f"copy /b {files} {_cmd(item.into)}"
    return f"for /f \"delims=\" %i in ('{output}') do {copy}" if output else copy


def _fish(word: Word) -> str:
    """fish has no ``$(…)`` before 3.4: ``(…)`` works in all; ``${X#*://}`` is ``string replace``."""
    shown: Spoken = {
        "text": lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'" if _ODD.search(text) else text,
        "variable": lambda text: f'"${text}"',
        "bare-url": lambda text: f"(string replace -r '^.*?://' '' \"${text}\")",
        "output": lambda text: f"({text})",
    }
    return "".join(shown[part.kind](part.text) for part in word) or "''"


def _powershell(word: Word) -> str:
    if all(part.kind == "text" for part in word):
        return "'" + _CURLY.sub(r"\1\1", "".join(part.text for part in word).replace("'", "''")) + "'"
    if len(word) == 1 and word[0].kind == "output":
        return f"({word[0].text})"
    shown: Spoken = {
        "text": lambda text: re.sub('([`$"\u201c\u201d\u201e])', r"`\1", text),
        "variable": lambda text: f"${text}" if text in ("HOME", "PWD") else f"$env:{text}",
        "bare-url": lambda text: f"$($env:{text} -replace '^.*?://')",
        "output": lambda text: f"$({text})",
    }
    return '"' + "".join(shown[part.kind](part.text) for part in word) + '"'


def _cmd(word: Word) -> str:
    return f'"{_within_cmd(word)}"'


def _within_cmd(word: Word) -> str:
    """What stands between double quotes; a URL's scheme goes by substitution."""
    shown: Spoken = {
        "text": lambda text: text.replace('"', "").replace("%", "%%"),
        "variable": lambda text: {"PWD": "%CD%", "HOME": "%USERPROFILE%"}.get(text, f"%{text}%"),
        "bare-url": lambda text: f"%{text}:*://=%",
        "output": lambda text: "",
    }
    return "".join(shown[part.kind](part.text) for part in word)


def variable_name(name: str) -> str:
    """The name of a variable as a command may hold it bare: a foreign report may call one anything."""
    return re.sub(r"\W", "", name, flags=re.ASCII) or "VARIABLE"


def number(text: str, otherwise: str = "0") -> str:
    """A number that goes into a command bare, ``otherwise`` where it is none."""
    return text if re.fullmatch(r"[0-9]{1,18}", text) else otherwise


def command(text: str, shell: str) -> str:
    """One command.

    fish reads ``\\'`` and ``\\\\`` within single quotes (fish-doc, Quotes): a backslash goes outside of them.
    cmd knows no single quotes at all: double ones, in which ``& | < > ^`` mean nothing.
    """
    if shell == "powershell":
        return _CURLY.sub(r"\1\1", text)
    return "".join(_single(part, shell) if quoted else part for part, quoted in _parts(text, escapes=shell != "cmd"))


def _single(part: str, shell: str) -> str:
    """What stands within single quotes, with its quotes."""
    if shell == "fish":
        return "'" + part.replace("\\", "'\\\\'") + "'"
    return '"' + part.replace('"', "").replace("%", "%%") + '"'


def _parts(text: str, escapes: bool) -> Iterator[tuple[str, bool]]:
    """Pieces of a POSIX command, and whether each stood within single quotes; double quotes and backslashes are respected."""
    plain, position, double = "", 0, False
    while position < len(text):
        char = text[position]
        if char == "'" and not double and (end := text.find("'", position + 1)) >= 0:
            yield plain, False
            yield text[position + 1 : end], True
            plain, position = "", end + 1
            continue
        step = 2 if escapes and char == "\\" else 1
        double ^= char == '"'
        plain += text[position : position + step]
        position += step
    yield plain, False
