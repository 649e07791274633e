"""Imports, tried in virtual environments broken on purpose: each fault beside the whole environment that it was made from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from diagnostics import codec
from diagnostics.case import ABSENT, Case, Environment, Packages
from diagnostics.diagnosis import diagnose
from diagnostics.lab.environments import GONE, environment, install, site_of
from diagnostics.probes import import_trial
from diagnostics.probes.import_trial import Candidate, try_imports
from diagnostics.probes.packages import see_packages
from tests.unit.files_made import folder_target, model, seen_in


def packages_of(tmp_path: Path, **changes: dict[str, str] | None) -> tuple[Packages, Environment]:
    """What is seen of a whole little model in an environment with ``changes``."""
    folder = model(tmp_path / "m")
    known, python = environment(tmp_path / "env", **changes)
    found = see_packages(folder_target(folder), known, ABSENT, seen_in(folder), str(python))
    assert codec.decode(Packages, json.loads(json.dumps(codec.encode(found)))) == found
    return found, known


def judged(packages: Packages, known: Environment) -> list[tuple[str, str]]:
    """(cause, first subject) of the roots; every text is filled in."""
    found = diagnose(Case(packages=packages, environment=known))
    assert all("<" not in (item.title + item.why).replace("numpy<2", "") and all(remedy.do and remedy.check for remedy in item.remedies) for item in found)
    return [(item.cause, item.subjects[0].name) for item in found]


def test_a_whole_environment_is_healthy(tmp_path: Path) -> None:
    """Everything can be imported, and says where it was found."""
    packages, known = packages_of(tmp_path)
    assert {trial.package: trial.outcome for trial in packages.imports} == dict.fromkeys(
        ("transformers", "torch", "safetensors", "tokenizers", "numpy", "regex", "huggingface_hub"), "imported"
    )
    assert judged(packages, known) == []


LIBRARY = "raise ImportError('libcudart.so.12: cannot open shared object file: No such file or directory')\n"
OWN = "raise ImportError('libtorch_cpu.so: cannot open shared object file: No such file or directory')\n"
GLIBC = 'raise ImportError("/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38\' not found (required by x.so)")\n'
SYMBOL = "raise ImportError('x.so: undefined symbol: _ZN3c106detail')\n"
NUMPY = "raise ValueError('numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header, got 88 from PyObject')\n"
PRINTED = "import sys; sys.stderr.write('\\nA module that was compiled using NumPy 1.x cannot be run in\\nNumPy 2.4.6 as it may crash.\\n')\n"
SIGILL = "import os, signal; os.kill(os.getpid(), signal.SIGILL)\n"
SEGV = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n"
MACHINE = "raise ImportError('x.so: wrong ELF class: ELFCLASS32')\n"
WRAPPED = "try:\n    import nothing_like_it\nexcept ImportError as error:\n    raise RuntimeError('Failed to import, look above') from error\n"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (LIBRARY, "system-library-missing"),
        (GLIBC, "system-library-missing"),
        (OWN, "package-broken"),
        (SYMBOL, "package-broken"),
        ("raise RuntimeError('anything')\n", "package-broken"),
        ("import torch._C_is_gone\n", "package-broken"),
        (SEGV, "package-broken"),
        ("import sys; sys.exit(3)\n", "package-broken"),
        (NUMPY, "numpy-abi-mismatch"),
        (PRINTED, "numpy-abi-mismatch"),
        (SIGILL, "cpu-instruction-missing"),
        (MACHINE, "python-unsupported"),
        ("match = 1; def f(: pass\n", "python-unsupported"),
        ("import typing_of_another\n", "package-missing"),
        (WRAPPED, "package-missing"),
    ],
)
def test_each_error_has_its_cause(tmp_path: Path, code: str, cause: str) -> None:
    """By what the loader, Python or numpy says, and by the signal."""
    found = judged(*packages_of(tmp_path, torch={"torch/__init__.py": code}))
    assert [item[0] for item in found] == [cause]


def test_the_missing_package_is_named(tmp_path: Path) -> None:
    """Not the one that asks for it: yaml is brought by pyyaml."""
    packages, known = packages_of(tmp_path, transformers={"transformers/__init__.py": "import yaml\n"})
    found = diagnose(Case(packages=packages, environment=known))
    assert [item.cause for item in found] == ["package-missing"] and found[0].remedies[0].run.endswith("-m pip install pyyaml")


def test_a_real_undefined_symbol(tmp_path: Path) -> None:
    """A compiled module that asks for what no library has; the loader's own words."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here")
    known, python = environment(tmp_path / "env")
    source = tmp_path / "x.c"
    source.write_text("extern int nobody_has_this(void);\nint PyInit_broken_module(void) { return nobody_has_this(); }\n")
    site = next((tmp_path / "env" / "lib").iterdir()) / "site-packages"
    subprocess.run([compiler, "-shared", "-fPIC", "-Wl,-z,now", "-o", str(site / "broken_module.so"), str(source)], check=True)
    trial = try_imports(str(python), [Candidate("broken-module", "broken_module"), Candidate("numpy", "numpy")], {})
    assert [(item.outcome, item.error) for item in trial] == [("failed", "ImportError"), ("imported", "")]
    assert "undefined symbol: nobody_has_this" in trial[0].message and known.distributions


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    """RECORD lists it: the report says which."""
    packages, known = packages_of(tmp_path, torch={"torch/__init__.py": "from torch import _part\n", "torch/_part.py": GONE})
    found = diagnose(Case(packages=packages, environment=known))
    assert [item.cause for item in found] == ["package-broken"] and "torch/_part.py is not there" in found[0].why


