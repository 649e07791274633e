"""Commands as the shell at hand reads them. They are written for POSIX with ``shlex.quote``; other shells end such quotes elsewhere, and what is quoted may be anybody's."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diagnostics.case import Remedy

# PowerShell ends a '…' at any of these as well (about_Quoting_Rules), and takes a doubled one for itself.
_CURLY = re.compile("([\u2018\u2019\u201a\u201b])")


def for_shell(remedy: Remedy, shell: str) -> Remedy:
    """The remedy with its commands safe to paste into ``shell``."""
    if shell not in ("fish", "powershell", "cmd"):
        return remedy
    return Remedy(do=remedy.do, run=command(remedy.run, shell), check=command(remedy.check, shell), proof=remedy.proof)


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
