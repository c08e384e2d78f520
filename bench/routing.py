"""What routing is worth: the purchase protocol of METHODS.md D on recorded votes, by budget.

Per seed, half of each pair's human votes, rounded down, can be bought; the others are the truth. Every method buys
along one curve from nothing to everything, four waves to each step of the budget, the consensus refitted in between;
labels are scored on all pairs, asked about or not. All methods have the same consensus and the same votes on offer.
On llmbar, which has one human label per pair and no votes to sell, that label is the truth, three weak judges are
always there and a strong judge's verdicts are what is bought: no people, but nothing simulated either.
Nothing is tuned here: every number is the product's default or was fixed in this file before the first run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from bench._areas import ORACLES, SCORES, Curves, area_table, curve_table, mean_of, over_seeds, printed
from bench._measuring import beside, real_data
from bench._measuring import markdown as as_table
from bench._purchase import SETS, Floats, Ints, Labels, Market, World, agreement, labels_of, load, market, rule_of
from curate.consensus.majority import majority
from curate.rewards.crossfit import fit_heads, fold_rule, out_of_fold
from curate.rewards.features import PairFeatures, pair_features
from curate.routing import active_lab
from curate.routing.allocation import choose
from curate.routing.hyper import learned, permuted, scores
from curate.routing.hyper_features import hyper_features
from curate.routing.skill import human_skill
from curate.routing.voices import voices
from curate.routing.wrongness import calibrated
from schemas.errors import InputError, RefusedError, TiebreakError
from schemas.people import HyPER, Routing
from schemas.recipe import Training

STEPS, N_WAVES, SEEDS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0), 4, 10
MARKS = (*STEPS, 0.25, 0.5)
TRAINED_AT, TRAINED_SEEDS = (0.1, 0.25, 0.5), 2
"""budgets at which reward models are trained on the labels, and on how many seeds, under the first consensus rule"""
FITTED_AT = (0.1, 0.2, 0.4)
"""budgets at which HyPER learns from the votes bought so far; up to the first it buys at random"""
SHUFFLED = "hyper, shuffled"
ROUTED = ("random", "length", "disagreement", "active_lab", "hyper", SHUFFLED, "value")
OURS = "value"
METHODS = ("all AI", *ROUTED, *ORACLES)


@dataclass
class Purchase:
    """How far one method has come on one market."""

    market: Market
    seed: int
    n_bought: Ints
    posteriors: pl.DataFrame

    @classmethod
    def begin(cls, on: Market, seed: int) -> Purchase:
        """Nothing bought yet."""
        nothing = np.zeros(len(on.n_for_sale), np.int64)
        return cls(on, seed, nothing, on.posteriors(nothing))

    def buy(self, routes: pl.DataFrame) -> None:
        """Buy one vote per route, each pair's by rank, and refit."""
        places = self.market.world.texts.select("pair_id").with_row_index("place")
        asked = routes.join(places, on="pair_id")["place"].to_numpy()
        more = np.bincount(asked, minlength=len(self.n_bought))
        n_left = int(np.minimum(more, self.market.n_for_sale - self.n_bought).sum())
        if n_left != routes.height:
            raise InputError(f"{routes.height} routes, {n_left} votes to sell", expected="a vote for each")
        self.take(more)

    def take(self, more: Ints) -> None:
        """Buy that many more votes of each pair (P), and refit."""
        self.n_bought = self.n_bought + more
        self.posteriors = self.market.posteriors(self.n_bought)


def plan(n_for_sale: int) -> list[tuple[float, float, int]]:
    """(share before, share after, votes) of every wave up to the last step but one; then everything is bought."""
    ends = [round(a + (b - a) * (k + 1) / N_WAVES, 6) for a, b in pairwise(STEPS[:-1]) for k in range(N_WAVES)]
    counts = [round(e * n_for_sale) for e in ends]
    return [(a, b, n - m) for a, b, m, n in zip([0.0, *ends], ends, [0, *counts], counts, strict=False)]


