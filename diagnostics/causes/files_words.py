"""What the causes of the machine's side say alike: which faults, paths in commands, how to fetch a file again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from diagnostics.case import Case, Evidence, Fault, Files, FileSeen, Finding, Remedy, Severity, Subject, Unseen
from diagnostics.causes.claims import again

MOST_NAMED = 5
_SNAPSHOT = re.compile(r"models--(?P<name>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})/?$")


def of_step(faults: Iterable[Fault], step: str, *codes: str) -> list[Fault]:
    return [fault for fault in faults if fault.step == step and fault.code in codes]


def found(cause: str, claims: Iterable[Fault], facts: Mapping[str, str], severity: Severity | None = None, ruled_out: tuple[str, ...] = ()) -> list[Finding]:
    """One finding for all of these faults; none for none."""
    members = tuple(claims)
    if not members:
        return []
    subjects = tuple(dict.fromkeys(fault.subject for fault in members))
    return [Finding(cause=cause, subjects=subjects, claims=members, facts=dict(facts), severity=severity or Unseen("absent"), ruled_out=ruled_out)]


def named(subjects: Iterable[Subject]) -> str:
    """Their names, the first few."""
    names = [subject.name for subject in dict.fromkeys(subjects)]
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def base_names(subjects: Iterable[Subject]) -> str:
    return named(Subject(kind=subject.kind, name=subject.name.rpartition("/")[2]) for subject in subjects)


def seen(fault: Fault, fact: str) -> Evidence:
    """One line of a fault's evidence, an empty one where it is not there."""
    return next((item for item in fault.evidence if item.fact == fact), Evidence(subject=fault.subject, fact=fact, seen=""))


def shell_path(path: str) -> str:
    """A record's path in a command: quoted, but for the ``~`` that stands for the home folder."""
    return "~/" + shlex.quote(path[2:]) if path.startswith("~/") and len(path) > 2 else path if path == "~" else shlex.quote(path)


def hub_command(case: Case) -> str:
    """The hub's command line of the installed client (``hf`` from 0.34 on)."""
    client = case.target.client
    return "huggingface-cli" if client and client.family == "huggingface_hub-0" else "hf"


def download(case: Case, paths: Iterable[str] = (), *options: str) -> str:
    """The command that fetches the target's repository, or just these files of it; past a switch that keeps the client off the network."""
    target = case.target
    switches = [word for variable in case.environment.offline if variable.truthy for word in ("-u", variable.name)]
    words = [*(["env", *switches] if switches else []), hub_command(case), "download", target.name, *list(paths)[:MOST_NAMED]]
    words += ["--revision", target.revision] if target.revision != "main" else []
    words += ["--repo-type", target.repository_type] if target.repository_type != "model" else []
    return shlex.join([*words, *options])


def paths_of(case: Case, finding: Finding) -> list[str]:
    """The target's own paths of the finding's files."""
    files = case.files
    if not isinstance(files, Files):
        return []
    by_place = {(item.location or f"{files.path.rstrip('/')}/{item.path}"): item.path for item in (*files.files, *files.absent)}
    return [by_place.get(subject.name, subject.name.rpartition("/")[2]) for subject in finding.subjects]


# What --diagnose-repair puts right: files whose bytes are not those that were published. Not what may not be read, nor what would be unsafe to load.
REPAIRABLE = frozenset(
    [
        "archive-damaged",
        "cache-link-broken",
        "config-missing",
        "download-unfinished",
        "file-checksum-mismatch",
        "file-empty",
        "file-missing",
        "file-structure-damaged",
        "file-trailing-bytes",
        "file-truncated",
        "file-zero-filled",
        "format-unrecognised",
        "html-instead-of-file",
        "index-missing",
        "json-invalid",
        "lfs-pointer",
        "model-not-cached",
        "safetensors-header-invalid",
        "shard-missing",
        "weights-missing",
    ]
)


def repair(case: Case, finding: Finding) -> list[Remedy]:
    """Let this tool do it, where it knows by itself from where: the hub's cache, or a snapshot of it."""
    folder = case.files.path if isinstance(case.files, Files) else ""
    known = case.target.kind == "hub" or bool(_SNAPSHOT.search(folder))
    if not known or finding.cause not in REPAIRABLE or case.target.spec.partition(":")[0] == "demo":
        return []
    switches = [word for variable in case.environment.offline if variable.truthy for word in ("-u", variable.name)]
    command = f"{again(case)} --diagnose-repair"
    return [
        Remedy(
            do="Let this tool put it right: it fetches what is missing or wrong and nothing else, verifies it, and keeps what it replaces.",
            run=f"{shlex.join(['env', *switches])} {command}" if switches else command,
            check=again(case),
        )
    ]


def fetch_again(case: Case, finding: Finding, do: str = "") -> list[Remedy]:
    """Get these very files once more, from where they came."""
    names = paths_of(case, finding)
    ours = repair(case, finding)
    if case.target.kind == "hub":
        return [
            *ours,
            Remedy(
                do=do or "Fetch just this again; the client takes what lies in the cache for good as long as it is not told to.",
                run=download(case, names, "--force-download"),
                check=again(case),
            ),
        ]
    folder = case.files.path if isinstance(case.files, Files) else ""
    check = again(case)
    if match := _SNAPSHOT.search(folder):  # the path itself says which repository it is
        command = ["hf", "download", match["name"].replace("--", "/", 1), *names[:MOST_NAMED], "--revision", match["commit"], "--force-download"]
        told = "Fetch just this again into the hub's cache; the folder is the snapshot of a repository in it."
        return [*ours, Remedy(do=told if not do or "ORG/NAME" in do else do, run=shlex.join(command), check=check)]
    shown = ", ".join(names[:MOST_NAMED]) or "it"
    origin = f"Fetch {shown} again from where the model came, into {folder}." if folder else f"Fetch {shown} again."
    return [
        Remedy(
            do=do or f"{origin} If it came from the hub, with the model's own id in place of ORG/NAME:",
            run=f"hf download ORG/NAME {shlex.join(names[:MOST_NAMED])} --local-dir {shell_path(_folder(case))} --force-download",
            check=check,
        )
    ]


def _folder(case: Case) -> str:
    files = case.files
    if not isinstance(files, Files):
        return "."
    return files.path if files.place != "file" else files.path.rpartition("/")[0] or "."


def file_facts(case: Case, faults: list[Fault]) -> dict[str, str]:
    if not faults:
        return {}
    first, item = faults[0], file_of(case, faults[0])
    return {
        "file": base_names(fault.subject for fault in faults),
        "path": first.subject.name,
        "folder": case.files.path if isinstance(case.files, Files) else "",
        "detail": next((line.expected for line in first.evidence if line.expected and line.fact in ("what it is", "here", "left behind")), ""),
        "bytes": str(item.bytes) if item and isinstance(item.bytes, int) else "an unknown number of",
        "due": str(item.expected_bytes) if item and isinstance(item.expected_bytes, int) else "",
        "content": item.content if item else "",
        "offset": next((line.seen for line in first.evidence if line.fact == "from byte"), ""),
        "count": str(len({fault.subject for fault in faults})),
    }


def file_of(case: Case, fault: Fault) -> FileSeen | None:
    files = case.files
    members = (*files.files, *files.absent, *files.unfinished) if isinstance(files, Files) else ()
    return next((item for item in members if fault.subject.name in (item.location, item.path) or fault.subject.name.endswith("/" + item.path)), None)
