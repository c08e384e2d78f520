"""From candidates and a budget to routes: the random audit first, the rest by the recipe's method."""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from curate.routing.assignment import assign, offers, prices
from curate.routing.disagreement import disagreement
from curate.routing.diversity import discounted
from curate.routing.length import length_difference
from curate.routing.stopping import stop
from curate.routing.uniform import audit_draw, draw
from curate.routing.value import BELIEVED, information, with_changes, with_gains
from schemas.errors import RefusedError
from schemas.ids import content_id_expr, uniform_expr
from schemas.people import Routing
from schemas.tables import CANDIDATES, ROUTES

TOLERANCE = 1e-9
"""0.3 dollars at 0.1 a vote are three votes, whatever floating point makes of the quotient"""
SCORED = ("active_lab", "retrieval", "hyper")
"""methods whose order comes from outside, as a score per pair"""
SPARE = 4
"""slots that are offered to annotators, in budgets: those whose people are all taken fall out"""


@dataclass(frozen=True)
class Decision:
    """Who is asked, and why not more."""

    routes: pl.DataFrame
    """frame ROUTES, in the order of purchase"""
    stopped: str = ""
    """why the budget was not spent, by `stop_below`; empty: it was, or nothing was left to ask"""


@dataclass(frozen=True)
class People:
    """Whom the router can ask, beside what the recipe says of everybody."""

    skill: float
    cost_usd: float
    seconds: float = 60.0
    """of one vote, measured or the recipe's `seconds_per_vote`"""
    annotators: pl.DataFrame | None = None
    """frame `assignment.ANNOTATORS`: each with a skill, price, time and capacity of its own"""
    voted: pl.DataFrame | None = None
    """(pair_id, voter) of people's votes so far: nobody is asked twice about a pair"""


def choose(
    candidates: pl.DataFrame, rule: Routing, human_skill: float, cost_usd: float, round_id: str, seed: int, *,
    annotators: pl.DataFrame | None = None, scores: pl.DataFrame | None = None, seconds_per_vote: float = 60.0,
    voted: pl.DataFrame | None = None, already: pl.DataFrame | None = None, limit: int | None = None,
) -> pl.DataFrame:
    """The routes of `decide`: frame ROUTES, in the order of purchase."""
    people = People(human_skill, cost_usd, seconds_per_vote, annotators, voted)
    return decide(candidates, rule, people, round_id, seed, scores=scores, already=already, limit=limit).routes


def decide(
    candidates: pl.DataFrame, rule: Routing, people: People, round_id: str, seed: int, *,
    scores: pl.DataFrame | None = None, already: pl.DataFrame | None = None, limit: int | None = None,
) -> Decision:
    """Who is asked, about which pair, why, at what price, and the reason to stop early.

    The budget is `budget_votes`, `budget_usd` or `budget_hours`, whichever ends first. `n_audit(...)` of
    it is drawn uniformly from all candidates with something to buy (`is_audit`), and on
    `second_audit_share` of those a second person is asked (ordinal 1). The rest goes to the slots
    (pair, ordinal) that are left: by expected gain (`value`; equal gains by information, see
    `value.py`; less by `diversity` within clusters), by difference in length, by disagreement, by
    `scores` (pair_id, score; high first) or at random; all but `value` ask about every pair once before
    they ask a second time. Remaining ties fall by content hash. With `annotators`, `to` names the person
    and value goes by gain per price (`assignment.py`); without, `to` is "human" and a vote costs the
    same everywhere. `propensity` is, on every row, the probability that its pair was in the audit draw.
    `expected_gain` is the expected drop of the label's error in every method. `features` is the
    candidate as JSON, so a route holds the label before the vote.

    Continuous mode: `already` are this round's routes (ROUTES; `is_answered`, absent: none; `is_charged`, absent:
    all), whose answers `candidates` hold; those charged have used up budget. `limit` bounds the next ones, but for the
    audit, which is asked whole with the first and not drawn again: later it could only be drawn from what the method
    has left. Taking one at a time gives the routes of one batch, in its order, as long as no answer arrives and
    nothing stops it. Empty for method `none`, no budget or no candidates. Raises RefusedError for a method that needs
    scores and has none.
    """
    if rule.method in SCORED and scores is None:
        raise RefusedError(f"routing method {rule.method} without scores", expected="a score per pair",
                           next=f"compute them in curate.routing.{rule.method}")
    spent = _Spent.of(already)
    pool = candidates.filter(pl.col("n_buyable").is_null() | (pl.col("n_buyable") > 0)).sort("pair_id")
    budget = _affordable(rule, people)
    if rule.method == "none" or budget <= len(spent) or not pool.height:
        return Decision(ROUTES.empty())
    n_drawn = n_audit(budget, rule.audit_share, pool.height) if spent.propensity is None else 0
    slots = _audited(_slots(pool, rule, people.skill, round_id, seed, spent, scores), pool, rule, n_drawn, spent,
                     (round_id, seed))
    ordered = _in_order(slots, rule)
    if people.annotators is None:
        bought = ordered.head(budget - len(spent)).with_columns(
            to=pl.lit("human"), cost_usd=pl.lit(people.cost_usd, dtype=pl.Float64), seconds=pl.lit(people.seconds)
        )
    else:
        bought = _assigned(ordered, pool, rule, people, seed, spent, budget)
    stopped = stop(bought, rule.stop_below)
    most = stopped.n_kept if limit is None else min(max(limit, int(bought["is_audit"].sum())), stopped.n_kept)
    kept = bought.head(most)
    propensity = n_drawn / pool.height if spent.propensity is None else spent.propensity
    return Decision(_as_routes(kept, rule, round_id, propensity), stopped.reason)


