"""Pickled checkpoints that would run code, or that torch.load refuses by default: told from their opcodes, nothing executed."""

from __future__ import annotations

import re
import shlex

from packaging.version import InvalidVersion, Version

from diagnostics.case import Case, Cause, Fault, Finding, Packages, Remedy, Severity
from diagnostics.causes.claims import again
from diagnostics.causes.files_words import fetch_again, file_facts, found, of_step, shell_path

# By these names transformers, diffusers and peft ask for a pickle, always with weights_only=True.
_ASKED_FOR = re.compile(r"(pytorch_model|adapter_model|diffusion_pytorch_model)[\w.-]*\.bin$")


def _unsafe(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own = of_step(faults, "files", "pickle-unsafe")
    return found("pickle-unsafe", own, file_facts(case, own)) if own else []


def _unsafe_remedies(finding: Finding, case: Case) -> list[Remedy]:
    path = finding.facts["path"]
    safer = "Take the safetensors weights of this model instead: they hold numbers only, and the loader prefers them."
    if case.target.kind == "hub":
        first = fetch_again(case, finding, f"{safer} If the repository has none, look at what its discussions say, or take another repository.")[0]
        name = shlex.quote(case.target.name)
        first = Remedy(do=first.do, run=f"hf download {name} --include '*.safetensors*' '*.json' '*.txt'", check=again(case))
    else:
        first = Remedy(do=f"{safer} Keep this file away from any loader until somebody has read what it calls:", run=_listing(path), check=again(case))
    report = Remedy(do="Report the file where it was published (on the hub: the ⋮ menu of the model's page), with this report attached.", check=again(case))
    return [first, report]


def _listing(path: str) -> str:
    return f"unzip -p {shell_path(path)} '*/data.pkl' | python -m pickletools | grep -E 'GLOBAL|REDUCE'"


def _refused(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own = of_step(faults, "files", "torch-weights-only")
    return found("torch-weights-only", own, file_facts(case, own), severity=_severity(case, own)) if own else []


def _severity(case: Case, faults: list[Fault]) -> Severity:
    """An error where the loader is known to refuse it; where torch is older, or another program may load it in its own way, a warning."""
    asked = any(_ASKED_FOR.search(fault.subject.name.rpartition("/")[2]) for fault in faults)
    return "error" if asked or (case.target.loader in ("torch", "transformers") and _refuses_by_default(case)) else "warning"


def _refuses_by_default(case: Case) -> bool:
    """torch 2.6 made weights_only=True the default."""
    versions = [item.installed for item in case.packages.requirements if item.package == "torch"] if isinstance(case.packages, Packages) else []
    try:
        return not versions or not isinstance(versions[0], str) or Version(versions[0]) >= Version("2.6")
    except InvalidVersion:
        return True


def _refused_remedies(finding: Finding, case: Case) -> list[Remedy]:
    path, names = finding.facts["path"], [name for name in finding.facts["detail"].split(", ") if re.fullmatch(r"[A-Za-z_][\w.]*\.[A-Za-z_]\w*", name)]
    modules = ", ".join(dict.fromkeys(name.rpartition(".")[0] for name in names))
    allow = f'python -c "import torch, {modules}; torch.serialization.add_safe_globals([{", ".join(names)}]); torch.load(PATH, weights_only=True)"'
    ask = Remedy(
        do="Ask its author for the state dict alone (torch.save(model.state_dict(), …)), or for safetensors: both load anywhere.",
        check='python -c "import torch; torch.load(PATH, weights_only=True)"'.replace("PATH", _python_text(path)),
    )
    if not names:
        return [ask]
    permit = Remedy(
        do="Or, after reading what these classes do and only if you trust where the file comes from, allow exactly them before loading:",
        run=allow.replace("PATH", _python_text(path)),
        check=again(case),
    )
    warn = Remedy(
        do="weights_only=False would load it too, and would run whatever code the file holds: only for a file that you made yourself.", check=again(case)
    )
    return [ask, permit, warn]


def _python_text(path: str) -> str:
    """A path as Python text within double quotes of a shell."""
    quoted = re.sub(r"[\\\"$`!]", lambda match: "\\" + match[0], repr(path))
    return f"__import__('os').path.expanduser({quoted})" if path.startswith("~") else quoted


PICKLE_UNSAFE = Cause(
    id="pickle-unsafe",
    owner=("author",),
    title="{file} would run code when it is loaded: it calls {detail}",
    why="A pickle can call any function while it is read. This one names functions that run programs, import code or open files; no model needs them. Nothing of it was executed to find that out.",
    recognise=_unsafe,
    remedies=_unsafe_remedies,
    lab="pickle-unsafe",
)
WEIGHTS_ONLY = Cause(
    id="torch-weights-only",
    owner=("author",),
    title="torch.load refuses {file}: it needs {detail}",
    why="Since torch 2.6 only tensors and plain containers are read from a pickle by default, and transformers asks for that always; this file holds objects of other classes.",
    recognise=_refused,
    remedies=_refused_remedies,
    lab="torch-weights-only",
)
