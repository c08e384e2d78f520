"""What selecting candidates is worth in a simulated world whose truth is known.

One policy writes N responses to each prompt; a reward model scores them with their true quality plus noise of
the same spread; a judge with an order bias compares two. A pair is correct when the response chosen is truly
the better one. Pairs far apart are easier, so correctness says how clean labels are, not how much a reward
model learns from them. The simulated policy has no likelihoods: that half of West-of-N is not measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy.special import stdtrit

from bench._measuring import beside
from bench._measuring import markdown as table
from curate.adapters.simulated import SimulatedJudges
from curate.adapters.simulated_world import SimulatedWorld, normal
from curate.consensus.outcomes import expected_win
from curate.engines import CallRequest
from curate.synthesis.near_duplicates import near_duplicate_responses
from curate.synthesis.pairing import best_against_lower, pair_up
from curate.synthesis.selection import pairs_of
from curate.synthesis.tournament import first_matches, next_matches, played, standings, to_judge
from curate.synthesis.west_of_n import west_of_n
from schemas.errors import InputError, TiebreakError
from schemas.ids import content_id_expr, uniform_expr
from schemas.sections import SimulatedPolicy, SimulatedVoter, World

SIZES, QUANTILES, FIELDS = (2, 4, 8, 16), (0.0, 0.5, 0.9), (8, 16)
NOISE, NEAR = 1.0, 0.9
JUDGE = SimulatedVoter(name="judge", skill=2.0, order_bias=0.5)
POLICY = SimulatedPolicy(name="policy", verbosity=1.0)

Row = dict[str, object]
Chosen = tuple[pl.DataFrame, int]
"""(prompt_id, response_id) of one response per prompt, and the number of judge calls it took"""


def candidates(world: SimulatedWorld, n: int) -> pl.DataFrame:
    """`n` responses per prompt without near-duplicates: text, true quality, noisy score."""
    prompts = world.prompts(0).with_columns(content_id_expr(["messages"]).alias("prompt_id"))
    slots = prompts.join(pl.DataFrame({"sample": range(n)}), how="cross")
    key = pl.format("{} {}", "prompt_id", "sample").alias("key")
    asked = slots.with_columns(key, policy=pl.lit(POLICY.name), prompt="messages")
    texts = asked.select("prompt_id", content_id_expr(["key"]).alias("response_id"), text=world.write(asked))
    kept = near_duplicate_responses(texts, NEAR).kept
    noise, nothing = (
        normal(kept.select(uniform_expr(world.world.seed, [pl.lit(what), "response_id"])).to_series())
        for what in ("noise", "nothing")
    )
    true = world.quality(kept["text"])
    return kept.with_columns(
        content_id_expr(["text"]).alias("text_id"), true, (true + NOISE * noise).alias("score"),
        pl.Series("nothing", nothing), logprob_sum=pl.lit(-1.0), n_tokens=pl.lit(1),
    )  # fmt: skip


def correctness(pairs: pl.DataFrame, rows: pl.DataFrame, by: str) -> Row:
    """Share of pairs whose higher-scored side is truly the better one, and how far apart they are."""
    sides = [rows.select(pl.col("response_id").alias(f"response_{x}"), pl.col(by).alias(f"score_{x}"),
                         pl.col("quality").alias(f"quality_{x}")) for x in "ab"]  # fmt: skip
    both = pairs.join(sides[0], on="response_a").join(sides[1], on="response_b")
    said, true = (pl.col(f"{c}_a") - pl.col(f"{c}_b") for c in ("score", "quality"))
    return both.select(n_pairs=pl.len(), correct=(1 + (said * true).sign()).mean() / 2, gap=true.abs().mean()).row(
        0, named=True)  # fmt: skip


def selections(rows: pl.DataFrame, seed: int, by: str) -> dict[str, pl.DataFrame]:
    """Pairs of each method under the scores `by`."""
    scores = rows.select("response_id", score=by)
    return {
        "random pair": pair_up(rows, 1, seed).pairs,
        "best of N against a lower one": best_against_lower(rows, scores, 1, seed).pairs,
        **{f"West-of-N, quantile {q}": west_of_n(rows, scores, west_quantile=q).pairs for q in QUANTILES},
    }


def judged(pairs: pl.DataFrame, rows: pl.DataFrame, judges: SimulatedJudges) -> pl.DataFrame:
    """(pair_id, p_a, p_tie): the judge's probabilities, mean of both orders."""
    texts = rows.select("response_id", "text")
    told = pairs.join(texts, left_on="response_a", right_on="response_id").join(
        texts, left_on="response_b", right_on="response_id", suffix="_b")  # fmt: skip
    requests = [CallRequest(f"{row['pair_id']} {first}", JUDGE.name, "", "", first=row[first], second=row[second])
                for row in told.iter_rows(named=True) for first, second in (("text", "text_b"), ("text_b", "text"))]
    rows_ = []
    for reply in judges.judge(requests):
        pair_id, first = reply.call_key.split(" ")
        p = {k: float(np.exp(v)) for k, v in (reply.choice_logprobs or {}).items()}
        rows_.append((pair_id, p["1"] if first == "text" else p["2"], p["tie"]))
    schema = {"pair_id": pl.String, "p_a": pl.Float64, "p_tie": pl.Float64}
    return pl.DataFrame(rows_, schema=schema, orient="row").group_by("pair_id").agg(pl.all().mean()).sort("pair_id")


