"""Config, tokenizer and weights against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostics.case import Evidence, Files, Misfit, Model, Subject
from diagnostics.checks.wording import fact

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect

KIND = frozenset({"model-type-missing", "weights-framework-mismatch", "adapter-base-missing"})
TOKENIZER = frozenset({"tokenizer-incomplete"})


def test_the_files_say_what_model_they_are(model: Model, here: tuple[Files, ...], expect: Expect) -> None:
    """Do the files say which model they are, and is it one that this loader can build from them?"""
    _ask([misfit for misfit in model.misfits if misfit.code in KIND], "says-what-it-is", model, here, expect)


def test_weights_fit_the_config(model: Model, here: tuple[Files, ...], expect: Expect) -> None:
    """Do the weights have the tensors, and the shapes, that config.json asks for?"""
    if not model.compared:
        expect.skip("no weights whose header could be compared")
    _ask([misfit for misfit in model.misfits if misfit.code not in KIND | TOKENIZER and not _of_tokenizer(misfit)], "fits", model, here, expect)


def test_the_tokenizer_fits_the_model(model: Model, here: tuple[Files, ...], expect: Expect) -> None:
    """Is the tokenizer whole, and is there a row of the embedding for every id that it makes?"""
    if not model.tokenizer:
        expect.skip("there is no tokenizer here")
    _ask([misfit for misfit in model.misfits if misfit.code in TOKENIZER or _of_tokenizer(misfit)], "fits", model, here, expect)


def _of_tokenizer(misfit: Misfit) -> bool:
    return misfit.facts.get("key") == "tokenizer"


def _ask(misfits: list[Misfit], healthy: str, model: Model, here: tuple[Files, ...], expect: Expect) -> None:
    for misfit in misfits:
        subject = _subject(misfit, model, here)
        expect.that(False, misfit.code, subject, *_evidence(subject, misfit), severity=misfit.severity, step="model")
    if not misfits and not expect.reasons:
        expect.that(True, healthy, Subject(kind="model", name=model.path or model.model_type), step="model")


def _evidence(subject: Subject, misfit: Misfit) -> list[Evidence]:
    found = [fact(subject, misfit.name, misfit.seen, misfit.expected)]
    found += [fact(subject, "because", misfit.because)] if misfit.because else []
    return found + ([fact(subject, "as many", misfit.count)] if misfit.count > 1 else [])


def _subject(misfit: Misfit, model: Model, here: tuple[Files, ...]) -> Subject:
    """The file that is at odds, by its place on this machine."""
    named = misfit.facts.get("file") or misfit.name
    places = {seen.path: seen.location for files in here for seen in files.files}
    inner = f"{model.path}/{named}" if model.path else named
    place = places.get(named) or places.get(inner)
    return Subject(kind="file", name=place) if place else Subject(kind="model", name=named)
