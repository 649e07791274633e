"""The trial load: what no other cause explains of how it ended. What does explain it comes first (``diagnostics.tried``)."""

from __future__ import annotations

import re

from diagnostics.case import Case, Cause, Fault, Finding, Owner, Remedy, Trial
from diagnostics.causes.claims import again
from diagnostics.causes.files_words import found, of_step
from diagnostics.causes.shells import number

_STANDARD = re.compile(r"[/\\](?:lib|Lib)[/\\](?:python\d[\d.]*[/\\])?(?!(?:site|dist)-packages)[\w.]+\.py:\d+\)$")  # a frame of Python's own library
KILLERS = {
    "limit": "the kernel ended it as it asked for more than {limit}, {allowed}",
    "above": "the kernel ended it at the memory limit of a control group above it",
    "host": "the kernel ended it as the machine had no memory left",
    "watch": "it asked for more than {limit}, {allowed}, and was ended for that",
    "dry": "the machine had hardly any memory left, and the trial was ended before it stood still",
    "": "signal {signal}, from outside: nothing that was seen says by whom",
}
CRASHES = {
    4: "an instruction that this processor does not have, or a build for another one",
    6: "a library gave up by itself (abort)",
    7: "a mapped file that is shorter than it should be, a full /dev/shm or disk, or memory that is damaged",
    8: "an arithmetic fault in compiled code",
    11: "compiled code touched memory that is not its own: libraries that do not fit together, most often",
}


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _whose(trial: Trial) -> str:
    return "this machine" if trial.memory_limit_source == "host" else f"the limit of {trial.memory_limit_source}"


def _facts(trial: Trial) -> dict[str, str]:
    where = next((frame for frame in trial.frames if not _STANDARD.search(frame)), trial.frames[0] if trial.frames else "")
    facts = {
        "what": trial.what,
        "step": trial.step or "its start",
        "peak": _size(trial.peak_bytes),
        "limit": _size(trial.memory_limit_bytes),
        "source": trial.memory_limit_source,
        "allowed": "as was asked for" if trial.memory_limit_source == "--diagnose-load-memory" else f"all that {_whose(trial)} has left",
        "signal": str(trial.signal),
        "seconds": f"{trial.seconds:.1f}",
        "where": where,
        "at": f" in {where}" if where else f" at {trial.step}" if trial.step else "",
    }
    facts["who"] = KILLERS[trial.killer].format_map(facts)
    facts["crash"] = CRASHES.get(trial.signal, "a fault in compiled code")
    facts["ended"] = _ended(trial, where)
    return facts


def _ended(trial: Trial, where: str) -> str:
    match trial.outcome:
        case "raised":
            text = f"{trial.error}: {trial.message.splitlines()[0]}" if trial.message else trial.error
            return f"ends with {text[:200]}"
        case "hung":
            return f"does not end: after {trial.seconds:.0f} s it was still {f'in {where}' if where else 'running'}"
        case "not_started":
            return f"cannot be started: {trial.message}"
        case "failed":
            return f"ends with exit status {trial.exit_status}"
        case _:
            return "ends with a model that holds what is no number"


