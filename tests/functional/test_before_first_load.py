"""Before the first load: preflight from Python and in the user's tests, and README's step, init container and prolog, each run as it stands there."""

from __future__ import annotations

import os
import pickle
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import diagnostics
from diagnostics.lab.hub import NAME, Repository, hub
from diagnostics.lab.model import tiny_bert
from diagnostics.lab.stage import HUB, Stage
from diagnostics.readiness import Kept, NotReady, ready
from diagnostics.watching import Diagnosed
from tests.functional.runs import Outcome, run, why_no_namespace
from tests.functional.test_hub import download

CHECKOUT = Path(diagnostics.__file__).parent.parent
BIN = Path(sys.prefix) / "bin"
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "--strict-markers"]
NOWHERE = "http://127.0.0.1:9"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user and changes mounts: needs root")


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A hub with two names for one model, and this process's environment for it."""
    with Stage() as stage:
        stage.variables["HF_ENDPOINT"] = stage.web(HUB, hub(Repository(files=tiny_bert()), Repository(name="org/name", files=tiny_bert())))
        for name, value in stage.variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(stage.work)
        yield stage


# --- from Python --------------------------------------------------------------------------------------------------------------


def test_a_model_that_can_be_loaded_passes_and_one_that_cannot_raises_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line is the root cause and what to do; it survives the way between processes; the healthy twin says nothing."""
    assert diagnostics.preflight(NAME).warnings == ()
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    with pytest.raises(NotReady) as caught:
        diagnostics.preflight(NAME)
    first = str(caught.value).partition("\n")[0]
    assert first.startswith("connection-refused: Connections to 127.0.0.1:9 are refused. HF_ENDPOINT points to")
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value) and again.diagnosis.cause == "connection-refused"


def test_a_hub_that_cannot_be_asked_stops_no_model_that_is_all_here(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the real client falls back on its cache; it stops one of which the weights are missing, and one that is not here."""
    assert download(stage) == 0
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    stage.variables["HF_ENDPOINT"] = NOWHERE
    assert download(stage) == 0, "the real client uses what is here"
    assert [warning.cause for warning in diagnostics.preflight(NAME).warnings] == ["connection-refused"]
    with pytest.raises(NotReady):
        diagnostics.preflight("org/name")
    next(stage.hub_cache.rglob("snapshots/*/model.safetensors")).unlink()
    with pytest.raises(NotReady):
        ready(NAME, seconds=10, kept=Kept())


def test_what_fails_all_the_same_is_explained(stage: Stage) -> None:
    """The context manager is watch with a look ahead of it; what nothing is known about passes through."""
    with pytest.raises(Diagnosed) as caught, diagnostics.preflight(NAME):
        raise ModuleNotFoundError("No module named 'sentencepiece'")
    assert caught.value.diagnosis.cause == "package-missing" and isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(ZeroDivisionError), diagnostics.preflight(NAME):
        raise ZeroDivisionError


