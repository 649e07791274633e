"""The packages that this target's client and loader need, in the interpreter that will load it: there, new enough, in agreement, importable, the ones that are meant.

What is installed where was found by ``environment`` (in a child process for another interpreter); its metadata is read by path, so another interpreter's is read
as well as this one's. Imports are tried in child processes (``import_trial``).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from diagnostics import redact
from diagnostics.case import (
    ABSENT,
    Architecture,
    Conflict,
    Distribution,
    Environment,
    Files,
    Interpreter,
    Listing,
    Packages,
    Platform,
    Quantization,
    Requirement,
    Target,
    Unseen,
)
from diagnostics.environment.process import variables
from diagnostics.facts import versions
from diagnostics.facts.clients import canonical
from diagnostics.probes import architecture, package_metadata
from diagnostics.probes.architecture import config_from, configs_of
from diagnostics.probes.cache import read_small, real
from diagnostics.probes.files_wanted import weights_format
from diagnostics.probes.import_trial import Candidate, try_imports
from diagnostics.probes.loaded import superseded
from diagnostics.probes.package_metadata import doubled, markers, requires
from diagnostics.probes.shadows import find_shadows, foreign_paths

__all__ = ["config_from", "configs_of", "see_packages"]

Configs = Mapping[str, Mapping[str, Any]]
READ_THEMSELVES = ("ctranslate2", "mlx-lm", "openvino", "llama-cpp-python", "exllamav2", "onnxruntime", "onnxruntime-gpu", "keras")


def see_packages(
    target: Target,
    environment: Environment,
    listing: Listing | Unseen,
    files: Files | Unseen,
    python: str = "",
    configs: Configs | None = None,
) -> Packages:
    """What ``python`` ("" is this one) has of what the target needs. ``judged`` is False, with the reason, where no loader at all is installed.

    ``configs`` are the model's config.json and tokenizer_config.json, where they are known from elsewhere than ``files``.
    """
    shown = redact.path(python) or (environment.interpreter.executable if isinstance(environment.interpreter, Interpreter) else "")
    installed = _installed(environment.distributions)
    if reason := _why_not_judged(environment, installed):
        return Packages(python=shown, judged=False, message=reason)
    torch = architecture.torch_build(installed.get("torch"))
    if target.kind in ("none", "url", "list", "demo"):
        return Packages(python=shown, judged=True, torch=torch, message="nothing but the client is needed for this target")
    paths = _paths(listing, files)
    configs = configs_of(files) if configs is None else configs
    model = architecture.architecture_of(configs.get("config.json", {}), installed.get("transformers"))
    quantization = architecture.quantization_of(configs.get("config.json", {}))
    needed = [
        *_needed(target, installed, paths, files, configs),
        *_for_quantization(quantization, installed),
        *_for_remote_code(model, files, environment, installed),
    ]
    requirements = _with_elsewhere(_bounded(_once(needed), installed, paths), environment)
    names = {canonical(item.package) for item in requirements}
    return Packages(
        python=shown,
        judged=True,
        requirements=tuple(requirements),
        conflicts=_conflicts(environment, installed, names),
        duplicates=doubled(environment.distributions, names),
        imports=try_imports(python or shown, _candidates(requirements, installed, environment), variables()),
        shadows=find_shadows(_modules(names, installed), environment),
        foreign_paths=foreign_paths(environment),
        architecture=model,
        quantization=quantization,
        torch=torch,
        superseded=superseded(installed[name] for name in names if name in installed) if not python else (),
    )


def _why_not_judged(environment: Environment, installed: dict[str, Distribution]) -> str:
    if not environment.distributions and isinstance(environment.interpreter, Unseen):
        return environment.interpreter.detail or "that interpreter could not be asked what is installed"
    if not any(name in installed for name in versions.loaders()):
        return "no library that loads models is installed for this interpreter: name the one that will load with --diagnose-python"
    return ""


def _installed(distributions: tuple[Distribution, ...]) -> dict[str, Distribution]:
    """Canonical name → what an import would find: the first on the path."""
    found: dict[str, Distribution] = {}
    for item in distributions:
        found.setdefault(canonical(item.name), item)
    return found


def _paths(listing: Listing | Unseen, files: Files | Unseen) -> tuple[str, ...]:
    """Names of the files that count."""
    listed = listing.wanted if isinstance(listing, Listing) else ()
    return tuple(dict.fromkeys((*listed, *((seen.path for seen in files.files) if isinstance(files, Files) else ()))))


def _once(requirements: Iterable[Requirement]) -> list[Requirement]:
    """One of each package; one that is required by anything is required."""
    found: dict[str, Requirement] = {}
    for item in requirements:
        before = found.get(item.package)
        if before is None or (item.required and not before.required):
            found[item.package] = item
    return list(found.values())


# --- what is needed ---------------------------------------------------------------------------------------------------------


def _needed(target: Target, installed: dict[str, Distribution], paths: tuple[str, ...], files: Files | Unseen, configs: Configs) -> list[Requirement]:
    names = [path.rpartition("/")[2] for path in paths]
    pipeline, model = "model_index.json" in names, "config.json" in names or (target.kind == "hub" and not paths)
    needed: dict[str, tuple[str, bool]] = {}
    if target.kind == "hub":
        needed["huggingface-hub"] = ("fetches from the hub", True)
    if model and not pipeline and _is_for_transformers(configs.get("config.json")):
        needed["transformers"] = ("loads what its config.json describes", not any(name in installed for name in READ_THEMSELVES))
    formats = {weights_format(path) for path in paths} - {""}
    if formats & {"safetensors", "torch"} and (framework := _framework(installed)):
        needed[framework] = ("computes with the weights", True)
    for reader in versions.readers(_with_content(paths, files)):
        needed.setdefault(reader.package, (f"{reader.why} ({redact.plain(reader.file, 80)})", reader.required and _asks(reader.package, installed)))
    asked = versions.of_model(_text(configs, "config.json", "model_type"), _text(configs, "tokenizer_config.json", "tokenizer_class"), _has_tokenizer(names))
    for package, why in asked:
        needed.setdefault(package, (why, "transformers" in installed))
    return [_requirement(name, why, required, installed) for name, (why, required) in needed.items()]


def _has_tokenizer(names: Iterable[str]) -> bool:
    return any(re.search(r"tokenizer|vocab|merges|\.spm$|spiece|sentencepiece", name) for name in names)


def _text(configs: Configs, name: str, key: str) -> str:
    value = configs.get(name, {}).get(key)
    return value if isinstance(value, str) else ""


def _with_content(paths: tuple[str, ...], files: Files | Unseen) -> tuple[str, ...]:
    """The names; a tokenizer.model counts as SentencePiece's only where its bytes are here and say so (tiktoken's have the same name)."""
    places = {item.path: item.location for item in files.files if item.location} if isinstance(files, Files) else {}
    return tuple(
        path for path in paths if path.rpartition("/")[2] != "tokenizer.model" or (path in places and architecture.is_sentencepiece(real(places[path])))
    )


def _is_for_transformers(config: Mapping[str, Any] | None) -> bool:
    """Whether config.json speaks to transformers (timm's and others' have another form); believed where it cannot be read."""
    return config is None or bool({"model_type", "architectures", "auto_map"} & set(config))


def _framework(installed: dict[str, Distribution]) -> str:
    """torch; or what an older transformers computes with instead, where it is installed; "" where another loader needs none."""
    transformers = installed.get("transformers")
    if transformers is None:
        return "torch" if "torch" in installed or any(name in installed for name in ("diffusers", "sentence-transformers", "peft", "timm")) else ""
    if "torch" not in installed and versions.satisfies(transformers.version, "<5"):
        return next((name for name in versions.frameworks() if name in installed), "torch")
    return "torch"


def _asks(package: str, installed: dict[str, Distribution]) -> bool:
    """Whether somebody installed would use the package: a tokenizer's for transformers, safetensors for everyone who brings no reader of its own."""
    if package in ("tokenizers", "sentencepiece", "tiktoken", "protobuf"):
        return "transformers" in installed
    return package != "safetensors" or any(name in installed for name in ("transformers", "torch", "diffusers", "jax", "flax", "tensorflow"))


