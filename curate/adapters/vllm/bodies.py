"""Requests as vLLM 0.32 and other OpenAI-compatible servers take them."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, NamedTuple

from curate.engines import CallRequest, Kind
from schemas.errors import InputError

DEFAULT_MAX_TOKENS = 1024  # always sent: without it a server writes until its context is full, at any price
MOST_LOGPROBS = 20  # vLLM's and OpenAI's bound
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "seed", "stop", "presence_penalty", "frequency_penalty",
            "repetition_penalty", "max_tokens")
OPTIONAL = {"logprobs": "logprobs", "response_format": "response_format", "max_tokens": "max_completion_tokens"}
"""parameters that some servers refuse, with the word by which their refusal is known; answers can be had without"""
TEMPLATE_TOKENS = 64  # what a chat template adds, at most as a rule


def messages_of(request: CallRequest) -> list[dict[str, str]]:
    """The turns that are sent: `messages`, or `prompt` as a user's. Raises InputError if they are no such list."""
    if not request.messages:
        if request.first or request.second:
            raise InputError("a comparison without messages", expected="messages, as a served model reads them")
        return [{"role": "user", "content": request.prompt}]
    try:
        turns = json.loads(request.messages)
    except ValueError:
        turns = None
    if not isinstance(turns, list) or not turns or not all(isinstance(t, dict) and "role" in t for t in turns):
        raise InputError(f"messages {request.messages[:60]!r}", expected="a JSON list of {role, content}")
    return turns


def chat_body(request: CallRequest, served: str, *, is_vllm: bool, lacks: Collection[str] = ()) -> dict[str, Any]:
    """Body of /chat/completions for `generate` and `judge`.

    With choices or a schema vLLM is sent `structured_outputs` (its older `guided_choice` is ignored without a
    word); others get `response_format` for a schema, and for choices nothing: their answer is checked.
    """
    body: dict[str, Any] = {"model": served, "messages": messages_of(request)}
    body |= {k: v for k, v in request.parameters.items() if k in SAMPLING}
    body["max_tokens"] = max_tokens(request)
    if request.choices:
        # Two more than choices: an unconstrained server may put something else among the likeliest.
        body |= {"logprobs": True, "top_logprobs": min(MOST_LOGPROBS, 2 + sum(map(len, request.choices)))}
    else:
        body |= {"logprobs": True}
    if is_vllm:
        body |= _structured(request)
    elif request.schema and not request.choices:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": json.loads(request.schema), "strict": True},
        }
    return _without(body, lacks)


def max_tokens(request: CallRequest) -> int:
    """Tokens that may come back. A choice takes as many as it has bytes and an end, whatever the tokenizer."""
    if request.choices:
        return max(len(choice.encode()) for choice in request.choices) + 1
    return int(request.parameters.get("max_tokens", DEFAULT_MAX_TOKENS))


class Estimate(NamedTuple):
    """What a call takes at worst."""

    prompt_tokens: int
    output_tokens: int
    n_posts: int = 1
    """requests over HTTP, one after the other"""


def estimate(kind: Kind, request: CallRequest) -> Estimate:
    """Generously: two bytes of what is sent to a token, what the template adds, and all that may come back."""
    prompt = len((request.messages or request.prompt).encode()) // 2 + TEMPLATE_TOKENS
    if kind == "likelihood":
        return Estimate(prompt, 1, 2)
    return Estimate(prompt, max_tokens(request) if kind in ("generate", "judge") else 0)


def classify_body(request: CallRequest, served: str) -> dict[str, Any]:
    """Body of vLLM's /classify: the raw reward, no activation."""
    return {"model": served, "messages": messages_of(request), "use_activation": False}


def embed_body(request: CallRequest, served: str) -> dict[str, Any]:
    """Body of /embeddings."""
    return {"model": served, "input": request.prompt, "encoding_format": "float"}


def prefix_body(request: CallRequest, served: str) -> dict[str, Any]:
    """Body of vLLM's /tokenize: everything before the final assistant message, its opening included."""
    turns = messages_of(request)
    if turns[-1]["role"] != "assistant":
        raise InputError("a likelihood of messages that end with no assistant's", expected="an assistant's last")
    return {"model": served, "messages": turns[:-1], "add_generation_prompt": True}


def likelihood_body(request: CallRequest, served: str) -> dict[str, Any]:
    """Body of /chat/completions that only reads: the final message stays open, so it ends with its own last token."""
    return {
        "model": served, "messages": messages_of(request), "add_generation_prompt": False,
        "continue_final_message": True, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0,
        "return_token_ids": True,
    }


def refused_parameter(message: str, lacks: Collection[str]) -> str | None:
    """The optional parameter that a refusal speaks of and that was sent."""
    return next((name for name, word in OPTIONAL.items() if word in message and name not in lacks), None)


def _structured(request: CallRequest) -> dict[str, Any]:
    if request.choices:
        return {"structured_outputs": {"choice": list(request.choices)}}
    return {"structured_outputs": {"json": json.loads(request.schema)}} if request.schema else {}


def _without(body: dict[str, Any], lacks: Collection[str]) -> dict[str, Any]:
    if not lacks:
        return body
    if "max_tokens" in lacks:
        body["max_completion_tokens"] = body["max_tokens"]  # OpenAI's newer name
    gone = {*lacks, *(["top_logprobs"] if "logprobs" in lacks else [])}
    return {k: v for k, v in body.items() if k not in gone}
