"""Endpoints of one served name: which is asked next, who waits for whom, who is set aside and for how long.

Choice is smooth weighted round robin (nginx's) among those that can take a call now. An endpoint that fails is
set aside for a pause that grows; then one call tries it (a circuit breaker, half open). Everything here lives in
the event loop's thread.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from curate.adapters.vllm.faults import AttemptFailedError, UnansweredError
from curate.adapters.vllm.limits import Bucket, SharedClock
from curate.adapters.vllm.transport import Wire
from schemas.settings import Endpoint

FAILURES_IN_A_ROW = 3  # after so many an endpoint is set aside; one that takes no connection is at the first
LONGEST_PAUSE_S = 60.0
LONGEST_WAIT_S = 600.0  # an endpoint that asks for a longer pause is left to the next run
DOCTOR = "tiebreak doctor"


def pause_s(mean_s: float, n_before: int, chance: float) -> float:
    """Exponential back-off with full jitter: uniform with mean `mean_s`·2^n, at most a minute; `chance` in [0, 1)."""
    return min(LONGEST_PAUSE_S, 2 * mean_s * 2.0 ** min(n_before, 30)) * chance


class Server:
    """One endpoint as it is at the moment."""

    def __init__(self, endpoint: Endpoint, wire: Wire, backoff_s: float, now: float) -> None:
        self.endpoint, self.wire, self.machine = endpoint, wire, SharedClock(now)
        self.in_flight, self.credit, self.allowed = 0, 0.0, float(endpoint.concurrency)
        self.n_failures, self.n_pauses, self.closed_until = 0, 0, -math.inf
        self.out = ""
        """why it is out of service for good in this process"""
        self.last_seen, self.advice, self.is_vllm = "not asked yet", "", False
        self.lacks: set[str] = set()
        """optional parameters that it refused"""
        self.n_lost_checked = -1
        """lost connections (`Wire.n_lost`) at its last introduction"""
        self.checking: asyncio.Task[None] | None = None
        self.card: tuple[object, ...] | None = None
        self.fingerprint: tuple[float, ...] | None = None
        self._backoff_s, self._chance = backoff_s, random.Random(endpoint.url)
        self.requests = Bucket(endpoint.requests_per_minute, now)
        self.tokens = Bucket(endpoint.tokens_per_minute, now)

    def is_up(self, now: float) -> bool:
        """In service and not set aside, full or not."""
        return not self.out and now >= self.closed_until

    def has_room(self, share: float = math.inf) -> bool:
        """Whether its bound, or its `share`, leaves room for a call; after a pause for one, until that is answered."""
        return self.in_flight < (1 if self.n_pauses else min(int(self.allowed), share))

    def ready_at(self, n_tokens: float, now: float) -> float:
        """When time alone lets it take a call of `n_tokens`; infinity if it is out of service."""
        if self.out:
            return math.inf
        return max(self.closed_until, self.requests.ready_at(1, now), self.tokens.ready_at(n_tokens, now))

    def succeeded(self) -> None:
        """An answer: its health is restored and its bound grows back, by one per bound's worth of answers."""
        self.n_failures = self.n_pauses = 0
        self.last_seen, self.advice = "answered", ""
        self.allowed = min(float(self.endpoint.concurrency), self.allowed + 1 / self.allowed)

    def failed(self, fault: AttemptFailedError, now: float) -> bool:
        """Book a failure. True: it was set aside by this one."""
        self.last_seen, self.advice = fault.seen, fault.next
        if fault.blame == "swapped":
            self.out = fault.seen
        if self.out or now < self.closed_until or (fault.blame == "refused" and not fault.is_down):
            return False
        if fault.blame == "busy":
            self._slow_down(fault.retry_after, now)
            return False
        self.n_failures += 1
        if self.n_pauses or fault.is_down or self.n_failures >= FAILURES_IN_A_ROW:
            self.closed_until = now + self._pause()
            return True
        return False

    def _pause(self) -> float:
        self.n_pauses += 1
        # Half of the jitter's range at least: a pause of nothing is none.
        return pause_s(self._backoff_s, self.n_pauses - 1, 0.5 + self._chance.random() / 2)

    def _slow_down(self, retry_after: float | None, now: float) -> None:
        """Additive increase, multiplicative decrease: the bound halves at each rate limit that was hit."""
        self.allowed = max(1.0, self.allowed / 2)
        wait = retry_after if retry_after is not None else pause_s(self._backoff_s, 0, 0.5 + self._chance.random() / 2)
        self.closed_until = now + wait


@dataclass
class Wish:
    """What one call needs of an endpoint, all its attempts together."""

    n_tokens: float = 0
    patience: int = 1
    """attempts left; a failed trial of the last endpoint uses up one of everybody who waits for it"""
    avoid: Server | None = None
    """failed last: only if no other is up"""
    never: set[Server] = field(default_factory=set)
    """refused this very call"""


@dataclass(eq=False)
class Waiter:
    """A call that waits for an endpoint."""

    wish: Wish
    turn: asyncio.Future[Server] = field(repr=False)


