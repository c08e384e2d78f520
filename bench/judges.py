"""What judges are worth on real data: order effects, and a panel beside its best single judge.

Order effects: every recorded judge and prompting style of llmbar, and GPT-4 on the pairs of qlora_gpt4, both orders.
Panel: per prompting style of llmbar, all judges recorded in that style, both orders folded within a judge (verdicts
that follow the slot abstain), calibrated, then averaged. Judges are calibrated, qualified and chosen on *natural*
and *faireval* (only two styles have verdicts on faireval; the others have natural alone) and compared on
*adversarial*, which was built against these very judges. Nothing is tuned on adversarial: margin, calibration
method, qualification and the panel's rule are the product's defaults, written down before the first run.

At equal coverage means: the panel answers only its surest pairs, as many as the single judge has a side on
(pairs of equal confidence in equal parts). Bounds are 95 %, from resampled prompts; the same resampled prompts for
every style.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from bench._measuring import beside, markdown, real_data
from curate.adapters.files import read_source
from curate.consensus.folding import fold_orders
from curate.importing.convert import convert
from curate.judging.calibration import (
    apply_calibration,
    calibration_quality,
    cross_fitted,
    fit_calibration,
    votes_on_gold,
)
from curate.judging.order_effects import METRICS, order_effects
from curate.judging.panel import accuracy_at, coverage_of, judged, majority_of_judges, panel_of_judges
from curate.judging.qualification import exam_questions, is_qualified, qualify
from curate.rewards.evaluation import shuffled_labels
from curate.rewards.features import FloatArray
from schemas.errors import TiebreakError
from schemas.ids import fold_of_expr
from schemas.sections import Qualification

MARGIN, METHOD, N_BOOTSTRAP, N_FOLDS, SEED = 0.1, "temperature", 2000, 5, 0
SINGLES = ("best on calibration data", "best in hindsight")


Bounds = tuple[float, float, float]
"""value, low, high"""


@dataclass(frozen=True)
class World:
    """Recorded verdicts of one source beside its labels."""

    votes: pl.DataFrame
    voters: pl.DataFrame
    truth: pl.DataFrame
    """pair_id, group_id, subset, p_a, p_tie (null where there is no label), and the pairs' text ids"""


@dataclass(frozen=True)
class Gap:
    """Accuracy of one rule less a single judge's, (1 + r,): the data, then each resampling."""

    equal_coverage: FloatArray
    all_pairs: FloatArray


@dataclass(frozen=True)
class Compared:
    """One prompting style on adversarial."""

    style: str
    n_judges: int
    n_qualified: int
    n_calibration: int
    best: Mapping[str, str]
    """SINGLES to the judge chosen"""
    alone: Mapping[str, tuple[float, Bounds, Bounds]]
    """rule or judge to its coverage, accuracy on what it has a side on, accuracy on all pairs (no side counts 1/2)"""
    gaps: Mapping[tuple[str, str], Gap]
    """(rule, one of SINGLES) to the difference; of the panel, (rule, judge) as well"""
    near: Gap
    """panel less chosen judge on the calibration pairs themselves, the panel cross-fitted by group"""
    own_margin: tuple[float, float]
    """coverage and accuracy of the panel where it does not abstain"""
    quality: Mapping[str, tuple[float, float]]
    """ECE and Brier, mean over judges"""


def load(folder: Path) -> World:
    """Judges' votes of a folder in the common form, with labels and subsets where it has them."""
    frames = convert(read_source(folder)).frames
    texts = frames["responses"].select("response_id", "text_id")
    pairs = frames["pairs"].join(frames["prompts"].select(
        "prompt_id", "group_id", "category", pl.col("text_id").alias("prompt_text_id")), on="prompt_id")  # fmt: skip
    for side in "ab":
        pairs = pairs.join(texts.rename({"response_id": f"response_{side}", "text_id": f"text_id_{side}"}),
                           on=f"response_{side}")  # fmt: skip
    for key in ("gold_label", "subset"):
        tags = frames["pair_tags"].filter(pl.col("key") == key).select("pair_id", pl.col("value").alias(key))
        pairs = pairs.join(tags, on="pair_id", how="left")
    label = pl.col("gold_label")
    p = {"p_a": (label == "a").cast(pl.Float64), "p_tie": (label == "tie").cast(pl.Float64)}
    return World(frames["votes"], frames["voters"], pairs.with_columns(**p).sort("pair_id"))


def styles(world: World) -> pl.DataFrame:
    """(voter, judge, style) of the llmbar judges: the name says `llmbar/<judge>/<style>`."""
    parts = pl.col("voter").str.split_exact("/", 2)
    return world.voters.select("voter", parts.struct[1].alias("judge"), parts.struct[2].alias("style")).sort("voter")


