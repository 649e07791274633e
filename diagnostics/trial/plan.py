"""How the target would be loaded here: by which library, offline or not. Reads what the survey saw; no I/O."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from importlib import resources

from diagnostics.case import Case, Files, Interpreter, Listing, Trial, Unseen, record
from diagnostics.environment.interpreter import NOT_PASSED
from diagnostics.facts.clients import installed
from diagnostics.probes.architecture import configs_of
from diagnostics.probes.cache import load_json, real
from diagnostics.probes.files_wanted import weights_format, weights_of
from diagnostics.redact import path as shown_path
from diagnostics.redact import plain

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
TOKENIZERS = frozenset({"tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"})
BARE = {".safetensors": "safetensors", ".bin": "torch", ".pt": "torch", ".pth": "torch", ".ckpt": "torch"}
# The class that peft has for a task (peft/utils/peft_types.py TaskType, auto.py).
ADAPTERS = {
    "CAUSAL_LM": "AutoPeftModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoPeftModelForSeq2SeqLM",
    "SEQ_CLS": "AutoPeftModelForSequenceClassification",
    "TOKEN_CLS": "AutoPeftModelForTokenClassification",
    "QUESTION_ANS": "AutoPeftModelForQuestionAnswering",
    "FEATURE_EXTRACTION": "AutoPeftModelForFeatureExtraction",
}


@record
class Plan:
    """A command to run, what it does, and whether it may use the network."""

    way: str
    what: str
    python: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    network: str
    network_why: str

    def trial(self, **ended: object) -> Trial:
        """The record of it."""
        return Trial(way=self.way, what=self.what, python=self.python, network=self.network, network_why=self.network_why, **ended)  # type: ignore[arg-type]


def of_command(command: tuple[str, ...], variables: Mapping[str, str], shown: str) -> Plan:
    """The user's own command, as it is; its Pythons say where they are when they crash, and what they print at once."""
    told = {**variables, "PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1"}
    return Plan(way="command", what=shown, python="", command=command, variables=told, network="as it is", network_why="it is your own command")


def of_target(case: Case, python: str, variables: Mapping[str, str], stands_in_the_way: str) -> Plan | Unseen:
    """The load of the target; ``Unseen`` where there is none to try. ``stands_in_the_way`` is what is broken already, "" for nothing."""
    target = case.target
    if target.problem:
        return Unseen("absent", f"the target cannot be used: {target.problem.detail or target.problem.code}")
    if target.kind not in ("hub", "directory", "file") or target.repository_type != "model":
        return Unseen("absent", "only a model that is a repository, a folder or a file is loaded")
    job = _job(case)
    if isinstance(job, Unseen):
        return job
    network, why = _network(case, stands_in_the_way)
    if not network:
        return Unseen("not_reached", why)
    interpreter = case.environment.interpreter
    executable = os.path.expanduser(python) if python else real(interpreter.executable) if isinstance(interpreter, Interpreter) else ""
    told = {name: value for name, value in variables.items() if name not in NOT_PASSED and "\0" not in value}
    told |= QUIET | (OFFLINE if network == "off" else {})
    program = resources.files("diagnostics.trial").joinpath("loader.py").read_text(encoding="utf-8")
    command = (executable, "-B", "-X", "faulthandler", "-c", program, json.dumps(job))
    what = _what(job)
    return Plan(way=job["way"], what=what, python=shown_path(executable), command=command, variables=told, network=network, network_why=why)  # type: ignore[arg-type]


def _network(case: Case, stands_in_the_way: str) -> tuple[str, str]:
    """("off" | "on" | "", why): only what is here, unless something is missing and the way to it was found open."""
    if case.target.kind != "hub":
        return "off", "everything it reads is here"
    files = case.files
    if isinstance(files, Files) and files.exists and files.files and not files.missing:
        return "off", "all of it is in the cache"
    if stands_in_the_way:
        return "", f"it is not all here, and first of all: {stands_in_the_way}"
    if isinstance(case.journeys, Unseen):
        return "", f"it is not all here, and nobody looked whether it can be fetched ({case.journeys.detail or 'not asked'})"
    return "on", "it is not all in the cache, and the way to it is open: the load fetches the rest"


