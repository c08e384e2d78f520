"""The embedded trainer: Bradley-Terry heads on hashed features, on the CPU, in this process.

A model is a folder of three files, equal to the last bit for equal dataset, config and library versions:
`model.npz` (arrays, no pickle), `config.json` (what it was trained with and on), `metrics.json` (out of fold).
"""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import ValidationError

from curate.engines import TrainedModel
from curate.rewards.bundle import RewardModel, fit_bundle
from curate.rewards.evaluation import accuracy, brier, calibration_error, decided, log_loss, longer_wins
from curate.rewards.features import FEATURE_SET
from schemas.errors import InputError, RecipeError
from schemas.ids import content_id_expr
from schemas.recipe import Training
from schemas.tables import COMPARISONS

TRAIN_FILE = "train.parquet"
FILES = ("config.json", "metrics.json", "model.npz")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time a zip can hold; np.savez writes the hour it ran


class EmbeddedTrainer:
    """Engine `train` that needs no GPU and no other program."""

    def train(self, dataset: Path, config: Mapping[str, object], out: Path) -> TrainedModel:
        """Train on `dataset`/train.parquet (frame `comparisons`) and write the model folder `out`.

        `config` has the fields of `schemas.recipe.Training` and `seed` (default 0). The folder appears whole,
        by one rename: a killed training leaves nothing in `out`, and is simply run again. A finished folder is
        returned without training. Raises InputError for a dataset that cannot be read, or an `out` that holds
        something else; RecipeError for a config that cannot be read; RefusedError for too few pairs.
        """
        comparisons = _read_comparisons(dataset / TRAIN_FILE)
        training, seed = _parse(config)
        described = _describe(comparisons, training, seed)
        if not out.exists() or not any(out.iterdir()):
            _install(_files(comparisons, training, seed) | {"config.json": described}, out)
        return _finished(out, described)


def load_model(folder: Path, sha256: str) -> RewardModel:
    """The model in `folder`, if its files are those that `sha256` was taken of.

    Raises InputError when files are missing, changed, or not a model of this version of Tiebreak.
    """
    contents = _read_files(folder)
    seen = _digest(contents)
    if seen != sha256:
        raise InputError(
            f"{folder}: sha256 {seen}", expected=sha256, next="restore the folder from a backup, or train again"
        )
    return RewardModel.from_arrays(_unpack(contents["model.npz"], folder))


def _parse(config: Mapping[str, object]) -> tuple[Training, int]:
    fields = dict(config)
    seed = fields.pop("seed", 0)
    if not isinstance(seed, int):
        raise RecipeError(f"seed = {seed!r}", expected="a whole number", next="edit the config")
    try:
        return Training.model_validate(fields), seed
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecipeError(f"training.{where} = {first['input']!r}", expected=first["msg"], next="edit it") from error


def _describe(comparisons: pl.DataFrame, training: Training, seed: int) -> bytes:
    """config.json: all that decides the model, and nothing that does not."""
    numbers = [(pl.col(c) * 1e9).round().cast(pl.Int64) for c in ("p_a", "p_tie", "weight")]
    texts = ["pair_id", "group_id", "prompt", "text_a", "text_b"]
    rows = "".join(comparisons.select(content_id_expr([*texts, *numbers])).to_series())
    dataset = hashlib.sha256(rows.encode()).hexdigest()
    return _json(
        {"training": training.head(), "seed": seed, "dataset": dataset, "features": FEATURE_SET}
    )


def _files(comparisons: pl.DataFrame, training: Training, seed: int) -> dict[str, bytes]:
    """What a training adds to its config: arrays and metrics."""
    model = fit_bundle(comparisons, training, seed)
    return {"metrics.json": _json(_metrics(model, comparisons)), "model.npz": _pack(model.to_arrays())}


def _read_comparisons(file: Path) -> pl.DataFrame:
    """Sorted by pair_id: neither the order of rows nor how the file was written decides anything."""
    try:
        frame = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{file}: {error}", expected=f"a folder with {TRAIN_FILE}", next="export a version") from error
    missing = [c for c in COMPARISONS.schema if c not in frame.columns]
    if missing:
        raise InputError(
            f"{file} has no columns {missing}", expected=f"{list(COMPARISONS.schema)}", next="export again"
        )
    return COMPARISONS.complete(frame.select(list(COMPARISONS.schema))).sort("pair_id")


def _metrics(model: RewardModel, comparisons: pl.DataFrame) -> dict[str, float]:
    """Out-of-fold metrics on the training pairs that have a held-out head and a decided truth."""
    rows = comparisons.filter(model.can_score(comparisons))
    scores = model.score(rows).select("pair_id", score=pl.col("score_a") - pl.col("score_b"))
    scored = rows.join(scores, on="pair_id").with_columns(margin=pl.col("score") / model.scale)
    n_decided = decided(scored).height
    counts = {
        "n_training_pairs": comparisons.height,
        "n_training_groups": comparisons["group_id"].n_unique(),
        "n_pairs": n_decided,
    }
    found = {name: float(n) for name, n in counts.items()} | {"scale": model.scale}
    if n_decided:
        found |= {"accuracy": accuracy(scored), "log_loss": log_loss(scored), "brier": brier(scored)}
        found["calibration_error"] = calibration_error(scored)
        found["longer_wins_accuracy"] = accuracy(rows.join(longer_wins(rows), on="pair_id"))
    return found


def _pack(arrays: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """An .npz with a fixed time in it and names in order, so that equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), member.getvalue())
    return buffer.getvalue()


def _unpack(content: bytes, folder: Path) -> dict[str, npt.NDArray[np.generic]]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{folder}/model.npz: {error}", expected="arrays", next="train again") from error


def _install(contents: Mapping[str, bytes], out: Path) -> None:
    """Write all files beside `out`, then rename the folder: it is there whole or not at all."""
    prefix = f".{out.name}.unfinished-"
    unfinished = out.with_name(f"{prefix}{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, content in contents.items():
        with (unfinished / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    os.replace(unfinished, out)
    for left_by_a_kill in out.parent.glob(f"{glob.escape(prefix)}*"):
        shutil.rmtree(left_by_a_kill, ignore_errors=True)


def _finished(out: Path, described: bytes) -> TrainedModel:
    contents = _read_files(out)
    if contents["config.json"] != described:
        raise InputError(
            f"{out} holds a model of another config or dataset",
            expected="no folder, or an empty one",
            next="name another",
        )
    return TrainedModel(out, _digest(contents), json.loads(contents["metrics.json"]))


def _read_files(folder: Path) -> dict[str, bytes]:
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} has no {missing}", expected=f"a model folder with {list(FILES)}", next="train again"
        )
    return {name: (folder / name).read_bytes() for name in FILES}


def _digest(contents: Mapping[str, bytes]) -> str:
    """SHA-256 over names and contents, each with its own digest, so that no byte can move between files."""
    lines = [f"{name} {hashlib.sha256(contents[name]).hexdigest()}\n" for name in sorted(contents)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _json(content: Mapping[str, object]) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()
