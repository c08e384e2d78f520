"""The routing bench sells what may be sold, scores by the rest, and its areas mean what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench._areas import ORACLES, Curves, area, mean_of, over_seeds, printed, ratio_of
from bench._purchase import Labels, World, agreement, labels_of, load, market, rule_of
from bench.routing import Purchase, foreseen, main, plan, routed
from curate.consensus.majority import majority
from schemas.errors import InputError
from schemas.tables import EVIDENCE

P_OF = {"a": (1.0, 0.0), "tie": (0.0, 1.0), "b": (0.0, 0.0)}


def opinions(kind: str, *said: tuple[str, str, str]) -> pl.DataFrame:
    """EVIDENCE of (pair, voter, verdict)."""
    return EVIDENCE.complete(pl.DataFrame([
        {"pair_id": pair, "voter": voter, "kind": kind, "family": voter, "criterion": "overall", "weight": 1.0,
         "ballot_id": f"{pair} {voter}", "p_a": P_OF[word][0], "p_tie": P_OF[word][1], "is_abstention": False}
        for pair, voter, word in said
    ]))  # fmt: skip


def world(n: int = 6, people: int = 4) -> World:
    """n pairs in groups of two; two judges say b, all people say a on even pairs and b on odd ones."""
    pairs = [f"p{i}" for i in range(n)]
    judged = opinions("judge", *((p, judge, "b") for p in pairs for judge in ("j1", "j2")))
    said = opinions("human", *((p, f"v{k}", "ab"[i % 2]) for i, p in enumerate(pairs) for k in range(people)))
    texts = pl.DataFrame({
        "pair_id": pairs, "group_id": [f"g{i // 2}" for i in range(n)], "prompt": "say it",
        "text_a": [f"first {i}" for i in range(n)], "text_b": [f"the second {i}" for i in range(n)],
    })
    return World("hand made", judged, said.with_columns(vote_id=pl.col("ballot_id")), texts)


def test_half_of_each_pairs_votes_rounded_down_is_sold_and_the_rest_is_truth() -> None:
    on = market(world(people=5), majority, 1)
    assert on.n_for_sale.tolist() == [2] * 6
    assert on.truth.sum(axis=1).tolist() == [3] * 6
    assert on.truth[:, 0].tolist() == [3, 0, 3, 0, 3, 0]


def test_seeds_sell_different_votes_of_the_same_number() -> None:
    first, second = (market(world(), majority, seed).sold["voter"].to_list() for seed in (1, 2))
    assert len(first) == len(second) == 12
    assert first != second


def test_a_purchase_is_the_judges_and_what_was_bought() -> None:
    on = market(world(), majority, 1)
    evidence = on.evidence(np.array([0, 1, 2, 0, 0, 0]))
    people = evidence.filter(pl.col("kind") == "human")
    assert people.group_by("pair_id").len().sort("pair_id").rows() == [("p1", 1), ("p2", 2)]
    assert evidence.height - people.height == 12


def test_agreement_by_hand() -> None:
    """Votes a, a, tie: a label a is right in two of three, and in both that decided; one that leans to b in none."""
    truth = np.array([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 2.0, 0.0], [1.0, 0.0, 1.0]])
    labels = Labels(np.array([0, 2, 1, 1], np.int8), np.array([1, -1, 0, 0], np.int8))
    found = agreement(labels, truth)
    assert found[:, 0].tolist() == pytest.approx([2 / 3, 0, 1, 0])
    assert found[:2, 1].tolist() == [1, 0]
    assert np.isnan(found[2, 1])
    assert found[3, 1] == 0.5


def test_a_label_names_and_leans() -> None:
    found = labels_of(pl.DataFrame({"p_a": [0.5, 0.2, 0.4, 0.45], "p_tie": [0.2, 0.6, 0.2, 0.5]}))
    assert found.named.tolist() == [0, 1, 1, 1]
    assert found.lean.tolist() == [1, 0, 0, 1]


def test_waves_are_four_to_a_step_and_leave_the_last_fifth() -> None:
    waves = plan(1003)
    assert len(waves) == 24
    assert sum(votes for _, _, votes in waves) == 802
    assert [b for _, b, _ in waves][3::4] == [0.05, 0.1, 0.2, 0.4, 0.6, 0.8]
    assert all(before == earlier for (before, _, _), (_, earlier, _) in zip(waves[1:], waves, strict=False))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["random", "length", "disagreement", "active_lab", "value"])
def test_every_method_spends_its_wave_on_votes_that_are_for_sale(method: str) -> None:
    on = market(world(), majority, 1)
    purchase = Purchase.begin(on, 1)
    for at, votes in ((0.0, 5), (0.4, 4)):
        purchase.buy(routed(method, purchase, votes, at, None))  # type: ignore[arg-type]
    assert purchase.n_bought.sum() == 9
    assert (purchase.n_bought <= on.n_for_sale).all()


def test_a_vote_that_is_not_for_sale_is_refused() -> None:
    purchase = Purchase.begin(market(world(), majority, 1), 1)
    routes = routed("random", purchase, 4, 0.0, None)  # type: ignore[arg-type]
    purchase.take(np.full(6, 2))
    with pytest.raises(InputError, match="votes to sell"):
        purchase.buy(routes)


def test_the_oracle_buys_two_votes_where_only_two_help_and_then_stops() -> None:
    """Two judges against one person: b stays. Two judges against two people: nobody is ahead, two-way ½."""
    purchase = Purchase.begin(market(world(), majority, 1), 1)
    wanted = foreseen(purchase, 5, 1)
    assert wanted.tolist() == [2, 0, 2, 0, 0, 0]
    purchase.take(wanted)
    purchase.take(foreseen(purchase, 5, 1))
    assert foreseen(purchase, 5, 1).sum() == 0


def test_shuffled_truth_is_the_same_truth_elsewhere() -> None:
    on = market(world(20), majority, 1)
    other = on.shuffled(3).truth
    assert sorted(map(tuple, other)) == sorted(map(tuple, on.truth))
    assert (other != on.truth).any()


def test_an_area_is_the_mean_over_budgets() -> None:
    assert area((0.0, 0.5, 1.0), np.array([0.0, 1.0, 1.0])) == pytest.approx(0.75)


def test_a_pair_counts_by_the_seeds_in_which_it_has_a_truth_vote() -> None:
    found = over_seeds(np.array([[1.0, np.nan, np.nan], [0.0, 0.5, np.nan]]))
    assert found[:2].tolist() == [0.5, 0.5]
    assert np.isnan(found[2])


def curves(**levels: float) -> Curves:
    """Eight pairs in four groups; each method holds one level over both budgets, two-way as three-way."""
    jitter = np.array([0.02, -0.02, 0.01, -0.01, 0.02, -0.02, 0.01, -0.01])
    scores = {m.replace("_", " "): np.broadcast_to((v + v * jitter)[None, :, None, None], (2, 8, 2, 2))
              for m, v in levels.items()}  # fmt: skip
    named = scores | dict.fromkeys(ORACLES, scores["oracle"])
    return Curves((0.0, 1.0), named, named, np.arange(8) // 2)


def test_random_is_nothing_the_oracle_is_one_and_half_way_is_a_half() -> None:
    found = curves(random=0.4, oracle=0.8, half=0.6)
    at = {m: found.normalised(m, 0).at for m in ("random", ORACLES[0], "half")}
    assert at == pytest.approx({"random": 0, ORACLES[0]: 1, "half": 0.5})
    assert found.difference("half", "random", 0).at == pytest.approx(20)


def test_where_the_oracle_is_no_better_than_random_there_is_no_share() -> None:
    found = curves(random=0.5, oracle=0.5, half=0.6)
    assert printed(found.normalised("half", 0), 2) == "-"


def test_an_interval_widens_with_groups_that_differ() -> None:
    groups = np.repeat(np.arange(10), 4)
    same = mean_of(np.tile([0.0, 1.0], 20), groups)
    apart = mean_of(np.repeat([0.0, 1.0], 20), groups)
    assert same.high - same.low == pytest.approx(0)
    assert apart.low < 0.5 - 0.3
    assert apart.at == 0.5


def test_one_group_has_no_interval() -> None:
    found = ratio_of(np.ones(3), np.ones(3) * 2, np.zeros(3, np.int64))
    assert found.at == 0.5
    assert np.isnan(found.low)


@pytest.mark.parametrize("name", ["oracle", "folding", "none"])
def test_a_consensus_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="consensus"):
        rule_of(name)


def test_no_seeds_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--seeds", "0", "--data", str(tmp_path)]) == 2
    assert "at least one" in capsys.readouterr().err


@pytest.mark.service
def test_llmbar_sells_its_strong_judge_against_the_human_label(real_data: Path) -> None:
    found = load(real_data / "llmbar")
    on = market(found, majority, 0)
    assert on.n_for_sale.tolist() == [2] * 342
    assert on.truth.sum(axis=1).tolist() == [1.0] * 342
    nothing, everything = (agreement(labels_of(on.posteriors(n)), on.truth)[:, 1].mean() for n in (
        np.zeros(342, np.int64), on.n_for_sale))
    assert everything > nothing + 0.1
