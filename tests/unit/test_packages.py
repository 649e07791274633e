"""Packages: from metadata on disk, on site folders made here; nothing is imported."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from diagnostics import codec
from diagnostics.case import ABSENT, Case, Distribution, Environment, Files, FileSeen, Interpreter, Listing, Packages, RemoteFile, Requirement, Target, Unseen
from diagnostics.diagnosis import diagnose
from diagnostics.environment import inventory
from diagnostics.facts import versions
from diagnostics.probes.loaded import superseded
from diagnostics.probes.packages import see_packages

HEALTHY = {
    "transformers": (
        "5.23.0",
        [
            "huggingface-hub<3.0,>=1.31.0",
            "numpy>=1.17",
            "tokenizers<0.24.0,>=0.23.1",
            "safetensors>=0.8.0",
            "regex>=2025.10.22",
            'torch>=2.6; extra == "torch"',
        ],
    ),
    "torch": ("2.13.0+cpu", ["nvidia-cublas==99"]),
    "tokenizers": ("0.23.3", ["huggingface-hub>=0.16.4,<3.0"]),
    "safetensors": ("0.8.0", []),
    "huggingface_hub": ("2.4.0", ["httpx2<3,>=2.0.0"]),
    "httpx2": ("2.16.2", []),
    "numpy": ("2.3.0", []),
    "regex": ("2026.1.1", []),
}
HUB = Target(spec="org/tiny", kind="hub", name="org/tiny", loader="transformers")
MODEL = ("config.json", "tokenizer.json", "model.safetensors")


def site(folder: Path, packages: dict[str, tuple[str, list[str]]], **changes: tuple[str, list[str]] | None) -> Path:
    """A site-packages folder that holds these distributions' metadata."""
    for name, entry in {**packages, **changes}.items():
        if entry:
            info = folder / f"{name}-{entry[0]}.dist-info"
            info.mkdir(parents=True, exist_ok=True)
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.4\nName: {name}\nVersion: {entry[0]}\n"
                + "".join(f"Requires-Dist: {line}\n" for line in entry[1])
                + "\nlong text\nRequires-Dist: not-this\n"
            )
    return folder


def environment_of(*folders: Path, python: str = "3.12.1") -> Environment:
    found = tuple(
        Distribution(name=name, version=version, location=place) for name, version, place in inventory.distributions([str(folder) for folder in folders])
    )
    return Environment(distributions=found, interpreter=Interpreter(executable="/opt/py/bin/python", version=python))


def listing(*paths: str) -> Listing:
    return Listing(source="hub", files=tuple(RemoteFile(path=path) for path in paths), wanted=paths)


def seen(environment: Environment, *paths: str, target: Target = HUB) -> Packages:
    return see_packages(target, environment, listing(*(paths or MODEL)), ABSENT)


def judged(packages: Packages) -> list[tuple[str, str, str]]:
    """(cause, severity, first subject) of the roots; every text is filled in."""
    found = diagnose(Case(packages=packages))
    assert all(
        "<package" not in item.title + item.why and "<why" not in item.why and all(remedy.do and remedy.check for remedy in item.remedies) for item in found
    )
    return [(item.cause, item.severity, item.subjects[0].name) for item in found]


def test_a_whole_environment_is_healthy(tmp_path: Path) -> None:
    """Everything there, new enough, in agreement; torch's own odd requirement is its own matter."""
    packages = seen(environment_of(site(tmp_path, HEALTHY)))
    assert packages.judged and {item.package for item in packages.requirements} == {"transformers", "torch", "tokenizers", "safetensors", "huggingface-hub"}
    assert judged(packages) == []
    assert codec.decode(Packages, json.loads(json.dumps(codec.encode(packages)))) == packages


def test_without_any_loader_nothing_is_judged(tmp_path: Path) -> None:
    """The tests run in one interpreter, the model loads in another: no fault, and it is said."""
    packages = seen(environment_of(site(tmp_path, {"requests": ("2.34.2", []), "huggingface_hub": HEALTHY["huggingface_hub"]})))
    assert not packages.judged and "--diagnose-python" in packages.message and judged(packages) == []


