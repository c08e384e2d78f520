"""Served policies answer stored prompts: candidates, pairs and lineage, asked once, whatever happens in between."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest
from served_models import ServedModels, answer, served_turn, stored
from small_rounds import new_store, run_only
from test_prompt_sources import put_prompts

from curate.engines import CallReply, CallRequest
from flows.rounds import Turn, abandon_round
from schemas.errors import CallFailedError
from schemas.ids import text_id
from warehouse.store import Store, Writer

pytestmark = [pytest.mark.usefixtures("unpublished"), pytest.mark.service]
KIND = f"served/large@1+{text_id('Be kind.')[:8]}"
MADE = ("responses", "pairs", "discards", "policies", "sources", "scores", "pair_tags", "instruments", "prompts",
        "votes")


def synthesized(turn: Turn) -> Turn:
    run_only(turn, "synthesize")
    return turn


def made(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Everything the stage appends, without what depends on the round or the clock."""
    return {
        table: stored(store, table).drop("round_id", "voted_at", "seq", "pair_seq", "seconds", strict=False).rows()
        for table in MADE
    }


def test_prompts_and_a_served_model_are_enough_for_candidates_pairs_and_lineage(store: Store, tmp_path: Path) -> None:
    put_prompts(store, tmp_path)
    synthesized(served_turn(store, ServedModels()))
    responses, pairs = stored(store, "responses"), stored(store, "pairs")
    assert (responses.height, pairs.height) == (8, 4)
    assert Counter(responses["policy"]) == {"served/small@1": 4, KIND: 4}
    assert pairs.select("origin", "source").unique().rows() == [("random", "prompts")]
    assert stored(store, "policies").select("policy", "model", "system", "licence", "may_redistribute").rows() == [
        (KIND, "org/large", "Be kind.", "Apache-2.0", True), ("served/small@1", "org/small", None, "Apache-2.0", True)]
    assert stored(store, "lineage").select("policy", "model", "prompt_source").unique().height == 2


def test_a_policy_is_sent_its_system_prompt_its_sampling_and_a_seed_of_the_sample(store: Store, tmp_path: Path) -> None:
    put_prompts(store, tmp_path, n=1, system="Answer in French.")
    served = ServedModels()
    policies = [{"name": "kind", "model": "large", "system": "Be kind.", "temperature": 0.7, "max_tokens": 9}]
    synthesized(served_turn(store, served, policies=policies))
    turns = json.loads(served.asked[0].messages)
    assert [turn["role"] for turn in turns] == ["system", "user"]
    assert turns[0]["content"] == "Be kind.\n\nAnswer in French."
    sent = [request.parameters for request in served.asked]
    assert [(p["temperature"], p["top_p"], p["max_tokens"]) for p in sent] == [(0.7, 1.0, 9)] * 2
    assert len({p["seed"] for p in sent}) == 2
    assert sorted(json.loads(s)["sample"] for s in stored(store, "responses")["sampling"]) == [0, 1]


@pytest.mark.parametrize(("reply", "reason"), [
    (CallReply("", "half a sent", "length"), "length"),
    (CallReply("", "no", "content_filter"), "content_filter"),
    ("  \n", "empty"),
])
def test_an_answer_that_is_none_makes_no_candidate_but_a_reason(
    store: Store, tmp_path: Path, reply: CallReply | str, reason: str
) -> None:
    def cut(request: CallRequest) -> CallReply | str:
        if isinstance(reply, str):
            return reply
        return CallReply(request.call_key, reply.response, reply.finish_reason)

    put_prompts(store, tmp_path, n=2)
    synthesized(served_turn(store, ServedModels(small=cut)))
    assert stored(store, "responses")["policy"].unique().to_list() == [KIND]
    assert stored(store, "pairs").is_empty()
    left_out = stored(store, "discards").filter(pl.col("reason") == reason)
    assert set(left_out["row_id"]) <= set(stored(store, "calls")["call_key"])
    assert left_out.height == 2


def test_two_policies_that_say_the_same_make_one_candidate(store: Store, tmp_path: Path) -> None:
    put_prompts(store, tmp_path, n=1)
    same = "The answer is that rivers run to the sea because water seeks the lowest place."
    synthesized(served_turn(store, ServedModels(generate=lambda request: same)))
    assert stored(store, "pairs").is_empty()
    near = stored(store, "discards").filter(pl.col("reason") == "near_duplicate").row(0, named=True)
    assert {near["row_id"], near["detail"]} == set(stored(store, "responses")["response_id"])