# --- what loads it --------------------------------------------------------------------------------------------------------------


def _job(case: Case) -> dict[str, object] | Unseen:
    names = set(_names(case))
    where = {"name": _name(case), "revision": case.target.revision if case.target.kind == "hub" else ""}
    if case.target.kind == "file":
        return _bare(case, [real(case.target.paths[0])])
    if "modules.json" in names and _has(case, "sentence-transformers"):
        return {"way": "sentence-transformers", **where}
    if "model_index.json" in names:
        return {"way": "diffusers", **where} if _has(case, "diffusers") else Unseen("absent", "it is a diffusers pipeline, and diffusers is not installed")
    if "adapter_config.json" in names and "config.json" not in names:
        return {"way": "peft", "adapter": _adapter(case), **where} if _has(case, "peft") else Unseen("absent", "it is an adapter, and peft is not installed")
    if "config.json" in names and _has(case, "transformers"):
        return _of_transformers(case, names, where)
    weights = [_place(case, name) for name in weights_of(sorted(names), case.target.loader)]
    return _bare(case, [place for place in weights if place])


def _of_transformers(case: Case, names: set[str], where: dict[str, str]) -> dict[str, object] | Unseen:
    kinds = {weights_format(name) for name in names} - {""}
    if kinds and kinds <= {"gguf", "onnx", "other"}:
        return Unseen("absent", f"its weights ({', '.join(sorted(kinds))}) are for another program than transformers")
    config = configs_of(case.files).get("config.json", {})
    if config and "model_type" not in config and "architecture" in config:
        return Unseen("absent", "it is a model of timm, which is loaded by its own name")
    named = config.get("architectures")
    architectures = [name for name in named if isinstance(name, str) and name.isidentifier()][:4] if isinstance(named, list) else []
    return {"way": "transformers", "architectures": architectures, "tokenizer": bool(names & TOKENIZERS), **where}


def _bare(case: Case, paths: list[str]) -> dict[str, object] | Unseen:
    wanted = [path for path in paths if os.path.splitext(path)[1] in BARE]
    needed = {BARE[os.path.splitext(path)[1]] for path in wanted}
    if not wanted:
        return Unseen("absent", "no library that would be tried loads these files by themselves")
    gone = sorted(name for name in needed if not _has(case, name))
    return Unseen("absent", f"{' and '.join(gone)} is not installed for the interpreter that would load") if gone else {"way": "files", "files": wanted}


def _names(case: Case) -> Iterator[str]:
    """Files that are here, or that the hub lists."""
    if isinstance(case.files, Files):
        yield from (seen.path for seen in case.files.files)
    if isinstance(case.listing, Listing):
        yield from case.listing.wanted


def _place(case: Case, name: str) -> str:
    files = case.files.files if isinstance(case.files, Files) else ()
    return next((real(seen.location) for seen in files if seen.path == name), "")


def _name(case: Case) -> str:
    return case.target.name if case.target.kind == "hub" else real(case.target.paths[0])


def _has(case: Case, package: str) -> bool:
    return installed(case.environment.distributions, package) is not None


def _adapter(case: Case) -> str:
    config = load_json(_place(case, "adapter_config.json"), 1 << 20)
    return ADAPTERS.get(str(config.get("task_type")), "AutoPeftModel") if isinstance(config, dict) else "AutoPeftModel"


def _what(job: dict[str, object]) -> str:
    match job["way"]:
        case "transformers":
            kinds = job["architectures"]
            kind = kinds[0] if isinstance(kinds, list) and kinds else "AutoModel"
            return plain(f"{kind}{' and AutoTokenizer' if job['tokenizer'] else ''} (transformers)", 120)
        case "sentence-transformers":
            return "SentenceTransformer"
        case "diffusers":
            return "DiffusionPipeline (diffusers)"
        case "peft":
            return f"{job['adapter']} (peft)"
        case _:
            files = job["files"]
            names = [os.path.basename(str(path)) for path in files] if isinstance(files, list) else []
            return plain(f"the weights by themselves: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}", 200)
