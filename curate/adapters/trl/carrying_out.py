"""An order carried out: prepared, trained, validated, measured by vLLM, put down whole. Each step is done once.

Whatever ends this process, the next attempt goes on from the last step that was done, a training from its last
checkpoint. Nothing here knows a warehouse or a scheduler.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from curate.adapters.trl.card import card
from curate.adapters.trl.lessons import Lessons, hashed_groups, lessons_of
from curate.adapters.trl.measuring import counts, rewards, validated
from curate.adapters.trl.orders import (
    CARD,
    DESCRIBED,
    MEASURE,
    METRICS,
    MODEL,
    ORDER,
    OUTCOME,
    REWARDS,
    TRAIN,
    WORK,
    file_sha256,
    folder_sha256,
    outcome_of,
    read_frame,
    read_json,
    read_order,
    sync,
    write_json,
)
from curate.adapters.trl.watching import only_trainer, run_program
from curate.engines import TrainingOrder, TrainingOutcome
from schemas.errors import InputError, RecipeError

N_COMPARED = 16
"""readings whose rewards transformers and vLLM both compute"""
CHECKPOINT_S = 300.0
AGAIN = "remove work/ and model/ in the order's folder and run again"


def carry_out(
    folder: Path,
    *,
    python: Path,
    bases: Mapping[str, str] = {},
    device_batch_size: int = 4,
    silence_s: float = 900.0,
    say: Callable[[str], None] = lambda _: None,
    checkpoint_s: float = CHECKPOINT_S,
) -> TrainingOutcome:
    """What the order in `folder` comes to; if that is there already, nothing is started.

    `python` is the inference environment's, `bases` says in which folder a base lies (one without an entry comes from
    the hub), `device_batch_size` is in pairs, `checkpoint_s` the least time between two checkpoints. One order is
    carried out by one process at a time, on one device.
    Raises InputError for an order that was changed or a base that is not there, RecipeError without a Python,
    RefusedError for rows that cannot be trained on, too little memory, or rewards that vLLM does not confirm,
    LockHeldError while another carries it out, CallFailedError for a program that died or fell silent.
    """
    order = read_order(folder)
    if done := outcome_of(folder):
        shutil.rmtree(folder / WORK, ignore_errors=True)  # what a kill after the last step left
        return done
    if not python.is_file():
        raise RecipeError(f"no Python at {python}", expected="an environment that holds trl and vllm",
                          next="make inference, or set inference_python in settings.toml")
    place = _place(order, bases)
    with only_trainer(folder) as descriptor:
        if done := outcome_of(folder):
            return done
        lessons = lessons_of(read_frame(folder, TRAIN), order.tuning, order.seed)
        if not (folder / MODEL).is_dir():
            if not (folder / WORK / "weights").is_dir():
                _prepare(folder, order, lessons, place, device_batch_size, checkpoint_s, say)
                run_program(folder, python, descriptor, _is_folder(place), silence_s, say)
            _put_down(folder, order, lessons, python, silence_s, say)
        return _closed(folder, order)


def _place(order: TrainingOrder, bases: Mapping[str, str]) -> str:
    base = order.tuning.base
    if base not in bases:
        return base
    place = str(Path(bases[base]).expanduser().resolve())
    if not (Path(place) / "config.json").is_file():
        raise InputError(f"base {base} is not in {place}", expected="a folder with config.json, weights and tokenizer",
                         next="put it there, or name another folder in settings.toml under training.bases")
    return place


def _prepare(
    folder: Path, order: TrainingOrder, lessons: Lessons, place: str, device_batch_size: int, checkpoint_s: float,
    say: Callable[[str], None],
) -> None:
    """The program's input. What began from another base, or does not say from which, is not gone on from."""
    work, tuning = folder / WORK, order.tuning
    identity, known = {"order": file_sha256(folder / ORDER), "base": _identity(place)}, work / "identity.json"
    if work.is_dir() and (read_json(known, next=AGAIN) if known.is_file() else {}) != identity:
        shutil.rmtree(work)
    (folder / REWARDS).unlink(missing_ok=True)
    work.mkdir(exist_ok=True)
    write_json(known, identity)
    settings = {"base": place, "revision": "" if _is_folder(place) else tuning.revision, "seed": order.seed,
                "device_batch_size": device_batch_size, "checkpoint_s": checkpoint_s, "n_compared": N_COMPARED}
    write_json(work / "task.json", tuning.model_dump(mode="json") | settings)
    columns = ["pair_id", "part", "messages", "chosen", "rejected", "margin"]
    lessons.of("train", "validation").select(columns).write_ndjson(work / "lessons.jsonl")
    read_frame(folder, MEASURE).sort("response_id").write_ndjson(work / "readings.jsonl")
    say(f"{order.model}: {lessons.rows.height} pairs, of which {lessons.of('tie').height} ties and "
        f"{lessons.of('no_weight').height} of weight 0 are left out")