def n_audit(budget: int, share: float, n_candidates: int) -> int:
    """Votes of a budget that are routed at random: share · budget, halves up, at least 1 if both are positive."""
    if budget <= 0 or share <= 0:
        return 0
    return min(max(1, math.floor(share * budget + 0.5)), budget, n_candidates)


@dataclass(frozen=True)
class _Spent:
    """What this round has routed before."""

    routes: pl.DataFrame
    """pair_id, to, ordinal, is_audit, is_answered, is_charged, cost_usd, propensity"""

    @classmethod
    def of(cls, already: pl.DataFrame | None) -> _Spent:
        routes = ROUTES.empty() if already is None else already
        absent = {"is_answered": False, "is_charged": True}
        filled = routes.with_columns(pl.lit(v).alias(c) for c, v in absent.items() if c not in routes.columns)
        return cls(filled.select("pair_id", "to", "ordinal", "is_audit", *absent, "cost_usd", "propensity"))

    def __len__(self) -> int:
        return self._charged.height

    @property
    def _charged(self) -> pl.DataFrame:
        return self.routes.filter("is_charged")

    @property
    def propensity(self) -> float | None:
        """Chance of every pair to be in the round's audit; None before the first route."""
        return float(self.routes["propensity"][0]) if self.routes.height else None

    @property
    def usd(self) -> float:
        return float(self._charged["cost_usd"].sum())

    def seconds(self, voters: pl.DataFrame) -> float:
        """Time of the people who were asked."""
        return float(self._charged.join(voters, left_on="to", right_on="voter")["seconds"].sum())

    def by_pair(self) -> pl.DataFrame:
        """(pair_id, n_answered, n_routed, n_audits)."""
        return self.routes.group_by("pair_id").agg(
            n_answered=pl.col("is_answered").sum().cast(pl.Int64), n_routed=pl.len().cast(pl.Int64),
            n_audits=pl.col("is_audit").sum().cast(pl.Int64),
        )


def _affordable(rule: Routing, people: People) -> int:
    """Votes that all budgets allow; with annotators the cheapest and fastest of them, `_within` cuts exactly."""
    cost, seconds = people.cost_usd, people.seconds
    if people.annotators is not None and people.annotators.height:
        cost, seconds = (float(people.annotators[c].min()) for c in ("cost_usd", "seconds"))  # type: ignore[arg-type]
    votes = float(rule.budget_votes)
    if rule.budget_usd is not None and cost > 0:
        votes = min(votes, rule.budget_usd / cost)
    if rule.budget_hours is not None and seconds > 0:
        votes = min(votes, 3600 * rule.budget_hours / seconds)
    return math.floor(votes + TOLERANCE)


