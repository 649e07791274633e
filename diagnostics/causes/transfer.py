"""The bytes under way: cut, stalled, slow, or not those that were published."""

from __future__ import annotations

import shlex

from diagnostics.case import Body, CacheState, Case, Cause, Disk, Fault, Finding, Leg, Limits, Lock, Pace, Platform, Published, Remedy, Unseen
from diagnostics.causes.claims import again, by_subject, journey_of, on_legs
from diagnostics.causes.files_words import download, found, named, of_step, seen, shell_path
from diagnostics.causes.settings_common import set_variable
from diagnostics.causes.versions_common import NO_THREAD, failed_imports, threads_without_memory

HOW = {
    "reset": "The connection was reset before the end of {file}.",
    "truncated": "The connection was closed before the end of {file}.",
    "short": "The answer is in order, and what it holds is shorter than {file} as published: that host (or something on the way) has only a part of it.",
}


def _facts(case: Case, fault: Fault, leg: Leg) -> dict[str, str]:
    body, journey = leg.body, journey_of(case, fault)
    assert isinstance(body, Body)
    name = (journey.path if journey else "") or leg.url
    published = journey.published if journey and isinstance(journey.published, Published) else None
    known = (published.bytes if published else None) if fault.code in ("short", "digest") else body.expected
    return {
        "host": leg.host,
        "url": journey.legs[0].url if journey else leg.url,  # what is signed is in no record: the first URL leads there anew
        "file": name,
        "bytes": str(body.bytes),
        "of": f" of {known}" if isinstance(known, int) else "",
        "how": HOW.get(fault.code, "").format(file=name),
        "length": "The length is right and the digest is not." if body.bytes == known else "The digest is not the published one.",
        "silence": f"{body.stalled_seconds:.0f}",
        "rate": next((item.seen.partition(" over ")[0] for item in fault.evidence if item.fact == "rate"), ""),
        "estimate": next((item.expected.partition(" at ")[0] for item in fault.evidence if item.fact == "still to come"), ""),
    }


def _found(cause: str, case: Case, faults: tuple[Fault, ...], *codes: str) -> list[Finding]:
    return by_subject(cause, on_legs(case, faults, "body", *codes), lambda fault, leg: _facts(case, fault, leg))


