"""In the user's own code and runs: a context manager, a section of a failing test, a notebook's extension."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import diagnostics
from diagnostics.watching import Diagnosed
from tests.functional.runs import run

PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]


def test_an_exception_becomes_the_diagnosis_and_is_kept() -> None:
    """The error's own codes, beneath; what to do, in the message."""
    with pytest.raises(Diagnosed) as caught, diagnostics.watch(look=False):
        raise OSError(errno.EDQUOT, "Disk quota exceeded", "/home/u/.cache/huggingface/x")
    assert caught.value.diagnosis.cause == "disk-quota-exceeded"
    assert isinstance(caught.value.__cause__, OSError)
    assert "Do: Put HF_HOME on another file system" in str(caught.value)


def test_what_nothing_is_known_about_passes_through() -> None:
    """The user's own errors, Ctrl-C, and success."""
    for error in (ZeroDivisionError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)), diagnostics.watch(look=False):
            raise error
    with diagnostics.watch(look=False):
        pass


def test_a_load_from_a_damaged_folder_is_looked_at(tmp_path: Path) -> None:
    """The exception is ambiguous, the bytes are not: a pointer lies where the weights should be; beside it the same folder as it should be."""
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 437\n")
    with pytest.raises(Diagnosed) as caught, diagnostics.watch(str(tmp_path), seconds=10):
        raise ValueError("Error while deserializing header: HeaderTooLarge")
    assert caught.value.diagnosis.cause == "lfs-pointer"
    assert caught.value.diagnosis.claims


def test_a_failing_test_says_its_known_cause(tmp_path: Path) -> None:
    """A section in its report, with --diagnose-failures or the setting; not for an assertion of the test itself, nor without the option."""
    (tmp_path / "test_it.py").write_text(
        "def test_load():\n    raise OSError(28, 'No space left on device')\n\ndef test_text():\n    assert 'CUDA out of memory' == 'x'\n\ndef test_other():\n    1 / 0\n"
    )
    with_option = run([*PYTEST, "--diagnose-failures"], tmp_path)
    assert with_option.code == 1
    assert with_option.output.count("The text can mean") == 1 and "1. disk-space-insufficient" in with_option.output
    assert "The text can mean" not in run(PYTEST, tmp_path).output
    (tmp_path / "pytest.ini").write_text("[pytest]\ndiagnose_failures = true\n")
    assert run([*PYTEST, "-n2"], tmp_path).output.count("1. disk-space-insufficient") == 1


def test_a_notebook_hears_what_its_error_can_mean(capsys: pytest.CaptureFixture[str]) -> None:
    """%load_ext diagnostics: after the cell that failed, and not after one that worked."""
    heard: dict[str, Any] = {}
    shell = SimpleNamespace(
        events=SimpleNamespace(register=heard.__setitem__, unregister=lambda name, function: heard.pop(name)),
        register_magic_function=lambda function, kind, name: heard.__setitem__("%" + name, function),
    )
    diagnostics.load_ipython_extension(shell)
    heard["post_run_cell"](SimpleNamespace(error_in_exec=None, error_before_exec=None))
    assert capsys.readouterr().err == ""
    heard["post_run_cell"](SimpleNamespace(error_in_exec=ModuleNotFoundError("No module named 'sentencepiece'"), error_before_exec=None))
    assert "1. package-missing" in capsys.readouterr().err
    heard["%diagnose"]("")
    diagnostics.unload_ipython_extension(shell)
    assert "post_run_cell" not in heard


def test_importing_the_package_stays_light(tmp_path: Path) -> None:
    """explain and watch load what they need when they are called."""
    code = "import json, sys; import diagnostics; print(json.dumps(sorted(name for name in sys.modules if name.startswith('diagnostics'))))"
    assert json.loads(run([sys.executable, "-c", code], tmp_path).output) == ["diagnostics"]
