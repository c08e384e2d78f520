"""Choice among endpoints: shares, bounds, pauses that grow, one trial after a pause, and who waits for what."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from curate.adapters.vllm.endpoints import FAILURES_IN_A_ROW, LONGEST_WAIT_S, Server, Servers, Wish, pause_s
from curate.adapters.vllm.faults import AttemptFailedError, Blame, UnansweredError
from curate.adapters.vllm.transport import Wire
from schemas.settings import Endpoint


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def servers(hands: Hands, *endpoints: dict[str, Any], backoff_s: float = 1.0) -> Servers:
    def one(i: int, fields: dict[str, Any]) -> Server:
        endpoint = Endpoint(model="m", url=f"http://host{i}/v1", **fields)
        return Server(endpoint, Wire(endpoint.url, "", "", 1, 1), backoff_s, hands.now)

    return Servers("m", [one(i, fields) for i, fields in enumerate(endpoints)], hands)


def fault(blame: Blame = "endpoint", **fields: Any) -> AttemptFailedError:
    return AttemptFailedError("seen", blame, **fields)


def told(story: Callable[[Hands], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(Hands()), 5))


async def taken(group: Servers, n: int) -> Counter[str]:
    """Hosts of `n` calls, each released before the next."""
    hosts = []
    for _ in range(n):
        server = await group.acquire(Wish())
        hosts.append(server.wire.host)
        group.release(server)
    return Counter(hosts)


def test_one_call_after_the_other_is_shared_by_weight() -> None:
    async def story(hands: Hands) -> None:
        assert await taken(servers(hands, {"weight": 3.0}, {}), 40) == {"host0": 30, "host1": 10}

    told(story)


def test_weights_that_differ_hold_also_when_all_are_busy_and_equal_ones_leave_no_room_unused() -> None:
    async def story(hands: Hands) -> None:
        for weights, expected in (((3.0, 1.0), {"host0": 6, "host1": 2}), ((1.0, 1.0), {"host0": 6, "host1": 8})):
            group = servers(
                hands, {"weight": weights[0], "concurrency": 6}, {"weight": weights[1], "concurrency": 8}
            )
            calls = [asyncio.create_task(group.acquire(Wish())) for _ in range(20)]
            await asyncio.sleep(0.01)
            assert Counter(c.result().wire.host for c in calls if c.done()) == expected
            for call in calls:
                call.cancel()

    told(story)


def test_no_more_calls_are_in_flight_than_the_bound_and_those_who_wait_are_served_in_order() -> None:
    async def story(hands: Hands) -> None:
        group, order = servers(hands, {"concurrency": 1}), []
        first = await group.acquire(Wish())

        async def wait(name: str) -> None:
            server = await group.acquire(Wish())
            order.append(name)
            group.release(server)

        waiting = [asyncio.create_task(wait(name)) for name in "abc"]
        await asyncio.sleep(0.01)
        assert (order, first.in_flight) == ([], 1)
        group.release(first)
        await asyncio.gather(*waiting)
        assert (order, first.in_flight) == (["a", "b", "c"], 0)

    told(story)


def test_a_call_that_is_given_up_while_it_waits_takes_no_room() -> None:
    async def story(hands: Hands) -> None:
        group = servers(hands, {"concurrency": 1})
        first = await group.acquire(Wish())
        waiting = asyncio.create_task(group.acquire(Wish()))
        await asyncio.sleep(0)
        group.release(first)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert group.all[0].in_flight == 0
        assert await taken(group, 1) == {"host0": 1}

    told(story)


def test_failures_in_a_row_set_an_endpoint_aside_and_the_others_take_its_calls() -> None:
    async def story(hands: Hands) -> None:
        group = servers(hands, {}, {})
        for _ in range(FAILURES_IN_A_ROW):
            assert group.all[0].is_up(hands.now)
            group.failed(group.all[0], fault())
        assert not group.all[0].is_up(hands.now)
        assert await taken(group, 4) == {"host1": 4}

    told(story)


def test_an_endpoint_that_takes_no_connection_is_set_aside_at_once() -> None:
    group = servers(Hands(), {}, {})
    group.failed(group.all[0], fault(is_down=True))
    assert not group.all[0].is_up(100.0)


def test_an_answer_between_failures_starts_the_count_anew() -> None:
    group = servers(Hands(), {})
    for _ in range(3 * FAILURES_IN_A_ROW):
        group.failed(group.all[0], fault())
        group.all[0].succeeded()
    assert group.all[0].is_up(100.0)


def test_pauses_grow_and_after_each_one_call_tries_until_it_is_answered() -> None:
    async def story(hands: Hands) -> None:
        group = servers(hands, {"concurrency": 4}, backoff_s=0.01)
        [server], pauses = group.all, []
        for _ in range(4):
            group.failed(server, fault(is_down=True))
            pauses.append(server.closed_until - hands.now)
            hands.now = server.closed_until
            assert await group.acquire(Wish()) is server
            assert not server.has_room()
            server.in_flight -= 1
        assert all(0.01 * 2**i <= pause < 0.02 * 2**i for i, pause in enumerate(pauses))
        server.succeeded()
        assert [await group.acquire(Wish()) for _ in range(4)] == [server] * 4

    told(story)


def test_calls_that_wait_for_the_last_endpoint_give_up_after_as_many_trials_as_they_had_attempts() -> None:
    async def story(hands: Hands) -> None:
        group = servers(hands, {})
        group.failed(group.all[0], fault(is_down=True))
        calls = [asyncio.create_task(group.acquire(Wish(patience=2))) for _ in range(3)]
        await asyncio.sleep(0)
        for _ in range(2):
            assert not any(call.done() for call in calls)
            hands.now = group.all[0].closed_until
            group.failed(group.all[0], fault(is_down=True))
            await asyncio.sleep(0)
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(e, UnansweredError) and e.is_hopeless for e in ended)

    told(story)


@pytest.mark.parametrize(("wait", "expected"), [(7.0, 7.0), (0.0, 0.0)])
def test_a_rate_limit_pauses_an_endpoint_as_long_as_it_said_and_halves_its_bound(wait: float, expected: float) -> None:
    hands = Hands()
    [server] = (group := servers(hands, {"concurrency": 8})).all
    group.failed(server, fault("busy", retry_after=wait))
    assert server.closed_until - hands.now == expected
    assert server.allowed == 4
    for _ in range(50):
        server.succeeded()
    assert server.allowed == 8


def test_a_pause_that_is_too_long_to_wait_for_is_left_to_the_next_run() -> None:
    async def story(hands: Hands) -> None:
        group = servers(hands, {})
        group.failed(group.all[0], fault("busy", retry_after=LONGEST_WAIT_S + 1))
        with pytest.raises(UnansweredError, match="no endpoint of 'm' is in service"):
            await group.acquire(Wish())

    told(story)


def test_an_endpoint_with_another_model_behind_it_is_out_for_good() -> None:
    async def story(hands: Hands) -> None:
        group = servers(hands, {}, {})
        group.failed(group.all[0], fault("swapped"))
        hands.now += 1e6
        group.wake()
        assert await taken(group, 3) == {"host1": 3}
        group.failed(group.all[1], fault("swapped"))
        with pytest.raises(UnansweredError):
            await group.acquire(Wish())
        assert group.advice() == ["raise `revision` in the recipe"]

    told(story)


def test_a_call_that_an_endpoint_refused_goes_to_another_and_nowhere_if_there_is_none() -> None:
    async def story(hands: Hands) -> None:
        group = servers(hands, {}, {})
        wish = Wish(never={group.all[0]})
        assert (await group.acquire(wish)).wire.host == "host1"
        wish.never.add(group.all[1])
        with pytest.raises(UnansweredError):
            await group.acquire(wish)

    told(story)


def test_a_call_that_failed_somewhere_waits_for_another_that_is_only_full() -> None:
    async def story(hands: Hands) -> None:
        group = servers(hands, {"concurrency": 1}, {"concurrency": 1})
        other = await group.acquire(Wish(never={group.all[0]}))
        call = asyncio.create_task(group.acquire(Wish(avoid=group.all[0])))
        await asyncio.sleep(0.01)
        assert not call.done()
        group.release(other)
        assert await call is other

    told(story)


def test_a_new_batch_tries_an_endpoint_again_at_once_if_no_other_is_up() -> None:
    hands = Hands()
    group = servers(hands, {}, {})
    group.failed(group.all[0], fault(is_down=True))
    group.wake()
    assert not group.all[0].is_up(hands.now), "the other one is up"
    group.failed(group.all[1], fault(is_down=True))
    group.wake()
    assert [s.is_up(hands.now) for s in group.all] == [True, True]


@pytest.mark.parametrize("offset", [i / 2000 for i in range(12)])
def test_a_pause_that_ends_while_the_clock_is_read_wakes_whoever_waits(offset: float) -> None:
    class Running(Hands):
        def __call__(self) -> float:
            self.now += 0.003
            return self.now

    async def story() -> None:
        hands = Running()
        group = servers(hands, {})
        group.failed(group.all[0], fault("busy", retry_after=0.006 + offset))
        assert await group.acquire(Wish()) is group.all[0]

    asyncio.run(asyncio.wait_for(story(), 2))


def test_a_rate_makes_calls_wait_until_it_allows_them() -> None:
    async def story(hands: Hands) -> None:
        group = servers(hands, {"requests_per_minute": 60})
        assert await taken(group, 1) == {"host0": 1}
        call = asyncio.create_task(group.acquire(Wish()))
        await asyncio.sleep(0.01)
        assert not call.done()
        hands.now += 1
        group.wake()
        assert (await call).wire.host == "host0"

    told(story)


def test_back_off_doubles_with_full_jitter_up_to_a_minute() -> None:
    assert [pause_s(0.5, n, 0.5) for n in range(4)] == [0.5, 1.0, 2.0, 4.0]
    assert pause_s(0.5, 3, 0.0) == 0
    assert pause_s(0.5, 1000, math.nextafter(1, 0)) == pytest.approx(60)
