"""The file is there and its bytes cannot be had: a disk, a file system or a server that fails, told apart from a right that is missing."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from diagnostics.case import ABSENT, Case, Digests, Environment, Files
from diagnostics.diagnosis import diagnose
from diagnostics.probes import checksums
from diagnostics.probes.checksums import see_digests
from diagnostics.probes.files import see_files
from diagnostics.probes.formats import reading
from tests.unit.files_made import folder_target, model

WORDS = {"EIO": "cannot give its bytes", "EBADMSG": "checksum", "ESTALE": "no longer knows", "ENOTCONN": "mount has ended", "ETIMEDOUT": "does not answer"}


def seen(folder: Path, digests: Digests | None = None) -> Case:
    target = folder_target(folder)
    files = see_files(target, Environment(), ABSENT)
    return Case(target=target, files=files, digests=digests or ABSENT)


@pytest.mark.parametrize("name", WORDS)
def test_a_medium_that_fails_is_no_missing_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """One file's bytes fail; the reason names what serves it, and nobody is told to chmod."""
    folder = model(tmp_path / "m")
    assert diagnose(seen(folder)) == []
    size, real = (folder / "model.safetensors").stat().st_size, os.pread

    def fails(descriptor: int, count: int, offset: int) -> bytes:
        if os.fstat(descriptor).st_size == size:
            raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))
        return real(descriptor, count, offset)

    monkeypatch.setattr(reading.os, "pread", fails)
    roots = diagnose(seen(folder))
    assert [root.cause for root in roots] == ["file-unreadable"]
    assert WORDS[name] in roots[0].why and name in roots[0].title
    assert not any("chmod" in remedy.run for remedy in roots[0].remedies) and len(roots[0].remedies) > 1


def test_bytes_that_fail_further_on_are_found_by_hashing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header can be read; the bad sector lies in the middle. Its healthy twin is verified."""
    folder = model(tmp_path / "m")
    name = folder / "model.safetensors"
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  model.safetensors\n")
    target = folder_target(folder)
    files = see_files(target, Environment(), ABSENT)
    assert isinstance(files, Files)
    healthy = see_digests(target, Environment(), ABSENT, files, "all", 60.0)
    assert isinstance(healthy, Digests) and healthy.unreadable == () and len(healthy.checked) == 1

    class Failing:
        def __init__(self, *given: Any, **named: Any) -> None:
            self.read = 0

        def __enter__(self) -> Failing:
            return self

        def __exit__(self, *given: object) -> None:
            pass

        def readinto(self, buffer: bytearray) -> int:
            self.read += 1
            if self.read > 1:
                raise OSError(errno.EIO, "Input/output error")
            return 1000

    monkeypatch.setattr(checksums, "open", Failing, raising=False)
    digests = see_digests(target, Environment(), ABSENT, files, "all", 60.0)
    assert isinstance(digests, Digests)
    assert [(item.path, item.defects[0].offset) for item in digests.unreadable] == [("model.safetensors", 1000)]
    assert name.exists()
    assert [root.cause for root in diagnose(seen(folder, digests))] == ["file-unreadable"]
