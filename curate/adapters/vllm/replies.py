"""What servers answer, read strictly: anything of another shape is no answer."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

from curate.adapters.vllm.faults import AttemptFailedError, RejectedError
from curate.engines import CallRequest

NO_MASS = -9000.0  # vLLM writes -9999 for the logarithm of nothing
BROKEN_OFF = ("abort", "error")  # vLLM's words for a request that it gave up
T = TypeVar("T")


@dataclass(frozen=True)
class Said:
    """An answer without its price: the fields of CallReply, and the tokens that the server wrote and bills."""

    response: str
    finish_reason: str = "stop"
    choice_logprobs: Mapping[str, float] | None = None
    prompt_tokens: int = 0
    output_tokens: int = 0
    billed_tokens: int = 0
    logprob_sum: float | None = None


def parsed(parse: Callable[[Any], T], answer: Any, served: str) -> T:
    """`parse(answer)`. Raises AttemptFailedError for another model's answer, or one of another shape."""
    if isinstance(answer, dict) and isinstance(model := answer.get("model"), str) and model != served:
        raise AttemptFailedError(f"answers as {model[:80]!r}, not as {served!r}", "swapped")
    try:
        if answer["model"] != served:
            raise other_shape()
        return parse(answer)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise other_shape() from None


def other_shape() -> AttemptFailedError:
    """What came is JSON, and not what was asked for."""
    return AttemptFailedError("200 with a body of another shape", "endpoint")


def rejected(error: RejectedError) -> Said:
    """A refusal of this very request, recorded: asking again would be refused again."""
    return Said(error.seen, "bad_request")


def chat_said(request: CallRequest, *, is_constrained: bool) -> Callable[[Any], Said]:
    """Parser of /chat/completions for `generate` and `judge`."""

    def parse(answer: Any) -> Said:
        choice = answer["choices"][0]
        message, finish = choice["message"], choice["finish_reason"]
        text = message.get("content") or ""
        if finish in BROKEN_OFF:
            raise AttemptFailedError(f"200 with finish reason {finish!r}", "endpoint")
        if not isinstance(text, str) or not isinstance(finish, str):
            raise other_shape()
        # A thought before the answer is in the tokens and not in the text: its log probabilities are another text's.
        thought = message.get("reasoning") or message.get("reasoning_content")
        tokens = None if thought else (choice.get("logprobs") or {}).get("content")
        finish = "content_filter" if message.get("refusal") else finish
        prompt, output = _usage(answer)
        plain = Said(text, finish, None, prompt, output, output, _sum(tokens))
        return _chosen(plain, request, tokens, is_constrained) if request.choices else plain

    return parse


def reward_said(answer: Any) -> Said:
    """/classify of a reward model: one number, written with all its digits."""
    (number,) = answer["data"][0]["probs"]
    return Said(repr(_finite(number)), "stop", None, *_usage(answer)[:1])


def embedding_said(answer: Any) -> Said:
    """/embeddings: JSON list of numbers."""
    numbers = [_finite(x) for x in answer["data"][0]["embedding"]]
    if not numbers:
        raise other_shape()
    return Said(json.dumps(numbers), "stop", None, *_usage(answer)[:1])


def likelihood_said(prefix: Sequence[int]) -> Callable[[Any], Said]:
    """Parser of a chat that was read with `prompt_logprobs`; `prefix` are the tokens before the message.

    The message's tokens begin where the two lists part: that is after the prefix, or at the token in which its last
    character and the message's first have merged, or before what a template opens only for a new answer.
    """

    def parse(answer: Any) -> Said:
        tokens = answer["prompt_token_ids"]
        begin = common_length(prefix, tokens)
        numbers = prompt_logprobs(answer["prompt_logprobs"])[begin:]
        if len(tokens) != len(answer["prompt_logprobs"]) or begin == 0 or None in numbers:
            raise other_shape()
        total = math.fsum(x for x in numbers if x is not None)
        prompt, written = _usage(answer)
        return Said(repr(total), "stop", None, prompt, len(numbers), written)

    return parse


def token_ids(answer: Any) -> list[int]:
    """/tokenize, which does not name its model."""
    tokens = answer.get("tokens") if isinstance(answer, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(t, int) for t in tokens):
        raise other_shape()
    return tokens


def prompt_logprobs(positions: Sequence[Mapping[str, Mapping[str, float]] | None]) -> list[float | None]:
    """Log probability of each token of a prompt in nats, None for the first; vLLM puts the prompt's own token first."""
    return [None if at is None else _finite(next(iter(at.values()))["logprob"]) for at in positions]


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the longest common beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def choice_logprobs(
    tokens: Sequence[Mapping[str, Any]] | None, choices: Sequence[str], *, is_constrained: bool
) -> dict[str, float] | None:
    """Log probabilities over the choices, normalised, from the first token's alternatives; None: not derivable.

    Under a constraint a token that begins exactly one choice leads to it for certain, so its mass is that
    choice's (exact); one that begins two leaves the answer open, and nothing is said. Without a constraint only
    a token that is a whole choice counts. A choice without mass gets no entry.
    """
    if not tokens:
        return None
    mass: dict[str, list[float]] = {}
    for option in tokens[0].get("top_logprobs") or ():
        text, logprob = _bytes(option), option["logprob"]
        begun = [c for c in choices if c.encode() == text or (is_constrained and text and c.encode().startswith(text))]
        if logprob <= NO_MASS or not begun:
            continue
        if len(begun) > 1:
            return None
        mass.setdefault(begun[0], []).append(_finite(logprob))
    sums = {choice: _log_sum(logs) for choice, logs in mass.items()}
    total = _log_sum(list(sums.values())) if sums else 0.0
    return {choice: log - total for choice, log in sums.items()} or None


def _chosen(plain: Said, request: CallRequest, tokens: Any, is_constrained: bool) -> Said:
    finish = "not_a_choice" if plain.finish_reason == "stop" and plain.response not in request.choices else None
    is_verdict = plain.finish_reason == "stop" and finish is None
    logs = choice_logprobs(tokens, request.choices, is_constrained=is_constrained) if is_verdict else None
    if logs is not None and plain.response not in logs:
        logs = None  # what was said has no probability: these are no probabilities of verdicts
    return Said(plain.response, finish or plain.finish_reason, logs, plain.prompt_tokens, plain.output_tokens,
                plain.billed_tokens, plain.logprob_sum)


def _bytes(option: Mapping[str, Any]) -> bytes:
    raw = option.get("bytes")
    return bytes(raw) if raw else str(option["token"]).encode()


def _sum(tokens: Sequence[Mapping[str, Any]] | None) -> float | None:
    """Log probability of the answer, its end included where the server lists it; None if it gave none."""
    return math.fsum(_finite(t["logprob"]) for t in tokens) if tokens else None


def _usage(answer: Any) -> tuple[int, int]:
    usage = answer.get("usage") or {}
    return int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)


def _finite(number: Any) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise other_shape()
    return float(number)


def _log_sum(logs: Sequence[float]) -> float:
    top = max(logs)
    return top + math.log(reduce(lambda total, x: total + math.exp(x - top), logs, 0.0))
