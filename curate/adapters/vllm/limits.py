"""Rates and money: buckets that fill with time, the time calls share on a machine, the ledger of a round."""

from __future__ import annotations

import asyncio
import threading

from schemas.errors import SpendLimitError
from schemas.settings import Price

MINUTE, HOUR, MILLION = 60.0, 3600.0, 1e6
KEPT_S = 0.5  # inflow that a bucket keeps: so much may be sent at once after a pause


class Bucket:
    """A token bucket: `per_minute` units flow in, at most half a second's worth is kept. 0: no limit.

    A draw larger than what is kept waits for a full bucket and leaves a debt, so the rate holds on average
    whatever the size of a call.
    """

    def __init__(self, per_minute: float, now: float) -> None:
        self._rate = per_minute / MINUTE
        self._most = max(1.0, self._rate * KEPT_S)
        self._level, self._at = self._most, now

    def ready_at(self, amount: float, now: float) -> float:
        """When `amount` may be drawn, if nobody else draws: `now` at once."""
        if not self._rate:
            return now
        self._level, self._at = min(self._most, self._level + self._rate * (now - self._at)), now
        short = min(amount, self._most) - self._level
        # A hair's breadth is forgiven: the sum of many small inflows rounds.
        return now + short / self._rate if short > 1e-9 else now

    def draw(self, amount: float) -> None:
        """Take `amount`; a negative one gives back what was estimated too high."""
        if self._rate:
            self._level = min(self._most, self._level - amount)


class SharedClock:
    """Seconds of one machine, shared evenly by the calls in flight on it: the integral of 1 / (calls in flight)."""

    def __init__(self, now: float) -> None:
        self._n, self._sum, self._at = 0, 0.0, now

    def begin(self, now: float) -> float:
        """One more call is in flight; its mark for `end`."""
        self._advance(now)
        self._n += 1
        return self._sum

    def end(self, mark: float, now: float) -> float:
        """Seconds that fall to the call that began at `mark`."""
        self._advance(now)
        self._n -= 1
        return self._sum - mark

    def _advance(self, now: float) -> None:
        self._sum += (now - self._at) / max(1, self._n)
        self._at = now


def cost_of(price: Price, prompt_tokens: int, output_tokens: int, seconds: float) -> float:
    """US dollars of one call."""
    tokens = prompt_tokens * price.usd_per_million_prompt_tokens + output_tokens * price.usd_per_million_output_tokens
    return tokens / MILLION + seconds * price.usd_per_hour / HOUR


class Ledger:
    """Money spent and promised, in US dollars. What a call could cost at worst is promised before it is sent.

    Promises are made and waited for in the event loop; `spent` may be read, and `charge` called, by any thread.
    """

    def __init__(self, limit: float | None, spent: float = 0.0) -> None:
        self._limit, self._spent, self._promised, self._n_promises = limit, spent, 0.0, 0
        self._lock, self._waiters = threading.Lock(), list[asyncio.Future[None]]()

    @property
    def spent(self) -> float:
        """Spent so far, the start value included."""
        return self._spent

    async def promise(self, worst: float) -> None:
        """Set `worst` aside; waits while calls in flight may still turn out cheaper than promised.

        Raises SpendLimitError when nothing is in flight and the call could exceed the limit.
        """
        while not self._is_promised(worst):
            if not self._n_promises:
                raise self.refusal(worst)
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def settle(self, worst: float, cost: float) -> None:
        """A promised call has ended and cost `cost`."""
        with self._lock:
            self._promised, self._n_promises = self._promised - worst, self._n_promises - 1
            if not self._n_promises:
                self._promised = 0.0  # sums of floats do not come back to zero by themselves
            self._spent += cost
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def charge(self, cost: float) -> None:
        """Money that was spent without a promise."""
        with self._lock:
            self._spent += cost

    def has_room(self, worst: float) -> bool:
        """Whether `worst` fits beside what is spent and promised."""
        return self._limit is None or self._spent + self._promised + worst <= self._limit

    def refusal(self, worst: float) -> SpendLimitError:
        """The error that says so."""
        return SpendLimitError(
            f"{self._spent:.6g} USD spent on calls, the next could cost {worst:.6g}",
            expected=f"at most {self._limit:.6g} USD in a round" if self._limit is not None else "",
            next="raise spend_usd_per_round in settings.toml and run again",
        )

    def _is_promised(self, worst: float) -> bool:
        with self._lock:
            if not self.has_room(worst):
                return False
            self._promised, self._n_promises = self._promised + worst, self._n_promises + 1
            return True

    def renew_lock(self) -> None:
        """After a fork: nobody in the child holds the lock, and nothing is in flight there."""
        self._lock, self._waiters, self._promised, self._n_promises = threading.Lock(), [], 0.0, 0
