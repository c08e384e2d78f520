"""Rates, shared machine time and money: nothing flows faster and nothing costs more than settings say."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.adapters.vllm.limits import Bucket, Ledger, SharedClock, cost_of
from schemas.errors import SpendLimitError
from schemas.settings import Price


def test_a_bucket_gives_half_a_second_s_worth_at_once_and_then_its_rate() -> None:
    bucket, now, times = Bucket(240, 0.0), 0.0, []
    for _ in range(5):
        now = bucket.ready_at(1, now)
        bucket.draw(1)
        times.append(now)
    assert times == pytest.approx([0, 0, 0.25, 0.5, 0.75])


@given(st.lists(st.floats(0.1, 50), min_size=1, max_size=40), st.floats(10, 6000))
def test_whatever_the_size_of_its_draws_a_bucket_keeps_its_rate_on_average(draws: list[float], rate: float) -> None:
    bucket, now = Bucket(rate, 0.0), 0.0
    for draw in draws:
        now = bucket.ready_at(draw, now)
        bucket.draw(draw)
    spare = max(1.0, rate / 120)
    assert sum(draws[:-1]) <= now * rate / 60 + spare + 1e-6


def test_what_was_estimated_too_high_flows_back() -> None:
    bucket = Bucket(60, 0.0)
    bucket.draw(11)
    assert bucket.ready_at(1, 0.0) == pytest.approx(11)
    bucket.draw(-10)
    assert bucket.ready_at(1, 0.0) == pytest.approx(1)


def test_no_limit_is_never_waited_for() -> None:
    bucket = Bucket(0, 0.0)
    bucket.draw(1e9)
    assert bucket.ready_at(1e9, 5.0) == 5.0


def test_the_seconds_of_a_machine_are_shared_by_the_calls_on_it() -> None:
    machine = SharedClock(0.0)
    first = machine.begin(10.0)
    second = machine.begin(12.0)
    assert machine.end(first, 16.0) == pytest.approx(2 + 4 / 2)
    assert machine.end(second, 17.0) == pytest.approx(4 / 2 + 1)


def test_all_shares_together_are_the_time_in_which_anything_was_in_flight() -> None:
    machine = SharedClock(0.0)
    marks = [(machine.begin(at), at) for at in (0.0, 1.0, 3.0)]
    assert sum(machine.end(mark, 5.0 + at) for mark, at in marks) == pytest.approx(8.0)


def test_a_call_costs_its_tokens_and_its_seconds() -> None:
    price = Price(model="m", usd_per_million_prompt_tokens=1, usd_per_million_output_tokens=2, usd_per_hour=3.6)
    assert cost_of(price, 1_000_000, 500_000, 10) == pytest.approx(1 + 1 + 0.01)


def test_a_promise_that_fits_is_made_at_once_and_settled_at_its_cost() -> None:
    ledger = Ledger(1.0, 0.25)
    asyncio.run(ledger.promise(0.75))
    assert not ledger.has_room(0.01)
    ledger.settle(0.75, 0.5)
    assert ledger.spent == 0.75
    assert ledger.has_room(0.25)


def test_a_call_that_could_exceed_the_limit_is_refused_when_nothing_is_in_flight() -> None:
    with pytest.raises(SpendLimitError, match=r"0\.9 USD spent") as caught:
        asyncio.run(Ledger(1.0, 0.9).promise(0.2))
    assert "raise spend_usd_per_round in settings.toml" in caught.value.next


def test_a_call_waits_for_those_in_flight_which_may_turn_out_cheaper() -> None:
    async def story() -> list[str]:
        ledger, events = Ledger(1.0), []
        await ledger.promise(0.8)

        async def second() -> None:
            await ledger.promise(0.8)
            events.append("second")

        waiting = asyncio.create_task(second())
        await asyncio.sleep(0)
        events.append("first ends")
        ledger.settle(0.8, 0.1)
        await waiting
        return events

    assert asyncio.run(story()) == ["first ends", "second"]


def test_a_call_that_still_does_not_fit_when_the_others_have_ended_is_refused() -> None:
    async def story() -> None:
        ledger = Ledger(1.0)
        await ledger.promise(0.8)
        asyncio.get_running_loop().call_soon(ledger.settle, 0.8, 0.5)
        await ledger.promise(0.8)

    with pytest.raises(SpendLimitError):
        asyncio.run(story())


def test_without_a_limit_everything_fits_and_is_counted_in_any_thread() -> None:
    ledger = Ledger(None)
    threads = [threading.Thread(target=lambda: [ledger.charge(1.0) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.spent == 2000.0
    assert ledger.has_room(1e12)
