"""What the keeper saw, as a record: how the load ended, who ended it, and what it said. Texts are cleaned here."""

from __future__ import annotations

import json
import re
import signal
from typing import Any, Literal

from diagnostics import errors, redact
from diagnostics.case import ABSENT, NOT_ASKED, Clues, Trial, Unseen
from diagnostics.trial.plan import Plan
from diagnostics.trial.process import Bounds, Ending

CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGABRT, signal.SIGFPE} if hasattr(signal, "SIGBUS") else set[signal.Signals]())
# What faulthandler and shells write of a process that crashed (Python Modules/faulthandler.c; strsignal(3)), and the exit status by which a shell passes it on.
WORDS = {"Segmentation fault": 11, "Bus error": 7, "Illegal instruction": 4, "Aborted": 6, "Floating point exception": 8, "Floating-point exception": 8}
MOST_LINES, MOST_TRACEBACK, MOST_FRAMES, MOST_LINE = 20, 30, 8, 400
_FRAME = re.compile(r'^\s+File "([^"]+)", line (\d+) in (\S+)$')
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
Killer = Literal["", "limit", "above", "host", "watch", "dry"]
Outcome = Literal["loaded", "raised", "failed", "killed", "crashed", "hung", "not_started"]


def trial_of(plan: Plan, ending: Ending, bounds: Bounds, source: str, secrets: redact.Secrets, spec: str) -> Trial | Unseen:
    """The record of a load that ended. ``source`` says where the limit on memory comes from."""
    if ending.lost:
        return Unseen("unsupported", f"the process that watched over the load was itself ended (signal {ending.lost}); all of it was cleaned up")
    said = _said(ending.said)
    outcome, killer, number = _how(plan, ending, said)
    raised = said.get("raised", {})
    traceback = str(raised.get("text", ""))
    first = _chain(raised)[-1:] if len(_chain(raised)) > 1 else []
    return plan.trial(
        outcome=outcome,
        step=_step(said, secrets),
        error=secrets.clean(str(raised.get("type", "")), 80),
        message=_message(raised, ending, secrets),
        first_error=secrets.clean(f"{first[0].get('type')}: {first[0].get('text')}", 600) if first else "",
        traceback=_lines(traceback, MOST_TRACEBACK, secrets),
        frames=_frames(ending.output) if outcome in ("hung", "crashed") else (),
        exit_status=ending.exit_status if ending.exit_status is not None else ABSENT,
        signal=number,
        killer=killer,
        memory_limit_bytes=bounds.memory_bytes,
        memory_limit_source=source,
        bounded_by="control group" if ending.group else "watching",
        peak_bytes=ending.group_peak_bytes if killer == "limit" else ending.peak_bytes,  # as whoever ended it counts
        seconds=round(ending.seconds, 3),
        limit_seconds=bounds.seconds,
        output=_lines(ending.output.partition("Fatal Python error: ")[0] if outcome in ("hung", "crashed") else ending.output, MOST_LINES, secrets),
        output_bytes=ending.output_bytes,
        left_running=ending.left,
        clues=_clues(outcome, number, traceback, ending.output, spec),
        **_of_loaded(said, secrets),
    )


# --- how it ended -------------------------------------------------------------------------------------------------------------


def _how(plan: Plan, ending: Ending, said: dict[str, Any]) -> tuple[Outcome, Killer, int]:
    """(outcome, who killed it, signal)."""
    if ending.failed:
        return "not_started", "", 0
    if ending.ended_for == "time":
        return "hung", "", ending.signal
    if ending.ended_for == "memory":
        return "killed", "watch" if not ending.dry else "dry", ending.signal
    if ending.signal == signal.SIGKILL:
        return "killed", _killer(ending), ending.signal
    if ending.signal:
        return ("crashed" if ending.signal in CRASHES else "killed"), "", ending.signal
    if plan.way != "command":
        return ("loaded" if "loaded" in said else "raised" if "raised" in said else "failed"), "", 0
    return _of_command(ending)


def _of_command(ending: Ending) -> tuple[Outcome, Killer, int]:
    """A command that ended by itself. What a shell says of its child (139: signal 11) is believed only where there is more than the number."""
    if ending.exit_status == 0:
        return "loaded", "", 0
    passed_on = (ending.exit_status or 0) - 128
    if _killer(ending) in ("limit", "above") and passed_on in (signal.SIGKILL, 1 - 128):
        return "killed", _killer(ending), signal.SIGKILL
    told = next(
        (
            number
            for word, number in WORDS.items()
            if re.search(rf"^(?:Fatal Python error: )?{word}\b|\b{word}(?: \(core dumped\))?\s*$", ending.output, re.MULTILINE)
        ),
        0,
    )
    if told and (passed_on == told or "Fatal Python error: " in ending.output):
        return "crashed", "", told
    return "failed", "", 0


