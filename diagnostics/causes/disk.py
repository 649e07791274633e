"""Disk: room, the right to write, and what kind of file system it is. Told apart by errno and figures."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

from diagnostics.case import Case, Cause, Disk, Fault, Finding, Platform, Remedy, Unseen
from diagnostics.causes.claims import again
from diagnostics.causes.files_words import download, found, named, of_step, seen, shell_path
from diagnostics.causes.settings_common import set_variable


def _disk(case: Case, fault: Fault) -> Disk | None:
    return next((disk for disk in case.disks or () if disk.path == fault.subject.name), None)


def _facts(case: Case, fault: Fault) -> dict[str, str]:
    disk = _disk(case, fault)
    platform = case.environment.platform
    line = seen(fault, "free for this user")
    return {
        "path": fault.subject.name,
        "role": _role(disk),
        "short": fault.subject.name if len(fault.subject.name) <= 80 else f"{fault.subject.name[:60]}…",
        "mount": disk.mount if disk and disk.mount else "its file system",
        "kind": disk.kind if disk and disk.kind else "unknown",
        "free": line.seen,
        "needed": re.sub(r"^at least | \(.*", "", line.expected),
        "denied_at": disk.denied_at if disk and disk.denied_at else fault.subject.name,
        "denied_owner": disk.denied_owner if disk else "",
        "denied_mode": disk.denied_mode if disk else "",
        "a_file": "yes" if disk and disk.denied_mode.startswith("-") else "",
        "container": platform.container if isinstance(platform, Platform) else "",
        "user": platform.user if isinstance(platform, Platform) and platform.user else "this user",
        "elsewhere": next((item.path for item in case.disks or () if "elsewhere" in item.roles), ""),
        "inodes": seen(fault, "free inodes").seen,
        "file": seen(fault, "largest file").seen,
        "file_size": seen(fault, "largest file allowed").expected,
        "allowed": seen(fault, "largest file allowed").seen.partition(" (")[0],
        "limited_by": disk.file_limit_by if disk else "",
        "length": next((item.seen for item in fault.evidence if item.fact.startswith("longest ")), ""),
        "length_allowed": next((item.expected for item in fault.evidence if item.fact.startswith("longest ")), "what the system allows"),
        "what": next((item.fact.removeprefix("longest ") for item in fault.evidence if item.fact.startswith("longest ")), "path"),
    }


def _noexec(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """The mount option, and every import that failed where it holds."""
    own = of_step(faults, "disk", "noexec")
    failed = [fault for fault in of_step(faults, "packages", "import") if "Operation not permitted" in seen(fault, "import").seen]
    return found("disk-noexec", [*own, *failed], _merged(case, own)) if own else []


def _role(disk: Disk | None) -> str:
    if disk is None or "cache" in disk.roles:
        return "the cache"
    return next(
        (text for role, text in (("temp", "the folder for temporary files"), ("xet", "the folder that the transfer writes to")) if role in disk.roles),
        "the folder",
    )


def _by_code(cause: str, *codes: str, temporary: bool | None = None) -> Callable[[Case, tuple[Fault, ...]], list[Finding]]:
    """One finding a folder."""

    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        own = [fault for fault in of_step(faults, "disk", *codes) if temporary is None or _is_temporary(case, fault) == temporary]
        groups = {subject: [fault for fault in own if fault.subject == subject] for subject in dict.fromkeys(fault.subject for fault in own)}
        return [finding for members in groups.values() for finding in found(cause, members, _merged(case, members))]

    return recognise


def _merged(case: Case, faults: list[Fault]) -> dict[str, str]:
    """The facts of several faults on one folder: of each what the first has that knows it."""
    every = [_facts(case, fault) for fault in faults]
    return {key: next((facts[key] for facts in every if facts[key]), "") for key in every[0]}


def _stale(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """What the cache remembers wrongly, all of it at once."""
    own = of_step(faults, "cache", "stale")
    kinds = {item.fact for fault in own for item in fault.evidence}
    what = "refs name a commit that is not here" if "ref" in kinds else "it says of files the hub has that the hub has them not"
    return found("cache-metadata-stale", own, {"paths": named(fault.subject for fault in own), "what": what, "detail": own[0].evidence[0].seen}) if own else []


def _slow(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own = of_step(faults, "disk", "slow")
    if not own:
        return []
    facts = {"rate": seen(own[0], "writes").seen, "estimate": seen(own[0], "still to come").expected.removesuffix(" at that rate")}
    return found("disk-slow", own, _merged(case, own) | facts)


def _slow_remedies(finding: Finding, case: Case) -> list[Remedy]:
    see = Remedy(
        do="Or see who else writes there: a disk or a network file system that many share is fast again when they are done.",
        run="iostat -xz 1 5",
        check=again(case),
    )
    return [_move(finding, case), see]


def _is_temporary(case: Case, fault: Fault) -> bool:
    disk = _disk(case, fault)
    return disk is not None and bool({"temp", "xet"} & set(disk.roles)) and "cache" not in disk.roles


def _inodes(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """No inodes; a write that found no room on the same folder is the same thing."""
    own = of_step(faults, "disk", "inodes")
    full = [fault for fault in of_step(faults, "disk", "full") if any(fault.subject == other.subject for other in own)]
    return found("disk-inodes-exhausted", [*own, *full], _merged(case, own)) if own else []


def _space(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """Less free than is to come, or a disk so full that not even a short file could be written."""
    own = [fault for fault in of_step(faults, "disk", "space", "full") if not _is_temporary(case, fault)]
    if not own:
        return []
    facts = _merged(case, sorted(own, key=lambda fault: fault.code != "space"))
    return found("disk-space-insufficient", own, facts | {"free": facts["free"] or "nothing", "needed": facts["needed"] or "the download"})


def _move(finding: Finding, case: Case) -> Remedy:
    """Another place for the cache, one with room where one was seen."""
    place = finding.facts["elsewhere"]
    target = f"{place.rstrip('/')}/huggingface" if place else "/path/with/room/huggingface"
    where = f"{place} has room" if place else "put a folder with room in its place"
    return Remedy(
        do=f"Keep the cache on another file system ({where}).",
        run=set_variable("HF_HOME", target),
        check=f"df -h {shell_path(place)}" if place else again(case),
    )


def _space_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    clean = Remedy(
        do=f"Free what is missing on {facts['mount']}: {facts['needed']} are needed, {facts['free']} are free. See what the cache holds, and delete models no longer used:",
        run="hf cache ls",
        check=f"df -h {shell_path(_existing(facts))}",
    )
    volume = _volume(finding, case)
    return [_move(finding, case), clean, *volume] if facts["elsewhere"] else [*volume, clean, _move(finding, case)]


def _volume(finding: Finding, case: Case) -> list[Remedy]:
    """In a container whose own layer is full: a volume of the outside, which also outlives it."""
    facts = finding.facts
    place = shell_path(facts["path"])
    ways = {
        "docker": Remedy(do="Give the container a volume for the cache.", run=f"docker run -v models:{place} …", check=f"df -h {place}"),
        "podman": Remedy(do="Give the container a volume for the cache.", run=f"podman run -v models:{place} …", check=f"df -h {place}"),
        "kubernetes": Remedy(
            do=f"Mount a volume at {facts['path']} in the pod's manifest: a claim, or an emptyDir of more than {facts['needed']} (and raise resources.limits.ephemeral-storage).",
            run="kubectl explain pod.spec.volumes.emptyDir.sizeLimit",
            check=f"df -h {place}",
        ),
    }
    return [ways[facts["container"]]] if facts["kind"] == "overlay" and facts["container"] in ways else []


def _existing(facts: dict[str, str]) -> str:
    return facts["mount"] if facts["mount"].startswith(("/", "~")) else facts["path"]


def _temp_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do=f"Free some room on {finding.facts['mount']}, or let temporary files go elsewhere.",
            run="mkdir -p ~/tmp && export TMPDIR=~/tmp",
            check=f"df -h {shell_path(finding.facts['path'])}",
        )
    ]


def _inode_remedies(finding: Finding, case: Case) -> list[Remedy]:
    mount = shell_path(_existing(finding.facts))
    many = Remedy(
        do="Find the folder with the most small files, and remove those no longer needed (package caches, old environments).",
        run=f"du --inodes -x -d 3 {mount} | sort -n | tail",
        check=f"df -i {mount}",
    )
    return [many, _move(finding, case)]


def _quota_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do="Delete what is no longer needed of your own files there, or ask whoever runs the machine for a larger quota.",
            run="quota -s; hf cache ls",
            check=again(case),
        ),
        _move(finding, case),
    ]


def _read_only_remedies(finding: Finding, case: Case) -> list[Remedy]:
    path = finding.facts["path"]
    return [
        _move(finding, case),
        Remedy(
            do=f"Or have {finding.facts['mount']} mounted for writing; where it was and went read-only by itself, the disk has failed (dmesg says so).",
            run=f"findmnt -T {shell_path(_existing(finding.facts))}",
            check=f"touch {shell_path(path)}/probe && rm {shell_path(path)}/probe",
        ),
    ]


def _is_ones_own(denied: str, path: str) -> bool:
    """Whether the folder that refuses is the cache's own or below the home folder: a folder of the system's, or all of ``/``, is nobody's to take over."""
    return denied == path or denied.startswith((path.rstrip("/") + "/", "~/")) or "huggingface" in denied