def effects(world: World) -> pl.DataFrame:
    """Rows of `order_effects` of every recorded judge."""
    return order_effects(world.votes, world.truth, n_bootstrap=N_BOOTSTRAP, seed=SEED)


def compare(world: World, style: str, members: pl.DataFrame) -> Compared:
    """One style on adversarial: every single judge, majority, the panel, and differences with bounds."""
    votes = world.votes.join(members, on="voter", how="semi")
    known, test = split(world)
    on_gold = votes_on_gold(votes, world.voters, known)
    fits = fit_calibration(on_gold, METHOD)
    raw, calibrated = (fold_orders(v, world.voters, MARGIN) for v in (votes, apply_calibration(votes, fits)))
    passed = qualified(votes, known)
    rules = {
        "panel": panel_of_judges(calibrated, MARGIN),
        "qualified panel": panel_of_judges(calibrated.filter(pl.col("voter").is_in(passed)), MARGIN),
        "majority vote": majority_of_judges(raw),
    }
    singles = {voter: raw.filter(pl.col("voter") == voter) for voter in members["voter"]}
    scored = {name: judged(said, test) for name, said in {**rules, **singles}.items()}
    chosen = _best({voter: judged(said, known) for voter, said in singles.items()})
    best = dict(zip(SINGLES, (chosen, _best({voter: scored[voter] for voter in singles})), strict=True))
    weights = resampled(test)
    gaps = {(name, one): _gap(scored[name], scored[best[one]], weights) for name in rules for one in SINGLES}
    gaps |= {("panel", one): _gap(scored["panel"], scored[one], weights) for one in singles}
    return Compared(
        style, members.height, len(passed), on_gold["pair_id"].n_unique(), best,
        {name: _alone(rows, weights) for name, rows in scored.items()}, gaps,
        _near(world, votes, known, singles[chosen]), _at_margin(rules["panel"], scored["panel"]),
        _quality(votes, world.voters, on_gold, test, fits),
    )  # fmt: skip


def control(world: World, members: pl.DataFrame) -> tuple[float, float, float]:
    """Mean distance of the panel from one half on adversarial, calibrated on labels as they are and on redrawn ones;
    then the accuracy of the first against redrawn adversarial labels."""
    votes = world.votes.join(members, on="voter", how="semi")
    known, test = split(world)

    def panel(truth: pl.DataFrame) -> pl.DataFrame:
        fits = fit_calibration(votes_on_gold(votes, world.voters, truth), METHOD)
        return panel_of_judges(fold_orders(apply_calibration(votes, fits), world.voters, MARGIN), MARGIN)

    real, shuffled = panel(known), panel(shuffled_labels(known, SEED))
    sure = [float(judged(said, test)["confidence"].to_numpy().mean()) for said in (real, shuffled)]
    return sure[0], sure[1], float(judged(real, shuffled_labels(test, SEED))["correct"].to_numpy().mean())


def split(world: World) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(calibration, adversarial) pairs, sorted."""
    adversarial = pl.col("subset").str.starts_with("adversarial")
    return world.truth.filter(~adversarial), world.truth.filter(adversarial)


def resampled(test: pl.DataFrame) -> FloatArray:
    """(1 + r, pairs) weights, pairs sorted: ones, then how often each pair's prompt was drawn; fixed by the pairs."""
    names, of_group = np.unique(test["group_id"].to_numpy(), return_inverse=True)
    drawn = np.random.default_rng(SEED).multinomial(len(names), np.full(len(names), 1 / len(names)), size=N_BOOTSTRAP)
    return np.asarray(np.vstack([np.ones((1, test.height)), drawn[:, of_group]]), dtype=np.float64)


def qualified(votes: pl.DataFrame, known: pl.DataFrame) -> list[str]:
    """Judges that pass the product's default thresholds on calibration data; recorded judges answer no probes."""
    columns = ("pair_id", "group_id", "probe", "probe_side", "prompt_text_id", "text_id_a", "text_id_b")
    questions = exam_questions(known, pl.DataFrame(schema=dict.fromkeys(columns, pl.String())))
    results = qualify(votes.join(known, on="pair_id", how="semi"), questions, Qualification())
    return is_qualified(results).filter("is_qualified")["voter"].to_list()


def _near(world: World, votes: pl.DataFrame, known: pl.DataFrame, single: pl.DataFrame) -> Gap:
    said = votes.join(known.select("pair_id", fold_of_expr("group_id", N_FOLDS)), on="pair_id")
    parts = []
    for fold in range(N_FOLDS):
        inside, outside = said.filter(pl.col("fold") == fold), said.filter(pl.col("fold") != fold).drop("fold")
        fits = fit_calibration(votes_on_gold(outside, world.voters, known), METHOD)
        parts.append(apply_calibration(inside.drop("fold"), fits))
    asked = known.join(votes, on="pair_id", how="semi")
    panel = panel_of_judges(fold_orders(pl.concat(parts), world.voters, MARGIN), MARGIN)
    return _gap(judged(panel, asked), judged(single, asked), resampled(asked))


