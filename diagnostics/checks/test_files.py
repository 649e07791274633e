"""Files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostics.case import Defect, Environment, Evidence, Files, FileSeen, Severity, Subject, Target, Variable
from diagnostics.checks.wording import fact, size
from diagnostics.facts.clients import offline

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect

# Longer than it should be: some loaders take it, and what stands in front is whole. The client makes a broken link new when it may use the network.
MILD = frozenset({"file-trailing-bytes"})
MADE_NEW = frozenset({"cache-link-broken", "file-missing"})


def test_everything_asked_for_is_here(files: Files, target: Target, environment: Environment, expect: Expect) -> None:
    """Is everything here that the loader will ask for?"""
    if files.place == "cache":
        _judge_cache(files, target, offline(environment, target), expect)
        return
    for seen in files.files:
        expect.that(True, "here", _subject(files, seen), step="files")
    for seen in files.absent:
        for defect in seen.defects:
            subject = _subject(files, seen)
            expect.that(
                False,
                defect.code,
                subject,
                fact(subject, "here", "no", defect.detail),
                fact(Subject(kind="folder", name=files.path), "holds", _inventory(files)),
                step="files",
            )


def test_files_are_what_their_names_say(files: Files, target: Target, environment: Environment, expect: Expect) -> None:
    """Is every file whole, and what its name says?"""
    online = files.place == "cache" and offline(environment, target) is None
    for seen in files.files:
        subject = _subject(files, seen)
        if not seen.defects:
            expect.that(True, "whole", subject, step="files")
        for defect in seen.defects:
            severity: Severity = (
                "warning" if (defect.code in MILD and not seen.path.endswith(".safetensors")) or (online and defect.code in MADE_NEW) else "error"
            )
            expect.that(False, defect.code, subject, *_about(subject, seen, defect), severity=severity, step="files")
    if not files.files:
        expect.skip(files.message or "nothing of it is here yet")


def test_nothing_is_left_half_downloaded(files: Files, target: Target, environment: Environment, expect: Expect) -> None:
    """Is no download left unfinished, of a file that is needed?"""
    if files.place == "cache" and (offline(environment, target) is None or not files.missing):
        expect.skip("the client starts over by itself" if files.unfinished else "no download was left")
        return
    for seen in files.files:
        expect.that(True, "finished", _subject(files, seen), step="files")
    for seen in files.unfinished:
        subject = Subject(kind="file", name=seen.location or seen.path)
        detail = seen.defects[0].detail if seen.defects else ""
        expect.that(
            False,
            "download-unfinished",
            subject,
            fact(subject, "left behind", size(seen.bytes) if isinstance(seen.bytes, int) else "yes", detail),
            step="files",
        )
    if not expect.examined:
        expect.skip("no download was left")


def _judge_cache(files: Files, target: Target, variable: Variable | None, expect: Expect) -> None:
    """What is not cached will be fetched, unless the client was told to stay off the network."""
    subject = Subject(kind="repository", name=target.name)
    if variable is None and files.readable:
        expect.that(True, "not-cached", subject, step="files")
        return
    gone = [seen.path for seen in files.absent if seen.path not in broken_links(files)]
    seen = [
        fact(
            Subject(kind="folder", name=files.path),
            "does not hold",
            ", ".join(gone[:8]) + ("" if len(gone) <= 8 else f" and {len(gone) - 8} more"),
            "every file of the revision",
        )
    ]
    seen += [fact(Subject(kind="variable", name=variable.name), "value", variable.value, "unset, or the model in the cache")] if variable else []
    unreadable = next((absent for absent in files.absent if absent.defects and absent.defects[0].code == "file-unreadable"), None)
    if unreadable:
        folder = Subject(kind="folder", name=files.path)
        expect.that(False, "file-unreadable", folder, fact(folder, "reading", unreadable.defects[0].detail), step="files")
    else:
        expect.that(not gone, "not-cached", subject, *seen, step="files")


def broken_links(files: Files) -> frozenset[str]:
    """Links whose blob is gone. They were fetched: what is wrong is the link, and staying off the network is no reason for it."""
    return frozenset(seen.path for seen in (*files.files, *files.absent) if any(defect.code == "cache-link-broken" for defect in seen.defects))


def _subject(files: Files, seen: FileSeen) -> Subject:
    if seen.path == ".":
        return Subject(kind="folder", name=files.path)
    return Subject(kind="file", name=seen.location or f"{files.path.rstrip('/')}/{seen.path}")


def _about(subject: Subject, seen: FileSeen, defect: Defect) -> list[Evidence]:
    about = [fact(subject, "what it is", seen.content or "not readable", defect.detail)]
    if isinstance(seen.bytes, int):
        about.append(fact(subject, "bytes", seen.bytes, str(seen.expected_bytes) if isinstance(seen.expected_bytes, int) else ""))
    return about + ([fact(subject, "from byte", defect.offset)] if isinstance(defect.offset, int) else [])


def _inventory(files: Files) -> str:
    names = [seen.path for seen in files.files]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "nothing that counts"
