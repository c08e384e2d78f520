"""Real vLLM on a CPU: what a server says, what vLLM in process says, what transformers says of the same weights."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from tiny_models import TinyModels, ask_transformers
from vllm_server import Server

from curate.adapters.vllm.contact import is_same
from curate.adapters.vllm.in_process import InProcessModels
from curate.adapters.vllm.served import ServedModels
from curate.engines import CallReply, CallRequest, Kind

pytestmark = pytest.mark.service

CHOICES = ("1", "2", "tie")
PROMPTS = [f"Which answer is better, {a} or {b}?" for a in range(8) for b in range(a)]
TALKS = [
    [*before, {"role": "user", "content": prompt}, {"role": "assistant", "content": said}]
    for before, prompt, said in [
        ([], "Name a colour.", "Blue."),
        ([], "Name a colour.", "I would rather not say, sorry."),
        ([], "Why?", "Because it is so."),
        ([], "Übersetze: cat", "Die Katze — sagt „miau“ 🐈."),
        ([], "Write two lines.", "One line,\nand another one.\n\nThe end."),
        ([{"role": "system", "content": "Be brief."}], "2 + 2?", "4"),
    ]
]
VERDICT = {
    "type": "object", "additionalProperties": False, "required": ["reason", "score", "verdict"],
    "properties": {
        "reason": {"type": "string", "maxLength": 40}, "score": {"type": "integer", "minimum": 1, "maximum": 5},
        "verdict": {"enum": list(CHOICES)},
    },
}


def answers(
    engine: ServedModels | InProcessModels, kind: Kind, voter: str, asked: list[dict[str, Any]]
) -> list[CallReply]:
    """Replies in the order asked."""
    requests = [CallRequest(f"{i:03}", voter, "{}", **{"prompt": "", **a}) for i, a in enumerate(asked)]
    replies = {reply.call_key: reply for reply in engine.ask(kind, requests)}
    return [replies[request.call_key] for request in requests]


def questions(n: int, **more: Any) -> list[dict[str, Any]]:
    """The first prompts, each a conversation of one turn, asked greedily."""
    return [
        {"messages": json.dumps([{"role": "user", "content": p}]),
         "parameters": {"temperature": 0, "max_tokens": 48}} | more
        for p in PROMPTS[:n]
    ]


def of_talks() -> list[dict[str, Any]]:
    return [{"messages": json.dumps(talk)} for talk in TALKS]


def numbers(replies: list[CallReply]) -> list[float]:
    assert [reply.finish_reason for reply in replies] == ["stop"] * len(replies)
    return [float(reply.response) for reply in replies]


@pytest.fixture(scope="module")
def by_transformers(inference: Path, tiny: TinyModels) -> dict[str, list[float]]:
    """Rewards and likelihoods of `TALKS` in float32, without vLLM."""
    asked = {"reward": tiny.reward, "likelihood": tiny.generative}
    said = ask_transformers(
        inference, [{"ask": ask, "model": str(m), "messages": t} for ask, m in asked.items() for t in TALKS]
    )
    return {"reward": said[: len(TALKS)], "likelihood": said[len(TALKS) :]}


def test_a_served_text_comes_with_its_own_log_probability(served: ServedModels) -> None:
    replies = answers(served, "generate", "writer", questions(6))
    assert {reply.finish_reason for reply in replies} <= {"stop", "length"}
    assert any(reply.response for reply in replies)
    for reply in replies:
        assert reply.logprob_sum is not None
        # Greedy in a vocabulary of 2,048: no token is less likely than chance.
        assert -reply.output_tokens * math.log(2048) < reply.logprob_sum < 0
    assert answers(served, "generate", "writer", questions(6))[0].response == replies[0].response


def test_a_constrained_verdict_has_probabilities_that_sum_to_one(served: ServedModels) -> None:
    replies = answers(served, "judge", "writer", questions(12, choices=CHOICES))
    for reply in replies:
        logs = reply.choice_logprobs
        assert logs is not None
        assert set(logs) == set(CHOICES)
        assert math.fsum(map(math.exp, logs.values())) == pytest.approx(1, abs=1e-6)
        assert min(logs.values()) > -50
    assert len({json.dumps(reply.choice_logprobs) for reply in replies}) > 1


def test_sampled_verdicts_are_as_frequent_as_their_probabilities_say(served: ServedModels) -> None:
    n, (question,) = 400, questions(1, choices=CHOICES)
    asked = [question | {"parameters": {"temperature": 1.0, "seed": seed}} for seed in range(n)]
    replies = answers(served, "judge", "writer", asked)
    said = Counter(reply.response for reply in replies)
    for choice, log in (replies[0].choice_logprobs or {}).items():
        p = math.exp(log)
        # Five standard deviations of a share of n: seeds are fixed, so this either holds or never does.
        assert said[choice] / n == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / n))


def test_output_is_constrained_because_the_same_model_free_says_something_else(served: ServedModels) -> None:
    asked = [q | {"messages": json.dumps([{"role": "user", "content": f"{i}. {p}"}])}
             for i, p in enumerate(PROMPTS * 2) for q in questions(1)]
    free = answers(served, "generate", "writer", asked)
    bound = answers(served, "judge", "writer", [q | {"choices": CHOICES} for q in asked])
    assert len(asked) >= 50
    assert [reply.response for reply in free if reply.response in CHOICES] == []
    assert {reply.response for reply in bound} <= set(CHOICES)
    assert {reply.finish_reason for reply in bound} == {"stop"}


def test_guided_choice_is_ignored_without_a_word_so_nobody_goes_back_to_it(generative_server: Server) -> None:
    body = {
        "model": generative_server.model, "messages": [{"role": "user", "content": "Which is better?"}],
        "temperature": 0, "max_tokens": 8,
    }

    def said(**constraint: object) -> str:
        answer = httpx.post(f"{generative_server.url}/chat/completions", json=body | constraint, timeout=60)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])

    free = said()
    assert free not in CHOICES
    assert said(guided_choice=list(CHOICES)) == free
    assert said(structured_outputs={"choice": list(CHOICES)}) in CHOICES


def test_json_keeps_its_schema(served: ServedModels) -> None:
    asked = questions(12, schema=json.dumps(VERDICT), parameters={"temperature": 1.0, "seed": 7})
    replies = answers(served, "generate", "writer", asked)
    assert {reply.finish_reason for reply in replies} == {"stop"}
    for reply in replies:
        jsonschema.validate(json.loads(reply.response), VERDICT)
    assert len({reply.response for reply in replies}) > 1


def test_rewards_are_those_of_transformers_over_http_and_in_process(
    served: ServedModels, own: InProcessModels, by_transformers: dict[str, list[float]]
) -> None:
    over_http = numbers(answers(served, "score", "reward", of_talks()))
    in_process = numbers(answers(own, "score", "reward", of_talks()))
    assert over_http == pytest.approx(by_transformers["reward"], abs=5e-4)
    assert in_process == pytest.approx(by_transformers["reward"], abs=5e-4)
    assert max(over_http) - min(over_http) > 0.1


def test_likelihoods_are_those_of_transformers_over_http_and_in_process(
    served: ServedModels, own: InProcessModels, by_transformers: dict[str, list[float]]
) -> None:
    over_http = numbers(answers(served, "likelihood", "writer", of_talks()))
    in_process = numbers(answers(own, "likelihood", "writer", of_talks()))
    assert over_http == pytest.approx(by_transformers["likelihood"], abs=5e-4)
    assert in_process == pytest.approx(by_transformers["likelihood"], abs=5e-4)


@pytest.mark.parametrize(
    ("kind", "more"),
    [("generate", {}), ("generate", {"schema": json.dumps(VERDICT)}), ("judge", {"choices": CHOICES})],
    ids=["text", "json", "verdict"],
)
def test_both_back_ends_answer_alike(
    served: ServedModels, own: InProcessModels, kind: Kind, more: dict[str, Any]
) -> None:
    there, here = (answers(engine, kind, "writer", questions(8, **more)) for engine in (served, own))
    for one, other in zip(there, here, strict=True):
        assert (one.response, one.finish_reason) == (other.response, other.finish_reason)
        assert (one.prompt_tokens, one.output_tokens) == (other.prompt_tokens, other.output_tokens)
        assert one.logprob_sum == pytest.approx(other.logprob_sum, abs=1e-3)
        assert dict(one.choice_logprobs or {}) == pytest.approx(dict(other.choice_logprobs or {}), abs=1e-3)


def test_a_fingerprint_is_that_of_the_weights_whatever_serves_them(served: ServedModels, own: InProcessModels) -> None:
    engines = (served, own)
    first, again = ([engine.fingerprint("writer") for engine in engines] for _ in range(2))
    assert first == again
    assert first[0] is not None
    assert first[0] == pytest.approx(first[1], abs=1e-3)
    other = own.fingerprint("other")
    assert other is not None
    assert not is_same(first[0], other)
    rewards = [engine.fingerprint("reward") for engine in engines]
    assert rewards[0] is not None
    assert len(set(rewards[0])) == 3
    assert rewards[0] == pytest.approx(rewards[1], abs=1e-3)