def routed(method: str, purchase: Purchase, votes: int, at: float, hyper: HyperScores) -> pl.DataFrame:
    """Routes of one wave by one method: the product's own `choose`, fed as the route stage feeds it."""
    m = purchase.market
    pool, evidence = m.pool(purchase.posteriors, purchase.n_bought), m.evidence(purchase.n_bought)
    skill, ranking = human_skill(evidence), _ranking(method, purchase, at, hyper)
    asked = "hyper" if method.startswith("hyper") else method
    if asked == "hyper" and ranking is None:
        asked = "random"
    if asked == "value":
        pool = calibrated(pool, voices(evidence, m.of_judges, is_majority=m.rule is majority), skill)
    rule = Routing.model_validate({"method": asked, "budget_votes": votes})
    return choose(pool, rule, skill, 1.0, f"wave {at}", purchase.seed, scores=ranking)


def _ranking(method: str, purchase: Purchase, at: float, hyper: HyperScores) -> pl.DataFrame | None:
    if method == "active_lab":
        return active_lab.scores(purchase.market.world.texts, purchase.market.evidence(purchase.n_bought))
    if method.startswith("hyper"):
        found = hyper(purchase, at)
        return permuted(found, purchase.seed) if found is not None and method == SHUFFLED else found
    return None


class HyperScores:
    """HyPER's scores of a world: its path depends on no consensus, so what was learned once serves every rule."""

    def __init__(self, world: World) -> None:
        self.world, self.features = world, hyper_features(world.texts)
        win = (pl.col("p_a") + pl.col("p_tie") / 2).mean()
        self.ai = world.judged.filter(~pl.col("is_abstention")).group_by("pair_id").agg(win.alias("p_ai"))
        self.known: dict[tuple[int, float], pl.DataFrame | None] = {}
        self.correlations: list[float] = []

    def __call__(self, purchase: Purchase, at: float) -> pl.DataFrame | None:
        """Scores learned at the last budget of FITTED_AT; None before the first, or where votes are too few."""
        reached = [b for b in FITTED_AT if b <= at + 1e-9]
        if not reached:
            return None
        key = (purchase.seed, reached[-1])
        if key not in self.known:
            self.known[key] = self._learned(purchase)
        return self.known[key]

    def _learned(self, purchase: Purchase) -> pl.DataFrame | None:
        sold = purchase.market.sold
        bought = sold.filter(sold["rank"].to_numpy() < purchase.n_bought[sold["place"].to_numpy()])
        human = bought.group_by("pair_id").agg((pl.col("p_a") + pl.col("p_tie") / 2).mean().alias("p_human"))
        labelled = self.world.texts.select("pair_id", "group_id").join(human, on="pair_id").join(self.ai, on="pair_id")
        try:
            model = learned(self.world.texts, self.features, labelled, HyPER(), purchase.seed)
        except RefusedError:
            return None
        self.correlations.append(model.rank_correlation)
        return scores(self.features, model)


@dataclass(frozen=True)
class Course:
    """Labels along a curve, by budget, and the posteriors a reward model is trained on."""

    labels: dict[float, Labels]
    trained_on: dict[float, pl.DataFrame]


def course(method: str, on: Market, seed: int, hyper: HyperScores) -> Course:
    """What a method's purchases make of the labels, budget by budget."""
    purchase = Purchase.begin(on, seed)
    labels, trained_on, is_over = {0.0: labels_of(purchase.posteriors)}, {}, False
    for before, after, votes in plan(int(on.n_for_sale.sum())):
        if method not in ORACLES:
            purchase.buy(routed(method, purchase, votes, before, hyper))
        elif not is_over:
            wanted = foreseen(purchase, votes, ORACLES.index(method))
            is_over = not wanted.any()  # what helped nothing once helps nothing later: nothing else has changed
            purchase.take(wanted)
        if after in MARKS:
            labels[after] = labels_of(purchase.posteriors)
        if after in TRAINED_AT:
            trained_on[after] = purchase.posteriors
    is_oracle = method in ORACLES
    labels[1.0] = labels[STEPS[-2]] if is_oracle else labels_of(on.posteriors(on.n_for_sale))
    return Course(labels, trained_on)


