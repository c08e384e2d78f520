"""Retrain: train a candidate on the released version, measure it on gate gold, let the gate decide."""

from __future__ import annotations

import json

import polars as pl

from curate.adapters.trainer import load_model
from curate.auditing.length import length_correlation
from curate.rewards.bundle import RewardModel
from curate.rewards.evaluation import evaluate as measure
from curate.rewards.evaluation import longer_wins, random_margins
from curate.rewards.gate import decide, within_limits
from flows.exporting import training_folder
from flows.reward_models import load_incumbent, score_pairs
from flows.rounds import Turn, no_candidate, now
from schemas.ids import content_id
from schemas.recipe import NOT_OF_THE_HEAD
from schemas.tables import EVALUATIONS, MODELS, PROMOTIONS
from warehouse.store import Writer

LONGER_WINS = "longer-wins"
RANDOM = "random"


def retrain(turn: Turn) -> int:
    """A candidate trained on the newest version; none when the version is too small to learn from."""
    with turn.store.write("retrain") as writer:
        newest = writer.query("versions_of", dataset=turn.recipe.dataset).tail(1)
    n = int(newest["n"][0]) if newest.height else 0
    folder = training_folder(turn.store.workspace, turn.recipe.dataset, n)
    n_pairs = pl.scan_parquet(folder / "train.parquet").filter(pl.col("weight") > 0).select(pl.len()).collect().item()
    if n_pairs < turn.recipe.training.min_pairs:
        turn.say(f"{n_pairs} pairs are fewer than training.min_pairs = {turn.recipe.training.min_pairs}: no candidate")
        with turn.store.write("retrain") as writer:
            return turn.finish(writer, "retrain", 0, {})
    name = candidate_name(turn, n, newest["fingerprint"][0])
    config = {**turn.recipe.training.head(), "seed": turn.recipe.seed}
    trained = turn.engines.train.train(folder, config, turn.store.workspace.models / name)
    row = MODELS.complete(pl.DataFrame([{
        "model": name, "kind": turn.recipe.training.kind,
        "family": "features/" + "+".join(turn.recipe.training.features),
        "base": None, "dataset": turn.recipe.dataset, "trained_on": n, "round_id": turn.round_id,
        "uri": f"models/{name}", "sha256": trained.sha256, "config": json.dumps(config, sort_keys=True),
        "n_pairs": n_pairs, "trained_at": now(),
    }], schema_overrides={"base": pl.String}))
    with turn.store.write("retrain") as writer:
        return turn.finish(writer, "retrain", 1, {"models": row})


def candidate_name(turn: Turn, n: int, fingerprint: str) -> str:
    """Name of the model that this recipe trains on a version: equal content, equal name."""
    training = turn.recipe.training.model_dump_json(exclude=NOT_OF_THE_HEAD)
    return f"{turn.recipe.dataset}-{n}-{content_id(fingerprint, training, turn.recipe.seed)[:8]}"


def evaluate(turn: Turn) -> int:
    """Candidate, incumbent, longer-wins and random on gate gold, with intervals over groups."""
    gold, margins = _measured(turn)
    evaluations = EVALUATIONS.complete(pl.concat([_metrics(turn, gold, *named) for named in margins.items()]))
    with turn.store.write("evaluate") as writer:
        return turn.finish(writer, "evaluate", evaluations.height, {"evaluations": evaluations})


def gate(turn: Turn) -> int:
    """Promote, refuse or leave undecided. Closes the round: each is as good an end as the others."""
    with turn.store.write("gate") as writer:
        candidate = _candidate(turn, writer)
        looks = int(writer.query("gold_looks", dataset=turn.recipe.dataset).item())
        incumbent = load_incumbent(writer, turn)
    against = incumbent.name if incumbent else LONGER_WINS
    if candidate is None:
        reason = "no new candidate: nothing changed, or too few pairs to train on"
        promotion = no_candidate(turn.round_id, reason, incumbent=against, looks=looks)
    else:
        promotion = _decided(turn, candidate, against, looks)
    with turn.store.write("gate") as writer:
        return turn.finish(writer, "gate", 1, {"promotions": promotion})