def _for_quantization(quantization: Quantization | Unseen, installed: dict[str, Distribution]) -> list[Requirement]:
    if not isinstance(quantization, Quantization) or "transformers" not in installed:
        return []
    why = f"reads weights quantised with {quantization.method} (quantization_config)"
    return [_requirement(name, why, True, installed) for name in quantization.packages]


def _for_remote_code(model: Architecture | Unseen, files: Files | Unseen, environment: Environment, installed: dict[str, Distribution]) -> list[Requirement]:
    """What the model's own code imports, where that code is the only one there is."""
    if not isinstance(model, Architecture) or not model.remote_only:
        return []
    folders = list(dict.fromkeys(real(item.location) for item in environment.distributions if item.location))
    imported = [name for name in architecture.remote_imports(files) if canonical(versions.distribution_of(name)) not in installed]
    missing = [name for name in imported if not architecture.has_module(name, folders)]
    return [_requirement(canonical(versions.distribution_of(name)), f"the model's own code imports {name}", True, installed) for name in missing[:10]]


def _requirement(name: str, why: str, required: bool, installed: dict[str, Distribution]) -> Requirement:
    found = installed.get(name)
    return Requirement(package=name, why=why, installed=found.version if found else ABSENT, origin=found.location if found else "", required=required)


def _bounded(requirements: list[Requirement], installed: dict[str, Distribution], paths: tuple[str, ...]) -> list[Requirement]:
    """With the floors and removals of ``facts/versions.toml``, the highest floor of each package."""
    formats = {weights_format(path) for path in paths} - {""}
    company = {name: item.version for name, item in installed.items()}
    bounds = [bound for bound in versions.bounds(company) if not bound.weights or formats == {bound.weights}]
    known = {item.package for item in requirements}
    extra = [
        _requirement(bound.package, bound.why, True, installed) for bound in bounds if bound.below and bound.package not in known and bound.package in installed
    ]
    return [_with_bounds(item, [bound for bound in bounds if bound.package == item.package]) for item in (*requirements, *extra)]


