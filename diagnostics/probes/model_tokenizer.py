"""How many ids a tokenizer makes, read from its files without loading it; and whether its own files hold together.

tokenizer.json (huggingface/tokenizers), vocab.json, vocab.txt, sentencepiece and tiktoken files, added_tokens.json, tokenizer_config.json. A vocabulary is walked in
its bytes: a quarter of a million entries as Python objects would take more memory than looking at a model may.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from diagnostics.case import ABSENT, Tokenizer
from diagnostics.probes.formats.protobufs import look_at_sentencepiece
from diagnostics.probes.formats.reading import Bytes
from diagnostics.redact import plain

MOST_BYTES = 64 << 20
MOST_ENTRIES = 4_000_000
MOST_ADDED = 1 << 20
MOST_TEMPLATE = 1 << 20
_ENTRY = re.compile(rb'\s*"(?:[^"\\]|\\.)*"\s*:\s*(\d{1,12})\s*([,}])', re.DOTALL)
_PIECE = re.compile(rb'\s*\[\s*"(?:[^"\\]|\\.)*"\s*,\s*[-+0-9.eE]+\s*\]\s*([,\]])', re.DOTALL)
_MODEL = re.compile(rb'"model"\s*:\s*\{')
_TYPE = re.compile(rb'"type"\s*:\s*"(\w{1,40})"')
_VOCAB = re.compile(rb'"vocab"\s*:\s*([\[{])')
_MERGES = re.compile(rb'"merges"\s*:\s*\[\s*([\["])')
_ADDED = re.compile(rb'"added_tokens"\s*:\s*\[')
FILES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "added_tokens.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
Read = Callable[[str], bytes]  # a file of the tokenizer's folder by its name; b"" where it is not there


@dataclass(frozen=True)
class Seen:
    """The tokenizer, and what a check of it needs beyond the record."""

    tokenizer: Tokenizer
    model: str = ""  # BPE, WordPiece, WordLevel, Unigram, or a newer kind
    listed_merges: bool = False  # merges as pairs: tokenizers 0.20 and later
    added: tuple[tuple[int, str], ...] = ()
    config: dict[str, Any] | None = None


def see_tokenizer(names: Iterable[str], read: Read) -> Seen | None:
    """What the files of one folder say; None where there is no tokenizer."""
    here = [name for name in FILES if name in set(names)] + sorted(name for name in names if name.endswith(".tiktoken"))
    if not any(name not in ("tokenizer_config.json", "special_tokens_map.json") for name in here):
        return None
    config = _object(read("tokenizer_config.json"))
    added = {**_decoder(config), **_named(read("added_tokens.json"))}
    count = largest = None
    kind, pairs = "", False
    if "tokenizer.json" in here:
        data = read("tokenizer.json")
        count, largest, kind = _fast(data)
        added |= _listed(data)
        merges = _MERGES.search(data)
        pairs = bool(merges and merges[1] == b"[")
    else:
        count, largest = _slow(here, read)
    own = [number for number in added if largest is None or number > largest]
    tokenizer = Tokenizer(
        files=tuple(here),
        kind=plain(str(config.get("tokenizer_class") or ""), 80),
        entries=count if count is not None else ABSENT,
        largest_id=largest if largest is not None else ABSENT,
        largest_added_id=max(own) if own else ABSENT,
    )
    return Seen(tokenizer, kind, pairs, tuple(sorted(added.items())), config)


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _fast(data: bytes) -> tuple[int | None, int | None, str]:
    """(entries, largest id, kind of model) of a tokenizer.json."""
    model = _MODEL.search(data)
    start = model.end() if model else 0
    vocab = _VOCAB.search(data, start)
    kind = _TYPE.match(data, _skip(data, start)) or _TYPE.search(data, start, start + 400)
    name = kind[1].decode() if kind and model else ""
    if vocab is None:
        return None, None, name
    count, largest = _mapped(data, vocab.end()) if vocab[1] == b"{" else _listed_pieces(data, vocab.end())
    return count, largest, name


def _skip(data: bytes, at: int) -> int:
    while data[at : at + 1].isspace():
        at += 1
    return at


def _mapped(data: bytes, at: int) -> tuple[int | None, int | None]:
    """Entries of an object of text → id, and the largest id."""
    count, largest = 0, -1
    for _ in range(MOST_ENTRIES):
        match = _ENTRY.match(data, at)
        if match is None:
            break
        at, count, largest = match.end(), count + 1, max(largest, int(match[1]))
        if match[2] == b"}":
            return count, largest
    return (count, largest) if count and data[_skip(data, at) : _skip(data, at) + 1] == b"}" else (None, None)


def _listed_pieces(data: bytes, at: int) -> tuple[int | None, int | None]:
    """Pieces of a Unigram model: their place is their id."""
    for count in range(1, MOST_ENTRIES):
        match = _PIECE.match(data, at)
        if match is None:
            return None, None
        at = match.end()
        if match[1] == b"]":
            return count, count - 1
    return None, None


def _listed(data: bytes) -> dict[int, str]:
    """The added tokens of a tokenizer.json."""
    match = _ADDED.search(data)
    if match is None:
        return {}
    text = data[match.end() - 1 : match.end() + MOST_ADDED].decode("utf-8", "replace")
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return {}
    return {item["id"]: plain(str(item.get("content", "")), 80) for item in value if isinstance(item, dict) and _is_id(item.get("id"))}


def _decoder(config: dict[str, Any]) -> dict[int, str]:
    """added_tokens_decoder of tokenizer_config.json: id as text → token."""
    table = config.get("added_tokens_decoder")
    items = table.items() if isinstance(table, dict) else ()
    return {int(key): plain(str(token.get("content", "")) if isinstance(token, dict) else "", 80) for key, token in items if key.isdigit() and len(key) < 10}


def _named(data: bytes) -> dict[int, str]:
    """added_tokens.json: token → id."""
    return {value: plain(key, 80) for key, value in _object(data).items() if _is_id(value)}


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31


def _slow(here: list[str], read: Read) -> tuple[int | None, int | None]:
    """(entries, largest id) of the files that a slow tokenizer reads."""
    if "vocab.json" in here:
        data = read("vocab.json")
        return _mapped(data, data.find(b"{") + 1) if b"{" in data[:100] else (None, None)
    if "vocab.txt" in here:
        count = len(read("vocab.txt").rstrip(b"\r\n").split(b"\n"))
        return count, count - 1
    for name in (*SENTENCEPIECE, *(name for name in here if name.endswith(".tiktoken"))):
        if name in here:
            return _pieces(read(name))
    return None, None


def _pieces(data: bytes) -> tuple[int | None, int | None]:
    """A sentencepiece model's pieces (a lower bound: some classes add to their ids), or a tiktoken file's ranks."""
    if re.match(rb"[A-Za-z0-9+/=]+ \d+\s", data):
        ranks = [int(match[1]) for match in re.finditer(rb"^[A-Za-z0-9+/=]+ (\d{1,9})\s*$", data, re.MULTILINE)]
        return (len(ranks), max(ranks)) if ranks else (None, None)
    pieces = look_at_sentencepiece(_InMemory(data)).facts.get("pieces", "")
    return (int(pieces), int(pieces) - 1) if pieces and int(pieces) else (None, None)


class _InMemory(Bytes):
    """Bytes that were read already, as a file."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size, self.read_bytes = data, len(data), 0

    def read(self, offset: int, count: int) -> bytes:
        return self.data[offset : offset + max(0, count)]