class Servers:
    """The endpoints of one served name."""

    def __init__(self, name: str, servers: Sequence[Server], clock: Callable[[], float]) -> None:
        self.name, self.all, self._clock = name, tuple(servers), clock
        self._is_weighted = len({s.endpoint.weight for s in servers}) > 1
        self._waiters = dict[Waiter, None]()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def concurrency(self) -> int:
        """Calls in flight at most, over all endpoints."""
        return sum(s.endpoint.concurrency for s in self.all)

    async def acquire(self, wish: Wish) -> Server:
        """An endpoint with room for the call, which must be released.

        Raises UnansweredError when none is left or none came back in `wish.patience` trials.
        """
        if not self._waiters and (server := self._take(wish, self._clock())):
            return server
        if reason := self._hopeless(wish):
            raise UnansweredError(reason, is_hopeless=True)
        waiter = Waiter(wish, asyncio.get_running_loop().create_future())
        self._waiters[waiter] = None
        self._dispatch()
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled() and not waiter.turn.exception():
                self.release(waiter.turn.result())
            raise
        finally:
            self._waiters.pop(waiter, None)

    def release(self, server: Server, unused_tokens: float = 0) -> None:
        """The call has ended; `unused_tokens` of its estimate flow back (below 0: it took more)."""
        server.in_flight -= 1
        server.tokens.draw(-unused_tokens)
        self._dispatch()

    def failed(self, server: Server, fault: AttemptFailedError) -> None:
        """Book a failure. A failed trial while no endpoint is up costs everyone who waits some patience."""
        now = self._clock()
        if server.failed(fault, now) and not any(s.is_up(now) for s in self.all):
            for waiter in self._waiters:
                waiter.wish.patience -= 1
        self._dispatch()

    def is_another_up(self, wish: Wish) -> bool:
        """Whether a call may go elsewhere than where it failed last."""
        now = self._clock()
        return any(s is not wish.avoid and s not in wish.never and s.is_up(now) for s in self.all)

    def wake(self) -> None:
        """Try endpoints that are set aside at once if no other is up: a new batch may find them mended."""
        now = self._clock()
        if not any(s.is_up(now) for s in self.all):
            for server in self.all:
                if server.n_pauses:
                    server.closed_until = now
        self._dispatch()

    def last_seen(self) -> str:
        """What was seen last at each endpoint: host and cause."""
        return ", ".join(f"{s.wire.host}: {s.out or s.last_seen}" for s in self.all)

    def advice(self) -> list[str]:
        """What its user can do about it."""
        if any(s.out for s in self.all):
            return ["raise `revision` in the recipe"]
        return list(dict.fromkeys(s.advice or DOCTOR for s in self.all if s.last_seen != "answered")) or [DOCTOR]

    def _take(self, wish: Wish, now: float) -> Server | None:
        scale = self._scale(now)
        ready = [
            s for s in self.all
            if s.has_room(scale * s.endpoint.weight) and s.ready_at(wish.n_tokens, now) <= now and s not in wish.never
        ]
        others = [s for s in ready if s is not wish.avoid]
        if not others and wish.avoid is not None and self.is_another_up(wish):
            return None
        chosen = _by_turns(others or ready)
        if chosen:
            chosen.in_flight += 1
            chosen.requests.draw(1)
            chosen.tokens.draw(wish.n_tokens)
        return chosen

    def _scale(self, now: float) -> float:
        """Calls in flight per weight, so that shares hold where every endpoint is full. Equal weights: no bound.

        Without it each would get as many calls as it answers, whatever its weight.
        """
        if not self._is_weighted:
            return math.inf
        up = [s for s in self.all if s.is_up(now)]
        return min(s.endpoint.concurrency / s.endpoint.weight for s in up) if len(up) > 1 else math.inf

    def _dispatch(self) -> None:
        """Give endpoints to those who wait, first come, first served; wake again when time makes one ready."""
        if not self._waiters:
            return
        # One moment for all: were the timer set by a later one, an endpoint ready in between would wake nobody.
        now = self._clock()
        for waiter in list(self._waiters):
            if server := self._take(waiter.wish, now):
                self._leave(waiter).set_result(server)
            elif not any(s.has_room() and s.is_up(now) for s in self.all):
                break
        self._give_up()
        self._set_timer(now)

    def _give_up(self) -> None:
        if self._is_well():  # looked at once, not for each of hundreds who wait: they wait for room, not for health
            return
        for waiter in list(self._waiters):
            reason = self._hopeless(waiter.wish)
            if not reason and waiter.wish.patience <= 0:
                reason = f"no endpoint of {self.name!r} came back"
            if reason:
                self._leave(waiter).set_exception(UnansweredError(reason, is_hopeless=True))

    def _is_well(self) -> bool:
        """Every endpoint is in service, so that nobody who waits is without hope."""
        now = self._clock()
        return all(s.is_up(now) and not s.n_pauses for s in self.all) and not any(w.wish.never for w in self._waiters)

    def _leave(self, waiter: Waiter) -> asyncio.Future[Server]:
        del self._waiters[waiter]
        return waiter.turn

    def _hopeless(self, wish: Wish) -> str:
        soonest = min((s.closed_until for s in self.all if not s.out and s not in wish.never), default=math.inf)
        is_over = soonest == math.inf or soonest > self._clock() + LONGEST_WAIT_S
        return f"no endpoint of {self.name!r} is in service" if is_over else ""

    def _set_timer(self, now: float) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        times = [s.ready_at(w.wish.n_tokens, now) for w in list(self._waiters)[:1] for s in self.all if s.has_room()]
        later = min((t for t in times if now < t < math.inf), default=None)
        if later is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(later - now, 0.001), self._dispatch)


def _by_turns(servers: Sequence[Server]) -> Server | None:
    """Smooth weighted round robin: everyone gains its weight, the richest is chosen and pays for all."""
    if len(servers) < 2:
        return servers[0] if servers else None
    for server in servers:
        server.credit += server.endpoint.weight
    chosen = max(servers, key=lambda s: s.credit)
    chosen.credit -= sum(s.endpoint.weight for s in servers)
    return chosen
