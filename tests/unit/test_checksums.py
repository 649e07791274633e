"""Digests: against every source there is, in time, and interruptible."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from diagnostics.case import ABSENT, Case, Digests, Environment, Files, Listing, Published, Target, Unseen
from diagnostics.diagnosis import diagnose
from diagnostics.lab import formats
from diagnostics.probes import checksums, checksums_kept, survey
from diagnostics.probes.checksums import see_digests
from diagnostics.probes.files import see_files
from tests.unit.files_made import COMMIT, cached, folder_target, git_sha1, hub_target, listing_of, model, noise, safetensors, seen_cached, tiny

HOUR = 3600.0


def digests_of(target: Target, files: Files | Unseen, listing: Listing | Unseen = ABSENT, environment: Environment | None = None, **options: object) -> Digests:
    settings = {"mode": "all", "seconds": HOUR} | options
    found = see_digests(target, environment or Environment(), listing, files, **settings)  # type: ignore[arg-type]
    assert isinstance(found, Digests)
    return found


def in_cache(hub: Path, listing: Listing | Unseen = ABSENT, **options: object) -> Digests:
    return digests_of(hub_target(), seen_cached(hub, listing), listing, Environment(caches={"hub": str(hub)}), **options)


def wrong(digests: Digests) -> list[str]:
    return [digest.path for digest in digests.checked if digest.actual != digest.expected]


def in_folder(folder: Path) -> Digests:
    target = folder_target(folder)
    return digests_of(target, see_files(target, Environment(), ABSENT))


@pytest.mark.parametrize("tree", [True, False])
def test_a_cache_verifies_itself_offline(tmp_path: Path, tree: bool) -> None:
    """By trees/<commit>.json, and without it by the blobs' names: sha256 and git's sha1."""
    contents = tiny()
    folder = cached(tmp_path, contents, tree=tree)
    digests = in_cache(tmp_path)
    assert {digest.path: digest.algorithm for digest in digests.checked} == {
        "config.json": "git-sha1",
        "tokenizer.json": "git-sha1",
        "model.safetensors": "sha256",
    }
    assert wrong(digests) == [] and digests.unpublished == ()
    blob = (folder / "snapshots" / COMMIT / "model.safetensors").resolve()
    flipped = bytearray(contents["model.safetensors"])
    flipped[-1] ^= 1
    blob.write_bytes(flipped)
    assert wrong(in_cache(tmp_path)) == ["model.safetensors"]


def test_against_the_hubs_list(tmp_path: Path) -> None:
    """The hub's own digests come before the cache's memory."""
    contents = tiny()
    cached(tmp_path, contents)
    assert {digest.source for digest in in_cache(tmp_path, listing_of(contents)).checked} == {"hub listing"}
    other = listing_of(contents | {"model.safetensors": safetensors({"a": 10_000})})
    assert wrong(in_cache(tmp_path, other)) == ["model.safetensors"]


def test_a_flipped_byte_is_one_root_with_one_remedy(tmp_path: Path) -> None:
    """Same size, other bytes: nothing but the digest tells, and it is said."""
    contents = tiny()
    folder = cached(tmp_path, contents)
    flipped = bytearray(contents["model.safetensors"])
    flipped[-5] ^= 4
    (folder / "snapshots" / COMMIT / "model.safetensors").resolve().write_bytes(flipped)
    files = seen_cached(tmp_path)
    found = diagnose(Case(target=hub_target(), files=files, digests=in_cache(tmp_path)))
    assert [item.cause for item in found] == ["file-checksum-mismatch"]
    ours, clients = found[0].remedies
    assert ours.run.endswith("--diagnose-repair") and "--force-download" in clients.run
    assert all(remedy.check.startswith("sha256sum ") for remedy in (ours, clients))


def test_a_truncated_file_is_not_reported_twice(tmp_path: Path) -> None:
    """The wrong digest of a file that is cut short stands under the cut."""
    contents = tiny()
    folder = cached(tmp_path, contents)
    (folder / "snapshots" / COMMIT / "model.safetensors").resolve().write_bytes(contents["model.safetensors"][:-9])
    found = diagnose(Case(target=hub_target(), files=seen_cached(tmp_path), digests=in_cache(tmp_path)))
    assert [(item.cause, item.explains) for item in found] == [("file-truncated", ("file-checksum-mismatch",))]


@pytest.mark.parametrize("form", ["{0}  model.safetensors\n", "{0} *./model.safetensors\n", "SHA256 (model.safetensors) = {0}\n"])
def test_sums_beside_the_files(tmp_path: Path, form: str) -> None:
    """SHA256SUMS in its three forms; right and wrong."""
    folder = model(tmp_path / "m")
    right = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(form.format(right))
    assert [digest.source for digest in in_folder(folder).checked] == ["SHA256SUMS"] and wrong(in_folder(folder)) == []
    (folder / "SHA256SUMS").write_text(form.format("0" * 64))
    assert wrong(in_folder(folder)) == ["model.safetensors"]


def test_a_digest_of_its_own_beside_a_file(tmp_path: Path) -> None:
    """<file>.sha256, with or without the name in it; of a single file too."""
    folder = model(tmp_path / "m")
    right = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "model.safetensors.sha256").write_text(right.upper() + "\n")
    target = Target(spec="x", kind="file", paths=(str(folder / "model.safetensors"),))
    digests = digests_of(target, see_files(target, Environment(), ABSENT))
    assert [digest.actual for digest in digests.checked] == [right] and wrong(digests) == []


def test_the_prefix_in_a_torch_hub_name(tmp_path: Path) -> None:
    """resnet18-f37072fd.pth carries its digest's beginning."""
    content = b"\x80\x02" + noise(300)
    prefix = hashlib.sha256(content).hexdigest()[:8]
    for name in (f"net-{prefix}.pth", "net-00000000.pth"):
        (tmp_path / name).write_bytes(content)
    right = Target(spec="x", kind="file", paths=(str(tmp_path / f"net-{prefix}.pth"),))
    assert wrong(digests_of(right, see_files(right, Environment(), ABSENT))) == []
    other = Target(spec="x", kind="file", paths=(str(tmp_path / "net-00000000.pth"),))
    assert wrong(digests_of(other, see_files(other, Environment(), ABSENT))) == ["net-00000000.pth"]


