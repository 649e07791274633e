"""The plan of a repair, on hand-made Cases: what is named, how it would be done, and what is left alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from diagnostics.case import (
    ABSENT,
    CacheState,
    Case,
    Defect,
    Diagnosis,
    Digest,
    Digests,
    Files,
    FileSeen,
    Listing,
    Lock,
    RemoteFile,
    Repair,
    Stale,
    Target,
)
from diagnostics.causes import BY_ID
from diagnostics.causes.files_words import REPAIRABLE
from diagnostics.diagnosis import judge
from diagnostics.repair.plan import CORRUPT, CUT, GONE, Source, is_of_another_revision, obstacle, own_source, repairs
from tests.unit import cases

COMMIT = "c" * 40
SHA, OTHER, GIT = "a" * 64, "b" * 64, "d" * 40
FOLDER = "~/.cache/huggingface/hub/models--org--name"
SNAPSHOT = f"{FOLDER}/snapshots/{COMMIT}"
WEIGHTS = RemoteFile(path="model.safetensors", bytes=1000, sha256=SHA)
CONFIG = RemoteFile(path="config.json", bytes=10, git_sha1=GIT)


def seen(path: str = "model.safetensors", code: str = "", detail: str = "", **changes: Any) -> FileSeen:
    """A file of the snapshot; with one defect where a code is given."""
    offset = changes.pop("offset", ABSENT)
    blob = SHA if path == "model.safetensors" else GIT
    whole = FileSeen(path=path, location=f"{SNAPSHOT}/{path}", bytes=1000, expected_bytes=1000, content="safetensors", blob=blob)
    return dataclasses.replace(whole, defects=(Defect(code=code, detail=detail, offset=offset),) if code else (), **changes)


def cached(*files: FileSeen, **changes: Any) -> Case:
    """A hub target of which these files are in the cache."""
    where = {name: changes.pop(name) for name in ("absent", "unfinished", "ref") if name in changes}
    here = Files(place="cache", path=FOLDER, commit=COMMIT, exists=bool(files), files=files, **{"ref": COMMIT, **where})
    listing = Listing(source="hub", commit=COMMIT, files=(CONFIG, WEIGHTS), wanted=("config.json", "model.safetensors"))
    return cases.case(**{"files": here, "listing": listing, **changes})


def plan(case: Case, *diagnoses: Diagnosis, source: Source | None = None) -> list[tuple[str, str, str]]:
    return [(item.kind, item.path, item.how) for item in repairs(case, diagnoses, source)]


def only(case: Case) -> Repair:
    (found,) = repairs(case, ())
    return found


def mismatch(**changes: Any) -> Digests:
    return Digests(checked=(Digest(path="model.safetensors", algorithm="sha256", expected=SHA, source="hub listing", actual=OTHER, **changes),))


def test_what_is_whole_is_left_alone() -> None:
    """Nothing is planned for a healthy cache."""
    assert plan(cached(seen(), seen("config.json"))) == []


@pytest.mark.parametrize(
    ("code", "kind", "how", "changes", "fetched"),
    [
        ("file-truncated", "cut", "continue", {"bytes": 400}, 600),
        ("file-zero-filled", "corrupt", "continue", {"offset": 300}, 700),
        ("file-trailing-bytes", "corrupt", "trim", {"bytes": 1200}, 0),
        ("file-empty", "corrupt", "fetch", {"bytes": 0}, 1000),
        ("html-instead-of-file", "corrupt", "fetch", {"bytes": 90}, 1000),
        ("lfs-pointer", "corrupt", "fetch", {"bytes": 130}, 1000),
        ("archive-damaged", "corrupt", "fetch", {}, 1000),
        ("cache-link-broken", "missing", "fetch", {"bytes": ABSENT}, 1000),
    ],
)
def test_a_defect_is_answered_by_what_fetches_least(code: str, kind: str, how: str, changes: dict[str, Any], fetched: int) -> None:
    """The digest that decides at the end is the hub's own."""
    repair = only(cached(seen(code=code, detail="as it is", **changes), seen("config.json")))
    assert (repair.kind, repair.how, repair.bytes, repair.blob) == (kind, how, fetched, SHA)
    assert repair.digest and repair.digest.value == SHA
    assert repair.why == f"{code}: as it is"


@pytest.mark.parametrize("code", ["file-unreadable", "pickle-unsafe", "torch-weights-only"])
def test_what_other_bytes_would_not_put_right_is_no_repair(code: str) -> None:
    """A right to read, a way to load: printed remedies stay."""
    assert plan(cached(seen(code=code), seen("config.json"))) == []


def test_wrong_bytes_of_the_right_size_are_replaced() -> None:
    """Whole where nothing says which bytes are wrong; from a second copy where there is one."""
    assert only(cached(seen(), digests=mismatch())).how == "fetch"
    copied = only(cached(seen(), digests=mismatch(copy="~/other", differs="bytes 3 to 4")))
    assert (copied.how, copied.bytes, copied.copy) == ("copy", 0, "~/other")