def bracket(rows: pl.DataFrame, by: str, judges: SimulatedJudges, seed: int) -> Chosen:
    """Champions of brackets seeded by a column."""
    scores = rows.select("response_id", score=by)
    level, levels, n_calls = first_matches(rows, scores, seed).matches, list[pl.DataFrame](), 0
    while level.height:
        pairs = to_judge(level)
        n_calls += 2 * pairs.height
        levels.append(played(level, judged(pairs, rows, judges)))
        level = next_matches(levels[-1])
    return standings(pl.concat(levels)).filter(rank=1).select("prompt_id", "response_id"), n_calls


def round_robin(rows: pl.DataFrame, judges: SimulatedJudges) -> Chosen:
    """Everyone meets everyone: most expected wins, then the score."""
    named = rows.select("prompt_id", "response_id", source=pl.lit("bench"))
    met = named.join(named, on="prompt_id", suffix="_b").filter(pl.col("response_id") < pl.col("response_id_b"))
    pairs = pairs_of(met.select("prompt_id", "source", left="response_id", right="response_id_b"), "bench")
    told = pairs.join(judged(pairs, rows, judges), on="pair_id").with_columns(
        expected_win(pl.col("p_a"), pl.col("p_tie")).alias("win"))  # fmt: skip
    wins = pl.concat([told.select("prompt_id", response_id="response_a", win="win"),
                      told.select("prompt_id", response_id="response_b", win=1 - pl.col("win"))])  # fmt: skip
    total = wins.sort("response_id", "win").group_by("prompt_id", "response_id", maintain_order=True).agg(
        pl.col("win").sum().round(9)).join(rows.select("response_id", "score"), on="response_id")  # fmt: skip
    return first(total.sort("prompt_id", -pl.col("win"), -pl.col("score"))), 2 * pairs.height


def first(ranked: pl.DataFrame) -> pl.DataFrame:
    """(prompt_id, response_id) of the first row of each prompt."""
    best = ranked.unique("prompt_id", keep="first", maintain_order=True)
    return best.select("prompt_id", "response_id")


def champions(rows: pl.DataFrame, judges: SimulatedJudges, seed: int) -> dict[str, Chosen]:
    """Whom each way of choosing one response per prompt chooses."""
    return {
        "best by score, nobody asked": (first(rows.sort("prompt_id", -pl.col("score"), "response_id")), 0),
        "tournament, seeds by score": bracket(rows, "score", judges, seed),
        "tournament, seeds at random": bracket(rows, "nothing", judges, seed),
        "round robin": round_robin(rows, judges),
    }


