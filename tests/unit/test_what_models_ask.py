"""What a model asks of the libraries: architecture, its own code, quantisation; and files that hide packages."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from diagnostics.case import (
    ABSENT,
    Accelerator,
    Accelerators,
    Architecture,
    Case,
    Distribution,
    Environment,
    Packages,
    Quantization,
    TorchBuild,
    Unseen,
    Variable,
)
from diagnostics.diagnosis import diagnose
from diagnostics.lab.environments import environment
from diagnostics.probes import architecture
from diagnostics.probes.packages import see_packages
from tests.unit.files_made import CONFIG, folder_target, model, seen_in

NO_CARD = Accelerators(source="none")


def packages_of(
    tmp_path: Path, config: dict[str, object], files: dict[str, str] | None = None, **changes: dict[str, str] | None
) -> tuple[Packages, Environment]:
    """What is seen of a little model with this config.json in a whole environment."""
    folder = model(tmp_path / "m", config__json=json.dumps({**CONFIG, **config}).encode())
    for name, content in (files or {}).items():
        (folder / name).write_text(content)
    known, python = environment(tmp_path / "env", **changes)
    return see_packages(folder_target(folder), known, ABSENT, seen_in(folder), str(python)), known


def judged(packages: Packages, known: Environment, accelerators: Accelerators = NO_CARD) -> list[tuple[str, str]]:
    """(cause, severity) of the roots; every text is filled in."""
    found = diagnose(Case(packages=packages, environment=known, accelerators=accelerators))
    assert all("<" not in item.title + item.why and all(remedy.do and remedy.check for remedy in item.remedies) for item in found)
    return [(item.cause, item.severity) for item in found]


# --- architectures ------------------------------------------------------------------------------------------------------------


def test_a_known_architecture(tmp_path: Path) -> None:
    """In the registry, whether listed or added later."""
    assert judged(*packages_of(tmp_path / "a", {})) == []
    assert judged(*packages_of(tmp_path / "b", {"model_type": "mimi_decoder"})) == []


def test_an_unknown_architecture(tmp_path: Path) -> None:
    """The nearest known is named, and the version that wrote it."""
    packages, known = packages_of(tmp_path, {"model_type": "llama5", "transformers_version": "6.1.0"})
    assert judged(packages, known) == [("architecture-unknown", "error")]
    why = diagnose(Case(packages=packages, environment=known))[0].why
    assert "llama" in why and "6.1.0" in why


def test_a_registry_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    """Another layout, or damaged source: no verdict."""
    for number, source in enumerate(("", "CONFIG_MAPPING_NAMES = f(:", "\0", "OTHER = {}")):
        changes = {"transformers/models/auto/configuration_auto.py": source}
        assert judged(*packages_of(tmp_path / str(number), {"model_type": "new"}, transformers=changes)) == []


def test_the_real_registry_is_read() -> None:
    """Where transformers is installed beside these tests: its own hundreds of types."""
    transformers = next((folder for folder in map(Path, __import__("sys").path) if (folder / "transformers" / "models" / "auto").is_dir()), None)
    if transformers is None:
        pytest.skip("tried in a second environment (.ci/run): transformers is not installed")
    assert {"bert", "llama", "gpt2", "t5"} <= architecture.known_types(str(transformers))


def test_code_of_its_own(tmp_path: Path) -> None:
    """auto_map for a type that the library has not: remote code; for one that it has, the library's own class is taken."""
    own = {"AutoConfig": "configuration_x.XConfig", "AutoModel": "modeling_x.XModel"}
    packages, known = packages_of(tmp_path / "a", {"model_type": "x", "auto_map": own}, {"modeling_x.py": "import torch\n", "configuration_x.py": ""})
    assert judged(packages, known) == [("remote-code-required", "error")]
    text = " ".join(remedy.do for remedy in diagnose(Case(packages=packages, environment=known))[0].remedies)
    assert "may run anything" in text
    assert judged(*packages_of(tmp_path / "b", {"auto_map": own}, {"modeling_x.py": "import nothing_at_all\n"})) == []