def test_a_defect_in_a_file_that_is_as_published_is_its_authors() -> None:
    """A fresh copy would be the same."""
    digests = Digests(checked=(Digest(path="model.safetensors", algorithm="sha256", expected=SHA, source="hub listing", actual=SHA),))
    assert plan(cached(seen(code="safetensors-header-invalid"), digests=digests)) == []
    assert plan(cached(seen(code="safetensors-header-invalid"))) == [("corrupt", "model.safetensors", "fetch")]


def test_a_link_to_another_revisions_content_is_misplaced() -> None:
    """That content is right for its own name, and stays."""
    repair = only(cached(seen(blob=OTHER), digests=mismatch()))
    assert (repair.kind, repair.blob) == ("misplaced", SHA)


def test_a_link_that_leads_out_of_the_cache_is_not_ours() -> None:
    """Somebody made it on purpose."""
    assert plan(cached(seen(content="link-elsewhere"), digests=mismatch())) == []


def test_what_lies_among_the_blobs_is_linked() -> None:
    """The client that may not ask the hub does not find it there."""
    repair = only(cached(seen(location=f"{FOLDER}/blobs/{SHA}", blob="")))
    assert (repair.kind, repair.how, repair.bytes, repair.blob) == ("misplaced", "link", 0, SHA)


def test_missing_files_are_fetched_where_anything_is_here() -> None:
    """Of a model of which nothing is here, nothing: that is a download."""
    absent = (FileSeen(path="model.safetensors", defects=(Defect(code="file-missing", detail="it is not in the cache"),)),)
    assert plan(cached(seen("config.json"), absent=absent)) == [("missing", "model.safetensors", "fetch")]
    nothing = (FileSeen(path="org/name", defects=(Defect(code="model-not-cached"),)),)
    assert plan(cached(absent=nothing)) == []


def test_a_name_that_the_source_does_not_have_is_not_asked_for() -> None:
    """What was guessed from other names may be wrong."""
    absent = (FileSeen(path="pytorch_model.bin", defects=(Defect(code="file-missing"),)),)
    assert plan(cached(seen(), seen("config.json"), absent=absent)) == []


@pytest.mark.parametrize("name", [f"{SHA}.incomplete", f"{SHA}.0a1b2c3d.incomplete"], ids=["0.x", "1.x and 2.x"])
def test_a_download_that_was_left_is_continued(name: str) -> None:
    """The longest of several; the others are stale."""
    left = FileSeen(path=name, location=f"{FOLDER}/blobs/{name}", bytes=700)
    shorter = FileSeen(path=f"{SHA}.ffffffff.incomplete", location=f"{FOLDER}/blobs/{SHA}.ffffffff.incomplete", bytes=100)
    foreign = FileSeen(path=f"{OTHER}.incomplete", location=f"{FOLDER}/blobs/{OTHER}.incomplete", bytes=900)
    absent = (FileSeen(path="model.safetensors", defects=(Defect(code="file-missing"),)),)
    case = cached(seen("config.json"), absent=absent, unfinished=(shorter, left, foreign))
    assert plan(case) == [("cut", "model.safetensors", "continue"), ("stale", f"blobs/{shorter.path}", "remove")]
    assert (repairs(case, ())[0].bytes, repairs(case, ())[0].partial) == (300, left.location)


def test_a_download_of_which_only_the_partial_is_here_is_finished() -> None:
    """No snapshot yet: everything that is wanted."""
    left = FileSeen(path=f"{SHA}.incomplete", location=f"{FOLDER}/blobs/{SHA}.incomplete", bytes=700)
    absent = (FileSeen(path="org/name", defects=(Defect(code="model-not-cached"),)),)
    found = plan(cached(absent=absent, unfinished=(left,), ref=""))
    assert found == [("missing", "config.json", "fetch"), ("cut", "model.safetensors", "continue"), ("missing", "refs/main", "write")]


def test_the_ref_is_what_the_hub_says() -> None:
    """Not where the target is a commit, nor where only the cache remembers."""
    assert plan(cached(seen(), ref="")) == [("missing", "refs/main", "write")]
    assert plan(cached(seen(), ref="e" * 40)) == [("stale", "refs/main", "write")]
    commit = Target(spec="org/name", kind="hub", name="org/name", revision=COMMIT)
    assert plan(cached(seen(), ref="", target=commit)) == []
    remembered = Listing(source="cache", commit=COMMIT, files=(WEIGHTS,), wanted=("model.safetensors",))
    assert plan(cached(seen(), ref="", listing=remembered)) == []


def test_stale_memories_and_dead_locks_are_removed() -> None:
    """A lock of a live process, or one that flock holds, is not."""
    stale = Stale(path=f"{FOLDER}/.no_exist/{COMMIT}/vocab.txt", code="no-exist", detail="the hub has it")
    lock = Lock(path=f"~/.cache/huggingface/hub/.locks/models--org--name/{SHA}.lock", kind="soft", pid=7, alive=False)
    live = dataclasses.replace(lock, alive=True)
    held = dataclasses.replace(lock, kind="flock", alive=True)
    state = CacheState(path=FOLDER, locks=(lock, live, held), stale=(stale,))
    assert plan(cached(seen(), cache_state=state)) == [
        ("stale", f".no_exist/{COMMIT}/vocab.txt", "remove"),
        ("stale", f".locks/models--org--name/{SHA}.lock", "remove"),
    ]


