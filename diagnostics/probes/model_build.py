"""The architecture as the installed transformers builds it, against the weights' headers: every name and shape, whatever the model type.

In a child process of the interpreter that will load, on torch's meta device: no weight is read, nothing is downloaded, no code of the model runs
(``trust_remote_code`` stays False). The loader itself judges: ``from_pretrained(None, config=…, state_dict=…)`` with empty tensors of the header's
shapes, so that its own renamings, conversions, ties and ignored keys count (transformers ``modeling_utils.py``, ``core_model_loading.py``).
Importing torch takes seconds: only where a trial load was asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from diagnostics import redact
from diagnostics.case import Environment, Interpreter, Misfit, Mismatch, Model, ModelBuild, Severity, Unseen
from diagnostics.facts.clients import canonical
from diagnostics.probes.import_trial import clean_variables, end_with_children
from diagnostics.probes.model import Weights

MOST_SECONDS = 60.0
MOST_OUTPUT = 4 << 20
MOST_TENSORS = 100_000
MOST_NAMED = 20
MARK = "diagnose-build "
# safetensors' and torch's names of types → torch's attribute; a type that is not here is taken for float32: shapes are what counts
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
    "BOOL": "bool", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip
# What is made on the meta device stays there; what is missing is not filled with random numbers.
PROGRAM = r"""
import sys
sys.path[:] = [path for path in sys.path if path]
import json, os, time
try:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
except OSError:
    pass
asked = json.loads(sys.stdin.buffer.read())
said, start = {"architecture": "", "stage": "import"}, time.time()
out = os.dup(1)
os.dup2(2, 1)
try:
    import torch, transformers
    said["torch"], said["transformers"], said["imported"] = torch.__version__, transformers.__version__, time.time() - start
    transformers.logging.set_verbosity(50)
    said["stage"] = "config"
    config = transformers.AutoConfig.from_pretrained(asked["folder"], trust_remote_code=False, local_files_only=True)
    names = [name for name in (config.architectures or []) if isinstance(getattr(transformers, name, None), type)]
    kind = getattr(transformers, names[0]) if names else transformers.AutoModel._model_mapping[type(config)]
    kind = kind[0] if isinstance(kind, (list, tuple)) else kind
    said["architecture"], said["base"] = kind.__name__, getattr(kind, "base_model_prefix", "")
    said["stage"] = "build"
    held = {name: torch.empty(shape, dtype=getattr(torch, kind_of, torch.float32), device="meta") for name, (shape, kind_of) in asked["tensors"].items()}
    moved = torch.Tensor.to
    def to(self, *given, **named):
        if not self.is_meta:
            return moved(self, *given, **named)
        wanted = named.get("dtype") or next((item for item in given if isinstance(item, torch.dtype)), None)
        return self if wanted is None or wanted == self.dtype else torch.empty(self.shape, dtype=wanted, device="meta")
    torch.Tensor.to = to
    transformers.PreTrainedModel._initialize_missing_keys = lambda self, *given, **named: None
    made, told = kind.from_pretrained(
        None, config=config, state_dict=held, output_loading_info=True, ignore_mismatched_sizes=True, local_files_only=True, trust_remote_code=False
    )
    said["stage"] = "done"
    said["expected"] = len(made.state_dict())
    said["missing"] = sorted(map(str, told["missing_keys"]))
    said["unexpected"] = sorted(map(str, told["unexpected_keys"]))
    said["mismatched"] = [[str(item[0]), list(item[1]), list(item[2])] for item in told["mismatched_keys"] if len(item) == 3]
    said["errors"] = [str(item)[:500] for item in told.get("error_msgs") or []][:5] if not isinstance(told.get("error_msgs"), str) else [told["error_msgs"][:500]]
    said["vocabulary"] = getattr(config.get_text_config(), "vocab_size", None) if hasattr(config, "get_text_config") else getattr(config, "vocab_size", None)
except BaseException as error:
    said["error"], said["message"] = type(error).__name__, str(error)[:1500]
said["seconds"] = time.time() - start
os.write(out, ("\n" + "diagnose-build " + json.dumps(said) + "\n").encode())
"""


def with_build(
    model: Model | Unseen, weights: Weights | Unseen, environment: Environment, python: str, seconds: float, variables: Mapping[str, str]
) -> Model | Unseen:
    """``model`` with what the build says, and the misfits that only it saw. ``variables`` is the child's environment."""
    if not isinstance(model, Model):
        return model
    if not isinstance(weights, Weights):
        return replace(model, build=weights)
    if (reason := _why_not(weights, environment)) is not None:
        return replace(model, build=reason)
    build = see_build(weights, python or _own(environment), seconds, variables)
    told = {misfit.code for misfit in model.misfits}
    more = tuple(misfit for misfit in misfits_of(build, weights.file) if misfit.code not in told) if isinstance(build, ModelBuild) else ()
    compared = max(model.compared, build.compared) if isinstance(build, ModelBuild) else model.compared
    return replace(model, build=build, misfits=(*model.misfits, *more), compared=compared)