def _decided(turn: Turn, candidate: str, against: str, looks: int) -> pl.DataFrame:
    """Frame `promotions` of a candidate measured against the incumbent."""
    gold, margins = _measured(turn)
    before, after = (_length_correlation(gold, margins[name]) for name in (against, candidate))
    found = decide(
        margins[candidate], margins[against], gold, turn.recipe.gate, seed=turn.seed("gate"),
        is_audit_improved=after < before,
    )
    verdict = within_limits(found, after, turn.recipe.gate)
    row = {
        "round_id": turn.round_id, "candidate": candidate, "incumbent": against,
        "verdict": verdict.verdict, "reason": verdict.reason, "d": verdict.d, "low": verdict.low,
        "high": verdict.high, "n_pairs": verdict.n_pairs, "n_groups": verdict.n_groups, "n_looks": looks + 1,
        "n_pairs_needed": verdict.n_pairs_needed, "decided_at": now(),
    }
    return _promotion(row)


def _metrics(turn: Turn, gold: pl.DataFrame, model: str, margins: pl.DataFrame) -> pl.DataFrame:
    scored = gold.join(margins, on="pair_id")
    metrics = measure(scored, n_bootstrap=turn.recipe.gate.n_bootstrap, seed=turn.seed("bootstrap"))
    if model in (LONGER_WINS, RANDOM):  # their margins are no probabilities
        metrics = metrics.filter(pl.col("metric") == "accuracy")
    return metrics.with_columns(
        model=pl.lit(model), set=pl.lit("gate"), set_revision=pl.lit(_revision(gold))
    ).with_columns(pl.col("low", "high").cast(pl.Float64))


def _candidate(turn: Turn, writer: Writer) -> str | None:
    rows = writer.query("candidate_of_round", round_id=turn.round_id)
    return str(rows["model"][0]) if rows.height else None


def _load_candidate(turn: Turn, writer: Writer) -> list[tuple[str, RewardModel]]:
    """The round's candidate under its name; none when it trained none."""
    name = _candidate(turn, writer)
    if name is None:
        return []
    row = writer.query("model_of", model=name).row(0, named=True)
    return [(name, load_model(turn.store.workspace.root / row["uri"], row["sha256"]))]


def _measured(turn: Turn) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """Gate gold with texts, and per model its margins (pair_id, margin) on it. Scores while no lock is held."""
    with turn.store.write("evaluate") as writer:
        gold = writer.query("gate_gold", sources=turn.sources, criterion=turn.recipe.criterion)
        texts = writer.query("pair_texts", {"wanted": gold.select("pair_id")})
        incumbent, candidate = load_incumbent(writer, turn), _load_candidate(turn, writer)
    comparisons = texts.join(gold.select("pair_id", "p_a", "p_tie"), on="pair_id").with_columns(weight=pl.lit(1.0))
    margins = {LONGER_WINS: longer_wins(comparisons), RANDOM: random_margins(comparisons, turn.recipe.seed)}
    for name, model in (*candidate, *([(incumbent.name, incumbent.model)] if incumbent else [])):
        margins[name] = _log_odds(model, texts)
    return comparisons.sort("pair_id"), margins


def _log_odds(model: RewardModel, texts: pl.DataFrame) -> pl.DataFrame:
    gap = pl.col("score_a") - pl.col("score_b")
    return score_pairs(model, texts).select("pair_id", margin=gap / model.scale)


def _length_correlation(gold: pl.DataFrame, margins: pl.DataFrame) -> float:
    """How far margins follow length on gold, 0..1; 0 where nothing varies."""
    found = length_correlation(gold.join(margins, on="pair_id"))["value"]
    return abs(float(found[0])) if found.len() and found[0] is not None else 0.0


def _revision(gold: pl.DataFrame) -> str:
    """Id of the gold set's content: a metric is comparable within one revision only."""
    return content_id(*gold.select(pl.format("{}|{}|{}", "pair_id", "p_a", "p_tie")).to_series().to_list())


def _promotion(row: dict[str, object]) -> pl.DataFrame:
    schema = {"low": pl.Float64, "high": pl.Float64, "n_pairs_needed": pl.Int64}
    return PROMOTIONS.complete(pl.DataFrame([row], schema_overrides=schema))