def _denied(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return [
        dataclasses.replace(finding, facts={**finding.facts, "refusal": _refusal(finding.facts)})
        for finding in _by_code("cache-not-writable", "denied")(case, faults)
    ]


def _refusal(facts: Mapping[str, str]) -> str:
    if facts["a_file"]:
        return f"{facts['denied_at']} is a file, where {facts['role']} needs a folder"
    return f"{facts['user']} may not write to {facts['denied_at']} ({facts['denied_mode']}, owner {facts['denied_owner']})"


def _denied_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    place = shell_path(facts["denied_at"])
    if facts["a_file"]:
        aside = Remedy(do="Rename that file, so that a folder can be made in its place.", run=f"mv {place} {place}.old", check=again(case))
        return [_move(finding, case), aside] if facts["role"] != "the folder for temporary files" else _temp_remedies(finding, case)
    if not _is_ones_own(facts["denied_at"], facts["path"]):
        ask = Remedy(
            do=f"Or ask whoever runs the machine for a folder below {facts['denied_at']} that {facts['user']} may write to.",
            run=f"ls -ld {place}",
            check=again(case),
        )
        return [_move(finding, case), ask] if facts["role"] != "the folder for temporary files" else _temp_remedies(finding, case)
    own = Remedy(
        do=f"Make {facts['user']} its owner (it was probably made by a command run as {facts['denied_owner'] or 'another user'}, with sudo for instance).",
        run=f'sudo chown -R "$(id -u):$(id -g)" {place}',
        check=f"test -w {place} && echo writable",
    )
    return [own, _move(finding, case)] if facts["role"] != "the folder for temporary files" else [*_temp_remedies(finding, case)]


def _file_size_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts["limited_by"] != "ulimit -f":
        return [_move(finding, case)]
    lift = Remedy(
        do="Lift the limit in the shell that starts the download (a hard limit: in /etc/security/limits.conf or the batch system's settings, by its admin).",
        run="ulimit -f unlimited",
        check="ulimit -f",
    )
    return [lift]


def _length_remedies(finding: Finding, case: Case) -> list[Remedy]:
    short = Remedy(do="Keep the cache in a folder with a shorter path.", run=set_variable("HF_HOME", "~/hf"), check=again(case))
    windows = Remedy(
        do="Or let Windows have long paths (as administrator, then restart).",
        run="New-ItemProperty -Path HKLM:\\SYSTEM\\CurrentControlSet\\Control\\FileSystem -Name LongPathsEnabled -Value 1 -PropertyType DWORD -Force",
        check=again(case),
    )
    return [short, windows] if case.environment.shell in ("powershell", "cmd") else [short]


def _mapping_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts["role"] == "the cache":
        return [_move(finding, case)]
    source = shell_path(facts["path"])
    copy = Remedy(
        do=f"Copy the model onto a local disk and load it from there ({facts['kind']} at {facts['mount']} cannot map files).",
        run=f"cp -r {source} ~/model-copy",
        check=f"{again(case)}",
    )
    return [copy]


def _noexec_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    mount = shell_path(_existing(facts))
    return [
        Remedy(
            do="Make the environment on a file system that allows code, and install the packages there.",
            run="python -m venv ~/venv && ~/venv/bin/python -m pip install transformers torch",
            check="findmnt -T ~/venv",
        ),
        Remedy(do=f"Or have {facts['mount']} mounted with exec, by the admin of this machine.", run=f"sudo mount -o remount,exec {mount}", check=again(case)),
    ]


def _stale_remedies(finding: Finding, case: Case) -> list[Remedy]:
    paths = " ".join(shell_path(subject.name) for subject in finding.subjects[:10])
    again_ = Remedy(do="Then fetch the model once more; what is here already is not fetched again.", run=download(case), check=again(case))
    return [Remedy(do="Remove just these entries; the client writes them anew.", run=f"rm {paths}", check=again(case)), again_]


def _link_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do="It works, but every revision of a model takes its full size. Keep the cache on a file system with links; on Windows switch on Developer Mode.",
            run=_move(finding, case).run,
            check=again(case),
        )
    ]