def _killer(ending: Ending) -> Killer:
    if ending.group_kills:
        return "limit"
    if ending.above_kills:
        return "above"
    return "host" if ending.host_kills else ""


# --- what it said -------------------------------------------------------------------------------------------------------------


def _said(text: str) -> dict[str, Any]:
    """The loader's reports by step, the last one of each; what is no report of its own is left out (a library may write to descriptor 3)."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and isinstance(value.get("step"), str):
            known = found.get(value["step"], {})
            found[value["step"]] = {**known, **value}
            found["last"] = value if value["step"] in ("import", "tokenizer", "model", "numbers") else found.get("last", value)
    return found


def _step(said: dict[str, Any], secrets: redact.Secrets) -> str:
    last = said.get("last", {})
    return secrets.clean(f"{last.get('step', '')} {last.get('what', '')}".strip(), 120)


def _chain(raised: dict[str, Any]) -> list[dict[str, Any]]:
    chain = raised.get("chain")
    return [item for item in chain if isinstance(item, dict)] if isinstance(chain, list) else []


def _message(raised: dict[str, Any], ending: Ending, secrets: redact.Secrets) -> str:
    if ending.failed:
        return secrets.clean(ending.failed, 300)
    chain = _chain(raised)
    return secrets.clean(str(chain[0].get("text", "")), 1500) if chain else ""


def _lines(text: str, most: int, secrets: redact.Secrets) -> tuple[str, ...]:
    """The last lines, without colours and progress that was overwritten, cleaned."""
    lines = [line.rstrip().rpartition("\r")[2] for line in _ESCAPES.sub("", text[-(64 << 10) :]).split("\n")]
    return tuple(_end_of(line, secrets) for line in [line for line in lines if line.strip()][-most:])


def _end_of(line: str, secrets: redact.Secrets) -> str:
    """Of a long line the end; cleaned while there is more of it, or half a credential would not be known for one."""
    cleaned = secrets.clean(line[-MOST_LINE * 10 :], MOST_LINE * 10)
    return cleaned if len(cleaned) <= MOST_LINE else "…" + cleaned[-MOST_LINE:]


def _frames(text: str) -> tuple[str, ...]:
    """Where the thread was that got the signal: faulthandler's "Current thread", innermost first."""
    found: list[str] = []
    for line in text[text.rfind("Current thread 0x") :].split("\n")[1:] if "Current thread 0x" in text else ():
        match = _FRAME.match(line)
        if match is None:
            break
        if match[1] != "<string>" or not found:
            found.append(redact.plain(f"{match[3]} ({redact.path(match[1])}:{match[2]})", 200))
    return tuple(found[:MOST_FRAMES])


def _clues(outcome: Outcome, number: int, traceback: str, output: str, spec: str) -> Clues | Unseen:
    """What its words can mean: of an exception or a crash, not of what we ended ourselves."""
    if outcome not in ("raised", "failed", "crashed"):
        return NOT_ASKED
    word = next((word for word, known in WORDS.items() if known == number and word not in output), "") if outcome == "crashed" else ""
    text = "\n".join(part for part in (output, word, traceback) if part)
    found = errors.clues_of(text.encode("utf-8", "replace"), spec or "given")
    return Clues(explanations=found.explanations, decided=found.decided, here=True)


def _of_loaded(said: dict[str, Any], secrets: redact.Secrets) -> dict[str, Any]:
    """Tensors that were missing, mismatched, left over; numbers that are none."""
    info, numbers = said.get("info", {}), said.get("numbers", {})

    def names(where: dict[str, Any], key: str) -> tuple[str, ...]:
        value = where.get(key)
        return tuple(secrets.clean(str(item), 160) for item in value[:40]) if isinstance(value, list) else ()

    def count(key: str, shown: tuple[str, ...]) -> int:
        value = info.get("counts", {}).get(key) if isinstance(info.get("counts"), dict) else None
        return max(value, len(shown)) if isinstance(value, int) else len(shown)

    missing, unused = names(info, "missing_keys"), names(info, "unexpected_keys")
    return {
        "missing": missing,
        "missing_count": count("missing_keys", missing),
        "mismatched": names(info, "mismatched_keys"),
        "unused": unused,
        "unused_count": count("unexpected_keys", unused),
        "not_a_number": names(numbers, "nan"),
        "without_numbers": names(numbers, "meta"),
    }
