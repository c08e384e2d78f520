"""What a trained model is worth: its scale and metrics on validation pairs, and vLLM's rewards held against its own."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curate.adapters.trl.lessons import MIN_GROUPS, Lessons
from curate.adapters.vllm.in_process import InProcessModels
from curate.engines import CallReply, CallRequest
from curate.rewards.crossfit import temperature
from curate.rewards.evaluation import accuracy, log_loss
from schemas.errors import CallFailedError, RefusedError
from schemas.sections import Model
from schemas.settings import Settings

TOLERANCE: Mapping[str, float] = {"float32": 1e-3, "bfloat16": 0.1}
"""how far two right ways of computing a reward may be apart, per unit of reward where that is above 1; in bfloat16 vLLM
and transformers were 0.041 apart, each 0.05 from float32 (tiny Llama, 40 texts, rewards from -4.9 to 3.8)"""
BEAT_S = 1.0
AT_ONCE = 512
"""readings sent together: a vLLM whose asker was killed ends after so many"""
NAME = "trained"


def validated(lessons: Lessons, trained: Mapping[str, Any]) -> tuple[float, dict[str, float]]:
    """Scale and (accuracy, log_loss) from the validation pairs; (1, {}) where there are none.

    The scale makes sigma(margin / scale) a probability (Guo et al. 2017). Targets are drawn a little to one half, as
    if two more pairs had been seen that went one way each (Platt 1999): few pairs that are all right would otherwise
    make the model certain of everything.
    """
    rows = _with_margins(lessons, trained)
    if rows.is_empty():
        return 1.0, {}
    n = rows.height
    targets = ((rows["expected_win"] * n + 1) / (n + 2)).to_numpy()
    scale = temperature(rows["margin"].to_numpy(), targets, rows["weight"].to_numpy())
    scored = rows.with_columns(
        margin=pl.col("margin") / scale, p_a=pl.col("is_a").cast(pl.Float64), p_tie=pl.lit(0.0)
    )
    return scale, {"accuracy": accuracy(scored), "log_loss": log_loss(scored)}


def counts(lessons: Lessons, trained: Mapping[str, Any], n_readings: int) -> dict[str, float]:
    """How many rows came to which end; n_train to n_no_weight add up to n_rows."""
    validation = _with_margins(lessons, trained)
    n_groups = validation["group_id"].n_unique()
    kept = lessons.of("train", "validation")
    numbers = {
        "n_rows": lessons.rows.height, "n_train": trained["n_train"], "n_validation": trained["n_validation"],
        "n_too_long": trained["n_too_long"], "n_unreadable": trained["n_unreadable"],
        "n_ties": lessons.of("tie").height, "n_no_weight": lessons.of("no_weight").height,
        "n_other_weight": kept.filter(pl.col("weight") != 1).height,
        "n_validation_groups": n_groups, "is_descriptive": n_groups < MIN_GROUPS,
        "is_parted_by_pair": lessons.unit == "pair", "n_readings": n_readings, "n_unread": len(trained["unread"]),
        "steps": trained["steps"],
    }
    return {name: float(number) for name, number in numbers.items()}


def rewards(
    folder: Path, readings: pl.DataFrame, trained: Mapping[str, Any], python: Path, silence_s: float,
    heard: Callable[[int], None],
) -> pl.DataFrame:
    """(response_id, reward) by vLLM in process, sorted; a text that is too long or unreadable has no row.

    `heard` is called with the number of rewards so far, after each and once a second while there is none.
    Raises RefusedError when vLLM reads other tokens, or gives another reward, than transformers did for the first
    readings: then what is served would not be what was trained. CallFailedError when vLLM does not answer.
    """
    asked = readings.filter(~pl.col("response_id").is_in(list(trained["unread"]))).sort("response_id")
    requests = [
        CallRequest(response_id, NAME, "", "", messages=messages)
        for response_id, messages in asked.select("response_id", "messages").iter_rows()
    ]
    replies = _asked(folder, requests, python, silence_s, heard) if requests else []
    _compare(trained, {reply.call_key: reply for reply in replies})
    answered = {reply.call_key: float(reply.response) for reply in replies if reply.finish_reason == "stop"}
    schema = {"response_id": pl.String, "reward": pl.Float64}
    rows = {"response_id": list(answered), "reward": list(answered.values())}
    return pl.DataFrame(rows, schema=schema).sort("response_id")


def _with_margins(lessons: Lessons, trained: Mapping[str, Any]) -> pl.DataFrame:
    """Validation rows with the margin of a minus b, raw."""
    schema = {"pair_id": pl.String, "r_chosen": pl.Float64, "r_rejected": pl.Float64}
    said = pl.DataFrame(trained["validation"], schema=schema, orient="row")
    delta = pl.col("r_chosen") - pl.col("r_rejected")
    rows = lessons.rows.drop("margin").join(said, on="pair_id").sort("pair_id")
    return rows.with_columns(margin=pl.when("is_a").then(delta).otherwise(-delta))


def _asked(
    folder: Path, requests: Sequence[CallRequest], python: Path, silence_s: float, heard: Callable[[int], None]
) -> list[CallReply]:
    """All replies. vLLM has no time limit of its own: one that falls silent is stopped here."""
    settings = Settings(in_process=(f"{NAME}={folder}",), inference_python=str(python))
    engine, said = InProcessModels([Model(name=NAME, model=NAME)], settings), queue.SimpleQueue[object]()
    threading.Thread(target=_listen, args=(engine, requests, said), daemon=True).start()
    replies: list[CallReply] = []
    try:
        while isinstance(one := _next(said, silence_s, lambda: heard(len(replies))), CallReply):
            replies.append(one)
            heard(len(replies))
    finally:
        engine.close()
    if isinstance(one, BaseException):
        raise one
    return replies


def _next(said: queue.SimpleQueue[object], silence_s: float, beat: Callable[[], None]) -> object:
    """What was said next; a sign of life of ours in every second that it takes."""
    deadline = time.monotonic() + silence_s
    while (left := deadline - time.monotonic()) > 0:
        with contextlib.suppress(queue.Empty):
            return said.get(timeout=min(BEAT_S, left))
        beat()
    raise CallFailedError(
        f"vLLM has told nothing for {silence_s:.0f} s and was stopped", expected="rewards",
        next="run again; training.silence_s in settings.toml says how long to wait",
    )


def _listen(engine: InProcessModels, requests: Sequence[CallRequest], heard: queue.SimpleQueue[object]) -> None:
    try:
        for start in range(0, len(requests), AT_ONCE):
            for reply in engine.ask("score", requests[start : start + AT_ONCE]):
                heard.put(reply)
    except CallFailedError as error:
        heard.put(error)
    else:
        heard.put(None)


def _compare(trained: Mapping[str, Any], replies: Mapping[str, CallReply]) -> None:
    """One reading at a time, in words: which, what transformers made of it, what vLLM did."""
    for response_id, reward, n_tokens in trained["compared"]:
        reply = replies[response_id]
        if reply.finish_reason != "stop":
            raise _other(response_id, reply.response, f"{reward:.4f}")
        if reply.prompt_tokens != n_tokens:
            raise _other(response_id, f"{reply.prompt_tokens} tokens", f"the {n_tokens} that were trained on")
        limit = TOLERANCE[trained["dtype"]] * max(1.0, abs(reward))
        if abs(float(reply.response) - reward) > limit:
            raise _other(response_id, f"reward {float(reply.response):.4f}", f"{reward:.4f} within {limit:.3g}")


def _other(response_id: str, seen: str, expected: str) -> RefusedError:
    return RefusedError(
        f"vLLM reads response {response_id} otherwise than transformers: {seen}", expected=expected,
        next="nothing was recorded; compare the base's chat template, special tokens and pooling in vLLM",
    )