def over_styles(compared: Sequence[Compared], rule: str, one: str) -> tuple[Bounds, Bounds]:
    """A difference averaged over styles, at equal coverage and on all pairs; styles share resampled prompts."""
    gaps = [style.gaps[rule, one] for style in compared]
    means = [np.mean([getattr(gap, at) for gap in gaps], axis=0) for at in ("equal_coverage", "all_pairs")]
    return _bounds(means[0]), _bounds(means[1])


def _best(scored: Mapping[str, pl.DataFrame]) -> str:
    """Highest accuracy on all pairs, no side counting one half; first by name where equal."""
    return max(sorted(scored), key=lambda voter: float(scored[voter]["correct"].to_numpy().mean()))


def _coverages(scored: pl.DataFrame, weights: FloatArray) -> FloatArray:
    has_side = (scored["confidence"].to_numpy() > 0).astype(np.float64)
    return np.asarray(weights @ has_side / weights.sum(axis=1), dtype=np.float64)


def _bounds(values: FloatArray) -> Bounds:
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    return float(values[0]), float(low), float(high)


def _alone(scored: pl.DataFrame, weights: FloatArray) -> tuple[float, Bounds, Bounds]:
    own, full = _coverages(scored, weights), np.ones(len(weights))
    sided, whole = (_bounds(accuracy_at(scored, at, weights)) for at in (own, full))
    return coverage_of(scored), sided, whole


def _gap(rule: pl.DataFrame, single: pl.DataFrame, weights: FloatArray) -> Gap:
    own, full = _coverages(single, weights), np.ones(len(weights))
    gaps = [accuracy_at(rule, at, weights) - accuracy_at(single, at, weights) for at in (own, full)]
    return Gap(*gaps)


def _at_margin(panel: pl.DataFrame, scored: pl.DataFrame) -> tuple[float, float]:
    kept = scored.join(panel.filter(~pl.col("is_abstention")), on="pair_id", how="semi")
    return kept.height / scored.height, float(kept["correct"].to_numpy().mean())


def _quality(
    votes: pl.DataFrame, voters: pl.DataFrame, on_gold: pl.DataFrame, test: pl.DataFrame, fits: pl.DataFrame
) -> dict[str, tuple[float, float]]:
    """Before and after: cross-fitted on calibration data, and carried over to adversarial."""
    on_test = [votes_on_gold(v, voters, test) for v in (votes, apply_calibration(votes, fits))]
    each = {"calibration data, before": on_gold, "calibration data, after": cross_fitted(on_gold, METHOD),
            "adversarial, before": on_test[0], "adversarial, after": on_test[1]}  # fmt: skip
    found = {name: calibration_quality(frame) for name, frame in each.items()}
    return {name: (float(q["ece"].to_numpy().mean()), float(q["brier"].to_numpy().mean())) for name, q in found.items()}


def _share(bounds: Bounds) -> str:
    return f"{100 * bounds[0]:.1f} ({100 * bounds[1]:.1f}–{100 * bounds[2]:.1f})"


def _points(bounds: Bounds) -> str:
    return f"{100 * bounds[0]:+.1f} ({100 * bounds[1]:+.1f} … {100 * bounds[2]:+.1f})"


def effects_table(found: pl.DataFrame) -> str:
    """Per judge, in %, with 95 % bounds."""
    rows = []
    for mine in found.partition_by("voter", maintain_order=True):
        cells = {m: _share((v, low, high)) for m, v, low, high in mine.select("metric", "value", "low", "high").rows()}
        rows.append([mine["voter"][0], int(mine["n"].to_numpy().max()), *(cells.get(m, "") for m in METRICS)])
    return markdown(["judge", "pairs", *METRICS], rows)


def styles_table(compared: Sequence[Compared]) -> str:
    """Per style: accuracy with coverage of each rule, and the panel's difference at the single judge's coverage."""
    names = ["style", "judges (qualified)", "calibration pairs", "chosen judge", "chosen", "in hindsight",
             "majority vote", "panel", "qualified panel", "panel − chosen, equal coverage", "panel − chosen, all pairs",
             "panel − hindsight, equal coverage", "on calibration pairs: panel − chosen, equal coverage"]  # fmt: skip
    return markdown(names, [_style_row(one) for one in compared])


