"""A pasted text as plain lines: without colours, without what docker, kubectl, CI systems and launchers put in front, and not longer than can be read at once.

Linear in the text's length, whatever it holds: every pattern here is anchored or cannot match what it has passed already.
"""

from __future__ import annotations

import json
import re
from collections import Counter

from diagnostics.case import record

WHOLE_BYTES = 96 << 10  # a text up to this is read whole
MOST_LINES = 4000
LONGEST_LINE = 4000
WINDOW = 1500  # characters around what catches the eye in a longer text
SAMPLE = 60  # lines that tell what stands in front of all
MOST_WINDOWS = 24  # from the beginning, and as many from the end

# What catches the eye in a long log. Only found, never judged, by these.
_EYE_CATCHERS = ("Traceback (most recent call last)", "Error: ", "error: ", "Error code", "ERROR", "Exception: ", "fatal: ", "FATAL", "Killed", "killed", "curl: (", "Segmentation fault", "Bus error", "Illegal instruction", "OutOfMemory", "CERTIFICATE_VERIFY_FAILED", "x509: ", "exit code", "exited with", "SIGKILL")  # fmt: skip
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])|\^\[\[[0-9;]{0,12}m")
_FLAT = "Traceback (most recent call last): File "
_FLAT_FRAME = re.compile(r'[ \t]+(?=File "[^"\n]{1,300}", line \d)')
_FLAT_RAISED = re.compile(r"[ \t]+(?=(?:\w{1,60}\.){0,8}[A-Z]\w{1,60}(?:Error|Exception|Timeout|IsEnabled|IncompleteRead): )")
_ESCAPED_ANSI = re.compile(r"\\(?:x1b|u001b|033|e)\[[0-9;]{0,12}m", re.IGNORECASE)

_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
# In front of a line, by who puts it there. These look like nothing else, and come off every line that has them.
_CERTAIN = re.compile(
    "|".join(
        (
            rf"\[?{_TIME}\]? (?:stdout|stderr) [FP] ",  # CRI: /var/log/pods
            rf"{_TIME} \d\d[OE][ +]",  # GitLab
            rf"\[?{_TIME}\]?[ \t]?",  # GitHub Actions, docker -t, kubectl --timestamps, Jenkins
            r"\[pod/[^\]\s]{1,120}\] ",  # kubectl --prefix
            r"\[(?:rank|Rank|default) ?\d{0,5}\]: ?",  # torch.distributed, torchrun --tee
            r"\([^()]{1,60}pid=\d{1,9}(?:, ip=[\d.]{1,15})?\) ",  # ray, vllm
            r"\[\d{1,5},\d{1,5}\]<std(?:err|out)>: ?",  # mpirun -tag-output
            r"\[(?:INFO|WARN|ERROR) ?\] W-\S{1,80}-std(?:out|err) [\w.]{1,120} - ",  # TorchServe and MMS (SageMaker): what a worker printed
        )
    )
)
# vllm's own log, whatever a service that starts it puts before that.
_VLLM = re.compile(r"(?:ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[?[\w./-]{1,80}:\d{1,6}\] ?")
# These are ordinary text too: only where many lines have them. Tried again on what is left, since one stands in front of another.
_PREFIXES = tuple(
    re.compile(pattern)
    for pattern in (
        r"\[?\d\d:\d\d:\d\d(?:[.,]\d{1,6})?\]? {1,2}",  # Jenkins' timestamper
        r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S{1,80} [\w./@-]{1,60}(?:\[\d{1,9}\])?: ",  # syslog, journalctl
        r"(?!(?:INFO|WARNING|WARN|ERROR|DEBUG|CRITICAL|FATAL)\b)[\w.-]{1,60} {1,40}\| ?",  # docker compose, and no level of loguru's
        r"\d{1,5}: ",  # srun -l
        r"(?:> ?)+",  # a quoted ticket
        r"(?:#\d{1,4} )?\d{1,6}\.\d{1,3} ",  # docker build
        r" *\| ",  # an exception group, docker's desktop
    )
)
_BEGINS = frozenset("[(0123456789EC")
_SAYS_SOMETHING = re.compile(r"File|Traceback|Error|INFO|WARN|DEBUG|ERR|FATAL|CRIT|error|warn|info", re.ASCII)
# A message that its own program broke: nltk's downloader puts its name in front of every line of it.
_WRAPPED = re.compile(r"\n\[nltk_data\] {4,}")
_LOOSE_PREFIX = re.compile(r" *[+|][-+]*\+?[- ]*")


@record
class Lines:
    """What is left to read. ``numbers`` are the lines' places in the text as it was pasted (1 for the first), 0 where that is not known."""

    lines: tuple[str, ...]
    numbers: tuple[int, ...]
    shortened: bool = False


def read_lines(text: str) -> Lines:
    """Any text, to lines that can be read."""
    shortened = len(text) > WHOLE_BYTES
    pieces = _windows(text) if shortened else [(1, text)]
    numbered: list[tuple[int, str]] = []
    for first, piece in pieces:
        numbered += [(first + index if first else 0, line[:LONGEST_LINE]) for index, line in enumerate(_unpacked(_plain(piece)).splitlines())]
    if len(numbered) > MOST_LINES:
        numbered = numbered[: MOST_LINES // 2] + numbered[-MOST_LINES // 2 :]
        shortened = True
    bare = _without_prefixes([line for _, line in numbered])
    return Lines(lines=tuple(bare), numbers=tuple(number for number, _ in numbered), shortened=shortened)


def _windows(text: str) -> list[tuple[int, str]]:
    """The parts of a long text that catch the eye, the first and the last of them, and its very end."""
    places: list[int] = []
    for word in _EYE_CATCHERS:
        places += _places(text, word)
    spans = _merged(sorted({*places, len(text) - 1}), len(text))
    chosen = spans if len(spans) <= 2 * MOST_WINDOWS else spans[:MOST_WINDOWS] + spans[-MOST_WINDOWS:]
    pieces, at, line = [], 0, 1
    for begin, end in chosen:
        begin = text.rfind("\n", max(0, begin - LONGEST_LINE), begin) + 1 or begin
        line += text.count("\n", at, begin)
        at = begin
        pieces.append((line, text[begin : begin + 16 * WINDOW if end - begin > 16 * WINDOW else end]))
    return pieces


def _places(text: str, word: str) -> list[int]:
    """Where a word stands: the first places from the beginning and from the end."""
    found: list[int] = []
    at = text.find(word)
    while at >= 0 and len(found) < MOST_WINDOWS:
        found.append(at)
        at = text.find(word, at + WINDOW)
    if at < 0:
        return found
    end = len(text)
    for _ in range(MOST_WINDOWS):
        at = text.rfind(word, found[-1] + 1, end)
        if at < 0:
            break
        found.append(at)
        end = max(0, at - WINDOW)
    return found


def _merged(places: list[int], length: int) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for place in places:
        begin, end = max(0, place - WINDOW // 2), min(length, place + WINDOW)
        if spans and begin <= spans[-1][1]:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((begin, end))
    return spans


def _plain(text: str) -> str:
    if "\x1b" in text or "^[[" in text:
        text = _ANSI.sub("", text)
    if "[" in text and "\\" in text and any(lead in text for lead in ("\\x1b", "\\u001b", "\\033", "\\e[", "\\X1B", "\\U001B")):
        text = _ESCAPED_ANSI.sub("", text)
    if "\n[nltk_data] " in text:
        text = _WRAPPED.sub(" ", text)
    if _FLAT in text:
        text = "\n".join(_unfolded(line) if _FLAT in line else line for line in text.splitlines())
    return text.replace("\x00", "")


def _unfolded(line: str) -> str:
    """A traceback whose line breaks were lost on the way (CloudWatch, a form's field)."""
    return _FLAT_RAISED.sub("\n", _FLAT_FRAME.sub("\n  ", line))


# --- text inside JSON ---------------------------------------------------------------------------------------------------------


def _unpacked(text: str) -> str:
    """Docker's and structured logs, a notebook's file, and a traceback whose line breaks were escaped, as the lines they hold."""
    start = text.lstrip()[:1]
    if start == "{" and '"output_type"' in text and (cells := _json(text)) is not None:
        return "\n".join(_strings(cells, ("traceback", "text", "ename", "evalue", "source")))
    if start == "{" and '":' in text[:400]:
        return "\n".join(_unpacked_line(line) for line in text.splitlines())
    if "\\n" in text and text.count("\\n") > text.count("\n"):
        return text.replace("\\r\\n", "\n").replace("\\n", "\n").replace('\\"', '"')
    return text


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _unpacked_line(line: str) -> str:
    value = _json(line) if line.lstrip().startswith("{") else None
    if not isinstance(value, dict):
        return line
    level = next((str(value[key]).upper() for key in ("level", "levelname", "severity") if isinstance(value.get(key), str)), "")
    parts = [
        str(value[key])
        for key in ("log", "message", "msg", "event", "text", "error", "exc_info", "exception", "traceback", "stack")
        if isinstance(value.get(key), str)
    ]
    return (f"{level}: " if level else "") + "\n".join(parts).rstrip("\n") if parts else line


def _strings(value: object, keys: tuple[str, ...]) -> list[str]:
    """The texts under these keys, in order; a stack instead of recursion, since a file may nest as deep as it likes."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            if here.get("output_type") == "error":
                lines = here.get("traceback") if isinstance(here.get("traceback"), list) else []
                found += [_plain(str(line)) for line in lines or []] or [f"{here.get('ename')}: {here.get('evalue')}"]
                continue
            for key, inner in reversed(list(here.items())):
                if key in keys:
                    found.append(_plain("".join(map(str, inner)) if isinstance(inner, list) else str(inner)))
                elif isinstance(inner, dict | list):
                    waiting.append(inner)
        elif isinstance(here, list):
            waiting.extend(reversed(here))
    return found


# --- what stands in front -----------------------------------------------------------------------------------------------------


def _without_prefixes(lines: list[str]) -> list[str]:
    """Take off, up to four times, what stands in front of (nearly) every line."""
    lines = [_certainly_without(line) for line in lines]
    for _ in range(4):
        sample = [line for line in lines[:: max(1, len(lines) // SAMPLE)] if line.strip()]
        pattern = _common(sample)
        if pattern is not None:
            lines = [_certainly_without(line[match.end() :]) if (match := pattern.match(line)) else line for line in lines]
            continue
        word = _common_word(sample)
        if not word:
            break
        lines = [line.removeprefix(word) for line in lines]
    return [_loose(line) for line in lines]


def _certainly_without(line: str) -> str:
    at = line.find("ERROR ", 0, 140)
    if at >= 0 and (match := _VLLM.match(line, at)):
        return line[match.end() :]
    for _ in range(3):
        match = _CERTAIN.match(line) if line[:1] in _BEGINS else None
        if match is None:
            return line
        line = line[match.end() :]
    return line


def _common(sample: list[str]) -> re.Pattern[str] | None:
    for pattern in _PREFIXES:
        if sum(1 for line in sample if pattern.match(line)) > 0.4 * len(sample) and not _is_table(pattern, sample):
            return pattern
    return None


def _is_table(pattern: re.Pattern[str], sample: list[str]) -> bool:
    """Bars that belong to a table, as in transformers' LOAD REPORT."""
    return "\\|" in pattern.pattern and any("-+-" in line for line in sample)


def _common_word(sample: list[str]) -> str:
    """The same first one to three words in front of most lines (stern, a CI's job name)."""
    if len(sample) < 5:
        return ""
    for count in (3, 2, 1):
        leads = Counter(match[0] for line in sample if (match := re.match(rf"(?:\S{{1,80}} ){{{count}}}", line)))
        word, times = leads.most_common(1)[0] if leads else ("", 0)
        if times > 0.7 * len(sample) and not _SAYS_SOMETHING.search(word):
            return word
    return ""


def _loose(line: str) -> str:
    """The branches of an exception group's tree."""
    if line.lstrip()[:2] in ("| ", "+ ", "+-") and (match := _LOOSE_PREFIX.match(line)):
        return line[match.end() :] if match.end() < len(line) else line
    return line
