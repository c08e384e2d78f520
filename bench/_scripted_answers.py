"""What the scripted server answers: deterministic functions of the request, in the shapes of vLLM 0.32.

No model stands behind them. A hash of weights and question decides; a request may be told apart from
another by nothing but what it sends. Standard library only, so that the server starts in a moment.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Body = Mapping[str, Any]
CONTEXT = 8192
NO_CHANCE = -9999.0
"""what vLLM writes for the log of 0"""
WIDTH = 8
"""numbers in an embedding"""


@dataclass(frozen=True)
class Habit:
    """How the server decides between choices.

    `hash`: by a hash of weights and question. `first`: always `first`. `prefers`: `first` where `text` stands
    before `over` in the last message, `second` where it stands after it, by a hash where one is absent.
    """

    verdict: str = "hash"
    text: str = ""
    over: str = ""
    first: str = "1"
    second: str = "2"
    weights: str = "w1"
    """other weights, other answers, under the same name"""


@dataclass(frozen=True)
class Question:
    """One request, read: its text, and the number that decides whatever is not decided by habit."""

    body: Body
    habit: Habit
    text: str
    chance: bytes


def question_id(asked: object) -> str:
    """Id of what is asked: messages, prompt or input, whatever else stands beside them."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]


def asked_of(body: Body) -> Any:
    """The part of a body that holds texts."""
    return next((body[name] for name in ("messages", "prompt", "input") if body.get(name) is not None), "")


def read(body: Body, habit: Habit) -> Question:
    """The question behind a body."""
    asked = asked_of(body)
    is_chat = isinstance(asked, list) and bool(asked) and isinstance(asked[-1], dict)
    text = str(asked[-1].get("content", "") if is_chat else asked)
    decides = json.dumps([habit.weights, asked, body.get("seed"), body.get("temperature")], sort_keys=True)
    return Question(body, habit, text, hashlib.sha256(decides.encode()).digest())


def chat(question: Question) -> dict[str, Any]:
    """Answer of /v1/chat/completions: one of the choices, JSON that keeps the schema, or text."""
    body = question.body
    choices = (body.get("structured_outputs") or {}).get("choice")
    content, logprobs = _chosen(question, choices) if choices else (_written(question), None)
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or CONTEXT
    words, is_cut = content.split(" "), not choices and len(content.split(" ")) > limit
    message = {"role": "assistant", "content": " ".join(words[:limit]) if is_cut else content, "refusal": None}
    prompt = _prompt(body)
    said: dict[str, Any] = {
        "index": 0, "message": message, "logprobs": logprobs if body.get("logprobs") else None,
        "finish_reason": "length" if is_cut else "stop", "stop_reason": None,
    }
    answer = {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [said],
              "system_fingerprint": f"vllm-0.32.0-{question.habit.weights}", "prompt_logprobs": None}
    if body.get("prompt_logprobs") is not None:
        answer["prompt_logprobs"] = prompt_logprobs(question.habit, token_ids(prompt))
    if body.get("return_token_ids"):
        answer["prompt_token_ids"] = token_ids(prompt)
    if body.get("logprobs") and not choices:
        said["logprobs"] = {"content": [_token(word, -0.5, [(word, -0.5)]) for word in words[:limit]]}
    return {**answer, "usage": usage(len(token_strings(prompt)), 1 if choices else min(len(words), limit))}


def completion(question: Question) -> dict[str, Any]:
    """Answer of /v1/completions, with the log likelihoods of the prompt's tokens where they are asked for."""
    body, habit = question.body, question.habit
    prompt = body["prompt"]
    ids = token_ids(prompt) if isinstance(prompt, str) else list(prompt[0] if isinstance(prompt[0], list) else prompt)
    text = "" if body.get("max_tokens") == 0 else f" {question.chance.hex()[:8]}"
    said: dict[str, Any] = {"index": 0, "text": text, "logprobs": None, "finish_reason": "length", "stop_reason": None,
                            "prompt_logprobs": None}
    if body.get("prompt_logprobs") is not None:
        said["prompt_logprobs"] = prompt_logprobs(habit, ids)
    if body.get("echo"):
        logs = [None, *(likelihood(habit, ids, at) for at in range(1, len(ids)))]
        said |= {"text": (prompt if isinstance(prompt, str) else "") + text,
                 "logprobs": {"token_logprobs": logs, "tokens": [f"token_id:{i}" for i in ids], "text_offset": [],
                              "top_logprobs": []}}
    return {"id": "cmpl-0", "object": "text_completion", "created": 0, "model": body["model"], "choices": [said],
            "system_fingerprint": f"vllm-0.32.0-{habit.weights}", "usage": usage(len(ids), int(bool(text)))}


