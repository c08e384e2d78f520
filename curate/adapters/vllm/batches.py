"""A batch of calls in the event loop, and its replies in the thread that asked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

from curate.adapters.vllm.calling import Caller
from curate.adapters.vllm.faults import UnansweredError
from curate.engines import CallReply, CallRequest, Kind
from schemas.errors import CallFailedError, SpendLimitError, TiebreakError


class Batch:
    """Calls of one `ask`. As many workers as the endpoints take calls; each makes one call after the other."""

    def __init__(self, kind: Kind, parts: Sequence[tuple[Caller, Sequence[CallRequest]]]) -> None:
        self._kind = kind
        self._parts = [(caller, deque(requests)) for caller, requests in parts]
        self._n_asked = sum(len(requests) for _, requests in parts)
        self._replies: SimpleQueue[CallReply | None] = SimpleQueue()
        self._is_wanted, self._n_unanswered = True, 0
        self._errors: list[BaseException] = []

    def replies(self, loop: asyncio.AbstractEventLoop) -> Iterator[CallReply]:
        """Replies as soon as they are known. If the iterator is closed early, calls not yet sent are not made.

        Raises at the end: SpendLimitError, InputError for a request that could not be sent, CallFailedError.
        """
        running = asyncio.run_coroutine_threadsafe(self._run(), loop)
        try:
            while (reply := self._replies.get()) is not None:
                yield reply
        finally:
            self._is_wanted = False
        running.result()  # a defect of the batch itself
        self._raise()

    async def _run(self) -> None:
        try:
            workers = [
                self._work(caller, calls)
                for caller, calls in self._parts
                for _ in range(min(len(calls), caller.servers.concurrency))
            ]
            for caller, _ in self._parts:
                caller.servers.wake()
            outcomes = await asyncio.gather(*workers, return_exceptions=True)
            self._errors += [o for o in outcomes if isinstance(o, BaseException)]
        finally:
            self._replies.put(None)

    async def _work(self, caller: Caller, calls: deque[CallRequest]) -> None:
        while calls and self._is_wanted:
            try:
                self._replies.put(await caller.reply(self._kind, calls.popleft(), lambda: self._is_wanted))
            except UnansweredError as error:
                self._n_unanswered += 1
                if error.is_hopeless:
                    self._n_unanswered += len(calls)
                    calls.clear()
            except SpendLimitError as error:
                self._stop(error)
            except TiebreakError as error:
                self._errors.append(error)

    def _stop(self, error: SpendLimitError) -> None:
        """No further call of this batch is begun; those in flight end and are handed over."""
        self._errors.append(error)
        for _, calls in self._parts:
            calls.clear()

    def _raise(self) -> None:
        defects = [e for e in self._errors if not isinstance(e, TiebreakError)]
        limits = [e for e in self._errors if isinstance(e, SpendLimitError)]
        for error in (*defects, *limits, *self._errors):
            raise error
        if self._n_unanswered:
            raise CallFailedError(
                f"{self._n_unanswered} of {self._n_asked} calls got no answer ({self._last_seen()})",
                expected="one answer each; those that came are recorded", next=self._advice(),
            )

    def _last_seen(self) -> str:
        return "; ".join(caller.servers.last_seen() for caller, _ in self._parts)

    def _advice(self) -> str:
        return ", ".join(dict.fromkeys(word for caller, _ in self._parts for word in caller.servers.advice()))
