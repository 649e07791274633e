"""The packages that this target's client and loader need, in the interpreter that will load it: there, new enough, in agreement, not doubled.

Read from the metadata on disk (core metadata 2.4, Requires-Dist); nothing is imported. What is installed where was found by ``environment`` (in a child process
for another interpreter); its metadata is read by path, so another interpreter's is read as well as this one's.
"""

from __future__ import annotations

import os
import re
from email.parser import HeaderParser

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Specified

from diagnostics import redact
from diagnostics.case import ABSENT, Conflict, Distribution, Environment, Files, Interpreter, Listing, Packages, Requirement, Target, Unseen
from diagnostics.facts import versions
from diagnostics.facts.clients import canonical
from diagnostics.probes.cache import load_json, read_small, real
from diagnostics.probes.files_wanted import weights_format

MOST_METADATA = 1 << 20
MOST_CONFIG = 1 << 20


def see_packages(target: Target, environment: Environment, listing: Listing | Unseen, files: Files | Unseen, python: str = "") -> Packages:
    """What ``python`` ("" is this one) has of what the target needs. ``judged`` is False, with the reason, where no loader at all is installed."""
    shown = redact.path(python) or (environment.interpreter.executable if isinstance(environment.interpreter, Interpreter) else "")
    if not environment.distributions and isinstance(environment.interpreter, Unseen):
        return Packages(python=shown, judged=False, message=environment.interpreter.detail or "that interpreter could not be asked what is installed")
    installed = _installed(environment.distributions)
    if not any(name in installed for name in versions.loaders()):
        return Packages(
            python=shown,
            judged=False,
            message="no library that loads models is installed for this interpreter: name the one that will load with --diagnose-python",
        )
    if target.kind in ("none", "url", "list", "demo"):
        return Packages(python=shown, judged=True, message="nothing but the client is needed for this target")
    paths = _paths(listing, files)
    requirements = _bounded(_needed(target, installed, paths, files), installed, paths)
    names = {canonical(item.package) for item in requirements}
    return Packages(
        python=shown,
        judged=True,
        requirements=tuple(requirements),
        conflicts=_conflicts(environment, installed, names),
        duplicates=_doubled(environment.distributions, names),
    )


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


# --- what is needed ---------------------------------------------------------------------------------------------------------


def _needed(target: Target, installed: dict[str, Distribution], paths: tuple[str, ...], files: Files | Unseen) -> list[Requirement]:
    names = [path.rpartition("/")[2] for path in paths]
    pipeline, model = "model_index.json" in names, "config.json" in names or (target.kind == "hub" and not paths)
    needed: dict[str, tuple[str, bool]] = {}
    if target.kind == "hub":
        needed["huggingface-hub"] = ("fetches from the hub", True)
    if model and not pipeline and _is_for_transformers(files):
        needed["transformers"] = ("loads what its config.json describes", _only_transformers_can(installed))
    formats = {weights_format(path) for path in paths} - {""}
    if formats & {"safetensors", "torch"} and (framework := _framework(installed)):
        needed[framework] = ("computes with the weights", True)
    for reader in versions.readers(paths):
        needed.setdefault(reader.package, (f"{reader.why} ({redact.plain(reader.file, 80)})", reader.required and _asks(reader.package, installed)))
    return [_requirement(name, why, required, installed) for name, (why, required) in needed.items()]


def _is_for_transformers(files: Files | Unseen) -> bool:
    """Whether config.json speaks to transformers (timm's and others' have another form); believed where it is not here to be read."""
    seen = next((seen for seen in files.files if seen.path == "config.json"), None) if isinstance(files, Files) else None
    if seen is None:
        return True
    config = load_json(real(seen.location), MOST_CONFIG)
    return not isinstance(config, dict) or bool({"model_type", "architectures", "auto_map"} & set(config))


def _only_transformers_can(installed: dict[str, Distribution]) -> bool:
    """Whether no other library that reads such a config is installed (these read it themselves)."""
    return not any(
        name in installed for name in ("ctranslate2", "mlx-lm", "openvino", "llama-cpp-python", "exllamav2", "onnxruntime", "onnxruntime-gpu", "keras")
    )


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
    if package in ("tokenizers", "sentencepiece", "tiktoken"):
        return "transformers" in installed
    return package != "safetensors" or any(name in installed for name in ("transformers", "torch", "diffusers", "jax", "flax", "tensorflow"))


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
            item = Requirement(
                **{name: getattr(item, name) for name in ("package", "installed", "importable", "origin", "required")},
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
    markers = _markers(environment.interpreter)
    found = []
    for name in sorted(names - {"torch", "tensorflow"}):
        item = installed.get(name)
        if item is None:
            continue
        for required in _requires(item, markers):
            other = installed.get(canonical(required.name))
            if other and versions.is_version(other.version) and str(required.specifier) and not versions.satisfies(other.version, str(required.specifier)):
                found.append(Conflict(package=item.name, version=item.version, requires=f"{required.name}{required.specifier}", installed=other.version))
            elif other is None and name == "transformers" and canonical(required.name) in versions.checked_at_import():
                found.append(Conflict(package=item.name, version=item.version, requires=f"{required.name}{required.specifier}", installed=""))
    return tuple(found)


def _markers(interpreter: Interpreter | Unseen) -> dict[str, str]:
    """What another Python makes of environment markers; platform and implementation are this one's."""
    if not isinstance(interpreter, Interpreter) or not (match := re.match(r"(\d+)\.(\d+)", interpreter.version)):
        return {}
    return {"python_version": f"{match[1]}.{match[2]}", "python_full_version": interpreter.version}


def _requires(item: Distribution, markers: dict[str, str]) -> list[Specified]:
    """The requirements that hold here without extras."""
    found = []
    for line in _metadata(item).get_all("Requires-Dist", []):
        try:
            required = Specified(line)
            if required.marker is None or required.marker.evaluate({**markers, "extra": ""}):
                found.append(required)
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName):
            continue  # an old package's own dialect
    return found


def _metadata(item: Distribution):  # type: ignore[no-untyped-def]  # email.message.Message, whose type parameters differ between Python releases
    folder = real(item.location)
    try:
        entries = [entry for entry in os.listdir(folder) if entry.endswith(".dist-info") and canonical(entry.split("-")[0]) == canonical(item.name)]
    except OSError:
        entries = []
    fitting = [entry for entry in entries if entry == f"{entry.split('-')[0]}-{item.version}.dist-info"] or entries
    text = read_small(os.path.join(folder, fitting[0], "METADATA"), MOST_METADATA).decode("utf-8", "replace") if fitting else ""
    return HeaderParser().parsestr(text)


def _doubled(distributions: tuple[Distribution, ...], names: set[str]) -> tuple[str, ...]:
    """Needed packages that are installed twice: in one folder (a broken upgrade), or once more in the user's own site (PEP 370), in another version."""
    found: dict[str, list[Distribution]] = {}
    for item in distributions:
        if canonical(item.name) in names:
            found.setdefault(canonical(item.name), []).append(item)
    return tuple(f"{name}: " + ", ".join(f"{item.version} in {item.location}" for item in items) for name, items in found.items() if _really_doubled(items))


def _really_doubled(items: list[Distribution]) -> bool:
    different = len({item.version for item in items}) > 1
    return different and (len({item.location for item in items}) < len(items) or any(_is_user_site(item.location) for item in items))


def _is_user_site(location: str) -> bool:
    return bool(re.search(r"^~[/\\](\.local[/\\]lib|Library[/\\]Python|AppData[/\\]Roaming[/\\]Python)", location))
