"""Several endpoints of one model: one dies, the others finish; shares, rates, bounds and money are kept."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from scripted_server import (
    ScriptedServer,
    answered,
    asked_of,
    billed,
    endpoint,
    judge,
    once,
    questions,
    settings_of,
    started,
)

from curate.engines import CallReply
from schemas.errors import CallFailedError, SpendLimitError
from schemas.settings import Price

pytestmark = pytest.mark.service

CHAT = "/v1/chat/completions"
N = 200


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[ScriptedServer, ScriptedServer]]:
    with started(tmp_path, "a") as a, started(tmp_path, "b") as b:
        yield a, b


def test_a_batch_finishes_on_the_other_endpoint_when_one_dies_half_way(
    two: tuple[ScriptedServer, ScriptedServer],
) -> None:
    dying, other = two
    for server in two:
        server.set(delay_s=0.02)
    asked = questions(N)
    replies: list[CallReply] = []
    with closing(judge(settings_of(*(endpoint(s, concurrency=4) for s in two)))) as served:
        for reply in served.ask("judge", asked):
            replies.append(reply)
            if len(replies) == N // 4:
                dying.kill()
    assert {r.finish_reason for r in replies} == {"stop"}
    assert sorted(r.call_key for r in replies) == sorted(r.call_key for r in asked)
    bill = Counter(other.bill()) + Counter(dying.bill())
    repeated = sum(bill[billed(request)] - 1 for request in asked)
    assert repeated <= 4, "only what the dying endpoint had in flight is asked twice"
    assert len(asked_of(dying)) < N / 2 < len(asked_of(other))


def test_an_endpoint_that_hangs_half_way_is_left_alone_after_a_few_calls(
    two: tuple[ScriptedServer, ScriptedServer],
) -> None:
    hanging, other = two
    hanging.set(faults=[{"kind": "hang", "path": CHAT}])
    other.set(delay_s=0.01)
    began = time.monotonic()
    settings = settings_of(*(endpoint(s, concurrency=4) for s in two), timeout_s=0.3)
    replies, error = once(settings, questions(N))
    assert (len(replies), error) == (N, None)
    assert len(asked_of(hanging)) <= 12, "one bound's worth, and a trial now and then"
    assert time.monotonic() - began < 8


def test_the_same_questions_get_the_same_answers_from_one_endpoint_and_from_two(
    two: tuple[ScriptedServer, ScriptedServer],
) -> None:
    one, _ = once(settings_of(two[0]), questions(20))
    both, _ = once(settings_of(*two), questions(20))
    assert {k: (r.response, r.choice_logprobs) for k, r in one.items()} == {
        k: (r.response, r.choice_logprobs) for k, r in both.items()
    }


def test_an_endpoint_with_another_model_behind_it_is_out_and_the_other_answers_all(
    two: tuple[ScriptedServer, ScriptedServer],
) -> None:
    swapped, honest = two
    swapped.set(faults=[{"kind": "swapped", "path": CHAT, "content": "m-mini"}])
    replies, error = once(settings_of(*(endpoint(s, concurrency=2) for s in two)), questions(40))
    assert (len(replies), error) == (40, None)
    assert len(asked_of(swapped)) <= 2
    assert Counter(r.question for r in asked_of(honest)) == Counter(billed(r) for r in questions(40))


def test_endpoints_with_different_weights_behind_one_name_are_not_both_believed(
    two: tuple[ScriptedServer, ScriptedServer],
) -> None:
    two[1].set(habit={"weights": "w2"})
    replies, _ = once(settings_of(*two), questions(20))
    from_first, _ = once(settings_of(two[0]), questions(20))
    from_second, _ = once(settings_of(two[1]), questions(20))
    logprobs = {k: r.choice_logprobs for k, r in replies.items()}
    sides = [{k: r.choice_logprobs for k, r in side.items() if k in logprobs} for side in (from_first, from_second)]
    assert logprobs in sides


def test_calls_are_shared_by_weight_while_every_endpoint_has_room(two: tuple[ScriptedServer, ScriptedServer]) -> None:
    replies, error = once(settings_of(endpoint(two[0], weight=3.0), endpoint(two[1])), questions(40))
    assert (len(replies), error) == (40, None)
    assert len(asked_of(two[0])) == 30


def test_weights_hold_also_where_every_endpoint_is_full(two: tuple[ScriptedServer, ScriptedServer]) -> None:
    for server in two:
        server.set(delay_s=0.01)
    settings = settings_of(endpoint(two[0], weight=3.0, concurrency=6), endpoint(two[1], concurrency=6))
    replies, error = once(settings, questions(N))
    assert (len(replies), error) == (N, None)
    assert len(asked_of(two[0])) == pytest.approx(0.75 * N, abs=0.1 * N)


def test_an_endpoint_that_is_full_leaves_its_share_to_one_with_room(two: tuple[ScriptedServer, ScriptedServer]) -> None:
    two[0].set(delay_s=0.1)
    settings = settings_of(endpoint(two[0], weight=9.0, concurrency=1), endpoint(two[1], concurrency=8))
    replies, error = once(settings, questions(60))
    assert (len(replies), error) == (60, None)
    assert len(asked_of(two[1])) > 40


def test_no_more_calls_are_in_flight_than_an_endpoint_may_have_whoever_asks(tmp_path: Path) -> None:
    with started(tmp_path, delay_s=0.02) as server:
        served = judge(settings_of(endpoint(server, concurrency=3)))
        asked = [questions(12, first=12 * i) for i in range(4)]
        threads = [threading.Thread(target=answered, args=(served, batch)) for batch in asked]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        served.close()
        assert server.seen()["most_in_flight"] == 3
        assert Counter(r.question for r in asked_of(server)) == Counter(billed(r) for batch in asked for r in batch)


def test_no_more_requests_are_sent_than_the_rate_allows(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        replies, error = once(settings_of(endpoint(server, requests_per_minute=1200)), questions(60))
        times = [r.at for r in asked_of(server)]
    assert (len(replies), error) == (60, None)
    fullest = max(sum(at <= other < at + 1 for other in times) for at in times)
    assert fullest <= 2 * 20, "20 a second, and a second's worth at once after a pause"
    assert max(times) - min(times) >= 60 / 20 - 1.1


def test_no_more_tokens_are_sent_than_the_rate_allows(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        free, _ = once(settings_of(server), questions(20))
        tokens = sum(r.prompt_tokens + r.output_tokens for r in free.values())
        before = len(asked_of(server))
        replies, error = once(settings_of(endpoint(server, tokens_per_minute=tokens * 30)), questions(20))
        times = [r.at for r in asked_of(server)][before:]
    assert (len(replies), error) == (20, None)
    assert max(times) - min(times) >= 0.9, "all of them together are two seconds' worth, one of which may come at once"


def test_the_spend_limit_ends_a_batch_cleanly_and_a_higher_one_goes_on_where_it_ended(tmp_path: Path) -> None:
    price = Price(model="m", usd_per_million_prompt_tokens=1000.0, usd_per_million_output_tokens=1000.0)
    asked = questions(40)
    with started(tmp_path) as server:
        one, _ = once(settings_of(server, price=price), asked[:1])
        dear = one[asked[0].call_key].cost_usd
        with closing(judge(settings_of(server, price=price, spend_usd_per_round=25 * dear))) as served:
            first, error = answered(served, asked)
            spent = served.spent_usd()
        assert isinstance(error, SpendLimitError)
        assert 0 < len(first) < 40
        assert spent == pytest.approx(sum(r.cost_usd for r in first.values()))
        assert spent <= 25 * dear
        rest = [r for r in asked if r.call_key not in first]
        with closing(judge(settings_of(server, price=price, spend_usd_per_round=1.0), spent_usd=spent)) as served:
            second, error = answered(served, rest)
            assert served.spent_usd() == pytest.approx(40 * dear, rel=0.05)
        assert error is None
        assert first.keys() | second.keys() == {r.call_key for r in asked}
        assert max(Counter(server.bill()).values()) <= 2, "the first question was asked alone before"


def test_what_was_spent_before_counts_towards_the_limit(tmp_path: Path) -> None:
    price = Price(model="m", usd_per_million_prompt_tokens=1000.0)
    with started(tmp_path) as server:
        settings = settings_of(server, price=price, spend_usd_per_round=1.0)
        with closing(judge(settings, spent_usd=1.0)) as served:
            replies, error = answered(served, questions(3))
    assert (replies, type(error)) == ({}, SpendLimitError)
    assert server.bill() == []


def test_nobody_there_is_said_within_the_time_to_connect_and_names_the_model(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        pass
    began = time.monotonic()
    replies, error = once(settings_of(server), questions(64))
    assert replies == {}
    assert isinstance(error, CallFailedError)
    assert time.monotonic() - began < 5
