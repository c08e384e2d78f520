from __future__ import annotations

import json
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curate.adapters import trainer
from curate.adapters.trainer import EmbeddedTrainer, load_model
from curate.engines import Train
from schemas.errors import InputError, RecipeError, RefusedError

CONFIG = {"features": ["words"], "seed": 3}
TRAINER: Train = EmbeddedTrainer()


def comparisons() -> pl.DataFrame:
    n = pl.col("n").cast(pl.String)
    return pl.DataFrame({"n": range(24)}).select(
        pair_id=pl.format("p{}", n), group_id=pl.format("g{}", pl.col("n") // 4), prompt=pl.lit("why"),
        text_a=pl.format("clear {}", n), text_b=pl.format("vague {}", n),
        p_a=pl.lit(1.0), p_tie=pl.lit(0.0), weight=pl.lit(1.0),
    )  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    folder.mkdir()
    comparisons().write_parquet(folder / "train.parquet")
    return folder


@pytest.mark.slow
def test_a_model_read_back_scores_as_the_data_say(dataset: Path, tmp_path: Path) -> None:
    trained = TRAINER.train(dataset, CONFIG, tmp_path / "model")
    scores = load_model(trained.folder, trained.sha256).score(comparisons())
    assert (scores["score_a"] > scores["score_b"]).all()
    assert trained.metrics["accuracy"] == 1.0
    assert trained.metrics["n_pairs"] == 24.0


@pytest.mark.slow
def test_same_data_give_the_same_bytes_later_elsewhere_and_in_another_order(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = TRAINER.train(dataset, CONFIG, tmp_path / "model")
    comparisons().reverse().write_parquet(dataset / "train.parquet", compression="uncompressed")
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2e9))
    second = TRAINER.train(dataset, CONFIG, tmp_path / "elsewhere" / "deep")
    assert first.sha256 == second.sha256
    for name in trainer.FILES:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


@pytest.mark.service
def test_other_data_or_another_seed_give_another_model(dataset: Path, tmp_path: Path) -> None:
    first = TRAINER.train(dataset, CONFIG, tmp_path / "one")
    other_seed = TRAINER.train(dataset, CONFIG | {"seed": 4}, tmp_path / "two")
    comparisons().with_columns(weight=pl.lit(0.5)).write_parquet(dataset / "train.parquet")
    other_data = TRAINER.train(dataset, CONFIG, tmp_path / "three")
    assert len({first.sha256, other_seed.sha256, other_data.sha256}) == 3


@pytest.mark.slow
def test_a_finished_folder_is_returned_without_training(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = TRAINER.train(dataset, CONFIG, tmp_path / "model")
    monkeypatch.setattr(trainer, "fit_bundle", lambda *_: pytest.fail("trained again"))
    assert TRAINER.train(dataset, CONFIG, tmp_path / "model") == first


@pytest.mark.slow
def test_a_kill_while_writing_leaves_nothing_and_the_next_run_finishes(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        patch.setattr(os, "getpid", lambda: 1)
        with pytest.raises(KeyboardInterrupt):
            TRAINER.train(dataset, CONFIG, out)
    assert not out.exists()
    assert list(tmp_path.glob(".model*"))
    TRAINER.train(dataset, CONFIG, out)
    assert sorted(p.name for p in out.iterdir()) == sorted(trainer.FILES)
    assert not list(tmp_path.glob(".model*"))


@pytest.mark.slow
def test_a_folder_that_holds_another_model_is_not_overwritten(dataset: Path, tmp_path: Path) -> None:
    first = TRAINER.train(dataset, CONFIG, tmp_path / "model")
    with pytest.raises(InputError, match="another config or dataset"):
        TRAINER.train(dataset, CONFIG | {"seed": 4}, tmp_path / "model")
    assert load_model(first.folder, first.sha256)


@pytest.mark.slow
@pytest.mark.parametrize("name", trainer.FILES)
def test_a_changed_file_is_refused(dataset: Path, tmp_path: Path, name: str) -> None:
    trained = TRAINER.train(dataset, CONFIG, tmp_path / "model")
    with (trained.folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(InputError, match=trained.sha256):
        load_model(trained.folder, trained.sha256)
    (trained.folder / name).unlink()
    with pytest.raises(InputError, match=name):
        load_model(trained.folder, trained.sha256)


@pytest.mark.slow
def test_a_model_file_with_objects_is_never_unpickled(dataset: Path, tmp_path: Path) -> None:
    out = TRAINER.train(dataset, CONFIG, tmp_path / "model").folder
    np.savez(out / "model.npz", scale=np.array([print], dtype=object))
    with pytest.raises(InputError) as refused:
        load_model(out, "")
    with pytest.raises(InputError, match="pickle"):
        load_model(out, str(refused.value).split("sha256 ")[1].split(";")[0])


@pytest.mark.slow
def test_no_path_and_no_time_is_in_a_model(dataset: Path, tmp_path: Path) -> None:
    out = TRAINER.train(dataset, CONFIG, tmp_path / "model").folder
    assert all(str(tmp_path).encode() not in (out / name).read_bytes() for name in trainer.FILES)
    with zipfile.ZipFile(out / "model.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert json.loads((out / "config.json").read_text())["training"]["l2"] == 1.0


def test_a_dataset_or_config_that_cannot_be_read_says_what_was_seen(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"training\.kind = 'forest'"):
        TRAINER.train(dataset, {"kind": "forest"}, tmp_path / "model")
    with pytest.raises(RecipeError, match="seed = 'x'"):
        TRAINER.train(dataset, {"seed": "x"}, tmp_path / "model")
    with pytest.raises(InputError, match=r"train\.parquet"):
        TRAINER.train(tmp_path, CONFIG, tmp_path / "model")
    comparisons().drop("weight").write_parquet(dataset / "train.parquet")
    with pytest.raises(InputError, match=r"no columns \['weight'\]"):
        TRAINER.train(dataset, CONFIG, tmp_path / "model")
    (dataset / "train.parquet").write_bytes(b"not parquet")
    with pytest.raises(InputError, match=r"train\.parquet"):
        TRAINER.train(dataset, CONFIG, tmp_path / "model")


def test_too_few_pairs_leave_no_folder(dataset: Path, tmp_path: Path) -> None:
    comparisons().head(3).write_parquet(dataset / "train.parquet")
    with pytest.raises(RefusedError, match="3 pairs"):
        TRAINER.train(dataset, CONFIG, tmp_path / "model")
    assert not (tmp_path / "model").exists()
