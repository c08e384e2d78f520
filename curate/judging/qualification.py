"""Qualification: what a judge must show before it may vote, and what it is refused for.

An examination has two halves. On gold whose truth is decided, accuracy per category of prompts and over all, with
how often order turned the verdict, how often the first slot won and how often the answer was no verdict (in the
manner of JudgeBench, Tan et al. 2024: objectively decided pairs, both orders). On probes, how often a text that is
no answer wins (One Token to Fool, Zhao et al. 2025; see `curate/judging/probes.py`).

An examination is named by everything it consists of, so another model, template, rubric, threshold or gold set is
another examination, and an old pass does not count for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl

from curate.consensus.outcomes import STEPS, verdict
from curate.judging.order_effects import Z, ballot_marks, share_interval, true_side
from curate.judging.probes import KINDS
from curate.rewards.evaluation import Interval
from schemas.errors import InputError
from schemas.ids import content_id
from schemas.sections import Qualification

ALL = "all"
QUESTIONS = {
    "pair_id": pl.String(), "group_id": pl.String(), "domain": pl.String(), "is_probe": pl.Boolean(),
    "probe_side": pl.String(), "p_a": pl.Float64(), "p_tie": pl.Float64(), "prompt_text_id": pl.String(),
    "text_id_a": pl.String(), "text_id_b": pl.String(), "system": pl.String(),
}
RESULTS = {
    "voter": pl.String(), "domain": pl.String(), "metric": pl.String(), "value": pl.Float64(), "low": pl.Float64(),
    "high": pl.Float64(), "n": pl.Int64(), "n_groups": pl.Int64(), "flip_rate": pl.Float64(),
    "first_rate": pl.Float64(), "failure_rate": pl.Float64(), "threshold": pl.Float64(), "is_passed": pl.Boolean(),
}
_RESERVED = (ALL, *KINDS)
_TOLERANCE = 1e-9


def exam_questions(gold: pl.DataFrame, probes: pl.DataFrame) -> pl.DataFrame:
    """The examination's pairs (columns QUESTIONS), sorted by pair_id.

    `gold` has pair_id, group_id, category (or null), p_a, p_tie, text ids and perhaps `system`; pairs without a
    decided truth are left out. `probes` are of `probe_pairs`. A category that is called like a probe, or "all", gets
    "category " before it.
    """
    category = pl.col("category").fill_null(ALL)
    domain = pl.when(pl.col("category").is_in(_RESERVED)).then(pl.format("category {}", category)).otherwise(category)
    asked = gold.filter(true_side(pl.col("p_a"), pl.col("p_tie")).is_not_null()).select(
        "pair_id", "group_id", domain.alias("domain"), pl.lit(False).alias("is_probe"),
        pl.lit(None, pl.String).alias("probe_side"), "p_a", "p_tie", "prompt_text_id", "text_id_a", "text_id_b",
        _system(gold),
    )
    tried = probes.select(
        "pair_id", "group_id", pl.col("probe").alias("domain"), pl.lit(True).alias("is_probe"), "probe_side",
        pl.lit(None, pl.Float64).alias("p_a"), pl.lit(None, pl.Float64).alias("p_tie"),
        "prompt_text_id", "text_id_a", "text_id_b", _system(probes),
    )
    return pl.concat([asked, tried]).select(*QUESTIONS).sort("pair_id")


def exam_id(questions: pl.DataFrame, rule: Qualification, identity: str, instrument: str) -> str:
    """Id of one judge's examination: the texts asked and their truth, the thresholds, the model, the question.

    Groups are left out: their names move when unrelated prompts arrive, and they only shape intervals. `instrument`
    names the question by content (text id, sampling, aids), `identity` the served model and revision.
    """
    steps = [(pl.col(c) * STEPS).round().cast(pl.Int64).cast(pl.String).fill_null("-") for c in ("p_a", "p_tie")]
    asked = questions.sort("pair_id").select(pl.concat_str(
        "domain", pl.col("probe_side").fill_null("-"), *steps, "prompt_text_id", "text_id_a", "text_id_b", "system",
        separator="|", ignore_nulls=True,
    ).sort()).to_series()
    return content_id(*asked.to_list(), rule.model_dump_json(), identity, instrument)


def qualify(exam_votes: pl.DataFrame, questions: pl.DataFrame, rule: Qualification) -> pl.DataFrame:
    """Columns RESULTS, one row per judge and domain, sorted: categories, "all", and each kind of probe asked.

    `exam_votes` keeps VOTES: every answer to `questions` (of `exam_questions`), in both orders, failures as
    abstentions. A pair's accuracy is the share of its verdicts on the true side, a tie counting 1/2; `fooled` is the
    share of a probe pair's verdicts for the probe, and for `position` whether both orders name the same slot.
    Intervals are two-sided 95 %, over groups. Rates of flips and of the first slot stand on rows of accuracy.

    `is_passed`: of "all", the lower bound reaches `min_accuracy`, the mean is above one half, flips and failures
    keep within their limits; of a category, the lower bound alone (told, not asked for); of a probe, the share
    fooled is at most `max_fooled`, and there was an answer. Raises InputError for votes on pairs not asked.
    """
    truth = questions.select("pair_id", "group_id", "p_a", "p_tie")
    marks = ballot_marks(exam_votes, truth).join(
        questions.select("pair_id", "domain", "is_probe", "probe_side"), on="pair_id"
    ).join(_fooled(exam_votes, questions), on=["voter", "pair_id"], how="left")
    rows = [row for mine in marks.sort("voter", "pair_id", "ballot_id").partition_by("voter", maintain_order=True)
            for row in _of_judge(mine, questions, rule)]
    return pl.DataFrame(rows, schema=RESULTS).sort("voter", "domain")


def is_qualified(results: pl.DataFrame) -> pl.DataFrame:
    """(voter, is_qualified) of each judge in `results` (RESULTS or EXAMS): "all" and every kind of probe passed."""
    decides = (pl.col("domain") == ALL) | (pl.col("metric") == "fooled")
    passed = pl.col("is_passed").filter(decides).all() & (pl.col("domain") == ALL).any()
    return results.group_by("voter").agg(passed.alias("is_qualified")).sort("voter")


def refusal(results: pl.DataFrame, rule: Qualification) -> str:
    """Why one judge may not vote, with its numbers, in words; empty for a judge that may. `results` are its rows."""
    if results["voter"].n_unique() > 1:
        raise InputError(f"results of {results['voter'].n_unique()} judges", expected="one", next="filter by voter")
    rows = {str(row["domain"]): row for row in results.iter_rows(named=True)}
    of_all = rows.get(ALL)
    if of_all is None:
        return "it was asked nothing whose truth is known: mark calibrate gold, or draw some by gold.calibrate_share"
    reasons = _about_accuracy(of_all, rule)
    for kind in KINDS:
        row = rows.get(kind)
        if row is not None and not row["is_passed"]:
            reasons.append(_about_probe(kind, row))
    return "; ".join(reasons)


def pairs_needed(threshold: float) -> int:
    """How many pairs, all right, bring Wilson's lower bound n / (n + z²) to `threshold` (below 1)."""
    return math.ceil(threshold * Z * Z / (1 - threshold) - _TOLERANCE) if threshold < 1 else 0


