"""Tournament: seeds by score, then a single-elimination bracket of judged pairs, n - 1 matches for n responses.

In the manner of ArenaRL's seeded single elimination (its abstract says: seeds by score, O(N) calls). Assumed
here: the standard bracket, in which seed k of a field of s meets seed s + 1 - k, so that the best two can
only meet in the final; missing seeds are byes for the highest; each match is judged in both orders, and a
tie, an abstention or a missing verdict goes to the higher seed.

A pure state machine: `first_matches`, then judge and `played`, then `next_matches`, until none is left.
Frame *matches*, one row per prompt, level and slot: prompt_id, source, level (1 is the first), slot (1..size/2),
size (places of the level, a power of two), pair_id, high, low (response ids; low and pair_id are null for a
bye), seed_high, seed_low, and once played p_high (expected win of the higher seed; null: no verdict).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curate.consensus.outcomes import expected_win
from curate.synthesis.selection import Selection, checked, discarded, pairs_of
from schemas.errors import InputError
from schemas.ids import content_id_expr, uniform_expr

STAGE = ORIGIN = "tournament"
MATCHES: dict[str, pl.DataType] = {
    "prompt_id": pl.String(), "source": pl.String(), "level": pl.Int64(), "slot": pl.Int64(), "size": pl.Int64(),
    "pair_id": pl.String(), "high": pl.String(), "low": pl.String(), "seed_high": pl.Int64(), "seed_low": pl.Int64(),
}


@dataclass(frozen=True)
class Draw:
    """The first level of every prompt's bracket, and who is not in it."""

    matches: pl.DataFrame
    """frame matches, byes included, sorted by prompt_id, slot"""
    discards: pl.DataFrame
    """contract DISCARDS: `identical_text` (`detail`: the response that plays), `alone`"""


def first_matches(responses: pl.DataFrame, scores: pl.DataFrame | None, seed: int) -> Draw:
    """The first level. `responses` has response_id, prompt_id, text_id, perhaps source; `scores` response_id, score.

    Seeds follow the score; responses without a finite one come last, in an order that `seed` draws. Of
    responses of identical text only the highest seed plays. Raises InputError for a missing column, a
    repeated response or a response with two scores.
    """
    needed = ("response_id", "prompt_id", "text_id")
    rows = checked(responses, needed, "responses").select(*needed, "source")
    seeded = _seeded(rows, scores, seed)
    first_of_text = pl.col("response_id").first().over("prompt_id", "text_id")
    told = seeded.with_columns(first_of_text.alias("plays"))
    twice = told.filter(pl.col("plays") != pl.col("response_id"))
    field = told.join(twice, on="response_id", how="anti", maintain_order="left").with_columns(
        pl.len().over("prompt_id").cast(pl.Int64).alias("n"),
        (pl.int_range(pl.len()).over("prompt_id") + 1).alias("place"))
    alone = field.filter(pl.col("n") == 1).select(row_id="response_id", reason=pl.lit("alone"), detail=pl.lit(None))
    same = twice.select(row_id="response_id", reason=pl.lit("identical_text"), detail="plays")
    left_out = discarded(pl.concat([same, alone], how="vertical_relaxed"), "response", STAGE)
    return Draw(_level(field.filter(pl.col("n") > 1), 1), left_out)


def to_judge(matches: pl.DataFrame) -> pl.DataFrame:
    """Frame `pairs` of matches that need a verdict (no bye), origin `tournament`: asked in both orders."""
    real = matches.filter(pl.col("low").is_not_null())
    return pairs_of(real.select("prompt_id", "source", left="high", right="low"), ORIGIN)


