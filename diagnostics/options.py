"""The options of a diagnostic run, from the command line or the ini file; a bad value is one sentence."""

from __future__ import annotations

import datetime
import difflib
import math
import re
import shlex
import shutil
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import pytest

from diagnostics.case import Shell
from diagnostics.waivers import Waiver, parse_waiver

DigestMode = Literal["auto", "none", "all"]
DIGESTS: tuple[DigestMode, ...] = ("auto", "none", "all")
ShellChoice = Literal["auto"] | Shell
SHELLS: tuple[ShellChoice, ...] = ("auto", *get_args(Shell))
Choice = TypeVar("Choice", DigestMode, ShellChoice)


@dataclass(frozen=True, kw_only=True)
class Options:
    spec: str = ""
    report: str = ""
    timeout: float = 30.0
    digests: DigestMode = "auto"
    files: tuple[str, ...] = ()
    python: str = ""
    json: str = ""
    plan: bool = False
    anonymize: bool = False
    waivers: tuple[Waiver, ...] = ()
    explain: str = ""
    error: str = ""
    case: str = ""
    against: str = ""
    manifest: str = ""
    repair: bool = False
    repair_from: str = ""
    load: bool = False
    load_seconds: float = 600.0
    load_memory: int = 0  # bytes; 0 for what can be had
    load_command: str = ""
    shell: ShellChoice = "auto"
    save_ca: str = ""


def read(config: pytest.Config) -> Options:
    """Raises pytest.UsageError, in one sentence, for a value that cannot be used."""
    return Options(
        spec=_text(config, "diagnose"),
        report=_text(config, "diagnose_report"),
        timeout=_seconds(_text(config, "diagnose_timeout"), "--diagnose-timeout", 30.0, 3600),
        digests=_choice("--diagnose-digests", _text(config, "diagnose_digests"), DIGESTS),
        files=tuple(part.strip() for part in _text(config, "diagnose_files").split(",") if part.strip()),
        python=_text(config, "diagnose_python"),
        json=_text(config, "diagnose_json"),
        plan=_flag(config, "diagnose_plan"),
        anonymize=_flag(config, "diagnose_anonymize"),
        waivers=tuple(_waiver(text) for text in (*config.getini("diagnose_waive"), *(config.getoption("diagnose_waive") or ()))),
        explain=config.getoption("diagnose_explain") or "",
        error=_text(config, "diagnose_error"),
        case=_text(config, "diagnose_case"),
        against=_text(config, "diagnose_against"),
        manifest=_text(config, "diagnose_manifest"),
        repair=_flag(config, "diagnose_repair") or bool(config.getoption("diagnose_repair_from")),
        repair_from=_text(config, "diagnose_repair_from"),
        load=_flag(config, "diagnose_load") or bool(_text(config, "diagnose_load_command")),
        load_seconds=_seconds(_text(config, "diagnose_load_timeout"), "--diagnose-load-timeout", 600.0, 86400),
        load_memory=_bytes(_text(config, "diagnose_load_memory")),
        load_command=_command(_text(config, "diagnose_load_command")),
        shell=_choice("--diagnose-shell", _text(config, "diagnose_shell"), SHELLS),
        save_ca=_text(config, "diagnose_save_ca"),
    )


def _text(config: pytest.Config, name: str) -> str:
    value = config.getoption(name)
    return str(value if value is not None else config.getini(name) or "")


def _flag(config: pytest.Config, name: str) -> bool:
    value = config.getoption(name)
    if value is not None:
        return bool(value)
    text = str(config.getini(name) or "").strip().lower()
    if text not in ("", "0", "1", "true", "false", "yes", "no", "on", "off"):
        raise pytest.UsageError(f"{name} is “{shown(text)}”: say true or false")
    return text in ("1", "true", "yes", "on")


def _seconds(text: str, option: str, default: float, most: int) -> float:
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.5 <= seconds <= most:
        raise pytest.UsageError(f"{option} is “{shown(text)}”: give seconds between 0.5 and {most}")
    return seconds


def _bytes(text: str) -> int:
    """``4G``, ``512M``, ``800000000``; 0 for none. Decimal, as the report's sizes are."""
    if not text:
        return 0
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kKMGT]?)(i?)B?", text.strip())
    count = float(match[1]) * (1024 if match[3] else 1000) ** " KMGT".index(match[2].upper() or " ") if match else 0
    if not 1 << 24 <= count <= 1 << 50:
        raise pytest.UsageError(f"--diagnose-load-memory is “{shown(text)}”: give bytes, as in 4G or 800M, 17M at least")
    return int(count)


def _command(text: str) -> str:
    """As a shell would split it; it has to be there."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise pytest.UsageError(f"--diagnose-load-command “{shown(text)}”: {error}") from None
    if words and shutil.which(words[0]) is None:
        raise pytest.UsageError(f"--diagnose-load-command: there is no program “{shown(words[0])}” to run")
    return text if words else ""


def _choice(option: str, text: str, choices: tuple[Choice, ...]) -> Choice:
    for choice in choices:
        if choice == (text.strip().lower() or "auto"):
            return choice
    near = difflib.get_close_matches(text.lower(), choices, 1, 0.6)
    hint = f"did you mean {near[0]}? It is" if near else "say"
    raise pytest.UsageError(f"{option} is “{shown(text)}”: {hint} one of {', '.join(choices)}")


def _waiver(text: str) -> Waiver:
    try:
        return parse_waiver(text, datetime.date.today())
    except ValueError as error:
        raise pytest.UsageError(f"--diagnose-waive “{shown(text)}”: {error}") from None


def shown(text: str) -> str:
    from diagnostics.redact import plain

    return plain(text, 80)
