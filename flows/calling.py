"""Calls: ask an engine many things, acknowledge each answer before the next is taken.

The writer makes the to-do list once; workers never open the database. A killed worker loses only
what was in flight: every answer it had is a line in the inbox.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import polars as pl

from curate.engines import CallReply, CallRequest
from warehouse.store import Store

Batch = Sequence[CallRequest]
Work = Callable[[Batch], int]
FanOut = Callable[[Work, Sequence[Batch]], list[int]]
Ask = Callable[[Batch], Iterator[CallReply]]

BATCH = 64
SAY_EVERY = 5.0
"""seconds between two lines of progress"""


def thread_fan_out(n_workers: int) -> FanOut:
    """Spread batches over a thread pool of this process."""

    def spread(work: Work, batches: Sequence[Batch]) -> list[int]:
        pool = ThreadPoolExecutor(max_workers=n_workers)
        try:
            futures = [pool.submit(work, batch) for batch in batches]
            # A batch that fails lets the others go on: whatever they are answered is recorded.
            wait(futures)
            return [future.result() for future in futures]
        finally:
            # After an interrupt nothing more is begun; `make_calls` stops what is under way.
            pool.shutdown(wait=False, cancel_futures=True)

    return spread


def make_calls(
    store: Store, ask: Ask, requests: Sequence[CallRequest], *, kind: str, round_id: str | None, fan_out: FanOut,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] = lambda kind, done, total: None,
) -> int:
    """Make the requests that no recorded call answers yet; returns how many were made.

    Known calls are looked up once, over database and inbox together. `say` hears how many there are
    to make, and every few seconds how many are done; `progress` hears the numbers: kind, done, to make.
    Raises CallFailedError when some were not answered, SpendLimitError when the money is spent; whatever was
    answered is recorded.
    """
    return make_unknown_calls(
        store, ask, unknown_calls(store, requests), kind=kind, round_id=round_id, fan_out=fan_out, say=say,
        progress=progress, n_asked=len(requests),
    )


def make_unknown_calls(
    store: Store, ask: Ask, misses: Sequence[CallRequest], *, kind: str, round_id: str | None, fan_out: FanOut,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] = lambda kind, done, total: None, n_asked: int = 0,
) -> int:
    """`make_calls` of requests that were looked up already, out of `n_asked`: opening the database costs 35 ms."""
    batches = [misses[at : at + BATCH] for at in range(0, len(misses), BATCH)]
    if misses:
        say(f"{kind}: {len(misses):,} calls to make, {n_asked - len(misses):,} known already")
    state = _Progress(kind, len(misses), say, progress)
    try:
        made = fan_out(lambda batch: _work(store, ask, batch, kind, round_id, state), batches)
    except KeyboardInterrupt:
        state.is_stopped = True
        raise
    if misses:
        progress(kind, len(state.acknowledged), len(misses))
    return sum(made)


class _Progress:
    """Calls acknowledged so far. A batch that is tried again leaves out what it already has."""

    def __init__(
        self, kind: str, n_total: int, say: Callable[[str], None], tell: Callable[[str, int, int], None]
    ) -> None:
        self.acknowledged: set[str] = set()
        self.is_stopped = False
        self._kind, self._n_total, self._say, self._tell = kind, n_total, say, tell
        self._said_at = time.monotonic()

    def add(self, call_key: str) -> None:
        """One more call is on disk."""
        self.acknowledged.add(call_key)
        if time.monotonic() - self._said_at > SAY_EVERY:
            self._said_at = time.monotonic()
            self._say(f"{self._kind}: {len(self.acknowledged):,} of {self._n_total:,} calls")
            self._tell(self._kind, len(self.acknowledged), self._n_total)


def recorded_calls(store: Store, keys: pl.DataFrame, flow: str) -> pl.DataFrame:
    """Frame `calls` of the keys that are recorded, inbox included."""
    with store.write(flow) as writer:
        return writer.query("calls_of_keys", {"keys": keys.select("call_key")})


def unknown_calls(store: Store, requests: Sequence[CallRequest]) -> list[CallRequest]:
    """The requests that no recorded call answers, in order."""
    if not requests:
        return []
    keys = pl.DataFrame({"call_key": [r.call_key for r in requests]}, schema={"call_key": pl.String})
    with store.write("look-up") as writer:
        unknown = set(writer.query("unknown_calls", {"keys": keys})["call_key"].to_list())
    return [r for r in requests if r.call_key in unknown]


def _work(store: Store, ask: Ask, batch: Batch, kind: str, round_id: str | None, progress: _Progress) -> int:
    asked = {r.call_key: r for r in batch if r.call_key not in progress.acknowledged}
    with store.inbox(f"{kind}-{os.getpid()}") as inbox:
        for reply in ask(list(asked.values())):
            inbox.record(_call_row(asked[reply.call_key], reply, kind, round_id))
            progress.add(reply.call_key)
            if progress.is_stopped:
                break  # closes the engine's iterator: what is not sent yet is not asked
    return len(asked)


def _call_row(request: CallRequest, reply: CallReply, kind: str, round_id: str | None) -> dict[str, object]:
    logprobs = None if reply.choice_logprobs is None else json.dumps(dict(reply.choice_logprobs), sort_keys=True)
    return {
        "call_key": request.call_key, "kind": kind, "voter": request.voter, "template": request.instrument,
        "subject": request.subject, "parameters": json.dumps(dict(request.parameters), sort_keys=True),
        "response": reply.response, "finish_reason": reply.finish_reason, "choice_logprobs": logprobs,
        "prompt_tokens": reply.prompt_tokens, "output_tokens": reply.output_tokens, "seconds": reply.seconds,
        "cost_usd": reply.cost_usd, "logprob_sum": reply.logprob_sum, "round_id": round_id, "worker": str(os.getpid()),
        "called_at": dt.datetime.now(dt.UTC).isoformat(),
    }
