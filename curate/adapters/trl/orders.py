"""A training as a folder: what to train on, put down once, and what came of it, put down last.

    order.json        model, tuning, seed, sha256 of the two files below
    train.parquet     frame LESSONS
    measure.parquet   frame READINGS
    trainer.lock      held by whoever carries it out; training.log: what the libraries wrote meanwhile
    work/             what a kill leaves and the next attempt goes on from; gone when all is done
    model/            weights, tokenizer, model.json, metrics.json, README.md: there whole or not at all
    rewards.parquet   (response_id, reward) of measure.parquet
    outcome.json      last of all: scale, metrics, sha256 of model/ and rewards.parquet

The folder may be moved, copied and shared between machines: what stays of it, but for the log, holds no path or host.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from curate.engines import TrainingOrder, TrainingOutcome
from schemas.contract import Table
from schemas.errors import ContractError, InputError, RefusedError
from schemas.recipe import Tuning
from schemas.tables import LESSONS, READINGS

FORMAT = 1
ORDER, TRAIN, MEASURE = "order.json", "train.parquet", "measure.parquet"
MODEL, REWARDS, OUTCOME, WORK = "model", "rewards.parquet", "outcome.json", "work"
LOCK, LOG = "trainer.lock", "training.log"
DESCRIBED, METRICS, CARD = "model.json", "metrics.json", "README.md"
_CHUNK = 1 << 22


def write_order(
    folder: Path, model: str, tuning: Tuning, seed: int, lessons: pl.DataFrame, readings: pl.DataFrame
) -> TrainingOrder:
    """Put an order down: frames LESSONS and READINGS, in any order of rows, in a folder that appears whole.

    The same content again changes nothing, whatever came of it meanwhile. Raises RefusedError when the folder
    holds another order or something else, InputError when what it holds was changed or cannot be read.
    """
    frames = {TRAIN: _ordered(LESSONS, lessons), MEASURE: _ordered(READINGS, readings)}
    if (folder / ORDER).is_file():
        return _same_order(folder, TrainingOrder(model, tuning, seed, "", ""), frames)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} holds something else", expected="no folder, or an empty one", next="name another")
    unfinished = folder.with_name(f".{folder.name}.unfinished-{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, frame in frames.items():
        frame.write_parquet(unfinished / name)
        sync(unfinished / name)
    hashes = [file_sha256(unfinished / name) for name in frames]
    order = TrainingOrder(model, tuning, seed, hashes[0], hashes[1])
    write_json(unfinished / ORDER, {**asdict(order), "tuning": tuning.model_dump(mode="json"), "format": FORMAT})
    unfinished.replace(folder)
    for left_by_a_kill in folder.parent.glob(f".{glob.escape(folder.name)}.unfinished-*"):
        shutil.rmtree(left_by_a_kill, ignore_errors=True)
    return order


def read_order(folder: Path) -> TrainingOrder:
    """The order in a folder, its files checked against their sha256.

    Raises InputError when there is none, it is of a newer format, or a file is missing or changed.
    """
    said = read_json(folder / ORDER, next="write the order again")
    try:
        found, tuning = int(said.pop("format")), Tuning.model_validate(said.pop("tuning"))
        order = TrainingOrder(tuning=tuning, **said)
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise InputError(f"{folder / ORDER}: {error}", expected="an order", next="write the order again") from error
    if found > FORMAT:
        raise InputError(f"order of format {found}", expected=f"at most {FORMAT}", next="upgrade tiebreak")
    _check(folder / TRAIN, order.train_sha256)
    _check(folder / MEASURE, order.measure_sha256)
    return order


def read_frame(folder: Path, name: str) -> pl.DataFrame:
    """Frame of TRAIN or MEASURE. Raises InputError when it is not what its name promises."""
    table = {TRAIN: LESSONS, MEASURE: READINGS}[name]
    try:
        return table.complete(pl.read_parquet(folder / name))
    except (pl.exceptions.PolarsError, OSError, ContractError) as error:
        raise InputError(f"{folder / name}: {error}", expected=f"frame {table.name}", next="write it again") from error


def outcome_of(folder: Path) -> TrainingOutcome | None:
    """What the order in a folder came to, its files checked against their sha256; None while it is not done.

    Raises InputError when a file of the outcome is missing or was changed.
    """
    if not (folder / OUTCOME).is_file():
        return None
    again = "restore the folder, or remove outcome.json and model/ and have the order carried out again"
    said, described = read_json(folder / OUTCOME, next=again), read_json(folder / MODEL / DESCRIBED, next=again)
    seen = folder_sha256(folder / MODEL)
    if seen != said["sha256"]:
        raise InputError(f"{folder / MODEL}: sha256 {seen}", expected=said["sha256"], next=again)
    _check(folder / REWARDS, said["rewards_sha256"])
    return TrainingOutcome(
        folder / MODEL, seen, said["scale"], said["metrics"], frozenset(described["groups"]),
        pl.read_parquet(folder / REWARDS),
    )


def folder_sha256(folder: Path) -> str:
    """SHA-256 over names and contents, each with its own digest, so that no byte can move between files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(folder).as_posix()} {file_sha256(path)}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces: weights do not fit in memory twice."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """JSON that a reader sees whole or not at all; equal content gives equal bytes."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(content, sort_keys=True, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    sync(temporary)
    temporary.replace(path)


def read_json(path: Path, *, next: str) -> dict[str, Any]:
    """An object in JSON. Raises InputError when it is missing or is none."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}", expected="an object in JSON", next=next) from error
    if not isinstance(said, dict):
        raise InputError(f"{path} holds {type(said).__name__}", expected="an object in JSON", next=next)
    return said


def sync(path: Path) -> None:
    """Put a file on the disk before a rename makes it the one that counts."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _ordered(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    return table.complete(frame).sort(table.key)


def _same_order(folder: Path, asked: TrainingOrder, frames: Mapping[str, pl.DataFrame]) -> TrainingOrder:
    """The order that is there. By content: another release of the Parquet writer writes other bytes."""
    there = read_order(folder)
    is_same = (there.model, there.tuning, there.seed) == (asked.model, asked.tuning, asked.seed)
    if is_same and all(read_frame(folder, name).equals(frame) for name, frame in frames.items()):
        return there
    raise RefusedError(
        f"{folder} holds another order, of {there.model}", expected="the same model, tuning, seed and rows",
        next="name another folder: what was ordered is never changed",
    )


def _check(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise InputError(f"no {path}", expected=f"a file of sha256 {sha256}", next="restore the folder")
    seen = file_sha256(path)
    if seen != sha256:
        raise InputError(f"{path}: sha256 {seen}", expected=sha256, next="restore the folder: it was changed")
