"""A file's bytes against its name and its published size."""

from __future__ import annotations

import re
from dataclasses import replace

from diagnostics.case import Defect, Unseen
from diagnostics.probes.files_wanted import weights_format
from diagnostics.probes.formats import Bytes, Look, look_at_index
from diagnostics.probes.formats.magic import json_error, lfs_pointer, page_title, text_error
from diagnostics.probes.formats.texts import look_at_json

TORCH = frozenset({"torch-zip", "torch-legacy", "torchscript", "pickle", "tar"})
LEAST_BYTES = 16  # of any file in a binary format: shorter than that, nothing can be told but that it is short
# What a name promises: (pattern of the name, contents that keep it, how a person calls it). Names that promise nothing are not judged.
PROMISES: tuple[tuple[re.Pattern[str], frozenset[str], str], ...] = (
    (re.compile(r".+\.safetensors$"), frozenset({"safetensors"}), "safetensors"),
    (re.compile(r"(pytorch_model|adapter_model|diffusion_pytorch_model)[\w.-]*\.bin$|.+\.(pt|pth)$"), TORCH, "a torch checkpoint"),
    (re.compile(r".+\.gguf$"), frozenset({"gguf"}), "GGUF"),
    (re.compile(r".+\.(h5|hdf5)$"), frozenset({"hdf5"}), "HDF5"),
    (re.compile(r".+\.keras$"), frozenset({"keras", "zip", "hdf5"}), "a Keras archive"),
    (re.compile(r".+\.npz$"), frozenset({"npz", "zip"}), "a NumPy archive"),
    (re.compile(r".+\.npy$"), frozenset({"npy"}), "a NumPy array"),
    (re.compile(r".+\.(zip|mar)$"), frozenset({"zip", "torch-zip", "npz", "keras"}), "a zip archive"),
    (re.compile(r".+\.(gz|tgz)$"), frozenset({"gzip"}), "gzip"),
    (re.compile(r".+\.xz$"), frozenset({"xz"}), "xz"),
    (re.compile(r".+\.zst$"), frozenset({"zstd"}), "zstd"),
    (re.compile(r".+\.onnx$"), frozenset({"onnx", "protobuf"}), "ONNX"),
    (re.compile(r"saved_model\.pb$"), frozenset({"protobuf"}), "a TensorFlow SavedModel"),
    (re.compile(r"(flax_model|diffusion_flax_model)[\w.-]*\.msgpack$"), frozenset({"msgpack"}), "flax's msgpack"),
    (
        re.compile(r"(spiece|tokenizer|sentencepiece\.bpe|sentencepiece|source|target)\.(model|spm)$|spiece\.\w+\.model$"),
        frozenset({"sentencepiece", "text"}),
        "a sentencepiece model",
    ),
)
# JSON that a loader parses; others may be lines of JSON, or anything.
LOADED_JSON = re.compile(
    r"(.*config[\w.-]*|tokenizer[\w.-]*|.+\.index(\.[\w-]+)?|vocab|special_tokens_map|added_tokens|modules|model_index|params|encoder|hparams|chat_template|generation[\w.-]*|processor[\w.-]*|preprocessor[\w.-]*)\.json$"
)
_PAGES = re.compile(r".+\.(html?|xhtml|xml|svg|md|rst|pmml)$")
_NEVER_EMPTY = re.compile(r".+\.(json|model|vocab|bpe|tiktoken|spm)$|vocab\.txt$")
_MAIN = {"empty": "file-empty", "zeros": "file-zero-filled"}


def by_name(path: str, look: Look, file: Bytes, head: bytes, published: int | Unseen) -> Look:
    """``look`` with the defects that name and published size add. The one that explains the most comes first and alone."""
    name = path.rpartition("/")[2].lower()
    if look.content == "empty":
        return replace(look, defects=_empty(path, name, published))
    if impostor := _impostor(path, name, look.content, head, file):
        return replace(look, defects=(impostor,), expected=lfs_pointer(head)[1] if impostor.code == "lfs-pointer" else look.expected)
    look = _as_named(path, name, look, file)
    inner = tuple(defect for defect in look.defects if _matters(name, path, defect))
    broken = inner or _too_short(name, path, look.content, file.size) or _broken_promise(name, look.content)
    return replace(look, defects=broken or _against_published(file.size, published))