def _slots(
    pool: pl.DataFrame, rule: Routing, skill: float, round_id: str, seed: int, spent: _Spent,
    scores: pl.DataFrame | None,
) -> pl.DataFrame:
    """One row per pair and vote that could be asked for, with all that an order is made of.

    `curve` counts votes from what the posterior holds, `ordinal` from the beginning of the round: they
    differ by the answers that have arrived.
    """
    most = max(rule.max_votes_per_pair, 2 if rule.second_audit_share > 0 else 1)
    of = BELIEVED if set(BELIEVED) <= set(pool.columns) else ("p_a", "p_tie")
    slots = with_gains(pool, skill, most).rename({"ordinal": "curve"}).join(spent.by_pair(), on="pair_id", how="left")
    known = slots.with_columns(pl.col("n_answered", "n_routed", "n_audits").fill_null(0)).with_columns(
        ordinal=pl.col("curve") + pl.col("n_answered")
    )
    open_ = known.filter(
        pl.col("curve") < pl.col("n_buyable").fill_null(most), pl.col("ordinal") < most,
        pl.col("ordinal") >= pl.col("n_routed"),
    ).with_columns(
        (disagreement() * 1e9).round().alias("disagreement"), length_difference().alias("length"),
        information(skill, of).alias("information"), draw(seed, round_id, "route").alias("chance"),
        undiscounted=pl.col("expected_gain"),
    )
    if rule.stop_below > 0:
        open_ = open_.join(with_changes(pool, skill, most).rename({"ordinal": "curve"}), on=["pair_id", "curve"])
    scored = open_ if scores is None else open_.join(scores.select("pair_id", "score"), on="pair_id", how="left")
    return discounted(scored, rule.diversity, _chosen(pool, scored, spent)) if rule.method == "value" else scored


def _chosen(pool: pl.DataFrame, slots: pl.DataFrame, spent: _Spent) -> pl.DataFrame:
    """(cluster, n_chosen) of the pairs that this round has asked about and that have no slot left."""
    asked = pool.join(spent.routes, on="pair_id", how="semi").join(slots, on="pair_id", how="anti")
    return asked.filter(pl.col("cluster").is_not_null()).group_by("cluster").agg(n_chosen=pl.len().cast(pl.Int64))


def _audited(
    slots: pl.DataFrame, pool: pl.DataFrame, rule: Routing, n_drawn: int, spent: _Spent, chance: tuple[str, int]
) -> pl.DataFrame:
    """Slots with audit_rank and is_audit; slots that only a second audit vote may use are gone elsewhere."""
    round_id, seed = chance
    ranked = slots.join(audit_draw(pool, n_drawn, seed, round_id), on="pair_id", how="left")
    is_first = pl.col("audit_rank").is_not_null() & (pl.col("ordinal") == 0)
    is_audited = pl.col("audit_rank").is_not_null() | (pl.col("n_audits") > 0)
    is_twice = uniform_expr(seed, [pl.lit("second audit"), pl.lit(round_id), "pair_id"]) < rule.second_audit_share
    is_second = is_audited & (pl.col("ordinal") == 1) & is_twice
    marked = ranked.with_columns(is_audit=is_first | is_second)
    return marked.filter(pl.col("is_audit") | (pl.col("ordinal") < rule.max_votes_per_pair))


def _in_order(slots: pl.DataFrame, rule: Routing) -> pl.DataFrame:
    keys, descending = _order(rule.method)
    audited = slots.filter("is_audit").sort("ordinal", "audit_rank", "chance", "pair_id")
    rest = slots.filter(~pl.col("is_audit")).sort(keys, descending=descending, nulls_last=True)
    return pl.concat([audited, rest])


