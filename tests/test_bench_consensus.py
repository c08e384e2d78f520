"""The bench of hidden votes hides what it says, leaks nothing, calibrates on other groups and finds planted voters."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from bench._hidden_votes import METHODS, World, by_position, hide, outcomes, own_frequency, with_turns
from bench.consensus import (
    STACK,
    calibrated,
    calibration,
    detection,
    interval,
    judges_table,
    measure,
    planted,
    scored,
    shuffled,
    table,
)  # fmt: skip
from schemas.errors import InputError
from schemas.tables import VOTERS, VOTES

PEERS = ("global frequency", "majority")
SKILL = {f"v{i}": 0.95 - 0.04 * i for i in range(6)}


def world(n_groups: int = 8, seed: int = 1, with_judge: bool = True) -> World:
    """Eight prompts with six pairs of four responses each; six people and a judge say who is better."""
    chance = np.random.default_rng(seed)
    sides = [(f"r{i}", f"r{j}")[:: 1 if chance.random() < 0.5 else -1] for i in range(4) for j in range(i)]
    pairs = pl.DataFrame([
        {"pair_id": f"p{g}{a}{b}", "prompt_id": f"q{g}", "group_id": f"g{g}", "response_a": f"{g}{a}",
         "response_b": f"{g}{b}"} for g in range(n_groups) for a, b in sides])
    rows = []
    for pair in pairs.iter_rows(named=True):
        truth, first = float(pair["response_a"] < pair["response_b"]), "ab"[int(chance.integers(2))]
        for voter, skill in ({**SKILL, "judge": 0.7} if with_judge else SKILL).items():
            right = chance.random() < skill
            rows.append({"pair_id": pair["pair_id"], "voter": voter, "p_a": truth if right else 1 - truth,
                         "shown_first": first})
    key = pl.concat_str("pair_id", "voter", separator=" ")
    votes = VOTES.complete(pl.DataFrame(rows).with_columns(
        vote_id=key, ballot_id=key, p_tie=0.0, is_abstention=pl.lit(False), n=pl.lit(1), criterion=pl.lit("overall"),
        cost_usd=0.0, status=pl.lit("cast")))
    voters = VOTERS.complete(pl.DataFrame({"voter": [*SKILL, "judge"]}).with_columns(
        kind=pl.when(pl.col("voter") == "judge").then(pl.lit("judge")).otherwise(pl.lit("human")),
        family=pl.col("voter"), cost_usd=0.0))
    joined = votes.join(pairs.select("pair_id", "group_id"), on="pair_id")
    known = joined.join(voters.select("voter", "kind"), on="voter")
    return World("small", with_turns(known).sort("vote_id"), voters, pairs)


def test_a_fifth_of_the_votes_of_people_is_hidden_and_a_pair_keeps_one() -> None:
    votes = world().votes
    seen, hidden = hide(votes, 0)
    assert seen.height + hidden.height == votes.height
    assert set(hidden["kind"]) == {"human"}
    assert 0.1 < hidden.height / votes.filter(kind="human").height < 0.3
    assert seen.filter(kind="human")["pair_id"].n_unique() == votes["pair_id"].n_unique()


def test_the_same_votes_are_hidden_whether_judges_voted_or_not() -> None:
    votes = world().votes
    alone, beside = hide(votes.filter(kind="human"), 3)[1], hide(votes, 3)[1]
    assert alone["vote_id"].to_list() == beside["vote_id"].to_list()
    assert alone["vote_id"].to_list() != hide(votes, 4)[1]["vote_id"].to_list()


def test_whole_pairs_lose_every_vote_of_people_and_keep_the_judges() -> None:
    seen, hidden = hide(world().votes, 1, whole_pairs=True)
    on_hidden = seen.join(hidden, on="pair_id", how="semi")
    assert set(on_hidden["kind"]) == {"judge"}
    assert hidden.group_by("pair_id").len()["len"].unique().to_list() == [6]


def test_a_pair_shown_in_both_orders_keeps_its_letters() -> None:
    rows = pl.DataFrame({"pair_id": ["p", "p", "q", "q", "r"], "shown_first": ["a", "b", "b", "b", None]})
    assert with_turns(rows)["is_turned"].to_list() == [False, False, True, True, False]


def test_votes_by_position_come_back_as_they_were() -> None:
    votes = world().votes
    turned = by_position(outcomes(votes), votes)
    assert (turned != outcomes(votes)).any()
    assert (by_position(turned, votes) == outcomes(votes)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", [m for m in METHODS if m != "global frequency"])
def test_every_method_foretells_hidden_votes_better_than_the_global_frequency(name: str) -> None:
    full = world(n_groups=16)
    seen, hidden = hide(full.votes, 2)
    p, base = METHODS[name](full.of(seen))(hidden), METHODS["global frequency"](full.of(seen))(hidden)
    assert p.sum(axis=1) == pytest.approx(1)
    assert scored(p, outcomes(hidden))[:, 0].mean() < scored(base, outcomes(hidden))[:, 0].mean() - 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", list(METHODS))
def test_what_a_method_foretells_does_not_depend_on_what_was_hidden(name: str) -> None:
    """The hidden rows reach a method with their outcomes; turning those round must change nothing."""
    full = world()
    seen, hidden = hide(full.votes, 2)
    predict = METHODS[name](full.of(seen))
    assert (predict(hidden) == predict(hidden.with_columns(p_a=1 - pl.col("p_a")))).all()


def test_calibration_softens_the_overconfident_and_turns_to_the_voters_own_where_nothing_is_known() -> None:
    chance = np.random.default_rng(0)
    truth = np.eye(3)[chance.integers(0, 3, 400)]
    said = np.where(chance.random(400)[:, None] < 0.6, truth, np.eye(3)[chance.integers(0, 3, 400)])
    sure, own = 0.98 * truth + 0.01, np.full((400, 3), 1 / 3)
    knobs = calibration(sure, own, said)
    assert scored(calibrated(sure, own, knobs), said)[:, 0].mean() < scored(sure, said)[:, 0].mean() - 0.3
    noise, habit = chance.dirichlet(np.ones(3), 400), np.tile([0.8, 0.1, 0.1], (400, 1))
    often = np.eye(3)[chance.choice(3, 400, p=[0.8, 0.1, 0.1])]
    assert scored(calibrated(noise, habit, calibration(noise, habit, often)), often)[:, 0].mean() < 0.7


def test_scores_of_a_certain_an_even_and_a_wrong_forecast() -> None:
    p = np.array([[1.0, 0, 0], [1 / 3] * 3, [0.0, 0, 1]])
    s = scored(p, np.array([[1.0, 0, 0]] * 3))
    assert s[0] == pytest.approx([0, 0, 1])
    assert s[1] == pytest.approx([np.log(3), 2 / 3, 1 / 3])
    assert s[2] == pytest.approx([-np.log(1e-6), 2, 0])


def test_an_interval_resamples_groups_not_votes() -> None:
    groups = np.repeat(np.array([f"g{i}" for i in range(20)], dtype=object), 50)
    gaps = np.repeat(np.random.default_rng(0).normal(size=20), 50)
    mean, low, high = interval(gaps, groups)
    assert low < mean < high
    assert high - low > 0.5


def test_shuffled_votes_keep_their_frequencies_and_lose_the_pairs() -> None:
    full = world()
    dealt = shuffled(full, 1)
    for kind in ("human", "judge"):
        assert dealt.votes.filter(kind=kind)["p_a"].sum() == full.votes.filter(kind=kind)["p_a"].sum()
    both = dealt.votes.join(full.votes.select("vote_id", was="p_a"), on="vote_id")
    assert both.select((pl.col("p_a") == pl.col("was")).mean()).item() < 0.65


def test_planted_voters_behave_as_named() -> None:
    full = world()
    votes = planted(full, 0, n_votes=20).votes
    first = votes.filter(pl.col("voter").str.starts_with("planted/first slot"))
    assert (by_position(outcomes(first), first)[:, 0] == 1).all()
    turned = votes.filter(pl.col("voter").str.starts_with("planted/turns round"))
    assert outcomes(turned)[:, 0].sum() + outcomes(turned)[:, 2].sum() == 60
    assert turned.group_by("voter").len()["len"].to_list() == [20] * 3


def people(full: World) -> World:
    return full.of(full.votes.filter(kind="human"))


@pytest.mark.service
def test_judges_are_compared_on_the_same_hidden_votes() -> None:
    alone, both = (measure(w, [0], methods=PEERS) for w in (people(world()), world()))
    assert judges_table(alone, both).splitlines()[2].startswith("| global frequency | +0.0000 (")
    with pytest.raises(InputError, match="hidden votes"):
        judges_table(alone, measure(world(), [5], methods=PEERS))


@pytest.mark.service
def test_the_whole_table_names_every_method_and_the_stack_and_says_the_same_twice() -> None:
    tables = [table("small", measure(world(), [0], methods=tuple(METHODS))) for _ in range(2)]
    strip = ["\n".join(line.rsplit("|", 2)[0] for line in t.splitlines()) for t in tables]
    assert strip[0] == strip[1]
    assert all(f"| {name} |" in strip[0] for name in (*METHODS, STACK))
    assert "(descriptive)" in tables[0]


@pytest.mark.service
def test_a_voter_that_turns_votes_round_is_found_by_every_methods_skill() -> None:
    rows = [line.split("|") for line in detection(world(n_groups=16), [0]).splitlines()[2:]]
    assert all(float(row[3]) > 0.9 for row in rows)
    assert len(rows) == 6


def test_a_voters_own_frequency_is_shrunk_to_what_people_say() -> None:
    full = world()
    only_a = full.of(full.votes.with_columns(p_a=pl.when(pl.col("voter") == "v0").then(1.0).otherwise("p_a"),
                                             is_turned=pl.lit(False)))
    p = own_frequency(only_a)(pl.DataFrame({"voter": ["v0", "new"], "is_turned": [False, False]}))
    assert p[0, 0] > 0.9
    assert 0.3 < p[1, 0] < 0.8
