"""What decides before any English does: errno, resolver's code, certificate's verdict, TLS alert, HTTP status; whether a proxy stood on the way, and how far it got."""

from __future__ import annotations

import functools
import importlib.resources
import re
import tomllib
from dataclasses import dataclass
from typing import Any

from diagnostics.clues.failures import Failure, Said

_ERRNO = re.compile(r"(?:\[?(?:errno|winerror):? |os error |os \{ code: |errno=)(-?\d{1,5})\b")
_STATUS = re.compile(
    r"\b([1-5]\d\d) (?:client|server) error\b"
    r"|(?:client|server) error '(\d{3})\b"
    r"|http error (\d{3})\b"
    r"|http status (?:client|server) error \((\d{3})\b"
    r"|(?:tunnel connection failed: |tunnel failed, response |from proxy after connect|returned error: |\berror |\bhttp(?:/\d(?:\.\d)?)? |status(?: ?code)?[ =:]{1,3}|status_code=|response:? |code[=: ]{1,2}|<response \[)([345]\d\d)\b"
    r"|(?:^|: )([1-5]\d\d), message="
    r"|\b([345]\d\d)[ :,-]{1,4}(?:unauthorized|forbidden|not found|method not allowed|proxy authentication|request time|gone\b|precondition|range not|requested range|too many requests|unavailable for legal|internal server|bad gateway|service (?:temporarily )?unavailable|gateway time|network authentication|moved permanently|found\b|bad request|payment required|client error|server error)"
    r"|received http code (\d{3}) from proxy"
    r"|occurred \(([345]\d\d)\) when calling|\b([345]\d\d) (?:get|head|post) https?://"
)
_PROXY = ("proxyerror", "to proxy", "tunnel connection failed", "connect tunnel failed", "proxyconnect", "from proxy", "proxy connect", "http_proxy.py", "socks_proxy.py", "proxyconnectionerror", "resolve proxy", "clientproxyconnectionerror", "clienthttpproxyerror", "proxy url", "proxyschemeunknown", "http tunneling", "via proxy")  # fmt: skip
_PROXY_FRAMES = ("http_proxy.py", "socks_proxy.py", " _prepare_proxy", " _tunnel", "_connect_tls_proxy")
# Functions that run only once the first host has answered: what fails in them fails on the way to the bytes.
_BYTES_FRAMES = (" http_get", " xet_get", " _download_to_tmp_and_move", " stream_download")
_LOADERS = tuple(f"/{name}/" for name in ("transformers", "torch", "safetensors", "huggingface_hub", "diffusers", "sentence_transformers", "peft", "accelerate", "tokenizers", "llama_cpp", "vllm", "onnxruntime", "datasets", "timm", "optimum", "bitsandbytes", "torchvision", "torchaudio", "open_clip", "fairseq", "TTS", "whisper", "whisperx", "faster_whisper", "pyannote", "spacy", "nltk", "keras", "tensorflow", "tensorflow_hub", "flax", "gpt_2_simple", "mlx", "mlx_lm", "mlx_vlm", "pytorch_pretrained_bert", "pytorch_transformers", "detectron2", "mmcv", "mmengine", "sglang", "lmdeploy", "modelscope", "nemo", "speechbrain", "flair", "stanza", "gensim", "allennlp", "ultralytics", "easyocr", "insightface", "text_generation_server", "comfy", "exllamav2", "auto_gptq", "FlagEmbedding"))  # fmt: skip
_METADATA_FRAMES = (" get_hf_file_metadata", " _get_metadata_or_catch_error", " model_info", " repo_info", " list_repo_tree", " resolve_revision")


@functools.cache
def codes() -> dict[str, dict[str, tuple[str, ...]]]:
    """``{"errno": {"ENOSPC": (texts)}, "gai": …, "verify": …, "alert": …}``, in the order of the file: the first that fits decides."""
    table = _table()
    return {
        kind: {name: tuple(entry["texts"] if isinstance(entry, dict) else entry) for name, entry in table[kind].items()}
        for kind in ("errno", "gai", "verify", "alert")
    }