def test_the_same_words_twice_of_one_policy_are_one_response_and_not_asked_for_again(
    store: Store, tmp_path: Path
) -> None:
    put_prompts(store, tmp_path, n=1)
    one_policy = {"policies": [{"name": "plain", "model": "small"}]}
    synthesized(served_turn(store, ServedModels(generate=lambda request: "always this"), **one_policy))
    assert stored(store, "responses").height == 1
    assert sorted(stored(store, "discards")["reason"]) == ["not_drawn", "same_response"]
    abandon_round(store, "d")
    again = ServedModels()
    synthesized(served_turn(store, again, **one_policy))
    assert again.asked == []


def test_nothing_is_asked_twice_and_a_second_round_asks_only_what_is_new(store: Store, tmp_path: Path) -> None:
    put_prompts(store, tmp_path, n=3)
    synthesized(served_turn(store, ServedModels()))
    abandon_round(store, "d")
    again = ServedModels()
    synthesized(served_turn(store, again))
    assert again.asked == []
    abandon_round(store, "d")
    put_prompts(store, tmp_path, n=4)
    synthesized(served_turn(store, again))
    assert len(again.asked) == 2
    assert stored(store, "pairs").height == 4


def test_another_temperature_asks_anew_for_exactly_that_policy(store: Store, tmp_path: Path) -> None:
    put_prompts(store, tmp_path, n=3)
    synthesized(served_turn(store, ServedModels()))
    abandon_round(store, "d")
    served = ServedModels()
    warmer = [{"name": "plain", "model": "small", "temperature": 0.3},
              {"name": "kind", "model": "large", "system": "Be kind."}]
    synthesized(served_turn(store, served, policies=warmer))
    assert Counter(request.voter for request in served.asked) == {"small": 3}


EVERYTHING = {
    "responses_per_prompt": 3, "pairs_per_prompt": 2, "method": "best_of_n", "scorer": "rm", "writer": "writer",
    "n_grown": 6, "has_attributes": True,
    "contrasts": [{"attribute": "politeness", "instruction": "Make it rude.", "max_length_change": 3.0}],
}


def test_a_round_that_is_killed_before_its_rows_are_in_ends_like_any_other_and_asks_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = new_store(tmp_path / "whole"), new_store(tmp_path / "killed")
    for store in (whole, killed):
        put_prompts(store, tmp_path)
    synthesized(served_turn(whole, ServedModels(), **EVERYTHING))
    first, second = ServedModels(), ServedModels()
    append = Writer.append

    def dies(writer: Writer, frames: Mapping[str, pl.DataFrame]) -> dict[str, int]:
        if "round_stages" in frames:
            raise KeyboardInterrupt
        return append(writer, frames)

    turn = served_turn(killed, first, **EVERYTHING)
    with monkeypatch.context() as patched:
        patched.setattr(Writer, "append", dies)
        with pytest.raises(KeyboardInterrupt):
            synthesized(turn)
    synthesized(served_turn(killed, second, **EVERYTHING))
    assert len(first.asked) > 0
    assert second.asked == []
    assert made(killed) == made(whole)


@pytest.mark.parametrize("n_answered", [0, 5, 17])
def test_calls_that_fail_stop_the_stage_and_only_they_are_asked_by_the_next(
    tmp_path: Path, n_answered: int
) -> None:
    whole, broken = new_store(tmp_path / "whole"), new_store(tmp_path / "broken")
    for store in (whole, broken):
        put_prompts(store, tmp_path, n=12)
    synthesized(served_turn(whole, ServedModels()))

    def fails(request: CallRequest) -> str:
        if len(first.asked) > n_answered:
            raise CallFailedError("the endpoint is gone")
        return answer(request)

    first, second = ServedModels(generate=fails), ServedModels()
    with pytest.raises(CallFailedError):
        synthesized(served_turn(broken, first))
    assert stored(broken, "responses").is_empty()
    synthesized(served_turn(broken, second))
    assert len(second.asked) == 24 - n_answered
    assert made(broken) == made(whole)


def test_answers_in_another_order_make_the_same_rows(tmp_path: Path) -> None:
    stores = [new_store(tmp_path / name) for name in ("one", "other")]
    for store, is_reversed in zip(stores, (False, True), strict=True):
        served = ServedModels()
        served.is_reversed = is_reversed
        put_prompts(store, tmp_path, n=6, is_reversed=is_reversed)
        synthesized(served_turn(store, served, **EVERYTHING))
    assert made(stores[0]) == made(stores[1])
    assert stored(stores[0], "prompts").height == 12