def test_what_its_own_code_imports(tmp_path: Path) -> None:
    """Top-level imports that are not tried for; Python's own, the model's own and installed ones are there."""
    code = "import os, torch\nimport einops\nfrom .helper import x\nfrom helper import y\nfrom transformers.utils import z\ntry:\n    import flash_attn\nexcept ImportError:\n    pass\n"
    own = {"AutoConfig": "modeling_x.XConfig"}
    packages, known = packages_of(tmp_path, {"model_type": "x", "auto_map": own}, {"modeling_x.py": code, "helper.py": ""})
    assert [item.package for item in packages.requirements if not isinstance(item.installed, str)] == ["einops"]
    assert {item[0] for item in judged(packages, known)} == {"package-missing", "remote-code-required"}


@pytest.mark.parametrize("value", [None, 7, "x", [], {"AutoModel": None}, {"AutoTokenizer": [None, "t.T"]}, {"x\x1b": "\x1b"}])
def test_auto_maps_of_any_shape(tmp_path: Path, value: object) -> None:
    """Whatever stands there, nothing breaks, and a known type is known."""
    assert judged(*packages_of(tmp_path, {"auto_map": value})) == []


# --- quantisation -------------------------------------------------------------------------------------------------------------


def test_quantised_weights_ask_for_packages(tmp_path: Path) -> None:
    """bitsandbytes and accelerate, by quant_method; an unknown method asks for nothing that we know."""
    packages, known = packages_of(tmp_path / "a", {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}})
    missing = [item.package for item in packages.requirements if not isinstance(item.installed, str)]
    assert missing == ["bitsandbytes", "accelerate"] and judged(packages, known) == [("package-missing", "error")]
    there = {"bitsandbytes": {"bitsandbytes/__init__.py": ""}, "accelerate": {"accelerate/__init__.py": ""}}
    assert judged(*packages_of(tmp_path / "b", {"quantization_config": {"quant_method": "bitsandbytes"}}, **there)) == []
    assert judged(*packages_of(tmp_path / "c", {"quantization_config": {"quant_method": "of-tomorrow"}})) == []


def test_a_quantisation_that_needs_an_accelerator() -> None:
    """Without one it cannot be loaded; with one it can, if it is of the right kind."""

    def causes(*devices: Accelerator, wanted: str = "its weights are quantised") -> list[str]:
        seen = Packages(python="p", judged=True, quantization=Quantization(method="fbgemm_fp8", accelerator=True, capability="9.0"))
        return [item.cause for item in diagnose(Case(packages=seen, accelerators=Accelerators(source="nvml", devices=devices, wanted=wanted)))]

    assert causes() == ["quantization-unsupported"]
    assert causes(Accelerator(name="H100", capability="9.0")) == [] and causes(Accelerator(name="T4", capability="7.5")) == ["quantization-unsupported"]
    assert causes(Accelerator(name="hidden", capability="9.0", visible=False)) != []


# --- files that hide packages ---------------------------------------------------------------------------------------------------


