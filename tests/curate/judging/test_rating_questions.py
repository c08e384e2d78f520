"""Ratings are asked for one response and one attribute at a time, and only a named level is a rating."""

from __future__ import annotations

import polars as pl
import pytest

from curate.judging.instruments import shipped_instrument
from curate.judging.ratings import (
    mean_ratings,
    rating_questions,
    ratings_from_calls,
    unrated,
    votes_from_ratings,
)
from curate.judging.reading import read_verdicts
from schemas.errors import InputError

RATING = shipped_instrument("rating@1")
RESPONSES = pl.DataFrame({"response_id": ["r1", "r2"], "prompt": ["q", "q"], "response": ["AAA", "BBB"]})
PAIR = pl.DataFrame({"pair_id": ["p"], "response_a": ["r1"], "response_b": ["r2"]})
BOTH = ["helpful", "honest"]


def rated(attributes: list[str], **answers: str) -> pl.DataFrame:
    """Ratings when `<response>_<attribute>` is answered so; "none" otherwise."""
    plan, links = rating_questions(RESPONSES, attributes, [("j", "model@1")], RATING, {})
    said = [answers.get(f"{row['response_id']}_{row['attribute']}", "none") for row in links.iter_rows(named=True)]
    calls = links.select("call_key").with_columns(
        pl.Series("response", said), finish_reason=pl.lit("stop"), choice_logprobs=pl.lit(None, pl.String))
    assert plan.height == links.height
    return ratings_from_calls(read_verdicts(calls, RATING), links, RATING.scale, "rating@1")


def test_each_response_is_asked_about_alone_and_each_attribute_for_itself() -> None:
    plan, links = rating_questions(RESPONSES, BOTH, [("j", "model@1")], RATING, {})
    assert links.select("response_id", "attribute", "voter").sort("response_id", "attribute").rows() == [
        ("r1", "helpful", "model@1"), ("r1", "honest", "model@1"), ("r2", "helpful", "model@1"),
        ("r2", "honest", "model@1")]
    assert not any("AAA" in told and "BBB" in told for told in plan["messages"])


def test_equal_texts_are_rated_once() -> None:
    twins = pl.concat([RESPONSES, RESPONSES.with_columns(response_id=pl.lit("twin-") + pl.col("response_id"))])
    plan, links = rating_questions(twins, ["helpful"], [("j", "model@1")], RATING, {})
    assert (plan.height, links.height) == (2, 4)


def test_only_a_named_level_is_a_rating() -> None:
    ratings = rated(["helpful"], r1_helpful="4", r2_helpful="X")
    assert ratings.select("response_id", "value", "scale_min", "scale_max").rows() == [("r1", 4.0, 1.0, 5.0)]
    assert rated(["helpful"], r1_helpful="6", r2_helpful="4.5").is_empty()


def test_the_mean_needs_all_attributes_and_votes_on_the_criterion() -> None:
    ratings = rated(BOTH, r1_helpful="5", r1_honest="2", r2_helpful="3", r2_honest="3")
    means = mean_ratings(ratings, BOTH, "overall")
    assert dict(means.select("response_id", "value").iter_rows()) == {"r1": 3.5, "r2": 3.0}
    assert votes_from_ratings(means, PAIR).select("criterion", "p_a").rows() == [("overall", 1.0)]
    assert mean_ratings(rated(BOTH, r1_helpful="5"), BOTH, "overall").is_empty()


def test_a_pair_without_any_rating_is_counted_as_an_abstention() -> None:
    wanted = PAIR.select("pair_id", voter=pl.lit("model@1"), instrument=pl.lit("rating@1")).join(
        pl.DataFrame({"criterion": BOTH}), how="cross")
    voted = votes_from_ratings(rated(BOTH, r1_helpful="5", r2_helpful="3"), PAIR)
    silent = unrated(wanted, voted)
    assert silent.select("criterion", "is_abstention", "evidence").rows() == [("honest", True, "no rating of a or b")]
    assert unrated(wanted, pl.concat([voted, silent])).is_empty()


def test_questions_do_not_depend_on_the_order_of_responses() -> None:
    one, other = (rating_questions(rows, BOTH, [("j", "m@1")], RATING, {}) for rows in (RESPONSES, RESPONSES[::-1]))
    assert one[0].equals(other[0])
    assert one[1].equals(other[1])


def test_only_a_rating_instrument_is_taken() -> None:
    with pytest.raises(InputError, match="rating"):
        rating_questions(RESPONSES, BOTH, [("j", "m")], shipped_instrument("meta@1"), {})