def test_an_interpreter_that_could_not_be_asked() -> None:
    """The reason is passed on."""
    packages = seen(Environment(interpreter=Unseen("unsupported", "there is no /x/python")))
    assert not packages.judged and packages.message == "there is no /x/python"


@pytest.mark.parametrize("kind", ["none", "url", "list"])
def test_other_targets_need_nothing(tmp_path: Path, kind: str) -> None:
    """A URL needs its client only."""
    packages = seen(environment_of(site(tmp_path, {"torch": ("2.0", [])})), target=Target(spec="", kind=kind))  # type: ignore[arg-type]
    assert packages.requirements == () and judged(packages) == []


def test_torch_is_missing(tmp_path: Path) -> None:
    """transformers alone cannot compute."""
    assert judged(seen(environment_of(site(tmp_path, HEALTHY, torch=None)))) == [("package-missing", "error", "torch")]


def test_an_older_transformers_may_compute_with_something_else(tmp_path: Path) -> None:
    """4.x with TensorFlow needs no torch; 5.x does."""
    packages = {
        "transformers": ("4.40.0", []),
        "tensorflow": ("2.16.1", []),
        "huggingface_hub": ("0.25.0", []),
        "tokenizers": ("0.19.1", []),
        "safetensors": ("0.4.3", []),
    }
    assert judged(seen(environment_of(site(tmp_path, packages)))) == []


def test_what_the_files_ask_for(tmp_path: Path) -> None:
    """A SentencePiece model without tokenizer.json, a pipeline, an adapter."""
    environment = environment_of(site(tmp_path, HEALTHY))
    assert judged(seen(environment, "config.json", "spiece.model", "model.safetensors")) == [("package-missing", "error", "sentencepiece")]
    assert judged(seen(environment, "config.json", "spiece.model", "tokenizer.json", "model.safetensors")) == []
    assert judged(seen(environment, "model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors")) == [
        ("package-missing", "error", "diffusers")
    ]
    assert judged(seen(environment, "adapter_config.json", "adapter_model.safetensors")) == [("package-missing", "error", "peft")]


def test_torch_alone_does_not_load_a_config(tmp_path: Path) -> None:
    """A model of transformers without transformers."""
    found = judged(
        seen(
            environment_of(site(tmp_path, {"torch": ("2.6.0", []), "huggingface_hub": ("2.4.0", []), "safetensors": ("0.8.0", [])})),
            "config.json",
            "model.safetensors",
        )
    )
    assert found == [("package-missing", "error", "transformers")]


def test_somebody_elses_config_asks_for_nothing(tmp_path: Path) -> None:
    """timm's config.json names an architecture, no model_type."""
    (tmp_path / "config.json").write_text('{"architecture": "resnet18"}')
    files = Files(
        place="folder",
        path=str(tmp_path),
        files=(FileSeen(path="config.json", location=str(tmp_path / "config.json"), bytes=28), FileSeen(path="model.safetensors", bytes=9)),
    )
    environment = environment_of(site(tmp_path / "site", {"torch": ("2.6.0", []), "timm": ("1.0", []), "safetensors": ("0.5", [])}))
    assert judged(see_packages(Target(spec="x", kind="directory", paths=(str(tmp_path),)), environment, ABSENT, files)) == []


def test_torch_is_too_old(tmp_path: Path) -> None:
    """transformers 5.23 does not see a torch before 2.6; a release candidate or local version of 2.6 will do."""
    assert judged(seen(environment_of(site(tmp_path / "a", HEALTHY, torch=("2.5.1", []))))) == [("package-too-old", "error", "torch")]
    assert judged(seen(environment_of(site(tmp_path / "b", HEALTHY, torch=("2.6.0+cu124", []))))) == []
    assert judged(seen(environment_of(site(tmp_path / "c", HEALTHY, torch=("2.7.0.dev20250101", []))))) == []


