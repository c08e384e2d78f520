"""Served models: the one engine behind every kind of call, over HTTP or in a process of its own."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import polars as pl

from curate.adapters.vllm.batches import Batch
from curate.adapters.vllm.bodies import estimate
from curate.adapters.vllm.calling import Caller, clock
from curate.adapters.vllm.endpoints import DOCTOR, Server, Servers
from curate.adapters.vllm.faults import UnansweredError
from curate.adapters.vllm.in_process import InProcessModels, places
from curate.adapters.vllm.limits import Ledger, cost_of
from curate.adapters.vllm.loop import event_loop
from curate.adapters.vllm.repair import checker
from curate.adapters.vllm.transport import Wire
from curate.engines import CallReply, CallRequest, Kind, one_per_call
from schemas.errors import CallFailedError, InputError, RecipeError, UserError
from schemas.sections import Model
from schemas.settings import Endpoint, Price, Settings
from schemas.tables import VOTERS


class ServedModels:
    """The engine `serve` (curate.engines.Serve) over `models` of a recipe and the `settings` of this machine.

    `secret` gives an API key by its name and raises what it has to say. `spent_usd` is what the round has
    spent already. May be asked by several threads at once.
    """

    def __init__(
        self, models: Sequence[Model], settings: Settings, *, secret: Callable[[str], str], spent_usd: float = 0.0
    ) -> None:
        self._models = {model.name: model for model in models}
        self._settings, self._secret, self._in_process_names = settings, secret, frozenset(places(settings))
        self._ledger = Ledger(settings.spend_usd_per_round, spent_usd)
        self._callers: dict[str, Caller] = {}
        self._in_process: InProcessModels | None = None
        self._lock = threading.Lock()
        _everyone.add(self)

    def voters(self) -> pl.DataFrame:
        """Frame `voters`, one row per model under its recipe's name, each as a judge."""
        rows = [
            {"voter": m.name, "kind": "judge", "family": m.family or m.model.rpartition("-")[0] or m.model,
             "model": m.model, "revision": m.revision or None, "cost_usd": 0.0}
            for m in self._models.values()
        ]
        schema = {name: kind for name, kind in VOTERS.schema.items() if name != "is_qualified"}
        return VOTERS.complete(pl.DataFrame(rows, schema=schema))

    def identity(self, name: str) -> str:
        """`model@revision+variant`: no address, and "?" for a revision that the recipe does not declare."""
        model = self._named(name)
        return f"{model.model}@{model.revision or '?'}" + (f"+{model.variant}" if model.variant else "")

    def price(self, name: str) -> Price:
        """What the model behind a recipe's name costs."""
        return self._settings.price_of(self._named(name).model)

    def spent_usd(self) -> float:
        """US dollars spent so far, the start value included."""
        return self._ledger.spent

    def ask(self, kind: Kind, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        """One reply per answered request, in any order, each as soon as it is known.

        Raises at once InputError for an unknown name or a schema that is none, RecipeError for a model without
        endpoint; in the end, when all other replies were taken, SpendLimitError or CallFailedError. A request
        that the server refuses as wrong is answered: finish reason "bad_request", its words as response.
        """
        asked = sorted(one_per_call(requests), key=lambda r: self._named(r.voter).model)
        for schema in {r.schema for r in asked} - {""}:
            checker(schema)
        parts = [(name, list(calls)) for name, calls in groupby(asked, key=lambda r: self._named(r.voter).model)]
        own = [call for name, calls in parts if name in self._in_process_names for call in calls]
        served = [(self._caller(name), calls) for name, calls in parts if name not in self._in_process_names]
        sources = [self._ask_in_process(kind, own)] if own else []
        return _one_after_another([*([Batch(kind, served).replies(event_loop())] if served else []), *sources])

    def fingerprint(self, name: str) -> tuple[float, ...] | None:
        """Log likelihoods, in nats, of the tokens of a fixed text, asked anew. None if the server gives none.

        Raises CallFailedError when no endpoint answers.
        """
        model = self._named(name)
        if model.model in self._in_process_names:
            return self._own().fingerprint(name)
        caller = self._caller(model.model)
        try:
            return asyncio.run_coroutine_threadsafe(caller.fingerprint(), event_loop()).result()
        except UnansweredError as error:
            seen = f"{error.seen} ({caller.servers.last_seen()})"
            raise CallFailedError(seen, next=", ".join(caller.servers.advice())) from None

    def close(self) -> None:
        """Let go of connections and of the process that holds vLLM. What is asked later connects anew."""
        with self._lock:
            callers, self._callers = self._callers, {}
            own, self._in_process = self._in_process, None
        for server in [s for c in callers.values() for s in c.servers.all]:
            asyncio.run_coroutine_threadsafe(server.wire.close(), event_loop()).result()
        if own:
            own.close()

    def _named(self, name: str) -> Model:
        if name not in self._models:
            raise InputError(f"model {name!r}", expected=f"one of {sorted(self._models)}", next="name it in [[models]]")
        return self._models[name]

    def _caller(self, served: str) -> Caller:
        with self._lock:
            if served not in self._callers:
                endpoints = self._settings.endpoints_of(served)
                if not endpoints:
                    raise RecipeError(
                        f"no endpoint serves {served!r}", expected="[[endpoints]] of that model in settings.toml",
                        next=DOCTOR,
                    )
                servers = Servers(served, [self._server(e) for e in endpoints], clock)
                self._callers[served] = Caller(servers, self._settings, self._ledger)
            return self._callers[served]

    def _server(self, endpoint: Endpoint) -> Server:
        key = self._secret(endpoint.key).strip() if endpoint.key else ""
        if not key.isprintable() or not key.isascii():
            raise RecipeError(f"key {endpoint.key!r} holds what no header may", expected="printable ASCII", next=DOCTOR)
        limits = self._settings
        wire = Wire(endpoint.url, key, endpoint.key, limits.connect_timeout_s, limits.timeout_s)
        return Server(endpoint, wire, limits.backoff_s, clock())

    def _own(self) -> InProcessModels:
        with self._lock:
            if self._in_process is None:
                mine = [m for m in self._models.values() if m.model in self._in_process_names]
                self._in_process = InProcessModels(mine, self._settings)
            return self._in_process

    def _ask_in_process(self, kind: Kind, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        # One's own machine costs by the hour, which nobody knows before: tokens at worst are what can be refused.
        worst = [cost_of(self.price(r.voter), *estimate(kind, r)[:2], seconds=0.0) for r in requests]
        if not self._ledger.has_room(sum(worst)):
            raise self._ledger.refusal(sum(worst))
        for reply in self._own().ask(kind, requests):
            self._ledger.charge(reply.cost_usd)
            yield reply

    def _renew_after_fork(self) -> None:
        """A child has none of the parent's threads: it connects anew. What was spent stays spent."""
        _inherited.append(self._callers)  # never collected: closing them here would talk on the parent's connections
        self._lock, self._callers, self._in_process = threading.Lock(), {}, None
        self._ledger.renew_lock()


_everyone: weakref.WeakSet[ServedModels] = weakref.WeakSet()
_inherited: list[object] = []


def _after_fork() -> None:
    for served in _everyone:
        served._renew_after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _one_after_another(sources: Sequence[Iterator[CallReply]]) -> Iterator[CallReply]:
    """All replies of all sources; the first error is raised when all have ended."""
    errors: list[UserError] = []
    for source in sources:
        try:
            yield from source
        except UserError as error:
            errors.append(error)
    for first in errors:
        raise first