def _as_named(path: str, name: str, look: Look, file: Bytes) -> Look:
    """Read once more as what the name says, where the first bytes alone do not tell."""
    if name.endswith(".json") and look.content != "json":
        return replace(look_at_json(file), content=look.content)
    if look.content == "json" and look.defects and not name.endswith(".json"):
        return replace(look, content="text", defects=())  # "[PAD]" begins a vocabulary as it begins a list
    if name.endswith(".index") and weights_format(path) == "tensorflow" and look.content in ("binary", "zeros", "text"):
        return look_at_index(file)
    return look


def _matters(name: str, path: str, defect: Defect) -> bool:
    """Whether a defect of the bytes is one for whoever loads a file of this name."""
    if defect.code == "json-invalid":
        return bool(LOADED_JSON.match(name))
    if defect.code == "torch-weights-only":  # pickles of others (joblib, scikit-learn) are not for torch.load
        return weights_format(path) == "torch"
    return True


def _too_short(name: str, path: str, content: str, size: int) -> tuple[Defect, ...]:
    binary = weights_format(path) and not name.endswith((".json", ".xml")) and name != "checkpoint" and ".data-" not in name
    if size >= LEAST_BYTES or not binary or content in ("lfs-pointer", "html", "xml", "zeros"):
        return ()
    return (Defect(code="file-truncated", detail=f"it has only {size} bytes", offset=size),)


def _empty(path: str, name: str, published: int | Unseen) -> tuple[Defect, ...]:
    due = published > 0 if isinstance(published, int) else bool(weights_format(path) or _NEVER_EMPTY.match(name))
    return (Defect(code="file-empty", detail="it has no bytes at all", offset=0),) if due else ()


def _impostor(path: str, name: str, content: str, head: bytes, file: Bytes) -> Defect | None:
    """Something else that was saved under this name: a git-lfs pointer, a web page, a server's error."""
    if content == "lfs-pointer":
        oid, size = lfs_pointer(head)
        return Defect(code="lfs-pointer", detail=f"stands for {size} bytes, sha256 {oid}" if isinstance(size, int) else "it does not say for how many bytes")
    if content in ("html", "xml") and not _PAGES.match(name):
        title = page_title(head)
        return Defect(code="html-instead-of-file", detail=f"{'a page' if content == 'html' else 'an XML answer'}{f': {title}' if title else ''}", offset=0)
    if (
        content == "json"
        and (weights_format(path) or name.endswith(".json"))
        and file.size <= len(head)
        and (said := json_error(head))
        and not name.endswith(".index.json")
    ):
        return Defect(code="format-unrecognised", detail=f"a server's error message in JSON: {said}", offset=0)
    if content in ("text", "binary") and (weights_format(path) or _NEVER_EMPTY.match(name)) and file.size <= 300 and (said := text_error(head)):
        return Defect(code="format-unrecognised", detail=f"a server's error message: {said}", offset=0)
    return None


def _broken_promise(name: str, content: str) -> tuple[Defect, ...]:
    promise = next(((contents, title) for form, contents, title in PROMISES if form.match(name)), None)
    if promise is None or content in promise[0] or content in ("zeros", "link-elsewhere"):
        return ()
    return (Defect(code="format-unrecognised", detail=f"its name promises {promise[1]}, its bytes are {content}", offset=0),)


def _against_published(size: int, published: int | Unseen) -> tuple[Defect, ...]:
    if not isinstance(published, int) or size == published:
        return ()
    if size < published:
        return (Defect(code="file-truncated", detail=f"{published} bytes were published, {published - size} are missing", offset=size),)
    return (Defect(code="file-trailing-bytes", detail=f"{published} bytes were published, {size - published} more are here", offset=published),)
