"""The simulated world keeps what its recipe says: skill, biases, ties, families, and a truth that stays inside."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import polars as pl
import pytest

from curate.adapters.simulated import SimulatedAnnotators, SimulatedJudges, SimulatedPolicies
from curate.adapters.simulated_text import ROLES
from curate.adapters.simulated_world import SimulatedWorld
from curate.engines import CallReply, CallRequest, Judge
from schemas.errors import InputError, RecipeError, RefusedError
from schemas.ids import text_id
from schemas.sections import SimulatedPolicy, SimulatedVoter, World
from schemas.tables import ANSWERS, VOTERS, VOTES

N = 600
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
WORLD = World(
    seed=7,
    policies=(
        SimulatedPolicy(name="plain"),
        SimulatedPolicy(name="bold", quality=0.8, verbosity=1.0),
        SimulatedPolicy(name="wordy", verbosity=5.0),
    ),
    judges=(
        SimulatedVoter(name="sharp", skill=6.0, tie_width=0.1),
        SimulatedVoter(name="fair", skill=2.0),
        SimulatedVoter(name="coin", skill=0.0),
        SimulatedVoter(name="liar", skill=-6.0, tie_width=0.1),
        SimulatedVoter(name="first", skill=2.0, order_bias=2.0),
        SimulatedVoter(name="longer", skill=0.0, length_bias=6.0),
        SimulatedVoter(name="unsure", skill=2.0, tie_width=3.0),
        SimulatedVoter(name="never ties", skill=2.0, tie_width=0.0),
        SimulatedVoter(name="twin 1", skill=20.0, family="twins"),
        SimulatedVoter(name="twin 2", skill=20.0, family="twins"),
        SimulatedVoter(name="single", skill=20.0),
    ),
    annotators=(SimulatedVoter(name="ann", skill=4.0, cost_usd=0.25), SimulatedVoter(name="bob", skill=1.0)),
)


@pytest.fixture(scope="module")
def world() -> SimulatedWorld:
    return SimulatedWorld(WORLD)


@pytest.fixture(scope="module")
def gold(world: SimulatedWorld) -> pl.DataFrame:
    return world.gold(N)


def asked(judge: str, gold: pl.DataFrame, *, is_swapped: bool = False) -> list[CallRequest]:
    texts = zip(gold["prompt"], gold["response_a"], gold["response_b"], strict=True)
    return [
        CallRequest(f"{judge}/{prompt}/{is_swapped}", judge, "", prompt, *((b, a) if is_swapped else (a, b)))
        for prompt, a, b in texts
    ]


def verdicts(judge: str, gold: pl.DataFrame, world: SimulatedWorld, *, is_swapped: bool = False) -> list[str]:
    return [r.response for r in SimulatedJudges(world).judge(asked(judge, gold, is_swapped=is_swapped))]


def wins(judge: str, gold: pl.DataFrame, world: SimulatedWorld) -> pl.Series:
    return pl.Series([{"1": 1.0, "tie": 0.5, "2": 0.0}[v] for v in verdicts(judge, gold, world)])


def accuracy(judge: str, gold: pl.DataFrame, world: SimulatedWorld) -> float:
    """Share of decided gold pairs that the judge gets right, a tie counting half."""
    miss = (wins(judge, gold, world) - gold["p_a"]).abs().filter(gold["p_tie"] == 0)
    return 1 - float(miss.sum()) / len(miss)


def write(world: SimulatedWorld, policy: str, n: int = N) -> pl.Series:
    prompt = world.prompts(1)["messages"][0]
    keys = [f"{policy} {i}" for i in range(n)]
    return world.write(pl.DataFrame({"key": keys, "policy": policy, "prompt": prompt}))


def generated(world: SimulatedWorld, policy: str) -> list[CallReply]:
    requests = [CallRequest(f"k{i}", policy, "", "On chess openings?") for i in range(5)]
    return list(SimulatedPolicies(world).generate(requests))


def mean(numbers: pl.Series) -> float:
    return float(numbers.to_numpy().mean())


def tasks(gold: pl.DataFrame, **more: object) -> pl.DataFrame:
    return gold.select(
        pl.concat_str(pl.lit("task "), "prompt").alias("task_key"),
        pl.col("prompt").alias("pair_id"),
        pl.lit("b").alias("shown_first"),
        "prompt",
        pl.col("response_a").alias("text_a"),
        pl.col("response_b").alias("text_b"),
        **{k: pl.lit(v) for k, v in more.items()},
    )


@pytest.mark.service
def test_a_skilled_voter_is_mostly_right_and_an_adversarial_one_mostly_wrong(
    gold: pl.DataFrame, world: SimulatedWorld
) -> None:
    assert accuracy("sharp", gold, world) > 0.85
    assert accuracy("liar", gold, world) < 0.15
    assert accuracy("coin", gold, world) < accuracy("fair", gold, world) < accuracy("sharp", gold, world)


@pytest.mark.slow
def test_a_voter_without_skill_is_a_coin(gold: pl.DataFrame, world: SimulatedWorld) -> None:
    assert abs(accuracy("coin", gold, world) - 0.5) < 3 * 0.5 / math.sqrt(N)


@pytest.mark.slow
def test_order_bias_shows_in_the_first_slot_rate(gold: pl.DataFrame, world: SimulatedWorld) -> None:
    def first_rate(judge: str) -> float:
        both = verdicts(judge, gold, world) + verdicts(judge, gold, world, is_swapped=True)
        return both.count("1") / (both.count("1") + both.count("2"))

    assert abs(first_rate("fair") - 0.5) < 0.05
    assert first_rate("first") > 0.65


def test_length_bias_favours_the_longer_text(gold: pl.DataFrame, world: SimulatedWorld) -> None:
    is_a_longer = gold["response_a"].str.len_chars() > gold["response_b"].str.len_chars()
    assert mean((wins("longer", gold, world) > 0.5) == is_a_longer) > 0.75


@pytest.mark.slow
def test_ties_grow_with_tie_width_and_vanish_without(gold: pl.DataFrame, world: SimulatedWorld) -> None:
    ties = {j: verdicts(j, gold, world).count("tie") for j in ("never ties", "fair", "unsure")}
    assert ties["never ties"] == 0 < ties["fair"] < ties["unsure"]


@pytest.mark.slow
def test_members_of_a_family_share_errors_that_others_do_not(gold: pl.DataFrame, world: SimulatedWorld) -> None:
    wrong = {j: (wins(j, gold, world) - gold["p_a"]).abs() > 0.5 for j in ("twin 1", "twin 2", "single")}
    both, apart = mean(wrong["twin 1"] & wrong["twin 2"]), mean(wrong["twin 1"] & wrong["single"])
    assert both > 1.5 * apart > 0


def test_reported_probabilities_sum_to_one_and_lie_on_the_verdict(gold: pl.DataFrame, world: SimulatedWorld) -> None:
    for reply in SimulatedJudges(world).judge(asked("fair", gold.head(20))):
        assert reply.choice_logprobs is not None
        p = {v: math.exp(x) for v, x in reply.choice_logprobs.items()}
        assert sum(p.values()) == pytest.approx(1)
        assert max(p, key=lambda v: p[v]) == reply.response


def test_the_same_request_has_the_same_reply_in_any_order(gold: pl.DataFrame, world: SimulatedWorld) -> None:
    requests = asked("fair", gold.head(30)) + asked("first", gold.head(30))
    forward = {r.call_key: r for r in SimulatedJudges(world).judge(requests)}
    again = {r.call_key: r for r in SimulatedJudges(SimulatedWorld(WORLD)).judge(requests[::-1])}
    assert forward == again
    alone = next(SimulatedJudges(world).judge(requests[7:8]))
    assert alone == forward[alone.call_key]


@pytest.mark.slow
def test_texts_are_the_same_in_every_process_and_on_every_day(world: SimulatedWorld) -> None:
    """Pinned: whoever changes a sentence of the bank or a draw changes this number and says so."""
    assert text_id("".join(write(world, "bold", 20))) == "e0a3fd75-f899-7b5c-1973-5729692c6db1"


@pytest.mark.service
def test_policies_reach_the_quality_and_length_they_were_given(world: SimulatedWorld) -> None:
    plain, bold, wordy = (write(world, p) for p in ("plain", "bold", "wordy"))
    assert abs(mean(world.quality(plain))) < 0.15
    assert abs(float(world.quality(plain).to_numpy().std()) - 1) < 0.1
    assert abs(mean(world.quality(bold)) - 0.8) < 0.15
    assert abs(mean(world.quality(wordy))) < 0.15
    assert mean(wordy.str.len_chars()) > 1.3 * mean(plain.str.len_chars())


@pytest.mark.slow
def test_texts_are_various_and_about_the_prompt(world: SimulatedWorld) -> None:
    assert write(world, "plain").n_unique() == N
    assert all("chess openings" in r.response for r in generated(world, "bold"))


def test_every_sentence_is_recognised_once_and_none_inside_another(world: SimulatedWorld) -> None:
    bank = [text.replace("{topic}", "tide tables") for role in ROLES for _, text in role]
    worth = world.quality(pl.Series(bank))
    assert len(set(worth)) > 40
    assert world.quality(pl.Series([" ".join(bank)]))[0] == pytest.approx(worth.sum())
    assert world.quality(pl.Series([bank[0] * 3, "Nothing we know.", ""])).to_list() == [worth[0], -3.0, -3.0]


def test_padding_and_topic_carry_no_quality(world: SimulatedWorld) -> None:
    core = ROLES[1][1][1]
    padded = "This is a topic that many people find interesting. " + core + " So much for the general part."
    assert world.quality(pl.Series([core]))[0] == world.quality(pl.Series([padded]))[0]


def test_rounds_ask_other_prompts_and_gold_none_of_their_groups(world: SimulatedWorld, gold: pl.DataFrame) -> None:
    one, two = world.prompts(1), world.prompts(2)
    assert one.height == two.height == WORLD.n_prompts
    assert not set(one["messages"]) & set(two["messages"])
    assert not (set(one["group"]) | set(two["group"])) & set(gold["group"])
    assert [m["role"] for m in json.loads(one["messages"][0])] == ["user"]


def test_gold_is_mostly_decided_balanced_and_over_many_groups(gold: pl.DataFrame) -> None:
    assert gold.columns == ["prompt", "response_a", "response_b", "p_a", "p_tie", "category", "group"]
    assert 0.01 < mean(gold["p_tie"]) < 0.1
    assert 0.4 < mean(gold["p_a"]) < 0.55
    assert gold["prompt"].n_unique() == N
    assert gold["group"].n_unique() > 60


@pytest.mark.service
def test_more_gold_than_the_world_has_is_refused(world: SimulatedWorld) -> None:
    with pytest.raises(RefusedError, match="at most"):
        world.gold(100_000)


def test_truth_stands_in_no_output_but_gold(world: SimulatedWorld, gold: pl.DataFrame) -> None:
    votes, answers = SimulatedAnnotators(world).collect(tasks(gold.head(5)))
    judges = SimulatedJudges(world)
    assert votes.columns == list(VOTES.schema)
    assert answers.columns == list(ANSWERS.schema)
    assert judges.voters().columns == list(VOTERS.schema)
    assert votes.select(c for c in ("strength", "confidence", "evidence", "rationale")).null_count().row(0) == (5,) * 4
    truth = world.quality(gold["response_a"].head(5)).to_list()
    numbers = [x for reply in judges.judge(asked("fair", gold.head(5))) for x in (reply.choice_logprobs or {}).values()]
    assert not set(truth) & set(numbers)
    assert "quality" not in world.prompts(1).columns


def test_annotators_answer_every_task_with_a_vote_at_their_price(world: SimulatedWorld, gold: pl.DataFrame) -> None:
    annotators = SimulatedAnnotators(world, clock=lambda: NOON)
    votes, answers = annotators.collect(tasks(gold, round_id="r1"))
    assert answers["outcome"].unique().to_list() == ["voted"]
    assert answers["vote_id"].to_list() == votes["vote_id"].to_list()
    assert set(votes["voter"]) == {"ann", "bob"}
    assert votes.filter(pl.col("voter") == "ann")["cost_usd"].unique().to_list() == [0.25]
    assert votes["round_id"].unique().to_list() == ["r1"]
    assert annotators.send(tasks(gold)).height == N


def test_an_annotators_vote_names_the_better_text_whichever_is_shown_first(
    world: SimulatedWorld, gold: pl.DataFrame
) -> None:
    decided = gold.filter(pl.col("p_tie") == 0)
    votes, _ = SimulatedAnnotators(world).collect(tasks(decided))
    by_ann = (votes["voter"] == "ann") & (votes["p_tie"] == 0)
    assert mean((votes["p_a"] == decided["p_a"]).filter(by_ann)) > 0.8


def test_collecting_again_in_another_order_gives_the_same_votes(world: SimulatedWorld, gold: pl.DataFrame) -> None:
    annotators = SimulatedAnnotators(world, clock=lambda: NOON)
    votes, answers = annotators.collect(tasks(gold.head(50)))
    again, answers_again = annotators.collect(tasks(gold.head(50)).reverse())
    assert votes.sort("vote_id").equals(again.sort("vote_id"))
    assert answers.sort("task_key").equals(answers_again.sort("task_key"))


@pytest.mark.slow
def test_no_request_and_no_task_ask_for_nothing(world: SimulatedWorld) -> None:
    assert list(SimulatedJudges(world).judge([])) == []
    assert list(SimulatedPolicies(world).generate([])) == []
    assert [f.height for f in SimulatedAnnotators(world).collect(tasks(world.gold(1)).clear())] == [0, 0]


def test_identities_change_with_traits_and_seed_but_not_with_the_neighbours(world: SimulatedWorld) -> None:
    fair = SimulatedJudges(world).identity("fair")
    assert fair.startswith("simulated/fair@")
    alone = World(seed=7, judges=(SimulatedVoter(name="fair", skill=2.0),))
    assert SimulatedJudges(SimulatedWorld(alone)).identity("fair") == fair
    sharper = World(seed=7, judges=(SimulatedVoter(name="fair", skill=2.1),))
    assert SimulatedJudges(SimulatedWorld(sharper)).identity("fair") != fair
    elsewhere = World(seed=8, judges=(SimulatedVoter(name="fair", skill=2.0),))
    assert SimulatedJudges(SimulatedWorld(elsewhere)).identity("fair") != fair


def test_a_judge_is_of_its_named_family_or_its_own(world: SimulatedWorld) -> None:
    judges: Judge = SimulatedJudges(world)
    family = dict(judges.voters().select("voter", "family").iter_rows())
    assert family["twin 1"] == family["twin 2"] == "twins"
    assert family["fair"] == "fair"


@pytest.mark.slow
def test_unknown_names_and_repeated_names_are_refused(world: SimulatedWorld) -> None:
    with pytest.raises(InputError, match="nobody"):
        list(SimulatedJudges(world).judge([CallRequest("k", "nobody", "", "", "x", "y")]))
    with pytest.raises(InputError, match="nobody"):
        generated(world, "nobody")
    with pytest.raises(InputError, match="nobody"):
        SimulatedPolicies(world).identity("nobody")
    with pytest.raises(RecipeError, match="repeat"):
        SimulatedWorld(World(judges=(SimulatedVoter(name="x"),), annotators=(SimulatedVoter(name="x"),)))
    with pytest.raises(RecipeError, match="annotators"):
        SimulatedAnnotators(SimulatedWorld(World()))
    with pytest.raises(RecipeError, match="policies"):
        SimulatedWorld(World()).gold(1)
