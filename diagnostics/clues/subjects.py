"""The names in a text: hosts, addresses, paths, repositories, packages, tensors. What probes should look at, and what a reader should see."""

from __future__ import annotations

import re

from diagnostics import redact
from diagnostics.case import Subject
from diagnostics.clues.failures import Failure

MOST = 12
_CLEAN = redact.Secrets()
_URL = re.compile(r"\bhttps?://[^\s'\"<>()\[\]{}|\\^`]{3,500}")
_HOST = re.compile(
    r"host='(?P<host>[\w.-]{1,250})', port=(?P<port>\d{1,5})|[Cc]onnect(?:ion)? to (?:host )?(?P<host2>[\w.-]{1,250}\.[\w-]{1,63})(?:(?: port |:)(?P<port2>\d{1,5}))?"
    r"|(?:resolve|resolve host:|resolve proxy:|lookup|valid for|host name) '?(?P<host3>[\w-]{1,63}(?:\.[\w-]{1,63}){1,10})'?"
)
_REPOSITORY = re.compile(
    r"(?:huggingface\.co|hf\.co|hf-mirror\.com)/(?:api/(?:models|datasets)/)?(?P<id>[\w.-]{1,96}/[\w.-]{1,96})(?=/(?:resolve|tree|blob|revision|discussions)\b|[\s'\".,)]|$)"
    r"|models--(?P<owner>[\w.-]{1,96}?)--(?P<name>[\w.-]{1,96}?)(?=[/\\'\"\s.]|$)"
    r"|(?:tokenizer for|configuration of|config for|model for|weights for|processor for|to load|accessing|extractor for) '(?P<id2>[\w.-]{1,96}/[\w.-]{1,96})'"
    r"|(?<![\w./@-])(?P<id3>[\w.-]{1,96}/[\w.-]{1,96}) (?:is not a local folder|does not appear to have)"
    r"|(?:from_pretrained|snapshot_download|hf_hub_download|load_dataset|SentenceTransformer|pipeline|LLM)\((?:[^()\n]{0,80}?(?:model|repo_id|model_id|path)=)?[\"'](?P<id4>[\w-][\w.-]{0,95}(?:/[\w.-]{1,96})?)[\"']"
    r"|/(?P<id5>[\w.-]{1,96}/[\w.-]{1,96})/resolve/",
    re.MULTILINE,
)
_PATH = re.compile(r"(?<![\w:/.])(?:~|\.{1,2}|[A-Za-z]:\\|/(?!/))[\w./\\+=@,-]{2,300}")
_NOT_MODELS = re.compile(r"site-packages|dist-packages|/lib/python|\.py\b|\.so\b|/usr/|/bin/|/proc/|/dev/|/etc/|/tmp/pip")
_LOOKS_LIKE_A_MODEL = re.compile(
    r"\.(?:safetensors|bin|pt|pth|ckpt|gguf|onnx|h5|json|model|txt|msgpack|npz)\b|/(?:models?|checkpoints?|weights|hub|snapshots)/|models--"
)
_NOT_A_REPOSITORY = frozenset({"docs/transformers", "docs/datasets", "docs/huggingface_hub", "docs/accelerate", "settings/tokens", "models"})


def names_of(failure: Failure, groups: tuple[tuple[str, str], ...] = ()) -> tuple[Subject, ...]:
    """What one chain names; what the signature itself took out stands first."""
    text = "\n".join([*(said.text for said in failure.said), failure.around[-1500:]])[:16000]
    found = [Subject(kind=_KINDS.get(kind, kind), name=_clean(value)) for kind, value in groups if kind not in ("required", "found", "value", "port")]
    found += [Subject(kind="repository", name=name) for name in repositories(text, failure.source)]
    found += [Subject(kind="host", name=name) for name in hosts(text)]
    found += [Subject(kind="path", name=redact.path(path)) for path in paths(text)]
    return tuple(dict.fromkeys(subject for subject in found if subject.name))[:MOST]


_KINDS = {
    "module": "package",
    "wanted": "package",
    "distribution": "package",
    "dependency": "package",
    "packages": "package",
    "installed": "package",
    "gone": "package",
    "part": "package",
}


def _clean(value: str) -> str:
    return _CLEAN.clean(value.strip(), 200)


def hosts(text: str) -> list[str]:
    """``name`` or ``name:port``, in the order of the text."""
    found = []
    for match in _HOST.finditer(text):
        host = match["host"] or match["host2"] or match["host3"]
        port = match["port"] or match["port2"]
        if "." in host or host == "localhost":
            found.append(f"{host}:{port}" if port else host)
    for match in _URL.finditer(text):
        authority = match[0].split("://", 1)[1].split("/", 1)[0].split("?", 1)[0].rpartition("@")[2].rstrip(".,:;")
        if not authority.startswith(
            ("developer.mozilla.org", "curl.se", "nvd.nist.gov", "pytorch.org", "docs.", "github.com/huggingface", "developers.google.com")
        ):
            found.append(authority)
    return [_clean(host) for host in dict.fromkeys(found)][:6]


def repositories(text: str, source: tuple[str, ...] = ()) -> list[str]:
    """``org/name`` (or a bare legacy id that the user's own line loads)."""
    found = []
    for match in _REPOSITORY.finditer("\n".join([text, *source[-40:]])):
        if match["owner"] or match["name"]:
            name = f"{match['owner']}/{match['name']}"
        else:
            name = next(value for key in ("id", "id2", "id3", "id4", "id5") if (value := match[key])).rstrip(".")
        if _clean(name) != name:  # a token where a name should be: nothing to ask the hub for
            continue
        if name not in _NOT_A_REPOSITORY and not name.startswith(("docs/", "settings/", "api/", "lfs/")):
            found.append(name)
    return list(dict.fromkeys(found))[:4]


def paths(text: str) -> list[str]:
    """Local paths that may belong to a model, not those of the interpreter's own files."""
    found = [match[0].rstrip(" .,") for match in _PATH.finditer(_URL.sub(" ", text))]
    return [path for path in dict.fromkeys(found) if _LOOKS_LIKE_A_MODEL.search(path) and not _NOT_MODELS.search(path)][:4]
