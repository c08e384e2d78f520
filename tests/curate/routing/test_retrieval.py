"""What resembles the gold pairs a model gets wrong is labelled next; what it gets right calls up little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from curate.routing import retrieval
from curate.routing.retrieval import confidence_on_gold, embedded, n_wanted, retrieval_scores, retrieve
from schemas.errors import InputError, RefusedError
from schemas.tables import MARGINS

PROMPTS = ("sort a list in python", "write a poem about rain", "prove that two is even")


def gold(uses: Sequence[str] = ("steer", "steer", "steer")) -> pl.DataFrame:
    return pl.DataFrame({"pair_id": ["g0", "g1", "g2"], "prompt": PROMPTS, "use": uses})


def confidence(*p: float) -> pl.DataFrame:
    return pl.DataFrame({"pair_id": [f"g{i}" for i in range(len(p))], "p": p})


def pairs(n: int = 12) -> pl.DataFrame:
    """Four pairs like each gold prompt in turn, the later the longer and so the less alike."""
    prompts = [PROMPTS[i % 3] + " please" * (i // 3) for i in range(n)]
    return pl.DataFrame({"pair_id": [f"p{i:02}" for i in range(n)], "prompt": prompts})


def margins(**of: float) -> pl.DataFrame:
    return MARGINS.complete(pl.DataFrame(
        {"pair_id": list(of), "scorer": "s", "margin": list(of.values()), "is_out_of_fold": True}
    ))


def test_a_wrong_model_calls_up_eight_and_a_sure_one_few() -> None:
    assert n_wanted(np.array([0.0, 0.5, 0.51, 0.75, 0.9, 1.0])).tolist() == [8, 8, 4, 2, 1, 0]


def test_confidence_is_that_of_the_known_winner_whichever_letter_it_has() -> None:
    known = pl.DataFrame({"pair_id": ["x", "y", "z"], "p_a": [1.0, 0.0, 0.25], "p_tie": [0.0, 0.0, 0.5]})
    found = confidence_on_gold(known, margins(x=2.0, y=-2.0, z=1.0))
    assert found["pair_id"].to_list() == ["x", "y"], "a tie has no winner"
    assert found["p"].to_list() == pytest.approx([0.8808, 0.8808], abs=1e-4)


def test_margins_of_a_model_that_saw_the_gold_are_refused() -> None:
    seen = margins(x=1.0).with_columns(is_out_of_fold=pl.lit(False))
    with pytest.raises(RefusedError, match="trained on"):
        confidence_on_gold(pl.DataFrame({"pair_id": ["x"], "p_a": [1.0], "p_tie": [0.0]}), seen)


def test_an_error_calls_up_what_is_most_like_it_first() -> None:
    links = retrieve(gold(), confidence(0.1, 1.0, 1.0), pairs())
    assert links["gold_pair_id"].unique().to_list() == ["g0"]
    assert links.head(4)["pair_id"].to_list() == ["p00", "p03", "p06", "p09"]
    assert links["similarity"][0] == 1.0
    assert links["similarity"].is_sorted(descending=True)


def test_a_pair_that_shares_nothing_is_not_called_up() -> None:
    foreign = pl.DataFrame({"pair_id": ["q"], "prompt": ["ξψω"]})
    assert retrieve(gold(), confidence(0.1, 0.1, 0.1), foreign).is_empty()


def test_gold_itself_is_never_called_up() -> None:
    assert retrieve(gold(), confidence(0.0), gold().drop("use")).is_empty()


def test_attributes_count_like_words_of_the_prompt() -> None:
    shelf = pl.DataFrame({"pair_id": ["p0", "p1"], "prompt": ["hm", "hm"], "attributes": ["code", "poetry"]})
    asked = pl.DataFrame({"pair_id": ["g0"], "prompt": ["hm"], "use": ["steer"], "attributes": ["poetry"]})
    assert retrieve(asked, confidence(0.0), shelf)["pair_id"].to_list() == ["p1", "p0"]


def test_more_and_worse_errors_come_first() -> None:
    scored = retrieval_scores(retrieve(gold(), confidence(0.1, 0.8, 1.0), pairs())).sort("score", descending=True)
    assert scored["pair_id"][0] == "p00"
    by_id = dict(scored.iter_rows())
    assert by_id["p00"] > by_id["p01"]
    assert "p02" not in by_id


def test_blocks_and_the_order_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = retrieve(gold(), confidence(0.1, 0.3, 0.7), pairs(30))
    monkeypatch.setattr(retrieval, "GOLD_BLOCK", 2)
    monkeypatch.setattr(retrieval, "PAIR_BLOCK", 7)
    shuffled = retrieve(gold().reverse(), confidence(0.1, 0.3, 0.7), pairs(30).sample(30, shuffle=True, seed=3))
    assert shuffled.equals(whole)


def test_equal_similarities_go_to_the_smaller_id() -> None:
    shelf = pl.DataFrame({"pair_id": [f"p{i:02}" for i in range(20)], "prompt": [PROMPTS[0]] * 20})
    assert retrieve(gold(), confidence(0.0), shelf)["pair_id"].to_list() == [f"p{i:02}" for i in range(8)]


def test_an_embedding_is_a_unit_vector() -> None:
    rows = embedded(["a dog", "a cat sat"])
    assert (rows @ rows.T).toarray().diagonal() == pytest.approx([1.0, 1.0])


def test_gate_gold_never_steers() -> None:
    with pytest.raises(RefusedError, match="gate"):
        retrieve(gold(("steer", "gate", "steer")), confidence(0.1), pairs())


@pytest.mark.parametrize("bad", [pairs().drop("prompt"), pl.concat([pairs(), pairs()])])
def test_pairs_that_do_not_keep_the_form_are_refused(bad: pl.DataFrame) -> None:
    with pytest.raises(InputError, match="pairs"):
        retrieve(gold(), confidence(0.1), bad)


@pytest.mark.parametrize("p", [1.5, float("nan"), None])
def test_a_p_that_is_no_probability_is_refused(p: float | None) -> None:
    with pytest.raises(InputError, match="a p outside"):
        retrieve(gold(), pl.DataFrame({"pair_id": ["g0"], "p": [p]}, schema_overrides={"p": pl.Float64}), pairs())