# --- folders ------------------------------------------------------------------------------------------------------------------


def in_folder(*files: FileSeen, **changes: Any) -> Case:
    here = Files(place="folder", path="/models/name", files=files, absent=changes.pop("absent", ()))
    target = Target(spec="/models/name", kind="directory", name="name", paths=("/models/name",))
    return Case(target=target, files=here, **changes)


HUB = Source(name="org/name", files=(CONFIG, WEIGHTS), wanted=("config.json", "model.safetensors"), commit=COMMIT)


def test_a_folder_is_repaired_only_from_a_named_source() -> None:
    """Nothing in a folder is proof of where it came from."""
    case = in_folder(seen(code="file-empty", location="/models/name/model.safetensors", blob=""))
    assert own_source(case) is None
    assert plan(case) == []
    assert plan(case, source=HUB) == [("corrupt", "model.safetensors", "fetch")]


def test_a_file_that_is_whole_stays_whatever_the_source_has() -> None:
    """An edited config is its owner's."""
    config = seen("config.json", location="/models/name/config.json", blob="", bytes=99, content="json")
    assert plan(in_folder(config, seen(location="/models/name/model.safetensors", blob="")), source=HUB) == []


def test_a_folder_of_another_revision_is_not_mixed() -> None:
    """One shard of another commit would make a model that nobody ever made; by size, and by digest where one was compared."""
    whole = seen("model-1.safetensors", blob="", bytes=500)
    broken = seen("model-2.safetensors", code="file-empty", blob="", bytes=0)
    shards = tuple(RemoteFile(path=f"model-{number}.safetensors", bytes=500, sha256=str(number) * 64) for number in (1, 2))
    source = dataclasses.replace(HUB, files=shards)
    assert plan(in_folder(whole, broken), source=source) == [("corrupt", "model-2.safetensors", "fetch")]
    assert is_of_another_revision(in_folder(dataclasses.replace(whole, bytes=600), broken), source)
    digests = Digests(checked=(Digest(path=whole.path, algorithm="sha256", expected=OTHER, source="SHA256SUMS", actual=OTHER),))
    assert plan(in_folder(whole, broken, digests=digests), source=source) == []


def test_a_list_repairs_by_names_and_digests() -> None:
    """Its files are known by their URLs; the published digest decides."""
    url = "https://files.example/model.safetensors"
    published = cases.case().target.published
    source = Source(name="my list", files=(RemoteFile(path="model.safetensors", bytes=1000, url=url, sha256=SHA),), digests=published)
    repair = repairs(in_folder(seen(code="file-truncated", blob="", bytes=10)), (), source)[0]
    assert (repair.kind, repair.how, repair.bytes, repair.source) == ("cut", "continue", 990, "my list")


# --- what stands in the way ---------------------------------------------------------------------------------------------------


def test_what_is_on_the_way_to_the_bytes_is_an_obstacle() -> None:
    """A broken network, by its title; a broken file is none."""
    broken = judge(cases.case(cases.journey(cases.stopped_at("resolution", cases.unresolved("EAI_NONAME"))))).diagnoses
    assert obstacle(cases.case(), broken) == broken[0].title
    assert obstacle(cases.case(), (), broken) == broken[0].title
    assert obstacle(cases.case(), (dataclasses.replace(broken[0], waived="known"),)) == ""
    damaged = judge(cached(seen(code="file-empty", bytes=0))).diagnoses
    assert damaged and obstacle(cases.case(), damaged) == ""
    assert repairs(cached(seen(code="file-empty", bytes=0)), damaged)[0].cause == "file-empty"


def test_what_is_named_as_a_remedy_is_what_the_plan_does() -> None:
    """Every defect that a repair answers has a cause that names the repair."""
    assert CUT | CORRUPT | GONE <= REPAIRABLE
    assert set(BY_ID) >= REPAIRABLE


def test_the_remedy_is_the_repair_where_it_knows_from_where() -> None:
    """The hub's cache, a snapshot of it; not a folder, of which nobody knows, nor a demo, which is gone afterwards."""
    broken = seen(code="file-empty", bytes=0)
    demo = Target(spec="demo:file-empty", kind="hub", name="org/name")
    offers = {name: [remedy.run for root in judge(case).diagnoses for remedy in root.remedies if "--diagnose-repair" in remedy.run] for name, case in {
        "cache": cached(broken), "folder": in_folder(dataclasses.replace(broken, blob="")), "demo": cached(broken, target=demo)
    }.items()}  # fmt: skip
    assert offers == {"cache": ["pytest diagnostics --diagnose org/name --diagnose-repair"], "folder": [], "demo": []}