def test_the_specs_own_digest_comes_first(tmp_path: Path) -> None:
    """#sha256= stands above a file beside."""
    folder = model(tmp_path / "m")
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  model.safetensors\n")
    value = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    target = dataclasses.replace(folder_target(folder), published=(Published(path="model.safetensors", value=value, source="#sha256="),))
    assert wrong(digests_of(target, see_files(target, Environment(), ABSENT))) == []


def test_what_a_download_into_a_folder_noted(tmp_path: Path) -> None:
    """hf download --local-dir leaves the etag; a file edited since is a person's own."""
    folder = model(tmp_path / "m")
    content = (folder / "config.json").read_bytes()
    noted = folder / ".cache" / "huggingface" / "download" / "config.json.metadata"
    noted.parent.mkdir(parents=True)
    noted.write_text(f"{COMMIT}\n{git_sha1(content)}\n{time.time()}\n")
    assert [digest.algorithm for digest in in_folder(folder).checked] == ["git-sha1"] and wrong(in_folder(folder)) == []
    noted.write_text(f"{COMMIT}\n{git_sha1(content)}\n{time.time() - 100}\n")
    assert in_folder(folder).checked == ()


def test_one_blob_behind_two_names_is_hashed_once(tmp_path: Path) -> None:
    """Both names get the verdict, the bytes count once."""
    content = safetensors()
    cached(
        tmp_path,
        {"config.json": tiny()["config.json"], "model.safetensors": content, "1_Dense/model.safetensors": content, "modules.json": b"[]"},
        large=("model.safetensors", "1_Dense/model.safetensors"),
    )
    counted: list[int] = []
    digests = in_cache(tmp_path, progress=lambda done, total: counted.append(total))
    assert {digest.path for digest in digests.checked} >= {"model.safetensors", "1_Dense/model.safetensors"}
    assert counted[-1] == len(content) + len(tiny()["config.json"]) + len(b"[]")


def test_none_hashes_nothing_and_says_how_long_it_would_take(tmp_path: Path) -> None:
    """--diagnose-digests none."""
    cached(tmp_path, tiny())
    digests = in_cache(tmp_path, mode="none")
    assert digests.checked == () and len(digests.unverified) == 3 and digests.unverified_bytes > 0 and digests.seconds_left > 0


def test_auto_ends_in_time_smallest_first(tmp_path: Path) -> None:
    """No time at all: nothing large is begun, and what is left is named."""
    cached(tmp_path, tiny())
    digests = in_cache(tmp_path, mode="auto", seconds=0.0)
    assert digests.checked == () and set(digests.unverified) == set(tiny())
    assert len(in_cache(tmp_path, mode="auto", seconds=30.0).checked) == 3


