"""The options of a diagnostic run, from the command line or the ini file; a bad value is one sentence."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import Literal

import pytest

from diagnostics.waivers import Waiver, parse_waiver

DigestMode = Literal["auto", "none", "all"]
DIGESTS: tuple[DigestMode, ...] = ("auto", "none", "all")


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


def read(config: pytest.Config) -> Options:
    """Raises pytest.UsageError, in one sentence, for a value that cannot be used."""
    return Options(
        spec=_text(config, "diagnose"),
        report=_text(config, "diagnose_report"),
        timeout=_seconds(_text(config, "diagnose_timeout")),
        digests=_choice(_text(config, "diagnose_digests")),
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


def _seconds(text: str) -> float:
    if not text:
        return 30.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.5 <= seconds <= 3600:
        raise pytest.UsageError(f"--diagnose-timeout is “{shown(text)}”: give seconds between 0.5 and 3600")
    return seconds


def _choice(text: str) -> DigestMode:
    for mode in DIGESTS:
        if mode == (text or "auto"):
            return mode
    raise pytest.UsageError(f"--diagnose-digests is “{shown(text)}”: say one of {', '.join(DIGESTS)}")


def _waiver(text: str) -> Waiver:
    try:
        return parse_waiver(text, datetime.date.today())
    except ValueError as error:
        raise pytest.UsageError(f"--diagnose-waive “{shown(text)}”: {error}") from None


def shown(text: str) -> str:
    from diagnostics.redact import plain

    return plain(text, 80)
