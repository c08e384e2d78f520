"""West-of-N: best against worst, above quantiles; every response is in a pair or has a reason."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from curate.synthesis.west_of_n import candidates, choose_quantiles, west_of_n
from schemas.errors import InputError, RefusedError


def responses(**prompts: str) -> pl.DataFrame:
    """One response per letter; its text id is the letter in capitals."""
    rows = [(r, p, r.upper()) for p, letters in prompts.items() for r in letters]
    frame = pl.DataFrame(rows, schema=["response_id", "prompt_id", "text_id"], orient="row")
    return frame.with_columns(logprob_sum=pl.lit(-10.0), n_tokens=pl.lit(10))


def scores(**values: float) -> pl.DataFrame:
    return pl.DataFrame({"response_id": list(values), "score": [float(v) for v in values.values()]})


def reasons(discards: pl.DataFrame) -> dict[str, str]:
    return dict(discards.select("row_id", "reason").sort("row_id").iter_rows())


def test_the_best_meets_the_worst_and_the_others_are_between() -> None:
    found = west_of_n(responses(p="abcd"), scores(a=1, b=4, c=0, d=2), west_quantile=0)
    assert found.pairs.select("response_a", "response_b", "origin").rows() == [("b", "c", "west_of_n")]
    assert reasons(found.discards) == {"a": "between", "d": "between"}


def test_of_equal_scores_the_smallest_id_is_best_and_worst() -> None:
    found = west_of_n(responses(p="abcd")[::-1], scores(a=1, b=1, c=2, d=2), west_quantile=0)
    assert found.pairs.select("response_a", "response_b").rows() == [("a", "c")]


def test_pairs_below_the_quantile_of_p_name_the_response_they_would_have_met() -> None:
    found = west_of_n(responses(p="ab", q="cd", r="ef"), scores(a=0, b=1, c=0, d=2, e=0, f=3), west_quantile=0.5)
    assert found.pairs["prompt_id"].sort().to_list() == ["q", "r"]
    assert found.discards.select("row_id", "reason", "detail").sort("row_id").rows() == [
        ("a", "below_west_quantile", "b"), ("b", "below_west_quantile", "a")]


def test_margins_so_large_that_p_is_one_in_floating_point_are_still_told_apart() -> None:
    found = west_of_n(responses(p="ab", q="cd"), scores(a=0, b=100, c=0, d=1000), west_quantile=1)
    assert found.pairs["prompt_id"].to_list() == ["q"]


def test_both_responses_must_be_likely_under_the_policy() -> None:
    rows = responses(p="ab", q="cd", r="ef").with_columns(
        logprob_sum=pl.Series([-10.0, -90.0, -10.0, -10.0, -10.0, None]))
    values = scores(a=0, b=1, c=0, d=1, e=0, f=1)
    found = west_of_n(rows, values, west_quantile=0, likelihood_quantile=0.5)
    assert found.pairs["prompt_id"].to_list() == ["q"]
    assert reasons(found.discards) == {"a": "below_likelihood_quantile", "b": "below_likelihood_quantile",
                                       "e": "no_likelihood", "f": "no_likelihood"}
    assert west_of_n(rows, values, west_quantile=0).pairs.height == 3


def test_likelihood_is_per_token_so_a_long_response_is_not_unlikely() -> None:
    rows = responses(p="ab").with_columns(logprob_sum=pl.Series([-1000.0, -1.0]), n_tokens=pl.Series([1000, 1]))
    assert candidates(rows, scores(a=0, b=1))["likelihood"].to_list() == [-1.0]


def test_unscored_lonely_equal_and_identical_responses_make_no_pair_and_say_why() -> None:
    rows = responses(p="ab", q="c", r="de", s="fg").with_columns(
        text_id=pl.col("text_id").replace({"G": "F"}))
    found = west_of_n(rows, scores(a=1, b=float("nan"), c=1, d=2, e=2, f=0, g=1), west_quantile=0)
    assert found.pairs.is_empty()
    assert reasons(found.discards) == {
        "a": "alone", "b": "not_scored", "c": "alone", "d": "equal_scores", "e": "equal_scores",
        "f": "identical_text", "g": "identical_text"}


def test_every_response_is_in_a_pair_or_discarded_and_rows_may_come_in_any_order() -> None:
    rows, values = world(40, 5, 0)[:2]
    found = west_of_n(rows, values, west_quantile=0.6, likelihood_quantile=0.2)
    again = west_of_n(rows.sample(fraction=1, shuffle=True, seed=1), values[::-1], west_quantile=0.6,
                      likelihood_quantile=0.2)
    assert again.pairs.equals(found.pairs)
    assert again.discards.equals(found.discards)
    told = [*found.pairs["response_a"], *found.pairs["response_b"], *found.discards["row_id"]]
    assert sorted(told) == sorted(rows["response_id"])


def world(n_prompts: int, n: int, seed: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Responses, scores of a noisy reward model, and the true quality behind them."""
    rng, size = np.random.default_rng(seed), n_prompts * n
    quality = rng.normal(size=size)
    ids = [f"r{i:05}" for i in range(size)]
    rows = pl.DataFrame({"response_id": ids, "prompt_id": [f"p{i // n}" for i in range(size)], "text_id": ids,
                         "logprob_sum": rng.normal(-100, 10, size), "n_tokens": 100})
    noisy = pl.DataFrame({"response_id": ids, "score": quality + rng.normal(size=size)})
    return rows, noisy, pl.DataFrame({"response_id": ids, "quality": quality})


