"""The architecture built by the library itself: what its answer means, and what is made of none. A stand-in for the interpreter; the real one: test_model_build_real.py."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from diagnostics import codec
from diagnostics.case import ABSENT, NOT_ASKED, Case, Distribution, Environment, Model, ModelBuild, Unseen
from diagnostics.diagnosis import judge
from diagnostics.probes import model_build
from diagnostics.probes.files import see_files
from diagnostics.probes.model import Weights, see_model, weights_of
from tests.unit.files_made import folder_target
from tests.unit.test_model import BERT, HERE, Shapes, model, without

HEALTHY: dict[str, Any] = {
    "stage": "done", "architecture": "BertForMaskedLM", "base": "bert", "transformers": "5.24.0", "torch": "2.13.0", "expected": 40, "vocabulary": 128,
    "missing": [], "unexpected": [], "mismatched": [],
}  # fmt: skip


def python(folder: Path, answer: str) -> str:
    """An interpreter that takes what it is given and says ``answer`` to everything."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\ncat > {folder}/asked\n{answer}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def saying(folder: Path, **changes: object) -> str:
    (folder / "said").write_text(f"warning: something\n\n{model_build.MARK}{json.dumps(HEALTHY | changes)}\n")
    return python(folder, f"cat {folder}/said")


def built(
    tmp_path: Path, interpreter: str, config: dict[str, Any] | None = None, shapes: Shapes | None = None, seconds: float = 20.0, environment: Environment = HERE
) -> Case:
    folder = model(tmp_path / "m", config, shapes)
    target = folder_target(folder)
    files = see_files(target, environment, ABSENT)
    weights = weights_of(files, {})
    seen = model_build.with_build(see_model(target, environment, files), weights, environment, interpreter, seconds, {"PATH": "/usr/bin:/bin"})
    return Case(target=target, environment=environment, files=files, model=seen)


def roots(case: Case) -> list[tuple[str, str]]:
    judgement = judge(case)
    assert not [result.reason for result in judgement.results if result.outcome == "error"]
    assert all(diagnosis.remedies for diagnosis in judgement.diagnoses)
    return [(found.cause, found.severity) for found in judgement.diagnoses]


NOBODY = {"model_type": "nobody-knows"}  # the table of facts says nothing of it


def test_a_build_that_fits(tmp_path: Path) -> None:
    """No root; the record says by what it was built, and survives JSON; the child was told names, shapes and the folder, and no more."""
    case = built(tmp_path, saying(tmp_path))
    assert roots(case) == []
    assert isinstance(case.model, Model) and isinstance(case.model.build, ModelBuild)
    assert case.model.build.libraries == ("transformers 5.24.0", "torch 2.13.0")
    assert codec.decode(Case, json.loads(json.dumps(codec.encode(case)))) == case
    asked = json.loads((tmp_path / "asked").read_text())
    assert set(asked) == {"folder", "tensors"} and set(asked["tensors"]) == set(BERT)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"missing": ["bert.encoder.layer.0.x.weight"]}, [("tensors-missing", "error")]),
        ({"missing": ["cls.decoder.weight"], "unexpected": ["bert.pooler.dense.weight"]}, [("tensors-missing", "warning")]),
        ({"architecture": "BertModel", "missing": ["pooler.dense.weight"]}, [("tensors-missing", "warning")]),
        ({"architecture": "BertModel", "missing": ["encoder.layer.0.x"]}, [("tensors-missing", "error")]),
        ({"unexpected": ["bert.something.old"]}, []),
        ({"mismatched": [["bert.encoder.x", [4, 4], [8, 8]]]}, [("shape-mismatch", "error")]),
        ({"mismatched": [["bert.embeddings.word_embeddings.weight", [130, 8], [128, 8]]]}, [("vocabulary-mismatch", "error")]),
        ({"mismatched": [["classifier.weight", [5, 8], [2, 8]]]}, [("shape-mismatch", "error")]),
        (
            {"expected": 3, "missing": ["bert.a", "bert.b", "bert.c"], "unexpected": ["module.bert.a", "module.bert.b", "module.bert.c"]},
            [("tensors-misnamed", "error")],
        ),
        ({"expected": 2, "missing": ["bert.a", "bert.b"], "unexpected": ["x", "y"]}, [("tensors-missing", "error")]),
        ({"stage": "build", "error": "ValueError", "message": "hidden_size"}, []),  # what it means that it cannot be built is for the trial load to say
    ],
)
def test_what_the_loader_says_of_names_and_shapes(tmp_path: Path, answer: Mapping[str, object], expected: list[tuple[str, str]]) -> None:
    """Of a type that no table of ours has: what is missing, of another shape or named otherwise is a root; what is left over is not."""
    assert roots(built(tmp_path, saying(tmp_path, **answer), NOBODY)) == expected


def test_what_the_headers_said_already_is_not_said_twice(tmp_path: Path) -> None:
    """One misfit of a kind."""
    case = built(tmp_path, saying(tmp_path, missing=["bert.encoder.layer.0.x"]), shapes=without("layer.1."))
    assert isinstance(case.model, Model)
    assert [misfit.code for misfit in case.model.misfits] == ["tensors-missing"]


@pytest.mark.parametrize(
    "answer",
    [
        "exit 3",
        "kill -9 $$",
        "echo 'diagnose-build [1'",
        "echo 'diagnose-build []'",
        'echo \'diagnose-build {"missing": 7, "mismatched": [[1]], "error": "E"}\'',
    ],
)
def test_no_answer_is_no_finding(tmp_path: Path, answer: str) -> None:
    """A process that ends without a word, or with noise: said in the record, and nothing else."""
    case = built(tmp_path, python(tmp_path, answer), NOBODY)
    assert roots(case) == []
    assert isinstance(case.model, Model) and case.model.build is not NOT_ASKED
    assert isinstance(case.model.build, Unseen) or case.model.build.outcome == "failed"


def test_a_build_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """With what it started; it is nobody's fault."""
    started = time.monotonic()
    case = built(tmp_path, python(tmp_path, "sleep 600"), NOBODY, seconds=1.0)
    assert time.monotonic() - started < 20
    assert isinstance(case.model, Model) and isinstance(case.model.build, Unseen) and "1 s" in case.model.build.detail
    assert roots(case) == []


@pytest.mark.parametrize(
    ("config", "environment", "why"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, HERE, "quantised"),
        ({"model_type": None, "architectures": None}, HERE, "no model_type"),
        (None, Environment(), "torch and transformers are not installed"),
        (None, Environment(distributions=(Distribution(name="torch", version="2.13.0"),)), "transformers is not installed"),
    ],
)
def test_what_cannot_be_built_is_not_tried(tmp_path: Path, config: dict[str, Any] | None, environment: Environment, why: str) -> None:
    """And the record says why."""
    case = built(tmp_path, python(tmp_path, "exit 1"), config, environment=environment)
    assert isinstance(case.model, Model) and isinstance(case.model.build, Unseen) and why in case.model.build.detail
    assert not (tmp_path / "asked").exists()


def test_weights_that_are_not_whole_are_not_compared(tmp_path: Path) -> None:
    """What a broken file lacks is its own defect."""
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-10])
    weights = weights_of(see_files(folder_target(folder), HERE, ABSENT), {})
    assert isinstance(weights, Weights) and not weights.whole