def tokenize(question: Question) -> dict[str, Any]:
    """Answer of /tokenize: a prompt or a chat."""
    body = question.body
    text = body["prompt"] if "prompt" in body else _prompt(body)
    strings = token_strings(text) if body.get("return_token_strs") else None
    ids = token_ids(text)
    return {"count": len(ids), "max_model_len": CONTEXT, "tokens": ids, "token_strs": strings}


def classify(question: Question) -> dict[str, Any]:
    """Answer of /classify for a reward model: one number per text, through the logistic function unless told not to."""
    body, texts = question.body, _texts(question.body)
    rewards = [reward(question.habit, text) for text in texts]
    is_raw = body.get("use_activation") is False
    data = [
        {"index": i, "label": "LABEL_0", "probs": [r if is_raw else 1 / (1 + math.exp(-r))], "num_classes": 1}
        for i, r in enumerate(rewards)
    ]
    return {"id": "classify-0", "object": "list", "created": 0, "model": body["model"], "data": data,
            "usage": usage(sum(len(token_strings(t)) for t in texts), 0)}


def embed(question: Question) -> dict[str, Any]:
    """Answer of /v1/embeddings: one unit vector per text, as numbers or as base64 of 32-bit floats."""
    body, texts = question.body, _texts(question.body)
    vectors = [_vector(question.habit, text) for text in texts]
    is_packed = body.get("encoding_format") == "base64"
    data = [
        {"index": i, "object": "embedding",
         "embedding": base64.b64encode(struct.pack(f"<{WIDTH}f", *v)).decode() if is_packed else v}
        for i, v in enumerate(vectors)
    ]
    return {"id": "embd-0", "object": "list", "created": 0, "model": body["model"], "data": data,
            "usage": usage(sum(len(token_strings(t)) for t in texts), 0)}


def models(name: str) -> dict[str, Any]:
    """Answer of /v1/models."""
    card = {"id": name, "object": "model", "created": 0, "owned_by": "vllm", "root": name, "parent": None,
            "max_model_len": CONTEXT, "permission": []}
    return {"object": "list", "data": [card]}


def reward(habit: Habit, text: str) -> float:
    """Raw reward of a text, in -4..4; with the habit `prefers`, 2 more where the text is in it."""
    bonus = 2.0 if habit.verdict == "prefers" and habit.text and habit.text in text else 0.0
    return round(8 * _share(habit.weights, "reward", text) - 4 + bonus, 6)


def likelihood(habit: Habit, ids: Sequence[int], at: int) -> float:
    """Natural log probability of the token at a place, given the one before it."""
    return -0.1 - 5 * _share(habit.weights, "token", str(ids[at - 1]), str(ids[at]))


def prompt_logprobs(habit: Habit, ids: Sequence[int]) -> list[dict[str, Any] | None]:
    """One map per token, of token id to its log probability; none for the first token."""
    return [None] + [
        {str(ids[at]): {"logprob": likelihood(habit, ids, at), "rank": 1, "decoded_token": f"<{ids[at]}>"}}
        for at in range(1, len(ids))
    ]


def rendered(messages: Sequence[Mapping[str, Any]], *, is_open: bool = False, is_continued: bool = False) -> str:
    """The chat template: one line per message, an opening for the assistant or the last message left open."""
    said = "".join(f"<|{m['role']}|> {m['content']} <|end|>\n" for m in messages)
    return said.removesuffix(" <|end|>\n") if is_continued else said + ("<|assistant|> " if is_open else "")


