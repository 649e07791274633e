"""Files: what is missing, cut short, or something else than its name says. Read from bytes; a wrong digest of a file that is broken anyway stands under it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from urllib.parse import quote

from diagnostics.case import Case, Cause, Digests, Fault, Files, Finding, Owner, Platform, Remedy, Severity
from diagnostics.causes.claims import again
from diagnostics.causes.files_pickles import PICKLE_UNSAFE
from diagnostics.causes.files_words import MOST_NAMED, download, fetch_again, file_facts, found, of_step, paths_of, repair, seen, shell_path

Recognise = Callable[[Case, tuple[Fault, ...]], list[Finding]]
Remedies = Callable[[Finding, Case], list[Remedy]]
SETS = ("weights-missing", "config-missing", "file-missing", "shard-missing", "index-missing")


def _by_code(code: str) -> Recognise:
    """All files with this defect, and their digests, which cannot be right."""

    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        own = of_step(faults, "files", code)
        broken = {fault.subject for fault in own}
        digests = [fault for fault in of_step(faults, "digests", "mismatch") if fault.subject in broken]
        return found(code, [*own, *digests], file_facts(case, own)) if own else []

    return recognise


# --- nothing here, or not all ---------------------------------------------------------------------------------------------------


def _not_cached(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own = of_step(faults, "files", "not-cached", "model-not-cached")
    return (
        found(
            "model-not-cached",
            own,
            {"name": case.target.name, "folder": case.files.path if isinstance(case.files, Files) else "", "missing": seen(own[0], "does not hold").seen},
        )
        if own
        else []
    )


def _not_cached_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do="Fetch it once while the network may be used (or on a machine where it may, and copy the cache's folder of the model).",
            run=f"env -u HF_HUB_OFFLINE -u TRANSFORMERS_OFFLINE {download(case)}",
            check=again(case),
        ),
    ]


def _empty_remedies(finding: Finding, case: Case) -> list[Remedy]:
    folder, platform = finding.facts["path"], case.environment.platform
    kind = platform.container if isinstance(platform, Platform) else ""
    check = f"ls -la {shell_path(folder)}"
    if kind in ("docker", "podman"):
        mount = f"{kind} run -v /path/on/the/host:{shell_path(folder)}:ro …"
        return [
            Remedy(
                do="This runs in a container: an empty folder there is mostly a volume that was not mounted, or whose host path does not exist. Start it with the folder that holds the model.",
                run=mount,
                check=check,
            )
        ]
    if kind == "kubernetes":
        return [
            Remedy(
                do=f"Look at the pod's volumeMounts for {folder} and at the volume behind it: it is empty, or another one.",
                run="kubectl describe pod $HOSTNAME",
                check=check,
            )
        ]
    return [
        Remedy(
            do=f"Copy the model into {folder}, or mount what holds it. If it is on the hub, with the model's own id in place of ORG/NAME:",
            run=f"hf download ORG/NAME --local-dir {shell_path(folder)}",
            check=check,
        )
    ]


def _config_remedies(finding: Finding, case: Case) -> list[Remedy]:
    detail, folder = finding.facts["detail"], finding.facts["folder"].rstrip("/")
    for words, form in (
        ("there is one in the folder above, ", "{}"),
        ("there is one in ", f"{folder}/{{}}"),
        ("further down: ", f"{folder}/{{}}"),
        ("by their ids: ", "{}"),
    ):
        _, found_words, rest = detail.partition(words)
        if found_words:
            inner = form.format(rest.split(", ")[0])
            what = f"Name the model by its id, {inner}." if "ids" in words else f"Name the folder of the model itself: {inner}."
            check = again(case) if "ids" in words else f"ls {shell_path(inner)}/config.json"
            return [Remedy(do=what, run=f"pytest diagnostics --diagnose {shell_path(inner)}", check=check)]
    return fetch_again(case, finding)


def _weights_remedies(finding: Finding, case: Case) -> list[Remedy]:
    """What lies further down: DeepSpeed's own files are gathered, a Trainer's checkpoint is named itself."""
    folder, detail = finding.facts["folder"], finding.facts["detail"]
    step, checkpoint = (next(iter(re.findall(form, detail)), "") for form in (r"global_step\d+", r"checkpoint-\d+"))
    if step:
        gather = Remedy(
            do=f"Gather the weights from {step} with the script that DeepSpeed left beside it (zero_to_fp32.py).",
            run=f"cd {shell_path(folder)} && python zero_to_fp32.py . . --safe_serialization",
            check=again(case),
        )
        return [gather, *fetch_again(case, finding)]
    if checkpoint:
        inner = f"{folder.rstrip('/')}/{checkpoint}"
        return [Remedy(do=f"Name the checkpoint itself: {inner}.", run=f"pytest diagnostics --diagnose {shell_path(inner)}", check=f"ls {shell_path(inner)}")]
    return fetch_again(case, finding)


def _unfinished(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """What was left half-downloaded explains what is missing beside it."""
    own = of_step(faults, "files", "download-unfinished")
    return found("download-unfinished", [*own, *of_step(faults, "files", *SETS, "not-cached")], file_facts(case, own)) if own else []


def _unfinished_remedies(finding: Finding, case: Case) -> list[Remedy]:
    if case.target.kind == "hub":
        return [
            Remedy(
                do="Let the download finish; what is whole already is not fetched again.",
                run=f"env -u HF_HUB_OFFLINE -u TRANSFORMERS_OFFLINE {download(case)}",
                check=again(case),
            ),
            *repair(case, finding),
        ]
    left = [subject.name for subject in finding.subjects if "." in subject.name][:MOST_NAMED]
    return [
        Remedy(
            do=f"Let the program that was fetching into {finding.facts['folder']} finish (it may still be running), or start it again: curl -C -, aria2c -c and hf download go on where they stopped.",
            run=" && ".join(f"ls -la {shell_path(name)}" for name in left),
            check=again(case),
        )
    ]


# --- not what it should be --------------------------------------------------------------------------------------------------------


def _lfs_remedies(finding: Finding, case: Case) -> list[Remedy]:
    folder, names = finding.facts["folder"], paths_of(case, finding)
    pull = Remedy(
        do="Let git-lfs fetch what the pointers stand for (install it first where “git lfs” is unknown).",
        run=f"git -C {shell_path(folder)} lfs install --local && git -C {shell_path(folder)} lfs pull --include {shlex.quote(','.join(names[:MOST_NAMED]))}",
        check=again(case),
    )
    again_from_hub = fetch_again(
        case, finding, "Or fetch the files themselves, without git. With the model's own id in place of ORG/NAME:" if case.target.kind != "hub" else ""
    )
    if case.target.kind == "hub":
        return again_from_hub
    if case.target.kind != "directory":
        return [pull, *again_from_hub]
    ours = Remedy(
        do="Or, where the folder was cloned from the hub, let this tool fetch what the pointers name, without git-lfs; it verifies it and keeps the pointers.",
        run=f"{again(case)} --diagnose-repair",
        check=again(case),
    )
    return [pull, ours, *(remedy for remedy in again_from_hub if remedy.run != ours.run)]


def _page_remedies(finding: Finding, case: Case) -> list[Remedy]:
    hint = "The page's text often says why: a log-in, a block page, a file that is gone. From the hub, take the address with /resolve/ instead of /blob/."
    first = Remedy(do=f"Look at what was saved. {hint}", run=f"head -c 400 {shell_path(finding.facts['path'])}", check=again(case))
    return [*fetch_again(case, finding), first]


# errno → (why, what to do, what to run). By its name, which the probe puts into the detail.
READ_ERRORS = {
    "ESTALE": ("The server no longer knows the file that was opened there: it was replaced, or the export moved.", "Mount it anew, or let the export's owner look at it", "findmnt -T {path}"),
    "ENOTCONN": ("What serves this mount has ended (a FUSE mount: s3fs, gcsfuse, sshfs).", "Unmount it and mount it again", "findmnt -T {path}"),
    "EIO": ("The disk, or whatever serves this mount, has the file and cannot give its bytes.", "Look at what the kernel says of the disk, then put the file on another one", "dmesg | grep -iE 'i/o error|medium|nfs|fuse' | tail"),
}  # fmt: skip
READ_ERRORS |= {"EBADMSG": ("The file system's own checksum of these bytes is wrong: they changed on the disk.", *READ_ERRORS["EIO"][1:])}
READ_ERRORS |= dict.fromkeys(("EUCLEAN", "ENODATA", "ENXIO", "ENODEV", "EREMOTEIO", "ENOMEDIUM"), READ_ERRORS["EIO"])
READ_ERRORS |= dict.fromkeys(("EHOSTDOWN", "ETIMEDOUT"), ("The server of this mount does not answer.", *READ_ERRORS["ESTALE"][1:]))
REFUSED = "The system refuses this user the file, so no loader gets it either."


def _read_error(detail: str) -> tuple[str, str, str] | None:
    match = re.match(r"reading it fails: ([A-Z0-9]+) \(", detail)
    return READ_ERRORS.get(match[1]) if match else None


def _unreadable(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """Refused, or broken below: those are two findings."""
    own = of_step(faults, "files", "file-unreadable")
    groups: dict[str, list[Fault]] = {}
    for fault in own:
        broken = _read_error(_detail(case, fault))
        groups.setdefault(broken[0] if broken else REFUSED, []).append(fault)
    findings = []
    for why, group in groups.items():
        findings += found("file-unreadable", group, file_facts(case, group) | {"why": why, "detail": _detail(case, group[0])})
    return findings


def _detail(case: Case, fault: Fault) -> str:
    return file_facts(case, [fault])["detail"] or next((line.seen for line in fault.evidence if line.fact == "reading"), "")


def _unreadable_remedies(finding: Finding, case: Case) -> list[Remedy]:
    path = finding.facts["path"]
    if broken := next((row for row in READ_ERRORS.values() if row[0] == finding.facts["why"]), None):
        look = Remedy(do=f"{broken[1]}: {finding.facts['detail']}.", run=broken[2].format(path=shell_path(path)), check=f"cat {shell_path(path)} | wc -c")
        return [look, *fetch_again(case, finding, "Then fetch the file again, to a disk that can be read. With the model's own id in place of ORG/NAME:")]
    if "no regular file" in finding.facts["detail"]:
        return fetch_again(
            case,
            finding,
            f"Remove {path}, which is a pipe or a device, and put the file in its place. If it came from the hub, with the model's own id in place of ORG/NAME:",
        )
    return [
        Remedy(
            do=f"Give this user the right to read it (its owner, or root, can): {finding.facts['detail']}.",
            run=f"chmod u+r {shell_path(path)} || sudo chmod a+r {shell_path(path)}",
            check=f"head -c 1 {shell_path(path)} | wc -c",
        )
    ]


def _link_remedies(finding: Finding, case: Case) -> list[Remedy]:
    path = finding.facts["path"]
    if case.target.kind == "hub":
        return fetch_again(case, finding, "Fetch just these again; the client makes blob and link anew.")
    return [
        Remedy(
            do="Copy the file the link was meant for to its place (a copied cache needs its blobs folder too; cp -L copies files instead of links).",
            run=f"readlink -f {shell_path(path)}",
            check=f"ls -L {shell_path(path)}",
        )
    ]


def _trailing_remedies(finding: Finding, case: Case) -> list[Remedy]:
    path, end = finding.facts["path"], finding.facts["offset"]
    trim = Remedy(
        do=f"Or, if what lies behind byte {end} is not wanted: keep a copy of the file and cut it there.",
        run=f"cp {shell_path(path)} {shell_path(path + '.kept')} && truncate -s {shlex.quote(end)} {shell_path(path)}",
        check=again(case),
    )
    return [*fetch_again(case, finding), *([trim] if end.isdigit() and finding.facts["count"] == "1" else [])]


def _header_remedies(finding: Finding, case: Case) -> list[Remedy]:
    author = Remedy(do="If a fresh copy is the same, it was made so: report it to the model's author with this report.", check=again(case))
    return [*fetch_again(case, finding), author]


def _truncated_remedies(finding: Finding, case: Case) -> list[Remedy]:
    """Whole once more, or from where it stopped: what is there is the beginning of the file."""
    size, path = finding.facts["bytes"], finding.facts["path"]
    whole = fetch_again(case, finding)
    if not size.isdigit() or size == "0" or finding.facts["count"] != "1":
        return whole
    url = _file_url(case, finding)
    resume = Remedy(
        do=f"Or go on where it stopped, at byte {size}" + (":" if url else ", with the address it came from in place of URL:"),
        run=f"curl -L -C - -o {shell_path(path)} {shlex.quote(url) if url else 'URL'}",
        check=again(case),
    )
    return [*whole, resume]


def _file_url(case: Case, finding: Finding) -> str:
    """Where the hub has this file, at the very commit that is here; "" for what is not from the hub."""
    names, files = paths_of(case, finding), case.files
    if case.target.kind != "hub" or not names or not isinstance(files, Files):
        return ""
    kind = {"model": "", "dataset": "datasets/", "space": "spaces/"}[case.target.repository_type]
    base = case.target.endpoint or "https://huggingface.co"
    return f"{base}/{kind}{case.target.name}/resolve/{files.commit or case.target.revision}/{quote(names[0])}"


def _unrecognised_remedies(finding: Finding, case: Case) -> list[Remedy]:
    known = {
        "gguf": "It is a GGUF file: load it with llama.cpp, or transformers' gguf_file=.",
        "safetensors": "It is a safetensors file: give it a name that ends in .safetensors.",
        "torch-zip": "It is a torch checkpoint: give it the name the loader asks for (pytorch_model.bin).",
        "gzip": "It is compressed: unpack it with gunzip or tar.",
        "hdf5": "It is an HDF5 file (Keras): load it with Keras, or convert it.",
    }
    hint = known.get(finding.facts["content"], "")
    first = [Remedy(do=hint, run=f"file {shell_path(finding.facts['path'])}", check=again(case))] if hint else []
    return [*first, *fetch_again(case, finding)]


# --- digests ----------------------------------------------------------------------------------------------------------------------


def _by_own_checksums(faults: tuple[Fault, ...]) -> list[Fault]:
    """Archives that do not have the checksums which they carry themselves."""
    return [fault for fault in of_step(faults, "digests", "mismatch") if fault.evidence and fault.evidence[0].fact == "crc32"]


def _archive(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """A directory that does not fit, or a record that is not as its checksum says."""
    own = _by_own_checksums(faults)
    if of_step(faults, "files", "archive-damaged") or not own:
        return _by_code("archive-damaged")(case, faults)
    return found("archive-damaged", own, file_facts(case, own) | {"detail": own[0].evidence[0].seen})


def _mismatch(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    inner = _by_own_checksums(faults)
    own = [fault for fault in of_step(faults, "digests", "mismatch") if fault not in inner]
    if not own:
        return []
    line = own[0].evidence[0]
    return found("file-checksum-mismatch", own, file_facts(case, own) | {"algorithm": line.fact, "actual": line.seen, "published": line.expected})


def _from_copy(case: Case, finding: Finding) -> list[Remedy]:
    """A second copy that is as published, put in its place without a moment in which there is none."""
    path = finding.facts["path"]
    digests = case.digests.checked if isinstance(case.digests, Digests) else ()
    copy = next((digest.copy for digest in digests if digest.copy and digest.path in paths_of(case, finding)), "")
    if not copy or finding.facts["count"] != "1":
        return []
    run = f"cp {shell_path(copy)} {shell_path(path + '.new')} && mv {shell_path(path + '.new')} {shell_path(path)}"
    return [Remedy(do=f"The hub's cache holds a copy that is as published ({copy}): put it in its place.", run=run)]


def _mismatch_remedies(finding: Finding, case: Case) -> list[Remedy]:
    path = finding.facts["path"]
    tool = {"sha256": "sha256sum", "md5": "md5sum", "sha1": "sha1sum", "sha512": "sha512sum", "git-sha1": "git hash-object"}.get(
        finding.facts["algorithm"], "sha256sum"
    )
    remedies = [*_from_copy(case, finding), *fetch_again(case, finding)]
    return [Remedy(do=remedy.do, run=remedy.run, check=f"{tool} {shell_path(path)}  # {finding.facts['published'].split(' ')[0]}") for remedy in remedies]


def _cause(
    code: str,
    owner: tuple[Owner, ...],
    title: str,
    why: str,
    remedies: Remedies = lambda finding, case: fetch_again(case, finding),
    recognise: Recognise | None = None,
    severity: Severity = "error",
) -> Cause:
    return Cause(id=code, owner=owner, title=title, why=why, recognise=recognise or _by_code(code), remedies=remedies, severity=severity, lab=code)


CAUSES: tuple[Cause, ...] = (
    _cause("file-unreadable", ("machine",), "{path} cannot be read: {detail}", "{why} Loaders often report it as missing, or end with a bus error.", _unreadable_remedies, _unreadable),
    _cause(
        "model-directory-empty",
        ("you",),
        "{path} is there and empty: {detail}",
        "There is no model in it, nor anything else. A loader says of it that no file was found, or takes the path for a model's name.",
        _empty_remedies,
    ),
    _cause("download-unfinished", ("you",), "A download was left unfinished in {folder}: {file} ({bytes} bytes so far)", "{detail}. What the loader asks for is not there until the download ends.", _unfinished_remedies, _unfinished),
    _cause("lfs-pointer", ("you",), "{file} is only a git-lfs pointer: it {detail}", "The repository was cloned without git-lfs, so a text of three lines lies where the file should be. Loaders report a broken header or an unpickling error.", _lfs_remedies),
    _cause("html-instead-of-file", ("you",), "{file} is {detail}, not the file", "What was downloaded was a page or an error message, and it was saved under the file's name. Loaders report a broken header or JSON.", _page_remedies),
    _cause("file-empty", ("you",), "{file} is empty: zero bytes", "Something made the file and wrote nothing into it: a full disk, a download or a copy that failed at once."),
    _cause("file-zero-filled", ("you",), "{file} holds {detail}", "It has its full length, but from there on nothing was ever written: a preallocated download or a copy that broke off. Loaders take the zeros for weights, or fail with no hint."),
    _cause("file-truncated", ("you",), "{file} is cut short: {detail}", "It has {bytes} bytes and its own tables, or whoever published it, say that there must be more. A download or a copy ended early.", _truncated_remedies),
    _cause("safetensors-header-invalid", ("author", "you"), "The header of {file} is damaged: {detail}", "The header says where each tensor lies; the loader refuses the whole file when it does not hold together.", _header_remedies),
    _cause("archive-damaged", ("you",), "{file} is a damaged archive: {detail}", "The archive's directory and its records do not fit each other: bytes in it were changed, lost or added.", recognise=_archive),
    _cause("file-structure-damaged", ("you",), "{file} is damaged inside: {detail}", "Its own tables do not hold together: bytes in it were changed, lost or added on the way or on the disk. A loader stops there, or reads nonsense."),
    _cause("file-trailing-bytes", ("author", "you"), "{file} is longer than it says itself: {detail}", "Something was appended, or two downloads were written into one file. The safetensors loader refuses it.", _trailing_remedies),
    _cause("json-invalid", ("you",), "{file} is no valid JSON: {detail}", "The loader parses this file first, and stops there."),
    _cause("format-unrecognised", ("you",), "{file} is not what its name says: {detail}", "The loader goes by the name and finds other bytes.", _unrecognised_remedies),
    PICKLE_UNSAFE,
    _cause("cache-link-broken", ("you",), "{file} is a link to nowhere: {detail}", "The link is there, the file it stands for is not: a blob was deleted, or the folder was copied without it. Loaders report the file as missing.", _link_remedies),
    _cause("shard-missing", ("you",), "{count} of the model's shards are not in {folder}: {file}", "{detail}. The loader needs every one of them."),
    _cause("index-missing", ("you",), "The shards in {folder} have no index: {file} is not there", "{detail}. Without it the loader says that there are no weights at all."),
    _cause("weights-missing", ("you",), "There are no weights in {folder}", "{detail}. The loader asks for model.safetensors or pytorch_model.bin, or their index.", _weights_remedies),
    _cause("config-missing", ("you",), "There is no config.json in {folder}", "Without it nothing says what model this is. {detail}", _config_remedies),
    _cause("file-missing", ("you",), "{file} is not in {folder}, and another file names it", "{detail}."),
    _cause("model-not-cached", ("you",), "{name} is not all in the cache {folder}, and nothing may be fetched", "Missing: {missing}. The client was told to stay off the network, so it can only use what is there.", _not_cached_remedies, _not_cached),
    _cause(
        "file-checksum-mismatch",
        ("you",),
        "{file} has the right size, but not the bytes that were published",
        "Its {algorithm} is {actual}; published is {published}. The download or the disk changed it. Nothing checks this on loading: the model would be silently wrong.",
        _mismatch_remedies,
        _mismatch,
    ),
)  # fmt: skip