def _own(environment: Environment) -> str:
    return environment.interpreter.executable if isinstance(environment.interpreter, Interpreter) else ""


def _why_not(weights: Weights, environment: Environment) -> Unseen | None:
    """Why nothing would be built; None where it can be."""
    installed = {canonical(item.name) for item in environment.distributions}
    if lacking := [name for name in ("torch", "transformers") if name not in installed]:
        return Unseen("absent", f"{' and '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} not installed where the model would be loaded")
    if "model_type" not in weights.config:
        return Unseen("absent", "config.json names no model_type")
    if "quantization_config" in weights.config:
        return Unseen("unsupported", "the weights are quantised: their shapes are the backend's own")
    if not weights.whole or not weights.tensors:
        return Unseen("absent", "not all of the weights are here and whole")
    if len(weights.tensors) > MOST_TENSORS:
        return Unseen("unsupported", f"more than {MOST_TENSORS} tensors")
    return None


def see_build(weights: Weights, python: str, seconds: float, variables: Mapping[str, str]) -> ModelBuild | Unseen:
    """Let the loader of ``python`` ("" is this one) judge the headers; it has ``seconds``."""
    command = [os.path.expanduser(python) if python else sys.executable, "-B", "-c", PROGRAM]
    quiet = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false",
    }
    started = time.monotonic()
    said = _said(command, question(weights), min(seconds, MOST_SECONDS), clean_variables(variables) | quiet)
    if isinstance(said, Unseen):
        return said
    return _record(said, weights, redact.path(python), time.monotonic() - started)


def question(weights: Weights) -> bytes:
    """What the child reads: where config.json lies, and the table of the weights."""
    tensors = {name: [list(tensor.shape), DTYPES.get(tensor.dtype, "float32")] for name, tensor in weights.tensors.items()}
    return json.dumps({"folder": weights.folder, "tensors": tensors}).encode()


def _said(command: list[str], asked: bytes, seconds: float, variables: Mapping[str, str]) -> dict[str, Any] | Unseen:
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=dict(variables), start_new_session=os.name == "posix"
        )
    except (OSError, ValueError) as error:
        return Unseen("unsupported", f"no process could be started: {redact.plain(str(getattr(error, 'strerror', error)), 100)}")
    try:
        output, _ = process.communicate(asked, timeout=max(seconds, 0.5))
    except subprocess.TimeoutExpired:
        end_with_children(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1.0)
        return Unseen("unsupported", f"building the model had not ended after {seconds:.0f} s")  # no fault of the model's: nobody waits longer for it
    for line in output[:MOST_OUTPUT].decode("utf-8", "replace").splitlines():
        if line.startswith(MARK):
            try:
                value = json.loads(line.removeprefix(MARK))
            except ValueError:
                continue
            if isinstance(value, dict):
                return value
    return Unseen("unsupported", f"the process that built the model ended without an answer (status {process.returncode})")


def _record(said: dict[str, Any], weights: Weights, python: str, seconds: float) -> ModelBuild:
    failed = isinstance(said.get("error"), str)
    missing, unexpected = _names(said.get("missing")), _names(said.get("unexpected"))
    mismatched = [item for item in said.get("mismatched") or [] if isinstance(item, list) and len(item) == 3 and isinstance(item[0], str)]
    return ModelBuild(
        python=python,
        outcome="failed" if failed else "built",
        stage=redact.plain(str(said.get("stage", "")), 20),
        libraries=tuple(redact.plain(f"{name} {said[name]}", 60) for name in ("transformers", "torch") if name in said),
        architecture=redact.plain(str(said.get("architecture", "")), 100),
        base=redact.plain(str(said.get("base", "")), 100),
        error=redact.plain(str(said.get("error", "")), 80),
        message=redact.Secrets().clean(str(said.get("message", "")), 600),
        expected=said["expected"] if isinstance(said.get("expected"), int) else 0,
        compared=0 if failed else len(weights.tensors),
        vocabulary=said["vocabulary"] if isinstance(said.get("vocabulary"), int) else Unseen("absent"),
        missing=missing[:MOST_NAMED],
        missing_count=len(missing),
        missing_beside_head=sum(_of_base(name, said) for name in missing),
        unexpected=unexpected[:MOST_NAMED],
        unexpected_count=len(unexpected),
        prefix=_prefix(missing, unexpected),
        mismatched=tuple(Mismatch(name=redact.plain(name, 200), held=_shape(held), due=_shape(due)) for name, held, due in mismatched[:MOST_NAMED]),
        mismatched_count=len(mismatched),
        seconds=seconds,
    )