def token_strings(text: str) -> list[str]:
    """Tokens of a text: its words."""
    return text.split()


def token_ids(text: str) -> list[int]:
    """Token ids of a text; equal words have equal ids, whatever stands before."""
    return [zlib.crc32(word.encode()) % 32000 for word in token_strings(text)]


def usage(n_prompt: int, n_output: int) -> dict[str, int]:
    """Tokens in and out."""
    return {"prompt_tokens": n_prompt, "total_tokens": n_prompt + n_output, "completion_tokens": n_output}


def _prompt(body: Body) -> str:
    """The chat as the model reads it."""
    is_continued = bool(body.get("continue_final_message"))
    is_open = not is_continued and bool(body.get("add_generation_prompt", True))
    return rendered(body["messages"], is_open=is_open, is_continued=is_continued)


def _chosen(question: Question, choices: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """One choice, each a token, with log probabilities normalised over the choices as vLLM gives them."""
    best = _decided(question, choices)
    logits = [question.chance[i % 32] / 256 + (3.0 if c == best else 0.0) for i, c in enumerate(choices)]
    total = math.log(sum(math.exp(x) for x in logits))
    logs = [(c, x - total) for c, x in zip(choices, logits, strict=True)]
    top = [*sorted(logs, key=lambda pair: -pair[1]), ("the", NO_CHANCE)]
    return best, {"content": [_token(best, dict(logs)[best], top[: question.body.get("top_logprobs") or 0])]}


def _decided(question: Question, choices: Sequence[str]) -> str:
    habit = question.habit
    if habit.verdict == "first":
        return habit.first
    if habit.verdict == "prefers":
        liked, other = question.text.find(habit.text), question.text.find(habit.over)
        if min(liked, other) >= 0:
            return habit.first if liked < other else habit.second
    return choices[question.chance[31] % len(choices)]


def _token(text: str, log: float, top: Sequence[tuple[str, float]]) -> dict[str, Any]:
    listed = [{"token": t, "logprob": x, "bytes": list(t.encode())} for t, x in top]
    return {"token": text, "logprob": log, "bytes": list(text.encode()), "top_logprobs": listed}


def _written(question: Question) -> str:
    schema = (question.body.get("structured_outputs") or {}).get("json")
    form = question.body.get("response_format") or {}
    schema = schema or (form.get("json_schema") or {}).get("schema")
    if schema:
        return json.dumps(_instance(question, json.loads(schema) if isinstance(schema, str) else schema, "$"))
    return f"answer {question.chance.hex()[:12]} to that"


def _instance(question: Question, schema: Mapping[str, Any], path: str) -> Any:
    """A value that keeps a schema: objects, arrays, enums, numbers, texts, booleans."""
    share, kind = _share(question.chance.hex(), path), schema.get("type")
    if "enum" in schema:
        return _decided(question, schema["enum"])
    if kind == "object":
        return {name: _instance(question, part, f"{path}.{name}") for name, part in schema["properties"].items()}
    if kind == "array":
        return [_instance(question, schema["items"], f"{path}.{i}") for i in range(schema.get("minItems", 1))]
    if kind in ("integer", "number"):
        low, high = schema.get("minimum", 0), schema.get("maximum", 10)
        return low + int(share * (high - low + 1)) if kind == "integer" else low + share * (high - low)
    return share < 0.5 if kind == "boolean" else f"because {question.chance.hex()[:8]}"


def _texts(body: Body) -> list[str]:
    if "messages" in body:
        return [rendered(body["messages"])]
    return [body["input"]] if isinstance(body["input"], str) else list(body["input"])


def _vector(habit: Habit, text: str) -> list[float]:
    raw = [_share(habit.weights, "embedding", str(i), text) - 0.5 for i in range(WIDTH)]
    length = math.sqrt(sum(x * x for x in raw))
    return [x / length for x in raw]


def _share(*parts: str) -> float:
    """A number in 0..1 that these parts fix."""
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode(), digest_size=4).digest(), "big") / 2**32
