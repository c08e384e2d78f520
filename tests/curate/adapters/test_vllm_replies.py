"""What comes back: strict readings, probabilities over choices, likelihoods, repair by schema."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.adapters.vllm import replies
from curate.adapters.vllm.faults import AttemptFailedError
from curate.adapters.vllm.repair import MOST_REPAIRS, checker, fault_of, keep_schema
from curate.engines import CallReply, CallRequest
from schemas.errors import InputError

USAGE = {"prompt_tokens": 5, "completion_tokens": 2}
SCHEMA = json.dumps({
    "type": "object", "properties": {"verdict": {"enum": ["1", "2"]}}, "required": ["verdict"]})


def request(**fields: Any) -> CallRequest:
    return CallRequest("key", "judge", "{}", "", messages='[{"role": "user", "content": "?"}]', **fields)


def token(text: str, logprob: float, *others: tuple[str, float]) -> dict[str, Any]:
    top = [{"token": t, "logprob": p, "bytes": list(t.encode())} for t, p in ((text, logprob), *others)]
    return {**top[0], "top_logprobs": top}


def chat(text: str, *tokens: dict[str, Any], finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    choice = {"message": {"content": text, **message}, "finish_reason": finish, "logprobs": {"content": list(tokens)}}
    return {"model": "m", "choices": [choice], "usage": USAGE}


def said(answer: Any, asked: CallRequest, *, is_constrained: bool = True) -> replies.Said:
    return replies.parsed(replies.chat_said(asked, is_constrained=is_constrained), answer, "m")


def test_a_text_comes_with_its_tokens_and_its_log_probability() -> None:
    answer = chat("Hi you", token("Hi", -0.5), token(" you", -0.25))
    assert said(answer, request()) == replies.Said("Hi you", "stop", None, 5, 2, 2, -0.75)


def test_a_text_without_log_probabilities_has_no_sum() -> None:
    assert said({**chat("Hi"), "usage": None}, request()) == replies.Said("Hi", "stop", None, 0, 0, 0, None)


def test_a_thought_before_the_answer_takes_its_probabilities_away() -> None:
    answer = chat("1", token("hm", -0.5, ("1", -1.0)), reasoning="hm")
    read = said(answer, request(choices=("1", "2")))
    assert (read.response, read.choice_logprobs, read.logprob_sum) == ("1", None, None)


def test_probabilities_over_choices_sum_to_one_and_a_choice_without_mass_has_none() -> None:
    read = said(chat("1", token("1", -0.1, ("2", -2.0), ("T", -9999.0))), request(choices=("1", "2", "T")))
    assert read.choice_logprobs is not None
    assert set(read.choice_logprobs) == {"1", "2"}
    assert math.fsum(map(math.exp, read.choice_logprobs.values())) == pytest.approx(1)
    assert read.choice_logprobs["1"] - read.choice_logprobs["2"] == pytest.approx(1.9)


def test_under_a_constraint_a_beginning_of_one_choice_is_that_choice() -> None:
    top = [token("t", math.log(0.25), ("ti", math.log(0.25)), ("1", math.log(0.5)))]
    found = replies.choice_logprobs(top, ("1", "2", "tie"), is_constrained=True)
    assert found == {"1": pytest.approx(math.log(0.5)), "tie": pytest.approx(math.log(0.5))}


def test_without_a_constraint_only_a_whole_choice_counts() -> None:
    top = [token("t", math.log(0.25), ("tie", math.log(0.25)), ("1", math.log(0.25)), (" 1", math.log(0.25)))]
    found = replies.choice_logprobs(top, ("1", "2", "tie"), is_constrained=False)
    assert found == {"1": pytest.approx(math.log(0.5)), "tie": pytest.approx(math.log(0.5))}


def test_a_beginning_of_two_choices_leaves_their_probabilities_unsaid() -> None:
    assert replies.choice_logprobs([token("A", -0.1)], ("A>B", "A=B"), is_constrained=True) is None


@given(st.lists(st.floats(-30, 0), min_size=2, max_size=5), st.randoms())
def test_probabilities_are_normalised_whatever_the_order_of_the_alternatives(logs: list[float], chance: Any) -> None:
    options = [(str(i), log) for i, log in enumerate(logs)]
    choices = [text for text, _ in options]
    found = replies.choice_logprobs([token(*options[0], *options[1:])], choices, is_constrained=True)
    chance.shuffle(options)
    again = replies.choice_logprobs([token(*options[0], *options[1:])], choices, is_constrained=True)
    assert found is not None
    assert math.fsum(map(math.exp, found.values())) == pytest.approx(1)
    assert found == pytest.approx(again)


@pytest.mark.parametrize(("text", "finish", "expected"), [
    ("perhaps", "stop", "not_a_choice"), ("1 ", "stop", "not_a_choice"), ("", "stop", "not_a_choice"),
    ("1", "length", "length"), ("per", "length", "length"), ("1", "content_filter", "content_filter"),
])
def test_only_a_choice_that_was_finished_is_a_verdict(text: str, finish: str, expected: str) -> None:
    read = said(chat(text, token("1", -0.1), finish=finish), request(choices=("1", "2")))
    assert (read.finish_reason, read.choice_logprobs) == (expected, None)


def test_a_verdict_that_its_own_probabilities_do_not_know_has_none() -> None:
    assert said(chat("2", token("1", -0.1)), request(choices=("1", "2"))).choice_logprobs is None


def test_a_refusal_of_the_model_is_filtered_content() -> None:
    assert said(chat("", refusal="I will not."), request()).finish_reason == "content_filter"


@pytest.mark.parametrize("answer", [
    None, [], "text", {}, {"model": "m"}, {"model": None, **chat("Hi")} | {"model": None},
    {"model": "m", "choices": []}, {"model": "m", "choices": [{"message": None, "finish_reason": "stop"}]},
    chat("Hi", finish=None), chat("Hi", token("Hi", math.nan)), chat("Hi", finish="abort"),
])
def test_an_answer_of_another_shape_is_no_answer(answer: Any) -> None:
    with pytest.raises(AttemptFailedError) as caught:
        said(answer, request())
    assert caught.value.blame == "endpoint"


def test_an_answer_under_another_model_s_name_is_a_swap() -> None:
    with pytest.raises(AttemptFailedError, match="answers as 'm-mini'") as caught:
        said({**chat("Hi"), "model": "m-mini"}, request())
    assert caught.value.blame == "swapped"


def test_a_reward_keeps_all_its_digits() -> None:
    answer = {"model": "rm", "data": [{"probs": [0.1 + 0.2]}], "usage": USAGE}
    read = replies.parsed(replies.reward_said, answer, "rm")
    assert float(read.response) == 0.1 + 0.2
    assert (read.prompt_tokens, read.billed_tokens) == (5, 0)


@pytest.mark.parametrize("probs", [[], [0.1, 0.9], [math.nan], ["1"], [True]])
def test_what_is_not_one_number_is_no_reward(probs: list[Any]) -> None:
    with pytest.raises(AttemptFailedError):
        replies.parsed(replies.reward_said, {"model": "rm", "data": [{"probs": probs}], "usage": USAGE}, "rm")


def test_an_embedding_is_a_list_of_numbers() -> None:
    answer = {"model": "e", "data": [{"embedding": [0.5, -1]}], "usage": USAGE}
    assert json.loads(replies.parsed(replies.embedding_said, answer, "e").response) == [0.5, -1]
    with pytest.raises(AttemptFailedError):
        replies.parsed(replies.embedding_said, {**answer, "data": [{"embedding": []}]}, "e")


def read_prompt(tokens: Sequence[int], logprobs: Sequence[float | None]) -> dict[str, Any]:
    positions = [None if p is None else {str(t): {"logprob": p}} for t, p in zip(tokens, logprobs, strict=True)]
    return {"model": "m", "prompt_token_ids": list(tokens), "prompt_logprobs": positions, "usage": USAGE}


@pytest.mark.parametrize(("prefix", "expected", "n"), [
    ([1, 2], -0.75, 2),
    ([1, 2, 9], -0.75, 2),  # the template opens a thought for a new answer only
    ([1, 9], -1.75, 3),  # the last token of the opening merged with the message's first
])
def test_a_likelihood_is_that_of_the_tokens_after_the_opening(prefix: list[int], expected: float, n: int) -> None:
    answer = read_prompt([1, 2, 3, 4], [None, -1.0, -0.5, -0.25])
    read = replies.parsed(replies.likelihood_said(prefix), answer, "m")
    assert (float(read.response), read.output_tokens, read.billed_tokens) == (expected, n, 2)


@pytest.mark.parametrize("answer", [
    read_prompt([7, 2], [None, -1.0]),  # nothing in common: not the conversation that was asked about
    {**read_prompt([1, 2, 3], [None, -1.0, -0.5]), "prompt_token_ids": [1, 2]},
    {**read_prompt([1, 2], [None, -1.0]), "prompt_logprobs": None},
])
def test_log_probabilities_that_do_not_fit_their_tokens_are_no_likelihood(answer: dict[str, Any]) -> None:
    with pytest.raises(AttemptFailedError):
        replies.parsed(replies.likelihood_said([1]), answer, "m")


def reply(text: str, finish: str = "stop") -> CallReply:
    return CallReply("key", text, finish, None, 10, 2, 0.5, 0.25, -1.0)


def kept(*texts: CallReply) -> tuple[CallReply, list[CallRequest]]:
    """The reply that `keep_schema` makes of these answers, and what was asked for them."""
    asked: list[CallRequest] = []

    async def once(one: CallRequest) -> CallReply:
        asked.append(one)
        return texts[len(asked) - 1]

    return asyncio.run(keep_schema(once, request(schema=SCHEMA))), asked


def test_json_that_keeps_its_schema_is_handed_on_as_it_came() -> None:
    good = reply('{"verdict": "1"}')
    assert kept(good)[0] == good


def test_a_repair_names_the_fault_and_sums_what_it_took() -> None:
    mended, asked = kept(reply('{"verdict": "3"}'), reply('{"verdict": "2"}'))
    assert (mended.response, mended.finish_reason) == ('{"verdict": "2"}', "stop")
    assert (mended.prompt_tokens, mended.output_tokens, mended.seconds, mended.cost_usd) == (20, 4, 1.0, 0.5)
    assert mended.logprob_sum is None
    turns = json.loads(asked[1].messages)
    assert [t["role"] for t in turns] == ["user", "assistant", "user"]
    assert turns[1]["content"] == '{"verdict": "3"}'
    assert "$.verdict: '3' is not one of" in turns[2]["content"]


def test_after_its_repairs_an_answer_is_invalid_json() -> None:
    last, asked = kept(*[reply("no")] * (MOST_REPAIRS + 1))
    assert (last.finish_reason, last.prompt_tokens, len(asked)) == ("invalid_json", 30, 3)


@pytest.mark.parametrize("finish", ["length", "content_filter", "bad_request"])
def test_what_is_no_finished_answer_is_not_repaired(finish: str) -> None:
    last, asked = kept(reply('{"verd', finish))
    assert (last.finish_reason, len(asked)) == (finish, 1)


def test_a_repair_that_is_refused_leaves_an_invalid_answer() -> None:
    last, asked = kept(reply("no"), reply("400: too long", "bad_request"))
    assert (last.finish_reason, len(asked)) == ("invalid_json", 2)


@pytest.mark.parametrize(("text", "fault"), [
    ('{"verdict": "1"}', ""), ('{"verdict": NaN}', "NaN"), ("{", "no JSON"), ("[" * 100_000, "no JSON"),
    ("{}", "required"),
])
def test_the_fault_of_an_answer_is_said_in_a_line(text: str, fault: str) -> None:
    found = fault_of(text, SCHEMA)
    assert fault in found
    assert bool(found) == bool(fault)


@pytest.mark.parametrize("schema", ["{", '{"type": "thing"}', "7"])
def test_a_schema_that_is_none_is_refused(schema: str) -> None:
    with pytest.raises(InputError, match="schema"):
        checker(schema)
