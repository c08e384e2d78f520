"""Whether the model behind an address is the one it was: model card, and a fingerprint of its weights.

A served name says nothing of the weights behind it. At first contact with an endpoint, and after every lost
connection, its card (id, root, context length) is compared with what it showed before, and the log likelihoods
of a fixed text with what this endpoint and the others of its name gave before. No answer that was under way
meanwhile is released before.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Sequence
from typing import Any

from curate.adapters.vllm.endpoints import Server
from curate.adapters.vllm.faults import AttemptFailedError, RejectedError
from curate.adapters.vllm.replies import parsed, prompt_logprobs, reward_said
from curate.judging.drift import drift

FIXED_TEXT = (
    "The quick brown fox jumps over the lazy dog. In 1969 two people walked on the Moon; def add(a, b): return a + b. "
    "La neige tombe sans bruit."
)
FIXED_ANSWERS = ("A brown fox jumps over a lazy dog.", "I do not know.", "Snow falls without a sound, and 3 + 4 is 7.")
"""answers to FIXED_TEXT whose rewards stand for the weights of a reward model"""


async def introduce(server: Server, others: Sequence[Server]) -> None:
    """Compare `server` with itself and `others` of its name. Raises AttemptFailedError, "swapped" for another model."""
    served = server.endpoint.model
    cards = await _cards(server)
    if cards is not None and served not in [c.get("id") for c in cards]:
        names = sorted(str(c.get("id")) for c in cards)
        raise AttemptFailedError(
            f"serves {names}, not {served!r}"[:300], "refused", next="name a served model in the recipe's [[models]]"
        )
    mine = next((c for c in cards or () if c.get("id") == served), {})
    server.is_vllm = mine.get("owned_by") == "vllm" or await _has_version(server)
    _compare_cards(server, (mine.get("root"), mine.get("max_model_len")))
    fresh = await fingerprint_of(server) if server.is_vllm else None
    _compare_weights(server, others, fresh)
    server.fingerprint = fresh


def is_same(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two fingerprints are of the same weights, by the rule that later rounds hold the model to."""
    return not drift(one, other)


async def fingerprint_of(server: Server) -> tuple[float, ...] | None:
    """Log likelihoods of the tokens of FIXED_TEXT in nats, or what a reward model makes of FIXED_ANSWERS.

    None if the server gives neither.
    """
    served = server.endpoint.model
    body = {"model": served, "prompt": FIXED_TEXT, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    answer = await _if_offered(server.wire.post("/completions", body))
    if answer is not None:
        return parsed(_read, answer, served)
    bodies = [{"model": served, "messages": turns, "use_activation": False} for turns in fixed_conversations()]
    answers = [await _if_offered(server.wire.post_root("/classify", body)) for body in bodies]
    return None if None in answers else of_rewards([float(parsed(reward_said, a, served).response) for a in answers])


def fixed_conversations() -> list[list[dict[str, str]]]:
    """FIXED_TEXT answered in each of the fixed ways."""
    return [[{"role": "user", "content": FIXED_TEXT}, {"role": "assistant", "content": said}] for said in FIXED_ANSWERS]


def of_rewards(rewards: Sequence[float]) -> tuple[float, ...]:
    """Rewards on a scale on which rounding in half precision is small whatever their size."""
    return tuple(math.asinh(reward) for reward in rewards)


def _read(answer: Any) -> tuple[float, ...] | None:
    positions = answer["choices"][0].get("prompt_logprobs")
    return tuple(x for x in prompt_logprobs(positions) if x is not None) if positions else None


async def _cards(server: Server) -> list[dict[str, Any]] | None:
    """Cards of the models that are served there; None if the server keeps no list."""
    answer = await _if_offered(server.wire.get("/models"))
    if answer is None:
        return None
    listed = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(listed, list) or not all(isinstance(card, dict) for card in listed):
        raise AttemptFailedError("200 with a list of models of another shape", "endpoint")
    return listed


async def _has_version(server: Server) -> bool:
    """Whether vLLM answers behind a proxy that hides its cards."""
    answer = await _if_offered(server.wire.get_root("/version"))
    return isinstance(answer, dict) and "version" in answer


async def _if_offered(asking: Awaitable[Any]) -> Any:
    """What is answered; None where the server does not know the question."""
    try:
        return await asking
    except RejectedError:
        return None
    except AttemptFailedError as fault:
        if fault.blame == "refused" and not fault.is_down:
            return None
        raise


def _compare_weights(server: Server, others: Sequence[Server], fresh: tuple[float, ...] | None) -> None:
    """Against what it gave before, else against the first of its name that gave anything."""
    peers = () if fresh is None else tuple(s.fingerprint for s in others if not s.out)
    known = next((f for f in (server.fingerprint, *peers) if f), None)
    if known and (fresh is None or not is_same(known, fresh)):
        raise AttemptFailedError("answers otherwise than before: other weights", "swapped")


def _compare_cards(server: Server, card: tuple[object, ...]) -> None:
    if server.card not in (None, card):
        raise AttemptFailedError(f"answers otherwise than before: card {server.card} is now {card}"[:200], "swapped")
    server.card = card