def test_a_healthy_verdict_is_kept_for_its_environment_and_a_failure_never(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in requests: the second look asks nobody, a changed setting and a kept life of nothing ask anew, what was repaired is seen at once."""

    def asked() -> int:
        return len(stage.visits[HUB])

    ready(NAME, seconds=10)
    before = asked()
    ready(NAME, seconds=10)
    assert asked() == before
    ready(NAME, seconds=10, kept=Kept(seconds=0))
    assert asked() > before
    before = asked()
    monkeypatch.setenv("HF_HOME", str(stage.home / "elsewhere"))
    ready(NAME, seconds=10)
    assert asked() > before
    with pytest.raises(NotReady):
        ready("lab/later", seconds=10)
    before = asked()
    with pytest.raises(NotReady):
        ready("lab/later", seconds=10)
    assert asked() > before


# --- in the user's tests ------------------------------------------------------------------------------------------------------


TESTS = """
import pytest

def test_fixture(preflight):
    with preflight("org/name") as ready:
        assert ready.judgement.verdict == "healthy"

def test_refused(preflight):
    preflight("org/none")

@pytest.mark.needs_model("org/name")
def test_marked(): pass

@pytest.mark.needs_model("org/none")
def test_fails(): raise AssertionError("ran")

@pytest.mark.needs_model("org/none", otherwise="skip")
class TestSkipped:
    def test_one(self): raise AssertionError("ran")
    def test_two(self): raise AssertionError("ran")

@pytest.mark.needs_model
def test_misspelt(): pass
"""


def test_fixture_and_mark_say_why(stage: Stage, tmp_path: Path) -> None:
    """In a run where every warning is an error and every mark has to be declared; a hundred tests would ask once."""
    (tmp_path / "test_it.py").write_text(TESTS)
    outcome = run([*PYTEST, "-rsE"], tmp_path, stage.variables)
    assert "1 failed, 2 passed, 2 skipped, 2 errors" in outcome.output, outcome.output
    assert "NotReady: http-repository-missing: " in outcome.output
    assert "ERROR test_it.py::test_fails - Failed: http-repo" in outcome.output
    assert re.search(r"SKIPPED \[2\] .*org/none: http-repository-missing: ", outcome.output)
    assert 'say @pytest.mark.needs_model("org/name")' in outcome.output
    assert len([request for request in stage.visits[HUB] if "org/none" in request.path and request.path.startswith("/api/")]) <= 2
    assert "1 failed, 2 passed, 2 skipped, 2 errors" in run([*PYTEST, "-n2"], tmp_path, stage.variables).output


def test_a_project_keeps_its_own_mark_and_fixture(tmp_path: Path) -> None:
    """Declared in its settings, or in its conftest."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n@pytest.fixture\ndef preflight(): return 3\n@pytest.mark.needs_model('x')\ndef test_it(preflight): assert preflight == 3\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    needs_model(name): ours\n")
    assert "1 passed" in run(PYTEST, tmp_path).output
    (tmp_path / "pytest.ini").unlink()
    (tmp_path / "conftest.py").write_text("def pytest_configure(config):\n    config.addinivalue_line('markers', 'needs_model: ours')\n")
    assert "1 passed" in run(PYTEST, tmp_path).output


# --- --diagnose-plan ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "code"), [("org/name", 0), ("demo", 0), ("a/b/c", 1), ("./nowhere", 1)])
def test_a_plan_fails_where_the_run_itself_would_for_its_spec(spec: str, code: int, tmp_path: Path) -> None:
    """And it names what is run and written, the report's folder with it."""
    outcome = run([str(BIN / "pytest-diagnostics"), spec, "--diagnose-plan", "--diagnose-report=out"], tmp_path)
    assert outcome.code == code, outcome.output
    assert f"write: the report, to {tmp_path}/out" in outcome.output
    assert not (tmp_path / "out").exists()
    if spec == "org/name":
        assert f"run: {sys.executable}"[:20] in outcome.output


# --- README -------------------------------------------------------------------------------------------------------------------


def snippet(name: str) -> str:
    """The block behind a mark in README.md."""
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    assert found, f"README.md has no <!-- {name} -->"
    return found[1]