def judged(n: int, seed: int = 0) -> pl.DataFrame:
    rows, noisy, truth = world(2000, n, seed)
    best = truth.rename({"response_id": "best", "quality": "of_best"})
    worst = truth.rename({"response_id": "worst", "quality": "of_worst"})
    found = candidates(rows, noisy).join(best, on="best").join(worst, on="worst")
    return found.with_columns(is_correct=pl.col("of_best") > pl.col("of_worst"))


@pytest.mark.slow
def test_pairs_are_the_more_correct_the_more_samples_there_are() -> None:
    shares = [float(judged(n)["is_correct"].mean()) for n in (2, 4, 16)]  # type: ignore[arg-type]
    assert all(b - a > 0.02 for a, b in pairwise(shares))


def test_pairs_are_the_more_correct_the_higher_the_quantile() -> None:
    report = choose_quantiles(judged(2), grid=(0.0, 0.5, 0.9)).report
    assert report["kept_share"].round(2).to_list() == [1.0, 0.5, 0.1]
    assert all(b - a > 0.02 for a, b in pairwise(report["correctness"]))


def test_a_scorer_that_knows_nothing_gains_nothing_from_samples_or_quantiles() -> None:
    shuffled = judged(16).with_columns(is_correct=pl.Series(np.random.default_rng(1).random(2000) < 0.5))
    assert (choose_quantiles(shuffled).report["correctness"] - 0.5).abs().max() < 0.1  # type: ignore[operator]


def test_validation_chooses_what_is_surely_correct_not_what_is_luckily_so() -> None:
    margins = pl.DataFrame({"margin": [float(i) for i in range(100)], "likelihood": -1.0})
    right = margins.with_columns(is_correct=pl.col("margin") >= 50)
    chosen = choose_quantiles(right, grid=(0.0, 0.5, 0.99), min_pairs=1)
    assert (chosen.west, chosen.likelihood) == (0.5, 0.0)


def test_the_likelihood_quantile_is_chosen_too_where_likelihoods_are_known() -> None:
    rows = pl.DataFrame({"margin": 1.0, "likelihood": [-float(i) for i in range(100)]}).with_columns(
        is_correct=pl.col("likelihood") > -50)
    assert choose_quantiles(rows, grid=(0.0, 0.5), has_likelihood=True).likelihood == 0.5


def test_too_few_validation_pairs_and_quantiles_that_are_none_are_refused() -> None:
    with pytest.raises(RefusedError, match="0 validation pairs"):
        choose_quantiles(judged(2).clear())
    with pytest.raises(InputError, match=r"1\.5"):
        west_of_n(responses(p="ab"), scores(a=1, b=2), west_quantile=1.5)
    with pytest.raises(InputError, match="two scores"):
        west_of_n(responses(p="ab"), pl.concat([scores(a=1), scores(a=2)]))


def test_a_column_of_the_caller_s_never_stands_in_for_a_computed_one() -> None:
    crowded = responses(p="ab", q="cd").with_columns(
        score=pl.Series([9.0, 1.0, 9.0, 1.0]), best=pl.lit("x"), reason=pl.lit("y"), margin=pl.lit(1), n=pl.lit(1))
    values = scores(a=0, b=1, c=2, d=5)
    plain = west_of_n(responses(p="ab", q="cd"), values)
    assert candidates(crowded, values)["best"].to_list() == ["b", "d"]
    assert west_of_n(crowded, values).discards.equals(plain.discards)


def test_no_responses_make_no_pairs() -> None:
    found = west_of_n(responses(p="a").clear(), scores(a=1))
    assert (found.pairs.height, found.discards.height) == (0, 0)