def test_one_broken_package_is_one_root(tmp_path: Path) -> None:
    """transformers fails by the same error as numpy, which it imports: numpy is to be repaired."""
    packages, known = packages_of(
        tmp_path, numpy={"numpy/__init__.py": "raise ImportError('numpy is in pieces')\n"}, transformers={"transformers/__init__.py": "import numpy\n"}
    )
    found = diagnose(Case(packages=packages, environment=known))
    assert [item.cause for item in found] == ["package-broken"] and found[0].title.startswith("numpy ")


def test_a_silent_import_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, with what it started, and no verdict is given."""
    monkeypatch.setattr(import_trial, "PATIENCE_SECONDS", 0.5)
    packages, known = packages_of(tmp_path, torch={"torch/__init__.py": "import time; time.sleep(60)\n"})
    assert "torch" not in {trial.package for trial in packages.imports if trial.outcome != "unfinished"} and judged(packages, known) == []


def test_what_is_killed_says_nothing_of_the_package(tmp_path: Path) -> None:
    """SIGKILL comes from outside, where memory runs out."""
    assert judged(*packages_of(tmp_path, torch={"torch/__init__.py": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"})) == []


def test_noise_and_hostile_output_are_no_word_of_ours(tmp_path: Path) -> None:
    """A package may print what it likes."""
    noise = "print('diagnose-import {\"module\": 7}'); print('diagnose-import not json'); print('\\x1b[31m')\n"
    assert judged(*packages_of(tmp_path, torch={"torch/__init__.py": noise})) == []
    hostile = "raise ImportError('\\x1b[2J$(rm -rf /) hf_abcdefghijklmnopqrstuvwxyz0123')\n"
    packages, _ = packages_of(tmp_path / "b", torch={"torch/__init__.py": hostile})
    text = json.dumps(codec.encode(packages))
    assert "\\u001b" not in text and "hf_abcdefgh" not in text


def test_wheels_of_another_python_or_system(tmp_path: Path) -> None:
    """The tags of WHEEL: another Python's, another machine's, a newer glibc's; and the healthy twin."""
    from diagnostics.case import Distribution, Interpreter, Platform
    from diagnostics.probes.package_metadata import tag_problem

    def problem(tag: str, libc: str = "glibc 2.36") -> str:
        place = tmp_path / tag / libc
        install(place, "x", "1.0", {}, tag=tag)
        item = Distribution(name="x", version="1.0", location=str(place))
        return tag_problem(item, Interpreter(executable="p", version="3.11.7"), Platform(system="Linux", machine="x86_64", libc=libc))

    assert problem("py3-none-any") == problem("cp311-cp311-manylinux_2_28_x86_64") == problem("cp39-abi3-manylinux2014_x86_64") == ""
    assert problem("cp312-cp312-manylinux_2_28_x86_64") == "it was built for Python 3.12"
    assert "aarch64" in problem("cp311-cp311-manylinux_2_28_aarch64") and "macosx" in problem("cp311-cp311-macosx_11_0_arm64")
    assert "glibc 2.28" in problem("cp311-cp311-manylinux_2_28_x86_64", "glibc 2.17") and "musl" in problem("cp311-cp311-musllinux_1_2_x86_64")