def _killed(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own = of_step(faults, "load", "killed")
    return found("load-killed", own, _facts(case.trial)) if own and isinstance(case.trial, Trial) else []


def _crashed(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own = of_step(faults, "load", "crashed")
    return found("load-crashed", own, _facts(case.trial)) if own and isinstance(case.trial, Trial) else []


def _failed(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own = of_step(faults, "load", "raised", "failed", "hung", "not_started", "nan", "meta")
    return found("load-failed", own, _facts(case.trial)) if own and isinstance(case.trial, Trial) else []


def _more_memory(finding: Finding, case: Case) -> list[Remedy]:
    trial = case.trial if isinstance(case.trial, Trial) else None
    killer = trial.killer if trial else ""
    smaller = Remedy(
        do='Or load it smaller: half precision (dtype=torch.bfloat16), a quantised variant, device_map="auto" with accelerate (offloads to disk), one shard at a time.',
        check=again(case),
    )
    if not killer:
        kernel = Remedy(
            do="Ask who sent the signal: the kernel's log tells of a lack of memory, systemd-oomd and earlyoom write to the journal, batch systems to the job's own log.",
            run="dmesg | grep -i -E 'oom|killed' | tail; journalctl -u systemd-oomd -u earlyoom -n 20",
            check=again(case),
        )
        return [kernel, smaller]
    if trial and trial.memory_limit_source == "--diagnose-load-memory":
        return [Remedy(do=f"It takes more than {finding.facts['limit']}: plan for more than {finding.facts['peak']}.", check=again(case)), smaller]
    group = "cgroup" in finding.facts["source"] or killer == "above"
    taken = f"it had taken {finding.facts['peak']} when it was ended, and asked for more"
    more = (
        f"Raise the memory limit of the container or job ({finding.facts['source']}; docker run --memory, resources.limits.memory, #SBATCH --mem): {taken}."
        if group
        else f"Give it more memory (end what holds it, or take a machine with more): {taken}."
    )
    look = "cat /proc/self/cgroup" if group else "ps -eo pid,user,rss,comm --sort=-rss | head"
    return [Remedy(do=more, run=look, check=again(case)), smaller]


def _crash_remedies(finding: Finding, case: Case) -> list[Remedy]:
    packages = Remedy(
        do="Install the compiled packages again, in versions that fit each other (they are named by the frames above).",
        run="python -m pip install -U --force-reinstall torch safetensors tokenizers numpy && python -m pip check",
        check=again(case) + " --diagnose-load",
    )
    if finding.facts["signal"] == "7":
        return [
            Remedy(
                do="See whether /dev/shm or the disk of the model is full, and whether its files are whole.",
                run="df -h /dev/shm .",
                check=again(case) + " --diagnose-digests all",
            ),
            packages,
        ]
    if finding.facts["signal"] == "4":
        return [
            Remedy(
                do="Take a build for this processor (an older CPU has no AVX2; a build for another architecture has nothing in common).",
                run="grep -m1 -o -w -E 'avx2|avx512f|avx' /proc/cpuinfo",
                check=again(case),
            ),
            packages,
        ]
    return [packages]


def _failed_remedies(finding: Finding, case: Case) -> list[Remedy]:
    trial = case.trial if isinstance(case.trial, Trial) else None
    whom = "whoever looks after the command" if trial and trial.way == "command" else "the library that raised it"
    report = Remedy(
        do=f"Report it to {whom}, with report.json attached: it holds what was said, the versions and the machine, and no secret.",
        check=again(case) + " --diagnose-load",
    )
    if trial and trial.outcome == "hung":
        seconds = number(str(int(trial.limit_seconds * 3)))
        longer = Remedy(
            do=f"Give it more time, if it is only slow (a network disk, a large model); where it is still in {finding.facts['where'] or 'the same place'} then, look at what that waits for.",
            run=again(case) + f" --diagnose-load --diagnose-load-timeout {seconds}",
            check=again(case) + " --diagnose-load",
        )
        return [longer, report]
    if trial and trial.outcome == "loaded":
        return [
            Remedy(
                do="Fetch the weights again, or take an earlier checkpoint: what was saved is not what was trained.",
                check=again(case) + " --diagnose-digests all",
            ),
            report,
        ]
    return [report]


def _cause(cause: str, owner: tuple[Owner, ...], title: str, why: str) -> Cause:
    recognise = {"load-killed": _killed, "load-crashed": _crashed, "load-failed": _failed}[cause]
    remedies = {"load-killed": _more_memory, "load-crashed": _crash_remedies, "load-failed": _failed_remedies}[cause]
    return Cause(id=cause, owner=owner, title=title, why=why, recognise=recognise, remedies=remedies, lab=cause)


CAUSES: tuple[Cause, ...] = (
    _cause(
        "load-killed",
        ("machine",),
        "The loading process was killed{at} with {peak} of memory taken: {who}",
        "It ended without a traceback (“Killed”, exit status 137). The trial load was {what}.",
    ),
    _cause(
        "load-crashed",
        ("machine",),
        "The loading process crashed{at} (signal {signal})",
        "No exception: the process ended in compiled code. That means {crash}. The trial load was {what}.",
    ),
    _cause(
        "load-failed",
        ("author", "you"),
        "The load {ended}, and nothing that was seen here explains it",
        "What was tried is {what}, as you would do it.",
    ),
)  # fmt: skip
