"""What the renderers say alike: whose fault it is, sizes, the environment in a few lines, and text made safe to show."""

from __future__ import annotations

import re
import shlex

from diagnostics.case import NO_TRIAL, Case, Diagnosis, Digests, Evidence, Interpreter, Listing, Pace, Packages, Platform, Remedy, Report, Trial, Unseen
from diagnostics.diagnosis import all_checks
from diagnostics.redact import plain

OWNERS = {
    "you": "a setting or file of your own",
    "machine": "this machine",
    "network": "your network (its admin)",
    "server": "the host of the model",
    "author": "the model's author",
}
MOST_TITLE = 400
_WORD = re.compile(r"[a-z]+[ ,]")
# Distributions that fetch or load models: their versions belong into every ticket.
NAMED = frozenset(
    [
        "accelerate",
        "certifi",
        "datasets",
        "hf-xet",
        "httpx",
        "httpx2",
        "huggingface-hub",
        "numpy",
        "requests",
        "safetensors",
        "tokenizers",
        "torch",
        "transformers",
        "truststore",
        "urllib3",
    ]
)


def title(diagnosis: Diagnosis) -> str:
    """The title as a sentence begins, of bounded length."""
    return sentence(plain(diagnosis.title, MOST_TITLE))


def sentence(text: str) -> str:
    """With a capital, where the first word is a word and not a name (``huggingface.co``, ``~/.cache``)."""
    return text[:1].upper() + text[1:] if _WORD.match(text) else text


def alternative(text: str) -> str:
    """A further remedy, to stand behind “Or:” or “Then:”."""
    return sentence(re.sub(r"^(?:or|then),? ", "", text, flags=re.IGNORECASE))


def leading(remedy: Remedy, number: int) -> str:
    """The word before a remedy: the first, another way, or a further step."""
    return "Do" if not number else "Then" if remedy.follows else "Or"


def command(text: str) -> str:
    """A command to paste: one printable line, never cut."""
    return plain(text, 10 * len(text) + 1)


def commands(text: str) -> list[str]:
    """What a remedy says to run, line by line. Several are our own (``causes.places``): what a command quotes holds no end of line."""
    return [command(line) for line in text.split("\n")]


def target_name(report: Report) -> str:
    return plain(report.case.target.spec, 200) or "this machine and the hub"


def live(report: Report) -> list[Diagnosis]:
    """The roots to act on, the first first."""
    return [diagnosis for diagnosis in report.judgement.diagnoses if not diagnosis.waived]


def lead(report: Report) -> str:
    """One sentence for all of it: the root cause, or that nothing is wrong, or that nobody knows."""
    found = live(report)
    if found:
        return title(found[0])
    if report.interrupted:
        return interrupted(report)
    if report.judgement.verdict == "unverified":
        return "Nothing could be verified"
    return nothing_stands(report) + how_far(report)


def interrupted(report: Report) -> str:
    """That the run ended early, and what it was waiting for then."""
    waiting = f", while waiting for {plain(report.waited_for, 200)}" if report.waited_for else ""
    return f"Interrupted ({plain(report.interrupted, 60)}) before anything was found wrong{waiting}"


def how_far(report: Report) -> str:
    """Where only some checks were asked (-k, node ids), green goes no further than they."""
    asked, every = len(report.judgement.results), len(all_checks())
    return f" (only {asked} of {every} checks were asked)" if asked < every else ""


def nothing_stands(report: Report) -> str:
    """That nothing is wrong, and how far that goes: what is waived is still there."""
    waived = any(diagnosis.waived for diagnosis in report.judgement.diagnoses)
    return "Nothing but what is waived stands in the way" if waived else "Nothing stands in the way"


def owners(diagnosis: Diagnosis) -> str:
    return ", or ".join(OWNERS[owner] for owner in diagnosis.owner)