def shadows(tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> tuple[Packages, Environment]:
    folder = model(tmp_path / "m")
    known, python = environment(tmp_path / "env")
    monkeypatch.chdir(here)
    known = Environment(
        distributions=known.distributions,
        interpreter=known.interpreter,
        platform=known.platform,
        settings=tuple(Variable(name=name, value=value) for name, value in settings.items()),
    )
    return see_packages(folder_target(folder), known, ABSENT, seen_in(folder), str(python)), known


def test_a_file_of_the_packages_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.py in the working folder; a folder without __init__.py gives way to what is installed."""
    here = tmp_path / "work"
    (here / "tokenizers").mkdir(parents=True)
    (here / "train.py").touch()
    assert judged(*shadows(tmp_path / "a", here, monkeypatch)) == []
    (here / "torch.py").write_text("x = 1\n")
    packages, known = shadows(tmp_path / "b", here, monkeypatch)
    assert judged(packages, known) == [("package-shadowed", "error")]
    assert diagnose(Case(packages=packages, environment=known))[0].remedies[0].run.endswith("torch_own.py")
    assert judged(*shadows(tmp_path / "c", here, monkeypatch, PYTHONSAFEPATH="1")) == []
    (here / "torch.py").unlink()
    (here / "tokenizers" / "__init__.py").touch()
    assert judged(*shadows(tmp_path / "d", here, monkeypatch)) == [("package-shadowed", "error")]


def test_pythons_own_modules_are_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """random.py hides Python's own for every script started here."""
    here = tmp_path / "work"
    here.mkdir()
    (here / "random.py").touch()
    assert judged(*shadows(tmp_path, here, monkeypatch)) == [("package-shadowed", "warning")]


def test_a_checkout_of_the_package_itself_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its developers work in it; nor does the folder where packages are installed."""
    here = tmp_path / "work"
    (here / "torch").mkdir(parents=True)
    (here / "torch" / "__init__.py").touch()
    (here / "pyproject.toml").write_text('[project]\nname = "torch"\nversion = "3"\n')
    assert judged(*shadows(tmp_path / "a", here, monkeypatch)) == []
    site = next((tmp_path / "a" / "env" / "lib").iterdir()) / "site-packages"
    assert judged(*shadows(tmp_path / "b", site, monkeypatch)) == []


def test_pythonpath_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder named there comes first as well; another Python's packages are an error of their own."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "safetensors.py").touch()
    assert judged(*shadows(tmp_path / "a", tmp_path, monkeypatch, PYTHONPATH=str(tmp_path / "lib"))) == [("package-shadowed", "error")]
    other = tmp_path / "lib" / "python3.6" / "site-packages"
    other.mkdir(parents=True)
    assert judged(*shadows(tmp_path / "b", tmp_path, monkeypatch, PYTHONPATH=f"{other}:/not/there")) == [("environment-mixed", "error")]


# --- installed for another Python ---------------------------------------------------------------------------------------------


def test_what_the_pip_on_the_path_installed_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tokenizers is missing here, and is in the environment whose pip is on the PATH."""
    other, python = environment(tmp_path / "other")
    (python.parent / "pip").write_text(f"#!{python}\n")
    (python.parent / "pip").chmod(0o755)
    assert other.distributions
    monkeypatch.setenv("PATH", f"{python.parent}:{os.environ['PATH']}")
    packages, known = packages_of(tmp_path, {}, tokenizers=None)
    assert judged(packages, known) == [("environment-mixed", "error")]
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    packages, known = packages_of(tmp_path / "b", {}, tokenizers=None)
    assert judged(packages, known) == [("package-missing", "error")]


def test_records_of_torch_are_read_from_its_source(tmp_path: Path) -> None:
    """torch/version.py as torch writes it, for CUDA, ROCm and none; what cannot be read leaves the version."""

    def build(text: str) -> TorchBuild:
        (tmp_path / "torch").mkdir(exist_ok=True)
        (tmp_path / "torch" / "version.py").write_text(text)
        found = architecture.torch_build(Distribution(name="torch", version="2.8.0", location=str(tmp_path)))
        assert isinstance(found, TorchBuild)
        return found

    cuda = build("from typing import Optional\n__version__ = '2.8.0+cu128'\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n")
    assert (cuda.version, cuda.cuda, cuda.hip, cuda.architectures) == ("2.8.0+cu128", "12.8", "", ("7.0", "7.5", "8.0", "8.6", "9.0", "10.0", "12.0"))
    about = tmp_path / "torch-2.8.0.dist-info"
    about.mkdir()
    (about / "WHEEL").write_text("Wheel-Version: 1.0\nTag: cp312-cp312-manylinux_2_28_aarch64\n")
    assert build("__version__ = '2.8.0+cu126'\ncuda = '12.6'\n").architectures == ("8.0", "9.0")
    (about / "INSTALLER").write_text("conda\n")
    assert build("__version__ = '2.8.0'\ncuda = '12.8'\n").architectures == (), "who builds it otherwise chooses otherwise"
    assert build("cuda = None\nhip = '6.4'\n").hip == "6.4" and build("((((").version == "2.8.0"
    assert isinstance(architecture.torch_build(None), Unseen)


def test_architecture_record_without_a_config() -> None:
    """Nothing here to read: no verdict."""
    assert isinstance(architecture.architecture_of({}, Distribution(name="transformers", version="5")), Unseen)
    assert diagnose(Case(packages=Packages(python="p", judged=True, architecture=Architecture(model_type="x", known=ABSENT)))) == []