# --- what the tokenizer itself lacks ----------------------------------------------------------------------------------------------

# Classes of transformers → the files each of which such a tokenizer must have where there is no tokenizer.json (their vocab_files_names).
NEEDED_BY_CLASS: dict[str, tuple[str, ...]] = {
    "BertTokenizer": ("vocab.txt",), "DistilBertTokenizer": ("vocab.txt",), "ElectraTokenizer": ("vocab.txt",), "MPNetTokenizer": ("vocab.txt",),
    "GPT2Tokenizer": ("vocab.json", "merges.txt"), "RobertaTokenizer": ("vocab.json", "merges.txt"), "BartTokenizer": ("vocab.json", "merges.txt"),
    "CLIPTokenizer": ("vocab.json", "merges.txt"), "WhisperTokenizer": ("vocab.json", "merges.txt"), "Qwen2Tokenizer": ("vocab.json", "merges.txt"),
    "T5Tokenizer": ("spiece.model",), "AlbertTokenizer": ("spiece.model",), "XLNetTokenizer": ("spiece.model",), "DebertaV2Tokenizer": ("spm.model",),
    "LlamaTokenizer": ("tokenizer.model",), "CodeLlamaTokenizer": ("tokenizer.model",), "GemmaTokenizer": ("tokenizer.model",),
    "XLMRobertaTokenizer": ("sentencepiece.bpe.model",), "MBartTokenizer": ("sentencepiece.bpe.model",), "CamembertTokenizer": ("sentencepiece.bpe.model",),
}  # fmt: skip
KNOWN_MODELS = frozenset({"", "BPE", "WordPiece", "WordLevel", "Unigram"})


def lacks(seen: Seen | None, names: Iterable[str], config: dict[str, Any]) -> tuple[str, ...]:
    """Files that the class named by tokenizer_config.json reads and that are not there."""
    here = set(names)
    kind = str(config.get("tokenizer_class") or "").removesuffix("Fast")
    needed = NEEDED_BY_CLASS.get(kind, ())
    if not needed or "tokenizer.json" in here or "auto_map" in config:
        return ()
    return tuple(name for name in needed if name not in here and not (name == "tokenizer.model" and any(other.endswith(".tiktoken") for other in here)))


def chat_templates(names: Iterable[str], config: dict[str, Any], read: Read) -> Iterator[tuple[str, str]]:
    """(file, template) of each chat template, as transformers looks for them: files of their own, else keys of tokenizer_config.json (tokenization_utils_base.py)."""
    here = sorted(name for name in names if name == "chat_template.jinja" or re.fullmatch(r"additional_chat_templates/[^/]+\.jinja", name))
    yield from ((name, read(name).decode("utf-8", "replace")) for name in here)
    if "chat_template.json" in names:
        yield from (("chat_template.json", text) for text in _texts(_object(read("chat_template.json")).get("chat_template")))
    if not here:
        yield from (("tokenizer_config.json", text) for text in _texts(config.get("chat_template")))


def _texts(value: Any) -> list[str]:
    """A template, or several by their names."""
    items = value if isinstance(value, list) else [value]
    return [text for item in items if isinstance(text := item.get("template") if isinstance(item, dict) else item, str)]


def template_error(text: str) -> str:
    """Where Jinja stops reading, as in "line 3: unexpected '}'"; "" for a template that parses. It is parsed with the tags that transformers adds, never run."""
    import jinja2
    import jinja2.ext
    import jinja2.nodes
    import jinja2.parser

    class Generation(jinja2.ext.Extension):
        """``{% generation %}…{% endgeneration %}``: what the assistant says (transformers/utils/chat_template_utils.py, AssistantTracker)."""

        tags = {"generation"}  # noqa: RUF012  # as Jinja declares it

        def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation])
    try:
        environment.parse(text[:MOST_TEMPLATE])
    except jinja2.TemplateSyntaxError as error:
        return f"line {error.lineno}: {plain(error.message or 'no template', 120)}"
    except RecursionError:
        return "nested deeper than Jinja reads"
    return ""
