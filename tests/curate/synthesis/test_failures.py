"""Failure mining: order-preserving perturbations that the reward model gets wrong, of certain parents only."""

from __future__ import annotations

import json

import polars as pl
import pytest

from curate.synthesis.failures import failures, perturbed_pairs, to_perturb
from schemas.errors import InputError
from schemas.ids import content_id


def labelled(p_a: float = 0.9, p_tie: float = 0.0, pair_id: str = "x") -> pl.DataFrame:
    return pl.DataFrame({"pair_id": [pair_id], "prompt_id": ["p"], "response_a": [f"{pair_id}a"],
                         "response_b": [f"{pair_id}b"], "prompt": ["ask"], "text_a": ["alpha"], "text_b": ["beta"],
                         "p_a": [p_a], "p_tie": [p_tie]})


def answered(rows: pl.DataFrame, **texts: str) -> pl.DataFrame:
    """What the writer said, by side and kind; else a text of its own."""
    said = [texts.get(f"{side}_{kind}", f"{side} {kind}") for side, kind in rows.select("side", "kind").iter_rows()]
    return rows.with_columns(text=pl.Series(said, dtype=pl.String), author=pl.lit("writer@1"))


def margins(pairs: pl.DataFrame, for_winner: float | None, scorer: str = "rm@1") -> pl.DataFrame:
    """Margins of a minus b that speak so much for the winner."""
    sign = pl.when(pl.col("winner") < pl.col("loser")).then(1.0).otherwise(-1.0)
    return pairs.select("pair_id", scorer=pl.lit(scorer), margin=sign * pl.lit(for_winner, pl.Float64))


def test_a_winner_is_preserved_and_a_loser_preserved_or_degraded_never_improved() -> None:
    for p_a, winner, loser in ((0.9, "a", "b"), (0.1, "b", "a")):
        asked = to_perturb(labelled(p_a), 9, 0.8, 0).sort("side", "kind")
        assert asked.select("side", "kind", "parent_id", "opponent").rows() == [
            ("loser", "degrade", f"x{loser}", f"x{winner}"), ("loser", "preserve", f"x{loser}", f"x{winner}"),
            ("winner", "preserve", f"x{winner}", f"x{loser}")]


def test_the_writer_is_asked_about_the_response_it_is_to_perturb_and_told_nothing_of_the_other() -> None:
    asked = to_perturb(labelled(), 9, 0.8, 0).filter(side="winner")
    system, user = json.loads(asked["messages"][0])
    assert json.loads(user["content"]) == {"prompt": "ask", "response": "alpha"}
    assert "beta" not in system["content"]


def test_ties_and_uncertain_labels_are_not_perturbed() -> None:
    rows = pl.concat([labelled(0.5, pair_id="x"), labelled(0.4, 0.2, "y"), labelled(0.7, pair_id="z")])
    assert to_perturb(rows, 9, 0.8, 0).is_empty()
    assert set(to_perturb(rows, 9, 0.7, 0)["pair_id"]) == {"z"}
    assert set(to_perturb(rows, 9, 0.0, 0)["pair_id"]) == {"z"}


def test_no_more_are_asked_for_than_wanted_and_the_draw_is_the_seed_s() -> None:
    rows = pl.concat([labelled(pair_id=f"x{i}") for i in range(20)])
    drawn = to_perturb(rows, 5, 0.8, 1)
    assert drawn.height == 5
    assert to_perturb(rows[::-1], 5, 0.8, 1).equals(drawn)
    assert not to_perturb(rows, 5, 0.8, 2).equals(drawn)


def test_a_perturbed_response_meets_the_other_side_of_its_parent_with_the_order_kept() -> None:
    found = perturbed_pairs(answered(to_perturb(labelled(), 9, 0.8, 0)))
    new = {text: content_id("p", text, "writer@1") for text in ("winner preserve", "loser preserve", "loser degrade")}
    assert set(found.pairs.select("winner", "loser").rows()) == {
        (new["winner preserve"], "xb"), ("xa", new["loser preserve"]), ("xa", new["loser degrade"])}
    assert set(found.pairs.select("text_winner", "text_loser").rows()) == {
        ("winner preserve", "beta"), ("alpha", "loser preserve"), ("alpha", "loser degrade")}
    assert set(found.responses.select("parent_id").to_series()) == {"xa", "xb"}
    assert found.pairs["pair_id"].to_list() == [
        content_id(*sorted(ends)) for ends in found.pairs.select("winner", "loser").iter_rows()]


def test_empty_unchanged_identical_and_repeated_answers_make_no_pair() -> None:
    asked = to_perturb(labelled(), 9, 0.8, 0)
    found = perturbed_pairs(answered(asked, winner_preserve="beta", loser_preserve=" ", loser_degrade="beta "))
    assert sorted(found.discards["reason"]) == ["empty", "identical_text", "unchanged"]
    twice = perturbed_pairs(answered(asked, loser_preserve="same", loser_degrade="same"))
    assert twice.pairs.height == 2
    assert twice.discards.select("reason", "detail").rows() == [("repeated", "preserve of the loser of x")]


def test_only_what_the_model_gets_wrong_is_kept_and_the_rest_is_told() -> None:
    pairs = perturbed_pairs(answered(to_perturb(labelled(), 9, 0.8, 0))).pairs
    wrong, right, even = (margins(pairs[i : i + 1], m) for i, m in enumerate((-0.5, 0.5, 0.0)))
    found = failures(pairs, pl.concat([wrong, right, even]), "rm@1", 0.8)
    assert found.pairs.select("pair_id", "origin").rows() == [(pairs["pair_id"][0], "adversarial:rm@1")]
    assert dict(found.discards.select("row_id", "reason").iter_rows()) == {
        pairs["pair_id"][1]: "scored_right", pairs["pair_id"][2]: "scored_equal"}
    assert set(found.discards["what"]) == {"pair"}


def test_uncertain_parents_and_missing_margins_are_left_out_and_other_scorers_are_not_read() -> None:
    pairs = perturbed_pairs(answered(to_perturb(labelled(), 9, 0.8, 0))).pairs
    wrong = margins(pairs, -1.0)
    assert set(failures(pairs, wrong, "rm@1", 0.95).discards["reason"]) == {"uncertain"}
    assert set(failures(pairs, wrong, "another", 0.8).discards["reason"]) == {"no_margin"}
    assert set(failures(pairs, margins(pairs, None), "rm@1", 0.8).discards["reason"]) == {"no_margin"}
    both = pl.concat([wrong, margins(pairs, 1.0, "another")])
    assert failures(pairs, both, "rm@1", 0.8).pairs.height == 3


def test_two_margins_of_one_model_and_an_impossible_certainty_are_refused() -> None:
    pairs = perturbed_pairs(answered(to_perturb(labelled(), 9, 0.8, 0))).pairs
    with pytest.raises(InputError, match="two margins"):
        failures(pairs, pl.concat([margins(pairs, 1.0), margins(pairs, 1.0)]), "rm@1", 0.8)
    with pytest.raises(InputError, match="certainty"):
        to_perturb(labelled(), 1, 1.5, 0)


def test_nothing_to_perturb_makes_nothing() -> None:
    found = perturbed_pairs(answered(to_perturb(labelled(), 0, 0.8, 0)))
    assert (found.pairs.height, found.discards.height) == (0, 0)
    assert failures(found.pairs, margins(found.pairs, 1.0), "rm@1", 0.8).pairs.is_empty()
