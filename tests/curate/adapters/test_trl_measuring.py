"""A model's scale and metrics by hand, and what is served held against what was trained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from training_orders import lessons, readings, tuning

from curate.adapters.trl import measuring
from curate.adapters.trl.lessons import Lessons, lessons_of
from curate.adapters.trl.measuring import counts, rewards, validated
from curate.engines import CallReply, CallRequest
from schemas.errors import CallFailedError, RefusedError


class PretendedModels:
    """Replies as vLLM in process gives them: 10 tokens each, the reward by the last digit of the name."""

    def __init__(self, *_: object) -> None:
        self.asked: list[str] = []

    def ask(self, kind: str, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        for request in requests:
            self.asked.append(request.call_key)
            yield CallReply(request.call_key, f"0.{request.call_key[-1]}", "stop", prompt_tokens=10)

    def close(self) -> None:
        """Nothing runs."""


def parted(n: int = 40, n_groups: int = 20) -> Lessons:
    return lessons_of(lessons(n, n_groups=n_groups), tuning(), 7)


def trained(rows: Lessons, margin: float = 2.0, **other: Any) -> dict[str, Any]:
    """What the program tells, had the model put every validated pair `margin` apart the right way."""
    kept = rows.of("validation")["pair_id"].to_list()
    known = {"n_train": rows.of("train").height, "n_validation": len(kept), "n_too_long": 0, "n_unreadable": 0,
             "steps": 1, "dtype": "float32", "unread": {}, "compared": [],
             "validation": [[pair, margin / 2, -margin / 2] for pair in kept]}
    return known | other


def measured(told: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    monkeypatch.setattr(measuring, "InProcessModels", PretendedModels)
    beats: list[int] = []
    frame = rewards(Path("model"), readings(4), told, Path("python"), 5.0, beats.append)
    assert beats == list(range(1, frame.height + 1))
    return dict(frame.select("response_id", "reward").iter_rows())


def test_a_scale_makes_margins_the_labels_probabilities() -> None:
    rows = parted()
    scale, metrics = validated(rows, trained(rows))
    n = rows.of("validation").height
    target = (0.95 * n + 1) / (n + 2)
    assert scale == pytest.approx(2.0 / math.log(target / (1 - target)), rel=1e-3)
    assert metrics["accuracy"] == 1.0
    assert metrics["log_loss"] == pytest.approx(-math.log(target), rel=1e-3)


def test_twice_the_rewards_are_the_same_model_and_wrong_ones_have_no_say() -> None:
    rows = parted()
    once, twice = (validated(rows, trained(rows, margin)) for margin in (2.0, 4.0))
    assert twice[0] == pytest.approx(2 * once[0], rel=1e-3)
    assert twice[1]["log_loss"] == pytest.approx(once[1]["log_loss"], abs=1e-4)
    scale, metrics = validated(rows, trained(rows, -2.0))
    assert scale > 1e5
    assert metrics == {"accuracy": 0.0, "log_loss": pytest.approx(math.log(2), abs=1e-4)}


def test_without_validation_pairs_the_scale_is_1_and_no_metric_is_made_up() -> None:
    rows = parted(1, 1)
    assert validated(rows, trained(rows)) == (1.0, {})
    assert counts(rows, trained(rows), 0)["n_validation_groups"] == 0


def test_pairs_that_were_too_long_count_as_that_only() -> None:
    rows = parted()
    kept = rows.of("validation")["pair_id"].to_list()
    told = trained(rows, validation=[[pair, 1.0, -1.0] for pair in kept[1:]], n_validation=len(kept) - 1, n_too_long=1)
    found = counts(rows, told, 3)
    assert found["n_train"] + found["n_validation"] + found["n_too_long"] == found["n_rows"] == 40
    assert found["is_descriptive"] == 1
    assert found["is_parted_by_pair"] == 0
    assert found["n_readings"] == 3


def test_rewards_are_vllm_s_and_unread_texts_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    told = trained(parted(), unread={"r001": "too_long"}, compared=[["r000", 0.0004, 10], ["r002", 0.2, 10]])
    assert measured(told, monkeypatch) == {"r000": 0.0, "r002": 0.2, "r003": 0.3}


@pytest.mark.parametrize(("compared", "said"), [
    (["r002", 0.21, 10], "otherwise than transformers: reward 0.2000; expected 0.2100 within 0.001"),
    (["r002", 0.2, 11], "otherwise than transformers: 10 tokens; expected the 11 that were trained on"),
])
def test_a_model_that_would_be_served_otherwise_is_refused(
    compared: list[object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RefusedError, match=said):
        measured(trained(parted(), compared=[["r000", 0.0, 10], compared]), monkeypatch)


def test_bfloat16_may_differ_by_what_its_eight_bits_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    told = trained(parted(), compared=[["r002", 0.26, 10]], dtype="bfloat16")
    assert measured(told, monkeypatch)["r002"] == 0.2
    with pytest.raises(RefusedError, match=r"reward 0\.2000"):
        measured(told | {"compared": [["r002", 0.31, 10]]}, monkeypatch)


@pytest.mark.slow
def test_a_vllm_that_falls_silent_or_dies_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: PretendedModels, *_: object) -> Iterator[CallReply]:
        raise CallFailedError("vLLM ended with -9")

    monkeypatch.setattr(PretendedModels, "ask", die)
    with pytest.raises(CallFailedError, match="ended with -9"):
        measured(trained(parted()), monkeypatch)
    monkeypatch.setattr(measuring, "_listen", lambda *_: None)
    monkeypatch.setattr(measuring, "InProcessModels", PretendedModels)
    monkeypatch.setattr(measuring, "BEAT_S", 0.01)
    beats: list[int] = []
    with pytest.raises(CallFailedError, match="has told nothing for 0 s and was stopped"):
        rewards(Path("model"), readings(1), trained(parted()), Path("python"), 0.05, beats.append)
    assert beats, "whoever watches from another machine sees that somebody is waiting"
    assert set(beats) == {0}
