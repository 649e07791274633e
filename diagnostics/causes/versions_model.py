"""What the model asks of the libraries: a known architecture, its own code, a quantisation."""

from __future__ import annotations

import shlex

from diagnostics.case import Architecture, Case, Cause, Fault, Finding, Packages, Remedy
from diagnostics.causes.claims import again
from diagnostics.causes.files_words import found, of_step, shell_path
from diagnostics.causes.versions_common import Recognise, install, show


def _architecture(cause: str, code: str) -> Recognise:
    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        own = of_step(faults, "packages", code)
        model = case.packages.architecture if isinstance(case.packages, Packages) else None
        if not own or not isinstance(model, Architecture):
            return []
        nearest = f" The nearest that it knows is {model.nearest}." if model.nearest else ""
        since = f" The model was written by transformers {model.since}." if model.since else ""
        facts = {"model_type": model.model_type, "version": model.version, "nearest": nearest, "since": since, "code": ", ".join(model.remote_code)}
        return found(cause, own, facts)

    return recognise


def _architecture_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(do="Upgrade transformers.", run=install(case, "--upgrade", "transformers"), check=show(case, "transformers")),
        Remedy(
            do="Or, where no release has it yet, take the development version (or the version that the model card names).",
            run=install(case, "git+https://github.com/huggingface/transformers.git"),
            check=again(case),
        ),
    ]


def _remote_code_remedies(finding: Finding, case: Case) -> list[Remedy]:
    read = Remedy(
        do="Read its code first (the .py files beside config.json): whoever wrote it may run anything as you on this machine. Then allow it, pinned to the commit that you read: "
        "from_pretrained(…, trust_remote_code=True, revision=COMMIT).",
        run=_list_code(case),
        check=again(case),
    )
    newer = Remedy(do="Or see whether a newer transformers has this architecture itself.", run=install(case, "--upgrade", "transformers"), check=again(case))
    return [read, newer]


def _list_code(case: Case) -> str:
    folder = case.files.path if case.files else ""
    return f"ls {shell_path(folder)}/*.py" if folder and case.target.kind == "directory" else f"hf download {shlex.quote(case.target.name)} --include '*.py'"


def _quantization(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own = of_step(faults, "packages", "no-accelerator", "capability")
    if not own:
        return []
    needs = "an accelerator, and none may be used here" if own[0].code == "no-accelerator" else f"an accelerator of another kind: {own[0].evidence[0].seen}"
    return found("quantization-unsupported", own, {"method": own[0].subject.name, "needs": needs})


def _quantization_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do="Take another variant of the model: the one that is not quantised, or one for this device (GGUF with llama.cpp on a processor).",
            run="hf models ls --search " + shlex.quote(case.target.name.rpartition("/")[2] or "NAME"),
            check=again(case),
        ),
        Remedy(do="Or load it on a machine with such an accelerator.", run="nvidia-smi", check=again(case)),
    ]


CAUSES: tuple[Cause, ...] = (
    Cause(
        id="remote-code-required",
        owner=("you",),
        title="The model brings its own code for “{model_type}”, which transformers {version} does not know",
        why="It is not run without your word (trust_remote_code): {code}.{since}",
        recognise=_architecture("remote-code-required", "remote-code"),
        remedies=_remote_code_remedies,
        lab="remote-code-required",
    ),
    Cause(
        id="architecture-unknown",
        owner=("you",),
        title="transformers {version} does not know the model type “{model_type}”",
        why="It is not in its registry of architectures (models/auto), so no class can be chosen.{nearest}{since}",
        recognise=_architecture("architecture-unknown", "architecture"),
        remedies=_architecture_remedies,
        lab="architecture-unknown",
    ),
    Cause(
        id="quantization-unsupported",
        owner=("you",),
        title="The weights are quantised with {method}, which needs {needs}",
        why="transformers refuses to load them without (quantizers, validate_environment).",
        recognise=_quantization,
        remedies=_quantization_remedies,
        lab="quantization-unsupported",
    ),
)