CAUSES: tuple[Cause, ...] = (
    Cause(
        id="disk-read-only",
        owner=("machine",),
        title="{path} is on a read-only file system ({kind} at {mount})",
        why="Nothing can be written to {role}, whoever writes; the download ends before its first byte.",
        recognise=_by_code("disk-read-only", "read-only"),
        remedies=_read_only_remedies,
        lab="disk-read-only",
    ),
    Cause(
        id="cache-not-writable",
        owner=("machine",),
        title="{refusal}",
        why="It lies on the way to {path}, {role}. The download ends with a permission error before its first byte.",
        recognise=_denied,
        remedies=_denied_remedies,
        lab="cache-not-writable",
    ),
    Cause(
        id="path-too-long",
        owner=("machine",),
        title="The paths that the client makes in {short} are too long: a {what} of {length}, {length_allowed} are allowed",
        why="The cache keeps files under their digests, some 150 characters below its own folder; the system refuses the path and says “file name too long”.",
        recognise=_by_code("path-too-long", "path-length"),
        remedies=_length_remedies,
        lab="path-too-long",
    ),
    Cause(
        id="file-size-limited",
        owner=("machine",),
        title="{file} has {file_size}, and {limited_by} allows files of {allowed} at most in {path}",
        why="The download ends with “file too large” when it reaches the limit.",
        recognise=_by_code("file-size-limited", "file-size"),
        remedies=_file_size_remedies,
        lab="file-size-limited",
    ),
    Cause(
        id="disk-quota-exceeded",
        owner=("machine",),
        title="The disk quota of {user} on {mount} is used up, so nothing can be written to {path}",
        why="The file system has room, but not for this user: writing 4 KiB was refused for the quota (EDQUOT).",
        recognise=_by_code("disk-quota-exceeded", "quota"),
        remedies=_quota_remedies,
        lab=Unseen("unsupported", "no file system of this kernel has quotas; a hand-made Case stands in"),
    ),
    Cause(
        id="disk-inodes-exhausted",
        owner=("machine",),
        title="{mount} has no inodes left: no further file can be made in {path}",
        why="A file system holds a fixed number of files, and that number is reached, however much room is free. The error says “no space left on device”.",
        recognise=_inodes,
        remedies=_inode_remedies,
        lab="disk-inodes-exhausted",
    ),
    Cause(
        id="temp-space-insufficient",
        owner=("machine",),
        title="There is no room for temporary files in {path}",
        why="Writing 4 KiB there failed for want of room. Tools that build, unpack or convert use it.",
        recognise=_by_code("temp-space-insufficient", "full", temporary=True),
        remedies=_temp_remedies,
        lab="temp-space-insufficient",
    ),
    Cause(
        id="disk-space-insufficient",
        owner=("machine",),
        title="{mount} has too little room: {free} free, {needed} still to come",
        why="{path}, {role}, is on that file system. The client begins the download all the same and fails when the disk is full.",
        recognise=_space,
        remedies=_space_remedies,
        lab="disk-space-insufficient",
    ),
    Cause(
        id="disk-noexec",
        owner=("machine",),
        title="{mount} refuses code (noexec), and the compiled packages in {path} lie on it",
        why="The import of torch, tokenizers or safetensors ends with “failed to map segment from shared object: Operation not permitted”.",
        recognise=_noexec,
        remedies=_noexec_remedies,
        lab="disk-noexec",
    ),
    Cause(
        id="mmap-unsupported",
        owner=("machine",),
        title="Files in {path} cannot be mapped into memory ({kind} at {mount})",
        why="safetensors maps its files and fails there with “No such device”.",
        recognise=_by_code("mmap-unsupported", "mapping"),
        remedies=_mapping_remedies,
        lab=Unseen("unsupported", "no file system of this kernel refuses to map; a hand-made Case stands in"),
    ),
    Cause(
        id="disk-slow",
        owner=("machine",),
        severity="warning",
        title="{mount} writes {rate}: this model would take {estimate}, however fast it comes",
        why="What arrives is written there ({path}, {kind}), and the download waits for it.",
        recognise=_slow,
        remedies=_slow_remedies,
        lab=Unseen("unsupported", "no disk here is slow enough; the probe is tried for real, and a hand-made Case stands in"),
    ),
    Cause(
        id="cache-metadata-stale",
        owner=("you",),
        title="The cache remembers what is no longer so: {what}",
        why="The client believes its cache and does not look further: {paths} ({detail}).",
        recognise=_stale,
        remedies=_stale_remedies,
        lab="cache-metadata-stale",
    ),
    Cause(
        id="cache-symlinks-unsupported",
        owner=("machine",),
        severity="warning",
        title="{path} cannot hold symbolic links ({kind} at {mount})",
        why="The client keeps one copy of each file and links to it; without links every revision is a full copy.",
        recognise=_by_code("cache-symlinks-unsupported", "links"),
        remedies=_link_remedies,
        lab=Unseen("unsupported", "no file system without links can be made here (FAT is not in this kernel); a hand-made Case stands in"),
    ),
)