def _with_bounds(item: Requirement, bounds: list[versions.Bound]) -> Requirement:
    for bound in bounds:
        if (bound.minimum and not item.minimum) or bound.below:  # the general floor stands before the one for these very weights
            item = replace(
                item,
                why=f"{item.why}; {bound.why}" if bound.why not in item.why else item.why,
                source=bound.source,
                minimum=bound.minimum or item.minimum,
                below=bound.below or item.below,
                message=bound.weights,
            )
    return item


# --- agreement --------------------------------------------------------------------------------------------------------------


def _conflicts(environment: Environment, installed: dict[str, Distribution], names: set[str]) -> tuple[Conflict, ...]:
    """What the needed packages require of what is installed and do not get. What torch requires is left out: builds differ, and it brings its own libraries."""
    held = markers(environment.interpreter)
    found = []
    for name in sorted(names - {"torch", "tensorflow"}):
        item = installed.get(name)
        for required in requires(item, held) if item else ():
            other = installed.get(canonical(required.name))
            if other and versions.is_version(other.version) and str(required.specifier) and not versions.satisfies(other.version, str(required.specifier)):
                found.append(Conflict(package=item.name, version=item.version, requires=f"{required.name}{required.specifier}", installed=other.version))  # type: ignore[union-attr]
            elif other is None and name == "transformers" and canonical(required.name) in versions.checked_at_import():
                found.append(Conflict(package=item.name, version=item.version, requires=f"{required.name}{required.specifier}", installed=""))  # type: ignore[union-attr]
    return (*found, *_python_conflicts(environment, installed, names))


def _python_conflicts(environment: Environment, installed: dict[str, Distribution], names: set[str]) -> list[Conflict]:
    """Needed packages that say that they do not run on this Python, or whose compiled parts are for another one."""
    found, interpreter = [], environment.interpreter
    version = interpreter.version if isinstance(interpreter, Interpreter) else ""
    for name in sorted(names):
        item = installed.get(name)
        if item is None:
            continue
        if not package_metadata.satisfies_python(item, interpreter):
            found.append(Conflict(package=item.name, version=item.version, requires=f"Python {package_metadata.requires_python(item)}", installed=version))
        elif problem := package_metadata.tag_problem(item, interpreter, environment.platform):
            found.append(Conflict(package=item.name, version=item.version, requires="a wheel for this Python and machine", installed=problem))
    return found


