"""``with diagnostics.watch("org/name"):`` around a load: its exception becomes the diagnosis, with the original as the cause."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from diagnostics import errors
from diagnostics.case import Case, Clues, Diagnosis, Judgement
from diagnostics.confirmation import explanation_of
from diagnostics.diagnosis import judge
from diagnostics.render.failure import diagnosis_lines

SURVEY_SECONDS = 15.0


class Diagnosed(RuntimeError):
    """A load failed, and why. ``__cause__`` is what it raised; ``judgement`` all that was found, ``clues`` what the exception alone can mean."""

    def __init__(self, judgement: Judgement, clues: Clues) -> None:
        self.judgement, self.clues = judgement, clues
        super().__init__("\n".join(diagnosis_lines(judgement.diagnoses[0])))

    def __reduce__(self) -> tuple[type[Diagnosed], tuple[Judgement, Clues]]:
        return Diagnosed, (self.judgement, self.clues)  # it may be raised in a worker and caught in another process

    @property
    def diagnosis(self) -> Diagnosis:
        """The root: what to act on first."""
        return self.judgement.diagnoses[0]


@contextlib.contextmanager
def watching(spec: str, seconds: float, look: bool) -> Iterator[None]:
    """Pass through what works, and what nothing is known about. Only an Exception is explained: Ctrl-C and exits are the user's."""
    try:
        yield
    except Exception as error:
        found = diagnosed(error, spec, seconds, look)
        if found is None:
            raise
        raise found from error


def diagnosed(error: BaseException, spec: str = "", seconds: float = SURVEY_SECONDS, look: bool = True) -> Diagnosed | None:
    """What the exception means, and (with ``look``) what of it is so here, for ``spec`` or what it names; None where nothing is known to be wrong."""
    clues = dataclasses.replace(errors.clues_of(error, spec), here=True)  # it was raised in this very process
    if not clues.explanations:
        return None
    case = _looked(spec or clues.guessed, seconds) if look else Case()
    judgement = judge(dataclasses.replace(case, clues=clues), None if look else ())
    first = judgement.diagnoses[0] if judgement.diagnoses else None
    if first is None or (first.cause == "load-failed" and not first.claims) or (first.severity == "warning" and explanation_of(clues, first) is None):
        return None
    return Diagnosed(judgement, clues)


def _looked(spec: str, seconds: float) -> Case:
    from diagnostics.probes.survey import prepare

    survey = prepare(spec, timeout=seconds, digests="none")
    try:
        return survey.run()
    finally:
        survey.stop()