def test_a_stop_ends_it(tmp_path: Path) -> None:
    """Ctrl-C: what is done stays, the rest is unverified."""
    stop = threading.Event()
    stop.set()
    cached(tmp_path, tiny())
    started = time.monotonic()
    assert in_cache(tmp_path, stop=stop).checked == ()
    assert time.monotonic() - started < 20.0


def test_a_stop_in_the_middle_of_a_large_file(tmp_path: Path) -> None:
    """It ends within a chunk, not at the file's end."""
    with (tmp_path / "net-00000000.pth").open("wb") as file:
        file.truncate(1 << 40)
    stop = threading.Event()
    target = Target(spec="x", kind="file", paths=(str(tmp_path / "net-00000000.pth"),))
    files = see_files(target, Environment(), ABSENT)
    started = time.monotonic()
    digests = digests_of(target, files, stop=stop, progress=lambda done, total: stop.set())
    assert digests.unverified == ("net-00000000.pth",) and time.monotonic() - started < 20.0


def test_a_file_too_large_for_the_time_is_given_up_early(tmp_path: Path) -> None:
    """auto: a terabyte in two seconds is hopeless after a fraction of one."""
    with (tmp_path / "net-00000000.pth").open("wb") as file:
        file.truncate(1 << 40)
    target = Target(spec="x", kind="file", paths=(str(tmp_path / "net-00000000.pth"),))
    started = time.monotonic()
    digests = digests_of(target, see_files(target, Environment(), ABSENT), mode="auto", seconds=30.0)
    assert digests.unverified and time.monotonic() - started < 20.0


def test_a_file_that_goes_away_is_unverified(tmp_path: Path) -> None:
    """Between the look and the hash it was removed: no verdict."""
    folder = cached(tmp_path, tiny())
    files = seen_cached(tmp_path)
    (folder / "snapshots" / COMMIT / "config.json").resolve().unlink()
    digests = digests_of(hub_target(), files, environment=Environment(caches={"hub": str(tmp_path)}))
    assert digests.unverified == ("config.json",)


def test_nothing_published_is_said(tmp_path: Path) -> None:
    """A plain folder: there is nothing to compare with."""
    digests = in_folder(model(tmp_path / "m"))
    assert digests.checked == () and "model.safetensors" in digests.unpublished


def test_without_files_there_is_nothing_to_verify() -> None:
    """The reason is the files' own."""
    reason = Unseen("absent", "no model was named")
    assert see_digests(hub_target(), Environment(), ABSENT, reason, "auto", 10.0) is reason


def test_every_core_takes_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several files, several threads, one verdict each."""
    monkeypatch.setattr(checksums, "_cores", lambda: 4)
    contents = {f"f{number}.json": b'{"n": %d}' % number for number in range(50)} | tiny()
    cached(tmp_path, contents)
    assert len(in_cache(tmp_path).checked) == 53 and wrong(in_cache(tmp_path)) == []


@pytest.mark.parametrize("flipped", [False, True])
def test_an_archive_verifies_by_its_own_checksums(tmp_path: Path, flipped: bool) -> None:
    """A checkpoint that nobody published a digest of: a flipped byte in a tensor is found by the zip directory; torch would load it."""
    content = bytearray(formats.torch_zip())
    if flipped:
        content[content.index(formats.noise(64, "0")) + 700] ^= 1
    folder = model(tmp_path / "m", pytorch_model__bin=bytes(content))
    (folder / "model.safetensors").unlink()
    target = folder_target(folder)
    files = see_files(target, Environment(), ABSENT)
    digests = see_digests(target, Environment(), ABSENT, files, "auto", 10)
    found = diagnose(Case(target=target, files=files, digests=digests))
    assert [item.cause for item in found] == (["archive-damaged"] if flipped else [])
    assert not flipped or "m/data/0" in found[0].title


def test_an_archive_without_checksums_is_not_verified(tmp_path: Path) -> None:
    """torch.serialization.set_crc32_options(False) writes zeros for them: no alarm, in the header or after hashing."""
    content = bytearray(formats.torch_zip())
    at = 0
    while (at := content.find(b"PK\x01\x02", at)) >= 0:
        content[at + 16 : at + 20] = bytes(4)
        at += 4
    folder = model(tmp_path / "m", pytorch_model__bin=bytes(content))
    (folder / "model.safetensors").unlink()
    target = folder_target(folder)
    files = see_files(target, Environment(), ABSENT)
    digests = see_digests(target, Environment(), ABSENT, files, "all", 10)
    assert diagnose(Case(target=target, files=files, digests=digests)) == [] and isinstance(digests, Digests) and "pytorch_model.bin" in digests.unverified


def test_a_second_copy_says_which_bytes_differ(tmp_path: Path) -> None:
    """The same content in the hub's cache: where the two differ, and the copy as the first remedy; a copy that is damaged itself is none."""
    contents = tiny()
    repository = cached(tmp_path / "hub", contents)
    whole = contents["model.safetensors"]
    damaged = whole[:5000] + bytes([whole[5000] ^ 1, whole[5001] ^ 1]) + whole[5002:]
    folder = model(tmp_path / "m", model__safetensors=damaged)
    value = hashlib.sha256(whole).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{value}  model.safetensors\n")
    environment = Environment(caches={"hub": str(tmp_path / "hub")})

    def found() -> tuple[Digests, str]:
        target = folder_target(folder)
        files = see_files(target, environment, ABSENT)
        digests = see_digests(target, environment, ABSENT, files, "auto", 10)
        (diagnosis,) = diagnose(Case(target=target, environment=environment, files=files, digests=digests))
        assert isinstance(digests, Digests) and diagnosis.cause == "file-checksum-mismatch"
        return digests, diagnosis.remedies[0].run

    digests, command = found()
    assert [digest.differs for digest in digests.checked] == ["bytes 5000 to 5001, in 1 block of 4 KiB"] and command.startswith(
        f"cp {repository}/blobs/{value} "
    )
    (repository / "blobs" / value).write_bytes(damaged)
    digests, command = found()
    assert [digest.differs for digest in digests.checked] == [""] and command.startswith("hf download")