def _identity(place: str) -> str:
    """What decides the weights that training begins from: a folder's content, or a name on the hub."""
    return folder_sha256(Path(place)) if _is_folder(place) else place


def _is_folder(place: str) -> bool:
    """A name on the hub is never a path from the root."""
    return Path(place).is_absolute()


def _put_down(
    folder: Path, order: TrainingOrder, lessons: Lessons, python: Path, silence_s: float, say: Callable[[str], None]
) -> None:
    """The model folder, whole, and the rewards beside it."""
    weights, trained = folder / WORK / "weights", _trained(folder)
    readings = read_frame(folder, MEASURE)
    scale, metrics = validated(lessons, trained)
    metrics = counts(lessons, trained, readings.height) | metrics
    identity = read_json(folder / WORK / "identity.json", next=AGAIN)
    described = _described(order, lessons, trained, scale, identity)
    write_json(weights / DESCRIBED, described)
    write_json(weights / METRICS, metrics)
    (weights / CARD).write_text(card(order, described, metrics), encoding="utf-8")
    say(f"rewards of {readings.height} responses by vLLM")
    part = folder / f".{REWARDS}.part"
    rewards(weights, readings, trained, python, silence_s, _beat(folder, readings.height)).write_parquet(part)
    sync(part)
    part.replace(folder / REWARDS)
    weights.replace(folder / MODEL)


def _beat(folder: Path, n: int) -> Callable[[int], None]:
    """Signs of life in progress.json while vLLM works, for whoever watches the folder from another machine."""
    path = folder / WORK / "progress.json"
    known = (read_json(path, next=AGAIN) if path.is_file() else {}) | {"stage": "rewards by vLLM", "n_readings": n}
    last = [-1.0]

    def tell(n_done: int) -> None:
        if time.monotonic() - last[0] >= 1.0:
            last[0] = time.monotonic()
            write_json(path, known | {"n_rewards": n_done, "time": time.time()})

    return tell


def _described(
    order: TrainingOrder, lessons: Lessons, trained: Mapping[str, Any], scale: float, identity: Mapping[str, str]
) -> dict[str, Any]:
    """model.json: equal for equal orders, libraries and devices; it holds no path, host or time."""
    base = order.tuning.base
    return {
        "model": order.model, "base": base, "revision": order.tuning.revision or trained["commit"],
        "base_sha256": identity["base"] if identity["base"] != base else "", "order_sha256": identity["order"],
        "train_sha256": order.train_sha256, "tuning": order.tuning.model_dump(mode="json"), "seed": order.seed,
        "scale": scale, "groups": hashed_groups(lessons.of("train")), "parted_by": lessons.unit,
        **{key: trained[key] for key in ("versions", "dtype", "device", "template")},
    }


def _closed(folder: Path, order: TrainingOrder) -> TrainingOutcome:
    """outcome.json, last of all; then what only served the way there is removed."""
    described, metrics = (read_json(folder / MODEL / name, next=AGAIN) for name in (DESCRIBED, METRICS))
    trained = _trained(folder)
    n_rewards = pl.scan_parquet(folder / REWARDS).select(pl.len()).collect().item()
    metrics |= {"seconds": trained["seconds"], "tokens_per_second": trained["tokens_per_second"],
                "n_unread": metrics["n_readings"] - n_rewards}
    write_json(folder / OUTCOME, {
        "model": order.model, "scale": described["scale"], "metrics": metrics, "sha256": folder_sha256(folder / MODEL),
        "rewards_sha256": file_sha256(folder / REWARDS),
    })
    shutil.rmtree(folder / WORK, ignore_errors=True)  # whoever finds the outcome removes it too
    outcome = outcome_of(folder)
    if outcome is None:
        raise InputError(f"{folder / OUTCOME} went away", expected="what was just written", next="run again")
    return outcome


def _trained(folder: Path) -> dict[str, Any]:
    return read_json(folder / WORK / "trained.json", next=AGAIN)
