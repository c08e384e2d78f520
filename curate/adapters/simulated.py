"""Simulated policies, judges and annotators with known skill, bias and truth.

A voter perceives d = skill · (difference of perceived qualities) + order_bias for what is shown
first + length_bias · log2 of the lengths' ratio, and its verdict is drawn from Davidson's model
(Davidson 1970, "On extending the Bradley–Terry model to accommodate ties"): weights exp(d/2),
exp(−d/2) and tie_width. A family misperceives each text in one and the same way, so its members
share errors that no second order and no second member takes away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import polars as pl

from curate.adapters.simulated_world import SimulatedWorld, normal
from curate.engines import CallReply, CallRequest
from schemas.errors import InputError, RecipeError
from schemas.ids import content_id_expr, uniform_expr
from schemas.sections import SimulatedPolicy, SimulatedVoter
from schemas.tables import ANSWERS, VOTERS, VOTES

MISPERCEPTION = 0.35
"""spread of a family's error on one text, in spreads of true quality"""
OVERCONFIDENCE = 0.9
"""share of a judge's reported probability that lies on its verdict; the rest is Davidson's model"""
FLOOR = 1e-9
VERDICTS = ("1", "2", "tie")
SOURCE = "simulated"


class SimulatedPolicies:
    """The engine `generate` over a simulated world."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world

    def voters(self) -> pl.DataFrame:
        """No rows: a policy has no vote."""
        return VOTERS.empty()

    def identity(self, policy: str) -> str:
        """For example `simulated/bold@1f00c5aa`. Raises InputError for an unknown policy."""
        return self._world.identity(_named(policy, self._world.world.policies))

    def generate(self, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        """One text per request, fixed by world, policy and call key. Raises InputError for an unknown policy."""
        if not requests:
            return
        asked = pl.DataFrame(
            [(r.call_key, r.voter, r.prompt) for r in requests], schema=["key", "policy", "prompt"], orient="row"
        )
        for request, text in zip(requests, self._world.write(asked), strict=True):
            tokens = _n_tokens(request.prompt), _n_tokens(text)
            yield CallReply(request.call_key, text, prompt_tokens=tokens[0], output_tokens=tokens[1])


class SimulatedJudges:
    """The engine `judge`: every judge of the world's recipe."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world, self._judges = world, world.world.judges

    def voters(self) -> pl.DataFrame:
        """Frame `voters`, one row per judge; a judge without a family is its own."""
        return _voter_rows(self._judges, "judge", self._world)

    def identity(self, judge: str) -> str:
        """For example `simulated/strict@1f00c5aa`. Raises InputError for an unknown judge."""
        return self._world.identity(_named(judge, self._judges))

    def judge(self, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        """One verdict per request with overconfident log probabilities whose mean is Davidson's model."""
        if not requests:
            return
        rows = [(r.call_key, r.voter, r.first, r.second) for r in requests]
        asked = pl.DataFrame(rows, schema=["key", "voter", "first", "second"], orient="row")
        prices = {j.name: j.cost_usd for j in self._judges}
        opinions = _opinions(asked, self._judges, self._world)
        for request, (verdict, *reported) in zip(requests, opinions.iter_rows(), strict=True):
            yield CallReply(
                request.call_key,
                verdict,
                choice_logprobs=dict(zip(VERDICTS, reported, strict=True)),
                prompt_tokens=_n_tokens(request.prompt + request.first + request.second),
                output_tokens=1,
                cost_usd=prices[request.voter],
            )


class SimulatedAnnotators:
    """The engine `annotate`: each task goes to one annotator, drawn by its key, and is always answered."""

    def __init__(
        self, world: SimulatedWorld, *, criterion: str = "overall", clock: Callable[[], datetime] | None = None
    ) -> None:
        self._world, self._annotators, self._criterion = world, world.world.annotators, criterion
        self._clock = clock or (lambda: datetime.now(UTC))
        if not self._annotators:
            raise RecipeError("a simulated world without annotators", expected="[[world.annotators]]")

    def voters(self) -> pl.DataFrame:
        """Frame `voters`, one row per annotator."""
        return _voter_rows(self._annotators, "human", self._world)

    def send(self, tasks: pl.DataFrame) -> pl.DataFrame:
        """(task_key, external_id) of every task; nothing leaves the machine."""
        return tasks.select("task_key", external_id=pl.concat_str(pl.lit("simulated/"), "task_key"))

    def collect(self, tasks: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Frames `votes` and `answers`, one row per task, equal each time but for `answered_at`.

        Takes the columns of `curate.engines.Annotate.collect` and, if there is one, `round_id`.
        """
        if not tasks.height:
            return VOTES.empty(), ANSWERS.empty()
        names = pl.Series("voter", [a.name for a in self._annotators])
        who = tasks.select(uniform_expr(self._world.world.seed, [pl.lit("who"), "task_key"])).to_series()
        asked = tasks.with_columns(names.gather((who * len(names)).floor().cast(pl.Int64)))
        votes = self._votes(asked)
        answers = asked.select(
            "task_key", outcome=pl.lit("voted"), vote_id=votes["vote_id"], answered_at=pl.lit(self._clock())
        )
        return VOTES.complete(votes), ANSWERS.complete(answers)

    def _votes(self, asked: pl.DataFrame) -> pl.DataFrame:
        is_a_first = pl.col("shown_first") == "a"
        read = asked.select(
            pl.col("task_key").alias("key"), "voter", "shown_first", "pair_id",
            pl.col("round_id") if "round_id" in asked.columns else pl.lit(None, dtype=pl.String).alias("round_id"),
            pl.when(is_a_first).then("text_a").otherwise("text_b").alias("first"),
            pl.when(is_a_first).then("text_b").otherwise("text_a").alias("second"),
        )
        verdict = _opinions(read, self._annotators, self._world)["verdict"]
        is_a_better = pl.col("verdict") == pl.when(is_a_first).then(pl.lit("1")).otherwise(pl.lit("2"))
        prices = {a.name: a.cost_usd for a in self._annotators}
        ballot: list[str | pl.Expr] = [pl.lit(SOURCE), "key", "pair_id", "voter", pl.lit(self._criterion)]
        return read.with_columns(verdict).select(
            content_id_expr([*ballot, pl.lit(None, dtype=pl.String), "shown_first"]).alias("vote_id"),
            content_id_expr(ballot).alias("ballot_id"), "pair_id", "voter",
            is_a_better.cast(pl.Float64).alias("p_a"),
            (pl.col("verdict") == "tie").cast(pl.Float64).alias("p_tie"),
            pl.lit(False).alias("is_abstention"), pl.lit(1).alias("n"), "shown_first",
            pl.lit(self._criterion).alias("criterion"),
            pl.col("voter").replace_strict(prices, return_dtype=pl.Float64).alias("cost_usd"),
            pl.lit("cast").alias("status"), "round_id",
        )


def _opinions(asked: pl.DataFrame, voters: Sequence[SimulatedVoter], world: SimulatedWorld) -> pl.DataFrame:
    """Frame (key, voter, first, second) → (verdict, log probabilities of "1", "2", "tie"), rows in order."""
    unknown = sorted(set(asked["voter"].unique()) - {v.name for v in voters})
    if unknown:
        raise InputError(f"voters {unknown}", expected=f"one of {[v.name for v in voters]}")
    traits = pl.DataFrame([{**v.model_dump(), "voter": v.name, "family": v.family or v.name} for v in voters])
    known = asked.join(traits, on="voter", how="left", maintain_order="left")
    gap = _perceived(known, "first", world) - _perceived(known, "second", world)
    draw = uniform_expr(world.world.seed, [pl.lit("verdict"), "voter", "key"]).alias("draw")
    chances = known.with_columns(gap.alias("gap")).with_columns(_difference()).with_columns(draw, *_davidson())
    verdict = (
        pl.when(pl.col("draw") < pl.col("1")).then(pl.lit("1"))
        .when(pl.col("draw") < pl.col("1") + pl.col("tie")).then(pl.lit("tie")).otherwise(pl.lit("2")).alias("verdict")
    )
    return chances.with_columns(verdict).select("verdict", *(_reported(v) for v in VERDICTS))


def _perceived(known: pl.DataFrame, side: str, world: SimulatedWorld) -> pl.Series:
    error = uniform_expr(world.world.seed, [pl.lit("misperception"), "family", side])
    return world.quality(known[side]) + MISPERCEPTION * pl.Series(normal(known.select(error).to_series()))


def _difference() -> pl.Expr:
    first, second = (pl.max_horizontal(pl.col(side).str.len_chars(), 1).log(2) for side in ("first", "second"))
    d = pl.col("skill") * pl.col("gap") + pl.col("order_bias") + pl.col("length_bias") * (first - second)
    return d.clip(-60, 60).alias("difference")


def _davidson() -> list[pl.Expr]:
    weights = [(pl.col("difference") / 2).exp(), (-pl.col("difference") / 2).exp(), pl.col("tie_width")]
    return [(w / pl.sum_horizontal(weights)).alias(v) for w, v in zip(weights, VERDICTS, strict=True)]


def _reported(verdict: str) -> pl.Expr:
    share = OVERCONFIDENCE * (pl.col("verdict") == verdict).cast(pl.Float64) + (1 - OVERCONFIDENCE) * pl.col(verdict)
    return share.clip(FLOOR).log().alias(verdict)


def _voter_rows(voters: Sequence[SimulatedVoter], kind: str, world: SimulatedWorld) -> pl.DataFrame:
    rows = [
        {
            "voter": v.name, "kind": kind, "family": v.family or v.name, "model": f"simulated/{v.name}",
            "revision": world.revision(v), "cost_usd": v.cost_usd, "is_qualified": None,
        }
        for v in voters
    ]
    return VOTERS.complete(pl.DataFrame(rows, schema=VOTERS.schema))


def _named(
    name: str, known: Sequence[SimulatedPolicy] | Sequence[SimulatedVoter]
) -> SimulatedPolicy | SimulatedVoter:
    for one in known:
        if one.name == name:
            return one
    raise InputError(f"{name!r} in a simulated world", expected=f"one of {[k.name for k in known]}")


def _n_tokens(text: str) -> int:
    """About four characters to a token."""
    return len(text) // 4