def _names(value: object) -> tuple[str, ...]:
    return tuple(redact.plain(item, 200) for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _of_base(name: str, said: Mapping[str, Any]) -> bool:
    """Whether a tensor belongs to the model itself and not to its head: under the base's name, or anywhere (but the pooler) where the class is the base."""
    base = str(said.get("base") or "")
    inside = any(part.startswith(f"{base}.") for part in (*_names(said.get("missing")), *_names(said.get("unexpected")))) if base else False
    return (name.startswith(f"{base}.") if inside else not str(said.get("architecture", "")).partition("For")[1]) and "pooler" not in name


def _prefix(missing: Iterable[str], unexpected: Iterable[str]) -> str:
    """What stands before most of the missing names in names that nobody asked for; "" where nothing does."""
    gone, left = list(missing), set(unexpected)
    for name in gone[:5]:
        for other in sorted(left):
            if other.endswith("." + name):
                prefix = other[: -len(name)]
                if sum(prefix + one in left for one in gone) * 2 > len(gone):
                    return prefix
    return ""


def _shape(value: object) -> tuple[int, ...]:
    return tuple(item for item in value if isinstance(item, int)) if isinstance(value, list) else ()


# --- what it means ------------------------------------------------------------------------------------------------------------


def misfits_of(build: ModelBuild, file: str) -> list[Misfit]:
    """The one that explains the others comes alone: names, then shapes, then what is missing."""
    if build.outcome != "built":
        return []
    if build.prefix and build.missing_count * 2 >= build.expected:
        return [_misnamed(build, file)]
    found = [_mismatched(build, file, item) for item in _kinds(build)]
    if build.missing_count and build.missing_count < max(build.expected, 1):
        found.append(_missing(build, file))
    elif build.missing_count:
        found.append(replace(_missing(build, file), seen="not in any file, as no other tensor of the model is"))
    return found


def _because(build: ModelBuild) -> str:
    return f"{build.architecture} as {' and '.join(build.libraries)} build it from config.json"


def _misnamed(build: ModelBuild, file: str) -> Misfit:
    return Misfit(
        code="tensors-misnamed",
        name=redact.plain(build.prefix + build.missing[0], 200),
        seen=build.prefix,
        expected=build.missing[0],
        because=f"{build.missing_count} tensors of {_because(build)} are in {file} with “{build.prefix}” before their names",
        count=build.missing_count,
        facts={"prefix": build.prefix, "file": file},
    )


def _kinds(build: ModelBuild) -> list[Mismatch]:
    """The first mismatch of the embedding's rows and the first of anything else."""
    rows = [item for item in build.mismatched if _is_vocabulary(build, item)]
    others = [item for item in build.mismatched if not _is_vocabulary(build, item)]
    return [*rows[:1], *others[:1]]


def _is_vocabulary(build: ModelBuild, item: Mismatch) -> bool:
    return bool(item.held and item.due) and item.due[0] == build.vocabulary and item.held[0] != item.due[0] and item.held[1:] == item.due[1:]


def _mismatched(build: ModelBuild, file: str, item: Mismatch) -> Misfit:
    name, held, due = item.name, item.held, item.due
    vocabulary = _is_vocabulary(build, item)
    head = re.search(r"(classifier|score|qa_outputs)\.", name) is not None
    return Misfit(
        code="vocabulary-mismatch" if vocabulary else "shape-mismatch",
        name=name,
        seen=str(list(held)),
        expected=str(list(due)),
        because=_because(build),
        count=sum(_is_vocabulary(build, other) == vocabulary for other in build.mismatched),
        facts={
            "key": "vocab_size" if vocabulary else "num_labels" if head else "",
            "config": str(due[0]) if due else "",
            "rows": str(held[0]) if held else "",
            "file": file,
        },
    )


def _missing(build: ModelBuild, file: str) -> Misfit:
    severity: Severity = "error" if build.missing_beside_head else "warning"
    some = ", ".join(build.missing[:3]) + (" …" if build.missing_count > 3 else "")
    return Misfit(
        code="tensors-missing",
        name=build.missing[0],
        seen="not in any file",
        expected=f"{build.missing_count} of the {build.expected} that the model needs: {some}",
        because=_because(build),
        count=build.missing_count,
        facts={"file": file, "layers": "", "kind": build.architecture, "head": "" if build.missing_beside_head else "yes"},
        severity=severity,
    )
