"""Which connection brings which bytes of one file. Not for several threads at once: the file's lock is held around every call."""

from __future__ import annotations

from dataclasses import dataclass, field

from diagnostics.transfer.ranges import Range, Ranges, joined, shared, total, within
from diagnostics.transfer.wire import Answer

OPEN = 1 << 62  # the end of a file whose size nobody has said yet


@dataclass(eq=False)
class Claim:
    """The bytes one connection brings: those before ``position`` are written, those before ``noted`` are in the journal too."""

    start: int
    end: int
    position: int = -1
    noted: int = -1
    moved_at: float = 0.0  # when it last gained a byte
    noted_at: float = 0.0
    whole: bool = False  # the answer it reads is the whole file, whatever it asked for
    answer: Answer | None = None

    def __post_init__(self) -> None:
        self.position = self.noted = self.start

    @property
    def left(self) -> int:
        return self.end - self.position


@dataclass
class Segments:
    """What is still to be had: ``pending`` is nobody's yet, ``claims`` are under way."""

    pending: Ranges = ()
    claims: list[Claim] = field(default_factory=list)
    divisible: bool = True  # the server gives parts, and they can be shown to belong together

    @property
    def done(self) -> bool:
        return not self.pending and not self.claims

    def take(self) -> Claim | None:
        """The first gap, whole."""
        if not self.pending or (self.claims and not self.divisible):
            return None
        (start, end), *rest = self.pending
        self.pending = tuple(rest)
        return self._claimed(start, end)

    def take_beside(self, block: int, least: int) -> Claim | None:
        """A block for one more connection: from what is nobody's, else from the longest claim, which then ends earlier. None where nothing is long enough."""
        if not self.divisible:
            return None
        if not self.pending:
            longest = max(self.claims, key=lambda claim: claim.left, default=None)
            if longest is None or longest.end >= OPEN:
                return None
            middle = shared(longest.position, longest.end, block, least)
            if middle >= longest.end:
                return None
            self.pending, longest.end = ((middle, longest.end),), middle
        (start, end), *rest = self.pending
        middle = shared(start, end, block, least)
        self.pending = joined((*rest, (middle, end)))
        return self._claimed(start, middle)

    def _claimed(self, start: int, end: int) -> Claim:
        claim = Claim(start, end)
        self.claims.append(claim)
        return claim

    def give_back(self, claim: Claim) -> None:
        """What it did not bring is nobody's again."""
        self.close(claim)
        self.pending = joined((*self.pending, (claim.position, claim.end)))

    def close(self, claim: Claim) -> None:
        if claim in self.claims:
            self.claims.remove(claim)

    def sized(self, size: int) -> None:
        """The file's size is known now."""
        self.pending = within(self.pending, size)
        for claim in self.claims:
            claim.end = min(claim.end, size)

    def whole_by(self, claim: Claim, front: int, size: int | None) -> bool:
        """The server gives no parts, and ``claim`` has the whole file in front of it: whether it is to read it, from ``front`` on. Not where another does so already."""
        self.divisible = False
        others = [other for other in self.claims if other is not claim]
        if others:
            self.give_back(claim)
            reader = next((other for other in others if other.whole), None)
            if reader is not None:
                self.pending, reader.end = (), OPEN if size is None else size
                self.claims = [reader]
            return False
        claim.start = claim.position = claim.noted = front
        claim.end = OPEN if size is None else size
        self.pending = ()
        return True

    def of_whole(self, size: int | None) -> None:
        """Everything again."""
        self.claims.clear()
        self.pending = ((0, OPEN if size is None else size),) if size != 0 else ()

    def written(self, claim: Claim) -> Range:
        """What the journal does not know of yet."""
        piece = (claim.noted, claim.position)
        claim.noted = claim.position
        return piece

    @property
    def left(self) -> int:
        return total(self.pending) + sum(claim.left for claim in self.claims)
