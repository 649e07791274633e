"""What the causes of the names section ask of a resolution alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from diagnostics.case import Case, Fault, Leg, Resolution, ResolverAnswer
from diagnostics.causes.claims import on_legs, proxy_that_works


def unresolved(case: Case, faults: tuple[Fault, ...]) -> Iterator[tuple[Fault, Leg, Resolution]]:
    for fault, leg in on_legs(case, faults, "resolution", "failed"):
        if isinstance(leg.resolution, Resolution):
            yield fault, leg, leg.resolution


def answers_of(resolution: Resolution) -> list[ResolverAnswer]:
    return [answer for answer in resolution.resolvers if not answer.error]


def rcodes_of(resolution: Resolution) -> set[str]:
    return {answer.rcode for answer in answers_of(resolution) if isinstance(answer.rcode, str)}


def reserved(leg: Leg) -> bool:
    """A name that cannot exist, whatever the resolvers do (RFC 6761 §6.4)."""
    return leg.host.lower().rstrip(".").rpartition(".")[2] == "invalid"


def looked_up(leg: Leg) -> str:
    """The name that was asked for: through a proxy that is the proxy's."""
    return leg.resolution.host if isinstance(leg.resolution, Resolution) and leg.resolution.host else leg.host


def admission(leg: Leg) -> dict[str, str]:
    """What the resolvers add in words."""
    answers = answers_of(leg.resolution) if isinstance(leg.resolution, Resolution) else []
    said = "; ".join(dict.fromkeys(text for answer in answers for text in answer.extended_errors))
    return {"extended": f" It says: {said}." if said else ""}


def resolver_faults(case: Case, faults: tuple[Fault, ...], chosen: Callable[[Resolution], bool]) -> list[tuple[Fault, Leg]]:
    """Names that do not resolve in this way, though they could be asked for and no other way out is known."""
    found = ((fault, leg, resolution) for fault, leg, resolution in unresolved(case, faults) if resolution.error != "IDNA" and not reserved(leg))
    return [(fault, leg) for fault, leg, resolution in found if not proxy_that_works(leg) and chosen(resolution)]
