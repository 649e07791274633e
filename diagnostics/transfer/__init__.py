"""Files from their URLs to their place: streamed, resumed, verified, put there whole or not at all. Failure is data; nothing half-written has a final name."""

from diagnostics.transfer.fetching import fetch, fill
from diagnostics.transfer.ranges import Range, Ranges
from diagnostics.transfer.records import Access, Failure, Limits, Outcome, Progress, Reason, Wanted

__all__ = ["Access", "Failure", "Limits", "Outcome", "Progress", "Range", "Ranges", "Reason", "Wanted", "fetch", "fill"]
