"""What went wrong, as a text tells it: chains of exceptions (the first error first), and lines that report one without a traceback."""

from __future__ import annotations

import bisect
import itertools
import re
from dataclasses import dataclass, field, replace

from diagnostics.clues.lines import Lines

MOST_FAILURES = 24
MOST_SAID = 24  # exceptions in one chain
MESSAGE_LINES = 30
MESSAGE_CHARACTERS = 2500
MOST_OF_A_LIST = 600  # characters of a list of tensors, which may be longer than all else

DIRECT = "The above exception was the direct cause of the following exception"
DURING = "During handling of the above exception, another exception occurred"

_TRACEBACK = re.compile(r"Traceback \(most recent call last\)")
_NOTEBOOK_HEAD = re.compile(r"([A-Za-z_][\w.]{2,80}) {3,}Traceback \(most recent call last\)")
_FRAME = re.compile(r'\s*File "([^"]{1,500})", line \d+(?:, in (\S{1,200}))?')
_NOTEBOOK_FRAME = re.compile(r"(?:File )?((?:[~/]|[A-Z]:\\)[^\s:()]{1,400}\.pyx?|Cell In ?\[\d+\]|<ipython-input-[\w-]{1,60}>)(?::\d+|, line \d+| in )")
_NOTEBOOK_FUNCTION = re.compile(r"\bin ([\w.<>]{1,100})\(")
_PYTEST_FRAME = re.compile(r"([^\s:]{1,300}\.py):\d+: (?:in (\w{1,100})|(\w{3,80}))?")
# The last line of a traceback; the class may be anybody's.
_RAISED = re.compile(r"(?:E +)?([A-Za-z_][\w.]{0,200})(?::(?: (.*))?)?$")
# A class in the middle of a line: only names that say themselves what they are.
_CLASS = r"((?:[A-Za-z_]\w{0,80}\.){0,8}[A-Z]\w{0,80}(?:Error|Exception|Timeout|Disconnected|IncompleteRead|Interrupt|Redirects|UnsupportedProtocol|InvalidURL|InvalidSchema|BadStatusLine|BadZipFile|BadGzipFile)|OSError|KeyError|(?:\w{1,40}\.){1,4}gaierror)"
_INLINE = re.compile(rf"(?<![\w.]){_CLASS}(?:\((?=['\"\d(])|: ?|$)")
_RECORD = re.compile(r"(?:\[?\d{4}-\d\d-\d\d|\[?\d\d:\d\d:\d\d\]?|\d{1,2}:\d\d[AP]M |(?:INFO|WARNING|ERROR|DEBUG|CRITICAL|WARN)\b|##\[|::\w+|make(?:\[\d+\])?: |\$ |>>> |In \[\d|Traceback |During handling of the above|The above exception was|Exception ignored in|Process \w+-\d+:|srun: |slurmstepd: |E\d{4} |W\d{4} |I\d{4} |=====|-----)")  # fmt: skip
_WARNS = re.compile(
    r"\b(?:WARN(?:ING)?|INFO|DEBUG|NOTICE|TRACE|warning|warn)\b|\b\w{0,40}Warning:|[Rr]etry(?:ing)?\b|[Tt]rying again|thrown while requesting (?:HEAD|GET)|\b(?:will|to) retry\b"
)
_GOES_ON_AFTER = re.compile(r"Warning:|Retrying|thrown while requesting")
# Said for sure of something that went on: a fall back to another file, a probe of a service that is still loading.
_SURVIVED = re.compile(
    r"^An error occurred while trying to fetch\b|^Defaulting to unsafe serialization\b|^Warning: caught exception |\b(?:Readiness|Liveness|Startup) probe failed\b"
    r"|^Error while downloading from https?://|^Trying to resume download|^warning: failed to mlock\b|^Error caught was: |\bfor better performance\b|\bwas compiled without GPU support\. 8-bit|\b[Uu]sing (?:the |a )?(?:latest |local )?cached (?:version|copy|file|dataset|model)\b"
    r"|^(?:: )?[IW] \w{1,40}/|^[IW]\d{4} \d\d:\d\d"  # TensorFlow's and glog's own levels
)
_NEXT_ADDRESS = re.compile(
    r"Connecting to .{1,300}\bfailed: |(?:\* +)?(?:connect to .{1,300}\bfailed: |Immediate connect fail for )"
)  # wget and curl -v, which then try the name's next address
_CONNECTED = re.compile(r"Connecting to .{1,300}\bconnected\.$|(?:\* +)?Connected to \S+ \(")
_FAILS = re.compile(r"\b(?:ERROR|CRITICAL|FATAL|SEVERE|PANIC)\b")
# What a line that reports a failure without naming a class holds (lower case). What it means is decided by the signatures; this only says where they look.
_REPORTS = ("error", "fail", "fatal", "cannot", "can't", "could not", "couldn", "unable", "kill", "refus", "denied", "not found", "no such", "missing", "invalid", "unsupported", "mismatch", "unexpected", "exceeded", "time", "segmentation", "illegal instr", "aborted", "dumped", "oom", "out of memory", "no space", "quota", "read-only", "x509", "recognize", "not installed", "require", "corrupt", "truncated", "exit", "signal", "no module", "blocked", "forbidden", "unauthor", "expired", "too ", "load report", "instantiate", "connect", "must ", "no longer", "untrusted", "reset", "not match", "weights", "index", "bus error", "gated", "restricted", "exception", "curl: (", "resolve", "redirect", "remaining", "http/0.9", "empty reply", "protocol", "not a ", "received", "unknown", "null result", "incompatible", "newer", "evicted", "violation", "oom ", "bad ", "compat", "used by another", "toomany", "compiled", "process finished", "does not", "doesn't", "find")  # fmt: skip
MOST_REPORTS = 400
_KEYWORDS = frozenset({"else", "try", "finally", "pass", "return", "raise", "continue", "break", "yield", "E", "None"})
_LIST_OF_KEYS = re.compile(r"\s*(?:Missing|Unexpected) key\(s\) in state_dict: ")
_DIGITS = str.maketrans("", "", "0123456789")
_AFTERMATH = re.compile(r"^(?:Exception ignored in|Exception in thread \S+ \(most likely raised during interpreter shutdown\))")


