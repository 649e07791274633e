"""Config, tokenizer and weights that do not fit each other: which one is the odd one out, and how to make them fit."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable

from diagnostics.case import Case, Cause, Fault, Files, Finding, Misfit, Model, Owner, Remedy, Severity
from diagnostics.causes.claims import again
from diagnostics.causes.files_words import base_names, download, fetch_again, found, of_step, shell_path
from diagnostics.causes.shells import number
from diagnostics.facts.architectures import vocabulary

Remedies = Callable[[Finding, Case], list[Remedy]]


def _misfit(case: Case, fault: Fault) -> Misfit | None:
    """The probe's own record of what a fault is about."""
    name = fault.evidence[0].fact if fault.evidence else ""
    misfits = case.model.misfits if isinstance(case.model, Model) else ()
    return next((misfit for misfit in misfits if misfit.code == fault.code and misfit.name == name), None)


def _recognise(code: str) -> Callable[[Case, tuple[Fault, ...]], list[Finding]]:
    """All faults of one code as one finding, told by the first."""

    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        own = of_step(faults, "model", code)
        if not own:
            return []
        mildest: Severity | None = "warning" if all(fault.severity == "warning" for fault in own) else None
        return found(code, own, _facts(case, own), severity=mildest)

    return recognise


def _facts(case: Case, own: list[Fault]) -> dict[str, str]:
    misfit = _misfit(case, own[0])
    folder = case.files.path if isinstance(case.files, Files) else ""
    facts = {
        "path": own[0].subject.name,
        "folder": folder,
        "file": base_names(fault.subject for fault in own),
        "kind": case.model.model_type if isinstance(case.model, Model) else "",
    }
    if misfit is None:
        line = own[0].evidence[0]
        because = next((item.seen for fault in own for item in fault.evidence if item.fact == "because"), "")
        return facts | {"name": line.fact, "seen": line.seen, "expected": line.expected, "because": because, "count": "1"}
    return (
        facts
        | misfit.facts
        | {"file": facts["file"], "name": misfit.name, "seen": misfit.seen, "expected": misfit.expected, "because": misfit.because, "count": str(misfit.count)}
    )


def _config(finding: Finding, case: Case) -> str:
    """The path of config.json beside what is at odds."""
    inner = case.model.path if isinstance(case.model, Model) else ""
    places = {seen.path: seen.location for seen in case.files.files} if isinstance(case.files, Files) else {}
    wanted = f"{inner}/config.json" if inner else "config.json"
    return places.get(wanted) or f"{finding.facts['folder'].rstrip('/')}/{wanted}"


def _set_in_config(config: str, key: str, value: str) -> str:
    """A command that sets one number of config.json and keeps a copy of it."""
    script = f"import json, pathlib, shutil; path = pathlib.Path({config!r}).expanduser(); shutil.copy(path, str(path) + '.kept'); value = json.loads(path.read_text()); value[{key!r}] = {value}; path.write_text(json.dumps(value, indent=2))"
    return f"python -c {shlex.quote(script)}"


def _fetch(case: Case, names: Iterable[str], do: str) -> Remedy:
    """Get these files again: from the hub, or from where the model came."""
    if case.target.kind == "hub":
        return Remedy(do=do, run=download(case, names, "--force-download"), check=again(case))
    folder = case.files.path if isinstance(case.files, Files) else "."
    return Remedy(
        do=f"{do} If the model is on the hub, with its own id in place of ORG/NAME:",
        run=f"hf download ORG/NAME {shlex.join(names)} --local-dir {shell_path(folder)}",
        check=again(case),
    )


# --- vocabulary -----------------------------------------------------------------------------------------------------------------


def _known(size: str) -> str:
    row = vocabulary(int(size)) if size.isdigit() else None
    return f" ({row.name} has {size})" if row else ""


def _vocabulary_facts(case: Case, own: list[Fault]) -> dict[str, str]:
    facts = _facts(case, own)
    rows, config, tokens = facts.get("rows", ""), facts.get("config", ""), facts.get("tokenizer", "")
    hints = [
        f"{what} {size}{_known(size)}" for what, size in (("the embedding has", rows), ("config.json says", config), ("the tokenizer makes", tokens)) if size
    ]
    return facts | {"sizes": "; ".join(hints), "odd": _odd_one(rows, config, tokens)}