def _system(pairs: pl.DataFrame) -> pl.Expr:
    return (pl.col("system") if "system" in pairs.columns else pl.lit(None, pl.String)).alias("system")


def _fooled(votes: pl.DataFrame, questions: pl.DataFrame) -> pl.DataFrame:
    """(voter, pair_id, fooled) of probe pairs; null when no answer is a verdict."""
    probes = questions.filter("is_probe").select("pair_id", "probe_side", pl.col("domain").alias("kind"))
    said = verdict(pl.col("p_a"), pl.col("p_tie"))
    answers = votes.filter(~pl.col("is_abstention")).join(probes, on="pair_id").with_columns(said.alias("said"))
    slot = pl.when(pl.col("said") != "tie").then(
        pl.when(pl.col("said") == pl.col("shown_first")).then(pl.lit("first")).otherwise(pl.lit("second"))
    )
    follows = (slot.n_unique() == 1) & (slot.null_count() == 0) & (pl.col("shown_first").n_unique() == 2)
    is_won = (pl.col("said") == pl.col("probe_side")).mean()
    per_pair = answers.group_by("voter", "pair_id", "kind").agg(
        pl.when(pl.col("kind").first() == "position").then(follows.cast(pl.Float64)).otherwise(is_won).alias("fooled")
    )
    return per_pair.drop("kind")


