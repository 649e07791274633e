"""The load itself: libraries of a few lines that do to the process what the real ones may do."""

from __future__ import annotations

from diagnostics.lab import environments, model
from diagnostics.lab.stage import Stage
from diagnostics.lab.worlds import world

# transformers as far as the trial load asks for it; {body} is what becomes of the load.
TRANSFORMERS = """
class AutoTokenizer:
    @classmethod
    def from_pretrained(cls, name, **keys):
        return cls()

class AutoModel:
    @classmethod
    def from_pretrained(cls, name, **keys):
        {body}
        return cls(), {{"missing_keys": set(), "unexpected_keys": {{"cls.predictions.bias"}}, "mismatched_keys": set(), "error_msgs": []}}

class BertModel(AutoModel):
    pass
"""


def loading(stage: Stage, body: str) -> None:
    """A tiny model in a folder, and an environment whose transformers does ``body`` with it."""
    stage.spec = str(model.write(model.tiny_bert(), stage.work / "tiny-bert"))
    source = environments.whole("transformers", environments.VERSIONS["transformers"])["transformers/__init__.py"] + TRANSFORMERS.format(body=body)
    stage.python = str(environments.make(stage.folder / "env", changes={"transformers": {"transformers/__init__.py": source}}))
    stage.options += ["--diagnose-load", "--diagnose-load-timeout=60"]


@world("healthy-load", cause="")
def healthy_load(stage: Stage) -> None:
    """A load that goes well; its checkpoint holds a head that this model has no place for, as many do."""
    loading(stage, "pass")


@world("load-killed", twin="healthy-load")
def load_killed(stage: Stage) -> None:
    """A load that takes memory without end, where 200 MB are allowed."""
    loading(stage, "hold = [bytearray(8 << 20) for number in range(1000)]")
    stage.options.append("--diagnose-load-memory=200M")


@world("load-crashed", twin="healthy-load")
def load_crashed(stage: Stage) -> None:
    """Compiled code that reads where nothing is."""
    loading(stage, "import ctypes; ctypes.string_at(0)")


@world("load-failed", twin="healthy-load")
def load_failed(stage: Stage) -> None:
    """An exception that nobody has seen before."""
    loading(stage, "raise RuntimeError('the flux of the tensors is inverted')")


@world("load-hangs", cause="load-failed", twin="healthy-load")
def load_hangs(stage: Stage) -> None:
    """A load that waits for what never comes."""
    loading(stage, "import threading; threading.Event().wait()")
    stage.options.append("--diagnose-load-timeout=2")


@world("load-names-its-cause", cause="package-missing", twin="healthy-load")
def load_names_its_cause(stage: Stage) -> None:
    """A package that no metadata asks for, imported in the middle of the load: its error says which."""
    loading(stage, "import sentencepiece")


@world("load-leaves-weights-random", cause="tensors-missing", twin="healthy-load")
def load_leaves_weights_random(stage: Stage) -> None:
    """A load that ends well and says beside it that weights were not in the files."""
    loading(stage, 'return cls(), {"missing_keys": {"encoder.layer.7.output.dense.weight"}, "unexpected_keys": set(), "mismatched_keys": set()}')
