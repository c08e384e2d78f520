"""Drift: a model that answers otherwise than it did under the same identity is not asked.

A recorded answer is used for good, so answers of two models under one name would mix unseen. Before a
served model is asked anything, its log-likelihoods of a fixed text are compared with those recorded under
its identity, at most once per round.
"""

from __future__ import annotations

import json
import os

import polars as pl

from curate.judging.drift import drift
from flows.calling import recorded_calls
from flows.rounds import Turn, now
from schemas.errors import RefusedError
from schemas.ids import content_id

TEMPLATE = "fingerprint@1"


def refuse_drifted(turn: Turn, name: str) -> None:
    """Compare a served model with what is recorded of its identity; the first time, record it.

    Raises RefusedError when it is another model. A server that gives no log-likelihoods cannot be compared.
    """
    engines = turn.engines
    if engines.serve is None or name in engines.compared:
        return
    found = engines.serve.fingerprint(name)
    engines.compared.add(name)
    if found is None:
        return
    identity = engines.identity(name)
    key = content_id("fingerprint", identity)
    known = recorded_calls(turn.store, pl.DataFrame({"call_key": [key]}), "drift")
    if known.height == 0:
        _record(turn, name, key, found)
        return
    moved = drift(json.loads(known["response"][0]), found)
    if moved:
        since = known["called_at"][0]
        raise RefusedError(
            f"{name!r} is no longer what answered as {identity} on {since:%Y-%m-%d}: {moved}",
            expected="one model per identity", next=f"set or raise `revision` of {name!r} in the recipe's [[models]]",
        )


def _record(turn: Turn, name: str, key: str, found: tuple[float, ...]) -> None:
    row = {
        "call_key": key, "kind": "likelihood", "voter": name, "template": TEMPLATE, "subject": "{}",
        "parameters": "{}", "response": json.dumps(found), "finish_reason": "stop", "choice_logprobs": None,
        "prompt_tokens": len(found), "output_tokens": 0, "seconds": 0.0, "cost_usd": 0.0, "logprob_sum": sum(found),
        "round_id": turn.round_id, "worker": str(os.getpid()), "called_at": now().isoformat(),
    }
    with turn.store.inbox(f"drift-{os.getpid()}") as inbox:
        inbox.record(row)