def size(count: float) -> str:
    """Decimal units, as hubs and disks are labelled."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return (
        f"{seconds:.1f} s"
        if seconds < 10
        else f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def evidence_line(item: Evidence) -> str:
    """One fact in one line."""
    expected = f" (expected: {item.expected})" if item.expected else ""
    return plain(f"{item.subject.name}: {item.fact}: {item.seen}{expected}", 800)


def besides(case: Case) -> list[str]:
    """What is said beside the findings: how the trial load went, and what nothing vouches for."""
    return [*_tried(case), *unhashed(case)]


def _tried(case: Case) -> list[str]:
    trial = case.trial
    if isinstance(trial, Trial):
        ended = "went well" if trial.outcome == "loaded" else "failed"
        return [f"The trial load ({trial.what}) {ended}: {duration(trial.seconds)}, {size(trial.peak_bytes)} of memory at its peak, network {trial.network}"]
    return [f"No load was tried: {trial.detail}"] if trial != NO_TRIAL else []


def unhashed(case: Case) -> list[str]:
    """What no digest vouches for, in sentences; said, never green by silence."""
    digests = case.digests if isinstance(case.digests, Digests) else Digests()
    said = [text] if (text := to_come(case)) else []
    if digests.unverified:
        left = f"about {duration(digests.seconds_left)}" if digests.seconds_left else "some time"
        said.append(f"{_files(len(digests.unverified))} ({size(digests.unverified_bytes)}) not hashed: --diagnose-digests all takes {left}")
    if digests.unpublished:
        said.append(f"{_files(len(digests.unpublished))} without a published digest to compare with")
    return said


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


WORTH_SAYING_SECONDS = 60.0


def to_come(case: Case) -> str:
    """How long what is still to come will take, in a sentence; "" where that is not known or not long."""
    pace = case.pace
    if not isinstance(pace, Pace) or not isinstance(pace.needed_bytes, int) or pace.single_bytes_per_second <= 0:
        return ""
    seconds, several = pace.needed_bytes / pace.single_bytes_per_second, pace.together_bytes_per_second
    if seconds < WORTH_SAYING_SECONDS:
        return ""
    said = f"{size(pace.needed_bytes)} still to come: about {duration(seconds)} at {size(pace.single_bytes_per_second)}/s on one connection"
    return said + (f", {duration(pace.needed_bytes / several)} on {pace.connections}" if isinstance(several, float) and several > 0 else "")


def saved_authority(case: Case) -> str:
    """What --diagnose-save-ca came to, in a sentence; "" where it was not asked for."""
    saved = case.saved_authority
    if not isinstance(saved, Unseen):
        kind = "the root" if saved.root else "only an intermediate (the root was not sent, and is in no store here):"
        return (
            f"Saved {saved.path}: {kind} “{saved.subject}”, {saved.source}; SHA-256 {colons(saved.fingerprint)}. Trust it only if your admin reads you the same"
        )
    return f"--diagnose-save-ca: nothing saved, {saved.detail}" if saved.detail else ""


def colons(fingerprint: str) -> str:
    """As OpenSSL and browsers show it."""
    return ":".join(fingerprint[start : start + 2] for start in range(0, len(fingerprint), 2)).upper()


def environment(report: Report) -> list[tuple[str, str]]:
    """The environment in a few lines, (what, value), bounded; all of it is in the JSON."""
    case, here = report.case, report.case.environment
    rows = [*_machine(case), *_client(case)]
    rows += [(item.variable, item.value) for item in here.proxies]
    rows += [
        (item.name, item.value)
        for item in (*here.no_proxy, *([here.endpoint] if here.endpoint else []), *here.offline, *here.settings, *here.deprecated_caches)
    ]
    rows += [(item.variable, item.path) for item in here.ca]
    rows += [(f"proxy of {item.source}", item.value) for item in here.configured_proxies]
    rows += [("resolvers", ", ".join(case.resolvers))] if case.resolvers else []
    rows += [("token", f"present, from {here.token.source or 'the client'}" if here.token.present else "none")]
    rows += [(f"{name} cache", path) for name, path in here.caches.items()]
    rows += [(item.name, item.version) for item in here.distributions if item.name.lower().replace("_", "-") in NAMED]
    return [(plain(name, 80), plain(value, 400)) for name, value in rows if value][:120]


def _machine(case: Case) -> list[tuple[str, str]]:
    rows = []
    if isinstance(case.environment.platform, Platform):
        platform = case.environment.platform
        rows.append(("platform", " ".join(filter(None, (platform.system, platform.release, platform.machine, platform.libc, platform.container)))))
    if isinstance(case.environment.interpreter, Interpreter):
        python = case.environment.interpreter
        rows += [("Python", f"{python.implementation} {python.version}, {python.bits}-bit, {python.executable}"), ("TLS library", python.openssl)]
    if isinstance(case.packages, Packages) and case.packages.python:
        rows.append(("loads in", case.packages.python))
    return rows


def _client(case: Case) -> list[tuple[str, str]]:
    client, listing = case.target.client, case.listing
    rows = [("client", f"{client.family} {client.version}".strip())] if client else []
    rows += [("loader", case.target.loader)] if case.target.loader else []
    return rows + ([("revision", listing.commit)] if isinstance(listing, Listing) and listing.commit else [])


def rerun(report: Report) -> str:
    """The command that made this report."""
    spec = report.case.target.spec
    return command("pytest diagnostics" + (f" --diagnose {shlex.quote(spec)}" if spec else ""))