@functools.cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads(importlib.resources.files("diagnostics.facts").joinpath("signatures/codes.toml").read_text(encoding="utf-8"))


@functools.cache
def numbers(kind: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for name, entry in _table()[kind].items():
        for number in entry["numbers"] if isinstance(entry, dict) else ():
            found.setdefault(number, name)
    return found


@functools.cache
def _texts(kind: str) -> tuple[tuple[str, str], ...]:
    pairs = [(text, name) for name, texts in codes()[kind].items() for text in texts]
    return tuple(sorted(pairs, key=lambda pair: -len(pair[0]))) if kind in ("errno", "gai") else tuple(pairs)


@dataclass(frozen=True, kw_only=True)
class Features:
    """Of one exception in its chain; "" and False where nothing tells."""

    type: str
    name: str
    lower: str
    errno: str = ""
    gai: str = ""
    verify: str = ""
    alert: str = ""
    status: str = ""
    hub: str = ""  # X-Error-Code
    proxy: bool = False
    phase: str = ""  # "bytes", "metadata"
    chain: str = ""  # the whole chain and what stands around it, lower case
    frames: str = ""


def features_of(failure: Failure) -> list[Features]:
    """One for each exception of the chain, in its order; what holds for the chain holds for each."""
    frames = "\n".join(failure.frames).replace("\\", "/")
    chain = "\n".join([*(said.text for said in failure.said), failure.around]).lower()
    proxy = any(word in chain for word in _PROXY) or any(word in frames for word in _PROXY_FRAMES)
    phase = "bytes" if any(word in frames for word in _BYTES_FRAMES) else "metadata" if any(word in frames for word in _METADATA_FRAMES) else ""
    return [_features(said, proxy, phase, chain, frames) for said in failure.said]


def _features(said: Said, proxy: bool, phase: str, chain: str, frames: str) -> Features:
    lower = said.text.lower().replace("\\'", "'")  # a message quoted in the repr of another
    known = dict(said.codes)
    gai = known.get("gai") or _coded("gai", lower, bool(said.type))
    errno = known.get("errno") or ("" if gai else _coded("errno", lower, bool(said.type)) or _by_class(said.name))
    return Features(
        type=said.type,
        name=said.name,
        lower=lower,
        errno=errno,
        gai=gai,
        verify=known.get("verify") or _worded("verify", lower),
        alert=_worded("alert", lower),
        status=known.get("status") or _status(lower),
        hub=known.get("hub", ""),
        proxy=proxy,
        phase=phase,
        chain=chain,
        frames=frames,
    )


def _coded(kind: str, lower: str, named: bool) -> str:
    """By the sentence, which is the same on every system; by the number where no sentence is known. Where no class is named, a sentence in the middle of prose does not count."""
    known = numbers(kind)
    number = next((known[int(match[1])] for match in _ERRNO.finditer(lower) if int(match[1]) in known), "")
    for text, name in _texts(kind):
        at = lower.find(text)
        if at >= 0 and (named or number or _is_reported(lower, at)):
            return name
    return number


def _is_reported(lower: str, at: int) -> bool:
    before = lower[max(0, at - 3) : at].rstrip()
    return not before or before[-1] in _AHEAD_OF_A_REASON


def _worded(kind: str, lower: str) -> str:
    return next((name for text, name in _texts(kind) if text in lower), "")


_AHEAD_OF_A_REASON = frozenset(":()[]{}\"'>=-|")
_CLASSES = {
    "ConnectionRefusedError": "ECONNREFUSED",
    "ConnectionResetError": "ECONNRESET",
    "ConnectionAbortedError": "ECONNRESET",
    "BrokenPipeError": "EPIPE",
    "PermissionError": "EACCES",
    "NotADirectoryError": "ENOTDIR",
    "IsADirectoryError": "EISDIR",
}


def _by_class(name: str) -> str:
    return _CLASSES.get(name, "")


def _status(lower: str) -> str:
    for match in _STATUS.finditer(lower):
        return next(group for group in match.groups() if group)
    return ""


def from_a_loader(frames: str) -> bool:
    """Whether code of a loader or client stands in these "file function" lines."""
    return any(name in frames for name in _LOADERS)
