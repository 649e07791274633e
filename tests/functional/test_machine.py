"""On machines that lack what everybody has: a home, a place for temporary files, /etc, a writable folder, root's rights."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from tests.functional.runs import Outcome, run, why_no_namespace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user and changes mounts: needs root")
# May read everything, so that a checkout in root's home does for the test, and write nothing.
NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all,+dac_read_search --ambient-caps=+dac_read_search"
DIAGNOSE = f"{shlex.quote(sys.executable)} -B -m pytest diagnostics"


def shell(script: str, folder: Path, spec: str = "demo", **variables: str) -> Outcome:
    """A script in a mount namespace of its own; ``RUN`` in it is the diagnosis of ``spec``."""
    if reason := why_no_namespace():
        pytest.skip(reason)
    text = f"mount --make-rprivate /\n{script.replace('RUN', f'{DIAGNOSE} --diagnose={spec}')}"
    return run(["unshare", "--mount", "sh", "-ec", text], folder, {"LANG": "C.UTF-8", **variables})


@pytest.mark.parametrize("spec", ["demo", "demo:connection-refused"])
def test_nobody_without_a_home_can_diagnose(spec: str, tmp_path: Path) -> None:
    """The report goes to the folder for temporary files, and the terminal says so."""
    script = f"mkdir -m 755 here; mkdir -m 1777 temp; cd here; {NOBODY} RUN"
    outcome = shell(script, tmp_path, spec, HOME="/nonexistent", TMPDIR=str(tmp_path / "temp"))
    assert outcome.code == (0 if spec == "demo" else 1), outcome.output
    assert f"Report: {tmp_path}/temp/pytest-diagnostics" in outcome.output
    assert "Traceback" not in outcome.output


def test_no_place_to_write_anything_is_survived(tmp_path: Path) -> None:
    """No report then; the terminal holds the diagnosis and says that there is none."""
    quiet = "-p no:cacheprovider --capture=sys"
    script = f"for d in /tmp /var/tmp /dev/shm; do mount --bind $d $d; mount -o remount,ro,bind $d; done; cd /; {NOBODY} RUN {quiet}"
    outcome = shell(script, tmp_path, "path:/usr/share/base-files", HOME="/nonexistent")
    assert "no report could be written" in outcome.output, outcome.output
    assert "exit " in outcome.output
    assert "Traceback" not in outcome.output


def test_an_empty_etc_is_survived(tmp_path: Path) -> None:
    """No resolv.conf, no hosts, no passwd: a container from scratch."""
    outcome = shell(f"mount -t tmpfs none /etc; RUN --diagnose-report={tmp_path}", tmp_path)
    assert outcome.code == 0, outcome.output
    assert outcome.document["case"]["resolvers"] == []


def test_a_read_only_working_folder_is_survived(tmp_path: Path) -> None:
    """The report goes elsewhere."""
    outcome = shell("mount -t tmpfs -o ro none /mnt; cd /mnt; RUN", tmp_path, "demo:connection-refused")
    assert outcome.code == 1, outcome.output
    assert "Report: " in outcome.output
    assert "/mnt/reports" not in outcome.output
