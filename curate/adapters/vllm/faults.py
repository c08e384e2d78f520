"""What can go wrong with one attempt at one endpoint, and who is to blame."""

from __future__ import annotations

from typing import Literal

from schemas.errors import CallFailedError

Blame = Literal["endpoint", "busy", "refused", "swapped"]
"""
endpoint   unreachable, too slow, 5xx, an answer that cannot be read: counts against its health, tried again
busy       429, or 503 with Retry-After: it pauses, others take over
refused    401, 402, 403, 404 and the like: asking the same again there is useless
swapped    another model answers under the name: out of service for good
"""


class AttemptFailedError(CallFailedError):
    """One attempt at one endpoint failed. `str()` never holds a header, a key, an address or a text that was sent."""

    def __init__(
        self, seen: str, blame: Blame, *, next: str = "", retry_after: float | None = None, is_down: bool = False
    ) -> None:
        super().__init__(seen, next=next)
        self.blame: Blame = blame
        self.retry_after = retry_after
        self.is_down = is_down
        """nobody takes connections there: no second failure is waited for"""


class UnansweredError(CallFailedError):
    """All attempts of one call failed. `is_hopeless`: no endpoint is left, other calls would fare no better."""

    def __init__(self, seen: str, *, is_hopeless: bool) -> None:
        super().__init__(seen)
        self.is_hopeless = is_hopeless


class RejectedError(CallFailedError):
    """The server understood the request and says it is wrong (400, 413, 422): it would say so again."""