# --- imports, shadows, other environments -----------------------------------------------------------------------------------------


def _candidates(requirements: list[Requirement], installed: dict[str, Distribution], environment: Environment) -> list[Candidate]:
    """The needed packages that are installed, and what transformers imports with any of them."""
    wanted = [item.package for item in requirements if isinstance(item.installed, str)]
    names = [*wanted, *(versions.imported_by_loaders() if "transformers" in wanted else ["numpy"])]
    found = (_candidate(installed[name], installed, environment) for name in dict.fromkeys(names) if name in installed)
    return [candidate for candidate in found if candidate]


def _candidate(item: Distribution, installed: dict[str, Distribution], environment: Environment) -> Candidate | None:
    """None for a distribution that is nothing but metadata: neither a list of files nor the module is there, so that nobody meant it to be imported."""
    files = package_metadata.files_of(item)
    module = package_metadata.module_of(item, files, versions.module_of(canonical(item.name)))
    if not files and not architecture.has_module(module.split(".")[0], [real(item.location)]):
        return None
    doubt = _doubt(item, files, installed, environment)
    if doubt and module == "transformers":
        module = "transformers.models.auto.modeling_auto"  # transformers itself imports next to nothing
    return Candidate(item.name, module, package_metadata.is_large(files), doubt)


def _doubt(item: Distribution, files: list[tuple[str, int | None]], installed: dict[str, Distribution], environment: Environment) -> str:
    """Why its import may fail, as far as metadata tell."""
    numpy = installed.get("numpy")
    if numpy and versions.built_for_numpy_1(canonical(item.name), item.version) and versions.satisfies(numpy.version, ">=2"):
        return f"it was built for numpy 1, and numpy {numpy.version} is installed"
    platform = environment.platform if isinstance(environment.platform, Platform) else ABSENT
    return package_metadata.tag_problem(item, environment.interpreter, platform) or package_metadata.defect_of(item, files)


def _modules(names: set[str], installed: dict[str, Distribution]) -> dict[str, str]:
    """Module → distribution of what this load imports."""
    used = [name for name in (*sorted(names), *versions.used_by_loaders()) if name in installed]
    return {versions.module_of(name) or name.replace("-", "_"): name for name in dict.fromkeys(used)}


def _with_elsewhere(requirements: list[Requirement], environment: Environment) -> list[Requirement]:
    """Of what is missing, where else on this machine it is installed: what the ``pip`` or ``python`` on the PATH speaks of is often another environment."""
    if all(isinstance(item.installed, str) for item in requirements):
        return requirements
    own = {os.path.realpath(real(item.location)) for item in environment.distributions}
    folders = {folder: tool for folder, tool in _other_sites().items() if os.path.realpath(folder) not in own}
    return [item if isinstance(item.installed, str) else replace(item, elsewhere=_found_in(item.package, folders)) for item in requirements]


def _other_sites() -> dict[str, str]:
    """Folder of packages → the command on the PATH that belongs to it."""
    found: dict[str, str] = {}
    for tool in ("pip", "pip3", "python", "python3"):
        path = shutil.which(tool)
        prefix = _prefix_of(path) if path else ""
        library = os.path.join(prefix, "lib") if prefix else ""
        try:
            names = sorted(name for name in os.listdir(library) if re.fullmatch(r"python3\.\d+", name)) if library else []
        except OSError:
            names = []
        for name in names:
            found.setdefault(os.path.join(library, name, "site-packages"), path or tool)
    return found


def _prefix_of(tool: str) -> str:
    """The environment of a python, or of a script by its first line."""
    first = read_small(tool, 300).split(b"\n")[0].decode("utf-8", "replace")
    interpreter = first[2:].strip().split(" ")[0] if first.startswith("#!") and "python" in first and "/env" not in first else tool
    return os.path.dirname(os.path.dirname(interpreter))


def _found_in(package: str, folders: dict[str, str]) -> str:
    for folder, tool in folders.items():
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        if any(name.endswith(".dist-info") and canonical(name.split("-")[0]) == package for name in names):
            return f"{redact.path(folder)} (that of {redact.path(tool)})"
    return ""
