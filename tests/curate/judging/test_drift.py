"""Drift: other weights behind a name are noticed, and by one rule wherever two fingerprints meet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.adapters.vllm.contact import is_same
from curate.judging.drift import drift

MOVED = "other weights: log-likelihoods of a fixed text moved by {} nats a token, 0.1 is allowed"


@pytest.mark.parametrize(("before", "now", "said"), [
    ((-1.0, -2.0), (-1.0, -2.0), ""),
    ((-1.0, -2.0), (-1.01, -2.02), ""),
    ((-1.0, -2.0), (-1.0, -2.18), ""),
    ((-1.0, -2.0), (-1.0, -2.3), MOVED.format("0.150")),
    ((-1.0, -2.0), (-1.0, float("nan")), MOVED.format("nan")),
    ((-1.0,), (-1.0, -2.0), "the fixed text has 2 tokens, it had 1: another tokenizer"),
    (None, (-1.0,), ""), ((-1.0,), None, ""),
])
def test_other_weights_behind_the_same_name_are_noticed(
    before: tuple[float, ...] | None, now: tuple[float, ...] | None, said: str
) -> None:
    assert drift(before, now) == said


@given(st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=4))
def test_endpoints_that_pass_for_one_model_are_not_refused_in_a_later_round(steps: list[float]) -> None:
    one = [-1.0] * len(steps)
    other = [-1.0 + step for step in steps]
    assert is_same(one, other) == (drift(one, other) == "")