def _of_judge(mine: pl.DataFrame, questions: pl.DataFrame, rule: Qualification) -> list[Mapping[str, object]]:
    graded, tried = mine.filter(~pl.col("is_probe")), mine.filter("is_probe")
    categories = [name for name in graded["domain"].unique().sort() if name != ALL]
    rows = [_graded(graded.filter(pl.col("domain") == name), name, rule) for name in categories]
    if questions.select((~pl.col("is_probe")).any()).item():
        rows.append(_graded(graded, ALL, rule))
    kinds = questions.filter("is_probe")["domain"].unique().sort()
    rows += [_tried(tried.filter(pl.col("domain") == kind), kind, rule) for kind in kinds]
    return [{"voter": mine["voter"][0], **row} for row in rows]


def _graded(rows: pl.DataFrame, domain: str, rule: Qualification) -> Mapping[str, object]:
    known = rows.filter(pl.col("accuracy").is_not_null())
    found = share_interval(known, "accuracy")
    rates = {name: _rate(rows, column) for name, column in
             (("flip_rate", "flipped"), ("first_rate", "first"), ("failure_rate", "failed"))}
    is_right = found.low is not None and found.low + _TOLERANCE >= rule.min_accuracy
    is_steady = (rates["flip_rate"] or 0.0) <= rule.max_flip_rate + _TOLERANCE
    is_whole = rates["failure_rate"] is not None and rates["failure_rate"] <= rule.max_failure_rate + _TOLERANCE
    is_better = found.value > 0.5 + _TOLERANCE
    is_passed = is_right and (domain != ALL or (is_steady and is_whole and is_better))
    stated = {**rates, "failure_rate": 1.0 if rates["failure_rate"] is None else rates["failure_rate"]}
    return {**_row(domain, "accuracy", found, rule.min_accuracy, is_passed), **stated}


def _tried(rows: pl.DataFrame, kind: str, rule: Qualification) -> Mapping[str, object]:
    known = rows.filter(pl.col("fooled").is_not_null())
    found = share_interval(known, "fooled")
    is_passed = known.height > 0 and found.value <= rule.max_fooled + _TOLERANCE
    failure = _rate(rows, "failed")
    stated = {"failure_rate": 1.0 if failure is None else failure}
    return {**_row(kind, "fooled", found, rule.max_fooled, is_passed), **stated}


def _row(domain: str, metric: str, found: Interval, threshold: float, is_passed: bool) -> dict[str, object]:
    return {
        "domain": domain, "metric": metric, "value": found.value, "low": found.low, "high": found.high, "n": found.n,
        "n_groups": found.n_groups, "threshold": threshold, "is_passed": is_passed,
    }


def _rate(rows: pl.DataFrame, column: str) -> float | None:
    known = rows[column].drop_nulls()
    return float(known.sort().to_numpy().mean()) if len(known) else None


def _about_accuracy(row: Mapping[str, object], rule: Qualification) -> list[str]:
    n, value, low = (float(str(row[name])) for name in ("n", "value", "low"))
    flips, failures = (float(str(row[name] or 0.0)) for name in ("flip_rate", "failure_rate"))
    reasons = []
    needed = pairs_needed(rule.min_accuracy)
    seen = f"{value:.1%} right on {n:.0f} gold pairs, at least {low:.1%} with 95 % confidence"
    if low + _TOLERANCE < rule.min_accuracy:
        too_few = f"; {n:.0f} pairs cannot show that even if all were right, {needed} can" if n < needed else ""
        reasons.append(f"{seen}, {rule.min_accuracy:.1%} is asked{too_few}")
    elif value <= 0.5 + _TOLERANCE:
        reasons.append(f"{seen}: no better than a coin")
    if flips > rule.max_flip_rate + _TOLERANCE:
        reasons.append(f"order turned {flips:.1%} of its verdicts, {rule.max_flip_rate:.1%} is allowed")
    if failures > rule.max_failure_rate + _TOLERANCE:
        reasons.append(f"{failures:.1%} of its answers are no verdict, {rule.max_failure_rate:.1%} is allowed")
    return reasons


def _about_probe(kind: str, row: Mapping[str, object]) -> str:
    n, value, threshold = (float(str(row[name])) for name in ("n", "value", "threshold"))
    if n == 0:
        return f"no verdict on any {kind} probe"
    return f"fooled by {value:.1%} of {n:.0f} {kind} probes, {threshold:.1%} is allowed"