def test_only_pickled_weights_ask_for_torch_2_6(tmp_path: Path) -> None:
    """transformers 4.53 loads safetensors with torch 2.4, and no .bin."""
    old = {**HEALTHY, "transformers": ("4.53.0", []), "torch": ("2.4.0", []), "tokenizers": ("0.21.0", []), "huggingface_hub": ("0.33.0", [])}
    environment = environment_of(site(tmp_path, old))
    assert judged(seen(environment)) == []
    assert judged(seen(environment, "config.json", "tokenizer.json", "pytorch_model.bin")) == [("torch-too-old-for-pickle", "error", "torch")]
    older = dataclasses.replace(
        environment,
        distributions=tuple(dataclasses.replace(item, version="4.51.3") if item.name == "transformers" else item for item in environment.distributions),
    )
    assert judged(seen(older, "config.json", "tokenizer.json", "pytorch_model.bin")) == []


def test_something_relied_on_was_removed(tmp_path: Path) -> None:
    """sentence-transformers 2.2 with huggingface_hub 0.26: the remedy is to upgrade the caller."""
    packages = {
        "sentence-transformers": ("2.2.2", []),
        "transformers": ("4.40.0", []),
        "torch": ("2.3", []),
        "huggingface_hub": ("0.26.0", []),
        "tokenizers": ("0.19", []),
        "safetensors": ("0.4", []),
    }
    case = Case(packages=seen(environment_of(site(tmp_path, packages))))
    found = diagnose(case)
    assert [(item.cause, item.subjects[0].name) for item in found] == [("package-too-new", "huggingface-hub")]
    assert "'sentence-transformers>=2.3'" in found[0].remedies[0].run and "'huggingface-hub<0.26'" in found[0].remedies[1].run


def test_requirements_that_contradict(tmp_path: Path) -> None:
    """What transformers checks at its import is an error; others' wishes are a warning."""
    found = judged(seen(environment_of(site(tmp_path / "a", HEALTHY, tokenizers=("0.22.0", [])))))
    assert found == [("package-conflict", "error", "transformers 5.23.0")]
    found = judged(seen(environment_of(site(tmp_path / "b", HEALTHY, httpx2=("3.0.0", [])))))
    assert found == [("package-conflict", "warning", "huggingface_hub 2.4.0")]


def test_a_requirement_that_is_not_there(tmp_path: Path) -> None:
    """pip install --no-deps: regex is missing, and transformers checks it."""
    assert judged(seen(environment_of(site(tmp_path, HEALTHY, regex=None)))) == [("package-missing", "error", "regex>=2025.10.22")]


def test_markers_are_those_of_the_interpreter_that_loads(tmp_path: Path) -> None:
    """A requirement of Python 3.8 does not concern 3.12, nor an extra that nobody asked for."""
    lines = ['numpy<2; python_version < "3.9"', 'regex<1; extra == "x"', "not a requirement at all ;;;", "numpy>=1; some_unknown == 'x'"]
    packages = {**HEALTHY, "transformers": ("5.23.0", lines)}
    environment = environment_of(site(tmp_path, packages))
    assert judged(seen(environment)) == []
    old = dataclasses.replace(environment, interpreter=Interpreter(executable="/p", version="3.8.1"))
    assert [item[0] for item in judged(seen(old))] == ["package-conflict"]


def test_installed_twice(tmp_path: Path) -> None:
    """Two versions in one folder are a broken upgrade; an overlay of another folder is how virtual environments work."""
    base = site(tmp_path / "base", HEALTHY)
    overlay = site(tmp_path / "venv", {"torch": ("2.12.0", [])})
    assert judged(seen(environment_of(overlay, base))) == []
    site(base, {"safetensors": ("0.9.0", [])})
    assert judged(seen(environment_of(base))) == [("environment-mixed", "warning", "safetensors")]


