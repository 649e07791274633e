"""The load as a user would write it, run by the interpreter that will load: ``python -c THIS JSON``. What came of it goes to descriptor 3, a line of JSON a step.

Plain Python 3.8, no import of ours. It never trusts remote code and runs no pickle: ``torch.load`` gets ``weights_only=True`` whoever calls it, and an
audit hook (PEP 578, "pickle.find_class") refuses every other unpickler while the model is loaded.
"""

from __future__ import annotations

import sys

sys.path[:] = [path for path in sys.path if path]  # first of all: a json.py in the working folder is not the one that is meant

# ruff: noqa: E402
import contextlib
import faulthandler
import importlib
import json
import os
import time
import traceback
from typing import Any

MOST_TEXT = 200_000
MOST_NAMES = 40
MOST_COUNTED = 4000  # parameters whose numbers are looked at
FINITE_SECONDS = 10.0


def say(**what: Any) -> None:
    data = json.dumps(what).encode("utf-8", "replace") + b"\n"
    while data:
        data = data[os.write(3, data) :]


class RefusedPickle(Exception):
    """What torch calls an UnpicklingError, of any other unpickler."""


LOADING = [False]


def no_pickle(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "pickle.find_class" and LOADING[0] and arguments[:1] not in (("_codecs",), ("collections",), ("torch._utils",)):
        raise RefusedPickle(f"the trial load runs no pickle, and this file wants {arguments[0]}.{arguments[1]}")


def only_weights() -> None:
    """torch.load as it is from 2.6 on, in every version: weights, or a refusal."""
    torch: Any = sys.modules.get("torch")
    load = getattr(torch, "load", None)
    if load is None or getattr(load, "only_weights", False):
        return

    def careful(*args: Any, **keys: Any) -> Any:
        keys["weights_only"] = True
        keys.pop("pickle_module", None)
        return load(*args, **keys)

    careful.only_weights = True  # type: ignore[attr-defined]
    torch.load = careful


# --- the ways to load ---------------------------------------------------------------------------------------------------------


def transformers_model(job: dict[str, Any]) -> Any:
    say(step="import", what="transformers")
    transformers = importlib.import_module("transformers")
    with contextlib.suppress(ImportError):  # transformers says so itself, and how
        importlib.import_module("torch")
    where = {"revision": job["revision"]} if job["revision"] else {}
    only_weights()
    LOADING[0] = True
    if job["tokenizer"]:
        say(step="tokenizer", what="AutoTokenizer")
        transformers.AutoTokenizer.from_pretrained(job["name"], trust_remote_code=False, **where)
    named = job["architectures"]
    if not named and hasattr(transformers, "AutoConfig"):  # it is fetched only now
        named = transformers.AutoConfig.from_pretrained(job["name"], trust_remote_code=False, **where).architectures or ()
    kind = next((getattr(transformers, name) for name in named if hasattr(transformers, name)), None)
    more = {}
    if kind is None:
        kind, more = transformers.AutoModel, {"trust_remote_code": False}
    say(step="model", what=kind.__name__)
    found = kind.from_pretrained(job["name"], output_loading_info=True, **where, **more)
    model, info = found if isinstance(found, tuple) else (found, {})
    told = {key: names(info.get(key) or ()) for key in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    counts = {key: len(info.get(key) or ()) for key in told}
    say(step="info", counts=counts, **told)
    return model


def sentence_transformers_model(job: dict[str, Any]) -> Any:
    say(step="import", what="sentence_transformers")
    library = importlib.import_module("sentence_transformers")
    only_weights()
    LOADING[0] = True
    say(step="model", what="SentenceTransformer")
    where = {"revision": job["revision"]} if job["revision"] else {}
    return library.SentenceTransformer(job["name"], trust_remote_code=False, device="cpu", **where)


def diffusers_pipeline(job: dict[str, Any]) -> Any:
    say(step="import", what="diffusers")
    diffusers = importlib.import_module("diffusers")
    only_weights()
    LOADING[0] = True
    say(step="model", what="DiffusionPipeline")
    where = {"revision": job["revision"]} if job["revision"] else {}
    pipeline = diffusers.DiffusionPipeline.from_pretrained(job["name"], **where)
    return [part for part in pipeline.components.values() if hasattr(part, "named_parameters")]


def adapter(job: dict[str, Any]) -> Any:
    say(step="import", what="peft")
    peft = importlib.import_module("peft")
    only_weights()
    LOADING[0] = True
    say(step="model", what="AutoPeftModel")
    kind = getattr(peft, job["adapter"], None) or peft.AutoPeftModel
    where = {"revision": job["revision"]} if job["revision"] else {}
    return kind.from_pretrained(job["name"], **where)


def bare_files(job: dict[str, Any]) -> None:
    """Each file with what reads it: nothing is known of a model around it."""
    for path in job["files"]:
        name = os.path.basename(path)
        if path.endswith(".safetensors"):
            safetensors_file(path, name)
        else:
            say(step="import", what="torch")
            torch = importlib.import_module("torch")
            only_weights()
            LOADING[0] = True
            say(step="model", what=f"torch.load({name})")
            found = torch.load(path, map_location="cpu")
            not_finite({str(key): value for key, value in found.items() if hasattr(value, "is_floating_point")} if isinstance(found, dict) else {})


def safetensors_file(path: str, name: str) -> None:
    say(step="import", what="safetensors")
    safetensors = importlib.import_module("safetensors")
    framework = "np"
    with contextlib.suppress(ImportError):
        importlib.import_module("torch")
        framework = "pt"
    LOADING[0] = True
    say(step="model", what=f"safe_open({name})")
    with safetensors.safe_open(path, framework=framework) as file:
        for key in file.keys():  # noqa: SIM118  # it is no dict
            try:
                value = file.get_tensor(key)
            except TypeError:  # a type that numpy has not (bfloat16)
                file.get_slice(key).get_shape()
                continue
            if framework == "pt":
                not_finite({key: value})


WAYS = {
    "transformers": transformers_model,
    "sentence-transformers": sentence_transformers_model,
    "diffusers": diffusers_pipeline,
    "peft": adapter,
    "files": bare_files,
}

# --- what was loaded ----------------------------------------------------------------------------------------------------------


def names(found: Any) -> list[str]:
    """Of tensors: the first ones. A mismatched one comes with its two shapes."""
    return [str(item[0]) if isinstance(item, (tuple, list)) and item else str(item) for item in sorted(found, key=str)][:MOST_NAMES]


def not_finite(tensors: dict[str, Any]) -> None:
    """Parameters that hold what is no number, and those that never got one."""
    torch = importlib.import_module("torch")
    wrong: list[str] = []
    nowhere: list[str] = []
    end, seen = time.monotonic() + FINITE_SECONDS, 0
    for name, value in tensors.items():
        if getattr(value, "is_meta", False):
            nowhere.append(name)
        elif value.is_floating_point() and seen < MOST_COUNTED and time.monotonic() < end:
            seen += 1
            with contextlib.suppress(RuntimeError, NotImplementedError, TypeError):  # a type that has no such operation (float4, float8)
                if bool(torch.isnan(value.detach()).any()):
                    wrong.append(name)
    if wrong or nowhere:
        say(step="numbers", nan=names(wrong), meta=names(nowhere), counts={"nan": len(wrong), "meta": len(nowhere)})


def parameters(model: Any) -> dict[str, Any]:
    models = model if isinstance(model, list) else [model]
    return {name: value for one in models if hasattr(one, "named_parameters") for name, value in one.named_parameters()}


def chain(error: BaseException | None) -> list[dict[str, Any]]:
    """Classes of the chain, the first error last, with their codes."""
    found: list[dict[str, Any]] = []
    seen: list[BaseException] = []
    while error is not None and error not in seen and len(seen) < 20:
        seen.append(error)
        found.append({"type": type(error).__name__, "text": str(error)[:2000], "errno": getattr(error, "errno", None)})
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found


def main() -> None:
    faulthandler.enable()
    job = json.loads(sys.argv[1])
    sys.addaudithook(no_pickle)
    try:
        model = WAYS[job["way"]](job)
        LOADING[0] = False
        if model is not None:
            say(step="numbers", what="the numbers")
            not_finite(parameters(model))
        say(step="loaded")
    except BaseException as error:  # noqa: BLE001  # whatever ends the load is what is asked for
        LOADING[0] = False
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        text = text if len(text) <= MOST_TEXT else text[: MOST_TEXT // 3] + "\n[...]\n" + text[-MOST_TEXT * 2 // 3 :]
        say(step="raised", type=type(error).__name__, text=text, chain=chain(error))
        sys.stdout.flush()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)  # what libraries do at the end of an interpreter is no part of the load


main()