@pytest.mark.parametrize("healthy", [True, False])
def test_the_step_for_github_actions(healthy: bool, stage: Stage, tmp_path: Path) -> None:
    """Its run: block, as a runner runs it (bash -e): the summary and the annotations, exit 1 and the report to upload where it is broken."""
    step, upload = yaml.safe_load(snippet("github"))
    variables = stage.variables | {"PATH": f"{BIN}:{os.environ['PATH']}", "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    outcome = run(["bash", "-e", "-c", step["run"]], tmp_path, variables if healthy else variables | {"HF_ENDPOINT": NOWHERE})
    assert outcome.code == (0 if healthy else 1), outcome.output
    assert (tmp_path / upload["with"]["path"] / "report.html").exists()
    assert bool(re.search(r"^::error title=Connections to 127.0.0.1%3A9 are refused", outcome.output, re.MULTILINE)) != healthy
    assert ("connection-refused" in (tmp_path / "summary.md").read_text()) != healthy


def container(folder: Path, spec: dict[str, Any], variables: dict[str, str], setup: str = "") -> Outcome:
    """What a kubelet does with an init container: its command as PID 1 in a root of its own that is read-only, as its user without capabilities, its mounts empty."""
    root, needed = folder / "root", [Path(sys.prefix), CHECKOUT, Path(os.path.realpath(sys.executable)).parent.parent]
    mounts = [mount["mountPath"] for mount in spec["volumeMounts"]]
    prepare = [
        "mount --make-rprivate /",
        f"mount -t tmpfs none {folder}; mkdir {root} {folder}/upper {folder}/work",
        f"mount -t overlay none -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {root}",
        *(f"mkdir -p {root}{path}; mount -t tmpfs -o mode=777 none {root}{path}" for path in mounts),
        *(f"mkdir -p {root}{path}; mount --bind {path} {root}{path}" for path in needed),
        *(f"chmod o+x {root}{parent}" for path in needed for parent in path.parents),
        f"mount -t tmpfs none {root}/dev; mkdir {root}/dev/shm; touch {root}/dev/termination-log; chmod 666 {root}/dev/termination-log",
        *(f"touch {root}/dev/{name}; mount --bind /dev/{name} {root}/dev/{name}" for name in ("null", "zero", "urandom", "random")),
        f"mount -t proc none {root}/proc",
        setup.replace("ROOT", str(root)),
        f"mount -o remount,ro,bind {root}" if spec["securityContext"]["readOnlyRootFilesystem"] else "",
    ]
    user = spec["securityContext"]["runAsUser"]
    assert spec["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    drop = f"setpriv --reuid={user} --regid={user} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
    run_it = f"cd {root}; chroot {root} {drop} {shlex.join(spec['command'])}; code=$?; echo LAST WORDS; cat {root}/dev/termination-log; exit $code"
    env = {entry["name"]: entry["value"] for entry in spec["env"]} | variables
    script = "\n".join([*filter(None, prepare), "set +e", run_it])
    return run(
        ["unshare", "--mount", "--pid", "--fork", "sh", "-ec", script], folder.parent, {"PATH": f"{BIN}:/usr/sbin:{os.environ['PATH']}", "HOME": "/", **env}
    )


@needs_root
@pytest.mark.parametrize("fault", ["", "refused", "read-only volume"])
def test_the_init_container(fault: str, stage: Stage, tmp_path: Path) -> None:
    """Nobody, without capabilities, on a read-only root; what kubectl describe pod will show is the root cause, in the words of a pod."""
    if reason := why_no_namespace():
        pytest.skip(reason)
    (tmp_path / "pod").mkdir()
    spec = yaml.safe_load(snippet("kubernetes"))["initContainers"][0]
    variables = {"HF_ENDPOINT": NOWHERE if fault == "refused" else stage.variables["HF_ENDPOINT"], "KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    outcome = container(tmp_path / "pod", spec, variables, "mount -o remount,ro ROOT/models" if fault == "read-only volume" else "")
    assert outcome.code == (1 if fault else 0), outcome.output
    assert "Traceback" not in outcome.output
    last = outcome.output.partition("LAST WORDS\n")[2]
    assert last.startswith({"": "", "refused": "connection-refused: ", "read-only volume": "disk-read-only: "}[fault])
    assert bool(last.strip()) == bool(fault)
    assert "/tmp/diagnosis" in outcome.output


@pytest.mark.parametrize(
    ("wants", "endpoint", "code", "prints"),
    [
        ({"NEEDS_MODEL": "org/name"}, "", 0, ""),
        ({"NEEDS_MODEL": "org/name"}, NOWHERE, 1, "Connections to 127.0.0.1:9 are refused"),
        ({"NEEDS_MODEL": "org/name", "SLURM_LOCALID": "3"}, NOWHERE, 0, ""),
        ({}, NOWHERE, 0, ""),
    ],
    ids=["healthy", "refused", "not the first task", "a job that needs none"],
)
def test_the_task_prolog(wants: dict[str, str], endpoint: str, code: int, prints: str, stage: Stage, tmp_path: Path) -> None:
    """slurmstepd cancels the task by the exit code, and takes every line for a command: print, export, unset."""
    script = tmp_path / "prolog"
    script.write_text(snippet("slurm").replace("/opt/diagnostics/bin", str(BIN)))
    script.chmod(0o755)
    job = {"SLURM_JOB_ID": f"7-{os.getpid()}", "SLURM_JOB_USER": "u", "SLURM_LOCALID": "0", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0"}
    variables = {"HOME": str(stage.home), "HF_HOME": stage.variables["HF_HOME"], "HF_ENDPOINT": endpoint or stage.variables["HF_ENDPOINT"], **job, **wants}
    done = subprocess.run([script], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False, timeout=60)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (code, "")
    assert all(line.startswith("print ") for line in lines)
    assert bool(lines) == bool(prints)
    assert any(prints in line for line in lines) or not prints
    subprocess.run(["rm", "-rf", f"/tmp/diagnosis-{job['SLURM_JOB_ID']}"], check=True)
