"""What routing is worth where the truth is known: frozen worlds, a 10 % budget in waves; the audit's coverage.

Per world and seed: the error of the labels after a method has spent the budget, and from it
(all AI − method) / (all AI − oracle). Every method has the same budget, audit share, consensus
(`_worlds.posterior`) and people; people's skill is known, as gold tasks would tell it. Routing at random
and by disagreement may ask about a pair once over all waves, the better of their two forms; value may
come back. P(wrong) is learned from the answers of earlier waves, out of group, as a round of the
product does. The oracle knows the truth, not the votes: it buys, where labels are wrong, as many votes
as would turn the label if people were right, cheapest first. "P(wrong) known" is value with the chance
that the world's maker would compute from signs and votes: what is left to learn, and no method of ours.

`--coverage`: how often the audit's nominal 95 % interval holds the error of the labels, over draws of a world.

`--waves`: of one wave nothing can be learned for the next, which is what batch mode has within a round; of many, what
continuous mode has. Constants of the router were chosen on seeds from 100 on; seeds 0 to 23 are reported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import stdtrit

from bench._measuring import beside, timed
from bench._measuring import markdown as table
from bench._worlds import Terms, World, all_worlds, draw, posterior, truly_wrong, voices
from curate.routing.allocation import choose
from curate.routing.audit import audit_estimate
from curate.routing.uniform import audit_draw
from curate.routing.wrongness import calibrated
from schemas.errors import InputError, TiebreakError
from schemas.people import Routing

SHARE, N_WAVES, AUDIT_SHARE, SEEDS = 0.1, 5, 0.05, 24
KNOWN = "value, P(wrong) known"
ROUTED = ("random", "disagreement", "value", KNOWN)
COVERED = ("ai08_human05_auroc75", "ai15_human15_auroc75", "ai25_human15_auroc75")
AUDITED = ((250, 0.0), (500, 0.0), (500, 0.5))
"""audits and the share of them with a second vote; 0: people's skill is known"""
ONCE = ("random", "disagreement")
"""methods that ask about a pair once, whatever was answered"""

Ints = NDArray[np.int64]


