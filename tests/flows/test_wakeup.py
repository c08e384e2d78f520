"""The webhook receiver: any post wakes it, many wake it once more, none can hurt it."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from flows.wakeup import MAX_BODY, Receiver
from schemas.errors import InputError, PlatformError


@contextmanager
def listening(look: Callable[[], None], say: Callable[[str], None] = lambda line: None) -> Iterator[Receiver]:
    receiver = Receiver(0, look, say)
    thread = threading.Thread(target=receiver.run)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.stop()
        thread.join(timeout=10)
        assert not thread.is_alive()


def post(receiver: Receiver, body: bytes = b"{}", verb: str = "POST") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=5)
    try:
        connection.request(verb, "/anything?at=all", body)
        return connection.getresponse().status
    finally:
        connection.close()


def wait_for(truth: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not truth():
        assert time.monotonic() < until, "it did not come true in ten seconds"
        time.sleep(0.01)


@pytest.mark.slow
def test_it_looks_once_at_the_start_and_once_per_wake_up() -> None:
    looks: list[float] = []
    with listening(lambda: looks.append(time.monotonic())) as receiver:
        wait_for(lambda: len(looks) == 1)
        assert post(receiver, b'{"action": "ANNOTATION_CREATED"}') == 204
        wait_for(lambda: len(looks) == 2)


@pytest.mark.slow
def test_posts_during_a_look_are_answered_at_once_and_make_one_more_look() -> None:
    begun, may_end, looks = threading.Event(), threading.Event(), []

    def look() -> None:
        looks.append(1)
        begun.set()
        may_end.wait(timeout=10)

    with listening(look) as receiver:
        begun.wait(timeout=5)
        assert [post(receiver) for _ in range(20)] == [204] * 20
        assert len(looks) == 1
        may_end.set()
        wait_for(lambda: len(looks) == 2)
        time.sleep(0.5)
        assert len(looks) == 2


@pytest.mark.slow
def test_what_is_no_post_wakes_nobody() -> None:
    looks: list[int] = []
    with listening(lambda: looks.append(1)) as receiver:
        wait_for(lambda: len(looks) == 1)
        assert post(receiver, verb="GET") == 501
        time.sleep(0.4)
        assert len(looks) == 1


@pytest.mark.service
def test_floods_and_garbage_do_not_stop_it() -> None:
    looks: list[int] = []
    chance = random.Random(5)
    with listening(lambda: looks.append(1)) as receiver:
        held = [socket.create_connection(("127.0.0.1", receiver.port)) for _ in range(60)]
        for connection in held[:40]:
            with suppress(OSError):  # some are closed unheard
                connection.sendall(chance.randbytes(chance.randrange(1, 4000)))
        for head in (b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"POST / HTTP/9\r\n\r\n", b"\r\n" * 50,
                     b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\nx", b"A" * 70000):
            with socket.create_connection(("127.0.0.1", receiver.port)) as connection, suppress(OSError):
                connection.sendall(head)
        for connection in held:
            connection.close()
        time.sleep(0.3)
        before = len(looks)
        assert post(receiver, b"x" * (MAX_BODY // 2)) == 204
        wait_for(lambda: len(looks) > before)


@pytest.mark.slow
def test_a_platform_that_is_down_is_told_of_and_looked_at_again() -> None:
    said: list[str] = []
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 1:
            raise PlatformError("Label Studio does not answer", next="start it")

    with listening(look, said.append) as receiver:
        wait_for(lambda: said == ["collect: Label Studio does not answer; next: start it"])
        post(receiver)
        wait_for(lambda: len(looks) == 2)


def test_a_port_that_is_taken_or_none_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for port in (taken.getsockname()[1], 70000):
            with pytest.raises(InputError, match="expected a free port"):
                Receiver(port, lambda: None, lambda line: None)