def _truncated(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return _found("download-truncated", case, faults, "truncated", "reset", "short")


def _truncated_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts["how"] == HOW["short"].format(file=facts["file"]):
        return [
            Remedy(
                do=f"Take {facts['file']} from another mirror or over another network, and report it to {facts['host']}: a retry there brings the same part again.",
                check=f"curl -sSL -o /dev/null -w '%{{size_download}}\\n' {shlex.quote(facts['url'])}",
            )
        ]
    return [
        Remedy(
            do=f"Fetch it with a client that resumes (hf download and curl -C - do); if it is cut at the same place again, something between limits size or time: try another network, or ask the admin of this one about {facts['host']}.",
            run=download(case) if case.target.kind == "hub" else f"curl -L -C - --retry 20 --retry-all-errors -O {shlex.quote(facts['url'])}",
            check=again(case),
        )
    ]


def _stalled(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return _found("download-stalled", case, faults, "stalled")


def _stalled_remedies(finding: Finding, case: Case) -> list[Remedy]:
    hub = case.target.kind == "hub"
    patient = Remedy(
        do="Give the client more patience, and fetch with one plain connection at a time.",
        run="export HF_HUB_DOWNLOAD_TIMEOUT=60 HF_HUB_DISABLE_XET=1",
        check=again(case),
    )
    return [
        *([patient] if hub else []),
        Remedy(
            do=f"Try another network; if it works there, something here holds back the bytes from {finding.facts['host']} (an inspecting proxy that scans first, a rate limit): ask its admin.",
            check=f"curl -L -o /dev/null --speed-limit 1 --speed-time 15 {shlex.quote(finding.facts['url'])}",
        ),
    ]


def _digest(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return _found("remote-checksum-mismatch", case, faults, "digest")


def _digest_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Fetch {facts['file']} over another network and compare. If it differs there too, report it to {facts['host']}; if not, something on this network changes the bytes. Do not load what you have.",
            check=f"curl -sSL {shlex.quote(facts['url'])} | sha256sum",
        )
    ]


def _slow(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return _found("download-slow", case, faults, "slow")


PARALLEL_HELPS = 1.7  # times the rate of one connection: less may be chance


def _several_help(case: Case) -> float:
    """How many times faster several connections were than one; 0 where that was not tried or makes no difference."""
    pace = case.pace
    if not isinstance(pace, Pace) or not isinstance(pace.together_bytes_per_second, float) or not pace.single_bytes_per_second:
        return 0.0
    times = pace.together_bytes_per_second / pace.single_bytes_per_second
    return times if times >= PARALLEL_HELPS else 0.0


def _with_several(case: Case, times: float) -> Remedy:
    """Where each connection is limited: a client that opens several (huggingface_hub fetches one file on one connection; hf_xet many pieces at once)."""
    pace = case.pace
    assert isinstance(pace, Pace)
    do = f"Each connection is limited, and {pace.connections} at once were {times:.1f} times as fast: use a client that opens several"
    url = next((journey.legs[0].url for journey in case.journeys or () if journey.name == pace.journey and journey.legs), "")
    if case.target.kind == "hub" and any(use.family == "hf_xet" for use in case.target.transports) and _is_xet(case, pace):
        return Remedy(do=f"{do}.", run=f"{set_variable('HF_XET_HIGH_PERFORMANCE', '1')}; {download(case)}", check=again(case))
    return Remedy(
        do=f"{do}; aria2c writes the file into the working folder, to be loaded from there.", run=f"aria2c -c -x 8 -s 8 {shlex.quote(url)}", check=again(case)
    )


def _with_one(case: Case, pace: Pace) -> Remedy:
    """Where the host refuses further connections of one address: what opens several loses time to refusals."""
    one = f"{set_variable('HF_HUB_DISABLE_XET', '1')}; {download(case, (), '--max-workers', '1')}" if case.target.kind == "hub" else ""
    return Remedy(
        do=f"{pace.host} refuses further connections from here ({pace.refused}): fetch one file at a time, on one connection.", run=one, check=again(case)
    )


def _is_xet(case: Case, pace: Pace) -> bool:
    legs = next((journey.legs for journey in case.journeys or () if journey.name == pace.journey), ())
    return any(header.name == "x-xet-hash" for leg in legs if leg.response for header in leg.response.headers)


def _slow_remedies(finding: Finding, case: Case) -> list[Remedy]:
    times = _several_help(case)
    return [
        *([_with_several(case, times)] if times else []),
        *([_with_one(case, case.pace)] if isinstance(case.pace, Pace) and case.pace.refused in ("429", "503", "reset", "no connection") else []),
        Remedy(
            do="Use a nearer mirror (HF_ENDPOINT), an hour with less traffic, or a smaller or quantised variant of the model; a resumable client (hf download) may run over night.",
            check=again(case),
        ),
    ]


# --- what the machine allows a transfer -----------------------------------------------------------------------------------------


def _open_files(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own = of_step(faults, "limits", "open-files")
    if not own:
        return []
    line = seen(own[0], "open files")
    hard = seen(own[0], "hard limit").seen
    return found("open-files-limited", own, {"limit": line.seen, "needed": line.expected.removeprefix("at least "), "hard": hard})


def _open_files_remedies(finding: Finding, case: Case) -> list[Remedy]:
    hard = finding.facts["hard"]
    high = "4096" if not hard.isdigit() or int(hard) >= 4096 else hard
    lift = Remedy(do="Raise the limit in the shell that starts the download or the load.", run=f"ulimit -n {high}", check="ulimit -n")
    least = int(finding.facts["needed"].split(" ")[0]) if finding.facts["needed"].split(" ")[0].isdigit() else 64
    if hard.isdigit() and int(hard) < least:
        return [
            Remedy(
                do=f"The hard limit, {hard}, is too low as well: have it raised in /etc/security/limits.conf, the service's LimitNOFILE or the container's --ulimit nofile.",
                run="ulimit -Hn",
                check="ulimit -Hn",
            )
        ]
    return [lift]


def _processes(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own, failed = of_step(faults, "limits", "processes"), failed_imports(faults, NO_THREAD)
    if (not own and not failed) or threads_without_memory(case, faults):
        return []
    limit = next(iter(case.limits.processes), None) if isinstance(case.limits, Limits) else None
    source = limit.source if limit else "this system"
    if not own:
        return found("processes-limited", failed, {"source": source, "used": "all", "needed": f"room for the threads of {failed[0].subject.name}"})
    line = seen(own[0], "processes and threads")
    facts = {"source": own[0].subject.name if line.seen else source, "used": line.seen or "all", "needed": line.expected.partition(" (")[0] or "room for more"}
    return found("processes-limited", [*own, *failed], facts)


def _processes_remedies(finding: Finding, case: Case) -> list[Remedy]:
    platform = case.environment.platform
    container = platform.container if isinstance(platform, Platform) else ""
    fewer = Remedy(
        do="Or do with fewer threads: one download at a time, one thread to compute with.",
        run="OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_DISABLE_XET=1 hf download --max-workers 1 "
        + (shlex.quote(case.target.name) if case.target.kind == "hub" else "ORG/NAME"),
        check=again(case),
    )
    if "pids.max" in finding.facts["source"]:
        how = {"docker": "docker run --pids-limit 4096 …", "podman": "podman run --pids-limit 4096 …"}.get(container, "cat /proc/self/cgroup")
        text = f"Raise the limit of {finding.facts['source']} where the container or the service is set up (systemd: TasksMax; Kubernetes: the kubelet's podPidsLimit)."
        return [Remedy(do=text, run=how, check=again(case)), fewer]
    return [Remedy(do="End processes of yours that are not needed, or raise the limit.", run="ulimit -u 4096", check="ulimit -u"), fewer]


def _lock_of(case: Case, fault: Fault) -> Lock | None:
    locks = case.cache_state.locks if isinstance(case.cache_state, CacheState) else ()
    return next((lock for lock in locks if lock.path == fault.subject.name), None)


def _locked(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own = of_step(faults, "cache", "lock-held", "lock-dead")
    if not own:
        return []
    lock = _lock_of(case, own[0])
    facts = {
        "files": named(fault.subject for fault in own),
        "holder": seen(own[0], "held").seen.removeprefix("by "),
        "pid": str(lock.pid) if lock and isinstance(lock.pid, int) and not lock.elsewhere else "",
        "elsewhere": "yes" if lock and lock.elsewhere else "",
        "dead": "yes" if own[0].code == "lock-dead" else "",
        "guards": (lock.file if lock else "") or "a file that is still to come",
        "under_way": "yes" if own[0].severity == "warning" else "",
    }
    return found("lock-held", own, facts)


def _locked_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    first = finding.subjects[0].name
    see = f"ps -fp {facts['pid']}" if facts["pid"] else f"fuser -v {shell_path(first)}"
    if facts["elsewhere"]:
        look = "It names a process and the machine or container that it ran in: see there whether it still runs, and only where it is gone remove the lock."
        return [Remedy(do=look, run=f"cat {shell_path(first)}", check=again(case))]
    remove = Remedy(do="Nobody uses it any more: remove the lock that was left behind.", run=f"rm {shell_path(first)}", check=again(case))
    wait = Remedy(do="Wait until that download has ended; it fetches the very file that is asked for here.", run=see, check=again(case))
    end = Remedy(
        do=f"See what it is, and end it if it hangs{' (on the machine or in the container where it runs)' if not facts['pid'] else ''}; the lock goes with it.",
        run=see,
        check=f"flock -n {shell_path(first)} true && echo free",
    )
    return [remove] if facts["dead"] else [wait, end] if facts["under_way"] else [end]


def _unlockable(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own = of_step(faults, "disk", "locks")
    disk = next((disk for disk in case.disks or () if own and disk.path == own[0].subject.name), None)
    facts = {"path": own[0].subject.name, "error": seen(own[0], "flock").seen, "kind": disk.kind or "unknown", "mount": disk.mount} if own and disk else {}
    return found("lock-unsupported", own, facts) if own and facts else []


def _unlockable_remedies(finding: Finding, case: Case) -> list[Remedy]:
    kind = finding.facts["kind"]
    place = next((disk.path for disk in case.disks or () if isinstance(disk, Disk) and "elsewhere" in disk.roles), "/local/disk")
    local = Remedy(do="Keep the cache on a local disk.", run=set_variable("HF_HOME", f"{place.rstrip('/')}/huggingface"), check=again(case))
    option = {"nfs": "nolock removed, or local_lock=flock", "lustre": "-o flock", "nfs4": "nolock removed, or local_lock=flock"}.get(kind, "locks")
    admin = Remedy(
        do=f"Or have {finding.facts['mount']} mounted with working locks ({option}), by its admin.",
        run=f"findmnt -T {shell_path(finding.facts['path'])}",
        check=again(case),
    )
    return [local, admin]


CAUSES = (
    Cause(
        id="open-files-limited",
        owner=("machine",),
        title="This process may open {limit} files at once, and it needs at least {needed}",
        why="Files, connections and locks count alike. What exceeds the limit ends with “Too many open files” (EMFILE), often in a place that has nothing to do with it.",
        recognise=_open_files,
        remedies=_open_files_remedies,
        lab="open-files-limited",
    ),
    Cause(
        id="processes-limited",
        owner=("machine",),
        title="No further processes and threads may be started: {used} by {source}, and there must be {needed}",
        why="Downloads and computing use threads. The error says “can't start new thread” or “Resource temporarily unavailable”.",
        recognise=_processes,
        remedies=_processes_remedies,
        lab="processes-limited",
    ),
    Cause(
        id="lock-unsupported",
        owner=("machine",),
        title="Locks do not work in {path} ({kind} at {mount}): {error}",
        why="The client locks each file that it downloads; where that is refused the download ends, and where it is not known at all two downloads may spoil each other's files.",
        recognise=_unlockable,
        remedies=_unlockable_remedies,
        lab=Unseen("unsupported", "every file system of this kernel has locks; a test refuses flock with strace, and a hand-made Case stands in"),
    ),
    Cause(
        id="lock-held",
        owner=("machine",),
        title="{guards} is locked by {holder}",
        why="The client waits for {files} without a word, as long as it takes.",
        recognise=_locked,
        remedies=_locked_remedies,
        lab="lock-held",
    ),
    Cause(
        id="download-truncated",
        owner=("network", "server"),
        title="The download from {host} is cut: {bytes}{of} bytes came",
        why="{how} Some clients save such a file as if it were whole.",
        recognise=_truncated,
        remedies=_truncated_remedies,
        lab="download-truncated",
    ),
    Cause(
        id="download-stalled",
        owner=("network",),
        title="The download from {host} stops after {bytes} bytes and says nothing for {silence} s",
        why="The connection stays open and no byte comes. Clients wait out their time-outs, several times, and report only “timed out”.",
        recognise=_stalled,
        remedies=_stalled_remedies,
        lab="download-stalled",
    ),
    Cause(
        id="remote-checksum-mismatch",
        owner=("server", "network"),
        title="{host} sends other bytes for {file} than were published",
        why="{length} No client of the hub checks this; the model would load and be wrong.",
        recognise=_digest,
        remedies=_digest_remedies,
        lab="remote-checksum-mismatch",
    ),
    Cause(
        id="download-slow",
        owner=("network",),
        severity="warning",
        title="At {rate} this download would take {estimate}",
        why="The link to {host} works, only slowly, for what is still to come.",
        recognise=_slow,
        remedies=_slow_remedies,
        lab="download-slow",
    ),
)
