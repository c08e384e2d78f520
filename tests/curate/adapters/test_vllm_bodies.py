"""What is sent: one body per kind of call, as vLLM 0.32 and other servers read it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from curate.adapters.vllm import bodies
from curate.engines import CallRequest
from schemas.errors import InputError

HELLO = json.dumps([{"role": "user", "content": "Hello"}])
TALK = json.dumps([{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}])
SCHEMA = json.dumps({"type": "object"})


def request(**fields: Any) -> CallRequest:
    return CallRequest("key", "judge", "{}", fields.pop("prompt", ""), **fields)


def test_a_text_is_asked_with_its_parameters_and_the_log_probability_of_each_token() -> None:
    parameters = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "seed": 3}
    body = bodies.chat_body(request(messages=HELLO, parameters=parameters), "m", is_vllm=True)
    assert body == {"model": "m", "messages": json.loads(HELLO), "logprobs": True, **parameters}


def test_a_bound_of_tokens_is_always_sent_so_that_the_worst_case_is_known() -> None:
    asked = request(messages=HELLO)
    assert bodies.chat_body(asked, "m", is_vllm=True)["max_tokens"] == bodies.estimate("generate", asked).output_tokens


def test_what_only_describes_a_question_is_not_sent() -> None:
    body = bodies.chat_body(request(messages=HELLO, parameters={"scale": "five"}), "m", is_vllm=True)
    assert "scale" not in body


def test_a_choice_is_constrained_by_structured_outputs_and_never_by_a_field_that_vllm_ignores() -> None:
    body = bodies.chat_body(request(messages=HELLO, choices=("1", "2", "tie")), "m", is_vllm=True)
    assert body["structured_outputs"] == {"choice": ["1", "2", "tie"]}
    assert not [field for field in body if field.startswith("guided")]
    assert (body["logprobs"], body["top_logprobs"], body["max_tokens"]) == (True, 7, 4)


def test_no_more_alternatives_are_asked_for_than_servers_give() -> None:
    choices = tuple(f"a rather long answer {i}" for i in range(5))
    assert bodies.chat_body(request(messages=HELLO, choices=choices), "m", is_vllm=True)["top_logprobs"] == 20


def test_a_choice_of_many_bytes_has_room_for_each_of_them() -> None:
    asked = request(messages=HELLO, choices=("é", "1"), parameters={"max_tokens": 1})
    assert bodies.chat_body(asked, "m", is_vllm=True)["max_tokens"] == 3


def test_another_server_is_asked_for_a_choice_in_plain_words() -> None:
    body = bodies.chat_body(request(messages=HELLO, choices=("1", "2")), "m", is_vllm=False)
    assert not {"structured_outputs", "response_format"} & body.keys()
    assert body["logprobs"] is True


@pytest.mark.parametrize(("is_vllm", "field", "expected"), [
    (True, "structured_outputs", {"json": {"type": "object"}}),
    (False, "response_format", {
        "type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True}}),
])
def test_json_is_asked_for_as_each_server_takes_it(is_vllm: bool, field: str, expected: dict[str, Any]) -> None:
    body = bodies.chat_body(request(messages=HELLO, schema=SCHEMA), "m", is_vllm=is_vllm)
    assert {k: v for k, v in body.items() if k in ("structured_outputs", "response_format")} == {field: expected}


def test_what_a_server_refused_is_left_out_or_called_by_its_newer_name() -> None:
    asked = request(messages=HELLO, choices=("1",))
    body = bodies.chat_body(asked, "m", is_vllm=False, lacks={"logprobs", "max_tokens"})
    assert body == {"model": "m", "messages": json.loads(HELLO), "max_completion_tokens": 2}


@pytest.mark.parametrize(("message", "lacks", "name"), [
    ("400: 'logprobs' is not supported", set(), "logprobs"),
    ("400: 'logprobs' is not supported", {"logprobs"}, None),
    ("400: use 'max_completion_tokens' instead", set(), "max_tokens"),
    ("400: max_tokens is too large", set(), None),
    ("400: the prompt is too long", set(), None),
])
def test_a_refusal_names_the_parameter_that_can_be_left_out(message: str, lacks: set[str], name: str | None) -> None:
    assert bodies.refused_parameter(message, lacks) == name


def test_a_reward_is_asked_for_without_activation() -> None:
    assert bodies.classify_body(request(messages=TALK), "rm") == {
        "model": "rm", "messages": json.loads(TALK), "use_activation": False
    }


def test_an_embedding_is_asked_for_as_numbers() -> None:
    assert bodies.embed_body(request(prompt="text"), "e") == {"model": "e", "input": "text", "encoding_format": "float"}


def test_a_likelihood_reads_the_conversation_with_its_last_message_left_open() -> None:
    asked = request(messages=TALK)
    body, prefix = bodies.likelihood_body(asked, "m"), bodies.prefix_body(asked, "m")
    assert body["messages"] == json.loads(TALK)
    assert (body["add_generation_prompt"], body["continue_final_message"]) == (False, True)
    assert (body["prompt_logprobs"], body["max_tokens"]) == (0, 1)
    assert prefix == {"model": "m", "messages": json.loads(HELLO), "add_generation_prompt": True}


def test_a_likelihood_of_nothing_an_assistant_said_is_refused() -> None:
    with pytest.raises(InputError, match="assistant"):
        bodies.prefix_body(request(messages=HELLO), "m")


def test_a_prompt_without_messages_is_a_user_s_turn_and_a_comparison_without_them_is_refused() -> None:
    assert bodies.messages_of(request(prompt="Hello")) == json.loads(HELLO)
    with pytest.raises(InputError, match="without messages"):
        bodies.messages_of(request(prompt="Hello", first="a", second="b"))


@pytest.mark.parametrize("messages", ["", "no JSON", "[]", '{"role": "user"}', '["text"]'])
def test_messages_that_are_none_are_refused_before_anything_is_sent(messages: str) -> None:
    if messages:
        with pytest.raises(InputError, match="messages"):
            bodies.messages_of(request(messages=messages))
    else:
        assert bodies.messages_of(request(messages=messages, prompt="x"))[0]["content"] == "x"


def test_the_worst_case_counts_what_is_sent_and_all_that_may_come_back() -> None:
    asked = request(messages="x" * 200, parameters={"max_tokens": 10})
    assert bodies.estimate("generate", asked) == (100 + bodies.TEMPLATE_TOKENS, 10, 1)
    assert bodies.estimate("likelihood", asked) == (100 + bodies.TEMPLATE_TOKENS, 1, 2)
    assert bodies.estimate("score", asked)[1] == bodies.estimate("embed", asked)[1] == 0