def _odd_one(rows: str, config: str, tokens: str) -> str:
    """Which of the three is of another model, where two agree."""
    if not (rows.isdigit() and config.isdigit() and tokens.isdigit()):
        return ""
    near = int(tokens) <= int(rows) and int(rows) - int(tokens) < max(1024, int(rows) // 100)
    if rows == config:
        return "tokenizer"
    if near:
        return "config"
    fits_config = int(tokens) <= int(config) and int(config) - int(tokens) < max(1024, int(config) // 100)
    return "weights" if fits_config else ""


def _vocabulary(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own = of_step(faults, "model", "vocabulary-mismatch")
    if not own:
        return []
    mildest: Severity | None = "warning" if all(fault.severity == "warning" for fault in own) else None
    return found("vocabulary-mismatch", own, _vocabulary_facts(case, own), severity=mildest)


TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
)


def _vocabulary_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts, odd = finding.facts, finding.facts["odd"]
    if facts.get("key") == "tokens":
        return fetch_again(case, finding, "Fetch this GGUF again, or convert the model once more: its tokens and its embedding are of two different models.")
    if facts.get("added"):
        grow = "python -c " + shlex.quote(
            f"from transformers import AutoModel, AutoTokenizer; p = {facts['folder']!r}; m = AutoModel.from_pretrained(p); t = AutoTokenizer.from_pretrained(p); m.resize_token_embeddings(len(t)); m.save_pretrained(p)"
        )
        return [
            Remedy(
                do="Give the added tokens their rows (they are untrained until the model is trained on them), or take the tokenizer that was saved with these weights.",
                run=grow,
                check=again(case),
            ),
        ]
    tokenizer = _fetch(
        case,
        _tokenizer_files(case),
        f"Take the tokenizer's files from where the weights came: the embedding has {facts.get('rows', '?')} rows{_known(facts.get('rows', ''))}.",
    )
    config = _fetch(case, ["config.json"], f"Take config.json from where the weights came: it should say {facts.get('rows', '?')}.")
    edit = Remedy(
        do=f"Or, where the weights are the right ones, set vocab_size to what they have, {facts.get('rows', '?')}.",
        run=_set_in_config(_config(finding, case), "vocab_size", number(facts.get("rows", ""))),
        check=again(case),
    )
    weights = fetch_again(
        case, finding, "Take the weights that belong to this config and tokenizer: these are of another model. With its id in place of ORG/NAME:"
    )
    if odd == "tokenizer":
        return [tokenizer]
    return [*weights, edit] if odd == "weights" else [config, edit]


def _tokenizer_files(case: Case) -> list[str]:
    """Those of the tokenizer's files that are here."""
    tokenizer = case.model.tokenizer if isinstance(case.model, Model) else None
    return list(tokenizer.files) if tokenizer else list(TOKENIZER_FILES[:3])


# --- shapes and names -----------------------------------------------------------------------------------------------------------


def _shape_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts.get("key") == "num_labels":
        rows = number(facts.get("rows", ""))
        script = f"from transformers import AutoModelForSequenceClassification as M; M.from_pretrained({facts['folder']!r}, num_labels={rows})"
        return [
            Remedy(
                do=f"The head in the file is for {rows} labels. Load it for as many, or, to train a new head for {facts.get('config', '?')} labels on purpose, pass ignore_mismatched_sizes=True: the head is then random.",
                run=f"python -c {shlex.quote(script)}",
                check=again(case),
            ),
            _fetch(case, ["config.json"], "Or take the config.json that was saved with these weights (num_labels, id2label)."),
        ]
    return [
        _fetch(case, ["config.json"], f"Take the config.json that was saved with these weights: {facts['because']} is at odds with them."),
        *fetch_again(case, finding, "Or, if the config is the right one, the weights that belong to it. With the model's own id in place of ORG/NAME:"),
    ]


def _missing_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts.get("index"):
        names = [facts["index"], *facts.get("shards", "").split(", ")]
        return [_fetch(case, [name for name in names if name], "Fetch the index and the shards it names again, all from one revision.")]
    if facts.get("head"):
        return [
            Remedy(
                do=f"The head ({facts['name']}) is not in the file: the model would answer at random until it is trained. Take a checkpoint that was trained for this task, or load the model without a head (AutoModel).",
                check=again(case),
            )
        ]
    if other := facts.get("other"):
        wrong = f"The tensors are those of a {other} model: take the config.json that belongs to them (model_type {other})."
        return [
            _fetch(case, ["config.json"], wrong),
            *fetch_again(case, finding, f"Or the weights of the {facts.get('kind')} model. With its id in place of ORG/NAME:"),
        ]
    again_whole = fetch_again(
        case,
        finding,
        "Fetch the weights again, all of them. With the model's own id in place of ORG/NAME:"
        if case.target.kind != "hub"
        else "Fetch the weights again, all of them.",
    )
    config = _fetch(case, ["config.json"], f"If the weights are as they should be, take the config.json that belongs to them ({facts['because']}).")
    return [config, *again_whole] if "of config.json is" in facts["because"] else [*again_whole, config]


def _misnamed_remedies(finding: Finding, case: Case) -> list[Remedy]:
    prefix, path = finding.facts.get("prefix", ""), finding.facts["path"]
    target = re.sub(r"\.[A-Za-z]+$", "", path) + ".renamed.safetensors"
    if path.endswith(".safetensors"):
        load, save = "from safetensors.torch import load_file, save_file", "load_file"
    else:
        load, save = "import torch; from safetensors.torch import save_file", "torch.load"
    script = f"{load}; import os; p = os.path.expanduser({path!r}); save_file({{k.removeprefix({prefix!r}): v.contiguous() for k, v in {save}(p).items()}}, os.path.expanduser({target!r}), metadata={{'format': 'pt'}})"
    return [
        Remedy(
            do=f"Write the tensors once more without “{prefix}” in front, and put that file in the place of the old one. Loaded as it is, the model starts from random numbers without an error.",
            run=f"python -c {shlex.quote(script)}",
            check=again(case),
        )
    ]


def _unconsolidated_remedies(finding: Finding, case: Case) -> list[Remedy]:
    folder = finding.facts["folder"] or "."
    return [
        Remedy(
            do="The numbers are in DeepSpeed's own files of the checkpoint (global_step…), if they were kept: gather them with the script that lies beside them, then save the model again.",
            run=f"cd {shell_path(folder)} && python zero_to_fp32.py . . --safe_serialization",
            check=again(case),
        ),
        Remedy(
            do="When training: set zero_optimization.stage3_gather_16bit_weights_on_model_save to true, or save through accelerator.get_state_dict(model).",
            check=again(case),
        ),
    ]


# --- tokenizer, adapter, type, framework ----------------------------------------------------------------------------------------


def _incomplete_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts.get("what") == "files":
        names = [name for name in facts["expected"].split(", ") if name]
        return [_fetch(case, [*names, "tokenizer.json"], f"Fetch what the tokenizer reads: {facts['expected']} (or tokenizer.json, which holds all of it).")]
    if facts.get("what") in ("upgrade", "kind"):
        return [Remedy(do=f"Upgrade the library that reads it: {facts['because']}.", run="python -m pip install -U transformers tokenizers", check=again(case))]
    if facts.get("what") == "template":
        do = f"Fetch {facts['name']} again; if it stays so, its author has to mend it. The model loads without it; pass chat_template=… to apply_chat_template until then."
        return [_fetch(case, [facts["name"]], do)]
    return [_fetch(case, _tokenizer_files(case), "Fetch the tokenizer's files again.")]


def _base_remedies(finding: Finding, case: Case) -> list[Remedy]:
    base = finding.facts.get("base", "")
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", base) and not base.startswith((".", "~")):
        return [
            Remedy(
                do=f"Fetch the base model {base} where the network may be used.",
                run=f"env -u HF_HUB_OFFLINE -u TRANSFORMERS_OFFLINE hf download {shlex.quote(base)}",
                check=again(case),
            )
        ]
    script = _set_in_config(f"{finding.facts['folder']}/adapter_config.json", "base_model_name_or_path", "'ORG/NAME'")
    return [
        Remedy(
            do="Name the base model by its id on the hub, or by a folder that is here, in adapter_config.json. With the base's own id in place of ORG/NAME:",
            run=script,
            check=again(case),
        )
    ]


def _type_remedies(finding: Finding, case: Case) -> list[Remedy]:
    above, guess = finding.facts.get("above", ""), finding.facts.get("guess", "")
    if above:
        return [
            Remedy(
                do=f"This is a part of a model: name the folder above, {above}.",
                run=f"pytest diagnostics --diagnose {shell_path(above)}",
                check=f"ls {shell_path(above)}/config.json",
            )
        ]
    name = guess or "TYPE"
    hint = f"By its architecture it is “{guess}”." if guess else "The model's card says which it is."
    return [
        _fetch(case, ["config.json"], "Take the model's own config.json."),
        Remedy(do=f"Or add model_type to it. {hint}", run=_set_in_config(_config(finding, case), "model_type", repr(name)), check=again(case)),
    ]


def _framework_remedies(finding: Finding, case: Case) -> list[Remedy]:
    kind = finding.facts.get("format", "")
    if kind in ("tensorflow", "flax"):
        option = "from_tf" if kind == "tensorflow" else "from_flax"
        script = f"from transformers import AutoModel; AutoModel.from_pretrained({finding.facts['folder']!r}, {option}=True).save_pretrained({finding.facts['folder']!r})"
        convert = Remedy(
            do=f"Convert them once, with a transformers that still reads {finding.facts['seen']} (4.x) and that framework beside it:",
            run=f"python -m pip install 'transformers<5' {'tensorflow tf-keras' if kind == 'tensorflow' else 'flax'} && python -c {shlex.quote(script)}",
            check=again(case),
        )
        return [convert]
    if kind == "onnx":
        runtime = Remedy(
            do="Load them with ONNX Runtime (optimum) instead of transformers alone:", run="python -m pip install 'optimum[onnxruntime]'", check=again(case)
        )
        return [runtime, Remedy(do="Or take the model's PyTorch weights from its original repository (these were exported from them).", check=again(case))]
    if kind == "gguf":
        return [
            Remedy(
                do=f"Load it with llama.cpp, or with transformers' gguf_file={finding.facts['name']!r}.",
                run="python -m pip install llama-cpp-python",
                check=again(case),
            )
        ]
    return fetch_again(case, finding, "Take the model's PyTorch weights (model.safetensors). With its id in place of ORG/NAME:")


def _cause(code: str, owner: tuple[Owner, ...], title: str, why: str, remedies: Remedies) -> Cause:
    recognise = _vocabulary if code == "vocabulary-mismatch" else _recognise(code)
    return Cause(id=code, owner=owner, title=title, why=why, recognise=recognise, remedies=remedies, lab=code)


CAUSES: tuple[Cause, ...] = (
    _cause("model-type-missing", ("author",), "config.json in {folder} does not say which model it is: it has no model_type", "It holds {seen}; {because}. The loader answers “Unrecognized model”.", _type_remedies),
    _cause("weights-framework-mismatch", ("you",), "The weights are for {seen} ({file}), not for PyTorch", "{because}: {expected} are not there. The loader says that there are no weights.", _framework_remedies),
    _cause("adapter-base-missing", ("you",), "The adapter's base model {base} is not to be had: {why}", "{because}; adapter_config.json names the base.", _base_remedies),
    _cause("tensors-unconsolidated", ("author",), "{file} holds placeholders instead of weights: {name} is {seen}", "{because}. The training framework saved the model without gathering what its processes held.", _unconsolidated_remedies),
    _cause("tensors-misnamed", ("author",), "The tensors in {file} have “{seen}” too many before their names", "{because}. The loader finds none of them, takes random numbers instead, and only warns.", _misnamed_remedies),
    _cause("vocabulary-mismatch", ("you", "author"), "Vocabulary and embedding do not fit: {name} has {seen}, due is {expected}", "{because}: {sizes}. They are of two different models, or one was changed after the other.", _vocabulary_remedies),
    _cause("shape-mismatch", ("you", "author"), "{name} is {seen} and should be {expected}", "By {because}. {count} tensors differ so; the loader refuses them, or leaves them random.", _shape_remedies),
    _cause("tensors-missing", ("author", "you"), "{name} is {seen}; needed: {expected}", "{because}. What is not in the file stays at random numbers, and the loader only warns.", _missing_remedies),
    _cause("tokenizer-incomplete", ("author", "you"), "The tokenizer is not whole, by {name}: {seen}", "{because}; due is {expected}.", _incomplete_remedies),
)  # fmt: skip