def _style_row(one: Compared) -> list[object]:
    def said(name: str) -> str:
        coverage, accuracy, _ = one.alone[name]
        return f"{100 * accuracy[0]:.1f} of {100 * coverage:.0f}"

    chosen, hindsight = (one.best[single] for single in SINGLES)
    gap = one.gaps["panel", SINGLES[0]]
    return [
        one.style, f"{one.n_judges} ({one.n_qualified})", one.n_calibration, chosen.split("/")[1], said(chosen),
        f"{hindsight.split('/')[1]} {said(hindsight)}", said("majority vote"), said("panel"), said("qualified panel"),
        _points(_bounds(gap.equal_coverage)), _points(_bounds(gap.all_pairs)),
        _points(_bounds(one.gaps["panel", SINGLES[1]].equal_coverage)), _points(_bounds(one.near.equal_coverage)),
    ]  # fmt: skip


def singles_table(compared: Sequence[Compared]) -> str:
    """Per style and judge: accuracy, coverage, and what the panel has more or less at that coverage."""
    judges = sorted({voter.split("/")[1] for one in compared for name, voter in one.gaps if "/" in voter})
    return markdown(["style", *judges], [[one.style, *(_single(one, judge) for judge in judges)] for one in compared])


def _single(one: Compared, judge: str) -> str:
    voter = f"llmbar/{judge}/{one.style}"
    if voter not in one.alone:
        return ""
    coverage, accuracy, _ = one.alone[voter]
    gap = _points(_bounds(one.gaps["panel", voter].equal_coverage))
    return f"{100 * accuracy[0]:.1f} of {100 * coverage:.0f}; {gap}"


def verdicts_table(compared: Sequence[Compared]) -> str:
    """Mean over styles, and in words which is better."""
    rows = []
    for rule in ("panel", "qualified panel", "majority vote"):
        for single in SINGLES:
            for at, gap in zip(("equal coverage", "all pairs"), over_styles(compared, rule, single), strict=True):
                rows.append([f"{rule} − {single}", at, _points(gap), _plainly(rule, gap)])
    return markdown(["difference", "at", "points", "which is better"], rows)


def _plainly(rule: str, gap: Bounds) -> str:
    return f"the {rule}" if gap[1] > 0 else "the single judge" if gap[2] < 0 else "no difference shown"


def report(llmbar: World, qlora: World) -> str:
    """Everything the bench reports, as Markdown."""
    began, each = time.perf_counter(), styles(llmbar)
    groups = [(str(mine["style"][0]), mine) for mine in each.sort("style", "voter").partition_by("style")]
    compared = [compare(llmbar, style, mine) for style, mine in groups if mine.height > 1]
    controls = np.mean([control(llmbar, mine) for _, mine in groups if mine.height > 1], axis=0)
    quality = {name: np.mean([one.quality[name] for one in compared], axis=0) for name in compared[0].quality}
    margins = np.mean([one.own_margin for one in compared], axis=0)
    return "\n".join([
        "## Order effects: qlora_gpt4", "", "In %, 95 % bounds from resampled prompts. Of two answers per pair.", "",
        effects_table(effects(qlora)), "", "## Order effects: llmbar, all judges and prompting styles", "",
        effects_table(effects(llmbar)), "",
        f"## A panel beside its best single judge: llmbar adversarial, {split(llmbar)[1].height} pairs", "",
        "Accuracy in % *of* the % of pairs on which there is a side. Differences in points.", "",
        styles_table(compared), "", "Each single judge, and what the panel has more or less at its coverage:", "",
        singles_table(compared), "", f"Mean over {len(compared)} styles:", "", verdicts_table(compared), "",
        f"Where the panel does not abstain (margin {MARGIN}), it is right on {100 * margins[1]:.1f} % of "
        f"{100 * margins[0]:.1f} % of the pairs.", "",
        f"Calibration ({METHOD}), mean over judges and styles:", "",
        markdown(["", "ECE", "Brier"], [[name, float(q[0]), float(q[1])] for name, q in quality.items()]), "",
        f"Control, mean over styles: the panel's p is {controls[0]:.3f} from one half, {controls[1]:.3f} when "
        f"calibrated on redrawn labels; against redrawn adversarial labels it is right on {100 * controls[2]:.1f} %.",
        "", f"{time.perf_counter() - began:.1f} s. {beside()}",
    ])  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: print the Markdown tables."""
    parser = argparse.ArgumentParser(description="Order effects of recorded judges, and a panel beside its best one.")
    parser.add_argument("--data", type=Path, default=real_data(), help="folder that holds llmbar and qlora_gpt4")
    asked = parser.parse_args(arguments)
    try:
        print(report(load(asked.data / "llmbar"), load(asked.data / "qlora_gpt4")))
    except TiebreakError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