@dataclass(frozen=True, kw_only=True)
class Said:
    """One exception, or one line: what it is called and what it says. ``codes`` are what an exception object knew itself."""

    type: str = ""  # "requests.exceptions.SSLError", "curl", "" where nothing names it
    message: str
    line: int = 0
    codes: tuple[tuple[str, str], ...] = ()  # ("errno", "ECONNREFUSED"), ("status", "403"), ("verify", "20"), ("gai", "EAI_AGAIN")

    @property
    def text(self) -> str:
        return f"{self.type}: {self.message}" if self.type else self.message

    @property
    def name(self) -> str:
        """The class without its module."""
        return self.type.rpartition(".")[2]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One chain, the first error first. ``frames`` are "file function" of all of it; ``around`` the lines just before, where a loader prints its report."""

    said: tuple[Said, ...]
    frames: tuple[str, ...] = ()
    level: str = "error"  # or "warning": something went on after it
    around: str = ""
    source: tuple[str, ...] = ()  # the user's own lines that a traceback shows


@dataclass
class _Block:
    """One traceback while it is read."""

    said: list[Said] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    start: int = 0
    end: int = 0
    ignored: bool = False


def find_failures(read: Lines) -> list[Failure]:
    """Every chain and every line that may report a failure, in the order of the text."""
    blocks = _blocks(read)
    inside: set[int] = set()
    for block in blocks:
        if block.said or block.ignored:  # of a traceback without its last line every line may still tell
            inside.update(range(block.start, block.end))
    chains = _chained(read, blocks)
    loose = _loose_lines(read, inside)
    found = sorted([*chains, *loose], key=lambda pair: pair[0])
    return _bounded([failure for _, failure in found])


def _bounded(found: list[Failure]) -> list[Failure]:
    """The first and the last; what is said again and again counts once, where it was said last."""
    distinct: dict[tuple[tuple[str, str], ...], Failure] = {}
    for failure in found:
        key = tuple((said.type, said.message[:300].translate(_DIGITS)) for said in failure.said)
        distinct.pop(key, None)
        distinct[key] = failure
    kept = list(distinct.values())
    return kept if len(kept) <= MOST_FAILURES else kept[: MOST_FAILURES // 3] + kept[-(MOST_FAILURES - MOST_FAILURES // 3) :]


# --- tracebacks ---------------------------------------------------------------------------------------------------------------


def _blocks(read: Lines) -> list[_Block]:
    found: list[_Block] = []
    index, lines = 0, read.lines
    while index < len(lines):
        if "Traceback (" in lines[index] and _TRACEBACK.search(lines[index]):
            block = _block(read, index)
            found.append(block)
            index = max(block.end, index + 1)
        elif '"' in lines[index] and _FRAME.match(lines[index]):
            block = _block(read, index, headless=True)
            if block.said:
                found.append(block)
            index = max(block.end, index + 1)
        else:
            if lines[index].startswith((DIRECT, DURING)) and (bare := _bare_block(read, index, found[-1].end if found else 0)):
                found.append(bare)
            index += 1
    return found


def _bare_block(read: Lines, index: int, free_from: int) -> _Block | None:
    """The exception ahead of "direct cause" that came without frames (huggingface_hub 2 keeps none of an error that it raises again later)."""
    for start in range(index - 1, max(free_from, index - 12) - 1, -1):
        if read.lines[start] and _ends(read.lines[start], "", bool(_INLINE.match(read.lines[start])), notebook=False):
            block = _Block(start=start, end=index)
            _message(read, start, block)
            return block
    return None


def _block(read: Lines, start: int, headless: bool = False) -> _Block:
    """A traceback from its first line to the end of its message; ``headless`` where it was pasted from its middle on, so that only a class that says itself what it is ends it."""
    lines = read.lines
    block = _Block(start=start, ignored=start > 0 and bool(_AFTERMATH.match(lines[start - 1])))
    heading = _NOTEBOOK_HEAD.search(lines[start])
    wanted = heading[1] if heading else ""
    index = start if headless else start + 1
    while index < len(lines):
        line = lines[index]
        if frame := _frame(line):
            block.frames.append(frame)
        elif _ends(line, wanted, bool(block.frames) and not headless, heading is not None):
            index = _message(read, index, block)
            break
        elif _TRACEBACK.search(line) or line.startswith((DIRECT, DURING)):
            break
        elif line[:1] in " \t-" and len(block.source) < 200:
            block.source.append(line.strip()[:300])
        index += 1
    block.end = index
    return block


def _frame(line: str) -> str:
    if match := _FRAME.match(line):
        return f"{match[1]} {match[2] or ''}"
    if match := _NOTEBOOK_FRAME.match(line):
        function = _NOTEBOOK_FUNCTION.search(line)
        return f"{match[1]} {function[1] if function else ''}"
    return ""


def _ends(line: str, wanted: str, framed: bool, notebook: bool) -> bool:
    """Whether this is the line that names the exception."""
    if not line or line[0] in " \t" or line.startswith(("-->", "---", "...", "<ipython")):
        return False
    match = _RAISED.match(line)
    if not match or match[1] in _KEYWORDS or not (re.search(r"[A-Z.]", match[1])):
        return False
    if notebook:
        return match[1].rpartition(".")[2] == wanted.rpartition(".")[2] and (":" in line or line == match[1])
    return framed or bool(_INLINE.match(line))


def _message(read: Lines, index: int, block: _Block) -> int:
    """Read the exception and its message, which may be many lines; returns where it ends."""
    lines = read.lines
    match = _RAISED.match(lines[index])
    assert match is not None
    parts, number, at = [match[2] or ""], read.numbers[index], index + 1
    blank = 0
    while at < len(lines) and len(parts) < MESSAGE_LINES:
        line = lines[at]
        if _RECORD.match(line) or _TRACEBACK.search(line):
            break
        blank = blank + 1 if not line.strip() else 0
        if blank > 1 or (blank and not _goes_on(lines, at)):
            break
        parts.append(_shorter(line))
        at += 1
    message = "\n".join(parts).strip()[:MESSAGE_CHARACTERS]
    block.said.append(Said(type=match[1], message=message, line=number))
    return at


def _shorter(line: str) -> str:
    """A list of hundreds of tensors must not push out the list that follows it."""
    return line[:MOST_OF_A_LIST] if _LIST_OF_KEYS.match(line) else line


def _goes_on(lines: tuple[str, ...], at: int) -> bool:
    """Whether a blank line belongs to a message: text follows that begins nothing else."""
    following = lines[at + 1] if at + 1 < len(lines) else ""
    return bool(following.strip()) and not _RECORD.match(following) and not _RAISED.fullmatch(following)


def _chained(read: Lines, blocks: list[_Block]) -> list[tuple[int, Failure]]:
    """Tracebacks that "direct cause" and "during handling" tie together are one failure."""
    chains: list[tuple[int, Failure]] = []
    joined: list[_Block] = []
    for position, block in enumerate(blocks):
        joined.append(block)
        following = blocks[position + 1] if position + 1 < len(blocks) else None
        if following is not None and _tied(read.lines, block.end, following.start):
            continue
        if chain := _chain(read, joined):
            chains.append((joined[-1].start, chain))
        joined = []
    return chains


def _tied(lines: tuple[str, ...], end: int, start: int) -> bool:
    return start - end <= 6 and any(line.lstrip("E> ").startswith((DIRECT, DURING)) for line in lines[max(end - 1, 0) : start])


def _chain(read: Lines, blocks: list[_Block]) -> Failure | None:
    said = tuple(item for block in blocks for item in block.said)
    if not said or all(block.ignored for block in blocks):
        return None
    if len(said) > MOST_SAID:
        said = said[: MOST_SAID // 2] + said[-MOST_SAID // 2 :]
    frames = [frame for block in blocks for frame in block.frames]
    return Failure(
        said=said,
        frames=tuple(frames if len(frames) <= 400 else frames[:200] + frames[-200:]),
        around=_before(read, blocks[0].start) if any("report" in item.message for item in said) else "",
        source=tuple(line for block in blocks for line in block.source),
    )


def _before(read: Lines, index: int) -> str:
    return "\n".join(read.lines[max(0, index - 60) : index])[-3000:]


# --- lines --------------------------------------------------------------------------------------------------------------------


def _loose_lines(read: Lines, inside: set[int]) -> list[tuple[int, Failure]]:
    """Lines outside every traceback that may report a failure. A short text that has none is also read as one message, since its lines belong together."""
    found: list[tuple[int, Failure]] = []
    connected = _connected_at(read.lines)
    for index in _reporting(read, inside):
        line = read.lines[index]
        around = _before(read, index) if "report" in line else ""
        level = "warning" if index < connected and _NEXT_ADDRESS.match(line) else _level(line)
        found.append((index, Failure(said=(_said(line, read.numbers[index]),), level=level, around=around)))
    filled = [index for index, line in enumerate(read.lines) if line.strip()]
    if not inside and not found and 0 < len(filled) <= 3:
        found = [(index, Failure(said=(_said(read.lines[index], read.numbers[index]),), level=_level(read.lines[index]))) for index in filled]
    if not inside and found and len(filled) <= MESSAGE_LINES:
        level = "error" if any(failure.level == "error" for _, failure in found) else "warning"
        survived = {
            index for index, failure in found if failure.level != level and (_SURVIVED.search(read.lines[index]) or _NEXT_ADDRESS.match(read.lines[index]))
        }
        whole = "\n".join(_shorter(line) for index, line in enumerate(read.lines) if line.strip() and index not in survived)
        first = next(failure.said[0] for _, failure in found if failure.level == level)
        said = tuple(failure.said[0] for _, failure in found if failure.level == level)[:MOST_SAID]
        joined = replace(first, message=whole[:MESSAGE_CHARACTERS].removeprefix(f"{first.type}: "))
        return [(0, Failure(said=(*said, joined) if len(found) > 1 else (joined,), level=level, around=whole))]
    return found


def _connected_at(lines: tuple[str, ...]) -> int:
    """The last line where wget or curl says that it got through: the addresses that it tried before are no failure."""
    return max((index for index, line in enumerate(lines) if _CONNECTED.match(line)), default=-1)


def _reporting(read: Lines, inside: set[int]) -> list[int]:
    """The lines that may report a failure: each kind once, where it is said last; the first of them and the last."""
    whole = "\n".join(read.lines).lower()
    starts = list(itertools.accumulate((len(line) + 1 for line in read.lines), initial=0))
    if len(whole) + 1 != starts[-1]:  # a letter whose lower case is two
        starts = list(itertools.accumulate((len(line.lower()) + 1 for line in read.lines), initial=0))
    hits: set[int] = set()
    for word in _REPORTS:
        at = whole.find(word)
        while at >= 0:
            index = bisect.bisect_right(starts, at) - 1
            hits.add(index)
            at = whole.find(word, starts[index + 1] if index + 1 < len(starts) else len(whole))
    distinct: dict[str, int] = {}
    for index in sorted(hits - inside):
        if read.lines[index].startswith((DIRECT, DURING)):
            continue
        key = read.lines[index][:200].translate(_DIGITS)
        distinct.pop(key, None)
        distinct[key] = index
    chosen = list(distinct.values())
    return sorted(chosen if len(chosen) <= MOST_REPORTS else chosen[: MOST_REPORTS // 2] + chosen[-MOST_REPORTS // 2 :])


def _said(line: str, number: int) -> Said:
    bare = re.sub(r"^(?:E {2,}|\s+)", "", line)
    if match := _INLINE.search(bare):
        return Said(type=match[1], message=bare[match.end() :].strip(" )") or bare, line=number)
    return Said(message=bare, line=number)


def _level(line: str) -> str:
    """What stands at the beginning decides; an exception's name without it is an error, also where its words advise to retry."""
    if _SURVIVED.search(line[:400]):
        return "warning"
    if _FAILS.search(line[:200]) or _TRACEBACK.search(line):
        return "error"
    if _INLINE.match(line) and not _GOES_ON_AFTER.search(line[:400]):
        return "error"
    return "warning" if _WARNS.search(line[:200]) else "error"
