"""A GGUF model's metadata against its tensors: blocks counted, the vocabulary against the embedding's rows, the parts of a split model against their sum.

llama.cpp refuses each of these when it loads (src/llama-model.cpp ``load_tensors``, src/llama-model-loader.cpp): “wrong number of tensors”, “missing tensor”,
“wrong shape”.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from diagnostics.case import ABSENT, Files, FileSeen, Misfit, Model, Tokenizer
from diagnostics.probes.cache import real
from diagnostics.probes.files_one import Looks, examine_whole
from diagnostics.probes.formats import Look, Tensor
from diagnostics.redact import plain

MOST_BLOCKS = 2000
_BLOCK = re.compile(r"blk\.(\d{1,6})\.")


def see_gguf(files: Files, looks: Looks) -> Model | None:
    """The GGUF files that count, as one model; None where there is none, or one of them is broken or missing."""
    own = [seen for seen in files.files if seen.content == "gguf" and not seen.path.rpartition("/")[2].lower().startswith("mmproj")]
    if not own or any(seen.defects for seen in own) or files.absent:
        return None
    parts = [looks.get(seen.location) or examine_whole(seen.path, real(seen.location))[1] for seen in own]
    facts, tensors = _joined(parts)
    kind = facts.get("general.architecture", "")
    tokens = _count(facts.get("tokenizer.ggml.tokens", ""))
    embedding = tensors.get("token_embd.weight")
    rows = embedding.shape[0] if embedding and embedding.shape else None
    return Model(
        model_type=plain(kind, 60),
        tokenizer=Tokenizer(files=(own[0].path,), kind=facts.get("tokenizer.ggml.model", ""), entries=tokens) if tokens else ABSENT,
        tensors=len(tensors),
        dtypes=tuple(sorted({tensor.dtype for tensor in tensors.values()}))[:8],
        rows=rows if rows is not None else ABSENT,
        compared=len(tensors),
        misfits=tuple(_misfits(own[0], kind, facts, tensors, tokens, rows)),
    )


def _joined(parts: list[Look]) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata (the first part's has the most) and tensors of all parts."""
    facts: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    for part in parts:
        facts = {**part.facts, **facts}
        tensors |= part.tensors
    return facts, tensors


def _count(text: str) -> int:
    match = re.match(r"(\d{1,9})( entries)?$", text)
    return int(match[1]) if match else 0


def _misfits(first: FileSeen, kind: str, facts: Mapping[str, str], tensors: Mapping[str, Tensor], tokens: int, rows: int | None) -> Iterator[Misfit]:
    due = _count(facts.get("split.tensors.count", ""))
    if due and due != len(tensors):
        yield _missing(
            first, f"{len(tensors)} tensors in its parts", f"{due} tensors", "split.tensors.count: its parts are of two different splits", due - len(tensors)
        )
        return
    blocks, here = _count(facts.get(f"{kind}.block_count", "")), {int(match[1]) for name in tensors if (match := _BLOCK.match(name))}
    gone = [number for number in range(min(blocks, MOST_BLOCKS)) if number not in here]
    if here and gone:
        yield _missing(first, f"{len(here)} blocks", f"{blocks} blocks", f"{kind}.block_count", len(gone))
    if tokens and rows and rows not in (tokens, _count(facts.get(f"{kind}.vocab_size", ""))):
        numbers = {"tokenizer": str(tokens), "rows": str(rows), "key": "tokens", "file": first.path}
        seen, expected = f"{rows} rows", f"{tokens}, one for each of its tokens"
        yield Misfit(code="vocabulary-mismatch", name="token_embd.weight", seen=seen, expected=expected, because="tokenizer.ggml.tokens", facts=numbers)


def _missing(first: FileSeen, seen: str, expected: str, because: str, count: int) -> Misfit:
    facts = {"file": first.path, "kind": "", "head": "", "layers": ""}
    return Misfit(code="tensors-missing", name=first.path, seen=seen, expected=expected, because=because, count=max(count, 1), facts=facts)