def foreseen(purchase: Purchase, votes: int, score: int) -> Ints:
    """(P) how many more votes of each pair someone buys who sees the truth votes.

    Of each pair the number of next votes that lifts its agreement most per vote, the best pairs first. It peeks at
    the truth it is scored on and leaves out votes that hurt, so it can pass "everything bought"; greedy and refitted
    in waves, it is no strict upper bound either. It stops where nothing helps.
    """
    m, now = purchase.market, purchase.n_bought
    left = m.n_for_sale - now
    before = agreement(labels_of(purchase.posteriors), m.truth)[:, score]
    rise = np.zeros((len(left), int(left.max()) + 1))
    for k in range(1, rise.shape[1]):
        then = agreement(labels_of(m.posteriors(now + np.minimum(k, left))), m.truth)[:, score]
        rise[:, k] = np.where(left >= k, np.nan_to_num(then - before), 0.0) / k
    n, best = rise.argmax(axis=1), rise.max(axis=1).round(9)
    order = np.argsort(-best, kind="stable")
    is_affordable = np.cumsum(n[order]) <= votes
    wanted = np.zeros(len(left), np.int64)
    wanted[order[is_affordable]] = n[order[is_affordable]]
    return wanted


class RewardModels:
    """Accuracy of reward models trained on labels: out of fold by group, on the decided truth votes of all pairs."""

    def __init__(self, world: World) -> None:
        self.world, self.config = world, Training()
        self.rule = fold_rule(world.texts, self.config.n_folds)
        self.features: PairFeatures = pair_features(world.texts, self.config.features)

    def accuracy(self, posteriors: pl.DataFrame, truth: Floats) -> Floats:
        """(P) share of decided truth votes on the margin's side; NaN where all are ties."""
        rows = self.world.texts.join(posteriors.select("pair_id", "p_a", "p_tie"), on="pair_id", maintain_order="left")
        rows = rows.with_columns(weight=pl.lit(1.0))
        heads = fit_heads(rows, self.features, self.rule, self.config, 0)
        a, b = out_of_fold(self.features, self.rule.numbers(self.rule.sides(rows)), heads)
        leans = Labels(np.zeros(len(a), np.int8), np.sign(np.round(a - b, 9)).astype(np.int8))
        return agreement(leans, truth)[:, 1]


@dataclass(frozen=True)
class Found:
    """What was measured on one set under one rule."""

    curves: Curves
    rewards: dict[str, dict[float, Floats]]
    """method to budget to (S, P) accuracy of the reward model"""
    n_for_sale: int


def run(world: World, method: str, seeds: int, hyper: HyperScores, models: RewardModels | None) -> Found:
    """Every method on every seed, under the consensus rule `method`."""
    shares = tuple(sorted(MARKS))
    kept: dict[str, list[tuple[Floats, Floats]]] = {m: [] for m in METHODS}
    rewards: dict[str, dict[float, list[Floats]]] = {m: {b: [] for b in TRAINED_AT} for m in METHODS}
    for seed in range(seeds):
        on = market(world, rule_of(method), seed)
        other = on.shuffled(seed)
        for name, found in _courses(on, seed, hyper):
            kept[name].append((_scored(found, on, shares), _scored(found, other, shares)))
            if models is not None and seed < TRAINED_SEEDS:
                for budget, posteriors in found.trained_on.items():
                    rewards[name][budget].append(models.accuracy(posteriors, on.truth))
        print(f"{world.name}, {method}: seed {seed} done", file=sys.stderr)
    real, control = ({m: np.stack([pair[k] for pair in pairs]) for m, pairs in kept.items()} for k in (0, 1))
    trained = {m: {b: np.stack(found) for b, found in by.items()} for m, by in rewards.items()} if models else {}
    return Found(Curves(shares, real, control, world.groups), trained, int(on.n_for_sale.sum()))


def _courses(on: Market, seed: int, hyper: HyperScores) -> Iterator[tuple[str, Course]]:
    for name in (*ROUTED, *ORACLES):
        found = course(name, on, seed, hyper)
        if name == ROUTED[0]:
            untouched = on.posteriors(np.zeros(len(on.n_for_sale), np.int64))
            yield "all AI", Course(dict.fromkeys(MARKS, found.labels[0.0]), dict.fromkeys(TRAINED_AT, untouched))
        yield name, found