def _order(method: str) -> tuple[list[str], list[bool]]:
    """Sort keys, best first."""
    if method == "value":
        return ["expected_gain", "information", "chance", "pair_id", "ordinal"], [True, True, False, False, False]
    if method == "random":
        return ["ordinal", "chance", "pair_id"], [False, False, False]
    return ["ordinal", "score" if method in SCORED else method, "chance", "pair_id"], [False, True, False, False]


def _assigned(
    ordered: pl.DataFrame, pool: pl.DataFrame, rule: Routing, people: People, seed: int, spent: _Spent, budget: int
) -> pl.DataFrame:
    """The slots that people take, in the order of purchase, within every budget."""
    if people.annotators is None or not people.annotators.height:
        return ordered.clear().with_columns(to=pl.lit(""), cost_usd=pl.lit(0.0), seconds=pl.lit(0.0))
    voters = prices(people.annotators, rule)
    taken = spent.routes.group_by("to").agg(n=pl.len().cast(pl.Int64))
    free = voters.join(taken, left_on="voter", right_on="to", how="left").with_columns(
        capacity=pl.col("capacity") - pl.col("n").fill_null(0)
    ).drop("n")
    voted = pl.concat([f for f in (people.voted, spent.routes.select("pair_id", voter="to")) if f is not None])
    offered = offers(pool, ordered.head(SPARE * budget).with_row_index("place"), free, rule, seed)
    assigned = assign(offered, free.filter(pl.col("capacity") > 0), voted, rule.method == "value")
    numbered = assigned.with_columns(
        ordinal=pl.col("n_routed") + pl.int_range(pl.len()).over("pair_id"), to=pl.col("voter")
    )
    return _within(numbered, rule, budget - len(spent), spent.usd, spent.seconds(voters))


def _within(votes: pl.DataFrame, rule: Routing, n_left: int, usd: float, seconds: float) -> pl.DataFrame:
    """The longest beginning of a list of votes that every budget allows, after so much money and time."""
    fits = pl.int_range(pl.len()) < n_left
    if rule.budget_usd is not None:
        fits = fits & (pl.col("cost_usd").cum_sum() + usd <= rule.budget_usd + TOLERANCE)
    if rule.budget_hours is not None:
        fits = fits & (pl.col("seconds").cum_sum() + seconds <= 3600 * rule.budget_hours + TOLERANCE)
    return votes.filter(fits.cast(pl.Int8).cum_min() == 1)


def _as_routes(slots: pl.DataFrame, rule: Routing, round_id: str, propensity: float) -> pl.DataFrame:
    audit = pl.when(pl.col("ordinal") > 0).then(pl.lit("audit: second vote")).otherwise(
        pl.lit("audit: drawn at random")
    )
    return ROUTES.complete(slots.select(
        content_id_expr([pl.lit(round_id), "pair_id", "ordinal"]).alias("route_id"), "pair_id",
        pl.lit(round_id).alias("round_id"), "to", "ordinal", "expected_gain", "cost_usd",
        pl.lit(propensity).alias("propensity"), "is_audit",
        pl.when("is_audit").then(audit).otherwise(_reason(rule.method)).alias("reason"),
        pl.struct(list(CANDIDATES.columns)).struct.json_encode().alias("features"),
    ))


def _reason(method: str) -> pl.Expr:
    if method == "value":
        return pl.format("value: {} expected error drop", _printed(pl.col("expected_gain")))
    if method == "disagreement":
        spread, flips = _printed(pl.col("judge_spread")), _printed(pl.col("flip_share"))
        return pl.format("disagreement: judges spread {}, flip share {}", spread, flips)
    if method == "length":
        return pl.format("length: {} characters apart", pl.col("length"))
    if method in SCORED:
        return pl.format("{}: score {}", pl.lit(method), pl.col("score").round(4).cast(pl.String).fill_null("unknown"))
    return pl.lit("random: drawn at random")


def _printed(number: pl.Expr) -> pl.Expr:
    """Three decimals, from integers: 0.061."""
    thousandths = (number * 1000).round().cast(pl.Int64)
    return pl.concat_str(
        (thousandths // 1000).cast(pl.String), pl.lit("."), (thousandths % 1000).cast(pl.String).str.zfill(3)
    )
