"""Ask served models what is not known yet: the one way from a plan of questions to recorded calls."""

from __future__ import annotations

import polars as pl

from curate.engines import Kind
from curate.questions import requests_of
from flows.calling import make_unknown_calls, recorded_calls, unknown_calls
from flows.drift import refuse_drifted
from flows.rounds import Turn


def ask(turn: Turn, kind: Kind, plan: pl.DataFrame) -> pl.DataFrame:
    """Frame `calls` that answers `plan` (of `curate.questions.plan_questions`), failed calls included.

    Questions with a recorded answer are not asked. Raises RefusedError for a model that is no longer what its
    identity says, CallFailedError or SpendLimitError after recording whatever was answered.
    """
    requests = requests_of(plan)
    new = unknown_calls(turn.store, requests)
    for name in sorted({request.voter for request in new}):
        refuse_drifted(turn, name)
    make_unknown_calls(
        turn.store, turn.engines.asker(kind), new, kind=kind, round_id=turn.round_id,
        fan_out=turn.fan_out, say=turn.say, progress=turn.progress, n_asked=len(requests),
    )
    calls = recorded_calls(turn.store, plan, kind)
    _say_failures(turn, kind, calls.filter(pl.col("call_key").is_in([request.call_key for request in new])))
    return calls


def _say_failures(turn: Turn, kind: Kind, made: pl.DataFrame) -> None:
    """How many of the calls that were just made have no usable answer, by finish reason."""
    failed = made.filter(pl.col("finish_reason") != "stop")
    if failed.height:
        reasons = failed.group_by("finish_reason").len().sort("finish_reason")
        counts = ", ".join(f"{reason} {n:,}" for reason, n in reasons.iter_rows())
        turn.say(f"{kind}: {failed.height:,} of {made.height:,} answers cannot be used: {counts}")