def test_a_large_file_that_has_not_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known by device, inode, size and times; read again when it changed, when all is to be verified, and while it is fresh."""
    monkeypatch.setattr(checksums_kept, "LEAST_BYTES", 1000)
    monkeypatch.setattr(checksums_kept, "SETTLED_SECONDS", 0.0)
    folder = model(tmp_path / "m")
    weights = folder / "model.safetensors"
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(weights.read_bytes()).hexdigest()}  model.safetensors\n")
    environment = Environment(caches={"digests": str(tmp_path / "kept")})
    progress: list[int] = []

    def read(mode: str = "auto") -> int:
        progress.clear()
        target = folder_target(folder)
        found = see_digests(target, environment, ABSENT, see_files(target, environment, ABSENT), mode, 10, lambda done, total: progress.append(done))  # type: ignore[arg-type]
        assert isinstance(found, Digests) and [item.path for item in found.checked] == ["model.safetensors"]
        assert (found.checked[0].actual == found.checked[0].expected) is same
        return max(progress, default=0)

    same, size = True, weights.stat().st_size
    assert [read(), read(), read("all")] == [size, 0, size]
    status = weights.stat()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))  # whoever sets the time back cannot set the inode's back
    same = False
    assert [read(), read()] == [size, 0]
    monkeypatch.setattr(checksums_kept, "SETTLED_SECONDS", 3600.0)
    assert read() == size
    (tmp_path / "kept" / "digests.json").write_text('{"version": 1, "digests": {"1": 5, "2": {"sha256": "x"}}}')
    assert read() == size


def test_the_table_of_digests_is_written_to_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may write to a shared cache folder could have put a link where the table is about to be written; its twin without a link is saved."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / f"digests.json.{os.getpid()}").symlink_to(tmp_path / "precious")
    (tmp_path / "digests.json.00").symlink_to(tmp_path / "precious")
    table = checksums_kept.Kept(str(tmp_path / "digests.json"), {"1": {"sha256": "0" * 64}}, changed=True)
    monkeypatch.setattr(checksums_kept.secrets, "token_hex", lambda _count: "00")
    table.save()
    assert ((tmp_path / "precious").read_text(), (tmp_path / "digests.json").exists()) == ("precious", False)
    monkeypatch.undo()
    table.save()
    assert ((tmp_path / "precious").read_text(), (tmp_path / "digests.json").stat().st_mode & 0o777) == ("precious", 0o600)


def test_progress_tells_rate_and_time_left() -> None:
    """Not in the first moments, when it would be a guess."""
    assert survey._hashed(500_000_000, 2_000_000_000, 2.0) == "verified 500 of 2000 MB, 250 MB/s, 6 s left"
    assert survey._hashed(1, 2_000_000_000, 0.01) == "verified 0 of 2000 MB"