def _scored(found: Course, on: Market, shares: Sequence[float]) -> Floats:
    """(P, B, 2)"""
    return np.stack([agreement(found.labels[s], on.truth) for s in shares], axis=1)


def tables(name: str, rule: str, seeds: int, found: Found, hyper: HyperScores) -> str:
    """The result in Markdown."""
    curves = found.curves
    goods = "votes of GPT-4" if name == "llmbar" else "human votes"
    lines = [
        f"### {name}, consensus {rule}: {found.n_for_sale} {goods} on sale, {len(curves.groups)} pairs, "
        f"{len(np.unique(curves.groups))} groups, {seeds} seeds",
    ]
    for k, score in enumerate(SCORES):
        lines += ["", f"Agreement with the truth votes, {score}, per cent, by share of the votes on sale bought.", "",
                  as_table(["method", *(f"{s:.0%}" for s in curves.shares)], curve_table(curves, METHODS, k))]
    columns = [f"{what}{s}" for what in ("area, ", "shuffled truth, ", f"{OURS} ahead, ") for s in SCORES]
    lines += ["", "Area above random as a share of the oracle's; the same against truth votes of other pairs; points "
              f"of agreement, mean over budgets, by which {OURS} is ahead. 95 % intervals clustered by group.", "",
              as_table(["method", *columns], area_table(curves, METHODS[:-2], OURS))]
    if found.rewards:
        lines += ["", f"Accuracy of reward models trained on the labels, {min(seeds, TRAINED_SEEDS)} seeds.", "",
                  as_table(["method", *(f"{b:.0%}" for b in TRAINED_AT), f"{OURS} ahead"], reward_table(found))]
    told = hyper.correlations
    learned = f"{np.mean(told):+.2f}, {min(told):+.2f} … {max(told):+.2f} over {len(told)} fits" if told else "no fit"
    return "\n".join([*lines, "", f"HyPER's foreseen and measured mixes, rank correlation: {learned}."])


def reward_table(found: Found) -> list[list[str]]:
    """Rows of method, accuracy in per cent at each budget, and value's lead in points at the last."""
    last, rows = TRAINED_AT[-1], []
    for method in METHODS:
        by = found.rewards[method]
        lead = 100 * (over_seeds(found.rewards[OURS][last]) - over_seeds(by[last]))
        ahead = "" if method == OURS else printed(mean_of(lead, found.curves.groups), 1)
        rows.append([method, *(f"{100 * np.nanmean(over_seeds(by[b])):.1f}" for b in TRAINED_AT), ahead])
    return rows


def measure(folder: Path, rules: Sequence[str], seeds: int) -> list[dict[str, object]]:
    """Everything the bench reports on one set, one entry per consensus rule."""
    if seeds < 1:
        raise InputError(f"{seeds} seeds", expected="at least one")
    world, entries = load(folder), []
    hyper, models = HyperScores(world), RewardModels(world)
    for k, rule in enumerate(rules):
        began = time.perf_counter()
        found = run(world, rule, seeds, hyper, None if k else models)
        areas = {m: [vars(found.curves.normalised(m, k)) for k in range(2)] for m in METHODS}
        entries.append({
            "data": folder.name, "consensus": rule, "seeds": seeds, "n_for_sale": found.n_for_sale, "areas": areas,
            "seconds": time.perf_counter() - began, "markdown": tables(folder.name, rule, seeds, found, hyper),
        })  # fmt: skip
    return entries


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: print Markdown tables, or JSON with --json."""
    parser = argparse.ArgumentParser(description="What routing is worth, by budget.")
    parser.add_argument("--data", type=Path, action="append", help=f"a set's folder; default: {SETS}")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--consensus", action="append", help="default: majority and one_coin")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    folders = asked.data or [real_data() / name for name in SETS]
    try:
        found = [e for f in folders for e in measure(f, asked.consensus or ["majority", "one_coin"], asked.seeds)]
    except TiebreakError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    took = f"{sum(float(str(e['seconds'])) for e in found):.0f} s. {beside()}"
    print(json.dumps(found) if asked.json else "\n\n".join([*(str(e["markdown"]) for e in found), took]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
