"""A judge's two orders become one opinion, and a judge that follows the slot has none."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.consensus.folding import fold_orders
from curate.consensus.labels import labels_from
from curate.consensus.majority import majority
from curate.consensus.one_coin import one_coin
from curate.consensus.opinions import unlabelled
from schemas.errors import InputError
from schemas.recipe import Consensus, Filtering
from schemas.tables import VOTERS, VOTES

VOTERS_HERE = VOTERS.complete(pl.DataFrame([
    dict(voter=v, kind=kind, family=v, cost_usd=0.0) for v, kind in (("judge", "judge"), ("human", "human"))]))


def cast(*rows: dict[str, object]) -> pl.DataFrame:
    usual = dict(pair_id="p", voter="judge", ballot_id="ballot", p_tie=0.0, is_abstention=False, n=1,
                 criterion="overall", cost_usd=0.0, status="cast")
    return VOTES.complete(pl.DataFrame([usual | dict(vote_id=f"v{i}") | row for i, row in enumerate(rows)],
                                       infer_schema_length=None))


def both_orders(p_shown_a: float, p_shown_b: float) -> pl.DataFrame:
    return cast(dict(shown_first="a", p_a=p_shown_a), dict(shown_first="b", p_a=p_shown_b))


def test_two_orders_that_agree_are_averaged() -> None:
    folded = fold_orders(both_orders(0.9, 0.7), VOTERS_HERE, 0.1).row(0, named=True)
    assert (folded["p_a"], folded["is_abstention"], folded["is_flipped"], folded["weight"]) == (0.8, False, False, 1.0)


def test_verdicts_that_differ_near_one_half_are_an_abstention() -> None:
    folded = fold_orders(both_orders(0.7, 0.4), VOTERS_HERE, 0.1).row(0, named=True)
    assert (folded["p_a"], folded["is_abstention"], folded["is_flipped"], folded["weight"]) == (None, True, True, 0.0)


def test_verdicts_that_differ_exactly_by_the_margin_are_kept() -> None:
    folded = fold_orders(both_orders(0.8, 0.4), VOTERS_HERE, 0.1).row(0, named=True)
    assert (folded["p_a"], folded["is_abstention"], folded["is_flipped"]) == (0.6, False, True)


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5])
def test_a_judge_that_always_says_first_never_makes_a_label(margin: float) -> None:
    evidence = fold_orders(both_orders(1.0, 0.0), VOTERS_HERE, margin)
    for fit in (majority, one_coin):
        labels = labels_from(fit(evidence).posteriors, Consensus(), Filtering())
        assert "keep" not in labels["action"]
    lost = unlabelled(evidence)
    assert lost["reason"].to_list() == ([] if margin == 0 else ["order_flips"])


def test_half_a_ballot_is_an_abstention() -> None:
    votes = cast(dict(shown_first="a", p_a=1.0), dict(shown_first="b", p_a=None, p_tie=None, is_abstention=True))
    assert fold_orders(votes, VOTERS_HERE, 0.1)["is_abstention"].to_list() == [True]


def test_one_order_alone_is_an_opinion_that_nobody_knows_to_be_flipped() -> None:
    folded = fold_orders(cast(dict(voter="human", shown_first="b", p_a=1.0)), VOTERS_HERE, 0.1).row(0, named=True)
    assert (folded["p_a"], folded["is_flipped"], folded["kind"]) == (1.0, None, "human")


def test_samples_weigh_by_their_count_within_an_order() -> None:
    votes = cast(dict(shown_first="a", p_a=1.0, n=3), dict(shown_first="a", p_a=0.0), dict(shown_first="b", p_a=0.75))
    assert fold_orders(votes, VOTERS_HERE, 0.1)["p_a"].to_list() == [0.75]


def test_two_ballots_of_one_voter_weigh_together_as_one_voter() -> None:
    votes = cast(dict(ballot_id="x", p_a=1.0, n=3), dict(ballot_id="y", p_a=0.0))
    folded = fold_orders(votes, VOTERS_HERE, 0.1)
    assert folded["weight"].to_list() == [0.75, 0.25]
    assert majority(folded).posteriors.row(0, named=True) | {"p_sd": 0} == dict(
        pair_id="p", p_a=0.75, p_tie=0.0, p_sd=0, n_votes=1, n_human=0)


def test_recorded_and_retracted_votes_are_no_opinions() -> None:
    votes = cast(dict(p_a=1.0, status="recorded"), dict(p_a=1.0, status="retracted"))
    assert fold_orders(votes, VOTERS_HERE, 0.1).is_empty()


def test_a_vote_of_an_unknown_voter_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="stranger"):
        fold_orders(cast(dict(voter="stranger", p_a=1.0)), VOTERS_HERE, 0.1)


STEP = st.integers(0, 200)


@pytest.mark.slow
@given(st.lists(st.tuples(STEP, STEP, st.sampled_from("ab"), st.integers(1, 4)), min_size=1, max_size=8))
def test_shuffled_votes_fold_to_the_same_bits_and_swapped_letters_to_the_mirror(
    drawn: list[tuple[int, int, str, int]],
) -> None:
    rows = [dict(p_a=min(a, t) / 200, p_tie=(max(a, t) - min(a, t)) / 200, shown_first=side, n=n)
            for a, t, side, n in drawn]
    swapped = [dict(p_a=(200 - max(a, t)) / 200, p_tie=(max(a, t) - min(a, t)) / 200,
                    shown_first="ba"["ab".index(side)], n=n) for a, t, side, n in drawn]
    votes = cast(*rows)
    folded = fold_orders(votes, VOTERS_HERE, 0.1)
    assert fold_orders(votes.sample(fraction=1, shuffle=True, seed=1), VOTERS_HERE, 0.1).equals(folded)
    mirror = fold_orders(cast(*swapped), VOTERS_HERE, 0.1)
    assert mirror["is_abstention"].equals(folded["is_abstention"])
    p_b = (1 - folded["p_a"] - folded["p_tie"]).to_list()
    assert mirror["p_a"].to_list() == [None if p is None else pytest.approx(p, abs=1e-9) for p in p_b]