def waves(budget: int, n: int = N_WAVES) -> list[int]:
    """A budget in `n` parts that differ by at most one vote."""
    return [budget * (k + 1) // n - budget * k // n for k in range(n)]


def label_error(world: World, n_bought: Ints) -> float:
    """Share of all pairs whose label is not the truth."""
    return float((posterior(world, n_bought).argmax(axis=1) != world.truth).mean())


def spend(world: World, method: str, budget: int, n_waves: int = N_WAVES) -> Ints:
    """(n) votes bought of each pair by a method of the product."""
    n_bought, skill = np.zeros(len(world.truth), dtype=np.int64), 1 - world.terms.human_error
    for wave, votes in enumerate(waves(budget, n_waves)):
        rule = Routing.model_validate({
            "method": "value" if method == KNOWN else method, "budget_votes": votes, "audit_share": AUDIT_SHARE,
        })
        pool = _believed(world, _pool(world, n_bought, method), method, n_bought)
        np.add.at(n_bought, _rows(choose(pool, rule, skill, 1.0, f"wave {wave}", world.seed)), 1)
    return n_bought


def _believed(world: World, pool: pl.DataFrame, method: str, n_bought: Ints) -> pl.DataFrame:
    """The pool with what its method believes of each label."""
    if method == KNOWN:
        wrong = np.clip(truly_wrong(world, n_bought), 0, 1)
        return pool.with_columns(p_wrong=pl.Series(wrong))
    if method != "value":
        return pool
    return calibrated(pool, voices(world, n_bought), 1 - world.terms.human_error)


def _pool(world: World, n_bought: Ints, method: str) -> pl.DataFrame:
    p = posterior(world, n_bought)
    left = np.where(n_bought > 0, 0, 1) if method in ONCE else world.said.shape[1] - n_bought
    return world.known.with_columns(
        p_a=pl.Series(p[:, 0]), p_tie=pl.Series(p[:, 1]), n_votes=pl.Series(3 + n_bought),
        n_human=pl.Series(n_bought), n_buyable=pl.Series(left),
    )


def _rows(routes: pl.DataFrame) -> Ints:
    return routes["pair_id"].str.slice(1).cast(pl.Int64).to_numpy()


def oracle(world: World, budget: int) -> Ints:
    """(n) votes bought of each pair by someone who sees the truth."""
    n_bought = np.zeros(len(world.truth), dtype=np.int64)
    for votes in waves(budget):
        needed = _needed(world, n_bought)
        order = np.argsort(needed, kind="stable")
        order = order[(needed[order] > 0) & (needed[order] + n_bought[order] <= world.said.shape[1])]
        order = order[np.cumsum(needed[order]) <= votes]
        n_bought[order] += needed[order]
    return n_bought


def _needed(world: World, n_bought: Ints) -> Ints:
    """(n) right votes that would turn a wrong label; 0 where the label is right."""
    log_p, rows = np.log(posterior(world, n_bought)), np.arange(len(world.truth))
    gap = log_p.max(axis=1) - log_p[rows, world.truth]
    pull = np.log(1 - world.terms.human_error) - np.log(world.terms.human_error / 2)
    return np.where(gap > 0, np.floor(gap / pull) + 1, 0).astype(np.int64)


def measured(terms: Terms, seeds: Iterable[int], n_waves: int = N_WAVES) -> pl.DataFrame:
    """(world, seed, method, error, ratio): label error, and the share of the oracle's improvement reached."""
    rows = []
    for seed in seeds:
        world = draw(terms, seed)
        budget = round(SHARE * terms.n_pairs)
        nothing = np.zeros(terms.n_pairs, dtype=np.int64)
        errors = {"all AI": label_error(world, nothing), "oracle": label_error(world, oracle(world, budget))}
        errors |= {m: label_error(world, spend(world, m, budget, n_waves)) for m in ROUTED}
        most = errors["all AI"] - errors["oracle"]
        rows += [(terms.name, seed, m, e, (errors["all AI"] - e) / most) for m, e in errors.items()]
    return pl.DataFrame(rows, schema=["world", "seed", "method", "error", "ratio"], orient="row")


def differences(found: pl.DataFrame, better: str = "value", than: str = "disagreement") -> pl.DataFrame:
    """(world, d, low, high): paired difference of the ratio over seeds, Student's 95 % interval."""
    wide = found.filter(pl.col("method").is_in([better, than])).pivot(
        on="method", index=["world", "seed"], values="ratio"
    ).with_columns(gap=pl.col(better) - pl.col(than))
    by_world = wide.group_by("world").agg(d=pl.col("gap").mean(), sd=pl.col("gap").std(), n=pl.len()).sort("world")
    reach = [float(stdtrit(n - 1, 0.975)) * sd / n**0.5 for sd, n in by_world.select("sd", "n").iter_rows()]
    return by_world.select("world", "d", low=pl.col("d") - pl.Series(reach), high=pl.col("d") + pl.Series(reach))


def coverage(terms: Terms, n_runs: int, n_audits: int, second_share: float) -> dict[str, float]:
    """Share of draws whose interval holds the error of the labels; mean error of the estimate and width.

    A run is a draw of the world, a draw of the audit and the people's votes. With `second_share` above 0
    people's skill is learned from second votes on that share of the audit, else it is known.
    """
    estimates = []
    for seed in range(n_runs):
        world = draw(terms, seed, stock=2)
        rows = _rows(audit_draw(world.known, n_audits, seed, "coverage"))
        seen, twice = _audit(world, rows, n_audits), rows[: round(second_share * n_audits)]
        is_agreed = pl.Series(world.said[twice, 0] == world.said[twice, 1])
        seconds = seen.head(len(twice)).select("route_id", is_agreed=is_agreed)
        estimates.append(audit_estimate(seen, 1 - terms.human_error, seconds=seconds if second_share else None))
    return {
        "coverage": float(np.mean([e.low <= terms.ai_error <= e.high for e in estimates])),
        "bias": float(np.mean([e.error for e in estimates]) - terms.ai_error),
        "width": float(np.mean([e.high - e.low for e in estimates])),
    }


def _audit(world: World, rows: Ints, n_audits: int) -> pl.DataFrame:
    known = world.known[rows]
    return known.select(
        "group_id", "pair_id", route_id="pair_id", propensity=pl.lit(n_audits / len(world.truth)),
        is_contradicted=pl.Series(world.said[rows, 0] != world.label[rows]),
    )


def report(found: pl.DataFrame) -> str:
    """The result of all worlds as a table, with the paired difference to routing by disagreement."""
    mean = found.group_by("world", "method").agg(pl.col("ratio", "error").mean())
    ratio = mean.pivot(on="method", index="world", values="ratio")
    error = mean.filter(pl.col("method") == "value").select("world", left="error")
    best = mean.filter(pl.col("method") == "oracle").select("world", best="error")
    rows = ratio.join(differences(found), on="world").join(error, on="world").join(best, on="world").sort("world")
    cells = [
        [r["world"], *(f"{r[m]:.3f}" for m in ROUTED), f"{r['d']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]",
         f"{r['left']:.4f}", f"{r['best']:.4f}"] for r in rows.iter_rows(named=True)
    ]
    return table(["world", *ROUTED, "value − disagreement", "error left, value", "oracle"], cells)


def report_coverage(n_runs: int) -> str:
    """Coverage in three worlds, with people's skill known and learned."""
    cells = []
    for terms in all_worlds(COVERED):
        for n_audits, share in AUDITED:
            got = coverage(terms, n_runs, n_audits, share)
            cells.append([terms.name, n_audits, f"{share:g}", f"{100 * got['coverage']:.1f} %", f"{got['bias']:+.4f}",
                          f"{got['width']:.3f}"])
    return table(["world", "audits", "second votes on", "coverage", "bias", "width"], cells)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: print the Markdown table of the worlds, or of the audit's coverage."""
    parser = argparse.ArgumentParser(description="Routing and its audit where the truth is known.")
    parser.add_argument("--world", action="append", default=[], help="default: each")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--waves", type=int, default=N_WAVES, help="in which the budget is spent")
    parser.add_argument("--coverage", action="store_true", help="the audit instead of the router")
    parser.add_argument("--runs", type=int, default=1000, help="of --coverage")
    asked = parser.parse_args(arguments)
    try:
        if asked.seeds < 2 or asked.runs < 2 or asked.waves < 1:
            raise InputError(f"{asked.seeds} seeds, {asked.runs} runs, {asked.waves} waves",
                             expected="at least two seeds, two runs, one wave")
        with timed() as took:
            told = report_coverage(asked.runs) if asked.coverage else report(pl.concat(
                [measured(terms, range(asked.seeds), asked.waves) for terms in all_worlds(asked.world)]))
    except TiebreakError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{told}\n\n{took.taken:.1f} s. {beside()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