def played(matches: pl.DataFrame, verdicts: pl.DataFrame) -> pl.DataFrame:
    """`matches` with p_high, from `verdicts` (pair_id, p_a, p_tie; one row per pair, both orders folded).

    A null p or an absent pair is no verdict: the higher seed goes on. Raises InputError for a pair with two
    verdicts.
    """
    if verdicts["pair_id"].is_duplicated().any():
        raise InputError("a pair with two verdicts", expected="one row per pair", next="fold orders and judges first")
    win = verdicts.select("pair_id", expected_win(pl.col("p_a"), pl.col("p_tie")).alias("win_a"))
    joined = matches.select(*MATCHES).join(win, on="pair_id", how="left", maintain_order="left")
    is_a = pl.col("high") < pl.col("low")
    return joined.with_columns(pl.when(is_a).then("win_a").otherwise(1 - pl.col("win_a")).alias("p_high")).drop("win_a")


def next_matches(done: pl.DataFrame) -> pl.DataFrame:
    """The next level of every bracket whose last level is in `done` (frame matches with p_high); empty at the end.

    `done` may hold all levels or the last one only. Raises InputError when a level was not played.
    """
    if "p_high" not in done.columns:
        raise InputError("matches without p_high", expected="matches that were played", next="call played first")
    last = done.filter(pl.col("level") == pl.col("level").max().over("prompt_id"))
    going_on = last.filter(pl.col("size") > 2)
    winners = _with_winner(going_on).select(
        "prompt_id", "source", "level", response_id="winner", seed="seed_winner", place="slot",
        n=pl.col("size") // 2)
    levels = [_level(part.drop("level"), int(part["level"][0]) + 1) for part in winners.partition_by("level")]
    return pl.concat([_no_matches(), *levels]).sort("prompt_id", "slot")


def standings(done: pl.DataFrame) -> pl.DataFrame:
    """(prompt_id, response_id, seed, rank, n_wins, out_in), sorted by prompt and rank, of all levels played.

    Rank 1 is the champion; then whoever fell later, of equal ones the higher seed. `out_in` is the level in
    which it fell, null for the champion; byes are no wins.
    """
    told = _with_winner(done)
    is_real = pl.col("low").is_not_null()
    fell = told.filter(is_real).select(
        "prompt_id", response_id="loser", seed="seed_loser", out_in="level")
    final = told.filter(pl.col("size") == 2).select(
        "prompt_id", response_id="winner", seed="seed_winner", out_in=pl.lit(None, pl.Int64))
    wins = told.filter(is_real).group_by("prompt_id", response_id="winner").agg(n_wins=pl.len().cast(pl.Int64))
    everyone = pl.concat([final, fell]).join(wins, on=["prompt_id", "response_id"], how="left")
    ranked = everyone.sort("prompt_id", -pl.col("out_in").fill_null(1 << 30), "seed")
    rank = pl.int_range(pl.len()).over("prompt_id") + 1
    return ranked.with_columns(rank.alias("rank"), pl.col("n_wins").fill_null(0)).select(
        "prompt_id", "response_id", "seed", "rank", "n_wins", "out_in")


def tournament_pairs(done: pl.DataFrame, n_pairs: int) -> Selection:
    """Up to `n_pairs` pairs per prompt of its champion, origin `tournament`: the result of the bracket.

    First against those it beat, the last beaten first (their votes are there), then against the losers of the
    first level, the lowest seed first (not met: to be judged). The other matches stay what they are, pairs
    with votes of their own. Discards `not_paired`: responses in none of these pairs, `detail` their rank.
    Raises InputError for n_pairs < 1.
    """
    if n_pairs < 1:
        raise InputError(f"n_pairs = {n_pairs}", expected="1 or more")
    ranks = standings(done)
    champion = ranks.filter(pl.col("rank") == 1).select("prompt_id", champion="response_id")
    rivals = _rivals(done, ranks, champion).filter(pl.int_range(pl.len()).over("prompt_id") < n_pairs)
    pairs = pairs_of(rivals.select("prompt_id", "source", left="champion", right="response_id"), ORIGIN)
    paired = pl.concat([pairs["response_a"], pairs["response_b"]]).unique().to_frame("response_id")
    rest = ranks.join(paired, on="response_id", how="anti").select(
        row_id="response_id", reason=pl.lit("not_paired"), detail=pl.format("rank {}", "rank"))
    return Selection(pairs, discarded(rest, "response", STAGE))


def _seeded(rows: pl.DataFrame, scores: pl.DataFrame | None, seed: int) -> pl.DataFrame:
    """Rows by prompt, the best seed first, with `seed` 1, 2, …"""
    known = scores if scores is not None else pl.DataFrame(schema={"response_id": pl.String, "score": pl.Float64})
    if known["response_id"].is_duplicated().any():
        raise InputError("a response with two scores", expected="one model's scores", next="choose one model")
    scored = rows.join(known.select("response_id", pl.col("score").cast(pl.Float64)), on="response_id", how="left")
    finite = pl.when(pl.col("score").is_finite()).then("score")
    drawn = scored.with_columns(finite.alias("score"), uniform_expr(seed, [pl.lit(STAGE), "response_id"]).alias("draw"))
    by = [pl.col("prompt_id"), -pl.col("score"), pl.when(pl.col("score").is_null()).then("draw"), pl.col("response_id")]
    ordered = drawn.sort(by, nulls_last=True)
    return ordered.with_columns((pl.int_range(pl.len()).over("prompt_id") + 1).alias("seed")).drop("score", "draw")


def _level(field: pl.DataFrame, level: int) -> pl.DataFrame:
    """Matches of a field (prompt_id, source, response_id, seed, place 1..n, n): place k meets size + 1 - k."""
    size = pl.lit(2, pl.Int64).pow(pl.sum_horizontal(pl.col("n") > 2**i for i in range(31)))
    slot = pl.min_horizontal("place", pl.col("size") + 1 - pl.col("place"))
    slotted = field.with_columns(size.alias("size")).with_columns(slot.alias("slot")).sort("prompt_id", "slot", "place")
    ends = [pl.col("response_id").first().alias("high"), pl.col("response_id").get(1, null_on_oob=True).alias("low"),
            pl.col("seed").first().alias("seed_high"), pl.col("seed").get(1, null_on_oob=True).alias("seed_low")]
    met = slotted.group_by("prompt_id", "source", "size", "slot", maintain_order=True).agg(ends)
    low_id, high_id = pl.min_horizontal("high", "low"), pl.max_horizontal("high", "low")
    pair = pl.when(pl.col("low").is_not_null()).then(content_id_expr([low_id, high_id])).alias("pair_id")
    return met.with_columns(pair, level=pl.lit(level)).select(
        pl.col(c).cast(t) for c, t in MATCHES.items()).sort("prompt_id", "slot")


def _with_winner(done: pl.DataFrame) -> pl.DataFrame:
    low_wins = (pl.col("low").is_not_null() & (pl.col("p_high") < 0.5)).fill_null(False)
    sides = {"winner": ("low", "high"), "loser": ("high", "low"), "seed_winner": ("seed_low", "seed_high"),
             "seed_loser": ("seed_high", "seed_low")}
    return done.with_columns(
        pl.when(low_wins).then(yes).otherwise(no).alias(name) for name, (yes, no) in sides.items())


def _rivals(done: pl.DataFrame, ranks: pl.DataFrame, champion: pl.DataFrame) -> pl.DataFrame:
    """(prompt_id, source, champion, response_id): whom the champion is paired with, in order of preference."""
    source = done.group_by("prompt_id").agg(pl.col("source").min())
    beaten = _with_winner(done).join(champion, on="prompt_id").filter(
        pl.col("winner") == pl.col("champion"), pl.col("low").is_not_null())
    others = ranks.filter(pl.col("rank") > 1).join(champion, on="prompt_id").join(source, on="prompt_id")
    marked = others.join(beaten.select(response_id="loser", met=pl.lit(True)), on="response_id", how="left")
    chosen = marked.filter(pl.col("met").fill_null(False) | (pl.col("out_in") == 1))
    return chosen.sort("prompt_id", ~pl.col("met").fill_null(False), pl.when("met").then("rank"), -pl.col("seed"))


def _no_matches() -> pl.DataFrame:
    return pl.DataFrame(schema=MATCHES)
