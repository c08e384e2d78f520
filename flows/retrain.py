"""Retrain: train a candidate on the released version, measure it on gate gold, let the gate decide.

A round whose recipe trains a language model ends without a candidate: its version is due, and `flows/retraining.py`
has it trained, measures it and asks the gate when there is something to measure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import polars as pl

from curate.auditing.length import length_correlation
from curate.rewards.evaluation import evaluate as measure
from curate.rewards.evaluation import longer_wins, random_margins
from curate.rewards.gate import decide, within_limits
from flows.exporting import training_folder
from flows.reward_models import Incumbent, load_incumbent, load_named, score_pairs
from flows.rounds import Turn, no_candidate, now
from flows.trained import Trained, margins_of_pairs, untaught
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
        return _without_rows(turn, "retrain")
    if turn.recipe.training.engine == "trl":
        if _has_released(turn):
            turn.say(f"{turn.recipe.dataset}@{n} is due for training: tiebreak retrain, here or on a schedule")
        return _without_rows(turn, "retrain")
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
    if turn.recipe.training.engine == "trl":
        return _without_rows(turn, "evaluate")
    rows = evaluations(turn)
    with turn.store.write("evaluate") as writer:
        return turn.finish(writer, "evaluate", rows.height, {"evaluations": rows})


def evaluations(turn: Turn) -> pl.DataFrame:
    """Frame `evaluations` of the round's candidate, the incumbent, longer-wins and random."""
    gold, margins = _measured(turn)
    return EVALUATIONS.complete(pl.concat([_metrics(turn, gold, *named) for named in margins.items()]))


def gate(turn: Turn) -> int:
    """Promote, refuse or leave undecided. Closes the round: each is as good an end as the others."""
    if turn.recipe.training.engine == "trl" and _has_released(turn):
        return _without_rows(turn, "gate")
    promotion = promotions(turn)
    with turn.store.write("gate") as writer:
        return turn.finish(writer, "gate", 1, {"promotions": promotion})


def promotions(turn: Turn) -> pl.DataFrame:
    """Frame `promotions` of the round: its candidate against the incumbent, or that it has none."""
    with turn.store.write("gate") as writer:
        candidate = _candidate(turn, writer)
        looks = int(writer.query("gold_looks", dataset=turn.recipe.dataset).item())
        incumbent = load_incumbent(writer, turn)
    against = incumbent.name if incumbent else LONGER_WINS
    if candidate is None:
        reason = "no new candidate: nothing changed, or too few pairs to train on"
        return no_candidate(turn.round_id, reason, incumbent=against, looks=looks)
    return _decided(turn, candidate, against, looks)


def _has_released(turn: Turn) -> bool:
    """Whether this round released a version: a language model is trained on it later, and the gate decides then."""
    with turn.store.write("retrain") as writer:
        return turn.round_id in writer.query("versions_of", dataset=turn.recipe.dataset)["round_id"].to_list()


def _without_rows(turn: Turn, stage: str) -> int:
    with turn.store.write(stage) as writer:
        return turn.finish(writer, stage, 0, {})


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


def _measured(turn: Turn) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """Gate gold with texts, and per model its margins (pair_id, margin) on it. Scores while no lock is held."""
    with turn.store.write("evaluate") as writer:
        gold = writer.query("gate_gold", sources=turn.sources, criterion=turn.recipe.criterion)
        incumbent, name = load_incumbent(writer, turn), _candidate(turn, writer)
        candidate = load_named(writer, turn, name) if name else None
        models = [model for model in (candidate, incumbent) if model is not None]
        gold = _fair(turn, writer, gold, models)
        texts = writer.query("pair_texts", {"wanted": gold.select("pair_id")})
        pairs = writer.query("pair_responses", {"wanted": gold.select("pair_id")})
    comparisons = texts.join(gold.select("pair_id", "p_a", "p_tie"), on="pair_id").with_columns(weight=pl.lit(1.0))
    margins = {LONGER_WINS: longer_wins(comparisons), RANDOM: random_margins(comparisons, turn.recipe.seed)}
    for model in models:
        margins[model.name] = margins_of_pairs(turn, model, pairs) if isinstance(model, Trained) else _log_odds(
            model, texts)
    return comparisons.sort("pair_id"), margins


def _fair(turn: Turn, writer: Writer, gold: pl.DataFrame, models: Sequence[Incumbent | Trained]) -> pl.DataFrame:
    """The gold that no model was trained beside: gold may be named after a language model was trained on its group."""
    fair = gold
    for model in models:
        fair = untaught(writer, model, fair) if isinstance(model, Trained) else fair
    if fair.height < gold.height:
        turn.say(f"{gold.height - fair.height:,} gold pairs are of groups that a model was trained on: left out")
    return fair


def _log_odds(model: Incumbent, texts: pl.DataFrame) -> pl.DataFrame:
    gap = pl.col("score_a") - pl.col("score_b")
    return score_pairs(model.model, texts).select("pair_id", margin=gap / model.model.scale)


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