def test_a_package_that_does_not_run_on_this_python(tmp_path: Path) -> None:
    """Requires-Python, as the package says it."""
    known, python = environment(tmp_path / "env", tokenizers=None)
    site = next((tmp_path / "env" / "lib").iterdir()) / "site-packages"
    install(site, "tokenizers", "0.23.3", {"tokenizers/__init__.py": "def of_tomorrow[T](: T): pass\n"}, requires=("python >=3.99",))
    from diagnostics.environment.interpreter import read_interpreter

    interpreter, distributions, _ = read_interpreter(str(python), {})
    folder = model(tmp_path / "m")
    packages = see_packages(
        folder_target(folder), Environment(distributions=distributions, interpreter=interpreter, platform=known.platform), ABSENT, seen_in(folder), str(python)
    )
    assert judged(packages, known) == [("python-unsupported", "tokenizers 0.23.3")]


def test_a_part_of_another_package_that_is_gone(tmp_path: Path) -> None:
    """numpy._core is no package to install: numpy is in pieces, and whoever imports it fails with it."""
    whole = {"numpy/__init__.py": "import numpy._core\n", "numpy/_core.py": GONE}
    packages, known = packages_of(tmp_path, numpy=whole, transformers={"transformers/__init__.py": "import numpy\n"})
    found = diagnose(Case(packages=packages, environment=known))
    assert [item.cause for item in found] == ["package-broken"] and found[0].title.startswith("numpy ")


def test_metadata_without_its_module(tmp_path: Path) -> None:
    """regex is listed as installed, and its folder is gone (an uninstall that was cut short); transformers imports it."""
    packages, known = packages_of(tmp_path, regex={"regex/__init__.py": GONE}, transformers={"transformers/__init__.py": "import regex\n"})
    found = diagnose(Case(packages=packages, environment=known))
    assert [(item.cause, item.subjects[0].name) for item in found] == [("package-broken", "regex")]


def test_a_folder_that_only_has_the_name(tmp_path: Path) -> None:
    """Python takes any folder for a package (PEP 420); one whose files went away is none."""
    packages, known = packages_of(tmp_path, tokenizers={"tokenizers/__init__.py": GONE, "tokenizers/data.txt": "x"})
    assert judged(packages, known) == [("package-broken", "tokenizers")]


def test_nothing_but_metadata_is_not_tried(tmp_path: Path) -> None:
    """Neither files nor a list of them: nobody meant it to be imported."""
    known, python = environment(tmp_path / "env", tokenizers=None)
    place = site_of(tmp_path / "env") / "tokenizers-0.23.3.dist-info"
    place.mkdir()
    (place / "METADATA").write_text("Metadata-Version: 2.4\nName: tokenizers\nVersion: 0.23.3\n")
    from diagnostics.environment.interpreter import read_interpreter

    interpreter, distributions, _ = read_interpreter(str(python), {})
    folder = model(tmp_path / "m")
    environment_ = Environment(distributions=distributions, interpreter=interpreter, platform=known.platform)
    packages = see_packages(folder_target(folder), environment_, ABSENT, seen_in(folder), str(python))
    assert "tokenizers" not in {trial.package for trial in packages.imports} and judged(packages, known) == []


def test_nothing_that_lies_in_the_working_folder_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A json.py of a downloaded repository is neither of the packages that are tried nor of what tries them."""
    for name in ("json", "time", "numpy", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write('{name} ')\n")
    monkeypatch.chdir(tmp_path)
    (trial,) = try_imports("", [Candidate("colorsys", "colorsys")], os.environ)
    assert (trial.outcome, (tmp_path / "ran").exists()) == ("imported", False)