def quality_of(chosen: pl.DataFrame, n_calls: int, rows: pl.DataFrame) -> Row:
    """Share of prompts whose truly best response was chosen, mean true quality, calls per prompt."""
    best = rows.group_by("prompt_id").agg(pl.col("quality").max().alias("best"))
    told = chosen.join(rows.select("response_id", "quality"), on="response_id").join(best, on="prompt_id")
    found = told.select(is_best=(pl.col("quality") == pl.col("best")).mean(), quality=pl.col("quality").mean())
    return {**found.row(0, named=True), "calls": n_calls / max(chosen.height, 1)}


def one_seed(seed: int, n_prompts: int) -> list[Row]:
    """Every number of one world."""
    world = SimulatedWorld(World(seed=seed, policies=(POLICY,), judges=(JUDGE,), n_prompts=n_prompts))
    judges, found = SimulatedJudges(world), list[Row]()
    for n in SIZES:
        rows = candidates(world, n)
        for by, control in (("score", ""), ("nothing", ", scorer that knows nothing")):
            found += [{"what": "pairs", "n": n, "method": name + control, **correctness(pairs, rows, by)}
                      for name, pairs in selections(rows, seed, by).items()]  # fmt: skip
        if n in FIELDS:
            found += [{"what": "champions", "n": n, "method": name, **quality_of(*chosen, rows)}
                      for name, chosen in champions(rows, judges, seed).items()]  # fmt: skip
    return [{"seed": seed, **row} for row in found]


def summary(found: pl.DataFrame, what: str, values: Sequence[str]) -> pl.DataFrame:
    """Mean over seeds of each method and N, with the half-width of a 95 % t interval over seeds."""
    seeds = found["seed"].n_unique()
    reach = float(stdtrit(seeds - 1, 0.975)) / np.sqrt(seeds)
    return found.filter(what=what).group_by("method", "n", maintain_order=True).agg(
        *(pl.col(v).mean() for v in values), *((pl.col(v).std() * reach).alias(f"{v}_pm") for v in values))  # fmt: skip


def report(found: pl.DataFrame, seeds: int, n_prompts: int, seconds: float) -> str:
    """The result as two Markdown tables."""
    pairs = summary(found, "pairs", ("correct", "gap", "n_pairs"))
    chosen = summary(found, "champions", ("is_best", "quality", "calls"))
    of_pairs = [(r["method"], r["n"], f"{r['n_pairs']:.0f}", with_reach(r, "correct"), with_reach(r, "gap"))
                for r in pairs.iter_rows(named=True)]  # fmt: skip
    of_chosen = [(r["method"], r["n"], f"{r['calls']:.1f}", with_reach(r, "is_best"), with_reach(r, "quality"))
                 for r in chosen.iter_rows(named=True)]  # fmt: skip
    return "\n".join([
        f"## Selecting candidates: {seeds} worlds of {n_prompts} prompts, mean ± 95 % interval over worlds", "",
        "Correct: share of pairs whose chosen side is truly better; gap: their true difference, in spreads.", "",
        table(("method", "N", "pairs", "correct", "gap"), of_pairs), "",
        "One response per prompt: judge calls (both orders), whether it is truly the best, its true quality.", "",
        table(("method", "N", "calls", "is the best", "quality"), of_chosen), "",
        f"{seconds:.1f} s. {beside()}",
    ])  # fmt: skip


def with_reach(row: Row, column: str) -> str:
    """A mean with its interval's half-width."""
    return f"{row[column]:.3f} ± {row[f'{column}_pm']:.3f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: print the Markdown tables, or JSON with --json."""
    parser = argparse.ArgumentParser(description="What selecting candidates is worth where the truth is known.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    try:
        if asked.seeds < 2 or asked.prompts < 1:
            raise InputError(f"{asked.seeds} seeds, {asked.prompts} prompts", expected="at least 2 seeds, 1 prompt")
        began, rows = time.perf_counter(), list[Row]()
        for seed in range(asked.seeds):
            rows += one_seed(seed, asked.prompts)
            print(f"world {seed} after {time.perf_counter() - began:.1f} s", file=sys.stderr)
    except TiebreakError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    found = pl.DataFrame(rows, infer_schema_length=None)
    seconds = time.perf_counter() - began
    print(json.dumps(rows) if asked.json else report(found, asked.seeds, asked.prompts, seconds))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
