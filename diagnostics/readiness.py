"""``diagnostics.preflight("org/name")``: before a load, one exception that says why it would fail; around it, what fails all the same is explained.

Not everything that is wrong ends a load. A hub that cannot be asked does not, where the model is all here: huggingface_hub 2.4 ``file_download.py``
(``_hf_hub_download_to_cache_dir``) and transformers 5.24 ``utils/hub.py`` (``cached_files``) take the cached files then, but for a refusal of the
repository itself (401, 404).
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

from diagnostics import environment as environment_module
from diagnostics.case import Case, Diagnosis, Environment, Fault, Files, Judgement, Response
from diagnostics.diagnosis import judge
from diagnostics.probes.files_wanted import weights_format
from diagnostics.redact import plain
from diagnostics.render.failure import diagnosis_lines
from diagnostics.watching import diagnosed

KEPT_SECONDS = 60.0  # a healthy verdict, within one process: many loads in a row look once
MOST_KEPT = 64
ON_THE_WAY = frozenset({"resolution", "connection", "tunnel", "handshake", "response", "body"})
REFUSED = frozenset({401, 404})


class NotReady(RuntimeError):
    """The load would fail, and why: the first line is the root cause and what to do. ``diagnoses`` holds every root that stands in the way, the first to act on first."""

    def __init__(self, spec: str, diagnoses: tuple[Diagnosis, ...]) -> None:
        self.spec, self.diagnoses = spec, diagnoses
        super().__init__("\n".join(_text(diagnoses)))

    def __reduce__(self) -> tuple[type[NotReady], tuple[str, tuple[Diagnosis, ...]]]:
        return NotReady, (self.spec, self.diagnoses)  # it may be raised in a worker and caught in another process

    @property
    def diagnosis(self) -> Diagnosis:
        """The root: what to act on first."""
        return self.diagnoses[0]


def _text(diagnoses: tuple[Diagnosis, ...]) -> list[str]:
    root, *others = diagnoses
    _, *more = diagnosis_lines(root)
    first = f"{root.cause}: {plain(root.title, 300)}"
    first += f". {plain(root.remedies[0].do, 400)}" if root.remedies else ""
    also = [f"  Also in the way: {', '.join(f'{other.cause} ({plain(other.title, 120)})' for other in others[:3])}"] if others else []
    return [first, *more, *also]


@dataclass(frozen=True, kw_only=True)
class Ready:
    """Nothing stands in the way of the load. As a context manager it explains what fails all the same (``diagnostics.watching.Diagnosed``)."""

    spec: str
    judgement: Judgement = field(repr=False)
    warnings: tuple[Diagnosis, ...] = field(default=(), repr=False)  # what is not as it should be and does not end the load
    seconds: float = 0.0  # that the look took
    budget_seconds: float = 15.0

    def __enter__(self) -> Ready:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> Literal[False]:
        __tracebackhide__ = True
        if isinstance(error, Exception) and (found := diagnosed(error, self.spec, self.budget_seconds)):
            raise found from error
        return False


@dataclass(kw_only=True)
class Kept:
    """Verdicts of this process, each for the environment that it was found in."""

    seconds: float = KEPT_SECONDS
    failures: bool = False  # whether those that stand in the way are kept as well
    _verdicts: dict[tuple[object, ...], tuple[float, Environment, Ready | NotReady]] = field(default_factory=dict)

    def get(self, key: tuple[object, ...], environment: Environment) -> Ready | NotReady | None:
        """What was found for ``key`` lately, where nothing that clients read has changed since."""
        when, before, verdict = self._verdicts.get(key, (-1e9, None, None))
        return verdict if time.monotonic() - when < self.seconds and before == environment else None

    def put(self, key: tuple[object, ...], environment: Environment, verdict: Ready | NotReady) -> None:
        if isinstance(verdict, Ready) or self.failures:
            self._verdicts.pop(next(iter(self._verdicts)), None) if len(self._verdicts) >= MOST_KEPT else None
            self._verdicts[key] = time.monotonic(), environment, verdict


_RECENT = Kept()


def ready(spec: str, *, seconds: float, files: tuple[str, ...] = (), python: str = "", kept: Kept | None = None) -> Ready:
    """Look, unless that was done lately, and judge. Raises NotReady, and ValueError where ``demo:FAULT`` does not exist."""
    __tracebackhide__ = True
    kept, key = kept or _RECENT, (spec, files, python)
    environment, _ = environment_module.read(python=python)
    verdict = kept.get(key, environment)
    if verdict is None:
        verdict = _looked(spec, seconds, files, python)
        kept.put(key, environment, verdict)
    if isinstance(verdict, NotReady):
        raise NotReady(verdict.spec, verdict.diagnoses)  # a new one: a traceback belongs to one raise
    if verdict.judgement.verdict == "unverified":
        warnings.warn(f"preflight of {plain(spec, 200) or 'this machine'}: nothing could be verified", stacklevel=3)
    return verdict


def _looked(spec: str, seconds: float, files: tuple[str, ...], python: str) -> Ready | NotReady:
    from diagnostics.probes.survey import prepare

    started = time.monotonic()
    with warnings.catch_warnings(action="ignore"):  # what we use is not the user's matter, who may have made every warning an error
        survey = prepare(spec, files=files, timeout=seconds, digests="none", python=python)
        try:
            case = survey.run()
        finally:
            survey.stop()
        judgement = judge(case)
    ends = tuple(diagnosis for diagnosis in judgement.diagnoses if diagnosis.severity == "error" and ends_the_load(case, diagnosis))
    if ends:
        return NotReady(spec, ends)
    return Ready(spec=spec, judgement=judgement, warnings=judgement.diagnoses, seconds=time.monotonic() - started, budget_seconds=seconds)


def ends_the_load(case: Case, diagnosis: Diagnosis) -> bool:
    """Whether the load itself would end by it: what is wrong on the way to the hub does not, where all files are here and the client falls back on them."""
    return not (_is_all_here(case) and diagnosis.claims and all(_is_fallen_back_from(case, fault) for fault in diagnosis.claims))


def _is_all_here(case: Case) -> bool:
    files = case.files
    if case.target.kind != "hub" or not isinstance(files, Files) or files.place != "cache" or files.missing or files.absent:
        return False
    if not all("/snapshots/" in seen.location.replace("\\", "/") for seen in files.files):
        return False  # a blob that the client has yet to link: it asks the hub for that
    # Without the hub's list only weights tell that this is more than a beginning.
    return any(weights_format(seen.path) for seen in files.files) or case.target.repository_type != "model"


def _is_fallen_back_from(case: Case, fault: Fault) -> bool:
    if fault.step == "client":  # it got no answer: then it takes what is here
        return True
    journey = next((journey for journey in case.journeys or () if journey.name == fault.journey), None)
    if journey is None or not 0 <= fault.leg < len(journey.legs):
        return False
    response = journey.legs[fault.leg].response
    return fault.step in ON_THE_WAY and not (isinstance(response, Response) and response.status in REFUSED)