def test_the_folder_of_the_user_hides_another_version() -> None:
    """pip install --user once upon a time."""
    found = (
        Distribution(name="torch", version="2.13", location="/env/lib"),
        Distribution(name="torch", version="2.6", location="~/.local/lib/python3.11/site-packages"),
    )
    packages = seen(
        Environment(distributions=found, interpreter=Interpreter(executable="/p", version="3.11.1")),
        "config.json",
        "model.safetensors",
        target=Target(spec="x", kind="directory"),
    )
    assert len(packages.duplicates) == 1 and "~/.local" in packages.duplicates[0]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"Requires-Dist: " + b"a" * 100_000, b"\n" * 1000])
def test_metadata_of_any_shape(tmp_path: Path, content: bytes) -> None:
    """What cannot be read says nothing."""
    folder = site(tmp_path, HEALTHY)
    (folder / "transformers-5.23.0.dist-info" / "METADATA").write_bytes(content)
    assert judged(seen(environment_of(folder))) == []


def test_hostile_names_are_one_word_in_a_command() -> None:
    """A version from a metadata folder's name reaches a command quoted."""
    packages = Packages(python="/opt/a b/python; x", judged=True, requirements=seen(environment_of(), target=HUB).requirements)
    assert packages.requirements == ()
    from diagnostics.case import Requirement

    bad = dataclasses.replace(packages, requirements=(Requirement(package="x; rm -rf $HOME", why="it"),))
    run = diagnose(Case(packages=bad))[0].remedies[0].run
    assert run == "'/opt/a b/python; x' -m pip install 'x; rm -rf $HOME'"


def test_the_table_is_dated_and_sourced() -> None:
    """Every bound has a source; an old table says so."""
    table = versions._table()
    assert all(row["source"] and row["why"] for row in (*table["floors"], *table["removals"]))
    assert versions.outdated(versions.as_of()) == "" and "days old" in versions.outdated(versions.as_of() + datetime.timedelta(days=400))


def test_nothing_heavy_is_imported() -> None:
    """Neither torch nor transformers, nor requests."""
    code = "import sys; import diagnostics.probes.packages, diagnostics.probes.files, diagnostics.probes.memory; print([n for n in ('torch', 'transformers', 'requests', 'dns') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_what_was_installed_after_this_process_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after pip install -U in a notebook: what is loaded is of another version. Not where metadata merely differ, nor for another interpreter."""
    about = tmp_path / "made_package-2.0.dist-info"
    about.mkdir()
    item = Distribution(name="made-package", version="2.0", location=str(tmp_path))
    file = str(tmp_path / "made_package" / "__init__.py")
    monkeypatch.setitem(sys.modules, "made_package", SimpleNamespace(__version__="1.0", __file__=file))
    assert superseded([item]) == ("made-package: 1.0 is loaded, 2.0 is installed",)
    monkeypatch.setitem(sys.modules, "made_package", SimpleNamespace(__version__="2.0+cu128", __file__=file))
    assert superseded([item]) == ()
    monkeypatch.setitem(sys.modules, "made_package", SimpleNamespace(__version__="1.0", __file__="/elsewhere/made_package/__init__.py"))
    assert superseded([item]) == ()
    monkeypatch.setitem(sys.modules, "made_package", SimpleNamespace(__version__="1.0", __file__=file))
    os.utime(about, (1, 1))
    assert superseded([item]) == () == superseded([dataclasses.replace(item, name="not-loaded")])


def test_the_remedy_for_what_was_installed_meanwhile_is_a_restart() -> None:
    """A warning; nothing is installed again."""
    needed = Requirement(package="transformers", why="loads it", installed="5.24.0")
    seen = Packages(python="/env/bin/python", judged=True, requirements=(needed,), superseded=("transformers: 4.40.0 is loaded, 5.24.0 is installed",))
    root = diagnose(Case(packages=seen))[0]
    assert (root.cause, root.severity) == ("environment-mixed", "warning") and "Restart" in root.remedies[0].do and not root.remedies[0].run
    assert "4.40.0 is loaded" in root.title and diagnose(Case(packages=dataclasses.replace(seen, superseded=()))) == []
