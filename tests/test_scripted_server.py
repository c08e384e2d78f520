"""The scripted server itself: other tests believe what it says of them."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_server import ScriptedServer, started

from bench._scripted_answers import question_id

pytestmark = pytest.mark.service

MESSAGES = [{"role": "user", "content": "the good one, then the bad one"}]
CHOICE = {"messages": MESSAGES, "structured_outputs": {"choice": ["1", "2"]}, "logprobs": True, "top_logprobs": 3}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedServer]:
    with started(tmp_path) as running:
        yield running


def said(server: ScriptedServer, **body: Any) -> dict[str, Any]:
    """The first choice of a chat."""
    request = urllib.request.Request(f"{server.url}/chat/completions", json.dumps({"model": "m", **body}).encode())
    with urllib.request.urlopen(request, timeout=5) as answer:
        choice: dict[str, Any] = json.load(answer)["choices"][0]
    return choice


def test_equal_requests_get_equal_answers_and_other_weights_give_others(server: ScriptedServer) -> None:
    first = said(server, messages=MESSAGES)
    assert said(server, messages=MESSAGES) == first
    server.set(habit={"weights": "w2"})
    assert said(server, messages=MESSAGES) != first


def test_a_choice_is_kept_with_probabilities_and_the_old_way_of_asking_for_one_is_ignored_as_vllm_does(
    server: ScriptedServer,
) -> None:
    choice = said(server, **CHOICE)
    [token] = choice["logprobs"]["content"]
    logs = {option["token"]: option["logprob"] for option in token["top_logprobs"]}
    assert choice["message"]["content"] == token["token"] in ("1", "2")
    assert math.exp(logs["1"]) + math.exp(logs["2"]) == pytest.approx(1.0)
    assert said(server, messages=MESSAGES, guided_choice=["1", "2"])["message"]["content"] not in ("1", "2")


@pytest.mark.parametrize(("habit", "verdict"), [
    ({"verdict": "first"}, "1"), ({"verdict": "prefers", "text": "good", "over": "bad"}, "1"),
    ({"verdict": "prefers", "text": "bad", "over": "good"}, "2"),
])  # fmt: skip
def test_a_habit_decides(server: ScriptedServer, habit: dict[str, str], verdict: str) -> None:
    server.set(habit=habit)
    assert said(server, **CHOICE)["message"]["content"] == verdict


def test_the_bill_lists_what_was_answered_and_the_ledger_also_what_was_not(server: ScriptedServer) -> None:
    server.set(faults=[{"kind": "status", "status": 503, "limit": 1}])
    with pytest.raises(urllib.error.HTTPError, match="503"):
        said(server, messages=MESSAGES)
    said(server, messages=MESSAGES)
    assert [request.outcome for request in server.ledger()] == ["status 503", "served"]
    assert server.bill() == [question_id(MESSAGES)]
    server.reset()
    assert (server.ledger(), server.seen()["script"]["faults"]) == ([], [])


def test_which_attempts_fail_hangs_on_seed_question_and_attempt_not_on_the_order_of_arrival(
    server: ScriptedServer,
) -> None:
    asked = [[{"role": "user", "content": str(i)}] for i in range(20)]
    seen = []
    for order in (asked, asked[::-1]):
        server.reset()
        server.set(faults=[{"kind": "says", "content": "no", "share": 0.3, "seed": 5}])
        seen.append({question_id(m): said(server, messages=m)["message"]["content"] == "no" for m in order})
    assert seen[0] == seen[1]
    assert 0 < sum(seen[0].values()) < 20
