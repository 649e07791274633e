"""How many connections are worth having: one where one fills the link, more where more bring more. Pure, but for the clock it is given."""

from __future__ import annotations

WINDOW_SECONDS = 0.6
RAMP_SECONDS = 0.2  # what a new connection needs to come up to speed
PATIENCE_SECONDS = 15.0  # until it is tried again after a try that brought nothing
# A stream of this rate is limited by this machine (copying, TLS, the disk) and not by the link or the server's allowance.
ENOUGH_BYTES_PER_SECOND = 250e6
# Of what twice as many connections could bring, this much has to come for them to stay.
WORTH_IT = 0.3


class Governor:
    """``allowed`` is how many may be open now, never more than ``most``."""

    def __init__(self, most: int, first: int, now: float) -> None:
        self.most = max(1, most)
        self.allowed = max(1, min(first, self.most))
        self._since, self._bytes = now, 0
        self._before: tuple[int, float] | None = None  # (connections, bytes per second) before the last growth
        self._not_until = self._ramp_until = 0.0

    def observe(self, now: float, total_bytes: int, busy: int) -> int:
        """``total_bytes`` so far and connections ``busy`` now → how many may be open from now on."""
        seconds = now - self._since
        if busy < self.allowed or now < self._ramp_until:
            self._restart(now, total_bytes)  # nothing can be told of connections that are not there yet
            return self.allowed
        if seconds < WINDOW_SECONDS:
            return self.allowed
        rate = (total_bytes - self._bytes) / seconds
        if self._before is not None:
            self._judge(rate, now)
        if self.allowed < self.most and now >= self._not_until and rate / self.allowed < ENOUGH_BYTES_PER_SECOND and rate > 0:
            self._before = (self.allowed, rate)
            self.allowed = min(2 * self.allowed, self.most)
            self._ramp_until = now + RAMP_SECONDS
        self._restart(now, total_bytes)
        return self.allowed

    def lower(self, most: int, now: float) -> None:
        """A host does not want as many."""
        self.most = max(1, min(self.most, most))
        self.allowed = min(self.allowed, self.most)
        self._before, self._not_until = None, now + PATIENCE_SECONDS

    def _judge(self, rate: float, now: float) -> None:
        assert self._before is not None
        connections, before = self._before
        self._before = None
        if rate < before * (1 + WORTH_IT * (self.allowed / connections - 1)):
            self.allowed, self._not_until = connections, now + PATIENCE_SECONDS

    def _restart(self, now: float, total_bytes: int) -> None:
        self._since, self._bytes = now, total_bytes
