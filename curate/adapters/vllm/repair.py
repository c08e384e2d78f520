"""Answers that must keep a JSON Schema: checked, and asked again a bounded number of times with the fault named."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jsonschema

from curate.adapters.vllm.bodies import messages_of
from curate.engines import CallReply, CallRequest
from schemas.errors import InputError

MOST_REPAIRS = 2
SHOWN = 300  # characters of a fault that the model is shown
AGAIN = "That is not what was asked for: {}. Answer again, with nothing but JSON that keeps the schema."


async def keep_schema(once: Callable[[CallRequest], Awaitable[CallReply]], request: CallRequest) -> CallReply:
    """The reply that keeps `request.schema`; tokens, seconds and cost of all calls in it are summed.

    A reply that is not "stop" (cut off, filtered, refused) is handed on. After `MOST_REPAIRS` further calls the
    last one comes back as "invalid_json". A repaired answer has no `logprob_sum`: it was given to another prompt.
    """
    reply, asked = await once(request), request
    for _ in range(MOST_REPAIRS):
        fault = fault_of(reply.response, request.schema) if reply.finish_reason == "stop" else ""
        if not fault:
            return reply
        asked = _with_fault(asked, reply.response, fault)
        reply = _summed(reply, await once(asked))
        if reply.finish_reason == "bad_request":  # the longer conversation was refused, not the question
            return replace(reply, finish_reason="invalid_json")
    is_kept = reply.finish_reason != "stop" or not fault_of(reply.response, request.schema)
    return reply if is_kept else replace(reply, finish_reason="invalid_json")


def fault_of(text: str, schema: str) -> str:
    """Why `text` is no JSON that keeps `schema`, in a line; empty if it is."""
    try:
        answer = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return f"no JSON ({error})"[:SHOWN]
    fault = next(iter(sorted(checker(schema).iter_errors(answer), key=lambda e: [str(p) for p in e.path])), None)
    return f"{fault.json_path}: {fault.message}"[:SHOWN] if fault else ""


@lru_cache(maxsize=256)
def checker(schema: str) -> Any:
    """Validator of a schema, of the draft that it names. Raises InputError if it is none."""
    try:
        parsed = json.loads(schema)
        kind = jsonschema.validators.validator_for(parsed)
        kind.check_schema(parsed)
    except (ValueError, TypeError, jsonschema.SchemaError) as error:
        raise InputError(f"schema {schema[:60]!r}: {str(error)[:SHOWN]}", expected="a JSON Schema") from None
    return kind(parsed)


def _with_fault(request: CallRequest, said: str, fault: str) -> CallRequest:
    turns = [{"role": "assistant", "content": said}, {"role": "user", "content": AGAIN.format(fault)}]
    return replace(request, messages=json.dumps(messages_of(request) + turns))


def _summed(before: CallReply, after: CallReply) -> CallReply:
    return replace(
        after, prompt_tokens=before.prompt_tokens + after.prompt_tokens,
        output_tokens=before.output_tokens + after.output_tokens, seconds=before.seconds + after.seconds,
        cost_usd=before.cost_usd + after.cost_usd, logprob_sum=None,
    )


def _no_constant(name: str) -> None:
    raise json.JSONDecodeError(f"{name} is no JSON", name, 0)
