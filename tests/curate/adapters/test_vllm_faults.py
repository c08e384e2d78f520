"""Every way a server can fail, against the adapter: handled as documented, and no failed call passes for an answer."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

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

from schemas.errors import CallFailedError

pytestmark = pytest.mark.service

CHAT = "/v1/chat/completions"
SECRET = "sk-planted-5Tq0vXw3ZbR"
SCHEMA = json.dumps({
    "type": "object", "properties": {"reasoning": {"type": "string"}, "verdict": {"enum": ["1", "2"]}},
    "required": ["reasoning", "verdict"], "additionalProperties": False,
})
N = 6


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedServer]:
    with started(tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture
def server(running: ScriptedServer) -> ScriptedServer:
    running.reset()
    return running


def befalls(server: ScriptedServer, kind: str, **fields: Any) -> None:
    """One fault of the questions, and of nothing that is asked beside them."""
    server.set(faults=[{"kind": kind, "path": CHAT, **fields}])


def outcomes(server: ScriptedServer) -> Counter[str]:
    """How many questions were treated how."""
    return Counter(request.outcome for request in server.ledger() if request.path == CHAT)


def test_a_judge_that_is_served_well_answers_every_question_once_with_probabilities(server: ScriptedServer) -> None:
    asked = questions(N)
    replies, error = once(settings_of(server), asked)
    assert error is None
    assert set(replies) == {request.call_key for request in asked}
    for reply in replies.values():
        assert reply.finish_reason == "stop"
        assert reply.response in ("1", "2", "T")
        assert reply.choice_logprobs is not None
        assert math.fsum(math.exp(p) for p in reply.choice_logprobs.values()) == pytest.approx(1.0)
        assert max(reply.choice_logprobs, key=reply.choice_logprobs.__getitem__) == reply.response
    assert Counter(server.bill()) >= Counter(billed(request) for request in asked)
    assert outcomes(server) == {"served": N}


@pytest.mark.parametrize(("kind", "fields"), [
    ("status", {"status": 500}), ("status", {"status": 502}), ("status", {"status": 503}), ("reset", {}),
    ("unread", {"limit": N}), ("closed", {}), ("truncated", {}), ("body", {"content": "<html>Bad gateway</html>"}),
    ("body", {"content": ""}), ("body", {"content": "null"}), ("body", {"content": "[]"}),
    ("body", {"content": '{"object": "error"}'}), ("body", {"content": '{"model": "m", "choices": []}'}),
    ("body", {"content": '{"model": "m", "choices": [{"message": null, "finish_reason": "stop"}], "usage": null}'}),
    ("status", {"status": 429}), ("status", {"status": 429, "retry_after": "soon"}),
])  # fmt: skip
def test_what_fails_once_is_asked_again_and_answered_as_if_nothing_had_been(
    server: ScriptedServer, kind: str, fields: dict[str, Any]
) -> None:
    asked = questions(N)
    expected, _ = once(settings_of(server), asked)
    befalls(server, kind, **{"limit": 3, **fields})
    before = len(server.bill())
    replies, error = once(settings_of(server, max_attempts=8), asked)
    assert error is None
    assert {key: r.response for key, r in replies.items()} == {key: r.response for key, r in expected.items()}
    assert {r.finish_reason for r in replies.values()} == {"stop"}
    assert server.seen()["befell"] >= 3
    assert Counter(server.bill()[before:])[billed(asked[0])] == 1


@pytest.mark.parametrize(("kind", "seconds"), [("hang", 0.0), ("delay", 30.0), ("drip", 30.0)])
def test_an_answer_that_takes_too_long_is_a_failed_attempt_also_where_bytes_keep_coming(
    server: ScriptedServer, kind: str, seconds: float
) -> None:
    befalls(server, kind, seconds=seconds, attempts=1, containing="<2>")
    began = time.monotonic()
    replies, error = once(settings_of(server, timeout_s=0.5), questions(N))
    assert error is None
    assert len(replies) == N
    assert 0.5 <= time.monotonic() - began < 5


def test_a_slow_answer_within_the_time_limit_is_one_answer(server: ScriptedServer) -> None:
    befalls(server, "drip", seconds=0.6)
    replies, error = once(settings_of(server), questions(2))
    assert (len(replies), error) == (2, None)
    assert outcomes(server) == {"served": 2}


@pytest.mark.parametrize("is_date", [False, True])
def test_retry_after_is_waited_for_given_in_seconds_or_as_a_date(server: ScriptedServer, is_date: bool) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    befalls(server, "status", status=429, retry_after=at if is_date else "1", limit=1)
    _, error = once(settings_of(server), questions(1))
    assert error is None
    refused, served = (r.at for r in server.ledger() if r.path == CHAT)
    assert 0.9 <= served - refused < 4


def test_an_endpoint_that_said_when_to_come_back_is_left_alone_by_all_calls_until_then(
    server: ScriptedServer,
) -> None:
    befalls(server, "status", status=429, retry_after="1", limit=1)
    replies, error = once(settings_of(endpoint(server, concurrency=1)), questions(N))
    assert (len(replies), error) == (N, None)
    refused, *later = (r.at for r in server.ledger() if r.path == CHAT)
    assert min(later) - refused >= 0.9


def test_what_never_gets_better_raises_after_all_others_were_answered_and_no_sooner(server: ScriptedServer) -> None:
    asked = questions(N)
    befalls(server, "body", content="{", containing="<3>")
    replies, error = once(settings_of(server, max_attempts=4), asked)
    assert isinstance(error, CallFailedError)
    assert "1" in error.seen
    assert set(replies) == {request.call_key for request in asked} - {asked[3].call_key}
    assert outcomes(server) == {"served": N - 1, "body": 4}


def test_a_server_that_only_fails_answers_nothing_and_is_not_stormed(server: ScriptedServer) -> None:
    befalls(server, "status", status=500)
    replies, error = once(settings_of(server, max_attempts=3), questions(64))
    assert replies == {}
    assert isinstance(error, CallFailedError)
    assert outcomes(server)["status 500"] <= 64 + 2 * 3, "one try each at most, while nobody is answered"


@pytest.mark.parametrize(("n_wrong", "finish", "n_asked"), [(1, "stop", 2), (2, "stop", 3), (9, "invalid_json", 3)])
@pytest.mark.parametrize("content", ['{"surprise": 1}', '{"reasoning": "so", "verd', "I prefer the first."])
def test_json_that_does_not_keep_the_schema_is_mended_by_two_more_calls_or_not_at_all(
    server: ScriptedServer, content: str, n_wrong: int, finish: str, n_asked: int
) -> None:
    befalls(server, "says", content=content, limit=n_wrong)
    replies, error = once(settings_of(server), questions(1, choices=(), schema=SCHEMA))
    assert error is None
    [reply] = replies.values()
    assert reply.finish_reason == finish
    assert outcomes(server) == {"served": n_asked}
    if finish == "stop":
        assert json.loads(reply.response).keys() == {"reasoning", "verdict"}


def test_all_calls_of_a_repair_are_on_the_reply(server: ScriptedServer) -> None:
    asked = questions(1, choices=(), schema=SCHEMA)
    plain = once(settings_of(server), asked)[0][asked[0].call_key]
    befalls(server, "says", content="no", limit=1)
    mended = once(settings_of(server), asked)[0][asked[0].call_key]
    assert mended.prompt_tokens > 2 * plain.prompt_tokens
    assert mended.output_tokens == 2 * plain.output_tokens


@pytest.mark.parametrize(("kind", "content", "finish"), [
    ("says", "perhaps", "not_a_choice"), ("says", "", "not_a_choice"), ("finish", "length", "length"),
    ("finish", "content_filter", "content_filter"),
])  # fmt: skip
def test_an_answer_that_is_no_verdict_is_reported_as_what_it_is(
    server: ScriptedServer, kind: str, content: str, finish: str
) -> None:
    befalls(server, kind, content=content)
    replies, error = once(settings_of(server), questions(2))
    assert error is None
    assert {r.finish_reason for r in replies.values()} == {finish}
    assert outcomes(server) == {"served": 2}


@pytest.mark.parametrize("status", [400, 422])
def test_a_question_that_the_server_calls_wrong_is_answered_so_and_asked_once(
    server: ScriptedServer, status: int
) -> None:
    befalls(server, "status", status=status, containing="<1>", content="maximum context length exceeded")
    asked = questions(3)
    replies, error = once(settings_of(server), asked)
    assert error is None
    assert {key: r.finish_reason for key, r in replies.items()} == {
        asked[0].call_key: "stop", asked[1].call_key: "bad_request", asked[2].call_key: "stop"
    }
    assert outcomes(server)[f"status {status}"] == 1


def test_a_server_that_calls_everything_wrong_is_to_be_mended_and_nothing_is_recorded(server: ScriptedServer) -> None:
    befalls(server, "status", status=400, content="no chat template")
    replies, error = once(settings_of(server), questions(3))
    assert replies == {}
    assert "refuses even a trivial request" in str(error)
    assert "no chat template" in str(error)


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_named_and_nothing_is_asked_again(server: ScriptedServer, status: int) -> None:
    befalls(server, "status", status=status)
    settings = settings_of(endpoint(server, key="JUDGE_KEY", concurrency=4))
    replies, error = once(settings, questions(64), secret=SECRET)
    assert replies == {}
    assert isinstance(error, CallFailedError)
    assert "JUDGE_KEY" in str(error)
    assert outcomes(server)[f"status {status}"] <= 8


@pytest.mark.parametrize("fault", [
    *({"kind": "status", "status": status} for status in (400, 401, 403, 404, 422, 429, 500)),
    {"kind": "body", "content": f"Bearer {SECRET}"}, {"kind": "says"}, {"kind": "swapped"}, {"kind": "reset"},
    {"kind": "closed"}, {"kind": "hang"},
])  # fmt: skip
def test_no_error_and_no_reply_holds_a_key_even_if_the_server_repeats_it(
    server: ScriptedServer, fault: dict[str, Any]
) -> None:
    server.set(key=SECRET, faults=[{"path": CHAT, "content": f"Incorrect API key provided: {SECRET}.", **fault}])
    settings = settings_of(endpoint(server, key="JUDGE_KEY"), timeout_s=0.2, max_attempts=2)
    replies, error = once(settings, questions(2), secret=SECRET)
    assert server.seen()["befell"] > 0
    assert SECRET not in repr(replies)
    while error is not None:
        assert SECRET not in f"{error} {error!r} {vars(error)}"
        error = error.__cause__ or error.__context__


def test_another_model_under_the_same_name_gives_no_reply_and_is_asked_no_more(server: ScriptedServer) -> None:
    befalls(server, "swapped", content="m-mini")
    with closing(judge(settings_of(endpoint(server, concurrency=2)))) as served:
        replies, error = answered(served, questions(32))
        n_asked = len(asked_of(server, CHAT))
        server.set(faults=[])
        again, error_again = answered(served, questions(2))
    assert replies == again == {}
    assert isinstance(error, CallFailedError)
    assert isinstance(error_again, CallFailedError)
    assert "m-mini" in str(error)
    assert len(asked_of(server, CHAT)) == n_asked <= 2


@pytest.mark.parametrize("changed", [{"habit": {"weights": "w2"}}, {"model": "other"}])
def test_weights_or_a_name_that_changed_while_the_server_was_away_are_noticed(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    with started(tmp_path) as first, closing(judge(settings_of(first, max_attempts=2))) as served:
        before, error = answered(served, questions(4))
        assert (len(before), error) == (4, None)
        first.kill()
        with started(tmp_path, port=first.port, **changed):
            after, error = answered(served, questions(4, first=4))
    assert after == {}
    assert isinstance(error, CallFailedError)


def test_a_server_that_was_away_and_came_back_as_it_was_is_used_again(tmp_path: Path) -> None:
    with started(tmp_path) as first, closing(judge(settings_of(first))) as served:
        answered(served, questions(4))
        first.kill()
        away, error = answered(served, questions(4, first=4))
        assert away == {}
        assert isinstance(error, CallFailedError)
        with started(tmp_path, port=first.port):
            back, error = answered(served, questions(4, first=4))
    assert (len(back), error) == (4, None)