def test_the_best_scored_meets_a_lower_one_and_scores_are_kept(store: Store, tmp_path: Path) -> None:
    put_prompts(store, tmp_path, n=2)
    scored = ServedModels(score=lambda request: str(sum(map(ord, request.messages)) % 97 / 7))
    synthesized(served_turn(store, scored, method="best_of_n", scorer="rm", responses_per_prompt=4))
    scores = stored(store, "scores")
    assert scores.select("model", "template", "is_out_of_fold").unique().rows() == [("served/rm@1", "chat", False)]
    ranked = scores.with_columns(pl.col("score").cast(pl.Float64)).join(stored(store, "responses"), on="response_id")
    best = ranked.sort("score").group_by("prompt_id").last()
    pairs = stored(store, "pairs").join(best.select("prompt_id", best="response_id"), on="prompt_id")
    assert pairs.height == 2
    assert pairs.filter(pl.any_horizontal(pl.col("response_a", "response_b") == pl.col("best"))).height == 2
    asked = next(request for request in scored.asked if request.voter == "rm")
    assert [turn["role"] for turn in json.loads(asked.messages)] == ["user", "assistant"]


def test_a_score_that_is_no_number_scores_nothing(store: Store, tmp_path: Path) -> None:
    put_prompts(store, tmp_path, n=1)
    synthesized(served_turn(store, ServedModels(score=lambda request: "nan"), method="best_of_n", scorer="rm"))
    assert stored(store, "scores").is_empty()
    assert stored(store, "pairs").is_empty()
    assert set(stored(store, "discards")["reason"]) == {"not_scored"}


def test_without_a_promoted_model_pairs_are_random_and_the_user_is_told(store: Store, tmp_path: Path) -> None:
    put_prompts(store, tmp_path, n=2)
    lines: list[str] = []
    synthesized(served_turn(store, ServedModels(), lines.append, method="best_of_n", scorer="incumbent"))
    assert stored(store, "pairs")["origin"].to_list() == ["random", "random"]
    assert any("no reward model is promoted yet" in line for line in lines)


def test_west_of_n_pairs_the_ends_and_says_why_the_others_are_out(store: Store, tmp_path: Path) -> None:
    def likely(request: CallRequest) -> CallReply:
        return CallReply(request.call_key, answer(request), output_tokens=5, logprob_sum=-10.0)

    put_prompts(store, tmp_path, n=4)
    scored = ServedModels(generate=likely, score=lambda request: str(sum(map(ord, request.messages)) % 89))
    synthesized(served_turn(store, scored, method="west_of_n", scorer="rm", responses_per_prompt=3))
    assert stored(store, "pairs")["origin"].unique().to_list() == ["west_of_n"]
    assert {"between", "below_west_quantile"} <= set(stored(store, "discards")["reason"])


def test_more_policies_than_answers_share_the_prompts_and_are_asked_once(store: Store, tmp_path: Path) -> None:
    put_prompts(store, tmp_path, n=6)
    five = [{"name": f"p{i}", "model": "small", "system": f"You are {i}."} for i in range(5)]
    synthesized(served_turn(store, ServedModels(), policies=five))
    responses = stored(store, "responses")
    assert responses.group_by("prompt_id").len()["len"].to_list() == [2] * 6
    assert sorted(responses.group_by("policy").len()["len"]) == [2, 2, 2, 3, 3]
    abandon_round(store, "d")
    again = ServedModels()
    put_prompts(store, tmp_path, n=7)  # another set of prompts draws other pools, and the answered ones stay answered
    synthesized(served_turn(store, again, policies=five))
    assert len(again.asked) == 2


def test_attributes_are_tags_of_every_pair_and_failures_are_counted(store: Store, tmp_path: Path) -> None:
    put_prompts(store, tmp_path, n=2)
    synthesized(served_turn(store, ServedModels(), writer="writer", has_attributes=True))
    tags = stored(store, "pair_tags")
    assert (tags.height, tags["tagger"].unique().to_list()) == (10, ["served/writer@1"])
    other = new_store(tmp_path / "other")
    put_prompts(other, tmp_path, n=2)
    lines: list[str] = []
    synthesized(served_turn(other, ServedModels(writer=lambda request: "sorry"), lines.append, writer="writer",
                            has_attributes=True))
    assert stored(other, "pair_tags").is_empty()
    assert any("2 of 2 pairs got no attributes" in line for line in lines)
    assert stored(other, "discards").filter(pl.col("reason") == "not_the_attributes").height == 2
